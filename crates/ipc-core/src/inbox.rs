//! What has arrived on a connection and is not yet received: from bytes and descriptors to messages.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use crate::crash_point;
use crate::endpoint::Arrival;
use crate::error::{Error, Result};
use crate::frame::{self, Head};
use crate::handle::Handle;
use crate::sys::{Descriptors, MAX_DESCRIPTORS};

/// How much is read at once: many small messages in one system call. Longer messages are read into their own memory.
pub(crate) const BUFFER: usize = 64 * 1024;
/// How many packets of descriptors may have come before the messages they belong to. An honest sender needs one.
const MAX_PACKETS: usize = 4;

/// Descriptors, and how many bytes had arrived with those that they came with: their header is among these.
#[derive(Debug)]
struct Packet {
    descriptors: Descriptors,
    until: u64,
}

/// What has arrived and is not yet received.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Empty until first used, then of [`BUFFER`] bytes; `bytes[start..end]` have arrived.
    bytes: Vec<u8>,
    start: usize,
    pub(crate) end: usize,
    /// The length of the message whose header has been read.
    pub(crate) len: Option<u64>,
    /// The beginning of a message too long for `bytes`: `long[..filled]` have arrived.
    pub(crate) long: Vec<u8>,
    pub(crate) filled: usize,
    /// Descriptors that have arrived, by the packet they came in.
    packets: VecDeque<Packet>,
    /// The descriptors of the next message.
    handles: Vec<OwnedFd>,
    /// How many descriptors the headers before the next message have announced.
    announced: usize,
    /// How many bytes have arrived in all.
    received: u64,
    /// Why the stream cannot be read any further.
    broken: Option<&'static str>,
    /// The first message is still to come, and must not be a demand for a key.
    keyless: bool,
}

/// How a server of CPython's `multiprocessing.connection` begins that wants to see a key.
const CHALLENGE: &[u8] = b"#CHALLENGE#";
const LONGEST_CHALLENGE: u64 = 256;

impl Inbox {
    #[inline]
    pub(crate) fn arrived(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.arrived() == 0 && self.len.is_none() && self.announced == 0 && self.packets.is_empty()
    }

