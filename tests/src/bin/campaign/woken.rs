//! Waiters that are killed when they have been woken and have not run since.

use std::time::Instant;

use ipc_core::{Builder, Process};
use ipc_sync::{Mutex, Semaphore, Signal};
use ipc_tests::campaign::{Flaw, Lane, Round, STALL_LIMIT};
use ipc_tests::{eventually, state};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::raw;

/// Starts a process that waits for what the supervisor has, and returns when it sleeps.
pub(crate) fn asleep<T, F>(round: &Round, number: u64, what: T, wait: F) -> Process<()>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce(T) + Copy + Send + 'static,
{
    fn begin<T, F>(wait: F) -> impl FnOnce((T, Lane)) + Copy + Send + 'static
    where
        F: FnOnce(T) + Copy + Send + 'static,
    {
        move |(what, lane)| {
            raw::yield_to_others();
            lane.attempt(1);
            wait(what);
        }
    }
    let process = Builder::new().spawn(begin(wait), (what, round.lane(number))).expect("the waiter starts");
    // Between its note and the sleep it does nothing that waits.
    eventually("the waiter sleeps", || round.lane(number).attempted() == 1 && state(process.pid()) == Some('S'));
    process
}

/// Kills a process that has been woken and, as it is on our processor, has not run since.
pub(crate) fn kill_woken(round: &mut Round, woken: Process<()>) {
    woken.kill().expect("it is ours");
    let _ = round.join(woken);
}

/// The survivor goes on soon.
fn join_soon(round: &mut Round, survivor: Process<()>) {
    let begin = Instant::now();
    if let Err(error) = survivor.join() {
        round.flaw(Flaw::Wrong, format!("a survivor: {error}"));
    }
    if begin.elapsed() > STALL_LIMIT {
        round.flaw(Flaw::Wrong, format!("a survivor was held up for {:?}", begin.elapsed()));
    }
    round.messages(1);
}

/// The control `barger` with a mutex that survives it.
pub(crate) fn mutex(round: &mut Round) {
    raw::stay_on_one_processor();
    let mutex = Mutex::new(0u64).expect("a mutex");
    let lock = |mutex: Mutex<u64>| drop(mutex.lock().expect("nobody dies with it"));
    let guard = mutex.lock().expect("it is new");
    let victim = asleep(round, 0, mutex.clone(), lock);
    let survivor = asleep(round, 1, mutex.clone(), lock);
    drop(guard);
    let barged = mutex.try_lock();
    kill_woken(round, victim);
    drop(barged);
    // If the victim was quicker and died with the mutex, the survivor is told, and panics.
    join_soon(round, survivor);
}

/// The control `wake_one` with a signal that survives it.
pub(crate) fn signal(round: &mut Round) {
    raw::stay_on_one_processor();
    let signal = Semaphore::signal(0).expect("a signal");
    let acquire = |signal: Signal| signal.acquire().expect("the supervisor has it, too");
    let victim = asleep(round, 0, signal.clone(), acquire);
    let survivor = asleep(round, 1, signal.clone(), acquire);
    signal.release().expect("not too high");
    kill_woken(round, victim);
    if signal.value().expect("not forked") == 0 {
        // One of the two was quicker. If it was the victim, it has used up what there was.
        signal.release().expect("not too high");
    }
    join_soon(round, survivor);
}
