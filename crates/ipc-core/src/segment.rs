//! Memory that processes share.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl, posix_fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sysinfo::sysinfo;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::named::Name;
use crate::object::{self, Extent, Local, Locals};
use crate::participant::{self, Participant};
use crate::raw::{ForkMark, Mapping, RingMapping};
use crate::role::Role;
use crate::sparse::{Layout, mapped_of};
use crate::{Error, Handle, Result, complaint};

/// Memory that several processes share, nameless: it lives as long as one of them has it.
///
/// A segment is a handle: clone it inside the process, pass it to another one as an argument of
/// [`Process::spawn`](crate::Process::spawn) or inside a message over a connection. Objects such as the locks of `ipc-sync` have a
/// segment of their own, or lie side by side in one that is made for them, each at an offset that is a multiple of
/// [`ALIGNMENT`](Segment::ALIGNMENT).
///
/// The memory is there from the start (no SIGBUS later when the system has run out of it), its size is sealed, and it can be
/// opened by the user who made it only. A process that forks without exec gets [`Error::Forked`] in the copy.
///
/// ```
/// use ipc_core::{Process, Segment};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let segment = Segment::anonymous(1 << 20)?;
/// let child = Process::spawn(|segment: Segment| segment.size(), segment.clone())?;
/// assert_eq!(child.join()?, 1 << 20);
/// assert!(!segment.has_others()?); // the child has ended, however it did
/// # Ok(()) }
/// ```
///
/// # References
/// memfd_create(2), fcntl(2) (file sealing, open file description locks).
#[derive(Clone, Debug)]
pub struct Segment(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    mapping: Mapping,
    /// An open file of this process's own: its locks are the proof that the process is there.
    file: File,
    me: Participant,
    original: ForkMark,
    locals: Mutex<Locals>,
    /// Whether there ever was anything in `locals`.
    has_objects: AtomicBool,
    /// It came from, or was sent to, another process.
    was_shared: AtomicBool,
    name: Option<Name>,
    identity: Identity,
    /// How long the file is: longer than the mapping if it has a [sparse](Segment::sparse) end.
    file_len: u64,
    /// The bytes that are mapped twice, once anybody has asked for them.
    ring: OnceLock<RingMapping>,
    /// How many ends of each role this process has.
    roles: Mutex<[usize; Role::COUNT]>,
}

/// Device and inode of the file, and whether it is attached for reading only.
type Identity = (u64, u64, bool);

/// What this process has attached.
static ATTACHED: Mutex<BTreeMap<Identity, Weak<Inner>>> = Mutex::new(BTreeMap::new());

/// What a process may do with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Access {
    ReadWrite,
    Read,
}

impl Segment {
    /// Objects begin at multiples of this many bytes, a cache line.
    pub const ALIGNMENT: usize = 64;

    /// Makes a segment of `size` bytes, all zero.
    ///
    /// # Errors
    /// [`Error::BadSize`] for a size of 0 or beyond the address space; [`Error::Io`] if the system has not so much memory, or the
    /// limit of open files is reached.
    pub fn anonymous(size: usize) -> Result<Segment> {
        Segment::sparse(Layout { mapped: size, len: size as u64 })
    }

