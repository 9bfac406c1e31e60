//! Listeners and clients in processes that know no more of each other than an address, and of which some are killed, stopped or hostile.

mod clients;
mod garbage;
mod handles;
mod hosts;
mod servers;
mod users;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use ipc_core::{Connection, Process};
use ipc_socket::{Address, Bytes, Client, ClientBuilder, Error, Listener, ListenerBuilder};
use ipc_tests::{eventually, unique_name};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::other::{Line, Other, until_asleep};

const SHORT: Duration = Duration::from_millis(50);
/// Nothing takes this long, also on a loaded machine, unless it hangs.
const LONG: Duration = Duration::from_secs(20);
/// How long it may take until a death is noticed or somebody is served, with room for a loaded machine.
const SOON: Duration = Duration::from_secs(5);
const KEY: &[u8] = b"what both know";

type Plain = Connection<Vec<u8>, Vec<u8>, Bytes>;
type Server = Listener<Vec<u8>, Vec<u8>, Bytes>;

/// An address of each kind, which nobody else uses.
fn everywhere() -> [Address; 3] {
    [free_path(), Address::abstract_name(unique_name()), free_port()]
}

fn free_path() -> Address {
    Address::unix(std::env::temp_dir().join(unique_name()))
}

fn free_port() -> Address {
    let listener = Server::bind("tcp:127.0.0.1:0").unwrap();
    listener.address().clone()
}

fn with_key() -> ListenerBuilder {
    Listener::builder().authkey(KEY)
}

fn keyed() -> ClientBuilder {
    Client::builder().authkey(KEY)
}

/// The file of the address, if it has one.
fn file(address: &Address) -> Option<&Path> {
    match address {
        Address::Unix(path) => Some(path),
        _ => None,
    }
}

fn inode(address: &Address) -> Option<u64> {
    file(address).map(|path| fs::symlink_metadata(path).unwrap().ino())
}

/// Answers each message with itself, until the other end is gone.
fn echo(mut conn: Plain) {
    while let Ok(message) = conn.recv() {
        if conn.send(message).is_err() {
            return;
        }
    }
}

/// Whether the connection is good for something.
fn talk(conn: &mut Plain) {
    conn.send_timeout(b"to and fro".to_vec(), LONG).unwrap();
    assert_eq!(conn.recv_timeout(LONG).unwrap(), b"to and fro");
}

/// Serves one client that connects meanwhile, and returns how long it waited for that.
fn serve_one(listener: &Server, address: &Address) -> Duration {
    std::thread::scope(|scope| {
        let started = Instant::now();
        let client = scope.spawn(|| talk(&mut keyed().connect_timeout(address, LONG).unwrap()));
        echo(listener.accept_timeout(LONG).unwrap());
        client.join().unwrap();
        started.elapsed()
    })
}

/// A client that does not go by the rules.
enum Raw {
    Local(UnixStream),
    Network(TcpStream),
}

impl Raw {
    fn connect(address: &Address) -> Raw {
        match address {
            Address::Unix(path) => Raw::Local(UnixStream::connect(path).unwrap()),
            Address::Abstract(name) => {
                Raw::Local(UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap())
            }
            Address::Tcp { host, port } => Raw::Network(TcpStream::connect((host.as_str(), *port)).unwrap()),
            other => panic!("{other} is of a new kind"),
        }
    }

    /// Reads one frame of the exchange of keys.
    fn frame(&mut self) -> std::io::Result<Vec<u8>> {
        let mut header = [0; 4];
        self.read_exact(&mut header)?;
        let mut message = vec![0; u32::from_be_bytes(header) as usize];
        self.read_exact(&mut message)?;
        Ok(message)
    }

    /// Reads until the other end closes.
    fn is_closed(&mut self) -> bool {
        let end = std::io::copy(self, &mut std::io::sink());
        end.is_ok() || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    }
}

impl Read for Raw {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Raw::Local(stream) => stream.read(buf),
            Raw::Network(stream) => stream.read(buf),
        }
    }
}

impl Write for Raw {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match self {
            Raw::Local(stream) => stream.write(buf),
            Raw::Network(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A server with a key that answers all, in a process of its own.
fn echo_server(address: &Address) -> Other {
    Other::until(address.clone(), |address: Address, line| {
        let listener: Server = with_key().bind(address).unwrap();
        line.tell();
        loop {
            let conn = listener.accept().unwrap();
            std::thread::spawn(move || echo(conn));
        }
    })
}

/// How many descriptors this process has open.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}
