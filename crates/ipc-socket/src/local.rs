//! Local sockets: names, and getting at them.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::local_socket::traits::Listener as _;
use interprocess::local_socket::{Listener, ListenerNonblockingMode, ListenerOptions, Name};
use interprocess::local_socket::{ToFsName, ToNsName};
use interprocess::os::unix::local_socket::{AbstractNsUdSocket, FilesystemUdSocket, ListenerOptionsExt};
use ipc_core::{Deadline, Folder, crash_point};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::Address;
use crate::error::{Error, Result};

/// How long to try while another process, which may be stopped, makes or replaces a name in the same folder.
const PATIENCE: Duration = Duration::from_secs(1);

/// A local socket that listens, and its name.
#[derive(Debug)]
pub(crate) struct Local {
    #[expect(dead_code, reason = "removed by its drop, which is before that of the listener")]
    file: Option<SocketFile>,
    listener: Listener,
}

/// The file of a socket, which goes with it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// A copy that came about by a fork must not remove the name of the original.
    pid: u32,
}

impl Local {
    pub(crate) fn bind_path(path: &Path, mode: u32) -> Result<Local> {
        // From the root, so that it is found again when the process goes to another folder.
        let whole = std::path::absolute(path).map_err(Error::io("find the current folder"))?;
        // So that no two replace what is left at the same time. Anybody who may read the folder can hold this up, and this user may not be one of
        // them, so it is not insisted on; but then nothing is replaced either.
        let alone = Folder::of(path).ok().and_then(|folder| folder.lock(Deadline::after(PATIENCE)).ok());
        let name = || path.to_fs_name::<FilesystemUdSocket>();
        let listener = match listen(name(), Some(mode)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let left = is_left(path).map_err(Error::io("look at what is at the address"))?;
                let Some(left) = left.filter(|_| alone.is_some()) else {
                    return Err(Error::InUse { address: Address::unix(path).to_string() });
                };
                // Not if this process was stopped meanwhile, and another one, without the lock, has made a socket after somebody's `rm`.
                if identity(path).is_ok_and(|now| now == left) {
                    match fs::remove_file(path) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {} // somebody else was faster
                        removed => removed.map_err(Error::io("remove the socket that a dead process has left"))?,
                    }
                }
                crash_point!("bind.replacing");
                listen(name(), Some(mode))
            }
            other => other,
        };
        let listener = listener.map_err(|error| refused(error, &Address::unix(path)))?;
        crash_point!("bind.bound");
        let about = fs::symlink_metadata(path).map_err(Error::io("look at the socket"))?;
        let file = SocketFile { path: whole, device: about.dev(), inode: about.ino(), pid: std::process::id() };
        permit(&file, path, mode).map_err(Error::io("set the permissions of the socket"))?;
        drop(alone);
        Ok(Local { file: Some(file), listener })
    }

    pub(crate) fn bind_abstract(name: &str) -> Result<Local> {
        let listener = listen(name.to_ns_name::<AbstractNsUdSocket>(), None);
        let listener = listener.map_err(|error| refused(error, &Address::abstract_name(name)))?;
        Ok(Local { file: None, listener })
    }

    /// The next client, if there is one.
    pub(crate) fn accept(&self) -> io::Result<OwnedFd> {
        match self.listener.accept()? {
            interprocess::local_socket::Stream::UdSocket(stream) => Ok(stream.into()),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match &self.listener {
            Listener::UdSocket(listener) => listener.as_fd(),
        }
    }
}

