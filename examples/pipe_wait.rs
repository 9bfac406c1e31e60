//! Several workers at once: whichever has something to say is heard, and none keeps the others waiting.
#![forbid(unsafe_code)]

use std::time::Duration;

use ipc_pipe::{Error, Process, Receiver, Sender, simplex, wait};

fn work((name, mut pipe): (String, Sender<String>)) {
    for step in 1..=3 {
        pipe.send(format!("{name}: step {step}")).expect("the parent listens");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut processes = Vec::new();
    let mut pipes: Vec<Receiver<String>> = Vec::new();
    for name in ["red", "green", "blue"] {
        let (sender, receiver) = simplex()?;
        processes.push(Process::spawn(work, (name.to_string(), sender))?);
        pipes.push(receiver);
    }

    while !pipes.is_empty() {
        let ready = wait(&pipes.iter().map(|pipe| pipe as _).collect::<Vec<_>>(), Duration::MAX)?;
        // From the last to the first, so that removing one leaves the positions of the others alone.
        for i in ready.into_iter().rev() {
            match pipes[i].recv() {
                Ok(message) => println!("{message}"),
                Err(Error::Disconnected) => drop(pipes.remove(i)),
                Err(error) => return Err(error.into()),
            }
        }
    }
    for process in processes {
        process.join()?;
    }
    Ok(())
}
