//! Numbers without a lock: each operation is one step of the machine.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{Ordering, fence};

use ipc_core::Segment;
use serde::{Deserialize, Serialize};

use crate::raw::{Arithmetic, Elements, Machine};
use crate::{Error, Result};

/// The numbers that processes can share without a lock: `u8` to `u64`, `i8` to `i64`, `f32` and `f64`.
///
/// A `bool` is not among them, as not every byte is one, nor `usize`, as two programs may disagree on its size.
///
/// ```
/// use ipc_shm::{AtomicArray, Scalar};
///
/// fn mean<T: Scalar + Into<f64>>(numbers: &AtomicArray<T>) -> f64 {
///     numbers.to_vec().into_iter().map(Into::into).sum::<f64>() / numbers.len() as f64
/// }
///
/// # fn main() -> ipc_shm::Result<()> {
/// assert_eq!(mean(&AtomicArray::new(&[1u8, 2])?), 1.5);
/// assert_eq!(mean(&AtomicArray::new(&[0.5f32, 0.25])?), 0.375);
/// # Ok(()) }
/// ```
pub trait Scalar: Machine {}

/// The integers among the [`Scalar`]s: the machine adds to them, and combines their bits, in one step.
///
/// ```
/// use ipc_shm::{AtomicValue, Integer};
///
/// /// The first of `count` numbers that nobody else gets.
/// fn reserve<T: Integer>(next: &AtomicValue<T>, count: T) -> T {
///     next.fetch_add(count)
/// }
///
/// # fn main() -> ipc_shm::Result<()> {
/// let next = AtomicValue::new(100u16)?;
/// assert_eq!((reserve(&next, 10), reserve(&next, 1)), (100, 110));
/// # Ok(()) }
/// ```
pub trait Integer: Scalar + Arithmetic {}

impl<T: Machine> Scalar for T {}
impl<T: Arithmetic> Integer for T {}

/// A number in shared memory, used without a lock: what an [`AtomicValue`](crate::AtomicValue) refers to, and an element of an
/// [`AtomicArray`].
///
/// Every operation is one step that nobody can come between, also not a kill. All operations of all processes on all such numbers
/// are in one order that everybody sees alike (sequentially consistent): who finds a number that another process has set also
/// finds what that process has written before.
///
/// What changes a number returns what was there *before*.
///
/// ```
/// # fn main() -> Result<(), ipc_shm::Error> {
/// use ipc_shm::Value;
///
/// let n = Value::unlocked(10u32)?;
/// assert_eq!(n.fetch_add(5), 10);
/// assert_eq!(n.swap(1), 15);
/// n.set(2);
/// assert_eq!(n.get(), 2);
/// # Ok(()) }
/// ```
///
/// # References
/// [`std::sync::atomic`], which has the orderings to choose from; a C program uses the same memory by `_Atomic` or `__atomic_fetch_add`.
#[repr(transparent)]
pub struct Atomic<T: Scalar>(T::Word);

impl<T: Scalar> Atomic<T> {
    /// The number as it is now.
    #[doc(alias = "load")]
    #[inline]
    pub fn get(&self) -> T {
        T::load(&self.0, Ordering::SeqCst)
    }

    /// Sets the number.
    #[doc(alias = "store")]
    #[inline]
    pub fn set(&self, value: T) {
        T::store(&self.0, value, Ordering::SeqCst);
    }

    /// Sets the number, and returns what it was.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let mailbox = ipc_shm::Value::unlocked(7u64)?;
    /// assert_eq!(mailbox.swap(0), 7); // of all who empty it, one gets the 7
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn swap(&self, value: T) -> T {
        T::swap(&self.0, value)
    }

