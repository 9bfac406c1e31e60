//! Locks in a manager's server, around two objects there that belong together, and permits; one of those who use them is killed.

use std::hint::spin_loop;
use std::sync::atomic::Ordering;

use ipc_core::{Builder, Process};
use ipc_manager::{Condition, ConditionGuard, Guard, List, Lock, Object, RLock, Result, Semaphore, Value};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round};
use serde::{Deserialize, Serialize};

use crate::manager::{AFTERWARDS, Host, Place, SHORT, complain, judge_lanes, waited};
use crate::permits::join_survivor;
use crate::raw::Memory;

/// Where a worker is, as it notes on its lane: with the lock for sure, surely without it, or it cannot know.
const OUTSIDE: u64 = 0;
const INSIDE: u64 = 1;
const ENTERING: u64 = 2;
const LEAVING: u64 = 3;

/// A lock of the server's.
pub(crate) trait Guarded: Object + 'static {
    type Guard<'a>: Held
    where
        Self: 'a;

    /// Who is granted it may have it already.
    const TAKES_MORE_THAN_ONE: bool = false;

    /// In one of the ways there are. Says whether a death was told.
    fn enter(&self, rng: &mut Rng) -> Result<(Self::Guard<'_>, bool)>;
}

pub(crate) trait Held {
    /// Does what this lock can do besides.
    fn pause(&mut self, rng: &mut Rng, lane: &Lane) -> Result<()>;

    fn leave(self) -> Result<()>;
}

macro_rules! guarded {
    ($lock:ident, $guard:ident) => {
        impl Guarded for $lock {
            type Guard<'a> = $guard<'a>;

            fn enter(&self, rng: &mut Rng) -> Result<($guard<'_>, bool)> {
                let untold = |guard| (guard, false);
                match rng.below(8) {
                    0 => self.try_lock().map(untold),
                    1 => self.lock_timeout(SHORT).map(untold),
                    2 => self.try_lock_or_repair(),
                    3 => self.lock_or_repair_timeout(SHORT),
                    4 => self.lock_or_repair(),
                    _ => self.lock().map(untold),
                }
            }
        }
    };
}

guarded!(Lock, Guard);
guarded!(Condition, ConditionGuard);

impl Held for Guard<'_> {
    fn pause(&mut self, rng: &mut Rng, _: &Lane) -> Result<()> {
        rng.spin(3000);
        Ok(())
    }

    fn leave(self) -> Result<()> {
        self.unlock()
    }
}

impl Held for ConditionGuard<'_> {
    fn pause(&mut self, rng: &mut Rng, lane: &Lane) -> Result<()> {
        match rng.below(4) {
            0 => self.notify_one().map(drop),
            1 => self.notify_all().map(drop),
            2 => {
                lane.receive(ENTERING);
                self.wait_timeout(SHORT)?;
                lane.receive(INSIDE);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn leave(self) -> Result<()> {
        self.unlock()
    }
}

/// An `RLock` that is taken twice.
pub(crate) struct Twice<'a> {
    outer: Guard<'a>,
    inner: Guard<'a>,
}

impl Guarded for RLock {
    type Guard<'a> = Twice<'a>;

    const TAKES_MORE_THAN_ONE: bool = true;

    fn enter(&self, rng: &mut Rng) -> Result<(Twice<'_>, bool)> {
        let (outer, died) = match rng.below(4) {
            0 => (self.lock_timeout(SHORT)?, false),
            1 => self.lock_or_repair()?,
            _ => (self.lock()?, false),
        };
        Ok((Twice { outer, inner: self.lock()? }, died))
    }
}

impl Held for Twice<'_> {
    fn pause(&mut self, rng: &mut Rng, lane: &Lane) -> Result<()> {
        self.inner.pause(rng, lane)
    }

    fn leave(self) -> Result<()> {
        self.inner.unlock()?;
        self.outer.unlock()
    }
}

/// One who adds one to both halves, again and again.
#[derive(Serialize, Deserialize)]
pub(crate) struct Worker {
    place: Place,
    lane: Lane,
    seed: u64,
    /// Takes what it finds for sound, also when it is told that it may not be.
    is_deaf: bool,
}

struct Halves {
    first: Value<u64>,
    second: List<u64>,
}

