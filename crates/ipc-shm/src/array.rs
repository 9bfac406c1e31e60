//! An array with a lock.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytemuck::Pod;
use ipc_core::Segment;
use ipc_sync::{Mutex, MutexGuard};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::atomic::{AtomicArray, Scalar, part};
use crate::raw::{Elements, Lease};
use crate::{Error, Result};

/// An array that processes share, with a lock. Python's `Array('d', 10)`.
///
/// A handle: clone it, pass it to a process, send it in a message; all handles are the same array. Its length is fixed when it is made. The
/// elements are plain data, of a type that is [`Pod`]: numbers, arrays of them, and structs of one's own with `#[derive(Pod, Zeroable)]`.
/// The guard of [`lock`](Array::lock) is a slice; for a single task there are short forms that lock by themselves.
///
/// ```
/// use ipc_shm::{Array, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let scores = Array::new(&[30u32, 10, 20])?;
/// let child = Process::spawn(
///     |scores: Array<u32>| {
///         let mut all = scores.lock().unwrap();
///         all.sort();
///         all.iter_mut().for_each(|score| *score += 1);
///     },
///     scores.clone(),
/// )?;
/// child.join()?;
/// assert_eq!(scores.to_vec()?, [11, 21, 31]);
/// scores.update(0, |score| *score *= 2)?;
/// assert_eq!(scores.get(0)?, 22);
/// # Ok(()) }
/// ```
///
/// | `multiprocessing` | here |
/// |---|---|
/// | `Array('d', 10)`, `Array('i', [1, 2, 3])` | `Array::<f64>::zeroed(10)?`, `Array::new(&[1i32, 2, 3])?` |
/// | `Array(Point, [(1, 2)])`, structures | `Array::new(&[Point { x: 1, y: 2 }])?` |
/// | `len(a)`, `a[i]`, `a[i] = 5` | [`a.len()`](Array::len), [`a.get(i)?`](Array::get), [`a.set(i, 5)?`](Array::set) |
/// | `a[i] += 1`, which loses some | [`a.update`](Array::update)`(i, \|n\| *n += 1)?` |
/// | `a[:]`, `a[2:5]`, `a[2:5] = […]` | [`to_vec`](Array::to_vec), [`read_at`](Array::read_at), [`write_at`](Array::write_at) |
/// | `with a.get_lock(): for n in a: …` | `for n in a.lock()?.iter() …`; not re-entrant: use the guard |
/// | `Array('c', b'text')`, `.value`, `.raw` | `Array::new(b"text")?`, an array of `u8` |
/// | `Array('d', 10, lock=False)`, `RawArray('d', 10)` | [`AtomicArray::zeroed`]`(10)?`, [`Array::unlocked`] |
///
/// A negative index and steps are not needed: the guard is a slice.
///
/// # When a process dies
///
/// One that is killed while it has the lock, hence also within a short form, may have changed some elements and not others. The lock
/// goes on at once, but every call says so, by [`Error::Lock`] of `OwnerDied`, until somebody looks after the elements with
/// [`lock_or_repair`](Array::lock_or_repair). (Nobody can tell whether the dead one was only reading.) A panic with the lock counts as a
/// death. (Python leaves such an array locked for ever.)
///
/// # Misuse
///
/// As with `ipc_sync::Mutex`: a second lock in the same thread is an error and not a hang, also by `get` while a guard is held;
/// guards stay in their thread; a guard that is forgotten keeps the lock until its thread ends, and the memory mapped; a process that
/// was forked without exec gets an error.
///
/// # When not to use it
///
/// One lock is for the whole array. If processes work on single numbers, an [`AtomicArray`] keeps them from waiting for each other.
///
/// # References
/// CPython `multiprocessing.Array`: `Lib/multiprocessing/sharedctypes.py`, class `SynchronizedArray`.
#[derive(Clone)]
pub struct Array<T: Pod> {
    lock: Mutex<Lease>,
    elements: Elements<T, true>,
}

impl<T: Pod> Array<T> {
    /// Makes an array of these elements, in memory of its own.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let board = ipc_shm::Array::new(&[[0u8; 3]; 3])?;
    /// board.update(1, |row| row[2] = b'x')?;
    /// assert_eq!(board.get(1)?, [0, 0, b'x']);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached; [`Error::BadType`] for a type without size, or aligned to
    /// more than 64 bytes.
    pub fn new(elements: &[T]) -> Result<Array<T>> {
        Array::alone(elements.len(), |to| to.copy_from_slice(elements))
    }

    /// Makes an array of `len` elements whose bytes are all zero, in memory of its own.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let array = ipc_shm::Array::<f64>::zeroed(10)?;
    /// assert_eq!(array.to_vec()?, [0.0; 10]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`new`](Array::new), and [`Error::TooMany`].
    pub fn zeroed(len: usize) -> Result<Array<T>> {
        Array::alone(len, |_| ()) // new memory is zero
    }

