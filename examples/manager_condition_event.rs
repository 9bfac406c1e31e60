//! Processes that wait until others have got somewhere. An event is a starting gun: it stays fired, so who comes late does not wait. A
//! condition is for what is more than yes or no: the three take turns, and each sleeps until it is its own. Also a waiter that has a
//! time-out holds no thread of the server, which has one for each client in Python.
#![forbid(unsafe_code)]

use std::time::Duration;

use ipc_manager::{Condition, Event, Manager, Process, Value};

const RUNNERS: u32 = 3;
const LAPS: u32 = 2;

fn run((start, baton, turn, me): (Event, Condition, Value<u32>, u32)) {
    start.wait().expect("the server runs");
    for lap in 1..=LAPS {
        let mut guard = baton.lock().expect("nobody dies with it");
        guard.wait_while(|| Ok(turn.get()? % RUNNERS != me)).expect("nobody dies with the lock");
        println!("runner {me}, lap {lap}");
        turn.update(|turn| turn + 1).expect("the server runs");
        guard.notify_all().expect("this thread has the lock");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let (start, baton, turn) = (manager.event()?, manager.condition()?, manager.value(0)?);
    let runner = |me| Process::spawn(run, (start.clone(), baton.clone(), turn.clone(), me));
    let early = [runner(2)?, runner(1)?];

    let patience = Duration::from_millis(20);
    println!("before the start: {}", start.wait_timeout(patience).expect_err("nobody has set it"));
    let over = baton.lock()?.wait_while_timeout(patience, || Ok(turn.get()? == 0))?;
    println!("somebody has run: {over}");

    start.set()?;
    let late = runner(0)?;
    let mut guard = baton.lock()?;
    guard.wait_while(|| Ok(turn.get()? < RUNNERS * LAPS))?;
    drop(guard); // the last one may still have to come to its end
    println!("after {} turns all are through", turn.get()?);
    for runner in early.into_iter().chain([late]) {
        runner.join()?;
    }

    start.clear()?;
    println!("ready for the next race: {}", !start.is_set()?);
    Ok(())
}
