//! What every `ipc-*` crate stands on: typed processes, connections between them, and handles inside messages.
//!
//! ```
//! use ipc_core::Process;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A function of this program, run by another process.
//! let child = Process::spawn(|text: String| text.to_uppercase(), "shout".to_string())?;
//! assert_eq!(child.join()?, "SHOUT");
//! # Ok(()) }
//! ```
//!
//! - **Processes**: [`Process::spawn`] starts one, [`Builder`] says how, [`scope`] waits for all of a block, [`JoinError`] tells how
//!   one ended that did not return.
//! - **Connections**: a [`Connection`] sends and receives typed messages over a stream, its halves are [`Sender`] and
//!   [`Receiver`]; a codec ([`Postcard`], [`Bytes`], [`Plain`], or one's own) turns values into bytes. `ipc-pipe` makes them.
//! - **Handles**: a [`Handle`] is a descriptor that can be part of any value; so can a connection.
//! - **Shared memory**: a [`Segment`], who has it ([`Participant`]), and what the crates of the mechanisms put there ([`Shared`]).
//! - **Waiting**: [`wait`] for several things at once; a [`Deadline`] bounds a call.
//!
//! Start at [`Process::spawn`], then at [`Connection`]. [`Error`] tells what can go wrong before a process runs and on a connection,
//! [`JoinError`] how a process ended. Calls that wait come in threes: `recv` waits, `try_recv` does not, `recv_timeout` not for longer.
//!
//! Not here, but in the crates that stand on this one: pipes ([`ipc-pipe`](../ipc_pipe/index.html)), FIFOs
//! ([`ipc-fifo`](../ipc_fifo/index.html)), sockets ([`ipc-socket`](../ipc_socket/index.html)), locks ([`ipc-sync`](../ipc_sync/index.html)),
//! shared numbers and arrays ([`ipc-shm`](../ipc_shm/index.html)), queues ([`ipc-queue`](../ipc_queue/index.html)), objects in a server
//! process ([`ipc-manager`](../ipc_manager/index.html)), channels with choice ([`ipc-csp`](../ipc_csp/index.html)).
//!
//! # When a process dies
//!
//! Whoever waits for it goes on: a receiver gets what the dead process had sent, then [`Error::Disconnected`], or
//! [`Error::Truncated`] if it was killed while it wrote; a sender gets [`Error::Disconnected`]; [`Process::join`] says which signal it
//! was. All this happens once the kernel has closed its descriptors, which it does after it has freed its memory (some 75 ms
//! per GiB) and written a core dump, if there is one ([`Builder::core_dumps`]). What the process held is closed with it.
//! No names or files stay, but those of named segments (feature `named`), which the next one of that name takes over.
//!
//! # Examples
//!
//! Complete programs, each run by `cargo run --example` and its name:
//!
//! | program | shows | what differs from Python |
//! |---|---|---|
//! | [`process_hello`](../../../examples/process_hello.rs) | a function runs in another process, and says who it is | its result comes from `join`, with its type |
//! | [`process_globals`](../../../examples/process_globals.rs) | a `static` that a child changes is unchanged in its parent | the child begins with what it is at the start of the program, as with Python's `spawn`, and not with a copy of the parent's, as with `fork` |
//! | [`process_endings`](../../../examples/process_endings.rs) | return, error, panic, exit code, signal | `join` tells them apart, with what the panic said; Python has `exitcode`, and prints the traceback |
//! | [`process_crash`](../../../examples/process_crash.rs) | a process is killed within a message | an error, and never a wait for what does not come: nobody else has a copy of its end |
//! | [`process_timeout`](../../../examples/process_timeout.rs) | `join_timeout` gives up waiting, and the process runs on | the time-out is an error; Python's `join` returns `None` either way |
//! | [`process_scope`](../../../examples/process_scope.rs) | several workers share a task | at the end of a block all have ended, also after an error in it |
//! | [`process_plugins`](../../../examples/process_plugins.rs) | a program of use: a host whose plug-ins may panic, abort or hang | `join` says which it was; Python's parent sees an exit code |
//! | [`process_daemon`](../../../examples/process_daemon.rs) | a daemon ends with the process that started it | also if that is killed; other children are not waited for |
//!
//! # From Python
//!
//! | `multiprocessing` | here |
//! |---|---|
//! | `Process(target=f, args=a).start()` | [`Process::spawn`]`(f, a)`; always as with the start method `spawn` |
//! | `p.join()`, `p.join(timeout)` | [`Process::join`], [`Process::join_timeout`], which return what `f` returned |
//! | `p.exitcode`, `p.is_alive()`, `p.sentinel` | [`Child::exit_status`], [`Child::is_alive`], [`Child::sentinel`] |
//! | `p.terminate()`, `p.kill()`, `p.interrupt()` | [`Child::terminate`], [`Child::kill`], [`Child::interrupt`] |
//! | `p.pid`, `p.ident`, `p.name`, `p.daemon` | [`Child::pid`], [`Child::name`], [`Child::is_daemon`] |
//! | `p.close()` | dropping it |
//! | `Process(name=, daemon=)` | [`Builder::name`], [`Builder::daemon`] |
//! | `current_process`, `parent_process`, `active_children` | [`current_process`], [`parent_process`], [`active_children`] |
//! | `freeze_support()` | nothing; [`init`] without the feature `auto-init` |
//! | `Connection(fd)`, `conn.fileno()`, `conn.close()` | [`Connection`]`::try_from(fd)`, `as_fd` or [`into_fd`](Connection::into_fd), dropping it |
//! | `conn.send`, `recv`, `send_bytes`, `recv_bytes`, `recv_bytes_into`, `poll` | the same on [`Connection`] |
//! | `conn.recv_bytes(maxlength)` | [`Connection::set_max_message`] |
//! | `EOFError`, `BrokenPipeError`; `OSError` within a message | [`Error::Disconnected`]; [`Error::Truncated`] |
//! | `connection.wait` | [`wait`] |
//! | `reduction.send_handle`, `DupFd` | a [`Handle`] in the message |
//!
//! # Limits
//!
//! Linux 5.10 or newer with glibc 2.31 or newer, on x86-64 and aarch64. Spawned functions need the program's own file: not a plug-in in a
//! foreign program, not a program started through the dynamic loader or with set-user-ID; each gives a clear error.
#![deny(unsafe_code)] // allowed again in sys.rs, raw.rs and spawn/{constructor,entry,image}.rs

