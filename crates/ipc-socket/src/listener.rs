//! The side that is connected to.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use ipc_core::{Connection, Deadline, MAX_MESSAGE, Postcard, Waitable};

use crate::arrivals::{Arrivals, OnRefused};
use crate::digest::Key;
use crate::error::{Error, Result};
use crate::handshake::Terms;
use crate::local::Local;
use crate::{Address, Allow, Peer, tcp};

/// How long an exchange of keys may take.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After what time without an answer another machine counts as lost.
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Listens at an address, and accepts clients as connections that send `Tx` and receive `Rx`.
///
/// Several threads may accept from one listener. When it is dropped it no longer listens, and the file of its socket is gone; connections
/// that were accepted live on. When its process is killed, the file stays, nobody can connect to it, and the next listener that is bound
/// to the address replaces it. The file of a living listener is never replaced, also not that of a stopped one. Who may read the folder can, by
/// a lock on it, keep a file from being replaced: where other users are not trusted, use a folder of one's own, and not `/tmp`.
///
/// ```
/// use ipc_socket::{Client, Connection, Listener, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener: Listener<String, u32> = Listener::bind("unix-abstract:")?;
/// let client = Process::spawn(
///     |address: String| {
///         let mut conn: Connection<u32, String> = Client::connect(&address).unwrap();
///         conn.send(3).unwrap();
///         conn.recv().unwrap()
///     },
///     listener.address().to_string(),
/// )?;
/// let mut conn = listener.accept()?;
/// let n = conn.recv()?;
/// conn.send("x".repeat(n as usize))?;
/// assert_eq!(client.join()?, "xxx");
/// # Ok(()) }
/// ```
pub struct Listener<Tx, Rx, C = Postcard> {
    arrivals: Arrivals,
    address: Address,
    keyless: bool,
    max_message: u64,
    types: PhantomData<fn(Tx, C) -> Rx>,
}

/// A client that was not let in.
///
/// ```
/// use ipc_socket::{Allow, Client, Connection, Listener, Peer, Refusal};
/// use std::{sync::mpsc, time::Duration};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (sender, refusals) = mpsc::channel();
/// let listener: Listener<(), ()> = Listener::builder()
///     .allow(Allow::Users(vec![])) // no users
///     .on_refused(move |refusal: &Refusal| sender.send((refusal.peer, refusal.error.to_string())).unwrap())
///     .bind("unix-abstract:")?;
/// let mut conn: Connection<(), ()> = Client::connect(listener.address())?; // as far as the system
/// assert!(listener.accept_timeout(Duration::from_millis(20)).is_err_and(|e| e.is_timeout()));
/// let (peer, why) = refusals.recv()?;
/// assert!(matches!(peer, Some(Peer::Local { pid, .. }) if pid == std::process::id()));
/// assert!(why.starts_with("not let in: process"));
/// assert!(conn.recv().is_err_and(|e| e.is_disconnected()));
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// Who it was, if that could be found out.
    pub peer: Option<Peer>,
    /// Why not.
    pub error: Error,
}

/// How to listen; see [`Listener::builder`].
///
/// ```
/// use ipc_socket::{Allow, Client, Connection, ConnectionError, Listener};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener: Listener<String, Vec<u8>> = Listener::builder()
///     .authkey(b"secret")
///     .refuse_md5()
///     .handshake_timeout(Duration::from_secs(2))
///     .allow(Allow::SameUser)
///     .max_message(1 << 10)
///     .bind("unix-abstract:")?;
/// let address = listener.address().clone();
/// let client = std::thread::spawn(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     let mut conn: Connection<Vec<u8>, String> = Client::builder().authkey(b"secret").connect(address)?;
///     Ok(conn.send(vec![0; 2000])?)
/// });
/// let mut conn = listener.accept()?;
/// assert!(matches!(conn.recv(), Err(ConnectionError::TooLarge { max: 1024, .. })));
/// client.join().unwrap().map_err(|error| error.to_string())?;
/// # Ok(()) }
/// ```
#[must_use = "nothing happens until it is bound"]
pub struct ListenerBuilder {
    key: Option<Vec<u8>>,
    refuse_md5: bool,
    handshake_timeout: Duration,
    user_timeout: Duration,
    mode: u32,
    allow: Allow,
    max_message: u64,
    on_refused: OnRefused,
}

/// The socket that listens.
#[derive(Debug)]
pub(crate) enum Bound {
    Local(Local),
    Tcp(TcpListener, Duration),
}

