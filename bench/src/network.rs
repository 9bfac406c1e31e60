//! Connections that begin with an address: a server listens, clients connect; whoever carries them.

use std::io::{Read, Write};

use bytemuck::Pod;
use ipc_core::Handle;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::message::{Checker, Words, words};
use crate::plan::Plan;
use crate::window::Window;

/// A kind of connections for messages `M`, in both directions.
pub(crate) trait Network<M>: 'static {
    type Listener;
    type Connection;

    /// Listens at a free address, and says at which.
    fn listen() -> Outcome<(Self::Listener, String)>;

    fn accept(listener: &Self::Listener) -> Outcome<Self::Connection>;

    fn connect(address: &str) -> Outcome<Self::Connection>;

    /// Always inlined, as `receive`.
    fn send(connection: &mut Self::Connection, message: &M) -> Outcome<()>;

    /// `None` if the other end has closed the connection.
    fn receive(connection: &mut Self::Connection) -> Outcome<Option<M>>;
}

/// With this a server tells so many clients where it is, ...
#[derive(Serialize, Deserialize)]
pub(crate) struct Sign(Vec<Handle>);

/// ... and with one of these each finds it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Search(Handle);

pub(crate) fn meeting(clients: usize) -> Outcome<(Sign, Vec<Search>)> {
    let pipes = (0..clients).map(|_| pipe2(OFlag::O_CLOEXEC)).collect::<nix::Result<Vec<_>>>()?;
    let (searches, sign) = pipes.into_iter().map(|(reading, writing)| (Search(reading.into()), writing.into())).unzip();
    Ok((Sign(sign), searches))
}

impl Sign {
    pub(crate) fn put_up(self, address: &str) -> Outcome<()> {
        self.0.iter().try_for_each(|client| Ok(write(client, address.as_bytes()).map(drop)?))
    }
}

impl Search {
    pub(crate) fn address(self) -> Outcome<String> {
        let mut address = [0; 256];
        match read(&self.0, &mut address)? {
            0 => Err(Failure::new("the server did not come to listen")),
            len => Ok(String::from_utf8_lossy(&address[..len]).into_owned()),
        }
    }
}

/// Nanoseconds for a round trip.
pub(crate) fn ping_pong<N: Network<Words>>(plan: &Plan) -> Outcome<f64> {
    let (sign, mut searches) = meeting(1)?;
    plan.pair(
        |(window, sign): (Window, Sign)| {
            let (listener, address) = N::listen()?;
            sign.put_up(&address)?;
            let mut conn = N::accept(&listener)?;
            let (mut n, mut answers) = (0, Checker::default());
            let timed = window.time(64, || {
                N::send(&mut conn, &words(n))?;
                n += 1;
                match N::receive(&mut conn)? {
                    Some(answer) => answers.check_words(&answer),
                    None => Err(Failure::new("the client is gone")),
                }
            })?;
            Ok(timed.nanoseconds_each())
        },
        sign,
        |search: Search| {
            let mut conn = N::connect(&search.address()?)?;
            while let Some(message) = N::receive(&mut conn)? {
                N::send(&mut conn, &message)?;
            }
            Ok(())
        },
        searches.remove(0),
    )
}

/// Sends the bytes of a message and nothing else.
#[inline(always)]
pub(crate) fn send_bytes(mut stream: impl Write, message: &impl Pod) -> Outcome<()> {
    Ok(stream.write_all(bytemuck::bytes_of(message))?)
}

/// Receives as many bytes as a message has.
#[inline(always)]
pub(crate) fn receive_bytes<M: Pod>(mut stream: impl Read) -> Outcome<Option<M>> {
    let mut message = M::zeroed();
    let bytes = bytemuck::bytes_of_mut(&mut message);
    match stream.read(bytes)? {
        0 => Ok(None),
        len => {
            stream.read_exact(&mut bytes[len..])?;
            Ok(Some(message))
        }
    }
}
