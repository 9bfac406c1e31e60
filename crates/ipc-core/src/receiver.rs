//! The receiving half of a connection.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::socket::Shutdown;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::codec::{Decode, Postcard};
use crate::deadline::Patience;
use crate::endpoint::{Endpoint, How};
use crate::error::{Error, Result};
use crate::handle::{self, Handle, MAX_HANDLES};
use crate::inbox::{BUFFER, Inbox};
use crate::wait::Waitable;
use crate::{Deadline, MAX_MESSAGE, complaint};

/// The receiving half of a connection: messages of type `T`, decoded by `C`.
///
/// There is one receiver for a stream, it takes `&mut self`, and it cannot be cloned: neither two threads nor two processes can
/// tear a message apart. Sending it to another process moves it there, with the messages that lie in its buffer.
///
/// One system call reads as many messages as have arrived, up to 64 KiB. The receiving calls wait until a message is complete
/// and fail with [`Error::Disconnected`] once all that was sent has been received and every holder of the other end has closed
/// it or died.
///
/// ```
/// use ipc_core::{Error, Receiver};
/// use std::os::{fd::OwnedFd, unix::net::UnixStream};
/// use std::{io::Write, time::Duration};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, mut peer) = UnixStream::pair()?;
/// let mut receiver: Receiver<u32> = OwnedFd::from(ours).try_into()?;
/// receiver.set_max_message(1 << 16); // this peer may be anybody
/// peer.write_all(b"\0\0\0\x01\x2a")?; // a frame: four bytes of length, then the message
/// assert_eq!(receiver.recv()?, 42);
///
/// peer.write_all(b"\0\0\0\x02\x80")?; // the beginning of a message of two bytes
/// assert!(receiver.recv_timeout(Duration::from_millis(10)).is_err_and(|e| e.is_timeout()));
/// peer.write_all(b"\x01")?; // what came in time was kept
/// assert_eq!(receiver.recv()?, 128);
///
/// peer.write_all(b"\0\0\0\x05hel")?;
/// drop(peer); // it dies while it writes
/// assert!(matches!(receiver.recv(), Err(Error::Truncated { missing: 2 })));
/// # Ok(()) }
/// ```
///
/// # References
/// unix(7), pipe(7), tcp(7); CPython `multiprocessing.connection.Connection`, of `Pipe(duplex=False)`.
pub struct Receiver<T, C = Postcard> {
    endpoint: Endpoint,
    inbox: Inbox,
    max_message: u64,
    max_handles: usize,
    spin: Duration,
    moved: Arc<AtomicBool>,
    /// As in the sender.
    split: Option<u32>,
    types: PhantomData<fn(C) -> T>,
}

