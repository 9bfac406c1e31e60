//! A re-entrant mutex.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytemuck::Pod;
use ipc_core::{Deadline, Segment, View};
use serde::{Deserialize, Serialize};

use crate::lock::{Lock, Locked};
use crate::raw::Data;
use crate::{Error, Result};

/// A mutex that the thread which has it can take again; it is free when all guards are dropped.
///
/// As several guards can exist at a time, none of them gives out a `&mut`: they give a [`Cell`], with `get`, `set`, `replace` and `update`.
/// Everything else is as in [`Mutex`](crate::Mutex), which to prefer where a function that has the lock need not call another one that
/// takes it.
///
/// ```
/// use ipc_sync::{Result, RLock};
///
/// fn deposit(balance: &RLock<i64>, amount: i64) -> Result<()> {
///     let balance = balance.lock()?;
///     balance.set(balance.get() + amount);
///     Ok(())
/// }
///
/// # fn main() -> Result<()> {
/// let balance = RLock::new(0i64)?;
/// let all = balance.lock()?;
/// deposit(&balance, 10)?; // takes it again
/// deposit(&balance, 20)?;
/// assert_eq!(all.get(), 30);
/// # Ok(()) }
/// ```
///
/// # References
/// CPython `multiprocessing.RLock`, which keeps its owner outside of the shared memory.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct RLock<T: Pod>(View<RLockState<T>>);

#[repr(C)]
pub(crate) struct RLockState<T> {
    lock: Lock,
    /// How often the owner has taken it beyond the first time. Written by the owner only.
    depth: AtomicU32,
    unused: AtomicU32,
    pub(crate) data: Data<T>,
}

impl<T: Pod> RLockState<T> {
    fn init(view: &View<RLockState<T>>, value: T) {
        view.lock.init();
        view.data.init(value);
    }
}

impl<T: Pod> RLock<T> {
    /// Makes a lock in memory of its own.
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn new(value: T) -> Result<RLock<T>> {
        Ok(RLock(Segment::of(0, |view| RLockState::init(view, value))?))
    }

    /// How many bytes a lock takes in a segment.
    pub fn size() -> usize {
        Segment::space_for::<RLockState<T>>(0)
    }

    /// Makes a lock in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// use ipc_sync::{RLock, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(RLock::<u64>::size())?;
    /// RLock::create_in(&segment, 0, 5u64)?.lock()?.set(6);
    /// assert_eq!(RLock::<u64>::open_in(&segment, 0)?.lock()?.get(), 6);
    /// assert!(RLock::<i64>::open_in(&segment, 0).is_err()); // another type
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, or the place does not lie in the segment.
    pub fn create_in(segment: &Segment, offset: usize, value: T) -> Result<RLock<T>> {
        Ok(RLock(segment.create(offset, 0, |view| RLockState::init(view, value))?))
    }

