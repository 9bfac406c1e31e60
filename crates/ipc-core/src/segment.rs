//! Shared memory, and the objects of ours in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl, posix_fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sysinfo::sysinfo;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::participant::{self, Participant};
use crate::raw::{ForkMark, Header, Mapping, READY, Shared, View};
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
    file: OwnedFd,
    me: Participant,
    original: ForkMark,
    /// How many handles there are in this process for the object at an offset.
    handles: Mutex<BTreeMap<usize, usize>>,
    /// It came from, or was sent to, another process.
    was_shared: AtomicBool,
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
        let len = i64::try_from(size).ok().filter(|len| *len > 0 && *len < 1 << 46).ok_or(Error::BadSize { size })?;
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file: File = memfd_create(c"ipc", flags).map_err(Error::io("create shared memory"))?.into();
        // Its own process can open it again by /proc, and so can others: they must be the same user's.
        file.set_permissions(PermissionsExt::from_mode(0o600)).map_err(Error::io("protect shared memory"))?;
        allocate(&file, len).map_err(Error::io("allocate shared memory"))?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(Error::io("seal shared memory"))?;
        Segment::attach(file.into(), false)
    }

    /// Maps what another process has sent.
    fn attach(file: OwnedFd, was_shared: bool) -> Result<Segment> {
        let file = File::from(file);
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap_or(0);
        if !SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW) {
            return Err(Error::Incompatible("the memory is not sealed, so it could vanish while it is used".into()));
        }
        let about = file.metadata().map_err(Error::io("look at shared memory"))?;
        if about.uid() != nix::unistd::geteuid().as_raw() && about.uid() != 0 {
            return Err(Error::Incompatible(format!("the memory belongs to another user, {}", about.uid())));
        }
        let len = usize::try_from(about.len()).ok().and_then(NonZero::new);
        let len = len.ok_or_else(|| Error::Incompatible("the memory is empty".into()))?;
        let original = ForkMark::new().map_err(Error::io("prepare for forks"))?;
        let me = Participant::enter(file.as_fd()).map_err(Error::io("lock shared memory"))?;
        let mapping = Mapping::of(file.as_fd(), len).map_err(Error::io("map shared memory"))?;
        let (handles, file) = (Mutex::default(), file.into());
        let was_shared = AtomicBool::new(was_shared);
        Ok(Segment(Arc::new(Inner { mapping, file, me, original, handles, was_shared })))
    }

    /// Its size in bytes.
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

    /// Whether anybody else has the segment or is about to get it: another process, a message that is under way, or this
    /// process a second time because it was sent to itself.
    ///
    /// # Errors
    /// [`Error::Io`] if the system cannot tell.
    pub fn has_others(&self) -> Result<bool> {
        participant::has_others(self.0.file.as_fd()).map_err(Error::io("ask who has shared memory"))
    }

    /// Whether another process ever had it, as far as this process knows: it came from one, or was sent.
    pub fn was_shared(&self) -> bool {
        self.0.was_shared.load(Ordering::Relaxed)
    }

    /// Refuses to work in a copy of the process that came about by a fork. One load; called first by every operation on an object.
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

    /// How many bytes a `T` with `words` words after it takes in a segment.
    pub fn space_for<T: Shared>(words: usize) -> usize {
        size_of::<Header>() + size_of::<T>().next_multiple_of(8) + words * 8
    }

    /// Makes a segment for one object, and the object in it. For the crates of the mechanisms.
    ///
    /// # Errors
    /// As [`anonymous`](Segment::anonymous).
    pub fn of<T: Shared>(words: usize, init: impl FnOnce(&View<T>)) -> Result<View<T>> {
        Segment::anonymous(Segment::space_for::<T>(words))?.create(0, words, init)
    }

    /// Makes an object at `offset`, where there is none yet: `init` gets it as the segment's bytes are, all zero if nobody has
    /// written there. What another process has begun to make, and then died, is begun again. For the crates of the mechanisms.
    ///
    /// # Errors
    /// [`Error::Exists`], also while another process is making it; [`Error::OutOfBounds`], [`Error::Forked`].
    pub fn create<T: Shared>(&self, offset: usize, words: usize, init: impl FnOnce(&View<T>)) -> Result<View<T>> {
        self.check_fork()?;
        let view = self.view::<T>(offset, words)?;
        let header = self.header(offset)?;
        let me = self.0.me.number();
        let mut found = 0;
        while let Err(other) = header.state.compare_exchange(found, me, Ordering::Acquire, Ordering::Acquire) {
            // Complete, foreign, or in the hands of somebody who lives?
            let dead = match Participant::from_number(other) {
                Some(maker) => !self.is_alive(maker)?,
                None => other == 0,
            };
            if !dead {
                return Err(Error::Exists { offset });
            }
            found = other;
        }
        init(&view);
        header.kind.store(kind_of::<T>(), Ordering::Relaxed);
        header.layout.store(layout_of::<T>(), Ordering::Relaxed);
        header.words.store(words as u64, Ordering::Relaxed);
        crate::crash_point!("segment.object-filled");
        // Release: publishes the object; pairs with the Acquire in `open`.
        header.state.store(READY, Ordering::Release);
        Ok(view)
    }

    /// Opens the object at `offset`, after a look at what it says it is. For the crates of the mechanisms.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none (yet), [`Error::Incompatible`] if it is another kind, version or type,
    /// [`Error::OutOfBounds`], [`Error::Forked`].
    pub fn open<T: Shared>(&self, offset: usize) -> Result<View<T>> {
        self.check_fork()?;
        let header = self.header(offset)?;
        match header.state.load(Ordering::Acquire) {
            READY => {}
            state if state < READY && (state == 0 || Participant::from_number(state).is_some()) => {
                return Err(Error::Missing { offset });
            }
            _ => return Err(Error::Incompatible(format!("there is no object at offset {offset}, but something else"))),
        }
        let kind = header.kind.load(Ordering::Relaxed);
        if kind != kind_of::<T>() {
            let found: String =
                kind.to_le_bytes().iter().take_while(|b| b.is_ascii_graphic()).map(|b| *b as char).collect();
            return Err(Error::Incompatible(format!("the object is a \"{found}\" and not a \"{}\"", T::KIND)));
        }
        if header.layout.load(Ordering::Relaxed) != layout_of::<T>() {
            let what = T::contents();
            return Err(Error::Incompatible(format!(
                "the \"{}\" is of another type, version or C library{}{what}",
                T::KIND,
                if what.is_empty() { "" } else { " than one of " },
            )));
        }
        let words = header.words.load(Ordering::Relaxed);
        let words = usize::try_from(words).map_err(|_| Error::OutOfBounds { offset, size: self.size() })?;
        self.view(offset, words)
    }

    fn view<T: Shared>(&self, offset: usize, words: usize) -> Result<View<T>> {
        let bad = Error::OutOfBounds { offset, size: self.size() };
        if offset % Segment::ALIGNMENT != 0 || align_of::<T>() > Segment::ALIGNMENT {
            return Err(bad);
        }
        let start = offset.checked_add(size_of::<Header>());
        start.and_then(|start| View::new(self.clone(), offset, start, words)).ok_or(bad)
    }

    fn header(&self, offset: usize) -> Result<&Header> {
        let place = (offset % Segment::ALIGNMENT == 0).then(|| self.0.mapping.header(offset)).flatten();
        place.ok_or(Error::OutOfBounds { offset, size: self.size() })
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.0.mapping
    }

    pub(crate) fn add_handle(&self, offset: usize) {
        if !self.is_original() {
            return; // see `remove_handle`
        }
        *self.0.handles.lock().unwrap_or_else(PoisonError::into_inner).entry(offset).or_default() += 1;
    }

    /// Returns whether it was the last one.
    pub(crate) fn remove_handle(&self, offset: usize) -> bool {
        if !self.is_original() {
            return false; // the table's lock may have been held by a thread that does not exist in the copy
        }
        let mut handles = self.0.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = handles.get_mut(&offset) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            handles.remove(&offset);
        }
        last
    }

    pub(crate) fn handles(&self, offset: usize) -> usize {
        self.0.handles.lock().unwrap_or_else(PoisonError::into_inner).get(&offset).copied().unwrap_or(0)
    }

    pub(crate) fn keep_mapped(&self) {
        self.0.mapping.keep();
    }
}

