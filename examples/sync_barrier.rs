//! Three processes work in phases: none begins the next one before all have finished. One of them is killed; the others do not
//! wait in vain but are told who it was, somebody takes its place, and they go on.
#![forbid(unsafe_code)]

use std::thread;

use ipc_core::Process;
use ipc_sync::{Barrier, BrokenBy, Error, Event, Mutex, Semaphore, Signal};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Team {
    barrier: Barrier,
    /// What each of them has got ready.
    parts: Mutex<[u32; 3]>,
    /// Raised by each that is not to come to the barrier for the time being.
    away: Signal,
    go_on: Event,
}

/// Works on one part in phases 1 to 3, and returns the pid of the one that it was told has died.
fn work((team, part, first_phase): (Team, usize, u32)) -> Option<u32> {
    let mut party = team.barrier.enroll().expect("there is a place");
    let mut dead = None;
    for phase in first_phase..=3 {
        team.parts.lock().expect("nobody dies with it")[part] = phase;
        // Who comes last says so for all, before they go on.
        let meet = || println!("phase {phase}: {:?}", *team.parts.lock().expect("nobody dies with it"));
        if let Err(error) = party.wait_with(meet) {
            let Error::Broken(BrokenBy::Died { pid }) = error else { panic!("{error}") };
            dead = Some(pid);
            team.away.release().expect("two are far from too many");
            team.go_on.wait().expect("the main program has it too");
            party.wait_with(meet).expect("it has been reset");
        }
    }
    dead
}

/// Takes part in phase 1, and is killed in phase 2.
fn victim(team: Team) {
    let mut party = team.barrier.enroll().expect("there is a place");
    team.parts.lock().expect("nobody dies with it")[2] = 1;
    party.wait_with(|| println!("phase 1: {:?}", *team.parts.lock().expect("nobody dies with it"))).expect("all come");
    team.away.release().expect("one is far from too many");
    loop {
        thread::park();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (barrier, parts) = (Barrier::new(3)?, Mutex::new([0; 3])?);
    let team = Team { barrier, parts, away: Semaphore::signal(0)?, go_on: Event::new()? };
    let workers = [0, 1].map(|part| Process::spawn(work, (team.clone(), part, 1)));
    let victim = Process::spawn(victim, team.clone())?;
    let killed = victim.pid();
    team.away.acquire()?;
    victim.kill()?;

    // Both are told before the reset: after it they would only learn that there was one.
    team.away.acquire()?;
    team.away.acquire()?;
    println!(
        "broken by the one that was killed: {}",
        team.barrier.broken_by()? == Some(BrokenBy::Died { pid: killed })
    );
    team.barrier.reset()?;
    let replacement = Process::spawn(work, (team.clone(), 2, 2))?;
    team.go_on.set()?;
    for worker in workers {
        println!("a worker was told that it has died: {}", worker?.join()? == Some(killed));
    }
    replacement.join()?;
    Ok(())
}
