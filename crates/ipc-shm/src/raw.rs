//! Elements in shared memory: where they lie, who may touch them, and the machine's atomics behind the numbers.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::panic::RefUnwindSafe;
use std::slice;
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering,
};

use bytemuck::{Pod, Zeroable};
use ipc_core::{Segment, Shared, View};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::atomic::{Atomic, Scalar};
use crate::{Error, Result};

/// A row of elements with its length; the elements are in the words after it. Locked ones have their lock in the first of these
/// words: an object of its own, with its own header.
///
/// ```text
/// 0        64         128                      256 (128 without a lock)
/// header   length     lock, with its header    elements
/// ```
#[repr(C, align(64))]
pub(crate) struct ElementsState<T, const LOCKED: bool> {
    len: AtomicU64,
    elements: PhantomData<T>,
}

/// What the lock takes, in words.
const LOCK_WORDS: usize = 128 / size_of::<u64>();

/// What the lock of an array protects, in place of the array: whoever has a reference to the one that
/// lies there has the lock.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Lease(());

impl Lease {
    /// The one that lies in a lock that is being made.
    pub(crate) const NEW: Lease = Lease(());
}

// SAFETY: no bytes at all.
unsafe impl Zeroable for Lease {}
// SAFETY: as above.
unsafe impl Pod for Lease {}

/// A handle for a row of elements whose length has been checked.
#[derive(Clone)]
pub(crate) struct Elements<T: Pod, const LOCKED: bool> {
    view: View<ElementsState<T, LOCKED>>,
    len: usize,
}

impl<T: Pod, const LOCKED: bool> Elements<T, LOCKED> {
    /// Where the lock lies, from the beginning of the whole.
    pub(crate) const LOCK: usize = 128;
    const BEFORE: usize = if LOCKED { LOCK_WORDS } else { 0 };

    fn words(len: usize) -> Option<usize> {
        let bytes = len.checked_mul(size_of::<T>())?;
        bytes.div_ceil(size_of::<u64>()).checked_add(Self::BEFORE)
    }

    /// How many bytes of a segment they take.
    pub(crate) fn space(len: usize) -> Result<usize> {
        check_type::<T>()?;
        // What is more than half of the address space could not be added to.
        let words = Self::words(len).filter(|words| *words < isize::MAX as usize / size_of::<u64>() - LOCK_WORDS);
        let words = words.ok_or(Error::TooMany { len, size: size_of::<T>() })?;
        Ok(Segment::space_for::<ElementsState<T, LOCKED>>(words))
    }

    /// Makes them at `offset`; `init` gets what the memory contains, and makes the lock in [its place](Self::LOCK), which is empty. If it
    /// fails, nobody can use the place any more.
    pub(crate) fn create(
        segment: &Segment,
        offset: usize,
        len: usize,
        init: impl FnOnce(&mut [T]) -> Result<()>,
    ) -> Result<Elements<T, LOCKED>> {
        Self::space(len)?;
        let words = Self::words(len).ok_or(Error::TooMany { len, size: size_of::<T>() })?;
        let mut made = Ok(());
        let view = segment.create(offset, words, |view: &View<ElementsState<T, LOCKED>>| {
            // A maker that died may have left a lock: nobody has ever used it.
            view.words()[..Self::BEFORE].iter().for_each(|word| word.store(0, Ordering::Relaxed));
            // SAFETY: there are words for `len` elements, aligned as in `read`, and nobody else knows of them before
            // `Segment::create` publishes them: it lets one process in, and another only in place of a dead one.
            made = init(unsafe { slice::from_raw_parts_mut(Self::place(view), len) });
            view.len.store(if made.is_ok() { len as u64 } else { u64::MAX }, Ordering::Relaxed);
        })?;
        made?;
        Elements::of(view)
    }

    pub(crate) fn open(segment: &Segment, offset: usize) -> Result<Elements<T, LOCKED>> {
        check_type::<T>()?;
        Elements::of(segment.open(offset)?)
    }

    /// The length is looked at once: what somebody writes over it later moves nobody beyond the memory.
    fn of(view: View<ElementsState<T, LOCKED>>) -> Result<Elements<T, LOCKED>> {
        check_type::<T>()?;
        let len = usize::try_from(view.len.load(Ordering::Relaxed)).ok();
        let fitting = len.filter(|len| Self::words(*len) == Some(view.words().len()));
        let damaged = || ipc_core::Error::Incompatible("the length of the array does not fit its memory".into());
        Ok(Elements { len: fitting.ok_or_else(damaged)?, view })
    }

