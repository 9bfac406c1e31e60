//! A value with a lock, and a number without one.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use bytemuck::Pod;
use ipc_core::{Segment, View};
use ipc_sync::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::atomic::{Atomic, Scalar};
use crate::raw::{AtomicState, check_type};

/// A value that processes share, with a lock. Python's `Value('i', 0)`.
///
/// A handle: clone it, pass it to a process, send it in a message; all handles are the same value. It is plain data, of a type that
/// is [`Pod`]: numbers, arrays of them, and structs of one's own with `#[derive(Pod, Zeroable)]`.
///
/// ```
/// use bytemuck::{Pod, Zeroable};
/// use ipc_shm::{Process, Value};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
/// #[repr(C)]
/// struct Progress {
///     files: u64,
///     bytes: u64,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let progress = Value::new(Progress { files: 0, bytes: 0 })?;
/// let children: Vec<_> = (0..4)
///     .map(|_| {
///         Process::spawn(
///             |progress: Value<Progress>| {
///                 for _ in 0..100 {
///                     let add = |p: &mut Progress| (p.files, p.bytes) = (p.files + 1, p.bytes + 512);
///                     progress.update(add).unwrap();
///                 }
///             },
///             progress.clone(),
///         )
///     })
///     .collect::<Result<_, _>>()?;
/// for child in children {
///     child.join()?;
/// }
/// assert_eq!(progress.get()?, Progress { files: 400, bytes: 204_800 });
/// # Ok(()) }
/// ```
///
/// | `multiprocessing` | here |
/// |---|---|
/// | `Value('i', 0)` | `Value::new(0i32)?` |
/// | `Value(Point, 1, 2)`, a structure | `Value::new(Point { x: 1, y: 2 })?` |
/// | `v.value`, `v.value = 5` | [`v.get()?`](Value::get), [`v.set(5)?`](Value::set) |
/// | `v.value += 1`, which loses some | [`v.update`](Value::update)`(\|n\| *n += 1)?` |
/// | `with v.get_lock(): …` | `let mut n = `[`v.lock()?`](Value::lock)`;` and `*n`; not re-entrant: use the guard |
/// | `Value('i', 0, lock=False)`, `RawValue('i', 0)` | [`Value::unlocked`]`(0i32)?` |
/// | `Value('i', 0, lock=my_lock)` | a `Mutex` around a struct of all that the lock is for |
///
/// # When a process dies
///
/// One that is killed while it has the lock, hence also within [`set`](Value::set) or [`update`](Value::update), may have changed half of
/// the value. The lock goes on at once, but every call says so, by [`Error::Lock`](crate::Error::Lock) of `OwnerDied`, until somebody looks
/// after the value with [`lock_or_repair`](Value::lock_or_repair). (Nobody can tell whether the dead one was only reading.) A panic with
/// the lock counts as a death. If there is nothing that could be half changed, and for single numbers, [`Value::unlocked`] has no such
/// worries.
///
/// # Misuse
///
/// As a value is a [`Mutex`] with short forms, all that is said there about its misuse holds: a second lock in the same thread is an
/// error and not a hang, also by `get` while a guard is held; guards stay in their thread; a process that was forked without
/// exec gets an error.
///
/// # References
/// CPython `multiprocessing.Value`: `Lib/multiprocessing/sharedctypes.py`, class `Synchronized`.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Value<T: Pod>(Mutex<T>);

impl<T: Pod> Value<T> {
    /// Makes a value in memory of its own.
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached; [`Error::BadType`](crate::Error::BadType) for a type without
    /// size, or aligned to more than 64 bytes.
    pub fn new(value: T) -> Result<Value<T>> {
        check_type::<T>()?;
        Ok(Value(Mutex::new(value)?))
    }

    /// Makes a number that is used without a lock.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let hits = ipc_shm::Value::unlocked(0u64)?;
    /// hits.fetch_add(1);
    /// assert_eq!(hits.get(), 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    #[doc(alias = "RawValue")]
    pub fn unlocked(value: T) -> Result<AtomicValue<T>>
    where
        T: Scalar,
    {
        AtomicValue::new(value)
    }

    /// How many bytes a value takes in a segment.
    pub fn size() -> usize {
        Mutex::<T>::size()
    }

