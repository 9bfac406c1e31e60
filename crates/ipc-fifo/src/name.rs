//! The ownership of a name, and how it is told from one that the dead have left.
//!
//! A FIFO gets its name when it is made, and could not be locked before. So it is made with a [mark](MARK), in the same step: what is
//! marked, and has no owner, was left on the way or by an owner that is gone, and is taken over. Names are made, taken over and
//! removed with their [folder](Folder) locked.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipc_core::{Deadline, Folder, FolderGuard, MARK};
use nix::errno::Errno;
use nix::sys::stat::Mode;

use crate::error::{Error, Result};
use crate::open::Place;

/// How long to wait for a process that is just making or removing a name in the same folder: it may be stopped.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// How often to try again when a foreign program makes and removes the same name all the time.
const ATTEMPTS: u32 = 100;
const PERMISSIONS: u32 = 0o777;

/// A name that is removed once: with the [`Fifo`] or with its scope.
pub(crate) type Claim = Arc<Mutex<Option<Owned>>>;

/// The ownership of a name.
#[derive(Debug)]
pub(crate) struct Owned {
    path: PathBuf,
    /// Has the lock that tells of the owner. Dropped before the file is let go of, whose inode is free then for another one, which has no owner.
    folder: Folder,
    /// As long as this is open no other file can get its inode. So it is still there if the path leads to the same inode.
    pub(crate) place: Place,
    device: u64,
    inode: u64,
    /// The process that made it: a forked copy removes nothing.
    pid: u32,
}

/// Takes the ownership out, if it is still there.
pub(crate) fn release(claim: &Claim) -> Option<Owned> {
    claim.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Owned {
    /// Owns a name that nobody owns. With the folder locked.
    pub(crate) fn enter(path: PathBuf, place: Place, folder: Folder) -> Result<Owned> {
        let about = place.about()?;
        if let Err(source) = folder.own(about.ino()) {
            let _ = fs::remove_file(&path);
            return Err(Error::Io { doing: "lock the name of the FIFO", source });
        }
        Ok(Owned { path, folder, place, device: about.dev(), inode: about.ino(), pid: std::process::id() })
    }

    /// Leaves the name where it is, for good.
    pub(crate) fn persist(self) -> Result<()> {
        if self.pid != std::process::id() {
            return Ok(());
        }
        let mode = self.place.about().map(|about| about.mode() & PERMISSIONS);
        let done = mode.and_then(|mode| set_mode(&self.place, mode));
        if done.is_err() {
            self.remove(Deadline::after(PATIENCE)); // with its mark it would look as if it had been left by the dead
        }
        done
    }

    /// Removes the name, if it still is that of this file. Until `deadline` it waits for who else has the folder.
    pub(crate) fn remove(self, deadline: Deadline) {
        if self.pid != std::process::id() {
            return; // a copy that came about by a fork
        }
        // Nobody takes it over as long as it is owned. The lock is against one who makes another after somebody's `rm`; if the folder
        // stays locked, that is less likely than that the name would be left.
        let alone = self.folder.lock(deadline);
        let there = fs::symlink_metadata(&self.path);
        if there.is_ok_and(|about| (about.dev(), about.ino()) == (self.device, self.inode)) {
            ipc_core::crash_point!("fifo.removing");
            let _ = fs::remove_file(&self.path);
        }
        drop(self);
        drop(alone);
    }
}

/// What was made of a path.
pub(crate) enum Found {
    /// A FIFO that was just made, or that the dead had left: with the mark, and without an owner.
    Ours(Place),
    /// Somebody else's, that will do.
    Theirs,
}

/// Makes a FIFO, marked as one that was left until it is more, or takes one that was. With the folder locked.
pub(crate) fn make_or_find(
    path: &Path,
    mode: u32,
    folder: &Folder,
    other: impl Fn(&Place) -> Result<()>,
) -> Result<Found> {
    for _ in 0..ATTEMPTS {
        let made = match nix::unistd::mkfifo(path, Mode::from_bits_truncate(mode | MARK)) {
            Ok(()) => {
                ipc_core::crash_point!("fifo.made");
                true
            }
            Err(Errno::EEXIST) => false,
            Err(Errno::ENOENT) => return Err(Error::Missing { path: path.parent().unwrap_or(path).into() }),
            Err(errno) => return Err(Error::at(path, "make the FIFO")(errno)),
        };
        match Place::look(path, false) {
            // What was just made has no owner. If its inode has one, that is a dead process whose files are being closed.
            Ok(place) if made && may_be_left(&place.about()?) => return Ok(Found::Ours(place)),
            Ok(place) if folder.is_left(&place.about()?).map_err(Error::io("ask who has the name of the FIFO"))? => {
                return Ok(Found::Ours(place));
            }
            Ok(_) if made => {
                let _ = fs::remove_file(path);
                let source = io::Error::new(io::ErrorKind::Unsupported, "it does not keep the sticky bit, or the user");
                return Err(Error::Io { doing: "mark a FIFO in this file system", source });
            }
            Ok(place) => return other(&place).map(|()| Found::Theirs),
            Err(Error::Missing { .. }) => {} // a foreign program has just removed it
            Err(error) => return Err(error),
        }
    }
    Err(Error::Missing { path: path.into() })
}

pub(crate) fn lock_folder(path: &Path) -> Result<(Folder, FolderGuard)> {
    let parent = path.parent().unwrap_or(path);
    let folder = Folder::of(path).map_err(Error::at(parent, "open the folder of the FIFO"))?;
    match folder.lock(Deadline::after(PATIENCE)) {
        Ok(alone) => Ok((folder, alone)),
        Err(ipc_core::Error::Timeout) => {
            let source =
                io::Error::new(io::ErrorKind::TimedOut, "another process has kept it locked, and may be stopped");
            Err(Error::Io { doing: "lock the folder of the FIFO", source })
        }
        Err(error) => Err(error.into()),
    }
}

/// Not the umask's business, and not that of whoever may have put another file in its place.
pub(crate) fn set_mode(place: &Place, mode: u32) -> Result<()> {
    fs::set_permissions(place.itself(), fs::Permissions::from_mode(mode)).map_err(Error::io("set the mode of the FIFO"))
}

/// Whether it is of a kind that the dead may have left.
pub(crate) fn may_be_left(about: &fs::Metadata) -> bool {
    let ours = about.uid() == nix::unistd::geteuid().as_raw();
    ours && about.file_type().is_fifo() && about.mode() & MARK != 0
}

/// Whether there may be something at the path that the dead have left, or will leave.
pub(crate) fn is_marked(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(about) => may_be_left(&about),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

pub(crate) fn check_mode(mode: u32) -> Result<()> {
    if mode & !PERMISSIONS == 0 { Ok(()) } else { Err(Error::BadMode { mode }) }
}

/// The path from the root, so that it stays the same when the process goes to another folder.
pub(crate) fn check_path(path: &Path) -> Result<PathBuf> {
    let bytes = path.as_os_str().as_bytes();
    let why = match bytes {
        [] => "it is empty",
        _ if bytes.contains(&0) => "it contains a NUL",
        [.., b'/'] | b"." | b".." | [.., b'/', b'.'] | [.., b'/', b'.', b'.'] => "it is that of a folder",
        _ => return std::path::absolute(path).map_err(Error::io("find the current folder")),
    };
    Err(Error::BadPath { path: path.into(), why })
}