    /// The free part of the buffer, which is not empty: a header or message that is incomplete is shorter than it.
    #[inline]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() < BUFFER {
            self.bytes.resize(BUFFER, 0); // on first use
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.arrived());
        }
        &mut self.bytes[self.end..]
    }

    /// Takes the next message out if it lies complete in the buffer, of at most `max` bytes and without handles. That is most
    /// often so, and here it costs next to nothing; in every other case `None`, and the other functions find out what there is.
    #[inline]
    pub(crate) fn pop(&mut self, max: u64) -> Option<&[u8]> {
        let (header, rest) = self.bytes[self.start..self.end].split_first_chunk::<4>()?;
        let len = usize::try_from(i32::from_be_bytes(*header)).ok()?;
        let message = rest.get(..len)?;
        let plain = self.len.is_none() && self.announced == 0 && self.packets.is_empty() && self.broken.is_none();
        if !plain || self.keyless || len as u64 > max {
            return None;
        }
        self.start += 4 + len;
        crash_point!("recv.taken");
        Some(message)
    }

    /// Reads the headers that have arrived, up to that of a message, and returns its length; `None` if more bytes are needed.
    #[inline]
    pub(crate) fn parse(&mut self, max_handles: usize) -> Result<Option<u64>> {
        if let Some(why) = self.broken {
            return Err(Error::Malformed(why));
        }
        while self.len.is_none() {
            let here = self.received - self.arrived() as u64;
            if self.packets.front().is_some_and(|packet| packet.until <= here) {
                return Err(self.broken("descriptors that no header announced"));
            }
            match frame::parse(&self.bytes[self.start..self.end]).map_err(|why| self.broken(why))? {
                None => break,
                Some((Head::Message(len), used)) => {
                    self.start += used;
                    self.len = Some(len);
                }
                Some((Head::Handles(n), used)) => {
                    // The kernel delivers descriptors no later than the first byte they were sent with.
                    match self.packets.pop_front().map(|packet| packet.descriptors) {
                        Some(packet) if packet.fds.len() == n || (packet.truncated && packet.fds.len() < n) => {
                            self.handles.extend(packet.fds);
                        }
                        Some(_) => return Err(self.broken("another number of handles came than was announced")),
                        None => return Err(self.broken("handles are announced but did not come")),
                    }
                    self.start += used;
                    self.announced += n;
                    if self.announced > max_handles {
                        return Err(self.broken("too many handles for one message"));
                    }
                }
            }
        }
        Ok(self.len)
    }

    /// The first message must not be a demand for a key: there is none.
    pub(crate) fn refuse_challenge(&mut self) {
        self.keyless = true;
    }

    /// Whether the next message, of `len` bytes, must be looked at as a whole before anything else is done with it.
    #[inline]
    pub(crate) fn may_be_challenge(&self, len: u64) -> bool {
        self.keyless && len <= LONGEST_CHALLENGE
    }

    /// Looks at the first message, complete by now if it can be a challenge. One stays, as the reason why nothing can be received.
    pub(crate) fn check_first(&mut self, len: u64) -> Result<()> {
        if self.may_be_challenge(len) && self.message(len as usize).starts_with(CHALLENGE) {
            return Err(Error::KeyRequired);
        }
        self.keyless = false;
        Ok(())
    }

    /// Whether no message has been looked at yet.
    #[inline]
    pub(crate) fn is_keyless(&self) -> bool {
        self.keyless
    }

    /// The message of `len` bytes, complete by now, which stays.
    #[inline]
    pub(crate) fn message(&self, len: usize) -> &[u8] {
        if len <= BUFFER { &self.bytes[self.start..self.start + len] } else { &self.long[..len] }
    }

    /// The descriptors of the message, if all have arrived.
    #[inline]
    pub(crate) fn take_handles(&mut self) -> Result<Vec<OwnedFd>> {
        if self.announced == 0 {
            return Ok(Vec::new()); // nearly always
        }
        let (expected, fds) = (std::mem::take(&mut self.announced), std::mem::take(&mut self.handles));
        if fds.len() == expected { Ok(fds) } else { Err(Error::HandlesLost { expected, arrived: fds.len() }) }
    }

    /// Takes the message of `len` bytes out, complete by now.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Cow<'_, [u8]> {
        self.len = None;
        crash_point!("recv.taken");
        if len <= BUFFER {
            self.start += len;
            Cow::Borrowed(&self.bytes[self.start - len..self.start])
        } else {
            self.filled = 0;
            let mut message = std::mem::take(&mut self.long);
            message.truncate(len);
            Cow::Owned(message)
        }
    }

    /// Notes that the peer does not keep to the protocol, for ever: what comes next would be read at the wrong place.
    fn broken(&mut self, why: &'static str) -> Error {
        self.broken = Some(why);
        Error::Malformed(why)
    }

    /// Moves the beginning of a long message out of the buffer.
    pub(crate) fn spill(&mut self, len: usize) {
        if self.filled == 0 {
            let n = self.arrived().min(len);
            self.long = self.bytes[self.start..self.start + n].to_vec();
            self.filled = n;
            self.start += n;
        }
    }

    /// Copies what has arrived of a long message to `buffer` and returns how much that is.
    pub(crate) fn take_long(&mut self, buffer: &mut [u8]) -> usize {
        if self.filled == 0 {
            let n = self.arrived().min(buffer.len());
            buffer[..n].copy_from_slice(&self.bytes[self.start..self.start + n]);
            self.start += n;
            return n;
        }
        buffer[..self.filled].copy_from_slice(&self.long[..self.filled]);
        self.long = Vec::new();
        std::mem::take(&mut self.filled)
    }

    /// The free part of the memory for a message of `len` bytes. It grows with what has arrived: a header alone does not make
    /// this process allocate a gigabyte.
    pub(crate) fn long_room(&mut self, len: usize) -> &mut [u8] {
        if self.filled == self.long.len() {
            self.long.resize((2 * self.filled).clamp(BUFFER, len), 0);
        }
        &mut self.long[self.filled..]
    }

    /// Takes in the descriptors that a read brought, and recognises the end of the stream.
    #[inline]
    pub(crate) fn admit(&mut self, (n, descriptors): Arrival) -> Result<usize> {
        self.received += n as u64;
        if let Some(descriptors) = descriptors {
            if self.packets.len() == MAX_PACKETS {
                return Err(self.broken("descriptors without a message"));
            }
            self.packets.push_back(Packet { descriptors, until: self.received });
            crash_point!("recv.descriptors");
        }
        match n {
            0 => Err(self.end_of_stream()),
            n => {
                crash_point!("recv.bytes");
                Ok(n)
            }
        }
    }

    /// Keeps the beginning of a long message for a later call.
    pub(crate) fn keep_long(&mut self, part: &[u8]) {
        self.long = part.to_vec();
        self.filled = part.len();
    }

    pub(crate) fn end_of_stream(&self) -> Error {
        let arrived = self.arrived() + self.filled;
        match self.len {
            Some(len) => Error::Truncated { missing: len - arrived as u64 },
            None if arrived > 0 || self.announced > 0 => Error::Truncated { missing: 1 },
            None => Error::Disconnected,
        }
    }

    /// Whether a message is complete, or an error certain, without another read; `max` is the longest that is received.
    pub(crate) fn is_ready(&self, max: u64) -> bool {
        if self.broken.is_some() {
            return true;
        }
        let Some(len) = self.len else {
            let mut rest = &self.bytes[self.start..self.end];
            loop {
                match frame::parse(rest) {
                    Err(_) => return true,
                    Ok(None) => return false,
                    Ok(Some((Head::Handles(_), used))) => rest = &rest[used..],
                    Ok(Some((Head::Message(len), used))) => return len > max || (rest.len() - used) as u64 >= len,
                }
            }
        };
        len > max || (self.arrived() + self.filled) as u64 >= len
    }

    /// Everything that is here, as the bytes and packets it came in.
    pub(crate) fn undo(&self) -> Result<(Vec<u8>, Vec<Vec<Handle>>)> {
        if let Some(why) = self.broken {
            return Err(Error::Malformed(why));
        }
        let packets = self.packets.iter().map(|packet| &packet.descriptors);
        let whole = self.handles.len() == self.announced && packets.clone().all(|packet| !packet.truncated);
        if !whole {
            return Err(Error::HandlesLost { expected: self.announced, arrived: self.handles.len() });
        }
        let mut bytes = Vec::new();
        let announced = self.handles.chunks(MAX_DESCRIPTORS);
        announced.clone().for_each(|packet| bytes.extend_from_slice(&frame::handles_header(packet.len())));
        if let Some(len) = self.len {
            bytes.extend_from_slice(frame::header(len as usize).as_bytes());
        }
        bytes.extend_from_slice(&self.long[..self.filled]);
        bytes.extend_from_slice(&self.bytes[self.start..self.end]);
        let duplicate =
            |fds: &[OwnedFd]| fds.iter().map(|fd| fd.try_clone().map(Handle::from)).collect::<io::Result<_>>();
        let packets = announced.chain(packets.map(|packet| &packet.fds[..])).map(duplicate);
        Ok((bytes, packets.collect::<io::Result<_>>().map_err(Error::io("duplicate a descriptor"))?))
    }

    /// The inbox that [`undo`](Inbox::undo) was called on, in the process it was sent to.
    pub(crate) fn redo(bytes: Vec<u8>, packets: Vec<Vec<Handle>>) -> Result<Inbox> {
        let fds = |packet: Vec<Handle>| packet.into_iter().map(Handle::into_fd).collect::<io::Result<_>>();
        let received = bytes.len() as u64;
        let packets = packets.into_iter().map(|packet| {
            Ok(Packet { descriptors: Descriptors { fds: fds(packet)?, truncated: false }, until: received })
        });
        let packets = packets.collect::<io::Result<_>>().map_err(Error::io("duplicate a descriptor"))?;
        Ok(Inbox { end: bytes.len(), bytes, packets, received, ..Inbox::default() })
    }
}