impl<T, C> Receiver<T, C> {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Receiver {
            endpoint,
            inbox: Inbox::default(),
            max_message: MAX_MESSAGE,
            max_handles: MAX_HANDLES,
            spin: Duration::ZERO,
            moved: Arc::default(),
            split: None,
            types: PhantomData,
        }
    }

    pub(crate) fn refuse_challenge(&mut self) {
        self.inbox.refuse_challenge();
    }

    pub(crate) fn set_split(&mut self, split: bool) {
        self.split = split.then(std::process::id);
    }

    /// Lets go of the own descriptor for one that is known to be of the same socket.
    pub(crate) fn share_endpoint(&mut self, endpoint: &Endpoint) {
        self.endpoint = endpoint.share();
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The longest message that is accepted, in bytes; 1 GiB unless set. It is checked before anything is allocated. A longer
    /// one stays where it is, and every call returns [`Error::TooLarge`] until the limit is raised.
    pub fn set_max_message(&mut self, bytes: u64) {
        self.max_message = bytes;
    }

    /// How many handles a message may bring; 1,024 unless set. They are open as soon as they arrive, so a peer that is not trusted
    /// can use up this process's files (RLIMIT_NOFILE) up to this number. A message with more breaks the connection.
    pub fn set_max_handles(&mut self, handles: usize) {
        self.max_handles = handles;
    }

    /// How long a receiving call asks again and again before it sleeps; not at all unless set.
    ///
    /// To wake a sleeping process takes several microseconds. Where a message is expected within less than that, and a
    /// processor can be spared, a spin of 20 to 50 µs shortens the way.
    pub fn set_spin(&mut self, spin: Duration) {
        self.spin = spin;
    }

    /// Receives the next message; waits until one is there.
    ///
    /// # Errors
    /// [`Error::Disconnected`] at the end of the stream, [`Error::Truncated`] when it ends inside a message, as when the sender
    /// was killed. [`Error::Decode`] and [`Error::HandlesLost`] consume the message, the next one can be received; after
    /// [`Error::Malformed`] the connection is of no more use.
    ///
    /// # References
    /// CPython `multiprocessing.connection.Connection.recv`.
    pub fn recv(&mut self) -> Result<T>
    where
        C: Decode<T>,
    {
        self.recv_by(Deadline::NEVER)
    }

    /// As [`recv`](Receiver::recv), but does not wait.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]: no complete message is there. Else as `recv`.
    pub fn try_recv(&mut self) -> Result<T>
    where
        C: Decode<T>,
    {
        self.recv_by(Deadline::NOW)
    }

    /// As [`recv`](Receiver::recv), but waits no longer than `timeout`, also while the sender is stopped in the middle of a message.
    ///
    /// # Errors
    /// [`Error::Timeout`]: no complete message came in time; what came of one is kept. Else as `recv`.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T>
    where
        C: Decode<T>,
    {
        self.recv_by(Deadline::after(timeout))
    }

    /// Receives the bytes of the next message, whatever the codec is. Handles that came with it are closed.
    ///
    /// # Errors
    /// As [`recv`](Receiver::recv).
    ///
    /// # References
    /// CPython `multiprocessing.connection.Connection.recv_bytes`; its `maxlength` is [`set_max_message`](Receiver::set_max_message).
    pub fn recv_bytes(&mut self) -> Result<Vec<u8>> {
        self.recv_bytes_by(Deadline::NEVER)
    }

    /// As [`recv_bytes`](Receiver::recv_bytes), but does not wait.
    ///
    /// # Errors
    /// As [`try_recv`](Receiver::try_recv).
    pub fn try_recv_bytes(&mut self) -> Result<Vec<u8>> {
        self.recv_bytes_by(Deadline::NOW)
    }

    /// As [`recv_bytes`](Receiver::recv_bytes), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`recv_timeout`](Receiver::recv_timeout).
    pub fn recv_bytes_timeout(&mut self, timeout: Duration) -> Result<Vec<u8>> {
        self.recv_bytes_by(Deadline::after(timeout))
    }

    /// Receives the bytes of the next message into `buffer` and returns how many: no allocation, and long ones are not copied.
    ///
    /// ```
    /// use ipc_core::Error;
    /// # use std::{os::{fd::OwnedFd, unix::net::UnixStream}, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (a, b) = UnixStream::pair()?;
    /// # let mut sender: ipc_core::Sender<u32> = OwnedFd::from(a).try_into()?;
    /// # let mut receiver: ipc_core::Receiver<u32> = OwnedFd::from(b).try_into()?;
    /// let mut buffer = [0; 8];
    /// sender.send_bytes(b"more than eight")?;
    /// assert!(matches!(receiver.recv_bytes_into(&mut buffer), Err(Error::BufferTooShort { needed: 15, .. })));
    /// assert_eq!(receiver.recv_bytes()?, b"more than eight"); // it has not been lost
    /// assert!(receiver.try_recv_bytes_into(&mut buffer).is_err_and(|e| e.is_would_block()));
    /// sender.send_bytes(b"eight")?;
    /// let len = receiver.recv_bytes_into_timeout(&mut buffer, Duration::from_millis(50))?;
    /// assert_eq!(buffer[..len], *b"eight");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::BufferTooShort`] says how long the message is and leaves it there. Else as [`recv`](Receiver::recv).
    ///
    /// # References
    /// CPython `multiprocessing.connection.Connection.recv_bytes_into`, which hands the message out with the error.
    pub fn recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.recv_bytes_into_by(buffer, Deadline::NEVER)
    }

    /// As [`recv_bytes_into`](Receiver::recv_bytes_into), but does not wait.
    ///
    /// # Errors
    /// As [`try_recv`](Receiver::try_recv), and [`Error::BufferTooShort`].
    pub fn try_recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.recv_bytes_into_by(buffer, Deadline::NOW)
    }

    /// As [`recv_bytes_into`](Receiver::recv_bytes_into), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`recv_timeout`](Receiver::recv_timeout), and [`Error::BufferTooShort`].
    pub fn recv_bytes_into_timeout(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize> {
        self.recv_bytes_into_by(buffer, Deadline::after(timeout))
    }

    /// Waits up to `timeout` for a complete message and says whether the next receiving call would return at once: with a
    /// message, or with an error, as at the end of the stream. `Duration::ZERO` just looks, `Duration::MAX` waits.
    ///
    /// ```
    /// use ipc_core::Receiver;
    /// use std::os::{fd::OwnedFd, unix::net::UnixStream};
    /// use std::{io::Write, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (ours, mut peer) = UnixStream::pair()?;
    /// let mut receiver: Receiver<u8> = OwnedFd::from(ours).try_into()?;
    /// peer.write_all(b"\0\0\0\x01")?;
    /// assert!(!receiver.poll(Duration::ZERO)?); // the length of a message is no message
    /// peer.write_all(b"*")?;
    /// assert!(receiver.poll(Duration::ZERO)? && receiver.recv()? == b'*');
    /// drop(peer);
    /// assert!(receiver.poll(Duration::MAX)?); // the end, too, is something to be received
    /// assert!(receiver.recv().is_err_and(|e| e.is_disconnected()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Moved`]. Others are left for the receiving call.
    ///
    /// # References
    /// CPython `multiprocessing.connection.Connection.poll`.
    pub fn poll(&mut self, timeout: Duration) -> Result<bool> {
        let deadline = if timeout.is_zero() { Deadline::NOW } else { Deadline::after(timeout) };
        match self.arrive(deadline) {
            Err(Error::Moved) => Err(Error::Moved),
            Err(Error::Timeout | Error::WouldBlock) => Ok(false),
            _ => Ok(true),
        }
    }

    /// Receives message after message until the stream ends.
    pub fn iter(&mut self) -> Iter<'_, T, C> {
        Iter { receiver: self, ended: false }
    }

    /// The same end for messages of another type or codec; what matters is what the peer sends.
    pub fn retype<U, D>(mut self) -> Receiver<U, D> {
        let split = std::mem::take(&mut self.split);
        Receiver {
            endpoint: self.endpoint.share(),
            inbox: std::mem::take(&mut self.inbox),
            max_message: self.max_message,
            max_handles: self.max_handles,
            spin: self.spin,
            moved: Arc::clone(&self.moved),
            split,
            types: PhantomData,
        }
    }

    /// Gives the descriptor out, for a peer in another language or an event loop.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] while messages lie in the buffer: they would be lost.
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
            () if !self.inbox.is_untouched() => {
                Err(Error::Unsuitable("messages lie unread in the buffer, receive them first"))
            }
            () => Ok(()),
        }
    }

    #[inline]
    fn check_moved(&self) -> Result<()> {
        if self.moved.load(Ordering::Relaxed) { Err(Error::Moved) } else { Ok(()) }
    }

    pub(crate) fn recv_by(&mut self, deadline: Deadline) -> Result<T>
    where
        C: Decode<T>,
    {
        self.check_moved()?;
        if let Some(message) = self.inbox.pop(self.max_message) {
            return handle::offering_none(|| C::decode(message)).map_err(Error::Decode);
        }
        let len = self.arrive(deadline)?;
        let handles = self.inbox.take_handles();
        // The message is out before it is decoded: neither an error nor a panic of a value's own code makes it come twice.
        let message = self.inbox.take(len);
        let handles = handles?;
        let result = match handles.is_empty() {
            true => handle::offering_none(|| C::decode(&message)), // most messages: no table, no allocation
            false => handle::offering(handles, || C::decode(&message)),
        };
        result.map_err(Error::Decode)
    }

    fn recv_bytes_by(&mut self, deadline: Deadline) -> Result<Vec<u8>> {
        let len = self.arrive(deadline)?;
        let handles = self.inbox.take_handles();
        let bytes = self.inbox.take(len).into_owned();
        handles.map(|_| bytes)
    }

    fn recv_bytes_into_by(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize> {
        self.check_moved()?;
        if let Some(message) = self.inbox.pop(self.max_message.min(buffer.len() as u64)) {
            buffer[..message.len()].copy_from_slice(message);
            return Ok(message.len());
        }
        let len = self.header(deadline)?;
        if len > buffer.len() {
            return Err(Error::BufferTooShort { needed: len, len: buffer.len() });
        }
        if len <= BUFFER {
            self.arrive(deadline)?;
        } else {
            // What has arrived is copied, the rest is read where it belongs.
            let buffer = &mut buffer[..len];
            let mut filled = self.inbox.take_long(buffer);
            let mut patience = Patience::until(deadline);
            while filled < len {
                let how = self.how();
                let read = self.endpoint.read_until(&mut buffer[filled..], how, deadline);
                let read = read.and_then(|arrival| self.inbox.admit(arrival));
                filled += read.as_ref().map_or(0, |n| *n);
                match read.and_then(|_| check(filled < len, &mut patience)) {
                    Ok(()) => {}
                    Err(error) => {
                        self.inbox.keep_long(&buffer[..filled]);
                        // How much is missing can be said only now.
                        return Err(if error.is_disconnected() { self.inbox.end_of_stream() } else { error });
                    }
                }
            }
        }
        let handles = self.inbox.take_handles();
        let message = self.inbox.take(len);
        if len <= BUFFER {
            buffer[..len].copy_from_slice(&message);
        }
        handles.map(|_| len)
    }

    /// The bytes of the next message, if it is complete; it stays where it is.
    pub(crate) fn peek(&mut self) -> Option<&[u8]> {
        self.arrive(Deadline::NOW).ok().map(|len| self.inbox.message(len))
    }

    /// Waits until the next message is complete in the inbox, and returns its length.
    fn arrive(&mut self, deadline: Deadline) -> Result<usize> {
        let len = self.header(deadline)?;
        let mut patience = Patience::until(deadline);
        if len <= BUFFER {
            while self.inbox.arrived() < len {
                self.fill(deadline)?;
                check(self.inbox.arrived() < len, &mut patience)?;
            }
        } else {
            self.inbox.spill(len);
            while self.inbox.filled < len {
                let how = self.how();
                let read = self.endpoint.read_until(self.inbox.long_room(len), how, deadline)?;
                self.inbox.filled += self.inbox.admit(read)?;
                check(self.inbox.filled < len, &mut patience)?;
            }
        }
        Ok(len)
    }

    /// Waits until the header of the next message has been read, and returns the message's length.
    fn header(&mut self, deadline: Deadline) -> Result<usize> {
        self.check_moved()?;
        loop {
            match self.inbox.parse(self.max_handles)? {
                None => self.fill(deadline)?,
                Some(len) => {
                    if self.inbox.is_keyless() {
                        while self.inbox.may_be_challenge(len) && (self.inbox.arrived() as u64) < len {
                            self.fill(deadline)?;
                        }
                        self.inbox.check_first(len)?;
                    }
                    return match usize::try_from(len) {
                        Ok(fits) if len <= self.max_message => Ok(fits),
                        _ => Err(Error::TooLarge { len, max: self.max_message }),
                    };
                }
            }
        }
    }

    fn how(&self) -> How {
        How { spin: self.spin, takes_handles: self.max_handles > 0 }
    }

    /// Reads into the buffer what has arrived, at least a byte.
    fn fill(&mut self, deadline: Deadline) -> Result<()> {
        let how = self.how();
        let read = self.endpoint.read_until(self.inbox.room(), how, deadline)?;
        self.inbox.end += self.inbox.admit(read)?;
        Ok(())
    }
}

