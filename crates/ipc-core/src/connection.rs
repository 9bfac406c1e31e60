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
    ///
    /// ```
    /// use ipc_core::Connection;
    /// # use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (a, b) = UnixStream::pair()?;
    /// # let a: Connection<u32, u32> = OwnedFd::from(a).try_into()?;
    /// # let mut b: Connection<u32, u32> = OwnedFd::from(b).try_into()?;
    /// let (sender, receiver) = a.split();
    /// let mut a = Connection::from_halves(sender, receiver); // as it was
    /// a.send(1)?;
    /// assert_eq!(b.recv()?, 1);
    /// # Ok(()) }
    /// ```
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
    ///
    /// ```
    /// use ipc_core::Connection;
    /// use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (a, b) = UnixStream::pair()?;
    /// let a: Connection<u32, u32> = OwnedFd::from(a).try_into()?;
    /// let mut b: Connection<u32, u32> = OwnedFd::from(b).try_into()?;
    /// let (mut sender, mut receiver) = a.split();
    /// let writing = std::thread::spawn(move || sender.send_many(0..3u32)); // drops the sender in the end
    /// assert_eq!(b.iter().collect::<Result<Vec<_>, _>>()?, [0, 1, 2]); // that direction has ended,
    /// b.send(7)?; // and the other one has not
    /// assert_eq!(receiver.recv()?, 7);
    /// writing.join().unwrap()?;
    /// # Ok(()) }
    /// ```
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
    ///
    /// ```
    /// use ipc_core::Connection;
    /// # use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (a, b) = UnixStream::pair()?;
    /// # let mut a: Connection<String, String> = OwnedFd::from(a).try_into()?;
    /// # let mut b: Connection<String, String> = OwnedFd::from(b).try_into()?;
    /// a.send("from now on numbers".to_string())?;
    /// let mut a: Connection<u32, u32> = a.retype();
    /// a.send(1)?; // behind the text
    /// assert_eq!(b.recv()?, "from now on numbers");
    /// let mut b: Connection<u32, u32> = b.retype();
    /// assert_eq!(b.recv()?, 1);
    /// # Ok(()) }
    /// ```
    pub fn retype<Tx2: ?Sized, Rx2, C2>(self) -> Connection<Tx2, Rx2, C2> {
        Connection { sender: self.sender.retype(), receiver: self.receiver.retype() }
    }

    /// Gives the descriptor out, for a peer in another language or an event loop.
    ///
    /// ```
    /// use ipc_core::Connection;
    /// use std::os::{fd::OwnedFd, unix::net::UnixStream};
    /// use std::io::Read;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (a, b) = UnixStream::pair()?;
    /// let a: Connection<(), ()> = OwnedFd::from(a).try_into()?;
    /// let mut b: Connection<(), ()> = OwnedFd::from(b).try_into()?;
    /// b.send_bytes(b"hi")?;
    /// let mut frame = [0; 6];
    /// UnixStream::from(a.into_fd()?).read_exact(&mut frame)?;
    /// assert_eq!(&frame, b"\0\0\0\x02hi"); // what somebody has to read who is not Rust
    /// # Ok(()) }
    /// ```
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
    ///
    /// ```
    /// use ipc_core::{Connection, Error};
    /// # use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (a, b) = UnixStream::pair()?;
    /// # let mut a: Connection<u32, u32> = OwnedFd::from(a).try_into()?;
    /// # let mut b: Connection<u32, u32> = OwnedFd::from(b).try_into()?;
    /// b.set_max_message(3); // of a peer that is not trusted
    /// a.send_bytes(b"long")?;
    /// assert!(matches!(b.recv_bytes(), Err(Error::TooLarge { len: 4, max: 3 })));
    /// b.set_max_message(4); // the message is still there
    /// assert_eq!(b.recv_bytes()?, b"long");
    /// # Ok(()) }
    /// ```
    pub fn set_max_message(&mut self, bytes: u64) {
        self.sender.set_max_message(bytes);
        self.receiver.set_max_message(bytes);
    }

    /// See [`Receiver::set_max_handles`].
    ///
    /// ```
    /// use ipc_core::{Connection, Error, Handle};
    /// # use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (a, b) = UnixStream::pair()?;
    /// # let mut a: Connection<Handle, ()> = OwnedFd::from(a).try_into()?;
    /// # let mut b: Connection<(), Handle> = OwnedFd::from(b).try_into()?;
    /// b.set_max_handles(0); // this peer is to open no files here
    /// a.send(Handle::from(std::fs::File::open("/dev/null")?))?;
    /// assert!(matches!(b.recv(), Err(Error::Malformed(_)))); // from now on, too
    /// # Ok(()) }
    /// ```
    pub fn set_max_handles(&mut self, handles: usize) {
        self.receiver.set_max_handles(handles);
    }

    /// See [`Receiver::set_spin`].
    ///
    /// ```
    /// use std::time::Duration;
    /// # use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (a, b) = UnixStream::pair()?;
    /// # let mut a: ipc_core::Connection<u32, u32> = OwnedFd::from(a).try_into()?;
    /// # let mut b: ipc_core::Connection<u32, u32> = OwnedFd::from(b).try_into()?;
    /// a.set_spin(Duration::from_micros(30));
    /// let echo = std::thread::spawn(move || b.recv().and_then(|n| b.send(n)));
    /// a.send(1)?;
    /// assert_eq!(a.recv()?, 1); // within 30 µs without having slept, later after a sleep
    /// echo.join().unwrap()?;
    /// # Ok(()) }
    /// ```
    pub fn set_spin(&mut self, spin: Duration) {
        self.receiver.set_spin(spin);
    }

    /// Sends a message; waits while the kernel's buffer is full. See [`Sender::send`].
    ///
    /// An end in a message moves, also if the message is passed by reference:
    ///
    /// ```
    /// use ipc_core::{Connection, Error, Sender};
    /// # use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (a, b) = UnixStream::pair()?;
    /// # let mut a: Connection<Sender<u32>, ()> = OwnedFd::from(a).try_into()?;
    /// # let mut b: Connection<(), Sender<u32>> = OwnedFd::from(b).try_into()?;
    /// # let (c, d) = UnixStream::pair()?;
    /// # let mut d: ipc_core::Receiver<u32> = OwnedFd::from(d).try_into()?;
    /// let mut end: Sender<u32> = OwnedFd::from(c).try_into()?;
    /// a.send(&end)?;
    /// assert!(matches!(end.send(1), Err(Error::Moved)));
    /// b.recv()?.send(2)?; // by its new owner
    /// assert_eq!(d.recv()?, 2);
    /// # Ok(()) }
    /// ```
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
    /// ```
    /// use ipc_core::{Connection, Error};
    /// use std::os::{fd::OwnedFd, unix::net::UnixStream};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (a, b) = UnixStream::pair()?;
    /// let mut a: Connection<Vec<u8>, ()> = OwnedFd::from(a).try_into()?;
    /// let mut b: Connection<(), Vec<u8>> = OwnedFd::from(b).try_into()?;
    /// let long = vec![7; 1 << 20]; // more than the kernel takes before somebody reads
    /// match a.send_timeout(&long, Duration::from_millis(10)) {
    ///     Err(Error::Unfinished { left }) => assert!(left > 0), // not to be sent again
    ///     other => panic!("{other:?}"),
    /// }
    /// let reading = std::thread::spawn(move || b.recv());
    /// a.flush(Duration::MAX)?; // or any other `send`: first goes the rest
    /// assert_eq!(reading.join().unwrap()?, long);
    /// # Ok(()) }
    /// ```
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
    /// ```
    /// use std::time::Duration;
    /// # use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (a, b) = UnixStream::pair()?;
    /// # let mut a: ipc_core::Connection<u32, u32> = OwnedFd::from(a).try_into()?;
    /// # let mut b: ipc_core::Connection<u32, u32> = OwnedFd::from(b).try_into()?;
    /// assert_eq!(a.send_many(0..1000)?, 1000); // in one system call
    /// let mut rest = 1000..2000;
    /// a.send_many_timeout(rest.by_ref().take(10), Duration::from_millis(50))?;
    /// assert_eq!(b.iter().take(1010).collect::<Result<Vec<_>, _>>()?, (0..1010).collect::<Vec<_>>());
    /// assert_eq!(rest.next(), Some(1010));
    /// # Ok(()) }
    /// ```
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
    /// ```
    /// use std::time::Duration;
    /// # use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (a, b) = UnixStream::pair()?;
    /// # let mut a: ipc_core::Connection<u32, u32> = OwnedFd::from(a).try_into()?;
    /// # let mut b: ipc_core::Connection<u32, u32> = OwnedFd::from(b).try_into()?;
    /// let soon = Duration::from_millis(50);
    /// a.send_bytes(b"one")?; // also beside messages of the connection's type
    /// a.try_send_bytes(b"two")?;
    /// a.send_bytes_timeout(b"three", soon)?;
    /// assert_eq!(b.recv_bytes()?, b"one");
    /// assert_eq!(b.try_recv_bytes()?, b"two");
    /// assert_eq!(b.recv_bytes_timeout(soon)?, b"three");
    /// # Ok(()) }
    /// ```
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
    /// With [`wait`](crate::wait), it serves many connections in one thread, and a slow sender holds up none of the others:
    ///
    /// ```
    /// use ipc_core::{Connection, wait};
    /// use std::os::{fd::OwnedFd, unix::net::UnixStream};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (a, b) = UnixStream::pair()?;
    /// let mut a: Connection<u32, u32> = OwnedFd::from(a).try_into()?;
    /// let mut b: Connection<u32, u32> = OwnedFd::from(b).try_into()?;
    /// a.send_many([1, 2])?;
    /// assert_eq!(wait(&[&b], Duration::MAX)?, [0]);
    /// assert_eq!((b.try_recv()?, b.try_recv()?), (1, 2));
    /// assert!(b.try_recv().is_err_and(|e| e.is_would_block())); // back to `wait`
    /// # Ok(()) }
    /// ```
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
    ///
    /// ```
    /// use ipc_core::Connection;
    /// # use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (a, b) = UnixStream::pair()?;
    /// # let mut a: Connection<u32, u32> = OwnedFd::from(a).try_into()?;
    /// # let mut b: Connection<u32, u32> = OwnedFd::from(b).try_into()?;
    /// a.send_many([1, 2, 3])?;
    /// drop(a);
    /// let mut sum = 0;
    /// for n in &mut b {
    ///     sum += n?;
    /// }
    /// assert_eq!(sum, 6);
    /// # Ok(()) }
    /// ```
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
