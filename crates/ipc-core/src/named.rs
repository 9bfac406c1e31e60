//! Segments with a name, for processes that are not related.
//!
//! A name is a file in `/dev/shm`, as shm_open(3) makes them, so Python and everybody else can open it. It appears in one step, when the
//! memory is complete: until then the file has no name. Whoever has the segment has locked a byte of the file (see
//! `participant.rs`), so a name that nobody has locked was left by dead processes. For that to be told from a foreign
//! program's file, which nobody locks, ours have the sticky bit, which means nothing for files.
//!
//! A name is removed by its owner, or by one who has locked that byte against all others: nobody can take the file for living any more, and
//! nobody else removes the name, so between the look at it and its removal it cannot become a later file's.

use std::fs::{self, File};
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, fcntl};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::names::{Mark, NameScope};
use crate::participant;
use crate::raw::Mapping;
use crate::segment::{Access, full, open_anew, provide};
use crate::sparse::{Layout, mapped_of};
use crate::{Deadline, Error, Handle, Result, Segment, complaint};

const FOLDER: &str = "/dev/shm";
/// How long to try while another process has a name locked for a moment: it may be stopped.
const PATIENCE: Duration = Duration::from_secs(1);
const OURS: u32 = 0o1600;
const PERSISTENT: u32 = 0o600;

/// Who removes the name of a segment.
///
/// ```
/// use ipc_core::{Error, Ownership, Process, Segment};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let name = format!("ipc-core-doc-ownership-{}", std::process::id());
/// let segment = Segment::create_named(&name, 4096, Ownership::LastUser)?;
/// segment.write_at(0, b"hello")?;
/// let reader = Process::spawn(
///     |name: String| {
///         let (segment, mut text) = (Segment::open_read_only(&name).unwrap(), [0; 5]);
///         segment.read_at(0, &mut text).unwrap();
///         (text, segment.is_read_only())
///     },
///     name.clone(),
/// )?;
/// assert_eq!(reader.join()?, (*b"hello", true));
/// drop(segment); // by its last user
/// assert!(matches!(Segment::open_named(&name), Err(Error::NoSuchName { .. })));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// The process that made it, when it drops its last handle; the memory lives on for those who have it. If that process was
    /// killed: the last one that has it; if that was killed, too, whoever makes a segment of this name next, or
    /// [`scavenge`](Segment::scavenge).
    Creator,
    /// The last process that has it, when it drops its last handle, else as with `Creator`.
    LastUser,
    /// Nobody: it stays until [`unlink`](Segment::unlink) or the next start of the system.
    Persistent,
}

/// The name of a segment that is attached.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    name: String,
    ownership: Ownership,
    is_creator: bool,
}

impl Name {
    /// Maps the file. Where it already has its name, and may be written, the well-known crate does it, which knows names only: so
    /// afterwards it is made sure that it was the same file.
    pub(crate) fn map(&self, file: &File, len: NonZero<usize>, access: Access) -> nix::Result<Mapping> {
        if access == Access::ReadWrite && !self.is_creator {
            let opened = shared_memory::ShmemConf::new().os_id(format!("/{}", self.name)).open();
            if let Some(mapping) = opened.ok().and_then(|memory| Mapping::of_named(memory, len)) {
                if is_named(file.as_fd(), &self.name) {
                    return Ok(mapping);
                }
            }
        }
        Mapping::of(file.as_fd(), len, access)
    }

    /// The process drops its last handle: removes the name if that is up to it.
    pub(crate) fn leave(self, file: BorrowedFd<'_>) {
        if self.ownership == Ownership::Persistent {
            return;
        }
        if self.is_creator && self.ownership == Ownership::Creator {
            crate::crash_point!("named.leaving");
            remove_if_same(&self.name, file);
        } else if participant::resign(file).is_ok() {
            crate::crash_point!("named.leaving");
            self.remove_if_last(file);
        }
    }

