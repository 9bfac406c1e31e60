//! Who this process is, and its parent.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::child::IDENTITY;
use crate::{sys, wait};

/// This process, as it was spawned.
///
/// ```
/// let me = ipc_core::current_process();
/// assert_eq!((me.name(), me.is_daemon(), me.pid()), ("MainProcess", false, std::process::id()));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CurrentProcess(());

/// This process. Its identity is what its parent gave it; a process that was not spawned is called `MainProcess`.
///
/// ```
/// use ipc_core::{Builder, current_process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let child = Builder::new().name("worker").spawn(|()| current_process().name().to_string(), ())?;
/// assert_eq!(child.join()?, "worker");
/// # Ok(()) }
/// ```
///
/// # References
/// CPython `multiprocessing.current_process`.
pub fn current_process() -> CurrentProcess {
    CurrentProcess(())
}

impl CurrentProcess {
    /// Its name; see [`Builder::name`](crate::Builder::name).
    pub fn name(&self) -> &'static str {
        IDENTITY.get().map_or("MainProcess", |identity| &identity.name)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Whether it ends with its parent.
    pub fn is_daemon(&self) -> bool {
        IDENTITY.get().is_some_and(|identity| identity.daemon)
    }
}

/// The process that spawned this one.
///
/// Who goes on when its parent ends, unlike a daemon, can still notice it:
///
/// ```
/// use ipc_core::{Handle, Process, parent_process, wait};
/// use std::{fs::File, io::Write, os::unix::net::UnixStream, time::Duration};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// fn heir(line: Handle) {
///     let parent = parent_process().unwrap().expect("it was spawned");
///     if let Some(sentinel) = parent.sentinel() {
///         wait(&[&sentinel], Duration::MAX).unwrap();
///     }
///     write!(File::from(line.into_fd().unwrap()), "{}", parent.is_alive()).unwrap();
/// }
///
/// let (ours, theirs) = UnixStream::pair()?;
/// let start = |line: Handle| drop(Process::spawn(heir, line).unwrap()); // detached
/// Process::spawn(start, Handle::from(theirs))?.join()?;
/// assert_eq!(std::io::read_to_string(ours)?, "false");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ParentProcess {
    pid: u32,
    /// None if it had ended already when it was asked for.
    pidfd: Option<OwnedFd>,
}

/// The process that spawned this one, or `None` if this one was not spawned.
///
/// ```
/// use ipc_core::{Process, parent_process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert!(parent_process()?.is_none()); // nobody has spawned this one
/// let child = Process::spawn(|()| parent_process().unwrap().map(|parent| parent.pid()), ())?;
/// assert_eq!(child.join()?, Some(std::process::id()));
/// # Ok(()) }
/// ```
///
/// # Errors
/// The limit of open files is reached.
///
/// # References
/// CPython `multiprocessing.parent_process`.
pub fn parent_process() -> io::Result<Option<ParentProcess>> {
    let Some(pid) = IDENTITY.get().map(|identity| identity.parent) else { return Ok(None) };
    let pidfd = match sys::pidfd_open(pid) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error),
        pidfd => pidfd.ok(),
    };
    // If the parent were gone, its pid might be another process's by now; but then we would have been given another parent.
    let is_ours = nix::unistd::getppid().as_raw() as u32 == pid;
    Ok(Some(ParentProcess { pid, pidfd: pidfd.filter(|_| is_ours) }))
}

impl ParentProcess {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        let Some(pidfd) = &self.pidfd else { return false };
        matches!(wait(&[pidfd], std::time::Duration::ZERO), Ok(ready) if ready.is_empty())
    }

    /// The descriptor that becomes readable when it ends, for [`wait`](crate::wait()); `None` if it has.
    pub fn sentinel(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }
}
