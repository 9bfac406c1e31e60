//! Shared memory as bytes.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use ipc_core::{Deadline, NameScope, Ownership, Segment};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// Memory that several processes share, as bytes.
///
/// [Anonymous](SharedMemory::anonymous) memory is passed to the processes that are to have it: it is a handle, for arguments of
/// [`Process::spawn`](ipc_core::Process::spawn) and for messages. [Named](SharedMemory::create) memory can be opened by every process of
/// the same user; it has no header, so Python's `shared_memory.SharedMemory` opens it and ours opens Python's.
///
/// Other processes may write at any time, so nobody gets a slice of it: bytes are copied [out](SharedMemory::read_at) and
/// [in](SharedMemory::write_at), go through a [`Cursor`], or are [atomics](SharedMemory::atomic_u64). For more than that put an object
/// with a lock there: [`Array`](crate::Array), [`Value`](crate::Value), or those of `ipc-sync`, in its [`segment`](SharedMemory::segment).
///
/// ```
/// use ipc_shm::{Process, SharedMemory};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = SharedMemory::anonymous(4096)?;
/// memory.write_at(0, b"stressed")?;
/// let child = Process::spawn(
///     |memory: SharedMemory| {
///         let mut text = [0; 8];
///         memory.read_at(0, &mut text).unwrap();
///         text.reverse();
///         memory.write_at(0, &text).unwrap();
///     },
///     memory.clone(),
/// )?;
/// child.join()?;
/// assert_eq!(memory.to_vec(0, 8)?, b"desserts");
/// # Ok(()) }
/// ```
///
/// # Names
///
/// A name is a file in `/dev/shm`. It appears when the memory is complete, in one step, and who removes it is said by its [`Ownership`]. A
/// name left by processes that were killed is taken over by the next [`create`](SharedMemory::create), and removed by
/// [`scavenge`](SharedMemory::scavenge); in a [`Scope`] it does not even stay that long. It is recognised by the sticky bit of the file and
/// by nobody's having locked it. Programs that remove names without asking, as [`unlink`](SharedMemory::unlink) and Python do, can in the
/// same moment lead another process to remove a name that was made anew. As Python locks nothing, a name that Python has made is never
/// taken for left over; one of ours that only Python still uses is: use [`Ownership::Persistent`] there.
///
/// # When a process dies
///
/// Its handles are gone. What it was writing is half written: other processes see any mixture of old and new bytes. Memory without
/// a name is freed with its last user.
///
/// # Security
///
/// Memory can be opened by the same user, or root, and only such is accepted. Anonymous memory is sealed, so that nobody can shrink it;
/// named memory cannot be: one who truncates the file makes the others crash (SIGBUS) when they touch what is gone. That goes for
/// named memory that comes in a message, too: accept it from trusted processes only.
///
/// # References
/// shm_open(3), memfd_create(2); CPython `multiprocessing.shared_memory`.
#[derive(Clone, Debug)]
pub struct SharedMemory(Segment);

impl SharedMemory {
    /// Makes memory without a name, all zero. It is there from the start: if the system has not so much, this is the error, and not a crash
    /// later.
    ///
    /// # Errors
    /// [`ipc_core::Error::BadSize`] for a size of 0 or beyond the address space; `ENOMEM`, `ENOSPC`, or the limit of open files.
    pub fn anonymous(size: usize) -> Result<SharedMemory> {
        Ok(SharedMemory(Segment::anonymous(size)?))
    }

    /// Makes memory with a name, all zero, that is removed when this process drops its last handle.
    ///
    /// ```
    /// use ipc_shm::SharedMemory;
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// # let name = &format!("doc-create-{}", std::process::id());
    /// let ours = SharedMemory::create(name, 100)?;
    /// let theirs = SharedMemory::open(name)?; // as another process would
    /// ours.write_at(0, b"hello")?;
    /// assert_eq!(theirs.to_vec(0, 5)?, b"hello");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ipc_core::Error::NameTaken`], [`ipc_core::Error::BadName`] for one that is empty, longer than 255 bytes, or has a slash or NUL in
    /// it, [`ipc_core::Error::BadSize`], `ENOSPC` if `/dev/shm` is full.
    pub fn create(name: &str, size: usize) -> Result<SharedMemory> {
        SharedMemory::create_owned(name, size, Ownership::Creator)
    }

