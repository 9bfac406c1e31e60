//! One producer, one consumer: a plain store, a look at who sleeps without a barrier in between, and a sleeper that has the other one pass one.
//!
//! What `membarrier` promises is modelled: at some point between two instructions of the other side there is a full barrier, between the call
//! and its return. Each of these points is tried. What cannot be shown is that the kernel keeps this promise for every thread of every process that
//! has registered, and that the compiler keeps the order of the two instructions (`compiler_fence`); loom's atomics keep it anyway. Nor is
//! the sleep of a millisecond modelled, for a kernel that refuses.
//!
//! Bound: none. Run time: 0.1 s.

use loom::cell::Cell;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use loom::sync::{Condvar, Mutex};

use crate::model::both;

const WAITERS: u32 = 1;

/// Where in the other side's steps the barrier falls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Point {
    BeforeTheStore,
    BeforeTheLook,
    AfterTheLook,
}

const POINTS: [Point; 3] = [Point::BeforeTheStore, Point::BeforeTheLook, Point::AfterTheLook];

#[derive(Default)]
struct World {
    message: Cell<u32>,
    /// The tail, or for one who waits for room the head.
    place: AtomicU64,
    word: AtomicU32,
    sleeping: Mutex<bool>,
    woken: Condvar,
    barrier: Mutex<Barrier>,
    changed: Condvar,
}

#[derive(Default)]
struct Barrier {
    is_wanted: bool,
    is_passed: bool,
    /// Nobody will want one any more.
    is_over: bool,
}

impl World {
    /// `SpscProducer::publish`; `SpscConsumer::free` does the same with the head.
    fn publish(&self, point: Point, order: impl Fn()) {
        self.message.set(7);
        self.pass(point, Point::BeforeTheStore);
        self.place.store(1, Ordering::Release);
        order();
        self.pass(point, Point::BeforeTheLook);
        // `WaitWord::wake`
        let word = self.word.load(Ordering::Relaxed);
        if word & WAITERS != 0 {
            self.word.store(0, Ordering::SeqCst);
            if std::mem::take(&mut *self.sleeping.lock().unwrap()) {
                self.woken.notify_all();
            }
        }
        self.pass(point, Point::AfterTheLook);
    }

    /// `Core::wait_counted`, and `WaitWord::prepare` and `sleep`.
    fn wait(&self, barrier: fn(&World)) {
        while !self.is_ready() {
            self.word.fetch_or(WAITERS, Ordering::SeqCst);
            barrier(self);
            if self.is_ready() {
                break;
            }
            let mut sleeping = self.sleeping.lock().unwrap();
            if self.word.load(Ordering::SeqCst) == WAITERS {
                *sleeping = true;
                drop(self.woken.wait(sleeping).unwrap());
            }
        }
        assert_eq!(self.message.get(), 7);
        self.barrier.lock().unwrap().is_over = true;
        self.changed.notify_all();
    }

    fn is_ready(&self) -> bool {
        self.place.load(Ordering::Acquire) == 1
    }

    /// `sys::barrier`, by one who sleeps.
    fn barrier(&self) {
        fence(Ordering::SeqCst);
        let mut barrier = self.barrier.lock().unwrap();
        barrier.is_wanted = true;
        self.changed.notify_all();
        while !barrier.is_passed {
            barrier = self.changed.wait(barrier).unwrap();
        }
        drop(barrier);
        fence(Ordering::SeqCst);
    }

    /// Here the other side is interrupted, if it ever is.
    fn pass(&self, point: Point, here: Point) {
        if point != here {
            return;
        }
        let mut barrier = self.barrier.lock().unwrap();
        while !barrier.is_wanted && !barrier.is_over {
            barrier = self.changed.wait(barrier).unwrap();
        }
        if barrier.is_wanted {
            fence(Ordering::SeqCst);
        }
        barrier.is_passed = true;
        self.changed.notify_all();
    }
}

fn one_waits(point: Point, barrier: fn(&World)) {
    loom::model(move || {
        both(World::default(), move |world| world.publish(point, || ()), move |world| world.wait(barrier));
    });
}

mod model {
    use super::*;

    #[test]
    fn who_sleeps_is_woken() {
        POINTS.into_iter().for_each(|point| one_waits(point, World::barrier));
    }

    /// A side that does not accept barriers (`needs_fence`) passes one itself, each time.
    #[test]
    fn who_sleeps_is_woken_by_one_with_a_fence() {
        loom::model(|| {
            let publish = |world: &World| {
                world.barrier.lock().unwrap().is_over = true;
                world.publish(Point::AfterTheLook, || fence(Ordering::SeqCst));
            };
            both(World::default(), publish, |world| world.wait(|_| fence(Ordering::SeqCst)));
        });
    }
}

mod control {
    use super::*;

    /// Only the sleeper passes a barrier: the other side's store is still on its way, and so is the sleeper's flag.
    #[test]
    fn no_barrier_of_the_other_side() {
        loom::model(|| {
            let publish = |world: &World| {
                world.barrier.lock().unwrap().is_over = true;
                world.publish(Point::AfterTheLook, || ());
            };
            both(World::default(), publish, |world| world.wait(|_| fence(Ordering::SeqCst)));
        });
    }

    /// What comes between the look and the sleep is missed.
    #[test]
    fn barrier_before_the_flag() {
        POINTS.into_iter().for_each(|point| {
            loom::model(move || {
                both(
                    World::default(),
                    move |world| world.publish(point, || ()),
                    |world| {
                        world.barrier();
                        world.wait(|_| fence(Ordering::SeqCst));
                    },
                );
            });
        });
    }

    #[test]
    fn published_relaxed() {
        loom::model(|| {
            both(
                World::default(),
                |world| {
                    world.message.set(7);
                    world.place.store(1, Ordering::Relaxed);
                },
                |world| {
                    if world.is_ready() {
                        assert_eq!(world.message.get(), 7);
                    }
                },
            );
        });
    }
}
