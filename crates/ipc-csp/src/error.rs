//! What can go wrong.

use std::{fmt, io};

use ipc_core::CodecError;

/// Why a communication did not take place.
///
/// ```
/// use std::time::Duration;
///
/// use ipc_csp::Network;
///
/// # fn main() -> ipc_csp::Result<()> {
/// let channel = Network::new()?.buffered::<u32>(1)?;
/// let (writer, reader) = (channel.writer()?, channel.reader()?);
/// assert!(reader.try_read().is_err_and(|error| error.is_would_block()));
/// writer.write(1)?;
/// let refused = writer.write_timeout(2, Duration::from_millis(1)).expect_err("there is no room");
/// assert!(refused.error.is_timeout() && !refused.error.is_end()); // it may be tried again
/// drop(writer);
/// assert_eq!(reader.read()?, 1);
/// let end = reader.read().expect_err("nobody is left to write");
/// assert!(end.is_end() && end.is_retired() && !end.is_poisoned());
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A `try_` call would have had to wait: nobody was ready at the other end.
    #[error("the call would have to wait")]
    WouldBlock,
    /// The time passed, and nothing was communicated.
    #[error("timed out")]
    Timeout,
    /// The channel was closed; for readers: and all that was in it has been read.
    #[error("the channel is closed")]
    Closed,
    /// The channel was poisoned.
    #[error("the channel is poisoned")]
    Poisoned,
    /// All ends of the other kind are gone: retired, dropped, or their processes have died. For readers: and all that was in the channel
    /// has been read.
    #[error("nobody is left at the other end of the channel")]
    Retired,
    /// A choice has no guard that could ever become ready.
    #[error("the choice has no guard that could become ready")]
    NoGuard,
    /// The network has no room for more of something.
    #[error("the network has its {max} {what} already")]
    Full {
        /// Of what: channels, ends, offers, threads that communicate.
        what: &'static str,
        /// How many there can be.
        max: usize,
    },
    /// The value is longer than any can be.
    #[error("a value of {len} bytes exceeds the limit of {max}")]
    TooLarge {
        /// Its length in bytes, encoded.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The value cannot be encoded; nothing was communicated. Of handles, only the ends of channels of the same network can be in a value.
    #[error("cannot encode the value")]
    Encode(#[source] CodecError),
    /// The bytes of a value are not one of the type. They have been read.
    #[error("cannot decode the value")]
    Decode(#[source] CodecError),
    /// The channel is gone, or an end has arrived that is another one than expected: of another type, or for the other direction.
    #[error("{0}")]
    OtherEnd(&'static str),
    /// The name of a channel is longer than 32 bytes.
    #[error("the name of a channel has at most {max} bytes, this one has {len}")]
    LongName {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// There is no memory for a long value. Nothing was communicated.
    #[error("there is no memory for a value of {len} bytes")]
    NoMemory {
        /// The value's length in bytes.
        len: u64,
        /// What the system said.
        source: io::Error,
    },
    /// This process is a copy of the one that has the network, made by a fork without exec. The copy cannot use it.
    #[error("this process was forked, and a forked copy cannot use the shared objects of the original")]
    Forked,
    /// What lies in the shared memory is not what the operations of this crate leave there.
    #[error("the network in shared memory is damaged: {0}")]
    Damaged(&'static str),
    /// A lock of the network cannot be taken.
    #[error("cannot lock the channel")]
    Lock(#[source] ipc_sync::Error),
    /// The shared memory cannot be made, opened or asked.
    #[error(transparent)]
    Memory(ipc_core::Error),
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The result of the steps inside, whose error is one word: see the same in `ipc-queue`.
pub(crate) type Quick<T> = std::result::Result<T, Box<Error>>;

impl Error {
    /// Whether a `try_` call would have had to wait.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Error::WouldBlock)
    }

    /// Whether the time passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout)
    }

    /// Whether nothing will ever go through the channel any more: it was closed or poisoned, or nobody is left at the other end.
    pub fn is_end(&self) -> bool {
        matches!(self, Error::Closed | Error::Poisoned | Error::Retired)
    }

    /// Whether the channel was poisoned.
    pub fn is_poisoned(&self) -> bool {
        matches!(self, Error::Poisoned)
    }

    /// Whether nobody is left at the other end.
    pub fn is_retired(&self) -> bool {
        matches!(self, Error::Retired)
    }
}

impl From<Box<Error>> for Error {
    #[cold]
    fn from(error: Box<Error>) -> Error {
        *error
    }
}

impl From<ipc_core::Error> for Box<Error> {
    #[cold]
    fn from(error: ipc_core::Error) -> Box<Error> {
        Box::new(error.into())
    }
}

impl From<ipc_sync::Error> for Box<Error> {
    #[cold]
    fn from(error: ipc_sync::Error) -> Box<Error> {
        Box::new(match error {
            ipc_sync::Error::WouldBlock => Error::WouldBlock,
            ipc_sync::Error::Timeout => Error::Timeout,
            ipc_sync::Error::Forked => Error::Forked,
            ipc_sync::Error::Damaged(what) => Error::Damaged(what),
            other => Error::Lock(other),
        })
    }
}

impl From<ipc_core::Error> for Error {
    fn from(error: ipc_core::Error) -> Error {
        match error {
            ipc_core::Error::Forked => Error::Forked,
            other => Error::Memory(other),
        }
    }
}

/// A value that could not be written, and why. With `?` it becomes the [`Error`], and the value is dropped.
///
/// ```
/// use ipc_csp::{Network, WriteError};
///
/// # fn main() -> ipc_csp::Result<()> {
/// let network = Network::new()?;
/// let (first, second) = (network.channel::<String>()?, network.buffered::<String>(1)?);
/// let (to_first, to_second) = (first.writer()?, second.writer()?);
/// first.reader()?.retire();
/// if let Err(WriteError { value, error }) = to_first.write("a job".to_string()) {
///     assert!(error.is_retired());
///     to_second.write(value)?; // nobody has read it, so somebody else may
/// }
/// assert_eq!(second.reader()?.read()?, "a job");
/// # Ok(()) }
/// ```
pub struct WriteError<T> {
    /// What was to be written.
    pub value: T,
    /// Why it was not.
    pub error: Error,
}

impl<T> fmt::Debug for WriteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for WriteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for WriteError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl<T> From<WriteError<T>> for Error {
    fn from(error: WriteError<T>) -> Error {
        error.error
    }
}
