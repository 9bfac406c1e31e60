//! Ours: `ipc_socket`, typed connections that begin with an address and, if wanted, with a key.

use std::marker::PhantomData;
use std::time::Duration;

use bytemuck::Pod;
use ipc_core::Waitable;
use ipc_socket::{
    Bytes, Client, ClientBuilder, Connection, Decode, Encode, Listener, ListenerBuilder, Plain, Postcard, wait,
};

use super::{Goal, Row};
use crate::failure::{Failure, Outcome};
use crate::fairness::{self, CLIENTS, Server, serve_with_threads};
use crate::groups::{SOCKET_1000, SOCKET_1000_RATE, SOCKET_CONNECT, SOCKET_PING_PONG, SOCKET_PING_PONG_TCP};
use crate::message::Words;
use crate::network::{Network, ping_pong};
use crate::visitors;

const TYPED: &str = "ipc-socket: send, recv of [u64; 8]";
const PLAIN: &str = "ipc-socket: send, recv of [u64; 8], codec Plain";
const BYTES: &str = "ipc-socket: send_bytes, recv_bytes_into";
const WAIT: &str = "ipc-socket: one thread and wait";
const THREADS: &str = "ipc-socket: a thread for each client";

pub(crate) const ROWS: &[Row] = &[
    Row { group: &SOCKET_PING_PONG, name: TYPED, goal: Goal::AtMost(1.1), measure: ping_pong::<Typed<UNIX>> },
    Row { group: &SOCKET_PING_PONG, name: PLAIN, goal: Goal::AtMost(1.1), measure: ping_pong::<Typed<UNIX, Plain>> },
    Row { group: &SOCKET_PING_PONG, name: BYTES, goal: Goal::AtMost(1.1), measure: ping_pong::<AsBytes<UNIX>> },
    Row { group: &SOCKET_PING_PONG_TCP, name: TYPED, goal: Goal::AtMost(1.1), measure: ping_pong::<Typed<TCP>> },
    Row { group: &SOCKET_PING_PONG_TCP, name: PLAIN, goal: Goal::AtMost(1.1), measure: ping_pong::<Typed<TCP, Plain>> },
    Row { group: &SOCKET_PING_PONG_TCP, name: BYTES, goal: Goal::AtMost(1.1), measure: ping_pong::<AsBytes<TCP>> },
    Row {
        group: &SOCKET_CONNECT,
        name: "ipc-socket: Listener, Client, without a key",
        goal: Goal::Look,
        measure: visitors::rate::<Typed<UNIX>>,
    },
    Row {
        group: &SOCKET_CONNECT,
        name: "ipc-socket: Listener, Client, with a key",
        goal: Goal::MedianAtLeast(5_000.0),
        measure: visitors::rate::<Typed<UNIX_WITH_KEY>>,
    },
    Row { group: &SOCKET_1000, name: WAIT, goal: Goal::MedianAtMost(3.0), measure: fairness::slowest::<OneThread> },
    Row { group: &SOCKET_1000, name: THREADS, goal: Goal::MedianAtMost(3.0), measure: fairness::slowest::<Threads> },
    Row { group: &SOCKET_1000_RATE, name: WAIT, goal: Goal::Look, measure: fairness::rate::<OneThread> },
    Row { group: &SOCKET_1000_RATE, name: THREADS, goal: Goal::Look, measure: fairness::rate::<Threads> },
];

const KEY: &[u8] = b"the key of the benchmark";

// What connections there are.
const UNIX: u8 = 0;
const TCP: u8 = 1;
const UNIX_WITH_KEY: u8 = 2;

fn address(kind: u8) -> &'static str {
    if kind == TCP { "tcp:127.0.0.1:0" } else { "unix:" }
}

fn listener(kind: u8) -> ListenerBuilder {
    if kind == UNIX_WITH_KEY { Listener::builder().authkey(KEY) } else { Listener::builder() }
}

fn client(kind: u8) -> ClientBuilder {
    if kind == UNIX_WITH_KEY { Client::builder().authkey(KEY) } else { Client::builder() }
}