#[cfg(not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("ipc-core supports Linux with glibc on x86-64 and aarch64 only");

mod codec;
mod complaint;
mod connection;
#[doc(hidden)]
pub mod crash;
mod deadline;
mod endpoint;
mod error;
mod folder;
mod frame;
mod handle;
mod inbox;
mod limit;
#[cfg_attr(not(feature = "named"), path = "unnamed.rs")]
mod named;
#[cfg(feature = "named")]
mod names;
mod object;
mod participant;
mod raw;
mod receiver;
mod role;
mod segment;
mod sender;
mod shim;
mod sparse;
mod spawn;
mod sys;
mod wait;

/// The longest message, in bytes, unless another limit is set: 1 GiB.
pub const MAX_MESSAGE: u64 = 1 << 30;

#[doc(hidden)]
pub use crate::folder::{Folder, FolderGuard, MARK};
pub use crate::{
    codec::{Bytes, CodecError, Decode, Encode, Plain, Postcard},
    connection::Connection,
    deadline::Deadline,
    error::{Error, Result},
    handle::Handle,
    limit::{Budget, Limited},
    object::Local,
    participant::Participant,
    raw::{Ring, Shared, View},
    receiver::{Iter, Receiver},
    role::{Role, Roles},
    segment::Segment,
    sender::Sender,
    sparse::Layout,
    spawn::{
        Builder, Child, CurrentProcess, JoinError, ParentProcess, Process, Scope, Stdio, active_children,
        current_process, init, parent_process, scope,
    },
    wait::{Waitable, wait},
};
#[doc(hidden)]
pub use crate::{complaint::explain, handle::takes_handles, handle::without_handles, raw::prefetch, raw::process_id};
#[cfg(feature = "named")]
pub use crate::{named::Ownership, names::NameScope};
