//! The primitives of the algorithms: the machine's, or loom's when their models are checked (`cargo xtask model`).
//!
//! loom runs a model under every order in which its threads can take turns, and every value that weakly ordered atomics may
//! return. A sleep has no slices in it there: a wake-up that gets lost is to be seen, not to be mended 25 ms later.

use std::sync::atomic::Ordering;

#[cfg(not(loom))]
pub(crate) use self::machine::*;
#[cfg(loom)]
pub(crate) use self::model::*;

/// A word of an array in a segment, the machine's or loom's.
pub(crate) trait Word {
    fn value(&self) -> u64;
    fn set(&self, value: u64);
    /// One `SeqCst` compare-and-swap, if it has a chance.
    fn swap_if(&self, from: u64, to: u64) -> bool;
}

macro_rules! word {
    ($word:ty) => {
        impl Word for $word {
            #[inline]
            fn value(&self) -> u64 {
                self.load(Ordering::SeqCst)
            }

            #[inline]
            fn set(&self, value: u64) {
                self.store(value, Ordering::SeqCst);
            }

            #[inline]
            fn swap_if(&self, from: u64, to: u64) -> bool {
                self.value() == from && self.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            }
        }
    };
}

word!(std::sync::atomic::AtomicU64);
#[cfg(loom)]
word!(loom::sync::atomic::AtomicU64);

#[cfg(not(loom))]
mod machine {
    use std::time::Duration;

    pub(crate) use crate::raw::RobustMutex;
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};
    pub(crate) use std::time::Instant;

    /// A word on which processes sleep.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub(crate) struct Futex(AtomicU32);

    impl Futex {
        #[inline]
        pub(crate) fn value(&self) -> &AtomicU32 {
            &self.0
        }

        pub(crate) fn sleep(&self, expected: u32, limit: Duration) {
            crate::sys::futex_wait(&self.0, expected, limit);
        }

        pub(crate) fn wake_all(&self) {
            crate::sys::futex_wake_all(&self.0);
        }
    }

    /// Orders a change of the condition before the look for waiters. Nothing is to be done where both are `SeqCst` operations, which have a
    /// total order. A slot of `RwLock` is not changed by one, but looked for by the writer with a read-modify-write: it finds the
    /// reader's, or the reader's takes over from it, and with that sees what the writer announced before.
    #[inline]
    pub(crate) fn order() {}
}

#[cfg(loom)]
mod model {
    use std::time::Duration;

    use loom::sync::{Condvar, Mutex};
    use loom::thread::ThreadId;

    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64};

    use crate::raw::Taken;

    /// As the kernel's: to compare and to fall asleep is one step, seen from those who wake.
    #[derive(Debug, Default)]
    pub(crate) struct Futex {
        value: AtomicU32,
        /// Whether anybody sleeps: to wake nobody would only be one more step to be tried in every order.
        queue: Mutex<bool>,
        woken: Condvar,
    }

    impl Futex {
        pub(crate) fn value(&self) -> &AtomicU32 {
            &self.value
        }

        pub(crate) fn sleep(&self, expected: u32, _limit: Duration) {
            let mut queue = self.queue.lock().unwrap();
            if self.value.load(loom::sync::atomic::Ordering::SeqCst) == expected {
                *queue = true;
                drop(self.woken.wait(queue).unwrap());
            }
        }

        pub(crate) fn wake_all(&self) {
            if std::mem::take(&mut *self.queue.lock().unwrap()) {
                self.woken.notify_all();
            }
        }
    }

    /// loom knows a total order of fences only, not of `SeqCst` operations.
    pub(crate) fn order() {
        loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
    }

    /// Time stands still: no look at who is alive ever becomes due, whatever time a model takes.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Instant;

    impl Instant {
        pub(crate) fn now() -> Instant {
            Instant
        }

        pub(crate) fn saturating_duration_since(&self, _earlier: Instant) -> Duration {
            Duration::ZERO
        }
    }

    /// The C library's mutex cannot be modelled; its contract is this.
    #[derive(Debug, Default)]
    pub(crate) struct RobustMutex {
        /// Who has it, and whether anybody sleeps.
        owner: Mutex<(Owner, bool)>,
        free: Condvar,
    }

    #[derive(Debug, Default, PartialEq, Eq)]
    enum Owner {
        #[default]
        Nobody,
        Thread(ThreadId),
        /// The thread has it from a dead one, and has not declared it consistent.
        Heir(ThreadId),
        #[cfg_attr(not(test), expect(dead_code, reason = "nobody is killed but by a model"))]
        Dead,
        Unusable,
    }

    impl RobustMutex {
        pub(crate) fn try_lock(&self) -> Taken {
            self.owner.lock().unwrap().0.give()
        }

        pub(crate) fn lock_within(&self, _limit: Duration) -> Taken {
            let mut state = self.owner.lock().unwrap();
            loop {
                match state.0.give() {
                    Taken::Busy => {
                        state.1 = true;
                        state = self.free.wait(state).unwrap();
                    }
                    taken => return taken,
                }
            }
        }

        pub(crate) fn unlock(&self) {
            self.pass_on(|owner| if matches!(owner, Owner::Heir(_)) { Owner::Unusable } else { Owner::Nobody });
        }

        /// What the kernel does when the owner has died.
        #[cfg(test)]
        pub(crate) fn owner_dies(&self) {
            self.pass_on(|_| Owner::Dead);
        }

        fn pass_on(&self, next: impl Fn(&Owner) -> Owner) {
            let mut state = self.owner.lock().unwrap();
            state.0 = next(&state.0);
            let somebody_sleeps = std::mem::take(&mut state.1);
            drop(state);
            if somebody_sleeps {
                self.free.notify_all();
            }
        }

        pub(crate) fn mark_consistent(&self) {
            self.owner.lock().unwrap().0 = Owner::Thread(loom::thread::current().id());
        }

        pub(crate) fn init(&self) {}
    }

    impl Owner {
        /// Gives the mutex to this thread, if it can have it.
        fn give(&mut self) -> Taken {
            let me = loom::thread::current().id();
            let (next, taken) = match self {
                Owner::Nobody => (Owner::Thread(me), Taken::Clean),
                Owner::Dead => (Owner::Heir(me), Taken::OwnerDied),
                Owner::Unusable => return Taken::Damaged,
                Owner::Thread(thread) | Owner::Heir(thread) => {
                    return if *thread == me { Taken::ByUs } else { Taken::Busy };
                }
            };
            *self = next;
            taken
        }
    }
}