impl Bound {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Bound::Local(local) => local.fd(),
            Bound::Tcp(listener, _) => listener.as_fd(),
        }
    }

    /// The next client, if there is one.
    pub(crate) fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Bound::Local(local) => local.accept(),
            Bound::Tcp(listener, _) => listener.accept().map(|(stream, _)| stream.into()),
        }
    }

    /// Sets what a new connection needs.
    pub(crate) fn prepare(&self, socket: &OwnedFd) -> Result<()> {
        match self {
            Bound::Local(_) => Ok(()),
            Bound::Tcp(_, limit) => tcp::prepare(socket, *limit),
        }
    }
}

impl Listener<(), ()> {
    /// Says how to listen, before it is [bound](ListenerBuilder::bind), where the types of the messages are known.
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder::new()
    }
}

impl<Tx, Rx, C> Listener<Tx, Rx, C> {
    /// Listens at an address, without a key.
    ///
    /// What a killed process has left is replaced, what a living one has is not:
    ///
    /// ```
    /// use ipc_socket::{Address, Error, Listener};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-socket-doc-bind-{}.sock", std::process::id()));
    /// let address = Address::unix(&path);
    /// drop(std::os::unix::net::UnixListener::bind(&path)?); // leaves its file, as one that is killed
    /// let listener: Listener<(), ()> = Listener::bind(&address)?;
    /// let second: Result<Listener<(), ()>, _> = Listener::bind(&address);
    /// assert!(matches!(second, Err(Error::InUse { .. })));
    /// drop(listener);
    /// assert!(!path.exists());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::BadAddress`], [`Error::InUse`], [`Error::Io`].
    ///
    /// # References
    /// CPython `multiprocessing.connection.Listener`; bind(2), unix(7), tcp(7).
    pub fn bind<A: TryInto<Address>>(address: A) -> Result<Self>
    where
        Error: From<A::Error>,
    {
        ListenerBuilder::new().bind(address)
    }

    /// The address: also what was chosen where it was left open.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Accepts the next client that may come in; waits for one.
    ///
    /// With a key, what clients exchange before they are in happens in here, for all that have come at the same time: one that is silent, slow or
    /// has another key holds up none of the others, and does not end this call. It is told to [`ListenerBuilder::on_refused`], and sees an
    /// error itself.
    ///
    /// # Errors
    /// [`Error::Io`], as at the limit of open files. The client then waits, and can be accepted later.
    ///
    /// # References
    /// CPython `multiprocessing.connection.Listener.accept`, which fails for a client with another key, and waits for a silent one.
    pub fn accept(&self) -> Result<Connection<Tx, Rx, C>> {
        self.accept_by(Deadline::NEVER)
    }

    /// As [`accept`](Listener::accept), but does not wait.
    ///
    /// With [`wait`](crate::wait), one thread serves the clients that are in and those that come:
    ///
    /// ```
    /// use ipc_socket::{Client, Connection, Listener, wait};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener: Listener<u32, u32> = Listener::bind("unix-abstract:")?;
    /// assert!(listener.try_accept().is_err_and(|e| e.is_would_block()));
    /// let mut client: Connection<u32, u32> = Client::connect(listener.address())?;
    /// assert_eq!(wait(&[&listener], Duration::MAX)?, [0]);
    /// let mut conn = listener.try_accept()?;
    /// client.send(1)?;
    /// assert_eq!(wait(&[&listener, &conn], Duration::MAX)?, [1]);
    /// assert_eq!(conn.recv()?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::WouldBlock`]: no client is in. Else as `accept`.
    pub fn try_accept(&self) -> Result<Connection<Tx, Rx, C>> {
        self.accept_by(Deadline::NOW)
    }

    /// As [`accept`](Listener::accept), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// [`Error::Timeout`]: no client came in. Else as `accept`.
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Connection<Tx, Rx, C>> {
        self.accept_by(Deadline::after(timeout))
    }

    /// Accepts client after client, without end: each step waits, as [`accept`](Listener::accept) does. In a `zip` it stands on the right, as on the
    /// left it is asked for one client more than there are partners.
    pub fn iter(&self) -> Incoming<'_, Tx, Rx, C> {
        Incoming { listener: self }
    }

    fn accept_by(&self, deadline: Deadline) -> Result<Connection<Tx, Rx, C>> {
        let socket = self.arrivals.accept(deadline)?;
        connection(socket, self.keyless, self.max_message)
    }
}

/// The connection that a socket becomes.
pub(crate) fn connection<Tx: ?Sized, Rx, C>(
    socket: OwnedFd,
    keyless: bool,
    max_message: u64,
) -> Result<Connection<Tx, Rx, C>> {
    let mut connection = Connection::try_from(socket).map_err(Error::Connection)?;
    connection.set_max_message(max_message);
    if keyless {
        connection.refuse_challenge();
    }
    Ok(connection)
}

