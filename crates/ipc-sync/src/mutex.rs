//! A mutex around plain data.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytemuck::Pod;
use ipc_core::{Deadline, Segment, View};
use serde::{Deserialize, Serialize};

use crate::lock::{Lock, Locked};
use crate::raw::Data;
use crate::{Error, Result};

/// A value that one process, and one thread in it, can use at a time.
///
/// A handle: clone it, pass it to a process, send it in a message; all handles are the same mutex. The value is plain data, of a
/// type that is [`Pod`]: numbers, arrays of them, and structs of one's own with `#[derive(Pod, Zeroable)]`.
///
/// ```
/// use ipc_sync::{Mutex, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counter = Mutex::new(0u64)?;
/// let children: Vec<_> = (0..4)
///     .map(|_| {
///         Process::spawn(
///             |counter: Mutex<u64>| {
///                 for _ in 0..1000 {
///                     *counter.lock().unwrap() += 1;
///                 }
///             },
///             counter.clone(),
///         )
///     })
///     .collect::<Result<_, _>>()?;
/// for child in children {
///     child.join()?;
/// }
/// assert_eq!(*counter.lock()?, 4000);
/// # Ok(()) }
/// ```
///
/// # When a process dies
///
/// One that is killed while it has the lock may have changed half of the value. The kernel hands the lock on at once, but whoever takes it
/// is told: [`Error::OwnerDied`](crate::Error::OwnerDied), until somebody repairs the value with [`lock_or_repair`](Mutex::lock_or_repair).
/// A panic while the lock is held counts as a death.
///
/// Repair by what must hold for the value, not by a note in it of what was being done: the compiler may leave out or reorder
/// ordinary writes, as nobody can see them while the lock is held, except a process that is killed. Where there has to be such a
/// note, put a [`compiler_fence`](std::sync::atomic::compiler_fence) between the steps.
///
/// # Misuse
///
/// - Locking it twice in one thread is [`Error::AlreadyLocked`](crate::Error::AlreadyLocked), not a hang; also within one statement,
///   as `f(*m.lock()?, *m.lock()?)`, where the guards live until its end.
/// - The lock belongs to the *thread*. A guard cannot leave it. A guard that is forgotten (`mem::forget`) keeps the lock until the
///   thread ends; then other processes are told `OwnerDied`, and this one gets
///   [`Error::GuardForgotten`](crate::Error::GuardForgotten) for ever, as references from the guard may still exist. The same, for the
///   others, if the process replaces its program (exec). Handles may be dropped meanwhile: the memory then stays mapped until the
///   process ends.
/// - A thread can have [`MAX_HELD`](crate::MAX_HELD) locks at a time, then [`Error::TooManyHeld`](crate::Error::TooManyHeld).
/// - In a process that was forked without exec every call is [`Error::Forked`](crate::Error::Forked), and a guard that was copied with
///   it does nothing when it is dropped. It still gives out the value, which is not its own: do not use it.
///
/// # References
/// CPython `multiprocessing.Lock`; pthread_mutexattr_setrobust(3).
#[doc(alias = "Lock")]
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Mutex<T: Pod>(View<MutexState<T>>);

#[repr(C)]
pub(crate) struct MutexState<T> {
    lock: Lock,
    pub(crate) data: Data<T>,
}

impl<T: Pod> Mutex<T> {
    /// Makes a mutex in memory of its own.
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn new(value: T) -> Result<Mutex<T>> {
        Ok(Mutex(Segment::of(0, |view| MutexState::init(view, value))?))
    }

    /// How many bytes a mutex takes in a segment.
    pub fn size() -> usize {
        Segment::space_for::<MutexState<T>>(0)
    }

