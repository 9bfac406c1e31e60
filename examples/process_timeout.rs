//! A process that takes too long: `join_timeout` gives up waiting, and the process runs on until somebody ends it.
#![forbid(unsafe_code)]

use std::time::Duration;

use ipc_core::{JoinError, Process};

fn think(_question: String) -> u32 {
    loop {
        std::thread::park();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut process = Process::spawn(think, "What is the answer?".to_string())?;
    match process.join_timeout(Duration::from_millis(200)) {
        Ok(answer) => println!("{answer}"),
        Err(JoinError::Timeout) => println!("no answer yet; alive: {}", process.is_alive()),
        Err(other) => return Err(other.into()),
    }

    process.terminate()?; // it could still tidy up; `kill` would not ask
    match process.join() {
        Ok(answer) => println!("{answer}"),
        Err(error) => println!("{error}"),
    }
    Ok(())
}
