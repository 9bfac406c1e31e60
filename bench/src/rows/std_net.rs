//! The standard library's `UnixStream` and `TcpStream`: bytes of a length that both ends know, and nobody shows a key.

use std::env::temp_dir;
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process;

use bytemuck::Pod;

use super::{Goal, Row};
use crate::failure::Outcome;
use crate::fairness::{self, Server, serve_with_threads};
use crate::groups::{SOCKET_1000, SOCKET_1000_RATE, SOCKET_CONNECT, SOCKET_PING_PONG, SOCKET_PING_PONG_TCP};
use crate::network::{self, Network, ping_pong};
use crate::visitors;

const ECHO: &str = "UnixStream: write_all, read_exact";
const THREADS: &str = "UnixListener: a thread for each client";

pub(crate) const ROWS: &[Row] = &[
    Row { group: &SOCKET_PING_PONG, name: ECHO, goal: Goal::Reference, measure: ping_pong::<Unix> },
    Row {
        group: &SOCKET_PING_PONG_TCP,
        name: "TcpStream: write_all, read_exact",
        goal: Goal::Reference,
        measure: ping_pong::<Tcp>,
    },
    Row {
        group: &SOCKET_CONNECT,
        name: "UnixListener, UnixStream, without a key",
        goal: Goal::Reference,
        measure: visitors::rate::<Unix>,
    },
    Row { group: &SOCKET_1000, name: THREADS, goal: Goal::Look, measure: fairness::slowest::<Unix> },
    Row { group: &SOCKET_1000_RATE, name: THREADS, goal: Goal::Reference, measure: fairness::rate::<Unix> },
];

pub(crate) struct Unix;

/// What listens at a path, which goes with it.
pub(crate) struct AtPath<L> {
    listener: L,
    path: PathBuf,
}

impl<L> AtPath<L> {
    pub(super) fn listen<E>(listen: impl FnOnce(&str) -> Result<L, E>) -> Result<(AtPath<L>, String), E> {
        // A process listens at one address at a time.
        let path = temp_dir().join(format!("ipc-bench-{}.sock", process::id()));
        let address = path.to_string_lossy().into_owned();
        let listener = listen(&address)?;
        Ok((AtPath { listener, path }, address))
    }
}

impl<L> Deref for AtPath<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.listener
    }
}

impl<L> Drop for AtPath<L> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl<M: Pod> Network<M> for Unix {
    type Listener = AtPath<UnixListener>;
    type Connection = UnixStream;

    fn listen() -> Outcome<(AtPath<UnixListener>, String)> {
        Ok(AtPath::listen(|path| UnixListener::bind(path))?)
    }

    fn accept(listener: &AtPath<UnixListener>) -> Outcome<UnixStream> {
        Ok(listener.accept()?.0)
    }

    fn connect(address: &str) -> Outcome<UnixStream> {
        Ok(UnixStream::connect(address)?)
    }

    #[inline(always)]
    fn send(connection: &mut UnixStream, message: &M) -> Outcome<()> {
        network::send_bytes(connection, message)
    }

    #[inline(always)]
    fn receive(connection: &mut UnixStream) -> Outcome<Option<M>> {
        network::receive_bytes(connection)
    }
}

impl Server for Unix {
    type Net = Unix;

    fn serve(listener: AtPath<UnixListener>, all_in: impl FnOnce()) -> Outcome<()> {
        serve_with_threads::<Unix>(&listener, all_in)
    }
}

struct Tcp;

impl<M: Pod> Network<M> for Tcp {
    type Listener = TcpListener;
    type Connection = TcpStream;

    fn listen() -> Outcome<(TcpListener, String)> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?.to_string();
        Ok((listener, address))
    }

    fn accept(listener: &TcpListener) -> Outcome<TcpStream> {
        at_once(listener.accept()?.0)
    }

    fn connect(address: &str) -> Outcome<TcpStream> {
        at_once(TcpStream::connect(address)?)
    }

    #[inline(always)]
    fn send(connection: &mut TcpStream, message: &M) -> Outcome<()> {
        network::send_bytes(connection, message)
    }

    #[inline(always)]
    fn receive(connection: &mut TcpStream) -> Outcome<Option<M>> {
        network::receive_bytes(connection)
    }
}

/// A connection that does not keep small messages back, as ours do not.
fn at_once(stream: TcpStream) -> Outcome<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}
