//! Memory that other processes write: the mapping, typed views of it, and the page that a fork wipes.
#![allow(unsafe_code)]

use std::num::NonZero;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use crate::segment::Segment;

/// A structure that lies in shared memory, at a place in a [`Segment`]. For the crates of the mechanisms.
///
/// # Safety
/// Other processes read and write the same bytes at any time, and may be killed while they do. So:
/// - it is `#[repr(C)]`, of fixed-width integers, without pointers, and *every* pattern of its bytes is a valid value;
/// - through `&Self` its bytes are changed and read with atomics only, or while a lock is held that excludes all others;
/// - it has no destructor.
pub unsafe trait Shared: Sized {
    /// What it is, at most eight characters; another kind at the same place is an error and not a guess.
    const KIND: &'static str;

    /// The version of its layout.
    const VERSION: u32;

    /// What it is made of beyond its size: the type parameter.
    fn contents() -> String {
        String::new()
    }

    /// Asked when the last handle of this process goes: whether a lock in it is held by a guard of this process that was forgotten.
    /// Then it stays mapped, as the C library's list of held locks runs through it.
    fn is_held_here(&self) -> bool {
        false
    }
}

/// What stands before every object: written when the object is complete, checked by all who open it.
#[repr(C)]
pub(crate) struct Header {
    /// 0: nothing yet. The number of a participant: it is making the object. [`READY`]: complete.
    pub(crate) state: AtomicU64,
    pub(crate) kind: AtomicU64,
    pub(crate) layout: AtomicU64,
    pub(crate) words: AtomicU64,
    unused: [AtomicU64; 4],
}

const _: () = assert!(size_of::<Header>() == Segment::ALIGNMENT);

// SAFETY: atomics only.
unsafe impl Shared for Header {
    const KIND: &'static str = "";
    const VERSION: u32 = 1;
}

/// Above all numbers of participants.
pub(crate) const READY: u64 = u64::from_be_bytes(*b"\xffipcobj\x01");

/// A file mapped for reading and writing, shared with every process that maps it.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: NonZero<usize>,
    kept: AtomicBool,
}

// SAFETY: a mapping belongs to the process; whoever makes references into it answers for how they are used.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn of(file: BorrowedFd<'_>, len: NonZero<usize>) -> nix::Result<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start =
            unsafe { mmap(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, file, 0)? };
        Ok(Mapping { start: start.cast(), len, kept: AtomicBool::new(false) })
    }

    /// From now on it stays mapped as long as the process lives.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    /// The place of a `T` with `words` words after it, if it lies inside and is aligned.
    pub(crate) fn place<T>(&self, offset: usize, words: usize) -> Option<(NonNull<T>, NonNull<[AtomicU64]>)> {
        let tail = offset.checked_add(size_of::<T>().next_multiple_of(align_of::<AtomicU64>()))?;
        let end = tail.checked_add(words.checked_mul(size_of::<AtomicU64>())?)?;
        let first = self.start.as_ptr().addr().checked_add(offset)?;
        if end > self.len() || first % align_of::<T>() != 0 || first % align_of::<AtomicU64>() != 0 {
            return None;
        }
        // SAFETY: both offsets are inside the mapping, by the comparison above.
        let (place, tail) = unsafe { (self.start.add(offset).cast::<T>(), self.start.add(tail).cast::<AtomicU64>()) };
        Some((place, NonNull::slice_from_raw_parts(tail, words)))
    }
}

impl Mapping {
    pub(crate) fn header(&self, offset: usize) -> Option<&Header> {
        let (place, _) = self.place::<Header>(offset, 0)?;
        // SAFETY: inside the mapping, which outlives the reference, and aligned; atomics only.
        Some(unsafe { place.as_ref() })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.kept.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: the mapping is ours, and what was given out of it keeps its `Segment`, hence the mapping, alive.
        let _ = unsafe { munmap(self.start.cast(), self.len()) };
    }
}

