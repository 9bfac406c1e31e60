//! Typed FIFOs, the named pipes of the file system: many writers without a lock, and none is lost to a crash of another.
//!
//! ```
//! use ipc_fifo::{Fifo, Process, Reader, Writer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-front-{}", std::process::id()));
//! let fifo = Fifo::create(&path, 0o600)?;
//! // Two programs, which need not be related, know the path.
//! let report = |(path, name): (std::path::PathBuf, String)| {
//!     let mut log: Writer<(String, u32)> = Fifo::open(path).unwrap().writer().unwrap();
//!     (1..=3).for_each(|n| log.send((name.clone(), n)).unwrap());
//! };
//! let left = Process::spawn(report, (path.clone(), "left".to_string()))?;
//! let right = Process::spawn(report, (path.clone(), "right".to_string()))?;
//!
//! let mut log: Reader<(String, u32)> = fifo.lasting_reader()?;
//! let mut sums = [0, 0];
//! for _ in 0..6 {
//!     let (name, n) = log.recv()?;
//!     sums[usize::from(name == "right")] += n;
//! }
//! assert_eq!(sums, [6, 6]);
//! left.join()?;
//! right.join()?;
//! # Ok(()) }
//! ```
//!
//! | | for |
//! |---|---|
//! | [`Fifo`] | the name: made, found, taken over from the dead, removed |
//! | [`Writer`], [`Reader`] | typed messages of any number of writers to one reader |
//! | [`Fifo::read_end`], [`Fifo::write_end`] | plain files: bytes, for any other program |
//! | [`connect`] | two FIFOs as a two-way [`Connection`] between two processes |
//! | [`Scope`] | names that are removed also when the process is killed |
//!
//! Start at [`Fifo`]. Calls that wait come in threes: [`reader`](Fifo::reader) waits, [`try_reader`](Fifo::try_reader) does not,
//! [`reader_timeout`](Fifo::reader_timeout) not for longer.
//!
//! Not here: handles in messages, or who is at the other end ([`ipc-socket`](../ipc_socket/index.html)); related processes
//! ([`ipc-pipe`](../ipc_pipe/index.html)); many readers, or messages that outlive their reader ([`ipc-queue`](../ipc_queue/index.html)); names of
//! memory ([`ipc-shm`](../ipc_shm/index.html)). Processes and [`Connection`] are described in [`ipc-core`](ipc_core).
//!
//! # When a process dies
//!
//! It may be killed at any instruction. **A writer**: what it had sent arrives; a long message that it was just sending is
//! [`Error::Torn`] at the reader, as soon as it is known, and no other writer's is touched. **The reader**: writers that wait go on with
//! [`Error::Disconnected`], and can send again when there is a new one, which begins with a whole message. **The owner** of the name: the
//! next who creates it takes it over, and with it all who have it open. A process that is stopped (SIGSTOP) holds up nobody but those
//! who wait for it, and calls with a time-out keep their time.
//!
//! What a FIFO cannot do is keep what nobody reads: a message that was sent and not yet read is lost when both ends are closed, or with the
//! reader that had just read it.
//!
//! # Examples
//!
//! Complete programs, each run by `cargo run --example` and its name:
//!
//! | program | shows | what differs from Python |
//! |---|---|---|
//! | [`fifo_pair`](../../../examples/fifo_pair.rs) | two processes and two FIFOs, one for each direction | typed messages; an end is opened for one direction, so its end is seen |
//! | [`fifo_connection`](../../../examples/fifo_connection.rs) | two FIFOs as one typed connection between programs that know only a folder | both ends are opened at the same time, in any order |
//! | [`fifo_server`](../../../examples/fifo_server.rs) | one FIFO for all requests, and one for each client's answer | none of the clients is waited for |
//! | [`fifo_writers`](../../../examples/fifo_writers.rs) | many writers without a lock; one is killed within a message | also for messages beyond `PIPE_BUF`, which plain writes mix |
//! | [`fifo_scope`](../../../examples/fifo_scope.rs) | the name goes also if its maker is killed | there it stays, and `mkfifo` fails the next time |
//! | [`fifo_shell`](../../../examples/fifo_shell.rs) | the shell and its tools at the other end | bytes as there; a typed reader says how many were no message |
//!
//! # From Python
//!
//! | `os` | here |
//! |---|---|
//! | `mkfifo(path, mode)` | [`Fifo::create`], [`Fifo::open_or_create`], also without the umask |
//! | `open(path, O_RDONLY)` | [`Fifo::reader`], or [`Fifo::read_end`] for bytes |
//! | `open(path, O_RDONLY \| O_NONBLOCK)` | [`Fifo::try_reader`], which says if there is no writer |
//! | `open(path, O_WRONLY)` | [`Fifo::writer`], or [`Fifo::write_end`] for bytes |
//! | `open(path, O_WRONLY \| O_NONBLOCK)`, `ENXIO` | [`Fifo::try_writer`], [`Error::WouldBlock`] |
//! | `open(path, O_RDWR)` | [`Fifo::lasting_reader`] |
//! | `read(fd, n)`, `b""` at the end | [`Reader::recv`], [`Error::Disconnected`] |
//! | `write(fd, data)`, `BrokenPipeError` | [`Writer::send`], [`Error::Disconnected`] |
//! | `select.select([fd], [], [], timeout)` | [`Reader::poll`], [`wait`] |
//! | `unlink(path)` | dropping the [`Fifo`] that has made it; [`Fifo::unlink`] |
//! | `multiprocessing.connection.Connection(fd)` | [`connect`]; or [`Sender`], [`Receiver`] of a plain file |
//!
//! # On the wire
//!
//! Every write(2) of a [`Writer`] is a record of at most 4,096 bytes (`PIPE_BUF`): 48 bytes of header, little endian, and up to 4,048 bytes of a
//! message. The header: `B5 66 66 01`; the length of what follows, `u16`; zero, `u16`; the number of the message, as the writer counts, `u64`;
//! the writer, random and not 0 and below 2⁶³, `u64`; where in the message the bytes belong, `u64`; the length of the message, `u64`; zero,
//! `u32`; the CRC-32 of the 44 bytes before, `u32`. A writer keeps a write lock (`F_OFD_SETLK`) on the byte of its own number in the FIFO:
//! it lives as long as that is locked.
//!
//! # Limits
//!
//! Local file systems only. At most 256 unfinished messages at once: of more, the oldest is torn. A process that has restored the default
//! action of SIGPIPE, which Rust programs do not by themselves, is ended by that signal when it sends to nobody. Who may write the
//! FIFO may fill it with what it likes, and is trusted not to write in another writer's name. Who may only read it can lock it: by locks on
//! all of it no [`Writer`] can be opened, and nobody can [`connect`], as long as they last; so let nobody read whom you do not trust with
//! that. The same with the folder, and who has the names in it: see [`Fifo`].
#![deny(unsafe_code)] // allowed again in sys.rs

#[doc(hidden)] // for fuzzing
pub mod assembly;
mod connect;
mod end;
mod error;
mod fifo;
mod name;
mod open;
mod pairing;
mod reader;
#[doc(hidden)] // for fuzzing, and for tests that write records themselves
pub mod record;
mod scope;
mod sys;
mod writer;

pub use ipc_core::{
    Builder, Bytes, Child, CodecError, Connection, Decode, Encode, JoinError, Plain, Postcard, Process, Receiver,
    Sender, Waitable, wait,
};

pub use crate::{
    connect::{connect, connect_timeout, try_connect},
    error::{Error, Result},
    fifo::Fifo,
    reader::{Iter, Reader},
    scope::Scope,
    writer::Writer,
};