    fn alone(len: usize, init: impl FnOnce(&mut [T])) -> Result<Array<T>> {
        Array::make(&Segment::anonymous(Array::<T>::size(len)?)?, 0, len, init)
    }

    /// Makes an array of numbers that are used without a lock, each for itself.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let counts = ipc_shm::Array::unlocked(&[0u64; 4])?;
    /// counts.fetch_add(3, 1)?;
    /// assert_eq!(counts.to_vec(), [0, 0, 0, 1]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    #[doc(alias = "RawArray")]
    pub fn unlocked(elements: &[T]) -> Result<AtomicArray<T>>
    where
        T: Scalar,
    {
        AtomicArray::new(elements)
    }

    /// How many bytes an array of `len` elements takes in a segment.
    ///
    /// # Errors
    /// [`Error::TooMany`], [`Error::BadType`].
    pub fn size(len: usize) -> Result<usize> {
        Elements::<T, true>::space(len)
    }

    /// Makes an array of these elements in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ipc_shm::{Array, Segment};
    ///
    /// let segment = Segment::anonymous(128 + Array::<u16>::size(3)?)?;
    /// Array::create_in(&segment, 128, &[1u16, 2, 3])?.set(0, 10)?;
    /// // Whoever gets the segment opens it.
    /// assert_eq!(Array::<u16>::open_in(&segment, 128)?.to_vec()?, [10, 2, 3]);
    /// assert!(Array::<i16>::open_in(&segment, 128).is_err()); // another type
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, or the place does not lie in the segment; as [`new`](Array::new).
    pub fn create_in(segment: &Segment, offset: usize, elements: &[T]) -> Result<Array<T>> {
        Array::make(segment, offset, elements.len(), |to| to.copy_from_slice(elements))
    }

    /// As [`create_in`](Array::create_in), of `len` elements whose bytes are all zero.
    ///
    /// ```
    /// use ipc_shm::{Array, Segment, Value};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // A number and an array side by side in one piece of memory.
    /// let row_at = Value::<u64>::size().next_multiple_of(Segment::ALIGNMENT);
    /// let segment = Segment::anonymous(row_at + Array::<f32>::size(100)?)?;
    /// let (filled, row) = (Value::create_in(&segment, 0, 0u64)?, Array::<f32>::create_zeroed_in(&segment, row_at, 100)?);
    /// row.set(0, 1.5)?;
    /// filled.set(1)?;
    /// assert!(!row.is_empty());
    /// assert_eq!(Array::<f32>::open_in(&segment, row_at)?.get(0)?, 1.5);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`create_in`](Array::create_in), and [`Error::TooMany`].
    pub fn create_zeroed_in(segment: &Segment, offset: usize, len: usize) -> Result<Array<T>> {
        Array::make(segment, offset, len, |to| to.fill(T::zeroed()))
    }

    fn make(segment: &Segment, offset: usize, len: usize, init: impl FnOnce(&mut [T])) -> Result<Array<T>> {
        let elements = Elements::create(segment, offset, len, |to| {
            Mutex::create_in(segment, offset + Elements::<T, true>::LOCK, Lease::NEW)?;
            init(to);
            Ok(())
        })?;
        Array::of(elements)
    }

