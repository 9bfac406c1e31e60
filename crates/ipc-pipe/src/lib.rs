//! Typed pipes between related processes: after Python's `multiprocessing.Pipe`.
//!
//! ```
//! use ipc_pipe::{Connection, Process};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Our end sends numbers and receives texts, the other one the reverse.
//! let (mut ours, theirs) = ipc_pipe::duplex::<u32, String>()?;
//! let child = Process::spawn(
//!     |mut conn: Connection<String, u32>| {
//!         while let Ok(n) = conn.recv() {
//!             conn.send(format!("{n} squared is {}", n * n)).unwrap();
//!         }
//!     },
//!     theirs,
//! )?;
//! ours.send(7)?;
//! assert_eq!(ours.recv()?, "7 squared is 49");
//! drop(ours);
//! child.join()?;
//! # Ok(()) }
//! ```
//!
//! [`duplex`] makes a two-way pipe of two [`Connection`]s, [`simplex`] a one-way pipe of a [`Sender`] and a [`Receiver`]. Pass an
//! end to [`Process::spawn`], or send it in a message over another two-way pipe. What the calls do when they must wait, and
//! when the process at the other end dies, is said at [`Sender`] and [`Receiver`].
//!
//! | | [`duplex`] | [`simplex`] |
//! |---|---|---|
//! | carries [`Handle`]s and ends of other pipes | yes | no, an error says so |
//! | small messages one by one | about a million per second | about three times as many |
//! | many at once with `send_many` | fastest | |
//!
//! Not here: names (`ipc-fifo`), unrelated processes (`ipc-socket`), many writers or readers (`ipc-queue`).
//!
//! # From Python
//!
//! `Pipe()` is [`duplex`], `Pipe(duplex=False)` is [`simplex`], which gives the sending end first. Both have Python's frames, so a
//! Python process can hold the other end: see [`duplex_with_codec`]. Where two Python processes or threads that use the same
//! end can corrupt its data, here the types do not let them: an end has one owner and is not cloned.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::fcntl::OFlag;

pub use ipc_core::{
    Builder, Bytes, Child, Connection, Decode, Encode, Error, Handle, JoinError, Postcard, Process, Receiver, Result,
    Sender, Stdio, wait,
};

/// Makes a two-way pipe: the first end sends `A` and receives `B`, the second the reverse.
///
/// It is a pair of connected Unix stream sockets, close-on-exec. When an end is dropped, or the process that holds it dies,
/// the other one receives what was sent and then [`Error::Disconnected`].
///
/// # Errors
/// [`Error::Io`] at the limit of open files.
///
/// # References
/// CPython `multiprocessing.Pipe`; socketpair(2), unix(7).
#[doc(alias = "Pipe")]
pub fn duplex<A, B>() -> Result<(Connection<A, B>, Connection<B, A>)> {
    duplex_with_codec()
}

/// As [`duplex`], with another codec than the default.
///
/// ```
/// use std::process::{Command, Stdio};
/// use ipc_pipe::{Bytes, duplex_with_codec};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A process in another language: it inherits its end as standard input, and speaks bytes in Python's frames.
/// let (mut ours, theirs) = duplex_with_codec::<Vec<u8>, Vec<u8>, Bytes>()?;
/// # if Command::new("python3").arg("--version").output().is_err() { return Ok(()) }
/// let mut python = Command::new("python3")
///     .args(["-c", "from multiprocessing.connection import Connection as C; c = C(0); c.send_bytes(c.recv_bytes()[::-1])"])
///     .stdin(theirs.into_fd()?)
///     .spawn()?;
/// ours.send(b"stressed".to_vec())?;
/// assert_eq!(ours.recv()?, b"desserts");
/// python.wait()?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`duplex`].
#[expect(clippy::type_complexity, reason = "both ends spelled out are what a reader wants to see")]
pub fn duplex_with_codec<A, B, C>() -> Result<(Connection<A, B, C>, Connection<B, A, C>)> {
    let (a, b) = UnixStream::pair().map_err(|source| Error::Io { doing: "create a pair of sockets", source })?;
    Ok((OwnedFd::from(a).try_into()?, OwnedFd::from(b).try_into()?))
}

/// Makes a one-way pipe for messages of type `T`.
///
/// It is a pipe of the kernel, close-on-exec, with room for 64 KiB: less work per message than a socket, but it carries no
/// handles. When the sender is dropped or dies, the receiver gets what was sent and then [`Error::Disconnected`]; when the
/// receiver is gone, sending fails with that error.
///
/// A process that has restored the default action of SIGPIPE, which Rust programs do not by themselves, is ended by that
/// signal when it sends to a receiver that is gone.
///
/// ```
/// use ipc_pipe::{Process, Sender, simplex};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (sender, mut receiver) = simplex::<String>()?;
/// let child = Process::spawn(
///     |mut sender: Sender<String>| sender.send_many(["a", "b", "c"].map(String::from)).unwrap(),
///     sender,
/// )?;
/// let letters: Result<Vec<String>, _> = receiver.iter().collect();
/// assert_eq!(letters?, ["a", "b", "c"]);
/// assert_eq!(child.join()?, 3);
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`duplex`].
///
/// # References
/// CPython `multiprocessing.Pipe(duplex=False)`; pipe(7).
#[doc(alias = "Pipe")]
pub fn simplex<T>() -> Result<(Sender<T>, Receiver<T>)> {
    simplex_with_codec()
}

/// As [`simplex`], with another codec than the default.
///
/// # Errors
/// As [`duplex`].
pub fn simplex_with_codec<T, C>() -> Result<(Sender<T, C>, Receiver<T, C>)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)
        .map_err(|errno| Error::Io { doing: "create a pipe", source: errno.into() })?;
    Ok((write.try_into()?, read.try_into()?))
}
