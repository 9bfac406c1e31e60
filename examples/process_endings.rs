//! The ways in which a process can end, and what its parent learns from `join`.
#![forbid(unsafe_code)]

use ipc_core::{JoinError, Process};

#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
enum End {
    Return,
    Fail,
    Panic,
    Exit,
    Kill,
}

/// A function that can fail returns a `Result`, as any other; its error needs only be something that can be sent.
fn end(how: End) -> Result<u32, String> {
    match how {
        End::Return => Ok(42),
        End::Fail => Err("no luck".to_string()),
        End::Panic => {
            std::panic::set_hook(Box::new(|_| ())); // so that it is not printed here too
            panic!("this cannot be")
        }
        End::Exit => std::process::exit(3),
        End::Kill => loop {
            std::thread::park(); // until the parent kills it
        },
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for how in [End::Return, End::Fail, End::Panic, End::Exit, End::Kill] {
        let process = Process::spawn(end, how)?;
        if let End::Kill = how {
            process.kill()?;
        }
        match process.join() {
            Ok(Ok(number)) => println!("{how:?}: it returned {number}"),
            Ok(Err(error)) => println!("{how:?}: it returned the error `{error}`"),
            Err(JoinError::Panicked { message, .. }) => println!("{how:?}: it panicked with `{message}`"),
            Err(JoinError::Exited { code }) => println!("{how:?}: it left with exit code {code}"),
            Err(JoinError::Killed { signal, .. }) => println!("{how:?}: it was killed by signal {signal}"),
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}