    /// Makes a mutex in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// use ipc_sync::{Mutex, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Two mutexes in one piece of memory: one descriptor and one page for both.
    /// let second = Mutex::<[f64; 4]>::size().next_multiple_of(Segment::ALIGNMENT);
    /// let segment = Segment::anonymous(second + Mutex::<u32>::size())?;
    /// let position = Mutex::create_in(&segment, 0, [0.0; 4])?;
    /// let count = Mutex::create_in(&segment, second, 0u32)?;
    /// *count.lock()? += 1;
    /// position.lock()?[3] = 1.5;
    ///
    /// // Whoever gets the segment opens them.
    /// assert_eq!(*Mutex::<u32>::open_in(&segment, second)?.lock()?, 1);
    /// assert!(Mutex::<u64>::open_in(&segment, second).is_err()); // another type
    /// assert!(Mutex::create_in(&segment, second, 0u32).is_err()); // there is one already
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, or the place does not lie in the segment.
    pub fn create_in(segment: &Segment, offset: usize, value: T) -> Result<Mutex<T>> {
        Ok(Mutex(segment.create(offset, 0, |view| MutexState::init(view, value))?))
    }

    /// Opens the mutex that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none, or it is around another type.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<Mutex<T>> {
        Ok(Mutex(segment.open(offset)?))
    }

    /// Takes the lock; waits while another thread or process has it.
    ///
    /// ```
    /// use ipc_sync::{Error, Mutex};
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let count = Mutex::new(1u32)?;
    /// *count.lock()? += 1; // released at the end of the statement
    /// let mut guard = count.lock()?;
    /// *guard *= 10;
    /// assert!(matches!(count.lock(), Err(Error::AlreadyLocked))); // no hang
    /// drop(guard);
    /// assert_eq!(*count.lock()?, 20);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OwnerDied`](crate::Error::OwnerDied) if an owner died with it and nobody has repaired the value since: it is not taken.
    #[doc(alias = "acquire")]
    #[inline(always)]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>> {
        self.lock_until(Deadline::NEVER)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`Error::WouldBlock`](crate::Error::WouldBlock) if it is not; else as [`lock`](Mutex::lock).
    #[inline(always)]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>> {
        self.lock_until(Deadline::NOW)
    }

    /// Takes the lock; waits for `timeout` at most, also while a stopped process has it.
    ///
    /// ```
    /// use ipc_sync::Mutex;
    /// use std::time::Duration;
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let count = Mutex::new(0u32)?;
    /// let guard = count.lock()?;
    /// std::thread::scope(|scope| {
    ///     // Another thread, or another process.
    ///     scope.spawn(|| {
    ///         assert!(count.try_lock().unwrap_err().is_would_block());
    ///         assert!(count.lock_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
    ///     });
    /// });
    /// drop(guard);
    /// assert!(count.try_lock().is_ok());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout); else as [`lock`](Mutex::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>> {
        self.lock_until(Deadline::after(timeout))
    }

    /// Takes the lock, and has the value repaired if an owner died with it: `repair` gets the value and the pid of the dead, and
    /// says whether the value is sound now.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ipc_sync::{Mutex, Process};
    ///
    /// // The two halves must be equal.
    /// let pair = Mutex::new([1u32, 1])?;
    /// let victim: Process<()> = Process::spawn(
    ///     |pair: Mutex<[u32; 2]>| {
    ///         let mut pair = pair.lock().unwrap();
    ///         pair[0] = 2;
    ///         std::process::abort(); // and does not get to the other half
    ///     },
    ///     pair.clone(),
    /// )?;
    /// victim.join().unwrap_err();
    ///
    /// assert!(pair.lock().unwrap_err().is_owner_died());
    /// let guard = pair.lock_or_repair(|pair, _pid| {
    ///     pair[1] = pair[0];
    ///     true
    /// })?;
    /// assert_eq!(*guard, [2, 2]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OwnerDied`](crate::Error::OwnerDied) if `repair` returns false. The value stays marked, also if `repair` panics.
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut T, Option<u32>) -> bool) -> Result<MutexGuard<'_, T>> {
        self.lock_or_repair_until(Deadline::NEVER, repair)
    }

    /// As [`lock_or_repair`](Mutex::lock_or_repair), if the lock is free.
    ///
    /// # Errors
    /// [`Error::WouldBlock`](crate::Error::WouldBlock) if it is not.
    pub fn try_lock_or_repair(&self, repair: impl FnOnce(&mut T, Option<u32>) -> bool) -> Result<MutexGuard<'_, T>> {
        self.lock_or_repair_until(Deadline::NOW, repair)
    }

    /// As [`lock_or_repair`](Mutex::lock_or_repair), but waits for `timeout` at most.
    ///
    /// ```
    /// use ipc_sync::Mutex;
    /// use std::{panic, process, time::Duration};
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let sum = Mutex::new(7u32)?;
    /// let fails = panic::catch_unwind(|| {
    ///     let _guard = sum.lock().unwrap();
    ///     panic!("in the middle"); // with the lock: that counts as a death
    /// });
    /// assert!(fails.is_err());
    ///
    /// // Who cannot repair it leaves it as it is, for somebody who can.
    /// assert!(sum.try_lock_or_repair(|_sum, _pid| false).unwrap_err().is_owner_died());
    /// let repair = |sum: &mut u32, pid| {
    ///     assert_eq!(pid, Some(process::id())); // who it was
    ///     *sum = 0;
    ///     true
    /// };
    /// assert_eq!(*sum.lock_or_repair_timeout(Duration::from_millis(50), repair)?, 0);
    /// assert!(sum.lock().is_ok());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout).
    pub fn lock_or_repair_timeout(
        &self,
        timeout: Duration,
        repair: impl FnOnce(&mut T, Option<u32>) -> bool,
    ) -> Result<MutexGuard<'_, T>> {
        self.lock_or_repair_until(Deadline::after(timeout), repair)
    }

    fn lock_or_repair_until(
        &self,
        deadline: Deadline,
        repair: impl FnOnce(&mut T, Option<u32>) -> bool,
    ) -> Result<MutexGuard<'_, T>> {
        let mut guard = self.take(deadline)?;
        if let Some(died) = guard.locked.died() {
            let is_sound = repair(&mut guard, died.pid);
            self.0.segment().check_fork()?;
            if !is_sound {
                return Err(died.into());
            }
            self.0.lock.mark_repaired();
        }
        Ok(guard)
    }

    #[inline(always)]
    pub(crate) fn lock_until(&self, deadline: Deadline) -> Result<MutexGuard<'_, T>> {
        let guard = self.take(deadline)?;
        match guard.locked.died() {
            None => Ok(guard),
            Some(died) => Err(died.into()),
        }
    }

    #[inline(always)]
    fn take(&self, deadline: Deadline) -> Result<MutexGuard<'_, T>> {
        let locked = self.0.lock.acquire(self.0.segment(), deadline)?;
        if self.0.local().is_marked(0) {
            self.0.lock.give_back(self.0.segment(), locked);
            return Err(Error::GuardForgotten);
        }
        self.0.local().mark(0);
        Ok(MutexGuard { mutex: self, locked, not_send: PhantomData })
    }
}

