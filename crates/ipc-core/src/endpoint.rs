//! One end of a byte stream: the descriptor under a sender or a receiver, and how to wait for it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sendmsg,
    sockopt,
};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::time::TimeSpec;

use crate::Deadline;
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sys::{self, Descriptors};

/// What a pipe takes in one piece, and what it has room for when it polls as writable (pipe(7)).
const PIPE_BUF: usize = 4096;
/// How long to wait before descriptors are sent again that the kernel would not take.
const RETRY: Duration = Duration::from_millis(5);
/// How many turns of a spin there are between two looks at the clock.
const CLOCK_AFTER: u32 = 8;

/// What kind of descriptor it is, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A Unix stream socket: it carries handles.
    Local,
    /// Any other stream socket.
    Network,
    /// A pipe or FIFO.
    Pipe,
}

/// What one read brought: how many bytes, 0 at the end of the stream, and the descriptors that came with them.
pub(crate) type Arrival = (usize, Option<Descriptors>);

/// How to read.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// How long to ask again and again before sleeping.
    pub(crate) spin: Duration,
    pub(crate) takes_handles: bool,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) handle: Handle,
    pub(crate) kind: Kind,
}

impl Endpoint {
    /// Finds out what `fd` is, and that it can be written (`sending`) or read.
    pub(crate) fn new(handle: Handle, sending: bool) -> Result<Endpoint> {
        let fd = handle.as_fd();
        let stat = fstat(fd).map_err(Error::io("examine the descriptor"))?;
        let kind = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFIFO => Kind::Pipe,
            SFlag::S_IFSOCK => socket_kind(fd)?,
            _ => return Err(Error::Unsuitable("neither a pipe nor a stream socket")),
        };
        if kind == Kind::Pipe {
            let flags = fcntl(fd, FcntlArg::F_GETFL).map_err(Error::io("examine the descriptor"))?;
            match OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE {
                OFlag::O_RDONLY if sending => return Err(Error::Unsuitable("the reading end of a pipe cannot send")),
                OFlag::O_WRONLY if !sending => {
                    return Err(Error::Unsuitable("the writing end of a pipe cannot receive"));
                }
                _ => {}
            }
        }
        Ok(Endpoint { handle, kind })
    }

    /// Another name for the same descriptor.
    pub(crate) fn share(&self) -> Endpoint {
        Endpoint { handle: self.handle.share(), kind: self.kind }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Writes some of `parts`, at least a byte, with `handles` attached to the first one. Waits as long as it must only if
    /// `may_wait`, else fails with `WouldBlock`.
    fn write(&self, parts: &[IoSlice<'_>], handles: &[Handle], may_wait: bool) -> io::Result<usize> {
        match self.kind {
            Kind::Pipe => {
                debug_assert!(handles.is_empty(), "the sender refuses handles on a pipe");
                self.write_pipe(parts, may_wait)
            }
            Kind::Local | Kind::Network => {
                // No SIGPIPE when the reader is gone, whatever the program does with that signal.
                let flags = MsgFlags::MSG_NOSIGNAL | if may_wait { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
                retry(|| {
                    if let ([part], []) = (parts, handles) {
                        // Cheaper for the kernel than a message header that describes one part.
                        return Ok(nix::sys::socket::send(self.fd().as_raw_fd(), part, flags)?);
                    }
                    if handles.is_empty() {
                        return Ok(sendmsg::<()>(self.fd().as_raw_fd(), parts, &[], flags, None)?);
                    }
                    let raw: Vec<_> = handles.iter().map(|handle| handle.as_fd().as_raw_fd()).collect();
                    Ok(sendmsg::<()>(self.fd().as_raw_fd(), parts, &[ControlMessage::ScmRights(&raw)], flags, None)?)
                })
            }
        }
    }

    fn write_pipe(&self, parts: &[IoSlice<'_>], may_wait: bool) -> io::Result<usize> {
        if may_wait {
            return retry(|| match parts {
                [part] => Ok(nix::unistd::write(self.fd(), part)?),
                parts => Ok(nix::sys::uio::writev(self.fd(), parts)?),
            });
        }
        // There is no write that does not wait on a pipe that others expect to be blocking. But one that polls as writable has
        // room for PIPE_BUF bytes, and nobody else writes to it.
        if !self.poll(PollFlags::POLLOUT, Deadline::NOW)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let part = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
        retry(|| Ok(nix::unistd::write(self.fd(), &part[..part.len().min(PIPE_BUF)])?))
    }

    /// Reads some bytes; waits for them only if `may_wait`, else fails with `WouldBlock`. Unless it `takes_handles`, those that come with
    /// them are closed by the kernel, which costs less than to look for them.
    fn read(&self, buf: &mut [u8], may_wait: bool, takes_handles: bool) -> io::Result<Arrival> {
        let result = match self.kind {
            Kind::Pipe => {
                if !may_wait && !self.poll(PollFlags::POLLIN, Deadline::NOW)? {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                retry(|| Ok((nix::unistd::read(self.fd(), buf)?, None)))
            }
            Kind::Local if takes_handles => retry(|| sys::recv_with_descriptors(self.fd(), buf, !may_wait)),
            Kind::Local | Kind::Network => {
                let flags = if may_wait { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
                retry(|| Ok((nix::sys::socket::recv(self.fd().as_raw_fd(), buf, flags)?, None)))
            }
        };
        match result {
            // For us it is the end of the stream all the same.
            Err(error) if is_gone(&error) => Ok((0, None)),
            other => other,
        }
    }

    /// Writes some of `parts` as soon as that is possible.
    pub(crate) fn write_until(&self, parts: &[IoSlice<'_>], handles: &[Handle], deadline: Deadline) -> Result<usize> {
        let may_wait = deadline == Deadline::NEVER;
        loop {
            match self.write(parts, handles, may_wait) {
                Ok(n) => return Ok(n),
                Err(error) => match error.kind() {
                    _ if is_gone(&error) => return Err(Error::Disconnected),
                    io::ErrorKind::WouldBlock => {}
                    // Too many descriptors of this user are under way; there is no event for when some have arrived.
                    _ if error.raw_os_error() == Some(libc::ETOOMANYREFS) && !deadline.has_passed() => {
                        std::thread::sleep(RETRY.min(deadline.remaining().unwrap_or(RETRY)));
                        continue;
                    }
                    _ => return Err(Error::io("write to the connection")(error)),
                },
            }
            if deadline.is_now() {
                return Err(Error::WouldBlock);
            }
            if !self.poll(PollFlags::POLLOUT, deadline).map_err(Error::io("wait for the connection"))? {
                return Err(Error::Timeout);
            }
        }
    }

    /// Reads what has arrived, as soon as something has.
    pub(crate) fn read_until(&self, buffer: &mut [u8], how: How, deadline: Deadline) -> Result<Arrival> {
        let mut is_spinning = !how.spin.is_zero() && !deadline.is_now();
        let mut until = None;
        let mut turn = 0u32;
        loop {
            match self.read(buffer, deadline == Deadline::NEVER && !is_spinning, how.takes_handles) {
                Ok(arrival) => return Ok(arrival),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Error::io("read from the connection")(error)),
            }
            if is_spinning {
                if turn % CLOCK_AFTER == 0 {
                    let now = Instant::now();
                    let until = *until.get_or_insert(now.checked_add(how.spin));
                    is_spinning = until.is_some_and(|until| now < until) && !deadline.has_passed();
                }
                turn = turn.wrapping_add(1);
                std::hint::spin_loop();
                continue;
            }
            if deadline.is_now() {
                return Err(Error::WouldBlock);
            }
            if !self.poll(PollFlags::POLLIN, deadline).map_err(Error::io("wait for the connection"))? {
                return Err(Error::Timeout);
            }
        }
    }

    /// Waits until the descriptor can be read or written without waiting, or has been closed at the other end.
    pub(crate) fn poll(&self, events: PollFlags, deadline: Deadline) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.fd(), events)];
        Ok(poll(&mut fds, deadline)? > 0)
    }

    /// Tells the other end that this process is done with one direction, while the descriptor stays open for the other.
    pub(crate) fn shut_down(&self, how: nix::sys::socket::Shutdown) {
        // It fails if the connection is gone already, which is as good.
        let _ = nix::sys::socket::shutdown(self.fd().as_raw_fd(), how);
    }

    pub(crate) fn into_fd(self) -> Result<OwnedFd> {
        self.handle.into_fd().map_err(Error::io("duplicate the descriptor"))
    }
}

/// Whether an error of a socket says that nobody is at the other end any more: it was closed while data of ours lay unread in it, or its
/// machine does not answer (tcp(7)).
pub(crate) fn is_gone(error: &io::Error) -> bool {
    let lost = [libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::EHOSTDOWN, libc::ENETDOWN];
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        || error.raw_os_error().is_some_and(|errno| lost.contains(&errno))
}

fn socket_kind(fd: BorrowedFd<'_>) -> Result<Kind> {
    let kind = getsockopt(&fd, sockopt::SockType).map_err(Error::io("examine the socket"))?;
    if kind != SockType::Stream {
        return Err(Error::Unsuitable("a socket, but not a stream socket"));
    }
    let address: SockaddrStorage = getsockname(fd.as_raw_fd()).map_err(Error::io("examine the socket"))?;
    Ok(if address.family() == Some(AddressFamily::Unix) { Kind::Local } else { Kind::Network })
}

/// `ppoll` that goes on after signals and never returns before its time.
pub(crate) fn poll(fds: &mut [PollFd<'_>], deadline: Deadline) -> io::Result<usize> {
    loop {
        match ppoll(fds, deadline.remaining().map(TimeSpec::from), None) {
            Ok(0) if !deadline.has_passed() => {}
            Ok(n) => return Ok(n as usize),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Repeats a system call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
