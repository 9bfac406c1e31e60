//! A program that wants nothing to run before its `main`: it builds `ipc-core` without the feature `auto-init` and says itself
//! where spawned functions start. `cargo run -p ipc-core --no-default-features --example explicit_init`
#![forbid(unsafe_code)]

use ipc_core::{Error, Process};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if cfg!(not(feature = "auto-init")) {
        // A child would get here as well, and spawn in turn, for ever. So this is an error.
        match Process::spawn(|n: u32| n + 1, 1) {
            Err(Error::CannotSpawn(why)) => println!("too early: {why}"),
            other => return Err(format!("it should have been refused: {other:?}").into()),
        }
    }
    ipc_core::init();
    println!("only the parent gets here");
    println!("{}", Process::spawn(|n: u32| n + 1, 41)?.join()?);
    Ok(())
}
