//! Objects that are made and passed on by processes that are killed.

use ipc_core::{Builder, Process, Segment};
use ipc_sync::{Condvar, Error, Event, Mutex, Semaphore, Signal};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round, VARIABLE};
use serde::{Deserialize, Serialize};

use crate::permits::join_survivor;

/// Something to wait on, whose waiters must hear when they are alone.
#[derive(Clone, Serialize, Deserialize)]
enum Thing {
    Event(Event),
    Signal(Signal),
    Condvar(Condvar),
}

impl Thing {
    fn new(rng: &mut Rng) -> Thing {
        match rng.below(3) {
            0 => Thing::Event(Event::new().expect("an event")),
            1 => Thing::Signal(Semaphore::signal(0).expect("a signal")),
            _ => Thing::Condvar(Condvar::new().expect("a condition variable")),
        }
    }

    /// Ends a wait of others.
    fn set(&self) {
        match self {
            Thing::Event(event) => event.set(),
            Thing::Signal(signal) => signal.release(),
            Thing::Condvar(condvar) => condvar.notify_one(),
        }
        .expect("not forked");
    }

    /// Waits for what others do; false if nobody is left.
    fn wait(&self, own: &Mutex<u64>) -> bool {
        let result = match self {
            Thing::Event(event) => event.wait().and_then(|()| event.clear()),
            Thing::Signal(signal) => signal.acquire(),
            Thing::Condvar(condvar) => {
                let guard = own.lock().expect("nobody else has it");
                condvar.wait(guard).map(drop)
            }
        };
        match result {
            Ok(()) => true,
            Err(Error::Abandoned) => false,
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Other {
    thing: Thing,
    lane: Lane,
    seed: u64,
}

/// Ends waits of the survivor, and has its children do so.
fn set_for_ever(other: Other) {
    let Other { thing, lane, seed } = other;
    let mut rng = Rng::new(seed);
    for n in 1.. {
        lane.attempt(n);
        if rng.one_in(3) {
            let set = |thing: Thing| thing.set();
            let builder = Builder::new().env_remove(VARIABLE);
            let child: Process<()> = builder.spawn(set, thing.clone()).expect("a child starts");
            child.join().expect("it is not killed");
        } else {
            thing.set();
        }
        lane.acknowledge(n);
        rng.spin(2000);
    }
}

/// The only other process that has something is killed, also while it gets it or passes it on: who waits hears of it.
pub(crate) fn abandoned(round: &mut Round) {
    let thing = Thing::new(&mut round.rng);
    let own = Mutex::new(0u64).expect("a mutex");
    round.strike(|round| {
        let other = Other { thing: thing.clone(), lane: round.lane(0), seed: round.rng.next() };
        let victim: Process<()> = round.victim().spawn(set_for_ever, other).expect("the victim starts");
        while thing.wait(&own) {
            round.messages(1);
        }
        let then = round.lane(0).attempted();
        let _ = round.join(victim);
        if round.lane(0).attempted() != then {
            round.flaw(Flaw::Wrong, "abandoned, and the other one went on");
        }
    });
}

/// How many objects a segment gets.
const OBJECTS: usize = 48;

type Counter = Mutex<[u64; 2]>;

#[derive(Serialize, Deserialize)]
struct Maker {
    segment: Segment,
    lane: Lane,
    seed: u64,
}

fn offset(n: usize) -> usize {
    n * Counter::size().next_multiple_of(Segment::ALIGNMENT)
}

/// Makes the object, or opens what another one has made.
fn make(segment: &Segment, n: usize) -> Counter {
    loop {
        match Counter::create_in(segment, offset(n), [0; 2]) {
            Ok(counter) => return counter,
            Err(Error::Memory(ipc_core::Error::Exists { .. })) => {}
            Err(error) => panic!("{error:?}"),
        }
        match Counter::open_in(segment, offset(n)) {
            Ok(counter) => return counter,
            // Somebody makes it, or has died over it.
            Err(Error::Memory(ipc_core::Error::Missing { .. })) => std::thread::yield_now(),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn repair(value: &mut [u64; 2], _: Option<u32>) -> bool {
    value[1] = value[0];
    true
}

/// Makes all objects, in the order in which the others do so, and adds one to each.
fn make_all(maker: &Maker) {
    let mut rng = Rng::new(maker.seed);
    for n in 0..OBJECTS {
        maker.lane.attempt(n as u64 + 1);
        let counter = make(&maker.segment, n);
        let mut value = counter.lock_or_repair(repair).expect("not locked twice");
        if value[0] != value[1] {
            maker.lane.complain(Flaw::Untold);
        }
        value[0] += 1;
        rng.spin(1000);
        value[1] += 1;
        drop(value);
        maker.lane.acknowledge(n as u64 + 1);
    }
}

/// Three make the same objects in a segment, and one of them is killed.
pub(crate) fn segment(round: &mut Round) {
    let segment = Segment::anonymous(offset(OBJECTS)).expect("a segment");
    round.strike(|round| {
        let maker = |round: &mut Round, lane| Maker {
            segment: segment.clone(),
            lane: round.lane(lane),
            seed: round.rng.next(),
        };
        let forever = |maker: Maker| {
            make_all(&maker);
            loop {
                std::thread::park();
            }
        };
        let victim: Process<()> = round.victim().spawn(forever, maker(round, 0)).expect("the victim starts");
        let work = |maker: Maker| make_all(&maker);
        let other: Process<()> = Builder::new().spawn(work, maker(round, 1)).expect("the other one starts");
        make_all(&maker(round, 2));
        join_survivor(round, other);
        let _ = round.join(victim);
    });
    round.messages(OBJECTS as u64);
    if ["mutex.locked", "segment.object-filled"].map(Some).contains(&round.died_at()) {
        round.inside();
    }
    if let Some(flaw) = [0, 1, 2].into_iter().find_map(|lane| round.lane(lane).flaw()) {
        round.flaw(flaw, "the two halves differ, and nobody was told");
    }
    let (attempted, acknowledged) = (round.lane(0).attempted(), round.lane(0).acknowledged());
    for n in 0..OBJECTS {
        let counter = Counter::open_in(&segment, offset(n)).expect("it was made");
        let value = counter.lock_or_repair(repair).expect("not locked twice")[0];
        let by_victim = |count: u64| u64::from((n as u64) < count);
        if value < 2 + by_victim(acknowledged) {
            round.flaw(Flaw::Lost, format!("object {n} has {value}"));
        }
        if value > 2 + by_victim(attempted) {
            round.flaw(Flaw::Duplicate, format!("object {n} has {value}"));
        }
    }
}
