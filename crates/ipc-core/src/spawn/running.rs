//! A process that was started, whatever its function returns: what its parent and its parent's other threads know of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use nix::poll::{PollFd, PollFlags};

use super::child::Identity;
use crate::sys::Exit;
use crate::wait::Waitable;
use crate::{Deadline, crash_point, endpoint, sys};

/// A child process: who it is, whether it runs, and how to signal it. Cloned from a [`Process`](crate::Process), or found with
/// [`active_children`].
///
/// It stands for exactly this process, by a descriptor of the kernel's (pidfd), so a signal never hits a later process that
/// was given the same pid. None of its calls waits. Dropping it does nothing to the process.
///
/// ```
/// use ipc_core::{Builder, wait};
/// use std::{os::unix::process::ExitStatusExt, time::Duration};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let idle = Builder::new().name("idle").spawn(|()| -> () { loop { std::thread::park() } }, ())?;
/// let child = (*idle).clone();
/// assert_eq!((child.name(), child.is_daemon(), child.exit_status()), ("idle", false, None));
/// assert!(child.is_alive() && child.pid() != std::process::id());
///
/// child.terminate()?;
/// assert_eq!(wait(&[&child.sentinel()], Duration::MAX)?, [0]); // it has ended
/// assert_eq!(child.exit_status().and_then(|status| status.signal()), Some(15));
/// child.interrupt()?; // too late: nothing happens, also if another process has its pid by now
/// # Ok(()) }
/// ```
///
/// # References
/// pidfd_open(2), pidfd_send_signal(2); CPython `multiprocessing.Process`: `terminate`, `kill`, `interrupt`, `exitcode`, `sentinel`.
#[derive(Clone, Debug)]
pub struct Child(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: Identity,
    pid: u32,
    pidfd: OwnedFd,
    /// Set by whoever reaps the process first.
    ended: Mutex<Option<Ended>>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Status(ExitStatus),
    /// Somebody else took the status: the program ignores SIGCHLD, or waits for any child.
    Unknown,
}

/// The children that are not known to have ended.
static ACTIVE: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

impl Child {
    /// Takes charge of a child process that nobody has reaped.
    pub(super) fn new(identity: Identity, pid: u32) -> io::Result<Child> {
        // While it is not reaped its pid is not given to another.
        let pidfd = sys::pidfd_open(pid)?;
        let child = Child(Arc::new(Inner { identity, pid, pidfd, ended: Mutex::new(None) }));
        lock(&ACTIVE).push(Arc::downgrade(&child.0));
        Ok(child)
    }

    /// Its name: as given to the [`Builder`](crate::Builder), else `Process-1` and so on.
    pub fn name(&self) -> &str {
        &self.0.identity.name
    }

    /// Its process id. Another process may have it once this one has been joined or reaped.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Whether it ends with its parent.
    pub fn is_daemon(&self) -> bool {
        self.0.identity.daemon
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.ended().is_none()
    }

    /// How it ended: a code from 0 to 255, or the number of a signal. `None` while it runs, or if the program has let somebody else take the status (it ignores SIGCHLD).
    #[doc(alias = "exitcode")]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        match self.ended() {
            Some(Ended::Status(status)) => Some(status),
            _ => None,
        }
    }

    /// Asks it to end (SIGTERM), which it does at once, without destructors, unless it handles or ignores that signal. Nothing happens if
    /// it has ended.
    ///
    /// # Errors
    /// The process runs under another user by now.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// Ends it at once (SIGKILL), which it cannot prevent, also when it is stopped. Nothing happens if it has ended.
    ///
    /// # Errors
    /// As [`terminate`](Child::terminate).
    pub fn kill(&self) -> io::Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Interrupts it as Ctrl-C would (SIGINT). Nothing happens if it has ended, or ignores that signal, as what a shell's script has started
    /// in the background does, and its children.
    ///
    /// # Errors
    /// As [`terminate`](Child::terminate).
    pub fn interrupt(&self) -> io::Result<()> {
        self.signal(libc::SIGINT)
    }

    /// The descriptor that becomes readable when the process ends: for [`wait`](crate::wait), or an event loop.
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.0.pidfd.as_fd()
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        match sys::pidfd_send_signal(self.sentinel(), signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Reaps the process if it has ended.
    pub(super) fn ended(&self) -> Option<Ended> {
        let mut ended = lock(&self.0.ended);
        if ended.is_none() {
            *ended = reap(self.sentinel());
            if ended.is_some() {
                crash_point!("reap.reaped");
                lock(&ACTIVE).retain(|other| !std::ptr::eq(other.as_ptr(), &*self.0));
            }
        }
        *ended
    }

    /// Waits for its end; `false` if the deadline passes first.
    pub(super) fn wait(&self, deadline: Deadline) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.sentinel(), PollFlags::POLLIN)];
        Ok(endpoint::poll(&mut fds, deadline)? > 0)
    }
}

impl Waitable for Child {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.sentinel()
    }
}

fn reap(pidfd: BorrowedFd<'_>) -> Option<Ended> {
    match sys::reap(pidfd) {
        Ok(None) => None,
        Ok(Some(Exit::Code(code))) => Some(Ended::Status(ExitStatus::from_raw((code & 0xff) << 8))),
        Ok(Some(Exit::Signal(signal, core))) => {
            Some(Ended::Status(ExitStatus::from_raw(signal | if core { 0x80 } else { 0 })))
        }
        // Not our child any more. The descriptor knows whether it has ended.
        Err(_) => {
            let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
            matches!(endpoint::poll(&mut fds, Deadline::NOW), Ok(1..)).then_some(Ended::Unknown)
        }
    }
}

/// The children of this process that still run; those that were joined, or have ended, are not among them.
///
/// ```
/// use ipc_core::{Process, active_children};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let child = Process::spawn(|()| -> () { loop { std::thread::park() } }, ())?;
/// let pid = child.pid();
/// assert!(active_children().iter().any(|other| other.pid() == pid));
/// child.kill()?;
/// assert!(child.join().is_err());
/// assert!(!active_children().iter().any(|other| other.pid() == pid));
/// # Ok(()) }
/// ```
///
/// # References
/// CPython `multiprocessing.active_children`.
pub fn active_children() -> Vec<Child> {
    let known: Vec<Child> = lock(&ACTIVE).iter().filter_map(Weak::upgrade).map(Child).collect();
    known.into_iter().filter(Child::is_alive).collect()
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