/// A victim for ever, a survivor until some time after the victim's end.
fn work<L: Guarded>(worker: Worker) {
    let manager = worker.place.enter();
    let lock: L = manager.open("lock").expect("it is there");
    let halves = Halves {
        first: manager.open("first").expect("it is there"),
        second: manager.open("second").expect("it is there"),
    };
    let mut rng = Rng::new(worker.seed);
    let (mut tries, mut done, mut more) = (0, 0, AFTERWARDS);
    while more > 0 && worker.lane.flaw().is_none() {
        let over = worker.lane.is_over();
        tries += 1;
        worker.lane.attempt(tries);
        match add_one(&worker, &lock, &halves, &mut rng) {
            Ok(()) => {
                done += 1;
                worker.lane.acknowledge(done);
                more -= u32::from(over);
            }
            Err(error) if waited(&error) || error.is_owner_died() => {}
            Err(error) => worker.lane.complain(complain(&worker.lane, "work under the lock", &error)),
        }
        worker.lane.receive(OUTSIDE);
    }
}

fn add_one<L: Guarded>(worker: &Worker, lock: &L, halves: &Halves, rng: &mut Rng) -> Result<()> {
    let Worker { lane, is_deaf, .. } = worker;
    lane.receive(ENTERING);
    let (mut guard, died) = lock.enter(rng)?;
    lane.receive(INSIDE);
    let value = halves.first.get()?;
    if halves.second.get(0)? != Some(value) {
        if !died || *is_deaf {
            lane.complain(Flaw::Untold);
        }
        halves.second.set(0, &value)?;
    }
    if died {
        lane.tell(lane.told() + 1);
    }
    guard.pause(rng, lane)?;
    let value = halves.first.get()?;
    halves.first.set(&(value + 1))?;
    // A control is to die here.
    (0..rng.below(if *is_deaf { 200_000 } else { 500 })).for_each(|_| spin_loop());
    halves.second.set(0, &(value + 1))?;
    lane.receive(LEAVING);
    guard.leave()
}

/// Who comes after a victim that died with the lock is told, and only then.
pub(crate) fn lock<L: Guarded>(round: &mut Round, make: fn(&Host) -> L) {
    lock_with(round, make, false);
}

pub(crate) fn lock_with<L: Guarded>(round: &mut Round, make: fn(&Host) -> L, is_deaf: bool) {
    let host = Host::new(round);
    let lock = host.publish("lock", Ok(make(&host)));
    let (first, second) =
        (host.publish("first", host.manager.value(0)), host.publish("second", host.manager.list_of([0])));
    round.strike(|round| {
        let worker = |round: &mut Round, lane: u64| Worker {
            place: host.place.clone(),
            lane: round.lane(lane),
            seed: round.rng.next(),
            is_deaf,
        };
        let victim: Process<()> = round.victim().spawn(work::<L>, worker(round, 0)).expect("the victim starts");
        let other: Process<()> = Builder::new().spawn(work::<L>, worker(round, 1)).expect("the other one starts");
        let near = [worker(round, 2), worker(round, 3)];
        std::thread::scope(|scope| {
            near.into_iter().for_each(|near| drop(scope.spawn(|| work::<L>(near))));
            let _ = round.join(victim);
            round.end();
        });
        join_survivor(round, other);
    });
    let lanes = [0, 1, 2, 3].map(|lane| round.lane(lane));
    judge_lanes(round, &lanes);
    let told: u64 = lanes.iter().map(Lane::told).sum();
    let state = lanes[0].received();
    // What was granted and not confirmed is taken back without a word.
    let may_be_told = match state {
        OUTSIDE => false,
        ENTERING => L::TAKES_MORE_THAN_ONE || round.died_at() != Some("manager.granted"),
        _ => true,
    };
    if state == INSIDE && told == 0 {
        round.flaw(Flaw::Untold, "the victim died with the lock");
    }
    if told > u64::from(may_be_told) {
        round.flaw(Flaw::Wrong, format!("{told} were told of a death, and the victim was in state {state}"));
    }
    if told > 0 {
        round.inside();
    }
    judge_halves(round, &lanes, &first, &second);
    match lock.enter(&mut round.rng) {
        Ok((guard, false)) => drop(guard),
        Ok((_, true)) => round.flaw(Flaw::Wrong, "a death was told once more"),
        Err(error) => round.flaw(Flaw::Wrong, format!("nobody has the lock, but it cannot be taken: {error:?}")),
    }
    drop((lock, first, second));
    host.judge_empty(round);
}

