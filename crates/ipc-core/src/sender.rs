//! The sending half of a connection.

use std::borrow::Borrow;
use std::fmt;
use std::io::IoSlice;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::socket::Shutdown;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::codec::{CodecError, Encode, Postcard};
use crate::deadline::Patience;
use crate::endpoint::{Endpoint, Kind};
use crate::error::{Error, Result};
use crate::frame::{self, HANDLES_HEADER};
use crate::handle::{self, Handle, Outgoing};
use crate::sys::MAX_DESCRIPTORS;
use crate::{Deadline, MAX_MESSAGE, complaint, crash_point};

/// Messages are gathered up to this size before they are written, and larger ones are not copied.
const BATCH: usize = 64 * 1024;
/// A buffer that has grown beyond this is given back when it is empty.
const KEEP: usize = 1024 * 1024;

/// The sending half of a connection: messages of type `T`, encoded by `C`.
///
/// There is one sender for a stream, it takes `&mut self`, and it cannot be cloned: neither two threads nor two processes can
/// mix their bytes on it. Sending it to another process moves it there. For many writers, use a queue.
///
/// Every `send` is one system call for a message up to what fits into the kernel's buffer (about 200 KB on a socket, 64 KiB
/// on a pipe); [`send_many`](Sender::send_many) is one for many messages. They wait while the buffer is full, and fail with
/// [`Error::Disconnected`] once the receiver is gone, also when it is killed while they wait.
///
/// ```
/// use ipc_core::{Process, Receiver, Sender};
/// use std::os::{fd::OwnedFd, unix::net::UnixStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, theirs) = UnixStream::pair()?; // or a pipe, a FIFO, a TCP stream
/// let mut sender: Sender<str> = OwnedFd::from(ours).try_into()?;
/// let receiver: Receiver<String> = OwnedFd::from(theirs).try_into()?;
/// let child = Process::spawn(|mut from: Receiver<String>| from.iter().flatten().collect::<Vec<_>>(), receiver)?;
/// sender.send("one")?;
/// sender.send_many(["two", "three"])?;
/// drop(sender); // the end of the stream
/// assert_eq!(child.join()?, ["one", "two", "three"]);
/// # Ok(()) }
/// ```
///
/// # References
/// unix(7), pipe(7), tcp(7); CPython `multiprocessing.connection.Connection`, of `Pipe(duplex=False)`.
pub struct Sender<T: ?Sized, C = Postcard> {
    endpoint: Endpoint,
    outbox: Outbox,
    max_message: u64,
    /// This end was sent to another process.
    moved: Arc<AtomicBool>,
    /// The descriptor is shared with a receiver: closing it does not end the stream, so dropping this must. In the process of
    /// this pid only: a copy that came about by a fork must not end the stream of the original.
    split: Option<u32>,
    types: PhantomData<fn(&T, C)>,
}

/// Bytes that are to be written, and the handles that go with them.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// Handles with the position of the header that announces them, in order; their packets are written one by one.
    packets: Vec<(usize, Vec<Handle>)>,
}

