//! Nobody sleeps through a change.
//!
//! Bound: none for two threads, 4 for three. Run time: 1.3 s.

use loom::cell::UnsafeCell;

use super::*;
use crate::model::{both, bounded, three};
use crate::shim::AtomicU32;

impl WaitWord {
    pub(crate) fn has_waiters(&self) -> bool {
        self.0.value().load(Ordering::SeqCst) & WAITERS != 0
    }
}

/// What is waited for is a number of changes; each is made known by the change, not by the word.
#[derive(Default)]
struct World {
    word: WaitWord,
    changes: AtomicU32,
    data: [UnsafeCell<u32>; 2],
}

impl World {
    /// What the first or the second change makes known.
    fn change(&self) {
        let before = self.changes.load(Ordering::Relaxed); // only its own, unless it does not touch the data
        self.data[before as usize].with_mut(|_| ());
        self.changes.store(before + 1, Ordering::SeqCst);
    }

    fn has_seen(&self, changes: u32) -> bool {
        let seen = self.changes.load(Ordering::SeqCst) >= changes;
        if seen {
            self.data[changes as usize - 1].with(|_| ());
        }
        seen
    }

    fn wait(&self, changes: u32) {
        self.word.wait(Deadline::NEVER, || Ok(self.has_seen(changes).then_some(())), || Ok(())).unwrap();
    }
}

type Step = fn(&World);

fn one_waits(waiter: Step, waker: Step) {
    loom::model(move || {
        both(World::default(), waiter, waker);
    });
}

fn two_wait(waiter: Step, waker: Step) {
    bounded(4, move || {
        three(World::default(), waiter, waiter, waker);
    });
}

fn change_and_wake(world: &World) {
    world.change();
    world.word.wake();
}

fn change_and_wake_twice(world: &World) {
    change_and_wake(world);
    change_and_wake(world);
}

mod model {
    use super::*;

    #[test]
    fn a_change_wakes_who_waits_for_it() {
        one_waits(|world| world.wait(1), change_and_wake);
    }

    #[test]
    fn a_second_change_wakes_again() {
        one_waits(
            |world| {
                world.wait(1);
                world.wait(2);
            },
            change_and_wake_twice,
        );
        one_waits(|world| world.wait(2), change_and_wake_twice);
    }

    #[test]
    fn a_change_wakes_all() {
        two_wait(|world| world.wait(1), change_and_wake);
    }

    #[test]
    fn two_who_wake_do_not_hide_each_other() {
        let change = |world: &World| {
            world.changes.fetch_add(1, Ordering::SeqCst);
            world.word.wake();
        };
        bounded(4, move || {
            three(World::default(), change, change, |world| world.wait(2));
        });
    }
}

mod control {
    use super::*;
    use crate::word::SLICE;

    /// Whoever announces itself between the wake and the clearing is not seen by the next waker.
    #[test]
    fn flag_cleared_after_the_wake() {
        fn wake(word: &WaitWord) {
            order();
            if word.0.value().load(Ordering::SeqCst) & WAITERS != 0 {
                word.0.wake_all();
                word.0.value().fetch_add(ROUND - WAITERS, Ordering::SeqCst); // nobody else clears it
            }
        }
        one_waits(
            |world| world.wait(2),
            |world| {
                for _ in 0..2 {
                    world.change();
                    wake(&world.word);
                }
            },
        );
    }

    #[test]
    fn no_second_look_before_the_sleep() {
        one_waits(
            |world| {
                while !world.has_seen(1) {
                    let ticket = world.word.prepare();
                    world.word.sleep(ticket, SLICE);
                }
            },
            change_and_wake,
        );
    }

    #[test]
    fn waking_before_the_change() {
        one_waits(
            |world| world.wait(1),
            |world| {
                world.word.wake();
                world.change();
            },
        );
    }

    /// Release and acquire alone: each of the two may miss what the other one wrote.
    #[test]
    fn no_total_order() {
        one_waits(
            |world| {
                while !world.has_seen(1) {
                    let ticket = Ticket(world.word.0.value().fetch_or(WAITERS, Ordering::AcqRel) | WAITERS);
                    if world.has_seen(1) {
                        return;
                    }
                    world.word.sleep(ticket, SLICE);
                }
            },
            |world| {
                world.change();
                let word = world.word.0.value().load(Ordering::Acquire);
                if word & WAITERS != 0 {
                    world.word.wake_from(word);
                }
            },
        );
    }

    /// The next waiter restores the very word with which the first one is about to fall asleep.
    #[test]
    fn wake_ups_are_not_counted() {
        two_wait(
            |world| world.wait(1),
            |world| {
                world.change();
                order();
                if world.word.0.value().fetch_and(!WAITERS, Ordering::SeqCst) & WAITERS != 0 {
                    world.word.0.wake_all();
                }
            },
        );
    }

    #[test]
    fn publish_relaxed() {
        one_waits(
            |world| world.wait(1),
            |world| {
                world.data[0].with_mut(|_| ());
                world.changes.store(1, Ordering::Relaxed);
                world.word.wake();
            },
        );
    }
}