impl AsFd for Segment {
    /// The memory's file. To close one's duplicates of it does no harm; to put locks on it would confuse the participants.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

/// What goes to another process is an open file of its own, so that it counts as somebody while it is under way.
impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fresh = self.open_again().map_err(|error| {
            ser::Error::custom(complaint::note(format!("the shared memory cannot be opened again: {error}")))
        })?;
        let sent = Handle::from(fresh).serialize(serializer)?;
        self.0.was_shared.store(true, Ordering::Relaxed);
        Ok(sent)
    }
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Segment, D::Error> {
        let refused = |error: String| de::Error::custom(complaint::note(error));
        let file = Handle::deserialize(deserializer)?.into_fd().map_err(|error| refused(error.to_string()))?;
        Segment::attach(file, true).map_err(|error| refused(full(&error)))
    }
}

/// A view is the segment and where in it the object is.
impl<T: Shared> Serialize for View<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.segment(), self.offset() as u64).serialize(serializer)
    }
}

impl<'de, T: Shared> Deserialize<'de> for View<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<View<T>, D::Error> {
        let (segment, offset) = <(Segment, u64)>::deserialize(deserializer)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        segment.open(offset).map_err(|error| de::Error::custom(complaint::note(full(&error))))
    }
}

impl Segment {
    fn open_again(&self) -> io::Result<File> {
        let path = format!("/proc/self/fd/{}", self.0.file.as_raw_fd());
        let file = File::options().read(true).write(true).open(path)?;
        participant::announce(file.as_fd())?;
        crate::crash_point!("segment.announced");
        Ok(file)
    }
}

/// An error with its cause, where only a text can be handed on.
fn full(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Takes the memory now, or fails now.
fn allocate(file: &File, len: i64) -> nix::Result<()> {
    // The kernel would go on giving out pages until there is none left for anybody.
    let memory = sysinfo()?;
    if len as u64 > memory.ram_total().saturating_add(memory.swap_total()) {
        return Err(Errno::ENOMEM);
    }
    nix::unistd::ftruncate(file, len)?;
    loop {
        match posix_fallocate(file, 0, len) {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

fn kind_of<T: Shared>() -> u64 {
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(T::KIND.bytes()).for_each(|(to, from)| *to = from);
    u64::from_le_bytes(bytes)
}

/// A hash of everything both sides must agree on: FNV-1a.
fn layout_of<T: Shared>() -> u64 {
    let libc = format!("gnu {}", size_of::<libc::pthread_mutex_t>());
    let text = format!("{} {} {} {} {} {libc}", T::KIND, T::VERSION, size_of::<T>(), align_of::<T>(), T::contents());
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
