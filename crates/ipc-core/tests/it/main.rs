//! The public interface of connections, within one process. What dies and is killed is tested across processes, elsewhere.
#![forbid(unsafe_code)]

mod connection;
mod frames;
mod handles;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use ipc_core::{Connection, Receiver, Sender};

/// Two ends of a local socket.
fn pair<A, B>() -> (Connection<A, B>, Connection<B, A>) {
    let (a, b) = UnixStream::pair().unwrap();
    (OwnedFd::from(a).try_into().unwrap(), OwnedFd::from(b).try_into().unwrap())
}

/// A pipe.
fn pipe<T>() -> (Sender<T>, Receiver<T>) {
    let (read, write) = nix::unistd::pipe().unwrap();
    (write.try_into().unwrap(), read.try_into().unwrap())
}

/// A connection, and its other end as a plain stream.
fn raw<A, B>() -> (Connection<A, B>, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    (OwnedFd::from(a).try_into().unwrap(), b)
}
