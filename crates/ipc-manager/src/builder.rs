//! Ways to a server: starting one, serving, connecting.

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use ipc_core::{Builder, Connection};
use ipc_socket::{Address, Allow, Listener};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::manager::{Manager, Server, Started};
use crate::proxy::open_session;
use crate::server::Running;
use crate::session::{CALL_TIMEOUT, Session};

/// The longest request or answer, in bytes, unless another limit is set.
const MAX_MESSAGE: u64 = 256 << 20;
/// A page of a snapshot has some bytes more than the request that brought its only element.
const LONGEST: u64 = ipc_core::MAX_MESSAGE - 64;
/// How long the server may take to start.
const START: Duration = Duration::from_secs(20);

/// How to start, serve or connect; see [`Manager::builder`].
///
/// ```
/// use std::time::Duration;
///
/// use ipc_manager::Manager;
///
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = Manager::builder().max_message(1 << 20).call_timeout(Duration::from_secs(5)).start("tcp:127.0.0.1:0")?;
/// let hits = manager.value(0)?;
/// manager.publish("hits", &hits)?;
///
/// // As if it were another process:
/// let other = Manager::builder().authkey(manager.authkey()).separate().connect(manager.address())?;
/// other.open::<ipc_manager::Value<i32>>("hits")?.set(&1)?;
/// assert_eq!((hits.get()?, manager.stats()?.clients), (1, 2));
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "nothing happens until it is used"]
pub struct ManagerBuilder {
    key: Option<Vec<u8>>,
    max_message: u64,
    stays: bool,
    is_separate: bool,
    timeout: Option<Duration>,
    allow: Allow,
    handshake_timeout: Duration,
}

/// What the server's process is given.
#[derive(Serialize, Deserialize)]
struct Setup {
    address: Address,
    key: Vec<u8>,
    max_message: u64,
    allow: Allowed,
    handshake_timeout: Duration,
    line: Connection<std::result::Result<Address, String>, ()>,
}

/// [`Allow`] as it goes to another process.
#[derive(Serialize, Deserialize)]
enum Allowed {
    SameUser,
    Users(Vec<u32>),
    Anyone,
}

impl ManagerBuilder {
    pub(crate) fn new() -> ManagerBuilder {
        ManagerBuilder {
            key: None,
            max_message: MAX_MESSAGE,
            stays: false,
            is_separate: false,
            timeout: None,
            allow: Allow::default(),
            handshake_timeout: Duration::from_secs(10),
        }
    }

    /// The key that shows each end that the other one may do everything. A started server has one of its own unless this is set.
    ///
    /// ```
    /// use ipc_manager::{Error, Manager};
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::builder().authkey("what others know, too").start("unix-abstract:")?;
    /// assert_eq!(manager.authkey(), b"what others know, too");
    /// Manager::connect(manager.address(), "what others know, too")?;
    /// let stranger = Manager::connect(manager.address(), "a guess");
    /// assert!(matches!(stranger, Err(Error::Connect(_))));
    /// # Ok(()) }
    /// ```
    pub fn authkey(mut self, key: impl Into<Vec<u8>>) -> ManagerBuilder {
        self.key = Some(key.into());
        self
    }

    /// The longest request or answer that a server accepts or sends, in bytes; 256 MiB unless set, and never more than 1 GiB.
    ///
    /// ```
    /// use ipc_manager::{Error, Manager};
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::builder().max_message(1 << 20).start("unix-abstract:")?;
    /// assert!(matches!(manager.value(vec![0u8; 2 << 20]), Err(Error::TooLarge { max: 1_048_576, .. })));
    /// let parts = manager.list_of([vec![0u8; 1 << 19]])?;
    /// parts.push(&vec![0; 1 << 19])?; // each request by itself is short enough, and so is each page of a snapshot
    /// assert_eq!(parts.to_vec()?.concat().len(), 1 << 20);
    /// # Ok(()) }
    /// ```
    pub fn max_message(mut self, bytes: u64) -> ManagerBuilder {
        self.max_message = bytes.min(LONGEST);
        self
    }