/// Messages as values, in a codec.
struct Typed<const KIND: u8, C = Postcard>(PhantomData<C>);

impl<M: 'static, const KIND: u8, C: Encode<M> + Decode<M> + 'static> Network<M> for Typed<KIND, C> {
    type Listener = Listener<M, M, C>;
    type Connection = Connection<M, M, C>;

    fn listen() -> Outcome<(Listener<M, M, C>, String)> {
        let listener = listener(KIND).bind(address(KIND))?;
        let address = listener.address().to_string();
        Ok((listener, address))
    }

    fn accept(listener: &Listener<M, M, C>) -> Outcome<Connection<M, M, C>> {
        Ok(listener.accept()?)
    }

    fn connect(address: &str) -> Outcome<Connection<M, M, C>> {
        Ok(client(KIND).connect(address)?)
    }

    #[inline(always)]
    fn send(connection: &mut Connection<M, M, C>, message: &M) -> Outcome<()> {
        Ok(connection.send(message)?)
    }

    #[inline(always)]
    fn receive(connection: &mut Connection<M, M, C>) -> Outcome<Option<M>> {
        match connection.recv() {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.is_disconnected() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Messages as their bytes.
struct AsBytes<const KIND: u8>;

type BytesListener = Listener<Vec<u8>, Vec<u8>, Bytes>;
type BytesConnection = Connection<Vec<u8>, Vec<u8>, Bytes>;

impl<M: Pod, const KIND: u8> Network<M> for AsBytes<KIND> {
    type Listener = BytesListener;
    type Connection = BytesConnection;

    fn listen() -> Outcome<(BytesListener, String)> {
        let listener: BytesListener = listener(KIND).bind(address(KIND))?;
        let address = listener.address().to_string();
        Ok((listener, address))
    }

    fn accept(listener: &BytesListener) -> Outcome<BytesConnection> {
        Ok(listener.accept()?)
    }

    fn connect(address: &str) -> Outcome<BytesConnection> {
        Ok(client(KIND).connect(address)?)
    }

    #[inline(always)]
    fn send(connection: &mut BytesConnection, message: &M) -> Outcome<()> {
        Ok(connection.send_bytes(bytemuck::bytes_of(message))?)
    }

    #[inline(always)]
    fn receive(connection: &mut BytesConnection) -> Outcome<Option<M>> {
        let mut message = M::zeroed();
        match connection.recv_bytes_into(bytemuck::bytes_of_mut(&mut message)) {
            Ok(len) if len == size_of::<M>() => Ok(Some(message)),
            Ok(len) => Err(Failure::new(format!("a message has {len} bytes"))),
            Err(error) if error.is_disconnected() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

struct OneThread;

impl Server for OneThread {
    type Net = Typed<UNIX>;

    fn serve(listener: Listener<Words, Words>, all_in: impl FnOnce()) -> Outcome<()> {
        let (mut clients, mut all_in) = (Vec::<Connection<Words, Words>>::new(), Some(all_in));
        while all_in.is_some() || !clients.is_empty() {
            let mut items: Vec<&dyn Waitable> = vec![&listener];
            items.extend(clients.iter().map(|client| client as &dyn Waitable));
            // From the last, so that who leaves does not move those that are still to be served.
            for position in wait(&items, Duration::MAX)?.into_iter().rev() {
                let Some(i) = position.checked_sub(1) else {
                    clients.push(listener.accept()?);
                    continue;
                };
                match clients[i].recv() {
                    Ok(message) => clients[i].send(message)?,
                    Err(error) if error.is_disconnected() => drop(clients.swap_remove(i)),
                    Err(error) => return Err(error.into()),
                }
            }
            if clients.len() == CLIENTS {
                all_in.take().into_iter().for_each(|all_in| all_in());
            }
        }
        Ok(())
    }
}

struct Threads;

impl Server for Threads {
    type Net = Typed<UNIX>;

    fn serve(listener: Listener<Words, Words>, all_in: impl FnOnce()) -> Outcome<()> {
        serve_with_threads::<Typed<UNIX>>(&listener, all_in)
    }
}
