//! Readers and a writer are never inside together, nobody waits for ever, and what a writer left half done is told.
//!
//! Bound: none for two threads, 3 for three. Run time: 2.8 s.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use loom::cell::Cell;

use super::*;
use crate::model::{both, bounded, three};

struct World<const N: usize> {
    core: RwCore<N>,
    /// Odd while a change is half done.
    data: Cell<u32>,
}

impl<const N: usize> World<N> {
    fn new() -> World<N> {
        let slots = std::array::from_fn(|_| Slot::default());
        let core = RwCore { writers: Lock::default(), phase: AtomicU32::new(IDLE), unused: Default::default(), slots };
        World { core, data: Cell::new(0) }
    }

    /// Goes in, and has to be told exactly if the data is bad.
    fn read(&self) {
        let (slot, died) = self.core.enter(Deadline::NEVER, 0, |_| true).unwrap();
        assert_eq!(died.is_some(), self.data.get() % 2 == 1, "a death is kept from a reader");
        self.core.leave(slot);
    }

    fn add(&self, n: u32) {
        self.data.set(self.data.get() + n);
    }

    fn write(&self) {
        self.write_with(|core| core.enter_writing(Deadline::NEVER, |_| true).unwrap(), RwCore::leave_writing);
    }

    fn write_with(&self, enter: impl FnOnce(&RwCore<N>) -> Locked, leave: impl FnOnce(&RwCore<N>, Locked)) {
        let locked = enter(&self.core);
        assert_eq!(locked.died().is_some(), self.data.get() % 2 == 1, "a death is kept from a writer");
        self.add(1);
        self.add(1);
        leave(&self.core, locked);
    }

    fn die_writing(&self) {
        self.core.enter_writing(Deadline::NEVER, |_| true).unwrap();
        self.add(1);
        self.core.writers.owner_dies();
    }

    fn die_waiting(&self) {
        self.core.lock_writers(Deadline::NEVER).unwrap();
        self.core.phase.store(WAITING, Ordering::SeqCst);
        self.core.writers.owner_dies();
    }

    fn panic_writing(&self, leave: fn(&RwCore<N>, Locked)) {
        struct Leaving<'a, const N: usize>(&'a RwCore<N>, Locked, fn(&RwCore<N>, Locked));
        impl<const N: usize> Drop for Leaving<'_, N> {
            fn drop(&mut self) {
                self.2(self.0, self.1);
            }
        }
        let panics = || {
            let _leaving = Leaving(&self.core, self.core.enter_writing(Deadline::NEVER, |_| true).unwrap(), leave);
            self.add(1);
            resume_unwind(Box::new(())); // a panic without its message, which would come a thousand times
        };
        catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
    }
}

mod model {
    use super::*;

    #[test]
    fn a_reader_and_a_writer() {
        loom::model(|| {
            both(World::<1>::new(), World::read, World::write);
        });
    }

    #[test]
    fn a_reader_and_a_writer_with_two_slots() {
        loom::model(|| {
            both(World::<2>::new(), World::read, World::write);
        });
    }

    #[test]
    fn two_writers() {
        loom::model(|| {
            let world = both(World::<1>::new(), World::write, World::write);
            assert_eq!(world.data.get(), 4);
        });
    }

    #[test]
    fn two_readers_of_one_slot_and_a_writer() {
        bounded(3, || {
            three(World::<1>::new(), World::read, World::read, World::write);
        });
    }

    #[test]
    fn a_reader_and_two_writers() {
        bounded(3, || {
            three(World::<1>::new(), World::write, World::read, World::write);
        });
    }

    #[test]
    fn attempts_do_not_wait() {
        loom::model(|| {
            both(World::<1>::new(), World::write, |world| match world.core.enter(Deadline::NOW, 0, |_| true) {
                Ok((slot, _)) => {
                    assert_eq!(world.data.get() % 2, 0);
                    world.core.leave(slot);
                }
                Err(error) => assert!(error.is_would_block()),
            });
        });
        loom::model(|| {
            both(World::<1>::new(), World::read, |world| match world.core.enter_writing(Deadline::NOW, |_| true) {
                Ok(locked) => world.core.leave_writing(locked),
                Err(error) => assert!(error.is_would_block()),
            });
        });
    }

    #[test]
    fn a_writer_that_dies_writing_is_told() {
        loom::model(|| {
            both(World::<1>::new(), World::die_writing, World::read);
        });
        loom::model(|| {
            both(World::<1>::new(), World::die_writing, World::write);
        });
    }

    #[test]
    fn a_writer_that_dies_waiting_is_not() {
        loom::model(|| {
            both(World::<1>::new(), World::die_waiting, World::read);
        });
    }

    #[test]
    fn a_writer_that_panics_is_told() {
        loom::model(|| {
            both(World::<1>::new(), |world| world.panic_writing(RwCore::leave_writing), World::read);
        });
    }
}

mod control {
    use super::*;

    #[test]
    fn reader_looks_for_the_writer_before_it_takes_its_slot() {
        loom::model(|| {
            both(
                World::<1>::new(),
                |world| {
                    if world.core.phase.load(Ordering::SeqCst) == IDLE {
                        let slot = world.core.take_slot(0, |_| true).unwrap();
                        world.data.get();
                        world.core.slots[slot.unwrap_or(0)].0.unlock();
                    }
                },
                World::write,
            );
        });
    }

    #[test]
    fn writer_looks_for_readers_before_it_announces_itself() {
        loom::model(|| {
            both(World::<1>::new(), World::read, |world| {
                let enter = |core: &RwCore<1>| {
                    let locked = core.lock_writers(Deadline::NEVER).unwrap();
                    core.wait_for_readers(Deadline::NEVER, |_| true).unwrap();
                    core.phase.store(WRITING, Ordering::SeqCst);
                    locked
                };
                world.write_with(enter, RwCore::leave_writing);
            });
        });
    }

    /// A reader that gives way keeps its slot: the writer waits for it, and it for the writer.
    #[test]
    fn reader_waits_with_its_slot() {
        loom::model(|| {
            both(
                World::<1>::new(),
                |world| {
                    let slot = world.core.take_slot(0, |_| true).unwrap();
                    if world.core.phase.load(Ordering::SeqCst) != IDLE {
                        let locked = world.core.lock_writers(Deadline::NEVER).unwrap();
                        world.core.writers.release(locked);
                    }
                    world.core.slots[slot.unwrap_or(0)].0.unlock();
                },
                World::write,
            );
        });
    }

    #[test]
    fn left_relaxed() {
        loom::model(|| {
            both(World::<1>::new(), World::read, |world| {
                let leave = |core: &RwCore<1>, locked| {
                    core.phase.store(IDLE, Ordering::Relaxed);
                    core.writers.release(locked);
                };
                world.write_with(|core| core.enter_writing(Deadline::NEVER, |_| true).unwrap(), leave);
            });
        });
    }

    /// A reader comes in between.
    #[test]
    fn panic_noted_after_the_phase() {
        loom::model(|| {
            let leave = |core: &RwCore<1>, locked| {
                core.phase.store(IDLE, Ordering::SeqCst);
                core.writers.release(locked);
            };
            both(World::<1>::new(), move |world| world.panic_writing(leave), World::read);
        });
    }
}