impl<T: Pod> MutexState<T> {
    fn init(view: &View<MutexState<T>>, value: T) {
        view.lock.init();
        view.data.init(value);
    }
}

impl<T: Pod> Clone for Mutex<T> {
    fn clone(&self) -> Mutex<T> {
        Mutex(self.0.clone())
    }
}

impl<T: Pod> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mutex").field(&self.0.lock).finish()
    }
}

/// The right to use the value of a [`Mutex`], until it is dropped. It stays in its thread.
///
/// ```
/// # fn main() -> ipc_sync::Result<()> {
/// let sides = ipc_sync::Mutex::new([10i64, 0])?;
/// {
///     let mut sides = sides.lock()?; // from here on nobody else gets at the value
///     sides[0] -= 3;
///     sides[1] += 3;
/// } // and from here on they find all of the change
/// assert_eq!(*sides.lock()?, [7, 3]);
/// # Ok(()) }
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct MutexGuard<'a, T: Pod> {
    mutex: &'a Mutex<T>,
    locked: Locked,
    not_send: PhantomData<*const ()>,
}

impl<'a, T: Pod> MutexGuard<'a, T> {
    #[inline]
    pub(crate) fn state(&self) -> &MutexState<T> {
        &self.mutex.0
    }

    pub(crate) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

impl<T: Pod> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.0.local().unmark(0);
        self.mutex.0.lock.give_back(self.mutex.0.segment(), self.locked);
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
