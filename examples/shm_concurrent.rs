//! Two processes share an array that lies in memory with a name, and change it at the same time: both read and write every number
//! of it, and not one change is lost.
#![forbid(unsafe_code)]

use ipc_core::Process;
use ipc_shm::{Array, SharedMemory};
use ipc_sync::Barrier;

const TIMES: usize = 1000;

/// Adds to every number, one after the other, and returns what the array is when both have done so.
fn work((name, step, barrier): (String, u64, Barrier)) -> Vec<u64> {
    let memory = SharedMemory::open(&name).expect("the main program has made it");
    // Its bytes may be anything: this makes sure that they are such an array.
    let array = Array::<u64>::open_in(memory.segment(), 0).expect("an array is in there");

    barrier.wait().expect("the other one comes too"); // so that neither is done before the other one begins
    for _ in 0..TIMES {
        for i in 0..array.len() {
            array.update(i, |number| *number += step).expect("nobody dies with the lock");
        }
    }
    barrier.wait().expect("the other one comes too");
    array.to_vec().expect("nobody dies with the lock")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = [0u64, 1, 2, 3, 4];
    let name = format!("shm_concurrent-{}", std::process::id());
    let memory = SharedMemory::create(&name, Array::<u64>::size(start.len())?)?;
    let array = Array::create_in(memory.segment(), 0, &start)?;
    println!("before: {:?}", array.to_vec()?);

    let barrier = Barrier::new(2)?;
    let workers = [1, 1_000_000].map(|step| (step, Process::spawn(work, (name.clone(), step, barrier.clone()))));
    for (step, worker) in workers {
        println!("who added {step} sees: {:?}", worker?.join()?);
    }
    println!("after:  {:?}", array.to_vec()?);
    Ok(())
}
