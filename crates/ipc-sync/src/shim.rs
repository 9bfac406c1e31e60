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

    /// Orders a change of the condition before the look for waiters. Nothing is to be done: both are `SeqCst` operations.
    #[inline]
    pub(crate) fn order() {}
}

#[cfg(loom)]
mod model {
    use std::time::Duration;

    use loom::sync::{Condvar, Mutex};

    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64};

    /// As the kernel's: to compare and to fall asleep is one step, seen from those who wake.
    #[derive(Debug, Default)]
    pub(crate) struct Futex {
        value: AtomicU32,
        queue: Mutex<()>,
        woken: Condvar,
    }

    impl Futex {
        pub(crate) fn value(&self) -> &AtomicU32 {
            &self.value
        }

        pub(crate) fn sleep(&self, expected: u32, _limit: Duration) {
            let queue = self.queue.lock().unwrap();
            if self.value.load(loom::sync::atomic::Ordering::SeqCst) == expected {
                drop(self.woken.wait(queue).unwrap());
            }
        }

        pub(crate) fn wake_all(&self) {
            drop(self.queue.lock().unwrap());
            self.woken.notify_all();
        }
    }

    /// loom knows a total order of fences only, not of `SeqCst` operations.
    pub(crate) fn order() {
        loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
    }

    /// The C library's mutex cannot be modelled; its contract is this.
    #[derive(Debug, Default)]
    pub(crate) struct RobustMutex {
        owner: Mutex<Option<loom::thread::ThreadId>>,
        free: Condvar,
    }

    use crate::raw::Taken;

    impl RobustMutex {
        pub(crate) fn try_lock(&self) -> Taken {
            let mut owner = self.owner.lock().unwrap();
            let me = loom::thread::current().id();
            match *owner {
                Some(thread) if thread == me => Taken::ByUs,
                Some(_) => Taken::Busy,
                None => {
                    *owner = Some(me);
                    Taken::Clean
                }
            }
        }

        pub(crate) fn lock_within(&self, _limit: Duration) -> Taken {
            let mut owner = self.owner.lock().unwrap();
            let me = loom::thread::current().id();
            if *owner == Some(me) {
                return Taken::ByUs;
            }
            while owner.is_some() {
                owner = self.free.wait(owner).unwrap();
            }
            *owner = Some(me);
            Taken::Clean
        }

        pub(crate) fn unlock(&self) {
            *self.owner.lock().unwrap() = None;
            self.free.notify_all();
        }

        pub(crate) fn mark_consistent(&self) {}

        pub(crate) fn is_taken(&self) -> bool {
            self.owner.lock().unwrap().is_some()
        }

        pub(crate) fn init(&self) {}
    }
}
