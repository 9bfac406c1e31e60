//! A two-way connection: a sender and a receiver that belong together.

use std::borrow::Borrow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Decode, Encode, Postcard};
use crate::endpoint::{Endpoint, Kind};
use crate::error::{Error, Result};
use crate::receiver::{Iter, Receiver};
use crate::sender::Sender;
use crate::wait::Waitable;

/// One end of a two-way connection: sends messages of type `Tx`, receives messages of type `Rx`, as `C` encodes them.
///
/// The calls are those of its two halves, [`Sender`] and [`Receiver`], where their blocking, errors and behaviour when the
/// peer dies are described. Each end has one owner: a connection takes `&mut self` and cannot be cloned, so two threads cannot
/// mix their messages; sending it to another process moves it there, so two processes cannot either. [`split`] it to use the
/// halves in two threads or processes. A process that forks without exec, against all this, has two copies of the same end, and
/// the stream goes on until both are closed.
///
/// On the wire are the frames of CPython's `multiprocessing.connection.Connection`.
///
/// ```
/// use ipc_core::{Connection, Process};
/// use std::os::fd::OwnedFd;
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, theirs) = UnixStream::pair()?; // what `ipc_pipe::duplex` does
/// let mut ours: Connection<u32, String> = Connection::try_from(OwnedFd::from(ours))?;
/// let theirs: Connection<String, u32> = Connection::try_from(OwnedFd::from(theirs))?;
///
/// let child = Process::spawn(
///     |mut conn: Connection<String, u32>| {
///         while let Ok(n) = conn.recv() {
///             conn.send("x".repeat(n as usize)).unwrap();
///         }
///     },
///     theirs,
/// )?;
/// ours.send(3)?;
/// assert_eq!(ours.recv()?, "xxx");
/// drop(ours); // the child sees the end of the stream
/// child.join()?;
/// # Ok(()) }
/// ```
///
/// [`split`]: Connection::split
#[derive(Debug)]
pub struct Connection<Tx: ?Sized, Rx, C = Postcard> {
    sender: Sender<Tx, C>,
    receiver: Receiver<Rx, C>,
}

impl<Tx: ?Sized, Rx, C> Connection<Tx, Rx, C> {
    /// Joins two halves: those of a [`split`](Connection::split), or of two streams, as a pair of FIFOs.
    pub fn from_halves(mut sender: Sender<Tx, C>, mut receiver: Receiver<Rx, C>) -> Self {
        // Two names of one descriptor close together, so neither has to end its direction by itself any more.
        if same_file(sender.endpoint(), receiver.endpoint()) {
            sender.set_split(false);
            receiver.set_split(false);
        }
        Connection { sender, receiver }
    }

    /// The two halves, for two threads or processes. Dropping one ends its direction for the peer.
    ///
    /// When a process is *killed* with one half, or a half is lost under way to it, the peer sees that once the holder of the
    /// other half is gone too, as both halves are one socket. Over a network, dropping the receiving half tells the peer nothing;
    /// it sees the end when both are gone.
    pub fn split(mut self) -> (Sender<Tx, C>, Receiver<Rx, C>) {
        if same_file(self.sender.endpoint(), self.receiver.endpoint()) {
            self.sender.set_split(true);
            self.receiver.set_split(true);
        }
        (self.sender, self.receiver)
    }

    /// The two halves, of which neither ends its direction when it is dropped.
    pub(crate) fn into_halves(self) -> (Sender<Tx, C>, Receiver<Rx, C>) {
        (self.sender, self.receiver)
    }

    /// The same end for messages of other types or another codec; what matters is what the peer speaks.
    pub fn retype<Tx2: ?Sized, Rx2, C2>(self) -> Connection<Tx2, Rx2, C2> {
        Connection { sender: self.sender.retype(), receiver: self.receiver.retype() }
    }

    /// Gives the descriptor out, for a peer in another language or an event loop.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] while messages lie in the buffers, or when the halves have different descriptors.
    pub fn into_fd(self) -> Result<OwnedFd> {
        if !same_file(self.sender.endpoint(), self.receiver.endpoint()) {
            return Err(Error::Unsuitable("the two directions have different descriptors, split the connection"));
        }
        self.sender.check_idle()?;
        self.receiver.check_idle()?;
        drop(self.receiver);
        self.sender.into_fd()
    }