    /// Sets the number to `new` if it is `current`: then `Ok` of what it was. Else nothing happens, and it is `Err` of what it is.
    ///
    /// Floating-point numbers are compared by their bits: 0.0 is not -0.0, and a NaN is itself.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let leader = ipc_shm::Value::unlocked(0u32)?;
    /// assert_eq!(leader.compare_exchange(0, 17), Ok(0)); // the first one wins
    /// assert_eq!(leader.compare_exchange(0, 18), Err(17)); // the second one learns who did
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The number, if it is not `current`.
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        T::compare_exchange(&self.0, current, new)
    }

    /// Sets the number to what `change` makes of it, and returns what it was.
    ///
    /// If somebody else has changed the number meanwhile, `change` is called again with the new one: it should do nothing else.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let mean = ipc_shm::Value::unlocked(1.0f64)?;
    /// assert_eq!(mean.update(|mean| mean * 0.9 + 0.5), 1.0);
    /// assert_eq!(mean.get(), 1.4);
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn update(&self, mut change: impl FnMut(T) -> T) -> T {
        let mut old = self.get();
        loop {
            match T::compare_exchange_weak(&self.0, old, change(old)) {
                Ok(old) => return old,
                Err(other) => old = other,
            }
        }
    }

    /// As [`update`](Atomic::update), unless `change` returns `None`: then nothing happens, and it is `Err` of what the number is.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let seats = ipc_shm::Value::unlocked(1u8)?;
    /// assert_eq!(seats.fetch_update(|free| free.checked_sub(1)), Ok(1));
    /// assert_eq!(seats.fetch_update(|free| free.checked_sub(1)), Err(0));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The number, if `change` returned `None`.
    #[doc(alias = "try_update")]
    #[inline]
    pub fn fetch_update(&self, mut change: impl FnMut(T) -> Option<T>) -> Result<T, T> {
        let mut old = self.get();
        while let Some(new) = change(old) {
            match T::compare_exchange_weak(&self.0, old, new) {
                Ok(old) => return Ok(old),
                Err(other) => old = other,
            }
        }
        Err(old)
    }
}

impl<T: Integer> Atomic<T> {
    /// Adds to the number, and returns what it was. It wraps around at the ends of its type.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let tickets = ipc_shm::Value::unlocked(254u8)?;
    /// let mine: Vec<u8> = (0..3).map(|_| tickets.fetch_add(1)).collect(); // no two processes get the same one
    /// assert_eq!(mine, [254, 255, 0]);
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn fetch_add(&self, value: T) -> T {
        T::fetch_add(&self.0, value)
    }

    /// Subtracts from the number, and returns what it was. It wraps around at the ends of its type; to stop there, use
    /// [`fetch_update`](Atomic::fetch_update) with `checked_sub`.
    ///
    /// ```
    /// # fn main() -> ipc_shm::Result<()> {
    /// let left = ipc_shm::Value::unlocked(2u32)?;
    /// assert_eq!(left.fetch_sub(1), 2);
    /// assert_eq!(left.fetch_sub(1), 1); // who gets 1 was the last
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn fetch_sub(&self, value: T) -> T {
        T::fetch_sub(&self.0, value)
    }

    /// Keeps those bits only that are set in `value`, and returns what the number was.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let flags = ipc_shm::Value::unlocked(0b0110u8)?;
    /// flags.fetch_or(0b0001);
    /// flags.fetch_and(!0b0100);
    /// assert_eq!(flags.fetch_xor(0b1000), 0b0011);
    /// assert_eq!(flags.get(), 0b1011);
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn fetch_and(&self, value: T) -> T {
        T::fetch_and(&self.0, value)
    }

    /// Sets the bits that are set in `value`, and returns what the number was.
    #[inline]
    pub fn fetch_or(&self, value: T) -> T {
        T::fetch_or(&self.0, value)
    }

    /// Turns over the bits that are set in `value`, and returns what the number was.
    #[inline]
    pub fn fetch_xor(&self, value: T) -> T {
        T::fetch_xor(&self.0, value)
    }

    /// Raises the number to `value` if it is less, and returns what it was.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let (highest, lowest) = (ipc_shm::Value::unlocked(i64::MIN)?, ipc_shm::Value::unlocked(i64::MAX)?);
    /// for measured in [3, -4, 1] {
    ///     highest.fetch_max(measured);
    ///     lowest.fetch_min(measured);
    /// }
    /// assert_eq!((highest.get(), lowest.get()), (3, -4));
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn fetch_max(&self, value: T) -> T {
        T::fetch_max(&self.0, value)
    }

