//! The C library's robust mutex in shared memory, and access to what a lock protects.
//!
//! Three things can go wrong with robust mutexes in glibc, and are kept from going wrong here. `pthread_mutex_lock` loses a
//! wake-up if a woken waiter is killed and somebody else takes the lock meanwhile: so nobody waits without a limit. The list of
//! the locks that a thread holds runs through the mutexes themselves: so guards stay in their thread, and memory in which
//! a lock is held stays mapped. The kernel recovers 2,048 locks of a thread: `held.rs` counts.
#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::ops::{Deref, DerefMut};
#[cfg(not(loom))]
use std::time::Duration;

use bytemuck::Pod;
use ipc_core::Shared;

use crate::barrier::{Barrier, BarrierState};
use crate::condvar::CondvarState;
use crate::event::EventState;
use crate::mutex::{MutexGuard, MutexState};
use crate::once::OnceState;
use crate::rlock::{RLockGuard, RLockState};
use crate::rwlock::{ReadGuard, RwState, WriteGuard};
use crate::semaphore::{Semaphore, SemaphoreState};
use crate::signal::SignalState;

/// What came of an attempt to take a robust mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is ours.
    Clean,
    /// It is ours, and its last owner died with it.
    OwnerDied,
    /// Somebody has it.
    Busy,
    /// This thread has it already.
    ByUs,
    /// The memory does not contain a robust mutex in working order.
    Damaged,
}

/// A process-shared, robust, error-checking mutex (pthread_mutexattr_setrobust(3)). It belongs to the thread that has taken it;
/// when that ends, however it ends, the kernel hands it on within microseconds.
#[cfg(not(loom))]
#[repr(transparent)]
pub(crate) struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

// Not in the libc crate. Unlike `pthread_mutex_timedlock` it does not depend on the wall clock (glibc 2.30).
#[cfg(not(loom))]
unsafe extern "C" {
    fn pthread_mutex_clocklock(
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        until: *const libc::timespec,
    ) -> libc::c_int;
}

#[cfg(not(loom))]
impl RobustMutex {
    /// Makes a mutex of memory that nobody uses yet.
    pub(crate) fn init(&self) {
        // SAFETY: the attributes are initialised before they are used, and destroyed once. The mutex is being made: its object
        // is not published yet, so nobody else uses it. None of the calls can fail with these arguments on glibc.
        unsafe {
            let mut attributes = std::mem::zeroed();
            libc::pthread_mutexattr_init(&mut attributes);
            libc::pthread_mutexattr_setpshared(&mut attributes, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutexattr_setrobust(&mut attributes, libc::PTHREAD_MUTEX_ROBUST);
            libc::pthread_mutexattr_settype(&mut attributes, libc::PTHREAD_MUTEX_ERRORCHECK);
            let rc = libc::pthread_mutex_init(self.0.get(), &attributes);
            debug_assert_eq!(rc, 0);
            libc::pthread_mutexattr_destroy(&mut attributes);
        }
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> Taken {
        // SAFETY: the memory is mapped as long as `&self`, and its object was initialised before it was published. If somebody
        // has overwritten it, the kind it is of decides what happens: an error, or a lock that does not work.
        Taken::of(unsafe { libc::pthread_mutex_trylock(self.0.get()) })
    }

    /// Waits for the mutex, at most for `limit`.
    pub(crate) fn lock_within(&self, limit: Duration) -> Taken {
        // SAFETY: all-zero is a valid `timespec`, which the call then fills in.
        let mut until: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: as above; this clock exists.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut until) };
        let nanoseconds = until.tv_nsec as u64 + u64::from(limit.subsec_nanos());
        until.tv_sec += (limit.as_secs() + nanoseconds / 1_000_000_000) as libc::time_t;
        until.tv_nsec = (nanoseconds % 1_000_000_000) as _;
        // SAFETY: as in `try_lock`; the time is valid.
        Taken::of(unsafe { pthread_mutex_clocklock(self.0.get(), libc::CLOCK_MONOTONIC, &until) })
    }

