//! The public interface, within one process; what needs several is in the package `tests`.

mod accepting;
mod addresses;
mod keys;
mod names;

use std::thread::{self, JoinHandle};
use std::time::Duration;

use ipc_socket::{Address, Bytes, Client, ClientBuilder, Connection, Error, Listener};

/// Long enough for a loaded machine.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

type Plain = Connection<Vec<u8>, Vec<u8>, Bytes>;
type Server = Listener<Vec<u8>, Vec<u8>, Bytes>;

/// Addresses of all kinds, free ones.
const EVERYWHERE: [&str; 4] = ["unix:", "unix-abstract:", "tcp:127.0.0.1:0", "tcp:[::1]:0"];

/// Connects in a thread, and tries what the connection is good for.
fn client(builder: ClientBuilder, address: &Address) -> JoinHandle<Result<Vec<u8>, Error>> {
    let address = address.clone();
    thread::spawn(move || {
        let mut conn: Plain = builder.connect_timeout(address, LONG)?;
        conn.send(b"ping".to_vec()).unwrap();
        Ok(conn.recv_timeout(LONG).unwrap())
    })
}

/// Answers one client.
fn serve(listener: &Server) {
    let mut conn = listener.accept_timeout(LONG).unwrap();
    assert_eq!(conn.recv_timeout(LONG).unwrap(), b"ping");
    conn.send(b"pong".to_vec()).unwrap();
}

fn keyed(key: &[u8]) -> ClientBuilder {
    Client::builder().authkey(key)
}
