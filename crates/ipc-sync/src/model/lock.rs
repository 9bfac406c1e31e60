//! One at a time, and no death is kept from the next one.
//!
//! Bound: none. Run time: 1.7 s.

use loom::cell::Cell;

use super::*;
use crate::model::{both, three};
use crate::word::SLICE;

#[derive(Default)]
struct World {
    lock: Lock,
    /// Odd while a change is half done.
    data: Cell<u32>,
}

fn take(world: &World) -> Locked {
    world.lock.take(Deadline::NEVER, || true).unwrap()
}

fn change(world: &World) {
    let locked = take(world);
    world.data.set(world.data.get() + 2);
    world.lock.release(locked);
}

fn die_amid_a_change(world: &World) {
    take(world);
    world.data.set(world.data.get() + 1);
    world.lock.owner_dies();
}

/// Takes the lock, and has to be told exactly if the data is bad.
fn look(world: &World) {
    let locked = take(world);
    assert_eq!(locked.died().is_some(), world.data.get() % 2 == 1, "a death is kept from the next one");
    world.lock.release(locked);
}

/// The heir of a dead owner does so with the mutex.
fn somebody_inherits(inherit: fn(&Lock)) {
    loom::model(move || {
        let heir = move |world: &World| match world.lock.mutex.lock_within(SLICE) {
            Taken::OwnerDied => inherit(&world.lock),
            _ => world.lock.mutex.unlock(),
        };
        three(World::default(), die_amid_a_change, heir, look);
    });
}

mod model {
    use super::*;

    #[test]
    fn one_at_a_time_and_nobody_is_forgotten() {
        loom::model(|| {
            let world = three(World::default(), change, change, change);
            assert_eq!(world.data.get(), 6);
        });
    }

    #[test]
    fn an_attempt_does_not_wait() {
        loom::model(|| {
            both(World::default(), change, |world| match world.lock.take(Deadline::NOW, || true) {
                Ok(locked) => {
                    world.data.set(world.data.get() + 2);
                    world.lock.release(locked);
                }
                Err(error) => assert!(error.is_would_block()),
            });
        });
    }

    #[test]
    fn a_death_is_told_until_it_is_repaired() {
        loom::model(|| {
            let world = three(World::default(), die_amid_a_change, look, look);
            let locked = take(&world);
            assert!(locked.died().is_some());
            world.data.set(2);
            world.lock.mark_repaired();
            world.lock.release(locked);
            look(&world);
        });
    }

    /// At the crash point `mutex.died-seen`.
    #[test]
    fn a_death_is_told_also_if_the_next_one_dies_when_it_has_noted_it() {
        somebody_inherits(|lock| {
            lock.note_death(true);
            lock.mutex.owner_dies();
        });
    }
}

mod control {
    use super::*;

    #[test]
    fn a_death_is_told_to_the_next_one_only() {
        somebody_inherits(|lock| {
            lock.mutex.mark_consistent();
            lock.mutex.unlock();
        });
    }
}