    /// The first element: behind the state, which ends at a multiple of 64, and behind the lock, if there is one.
    #[inline]
    fn place(view: &View<ElementsState<T, LOCKED>>) -> *mut T {
        view.words()[Self::BEFORE..].as_ptr().cast::<T>().cast_mut()
    }

    pub(crate) fn segment(&self) -> &Segment {
        self.view.segment()
    }

    pub(crate) fn offset(&self) -> usize {
        self.view.offset()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl<T: Pod> Elements<T, true> {
    /// The elements, for who has the lock: the lease must be that of these elements.
    #[inline]
    pub(crate) fn read<'a>(&'a self, lease: &'a Lease) -> &'a [T] {
        self.check(lease);
        // SAFETY: there are `len` elements, checked in `of`; they are aligned, as `place` is at a multiple of 64, and mapped as long
        // as `self` has its view; all bytes are values. The lease is reached under the lock only, which lasts longer than the
        // borrow, and a shared borrow of it excludes `write`. A process that does not keep to the lock was trusted with the memory.
        unsafe { slice::from_raw_parts(Self::place(&self.view), self.len) }
    }

    /// As [`read`](Self::read), to change them.
    #[inline]
    pub(crate) fn write<'a>(&'a self, lease: &'a mut Lease) -> &'a mut [T] {
        self.check(lease);
        // SAFETY: as in `read`; the lease is borrowed exclusively, and there is one, as the lock cannot be taken twice. The pointer comes
        // from atomics, hence may be written through.
        unsafe { slice::from_raw_parts_mut(Self::place(&self.view), self.len) }
    }

    /// It has no bytes, but a place: within the lock of these elements.
    #[inline]
    fn check(&self, lease: &Lease) {
        let lock = self.view.words()[..LOCK_WORDS].as_ptr_range();
        debug_assert!(lock.contains(&std::ptr::from_ref(lease).cast()), "the lease of other elements");
    }
}

impl<T: Scalar> Elements<T, false> {
    #[inline]
    pub(crate) fn atomics(&self) -> &[Atomic<T>] {
        // SAFETY: there are `len` elements, checked in `of`, aligned and mapped as in `read`. `Atomic<T>` is an atomic of the size of a `T`,
        // by the contract of `Machine`; nobody uses the elements in any other way once they are published.
        unsafe { slice::from_raw_parts(Self::place(&self.view).cast::<Atomic<T>>().cast_const(), self.len) }
    }
}

impl<T: Pod, const LOCKED: bool> Serialize for Elements<T, LOCKED> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.view.serialize(serializer)
    }
}