    /// Opens the array that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none, or it is one of another type.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<Array<T>> {
        Array::of(Elements::open(segment, offset)?)
    }

    fn of(elements: Elements<T, true>) -> Result<Array<T>> {
        let lock = Mutex::open_in(elements.segment(), elements.offset() + Elements::<T, true>::LOCK)?;
        Ok(Array { lock, elements })
    }

    /// How many elements there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the lock; waits while another thread or process has it. The guard is a slice of the elements.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let array = ipc_shm::Array::new(&[3u32, 1, 2])?;
    /// let mut elements = array.lock()?;
    /// elements.sort();
    /// elements[1..].fill(7);
    /// assert_eq!(elements.iter().sum::<u32>(), 15);
    /// drop(elements);
    /// assert_eq!(array.to_vec()?, [1, 7, 7]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Lock`]: an owner died with it and nobody has repaired the elements since ([`is_owner_died`](Error::is_owner_died)), this
    /// thread has the lock already, or as many as it may. The lock is not taken.
    #[doc(alias = "get_lock")]
    #[inline]
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>> {
        Ok(self.guard(self.lock.lock()?))
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`is_would_block`](Error::is_would_block) if it is not; else as [`lock`](Array::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>> {
        Ok(self.guard(self.lock.try_lock()?))
    }

    /// Takes the lock; waits for `timeout` at most, also while a stopped process has it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// let array = ipc_shm::Array::new(&[1u8, 2, 3])?;
    /// let elements = array.lock()?;
    /// std::thread::scope(|scope| {
    ///     // Another thread, or another process.
    ///     scope.spawn(|| {
    ///         assert!(array.try_lock().unwrap_err().is_would_block());
    ///         assert!(array.lock_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
    ///     });
    /// });
    /// drop(elements);
    /// assert_eq!(array.try_lock()?.len(), 3);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`is_timeout`](Error::is_timeout) if the time passed; else as [`lock`](Array::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ArrayGuard<'_, T>> {
        Ok(self.guard(self.lock.lock_timeout(timeout)?))
    }

    /// Takes the lock, and has the elements repaired if an owner died with it: `repair` gets them and the pid of the dead, and
    /// says whether they are sound now.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ipc_shm::{Array, Process};
    ///
    /// let sorted = Array::new(&[1u32, 2, 3, 4])?;
    /// let victim: Process<()> = Process::spawn(
    ///     |sorted: Array<u32>| {
    ///         let mut elements = sorted.lock().unwrap();
    ///         elements[0] = 9;
    ///         std::process::abort(); // and does not get to sorting them again
    ///     },
    ///     sorted.clone(),
    /// )?;
    /// victim.join().unwrap_err();
    ///
    /// assert!(sorted.get(3).unwrap_err().is_owner_died());
    /// let guard = sorted.lock_or_repair(|elements, _pid| {
    ///     elements.sort();
    ///     true
    /// })?;
    /// assert_eq!(*guard, [2, 3, 4, 9]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`lock`](Array::lock), but `OwnerDied` only if `repair` returns false. The array stays marked, also if `repair` panics.
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut [T], Option<u32>) -> bool) -> Result<ArrayGuard<'_, T>> {
        let repair = |lease: &mut Lease, pid| repair(self.elements.write(lease), pid);
        Ok(self.guard(self.lock.lock_or_repair(repair)?))
    }

    /// As [`lock_or_repair`](Array::lock_or_repair), if the lock is free.
    ///
    /// # Errors
    /// [`is_would_block`](Error::is_would_block) if it is not.
    pub fn try_lock_or_repair(&self, repair: impl FnOnce(&mut [T], Option<u32>) -> bool) -> Result<ArrayGuard<'_, T>> {
        let repair = |lease: &mut Lease, pid| repair(self.elements.write(lease), pid);
        Ok(self.guard(self.lock.try_lock_or_repair(repair)?))
    }

    /// As [`lock_or_repair`](Array::lock_or_repair), but waits for `timeout` at most.
    ///
    /// ```
    /// use ipc_shm::Array;
    /// use std::{thread, time::Duration};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// let counts = Array::new(&[4u32, 4])?;
    /// let theirs = counts.clone();
    /// let fails = thread::spawn(move || {
    ///     let _elements = theirs.lock().unwrap();
    ///     panic!("in the middle"); // with the lock: that counts as a death
    /// });
    /// assert!(fails.join().is_err());
    ///
    /// // Who cannot repair it leaves it as it is, for somebody who can.
    /// assert!(counts.try_lock_or_repair(|_counts, _pid| false).unwrap_err().is_owner_died());
    /// let repair = |counts: &mut [u32], _pid| {
    ///     counts.fill(0);
    ///     true
    /// };
    /// assert_eq!(*counts.lock_or_repair_timeout(Duration::from_millis(50), repair)?, [0, 0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`is_timeout`](Error::is_timeout) if the time passed.
    pub fn lock_or_repair_timeout(
        &self,
        timeout: Duration,
        repair: impl FnOnce(&mut [T], Option<u32>) -> bool,
    ) -> Result<ArrayGuard<'_, T>> {
        let repair = |lease: &mut Lease, pid| repair(self.elements.write(lease), pid);
        Ok(self.guard(self.lock.lock_or_repair_timeout(timeout, repair)?))
    }

    /// Runs `task` on the elements. Not by an `ArrayGuard`: put together and taken apart again in memory, it doubles the time.
    #[inline]
    fn with<R>(&self, task: impl FnOnce(&mut [T]) -> R) -> Result<R> {
        let mut lock = self.lock.lock()?;
        Ok(task(self.elements.write(&mut lock)))
    }

    #[inline]
    fn guard<'a>(&'a self, lock: MutexGuard<'a, Lease>) -> ArrayGuard<'a, T> {
        ArrayGuard { elements: &self.elements, lock }
    }

    #[inline]
    fn check(&self, index: usize) -> Result<()> {
        let len = self.len();
        if index < len { Ok(()) } else { Err(Error::Index { index, len }) }
    }

    /// The element at `index`, copied under the lock.
    ///
    /// # Errors
    /// [`Error::Index`]; as [`lock`](Array::lock).
    #[inline]
    pub fn get(&self, index: usize) -> Result<T> {
        self.check(index)?;
        self.with(|elements| elements[index])
    }

    /// Sets the element at `index`, under the lock.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let array = ipc_shm::Array::new(&['a' as u32, 'b' as u32])?;
    /// array.set(1, 'c' as u32)?;
    /// assert_eq!(array.get(1)?, 'c' as u32);
    /// assert!(matches!(array.set(2, 0), Err(ipc_shm::Error::Index { index: 2, len: 2 })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`get`](Array::get): it is not set.
    #[inline]
    pub fn set(&self, index: usize, element: T) -> Result<()> {
        self.check(index)?;
        self.with(|elements| elements[index] = element)
    }

    /// Changes the element at `index` under the lock, and returns what `change` returns.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let array = ipc_shm::Array::new(&[1u8, 2])?;
    /// let before = array.update(0, |n| std::mem::replace(n, 10))?;
    /// assert_eq!((before, array.get(0)?), (1, 10));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`get`](Array::get): `change` is not called.
    #[inline]
    pub fn update<R>(&self, index: usize, change: impl FnOnce(&mut T) -> R) -> Result<R> {
        self.check(index)?;
        self.with(|elements| change(&mut elements[index]))
    }

    /// Sets all elements to `element`, under the lock.
    ///
    /// # Errors
    /// As [`lock`](Array::lock): none is set.
    pub fn fill(&self, element: T) -> Result<()> {
        self.with(|elements| elements.fill(element))
    }

    /// Copies elements over all that there are, under the lock.
    ///
    /// ```
    /// # fn main() -> ipc_shm::Result<()> {
    /// let array = ipc_shm::Array::new(&[1i16, 2, 3])?;
    /// array.fill(-1)?;
    /// assert_eq!(array.to_vec()?, [-1; 3]);
    /// array.copy_from_slice(&[7, 8, 9])?;
    /// assert_eq!(array.get(2)?, 9);
    /// assert!(array.copy_from_slice(&[7, 8]).is_err()); // all, or `write_at`
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] if these are more or fewer; as [`lock`](Array::lock).
    pub fn copy_from_slice(&self, from: &[T]) -> Result<()> {
        let (expected, found) = (self.len(), from.len());
        if expected == found { self.write_at(0, from) } else { Err(Error::Length { expected, found }) }
    }

    /// Copies elements in, from `start` on, under the lock.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let array = ipc_shm::Array::<u8>::zeroed(5)?;
    /// array.write_at(1, b"abc")?;
    /// let mut three = [0; 3];
    /// array.read_at(2, &mut three)?;
    /// assert_eq!(&three, b"bc\0");
    /// assert!(array.write_at(3, b"abc").is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Index`] of the first that does not exist; as [`lock`](Array::lock). Nothing is copied.
    pub fn write_at(&self, start: usize, from: &[T]) -> Result<()> {
        let range = part(self.len(), start, from.len())?;
        self.with(|elements| elements[range].copy_from_slice(from))
    }

    /// Copies elements out, from `start` on, under the lock: as many as there are in `to`.
    ///
    /// # Errors
    /// As [`write_at`](Array::write_at).
    pub fn read_at(&self, start: usize, to: &mut [T]) -> Result<()> {
        let range = part(self.len(), start, to.len())?;
        self.with(|elements| to.copy_from_slice(&elements[range]))
    }

    /// A copy of all elements, made under the lock.
    ///
    /// # Errors
    /// As [`lock`](Array::lock).
    #[doc(alias = "tolist")]
    pub fn to_vec(&self) -> Result<Vec<T>> {
        self.with(|elements| elements.to_vec())
    }
}

