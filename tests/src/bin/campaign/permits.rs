//! Counts that processes take from and give to, of which one is killed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ipc_core::{Builder, Process};
use ipc_pipe::duplex;
use ipc_sync::{Error, Semaphore, Signal};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round};
use serde::{Deserialize, Serialize};

use crate::raw::Memory;

const SHORT: Duration = Duration::from_micros(300);
const PERMITS: u32 = 2;

/// What a survivor still does after the victim's end.
const AFTERWARDS: u32 = 5;

#[derive(Serialize, Deserialize)]
struct Holder {
    semaphore: Semaphore,
    lane: Lane,
    memory: Memory,
    seed: u64,
    may_die: bool,
}

/// In the memory: how many are in of those who do not die.
const IN: usize = 0;

/// Takes a permit and gives it back, in all the ways there are.
fn hold(holder: &Holder) {
    let Holder { semaphore, lane, memory, seed, may_die } = holder;
    let (mut rng, map) = (Rng::new(*seed), memory.map());
    let (mut done, mut more) = (0, AFTERWARDS);
    while more > 0 && lane.flaw().is_none() {
        let over = lane.is_over();
        lane.attempt(done + 1);
        let permit = match rng.below(6) {
            0 => semaphore.try_acquire(),
            1 => semaphore.acquire_timeout(SHORT),
            _ => semaphore.acquire(),
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(Error::Timeout | Error::WouldBlock) => continue,
            Err(error) => panic!("cannot acquire: {error:?}"),
        };
        lane.receive(1);
        let others = map.word(IN).fetch_add(u32::from(!may_die), Ordering::SeqCst);
        if others >= PERMITS {
            lane.complain(Flaw::Duplicate);
        }
        rng.spin(500);
        // From here on it may be another one's.
        map.word(IN).fetch_sub(u32::from(!may_die), Ordering::SeqCst);
        lane.receive(0);
        if rng.one_in(3) {
            permit.keep();
            semaphore.release().expect("it is kept");
        } else {
            drop(permit);
        }
        done += 1;
        lane.acknowledge(done);
        more -= u32::from(over);
    }
}

/// Takes permits as one who is gone at once: with a handle that comes anew, keeps the permit, and is dropped. Only one that is on its way
/// is left then, so that the process has the semaphore no more.
fn leave_behind(holder: Holder) {
    let Holder { mut semaphore, lane, .. } = holder;
    let (mut there, mut here) = duplex::<Semaphore, Semaphore>().expect("a connection to oneself");
    let mut n = 0;
    while !lane.is_over() {
        n += 1;
        lane.attempt(n);
        there.send(&semaphore).expect("room for it");
        drop(semaphore);
        semaphore = here.recv().expect("it was sent");
        match semaphore.try_acquire() {
            Ok(permit) => permit.keep(),
            Err(Error::WouldBlock) => {}
            Err(error) => panic!("cannot acquire: {error:?}"),
        }
    }
}

/// Permits are left behind again and again, and one of those who free them is killed.
pub(crate) fn sweeper(round: &mut Round) {
    hold_and_die(round, leave_behind);
}

/// All permits of a dead process come back, and never are there too many.
pub(crate) fn semaphore(round: &mut Round) {
    hold_and_die(round, |holder| hold(&holder));
}

fn hold_and_die<F: FnOnce(Holder) + Copy + Send + 'static>(round: &mut Round, others: F) {
    let semaphore = Semaphore::new(PERMITS).expect("a semaphore");
    let memory = Memory::create();
    round.strike(|round| {
        let holder = |round: &mut Round, number: u64| Holder {
            semaphore: semaphore.clone(),
            lane: round.lane(number),
            memory: memory.share(),
            seed: round.rng.next(),
            may_die: number == 0,
        };
        let work = |holder: Holder| hold(&holder);
        let victim: Process<()> = round.victim().spawn(work, holder(round, 0)).expect("the victim starts");
        let other: Process<()> = Builder::new().spawn(others, holder(round, 1)).expect("the other one starts");
        let near = [holder(round, 2), holder(round, 3)];
        std::thread::scope(|scope| {
            near.iter().for_each(|near| drop(scope.spawn(|| hold(near))));
            let _ = round.join(victim);
            round.end();
        });
        join_survivor(round, other);
    });
    let lanes = [0, 1, 2, 3].map(|lane| round.lane(lane));
    lanes.iter().filter_map(Lane::flaw).for_each(|flaw| round.flaw(flaw, "more are in than there are permits"));
    if lanes[0].received() > 0 || round.died_at() == Some("semaphore.taken") {
        round.inside();
    }
    round.messages(lanes.iter().map(Lane::acknowledged).sum());
    match semaphore.available() {
        Ok(PERMITS) => {}
        other => round.flaw(Flaw::Lost, format!("{other:?} of {PERMITS} permits are there in the end")),
    }
}

