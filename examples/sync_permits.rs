//! A semaphore limits how many processes use something at a time. One of them is killed while it does: its permit is not
//! lost, it comes back.
#![forbid(unsafe_code)]

use std::thread;

use ipc_core::{Process, scope};
use ipc_sync::{Mutex, Semaphore, Signal};

/// How many have a seat just now, and how many there were at most.
type Count = Mutex<[u32; 2]>;

fn guest((seats, count): (Semaphore, Count)) {
    for _ in 0..100 {
        let _seat = seats.acquire().expect("this is no forked copy");
        let mut seated = count.lock().expect("nobody dies here");
        seated[0] += 1;
        seated[1] = seated[1].max(seated[0]);
        drop(seated);
        thread::yield_now();
        count.lock().expect("nobody dies here")[0] -= 1;
    }
}

fn sleeper((seats, seated): (Semaphore, Signal)) {
    let _seat = seats.acquire().expect("this is no forked copy");
    seated.release().expect("two are far from too many");
    loop {
        thread::park(); // on its seat, until the parent kills it
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seats = Semaphore::new(2)?;
    let count = Count::new([0, 0])?;
    scope(|scope| (0..5).try_for_each(|_| scope.spawn(guest, (seats.clone(), count.clone())).map(drop)))??;
    let [left, most] = *count.lock()?;
    println!("5 guests, never more than 2 at a time: {}; still there: {left}", most <= 2);

    let seated = Semaphore::signal(0)?;
    let first = Process::spawn(sleeper, (seats.clone(), seated.clone()))?;
    let second = Process::spawn(sleeper, (seats.clone(), seated.clone()))?;
    seated.acquire()?;
    seated.acquire()?;
    println!("both seats are taken, {} of {} are free", seats.available()?, seats.permits());
    println!("try_acquire: {}", seats.try_acquire().expect_err("both are taken"));

    first.kill()?;
    let seat = seats.acquire()?; // waits until the kernel has cleaned up after the first one
    println!("one was killed, and we have its seat");
    second.kill()?;
    second.join().expect_err("it was killed");
    println!("so was the other one, {} is free", seats.available()?);
    drop(seat);
    println!("we have left too, {} are free", seats.available()?);
    Ok(())
}