impl ListenerBuilder {
    fn new() -> ListenerBuilder {
        ListenerBuilder {
            key: None,
            refuse_md5: false,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            user_timeout: USER_TIMEOUT,
            mode: 0o600,
            allow: Allow::default(),
            max_message: MAX_MESSAGE,
            on_refused: Arc::new(|_| ()),
        }
    }

    /// Lets in only who has this key, and shows clients that this end has it. Python's `authkey`, of any length but 0.
    ///
    /// The key itself does not cross. What is sent afterwards is not encrypted.
    ///
    /// # References
    /// CPython `multiprocessing.connection.deliver_challenge`, `answer_challenge`.
    pub fn authkey(mut self, key: impl Into<Vec<u8>>) -> ListenerBuilder {
        self.key = Some(key.into());
        self
    }

    /// Lets in nobody who shows to have the key by MD5, which is all that Python up to 3.11 can.
    pub fn refuse_md5(mut self) -> ListenerBuilder {
        self.refuse_md5 = true;
        self
    }

    /// How long a client may take to show that it has the key, 10 s unless set.
    pub fn handshake_timeout(mut self, timeout: Duration) -> ListenerBuilder {
        self.handshake_timeout = timeout;
        self
    }

    /// For TCP: after what time without an answer the other machine counts as lost, 10 s unless set. Then the connection is disconnected.
    ///
    /// The system counts it as no answer, too, if the other process does not *read* for so long while the buffers between are full, as when it is
    /// stopped or busy. Where that may happen set a longer time; `Duration::MAX` leaves it to the system (some 15 minutes, or for ever if nothing is sent).
    ///
    /// ```
    /// use ipc_socket::{Client, Connection, Listener};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Both sides say how long they would miss the other machine.
    /// let patience = Duration::from_secs(60);
    /// let listener: Listener<u32, u32> = Listener::builder().user_timeout(patience).bind("tcp:127.0.0.1:0")?;
    /// let mut conn: Connection<u32, u32> = Client::builder().user_timeout(patience).connect(listener.address())?;
    /// conn.send(1)?;
    /// assert_eq!(listener.accept()?.recv()?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// `TCP_USER_TIMEOUT`, `SO_KEEPALIVE` in tcp(7) and socket(7).
    pub fn user_timeout(mut self, timeout: Duration) -> ListenerBuilder {
        self.user_timeout = timeout;
        self
    }

    /// The permissions of the socket's file, 0o600 unless set: who may write it may connect, as far as [`allow`](ListenerBuilder::allow) lets him.
    ///
    /// ```
    /// use ipc_socket::{Address, Listener};
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener: Listener<(), ()> = Listener::builder().mode(0o660).bind("unix:")?; // the group, too, whatever the umask is
    /// let Address::Unix(path) = listener.address() else { panic!("it has another address") };
    /// assert_eq!(std::fs::metadata(path)?.permissions().mode() & 0o777, 0o660);
    /// # Ok(()) }
    /// ```
    pub fn mode(mut self, mode: u32) -> ListenerBuilder {
        self.mode = mode;
        self
    }

    /// For local sockets: which users are let in; the own one and root unless set.
    pub fn allow(mut self, users: Allow) -> ListenerBuilder {
        self.allow = users;
        self
    }

    /// The longest message of the connections, in bytes; see [`Connection::set_max_message`].
    pub fn max_message(mut self, bytes: u64) -> ListenerBuilder {
        self.max_message = bytes;
        self
    }

    /// Is called for every client that is not let in, by the thread that accepts: to log it.
    ///
    /// ```
    /// use ipc_socket::{Client, Connection, Listener};
    /// use std::sync::mpsc;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (sender, refusals) = mpsc::channel();
    /// let listener: Listener<u32, u32> = Listener::builder()
    ///     .authkey(b"right")
    ///     .on_refused(move |refusal| sender.send(refusal.error.to_string()).unwrap())
    ///     .bind("unix-abstract:")?;
    /// let address = listener.address().clone();
    /// let clients = std::thread::spawn(move || -> [ipc_socket::Result<Connection<u32, u32>>; 2] {
    ///     [b"wrong", b"right"].map(|key| Client::builder().authkey(key).connect(&address))
    /// });
    /// listener.accept()?; // the second one
    /// assert_eq!(refusals.recv()?, "the other end has another key");
    /// let [wrong, right] = clients.join().unwrap();
    /// assert_eq!(wrong.unwrap_err().to_string(), "the other end does not accept the key");
    /// assert!(right.is_ok());
    /// # Ok(()) }
    /// ```
    pub fn on_refused(mut self, tell: impl Fn(&Refusal) + Send + Sync + 'static) -> ListenerBuilder {
        self.on_refused = Arc::new(tell);
        self
    }

