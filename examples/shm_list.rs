//! A list of numbers and texts that two processes share, after Python's `ShareableList`: its elements can be replaced, also by
//! some of another type, but each has only as much room as it was made with.
#![forbid(unsafe_code)]

use ipc_core::Process;
use ipc_shm::{Error, Item, ShareableList};

fn change(list: ShareableList) -> Result<(), String> {
    let change = || -> Result<(), Error> {
        list.set(0, "hello")?;
        list.set(2, -250.0)?;
        let count: i64 = list.get(3)?.try_into()?;
        list.set(3, count + 1)?;
        list.set(5, Item::None)
    };
    change().map_err(|error| error.to_string())
}

fn show(list: &ShareableList) -> Result<(), Error> {
    let items: Vec<String> = list.iter().map(|item| Ok(format!("{:?}", item?))).collect::<Result<_, Error>>()?;
    println!("{}", items.join(", "));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let items: [Item; 7] =
        ["howdy".into(), b"HoWdY".into(), (-273.154).into(), 100.into(), Item::None, true.into(), 42.into()];
    let list = ShareableList::anonymous(items)?;
    show(&list)?;

    Process::spawn(change, list.clone())?.join()??;
    show(&list)?;

    println!("42 is at {:?}, None is there {} times", list.index(&42.into())?, list.count(&Item::None)?);
    println!("a text of {} bytes is the longest for the first element: {}", list.room(0)?, list.format(0)?);
    println!("a longer one: {}", list.set(0, "good morning").expect_err("it does not fit"));
    println!("a number taken for a text: {}", String::try_from(list.get(6)?).expect_err("it is none"));
    Ok(())
}
