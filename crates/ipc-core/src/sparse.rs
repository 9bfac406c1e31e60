//! Segments with an end that is not mapped: memory for what is long, taken as it is written and given back when it is done with.

use std::fs::File;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{Whence, lseek};

use crate::raw::{MAPPED_AT, READY, Ring, RingMapping};
use crate::segment::{allocate, checked};
use crate::{Error, Result, Segment};

/// How long a segment is, and how much of it is mapped. For the crates of the mechanisms.
///
/// ```
/// use ipc_core::{Layout, Segment};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let segment = Segment::sparse(Layout { mapped: 4096, len: 1 << 30 })?; // room for a gigabyte
/// assert_eq!((segment.size(), segment.end()), (4096, 4096..1 << 30));
/// let at = 1 << 20;
/// assert!(!segment.is_written(at, 5)?);
/// segment.write_end(at, b"hello")?;
/// let mut back = [0; 5];
/// segment.read_end(at, &mut back)?;
/// assert!(segment.is_written(at, 5)? && back == *b"hello");
///
/// let before = segment.memory()?;
/// assert!(before < 1 << 20); // it takes what was written, by whole pages
/// segment.free_end(at, 1 << 16)?;
/// assert!(segment.memory()? < before);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// So many bytes are mapped, and have memory from the start.
    pub mapped: usize,
    /// So many bytes there can be in all.
    pub len: u64,
}

impl Layout {
    pub(crate) fn allocate(self, file: &File) -> Result<()> {
        let bad = || Error::BadSize { size: usize::try_from(self.len).unwrap_or(usize::MAX) };
        let mapped = checked(self.mapped)?;
        let len = i64::try_from(self.len).ok().filter(|len| *len >= mapped && *len < 1 << 60).ok_or_else(bad)?;
        // Beyond this limit (`ulimit -f`) the kernel would not only refuse, but send SIGXFSZ.
        let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE).map_err(Error::io("allocate shared memory"))?;
        if self.len > limit {
            return Err(Error::io("allocate shared memory")(Errno::EFBIG));
        }
        allocate(file, mapped, len).map_err(Error::io("allocate shared memory"))
    }
}

/// How much of a file is to be mapped: what stands at its beginning, if that is a complete object, may say so.
pub(crate) fn mapped_of(file: &File, len: u64) -> Result<usize> {
    let word = |at: usize| {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, at as u64).ok().map(|()| u64::from_ne_bytes(word))
    };
    let said = if word(0) == Some(READY) { word(MAPPED_AT).unwrap_or(0) } else { 0 };
    if said > len {
        return Err(Error::Incompatible(format!("the memory has {len} bytes and says that it has {said}")));
    }
    let mapped = if said == 0 { len } else { said };
    usize::try_from(mapped).map_err(|_| Error::Incompatible(format!("the memory has {len} bytes")))
}

/// The sparse end. For the crates of the mechanisms.
impl Segment {
    /// Where the end begins, and where it ends, in bytes from the beginning of the segment.
    pub fn end(&self) -> std::ops::Range<u64> {
        self.size() as u64..self.file_len()
    }

    /// Writes bytes into the end, which takes memory as far as there has been none.
    ///
    /// # Errors
    /// [`Error::Io`] with `ENOSPC` or `ENOMEM` if there is none; some of the bytes may have been written then. [`Error::OutOfBounds`].
    pub fn write_end(&self, offset: u64, from: &[u8]) -> Result<()> {
        self.check_fork()?;
        self.check_end(offset, from.len() as u64)?;
        self.file().write_all_at(from, offset).map_err(Error::io("write shared memory"))
    }

    /// Reads bytes of the end; zeros where there has been no memory yet.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::Io`].
    pub fn read_end(&self, offset: u64, to: &mut [u8]) -> Result<()> {
        self.check_fork()?;
        self.check_end(offset, to.len() as u64)?;
        self.file().read_exact_at(to, offset).map_err(Error::io("read shared memory"))
    }

