//! A pair of sockets under std's `BufWriter` and `BufReader`: what one would write by hand for a stream of many small messages.

use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use ipc_core::Handle;

use super::raw_socket::pair;
use super::{Goal, Row};
use crate::failure::Outcome;
use crate::groups::{ONE_WAY, QUEUE_BATCH, QUEUE_STRUCT};
use crate::message::{Record, Words};
use crate::transfer::{Line, rate};

pub(super) const NAME: &str = "socketpair with 64 KiB buffers of std";

pub(crate) const ROWS: &[Row] = &[
    Row { group: &ONE_WAY, name: NAME, goal: Goal::Look, measure: |plan| rate::<Buffered, Words>(plan, 64) },
    Row { group: &QUEUE_BATCH, name: NAME, goal: Goal::Look, measure: |plan| rate::<Buffered, Words>(plan, 64) },
    Row {
        group: &QUEUE_STRUCT,
        name: NAME,
        goal: Goal::Look,
        measure: |plan| rate::<Buffered, Record>(plan, Record::LEN),
    },
];

struct Buffered;

const BUFFER: usize = 64 * 1024;

/// Without flushing what nobody will read.
struct Writer(Option<BufWriter<UnixStream>>);

impl Writer {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> Outcome<bool> {
        match self.0.as_mut().map_or(Ok(()), |stream| stream.write_all(bytes)) {
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.0.take().map(BufWriter::into_parts));
    }
}

fn sender(socket: Handle) -> Outcome<Writer> {
    Ok(Writer(Some(BufWriter::with_capacity(BUFFER, UnixStream::from(socket.into_fd()?)))))
}

fn receiver(socket: Handle) -> Outcome<BufReader<UnixStream>> {
    Ok(BufReader::with_capacity(BUFFER, UnixStream::from(socket.into_fd()?)))
}

impl Line<Words> for Buffered {
    type Entrance = Handle;
    type Exit = Handle;
    type Sender = Writer;
    type Receiver = BufReader<UnixStream>;

    fn new(_: usize) -> Outcome<(Handle, Handle)> {
        pair()
    }

    fn sender(entrance: Handle) -> Outcome<Writer> {
        sender(entrance)
    }

    fn receiver(exit: Handle) -> Outcome<BufReader<UnixStream>> {
        receiver(exit)
    }

    #[inline(always)]
    fn send(sender: &mut Writer, message: &Words) -> Outcome<bool> {
        sender.write(bytemuck::bytes_of(message))
    }

    #[inline(always)]
    fn receive(receiver: &mut BufReader<UnixStream>, look: impl FnOnce(&Words) -> Outcome<()>) -> Outcome<()> {
        let mut message = [0; 8];
        receiver.read_exact(bytemuck::bytes_of_mut(&mut message))?;
        look(&message)
    }
}

/// In postcard, behind its length.
impl Line<Record> for Buffered {
    type Entrance = Handle;
    type Exit = Handle;
    type Sender = Writer;
    type Receiver = (BufReader<UnixStream>, Vec<u8>);

    fn new(_: usize) -> Outcome<(Handle, Handle)> {
        pair()
    }

    fn sender(entrance: Handle) -> Outcome<Writer> {
        sender(entrance)
    }

    fn receiver(exit: Handle) -> Outcome<(BufReader<UnixStream>, Vec<u8>)> {
        Ok((receiver(exit)?, Vec::new()))
    }

    #[inline(always)]
    fn send(sender: &mut Writer, message: &Record) -> Outcome<bool> {
        let mut frame = [0; 4 + Record::LEN];
        let len = postcard::to_slice(message, &mut frame[4..])?.len();
        frame[..4].copy_from_slice(&(len as u32).to_le_bytes());
        sender.write(&frame[..4 + len])
    }

    #[inline(always)]
    fn receive(
        (stream, message): &mut (BufReader<UnixStream>, Vec<u8>),
        look: impl FnOnce(&Record) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut len = [0; 4];
        stream.read_exact(&mut len)?;
        message.resize(u32::from_le_bytes(len) as usize, 0);
        stream.read_exact(message)?;
        look(&postcard::from_bytes(message)?)
    }
}