/// A structure in a segment, which it keeps mapped, with the words that follow it.
#[derive(Debug)]
pub struct View<T: Shared> {
    place: NonNull<T>,
    words: NonNull<[AtomicU64]>,
    offset: usize,
    segment: Segment,
}

// SAFETY: `T` is made for being used by several processes at once, by the contract of `Shared`; threads are no worse.
unsafe impl<T: Shared> Send for View<T> {}
// SAFETY: as above.
unsafe impl<T: Shared> Sync for View<T> {}

/// What bears that a process is killed within an operation bears a panic.
impl<T: Shared> UnwindSafe for View<T> {}
impl<T: Shared> RefUnwindSafe for View<T> {}

impl<T: Shared> View<T> {
    /// Counts the view as one of this process's handles for the object at `offset`, where its header is.
    pub(crate) fn new(segment: Segment, offset: usize, start: usize, words: usize) -> Option<View<T>> {
        let (place, words) = segment.mapping().place(start, words)?;
        segment.add_handle(offset);
        Some(View { place, words, offset, segment })
    }

    /// The segment it lies in.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Where in the segment it lies.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The words that follow the structure.
    #[inline]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: checked by `Mapping::place` to be inside the mapping and aligned, and `segment` keeps that mapped. Atomics have
        // no invalid values and may be changed by anybody at any time.
        unsafe { self.words.as_ref() }
    }

    /// How many handles for this object there are in this process.
    pub fn handles(&self) -> usize {
        self.segment.handles(self.offset)
    }
}

impl<T: Shared> Deref for View<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: inside the mapping and aligned, as above; every pattern of bytes is a valid `T`, and a `T` bears being changed by
        // others, by the contract of `Shared`. Nothing ever takes a `&mut` to it.
        unsafe { self.place.as_ref() }
    }
}

impl<T: Shared> Clone for View<T> {
    fn clone(&self) -> View<T> {
        self.segment.add_handle(self.offset);
        View { place: self.place, words: self.words, offset: self.offset, segment: self.segment.clone() }
    }
}

impl<T: Shared> Drop for View<T> {
    fn drop(&mut self) {
        let last = self.segment.remove_handle(self.offset);
        if last && self.is_held_here() {
            self.segment.keep_mapped();
        }
    }
}

/// A word that a fork sets to zero in the new process.
static WIPED_BY_FORK: OnceLock<Option<&'static AtomicU32>> = OnceLock::new();

/// Whether this process is the one that made it, as against a copy that came about by a fork. Costs one load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForkMark {
    word: &'static AtomicU32,
    mine: u32,
}

impl ForkMark {
    pub(crate) fn new() -> nix::Result<ForkMark> {
        let word = WIPED_BY_FORK.get_or_init(|| wiped_page().ok()).ok_or(nix::errno::Errno::ENOMEM)?;
        // In a process that was itself forked the word is zero, and gets a new value.
        let random = (crate::participant::random() as u32) | 1;
        let found = word.compare_exchange(0, random, Ordering::Relaxed, Ordering::Relaxed);
        let mine = found.map_or_else(|known| known, |_| random);
        Ok(ForkMark { word, mine })
    }

    #[inline]
    pub(crate) fn is_original(self) -> bool {
        self.word.load(Ordering::Relaxed) == self.mine
    }
}

fn wiped_page() -> nix::Result<&'static AtomicU32> {
    const LEN: NonZero<usize> = NonZero::new(size_of::<AtomicU32>()).unwrap();
    // SAFETY: a new private mapping touches nothing that exists; it is never unmapped, so a static reference to its first word,
    // which is zero and aligned to a page, stays valid.
    unsafe {
        let page = mmap_anonymous(None, LEN, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE)?;
        madvise(page, LEN.get(), MmapAdvise::MADV_WIPEONFORK)?;
        Ok(page.cast::<AtomicU32>().as_ref())
    }
}
