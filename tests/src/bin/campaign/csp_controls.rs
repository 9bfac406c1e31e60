//! Channels and members with a mistake that is easily made, which the campaign must find.

use std::hint::spin_loop;
use std::mem;
use std::sync::atomic::Ordering;
use std::thread;

use ipc_core::{Builder, Process, crash_point};
use ipc_csp::{Channel, Network, Reader, Writer};
use ipc_tests::campaign::{Items, Lane, Round, Sizes};
use serde::{Deserialize, Serialize};

use crate::csp::{Cast, play, reads, writes};
use crate::csp_census::take_census_now;
use crate::csp_ledger::{Ledger, Part, Step};
use crate::csp_member::{Desk, Value, Way, without_value};
use crate::permits::join_survivor;
use crate::raw::{Map, Memory};

/// How long a value is.
const SIZE: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Mistake {
    /// A writer notes what it is about to write as written.
    NotesFirst,
    /// It writes each value twice.
    WritesTwice,
    /// It writes other bytes than it should, at times.
    WritesOther,
}

#[derive(Serialize, Deserialize)]
struct Wrong {
    to: Writer<Value>,
    mistake: Mistake,
    lane: Lane,
    items: Items,
}

fn write_wrongly(Wrong { to, mistake, lane, items }: Wrong) {
    let mut desk = Desk::new(lane, 0, 7, items);
    loop {
        let (number, mut value) = desk.draft();
        if mistake == Mistake::NotesFirst {
            desk.note(Step::Written, number);
            desk.rng.spin(100_000);
        }
        if mistake == Mistake::WritesOther && desk.rng.one_in(20) {
            *value.last_mut().expect("it is not empty") ^= 1;
        }
        if mistake == Mistake::WritesTwice && desk.rng.one_in(20) {
            let _ = to.write(value.clone());
        }
        let result = without_value(to.write(value));
        if mistake != Mistake::NotesFirst {
            desk.written(number, &result);
        }
    }
}

fn read_all(from: &Reader<Value>, lane: Lane, items: Items) {
    let mut desk = Desk::new(lane, 1, 7, items);
    while desk.read(from.read()) {}
}

fn with_mistake(round: &mut Round, mistake: Mistake) {
    let items = Items { seed: round.rng.next(), sizes: Sizes::Small };
    let network = Network::new().expect("memory for a network");
    let channel: Channel<Value> = network.channel().expect("a channel");
    let mut ledger = Ledger::new(0);
    ledger.enter(Part { lane: 0, dies: true, reads: false, writes: true });
    ledger.enter(Part { lane: 1, dies: false, reads: true, writes: false });
    let (to, from) = (channel.writer().expect("an end"), channel.reader().expect("an end"));
    round.strike(|round| {
        let wrong = Wrong { to, mistake, lane: round.lane(0), items };
        let lane = round.lane(1);
        let victim: Process<()> = round.victim().spawn(write_wrongly, wrong).expect("the victim starts");
        thread::scope(|scope| {
            scope.spawn(|| read_all(&from, lane, items));
            let _ = round.join(victim);
        });
    });
    ledger.judge(round);
}

pub(crate) fn lost(round: &mut Round) {
    with_mistake(round, Mistake::NotesFirst);
}

pub(crate) fn duplicate(round: &mut Round) {
    with_mistake(round, Mistake::WritesTwice);
}

pub(crate) fn corrupt(round: &mut Round) {
    with_mistake(round, Mistake::WritesOther);
}

/// Somebody has an end and has forgotten it: the others wait for what nobody will write.
pub(crate) fn forgotten_writer(round: &mut Round) {
    let network = Network::new().expect("memory for a network");
    let channel: Channel<Value> = network.channel().expect("a channel");
    let (writer, reader) = (channel.writer().expect("an end"), channel.reader().expect("an end"));
    let items = Items { seed: 7, sizes: Sizes::Small };
    let forgotten = channel.writer().expect("an end");
    round.strike(|round| {
        let wrong = Wrong { to: writer, mistake: Mistake::NotesFirst, lane: round.lane(0), items };
        let victim: Process<()> = round.victim().spawn(write_wrongly, wrong).expect("the victim starts");
        thread::scope(|scope| {
            let lane = round.lane(1);
            scope.spawn(|| read_all(&reader, lane, items));
            let _ = round.join(victim);
        });
    });
    drop(forgotten);
}

/// Somebody never gives an end back.
pub(crate) fn kept_end(round: &mut Round) {
    const CAST: Cast = Cast { near: &[reads(&[0], Way::Plain)], ..Cast::of(&[0], &[writes(&[0], Way::Plain)]) };
    play(round, &CAST);
    let network = Network::new().expect("memory for a network");
    let channel: Channel<Value> = network.channel().expect("a channel");
    mem::forget(channel.reader().expect("an end"));
    take_census_now(round, &network, &[channel]);
}