    /// As [`create`](SharedMemory::create), and says who removes the name.
    ///
    /// ```
    /// use ipc_shm::{Ownership, SharedMemory};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// # let name = &format!("doc-owned-{}", std::process::id());
    /// // For programs that come when this one has ended, and somebody removes it.
    /// drop(SharedMemory::create_owned(name, 100, Ownership::Persistent)?);
    /// assert_eq!(SharedMemory::open(name)?.size(), 100);
    /// SharedMemory::unlink(name)?;
    /// assert!(SharedMemory::open(name).is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`create`](SharedMemory::create).
    pub fn create_owned(name: &str, size: usize, ownership: Ownership) -> Result<SharedMemory> {
        Ok(SharedMemory(Segment::create_named(name, size, ownership)?))
    }

    /// Opens memory by its name, whoever has made it.
    ///
    /// # Errors
    /// [`ipc_core::Error::NoSuchName`], also for what dead processes have left; [`ipc_core::Error::Incompatible`] for an empty file, as a
    /// Python program has for a moment while it makes one, or another user's.
    pub fn open(name: &str) -> Result<SharedMemory> {
        Ok(SharedMemory(Segment::open_named(name)?))
    }

    /// As [`open`](SharedMemory::open), for reading: writing is [`Error::ReadOnly`], and the kernel would not let it through.
    ///
    /// ```
    /// use ipc_shm::{Error, SharedMemory};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// # let name = &format!("doc-read-only-{}", std::process::id());
    /// let ours = SharedMemory::create(name, 16)?;
    /// let theirs = SharedMemory::open_read_only(name)?;
    /// ours.write_at(0, b"look")?;
    /// assert_eq!(theirs.to_vec(0, 4)?, b"look");
    /// assert!(theirs.is_read_only());
    /// assert!(matches!(theirs.write_at(0, b"mine"), Err(Error::ReadOnly)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`open`](SharedMemory::open).
    pub fn open_read_only(name: &str) -> Result<SharedMemory> {
        Ok(SharedMemory(Segment::open_read_only(name)?))
    }