fn judge_halves(round: &mut Round, lanes: &[Lane], first: &Value<u64>, second: &List<u64>) {
    let sum = |number: fn(&Lane) -> u64| lanes.iter().map(number).sum::<u64>();
    let (attempted, acknowledged) = (sum(Lane::attempted), sum(Lane::acknowledged));
    round.messages(acknowledged);
    let value = match (first.get(), second.get(0)) {
        (Ok(first), Ok(Some(second))) if first == second => first,
        other => return round.flaw(Flaw::Untold, format!("the halves are {other:?} in the end")),
    };
    if value < acknowledged {
        round.flaw(Flaw::Lost, format!("{acknowledged} additions acknowledged, {value} in the data"));
    }
    if value > attempted {
        round.flaw(Flaw::Duplicate, format!("{attempted} additions attempted, {value} in the data"));
    }
}

const PERMITS: u64 = 2;
/// In the memory: how many are in of those who do not die.
const IN: usize = 0;

#[derive(Serialize, Deserialize)]
struct Holder {
    place: Place,
    lane: Lane,
    memory: Memory,
    seed: u64,
    may_die: bool,
}

/// Takes a permit and gives it back, in all the ways there are.
fn hold(holder: Holder) {
    let Holder { place, lane, memory, seed, may_die } = holder;
    let semaphore: Semaphore = place.enter().open("seats").expect("it is there");
    let (mut rng, map) = (Rng::new(seed), memory.map());
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
            Err(error) if waited(&error) => continue,
            Err(error) => {
                lane.complain(complain(&lane, "acquire", &error));
                break;
            }
        };
        lane.receive(INSIDE);
        let others = map.word(IN).fetch_add(u32::from(!may_die), Ordering::SeqCst);
        if u64::from(others) >= PERMITS {
            lane.complain(Flaw::Duplicate);
        }
        rng.spin(500);
        // From here on it may be another one's.
        map.word(IN).fetch_sub(u32::from(!may_die), Ordering::SeqCst);
        lane.receive(OUTSIDE);
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

/// The permits of a dead process come back, and never are there too many.
pub(crate) fn semaphore(round: &mut Round) {
    let host = Host::new(round);
    let seats = host.publish("seats", host.manager.semaphore(PERMITS));
    let memory = Memory::create();
    round.strike(|round| {
        let holder = |round: &mut Round, number: u64| Holder {
            place: host.place.clone(),
            lane: round.lane(number),
            memory: memory.share(),
            seed: round.rng.next(),
            may_die: number == 0,
        };
        let victim: Process<()> = round.victim().spawn(hold, holder(round, 0)).expect("the victim starts");
        let other: Process<()> = Builder::new().spawn(hold, holder(round, 1)).expect("the other one starts");
        let near = [holder(round, 2), holder(round, 3)];
        std::thread::scope(|scope| {
            near.into_iter().for_each(|near| drop(scope.spawn(|| hold(near))));
            let _ = round.join(victim);
            round.end();
        });
        join_survivor(round, other);
    });
    let lanes = [0, 1, 2, 3].map(|lane| round.lane(lane));
    judge_lanes(round, &lanes);
    if lanes[0].received() == INSIDE || round.died_at() == Some("manager.granted") {
        round.inside();
    }
    round.messages(lanes.iter().map(Lane::acknowledged).sum());
    host.wait_for_clients(1);
    match seats.available() {
        Ok(PERMITS) => {}
        other => round.flaw(Flaw::Lost, format!("{other:?} of {PERMITS} permits are there in the end")),
    }
    drop(seats);
    host.judge_empty(round);
}

/// For the table of scenarios.
pub(crate) fn a_lock(host: &Host) -> Lock {
    host.manager.lock().expect("a lock")
}

pub(crate) fn an_rlock(host: &Host) -> RLock {
    host.manager.rlock().expect("a lock")
}

pub(crate) fn a_condition(host: &Host) -> Condition {
    host.manager.condition().expect("a condition")
}
