//! A configuration that many read, all at the same time, and one changes: nobody ever sees half of a change.
#![forbid(unsafe_code)]

use bytemuck::{Pod, Zeroable};
use ipc_core::Process;
use ipc_sync::{Barrier, Event, RwLock};

/// Three numbers that belong together: the limits are 10 and 20 times the version.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Config {
    version: u32,
    soft_limit: u32,
    hard_limit: u32,
}

/// Returns how often it saw numbers that do not belong together, and the last version.
fn read((config, barrier, last): (RwLock<Config>, Barrier, Event)) -> (u32, u32) {
    let first = config.read().expect("no writer dies");
    // Nobody passes this before all have the lock, and nobody gives it back before the main program has looked.
    barrier.wait().expect("the others come too");
    barrier.wait().expect("the others come too");
    drop(first);

    let mut torn = 0;
    for _ in 0..10_000 {
        let config = config.read().expect("no writer dies");
        let Config { version, soft_limit, hard_limit } = *config;
        torn += u32::from([soft_limit, hard_limit] != [10 * version, 20 * version]);
    }
    last.wait().expect("the main program has it too");
    (torn, config.read().expect("no writer dies").version)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = RwLock::new(Config::zeroed())?;
    let (barrier, last) = (Barrier::new(4)?, Event::new()?);
    let readers = [0, 1, 2].map(|_| Process::spawn(read, (config.clone(), barrier.clone(), last.clone())));

    barrier.wait()?;
    println!("three have it for reading; for writing: {}", config.try_write().expect_err("it is taken"));
    barrier.wait()?;
    for version in 1..=100 {
        // Waits until those who read are out; those who come later wait for it.
        let mut config = config.write()?;
        config.version = version;
        config.soft_limit = 10 * version;
        config.hard_limit = 20 * version;
    }
    last.set()?;
    for reader in readers {
        let (torn, version) = reader?.join()?;
        println!("a reader saw {torn} half changes, and version {version} at the end");
    }
    println!("{:?}", *config.read()?);
    Ok(())
}
