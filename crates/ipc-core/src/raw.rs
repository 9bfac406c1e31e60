//! Memory that other processes write: the mapping, typed views of it, and the page that a fork wipes.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::num::NonZero;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use crate::Result;
use crate::object::{Extent, Local};
use crate::segment::{Access, Segment};

/// A structure that lies in shared memory, at a place in a [`Segment`]. For the crates of the mechanisms.
///
/// # Safety
/// Other processes read and write the same bytes at any time, and may be killed while they do. So:
/// - it is `#[repr(C)]`, of fixed-width integers, without pointers, and *every* pattern of its bytes is a valid value;
/// - through `&Self` its bytes are changed and read with atomics only, or while a lock is held that excludes all others;
/// - it has no destructor.
///
/// ```
/// use ipc_core::{Segment, Shared};
///
/// #[repr(transparent)]
/// struct Number(std::sync::atomic::AtomicU64);
///
/// // SAFETY: an atomic: no pointer, no destructor, and every pattern of its bytes is a value.
/// unsafe impl Shared for Number {
///     const KIND: &'static str = "number";
///     const VERSION: u32 = 1;
/// }
/// assert_eq!(Segment::space_for::<Number>(0), 64 + 8); // its header says what it is
/// ```
pub unsafe trait Shared: Sized {
    /// What it is, at most 16 characters; another kind at the same place is an error and not a guess.
    const KIND: &'static str;

    /// The version of its layout.
    const VERSION: u32;

    /// What it is made of beyond its size: the type parameter.
    fn contents() -> String {
        String::new()
    }

    /// Whether it is tied to its pid namespace, as everything with a lock of the C library is, which knows owners by thread ids.
    const HAS_LOCKS: bool = false;

    /// How many bytes right behind it are room for objects of their own, such as a lock. Elsewhere in it there can be none.
    const ROOM: usize = 0;

    /// Whether there can be so many words behind it.
    fn check_words(_words: usize) -> bool {
        true
    }
}

/// What stands before every object: written when the object is complete, checked by all who open it.
#[repr(C)]
pub(crate) struct Header {
    /// 0: nothing yet. The number of a participant: it is making the object. [`READY`]: complete.
    pub(crate) state: AtomicU64,
    pub(crate) kind: [AtomicU64; 2],
    pub(crate) layout: AtomicU64,
    pub(crate) words: AtomicU64,
    /// How many bytes of the file are to be mapped; 0: all. Only in what stands at the very beginning.
    pub(crate) mapped: AtomicU64,
    unused: [AtomicU64; 2],
}

/// Where in the header it is said how much is to be mapped.
pub(crate) const MAPPED_AT: usize = std::mem::offset_of!(Header, mapped);

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
    access: Access,
    kept: Arc<AtomicBool>,
    /// Who unmaps it, if not this.
    #[cfg(feature = "named")]
    owner: Option<Owner>,
}

/// A mapping that the crate `shared_memory` has made.
#[cfg(feature = "named")]
struct Owner(shared_memory::Shmem);

#[cfg(feature = "named")]
impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.get_os_id())
    }
}

// SAFETY: a mapping belongs to the process; whoever makes references into it answers for how they are used.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn of(file: BorrowedFd<'_>, len: NonZero<usize>, access: Access) -> nix::Result<Mapping> {
        let rights = match access {
            Access::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            Access::Read => ProtFlags::PROT_READ,
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap(None, len, rights, MapFlags::MAP_SHARED, file, 0)? };
        Ok(Mapping {
            start: start.cast(),
            len,
            access,
            kept: Arc::default(),
            #[cfg(feature = "named")]
            owner: None,
        })
    }

    /// Takes over a writable mapping that the crate `shared_memory` has made. `None` if it is not as long as it should be.
    #[cfg(feature = "named")]
    pub(crate) fn of_named(memory: shared_memory::Shmem, len: NonZero<usize>) -> Option<Mapping> {
        let start = NonNull::new(memory.as_ptr())?;
        let (access, kept) = (Access::ReadWrite, Arc::default());
        (memory.len() == len.get()).then(|| Mapping { start, len, access, kept, owner: Some(Owner(memory)) })
    }

    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// Set to true, it makes the memory stay mapped as long as the process lives.
    pub(crate) fn kept(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.kept)
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