fn check(incomplete: bool, patience: &mut Patience) -> Result<()> {
    if incomplete && !patience.lasts() { Err(Error::Timeout) } else { Ok(()) }
}

/// Receives message after message; ends at the end of the stream. See [`Receiver::iter`].
///
/// An error other than [`Error::Disconnected`] is an item; after one that is not about a single message the iteration ends.
///
/// ```
/// use ipc_core::{Receiver, Sender};
/// # use std::os::{fd::OwnedFd, unix::net::UnixStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (a, b) = UnixStream::pair()?;
/// # let mut sender: Sender<u8> = OwnedFd::from(a).try_into()?;
/// # let mut receiver: Receiver<u8> = OwnedFd::from(b).try_into()?;
/// sender.send(1)?;
/// sender.send_bytes(b"no number")?;
/// sender.send(2)?;
/// drop(sender);
/// let numbers: Vec<Option<u8>> = receiver.iter().map(|message| message.ok()).collect();
/// assert_eq!(numbers, [Some(1), None, Some(2)]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Iter<'a, T, C = Postcard> {
    receiver: &'a mut Receiver<T, C>,
    ended: bool,
}

impl<T, C: Decode<T>> Iterator for Iter<'_, T, C> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.ended {
            return None;
        }
        let item = self.receiver.recv();
        self.ended = !matches!(item, Ok(_) | Err(Error::Decode(_) | Error::HandlesLost { .. }));
        match item {
            Err(Error::Disconnected) => None,
            item => Some(item),
        }
    }
}