    /// Makes a value in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ipc_shm::{Segment, Value};
    ///
    /// let segment = Segment::anonymous(128 + Value::<[f64; 2]>::size())?;
    /// let value = Value::create_in(&segment, 128, [1.5f64, 2.5])?;
    /// value.set([3.0, 4.0])?;
    /// // Whoever gets the segment opens it.
    /// assert_eq!(Value::<[f64; 2]>::open_in(&segment, 128)?.get()?, [3.0, 4.0]);
    /// assert!(Value::<[u64; 2]>::open_in(&segment, 128).is_err()); // another type
    /// assert!(Value::<[f64; 2]>::open_in(&segment, 0).is_err()); // nothing there
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, or the place does not lie in the segment; as [`new`](Value::new).
    pub fn create_in(segment: &Segment, offset: usize, value: T) -> Result<Value<T>> {
        check_type::<T>()?;
        Ok(Value(Mutex::create_in(segment, offset, value)?))
    }

    /// Opens the value, or the [`Mutex`], that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none, or it is of another type.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<Value<T>> {
        check_type::<T>()?;
        Ok(Value(Mutex::open_in(segment, offset)?))
    }

    /// The value as it is now, copied under the lock.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let place = ipc_shm::Value::new([1i32, 2])?;
    /// assert_eq!(place.get()?, [1, 2]); // never one half of what another process sets
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`lock`](Value::lock).
    #[inline]
    pub fn get(&self) -> Result<T> {
        Ok(*self.0.lock()?)
    }

    /// As [`get`](Value::get), but waits for the lock for `timeout` at most.
    ///
    /// # Errors
    /// As [`lock_timeout`](Value::lock_timeout).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        Ok(*self.0.lock_timeout(timeout)?)
    }

    /// Sets the value, under the lock.
    ///
    /// What depends on the value, as `set(get()? + 1)` does, is a task for [`update`](Value::update): between two calls others have their
    /// turn.
    ///
    /// # Errors
    /// As [`lock`](Value::lock): it is not set.
    #[inline]
    pub fn set(&self, value: T) -> Result<()> {
        *self.0.lock()? = value;
        Ok(())
    }

    /// As [`set`](Value::set), but waits for the lock for `timeout` at most.
    ///
    /// # Errors
    /// As [`lock_timeout`](Value::lock_timeout): it is not set.
    pub fn set_timeout(&self, timeout: Duration, value: T) -> Result<()> {
        *self.0.lock_timeout(timeout)? = value;
        Ok(())
    }

    /// Changes the value under the lock, and returns what `change` returns.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let ids = ipc_shm::Value::new([0u64, 100])?; // the next one, and the first that is not ours
    /// let id = ids.update(|[next, end]| (*next < *end).then(|| std::mem::replace(next, *next + 1)))?;
    /// assert_eq!(id, Some(0));
    /// assert_eq!(ids.get()?, [1, 100]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`lock`](Value::lock): `change` is not called.
    #[inline]
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R> {
        Ok(change(&mut *self.0.lock()?))
    }

    /// As [`update`](Value::update), but waits for the lock for `timeout` at most.
    ///
    /// ```
    /// use ipc_shm::Value;
    /// use std::{thread, time::Duration};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// let total = Value::new(10u64)?;
    /// let soon = Duration::from_millis(10);
    /// total.update_timeout(soon, |total| *total += 1)?;
    /// total.set_timeout(soon, total.get_timeout(soon)? * 2)?;
    ///
    /// let guard = total.lock()?;
    /// thread::scope(|scope| {
    ///     // Another thread, or another process: in time, and nothing has changed.
    ///     scope.spawn(|| {
    ///         assert!(total.update_timeout(soon, |total| *total = 0).unwrap_err().is_timeout());
    ///         assert!(total.get_timeout(soon).unwrap_err().is_timeout());
    ///     });
    /// });
    /// assert_eq!(*guard, 22);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`lock_timeout`](Value::lock_timeout): `change` is not called.
    pub fn update_timeout<R>(&self, timeout: Duration, change: impl FnOnce(&mut T) -> R) -> Result<R> {
        Ok(change(&mut *self.0.lock_timeout(timeout)?))
    }

    /// Takes the lock; waits while another thread or process has it. The guard gives access to the value, and is what
    /// `ipc_sync::Condvar` waits with.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let pair = ipc_shm::Value::new([1u8, 2])?;
    /// let mut both = pair.lock()?;
    /// both.swap(0, 1);
    /// drop(both);
    /// assert_eq!(pair.get()?, [2, 1]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Lock`](crate::Error::Lock): an owner died with it and nobody has repaired the value since
    /// ([`is_owner_died`](crate::Error::is_owner_died)), this thread has the lock already, or as many as it may. The lock is not taken.
    #[doc(alias = "get_lock")]
    #[inline]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>> {
        Ok(self.0.lock()?)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`is_would_block`](crate::Error::is_would_block) if it is not; else as [`lock`](Value::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>> {
        Ok(self.0.try_lock()?)
    }

    /// Takes the lock; waits for `timeout` at most, also while a stopped process has it.
    ///
    /// ```
    /// use ipc_shm::Value;
    /// use std::{thread, time::Duration};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// let total = Value::new(1u64)?;
    /// let guard = total.try_lock()?;
    /// thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         assert!(total.try_lock().unwrap_err().is_would_block());
    ///         assert!(total.lock_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
    ///     });
    /// });
    /// drop(guard);
    /// *total.lock_timeout(Duration::from_millis(10))? += 1;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`is_timeout`](crate::Error::is_timeout) if the time passed; else as [`lock`](Value::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>> {
        Ok(self.0.lock_timeout(timeout)?)
    }

    /// Takes the lock, and has the value repaired if an owner died with it: `repair` gets the value and the pid of the dead, and
    /// says whether the value is sound now.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ipc_shm::{Process, Value};
    ///
    /// let halves = Value::new([50i64, 50])?; // always 100 in all
    /// let victim: Process<()> = Process::spawn(
    ///     |halves: Value<[i64; 2]>| {
    ///         halves.update(|halves| {
    ///             halves[0] -= 10;
    ///             std::process::abort(); // and does not get to the other half
    ///         }).unwrap()
    ///     },
    ///     halves.clone(),
    /// )?;
    /// victim.join().unwrap_err();
    ///
    /// assert!(halves.get().unwrap_err().is_owner_died());
    /// let repair = |halves: &mut [i64; 2], _pid| {
    ///     halves[1] = 100 - halves[0];
    ///     true
    /// };
    /// assert_eq!(*halves.lock_or_repair(repair)?, [40, 60]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`lock`](Value::lock), but `OwnerDied` only if `repair` returns false. The value stays marked, also if `repair` panics.
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut T, Option<u32>) -> bool) -> Result<MutexGuard<'_, T>> {
        Ok(self.0.lock_or_repair(repair)?)
    }

    /// As [`lock_or_repair`](Value::lock_or_repair), if the lock is free.
    ///
    /// # Errors
    /// [`is_would_block`](crate::Error::is_would_block) if it is not.
    pub fn try_lock_or_repair(&self, repair: impl FnOnce(&mut T, Option<u32>) -> bool) -> Result<MutexGuard<'_, T>> {
        Ok(self.0.try_lock_or_repair(repair)?)
    }

    /// As [`lock_or_repair`](Value::lock_or_repair), but waits for `timeout` at most.
    ///
    /// ```
    /// use ipc_shm::Value;
    /// use std::{thread, time::Duration};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// let total = Value::new(10u64)?;
    /// let theirs = total.clone();
    /// // A panic in `update` has the lock: that counts as a death.
    /// assert!(thread::spawn(move || theirs.update(|_total| panic!("in the middle"))).join().is_err());
    ///
    /// assert!(total.try_lock_or_repair(|_total, _pid| false).unwrap_err().is_owner_died()); // as it is, for others
    /// let repair = |total: &mut u64, _pid| {
    ///     *total = 0;
    ///     true
    /// };
    /// assert_eq!(*total.lock_or_repair_timeout(Duration::from_millis(50), repair)?, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`is_timeout`](crate::Error::is_timeout) if the time passed.
    pub fn lock_or_repair_timeout(
        &self,
        timeout: Duration,
        repair: impl FnOnce(&mut T, Option<u32>) -> bool,
    ) -> Result<MutexGuard<'_, T>> {
        Ok(self.0.lock_or_repair_timeout(timeout, repair)?)
    }
}

