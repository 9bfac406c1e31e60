//! Waiting for several things at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::{Deadline, endpoint};

/// Something that [`wait`] can wait for: a connection (a message to receive), a process (its end), a plain descriptor
/// (something to read).
///
/// Implement it for what has a buffer of its own over a descriptor:
///
/// ```
/// use ipc_core::{Waitable, wait};
/// use std::os::{fd::{AsFd, BorrowedFd}, unix::net::UnixStream};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// struct Lines {
///     socket: UnixStream,
///     read_ahead: Vec<String>,
/// }
///
/// impl Waitable for Lines {
///     fn is_ready_now(&self) -> bool {
///         !self.read_ahead.is_empty()
///     }
///
///     fn descriptor(&self) -> BorrowedFd<'_> {
///         self.socket.as_fd()
///     }
/// }
///
/// let (socket, _peer) = UnixStream::pair()?;
/// let mut lines = Lines { socket, read_ahead: vec![] };
/// assert!(wait(&[&lines], Duration::ZERO)?.is_empty() && lines.is_still_ready());
/// lines.read_ahead.push("a line".into());
/// assert_eq!(wait(&[&lines], Duration::MAX)?, [0]); // although the socket has nothing to read
/// # Ok(()) }
/// ```
pub trait Waitable {
    /// Whether it is ready although its descriptor may not say so, as messages lie in a buffer.
    fn is_ready_now(&self) -> bool {
        false
    }

    /// The descriptor that becomes readable when it is ready.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Whether it is ready, its descriptor being readable: somebody else may have been faster.
    fn is_still_ready(&self) -> bool {
        true
    }
}

impl Waitable for OwnedFd {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl Waitable for BorrowedFd<'_> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        *self
    }
}

impl Waitable for Handle {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

/// Waits until at least one of `items` is ready, and returns the positions of all that are, in order; none if `timeout`
/// passes first. `Duration::MAX` waits without end.
///
/// A connection is ready when something has arrived, or at its end. A part of a message is something, so use
/// [`try_recv`](crate::Receiver::try_recv) if the sender may be slow.
///
/// ```
/// use ipc_core::{wait, Process};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let quick = Process::spawn(|n: u32| n + 1, 1)?;
/// let slow = Process::spawn(|()| -> () { loop { std::thread::park() } }, ())?;
/// assert_eq!(wait(&[&slow, &quick], Duration::MAX)?, [1]);
/// slow.kill()?;
/// assert_eq!(wait(&[&slow], Duration::MAX)?, [0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The system refused to poll the descriptors.
///
/// # References
/// ppoll(2); CPython `multiprocessing.connection.wait`.
pub fn wait(items: &[&dyn Waitable], timeout: Duration) -> Result<Vec<usize>> {
    let end = Deadline::after(timeout);
    loop {
        // What is ready already is reported together with what the descriptors say now.
        let mut ready: Vec<bool> = items.iter().map(|item| item.is_ready_now()).collect();
        let deadline = if ready.contains(&true) { Deadline::NOW } else { end };
        let mut fds: Vec<_> = items.iter().map(|item| PollFd::new(item.descriptor(), PollFlags::POLLIN)).collect();
        endpoint::poll(&mut fds, deadline).map_err(Error::io("wait for the descriptors"))?;
        for ((item, fd), ready) in items.iter().zip(&fds).zip(&mut ready) {
            *ready = *ready || (fd.any() == Some(true) && item.is_still_ready());
        }
        if ready.contains(&true) || end.has_passed() {
            return Ok(ready.iter().enumerate().filter(|(_, ready)| **ready).map(|(position, _)| position).collect());
        }
    }
}
