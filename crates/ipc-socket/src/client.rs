//! The side that connects.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ipc_core::{Connection, Deadline, MAX_MESSAGE, crash_point, wait};

use crate::arrivals::{read, write};
use crate::error::{Error, Result};
use crate::handshake::{Handshake, Terms};
use crate::listener::{HANDSHAKE_TIMEOUT, USER_TIMEOUT, connection, terms};
use crate::{Address, Allow, Peer, local, tcp};

/// How long to wait before the first other try to connect; then longer and longer.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(25);

/// Connects to a [`Listener`](crate::Listener), or to one of Python's.
///
/// ```
/// use ipc_socket::{Client, Connection, Listener};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener: Listener<String, String> = Listener::builder().authkey(b"secret").bind("tcp:127.0.0.1:0")?;
/// let address = listener.address().clone();
/// let server = std::thread::spawn(move || {
///     let mut conn = listener.accept().unwrap();
///     let question = conn.recv().unwrap();
///     conn.send(question + " Yes.").unwrap();
/// });
///
/// let mut conn: Connection<String, String> =
///     Client::builder().authkey(b"secret").retry(true).connect_timeout(&address, Duration::from_secs(5))?;
/// conn.send("Are you there?".to_string())?;
/// assert_eq!(conn.recv()?, "Are you there? Yes.");
/// server.join().unwrap();
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Client(());

/// How to connect; see [`Client::builder`].
///
/// One builder makes any number of connections:
///
/// ```
/// use ipc_socket::{Allow, Client, Connection, Listener};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener: Listener<u32, u32> = Listener::builder().authkey(b"secret").bind("unix-abstract:")?;
/// let address = listener.address().clone();
/// let server = std::thread::spawn(move || {
///     (1..3).zip(listener.iter()).try_for_each(|(n, conn)| conn?.send(n).map_err(ipc_socket::Error::Connection))
/// });
/// let client = Client::builder()
///     .authkey(b"secret")
///     .refuse_md5()
///     .allow(Allow::SameUser) // and no server of another user, who may have been the first with this name
///     .handshake_timeout(Duration::from_secs(2))
///     .max_message(1 << 10);
/// for n in 1..3 {
///     let mut conn: Connection<u32, u32> = client.connect(&address)?;
///     assert_eq!(conn.recv()?, n);
/// }
/// server.join().unwrap()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "nothing happens until it connects"]
pub struct ClientBuilder {
    key: Option<Vec<u8>>,
    refuse_md5: bool,
    handshake_timeout: Duration,
    user_timeout: Duration,
    retry: bool,
    allow: Allow,
    max_message: u64,
}

impl Client {
    /// Connects, without a key; waits while the server has too many clients to accept.
    ///
    /// If the server wants a key, the first receiving call says so ([`ConnectionError::KeyRequired`](crate::ConnectionError::KeyRequired)).
    ///
    /// A server that wants a key says so before its first message:
    ///
    /// ```
    /// use ipc_socket::{Client, Connection, ConnectionError, Listener};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener: Listener<u32, u32> = Listener::builder().authkey(b"secret").bind("unix-abstract:")?;
    /// let mut conn: Connection<u32, u32> = Client::connect(listener.address())?;
    /// // Somebody has come, and nobody is let in.
    /// assert!(listener.accept_timeout(Duration::from_millis(20)).is_err_and(|e| e.is_timeout()));
    /// assert!(matches!(conn.recv(), Err(ConnectionError::KeyRequired)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotListening`], [`Error::BadAddress`], [`Error::Io`].
    ///
    /// # References
    /// CPython `multiprocessing.connection.Client`; connect(2).
    pub fn connect<Tx: ?Sized, Rx, C, A: TryInto<Address>>(address: A) -> Result<Connection<Tx, Rx, C>>
    where
        Error: From<A::Error>,
    {
        Client::builder().connect(address)
    }