    /// Makes a segment of which only the first bytes are mapped, and provided with memory. The rest, up to `len`, takes memory as it is written
    /// ([`write_end`](Segment::write_end)), and gives it back ([`free_end`](Segment::free_end)). An object must be made at its
    /// beginning before it is sent: the object's header says how much is to be mapped. For the crates of the mechanisms.
    ///
    /// # Errors
    /// As [`anonymous`](Segment::anonymous).
    pub fn sparse(layout: Layout) -> Result<Segment> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file: File = memfd_create(c"ipc", flags).map_err(Error::io("create shared memory"))?.into();
        // Its own process can open it again by /proc, and so can others: they must be the same user's.
        file.set_permissions(PermissionsExt::from_mode(0o600)).map_err(Error::io("protect shared memory"))?;
        layout.allocate(&file)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(Error::io("seal shared memory"))?;
        Segment::attach(file, Access::ReadWrite, None, Some(layout.mapped))
    }

    /// Maps what another process has sent.
    pub(crate) fn received(file: &(impl AsFd + AsRawFd)) -> Result<Segment> {
        let seals = fcntl(file, FcntlArg::F_GET_SEALS).unwrap_or(0);
        if !SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW) {
            return Err(Error::Incompatible("the memory is not sealed, so it could vanish while it is used".into()));
        }
        // Opened anew by the receiver, too: a sender that gave away a duplicate of its own would be taken for the same process.
        let file = open_anew(file, Access::ReadWrite).map_err(Error::io("open shared memory again"))?;
        let segment = Segment::attach(file, Access::ReadWrite, None, None)?;
        segment.note_shared();
        Ok(segment)
    }

    /// Maps an open file of one's own: `mapped` bytes of it, or as many as it says itself.
    pub(crate) fn attach(file: File, access: Access, name: Option<Name>, mapped: Option<usize>) -> Result<Segment> {
        let about = file.metadata().map_err(Error::io("look at shared memory"))?;
        if about.uid() != nix::unistd::geteuid().as_raw() && about.uid() != 0 {
            return Err(Error::Incompatible(format!("the memory belongs to another user, {}", about.uid())));
        }
        if about.len() == 0 {
            return Err(Error::Incompatible("the memory is empty".into()));
        }
        let original = ForkMark::new().map_err(Error::io("prepare for forks"))?;
        // Attached once in a process, so that there is one mapping for its locks and one participant to be known by.
        let identity = (about.dev(), about.ino(), access == Access::Read);
        let mut attached = ATTACHED.lock().unwrap_or_else(PoisonError::into_inner);
        let known = attached.get(&identity).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| known.original.is_original()) {
            return Ok(Segment(known));
        }
        let len = mapped.map_or_else(|| mapped_of(&file, about.len()), Ok)?;
        let len = NonZero::new(len).ok_or(Error::BadSize { size: 0 })?;
        let me = Participant::enter(file.as_fd(), access).map_err(Error::io("lock shared memory"))?;
        let mapping = match &name {
            None => Mapping::of(file.as_fd(), len, access),
            Some(name) => name.map(&file, len, access),
        };
        let mapping = mapping.map_err(Error::io("map shared memory"))?;
        let (locals, was_shared) = (Mutex::default(), AtomicBool::new(false));
        let inner = Arc::new(Inner {
            mapping,
            file,
            me,
            original,
            locals,
            has_objects: AtomicBool::new(false),
            was_shared,
            name,
            identity,
            file_len: about.len(),
            ring: OnceLock::new(),
            roles: Mutex::default(),
        });
        attached.insert(identity, Arc::downgrade(&inner));
        Ok(Segment(inner))
    }

    /// Its size in bytes, without a sparse end.
    pub fn size(&self) -> usize {
        self.0.mapping.len()
    }

    /// This process, as others see it in the segment.
    #[inline]
    pub fn participant(&self) -> Participant {
        self.0.me
    }

    /// Whether that process still has the segment. It has until the kernel has closed its descriptors: when it has ended,
    /// replaced its program, or dropped its last handle. A copy of it that was forked without exec counts as itself.
    ///
    /// # Errors
    /// [`Error::Io`] if the system cannot tell.
    pub fn is_alive(&self, who: Participant) -> Result<bool> {
        Ok(who == self.0.me
            || participant::is_locked(self.0.file.as_fd(), who).map_err(Error::io("ask who has shared memory"))?)
    }

    /// Whether anybody else has the segment or is about to get it: another process, a message that is under way.
    ///
    /// # Errors
    /// [`Error::Io`] if the system cannot tell.
    pub fn has_others(&self) -> Result<bool> {
        participant::has_others(self.0.file.as_fd()).map_err(Error::io("ask who has shared memory"))
    }

    /// Whether another process ever had it, as far as this process knows: it came from one, or was sent.
    ///
    /// ```
    /// use ipc_core::{Process, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(4096)?;
    /// assert!(!segment.was_shared() && !segment.is_read_only());
    /// let child = Process::spawn(|segment: Segment| segment.was_shared(), segment.clone())?;
    /// assert!(child.join()? && segment.was_shared());
    /// # Ok(()) }
    /// ```
    pub fn was_shared(&self) -> bool {
        self.0.was_shared.load(Ordering::Relaxed)
    }

    pub(crate) fn note_shared(&self) {
        self.0.was_shared.store(true, Ordering::Relaxed);
    }

    /// Whether it was opened for reading only. Then there can be no objects of ours in it.
    pub fn is_read_only(&self) -> bool {
        self.0.mapping.access() == Access::Read
    }

    #[cfg(feature = "named")]
    pub(crate) fn name_ref(&self) -> Option<&Name> {
        self.0.name.as_ref()
    }

    /// Refuses to work in a copy of the process that came about by a fork. One load; called first by every operation on an object.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = ipc_core::Segment::anonymous(4096)?;
    /// segment.check_fork()?; // in a forked copy of this process: `Error::Forked`
    /// assert!(segment.is_original());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[inline]
    pub fn check_fork(&self) -> Result<()> {
        if self.is_original() { Ok(()) } else { Err(Error::Forked) }
    }

    /// Whether this process is the one that attached the segment, not a forked copy of it.
    #[inline]
    pub fn is_original(&self) -> bool {
        self.0.original.is_original()
    }

    /// Copies bytes out. Others may write them at the same time: then any mixture of old and new ones is read.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::Forked`]; [`Error::Exists`] for bytes of an object that this process has a handle for.
    pub fn read_at(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        self.check_fork()?;
        self.check_plain(offset, to.len())?;
        self.0.mapping.read(offset, to).ok_or_else(|| self.out_of_bounds(offset, to.len()))
    }

    /// Copies bytes in. Others may read them at the same time: then they read any mixture of old and new ones.
    ///
    /// ```
    /// use ipc_core::{Error, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(4096)?;
    /// segment.write_at(4000, b"hello")?;
    /// let mut back = [0; 5];
    /// segment.read_at(4000, &mut back)?;
    /// assert_eq!(&back, b"hello");
    /// assert!(matches!(segment.write_at(4092, b"hello"), Err(Error::OutOfBounds { .. })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::ReadOnly`], [`Error::Forked`]; [`Error::Exists`] as in [`read_at`](Segment::read_at).
    pub fn write_at(&self, offset: usize, from: &[u8]) -> Result<()> {
        self.check_writable()?;
        self.check_plain(offset, from.len())?;
        self.0.mapping.write(offset, from).ok_or_else(|| self.out_of_bounds(offset, from.len()))
    }

    /// The four bytes at an offset that is a multiple of 4, as an atomic.
    ///
    /// ```
    /// use ipc_core::{Process, Segment};
    /// use std::sync::atomic::Ordering::Relaxed;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(4096)?;
    /// let count = |segment: Segment| (0..1000).for_each(|_| drop(segment.atomic_u32(8).unwrap().fetch_add(1, Relaxed)));
    /// let child = Process::spawn(count, segment.clone())?;
    /// count(segment.clone());
    /// child.join()?;
    /// assert_eq!(segment.atomic_u32(8)?.load(Relaxed), 2000);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::ReadOnly`], [`Error::Forked`]; [`Error::Exists`] as in [`read_at`](Segment::read_at).
    pub fn atomic_u32(&self, offset: usize) -> Result<&AtomicU32> {
        self.check_writable()?;
        self.check_plain(offset, 4)?;
        self.0.mapping.word(offset).ok_or_else(|| self.out_of_bounds(offset, 4))
    }

    /// The eight bytes at an offset that is a multiple of 8, as an atomic.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::ReadOnly`], [`Error::Forked`]; [`Error::Exists`] as in [`read_at`](Segment::read_at).
    pub fn atomic_u64(&self, offset: usize) -> Result<&AtomicU64> {
        self.check_writable()?;
        self.check_plain(offset, 8)?;
        self.0.mapping.word(offset).ok_or_else(|| self.out_of_bounds(offset, 8))
    }

    /// Refuses bytes that are those of an object for which this process has a handle: what its guards give out must not change.
    #[inline]
    fn check_plain(&self, offset: usize, len: usize) -> Result<()> {
        if !self.0.has_objects.load(Ordering::Relaxed) {
            return Ok(());
        }
        let locals = self.0.locals.lock().unwrap_or_else(PoisonError::into_inner);
        object::check_plain(&locals, offset..offset.saturating_add(len))
    }

    fn check_writable(&self) -> Result<()> {
        self.check_fork()?;
        if self.is_read_only() { Err(Error::ReadOnly) } else { Ok(()) }
    }

    pub(crate) fn out_of_bounds(&self, offset: usize, len: usize) -> Error {
        Error::OutOfBounds { offset, len, size: self.size() }
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.0.mapping
    }

    pub(crate) fn is_named(&self) -> bool {
        self.0.name.is_some()
    }

    pub(crate) fn file_len(&self) -> u64 {
        self.0.file_len
    }

    pub(crate) fn ring_mapping(&self) -> &OnceLock<RingMapping> {
        &self.0.ring
    }

    pub(crate) fn roles(&self) -> &Mutex<[usize; Role::COUNT]> {
        &self.0.roles
    }

    pub(crate) fn local(&self, extent: Extent, is_new: bool) -> Result<Arc<Local>> {
        self.0.has_objects.store(true, Ordering::Relaxed);
        let mut locals = self.0.locals.lock().unwrap_or_else(PoisonError::into_inner);
        object::find_local(&mut locals, extent, is_new, || self.0.mapping.kept())
    }

    /// The memory's file.
    pub(crate) fn file(&self) -> &File {
        &self.0.file
    }
}

