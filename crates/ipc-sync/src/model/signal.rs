//! What is released is acquired, once.
//!
//! Bound: none for two threads, 3 for three. Run time: 1 s.

use loom::cell::UnsafeCell;

use super::*;
use crate::model::{both, bounded, three};

#[derive(Default)]
struct World {
    signal: SignalState,
    data: [UnsafeCell<()>; 2],
    acquired: AtomicU32,
}

fn acquire(world: &World) {
    world.signal.acquire(Deadline::NEVER, || Ok(())).unwrap();
}

mod model {
    use super::*;

    #[test]
    fn each_release_lets_one_go_on_and_makes_known_what_was_before() {
        loom::model(|| {
            let world = both(
                World::default(),
                |world| {
                    for data in &world.data {
                        data.with_mut(|_| ());
                        world.signal.release(1).unwrap();
                    }
                },
                |world| {
                    for data in &world.data {
                        acquire(world);
                        data.with(|_| ());
                    }
                },
            );
            assert_eq!(world.signal.take(), None, "more was acquired than released");
        });
    }

    #[test]
    fn two_who_wait_get_one_each() {
        bounded(3, || {
            let world = three(World::default(), acquire, acquire, |world| {
                world.signal.release(1).unwrap();
                world.signal.release(1).unwrap();
            });
            assert_eq!(world.signal.take(), None, "more was acquired than released");
        });
        bounded(3, || {
            let world = three(World::default(), acquire, acquire, |world| world.signal.release(2).unwrap());
            assert_eq!(world.signal.take(), None, "more was acquired than released");
        });
    }

    #[test]
    fn two_who_release_do_not_hide_each_other() {
        let release = |world: &World| world.signal.release(1).unwrap();
        bounded(3, move || {
            let world = three(World::default(), release, release, |world| {
                acquire(world);
                acquire(world);
            });
            assert_eq!(world.signal.take(), None, "more was acquired than released");
        });
    }
}

mod control {
    use super::*;

    #[test]
    fn waking_before_the_release() {
        loom::model(|| {
            both(World::default(), acquire, |world| {
                world.signal.raised.wake();
                world.signal.count.fetch_add(1, Ordering::SeqCst);
            });
        });
    }

    #[test]
    fn acquired_in_two_steps() {
        fn take(world: &World) {
            let count = world.signal.count.load(Ordering::SeqCst);
            if count > 0 {
                world.signal.count.store(count - 1, Ordering::SeqCst);
                world.acquired.fetch_add(1, Ordering::Relaxed);
            }
        }
        loom::model(|| {
            let world = World::default();
            world.signal.release(1).unwrap();
            let world = both(world, take, take);
            assert_eq!(world.acquired.into_inner(), 1);
        });
    }

    #[test]
    fn publish_relaxed() {
        loom::model(|| {
            both(
                World::default(),
                |world| {
                    world.data[0].with_mut(|_| ());
                    world.signal.count.fetch_add(1, Ordering::Relaxed);
                    world.signal.raised.wake();
                },
                |world| {
                    acquire(world);
                    world.data[0].with(|_| ());
                },
            );
        });
    }
}
