//! One open end of a FIFO, and how to wait for it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use ipc_core::Deadline;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::error::{Error, Result};

/// How long to wait at first before it is asked again whether somebody has come, and at last.
const FIRST: Duration = Duration::from_micros(100);
const LAST: Duration = Duration::from_millis(10);
/// What the size of a pipe is where it cannot be asked.
const USUAL: usize = 64 * 1024;

/// An open file that nobody else has, so that its mode is ours to change.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) file: File,
    /// What the mode of the file is.
    may_wait: bool,
    /// The process that opened it.
    pid: u32,
}

impl End {
    /// `file` is open with `O_NONBLOCK`.
    pub(crate) fn new(file: File) -> End {
        End { file, may_wait: false, pid: ipc_core::process_id() }
    }

    /// Sets whether reading and writing wait: a system call only if that changes.
    #[inline]
    pub(crate) fn set_wait(&mut self, may_wait: bool) -> Result<()> {
        if self.may_wait != may_wait {
            set_wait(&self.file, may_wait)?;
            self.may_wait = may_wait;
        }
        Ok(())
    }

    /// A copy of the process shares the position and the mode of the file with it, and would mix its messages with the original's.
    #[inline]
    pub(crate) fn check_process(&self) -> Result<()> {
        if self.pid == ipc_core::process_id() { Ok(()) } else { Err(Error::Forked) }
    }

    /// Waits until something can be read or written, or nobody has the other end.
    pub(crate) fn poll(&self, events: PollFlags, deadline: Deadline) -> Result<bool> {
        poll(&self.file, events, deadline).map_err(Error::io("wait for the FIFO"))
    }

    /// How many bytes are in the pipe at most.
    pub(crate) fn pipe_size(&self) -> usize {
        pipe_size(&self.file)
    }
}

pub(crate) fn pipe_size(file: &File) -> usize {
    fcntl(file, FcntlArg::F_GETPIPE_SZ).ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(USUAL)
}

pub(crate) fn set_wait(file: &File, may_wait: bool) -> Result<()> {
    let set = || {
        let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
        let flags = if may_wait { flags - OFlag::O_NONBLOCK } else { flags | OFlag::O_NONBLOCK };
        fcntl(file, FcntlArg::F_SETFL(flags))
    };
    set().map(drop).map_err(Error::io("change the mode of the FIFO"))
}

/// `ppoll` that goes on after signals and never returns before its time.
pub(crate) fn poll(file: &File, events: PollFlags, deadline: Deadline) -> io::Result<bool> {
    let mut fds = [PollFd::new(file.as_fd(), events)];
    loop {
        match ppoll(&mut fds, deadline.remaining().map(TimeSpec::from), None) {
            Ok(0) if !deadline.has_passed() => {}
            Ok(n) => return Ok(n > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Asking again and again for something that is no event, more and more seldom, up to a deadline.
#[derive(Debug)]
pub(crate) struct Slices {
    deadline: Deadline,
    next: Duration,
}

impl Slices {
    pub(crate) fn until(deadline: Deadline) -> Slices {
        Slices { deadline, next: FIRST }
    }

    /// How long to wait before the next look; the error if there is no time left.
    pub(crate) fn next(&mut self) -> Result<Duration> {
        let slice = match self.deadline.remaining() {
            Some(Duration::ZERO) => return Err(passed(self.deadline)),
            Some(left) => left.min(self.next),
            None => self.next,
        };
        self.next = (self.next * 2).min(LAST);
        Ok(slice)
    }
}

/// The error when there is no time left.
pub(crate) fn passed(deadline: Deadline) -> Error {
    if deadline.is_now() { Error::WouldBlock } else { Error::Timeout }
}