    /// For connections that were made without a key: a server that wants one is an error, and its challenge no message.
    #[doc(hidden)]
    pub fn refuse_challenge(&mut self) {
        self.receiver.refuse_challenge();
    }

    /// See [`Sender::set_max_message`] and [`Receiver::set_max_message`]; sets both.
    pub fn set_max_message(&mut self, bytes: u64) {
        self.sender.set_max_message(bytes);
        self.receiver.set_max_message(bytes);
    }

    /// See [`Receiver::set_max_handles`].
    pub fn set_max_handles(&mut self, handles: usize) {
        self.receiver.set_max_handles(handles);
    }

    /// See [`Receiver::set_spin`].
    pub fn set_spin(&mut self, spin: Duration) {
        self.receiver.set_spin(spin);
    }

    /// Sends a message; waits while the kernel's buffer is full. See [`Sender::send`].
    ///
    /// # Errors
    /// Described there.
    pub fn send(&mut self, message: impl Borrow<Tx>) -> Result<()>
    where
        C: Encode<Tx>,
    {
        self.sender.send(message)
    }

    /// Sends a message if that is possible at once. See [`Sender::try_send`].
    ///
    /// # Errors
    /// Described there.
    pub fn try_send(&mut self, message: impl Borrow<Tx>) -> Result<()>
    where
        C: Encode<Tx>,
    {
        self.sender.try_send(message)
    }

    /// Sends a message; waits no longer than `timeout`. See [`Sender::send_timeout`].
    ///
    /// # Errors
    /// Described there.
    pub fn send_timeout(&mut self, message: impl Borrow<Tx>, timeout: Duration) -> Result<()>
    where
        C: Encode<Tx>,
    {
        self.sender.send_timeout(message, timeout)
    }

    /// Sends many messages in few system calls. See [`Sender::send_many`].
    ///
    /// # Errors
    /// Described there.
    pub fn send_many<M: Borrow<Tx>>(&mut self, messages: impl IntoIterator<Item = M>) -> Result<usize>
    where
        C: Encode<Tx>,
    {
        self.sender.send_many(messages)
    }

    /// Sends many messages; waits no longer than `timeout` in all. See [`Sender::send_many_timeout`].
    ///
    /// # Errors
    /// Described there.
    pub fn send_many_timeout<M: Borrow<Tx>>(
        &mut self,
        messages: impl IntoIterator<Item = M>,
        timeout: Duration,
    ) -> Result<usize>
    where
        C: Encode<Tx>,
    {
        self.sender.send_many_timeout(messages, timeout)
    }

