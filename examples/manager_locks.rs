//! What is held by a process that is killed does not stay with it, as it does in Python, where the others would wait for ever. The lock's
//! next owner is told, and repairs what the lock protects; permits come back; a barrier breaks.
#![forbid(unsafe_code)]

use std::thread;

use ipc_manager::{Array, Barrier, Event, Lock, Manager, Process, Semaphore};

/// Euros in two accounts, always so many together: that is what a repair can go by.
const TOTAL: i64 = 100;

/// In the middle of something, until the parent kills it.
fn stand_still() -> ! {
    loop {
        thread::park();
    }
}

/// Does not get further than the first half of a transfer.
fn rob((lock, accounts, half_done): (Lock, Array<i64>, Event)) {
    let _guard = lock.lock().expect("nobody has died yet");
    accounts.update(0, |euros| euros - 30).expect("the server runs");
    half_done.set().expect("the server runs");
    stand_still();
}

fn transfer((lock, accounts, euros): (Lock, Array<i64>, i64)) {
    let _guard = lock.lock().expect("it has been repaired");
    accounts.update(0, |there| there - euros).expect("the server runs");
    accounts.update(1, |there| there + euros).expect("the server runs");
}

fn occupy((seats, taken): (Semaphore, Event)) {
    let _seats = [seats.acquire().expect("the server runs"), seats.acquire().expect("the server runs")];
    taken.set().expect("the server runs");
    stand_still();
}

/// Comes to the barrier so many times, and returns what it was told the last time.
fn meet((meeting, times, met): (Barrier, u32, Option<Event>)) -> String {
    let mut told = String::new();
    for _ in 0..times {
        told = meeting.wait().map_or_else(|error| error.to_string(), |_| "all are there".to_string());
    }
    let Some(met) = met else { return told };
    met.set().expect("the server runs");
    stand_still();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;

    let (lock, accounts) = (manager.lock()?, manager.array([TOTAL, 0])?);
    let half_done = manager.event()?;
    let process = Process::spawn(rob, (lock.clone(), accounts.clone(), half_done.clone()))?;
    half_done.wait()?;
    println!("while it has the lock: {}", lock.try_lock().expect_err("the child has it"));
    process.kill()?;
    // Waits until the server has seen it, which is at once; and says it as often as it is asked.
    for _ in 0..2 {
        println!("it is killed: {}", lock.lock().expect_err("it is not repaired"));
    }
    let (guard, died) = lock.lock_or_repair()?;
    println!("to be repaired: {died}, found {:?}", accounts.to_vec()?);
    accounts.set(0, &(TOTAL - accounts.get(1)?.ok_or("there are two accounts")?))?; // as if it had not been begun
    drop(guard);
    for euros in [10, 20] {
        Process::spawn(transfer, (lock.clone(), accounts.clone(), euros))?.join()?;
    }
    println!("and work goes on: {:?}", accounts.to_vec()?);
    println!("join: {}", process.join().expect_err("it was killed"));

    let (seats, taken) = (manager.semaphore(3)?, manager.event()?);
    let process = Process::spawn(occupy, (seats.clone(), taken.clone()))?;
    taken.wait()?;
    println!("permits left by one who has two: {} of 3", seats.available()?);
    process.kill()?;
    let all = [seats.acquire()?, seats.acquire()?, seats.acquire()?];
    println!("it is killed, and all {} can be had", all.len());
    drop(all);

    let (meeting, met) = (manager.barrier(3)?, manager.event()?);
    let victim = Process::spawn(meet, (meeting.clone(), 1, Some(met.clone())))?;
    let other = Process::spawn(meet, (meeting.clone(), 2, None))?;
    meeting.wait()?;
    met.wait()?;
    println!("all three have met");
    victim.kill()?;
    println!("one is killed; another one is told: {}", other.join()?);
    println!("and so is who comes later: {}", meeting.wait().expect_err("it is broken"));
    meeting.reset()?;
    let others = [(); 2].map(|()| Process::spawn(meet, (meeting.clone(), 1, None)));
    meeting.wait()?;
    for other in others {
        println!("after a reset, with two new ones: {}", other?.join()?);
    }
    Ok(())
}