impl<T: ?Sized, C> Sender<T, C> {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Sender {
            endpoint,
            outbox: Outbox::default(),
            max_message: MAX_MESSAGE,
            moved: Arc::default(),
            split: None,
            types: PhantomData,
        }
    }

    /// Marks the descriptor as shared with the other half.
    pub(crate) fn set_split(&mut self, split: bool) {
        self.split = split.then(std::process::id);
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The longest message that may be sent, in bytes; 1 GiB unless set. The receiver has a limit of its own.
    pub fn set_max_message(&mut self, bytes: u64) {
        self.max_message = bytes;
    }

    /// Sends a message: a `T`, or a `&T` to keep it. Waits while the kernel's buffer is full.
    ///
    /// Handles inside a value that is passed by value move to the receiver; ends of connections move even when passed by
    /// reference, as a stream has one holder at each end: what is left here returns [`Error::Moved`], and is best dropped, as
    /// its descriptor keeps the stream open.
    ///
    /// # Errors
    /// [`Error::Disconnected`] when the receiver is gone; [`Error::Encode`], [`Error::TooLarge`], [`Error::NoHandles`] when
    /// the message cannot be sent on this connection; [`Error::Unfinished`] when the system failed in the middle of it, and then
    /// it arrives after all, with the next call. After any other error nothing of it arrives as a message.
    ///
    /// # References
    /// CPython `multiprocessing.connection.Connection.send`.
    pub fn send(&mut self, message: impl Borrow<T>) -> Result<()>
    where
        C: Encode<T>,
    {
        self.send_by(message.borrow(), Deadline::NEVER)
    }

    /// As [`send`](Sender::send), but does not wait.
    ///
    /// ```
    /// # use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (a, b) = UnixStream::pair()?;
    /// # let mut sender: ipc_core::Sender<u32> = OwnedFd::from(a).try_into()?;
    /// # let mut receiver: ipc_core::Receiver<u32> = OwnedFd::from(b).try_into()?;
    /// let full = (0..).find_map(|n| sender.try_send(n).err()).expect("nobody reads");
    /// assert!(full.is_would_block()); // that number has not been sent
    /// assert_eq!(receiver.recv()?, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::WouldBlock`]: nothing was sent. [`Error::Unfinished`]: a part was, the rest follows with the next call. Else as `send`.
    pub fn try_send(&mut self, message: impl Borrow<T>) -> Result<()>
    where
        C: Encode<T>,
    {
        self.send_by(message.borrow(), Deadline::NOW)
    }

    /// As [`send`](Sender::send), but waits no longer than `timeout`, also while the receiver is stopped.
    ///
    /// # Errors
    /// [`Error::Timeout`]: nothing was sent. [`Error::Unfinished`]: a part was, the rest follows with the next call. Else as `send`.
    pub fn send_timeout(&mut self, message: impl Borrow<T>, timeout: Duration) -> Result<()>
    where
        C: Encode<T>,
    {
        self.send_by(message.borrow(), Deadline::after(timeout))
    }

    /// Sends all of `messages`, in as few system calls as possible: many times as fast as one by one for small ones.
    ///
    /// Returns how many. They are written in batches of 64 KiB, the last one before this returns.
    ///
    /// # Errors
    /// As [`send`](Sender::send). The messages before the one that failed have been sent.
    pub fn send_many<M: Borrow<T>>(&mut self, messages: impl IntoIterator<Item = M>) -> Result<usize>
    where
        C: Encode<T>,
    {
        self.send_many_by(messages, Deadline::NEVER)
    }

    /// As [`send_many`](Sender::send_many), but waits no longer than `timeout` in all.
    ///
    /// # Errors
    /// [`Error::Timeout`]: no message was taken from the iterator. [`Error::Unfinished`]: those that were taken (pass `&mut
    /// iterator` to keep the others) are sent with the next call. Else as `send_many`.
    pub fn send_many_timeout<M: Borrow<T>>(
        &mut self,
        messages: impl IntoIterator<Item = M>,
        timeout: Duration,
    ) -> Result<usize>
    where
        C: Encode<T>,
    {
        self.send_many_by(messages, Deadline::after(timeout))
    }

    /// Sends `bytes` as a message, whatever the codec is. Long messages are not copied.
    ///
    /// # Errors
    /// As [`send`](Sender::send).
    ///
    /// # References
    /// CPython `multiprocessing.connection.Connection.send_bytes`.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.send_bytes_by(bytes, Deadline::NEVER)
    }

    /// As [`send_bytes`](Sender::send_bytes), but does not wait.
    ///
    /// # Errors
    /// As [`try_send`](Sender::try_send).
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.send_bytes_by(bytes, Deadline::NOW)
    }

    /// As [`send_bytes`](Sender::send_bytes), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`send_timeout`](Sender::send_timeout).
    pub fn send_bytes_timeout(&mut self, bytes: &[u8], timeout: Duration) -> Result<()> {
        self.send_bytes_by(bytes, Deadline::after(timeout))
    }

    /// Writes the rest of a message that an earlier call left [`Unfinished`](Error::Unfinished). Nothing to do otherwise.
    ///
    /// # Errors
    /// As [`send_timeout`](Sender::send_timeout).
    pub fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.flush_by(Deadline::after(timeout))
    }

    /// The same end for messages of another type or codec; what matters is what the peer expects.
    pub fn retype<U: ?Sized, D>(mut self) -> Sender<U, D> {
        let split = std::mem::take(&mut self.split); // dropping `self` must not end the stream
        Sender {
            endpoint: self.endpoint.share(),
            outbox: std::mem::take(&mut self.outbox),
            max_message: self.max_message,
            moved: Arc::clone(&self.moved),
            split,
            types: PhantomData,
        }
    }

    /// Gives the descriptor out, for a peer in another language or an event loop.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] while a message is unfinished: its rest would be lost.
    pub fn into_fd(mut self) -> Result<OwnedFd> {
        self.check_idle()?;
        self.split = None;
        let endpoint = self.endpoint.share();
        drop(self);
        endpoint.into_fd()
    }

    pub(crate) fn check_idle(&self) -> Result<()> {
        match () {
            () if self.moved.load(Ordering::Relaxed) => Err(Error::Moved),
            () if !self.outbox.is_empty() => {
                Err(Error::Unsuitable("a message is not completely written, flush it first"))
            }
            () => Ok(()),
        }
    }

    pub(crate) fn send_by(&mut self, message: &T, deadline: Deadline) -> Result<()>
    where
        C: Encode<T>,
    {
        self.flush_by(deadline)?;
        let outgoing = self.enqueue(message)?;
        let result = self.finish(deadline);
        // Handles go with the first byte, so an unfinished message has taken its ends along.
        if matches!(result, Ok(()) | Err(Error::Unfinished { .. })) {
            outgoing.sent();
        }
        result
    }

    pub(crate) fn send_many_by<M: Borrow<T>>(
        &mut self,
        messages: impl IntoIterator<Item = M>,
        deadline: Deadline,
    ) -> Result<usize>
    where
        C: Encode<T>,
    {
        self.flush_by(deadline)?;
        let mut sent = 0;
        for message in messages {
            match self.enqueue(message.borrow()) {
                // The outbox shares the handles, so the value may go.
                Ok(outgoing) => outgoing.sent(),
                Err(error) => {
                    self.finish_batch(deadline)?;
                    return Err(error);
                }
            }
            sent += 1;
            if self.outbox.bytes.len() >= BATCH {
                self.finish_batch(deadline)?;
            }
        }
        self.finish_batch(deadline)?;
        Ok(sent)
    }

    pub(crate) fn send_bytes_by(&mut self, bytes: &[u8], deadline: Deadline) -> Result<()> {
        self.flush_by(deadline)?;
        let header = header(bytes.len(), self.max_message)?;
        if bytes.len() < BATCH {
            // One copy is cheaper than a second part for the kernel to walk over.
            self.outbox.bytes.extend_from_slice(header.as_bytes());
            self.outbox.bytes.extend_from_slice(bytes);
            return self.finish(deadline);
        }
        let parts = [header.as_bytes(), bytes];
        let total = parts[0].len() + bytes.len();
        let mut written = 0;
        let mut patience = Patience::until(deadline);
        while written < total {
            let rest = remaining(parts, written);
            match self.endpoint.write_until(&rest.map(IoSlice::new), &[], deadline) {
                Ok(n) => {
                    written += n;
                    part_written(total - written);
                    if written < total && !patience.lasts() {
                        let rest = remaining(parts, written);
                        rest.iter().for_each(|part| self.outbox.bytes.extend_from_slice(part));
                        return Err(Error::Unfinished { left: total - written });
                    }
                }
                Err(error) if written == 0 || error.is_disconnected() => return Err(error),
                Err(_) => {
                    rest.iter().for_each(|part| self.outbox.bytes.extend_from_slice(part));
                    return Err(Error::Unfinished { left: total - written });
                }
            }
        }
        Ok(())
    }

    /// Writes what an earlier call left.
    pub(crate) fn flush_by(&mut self, deadline: Deadline) -> Result<()> {
        if self.moved.load(Ordering::Relaxed) {
            return Err(Error::Moved);
        }
        if self.outbox.is_empty() { Ok(()) } else { self.drain(deadline) }
    }

    /// How many bytes are in the outbox.
    pub(crate) fn staged(&self) -> usize {
        self.outbox.bytes.len()
    }

    /// Takes everything back out of the outbox, of which nothing has been written.
    pub(crate) fn retract(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outbox).bytes
    }

    /// Encodes `message` behind what is in the outbox; the next flush writes it.
    pub(crate) fn enqueue(&mut self, message: &T) -> Result<Outgoing>
    where
        C: Encode<T>,
    {
        let start = self.outbox.bytes.len();
        let frame = Unfinished { bytes: &mut self.outbox.bytes, start };
        frame.bytes.extend_from_slice(&[0; 4]); // room for the short header
        let (encoded, outgoing) = handle::collecting(|| C::encode(message, frame.bytes));
        encoded.map_err(Error::Encode)?;
        let payload = frame.bytes.len().checked_sub(start + 4);
        let len =
            payload.ok_or_else(|| Error::Encode(CodecError::new("the codec removed bytes that were not its own")))?;
        match header(len, self.max_message)?.as_bytes() {
            short if short.len() == 4 => frame.bytes[start..start + 4].copy_from_slice(short),
            long => drop(frame.bytes.splice(start..start + 4, long.iter().copied())),
        }
        if !outgoing.handles().is_empty() {
            let packets = announce(self.endpoint.kind, frame.bytes, start, outgoing.handles())?;
            self.outbox.packets.extend(packets);
        }
        frame.keep();
        crash_point!("send.encoded");
        Ok(outgoing)
    }

    /// Writes the message in the outbox; if nothing of it goes out, it was never there.
    fn finish(&mut self, deadline: Deadline) -> Result<()> {
        self.drain(deadline).map_err(|error| match self.outbox.written {
            _ if self.outbox.is_empty() => error,
            0 => {
                self.outbox.clear();
                error
            }
            written => Error::Unfinished { left: self.outbox.bytes.len() - written },
        })
    }

    /// Writes whole messages that count as sent already.
    fn finish_batch(&mut self, deadline: Deadline) -> Result<()> {
        self.drain(deadline).map_err(|error| match &self.outbox {
            outbox if outbox.is_empty() => error,
            outbox => Error::Unfinished { left: outbox.bytes.len() - outbox.written },
        })
    }

    /// Writes the outbox until it is empty. After an error the rest stays, as a part of a message may be out; only when the
    /// other end is gone it is of no more use.
    fn drain(&mut self, deadline: Deadline) -> Result<()> {
        let mut patience = Patience::until(deadline);
        while self.outbox.written < self.outbox.bytes.len() {
            let (bytes, handles) = self.outbox.next();
            match self.endpoint.write_until(&[IoSlice::new(bytes)], handles, deadline) {
                Ok(n) => {
                    self.outbox.advance(n);
                    let left = self.outbox.bytes.len() - self.outbox.written;
                    part_written(left);
                    if left > 0 && !patience.lasts() {
                        return Err(Error::Timeout);
                    }
                }
                Err(Error::Disconnected) => {
                    self.outbox.clear();
                    return Err(Error::Disconnected);
                }
                Err(error) => return Err(error),
            }
        }
        self.outbox.clear();
        Ok(())
    }
}