    fn remove_if_last(&self, file: BorrowedFd<'_>) {
        match participant::claim(file) {
            Ok(true) => remove_if_same(&self.name, file),
            Ok(false) => {}
            // By a file that is open for reading only nothing can be claimed.
            Err(_) => match open_anew(&file, Access::ReadWrite) {
                Ok(anew) if participant::claim(anew.as_fd()).unwrap_or(false) => {
                    remove_if_same(&self.name, anew.as_fd());
                }
                _ => {} // it is left, and will be recognised
            },
        }
    }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(name)
}

fn check_name(name: &str) -> Result<()> {
    let why = match name {
        "" => "it is empty",
        "." | ".." => "it is a folder",
        _ if name.len() > 255 => "it is longer than 255 bytes",
        _ if name.contains('/') => "it contains a slash",
        _ if name.contains('\0') => "it contains a NUL",
        _ => return Ok(()),
    };
    Err(Error::BadName { name: name.into(), why })
}

fn inode(file: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let about = nix::sys::stat::fstat(file).ok()?;
    Some((about.st_dev, about.st_ino))
}

fn is_named(file: BorrowedFd<'_>, name: &str) -> bool {
    let there = fs::symlink_metadata(path(name)).ok().map(|about| (about.dev(), about.ino()));
    there.is_some() && there == inode(file)
}

/// Removes the name if it is that of this file, which one has or has claimed, and not of a later one.
fn remove_if_same(name: &str, file: BorrowedFd<'_>) {
    if let Some((device, inode)) = inode(file) {
        Mark { path: path(name), device, inode }.remove_own();
    }
}

/// Opens what has the name. `None` if there is nothing.
fn open(name: &str, access: Access) -> Result<Option<File>> {
    let mut options = File::options();
    options.read(true).write(access == Access::ReadWrite).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match options.open(path(name)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { doing: "open shared memory", source }),
    }
}

/// What the file says about who removes it.
fn is_removable(file: &File) -> Result<bool> {
    let about = file.metadata().map_err(Error::io("look at shared memory"))?;
    Ok(about.is_file() && about.uid() == nix::unistd::geteuid().as_raw() && about.mode() & 0o1000 != 0)
}

/// Removes a name that dead processes have left. Returns whether there is none any more.
fn remove_if_left(name: &str) -> Result<bool> {
    let Some(file) = open(name, Access::ReadWrite)? else { return Ok(true) };
    if !is_removable(&file)? || !participant::claim(file.as_fd()).map_err(Error::io("lock shared memory"))? {
        return Ok(false);
    }
    crate::crash_point!("named.claimed");
    // From here on nobody can come to have it.
    remove_if_same(name, file.as_fd());
    Ok(true)
}

/// # Named segments
///
/// Only with the feature `named`. Names are those of shm_open(3), without the slash.
impl Segment {
    /// Makes a segment with a name, all zero, for processes of the same user. The name appears when the memory is complete. One that
    /// dead processes have left is taken over.
    ///
    /// ```
    /// use ipc_core::{Error, Ownership, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let name = format!("ipc-core-doc-named-{}", std::process::id());
    /// let segment = Segment::create_named(&name, 4096, Ownership::Persistent)?;
    /// assert!(matches!(Segment::create_named(&name, 1, Ownership::Creator), Err(Error::NameTaken { .. })));
    /// drop(segment); // it stays, as nobody owns the name
    /// assert_eq!(Segment::open_named(&name)?.name(), Some(&*name));
    /// Segment::unlink(&name)?;
    /// assert!(matches!(Segment::open_named(&name), Err(Error::NoSuchName { .. })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::NameTaken`] if somebody has a segment of this name, or it is persistent or a foreign program's;
    /// [`Error::BadName`], [`Error::BadSize`]; [`Error::Io`] with `ENOSPC` if there is not so much memory.
    pub fn create_named(name: &str, size: usize, ownership: Ownership) -> Result<Segment> {
        Segment::create_watched(name, size, ownership, None)
    }

