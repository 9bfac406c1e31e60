//! TCP: getting connected, and finding out that the other machine is gone.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ipc_core::Deadline;
use nix::errno::Errno;
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};

use crate::Address;
use crate::error::{Error, Result};

/// As many clients may wait to be accepted; the system may allow fewer (net.core.somaxconn).
const BACKLOG: i32 = 4096;

pub(crate) fn bind(host: &str, port: u16) -> Result<TcpListener> {
    let address = || Address::tcp(host, port).to_string();
    let listener = TcpListener::bind(&resolve(host, port)?[..]).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Error::InUse { address: address() },
        io::ErrorKind::AddrNotAvailable => {
            Error::BadAddress { address: address(), why: "it is not an address of this machine" }
        }
        _ => Error::io("listen at the address")(error),
    })?;
    listener.set_nonblocking(true).map_err(Error::io("listen at the address"))?;
    let backlog = Backlog::new(BACKLOG).map_err(Error::io("listen at the address"))?;
    listen(&listener, backlog).map_err(Error::io("listen at the address"))?;
    Ok(listener)
}

/// Connects to the first address of the host at which somebody listens.
pub(crate) fn dial(host: &str, port: u16, deadline: Deadline) -> Result<OwnedFd> {
    let (mut refused, mut last) = (false, None);
    for address in resolve(host, port)? {
        let stream = match deadline.remaining() {
            None => TcpStream::connect(address),
            Some(left) if left.is_zero() => return Err(Error::Timeout),
            Some(left) => TcpStream::connect_timeout(&address, left),
        };
        match stream {
            Ok(stream) if is_own(&stream) => refused = true,
            Ok(stream) => return Ok(stream.into()),
            Err(error) => match error.kind() {
                // A listener that is closed at this moment resets those that it has not accepted.
                io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => refused = true,
                _ => last = Some(error),
            },
        }
    }
    // If one of the host's addresses is refused, the other ones, which cannot be used here, say nothing: somebody may listen soon.
    Err(match last {
        Some(error) if error.kind() == io::ErrorKind::TimedOut && deadline.has_passed() => Error::Timeout,
        Some(error) if !refused => Error::io("connect to the address")(error),
        _ => Error::NotListening { address: Address::tcp(host, port).to_string() },
    })
}

/// Who connects to a port of this machine at which nobody listens may be given that very port, and so be connected to himself.
fn is_own(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(own), Ok(peer)) if own == peer)
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let all: Vec<SocketAddr> =
        (host, port).to_socket_addrs().map_err(Error::io("find the address of the host"))?.collect();
    if all.is_empty() {
        let why = "the host has no address";
        return Err(Error::BadAddress { address: Address::tcp(host, port).to_string(), why });
    }
    Ok(all)
}

/// Has small messages sent at once, and a machine that does not answer for `limit` found out: by what is sent to it, and by probes when
/// nothing is. `Duration::MAX` leaves that to the system.
pub(crate) fn prepare(socket: &impl AsFd, limit: Duration) -> Result<()> {
    let socket = &socket.as_fd();
    let set = || -> nix::Result<()> {
        setsockopt(socket, sockopt::TcpNoDelay, &true)?;
        if limit == Duration::MAX {
            return Ok(());
        }
        // The largest values that the system takes are beyond any use.
        let seconds = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX).min(32_767);
        let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).clamp(1, i32::MAX as u32);
        setsockopt(socket, sockopt::KeepAlive, &true)?;
        setsockopt(socket, sockopt::TcpKeepIdle, &(seconds / 2).max(1))?;
        setsockopt(socket, sockopt::TcpKeepInterval, &(seconds / 4).max(1))?;
        setsockopt(socket, sockopt::TcpUserTimeout, &millis)
    };
    set().map_err(|errno| match errno {
        Errno::ENOTCONN | Errno::EINVAL | Errno::ECONNRESET => Error::Disconnected, // reset in the meantime
        errno => Error::io("set the options of the connection")(errno),
    })
}
