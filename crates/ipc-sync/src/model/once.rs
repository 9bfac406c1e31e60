//! It happens once, and nobody goes on before it has.
//!
//! Bound: none, but 4 for three calls. Run time: 1.6 s.

use loom::cell::UnsafeCell;

use super::*;
use crate::model::{both, bounded, three};

#[derive(Default)]
struct World {
    once: OnceState,
    runs: AtomicU32,
    data: UnsafeCell<()>,
}

impl World {
    fn run(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.data.with_mut(|_| ());
    }

    /// Without the looks of [`OnceState::call`].
    fn locked(&self, f: impl FnOnce()) {
        let locked = self.once.lock.take(Deadline::NEVER, || false).unwrap();
        f();
        self.once.lock.release(locked);
    }
}

fn call(world: &World) {
    world.once.call(Deadline::NEVER, || world.run(), || true).unwrap();
    world.data.with(|_| ());
}

fn two(call: fn(&World)) {
    loom::model(move || {
        let world = both(World::default(), call, call);
        assert_eq!(world.runs.into_inner(), 1, "it ran more than once");
    });
}

mod model {
    use super::*;

    #[test]
    fn one_of_two_runs_it() {
        two(call);
    }

    #[test]
    fn one_of_three_runs_it() {
        bounded(4, || {
            let world = three(World::default(), call, call, call);
            assert_eq!(world.runs.into_inner(), 1, "it ran more than once");
        });
    }

    #[test]
    fn after_a_death_the_next_one_runs_it() {
        loom::model(|| {
            let dies_at_it = |world: &World| {
                let locked = world.once.lock.take(Deadline::NEVER, || false).unwrap();
                if world.once.is_done() {
                    return world.once.lock.release(locked);
                }
                world.data.with_mut(|_| ());
                world.once.lock.owner_dies();
            };
            let world = three(World::default(), dies_at_it, call, call);
            assert_eq!(world.runs.into_inner(), 1, "it ran more than once");
        });
    }
}

mod control {
    use super::*;

    #[test]
    fn publish_relaxed() {
        two(|world| {
            if !world.once.is_done() {
                world.locked(|| {
                    if !world.once.is_done() {
                        world.run();
                        world.once.done.store(1, Ordering::Relaxed);
                    }
                });
            }
            world.data.with(|_| ());
        });
    }

    #[test]
    fn done_before_it_has_run() {
        two(|world| {
            if !world.once.is_done() {
                world.locked(|| {
                    if !world.once.is_done() {
                        world.once.done.store(1, Ordering::Release);
                        world.run();
                    }
                });
            }
            world.data.with(|_| ());
        });
    }

    #[test]
    fn no_second_look_under_the_lock() {
        two(|world| {
            if !world.once.is_done() {
                world.locked(|| {
                    world.run();
                    world.once.done.store(1, Ordering::Release);
                });
            }
        });
    }
}