    /// Lowers the number to `value` if it is greater, and returns what it was.
    #[inline]
    pub fn fetch_min(&self, value: T) -> T {
        T::fetch_min(&self.0, value)
    }
}

impl<T: Scalar> fmt::Debug for Atomic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// An array of numbers that processes share without a lock, each number for itself. Python's `RawArray('d', 10)`.
///
/// A handle: clone it, pass it to a process, send it in a message; all handles are the same array. Its length is fixed when it is
/// made. [`at`](AtomicArray::at) gives an element, with all that is told at [`Atomic`]; the most frequent of it has short forms here.
///
/// ```
/// use ipc_shm::{AtomicArray, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let histogram = AtomicArray::<u32>::zeroed(10)?;
/// let children: Vec<_> = (0..3)
///     .map(|_| {
///         Process::spawn(
///             |histogram: AtomicArray<u32>| {
///                 for n in 0..100u32 {
///                     histogram.fetch_add((n * n % 10) as usize, 1).unwrap();
///                 }
///             },
///             histogram.clone(),
///         )
///     })
///     .collect::<Result<_, _>>()?;
/// for child in children {
///     child.join()?;
/// }
/// assert_eq!(histogram.to_vec(), [30, 60, 0, 0, 60, 30, 60, 0, 0, 60]);
/// # Ok(()) }
/// ```
///
/// | `multiprocessing` | here |
/// |---|---|
/// | `RawArray('d', 10)`, `Array('d', 10, lock=False)` | `AtomicArray::<f64>::zeroed(10)?` |
/// | `RawArray('i', [1, 2, 3])` | `AtomicArray::new(&[1, 2, 3])?` or `Array::unlocked(&[1, 2, 3])?` |
/// | `a[i]`, `a[i] = 5` | [`a.get(i)?`](AtomicArray::get), [`a.set(i, 5)?`](AtomicArray::set) |
/// | `a[2:5]`, `a[2:5] = […]` | [`read_at`](AtomicArray::read_at), [`write_at`](AtomicArray::write_at) |
/// | `a[i] += 1`, which loses some | [`a.fetch_add(i, 1)?`](AtomicArray::fetch_add) |
///
/// # When a process dies
///
/// Each element is as it was before an operation or as it is after it; of a [`write_at`](AtomicArray::write_at) some elements may be
/// written and others not. Nobody is told. If they belong together, use an [`Array`](crate::Array), whose lock tells.
///
/// # References
/// CPython `multiprocessing.sharedctypes.RawArray`.
#[doc(alias = "RawArray")]
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct AtomicArray<T: Scalar>(Elements<T, false>);

impl<T: Scalar> AtomicArray<T> {
    /// Makes an array of these numbers, in memory of its own.
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn new(values: &[T]) -> Result<AtomicArray<T>> {
        AtomicArray::alone(values.len(), |to| to.copy_from_slice(values))
    }

    /// Makes an array of `len` zeros, in memory of its own.
    ///
    /// # Errors
    /// As [`new`](AtomicArray::new), and [`Error::TooMany`].
    pub fn zeroed(len: usize) -> Result<AtomicArray<T>> {
        AtomicArray::alone(len, |_| ()) // new memory is zero
    }

    fn alone(len: usize, init: impl FnOnce(&mut [T])) -> Result<AtomicArray<T>> {
        let segment = Segment::anonymous(Elements::<T, false>::space(len)?)?;
        AtomicArray::make(&segment, 0, len, init)
    }

