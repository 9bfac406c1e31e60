//! ipc-channel, the channels between processes that Rust programs use today: one message, one packet of a socket.

use std::io::{self, ErrorKind};

use ipc_channel::IpcError;
use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender};
use ipc_pipe::{Connection, duplex};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Goal, Row};
use crate::failure::{Failure, Outcome};
use crate::groups::{QUEUE_1_1, QUEUE_LATENCY_ASLEEP, QUEUE_STRUCT};
use crate::latency::to_a_sleeper;
use crate::message::{Record, Words};
use crate::transfer::{Line, rate};

pub(super) const BYTES: &str = "ipc-channel: IpcBytesSender";
pub(super) const TYPED: &str = "ipc-channel: IpcSender";

pub(crate) const ROWS: &[Row] = &[
    Row { group: &QUEUE_1_1, name: BYTES, goal: Goal::Look, measure: |plan| rate::<Channel, Words>(plan, 64) },
    Row {
        group: &QUEUE_STRUCT,
        name: TYPED,
        goal: Goal::Look,
        measure: |plan| rate::<Channel, Record>(plan, Record::LEN),
    },
    Row { group: &QUEUE_LATENCY_ASLEEP, name: BYTES, goal: Goal::Look, measure: to_a_sleeper::<Channel> },
];

struct Channel;

/// The ends go through a server of ipc-channel itself, whose name goes through a connection.
type Naming = Connection<String, ()>;
type Named = Connection<(), String>;

impl Line<Words> for Channel {
    type Entrance = Naming;
    type Exit = Named;
    type Sender = IpcBytesSender;
    type Receiver = IpcBytesReceiver;

    fn new(_: usize) -> Outcome<(Naming, Named)> {
        Ok(duplex()?)
    }

    fn sender(entrance: Naming) -> Outcome<IpcBytesSender> {
        sent(entrance)
    }

    fn receiver(exit: Named) -> Outcome<IpcBytesReceiver> {
        let (sender, receiver) = ipc::bytes_channel()?;
        send(exit, sender)?;
        Ok(receiver)
    }

    #[inline(always)]
    fn send(sender: &mut IpcBytesSender, message: &Words) -> Outcome<bool> {
        until_gone(sender.send(bytemuck::bytes_of(message)))
    }

    #[inline(always)]
    fn receive(receiver: &mut IpcBytesReceiver, look: impl FnOnce(&Words) -> Outcome<()>) -> Outcome<()> {
        look(&bytemuck::pod_read_unaligned(&receiver.recv()?))
    }
}

impl Line<Record> for Channel {
    type Entrance = Naming;
    type Exit = Named;
    type Sender = IpcSender<Record>;
    type Receiver = IpcReceiver<Record>;

    fn new(_: usize) -> Outcome<(Naming, Named)> {
        Ok(duplex()?)
    }

    fn sender(entrance: Naming) -> Outcome<IpcSender<Record>> {
        sent(entrance)
    }

    fn receiver(exit: Named) -> Outcome<IpcReceiver<Record>> {
        let (sender, receiver) = ipc::channel()?;
        send(exit, sender)?;
        Ok(receiver)
    }

    #[inline(always)]
    fn send(sender: &mut IpcSender<Record>, message: &Record) -> Outcome<bool> {
        match sender.send(message.clone()) {
            Err(IpcError::Io(error)) => until_gone(Err(error)),
            other => Ok(other.map(|()| true)?),
        }
    }

    #[inline(always)]
    fn receive(receiver: &mut IpcReceiver<Record>, look: impl FnOnce(&Record) -> Outcome<()>) -> Outcome<()> {
        look(&receiver.recv()?)
    }
}

fn sent<S: Serialize + DeserializeOwned>(mut entrance: Naming) -> Outcome<S> {
    let (server, name) = IpcOneShotServer::new()?;
    entrance.send(name)?;
    let (_, sender) = server.accept()?;
    Ok(sender)
}

fn send<S: Serialize>(mut exit: Named, sender: S) -> Outcome<()> {
    IpcSender::connect(exit.recv()?)?.send(sender).map_err(Failure::from)
}

fn until_gone(sent: io::Result<()>) -> Outcome<bool> {
    match sent {
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}
