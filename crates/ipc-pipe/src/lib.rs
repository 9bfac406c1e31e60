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
//! Start at [`duplex`]. Not here: names in the file system ([`ipc-fifo`](../ipc_fifo/index.html)), unrelated processes and other machines
//! ([`ipc-socket`](../ipc_socket/index.html)), many writers or readers, or messages that outlive a killed receiver
//! ([`ipc-queue`](../ipc_queue/index.html)), choosing among sends and receives ([`ipc-csp`](../ipc_csp/index.html)). Processes are described in
//! [`ipc-core`](ipc_core).
//!
//! # When a process dies
//!
//! It may be killed at any instruction. The other end receives what was sent and then [`Error::Disconnected`], or [`Error::Truncated`] if the
//! dead one was within a message; who sends to it gets [`Error::Disconnected`]. What was sent to the dead process is lost with it, received
//! or not. An end that is under way in a message belongs to that message: if nobody receives it, it is closed.
//!
//! # Examples
//!
//! Complete programs, each run by `cargo run --example` and its name:
//!
//! | program | shows | what differs from Python |
//! |---|---|---|
//! | [`pipe_hello`](../../../examples/pipe_hello.rs) | two children, one end each, one message | the parent keeps no copy of an end |
//! | [`pipe_duplex`](../../../examples/pipe_duplex.rs) | parent and child both send and receive | each direction has a type |
//! | [`pipe_simplex`](../../../examples/pipe_simplex.rs) | a one-way pipe | the sending end comes first, and has no `recv`; Python finds that out when it is called |
//! | [`pipe_messages`](../../../examples/pipe_messages.rs) | messages up to an agreed last one | dropping the sender would do |
//! | [`pipe_values`](../../../examples/pipe_values.rs) | a list of different things in one message | what may be in it is an enum |
//! | [`pipe_session`](../../../examples/pipe_session.rs) | values, bytes, bytes into memory that is there already | a message that is longer than the memory stays, and can be received |
//! | [`pipe_wait`](../../../examples/pipe_wait.rs) | several workers are listened to at once | positions come back, not objects |
//! | [`pipe_handles`](../../../examples/pipe_handles.rs) | an open file, and the end of another pipe, in a message | they are parts of any value; no server thread hands them over |
//! | [`pipe_python`](../../../examples/pipe_python.rs) | Python has the other end | bytes cross, no pickled objects |
//!
//! # From Python
//!
//! | `multiprocessing` | here |
//! |---|---|
//! | `Pipe()` | [`duplex`], with a type for each direction |
//! | `Pipe(duplex=False)` | [`simplex`], which gives the sending end first |
//! | `conn.send(obj)`, `conn.recv()` | [`Connection::send`], [`Connection::recv`] |
//! | `conn.send_bytes`, `recv_bytes`, `recv_bytes_into`, `poll` | the same on [`Connection`] |
//! | `conn.close()` | dropping it |
//! | `EOFError`, `BrokenPipeError` | [`Error::Disconnected`] |
//! | `connection.wait([…])` | [`wait`] |
//!
//! Both kinds have Python's frames, so a Python process can hold the other end: see [`duplex_with_codec`]. Where two Python processes or
//! threads that use the same end can corrupt its data, here the types do not let them: an end has one owner and is not cloned.
//!
//! # Limits
//!
//! A message has at most 1 GiB unless another limit is [set](Connection::set_max_message). About 200 KB (a two-way pipe) or 64 KiB (a one-way
//! pipe) can be under way before a sender waits: so two processes that both send much before they receive wait for each other. A two-way
//! pipe is for one machine, and takes one descriptor for each end.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::fcntl::OFlag;

pub use ipc_core::{
    Builder, Bytes, Child, CodecError, Connection, Decode, Encode, Error, Handle, JoinError, Plain, Postcard, Process,
    Receiver, Result, Sender, Stdio, Waitable, wait,
};

/// Makes a two-way pipe: the first end sends `A` and receives `B`, the second the reverse.
///
/// It is a pair of connected Unix stream sockets, close-on-exec. When an end is dropped, or the process that holds it dies,
/// the other one receives what was sent and then [`Error::Disconnected`]. This does not wait.
///
/// ```
/// use ipc_pipe::{Connection, JoinError, Process, duplex};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut ours, theirs) = duplex::<(), String>()?;
/// let child = Process::spawn(
///     |mut conn: Connection<String, ()>| -> () {
///         conn.send("so far".to_string()).unwrap();
///         loop { std::thread::park() }
///     },
///     theirs,
/// )?;
/// assert_eq!(ours.recv()?, "so far");
/// child.kill()?; // or it crashes
/// assert!(ours.recv().is_err_and(|e| e.is_disconnected()));
/// assert!(matches!(child.join(), Err(JoinError::Killed { signal: 9, .. })));
/// # Ok(()) }
/// ```
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
/// ```
/// use ipc_pipe::{Plain, simplex_with_codec};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Plain data as it lies in memory: nothing to encode.
/// let (mut sender, mut receiver) = simplex_with_codec::<[f64; 3], Plain>()?;
/// sender.send([1.0, 2.0, 3.5])?;
/// assert_eq!(receiver.recv()?, [1.0, 2.0, 3.5]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`duplex`].
pub fn simplex_with_codec<T, C>() -> Result<(Sender<T, C>, Receiver<T, C>)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)
        .map_err(|errno| Error::Io { doing: "create a pipe", source: errno.into() })?;
    Ok((write.try_into()?, read.try_into()?))
}