    /// Whether all of these bytes of the end have been written, and not given back since.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::Io`].
    pub fn is_written(&self, offset: u64, len: u64) -> Result<bool> {
        self.check_fork()?;
        self.check_end(offset, len)?;
        match lseek(self.file(), offset as i64, Whence::SeekHole) {
            Ok(hole) => Ok(hole as u64 >= offset + len),
            Err(Errno::ENXIO) => Ok(len == 0), // at the very end
            Err(errno) => Err(Error::io("look at shared memory")(errno)),
        }
    }

    /// Gives the memory of bytes of the end back to the system.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::Io`].
    pub fn free_end(&self, offset: u64, len: u64) -> Result<()> {
        self.check_fork()?;
        self.check_end(offset, len)?;
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        loop {
            match fallocate(self.file(), flags, offset as i64, len as i64) {
                Err(Errno::EINTR) => {}
                done => return done.map_err(Error::io("give back shared memory")),
            }
        }
    }

    /// How many bytes of memory the segment takes just now, with its end.
    ///
    /// # Errors
    /// [`Error::Io`] if the system cannot tell.
    pub fn memory(&self) -> Result<u64> {
        Ok(self.file().metadata().map_err(Error::io("look at shared memory"))?.blocks() * 512)
    }

    fn check_end(&self, offset: u64, len: u64) -> Result<()> {
        let lies_inside =
            offset >= self.end().start && offset.checked_add(len).is_some_and(|end| end <= self.end().end);
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        if lies_inside { Ok(()) } else { Err(self.out_of_bounds(at(offset), at(len))) }
    }
}

impl Segment {
    /// The ring that lies at `offset`, a multiple of the page size; `len` is one, too, and a power of two. A segment has one ring at most.
    ///
    /// ```
    /// use ipc_core::Segment;
    /// use std::sync::atomic::Ordering::Relaxed;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(2 << 16)?;
    /// let ring = segment.ring(1 << 16, 1 << 16)?; // its second half
    /// let near_the_end = (7 << 16) - 8; // in the seventh round
    /// assert!(ring.write(near_the_end, b"round and round"));
    /// let mut back = [0; 15];
    /// assert!(ring.read(near_the_end, &mut back) && back == *b"round and round");
    /// let mut text = b"a".to_vec();
    /// assert!(ring.append_to(&mut text, near_the_end + 5, 6)); // one piece, wherever it begins
    /// assert_eq!(text, b"a and r");
    ///
    /// assert!(ring.write_bytes(near_the_end + 4, b"D")); // that byte and no other
    /// assert_eq!((ring.byte(near_the_end + 4), ring.byte(near_the_end + 5)), (b'D', b' '));
    /// assert!(ring.fill(near_the_end, 16, 0));
    /// ring.prefetch(near_the_end, true); // only a hint
    /// assert_eq!(ring.word(near_the_end).load(Relaxed), 0);
    /// assert!(!ring.fill(0, (1 << 16) + 1, 0)); // it has not so many bytes
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; [`Error::Exists`] if there is another ring; [`Error::Io`] if it cannot be mapped.
    pub fn ring(&self, offset: usize, len: usize) -> Result<Ring> {
        self.check_fork()?;
        let bad = || self.out_of_bounds(offset, len);
        let is_inside = offset.checked_add(len).is_some_and(|end| end <= self.size());
        let size = NonZero::new(len).filter(|len| is_inside && len.is_power_of_two()).ok_or_else(bad)?;
        let ring = match self.ring_mapping().get() {
            Some(ring) => ring,
            None => {
                let ring = RingMapping::of(self.file().as_fd(), offset, size).map_err(Error::io("map a ring"))?;
                self.ring_mapping().get_or_init(|| ring) // of two that are made at once one is unmapped
            }
        };
        if (ring.offset, ring.len()) == (offset, len) {
            Ok(Ring::new(ring, self.clone()))
        } else {
            Err(Error::Exists { offset: ring.offset })
        }
    }
}