    /// Listens.
    ///
    /// # Errors
    /// As [`Listener::bind`], and [`Error::BadKey`].
    pub fn bind<Tx, Rx, C, A: TryInto<Address>>(self, address: A) -> Result<Listener<Tx, Rx, C>>
    where
        Error: From<A::Error>,
    {
        let address = address.try_into().map_err(Error::from)?.check()?;
        let terms = terms(self.key, self.refuse_md5)?;
        let address = if address.is_open() { chosen(address)? } else { address };
        let (bound, address) = match address {
            Address::Unix(path) => {
                let local = Local::bind_path(&path, self.mode)?;
                // From the root, unless that is too long to be connected to.
                let whole = std::path::absolute(&path).ok().and_then(|whole| Address::Unix(whole).check().ok());
                (Bound::Local(local), whole.unwrap_or(Address::Unix(path)))
            }
            Address::Abstract(name) => (Bound::Local(Local::bind_abstract(&name)?), Address::Abstract(name)),
            Address::Tcp { host, port } => {
                let listener = tcp::bind(&host, port)?;
                let real = listener.local_addr().map_err(Error::io("ask for the address"))?;
                (Bound::Tcp(listener, self.user_timeout), real.into())
            }
        };
        let keyless = terms.is_none();
        let arrivals = Arrivals::new(bound, terms, self.allow, self.handshake_timeout, self.on_refused)?;
        Ok(Listener { arrivals, address, keyless, max_message: self.max_message, types: PhantomData })
    }
}

pub(crate) fn terms(key: Option<Vec<u8>>, refuse_md5: bool) -> Result<Option<Terms>> {
    let Some(key) = key else { return Ok(None) };
    Ok(Some(Terms { key: Arc::new(Key::new(key)?), refuse_md5 }))
}

/// A name that nobody else has.
fn chosen(address: Address) -> Result<Address> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Error::Io { doing: "get random bytes", source: io::Error::other(error) })?;
    let name = format!("ipc-{:016x}", u64::from_ne_bytes(random));
    match address {
        Address::Unix(_) => Address::Unix(std::env::temp_dir().join(name + ".sock")).check(),
        Address::Abstract(_) => Ok(Address::Abstract(name)),
        port => Ok(port), // the system chooses
    }
}

impl<Tx, Rx, C> AsFd for Listener<Tx, Rx, C> {
    /// A descriptor that becomes readable when there is something to do for [`accept`](Listener::accept): for event loops, together with
    /// [`try_accept`](Listener::try_accept).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrivals.fd()
    }
}

impl<Tx, Rx, C> Waitable for Listener<Tx, Rx, C> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.arrivals.fd()
    }

    fn is_still_ready(&self) -> bool {
        self.arrivals.look()
    }
}

impl<Tx, Rx, C> fmt::Debug for Listener<Tx, Rx, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for ListenerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerBuilder").field("allow", &self.allow).finish_non_exhaustive()
    }
}

/// Accepts client after client; see [`Listener::iter`].
///
/// ```
/// use ipc_socket::{Client, Connection, Listener};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener: Listener<u32, ()> = Listener::bind("unix-abstract:")?;
/// let mut clients = Vec::new();
/// for _ in 0..3 {
///     clients.push(Client::connect::<(), u32, ipc_socket::Postcard, _>(listener.address())?);
/// }
/// for (n, conn) in (1..4).zip(&listener) {
///     conn?.send(n)?;
/// }
/// let numbers = clients.iter_mut().map(|conn| conn.recv()).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(numbers, [1, 2, 3]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Incoming<'a, Tx, Rx, C> {
    listener: &'a Listener<Tx, Rx, C>,
}

impl<Tx, Rx, C> Iterator for Incoming<'_, Tx, Rx, C> {
    type Item = Result<Connection<Tx, Rx, C>>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept())
    }
}

impl<'a, Tx, Rx, C> IntoIterator for &'a Listener<Tx, Rx, C> {
    type Item = Result<Connection<Tx, Rx, C>>;
    type IntoIter = Incoming<'a, Tx, Rx, C>;

    fn into_iter(self) -> Incoming<'a, Tx, Rx, C> {
        self.iter()
    }
}
