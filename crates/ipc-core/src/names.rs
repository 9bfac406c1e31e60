//! Names in the file system that are removed in any case, also when the process that made them is killed.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::participant;
use crate::{Builder, Deadline, Error, Folder, Ownership, Process, Receiver, Result, Segment, Sender, wait};

/// A file by its name and its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) path: PathBuf,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// What the watcher is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Entry {
    /// A file that has no name yet.
    File(Mark),
    /// Where there is going to be a FIFO, which has its name as soon as it is made.
    Fifo(OsString), // a path need not be text, and one that is sent as a path must be
    /// Where none is going to be any more.
    NoFifo(OsString),
}

/// What is to be removed.
#[derive(Debug, Default)]
struct Entries {
    files: Vec<Mark>,
    fifos: HashSet<OsString>,
}

impl Entries {
    fn take_in(&mut self, entry: Entry) {
        match entry {
            Entry::File(mark) => self.files.push(mark),
            Entry::Fifo(path) => drop(self.fifos.insert(path)),
            Entry::NoFifo(path) => drop(self.fifos.remove(&path)),
        }
    }

    /// Removes the names. Until `deadline` it waits for folders that somebody has locked. What remains is what may be worth while to try
    /// again: somebody owns the FIFO, or the folder is still locked.
    fn remove(&mut self, deadline: Deadline) {
        self.files.drain(..).for_each(|mark| mark.remove());
        self.fifos.retain(|path| {
            let path = Path::new(path);
            // Most are gone, and for those the folder need not be waited for.
            let is_gone = fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            !is_gone && Folder::of(path).is_ok_and(|folder| folder.remove_if_left(path, deadline))
        });
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.fifos.is_empty()
    }
}

/// One at a time in this process, which may drop the memory in one thread and its scope in another.
static REMOVING: Mutex<()> = Mutex::new(());

impl Mark {
    /// Removes the name, if it still is that of this file. Only for one who has the file, or has claimed it: nobody else removes the name
    /// then, so it cannot become another one's between the look and the removal.
    pub(crate) fn remove_own(&self) {
        let _one = REMOVING.lock().unwrap_or_else(PoisonError::into_inner);
        let about = fs::symlink_metadata(&self.path);
        if about.is_ok_and(|about| self.is_of(&about)) {
            crate::crash_point!("names.matched");
            let _ = fs::remove_file(&self.path);
        }
    }

    /// The same for one who has not.
    fn remove(&self) {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        match File::options().read(true).write(true).custom_flags(flags).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(file) if file.metadata().is_ok_and(|about| !self.is_of(&about)) => {}
            file => {
                // If there is no descriptor left for it, there is no certainty, but the name goes all the same.
                let _ = file.as_ref().map(|file| participant::forbid_claims(file.as_fd()));
                self.remove_own();
            }
        }
    }

    fn is_of(&self, about: &Metadata) -> bool {
        (about.dev(), about.ino()) == (self.device, self.inode)
    }
}

/// Removes the names that were made in it: when it is dropped, and as well when the process is killed.
///
/// A small process of its own, the watcher, sees to that; it counts as a child of this one. It belongs to a group of its own, so that what
/// is typed at the terminal (Ctrl-C) does not end it together with this process. If it is killed itself, the names are removed when the
/// scope is dropped, and no more can be made in it.
///
/// ```
/// use ipc_core::{Error, NameScope, Segment};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let name = format!("ipc-core-doc-scope-{}", std::process::id());
/// let mut scope = NameScope::new()?;
/// let segment = scope.create(&name, 4096)?;
/// drop(scope); // or the process is killed
/// assert!(matches!(Segment::open_named(&name), Err(Error::NoSuchName { .. })));
/// segment.write_at(0, b"the memory is there as long as somebody has it")?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct NameScope {
    /// `None` once the scope ends.
    watcher: Option<(Sender<Entry>, Process<()>)>,
    entries: Entries,
    pid: u32,
}