impl<'a, T, C: Decode<T>> IntoIterator for &'a mut Receiver<T, C> {
    type Item = Result<T>;
    type IntoIter = Iter<'a, T, C>;

    fn into_iter(self) -> Iter<'a, T, C> {
        self.iter()
    }
}

impl<T, C> Waitable for Receiver<T, C> {
    fn is_ready_now(&self) -> bool {
        self.moved.load(Ordering::Relaxed) || self.inbox.is_ready(self.max_message)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.endpoint.fd()
    }
}

impl<T, C> Drop for Receiver<T, C> {
    fn drop(&mut self) {
        if self.split == Some(std::process::id()) && !self.moved.load(Ordering::Relaxed) {
            self.endpoint.shut_down(Shutdown::Read);
        }
    }
}

impl<T, C> AsFd for Receiver<T, C> {
    /// The descriptor, to poll or to inspect; reading from it by other means breaks the frames.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.endpoint.fd()
    }
}

impl<T, C> TryFrom<OwnedFd> for Receiver<T, C> {
    type Error = Error;

    /// Receives from a pipe, FIFO or stream socket that was made elsewhere. It may be blocking or not.
    fn try_from(fd: OwnedFd) -> Result<Self> {
        Endpoint::new(fd.into(), false).map(Receiver::new)
    }
}