    /// As [`connect`](Client::connect), but waits no longer than `timeout`. To find the address of a host by its name may take longer.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as `connect`.
    pub fn connect_timeout<Tx: ?Sized, Rx, C, A: TryInto<Address>>(
        address: A,
        timeout: Duration,
    ) -> Result<Connection<Tx, Rx, C>>
    where
        Error: From<A::Error>,
    {
        Client::builder().connect_timeout(address, timeout)
    }

    /// Says how to connect.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            key: None,
            refuse_md5: false,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            user_timeout: USER_TIMEOUT,
            retry: false,
            allow: Allow::Anyone,
            max_message: MAX_MESSAGE,
        }
    }
}

impl ClientBuilder {
    /// Shows the server that this end has the key, and connects only to a server that has it, too, or can pass the question on; see
    /// [Keys](crate#keys). Python's `authkey`.
    ///
    /// # References
    /// CPython `multiprocessing.connection.answer_challenge`, `deliver_challenge`.
    pub fn authkey(mut self, key: impl Into<Vec<u8>>) -> ClientBuilder {
        self.key = Some(key.into());
        self
    }

    /// Does not use MD5, so does not connect to a listener of Python up to 3.11.
    pub fn refuse_md5(mut self) -> ClientBuilder {
        self.refuse_md5 = true;
        self
    }

