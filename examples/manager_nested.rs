//! A list of dicts. A dict of this process is a value: who takes it from the list has a copy, and what is done to that nobody else sees. A
//! dict of the manager is the same one everywhere, in the list as well, which holds it as long as it is there.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use ipc_manager::{Dict, Error, Kind, List, Manager, Process};

type Marks = Dict<String, u32>;

/// Enters a mark in the dict at this position, which it has never seen before.
fn enter((classes, i, name, mark): (List<Marks>, usize, String, u32)) {
    let class = classes.get(i).expect("the server runs").expect("there is such a class");
    class.insert(&name, &mark).expect("the server runs");
}

/// Makes a dict, puts it into the list, and ends. The list keeps it.
fn add_class((address, key): (String, Vec<u8>)) -> Result<(), String> {
    let add = || -> Result<usize, Error> {
        let manager = Manager::connect(address, key)?;
        let classes: List<Marks> = manager.open("classes")?;
        classes.push(&manager.dict_of([("Barbara".to_string(), 1)])?)
    };
    add().map(drop).map_err(|error| error.to_string())
}

/// All that is in the dict, sorted.
fn sorted(class: &Marks) -> Result<BTreeMap<String, u32>, Error> {
    class.iter()?.collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let dicts = || -> Result<usize, Error> {
        Ok(manager.stats()?.objects.iter().filter(|object| object.kind == Kind::Dict).count())
    };

    let copies = manager.list_of([BTreeMap::from([("Ada".to_string(), 2)])])?;
    let mut copy = copies.get(0)?.ok_or("it is there")?;
    copy.insert("Grace".to_string(), 1);
    println!("a copy is changed: {copy:?}, the list: {:?}", copies.to_vec()?);
    copies.set(0, &copy)?;
    println!("and written back: {:?}", copies.to_vec()?);

    let classes = manager.list_of([manager.dict()?, manager.dict()?])?;
    manager.publish("classes", &classes)?;
    for (i, name, mark) in [(0, "Ada", 2), (1, "Grace", 1), (0, "Edsger", 3)] {
        Process::spawn(enter, (classes.clone(), i, name.to_string(), mark))?.join()?;
    }
    Process::spawn(add_class, (manager.address().to_string(), manager.authkey().to_vec()))?.join()??;
    for class in classes.iter()? {
        println!("{:?}", sorted(&class?)?);
    }

    println!("dicts that the list holds: {}", dicts()?);
    let first = classes.remove(0)?;
    classes.clear()?;
    println!("the list is empty, one is held here: {} with {:?}", dicts()?, sorted(&first)?);
    drop(first);
    println!("and none any more: {}", dicts()?);
    Ok(())
}
