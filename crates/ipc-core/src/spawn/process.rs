//! A process and the typed result of its function.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::socket::Shutdown;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::Builder;
use super::reaper::reap_later;
use super::report::Report;
use super::running::{Child, Ended, lock};
use crate::error::Result;
use crate::wait::{Waitable, wait};
use crate::{Deadline, Decode, Error, Postcard, Receiver, crash_point};

/// A process that runs a function of this program and returns a value of type `R`.
///
/// [`join`](Process::join) it to get the value. Dropping it detaches the process, as dropping a thread's `JoinHandle` does: it
/// goes on, and is reaped when it ends. It also goes on when this process ends first, unless it is a [daemon](Builder::daemon). What can be
/// asked and done without waiting is on [`Child`], to which this dereferences.
///
/// ```
/// use ipc_core::{JoinError, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut child = Process::spawn(|()| -> u32 { loop { std::thread::park() } }, ())?;
/// assert!(child.is_alive());
/// assert_eq!(child.try_join(), Err(JoinError::Timeout)); // it has not ended, and runs on
/// child.kill()?;
/// assert!(matches!(child.join(), Err(JoinError::Killed { signal: 9, .. })));
/// # Ok(()) }
/// ```
///
/// # References
/// CPython `multiprocessing.Process`, whose `join` returns nothing.
pub struct Process<R> {
    shared: Arc<Shared>,
    result: PhantomData<fn() -> R>,
}

impl<R> Process<R> {
    /// Starts a process that calls `f(args)`.
    ///
    /// `f` is a function, or a closure that captures nothing, as nothing of this process's memory is there; that is checked
    /// when the program is built (`cargo check` does not see it). `args` is any serde value, a tuple for several; connections
    /// and other handles in it [move](crate::Handle) to the child. This returns when the arguments are handed over.
    ///
    /// The child is this program, started anew from its file (also if that was replaced or deleted meanwhile). **Its `main` does
    /// not run**: what that sets up, such as a logger, an async runtime, or the value of a `static`, is not there. The arguments of
    /// the command line, the environment, the directory and the standard streams are. SIGPIPE is ignored; a stack overflow is
    /// [`Killed`](JoinError::Killed) by SIGSEGV; threads that still run when `f` returns end with the process.
    ///
    /// ```
    /// use ipc_core::{JoinError, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let child = Process::spawn(|(a, b): (i32, i32)| a / b, (84, 2))?;
    /// assert_eq!(child.join()?, 42);
    ///
    /// let child = Process::spawn(|(a, b): (i32, i32)| a / b, (84, 0))?;
    /// match child.join() {
    ///     Err(JoinError::Panicked { message, .. }) => assert_eq!(message, "attempt to divide by zero"),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// A closure that captures does not build:
    ///
    /// ```compile_fail,E0080
    /// let factor = std::env::args().count();
    /// ipc_core::Process::spawn(move |n: usize| n * factor, 2).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Error::CannotSpawn`] says why no function can be started in this program; [`Error::Encode`] that the arguments cannot be
    /// sent; [`Error::Io`] that the system refused a process or a descriptor. The arguments are dropped then. A child
    /// that is killed before it has received them is not an error here but in [`join`](Process::join).
    ///
    /// # References
    /// CPython `multiprocessing.Process.start` with the start method `spawn`.
    #[doc(alias = "start")]
    pub fn spawn<F, A>(f: F, args: A) -> Result<Process<R>>
    where
        F: FnOnce(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Builder::new().spawn(f, args)
    }

    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Process { shared, result: PhantomData }
    }

    /// Waits until the process has ended, and returns what its function returned. A result has at most 1 GiB; to look at the exit
    /// status afterwards, keep a clone of the [`Child`]: `let child = (*process).clone()`.
    ///
    /// ```
    /// use ipc_core::{JoinError, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let process = Process::spawn(|()| -> u32 { std::process::exit(3) }, ())?;
    /// let child = (*process).clone();
    /// assert_eq!(process.join(), Err(JoinError::Exited { code: 3 }));
    /// assert_eq!(child.exit_status().and_then(|status| status.code()), Some(3));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`JoinError`] says how it ended otherwise. The death of the process ends the wait at once.
    ///
    /// # References
    /// CPython `multiprocessing.Process.join`.
    pub fn join(mut self) -> Result<R, JoinError>
    where
        R: DeserializeOwned,
    {
        self.join_by(Deadline::NEVER)
    }

    /// As [`join`](Process::join), but waits no longer than `timeout`.
    ///
    /// ```
    /// use ipc_core::{JoinError, Process};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut child = Process::spawn(|()| -> u32 { loop { std::thread::park() } }, ())?;
    /// assert_eq!(child.join_timeout(Duration::from_millis(20)), Err(JoinError::Timeout));
    /// child.terminate()?; // who gives up says so: the time-out has ended nothing
    /// assert!(matches!(child.join_timeout(Duration::MAX), Err(JoinError::Killed { signal: 15, .. })));
    /// assert_eq!(child.try_join(), Err(JoinError::Joined)); // it is told once
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`JoinError::Timeout`]: the process runs on, join it later. [`JoinError::Joined`] once a call has told how it ended. Else as `join`.
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<R, JoinError>
    where
        R: DeserializeOwned,
    {
        self.join_by(Deadline::after(timeout))
    }

    /// As [`join`](Process::join), but does not wait.
    ///
    /// # Errors
    /// As [`join_timeout`](Process::join_timeout).
    pub fn try_join(&mut self) -> Result<R, JoinError>
    where
        R: DeserializeOwned,
    {
        self.join_by(Deadline::NOW)
    }

    fn join_by(&mut self, deadline: Deadline) -> Result<R, JoinError>
    where
        R: DeserializeOwned,
    {
        let (ended, link) = self.shared.finish(deadline)?;
        crash_point!("join.reported");
        match link.retype::<Report<R>, Postcard>().try_recv() {
            Ok(report) => match report.gather().map_err(JoinError::Transfer)? {
                Report::Done(result) => Ok(result),
                Report::Panicked { message, location } => Err(JoinError::Panicked { message, location }),
                Report::Failed(reason) => Err(JoinError::Transfer(reason)),
                Report::Spilled { .. } => Err(ended.into()), // it has been gathered
            },
            // It said nothing, or not all: it was killed, or left by `std::process::exit`.
            Err(Error::WouldBlock | Error::Disconnected | Error::Truncated { .. }) => Err(ended.into()),
            Err(Error::Decode(cause)) => Err(JoinError::Transfer(format!("cannot decode the result: {cause}"))),
            Err(error) => Err(JoinError::Transfer(format!("cannot receive the result: {error}"))),
        }
    }
}