    /// How long the server may take with the exchange of keys, 10 s unless set; within the time-out of the call, if it has one.
    pub fn handshake_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.handshake_timeout = timeout;
        self
    }

    /// For TCP: after what time without an answer the other machine counts as lost, 10 s unless set. Then the connection is disconnected.
    ///
    /// The system counts it as no answer, too, if the other process does not *read* for so long while the buffers between are full, as when it is
    /// stopped or busy. Where that may happen set a longer time; `Duration::MAX` leaves it to the system (some 15 minutes, or for ever if nothing is sent).
    ///
    /// # References
    /// `TCP_USER_TIMEOUT`, `SO_KEEPALIVE` in tcp(7) and socket(7).
    pub fn user_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.user_timeout = timeout;
        self
    }

    /// Whether to try again while nobody listens yet: until the time-out, or for ever.
    ///
    /// ```
    /// use ipc_socket::{Address, Client, Connection, Listener};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let address = Address::abstract_name(format!("ipc-socket-doc-retry-{}", std::process::id()));
    /// let client = std::thread::spawn({
    ///     let address = address.clone();
    ///     move || -> ipc_socket::Result<Connection<u32, u32>> { Client::builder().retry(true).connect(address) }
    /// });
    /// let listener: Listener<u32, u32> = Listener::bind(address)?; // before it or after it
    /// listener.accept()?.send(1)?;
    /// assert_eq!(client.join().unwrap()?.recv()?, 1);
    /// # Ok(()) }
    /// ```
    pub fn retry(mut self, retry: bool) -> ClientBuilder {
        self.retry = retry;
        self
    }

    /// For local sockets: which user the server may be; any unless set. With a name that is no file anybody may be the first to listen.
    pub fn allow(mut self, users: Allow) -> ClientBuilder {
        self.allow = users;
        self
    }

    /// The longest message of the connection, in bytes; see [`Connection::set_max_message`].
    pub fn max_message(mut self, bytes: u64) -> ClientBuilder {
        self.max_message = bytes;
        self
    }

    /// Connects. Without `retry` it waits only while the server has too many clients to accept, and during the exchange of keys.
    ///
    /// ```
    /// use ipc_socket::{Client, Connection, Listener};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener: Listener<u32, u32> = Listener::builder().authkey(b"right").bind("unix-abstract:")?;
    /// let address = listener.address().clone();
    /// let server = std::thread::spawn(move || listener.accept().map(drop));
    /// let wrong: Result<Connection<u32, u32>, _> = Client::builder().authkey(b"wrong").connect(&address);
    /// assert!(wrong.is_err_and(|e| e.is_authentication()));
    /// // That one has not ended the server's `accept`.
    /// let _conn: Connection<u32, u32> = Client::builder().authkey(b"right").connect(&address)?;
    /// server.join().unwrap()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Client::connect`]; with a key also [`Error::KeyRefused`], [`Error::WrongKey`], [`Error::NoChallenge`], [`Error::Silent`], [`Error::WeakDigest`],
    /// [`Error::Protocol`], [`Error::Disconnected`], [`Error::Timeout`] and [`Error::BadKey`]; [`Error::NotAllowed`].
    pub fn connect<Tx: ?Sized, Rx, C, A: TryInto<Address>>(&self, address: A) -> Result<Connection<Tx, Rx, C>>
    where
        Error: From<A::Error>,
    {
        self.connect_by(address.try_into()?, Deadline::NEVER)
    }

    /// As [`connect`](ClientBuilder::connect), but waits no longer than `timeout` in all, also while the server is stopped.
    ///
    /// # Errors
    /// [`Error::Timeout`], or what the last try failed with; else as `connect`.
    pub fn connect_timeout<Tx: ?Sized, Rx, C, A: TryInto<Address>>(
        &self,
        address: A,
        timeout: Duration,
    ) -> Result<Connection<Tx, Rx, C>>
    where
        Error: From<A::Error>,
    {
        self.connect_by(address.try_into()?, Deadline::after(timeout))
    }

    fn connect_by<Tx: ?Sized, Rx, C>(&self, address: Address, deadline: Deadline) -> Result<Connection<Tx, Rx, C>> {
        let address = address.check()?;
        if address.is_open() {
            let why = "there is nothing to connect to: it is for a listener, whose `address` tells what was chosen";
            return Err(Error::BadAddress { address: address.to_string(), why });
        }
        let terms = terms(self.key.clone(), self.refuse_md5)?;
        let socket = self.reach(&address, deadline)?;
        crash_point!("connect.connected");
        self.allow.check(Peer::of(&socket)?)?;
        let keyless = terms.is_none();
        if let Some(terms) = terms {
            shake_hands(&socket, terms, self.handshake_timeout, deadline)?;
        }
        connection(socket, keyless, self.max_message)
    }

    /// Connects as soon as somebody listens, if that is wanted.
    fn reach(&self, address: &Address, deadline: Deadline) -> Result<OwnedFd> {
        let mut pause = FIRST_PAUSE;
        let mut last = None;
        loop {
            let error = match (dial(address, self.user_timeout, deadline), last.take()) {
                (Err(error @ Error::NotListening { .. }), _) if self.retry => error,
                // More telling than that there was no time for one more try.
                (Err(Error::Timeout), Some(error)) => return Err(error),
                (other, _) => return other,
            };
            let left = deadline.remaining().unwrap_or(Duration::MAX);
            if left.is_zero() {
                return Err(error);
            }
            // There is no event for it that works for all kinds of addresses.
            std::thread::sleep(pause.min(left));
            last = Some(error);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("retry", &self.retry).finish_non_exhaustive()
    }
}

fn dial(address: &Address, user_timeout: Duration, deadline: Deadline) -> Result<OwnedFd> {
    match address {
        Address::Tcp { host, port } => {
            let socket = tcp::dial(host, *port, deadline)?;
            tcp::prepare(&socket, user_timeout)?;
            Ok(socket)
        }
        local => local::dial(local, deadline),
    }
}

fn shake_hands(socket: &OwnedFd, terms: Terms, patience: Duration, deadline: Deadline) -> Result<()> {
    let mut handshake = Handshake::client(terms);
    let own = Instant::now().checked_add(patience);
    while !handshake.is_over() {
        let left = deadline.remaining().unwrap_or(Duration::MAX);
        let own_left = own.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        match read(socket, &mut handshake)? {
            None => {
                if wait(&[&socket.as_fd()], left.min(own_left)).map_err(Error::Connection)?.is_empty() {
                    return Err(if handshake.is_untouched() { Error::Silent } else { Error::Timeout });
                }
            }
            Some(result) => {
                let sent = write(socket, &handshake.take_output());
                result?;
                sent?;
            }
        }
    }
    crash_point!("handshake.done");
    Ok(())
}