    /// As [`create_named`](Segment::create_named) for a [sparse](Segment::sparse) segment: the name appears when `fill` has made
    /// what is to be in it. For the crates of the mechanisms.
    ///
    /// ```
    /// use ipc_core::{Error, Layout, Ownership, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let name = format!("ipc-core-doc-filled-{}", std::process::id());
    /// let layout = Layout { mapped: 4096, len: 1 << 20 };
    /// let segment = Segment::create_named_filled(&name, layout, Ownership::Creator, |new| {
    ///     new.write_at(0, b"complete")?; // until this has returned nobody finds it
    ///     Ok::<_, Error>(new.clone())
    /// })?;
    /// assert_eq!(segment.name(), Some(&*name));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`create_named`](Segment::create_named), or that of `fill`.
    pub fn create_named_filled<R, E: From<Error>>(
        name: &str,
        layout: Layout,
        ownership: Ownership,
        fill: impl FnOnce(&Segment) -> Result<R, E>,
    ) -> Result<R, E> {
        Segment::create_as(name, layout, ownership, None, fill)
    }

    /// As [`create_named`](Segment::create_named), and the name is removed with the scope.
    pub(crate) fn create_watched(
        name: &str,
        size: usize,
        ownership: Ownership,
        scope: Option<&mut NameScope>,
    ) -> Result<Segment> {
        let layout = Layout { mapped: size, len: size as u64 };
        Segment::create_as(name, layout, ownership, scope, |segment| Ok(segment.clone()))
    }

    fn create_as<R, E: From<Error>>(
        name: &str,
        layout: Layout,
        ownership: Ownership,
        scope: Option<&mut NameScope>,
        fill: impl FnOnce(&Segment) -> Result<R, E>,
    ) -> Result<R, E> {
        check_name(name)?;
        let mode = if ownership == Ownership::Persistent { PERSISTENT } else { OURS };
        let nameless = File::options().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(FOLDER);
        let file = nameless.map_err(Error::io("create shared memory"))?;
        file.set_permissions(PermissionsExt::from_mode(mode)).map_err(Error::io("protect shared memory"))?;
        layout.allocate(&file)?;
        let mark = inode(file.as_fd()).map(|(device, inode)| Mark { path: path(name), device, inode });
        // Without a name until it has one: else an error below would remove somebody else's.
        let link = file.try_clone().map_err(Error::io("create shared memory"))?;
        let name_of_it = Name { name: name.into(), ownership, is_creator: true };
        let segment = Segment::attach(file, Access::ReadWrite, Some(name_of_it), Some(layout.mapped))?;
        let filled = fill(&segment)?;
        if let (Some(scope), Some(mark)) = (scope, mark) {
            scope.add(mark)?; // before there is a name: whoever is killed next leaves it to the watcher
        }
        crate::crash_point!("named.made");
        let nameless = format!("/proc/self/fd/{}", link.as_raw_fd());
        loop {
            let flags = AtFlags::AT_SYMLINK_FOLLOW;
            match nix::unistd::linkat(AT_FDCWD, nameless.as_str(), AT_FDCWD, &path(name), flags) {
                Ok(()) => break,
                Err(Errno::EEXIST) if remove_if_left(name)? => crate::crash_point!("named.freed"),
                Err(Errno::EEXIST) => return Err(Error::NameTaken { name: name.into() }.into()),
                Err(errno) => return Err(Error::io("name shared memory")(errno).into()),
            }
        }
        crate::crash_point!("named.linked");
        Ok(filled)
    }

    /// Opens the segment of this name, whoever has made it, also a Python program.
    ///
    /// # Errors
    /// [`Error::NoSuchName`] if there is none, or one that dead processes have left; [`Error::Incompatible`] if it is empty, as one is
    /// that a foreign program is just making, or belongs to another user.
    pub fn open_named(name: &str) -> Result<Segment> {
        Segment::open_as(name, Access::ReadWrite)
    }

    /// As [`open_named`](Segment::open_named), for reading only: the kernel lets nobody write through this handle.
    ///
    /// # Errors
    /// As [`open_named`](Segment::open_named).
    pub fn open_read_only(name: &str) -> Result<Segment> {
        Segment::open_as(name, Access::Read)
    }

