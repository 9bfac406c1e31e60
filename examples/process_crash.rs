//! A process is killed while it sends. Its parent does not hang: it gets every message that was complete, then an error, and
//! from `join` how the process ended.
#![forbid(unsafe_code)]

use std::time::Duration;

use ipc_pipe::{Process, Sender, simplex, wait};

fn chatter(mut pipe: Sender<String>) {
    for message in ["one", "two", "three"] {
        pipe.send(message.to_string()).expect("the parent reads");
    }
    // Far more than a pipe holds: this call is not done before somebody reads it all.
    pipe.send("x".repeat(8_000_000)).expect("the parent reads");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (sender, mut receiver) = simplex()?;
    let process = Process::spawn(chatter, sender)?;

    for _ in 0..3 {
        println!("received: {}", receiver.recv()?);
    }
    // As soon as the first bytes of the long message are here, and the child waits to write the others.
    wait(&[&receiver], Duration::MAX)?;
    process.kill()?;

    match receiver.recv() {
        Ok(message) => println!("received {} more bytes", message.len()),
        Err(error) => println!("recv: {error}"),
    }
    match process.join() {
        Ok(()) => println!("the child has sent everything"),
        Err(error) => println!("join: {error}"),
    }
    Ok(())
}
