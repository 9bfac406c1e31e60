//! What can go wrong on the way to a connection.

use std::convert::Infallible;
use std::io;

use crate::Peer;

/// Why there is no connection. What can go wrong *on* one is [`ConnectionError`](crate::ConnectionError).
///
/// ```
/// use ipc_socket::{Address, Client, Connection, Listener, Result};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener: Listener<(), ()> = Listener::bind("unix-abstract:")?;
/// assert!(listener.try_accept().is_err_and(|e| e.is_would_block()));
/// // A client that has a key, where nobody asks for one.
/// let client = Client::builder().authkey(b"secret").handshake_timeout(Duration::from_millis(20));
/// let silent: Result<Connection<(), ()>> = client.connect(listener.address());
/// assert!(silent.is_err_and(|e| e.is_timeout()));
/// let address = listener.address().clone();
/// drop(listener);
/// let nobody: Result<Connection<(), ()>> = client.connect(address);
/// assert!(nobody.is_err_and(|e| e.is_not_listening()));
///
/// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let address = Address::from(server.local_addr()?);
/// let hangs_up = std::thread::spawn(move || server.accept().map(drop));
/// let ended: Result<Connection<(), ()>> = Client::builder().authkey(b"secret").connect(address);
/// assert!(ended.is_err_and(|e| e.is_disconnected()));
/// hangs_up.join().unwrap()?;
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no address, or the address cannot be used.
    #[error("`{address}` is no usable address: {why}")]
    BadAddress {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Somebody else listens there, or what is there is no socket.
    #[error("`{address}` is in use")]
    InUse {
        /// The address.
        address: String,
    },
    /// Nobody listens there (any more, or yet: see [`ClientBuilder::retry`](crate::ClientBuilder::retry)).
    #[error("nobody listens at `{address}`")]
    NotListening {
        /// The address.
        address: String,
    },
    /// The time passed. Also: the other end was silent for too long while keys were checked.
    #[error("timed out")]
    Timeout,
    /// A `try_` call would have had to wait.
    #[error("the call would have to wait")]
    WouldBlock,
    /// This key cannot be used.
    #[error("unusable key: {0}")]
    BadKey(&'static str),
    /// The other end does not have our key.
    #[error("the other end has another key")]
    WrongKey,
    /// The other end says that it does not accept our key.
    #[error("the other end does not accept the key")]
    KeyRefused,
    /// The server does not ask for a key, though this end has one: it speaks at once, so it has no key, or speaks another protocol.
    #[error("the server does not ask for a key")]
    NoChallenge,
    /// The server did not ask for a key in time: it has none, though this end has one, or does not come to accept this client. Also
    /// [`is_timeout`](Error::is_timeout).
    #[error("the server did not ask for a key in time")]
    Silent,
    /// The other end wants to use MD5, and this end does not.
    #[error("the other end wants to use MD5, which is refused here")]
    WeakDigest,
    /// The other end sent something that does not belong into an exchange of keys.
    #[error("the other end does not speak the protocol: {0}")]
    Protocol(&'static str),
    /// The other end closed, or died, before the connection was made. A server that does not let this user in does so.
    #[error("the other end closed the connection before it was made")]
    Disconnected,
    /// The process at the other end is none that is let in; see [`Allow`](crate::Allow).
    #[error("not let in: {peer}")]
    NotAllowed {
        /// Who it is.
        peer: Peer,
    },
    /// The listener had too many clients that did not finish the exchange of keys, and this was the oldest.
    #[error("too many clients are in the exchange of keys")]
    Crowded,
    /// The socket cannot become a connection.
    #[error("cannot make a connection of the socket")]
    Connection(#[source] ipc_core::Error),
    /// The operating system refused a step.
    #[error("cannot {doing}")]
    Io {
        /// The step, as in "cannot accept a client".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the time passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout | Error::Silent)
    }

    /// Whether a `try_` call found nothing to do at once.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Error::WouldBlock)
    }

    /// Whether the other end is gone.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Error::Disconnected)
    }

    /// Whether nobody listens at the address.
    pub fn is_not_listening(&self) -> bool {
        matches!(self, Error::NotListening { .. })
    }

    /// Whether the ends could not agree on a key: another one, none on one side, or MD5 where it is refused.
    pub fn is_authentication(&self) -> bool {
        matches!(self, Error::WrongKey | Error::KeyRefused | Error::NoChallenge | Error::WeakDigest)
    }

    /// Names the step that failed; for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::Io { doing, source: source.into() }
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Error {
        match never {}
    }
}