    /// Sends bytes as a message. See [`Sender::send_bytes`].
    ///
    /// # Errors
    /// Described there.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.sender.send_bytes(bytes)
    }

    /// Sends bytes as a message if that is possible at once. See [`Sender::try_send_bytes`].
    ///
    /// # Errors
    /// Described there.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.sender.try_send_bytes(bytes)
    }

    /// Sends bytes as a message; waits no longer than `timeout`. See [`Sender::send_bytes_timeout`].
    ///
    /// # Errors
    /// Described there.
    pub fn send_bytes_timeout(&mut self, bytes: &[u8], timeout: Duration) -> Result<()> {
        self.sender.send_bytes_timeout(bytes, timeout)
    }

    /// Writes the rest of an unfinished message. See [`Sender::flush`].
    ///
    /// # Errors
    /// Described there.
    pub fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.sender.flush(timeout)
    }

    /// Receives the next message; waits for it. See [`Receiver::recv`].
    ///
    /// # Errors
    /// Described there.
    pub fn recv(&mut self) -> Result<Rx>
    where
        C: Decode<Rx>,
    {
        self.receiver.recv()
    }

    /// Receives the next message if it is there. See [`Receiver::try_recv`].
    ///
    /// # Errors
    /// Described there.
    pub fn try_recv(&mut self) -> Result<Rx>
    where
        C: Decode<Rx>,
    {
        self.receiver.try_recv()
    }

    /// Receives the next message; waits no longer than `timeout`. See [`Receiver::recv_timeout`].
    ///
    /// # Errors
    /// Described there.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Rx>
    where
        C: Decode<Rx>,
    {
        self.receiver.recv_timeout(timeout)
    }

    /// Receives the bytes of the next message. See [`Receiver::recv_bytes`].
    ///
    /// # Errors
    /// Described there.
    pub fn recv_bytes(&mut self) -> Result<Vec<u8>> {
        self.receiver.recv_bytes()
    }

    /// Receives the bytes of the next message if it is there. See [`Receiver::try_recv_bytes`].
    ///
    /// # Errors
    /// Described there.
    pub fn try_recv_bytes(&mut self) -> Result<Vec<u8>> {
        self.receiver.try_recv_bytes()
    }

    /// Receives the bytes of the next message; waits no longer than `timeout`. See [`Receiver::recv_bytes_timeout`].
    ///
    /// # Errors
    /// Described there.
    pub fn recv_bytes_timeout(&mut self, timeout: Duration) -> Result<Vec<u8>> {
        self.receiver.recv_bytes_timeout(timeout)
    }

    /// Receives the bytes of the next message into `buffer`. See [`Receiver::recv_bytes_into`].
    ///
    /// # Errors
    /// Described there.
    pub fn recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.receiver.recv_bytes_into(buffer)
    }

    /// Receives the bytes of the next message into `buffer` if it is there. See [`Receiver::try_recv_bytes_into`].
    ///
    /// # Errors
    /// Described there.
    pub fn try_recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.receiver.try_recv_bytes_into(buffer)
    }

    /// Receives the bytes of the next message into `buffer`; waits no longer than `timeout`. See [`Receiver::recv_bytes_into_timeout`].
    ///
    /// # Errors
    /// Described there.
    pub fn recv_bytes_into_timeout(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize> {
        self.receiver.recv_bytes_into_timeout(buffer, timeout)
    }

    /// Whether a message can be received at once, within `timeout`. See [`Receiver::poll`].
    ///
    /// # Errors
    /// Described there.
    pub fn poll(&mut self, timeout: Duration) -> Result<bool> {
        self.receiver.poll(timeout)
    }

    /// Receives message after message until the stream ends. See [`Receiver::iter`].
    pub fn iter(&mut self) -> Iter<'_, Rx, C> {
        self.receiver.iter()
    }
}

fn same_file(a: &Endpoint, b: &Endpoint) -> bool {
    a.handle.is_shared_with(&b.handle)
}

impl<'a, Tx: ?Sized, Rx, C: Decode<Rx>> IntoIterator for &'a mut Connection<Tx, Rx, C> {
    type Item = Result<Rx>;
    type IntoIter = Iter<'a, Rx, C>;

    fn into_iter(self) -> Iter<'a, Rx, C> {
        self.iter()
    }
}

impl<Tx: ?Sized, Rx, C> TryFrom<OwnedFd> for Connection<Tx, Rx, C> {
    type Error = Error;

    /// Connects over a stream socket that was made elsewhere. It may be blocking or not.
    fn try_from(fd: OwnedFd) -> Result<Self> {
        let sending = Endpoint::new(fd.into(), true)?;
        if sending.kind == Kind::Pipe {
            return Err(Error::Unsuitable("a pipe has one direction, make a Sender or a Receiver of it"));
        }
        Ok(Connection { receiver: Receiver::new(sending.share()), sender: Sender::new(sending) })
    }
}

impl<Tx: ?Sized, Rx, C> AsFd for Connection<Tx, Rx, C> {
    /// The descriptor that becomes readable when something arrives.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl<Tx: ?Sized, Rx, C> Waitable for Connection<Tx, Rx, C> {
    fn is_ready_now(&self) -> bool {
        self.receiver.is_ready_now()
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.receiver.descriptor()
    }
}

// Two halves cross as a pair; if they were one socket, they are joined to one again.
impl<Tx: ?Sized, Rx, C> Serialize for Connection<Tx, Rx, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let one = same_file(self.sender.endpoint(), self.receiver.endpoint());
        (one, &self.sender, &self.receiver).serialize(serializer)
    }
}

impl<'de, Tx: ?Sized, Rx, C> Deserialize<'de> for Connection<Tx, Rx, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (one, sender, mut receiver): (bool, Sender<Tx, C>, Receiver<Rx, C>) =
            Deserialize::deserialize(deserializer)?;
        if one {
            receiver.share_endpoint(sender.endpoint());
        }
        Ok(Connection { sender, receiver })
    }
}
