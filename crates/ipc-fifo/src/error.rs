//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};

use ipc_core::CodecError;

/// Why an operation on a FIFO did not succeed.
///
/// Callers branch with [`is_disconnected`](Error::is_disconnected), [`is_timeout`](Error::is_timeout) and
/// [`is_would_block`](Error::is_would_block).
///
/// ```
/// use ipc_fifo::{Fifo, Reader, Writer};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-error-{}", std::process::id()));
/// let fifo = Fifo::create(&path, 0o600)?;
/// let mut reader: Reader<u32> = fifo.lasting_reader()?;
/// assert!(reader.try_recv().is_err_and(|e| e.is_would_block()));
/// assert!(reader.recv_timeout(Duration::from_millis(10)).is_err_and(|e| e.is_timeout()));
/// let mut writer: Writer<u32> = fifo.writer()?;
/// drop(reader);
/// assert!(writer.send(1).is_err_and(|e| e.is_disconnected()));
/// let mut reader: Reader<u32> = fifo.lasting_reader()?; // somebody comes
/// writer.send(2)?;
/// assert_eq!(reader.recv()?, 2);
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody is left at the other end. For readers: and everything that was in the FIFO has been read; for writers: the message is dropped.
    /// When somebody comes, the next call works.
    #[error("nobody has the other end of the FIFO open")]
    Disconnected,
    /// The time passed, and nothing has changed.
    #[error("timed out")]
    Timeout,
    /// A `try_` call would have had to wait; nothing has changed.
    #[error("the call would have to wait")]
    WouldBlock,
    /// The call ended when a part of the message was already written. The rest goes out with the next `send` or
    /// [`flush`](crate::Writer::flush) of this writer; do not send the message again.
    #[error("{left} bytes of the message are not yet written; the next send or flush writes them")]
    Unfinished {
        /// How many bytes are still to be written.
        left: u64,
    },
    /// A message is longer than this end allows: it is not sent, or left out. See [`Reader::set_max_message`](crate::Reader::set_max_message).
    #[error("a message of {len} bytes exceeds the limit of {max}")]
    TooLarge {
        /// The message's length in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// Of this message not all will come: its writer died or gave up while it wrote, or a reader that is gone has taken its beginning.
    /// What came of it is dropped; the next message can be received.
    #[error("only {arrived} of {total} bytes of a message arrived from writer {writer:016x}")]
    Torn {
        /// Who wrote it; see [`Writer::id`](crate::Writer::id).
        writer: u64,
        /// How many bytes of it this reader got.
        arrived: u64,
        /// How long the message would have been, in bytes.
        total: u64,
    },
    /// A program has written to the FIFO that does not write records. What it wrote is left out; the next message can be received.
    #[error("{bytes} bytes that are no record were left out")]
    Garbage {
        /// How many bytes.
        bytes: u64,
    },
    /// The value cannot be encoded; nothing was sent. Handles (connections, segments, locks, queues) cannot go through a FIFO.
    #[error("cannot encode the message")]
    Encode(#[source] CodecError),
    /// The bytes of a message are not a value of the type. The message is consumed, the next one can be received.
    #[error("cannot decode the message")]
    Decode(#[source] CodecError),
    /// There is something else at the path.
    #[error("`{}` is not a FIFO", path.display())]
    NotAFifo {
        /// Where.
        path: PathBuf,
    },
    /// There is nothing at the path, or no folder for it.
    #[error("there is no `{}`", path.display())]
    Missing {
        /// Where: the FIFO, or its folder if one was to be made.
        path: PathBuf,
    },
    /// There is something at the path, and it is not a FIFO that a dead process has left.
    #[error("there is a `{}` already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The permissions of the file or of its folder do not allow it.
    #[error("no permission for `{}`", path.display())]
    Forbidden {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path cannot be that of a FIFO.
    #[error("`{}` cannot be the path of a FIFO: {why}", path.display())]
    BadPath {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Only permissions (`0o777`) can be given to a FIFO.
    #[error("{mode:#o} is not a mode for a FIFO: it has more than the permissions")]
    BadMode {
        /// The mode.
        mode: u32,
    },
    /// The FIFO's name was removed while the call waited for somebody at the other end, who would not come to it any more.
    #[error("`{}` was removed while it was waited for", path.display())]
    Removed {
        /// Where it was.
        path: PathBuf,
    },
    /// This process is a copy of the one that opened the FIFO, made by a fork without exec. The copy cannot use it.
    #[error("this process was forked, and a forked copy cannot use the ends of the original")]
    Forked,
    /// The watcher of a scope, or a connection, cannot be made.
    #[error(transparent)]
    Core(ipc_core::Error),
    /// The operating system refused a step.
    #[error("cannot {doing}")]
    Io {
        /// The step, as in "cannot read from the FIFO".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether nobody is left at the other end.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Error::Disconnected)
    }

    /// Whether a time-out passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout)
    }

    /// Whether a `try_` call found nothing to do at once.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Error::WouldBlock)
    }

    /// Whether it is about one message only, or about bytes that are none: the next one can be received.
    pub(crate) fn is_of_one_message(&self) -> bool {
        matches!(self, Error::Decode(_) | Error::Torn { .. } | Error::Garbage { .. } | Error::TooLarge { .. })
    }

    /// Names the step that failed; for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::Io { doing, source: source.into() }
    }

    /// Why something cannot be done with a path; for `map_err`.
    pub(crate) fn at<E: Into<io::Error>>(path: &Path, doing: &'static str) -> impl FnOnce(E) -> Error {
        move |error| {
            let source = error.into();
            let path = path.to_path_buf();
            let why = match source.raw_os_error() {
                Some(libc::ENOENT) => return Error::Missing { path },
                Some(libc::EACCES | libc::EPERM) => return Error::Forbidden { path, source },
                Some(libc::ENAMETOOLONG) => "it, or a part of it, is too long",
                Some(libc::ENOTDIR) => "a part of it that should be a folder is none",
                Some(libc::ELOOP) => "it leads through too many symbolic links",
                _ => return Error::Io { doing, source },
            };
            Error::BadPath { path, why }
        }
    }
}

impl From<ipc_core::Error> for Error {
    fn from(error: ipc_core::Error) -> Error {
        match error {
            ipc_core::Error::Forked => Error::Forked,
            other => Error::Core(other),
        }
    }
}
