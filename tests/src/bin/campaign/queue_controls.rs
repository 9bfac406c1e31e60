//! Queues with a mistake that is easily made, which the campaign must find.

use std::sync::atomic::Ordering;

use ipc_core::crash_point;
use ipc_tests::campaign::{Round, Sizes};
use serde::{Deserialize, Serialize};

use crate::queue::{Cast, End, GIVER, Giver, Line, Role, TAKER, Taker, play};
use crate::queue_ledger::Step;
use crate::raw::{Map, Memory, SLOTS};

/// A ring of small messages under one lock.
#[derive(Serialize, Deserialize)]
struct Toy {
    memory: Memory,
    mistake: Mistake,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Mistake {
    /// The message is visible before it is there.
    PublishesFirst,
    /// What is taken from the ring is nobody's until it has come to its taker.
    NotesNothing,
    /// What is noted is given to another one, also if it is still in the ring.
    ReturnsTwice,
    /// A lease ends with its owner, and the message with it.
    ForgetsLeases,
    /// The lock does not survive its owner.
    PlainLock,
}

/// How long a message is.
const SIZE: usize = 16;

const TAKEN: usize = 0;
const PUT: usize = 1;
const CLOSED: usize = 2;
/// The position that is being taken, and one.
const NOTED: usize = 3;

impl Toy {
    fn with<R>(&self, work: impl FnOnce(&Map, bool) -> R) -> R {
        let map = self.memory.map();
        let owner_died = if self.mistake == Mistake::PlainLock {
            map.lock()
        } else {
            // A robust one loses wake-ups when it is waited for, but that is another mistake.
            loop {
                match map.try_lock() {
                    Some(owner_died) => break owner_died,
                    None => std::thread::yield_now(),
                }
            }
        };
        if owner_died {
            map.forget_death();
        }
        let result = work(&map, owner_died);
        map.unlock();
        result
    }

    /// One message, or the end, or nothing yet.
    fn take_one(&self) -> Result<Option<Vec<u8>>, End> {
        self.with(|map, owner_died| {
            let word = |number| map.word(number).load(Ordering::SeqCst);
            let noted = word(NOTED) as usize;
            if owner_died && noted > 0 {
                map.word(NOTED).store(0, Ordering::SeqCst);
                return Ok(Some(read(map, noted - 1)));
            }
            let position = word(TAKEN) as usize;
            if position as u32 == word(PUT) {
                return if word(CLOSED) == 0 { Ok(None) } else { Err(End::Over) };
            }
            if self.mistake == Mistake::ReturnsTwice {
                map.word(NOTED).store(position as u32 + 1, Ordering::SeqCst);
                crash_point!("get.noted");
            }
            let message = read(map, position);
            map.slots()[position % SLOTS].iter().for_each(|word| word.set(0));
            map.word(TAKEN).fetch_add(1, Ordering::SeqCst);
            map.word(NOTED).store(0, Ordering::SeqCst);
            crash_point!("get.moved");
            Ok(Some(message))
        })
    }
}

fn read(map: &Map, position: usize) -> Vec<u8> {
    map.slots()[position % SLOTS].iter().flat_map(|word| word.get().to_le_bytes()).collect()
}

impl Line for Toy {
    fn share(&self, _: Role, _: bool) -> Toy {
        Toy { memory: self.memory.share(), mistake: self.mistake }
    }

    fn put(&mut self, giver: &mut Giver, messages: &[Vec<u8>]) -> (usize, Result<(), End>) {
        let put = self.with(|map, _| {
            let position = map.word(PUT).load(Ordering::SeqCst) as usize;
            if position - map.word(TAKEN).load(Ordering::SeqCst) as usize == SLOTS {
                return 0;
            }
            if self.mistake == Mistake::PublishesFirst {
                map.word(PUT).fetch_add(1, Ordering::SeqCst);
                crash_point!("put.published");
            }
            for (word, bytes) in map.slots()[position % SLOTS].iter().zip(messages[0].chunks(8)) {
                word.set(u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
            }
            // So that it is often killed with the lock.
            giver.rng.spin(3000);
            if self.mistake != Mistake::PublishesFirst {
                map.word(PUT).fetch_add(1, Ordering::SeqCst);
            }
            1
        });
        if put == 0 {
            std::thread::yield_now();
        }
        (put, Ok(()))
    }

    fn take(&mut self, taker: &mut Taker) -> Result<(), End> {
        let Some(message) = self.take_one()? else {
            std::thread::yield_now();
            return Ok(());
        };
        if self.mistake != Mistake::ForgetsLeases {
            taker.taken(&[message]);
            return Ok(());
        }
        let number = taker.leased(&message, 1);
        // So that it is mostly killed with one.
        taker.rng.spin(100_000);
        taker.note(Step::Finishing, number);
        taker.note(Step::Finished, number);
        Ok(())
    }

    fn close(&self) {
        self.with(|map, _| map.word(CLOSED).store(1, Ordering::SeqCst));
    }
}

fn toy(round: &mut Round, mistake: Mistake, cast: Cast) {
    let memory = Memory::create();
    memory.map().create_mutex(mistake != Mistake::PlainLock);
    play(round, &Cast { sizes: Sizes::Fixed(SIZE), ..cast }, Toy { memory, mistake });
}

pub(crate) fn publishes_first(round: &mut Round) {
    toy(round, Mistake::PublishesFirst, Cast::of(GIVER));
}

pub(crate) fn notes_nothing(round: &mut Round) {
    toy(round, Mistake::NotesNothing, Cast::of(TAKER));
}

pub(crate) fn returns_twice(round: &mut Round) {
    toy(round, Mistake::ReturnsTwice, Cast::of(TAKER));
}

pub(crate) fn forgets_leases(round: &mut Round) {
    toy(round, Mistake::ForgetsLeases, Cast { at_once: 0, ..Cast::of(TAKER) });
}

pub(crate) fn plain_lock(round: &mut Round) {
    toy(round, Mistake::PlainLock, Cast::of(GIVER));
}
