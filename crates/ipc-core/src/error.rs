//! The one error type of the crate.

use std::io;

use crate::codec::CodecError;

/// What can go wrong with a connection, a handle or the start of a process.
///
/// Callers branch with [`is_disconnected`](Error::is_disconnected), [`is_timeout`](Error::is_timeout) and
/// [`is_would_block`](Error::is_would_block); how a process *ended* is [`JoinError`](crate::JoinError).
///
/// ```
/// use ipc_core::Receiver;
/// use std::os::{fd::OwnedFd, unix::net::UnixStream};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, theirs) = UnixStream::pair()?;
/// let mut receiver: Receiver<u32> = OwnedFd::from(ours).try_into()?;
/// assert!(receiver.try_recv().is_err_and(|e| e.is_would_block()));
/// assert!(receiver.recv_timeout(Duration::from_millis(10)).is_err_and(|e| e.is_timeout()));
/// drop(theirs);
/// assert!(receiver.recv().is_err_and(|e| e.is_disconnected()));
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The last holder of the other end has closed it or has died, and everything it sent has been received.
    #[error("the other end is closed")]
    Disconnected,
    /// The stream ended inside a message: its sender was killed or gave up while it wrote. The part that came is dropped.
    #[error("the stream ended inside a message, at least {missing} bytes are missing")]
    Truncated {
        /// How many more bytes the message would have had, as far as is known.
        missing: u64,
    },
    /// The time-out passed and nothing has changed: a message that was to be sent has not been, one that was to come has not.
    #[error("timed out")]
    Timeout,
    /// A `try_` call would have had to wait; nothing has changed.
    #[error("the call would have to wait")]
    WouldBlock,
    /// The call ended when a part of the message was already written. The rest goes out with the next `send` or
    /// [`flush`](crate::Sender::flush) on this end; do not send the message again.
    #[error("{left} bytes of the message are not yet written; the next send or flush writes them")]
    Unfinished {
        /// How many bytes are still to be written.
        left: usize,
    },
    /// A message is longer than this end allows; see [`Receiver::set_max_message`](crate::Receiver::set_max_message).
    #[error("a message of {len} bytes exceeds the limit of {max}")]
    TooLarge {
        /// The message's length in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The other end sent bytes that are no frame: it does not speak this protocol, or is hostile. The connection is of no more use.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    /// The other end is a server that asks for an authentication key, and the connection was made without one.
    #[error("the server asks for an authentication key")]
    KeyRequired,
    /// The buffer is shorter than the next message, which stays where it is: call again with a longer one.
    #[error("the next message has {needed} bytes, the buffer {len}")]
    BufferTooShort {
        /// The length of the message in bytes.
        needed: usize,
        /// The length of the buffer in bytes.
        len: usize,
    },
    /// The value cannot be encoded. Nothing was sent.
    #[error("cannot encode the message")]
    Encode(#[source] CodecError),
    /// The bytes of a message are not a value of the expected type. The message is consumed, the next one can be received.
    #[error("cannot decode the message")]
    Decode(#[source] CodecError),
    /// Handles travel over local sockets only (see `ipc_pipe::duplex`), not over a one-way pipe or a network. Nothing was sent.
    #[error("{0} cannot carry handles, only a local socket can")]
    NoHandles(&'static str),
    /// Descriptors that belong to a message did not arrive: this process has as many files open as it may
    /// (RLIMIT_NOFILE). The message is dropped, the next one can be received.
    #[error("a message came with {expected} handles, but the limit of open files left room for {arrived}")]
    HandlesLost {
        /// How many came with the message.
        expected: usize,
        /// How many could be opened here.
        arrived: usize,
    },
    /// This end was sent to another process and belongs to it now.
    #[error("this end was sent away and belongs to its receiver now")]
    Moved,
    /// The descriptor is of a kind that a connection cannot work on, or cannot be given away in the state it is in.
    #[error("unsuitable descriptor: {0}")]
    Unsuitable(&'static str),
    /// A process was to be spawned, but spawned functions cannot start in this program.
    #[error("cannot spawn: {0}")]
    CannotSpawn(&'static str),
    /// This process is a copy of the one that has the object, made by a fork without exec. The copy cannot use it.
    #[error("this process was forked, and a forked copy cannot use the shared objects of the original")]
    Forked,
    /// A segment cannot have this size.
    #[error("shared memory cannot have a size of {size} bytes")]
    BadSize {
        /// The size asked for.
        size: usize,
    },
    /// The bytes do not lie in the segment, or what is to be there must begin at a multiple of its alignment (64 for objects).
    #[error("{len} bytes at offset {offset} are not aligned, or do not lie in a segment of {size} bytes")]
    OutOfBounds {
        /// Where they were to be.
        offset: usize,
        /// How many, or how many at least.
        len: usize,
        /// The segment's size in bytes.
        size: usize,
    },
    /// There is an object already, or another process is just making it.
    #[error("there is an object at offset {offset} already")]
    Exists {
        /// Where.
        offset: usize,
    },
    /// There is no object, or it is not complete yet.
    #[error("there is no object at offset {offset}")]
    Missing {
        /// Where.
        offset: usize,
    },
    /// The memory, or the object in it, is not what it should be: another kind, version or type, another user's, foreign.
    #[error("{0}")]
    Incompatible(String),
    /// The segment was opened for reading only.
    #[error("the shared memory was opened for reading only")]
    ReadOnly,
    /// The name cannot be that of a segment.
    #[error("`{name}` cannot be the name of shared memory: {why}")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is a segment of this name, and somebody has it.
    #[error("there is shared memory named `{name}` already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// There is no segment of this name, or only one that a dead process has left.
    #[error("there is no shared memory named `{name}`")]
    NoSuchName {
        /// The name.
        name: String,
    },
    /// The operating system refused a step.
    #[error("cannot {doing}")]
    Io {
        /// The step, as in "cannot read from the connection".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the other end is gone: [`Disconnected`](Error::Disconnected) or [`Truncated`](Error::Truncated).
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Error::Disconnected | Error::Truncated { .. })
    }

    /// Whether a time-out passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout)
    }

    /// Whether a `try_` call found nothing to do at once.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Error::WouldBlock)
    }

    /// Names the step that failed; for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::Io { doing, source: source.into() }
    }
}
