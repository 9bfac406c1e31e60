//! What can go wrong.

use std::io;

use ipc_core::CodecError;

use crate::Kind;
use crate::protocol::Fault;

/// Why an operation on a manager or an object did not succeed. Unless said otherwise, nothing has changed.
///
/// # Of every operation
/// Each call that asks the server for something can fail with [`Disconnected`](Error::Disconnected), [`Timeout`](Error::Timeout),
/// [`NoSuchObject`](Error::NoSuchObject), [`TooLarge`](Error::TooLarge), [`Forked`](Error::Forked), [`Protocol`](Error::Protocol),
/// [`Connect`](Error::Connect) and [`Connection`](Error::Connection), as when there are too many open files for one more;
/// one that takes a value with [`Encode`](Error::Encode), and one that returns a value with [`Decode`](Error::Decode).
///
/// ```
/// use ipc_manager::{Error, Manager};
///
/// # fn main() -> Result<(), Error> {
/// let manager = Manager::start()?;
/// let list = manager.list_of([1, 2])?;
/// assert!(matches!(list.remove(2), Err(Error::OutOfRange { index: 2, len: 2 })));
/// drop(manager);
/// assert!(list.len().is_err_and(|error| error.is_disconnected()));
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server has ended, or the connection to it is lost. What was just asked for may have been done or not.
    #[error("the manager's server is gone")]
    Disconnected,
    /// The time passed. A call that waits for something has not got it; any other may have been done or not, as the server did not answer.
    #[error("timed out")]
    Timeout,
    /// A `try_` call would have had to wait: the queue is full or empty, the lock is taken, no permit is free.
    #[error("the call would have to wait")]
    WouldBlock,
    /// The last owner of the lock died, or ended without giving it back: what the lock protects may be half changed. Nobody gets it until one
    /// takes it with `lock_or_repair`.
    #[error("the last owner of the lock died with it")]
    OwnerDied,
    /// This thread has the lock already.
    #[error("this thread has the lock already")]
    AlreadyLocked,
    /// This process (of a lock: this thread) has nothing that it could give back.
    #[error("the lock or permit is not held")]
    NotHeld,
    /// This thread has taken no task of the queue that is not done yet.
    #[error("this thread has no task of the queue that is not done yet")]
    NoTask,
    /// The barrier is broken.
    #[error("the barrier is broken{}", if *by_death { ": one who took part has died" } else { "" })]
    Broken {
        /// Whether a process died that had taken part; else somebody gave up waiting, or aborted it.
        by_death: bool,
    },
    /// There is no such position.
    #[error("there is no position {index} in {len} elements")]
    OutOfRange {
        /// The position.
        index: usize,
        /// How many elements there are.
        len: u64,
    },
    /// There is no object of this name.
    #[error("there is no object named `{name}`")]
    NoSuchName {
        /// The name.
        name: String,
    },
    /// There is an object of this name already.
    #[error("there is an object named `{name}` already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The object has a name already, and can have one only.
    #[error("the object is named `{name}` already")]
    HasName {
        /// The name that it has.
        name: String,
    },
    /// The object is gone: all who held it have let it go.
    #[error("the object is gone")]
    NoSuchObject,
    /// The object is of another type than it was taken for.
    #[error("the type of the object is {kind}{}", if types.is_empty() { String::new() } else { format!("<{types}>") })]
    WrongType {
        /// What it is.
        kind: Kind,
        /// The types in it.
        types: String,
    },
    /// The attribute of a namespace is of another type than it was taken for.
    #[error("the type of the attribute `{name}` is {types}")]
    WrongAttribute {
        /// Its name.
        name: String,
        /// What it was set as.
        types: String,
    },
    /// The server speaks another version of the protocol.
    #[error("the server speaks version {0} of the protocol")]
    Version(u32),
    /// Something has a limit that is reached, as the snapshots that a process may be in the middle of.
    #[error("too many at once")]
    TooMany,
    /// A request exceeds what the server accepts.
    #[error("a request of {len} bytes exceeds the server's limit of {max}")]
    TooLarge {
        /// The request's length in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The server did not understand the request, or this end not its answer: it is no manager's server, or not of this version.
    #[error("the other end does not speak the protocol")]
    Protocol,
    /// The operation does not exist for this object, as changing the length of an array.
    #[error("the object cannot do that")]
    Unfit,
    /// The value cannot be encoded, as it has handles in it, or proxies of another server.
    #[error("cannot encode the value")]
    Encode(#[source] CodecError),
    /// The bytes are not a value of the type.
    #[error("cannot decode the value")]
    Decode(#[source] CodecError),
    /// This process is a copy of the one that has the manager, made by a fork without exec.
    #[error("this process was forked, and a forked copy cannot use the manager of the original")]
    Forked,
    /// The server cannot be reached or does not let this process in.
    #[error("cannot connect to the manager's server")]
    Connect(#[source] ipc_socket::Error),
    /// The address cannot be listened at.
    #[error("cannot listen")]
    Listen(#[source] ipc_socket::Error),
    /// The process of the server cannot be started.
    #[error("cannot start the server")]
    Start(#[source] ipc_core::Error),
    /// The connection failed.
    #[error("the connection to the server failed")]
    Connection(#[source] ipc_core::Error),
    /// The operating system refused a step.
    #[error("cannot {doing}")]
    Io {
        /// The step, as in "cannot start a thread".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the time passed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let queue = manager.queue::<u32>()?;
    /// assert!(queue.get_timeout(Duration::from_millis(1)).is_err_and(|error| error.is_timeout()));
    /// assert!(queue.try_get().is_err_and(|error| !error.is_timeout()));
    /// # Ok(()) }
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout)
    }

    /// Whether a `try_` call found nothing to do at once.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let queue = manager.queue::<u32>()?;
    /// let next = match queue.try_get() {
    ///     Err(error) if error.is_would_block() => None, // nothing there; not a failure
    ///     other => Some(other?),
    /// };
    /// assert_eq!(next, None);
    /// # Ok(()) }
    /// ```
    pub fn is_would_block(&self) -> bool {
        matches!(self, Error::WouldBlock)
    }

    /// Whether the server is gone.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let value = manager.value(1)?;
    /// manager.shutdown()?; // as if it had been killed
    /// assert!(value.get().is_err_and(|error| error.is_disconnected()));
    /// # Ok(()) }
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Error::Disconnected)
    }

    /// Whether the last owner of a lock died with it.
    ///
    /// ```
    /// use ipc_manager::{Lock, Manager, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let lock = manager.lock()?;
    /// let child = Process::spawn(|lock: Lock| std::mem::forget(lock.lock().unwrap()), lock.clone())?;
    /// child.join()?;
    /// assert!(lock.lock().is_err_and(|error| error.is_owner_died()));
    /// # Ok(()) }
    /// ```
    pub fn is_owner_died(&self) -> bool {
        matches!(self, Error::OwnerDied)
    }

    /// Names the step that failed; for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::Io { doing, source: source.into() }
    }

    /// What the server says, of a request that was about this name, or this position.
    pub(crate) fn of(fault: Fault, name: &str, index: usize) -> Error {
        match fault {
            Fault::Version(version) => Error::Version(version),
            Fault::NoObject => Error::NoSuchObject,
            Fault::NoName => Error::NoSuchName { name: name.into() },
            Fault::NameTaken => Error::NameTaken { name: name.into() },
            Fault::HasName(name) => Error::HasName { name },
            Fault::WrongType { kind, types } => Error::WrongType { kind, types },
            Fault::WouldWait => Error::WouldBlock,
            Fault::Cancelled => Error::Timeout,
            Fault::OutOfRange { len } => Error::OutOfRange { index, len },
            Fault::OwnerDied => Error::OwnerDied,
            Fault::AlreadyLocked => Error::AlreadyLocked,
            Fault::NotHeld => Error::NotHeld,
            Fault::NoTask => Error::NoTask,
            Fault::Broken { by_death } => Error::Broken { by_death },
            Fault::TooMany => Error::TooMany,
            Fault::Unfit => Error::Unfit,
            Fault::NoSession => Error::Disconnected,
            Fault::Malformed => Error::Protocol,
        }
    }
}

/// What a connection reports, as the manager's users see it.
impl From<ipc_core::Error> for Error {
    fn from(error: ipc_core::Error) -> Error {
        match error {
            ipc_core::Error::Timeout => Error::Timeout,
            ipc_core::Error::WouldBlock => Error::WouldBlock,
            ipc_core::Error::Disconnected | ipc_core::Error::Truncated { .. } => Error::Disconnected,
            ipc_core::Error::Encode(error) => Error::Encode(error),
            ipc_core::Error::Decode(error) => Error::Decode(error),
            ipc_core::Error::TooLarge { len, max } => Error::TooLarge { len, max },
            ipc_core::Error::Malformed(_) => Error::Protocol,
            error => Error::Connection(error),
        }
    }
}