pub(crate) fn join_survivor(round: &mut Round, survivor: Process<()>) {
    if let Err(error) = survivor.join() {
        round.flaw(Flaw::Wrong, format!("a survivor: {error}"));
    }
}

#[derive(Serialize, Deserialize)]
struct Hand {
    signal: Signal,
    lane: Lane,
    seed: u64,
}

/// Adds to the signal: a victim for ever, a survivor until some time after the victim's end.
fn give(hand: Hand) {
    let mut rng = Rng::new(hand.seed);
    let (mut n, mut more) = (0, AFTERWARDS);
    while more > 0 {
        more -= u32::from(hand.lane.is_over());
        let count = if rng.one_in(3) { 1 + rng.below(5) as u32 } else { 1 };
        hand.lane.attempt(n + u64::from(count));
        let given = if count == 1 { hand.signal.release() } else { hand.signal.release_many(count) };
        given.expect("the count is not too high");
        n += u64::from(count);
        hand.lane.acknowledge(n);
        // So that the takers find nothing, sometimes.
        rng.spin(4000);
    }
}

/// Takes from the signal until nobody is left who could add to it.
fn take(hand: Hand) {
    let mut rng = Rng::new(hand.seed);
    let mut n = 0;
    loop {
        hand.lane.attempt(n + 1);
        let taken = match rng.below(6) {
            0 => hand.signal.try_acquire(),
            1 => hand.signal.acquire_timeout(SHORT),
            _ => hand.signal.acquire(),
        };
        match taken {
            Ok(()) => {
                n += 1;
                hand.lane.receive(n);
            }
            Err(Error::Timeout | Error::WouldBlock) => {}
            Err(Error::Abandoned) => return,
            Err(error) => panic!("cannot acquire: {error:?}"),
        }
    }
}

fn hand(round: &mut Round, signal: &Signal, lane: u64) -> Hand {
    Hand { signal: signal.clone(), lane: round.lane(lane), seed: round.rng.next() }
}

/// What was added and acknowledged is taken, once: two give, of which one dies, and a thread of the supervisor takes.
pub(crate) fn giver(round: &mut Round) {
    let signal = Semaphore::signal(0).expect("a signal");
    round.strike(|round| {
        let victim: Process<()> = round.victim().spawn(give, hand(round, &signal, 0)).expect("the victim starts");
        let other: Process<()> = Builder::new().spawn(give, hand(round, &signal, 1)).expect("the other one starts");
        let near = hand(round, &signal, 2);
        drop(signal);
        std::thread::scope(|scope| {
            scope.spawn(|| take(near));
            let _ = round.join(victim);
            round.end();
            join_survivor(round, other);
        });
    });
    let (dead, other, taken) = (round.lane(0), round.lane(1), round.lane(2).received());
    round.messages(taken);
    if taken < dead.acknowledged() + other.acknowledged() {
        round.flaw(Flaw::Lost, format!("{dead:?} and {other:?} gave, {taken} were taken"));
    }
    if taken > dead.attempted() + other.acknowledged() {
        round.flaw(Flaw::Duplicate, format!("{dead:?} and {other:?} gave, {taken} were taken"));
    }
}

/// The same: two take, of which one dies, and a thread of the supervisor gives.
pub(crate) fn taker(round: &mut Round) {
    let signal = Semaphore::signal(0).expect("a signal");
    round.strike(|round| {
        let victim: Process<()> = round.victim().spawn(take, hand(round, &signal, 0)).expect("the victim starts");
        let other: Process<()> = Builder::new().spawn(take, hand(round, &signal, 1)).expect("the other one starts");
        let near = hand(round, &signal, 2);
        drop(signal);
        std::thread::scope(|scope| {
            scope.spawn(|| give(near));
            let _ = round.join(victim);
            round.end();
        });
        // Nobody gives any more, so the other one comes to its end.
        join_survivor(round, other);
    });
    let (dead, other, given) = (round.lane(0), round.lane(1).received(), round.lane(2).acknowledged());
    round.messages(given);
    if given > dead.attempted() + other {
        round.flaw(Flaw::Lost, format!("{given} were given, {other} were taken, and by the victim: {dead:?}"));
    }
    if given < dead.received() + other {
        round.flaw(Flaw::Duplicate, format!("{given} were given, {other} were taken, and by the victim: {dead:?}"));
    }
}