/// Plain bytes. Others may write them at the same time: what is read then is any mixture of old and new ones, and that is all.
impl Mapping {
    /// Copies bytes out. `None` if they do not lie inside.
    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) -> Option<()> {
        let from = self.bytes(offset, to.len())?;
        // SAFETY: `from` is so many mapped bytes, `to` is ours alone.
        unsafe { copy(from.as_ptr(), to.as_mut_ptr(), to.len()) };
        Some(())
    }

    /// Copies bytes in. `None` if they do not lie inside. The mapping must be writable.
    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> Option<()> {
        debug_assert!(self.access == Access::ReadWrite);
        let to = self.bytes(offset, from.len())?;
        // SAFETY: `to` is so many mapped bytes; those of objects, to which there are references, have been refused by `check_plain`.
        // For the same reason `from`, a slice of this process, lies elsewhere.
        unsafe { copy(from.as_ptr(), to.as_ptr(), from.len()) };
        Some(())
    }

    /// An atomic of 4 or 8 bytes. `None` if it does not lie inside, or is not aligned.
    pub(crate) fn word<W: AtomicWord>(&self, offset: usize) -> Option<&W> {
        let place = self.bytes(offset, size_of::<W>())?.cast::<W>();
        if !place.is_aligned() {
            return None;
        }
        // SAFETY: inside the mapping, which outlives the reference, and aligned; an atomic has no invalid values.
        Some(unsafe { place.as_ref() })
    }

    fn bytes(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(len)?;
        // SAFETY: inside the mapping, or just behind it for no bytes.
        (end <= self.len()).then(|| unsafe { self.start.add(offset) })
    }
}

/// What [`Mapping::word`] may give out.
pub(crate) trait AtomicWord {}
impl AtomicWord for AtomicU32 {}
impl AtomicWord for AtomicU64 {}

/// Copies bytes that another process may write at the same time. For an ordinary copy, or one through slices, that would be a data race,
/// to which the language gives no meaning. This is one of the machine: the compiler does not see which function it calls.
///
/// # Safety
/// `from` is readable and `to` writable for `len` bytes, and they do not overlap.
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    type Copy = unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> *mut c_void;
    let copy: Copy = std::hint::black_box(libc::memcpy);
    // SAFETY: by the contract above.
    unsafe { copy(to.cast(), from.cast(), len) };
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
        let kept = self.kept.load(Ordering::Relaxed);
        #[cfg(feature = "named")]
        if let Some(owner) = self.owner.take() {
            return if kept { std::mem::forget(owner) } else { drop(owner) };
        }
        if kept {
            return;
        }
        // SAFETY: the mapping is ours, and what was given out of it keeps its `Segment`, hence the mapping, alive.
        let _ = unsafe { munmap(self.start.cast(), self.len()) };
    }
}

/// A part of a segment that is mapped twice, one copy right behind the other, so that what begins near its end lies in one piece.
#[derive(Debug)]
pub(crate) struct RingMapping {
    start: NonNull<u8>,
    len: NonZero<usize>,
    /// Which part of the segment.
    pub(crate) offset: usize,
}

// SAFETY: as for `Mapping`.
unsafe impl Send for RingMapping {}
// SAFETY: as for `Mapping`.
unsafe impl Sync for RingMapping {}

impl RingMapping {
    /// Of a part that lies in the file, whose length is a power of two: [`Segment::ring`] has seen to both. The kernel refuses what is not
    /// a multiple of the page size.
    pub(crate) fn of(file: BorrowedFd<'_>, offset: usize, len: NonZero<usize>) -> nix::Result<RingMapping> {
        let twice = len.checked_mul(NonZero::new(2).expect("not 0")).ok_or(nix::errno::Errno::ENOMEM)?;
        let at = offset as libc::off_t;
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: first a new mapping at an address of the kernel's choice, which touches nothing that exists; then, in its two halves
        // and nowhere else, two others in its place. What fails in between is unmapped by `drop`.
        unsafe {
            let start =
                mmap_anonymous(None, twice, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE)?;
            let ring = RingMapping { start: start.cast(), len, offset };
            for half in [ring.start, ring.start.add(len.get())] {
                let place = half.as_ptr().addr().try_into().ok();
                mmap(place, len, rights, MapFlags::MAP_SHARED | MapFlags::MAP_FIXED, file, at)?;
            }
            Ok(ring)
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }
}

impl Drop for RingMapping {
    fn drop(&mut self) {
        // SAFETY: both halves are ours, and nothing is given out of them but through `&self`.
        let _ = unsafe { munmap(self.start.cast(), self.len.get() * 2) };
    }
}

/// Has the processor fetch the line in which a word is that is going to be written or read soon. Only a hint: what it is about to wait for
/// otherwise, at the next barrier, is a line in another processor's cache.
#[inline]
pub fn prefetch<W>(word: &W, to_write: bool) {
    let place = std::ptr::from_ref(word);
    // SAFETY: these instructions change nothing that a program can see, and cannot fail, whatever the address.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        match to_write {
            true => std::arch::asm!("prefetchw [{}]", in(reg) place, options(nostack, preserves_flags, readonly)),
            false => std::arch::asm!("prefetcht0 [{}]", in(reg) place, options(nostack, preserves_flags, readonly)),
        }
        #[cfg(target_arch = "aarch64")]
        match to_write {
            true => std::arch::asm!("prfm pstl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly)),
            false => {
                std::arch::asm!("prfm pldl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly))
            }
        }
    }
}

/// What is copied word by word, in bytes; less than any ring has.
const SHORT: usize = 256;

/// A part of a segment in which bytes follow each other round and round, from [`Segment::ring`], where an example is. For the crates of
/// the mechanisms.
///
/// All positions are counted from its beginning and never go back; what begins near the end of the memory still lies in one piece, as the
/// memory is mapped twice. Nothing here can be outside of it, whatever the position.
///
/// ```
/// let ring = ipc_core::Segment::anonymous(1 << 16)?.ring(0, 1 << 16)?;
/// assert!(ring.fill(65_535, 3, b'x') && ring.byte(1) == b'x'); // the last byte, and the first two
/// # Ok::<(), ipc_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ring {
    start: NonNull<u8>,
    mask: usize,
    /// Keeps the mapping.
    _segment: Segment,
}