    /// How many bytes an array of `len` numbers takes in a segment.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    pub fn size(len: usize) -> Result<usize> {
        Elements::<T, false>::space(len)
    }

    /// Makes an array of these numbers in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ipc_shm::{AtomicArray, Segment};
    ///
    /// let segment = Segment::anonymous(AtomicArray::<i16>::size(3)?)?;
    /// let array = AtomicArray::create_in(&segment, 0, &[1i16, 2, 3])?;
    /// array.set(1, -2)?;
    /// assert_eq!(AtomicArray::<i16>::open_in(&segment, 0)?.to_vec(), [1, -2, 3]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, or the place does not lie in the segment.
    pub fn create_in(segment: &Segment, offset: usize, values: &[T]) -> Result<AtomicArray<T>> {
        AtomicArray::make(segment, offset, values.len(), |to| to.copy_from_slice(values))
    }

    /// As [`create_in`](AtomicArray::create_in), of `len` zeros.
    ///
    /// ```
    /// use ipc_shm::{AtomicArray, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(AtomicArray::<u64>::size(1000)?)?;
    /// let counts = AtomicArray::<u64>::create_zeroed_in(&segment, 0, 1000)?;
    /// counts.fetch_add(7, 5)?;
    /// assert_eq!(counts.fetch_sub(7, 1)?, 5);
    /// assert_eq!(AtomicArray::<u64>::open_in(&segment, 0)?.get(7)?, 4);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`create_in`](AtomicArray::create_in), and [`Error::TooMany`].
    pub fn create_zeroed_in(segment: &Segment, offset: usize, len: usize) -> Result<AtomicArray<T>> {
        AtomicArray::make(segment, offset, len, |to| to.fill(T::zeroed()))
    }

    fn make(segment: &Segment, offset: usize, len: usize, init: impl FnOnce(&mut [T])) -> Result<AtomicArray<T>> {
        Ok(AtomicArray(Elements::create(segment, offset, len, |to| {
            init(to);
            Ok(())
        })?))
    }

    /// Opens the array that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none, or it is one of another type.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<AtomicArray<T>> {
        Ok(AtomicArray(Elements::open(segment, offset)?))
    }

    /// How many numbers there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All numbers, to go through them or to use many.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let array = ipc_shm::AtomicArray::new(&[3u8, 4, 5])?;
    /// let numbers = array.as_slice();
    /// for number in numbers {
    ///     number.update(|n| n * 2);
    /// }
    /// numbers[0].swap(1);
    /// assert_eq!(array.to_vec(), [1, 8, 10]);
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn as_slice(&self) -> &[Atomic<T>] {
        self.0.atomics()
    }

    /// An element, to do with it what can be done with an [`Atomic`].
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let array = ipc_shm::AtomicArray::new(&[3u32, 4, 5])?;
    /// assert_eq!(array.at(1)?.fetch_max(10), 4);
    /// assert_eq!(array.at(1)?.compare_exchange(10, 0), Ok(10));
    /// assert!(array.at(3).is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Index`].
    #[inline]
    pub fn at(&self, index: usize) -> Result<&Atomic<T>> {
        self.as_slice().get(index).ok_or(Error::Index { index, len: self.len() })
    }

    /// The number at `index`.
    ///
    /// # Errors
    /// [`Error::Index`].
    #[inline]
    pub fn get(&self, index: usize) -> Result<T> {
        Ok(self.at(index)?.get())
    }

    /// Sets the number at `index`.
    ///
    /// # Errors
    /// [`Error::Index`].
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<()> {
        self.at(index)?.set(value);
        Ok(())
    }

    /// Sets the number at `index` to what `change` makes of it, and returns what it was. See [`Atomic::update`].
    ///
    /// # Errors
    /// [`Error::Index`].
    #[inline]
    pub fn update(&self, index: usize, change: impl FnMut(T) -> T) -> Result<T> {
        Ok(self.at(index)?.update(change))
    }

    /// Copies numbers out, from `start` on: as many as there are in `to`.
    ///
    /// Each number is read in one step, but while somebody writes them they need not be of the same moment. What was
    /// written before a number that was found by [`get`](AtomicArray::get) is found.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// let array = ipc_shm::AtomicArray::new(&[1.0f32, 2.0, 3.0])?;
    /// array.write_at(1, &[5.0, 6.0])?;
    /// let mut two = [0.0; 2];
    /// array.read_at(0, &mut two)?;
    /// assert_eq!(two, [1.0, 5.0]);
    /// assert!(array.read_at(2, &mut two).is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Index`] of the first that does not exist; nothing is copied.
    pub fn read_at(&self, start: usize, to: &mut [T]) -> Result<()> {
        let from = &self.as_slice()[part(self.len(), start, to.len())?];
        for (to, from) in to.iter_mut().zip(from) {
            *to = T::load(&from.0, Ordering::Relaxed);
        }
        fence(Ordering::Acquire); // what is looked at next is not older than this
        Ok(())
    }

    /// Copies numbers in, from `start` on. Others may find some of them written and others not; who then finds a number that this process
    /// [sets](AtomicArray::set) afterwards, finds all.
    ///
    /// # Errors
    /// [`Error::Index`] of the first that does not exist; nothing is copied.
    pub fn write_at(&self, start: usize, from: &[T]) -> Result<()> {
        let to = &self.as_slice()[part(self.len(), start, from.len())?];
        fence(Ordering::Release); // who finds one of them finds what was written before
        for (to, from) in to.iter().zip(from) {
            T::store(&to.0, *from, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Copies numbers over all that there are.
    ///
    /// # Errors
    /// [`Error::Length`] if these are more or fewer.
    pub fn copy_from_slice(&self, from: &[T]) -> Result<()> {
        let (expected, found) = (self.len(), from.len());
        if expected == found { self.write_at(0, from) } else { Err(Error::Length { expected, found }) }
    }

    /// Sets all numbers to `value`, one after another.
    ///
    /// ```
    /// # fn main() -> ipc_shm::Result<()> {
    /// let array = ipc_shm::AtomicArray::<u8>::zeroed(3)?;
    /// array.fill(9);
    /// assert_eq!(array.to_vec(), [9; 3]);
    /// array.copy_from_slice(&[1, 2, 3])?;
    /// assert_eq!((array.get(1)?, array.len(), array.is_empty()), (2, 3, false));
    /// # Ok(()) }
    /// ```
    pub fn fill(&self, value: T) {
        fence(Ordering::Release);
        self.as_slice().iter().for_each(|to| T::store(&to.0, value, Ordering::Relaxed));
    }

    /// A copy of all numbers, as [`read_at`](AtomicArray::read_at) makes it.
    #[doc(alias = "tolist")]
    pub fn to_vec(&self) -> Vec<T> {
        let copy = self.as_slice().iter().map(|from| T::load(&from.0, Ordering::Relaxed)).collect();
        fence(Ordering::Acquire);
        copy
    }
}

impl<T: Integer> AtomicArray<T> {
    /// Adds to the number at `index`, and returns what it was. It wraps around at the ends of its type.
    ///
    /// # Errors
    /// [`Error::Index`].
    #[inline]
    pub fn fetch_add(&self, index: usize, value: T) -> Result<T> {
        Ok(self.at(index)?.fetch_add(value))
    }

    /// Subtracts from the number at `index`, and returns what it was. It wraps around at the ends of its type.
    ///
    /// # Errors
    /// [`Error::Index`].
    #[inline]
    pub fn fetch_sub(&self, index: usize, value: T) -> Result<T> {
        Ok(self.at(index)?.fetch_sub(value))
    }
}

/// Where `count` elements from `start` on are, of `len`, or the first that does not exist.
pub(crate) fn part(len: usize, start: usize, count: usize) -> Result<Range<usize>> {
    let end = start.checked_add(count).filter(|end| *end <= len);
    end.map(|end| start..end).ok_or(Error::Index { index: start.max(len), len })
}

impl<T: Scalar> Clone for AtomicArray<T> {
    fn clone(&self) -> AtomicArray<T> {
        AtomicArray(self.0.clone())
    }
}

impl<T: Scalar> fmt::Debug for AtomicArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AtomicArray").field(&self.as_slice()).finish()
    }
}