    /// Opens memory by its name or makes it, with [`Ownership::LastUser`]: whoever comes first makes it. Of several that come at once,
    /// one does.
    ///
    /// ```
    /// use ipc_shm::{Error, SharedMemory};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// # let name = &format!("doc-open-or-create-{}", std::process::id());
    /// let first = SharedMemory::open_or_create(name, 64)?; // makes it
    /// let second = SharedMemory::open_or_create(name, 64)?; // finds it
    /// assert!(matches!(SharedMemory::open_or_create(name, 65), Err(Error::Size { expected: 65, found: 64 })));
    /// drop(first);
    /// assert!(SharedMemory::open(name).is_ok());
    /// drop(second); // the last one
    /// assert!(SharedMemory::open(name).is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`open`](SharedMemory::open) and [`create`](SharedMemory::create); [`Error::Size`] if it exists with another size.
    pub fn open_or_create(name: &str, size: usize) -> Result<SharedMemory> {
        // One that comes between is soon done, unless it is stopped while it removes a name.
        let patience = Deadline::after(Duration::from_secs(1));
        loop {
            match Segment::open_named(name) {
                Ok(segment) if segment.size() == size => return Ok(SharedMemory(segment)),
                Ok(segment) => return Err(Error::Size { expected: size, found: segment.size() }),
                Err(ipc_core::Error::NoSuchName { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            match Segment::create_named(name, size, Ownership::LastUser) {
                Err(ipc_core::Error::NameTaken { .. }) if !patience.has_passed() => std::thread::yield_now(), // somebody was quicker
                made => return Ok(SharedMemory(made?)),
            }
        }
    }

    /// Removes a name. Those who have the memory keep it.
    ///
    /// # Errors
    /// [`ipc_core::Error::NoSuchName`], [`ipc_core::Error::BadName`].
    pub fn unlink(name: &str) -> Result<()> {
        Ok(Segment::unlink(name)?)
    }

    /// Removes all names that dead processes of this user have left, and returns them. Persistent ones, foreign programs' and those
    /// that somebody has are left alone.
    ///
    /// ```
    /// use ipc_shm::{Process, SharedMemory};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let name = format!("doc-scavenge-{}", std::process::id());
    /// let victim: Process<()> = Process::spawn(
    ///     |name: String| {
    ///         let _memory = SharedMemory::create(&name, 100).unwrap();
    ///         std::process::abort(); // and cannot remove the name
    ///     },
    ///     name.clone(),
    /// )?;
    /// victim.join().unwrap_err();
    /// assert!(SharedMemory::open(&name).is_err()); // nobody's any more, so it is not opened
    /// SharedMemory::scavenge()?;
    /// assert!(SharedMemory::unlink(&name).is_err()); // nothing to be removed is left
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The names cannot be listed.
    pub fn scavenge() -> Result<Vec<String>> {
        Ok(Segment::scavenge()?)
    }

    /// The name, if it has one; also if that was removed meanwhile.
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// The size in bytes: exactly what was asked for.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// Whether it was opened for reading only.
    pub fn is_read_only(&self) -> bool {
        self.0.is_read_only()
    }

    /// The segment, to put objects with locks into it, or to ask who has it.
    ///
    /// ```
    /// use ipc_shm::{SharedMemory, Value};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// # let name = &format!("doc-segment-{}", std::process::id());
    /// let memory = SharedMemory::create(name, Value::<u64>::size())?;
    /// assert_eq!(memory.name(), Some(name.as_str()));
    /// let visits = Value::create_in(memory.segment(), 0, 0u64)?;
    /// // Another program, which knows the name only:
    /// Value::<u64>::open_in(SharedMemory::open(name)?.segment(), 0)?.update(|visits| *visits += 1)?;
    /// assert_eq!(visits.get()?, 1);
    /// # Ok(()) }
    /// ```
    pub fn segment(&self) -> &Segment {
        &self.0
    }

    /// Copies bytes out. Never waits: of what others write meanwhile, some bytes may be found and others not.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]: nothing was copied.
    pub fn read_at(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        self.0.read_at(offset, to).map_err(Error::of_memory)
    }

    /// Copies bytes in. Never waits; a process that is killed meanwhile has written some of them.
    ///
    /// ```
    /// use ipc_shm::{Error, SharedMemory};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// let memory = SharedMemory::anonymous(10)?;
    /// memory.write_at(6, b"abcd")?;
    /// let mut two = [0; 2];
    /// memory.read_at(7, &mut two)?;
    /// assert_eq!(&two, b"bc");
    /// assert!(matches!(memory.write_at(7, b"abcd"), Err(Error::OutOfBounds { offset: 7, len: 4, size: 10 })));
    /// assert_eq!(memory.to_vec(6, 4)?, b"abcd"); // as it was
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::ReadOnly`]: nothing was copied.
    pub fn write_at(&self, offset: usize, from: &[u8]) -> Result<()> {
        self.0.write_at(offset, from).map_err(Error::of_memory)
    }

    /// Copies `len` bytes out into a vector.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], before memory is taken for them.
    pub fn to_vec(&self, offset: usize, len: usize) -> Result<Vec<u8>> {
        self.0.read_at(offset, &mut []).map_err(Error::of_memory)?;
        if len > self.size() - offset {
            return Err(Error::OutOfBounds { offset, len, size: self.size() });
        }
        let mut bytes = vec![0; len];
        self.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Four bytes, at an offset that is a multiple of 4, as an atomic.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], also for an offset that is no multiple; [`Error::ReadOnly`].
    pub fn atomic_u32(&self, offset: usize) -> Result<&AtomicU32> {
        self.0.atomic_u32(offset).map_err(Error::of_memory)
    }

    /// Eight bytes, at an offset that is a multiple of 8, as an atomic.
    ///
    /// ```
    /// use ipc_shm::{Process, SharedMemory};
    /// use std::sync::atomic::Ordering;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let memory = SharedMemory::anonymous(64)?;
    /// let count = |memory: SharedMemory| drop(memory.atomic_u64(8).unwrap().fetch_add(5, Ordering::SeqCst));
    /// let children = [Process::spawn(count, memory.clone())?, Process::spawn(count, memory.clone())?];
    /// for child in children {
    ///     child.join()?;
    /// }
    /// assert_eq!(memory.atomic_u64(8)?.load(Ordering::SeqCst), 10);
    /// memory.atomic_u32(4)?.store(1, Ordering::SeqCst);
    /// assert!(memory.atomic_u64(4).is_err()); // not aligned
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], also for an offset that is no multiple; [`Error::ReadOnly`].
    pub fn atomic_u64(&self, offset: usize) -> Result<&AtomicU64> {
        self.0.atomic_u64(offset).map_err(Error::of_memory)
    }

    /// A position in the memory, to read and write from as in a file.
    ///
    /// ```
    /// use std::io::{Read, Seek, Write};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let memory = ipc_shm::SharedMemory::anonymous(64)?;
    /// let mut cursor = memory.cursor();
    /// write!(cursor, "line {}\n", 1)?;
    /// cursor.rewind()?;
    /// let mut line = [0; 6];
    /// cursor.read_exact(&mut line)?;
    /// assert_eq!(&line, b"line 1");
    /// # Ok(()) }
    /// ```
    #[doc(alias = "mmap")]
    pub fn cursor(&self) -> Cursor {
        Cursor { memory: self.clone(), position: 0 }
    }
}

impl From<Segment> for SharedMemory {
    /// The same memory; with the objects in it, if there are any.
    fn from(segment: Segment) -> SharedMemory {
        SharedMemory(segment)
    }
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_named(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedMemory, D::Error> {
        Segment::deserialize_named(deserializer).map(SharedMemory)
    }
}

/// Reads, writes and seeks in [`SharedMemory`], as Python's `mmap` objects do. It ends at the end of the memory: reading there gives no
/// bytes, writing writes fewer than asked, and then none. Like all copies it never waits.
///
/// ```
/// use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = ipc_shm::SharedMemory::anonymous(8)?;
/// let mut cursor = memory.cursor();
/// assert_eq!(cursor.write(b"one\ntwo\nthree")?, 8); // as many as there is room for
/// assert_eq!(cursor.write(b"more")?, 0);
/// let mut lines = BufReader::new(memory.cursor()).lines(); // a cursor of its own
/// assert_eq!(lines.next().transpose()?.as_deref(), Some("one"));
/// assert_eq!(cursor.seek(SeekFrom::End(-4))?, 4);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Cursor {
    memory: SharedMemory,
    position: usize,
}

impl Cursor {
    /// How many bytes of `wanted` there are from here to the end.
    fn room(&self, wanted: usize) -> usize {
        self.memory.size().saturating_sub(self.position).min(wanted)
    }
}

impl Read for Cursor {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = self.room(to.len());
        self.memory.read_at(self.position.min(self.memory.size()), &mut to[..len]).map_err(io::Error::other)?;
        self.position += len;
        Ok(len)
    }
}

impl Write for Cursor {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let len = self.room(from.len());
        self.memory.write_at(self.position.min(self.memory.size()), &from[..len]).map_err(io::Error::other)?;
        self.position += len;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => usize::try_from(offset).ok(),
            SeekFrom::End(offset) => {
                isize::try_from(offset).ok().and_then(|n| self.memory.size().checked_add_signed(n))
            }
            SeekFrom::Current(offset) => isize::try_from(offset).ok().and_then(|n| self.position.checked_add_signed(n)),
        };
        let before =
            || io::Error::new(io::ErrorKind::InvalidInput, "a position before the beginning, or beyond all numbers");
        self.position = position.ok_or_else(before)?;
        Ok(self.position as u64)
    }
}

