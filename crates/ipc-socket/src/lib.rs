//! Listeners and clients: connections between processes that are not related, on one machine or several, in Rust or Python.
//!
//! ```
//! use ipc_socket::{Client, Connection, Listener, Process};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The server: sends numbers, receives texts.
//! let listener: Listener<usize, String> = Listener::builder().authkey(b"secret").bind("unix:")?;
//!
//! // A client, which could as well be another program: all it needs is the address and the key.
//! let client = Process::spawn(
//!     |address: String| {
//!         let mut conn: Connection<String, usize> = Client::builder().authkey(b"secret").connect(address).unwrap();
//!         conn.send("how long is this?".to_string()).unwrap();
//!         conn.recv().unwrap()
//!     },
//!     listener.address().to_string(),
//! )?;
//! let mut conn = listener.accept()?;
//! let text = conn.recv()?;
//! conn.send(text.len())?;
//! assert_eq!(client.join()?, 17);
//! # Ok(()) }
//! ```
//!
//! A [`Listener`] is bound to an [`Address`] and accepts clients, a [`Client`] connects. Both give an [`ipc_core::Connection`], which is
//! described there; over a local socket it carries [`Handle`]s and ends of other connections. [`Peer`] tells who is at the other end, [`Allow`] who
//! may be, a key shows both ends that the other one has it.
//!
//! Start at [`Listener`] and [`Client`]; [`Error`] tells why there is no connection, [`ConnectionError`] what can go wrong on one. Calls that wait come
//! in threes: [`accept`](Listener::accept) waits, [`try_accept`](Listener::try_accept) does not, [`accept_timeout`](Listener::accept_timeout) not for longer.
//!
//! Not here: related processes, which need no address ([`ipc-pipe`](../ipc_pipe/index.html)); names for the shell and its tools
//! ([`ipc-fifo`](../ipc_fifo/index.html)); objects that a server keeps for its clients ([`ipc-manager`](../ipc_manager/index.html)); messages that outlive
//! a killed receiver ([`ipc-queue`](../ipc_queue/index.html)).
//!
//! # When a process dies
//!
//! A connection ends as described at [`ipc_core::Connection`]. A server that is killed leaves the file of a `unix:` address, which the next one
//! replaces (never that of a living one), and nothing else. A client that is killed, stopped or silent before it is in holds up nobody: the exchange of keys of
//! all clients goes on at the same time, each has 10 s for it ([`ListenerBuilder::handshake_timeout`]). Another *machine* that is lost is found out
//! after 10 s ([`ListenerBuilder::user_timeout`]), by keep-alive probes and `TCP_USER_TIMEOUT`. Everything that waits has a form with a time-out.
//!
//! # Keys
//!
//! With `authkey`, both ends show that they have the same key, as CPython's do; the key does not cross. It keeps out who has no key. It does *not*
//! hide or protect what is sent afterwards, and challenges and answers can be passed on: somebody in between, or a false server that several clients
//! connect to, can look as if it had the key. So over a network that is not trusted, use it inside a tunnel; on one machine, let clients say
//! [which user](ClientBuilder::allow) the server must be, above all where it has a name that is no file. Up to Python 3.11 only MD5 is spoken;
//! [`ListenerBuilder::refuse_md5`] and [`ClientBuilder::refuse_md5`] refuse it.
//!
//! | | client without key | client with the same key | client with another key |
//! |---|---|---|---|
//! | **listener without key** | connected | [`Error::Silent`] after the handshake's time-out, [`Error::NoChallenge`] if the server speaks first | the same |
//! | **listener with key** | its first receive: [`ConnectionError::KeyRequired`]; here a [`Refusal`] | connected | [`Error::KeyRefused`]; here a [`Refusal`] |
//!
//! An empty key is [`Error::BadKey`] on either side.
//!
//! # Examples
//!
//! Complete programs, each run by `cargo run --example` and its name:
//!
//! | program | shows | what differs from Python |
//! |---|---|---|
//! | [`socket_flow`](../../../examples/socket_flow.rs) | what server and client do, beside the system calls | a message arrives as one; the end is an error with a name |
//! | [`socket_echo`](../../../examples/socket_echo.rs) | one thread serves many clients | none that is slow, endless or deaf keeps the others waiting |
//! | [`socket_tcp`](../../../examples/socket_tcp.rs) | work for another machine | one that is lost is found out after ten seconds |
//! | [`socket_key`](../../../examples/socket_key.rs) | who does not have the key is not let in | neither ends `accept` nor holds it up |
//! | [`socket_restart`](../../../examples/socket_restart.rs) | a server is killed and started again, and its clients come back | the file that it has left is replaced |
//! | [`socket_handles`](../../../examples/socket_handles.rs) | an open file and an end of a pipe go to an unrelated program | they are parts of a message, and not sent beside it |
//! | [`socket_python_worker`](../../../examples/socket_python_worker.rs) | a worker in Python, by its `Client` | bytes cross, as JSON |
//! | [`socket_python_master`](../../../examples/socket_python_master.rs) | a master in Python, by its `Listener` | bytes cross, as JSON |
//! | [`socket_python_pool`](../../../examples/socket_python_pool.rs) | a program of use: several workers of a master in Python, one of which is killed | its `Pool` would wait for ever |
//!
//! # From Python
//!
//! | `multiprocessing.connection` | here |
//! |---|---|
//! | `Listener(address, authkey=k)` | [`Listener::builder`]`().authkey(k).bind(address)` |
//! | `Listener('/tmp/s')`, `('\0name')`, `(('localhost', 5000))` | `unix:/tmp/s`, `unix-abstract:name`, `tcp:localhost:5000` |
//! | `listener.accept()` | [`Listener::accept`], which a bad client does not end; also with a time-out |
//! | `listener.address`, `listener.last_accepted` | [`Listener::address`], [`Peer::of`] the connection |
//! | `Client(address, authkey=k)` | [`Client::builder`]`().authkey(k).connect(address)` |
//! | `conn.send_bytes(b)`, `conn.recv_bytes()` | the same, between Rust and every CPython from 3.6 on |
//! | `conn.send(obj)`, `conn.recv()` | typed between Rust processes; Python's pickles are not read or written: send bytes, as JSON |
//! | `conn.poll(timeout)`, `connection.wait([…])` | [`Connection::poll`], [`wait`], also for a listener |
//! | `listener.close()`, `backlog=1` | dropping it; as many clients may wait as the system allows |
//!
//! # Limits
//!
//! A path or abstract name has at most 107 bytes. Connections over TCP carry no handles. No TLS yet. `/proc` must be there. To connect to a machine that does
//! not answer takes as long as the system tries, about two minutes, unless the call has a time-out. A listener is for the process that has bound
//! it, not for a copy made by a fork.
#![forbid(unsafe_code)]

mod address;
mod arrivals;
mod client;
mod digest;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod listener;
mod local;
mod peer;
mod tcp;

pub use ipc_core::{
    Builder, Bytes, Child, CodecError, Connection, Decode, Encode, Error as ConnectionError, Handle, JoinError, Plain,
    Postcard, Process, Receiver, Sender, Waitable, wait,
};

pub use crate::{
    address::Address,
    client::{Client, ClientBuilder},
    error::{Error, Result},
    listener::{Incoming, Listener, ListenerBuilder, Refusal},
    peer::{Allow, Peer},
};