// SAFETY: as for `Mapping`.
unsafe impl Send for Ring {}
// SAFETY: as for `Mapping`.
unsafe impl Sync for Ring {}

impl Ring {
    pub(crate) fn new(ring: &RingMapping, segment: Segment) -> Ring {
        Ring { start: ring.start, mask: ring.len() - 1, _segment: segment }
    }

    /// `len` bytes from a position on, counted from the ring's beginning and round and round.
    #[inline]
    fn place(&self, position: u64, len: usize) -> Option<NonNull<u8>> {
        let offset = position as usize & (self.mask);
        // SAFETY: less than `len` from the start, hence inside; and with `len` more bytes still inside, as it is mapped twice.
        (len <= self.mask + 1).then(|| unsafe { self.start.add(offset) })
    }

    /// Copies bytes out. Returns whether the ring has so many.
    #[inline]
    #[must_use]
    pub fn read(&self, position: u64, to: &mut [u8]) -> bool {
        let Some(from) = self.place(position, to.len()) else { return false };
        // SAFETY: `from` is so many mapped bytes, `to` is ours alone.
        unsafe { copy(from.as_ptr(), to.as_mut_ptr(), to.len()) };
        true
    }

    /// Copies bytes out, behind those of a vector. Returns whether the ring has so many.
    #[inline]
    #[must_use]
    pub fn append_to(&self, to: &mut Vec<u8>, position: u64, len: usize) -> bool {
        let Some(from) = self.place(position, len) else { return false };
        to.reserve(len);
        // SAFETY: `from` is so many mapped bytes; behind the vector's contents there is room for them, and they are written then.
        unsafe {
            copy(from.as_ptr(), to.as_mut_ptr().add(to.len()), len);
            to.set_len(to.len() + len);
        }
        true
    }

    /// Copies bytes in, to a position that is a multiple of 8. What fills up the last word may be overwritten, too. Returns whether the
    /// ring has so much room at all.
    #[inline(always)]
    #[must_use]
    pub fn write(&self, position: u64, from: &[u8]) -> bool {
        // Word by word what is short: quicker than to call somebody who does it.
        if from.len() <= SHORT {
            let mut words = from.chunks_exact(8);
            let mut at = position;
            for bytes in &mut words {
                self.word(at).store(u64::from_ne_bytes(bytes.try_into().unwrap_or_default()), Ordering::Relaxed);
                at += 8;
            }
            if let rest @ [_, ..] = words.remainder() {
                let mut bytes = [0; 8];
                bytes[..rest.len()].copy_from_slice(rest);
                self.word(at).store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
            }
            return true;
        }
        self.write_bytes(position, from)
    }

    /// The same to any position, and not a byte more.
    #[inline(never)]
    #[must_use]
    pub fn write_bytes(&self, position: u64, from: &[u8]) -> bool {
        let Some(to) = self.place(position, from.len()) else { return false };
        // SAFETY: `to` is so many mapped bytes, to which there never is a reference; `from`, a slice of this process, lies elsewhere.
        unsafe { copy(from.as_ptr(), to.as_ptr(), from.len()) };
        true
    }

