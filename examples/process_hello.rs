//! A function of this program, run by another process: it gets typed arguments, knows who it is, and returns a typed result.
#![forbid(unsafe_code)]

use ipc_core::{Builder, Process, current_process, parent_process};

fn greet((whom, parent): (String, u32)) -> usize {
    let greeting = format!("Hello {whom}, I am {}", current_process().name());
    println!("{greeting}");
    let started_me = parent_process().ok().flatten().is_some_and(|process| process.pid() == parent);
    println!("the process that gave me this has started me: {started_me}");
    greeting.len()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let me = current_process();
    println!("this is {}", me.name());

    let process = Process::spawn(greet, ("world".to_string(), me.pid()))?;
    println!("returned: {}", process.join()?);

    let process = Builder::new().name("Alice").spawn(greet, ("Bob".to_string(), me.pid()))?;
    println!("returned: {}", process.join()?);
    Ok(())
}