    fn open_as(name: &str, access: Access) -> Result<Segment> {
        check_name(name)?;
        let missing = || Error::NoSuchName { name: name.into() };
        let patience = Deadline::after(PATIENCE);
        loop {
            let file = open(name, access)?.ok_or_else(missing)?;
            let about = file.metadata().map_err(Error::io("look at shared memory"))?;
            if !about.is_file() {
                return Err(Error::Incompatible(format!("`{name}` is no shared memory, but something else")));
            }
            if about.uid() != nix::unistd::geteuid().as_raw() && about.uid() != 0 {
                return Err(Error::Incompatible(format!("the memory belongs to another user, {}", about.uid())));
            }
            let ownership = ownership_of(&about);
            if ownership == Ownership::LastUser
                && !participant::is_used(file.as_fd()).map_err(Error::io("ask who has shared memory"))?
            {
                return Err(missing()); // left by the dead, or just being removed
            }
            crate::crash_point!("named.opened");
            if ownership == Ownership::Persistent && access == Access::ReadWrite {
                // Who has made it may only have set its size: then it would end in a SIGBUS when there is no memory for it.
                let mapped = mapped_of(&file, about.len())?;
                provide(&file, mapped as i64).map_err(Error::io("allocate shared memory"))?;
            }
            let name_of_it = Name { name: name.into(), ownership, is_creator: false };
            let attached = Segment::attach(file, access, Some(name_of_it), None);
            crate::crash_point!("named.attached");
            match attached {
                // Meanwhile its last user has left, and it is just being removed; or a foreign program has locked it.
                Err(Error::Io { source, .. }) if source.raw_os_error() == Some(libc::EAGAIN) => {
                    if patience.has_passed() {
                        return Err(Error::Incompatible(format!("`{name}` is locked by another program")));
                    }
                    std::thread::yield_now();
                }
                Ok(segment) if is_named(segment.file().as_fd(), name) => {
                    segment.note_shared();
                    return Ok(segment);
                }
                Ok(_) => {} // the name is another one's now
                Err(error) => return Err(error),
            }
        }
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name_ref().map(|name| name.name.as_str())
    }

    /// Removes a name, whoever has made it. Those who have the segment keep it.
    ///
    /// # Errors
    /// [`Error::NoSuchName`], [`Error::BadName`].
    pub fn unlink(name: &str) -> Result<()> {
        check_name(name)?;
        match fs::remove_file(path(name)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoSuchName { name: name.into() }),
            Err(source) => Err(Error::Io { doing: "remove the name of shared memory", source }),
        }
    }

    /// Removes all names that dead processes of this user have left, and returns them. Those of persistent segments, of foreign
    /// programs and of whatever somebody has are left alone.
    ///
    /// ```
    /// use ipc_core::{Builder, Ownership, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # // Tests elsewhere look at what the dead have left, and take this lock for it.
    /// # let folder = std::fs::File::open("/dev/shm")?;
    /// # let lock = nix::fcntl::Flock::lock(folder, nix::fcntl::FlockArg::LockExclusive);
    /// # let _alone = lock.map_err(|(_, errno)| errno)?;
    /// # let name = format!("ipc-core-doc-scavenge-{}", std::process::id());
    /// let makes_and_dies = |name: String| {
    ///     let _memory = Segment::create_named(&name, 4096, Ownership::Creator).unwrap();
    ///     std::process::abort()
    /// };
    /// Builder::new().core_dumps(false).spawn::<_, _, ()>(makes_and_dies, name.clone())?.join().unwrap_err();
    /// let file = std::path::Path::new("/dev/shm").join(&name);
    /// assert!(file.exists()); // the name, and the memory with it
    /// Segment::scavenge()?;
    /// assert!(!file.exists());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] if the names cannot be listed.
    pub fn scavenge() -> Result<Vec<String>> {
        let entries = fs::read_dir(FOLDER).map_err(Error::io("list the names of shared memory"))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter(|name| is_left(name) && remove_if_left(name).unwrap_or(false)).collect())
    }
}

/// A cheap look, before the file is opened.
fn is_left(name: &str) -> bool {
    let about = fs::symlink_metadata(path(name));
    about.is_ok_and(|about| about.is_file() && about.mode() & 0o7777 == OURS)
}