impl<T, C> fmt::Debug for Receiver<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("fd", &self.endpoint.fd())
            .field("kind", &self.endpoint.kind)
            .finish_non_exhaustive()
    }
}

/// What crosses when a receiver is sent.
#[derive(Serialize, Deserialize)]
struct Wire {
    handle: u32,
    split: bool,
    max_message: u64,
    max_handles: usize,
    /// What has arrived and is not yet received, with the handles in it.
    unread: Vec<u8>,
    packets: Vec<Vec<Handle>>,
    /// The first message is still to come, and must not ask for a key.
    keyless: bool,
}

impl<T, C> Serialize for Receiver<T, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (unread, packets) = self.inbox.undo().map_err(|e| ser::Error::custom(complaint::note(e.to_string())))?;
        Wire {
            handle: handle::collect_end(&self.endpoint.handle, &self.moved).map_err(ser::Error::custom)?,
            split: self.split.is_some(),
            max_message: self.max_message,
            max_handles: self.max_handles,
            unread,
            packets,
            keyless: self.inbox.is_keyless(),
        }
        .serialize(serializer)
    }
}

impl<'de, T, C> Deserialize<'de> for Receiver<T, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let note = |e: Error| de::Error::custom(complaint::note(e.to_string()));
        let handle = handle::claim_end(wire.handle).map_err(de::Error::custom)?;
        let mut receiver = Receiver::new(Endpoint::new(handle, false).map_err(note)?);
        receiver.set_split(wire.split);
        // Whoever sends an end may lower its limits, not raise them; and how to wait is for who waits to say.
        receiver.max_message = wire.max_message.min(MAX_MESSAGE);
        receiver.max_handles = wire.max_handles.min(MAX_HANDLES);
        receiver.inbox = Inbox::redo(wire.unread, wire.packets).map_err(note)?;
        if wire.keyless {
            receiver.refuse_challenge();
        }
        Ok(receiver)
    }
}
