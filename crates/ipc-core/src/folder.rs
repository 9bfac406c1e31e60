//! A folder in which names are made, taken over and removed: who does so is alone there for that moment, and what the dead have left
//! can be told from what somebody has. For the crates of the mechanisms.
//!
//! Both are locks on the folder itself, which is there before any file in it and has none of the files' own meanings: flock(2) for the
//! moment, and a lock on one byte (`F_OFD_SETLK`, fcntl(2)) for as long as a name is owned. The byte is numbered as the file's inode, so
//! it is known as soon as there is the file, and nothing has to be written anywhere. The kernel drops both when the process has ended.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};

use crate::{Deadline, Error, Result};

/// The mark of a FIFO whose name belongs to a process: the sticky bit, which means nothing for FIFOs.
pub const MARK: u32 = 0o1000;
/// How long to wait at first before a lock is tried again, and at last. There is no event for a lock of a folder to be had with a time-out.
const FIRST: Duration = Duration::from_millis(1);
const LAST: Duration = Duration::from_millis(10);

/// The folder of a file that is to be made or removed.
#[derive(Debug)]
pub struct Folder {
    file: File,
}

/// Nobody else makes, takes over or removes a name in the folder until this is dropped.
#[derive(Debug)]
pub struct FolderGuard(
    #[expect(dead_code, reason = "held for its drop, which unlocks also what a forked child has a copy of")]
    Flock<File>,
);

impl Folder {
    /// Opens the folder that `path` is in. Blocks for no longer than the file system does.
    ///
    /// # Errors
    /// As open(2) for reading: there is none, or it may not be read.
    pub fn of(path: &Path) -> io::Result<Folder> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) => Path::new("."),
            None => path, // the root is in itself
        };
        Ok(Folder { file: open(parent)? })
    }

    /// Waits until nobody else is making or removing names in the folder, and keeps others from it. A process that was stopped while it
    /// did so may be waited for in vain, so there should be an end.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::WouldBlock`]; [`Error::Io`] if the file system knows no such locks.
    pub fn lock(&self, deadline: Deadline) -> Result<FolderGuard> {
        // Opened anew, as two threads with one open file would both have its lock.
        let itself = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let mut anew = open(Path::new(&itself)).map_err(Error::io("open a folder"))?;
        let mut pause = FIRST;
        loop {
            match Flock::lock(anew, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(FolderGuard(lock)),
                Err((back, Errno::EWOULDBLOCK)) => anew = back,
                Err((back, Errno::EINTR)) => {
                    anew = back;
                    continue;
                }
                Err((_, errno)) => return Err(Error::io("lock a folder")(errno)),
            }
            match deadline.remaining() {
                Some(Duration::ZERO) if deadline.is_now() => return Err(Error::WouldBlock),
                Some(Duration::ZERO) => return Err(Error::Timeout),
                left => std::thread::sleep(left.map_or(pause, |left| left.min(pause))),
            }
            pause = (pause * 2).min(LAST);
        }
    }

    /// Owns the name of the file with this inode, until this folder is dropped or the process ends. To be called under the
    /// [lock](Folder::lock), when it is known that nobody does.
    ///
    /// # Errors
    /// The file system knows no such locks, or there is no memory for one.
    pub fn own(&self, inode: u64) -> io::Result<()> {
        // Shared, as the folder is open for reading only. Who is to be the only owner makes sure of it under the folder's lock.
        fcntl(self.file.as_fd(), FcntlArg::F_OFD_SETLK(&byte(libc::F_RDLCK, inode)))?;
        Ok(())
    }

    /// Whether anybody owns the name of the file with this inode, by another [`Folder`] than this one.
    ///
    /// # Errors
    /// The file system knows no such locks.
    pub fn is_owned(&self, inode: u64) -> io::Result<bool> {
        let mut lock = byte(libc::F_WRLCK, inode);
        fcntl(self.file.as_fd(), FcntlArg::F_OFD_GETLK(&mut lock))?;
        Ok(i32::from(lock.l_type) != libc::F_UNLCK)
    }

    /// Whether a file in this folder is a FIFO that a dead process of this user has left: with the [mark](MARK), and without an owner.
    ///
    /// # Errors
    /// As [`is_owned`](Folder::is_owned).
    pub fn is_left(&self, about: &fs::Metadata) -> io::Result<bool> {
        let marked = about.file_type().is_fifo() && about.mode() & MARK != 0;
        Ok(marked && about.uid() == nix::unistd::geteuid().as_raw() && !self.is_owned(about.ino())?)
    }

    /// Removes a FIFO that dead processes of this user have left at `path`, which is in this folder, and nothing else. Returns whether
    /// it is worth while to try again: one is owned, or the folder is locked.
    #[cfg(feature = "named")]
    pub(crate) fn remove_if_left(&self, path: &Path, deadline: Deadline) -> bool {
        let Ok(_alone) = self.lock(deadline) else { return true };
        let Ok(about) = fs::symlink_metadata(path) else { return false };
        match self.is_left(&about) {
            Ok(true) => {
                crate::crash_point!("names.matched");
                let _ = fs::remove_file(path);
                false
            }
            _ => about.file_type().is_fifo() && about.mode() & MARK != 0,
        }
    }
}