/// What the owner of a process and its scope share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) child: Child,
    /// The connection over which the report comes, until it has been received.
    link: Mutex<Option<Receiver<()>>>,
    /// A scope looks after the process, so its owner may let go of it.
    scoped: bool,
    /// The process that started it.
    owner: u32,
}

impl Shared {
    pub(super) fn new(child: Child, link: Receiver<()>, scoped: bool) -> Shared {
        Shared { child, link: Mutex::new(Some(link)), scoped, owner: std::process::id() }
    }

    /// Waits until the process has ended and what it reported, if anything, is in the connection's buffer; takes that out.
    fn finish(&self, deadline: Deadline) -> Result<(Ended, Receiver<()>), JoinError> {
        let mut guard = lock(&self.link);
        let ended = wait_for_end(&self.child, guard.as_mut().ok_or(JoinError::Joined)?, deadline)?;
        guard.take().map(|link| (ended, link)).ok_or(JoinError::Joined)
    }

    /// Waits until the process has ended, and says how if nobody has asked. What it reported can still be asked for.
    pub(super) fn outcome(&self) -> Result<(), JoinError> {
        // Without the lock: somebody may try to join it meanwhile, and must not have to wait for it.
        let failed = |error: std::io::Error| JoinError::Transfer(format!("cannot wait for the process: {error}"));
        self.child.wait(Deadline::NEVER).map_err(failed)?;
        let mut guard = lock(&self.link);
        let Some(link) = guard.as_mut() else { return Ok(()) };
        let ended = wait_for_end(&self.child, link, Deadline::NEVER)?;
        // Of a result, only that there is one matters; its type is not known here, but that of the other reports is.
        match link.peek() {
            Some(report) if Report::<()>::is_done(report) => Ok(()),
            Some(report) => match Postcard::decode(report) {
                Ok(Report::<()>::Panicked { message, location }) => Err(JoinError::Panicked { message, location }),
                Ok(Report::<()>::Failed(reason)) => Err(JoinError::Transfer(reason)),
                _ => Err(ended.into()),
            },
            None => Err(ended.into()),
        }
    }