    /// Lets a started server live on when the manager is dropped or this process ends, until somebody [shuts it down](Manager::shutdown).
    ///
    /// ```
    /// use ipc_manager::Manager;
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::builder().stay().start("unix-abstract:")?;
    /// let (address, key) = (manager.address().clone(), manager.authkey().to_vec());
    /// manager.publish("hits", &manager.value(7)?)?;
    /// drop(manager); // or this program ends, or is killed
    ///
    /// let manager = Manager::connect(&address, key)?;
    /// assert_eq!(manager.open::<ipc_manager::Value<i32>>("hits")?.get()?, 7);
    /// manager.shutdown()?;
    /// # Ok(()) }
    /// ```
    pub fn stay(mut self) -> ManagerBuilder {
        self.stays = true;
        self
    }

    /// See [`Manager::set_call_timeout`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ipc_manager::Manager;
    /// use ipc_socket::Listener;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Lets clients in, and then never answers: as a server that is stopped.
    /// let silent: Listener<u8, u8> = Listener::builder().authkey("a key").bind("unix-abstract:")?;
    /// let address = silent.address().clone();
    /// std::thread::scope(|scope| {
    ///     let accepted = scope.spawn(|| silent.accept_timeout(Duration::from_secs(1)));
    ///     let builder = Manager::builder().authkey("a key").call_timeout(Duration::from_millis(20));
    ///     assert!(builder.connect(&address).is_err_and(|error| error.is_timeout()));
    ///     drop(accepted.join());
    /// });
    /// # Ok(()) }
    /// ```
    pub fn call_timeout(mut self, timeout: Duration) -> ManagerBuilder {
        self.timeout = Some(timeout);
        self
    }

    /// Connects as a client of its own, as if it were another process: what the manager and its objects take, as locks, permits and tasks, is their own, and comes back
    /// when the last of them is dropped. Otherwise all of a process that goes to one server is one client.
    ///
    /// ```
    /// use ipc_manager::{Error, Lock, Manager};
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::start()?;
    /// let ours = manager.lock()?;
    /// manager.publish("lock", &ours)?;
    /// let other = Manager::builder().authkey(manager.authkey()).separate().connect(manager.address())?;
    /// let theirs = other.open::<Lock>("lock")?;
    /// let _guard = ours.lock()?;
    /// assert!(matches!(ours.try_lock(), Err(Error::AlreadyLocked)));
    /// assert!(matches!(theirs.try_lock(), Err(Error::WouldBlock))); // as for another process
    /// assert_eq!(manager.stats()?.clients, 2);
    /// # Ok(()) }
    /// ```
    pub fn separate(mut self) -> ManagerBuilder {
        self.is_separate = true;
        self
    }

    fn session(&self, address: Address, key: Vec<u8>) -> Result<Arc<Session>> {
        let timeout = self.timeout.unwrap_or(CALL_TIMEOUT);
        let session = match self.is_separate {
            true => Session::open(address, key, &[], timeout)?,
            false => open_session(address, key, timeout)?,
        };
        if let Some(timeout) = self.timeout {
            session.set_timeout(timeout);
        }
        Ok(session)
    }

    /// For local addresses: which users a server lets in; the own one and root unless set. They need the key, too.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ipc_manager::{Allow, Manager};
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let builder = Manager::builder().allow(Allow::Anyone).handshake_timeout(Duration::from_secs(2));
    /// let manager = builder.start("unix-abstract:")?;
    /// Manager::connect(manager.address(), manager.authkey())?; // any user who has the key
    /// # Ok(()) }
    /// ```
    pub fn allow(mut self, users: Allow) -> ManagerBuilder {
        self.allow = users;
        self
    }

    /// How long a client may take to show that it has the key, 10 s unless set.
    pub fn handshake_timeout(mut self, timeout: Duration) -> ManagerBuilder {
        self.handshake_timeout = timeout;
        self
    }