/// A channel as one makes it without thinking of deaths: a place for a value under a lock.
#[derive(Serialize, Deserialize)]
struct Place {
    memory: Memory,
    is_robust: bool,
    writes: bool,
    number: u64,
    lane: Lane,
    items: Items,
}

/// What is in the place: nothing, a value, or one that was read, of which its writer is to learn.
const STATE: usize = 0;
const EMPTY: u32 = 0;
const FULL: u32 = 1;
const READ: u32 = 2;
/// Nobody writes any more.
const CLOSED: usize = 1;

impl Place {
    fn with<R>(&self, map: &Map, work: impl FnOnce() -> R) -> R {
        let owner_died = if self.is_robust {
            // It loses wake-ups when it is waited for, but that is another mistake.
            loop {
                match map.try_lock() {
                    Some(owner_died) => break owner_died,
                    None => thread::yield_now(),
                }
            }
        } else {
            map.lock()
        };
        if owner_died {
            map.forget_death();
        }
        // So that it is often killed with the lock.
        (0..3000).for_each(|_| spin_loop());
        let result = work();
        map.unlock();
        result
    }

    fn work(self) {
        let map = self.memory.map();
        let mut desk = Desk::new(self.lane.share(), self.number, self.number, self.items);
        if !self.writes {
            self.lane.attempt(1);
            while self.read(&map, &mut desk) {}
            return;
        }
        let mut more = 5;
        while more > 0 {
            more -= u32::from(self.lane.is_over());
            self.write(&map, &mut desk);
        }
    }

    fn write(&self, map: &Map, desk: &mut Desk) {
        let (number, value) = desk.draft();
        let state = map.word(STATE);
        let put = || {
            self.with(map, || {
                if state.load(Ordering::SeqCst) != EMPTY {
                    return false;
                }
                for (word, bytes) in map.slots()[0].iter().zip(value.chunks(8)) {
                    word.set(u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
                }
                state.store(FULL, Ordering::SeqCst);
                true
            })
        };
        while !put() {
            thread::yield_now();
        }
        while state.load(Ordering::SeqCst) != READ {
            thread::yield_now();
        }
        state.store(EMPTY, Ordering::SeqCst);
        desk.note(Step::Written, number);
    }

    /// `false` when there will be nothing any more.
    fn read(&self, map: &Map, desk: &mut Desk) -> bool {
        let state = map.word(STATE);
        let taken = self.with(map, || {
            if state.load(Ordering::SeqCst) != FULL {
                return None;
            }
            let value: Value = map.slots()[0].iter().flat_map(|word| word.get().to_le_bytes()).collect();
            // Whoever dies from here on has it, and nobody gets it back.
            state.store(READ, Ordering::SeqCst);
            Some(value)
        });
        match taken {
            Some(value) => {
                crash_point!("csp.taken");
                desk.read(Ok(value))
            }
            None => {
                thread::yield_now();
                map.word(CLOSED).load(Ordering::SeqCst) == 0
            }
        }
    }
}

fn place(round: &mut Round, is_robust: bool) {
    let memory = Memory::create();
    memory.map().create_mutex(is_robust);
    let items = Items { seed: round.rng.next(), sizes: Sizes::Fixed(SIZE) };
    let mut ledger = Ledger::new(0);
    let mut place = |round: &Round, number: u64, writes: bool, dies: bool| {
        ledger.enter(Part { lane: number, dies, reads: !writes, writes });
        Place { memory: memory.share(), is_robust, writes, number, lane: round.lane(number), items }
    };
    round.strike(|round| {
        let victim = place(round, 0, false, true);
        let (writer, reader) = (place(round, 1, true, false), place(round, 2, false, false));
        let victim: Process<()> = round.victim().spawn(Place::work, victim).expect("the victim starts");
        let writer: Process<()> = Builder::new().spawn(Place::work, writer).expect("the writer starts");
        let reader: Process<()> = Builder::new().spawn(Place::work, reader).expect("the reader starts");
        let _ = round.join(victim);
        round.end();
        join_survivor(round, writer);
        memory.map().word(CLOSED).store(1, Ordering::SeqCst);
        join_survivor(round, reader);
    });
    ledger.judge(round);
}

/// What the dead have taken does not come back.
pub(crate) fn no_return(round: &mut Round) {
    place(round, true);
}

/// The lock does not survive its owner.
pub(crate) fn plain_lock(round: &mut Round) {
    place(round, false);
}
