//! Several processes count in one shared number. `counter.value += 1` on Python's `Value` loses counts even though each access is
//! locked, as it is two of them: to read, and to write. Here nobody gets at the number but with the lock, and keeps it
//! for as long as the change takes.
#![forbid(unsafe_code)]

use ipc_core::{Process, scope};
use ipc_sync::Mutex;

const PROCESSES: u64 = 4;
const TIMES: u64 = 25_000;

fn count(counter: Mutex<u64>) {
    for _ in 0..TIMES {
        *counter.lock().expect("nobody dies here") += 1;
    }
}

/// Takes the lock once for all: the guard is a lock that is held.
fn count_at_once(counter: Mutex<u64>) -> u64 {
    let mut number = counter.lock().expect("nobody dies here");
    for _ in 0..TIMES {
        *number += 1;
    }
    *number
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let counter = Mutex::new(0u64)?;
    scope(|scope| (0..PROCESSES).try_for_each(|_| scope.spawn(count, counter.clone()).map(drop)))??;
    println!("{PROCESSES} processes, {TIMES} times each: {}", *counter.lock()?);

    println!("and another one: {}", Process::spawn(count_at_once, counter.clone())?.join()?);
    Ok(())
}
