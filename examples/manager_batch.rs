//! A thousand inserts, each a request and an answer that is waited for; and ten thousand in batches, of which all requests are sent before
//! the first answer is waited for: ten times as many, and a hundredth of the waiting. Each operation has its own result, and one that
//! fails does not keep the others back. Python has nothing of this kind but `update`, which is `extend` here: many entries as one change.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use ipc_manager::{Dict, Error, Manager, Process};

const ONE_BY_ONE: u32 = 1_000;
const IN_BATCHES: u32 = 10_000;
const BATCH: usize = 1_000;

/// Returns how often it had to wait for the server.
fn one_by_one(squares: Dict<u32, u64>) -> u32 {
    let mut waits = 0;
    for n in 0..ONE_BY_ONE {
        squares.insert(&n, &u64::from(n).pow(2)).expect("the server runs");
        waits += 1;
    }
    waits
}

/// As above. The manager is told by address and key, as a batch is the manager's, whichever objects it is about.
fn in_batches((address, key): (String, Vec<u8>)) -> Result<u32, String> {
    insert_in_batches(&Manager::connect(address, key).map_err(|error| error.to_string())?)
        .map_err(|error| error.to_string())
}

fn insert_in_batches(manager: &Manager) -> Result<u32, Error> {
    let squares: Dict<u32, u64> = manager.open("squares")?;
    let mut waits = 0;
    for numbers in (0..IN_BATCHES).collect::<Vec<_>>().chunks(BATCH) {
        let mut batch = manager.batch();
        let pending: Vec<_> =
            numbers.iter().map(|n| batch.add(squares.later().insert(n, &u64::from(*n).pow(2)))).collect();
        let mut results = batch.send()?;
        waits += 1;
        for result in pending {
            assert_eq!(results.take(result)?, None); // what was there before
        }
    }
    Ok(waits)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let squares: Dict<u32, u64> = manager.dict()?;
    manager.publish("squares", &squares)?;

    let waits = Process::spawn(one_by_one, squares.clone())?.join()?;
    println!("one by one: {} entries, {waits} times waited", squares.len()?);
    squares.clear()?;
    let address = (manager.address().to_string(), manager.authkey().to_vec());
    let waits = Process::spawn(in_batches, address)?.join()??;
    println!("in batches: {} entries, {waits} times waited", squares.len()?);
    let right = squares.to_map()?.iter().all(|(n, square)| *square == u64::from(*n).pow(2));
    println!("all of them right: {right}");

    squares.clear()?;
    squares.extend(&(0..IN_BATCHES).map(|n| (n, u64::from(n).pow(2))).collect::<HashMap<_, _>>())?;
    println!("as one change: {} entries", squares.len()?);

    // Of any objects, of any types, in their order.
    let names = manager.list_of(["zero".to_string()])?;
    let mut batch = manager.batch();
    let nine = batch.add(squares.later().get(&3));
    let gone = batch.add(squares.later().remove(&3));
    let none = batch.add(squares.later().get(&3));
    let place = batch.add(names.later().push(&"one".to_string()));
    let _ = batch.add(names.later().reverse());
    let first = batch.add(names.later().get(0));
    println!("{} operations at once", batch.len());
    let mut results = batch.send()?;
    println!("{:?}, {:?}, {:?}", results.take(nine)?, results.take(gone)?, results.take(none)?);
    println!("at {}, then {:?}", results.take(place)?, results.take(first)?);
    Ok(())
}