impl<T: Pod> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("len", &self.len()).field("lock", &self.lock).finish()
    }
}

impl<T: Pod> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.elements.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Array<T>, D::Error> {
        Array::of(Elements::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The right to use the elements of an [`Array`], until it is dropped: a slice. It stays in its thread.
///
/// ```
/// # fn main() -> Result<(), ipc_shm::Error> {
/// let array = ipc_shm::Array::new(&[5u32, 3])?;
/// {
///     let mut elements = array.lock()?;
///     if elements[0] > elements[1] {
///         elements.swap(0, 1);
///     }
/// } // here the lock is released
/// assert_eq!(array.to_vec()?, [3, 5]);
/// # Ok(()) }
/// ```
///
/// ```compile_fail
/// let array = ipc_shm::Array::new(&[5u32, 3]).unwrap();
/// let elements = array.lock().unwrap();
/// std::thread::scope(|scope| drop(scope.spawn(move || drop(elements)))); // the lock belongs to the thread
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct ArrayGuard<'a, T: Pod> {
    elements: &'a Elements<T, true>,
    lock: MutexGuard<'a, Lease>,
}

impl<T: Pod> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.elements.read(&self.lock)
    }
}

impl<T: Pod> DerefMut for ArrayGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.elements.write(&mut self.lock)
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
