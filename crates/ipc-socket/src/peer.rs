//! Who is at the other end, and who may be.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getpeername, getsockopt, sockopt};

use crate::error::{Error, Result};

/// Who is at the other end of a connection.
///
/// ```
/// use ipc_socket::{Client, Connection, Listener, Peer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener: Listener<(), ()> = Listener::bind("unix-abstract:")?;
/// let ours: Connection<(), ()> = Client::connect(listener.address())?;
/// let theirs = listener.accept()?;
/// // Client and server are this process.
/// assert!(matches!(Peer::of(&theirs)?, Peer::Local { pid, .. } if pid == std::process::id()));
/// assert_eq!(Peer::of(&theirs)?, Peer::of(&ours)?);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// A process of this machine. The kernel vouches for what it was when it connected (or began to listen); it may have passed the connection
    /// on since, and once it has ended its pid may become another's.
    Local {
        /// Its process id; 0 if it is in a pid namespace that cannot be seen from here.
        pid: u32,
        /// Its effective user.
        uid: u32,
        /// Its effective group.
        gid: u32,
    },
    /// A process anywhere.
    Tcp(SocketAddr),
}

impl Peer {
    /// Who is at the other end of this [`Connection`](crate::Connection), or of any connected socket.
    ///
    /// # Errors
    /// [`Error::Disconnected`]: it is not connected, or not any more (TCP). [`Error::Io`], [`Error::Protocol`]: it is no such socket.
    ///
    /// # References
    /// `SO_PEERCRED` in unix(7), getpeername(2).
    pub fn of(socket: &impl AsFd) -> Result<Peer> {
        let name = getpeername::<SockaddrStorage>(socket.as_fd().as_raw_fd()).map_err(|errno| match errno {
            Errno::ENOTCONN => Error::Disconnected,
            errno => Error::io("ask who is at the other end")(errno),
        })?;
        let network = name.as_sockaddr_in().map(|v4| SocketAddr::from(*v4));
        let network = network.or_else(|| name.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6)));
        match network {
            Some(address) => Ok(Peer::Tcp(address)),
            None if name.family() == Some(AddressFamily::Unix) => {
                let them = getsockopt(&socket.as_fd(), sockopt::PeerCredentials);
                let them = them.map_err(Error::io("ask who is at the other end"))?;
                Ok(Peer::Local { pid: them.pid() as u32, uid: them.uid(), gid: them.gid() })
            }
            None => Err(Error::Protocol("it is neither a local nor a TCP socket")),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Local { pid, uid, .. } => write!(f, "process {pid} of user {uid}"),
            Peer::Tcp(address) => address.fmt(f),
        }
    }
}

/// Which users may be at the other end of a *local* connection. Over TCP a key decides.
///
/// ```
/// use ipc_socket::{Allow, Client, Connection, Error, Listener, Peer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener: Listener<(), ()> = Listener::bind("unix-abstract:")?;
/// // Anybody may be the first to listen at a name that is no file: a client should say whom it expects.
/// let client = Client::builder().allow(Allow::SameUser);
/// let _conn: Connection<(), ()> = client.connect(listener.address())?;
/// let other: Result<Connection<(), ()>, _> = client.allow(Allow::Users(vec![])).connect(listener.address());
/// assert!(matches!(other, Err(Error::NotAllowed { peer: Peer::Local { .. } })));
/// # Ok(()) }
/// ```
///
/// # References
/// `SO_PEERCRED` in unix(7). Python has no such check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allow {
    /// The user of this process (its effective one), and root.
    #[default]
    SameUser,
    /// Only these users, by their numbers.
    Users(Vec<u32>),
    /// Everybody who gets as far as this.
    Anyone,
}

impl Allow {
    pub(crate) fn check(&self, peer: Peer) -> Result<()> {
        let Peer::Local { uid, .. } = peer else { return Ok(()) };
        let allowed = match self {
            Allow::SameUser => uid == 0 || uid == nix::unistd::geteuid().as_raw(),
            Allow::Users(users) => users.contains(&uid),
            Allow::Anyone => true,
        };
        if allowed { Ok(()) } else { Err(Error::NotAllowed { peer }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_told_apart() {
        let own = nix::unistd::geteuid().as_raw();
        let of = |uid| Peer::Local { pid: 1, uid, gid: 0 };
        assert!(Allow::default().check(of(own)).is_ok());
        assert!(Allow::default().check(of(0)).is_ok());
        assert!(matches!(Allow::default().check(of(own + 1)), Err(Error::NotAllowed { peer }) if peer == of(own + 1)));
        assert!(Allow::Users(vec![own + 1]).check(of(own)).is_err());
        assert!(Allow::Users(vec![own + 1]).check(of(own + 1)).is_ok());
        assert!(Allow::Anyone.check(of(own + 2)).is_ok());
        assert!(Allow::Users(vec![]).check(Peer::Tcp("127.0.0.1:5".parse().unwrap())).is_ok());
    }
}
