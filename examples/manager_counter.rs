//! Why `d['n'] += 1` loses changes in Python, and what does not. It asks the server for the number, and then to replace it: what another
//! process has written in between is overwritten. Here that is two calls, which can be seen; and there is `update`, which replaces the
//! number only if it still is what it was, and else tries again.
#![forbid(unsafe_code)]

use ipc_manager::{Barrier, Dict, Manager, Process, Result, Value};

type Counts = Dict<String, u32>;

/// As Python's `+= 1`, at the worst moment: all have read before one of them writes.
fn add_carelessly((counts, all_have_read): (Counts, Barrier)) {
    let key = "n".to_string();
    let n = counts.get(&key).expect("the server runs").expect("it was set");
    all_have_read.wait().expect("all come");
    counts.insert(&key, &(n + 1)).expect("the server runs");
}

fn add(counts: Counts) {
    for _ in 0..250 {
        counts.update(&"n".to_string(), |n| n.unwrap_or(0) + 1).expect("the server runs");
    }
}

/// Says how often the function was called, which is once for each time that somebody else was faster, and once more.
fn raise((highest, mine): (Value<u32>, u32)) -> Result<u32, String> {
    let mut calls = 0;
    let raised = highest.update(|old| {
        calls += 1;
        old.max(mine)
    });
    raised.map(|_| calls).map_err(|error| error.to_string())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let counts = manager.dict_of([("n".to_string(), 0)])?;
    let all_have_read = manager.barrier(2)?;
    let careless = [(); 2].map(|()| Process::spawn(add_carelessly, (counts.clone(), all_have_read.clone())));
    for process in careless {
        process?.join()?;
    }
    println!("2 times read and written: {:?}", counts.get(&"n".to_string())?);

    counts.clear()?;
    let careful = [(); 4].map(|()| Process::spawn(add, counts.clone()));
    for process in careful {
        process?.join()?;
    }
    println!("4 times 250 updates: {:?}", counts.get(&"n".to_string())?);

    // The same for a single value, and for any change.
    let highest = manager.value(0)?;
    let raisers = [17, 42, 23].map(|mine| Process::spawn(raise, (highest.clone(), mine)));
    for process in raisers {
        assert!(process?.join()?? >= 1);
    }
    println!("the highest of 17, 42, 23: {}", highest.get()?);

    // Who does not want to try again is told what is there.
    let there = highest.compare_and_swap(&17, &18)?;
    println!("18 instead of 17: {}", there.map_or_else(|n| format!("no, it is {n}"), |()| "yes".to_string()));
    Ok(())
}
