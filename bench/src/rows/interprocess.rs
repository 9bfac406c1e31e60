//! The crate `interprocess`: its local sockets, which carry bytes.

use bytemuck::Pod;
use interprocess::local_socket::traits::{Listener as _, Stream as _};
use interprocess::local_socket::{GenericFilePath, Listener, ListenerOptions, Stream, ToFsName};

use super::std_net::AtPath;
use super::{Goal, Row};
use crate::failure::Outcome;
use crate::groups::{SOCKET_CONNECT, SOCKET_PING_PONG};
use crate::network::{self, Network, ping_pong};
use crate::visitors;

pub(crate) const ROWS: &[Row] = &[
    Row {
        group: &SOCKET_PING_PONG,
        name: "interprocess: write_all, read_exact",
        goal: Goal::Look,
        measure: ping_pong::<Local>,
    },
    Row {
        group: &SOCKET_CONNECT,
        name: "interprocess: Listener, Stream, without a key",
        goal: Goal::Look,
        measure: visitors::rate::<Local>,
    },
];

struct Local;

impl<M: Pod> Network<M> for Local {
    type Listener = AtPath<Listener>;
    type Connection = Stream;

    fn listen() -> Outcome<(AtPath<Listener>, String)> {
        let listen = |path: &str| {
            let name = path.to_fs_name::<GenericFilePath>()?;
            ListenerOptions::new().name(name).reclaim_name(false).create_sync()
        };
        Ok(AtPath::listen(listen)?)
    }

    fn accept(listener: &AtPath<Listener>) -> Outcome<Stream> {
        Ok(listener.accept()?)
    }

    fn connect(address: &str) -> Outcome<Stream> {
        Ok(Stream::connect(address.to_fs_name::<GenericFilePath>()?)?)
    }

    #[inline(always)]
    fn send(connection: &mut Stream, message: &M) -> Outcome<()> {
        network::send_bytes(connection, message)
    }

    #[inline(always)]
    fn receive(connection: &mut Stream) -> Outcome<Option<M>> {
        network::receive_bytes(connection)
    }
}
