//! What the models have in common. As in `ipc-sync` each stands in a file of `model/`, as a part of the module that it checks, and beside it, in `control`, are the mistakes that it
//! must find. They run the steps of `hands.rs` and the words of `ipc-sync` themselves; what surrounds those steps in `put.rs`,
//! `take.rs`, `recover.rs` and `spsc.rs` needs a process with a memory, and is restated here, with the name of the function.
//!
//! The locks are loom's mutexes: what the real one promises is checked in `ipc-sync`. Nobody is killed; that is for the campaigns. Time
//! stands still: a wake-up that gets lost is a deadlock.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use ipc_sync::mechanism::WaitWord;
use loom::cell::Cell;
use loom::sync::Mutex;

use crate::layout::{QueueState, RETURNED};
use crate::place::Place;
use crate::shim::AtomicU64;

/// How many messages fit into the ring of a model.
pub(crate) const ROOM: u64 = 2;

#[derive(Default)]
pub(crate) struct World {
    pub(crate) state: QueueState,
    pub(crate) producers: Mutex<()>,
    pub(crate) consumers: Mutex<()>,
    /// Each is a message of 8 bytes.
    pub(crate) ring: [Cell<u64>; ROOM as usize],
}

/// Somebody who is alive; numbers of participants are not 0.
pub(crate) const ANN: u64 = 1;
pub(crate) const BOB: u64 = 2;

/// What somebody has taken.
pub(crate) struct Taken {
    pub(crate) hand: usize,
    pub(crate) start: Place,
    pub(crate) end: Place,
}

/// The place behind so many messages.
pub(crate) fn place(messages: u64) -> Place {
    Place::START.after(8 * messages, messages)
}

/// How many messages are before a place.
pub(crate) fn messages(place: Place) -> u64 {
    place.items_since(Place::START)
}

impl World {
    /// With so many messages in the queue. Message n is the number n + 1.
    pub(crate) fn with(messages: u64) -> World {
        let world = World::default();
        (0..messages).for_each(|n| world.write(n));
        world.state.end.tail.store(place(messages).0, Ordering::SeqCst);
        world
    }

    /// That no two meet at a message loom sees.
    pub(crate) fn write(&self, n: u64) {
        self.ring[(n % ROOM) as usize].set(n + 1);
    }

    pub(crate) fn read(&self, n: u64) -> u64 {
        self.ring[(n % ROOM) as usize].get()
    }

    pub(crate) fn tail(&self) -> Place {
        Place(self.state.end.tail.load(Ordering::Acquire))
    }

    pub(crate) fn taken(&self) -> Place {
        Place(self.state.consumers.taken.load(Ordering::Acquire))
    }

    pub(crate) fn head(&self) -> Place {
        Place(self.state.head.head.load(Ordering::Acquire))
    }

    /// `Core::take_locked`, under the lock: as many messages as there are, `most` at most.
    pub(crate) fn take_locked(&self, me: u64, most: u64) -> Option<Taken> {
        if self.state.consumers.returned.load(Ordering::Relaxed) != 0 {
            if let Some(taken) = self.take_returned(me) {
                return Some(taken);
            }
        }
        let (taken, tail) = (Place(self.state.consumers.taken.load(Ordering::Relaxed)), self.tail().open());
        let count = tail.items_since(taken).min(most);
        (count > 0).then(|| {
            let end = taken.after(8 * count, count);
            let hand = self.state.note(me, taken, end, 0, 0).expect("a free hand");
            self.state.consumers.taken.store(end.0, Ordering::Release);
            Taken { hand, start: taken, end }
        })
    }

    pub(crate) fn take(&self, me: u64, most: u64) -> Option<Taken> {
        let _locked = self.consumers.lock().unwrap();
        self.take_locked(me, most)
    }

    /// `Core::take_returned`, `oldest_returned`, `take_back`, under the lock: the first message of a hand that was given back.
    pub(crate) fn take_returned(&self, me: u64) -> Option<Taken> {
        self.state.expect_returned();
        let returned =
            self.state.hands().enumerate().filter(|(_, hand)| hand.owner.load(Ordering::Acquire) == RETURNED);
        let returned: Vec<_> = returned
            .map(|(index, hand)| {
                let place = |word: &AtomicU64| Place(word.load(Ordering::Relaxed));
                (index, place(&hand.start), place(&hand.end))
            })
            .collect();
        let (from, start, _) = *returned.first()?;
        let next = start.after(8, 1);
        if returned.iter().map(|(_, start, end)| end.items_since(*start)).sum::<u64>() > 1 {
            self.state.say_returned();
        }
        self.state.take_over(me, from, next, 0);
        Some(Taken { hand: from, start, end: next })
    }

    /// `Taken::each`: the messages are read where they lie.
    pub(crate) fn read_all(&self, taken: &Taken) -> u64 {
        let messages = messages(taken.start)..messages(taken.end);
        messages.map(|n| self.read(n)).sum()
    }

    /// `Taken::finish`.
    pub(crate) fn finish(&self, taken: Taken) -> u64 {
        let sum = self.read_all(&taken);
        self.state.leave_hand(taken.hand, taken.end);
        self.state.free();
        sum
    }

    /// `Taken::give_back`.
    pub(crate) fn give_back(&self, taken: Taken) {
        self.state.give_back(taken.hand);
    }

    /// `Core::wait_counted`, but asleep for good.
    pub(crate) fn wait(word: &WaitWord, ready: impl Fn() -> bool) {
        loop {
            let ticket = word.prepare();
            if ready() {
                return;
            }
            word.sleep(ticket, std::time::Duration::MAX);
        }
    }

    /// Everything was used up and everybody has returned: what was taken is free, or producers would wait for it for ever.
    pub(crate) fn assert_all_free(&self) {
        assert_eq!(messages(self.head()), messages(self.taken()), "room is lost for ever");
    }
}

/// Runs `first` in a thread of its own and `second` in this one, and gives the world back when both have ended.
pub(crate) fn both<W: 'static>(world: W, first: impl FnOnce(&W) + 'static, second: impl FnOnce(&W)) -> W {
    let world = Rc::new(world);
    let theirs = Rc::clone(&world);
    let thread = loom::thread::spawn(move || first(&theirs));
    second(&world);
    thread.join().unwrap();
    Rc::into_inner(world).expect("the other thread has ended")
}

/// As [`both`], for three.
pub(crate) fn three<W: 'static>(
    world: W,
    first: impl FnOnce(&W) + 'static,
    second: impl FnOnce(&W) + 'static,
    third: impl FnOnce(&W),
) -> W {
    let world = Rc::new(world);
    let theirs = Rc::clone(&world);
    let thread = loom::thread::spawn(move || first(&theirs));
    let world = both(world, |world| second(world), |world| third(world));
    thread.join().unwrap();
    Rc::into_inner(world).expect("the other threads have ended")
}

/// Runs a model under all orders in which threads that could go on are interrupted so many times at most.
pub(crate) fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