/// How a named segment travels: also one whose name is gone can be sent.
#[derive(Serialize, Deserialize)]
struct Parcel {
    file: Handle,
    name: String,
    access: Access,
}

/// Looks at a file that a peer calls a named segment, before it is opened: is it one, and may the peer do with it what it offers?
/// Opened again by the receiver, who may be somebody else, it could become more than it was.
fn of_a_named_one(file: &File, access: Access) -> Result<Ownership> {
    let about = file.metadata().map_err(Error::io("look at shared memory"))?;
    let folder = fs::metadata(FOLDER).map_err(Error::io("look at the folder of shared memory"))?;
    if !about.is_file() || about.dev() != folder.dev() {
        return Err(Error::Incompatible("it is no shared memory with a name, but something else".into()));
    }
    let flags = fcntl(file, FcntlArg::F_GETFL).map_err(Error::io("look at shared memory"))?;
    if access == Access::ReadWrite && flags & libc::O_ACCMODE != libc::O_RDWR {
        return Err(Error::Incompatible("the memory is offered for writing by one who may only read it".into()));
    }
    Ok(ownership_of(&about))
}

/// As it is marked in the file.
fn ownership_of(about: &fs::Metadata) -> Ownership {
    match about.mode() & 0o1000 {
        0 => Ownership::Persistent, // or foreign: not for us to remove
        _ => Ownership::LastUser,
    }
}

impl Segment {
    /// For handles that may be named: unlike the anonymous ones their size is not sealed.
    ///
    /// ```
    /// use ipc_core::{Ownership, Process, Segment};
    /// use serde::{Deserialize, Serialize};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #[derive(Serialize, Deserialize)]
    /// struct Memory {
    ///     #[serde(serialize_with = "Segment::serialize_named", deserialize_with = "Segment::deserialize_named")]
    ///     segment: Segment,
    /// }
    ///
    /// # let name = format!("ipc-core-doc-travels-{}", std::process::id());
    /// let segment = Segment::create_named(&name, 4096, Ownership::Creator)?;
    /// Segment::unlink(&name)?; // it is not found by it any more, and still called so
    /// let child = Process::spawn(|memory: Memory| memory.segment.name().map(String::from), Memory { segment })?;
    /// assert_eq!(child.join()?, Some(name));
    /// # Ok(()) }
    /// ```
    pub fn serialize_named<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let parcel = match self.name_ref() {
            None => None,
            Some(name) => {
                let file = self.open_again().map_err(|error| {
                    ser::Error::custom(complaint::note(format!("the shared memory cannot be opened again: {error}")))
                })?;
                let access = if self.is_read_only() { Access::Read } else { Access::ReadWrite };
                Some(Parcel { file: file.into(), name: name.name.clone(), access })
            }
        };
        let sent = match &parcel {
            Some(_) => (parcel, None::<&Segment>).serialize(serializer)?,
            None => (parcel, Some(self)).serialize(serializer)?,
        };
        self.note_shared();
        Ok(sent)
    }

    /// The counterpart of [`serialize_named`](Segment::serialize_named).
    pub fn deserialize_named<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Segment, D::Error> {
        let refused = |text: String| de::Error::custom(complaint::note(text));
        match <(Option<Parcel>, Option<Segment>)>::deserialize(deserializer)? {
            (None, Some(segment)) => Ok(segment),
            (Some(parcel), None) => {
                let file = parcel.file.into_fd().map_err(|error| refused(error.to_string()))?;
                check_name(&parcel.name).map_err(|error| refused(full(&error)))?;
                let file = File::from(file);
                let ownership = of_a_named_one(&file, parcel.access).map_err(|error| refused(full(&error)))?;
                let name = Name { name: parcel.name, ownership, is_creator: false };
                let file = open_anew(&file, parcel.access).map_err(|error| refused(error.to_string()))?;
                let segment = Segment::attach(file, parcel.access, Some(name), None);
                let segment = segment.map_err(|error| refused(full(&error)))?;
                segment.note_shared();
                Ok(segment)
            }
            _ => Err(refused("shared memory with and without a name".into())),
        }
    }
}