    /// Opens the lock that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none, or it is around another type.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<RLock<T>> {
        Ok(RLock(segment.open(offset)?))
    }

    /// Takes the lock, again if this thread has it; waits while another thread or process has it.
    ///
    /// # Errors
    /// [`Error::OwnerDied`] if an owner died with it and nobody has repaired the value since: it is not taken.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Result<RLockGuard<'_, T>> {
        self.lock_until(Deadline::NEVER)
    }

    /// Takes the lock if it is free or this thread's.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if it is not; else as [`lock`](RLock::lock).
    pub fn try_lock(&self) -> Result<RLockGuard<'_, T>> {
        self.lock_until(Deadline::NOW)
    }

    /// Takes the lock; waits for `timeout` at most, also while a stopped process has it.
    ///
    /// ```
    /// use ipc_sync::RLock;
    /// use std::time::Duration;
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let level = RLock::new(0u32)?;
    /// let first = level.lock()?;
    /// let second = level.try_lock()?; // this thread has it: no wait
    /// drop(first);
    /// std::thread::scope(|scope| {
    ///     // Not free before the last guard is dropped.
    ///     scope.spawn(|| assert!(level.lock_timeout(Duration::from_millis(10)).unwrap_err().is_timeout()));
    /// });
    /// drop(second);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`lock`](RLock::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard<'_, T>> {
        self.lock_until(Deadline::after(timeout))
    }

    /// Takes the lock, and has the value repaired if an owner died with it: see [`Mutex::lock_or_repair`](crate::Mutex::lock_or_repair).
    ///
    /// ```
    /// use ipc_sync::{Process, RLock};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let steps = RLock::new(3u32)?;
    /// let victim: Process<()> = Process::spawn(
    ///     |steps: RLock<u32>| {
    ///         steps.lock().unwrap().set(99);
    ///         let _guard = steps.lock().unwrap();
    ///         std::process::abort(); // with the lock
    ///     },
    ///     steps.clone(),
    /// )?;
    /// victim.join().unwrap_err();
    ///
    /// assert!(steps.lock().unwrap_err().is_owner_died());
    /// assert!(steps.try_lock_or_repair(|_steps, _pid| false).is_err()); // not repaired, so not taken
    /// let guard = steps.lock_or_repair(|steps, _pid| {
    ///     steps.set(0);
    ///     true
    /// })?;
    /// assert_eq!(guard.get(), 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OwnerDied`] if `repair` returns false. The value stays marked, also if `repair` panics.
    pub fn lock_or_repair(&self, repair: impl FnOnce(&Cell<T>, Option<u32>) -> bool) -> Result<RLockGuard<'_, T>> {
        self.lock_or_repair_until(Deadline::NEVER, repair)
    }

    /// As [`lock_or_repair`](RLock::lock_or_repair), if the lock is free or this thread's.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if it is not.
    pub fn try_lock_or_repair(&self, repair: impl FnOnce(&Cell<T>, Option<u32>) -> bool) -> Result<RLockGuard<'_, T>> {
        self.lock_or_repair_until(Deadline::NOW, repair)
    }

    /// As [`lock_or_repair`](RLock::lock_or_repair), but waits for `timeout` at most.
    ///
    /// ```
    /// use ipc_sync::RLock;
    /// use std::time::Duration;
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let healthy = RLock::new(1u8)?;
    /// let guard = healthy.lock_or_repair_timeout(Duration::from_millis(50), |_, _| unreachable!("nobody died"))?;
    /// assert_eq!(guard.get(), 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn lock_or_repair_timeout(
        &self,
        timeout: Duration,
        repair: impl FnOnce(&Cell<T>, Option<u32>) -> bool,
    ) -> Result<RLockGuard<'_, T>> {
        self.lock_or_repair_until(Deadline::after(timeout), repair)
    }

    fn lock_or_repair_until(
        &self,
        deadline: Deadline,
        repair: impl FnOnce(&Cell<T>, Option<u32>) -> bool,
    ) -> Result<RLockGuard<'_, T>> {
        let guard = self.take(deadline)?;
        if let Some(died) = guard.locked.died() {
            let is_sound = repair(&guard, died.pid);
            self.0.segment().check_fork()?;
            if !is_sound {
                return Err(died.into());
            }
            self.0.lock.mark_repaired();
        }
        Ok(guard)
    }

    #[inline]
    fn lock_until(&self, deadline: Deadline) -> Result<RLockGuard<'_, T>> {
        let guard = self.take(deadline)?;
        match guard.locked.died() {
            None => Ok(guard),
            Some(died) => Err(died.into()),
        }
    }

    #[inline]
    fn take(&self, deadline: Deadline) -> Result<RLockGuard<'_, T>> {
        let state = &*self.0;
        let locked = match state.lock.acquire(self.0.segment(), deadline) {
            Ok(locked) => {
                state.depth.store(0, Ordering::Relaxed); // a dead owner may have left another number
                self.0.local().mark(0);
                locked
            }
            Err(Error::AlreadyLocked) => {
                let depth = state.depth.load(Ordering::Relaxed);
                state.depth.store(depth.checked_add(1).ok_or(Error::TooManyHeld)?, Ordering::Relaxed);
                state.lock.look()
            }
            Err(error) => return Err(error),
        };
        Ok(RLockGuard { rlock: self, locked, not_send: PhantomData })
    }
}

impl<T: Pod> Clone for RLock<T> {
    fn clone(&self) -> RLock<T> {
        RLock(self.0.clone())
    }
}

impl<T: Pod> fmt::Debug for RLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RLock").field(&self.0.lock).finish()
    }
}

/// The right to use the value of an [`RLock`], until it is dropped. It stays in its thread.
///
/// ```
/// # fn main() -> ipc_sync::Result<()> {
/// let text = ipc_sync::RLock::new(*b"abc")?;
/// let (outer, inner) = (text.lock()?, text.lock()?);
/// outer.set(*b"xyz"); // seen through both: each is the same `Cell`
/// assert_eq!(inner.replace(*b"..."), *b"xyz");
/// assert_eq!(&outer.get(), b"...");
/// # Ok(()) }
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct RLockGuard<'a, T: Pod> {
    rlock: &'a RLock<T>,
    locked: Locked,
    not_send: PhantomData<*const ()>,
}

impl<T: Pod> RLockGuard<'_, T> {
    #[inline]
    pub(crate) fn state(&self) -> &RLockState<T> {
        &self.rlock.0
    }
}

impl<T: Pod> Drop for RLockGuard<'_, T> {
    fn drop(&mut self) {
        let (segment, state) = (self.rlock.0.segment(), self.state());
        match state.depth.load(Ordering::Relaxed) {
            _ if !segment.is_original() => {} // the depth is the original's
            0 => {
                self.rlock.0.local().unmark(0);
                state.lock.give_back(segment, self.locked);
            }
            depth => {
                state.lock.note_panic(self.locked);
                state.depth.store(depth - 1, Ordering::Relaxed);
            }
        }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for RLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
