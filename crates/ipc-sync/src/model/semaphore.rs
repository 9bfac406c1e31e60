//! A permit has one owner at a time, and who gives it back finds who waits for it.
//!
//! Bound: none for two threads, 3 for three. Run time: 0.7 s.

use loom::cell::UnsafeCell;

use super::*;
use crate::model::{both, bounded, three};
use crate::shim::AtomicU64;

#[derive(Default)]
struct World {
    freed: WaitWord,
    permits: [AtomicU64; 1],
    /// Whoever has the permit may touch it.
    data: UnsafeCell<()>,
}

/// A participant that is gone, and two that are there.
const DEAD: u64 = 9;
const ME: u64 = 1;
const YOU: u64 = 2;

type Take = fn(&World, u64) -> Option<usize>;
type Free = fn(&World, usize, u64);

fn take(world: &World, me: u64) -> Option<usize> {
    super::take(&world.permits, 0, me)
}

/// As a [`Permit`] that is dropped.
fn give_back(world: &World, slot: usize, me: u64) {
    if free(&world.permits[slot], me) {
        world.freed.wake();
    }
}

fn use_it(world: &World, me: u64, take: Take, give_back: Free) {
    let slot = world.freed.wait(Deadline::NEVER, || Ok(take(world, me)), || Ok(())).unwrap();
    world.data.with_mut(|_| ());
    give_back(world, slot, me);
}

fn one_permit_for_two(take: Take, give_back: Free) {
    loom::model(move || {
        let mut world = both(
            World::default(),
            move |world| use_it(world, ME, take, give_back),
            move |world| use_it(world, YOU, take, give_back),
        );
        assert_eq!(world.permits[0].with_mut(|word| *word), 0, "the permit is not back");
    });
}

/// Both find that the owner of the permit is dead.
fn sweep_and_use(sweep: fn(&World)) {
    loom::model(move || {
        let world = World { permits: [AtomicU64::new(DEAD)], ..World::default() };
        both(
            world,
            move |world| {
                sweep(world);
                use_it(world, ME, take, give_back);
            },
            move |world| {
                sweep(world);
                use_it(world, YOU, take, give_back);
            },
        );
    });
}

mod model {
    use super::*;

    #[test]
    fn two_share_one_permit() {
        one_permit_for_two(take, give_back);
    }

    #[test]
    fn three_share_one_permit() {
        bounded(3, || {
            three(
                World::default(),
                |world| use_it(world, 3, take, give_back),
                |world| use_it(world, ME, take, give_back),
                |world| use_it(world, YOU, take, give_back),
            );
        });
    }

    #[test]
    fn two_who_sweep_free_a_dead_permit_once() {
        sweep_and_use(|world| {
            if world.permits[0].value() == DEAD && free(&world.permits[0], DEAD) {
                world.freed.wake();
            }
        });
    }
}

mod control {
    use super::*;

    #[test]
    fn waking_before_the_permit_is_back() {
        one_permit_for_two(take, |world, slot, me| {
            world.freed.wake();
            free(&world.permits[slot], me);
        });
    }

    #[test]
    fn taken_in_two_steps() {
        one_permit_for_two(
            |world, me| {
                let is_free = world.permits[0].value() == 0;
                is_free.then(|| {
                    world.permits[0].set(me);
                    0
                })
            },
            give_back,
        );
    }

    #[test]
    fn given_back_relaxed() {
        one_permit_for_two(take, |world, slot, _| {
            world.permits[slot].store(0, Ordering::Relaxed);
            world.freed.wake();
        });
    }

    /// The permit may have another owner meanwhile.
    #[test]
    fn swept_in_two_steps() {
        sweep_and_use(|world| {
            if world.permits[0].value() == DEAD {
                world.permits[0].set(0);
                world.freed.wake();
            }
        });
    }
}