    fn detach(&self) {
        let Some(link) = lock(&self.link).take() else { return };
        // A result is not wanted any more: writing it must fail, not wait. A daemon watches the other direction.
        link.endpoint().shut_down(Shutdown::Read);
        let keep = self.child.is_daemon().then(|| link.into_fd().ok()).flatten();
        reap_later((self.child.clone(), keep));
        crash_point!("reap.detached");
    }
}

fn wait_for_end(child: &Child, link: &mut Receiver<()>, deadline: Deadline) -> Result<Ended, JoinError> {
    // Both are watched. The report is received while the process still runs; and if the process is killed while another one
    // holds its end of the socket, because it forked, only the sentinel tells.
    let failed = |error: Error| JoinError::Transfer(format!("cannot wait for the process: {error}"));
    let mut complete = false;
    loop {
        let ended = child.ended();
        complete = complete || link.poll(Duration::ZERO).map_err(failed)?; // a report, or the end of the stream
        if let Some(ended) = ended {
            crash_point!("join.ended");
            return Ok(ended);
        }
        if deadline.has_passed() {
            return Err(JoinError::Timeout);
        }
        crash_point!("join.waiting");
        let items: &[&dyn Waitable] = if complete { &[child] } else { &[child, link] };
        wait(items, deadline.remaining().unwrap_or(Duration::MAX)).map_err(failed)?;
    }
}

impl<R> Deref for Process<R> {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.shared.child
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        // A copy that came about by a fork must not take the result away from the original.
        if !self.shared.scoped && self.shared.owner == std::process::id() {
            self.shared.detach();
        }
    }
}

impl<R> Waitable for Process<R> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.sentinel()
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name()).field("pid", &self.pid()).finish_non_exhaustive()
    }
}

/// How a process ended that did not return a value.
///
/// ```
/// use ipc_core::{Builder, JoinError};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// fn end(how: u32) -> u32 {
///     match how {
///         0 => panic!("no more"),
///         1 => std::process::exit(3),
///         2 => std::process::abort(),
///         _ => how,
///     }
/// }
///
/// for how in 0..4 {
///     match Builder::new().core_dumps(false).spawn(end, how)?.join() {
///         Err(JoinError::Panicked { message, .. }) => assert_eq!((how, &*message), (0, "no more")),
///         Err(JoinError::Exited { code }) => assert_eq!((how, code), (1, 3)),
///         Err(JoinError::Killed { signal, .. }) => assert_eq!((how, signal), (2, 6)), // SIGABRT
///         returned => assert_eq!(returned?, 3),
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Its function panicked.
    #[error("the process panicked{}: {message}", at(.location))]
    Panicked {
        /// What the panic said.
        message: String,
        /// File, line and column, if the panic hook was not replaced.
        location: Option<String>,
    },
    /// A signal killed it.
    #[error("the process was killed by signal {signal}{}", if *.core_dumped { " and dumped core" } else { "" })]
    Killed {
        /// The signal's number, as in signal(7).
        signal: i32,
        /// Whether it left a core dump.
        core_dumped: bool,
    },
    /// It ended without returning from its function, as by `std::process::exit`.
    #[error("the process exited with code {code} before its function returned")]
    Exited {
        /// The exit code.
        code: i32,
    },
    /// The arguments did not arrive as they should, or the result did not; the text says why.
    #[error("{0}")]
    Transfer(String),
    /// It has ended without a result, and somebody else took its exit status: the program ignores SIGCHLD, or waits for any child.
    #[error("the process ended without a result, and its exit status was taken by somebody else")]
    StatusTaken,
    /// The time-out passed; the process runs on.
    #[error("the process still runs")]
    Timeout,
    /// It was joined before.
    #[error("the process was joined before")]
    Joined,
}

fn at(location: &Option<String>) -> String {
    location.as_ref().map_or(String::new(), |location| format!(" at {location}"))
}

impl From<Ended> for JoinError {
    fn from(ended: Ended) -> JoinError {
        match ended {
            Ended::Unknown => JoinError::StatusTaken,
            Ended::Status(status) => match (status.signal(), status.code()) {
                (Some(signal), _) => JoinError::Killed { signal, core_dumped: status.core_dumped() },
                (None, code) => JoinError::Exited { code: code.unwrap_or_default() },
            },
        }
    }
}
