//! A start signal for many. And one that will never come, as the only process that could give it is dead: who waits for it
//! learns that, and does not wait for ever.
#![forbid(unsafe_code)]

use std::thread;

use ipc_core::Process;
use ipc_sync::{Error, Event, Semaphore, Signal};

fn runner((name, ready, start): (String, Signal, Event)) {
    ready.release().expect("three are far from too many");
    start.wait().expect("the main program has the event too");
    println!("{name} runs");
}

fn starter((ready, _start): (Signal, Event)) {
    ready.release().expect("one is far from too many");
    loop {
        thread::park(); // and never gives the signal
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (ready, start) = (Semaphore::signal(0)?, Event::new()?);
    let names = ["red", "green", "blue"];
    let runners = names.map(|name| Process::spawn(runner, (name.to_string(), ready.clone(), start.clone())));
    for _ in &runners {
        ready.acquire()?;
    }
    println!("all are ready");
    start.set()?;
    for runner in runners {
        runner?.join()?;
    }

    let again = Event::new()?;
    let starter = Process::spawn(starter, (ready.clone(), again.clone()))?;
    ready.acquire()?;
    starter.kill()?;
    match again.wait() {
        Err(error @ Error::Abandoned) => println!("the second start: {error}"),
        other => println!("the second start: {other:?}"),
    }
    Ok(())
}
