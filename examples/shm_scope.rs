//! A process that is killed cannot remove the name of its memory. What it has made in a `Scope` goes all the same: a watcher
//! removes it. Without a scope the name stays behind, but is nobody's: whoever makes memory of that name next has it.
#![forbid(unsafe_code)]

use std::thread;

use ipc_core::Process;
use ipc_shm::{Scope, SharedMemory};
use ipc_sync::Event;

/// Makes the memory, and does not get any further.
fn victim((name, in_scope, made): (String, bool, Event)) {
    let mut scope = in_scope.then(|| Scope::new().expect("a watcher can be started"));
    let memory = match &mut scope {
        Some(scope) => scope.create(&name, 13),
        None => SharedMemory::create(&name, 13),
    };
    let memory = memory.expect("the name is free");
    memory.write_at(0, b"what it wrote").expect("there is room for it");
    made.set().expect("this is no forked copy");
    loop {
        thread::park(); // with the memory, until the parent kills it
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("shm_scope-{}", std::process::id());
    let made = Event::new()?;

    let process = Process::spawn(victim, (name.clone(), true, made.clone()))?;
    made.wait()?;
    let memory = SharedMemory::open(&name)?;
    process.kill()?;
    println!("in a scope: {}", process.join().expect_err("it was killed"));
    while SharedMemory::open(&name).is_ok() {
        thread::yield_now(); // the watcher tells nobody when it has done its work
    }
    println!("the name is gone; who has the memory keeps it: {}", String::from_utf8_lossy(&memory.to_vec(0, 13)?));

    made.clear()?;
    let process = Process::spawn(victim, (name.clone(), false, made.clone()))?;
    made.wait()?;
    println!("while it is alive: {}", SharedMemory::create(&name, 1).expect_err("it has the name"));
    process.kill()?;
    println!("without a scope: {}", process.join().expect_err("it was killed"));
    println!("the name is nobody's: {}", SharedMemory::open(&name).expect_err("it is left over"));
    println!("the next one has it, with {} bytes", SharedMemory::create(&name, 100)?.size());
    Ok(())
}