impl<T: Pod> Clone for Value<T> {
    fn clone(&self) -> Value<T> {
        Value(self.0.clone())
    }
}

impl<T: Pod> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.0).finish()
    }
}

/// A number that processes share without a lock. Python's `RawValue('i', 0)`, but such that nothing is lost.
///
/// A handle: clone it, pass it to a process, send it in a message; all handles are the same number. What can be done with it is
/// told at [`Atomic`].
///
/// ```
/// use ipc_shm::{AtomicValue, Process, Value};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hits = Value::unlocked(0u64)?; // or `AtomicValue::new(0)`
/// let children: Vec<_> = (0..4)
///     .map(|_| {
///         Process::spawn(
///             |hits: AtomicValue<u64>| {
///                 for _ in 0..1000 {
///                     hits.fetch_add(1);
///                 }
///             },
///             hits.clone(),
///         )
///     })
///     .collect::<Result<_, _>>()?;
/// for child in children {
///     child.join()?;
/// }
/// assert_eq!(hits.get(), 4000);
/// # Ok(()) }
/// ```
///
/// | `multiprocessing` | here |
/// |---|---|
/// | `RawValue('i', 0)`, `Value('i', 0, lock=False)` | `Value::unlocked(0i32)?` |
/// | `v.value`, `v.value = 5` | [`v.get()`](Atomic::get), [`v.set(5)`](Atomic::set) |
/// | `v.value += 1`, which loses some | [`v.fetch_add(1)`](Atomic::fetch_add), [`v.update(…)`](Atomic::update) |
///
/// # When a process dies
///
/// It has done an operation or it has not, and nobody needs to be told. No operation waits, and none fails. It also works in
/// a process that was forked without exec.
///
/// # When not to use it
///
/// For things that must change together: two numbers, or a number and a text. That is a [`Value`](crate::Value) of a struct. To wait
/// until a number changes, use `ipc_sync::Condvar` or `Signal`.
///
/// # References
/// CPython `multiprocessing.sharedctypes.RawValue`.
#[doc(alias = "RawValue")]
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct AtomicValue<T: Scalar>(View<AtomicState<T>>);