    /// Sets bytes to a value. Returns whether the ring has so many.
    #[must_use]
    pub fn fill(&self, position: u64, len: usize, value: u8) -> bool {
        type Fill = unsafe extern "C" fn(*mut c_void, i32, usize) -> *mut c_void;
        let fill: Fill = std::hint::black_box(libc::memset);
        let Some(to) = self.place(position, len) else { return false };
        // SAFETY: so many mapped bytes, to which there never is a reference; hidden from the compiler as in `copy`.
        unsafe { fill(to.as_ptr().cast(), i32::from(value), len) };
        true
    }

    /// The word at a position that is a multiple of 8, else the one before it.
    #[inline]
    pub fn word(&self, position: u64) -> &AtomicU64 {
        let offset = position as usize & (self.mask) & !7;
        // SAFETY: inside, as in `place`, and aligned, as the mapping is to a page; an atomic has no invalid values.
        unsafe { self.start.add(offset).cast::<AtomicU64>().as_ref() }
    }

    /// As [`prefetch`], for the line at a position.
    #[inline]
    pub fn prefetch(&self, position: u64, to_write: bool) {
        prefetch(self.word(position), to_write);
    }

    /// One byte.
    #[inline]
    pub fn byte(&self, position: u64) -> u8 {
        let offset = position as usize & (self.mask);
        // SAFETY: inside, as in `place`; an atomic has no invalid values.
        unsafe { self.start.add(offset).cast::<AtomicU8>().as_ref() }.load(Ordering::Relaxed)
    }
}

/// A structure in a segment, which it keeps mapped, with the words that follow it. Each is a handle for the object. [`Segment::of`] makes
/// one, and has an example. For the crates of the mechanisms.
#[derive(Debug)]
pub struct View<T: Shared> {
    place: NonNull<T>,
    words: NonNull<[AtomicU64]>,
    offset: usize,
    local: Arc<Local>,
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
    /// The object at `start`, whose header is at `offset`. `None` if it does not lie inside, or is not aligned.
    pub(crate) fn new(
        segment: &Segment,
        offset: usize,
        start: usize,
        words: usize,
        is_new: bool,
    ) -> Option<Result<View<T>>> {
        let (place, words) = segment.mapping().place(start, words)?;
        let tail = start + size_of::<T>().next_multiple_of(align_of::<AtomicU64>());
        let extent = Extent { all: offset..tail + words.len() * size_of::<AtomicU64>(), room: tail..tail + T::ROOM };
        let local = match segment.local(extent, is_new) {
            Ok(local) => local,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(View { place, words, offset, local, segment: segment.clone() }))
    }

    /// The segment it lies in.
    #[inline]
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
        Arc::strong_count(&self.local)
    }

    /// What this process, and nobody else, knows about the object.
    #[inline]
    pub fn local(&self) -> &Local {
        &self.local
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
        let (local, segment) = (Arc::clone(&self.local), self.segment.clone());
        View { place: self.place, words: self.words, offset: self.offset, local, segment }
    }
}

/// Words that a fork sets to zero in the new process.
#[repr(C)]
struct WipedByFork {
    mark: AtomicU32,
    pid: AtomicU32,
}

static WIPED_BY_FORK: OnceLock<&'static WipedByFork> = OnceLock::new();

/// Whether this process is the one that made it, as against a copy that came about by a fork. Costs one load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForkMark {
    word: &'static AtomicU32,
    mine: u32,
}

impl ForkMark {
    pub(crate) fn new() -> nix::Result<ForkMark> {
        let word = &wiped_by_fork()?.mark;
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

/// The pid of this process, without a system call, also after a fork.
#[inline]
pub fn process_id() -> u32 {
    match wiped_by_fork().ok() {
        Some(words) => match words.pid.load(Ordering::Relaxed) {
            0 => {
                let pid = std::process::id();
                words.pid.store(pid, Ordering::Relaxed);
                pid
            }
            pid => pid,
        },
        None => std::process::id(),
    }
}

fn wiped_by_fork() -> nix::Result<&'static WipedByFork> {
    const LEN: NonZero<usize> = NonZero::new(size_of::<WipedByFork>()).unwrap();
    if let Some(words) = WIPED_BY_FORK.get() {
        return Ok(words);
    }
    // SAFETY: a new private mapping touches nothing that exists; it is never unmapped, so a static reference to its first words,
    // which are zero and aligned to a page, stays valid.
    let words = unsafe {
        let page = mmap_anonymous(None, LEN, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE)?;
        madvise(page, LEN.get(), MmapAdvise::MADV_WIPEONFORK)?;
        page.cast::<WipedByFork>().as_ref()
    };
    Ok(WIPED_BY_FORK.get_or_init(|| words)) // of two that are made at once one stays unused
}