impl Drop for SocketFile {
    /// Before the socket is closed: as long as it lives nobody replaces the name, so it cannot become another one's in between.
    fn drop(&mut self) {
        let about = fs::symlink_metadata(&self.path);
        let ours = about.is_ok_and(|about| (about.dev(), about.ino()) == (self.device, self.inode));
        if ours && self.pid == std::process::id() {
            crash_point!("listener.leaving");
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn listen(name: io::Result<Name<'_>>, mode: Option<u32>) -> io::Result<Listener> {
    // The library would remove the name whosever it is by then.
    let options = ListenerOptions::new().name(name?).nonblocking(ListenerNonblockingMode::Accept).reclaim_name(false);
    match mode {
        Some(mode) => options.mode(mode).create_sync(),
        None => options.create_sync(),
    }
}

/// Gives the socket that was just made the rest of its permissions: until now the umask has kept some from it.
fn permit(own: &SocketFile, path: &Path, mode: u32) -> io::Result<()> {
    let file = File::options().read(true).custom_flags(OFlag::O_PATH.bits() | OFlag::O_NOFOLLOW.bits()).open(path)?;
    let about = file.metadata()?;
    if (about.dev(), about.ino()) != (own.device, own.inode) {
        return Err(io::Error::other("somebody has put another file in its place"));
    }
    // A file that is open like this can be changed by this path only, and no other file can come in between.
    fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), Permissions::from_mode(mode & 0o777))
}

fn refused(error: io::Error, address: &Address) -> Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::InUse { address: address.to_string() },
        _ => Error::io("listen at the address")(error),
    }
}

/// Whether the file is a socket that no process has. A datagram socket that is connected to it finds out, and nobody is disturbed: a
/// living stream socket is of the wrong kind for it, also one that does not listen yet.
///
/// Returns device and inode of one that is left.
fn is_left(path: &Path) -> io::Result<Option<(u64, u64)>> {
    let about = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None), // just removed; the caller tries again
        Ok(about) if about.file_type().is_socket() => (about.dev(), about.ino()),
        other => return other.map(|_| None),
    };
    let probe = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let refused = connect(probe.as_raw_fd(), &UnixAddr::new(path)?) == Err(Errno::ECONNREFUSED);
    Ok(refused.then_some(about))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|about| (about.dev(), about.ino()))
}

/// Connects to a local socket. A server whose queue of clients is full is waited for.
///
/// Not by the library that listens: its connecting with a time-out takes a full queue for a connection.
pub(crate) fn dial(address: &Address, deadline: Deadline) -> Result<OwnedFd> {
    let name = match address {
        Address::Unix(path) => UnixAddr::new(path),
        Address::Abstract(name) => UnixAddr::new_abstract(name.as_bytes()),
        Address::Tcp { .. } => unreachable!("not a local address"),
    };
    let name = name.map_err(Error::io("use the address"))?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let socket = socket.map_err(Error::io("make a socket"))?;
    loop {
        let limit = deadline.remaining();
        if let Some(left) = limit {
            // 0 would mean for ever. A day is no limit: it is asked again then.
            limit_sending(&socket, left.clamp(Duration::from_micros(1), Duration::from_secs(86_400)))?;
        }
        match connect(socket.as_raw_fd(), &name) {
            Ok(()) if limit.is_some() => limit_sending(&socket, Duration::ZERO)?,
            Ok(()) => {}
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) if deadline.has_passed() => return Err(Error::Timeout),
            Err(Errno::EAGAIN) => continue,
            Err(Errno::ECONNREFUSED | Errno::ENOENT) => {
                return Err(Error::NotListening { address: address.to_string() });
            }
            Err(Errno::EPROTOTYPE | Errno::ENOTSOCK) => {
                let why = "what is there is no stream socket";
                return Err(Error::BadAddress { address: address.to_string(), why });
            }
            Err(errno) => return Err(Error::io("connect to the address")(errno)),
        }
        return Ok(socket);
    }
}

fn limit_sending(socket: &OwnedFd, limit: Duration) -> Result<()> {
    let limit = TimeVal::microseconds(i64::try_from(limit.as_micros()).unwrap_or(i64::MAX));
    setsockopt(socket, sockopt::SendTimeout, &limit).map_err(Error::io("limit the time to connect"))
}