fn open(folder: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_DIRECTORY).open(folder)
}

/// Inodes beyond what can be the position of a lock share their bytes: then one might look owned that is not, which is the harmless way.
fn byte(kind: i32, inode: u64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: (inode & (i64::MAX as u64)) as libc::off_t,
        l_len: 1,
        l_pid: 0, // as the kernel wants it for these locks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, removed in the end.
    struct Place(std::path::PathBuf);

    impl Place {
        fn new(what: &str) -> Place {
            let path = std::env::temp_dir().join(format!("ipc-core-folder-{what}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Place(path)
        }

        fn fifo(&self, mode: u32) -> std::path::PathBuf {
            let path = self.0.join("fifo");
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(mode)).unwrap();
            path
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_at_a_time_has_the_lock_also_by_one_handle() {
        let place = Place::new("lock");
        let folder = Folder::of(&place.0.join("file")).unwrap();
        let guard = folder.lock(Deadline::NOW).unwrap();
        assert!(folder.lock(Deadline::NOW).unwrap_err().is_would_block());
        let soon = Deadline::after(Duration::from_millis(5));
        assert!(Folder::of(&place.0.join("other")).unwrap().lock(soon).unwrap_err().is_timeout());
        drop(guard);
        folder.lock(Deadline::NOW).unwrap();
    }

    #[test]
    fn who_waits_gets_the_lock_when_it_is_free() {
        let place = Place::new("wait");
        let folder = Folder::of(&place.0.join("file")).unwrap();
        let guard = folder.lock(Deadline::NOW).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| folder.lock(Deadline::NEVER).map(drop));
            drop(guard);
            waiting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn an_owner_is_seen_by_others_until_it_is_dropped() {
        let place = Place::new("own");
        let [ours, theirs] = [(); 2].map(|()| Folder::of(&place.0.join("file")).unwrap());
        ours.own(7).unwrap();
        assert!(theirs.is_owned(7).unwrap());
        assert!(!theirs.is_owned(8).unwrap());
        ours.own(u64::MAX).unwrap(); // no inode is too large
        assert!(theirs.is_owned(u64::MAX).unwrap());
        drop(ours);
        assert!(!theirs.is_owned(7).unwrap());
    }

    #[test]
    fn only_a_marked_fifo_without_owner_is_left_by_the_dead() {
        for (mode, expected) in [(0o600, false), (0o600 | MARK, true)] {
            let place = Place::new("left");
            let path = place.fifo(mode);
            let about = fs::symlink_metadata(&path).unwrap();
            assert_eq!(Folder::of(&path).unwrap().is_left(&about).unwrap(), expected);
            let owner = Folder::of(&path).unwrap();
            owner.own(about.ino()).unwrap();
            assert!(!Folder::of(&path).unwrap().is_left(&about).unwrap());
        }
        let place = Place::new("file");
        let path = place.0.join("file");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600 | MARK)).unwrap();
        assert!(!Folder::of(&path).unwrap().is_left(&fs::symlink_metadata(&path).unwrap()).unwrap());
    }

    #[test]
    #[cfg(feature = "named")]
    fn a_fifo_is_removed_when_nobody_owns_it_any_more() {
        let place = Place::new("remove");
        let path = place.fifo(0o600 | MARK);
        let owner = Folder::of(&path).unwrap();
        owner.own(fs::symlink_metadata(&path).unwrap().ino()).unwrap();
        let folder = Folder::of(&path).unwrap();
        assert!(folder.remove_if_left(&path, Deadline::NOW));
        assert!(path.exists());
        drop(owner);
        assert!(!folder.remove_if_left(&path, Deadline::NOW));
        assert!(!path.exists());
        assert!(!folder.remove_if_left(&path, Deadline::NOW)); // nothing to do
    }

    #[test]
    fn the_folder_of_a_bare_name_is_the_current_one() {
        let here = Folder::of(Path::new("name")).unwrap().file.metadata().unwrap();
        assert_eq!(here.ino(), fs::metadata(".").unwrap().ino());
        assert!(Folder::of(Path::new("/nowhere/at/all")).is_err());
    }
}
