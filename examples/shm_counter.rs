//! Several processes count in shared numbers: under a lock, if several numbers belong together, and without one where each is
//! for itself. Reading a number and setting it are two calls: what others count in between is lost.
#![forbid(unsafe_code)]

use bytemuck::{Pod, Zeroable};
use ipc_core::{Process, scope};
use ipc_shm::{AtomicValue, Value};
use serde::{Deserialize, Serialize};

const PROCESSES: u32 = 4;
const TIMES: u32 = 10_000;

/// Two numbers that change together.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Total {
    count: u32,
    sum: u32,
}

#[derive(Clone, Serialize, Deserialize)]
struct Counters {
    locked: Value<Total>,
    unlocked: AtomicValue<u32>,
    highest: AtomicValue<u32>,
}

fn count((counters, who): (Counters, u32)) {
    for n in 0..TIMES {
        let add = |total: &mut Total| (total.count, total.sum) = (total.count + 1, total.sum + who);
        counters.locked.update(add).expect("nobody dies with the lock");
        counters.unlocked.fetch_add(1);
        counters.highest.fetch_max(n * who);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let counters =
        Counters { locked: Value::new(Total::zeroed())?, unlocked: Value::unlocked(0)?, highest: Value::unlocked(0)? };
    scope(|scope| (1..=PROCESSES).try_for_each(|who| scope.spawn(count, (counters.clone(), who)).map(drop)))??;
    println!("{PROCESSES} processes, {TIMES} times each");
    println!("with a lock: {:?}", counters.locked.get()?);
    println!("without: {}, at most {}", counters.unlocked.get(), counters.highest.get());

    // How not to do it.
    let seen = counters.unlocked.get();
    Process::spawn(count, (counters.clone(), 1))?.join()?;
    counters.unlocked.set(seen + 1);
    let (locked, unlocked) = (counters.locked.get()?.count, counters.unlocked.get());
    println!("get and set, while another one counts: {unlocked} instead of {}", locked + 1);
    Ok(())
}
