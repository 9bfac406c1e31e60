//! Workers share a dict and a list: each enters in the dict what it has found, and in the list that it is ready. Keys and values have a type
//! each, an enum where Python would mix them. What a worker has entered is there as soon as the call returns, also if the worker is
//! killed after that.
#![forbid(unsafe_code)]

use ipc_manager::{Dict, List, Manager, Process};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Key {
    Number(i64),
    Text(String),
}

/// The program of Python's documentation, which ends with `l.reverse()`.
fn fill((dict, list): (Dict<Key, Option<String>>, List<i64>)) {
    dict.insert(&Key::Number(1), &Some("1".to_string())).expect("the server runs");
    dict.insert(&Key::Text("2".to_string()), &Some("two".to_string())).expect("the server runs");
    dict.insert(&Key::Number(3), &None).expect("the server runs");
    list.reverse().expect("the server runs");
}

/// Finds the multiplicative order of 2 modulo `n`: after how many doublings of 1 there is 1 again.
fn search((n, orders, ready): (u64, Dict<u64, u64>, List<u64>)) -> usize {
    let doublings = std::iter::successors(Some(2 % n), |power| Some(power * 2 % n));
    let order = 1 + doublings.take_while(|power| *power != 1).count() as u64;
    orders.insert(&n, &order).expect("the server runs");
    ready.push(&n).expect("the server runs") // at which position that is
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let (dict, list) = (manager.dict()?, manager.list_of(0..10)?);
    Process::spawn(fill, (dict.clone(), list.clone()))?.join()?;
    let mut entries = dict.iter()?.collect::<Result<Vec<_>, _>>()?;
    entries.sort(); // a dict has no order
    println!("{entries:?}");
    println!("{:?}", list.to_vec()?);

    let (orders, ready) = (manager.dict()?, manager.list()?);
    let moduli = [7, 101, 1_009, 100_003];
    let workers = moduli.map(|n| Process::spawn(search, (n, orders.clone(), ready.clone())));
    let mut positions = Vec::new();
    for worker in workers {
        positions.push(worker?.join()?);
    }
    for n in moduli {
        println!("modulo {n}: 2 has order {}", orders.get(&n)?.ok_or("a worker has entered nothing")?);
    }
    positions.sort();
    println!("positions in the list, one for each worker: {positions:?}");
    println!("all in it: {}", moduli.iter().all(|n| ready.contains(n).unwrap_or(false)));
    let smallest = orders.remove(&moduli[0])?;
    println!("one is removed, {smallest:?}, and there are {} left", orders.len()?);
    Ok(())
}