impl NameScope {
    /// Starts the watcher: about as long as it takes to start a process.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn new() -> Result<NameScope> {
        let (read, write) =
            nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(Error::io("create a pipe to the watcher"))?;
        let receiver: Receiver<Entry> = read.try_into()?;
        let nowhere = || crate::Stdio::Null;
        let builder = Builder::new().name("ipc-names").core_dumps(false).group_of_its_own();
        let watcher = builder.stdin(nowhere()).stdout(nowhere()).spawn(watch, receiver)?;
        Ok(NameScope {
            watcher: Some((write.try_into()?, watcher)),
            entries: Entries::default(),
            pid: std::process::id(),
        })
    }

    /// As [`Segment::create_named`], and the name is removed with the scope. Waits for nobody but a watcher that is stopped and has 64 KiB
    /// to read, up to a second.
    ///
    /// # Errors
    /// As [`Segment::create_named`]; [`Error::Forked`]; [`Error::Timeout`], [`Error::Disconnected`] if the watcher is stopped or was killed, and
    /// then there is no name.
    pub fn create(&mut self, name: &str, size: usize) -> Result<Segment> {
        Segment::create_watched(name, size, Ownership::Creator, Some(self))
    }

    /// Tells of a FIFO that is about to be made at `path`. What is there at the end of the scope is removed if it is a FIFO with the
    /// [mark](crate::MARK) of this user that nobody owns. For the crates of the mechanisms.
    ///
    /// # Errors
    /// [`Error::Forked`]; [`Error::Timeout`], [`Error::Disconnected`] if the watcher is stopped or was killed. Nothing should be made then.
    #[doc(hidden)]
    pub fn announce(&mut self, path: &Path) -> Result<()> {
        // The watcher may be in another folder, or this process may go to one.
        let path = std::path::absolute(path).map_err(Error::io("find the folder of a name"))?;
        self.enter(Entry::Fifo(path.into()))
    }

    /// Takes back what was announced: the FIFO at `path` was removed, or is to stay. For the crates of the mechanisms.
    ///
    /// # Errors
    /// As [`announce`](NameScope::announce).
    #[doc(hidden)]
    pub fn forget(&mut self, path: &Path) -> Result<()> {
        let path = std::path::absolute(path).map_err(Error::io("find the folder of a name"))?;
        self.enter(Entry::NoFifo(path.into()))
    }

    pub(crate) fn add(&mut self, mark: Mark) -> Result<()> {
        self.enter(Entry::File(mark))
    }

    fn enter(&mut self, entry: Entry) -> Result<()> {
        if self.pid != std::process::id() {
            return Err(Error::Forked);
        }
        if let Some((sender, _)) = &mut self.watcher {
            sender.send_timeout(&entry, PATIENCE)?;
            crate::crash_point!("names.marked");
        }
        self.entries.take_in(entry);
        Ok(())
    }
}

impl Drop for NameScope {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            return; // a copy that came about by a fork: the names are the original's
        }
        // What somebody owns has its owner to remove it, so that is not waited for.
        let deadline = Deadline::after(PATIENCE);
        self.entries.remove(deadline);
        if let Some((sender, watcher)) = self.watcher.take() {
            drop(sender);
            // It has nothing left to do, but may be stopped, or kept waiting by a forked copy that has our end of the pipe.
            let _ = watcher.kill();
            let _ = watcher.join();
        }
    }
}

/// How long the watcher may take to read an entry: it may be stopped. And how long it tries to remove a FIFO: a child that the dead
/// process was just starting has copies of its files until it runs its own program.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait before that is tried again.
const AGAIN: Duration = Duration::from_millis(5);

fn watch(mut entries: Receiver<Entry>) {
    let _ = nix::unistd::setsid();
    let mut known = Entries::default();
    let parent = crate::parent_process().ok().flatten();
    // Until the parent ends: a copy of it that was forked may have the other end of the pipe.
    if let Some(sentinel) = parent.as_ref().and_then(|parent| parent.sentinel()) {
        while let Ok(ready) = wait(&[&entries, &sentinel], Duration::MAX) {
            match ready.contains(&0).then(|| entries.try_recv()) {
                Some(Ok(entry)) => known.take_in(entry),
                Some(Err(error)) if !error.is_would_block() => break,
                _ if ready.contains(&1) => break,
                _ => {}
            }
        }
    }
    while let Ok(entry) = entries.try_recv() {
        known.take_in(entry);
    }
    crate::crash_point!("names.watcher-woken");
    // One that somebody has by now, or cannot be got at, does not hold up the others.
    let deadline = Deadline::after(PATIENCE);
    loop {
        known.remove(Deadline::NOW);
        if known.is_empty() || deadline.has_passed() {
            return;
        }
        std::thread::sleep(AGAIN);
    }
}
