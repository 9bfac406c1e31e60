//! The writing end of a stream, by hand: bytes are queued and go out in the cuts that the input asks for.

use std::fs::File;
use std::io::{ErrorKind, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use ipc_core::{Connection, Receiver};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Makes a stream of either kind, of which our end does not wait.
pub(crate) fn stream(pipe: bool) -> (OwnedFd, OwnedFd) {
    let (read, write) = match pipe {
        true => nix::unistd::pipe2(OFlag::O_CLOEXEC).expect("a pipe"),
        false => UnixStream::pair().map(|(a, b)| (a.into(), b.into())).expect("a pair of sockets"),
    };
    fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("flags of our own descriptor");
    (read, write)
}

/// Writes as much of `bytes` as goes at once.
pub(crate) fn write(mut to: &File, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match std::io::Write::write(&mut to, &bytes[written..]) {
            Ok(n) => written += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // The receiver has broken the connection off.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            Err(error) => panic!("cannot write: {error}"),
        }
    }
    written
}

/// Writes `bytes` with descriptors on the first of them; whether that went, which it does as a whole or not at all.
pub(crate) fn write_with(to: &File, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> bool {
    let raw: Vec<RawFd> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let rights = if raw.is_empty() { &rights[..0] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    match sendmsg::<()>(to.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], rights, flags, None) {
        Ok(n) => {
            assert_eq!(n, bytes.len(), "it is short, so it goes as a whole");
            true
        }
        Err(Errno::EAGAIN | Errno::EPIPE | Errno::ETOOMANYREFS) => false,
        Err(errno) => panic!("cannot send: {errno}"),
    }
}

/// Sends a receiver to ourselves, with all that lies in it.
pub(crate) fn migrate<T, C>(receiver: Receiver<T, C>) -> Result<Receiver<T, C>, ipc_core::Error> {
    type Mail<T, C> = Connection<Receiver<T, C>, Receiver<T, C>>;
    let (a, b) = UnixStream::pair().expect("a pair of sockets");
    let mut a: Mail<T, C> = OwnedFd::from(a).try_into()?;
    let mut b: Mail<T, C> = OwnedFd::from(b).try_into()?;
    // It may hold more than the socket takes at once, so both ends have their turns.
    match a.try_send(&receiver) {
        Ok(()) | Err(ipc_core::Error::Unfinished { .. }) => {}
        Err(error) => return Err(error),
    }
    loop {
        match b.try_recv() {
            Err(ipc_core::Error::WouldBlock) => match a.flush(std::time::Duration::ZERO) {
                Ok(())
                | Err(ipc_core::Error::Unfinished { .. } | ipc_core::Error::WouldBlock | ipc_core::Error::Timeout) => {}
                Err(error) => return Err(error),
            },
            result => return result,
        }
    }
}