/// Removes the names that were made in it when it is dropped, and as well when its process is killed.
///
/// ```
/// use ipc_shm::{Scope, SharedMemory};
///
/// # fn main() -> ipc_shm::Result<()> {
/// # let name = &format!("doc-scope-{}", std::process::id());
/// let mut scope = Scope::new()?;
/// let memory = scope.create(name, 100)?;
/// drop(scope);
/// assert!(SharedMemory::open(name).is_err()); // the name is gone
/// memory.write_at(0, b"still there")?;
/// # Ok(()) }
/// ```
///
/// A small watcher process sees to that, of this same program. It is in a session of its own, so that Ctrl-C does not end it together
/// with this process. Whoever has opened such memory keeps it; only the name goes.
///
/// # References
/// CPython `multiprocessing.managers.SharedMemoryManager`, and its resource tracker.
#[derive(Debug)]
pub struct Scope(NameScope);

impl Scope {
    /// Starts the watcher: about as long as it takes to start a process.
    ///
    /// # Errors
    /// As [`Process::spawn`](ipc_core::Process::spawn).
    pub fn new() -> Result<Scope> {
        Ok(Scope(NameScope::new()?))
    }

    /// As [`SharedMemory::create`]; the name is removed with the scope.
    ///
    /// # Errors
    /// As [`SharedMemory::create`].
    pub fn create(&mut self, name: &str, size: usize) -> Result<SharedMemory> {
        Ok(SharedMemory(self.0.create(name, size)?))
    }
}