    /// As [`Manager::start`], at an address of one's own.
    ///
    /// # Errors
    /// As there.
    pub fn start<A: TryInto<Address>>(self, address: A) -> Result<Manager>
    where
        ipc_socket::Error: From<A::Error>,
    {
        let address = address.try_into().map_err(|error| Error::Listen(error.into()))?;
        let key = match &self.key {
            Some(key) => key.clone(),
            None => {
                let mut key = vec![0; 32];
                getrandom::fill(&mut key)
                    .map_err(|error| Error::io("get random bytes")(std::io::Error::other(error)))?;
                key
            }
        };
        let (ours, theirs) = UnixStream::pair().map_err(Error::io("make a pair of sockets"))?;
        let mut line: Connection<(), std::result::Result<Address, String>> =
            Connection::try_from(OwnedFd::from(ours)).map_err(Error::Start)?;
        let theirs = Connection::try_from(OwnedFd::from(theirs)).map_err(Error::Start)?;
        let allow = match &self.allow {
            Allow::Users(users) => Allowed::Users(users.clone()),
            Allow::Anyone => Allowed::Anyone,
            _ => Allowed::SameUser,
        };
        let (max_message, handshake_timeout) = (self.max_message, self.handshake_timeout);
        let setup = Setup { address, key: key.clone(), max_message, allow, handshake_timeout, line: theirs };
        let builder = Builder::new().name("ipc-manager").daemon(!self.stays).core_dumps(false);
        let process = builder.spawn(serve_until_told, setup).map_err(Error::Start)?;
        let address = match line.recv_timeout(START).map_err(Error::Start)? {
            Ok(address) => address,
            Err(text) => {
                let why = ipc_core::CodecError::new(text);
                return Err(Error::Io { doing: "start the server", source: std::io::Error::other(why) });
            }
        };
        let session = self.session(address, key)?;
        let started = (!self.stays).then(|| {
            Arc::new(Started { process: Some(process), session: Arc::clone(&session), pid: std::process::id() })
        });
        Ok(Manager { session, started })
    }

    /// As [`Manager::serve`].
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let server = ipc_manager::Manager::builder().authkey("a key").max_message(1 << 20).serve("tcp:127.0.0.1:0")?;
    /// let manager = server.manager()?;
    /// assert_eq!(manager.address().to_string(), server.address().to_string()); // with the port that it was given
    /// assert_eq!(manager.stats()?.clients, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As there; without a key [`Error::Listen`].
    pub fn serve<A: TryInto<Address>>(self, address: A) -> Result<Server>
    where
        ipc_socket::Error: From<A::Error>,
    {
        let key = self.key.unwrap_or_default(); // an empty one is refused
        let door = Listener::builder()
            .authkey(key.clone())
            .allow(self.allow)
            .handshake_timeout(self.handshake_timeout)
            .bind(address)
            .map_err(Error::Listen)?;
        let address = door.address().clone();
        Ok(Server { running: Running::start(door, self.max_message)?, address, key })
    }

    /// As [`Manager::connect`].
    ///
    /// # Errors
    /// As there.
    pub fn connect<A: TryInto<Address>>(self, address: A) -> Result<Manager>
    where
        ipc_socket::Error: From<A::Error>,
    {
        let address = address.try_into().map_err(|error| Error::Connect(error.into()))?;
        let session = self.session(address, self.key.clone().unwrap_or_default())?;
        Ok(Manager::of(&session))
    }
}

/// The server's process.
fn serve_until_told(setup: Setup) {
    let _ = nix::unistd::setsid(); // Ctrl-C is for the program, which ends the server when it has tidied up
    let Setup { address, key, max_message, allow, handshake_timeout, mut line } = setup;
    let allow = match allow {
        Allowed::SameUser => Allow::SameUser,
        Allowed::Users(users) => Allow::Users(users),
        Allowed::Anyone => Allow::Anyone,
    };
    let builder = Manager::builder().authkey(key).max_message(max_message).allow(allow);
    let server = builder.handshake_timeout(handshake_timeout).serve(address);
    match server {
        Ok(server) => {
            let _ = line.send(Ok(server.address().clone()));
            drop(line);
            server.join();
        }
        Err(error) => drop(line.send(Err(ipc_core::explain(&error)))),
    }
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerBuilder").field("stays", &self.stays).finish_non_exhaustive()
    }
}