impl<T: Scalar> AtomicValue<T> {
    /// Makes a number in memory of its own. For very many numbers an [`AtomicArray`](crate::AtomicArray) takes less.
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn new(value: T) -> Result<AtomicValue<T>> {
        Ok(AtomicValue(Segment::of(0, |view: &View<AtomicState<T>>| view.0.set(value))?))
    }

    /// How many bytes a number takes in a segment.
    pub fn size() -> usize {
        Segment::space_for::<AtomicState<T>>(0)
    }

    /// Makes a number in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ipc_shm::{AtomicValue, Segment};
    ///
    /// let second = AtomicValue::<u64>::size().next_multiple_of(Segment::ALIGNMENT);
    /// let segment = Segment::anonymous(2 * second)?;
    /// let (done, failed) = (AtomicValue::create_in(&segment, 0, 0u64)?, AtomicValue::create_in(&segment, second, 0u64)?);
    /// done.fetch_add(3);
    /// failed.set(1);
    /// // Whoever gets the segment opens both.
    /// assert_eq!(AtomicValue::<u64>::open_in(&segment, 0)?.get(), 3);
    /// assert!(AtomicValue::<i32>::open_in(&segment, 0).is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, or the place does not lie in the segment.
    pub fn create_in(segment: &Segment, offset: usize, value: T) -> Result<AtomicValue<T>> {
        Ok(AtomicValue(segment.create(offset, 0, |view: &View<AtomicState<T>>| view.0.set(value))?))
    }

    /// Opens the number that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none, or it is of another type.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<AtomicValue<T>> {
        Ok(AtomicValue(segment.open(offset)?))
    }
}

impl<T: Scalar> Clone for AtomicValue<T> {
    fn clone(&self) -> AtomicValue<T> {
        AtomicValue(self.0.clone())
    }
}

impl<T: Scalar> Deref for AtomicValue<T> {
    type Target = Atomic<T>;

    #[inline]
    fn deref(&self) -> &Atomic<T> {
        &self.0.0
    }
}

impl<T: Scalar> fmt::Debug for AtomicValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AtomicValue").field(&**self).finish()
    }
}
