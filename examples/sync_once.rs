//! Several processes need a table that takes long to make. Whichever comes first makes it, the others wait for it. If it is
//! killed before the table is complete, another one makes it from the start.
#![forbid(unsafe_code)]

use std::thread;

use ipc_core::Process;
use ipc_sync::{Mutex, Once, Semaphore, Signal};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Squares {
    table: Mutex<[u32; 100]>,
    once: Once,
    /// How often somebody began to make it.
    begun: Signal,
}

impl Squares {
    fn fill(&self) {
        self.begun.release().expect("two are far from too many");
        let mut table = self.table.lock().expect("nobody dies with the table");
        (0..).zip(table.iter_mut()).for_each(|(n, square): (u32, _)| *square = n * n);
    }
}

fn victim(squares: Squares) {
    let never = || {
        squares.begun.release().expect("one is far from too many");
        loop {
            thread::park();
        }
    };
    squares.once.call_once(never).expect("this is the first one");
}

fn look((squares, n): (Squares, usize)) -> u32 {
    squares.once.call_once(|| squares.fill()).expect("this is no forked copy");
    squares.table.lock().expect("nobody dies with the table")[n]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let squares = Squares { table: Mutex::new([0; 100])?, once: Once::new()?, begun: Semaphore::signal(0)? };
    let victim = Process::spawn(victim, squares.clone())?;
    squares.begun.acquire()?;
    let lookers = [2, 30, 99].map(|n| (n, Process::spawn(look, (squares.clone(), n))));
    println!("one is at it, completed: {}", squares.once.is_completed()?);
    victim.kill()?;
    for (n, looker) in lookers {
        println!("{n} squared: {}", looker?.join()?);
    }
    println!("made by the others: {} time, completed: {}", squares.begun.value()?, squares.once.is_completed()?);
    Ok(())
}