/// A frame that is being encoded at the end of a buffer. It goes again if that fails, also by a panic of a value's own code.
struct Unfinished<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
}

impl Unfinished<'_> {
    #[inline]
    fn keep(mut self) {
        self.start = self.bytes.len();
    }
}

impl Drop for Unfinished<'_> {
    #[inline]
    fn drop(&mut self) {
        self.bytes.truncate(self.start);
    }
}

#[inline]
fn header(len: usize, max: u64) -> Result<frame::Header> {
    match len as u64 {
        len if len > max => Err(Error::TooLarge { len, max }),
        _ => Ok(frame::header(len)),
    }
}

/// Puts headers for `handles` in front of the frame at `start`, one for each packet of at most 253, and says where they are.
fn announce(kind: Kind, bytes: &mut Vec<u8>, start: usize, handles: &[Handle]) -> Result<Vec<(usize, Vec<Handle>)>> {
    match kind {
        Kind::Local => {}
        Kind::Pipe => return Err(Error::NoHandles("a one-way pipe")),
        Kind::Network => return Err(Error::NoHandles("a network connection")),
    }
    let packets = handles.chunks(MAX_DESCRIPTORS);
    let headers: Vec<u8> = packets.clone().flat_map(|packet| frame::handles_header(packet.len())).collect();
    bytes.splice(start..start, headers);
    let place =
        |(i, packet): (usize, &[Handle])| (start + i * HANDLES_HEADER, packet.iter().map(Handle::share).collect());
    Ok(packets.enumerate().map(place).collect())
}