const NAMED: &str =
    "objects in memory with a name are not sent, as its size is not sealed: send the memory, and open them in it";

/// What goes to another process is an open file of its own, so that it counts as somebody while it is under way.
impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.name.is_some() {
            return Err(ser::Error::custom(complaint::note(NAMED)));
        }
        let fresh = self.open_again().map_err(|error| {
            ser::Error::custom(complaint::note(format!("the shared memory cannot be opened again: {error}")))
        })?;
        let sent = Handle::from(fresh).serialize(serializer)?;
        self.note_shared();
        Ok(sent)
    }
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Segment, D::Error> {
        let refused = |error: String| de::Error::custom(complaint::note(error));
        let file = Handle::deserialize(deserializer)?.into_fd().map_err(|error| refused(error.to_string()))?;
        Segment::received(&file).map_err(|error| refused(full(&error)))
    }
}

/// What is under way to another process and must count as long as it can arrive. For the crates of the mechanisms.
impl Segment {
    /// An open file of its own, which is a participant of its own: what is noted as owned by that is owned as long as the file can arrive.
    ///
    /// ```
    /// use ipc_core::Segment;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(4096)?;
    /// let (envoy, who) = segment.envoy()?; // the handle goes into a message; `who` is noted as the owner
    /// let arrived = Segment::of_envoy(&envoy)?;
    /// assert!(arrived.is_alive(who)?); // time to note `arrived.participant()`
    /// drop(envoy);
    /// assert!(!arrived.is_alive(who)?); // as if it had been lost on the way
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] if the limit of open files is reached; [`Error::Forked`].
    pub fn envoy(&self) -> Result<(Handle, Participant)> {
        self.check_fork()?;
        let file = self.open_again().map_err(Error::io("open shared memory again"))?;
        let who = Participant::enter(file.as_fd(), Access::ReadWrite).map_err(Error::io("lock shared memory"))?;
        self.note_shared();
        Ok((Handle::from(file), who))
    }

    /// The segment that has arrived with an [`envoy`](Segment::envoy), which must be kept until what it owns belongs to this process.
    ///
    /// # Errors
    /// [`Error::Incompatible`] if it is something else; [`Error::Io`].
    pub fn of_envoy(envoy: &Handle) -> Result<Segment> {
        Segment::received(&envoy.as_fd())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.original.is_original() {
            let mut attached = ATTACHED.lock().unwrap_or_else(PoisonError::into_inner);
            // Meanwhile another thread may have attached it anew.
            if attached.get(&self.identity).is_some_and(|known| known.strong_count() == 0) {
                attached.remove(&self.identity);
            }
        }
        if let Some(name) = self.name.take().filter(|_| self.original.is_original()) {
            name.leave(self.file.as_fd());
        }
    }
}