impl<'de, T: Pod, const LOCKED: bool> Deserialize<'de> for Elements<T, LOCKED> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Elements<T, LOCKED>, D::Error> {
        Elements::of(View::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Whether a type can be that of a value or an element.
pub(crate) fn check_type<T>() -> Result<()> {
    let why = match (size_of::<T>(), align_of::<T>()) {
        (0, _) => "it has no size",
        (_, align) if align > Segment::ALIGNMENT => "it must be aligned to more than 64 bytes",
        _ => return Ok(()),
    };
    Err(Error::BadType { name: std::any::type_name::<T>(), why })
}

/// The name of a type as it is compared by those who open an object: without paths, which differ between programs.
fn contents_of<T>() -> String {
    let mut name = String::new();
    for part in std::any::type_name::<T>().split("::") {
        // What stands before a `::` ends with the name of a module.
        name.truncate(name.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len());
        name.push_str(part);
    }
    format!("{name} of {} bytes", size_of::<T>())
}

// SAFETY: `repr(C)`, an atomic. The words after it are the elements, which are plain data: every pattern of bytes is a value. They
// are reached under the lock, or as atomics. No pointers, no destructor.
unsafe impl<T: Pod, const LOCKED: bool> Shared for ElementsState<T, LOCKED> {
    const KIND: &'static str = if LOCKED { "array" } else { "atomics" };
    const ROOM: usize = Elements::<T, LOCKED>::BEFORE * size_of::<u64>();
    const VERSION: u32 = 1;

    fn contents() -> String {
        contents_of::<T>()
    }
}

/// One number, without a lock.
#[repr(transparent)]
pub(crate) struct AtomicState<T: Scalar>(pub(crate) Atomic<T>);

// SAFETY: an atomic, by the contract of `Machine`.
unsafe impl<T: Scalar> Shared for AtomicState<T> {
    const KIND: &'static str = "atomic";
    const VERSION: u32 = 1;

    fn contents() -> String {
        contents_of::<T>()
    }
}

/// The machine's atomic behind a number.
///
/// # Safety
/// `Word` is one of the standard library's atomics, of the size of `Self`, or a transparent wrapper of one.
#[doc(hidden)]
pub unsafe trait Machine: Pod + PartialEq + std::fmt::Debug {
    type Word: Send + Sync + RefUnwindSafe;

    fn load(word: &Self::Word, ordering: Ordering) -> Self;
    fn store(word: &Self::Word, value: Self, ordering: Ordering);
    fn swap(word: &Self::Word, value: Self) -> Self;
    fn compare_exchange(word: &Self::Word, current: Self, new: Self) -> Result<Self, Self>;
    fn compare_exchange_weak(word: &Self::Word, current: Self, new: Self) -> Result<Self, Self>;
}

/// What the machine does in one step with integers only.
#[doc(hidden)]
pub trait Arithmetic: Machine {
    fn fetch_add(word: &Self::Word, value: Self) -> Self;
    fn fetch_sub(word: &Self::Word, value: Self) -> Self;
    fn fetch_and(word: &Self::Word, value: Self) -> Self;
    fn fetch_or(word: &Self::Word, value: Self) -> Self;
    fn fetch_xor(word: &Self::Word, value: Self) -> Self;
    fn fetch_max(word: &Self::Word, value: Self) -> Self;
    fn fetch_min(word: &Self::Word, value: Self) -> Self;
}

/// One order of all operations everywhere: on x86-64 it costs a store its speed and nothing else, and nobody has to think.
const ORDER: Ordering = Ordering::SeqCst;

macro_rules! machine {
    ($($number:ty, $word:ty, $to:expr, $from:expr;)*) => { $(
        // SAFETY: the word is an atomic, and of the same size, by the assertion below.
        unsafe impl Machine for $number {
            type Word = $word;

            #[inline]
            fn load(word: &$word, ordering: Ordering) -> $number {
                $from(word.load(ordering))
            }
            #[inline]
            fn store(word: &$word, value: $number, ordering: Ordering) {
                word.store($to(value), ordering);
            }
            #[inline]
            fn swap(word: &$word, value: $number) -> $number {
                $from(word.swap($to(value), ORDER))
            }
            #[inline]
            fn compare_exchange(word: &$word, current: $number, new: $number) -> Result<$number, $number> {
                word.compare_exchange($to(current), $to(new), ORDER, ORDER).map($from).map_err($from)
            }
            #[inline]
            fn compare_exchange_weak(word: &$word, current: $number, new: $number) -> Result<$number, $number> {
                word.compare_exchange_weak($to(current), $to(new), ORDER, ORDER).map($from).map_err($from)
            }
        }

        const _: () = assert!(size_of::<$number>() == size_of::<$word>());
    )* };
}

macro_rules! arithmetic {
    (@ ($($operation:ident)*) $number:ty, $word:ty) => {
        impl Arithmetic for $number { $(
            #[inline]
            fn $operation(word: &$word, value: $number) -> $number {
                word.$operation(value, ORDER)
            }
        )* }
    };
    ($operations:tt $($number:ty, $word:ty;)*) => { $(
        machine! { $number, $word, std::convert::identity, std::convert::identity; }
        arithmetic! { @ $operations $number, $word }
    )* };
}

arithmetic! {
    (fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min)
    u8, AtomicU8;
    u16, AtomicU16;
    u32, AtomicU32;
    u64, AtomicU64;
    i8, AtomicI8;
    i16, AtomicI16;
    i32, AtomicI32;
    i64, AtomicI64;
}

machine! {
    f32, AtomicU32, f32::to_bits, f32::from_bits;
    f64, AtomicU64, f64::to_bits, f64::from_bits;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_fits_into_its_place() {
        assert!(ipc_sync::Mutex::<Lease>::size() <= LOCK_WORDS * size_of::<u64>());
        assert_eq!(Segment::space_for::<ElementsState<u64, true>>(0), Elements::<u64, true>::LOCK);
        assert_eq!(Elements::<u8, true>::space(9).unwrap(), 256 + 16);
        assert_eq!(Elements::<u8, false>::space(9).unwrap(), 128 + 16);
    }

    #[test]
    fn types_are_named_without_their_paths() {
        struct Pair<T>([T; 2]);
        assert_eq!(contents_of::<u32>(), "u32 of 4 bytes");
        assert_eq!(contents_of::<[std::num::Wrapping<u8>; 3]>(), "[Wrapping<u8>; 3] of 3 bytes");
        assert_eq!(contents_of::<Pair<std::num::Wrapping<u16>>>(), "Pair<Wrapping<u16>> of 4 bytes");
    }
}