/// Some bytes have been written, `left` are still to be.
#[inline]
fn part_written(left: usize) {
    if left > 0 {
        crash_point!("send.part");
        return;
    }
    crash_point!("send.written");
}

/// What is left of `parts` after `written` bytes.
fn remaining(parts: [&[u8]; 2], written: usize) -> [&[u8]; 2] {
    let first = written.min(parts[0].len());
    [&parts[0][first..], &parts[1][written - first..]]
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn clear(&mut self) {
        self.packets.clear();
        self.written = 0;
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }

    /// The next bytes to write: up to where handles must go along, and the handles for the first of them.
    fn next(&self) -> (&[u8], &[Handle]) {
        match self.packets.as_slice() {
            [(position, handles), rest @ ..] if *position == self.written => {
                let end = rest.first().map_or(self.bytes.len(), |(next, _)| *next);
                (&self.bytes[self.written..end], handles)
            }
            rest => {
                let end = rest.first().map_or(self.bytes.len(), |(next, _)| *next);
                (&self.bytes[self.written..end], &[])
            }
        }
    }

    fn advance(&mut self, n: usize) {
        if self.packets.first().is_some_and(|(position, _)| *position == self.written) {
            self.packets.remove(0); // with the first byte all of them are on their way
            if !self.packets.is_empty() {
                crash_point!("send.packet");
            }
        }
        self.written += n;
    }
}