    /// Releases it; nothing happens if this thread does not have it.
    #[inline]
    pub(crate) fn unlock(&self) {
        // SAFETY: as in `try_lock`. The mutex checks who calls.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }

    /// After [`Taken::OwnerDied`]: it works again, and the next one to take it is told nothing.
    pub(crate) fn mark_consistent(&self) {
        // SAFETY: as in `try_lock`.
        unsafe { libc::pthread_mutex_consistent(self.0.get()) };
    }
}

impl Taken {
    #[cfg(not(loom))]
    #[inline]
    fn of(rc: libc::c_int) -> Taken {
        match rc {
            0 => Taken::Clean,
            libc::EBUSY | libc::ETIMEDOUT => Taken::Busy,
            libc::EOWNERDEAD => Taken::OwnerDied,
            libc::EDEADLK => Taken::ByUs,
            _ => Taken::Damaged,
        }
    }
}

/// What a lock protects. Plain data: whatever bytes a dead or hostile process leaves there are a value.
#[repr(transparent)]
pub(crate) struct Data<T>(UnsafeCell<T>);

impl<T: Pod> Data<T> {
    /// Writes the first value, into an object that is not published yet.
    pub(crate) fn init(&self, value: T) {
        // SAFETY: nobody else knows the place before `Segment::create` publishes it, and there is no destructor to be missed.
        unsafe { self.0.get().write(value) };
    }
}

/// The type parameter of a lock, as it is compared by those who open it: names without their paths, which differ between programs.
pub fn contents_of<T>() -> String {
    let name = std::any::type_name::<T>();
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut short = String::new();
    let mut rest = name;
    while let Some(start) = rest.find(is_part) {
        let len = rest[start..].find(|c| !is_part(c)).unwrap_or(rest.len() - start);
        let path = &rest[start..start + len];
        short.push_str(&rest[..start]);
        short.push_str(path.rsplit("::").next().unwrap_or(path));
        rest = &rest[start + len..];
    }
    format!("{short}{rest} of {} bytes", size_of::<T>())
}

/// What both sides of an object must agree on, as a number: FNV-1a.
pub fn hash_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

// SAFETY (all of the following): `repr(C)`, made of atomics, robust mutexes, which are changed by the C library's atomics,
// and `Data` of plain types, which is reached through the guards below only, that is, under the lock beside it. No pointers of ours,
// no destructors. The C library's own pointers in a mutex are followed by the thread that holds it, in its own process.
macro_rules! shared {
    ($($state:ty: $kind:literal, $words:expr;)*) => { $(
        // SAFETY: as said above the macro.
        unsafe impl Shared for $state {
            const KIND: &'static str = $kind;
            const VERSION: u32 = 1;

            fn check_words(words: usize) -> bool {
                $words.contains(&words)
            }
        }
    )* };
}

shared! {
    SemaphoreState: "semaphore", 1..=Semaphore::MAX_PERMITS as usize;
    SignalState: "signal", 0..=0;
    CondvarState: "condvar", 0..=0;
    EventState: "event", 0..=0;
}

macro_rules! shared_with_lock {
    ($($state:ident $(<$t:ident>)?: $kind:literal, $contents:expr, $words:expr;)*) => { $(
        // SAFETY: as said above the first macro.
        unsafe impl $(<$t: Pod>)? Shared for $state $(<$t>)? {
            const KIND: &'static str = $kind;
            const VERSION: u32 = 1;
            const HAS_LOCKS: bool = true;

            fn contents() -> String {
                $contents
            }

            fn check_words(words: usize) -> bool {
                $words.contains(&words)
            }
        }
    )* };
}

shared_with_lock! {
    MutexState<T>: "mutex", contents_of::<T>(), 0..=0;
    RLockState<T>: "rlock", contents_of::<T>(), 0..=0;
    RwState<T>: "rwlock", contents_of::<T>(), 0..=0;
    BarrierState: "barrier", String::new(), 2..=2 * Barrier::MAX_PARTIES as usize;
    OnceState: "once", String::new(), 0..=0;
}

// SAFETY: a lock is made for being used by several threads and processes at once; data is reached under it.
unsafe impl<T: Pod> Sync for Data<T> {}
#[cfg(not(loom))]
// SAFETY: as above.
unsafe impl Sync for RobustMutex {}
#[cfg(not(loom))]
// SAFETY: as above; it is never moved once it is initialised, as it lies in a segment.
unsafe impl Send for RobustMutex {}

impl<T: Pod> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a guard exists from the moment this thread has taken the lock until it releases it, in `drop`, and does not
        // leave the thread. So no other thread or process that keeps to the lock touches the data; one that does not keep to
        // it was trusted with the memory.
        unsafe { &*self.state().data.0.get() }
    }
}

impl<T: Pod> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; the lock cannot be taken twice, so this is the only guard.
        unsafe { &mut *self.state().data.0.get() }
    }
}

impl<T: Pod> Deref for RLockGuard<'_, T> {
    type Target = Cell<T>;

    #[inline]
    fn deref(&self) -> &Cell<T> {
        // SAFETY: as for `MutexGuard`, but there may be several guards in this thread, so they give out a `Cell`, which has the
        // layout of `T` and bears being changed through one reference while another one exists.
        unsafe { &*self.state().data.0.get().cast::<Cell<T>>() }
    }
}

impl<T: Pod> Deref for ReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard has a reader's slot, which it gave up again if a writer was there, and which every writer waits for.
        unsafe { &*self.state().data.0.get() }
    }
}

impl<T: Pod> Deref for WriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard has the writers' lock, and has had every reader's slot since it announced itself.
        unsafe { &*self.state().data.0.get() }
    }
}

impl<T: Pod> DerefMut for WriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.state().data.0.get() }
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<crate::lock::Lock>() == size_of::<libc::pthread_mutex_t>() + 8);
