//! Programs that are started one by one, as from a shell, and have nothing in common but a name: whichever comes first makes the
//! memory, and the last one to leave removes the name.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::Command;
use std::sync::atomic::Ordering;

use ipc_shm::SharedMemory;

/// How many have come, in eight bytes, and after that a line of each.
const COUNT: usize = 0;
const LINES: usize = 8;
const LINE: usize = 32;
const SIZE: usize = LINES + 10 * LINE;

/// One of the programs.
fn guest(name: &str, who: &str) -> Result<(), Box<dyn Error>> {
    let book = SharedMemory::open_or_create(name, SIZE)?;
    // New memory is zero, so it makes no difference who has made it. No two get the same number.
    let place = book.atomic_u64(COUNT)?.fetch_add(1, Ordering::Relaxed);
    let line = format!("{who} was here");
    Ok(book.write_at(LINES + usize::try_from(place)? * LINE, line.as_bytes())?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, who] = &arguments[..] {
        return guest(name, who);
    }

    // We are one that has it, else each guest would be the first and the last one.
    let name = format!("shm_name-{}", std::process::id());
    let book = SharedMemory::open_or_create(&name, SIZE)?;
    let program = std::env::current_exe()?;
    let guests = ["Ada", "Grace", "Barbara"].map(|who| Command::new(&program).args([&name, who]).spawn());
    for guest in guests {
        println!("a guest has left: {}", guest?.wait()?);
    }

    let count = book.atomic_u64(COUNT)?.load(Ordering::Relaxed); // they have ended: what they wrote is there
    let lines: Result<Vec<String>, ipc_shm::Error> = (LINES..)
        .step_by(LINE)
        .take(usize::try_from(count)?)
        .map(|at| Ok(String::from_utf8_lossy(&book.to_vec(at, LINE)?).trim_end_matches('\0').to_owned()))
        .collect();
    let mut lines = lines?;
    lines.sort(); // they came in any order
    println!("{}", lines.join(", "));

    println!("with another size: {}", SharedMemory::open_or_create(&name, 1).expect_err("it has its size"));
    drop(book);
    match SharedMemory::open(&name) {
        Ok(_) => println!("the name is still there"),
        Err(_) => println!("the last one has removed the name"),
    }
    Ok(())
}
