//! Locks with a mistake that is easily made, which the campaign must find.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use ipc_core::Process;
use ipc_tests::campaign::{Lane, Rng, Round};
use serde::{Deserialize, Serialize};

use crate::locks::{self, Lock, Then, Told};
use crate::raw::{self, Memory};
use crate::woken::{asleep, kill_woken};

/// A mutex of the C library's that tells nobody of a death.
#[derive(Debug, Serialize, Deserialize)]
struct Silent {
    memory: Memory,
    robust: bool,
}

impl Lock for Silent {
    fn share(&self) -> Silent {
        Silent { memory: self.memory.share(), robust: self.robust }
    }

    fn with(&self, _: &mut Rng, work: &mut dyn FnMut(&[Cell<u64>], Told) -> Then) -> Then {
        let map = self.memory.map();
        // A robust one loses wake-ups when it is waited for, but that is another mistake.
        let owner_died = if self.robust { patiently(|| map.try_lock()) } else { map.lock() };
        if owner_died {
            map.forget_death();
        }
        let then = work(map.data(), Told::Nothing);
        map.unlock();
        then
    }
}

fn silent(round: &mut Round, robust: bool) {
    let memory = Memory::create();
    memory.map().create_mutex(robust);
    locks::owner(round, &Silent { memory, robust }, &[]);
}

fn patiently<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    loop {
        match attempt() {
            Some(result) => return result,
            None => std::thread::yield_now(),
        }
    }
}

/// The mutex that one gets without asking for another one.
pub(crate) fn plain_mutex(round: &mut Round) {
    silent(round, false);
}

/// What a death has left is taken for sound.
pub(crate) fn untold(round: &mut Round) {
    silent(round, true);
}

const NEXT: usize = 0;
const SERVED: usize = 1;

/// A semaphore that counts who waits, and passes a permit on to the next number: also to one who is dead.
pub(crate) fn waiter_counter(round: &mut Round) {
    fn acquire((memory, lane): (Memory, Lane)) {
        let map = memory.map();
        let number = map.word(NEXT).fetch_add(1, Ordering::SeqCst);
        lane.attempt(1);
        loop {
            let served = map.word(SERVED).load(Ordering::SeqCst);
            if served > number {
                return;
            }
            map.sleep(SERVED, served);
        }
    }
    let memory = Memory::create();
    round.strike(|round| {
        // There is no permit as yet, so the victim waits.
        let waiter = (memory.share(), round.lane(0));
        let victim: Process<()> = round.victim().spawn(acquire, waiter).expect("the victim starts");
        let _ = round.join(victim);
    });
    let map = memory.map();
    map.word(SERVED).fetch_add(1, Ordering::SeqCst);
    map.wake(SERVED, i32::MAX);
    // The only permit is free, and nobody else is there.
    acquire((memory, round.lane(1)));
}

const PERMITS: usize = 0;

/// A semaphore that wakes one and trusts that it goes on.
pub(crate) fn wake_one(round: &mut Round) {
    fn acquire(memory: Memory) {
        let map = memory.map();
        while !map.take_one(PERMITS) {
            map.sleep(PERMITS, 0);
        }
    }
    raw::stay_on_one_processor();
    let memory = Memory::create();
    let victim = asleep(round, 0, memory.share(), acquire);
    let survivor = asleep(round, 1, memory.share(), acquire);
    let map = memory.map();
    map.word(PERMITS).fetch_add(1, Ordering::SeqCst);
    map.wake(PERMITS, 1);
    kill_woken(round, victim);
    if map.word(PERMITS).load(Ordering::SeqCst) == 0 {
        // The victim was quicker, or the other one was woken; that nobody is left with nothing is not what is to be shown.
        map.word(PERMITS).fetch_add(1, Ordering::SeqCst);
        map.wake(PERMITS, i32::MAX);
    }
    let _ = survivor.join();
}

/// The C library's robust mutex without slices: the owner wakes a waiter that is killed, and a third one, who took the mutex
/// without waiting, does not know that there is another waiter.
pub(crate) fn barger(round: &mut Round) {
    fn lock(memory: Memory) {
        let map = memory.map();
        map.lock();
        map.unlock();
    }
    raw::stay_on_one_processor();
    let memory = Memory::create();
    let map = memory.map();
    map.create_mutex(true);
    map.lock();
    let victim = asleep(round, 0, memory.share(), lock);
    let survivor = asleep(round, 1, memory.share(), lock);
    map.unlock();
    let barged = map.try_lock();
    kill_woken(round, victim);
    if barged.is_some() {
        map.unlock();
    }
    let _ = survivor.join();
}