impl<T: ?Sized, C> Drop for Sender<T, C> {
    fn drop(&mut self) {
        if self.split == Some(std::process::id()) && !self.moved.load(Ordering::Relaxed) {
            self.endpoint.shut_down(Shutdown::Write);
        }
    }
}

impl<T: ?Sized, C> AsFd for Sender<T, C> {
    /// The descriptor, to poll or to inspect; writing to it by other means breaks the frames.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.endpoint.fd()
    }
}

impl<T: ?Sized, C> TryFrom<OwnedFd> for Sender<T, C> {
    type Error = Error;

    /// Sends over a pipe, FIFO or stream socket that was made elsewhere. It may be blocking or not.
    fn try_from(fd: OwnedFd) -> Result<Self> {
        Endpoint::new(fd.into(), true).map(Sender::new)
    }
}

impl<T: ?Sized, C> fmt::Debug for Sender<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("fd", &self.endpoint.fd())
            .field("kind", &self.endpoint.kind)
            .finish_non_exhaustive()
    }
}

/// What crosses when a sender is sent.
#[derive(Serialize, Deserialize)]
struct Wire {
    handle: u32,
    split: bool,
    max_message: u64,
    /// The rest of an unfinished message.
    unwritten: Vec<u8>,
}

impl<T: ?Sized, C> Serialize for Sender<T, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.outbox.packets.is_empty() {
            return Err(ser::Error::custom(complaint::note("the connection has unsent handles, flush it first")));
        }
        Wire {
            handle: handle::collect_end(&self.endpoint.handle, &self.moved).map_err(ser::Error::custom)?,
            split: self.split.is_some(),
            max_message: self.max_message,
            unwritten: self.outbox.bytes[self.outbox.written..].to_vec(),
        }
        .serialize(serializer)
    }
}

impl<'de, T: ?Sized, C> Deserialize<'de> for Sender<T, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let handle = handle::claim_end(wire.handle).map_err(de::Error::custom)?;
        let endpoint = Endpoint::new(handle, true).map_err(|e| de::Error::custom(complaint::note(e.to_string())))?;
        let mut sender = Sender::new(endpoint);
        sender.set_split(wire.split);
        sender.max_message = wire.max_message.min(MAX_MESSAGE);
        sender.outbox.bytes = wire.unwritten;
        Ok(sender)
    }
}