impl Segment {
    /// An open file of its own, which counts as somebody: for another process.
    pub(crate) fn open_again(&self) -> io::Result<File> {
        let file = open_anew(&self.0.file, self.0.mapping.access())?;
        participant::announce(file.as_fd())?;
        crate::crash_point!("segment.announced");
        Ok(file)
    }
}

/// Another open file for the same memory.
pub(crate) fn open_anew(file: &impl AsRawFd, access: Access) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Without waiting, as it would for the other end of a FIFO that a peer has sent instead.
    File::options().read(true).write(access == Access::ReadWrite).custom_flags(libc::O_NONBLOCK).open(path)
}

/// An error with its cause, where only a text can be handed on.
pub(crate) fn full(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// A size that a file can have.
pub(crate) fn checked(size: usize) -> Result<i64> {
    i64::try_from(size).ok().filter(|len| *len > 0 && *len < 1 << 46).ok_or(Error::BadSize { size })
}

/// Makes a file `len` bytes long, and takes the memory for the first of them now, or fails now.
pub(crate) fn allocate(file: &File, provided: i64, len: i64) -> nix::Result<()> {
    // The kernel would go on giving out pages until there is none left for anybody.
    let memory = sysinfo()?;
    if provided as u64 > memory.ram_total().saturating_add(memory.swap_total()) {
        return Err(Errno::ENOMEM);
    }
    nix::unistd::ftruncate(file, len)?;
    provide(file, provided)
}

/// Has the system take memory for all of a file.
pub(crate) fn provide(file: &File, len: i64) -> nix::Result<()> {
    // In pieces: a signal makes the kernel give back what it has got so far, so one big piece might never be done.
    for start in (0..len).step_by(PIECE as usize) {
        while let Err(errno) = posix_fallocate(file, start, PIECE.min(len - start)) {
            if errno != Errno::EINTR {
                return Err(errno);
            }
        }
    }
    Ok(())
}

const PIECE: i64 = 64 << 20;
