//! What is notified after the mutex was taken is not missed.
//!
//! Bound: none for two threads, 4 for three. Run time: 0.6 s.

use std::sync::atomic::Ordering;

use loom::cell::Cell;

use super::*;
use crate::lock::Lock;
use crate::model::{both, bounded, three};
use crate::shim::AtomicU32;

#[derive(Default)]
struct World {
    lock: Lock,
    condition: CondvarState,
    /// Under the lock.
    stock: Cell<u32>,
}

impl World {
    fn locked<R>(&self, f: impl FnOnce(&Cell<u32>) -> R) -> R {
        let locked = self.lock.take(Deadline::NEVER, || true).unwrap();
        let result = f(&self.stock);
        self.lock.release(locked);
        result
    }

    /// As [`Condvar::wait_while`] with [`Condvar::sleep`].
    fn take_one(&self) {
        loop {
            let locked = self.lock.take(Deadline::NEVER, || true).unwrap();
            let stock = self.stock.get();
            if stock > 0 {
                self.stock.set(stock - 1);
                self.lock.release(locked);
                return;
            }
            let ticket = self.condition.notified.prepare();
            self.lock.release(locked);
            self.condition.sleep(ticket, Slices::new(Deadline::NEVER)).unwrap();
        }
    }

    fn add(&self, n: u32) {
        self.locked(|stock| stock.set(stock.get() + n));
        self.condition.notified.wake();
    }
}

mod model {
    use super::*;

    #[test]
    fn a_notification_between_release_and_sleep_is_not_missed() {
        loom::model(|| {
            both(World::default(), World::take_one, |world| world.add(1));
        });
    }

    #[test]
    fn it_may_be_given_with_the_mutex() {
        loom::model(|| {
            both(World::default(), World::take_one, |world| {
                world.locked(|stock| {
                    stock.set(1);
                    world.condition.notified.wake();
                });
            });
        });
    }

    #[test]
    fn it_wakes_all() {
        bounded(4, || {
            three(World::default(), World::take_one, World::take_one, |world| world.add(2));
        });
    }
}

mod control {
    use super::*;

    #[test]
    fn announced_after_the_release() {
        loom::model(|| {
            both(
                World::default(),
                |world| {
                    while world.locked(Cell::get) == 0 {
                        let ticket = world.condition.notified.prepare();
                        world.condition.sleep(ticket, Slices::new(Deadline::NEVER)).unwrap();
                    }
                },
                |world| world.add(1),
            );
        });
    }

    /// The look at the condition and the announcement are one step only for those who take the mutex.
    #[test]
    fn changed_without_the_mutex() {
        struct Bare {
            lock: Lock,
            condition: CondvarState,
            stock: AtomicU32,
        }
        loom::model(|| {
            let bare = Bare { lock: Lock::default(), condition: CondvarState::default(), stock: AtomicU32::new(0) };
            both(
                bare,
                |bare| {
                    loop {
                        let locked = bare.lock.take(Deadline::NEVER, || true).unwrap();
                        if bare.stock.load(Ordering::SeqCst) > 0 {
                            return bare.lock.release(locked);
                        }
                        let ticket = bare.condition.notified.prepare();
                        bare.lock.release(locked);
                        bare.condition.sleep(ticket, Slices::new(Deadline::NEVER)).unwrap();
                    }
                },
                |bare| {
                    bare.stock.store(1, Ordering::SeqCst);
                    bare.condition.notified.wake();
                },
            );
        });
    }
}
