//! The one system call for which neither std nor nix has a safe function.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What a pipe says to one who would read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// It is empty, and nobody has it open for writing.
    NoWriter,
    /// It is empty, and somebody has it open for writing.
    Writer,
    /// There are bytes in it.
    Bytes,
}

/// Asks a pipe, open for reading with `O_NONBLOCK`, whether there is a writer, and takes nothing out of it.
///
/// poll(2) does not tell: a writer that has come and not yet written is no event. A read to nowhere does, as the kernel looks for
/// bytes and for writers first, and at the address when it has something to put there.
pub(crate) fn probe(pipe: BorrowedFd<'_>) -> io::Result<Probe> {
    // SAFETY: the kernel writes at most one byte, to address 0, where nothing of a Rust program lies: it is not mapped, and the call
    // fails with EFAULT before a byte is taken.
    let read = unsafe { libc::read(pipe.as_raw_fd(), std::ptr::null_mut(), 1) };
    match (read, io::Error::last_os_error()) {
        (0, _) => Ok(Probe::NoWriter),
        (1.., _) => Ok(Probe::Bytes), // only with a page mapped there, and then a byte is lost
        (_, error) => match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(Probe::Writer),
            Some(libc::EFAULT) => Ok(Probe::Bytes),
            _ => Err(error),
        },
    }
}
