//! The owner of a lock is killed when it has changed one half of the data. Nobody hangs, and nobody works on with half
//! changed data by mistake: the next one is told, and repairs it.
#![forbid(unsafe_code)]

use std::thread;

use ipc_core::Process;
use ipc_sync::{Error, Event, Mutex};

/// Euros in two accounts, always [`TOTAL`] together: that is what a repair can go by.
type Accounts = Mutex<[i64; 2]>;

const TOTAL: i64 = 100;

/// Does not get further than the first half of a transfer.
fn victim((accounts, half_done): (Accounts, Event)) {
    let mut sides = accounts.lock().expect("nobody has died yet");
    sides[0] -= 30;
    half_done.set().expect("this is no forked copy");
    loop {
        thread::park(); // with the lock, until the parent kills it
    }
}

fn transfer((accounts, amount): (Accounts, i64)) {
    let mut sides = accounts.lock().expect("it has been repaired");
    sides[0] -= amount;
    sides[1] += amount;
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let accounts = Accounts::new([TOTAL, 0])?;
    let half_done = Event::new()?;
    let process = Process::spawn(victim, (accounts.clone(), half_done.clone()))?;
    let killed = process.pid();

    half_done.wait()?;
    println!("while it has the lock: {}", accounts.try_lock().expect_err("the child has it"));
    process.kill()?;

    // Waits until the kernel has handed the lock on, which it does at once; and says it as often as it is asked.
    for _ in 0..2 {
        match accounts.lock() {
            Err(Error::OwnerDied { pid }) => {
                println!("its owner died; the one that was killed: {}", pid == Some(killed))
            }
            other => println!("the accounts: {other:?}"),
        }
    }
    let sides = accounts.lock_or_repair(|sides, _pid| {
        println!("found {sides:?}, {} are missing", TOTAL - sides.iter().sum::<i64>());
        sides[0] = TOTAL - sides[1]; // as if the transfer had not been begun
        true
    })?;
    println!("repaired: {:?}", *sides);
    drop(sides);

    for amount in [10, 20] {
        Process::spawn(transfer, (accounts.clone(), amount))?.join()?;
    }
    println!("and work goes on: {:?}", *accounts.lock()?);
    println!("join: {}", process.join().expect_err("it was killed"));
    Ok(())
}
