//! What can go wrong.

use std::{fmt, io};

use ipc_core::CodecError;

/// Why an operation on a queue did not succeed.
///
/// ```
/// use ipc_queue::{Consumer, Error, Queue};
/// use std::time::Duration;
///
/// /// Adds up what comes, until nothing comes for a while, or never again.
/// fn sum(numbers: &Consumer<u32>) -> Result<(u32, &'static str), Error> {
///     let mut sum = 0;
///     loop {
///         match numbers.get_timeout(Duration::from_millis(10)) {
///             Ok(number) => sum += number,
///             Err(error) if error.is_timeout() => return Ok((sum, "so far")),
///             Err(error) if error.is_end() => return Ok((sum, "in all")), // closed, or no producer is left
///             Err(error) => return Err(error),
///         }
///     }
/// }
///
/// # fn main() -> ipc_queue::Result<()> {
/// let (producer, consumer) = Queue::new()?.split();
/// producer.put_many(&[1, 2])?;
/// assert_eq!(sum(&consumer)?, (3, "so far"));
/// producer.put(3)?;
/// drop(producer);
/// assert_eq!(sum(&consumer)?, (3, "in all"));
///
/// // In one process, what each call would say:
/// let queue = Queue::<u32>::new()?;
/// assert!(queue.try_get().unwrap_err().is_would_block());
/// assert!(consumer.try_get().unwrap_err().is_disconnected());
/// queue.close()?;
/// assert!(queue.get().unwrap_err().is_closed());
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A `try_` call would have had to wait: the queue is full, or empty. Python's `queue.Full` and `queue.Empty`.
    #[error("the call would have to wait")]
    WouldBlock,
    /// The time passed, and nothing has changed.
    #[error("timed out")]
    Timeout,
    /// The queue was closed; for receivers: and everything that was in it has been taken.
    #[error("the queue is closed")]
    Closed,
    /// Nobody is left at the other end; for receivers: and everything that was in the queue has been taken.
    #[error("nobody is left at the other end of the queue")]
    Disconnected,
    /// The message is longer than the queue allows; see [`Settings::max_message`](crate::Settings::max_message).
    #[error("a message of {len} bytes exceeds the queue's limit of {max}")]
    TooLarge {
        /// The message's length in bytes, encoded.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// As many leases are open as the queue was made for; see [`Settings::leases`](crate::Settings::leases).
    #[error("all {max} leases of the queue are open")]
    LeaseLimit {
        /// How many there are.
        max: u64,
    },
    /// This thread has taken no task that it could declare done, or has done so for all.
    #[error("this thread has no task of the queue that is not done yet")]
    NoTask,
    /// The value cannot be encoded; nothing was put. Handles (connections, segments, locks, queues) cannot be in a queue: send them over a
    /// connection, or as arguments of a process.
    #[error("cannot encode the message")]
    Encode(#[source] CodecError),
    /// The bytes of a message are not a value of the type. The message is taken.
    #[error("cannot decode the message")]
    Decode(#[source] CodecError),
    /// This thread has a [`Reservation`](crate::Reservation) open, and would wait for itself.
    #[error("this thread has a reservation open in the queue")]
    AlreadyLocked,
    /// This process is a copy of the one that has the queue, made by a fork without exec. The copy cannot use it.
    #[error("this process was forked, and a forked copy cannot use the shared objects of the original")]
    Forked,
    /// This end was sent to another process and belongs to it now.
    #[error("this end was sent away and belongs to its receiver now")]
    Moved,
    /// A handle has arrived that is not the end of a queue that was expected: a producer in place of a consumer, or of a whole queue.
    #[error("it is another end of a queue than expected")]
    OtherEnd,
    /// There is no memory for a long message. Nothing was put.
    #[error("there is no memory for a message of {len} bytes")]
    NoMemory {
        /// The message's length in bytes.
        len: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A setting is outside of what is possible.
    #[error("{what} must be from {min} to {max}")]
    Setting {
        /// Which.
        what: &'static str,
        /// The least possible.
        min: u64,
        /// The greatest possible.
        max: u64,
    },
    /// What lies in the shared memory is not what the operations of this crate leave there.
    #[error("the queue in shared memory is damaged: {0}")]
    Damaged(&'static str),
    /// A lock of the queue cannot be taken.
    #[error("cannot lock the queue")]
    Lock(#[source] ipc_sync::Error),
    /// The shared memory cannot be made, opened or asked.
    #[error(transparent)]
    Memory(ipc_core::Error),
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The result of the steps inside: its error is one word, so it stays in registers. An [`Error`] has many, and a result that has it is put
/// together in memory and moved as a whole, for which the processor has to wait: longer than for the locks.
pub(crate) type Quick<T> = std::result::Result<T, Box<Error>>;

impl From<Box<Error>> for Error {
    #[cold]
    fn from(error: Box<Error>) -> Error {
        *error
    }
}

impl Error {
    /// Something was taken, and is not there.
    pub(crate) const NOTHING: Error = Error::Damaged("a message was not there");

    /// Whether a `try_` call would have had to wait.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Error::WouldBlock)
    }

    /// Whether the time passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout)
    }

    /// Whether the queue was closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, Error::Closed)
    }

    /// Whether nobody is left at the other end.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Error::Disconnected)
    }

    /// Whether nothing will ever come any more: the queue was closed, or nobody is left at the other end.
    pub fn is_end(&self) -> bool {
        self.is_closed() || self.is_disconnected()
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
        Box::new(error.into())
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

impl From<ipc_sync::Error> for Error {
    fn from(error: ipc_sync::Error) -> Error {
        match error {
            ipc_sync::Error::WouldBlock => Error::WouldBlock,
            ipc_sync::Error::Timeout => Error::Timeout,
            ipc_sync::Error::Forked => Error::Forked,
            ipc_sync::Error::AlreadyLocked => Error::AlreadyLocked,
            ipc_sync::Error::Damaged(what) => Error::Damaged(what),
            other => Error::Lock(other),
        }
    }
}

/// A value that could not be put, and why. With `?` it becomes the [`Error`], and the value is dropped.
///
/// ```
/// use ipc_queue::Queue;
///
/// # fn main() -> ipc_queue::Result<()> {
/// let (urgent, others) = (Queue::<String>::bounded(1)?, Queue::<String>::new()?);
/// for job in ["first", "second"] {
///     // What finds no room in the one goes to the other.
///     if let Err(failed) = urgent.try_put(job.to_string()) {
///         assert!(failed.error.is_would_block());
///         others.put(failed.value)?;
///     }
/// }
/// assert_eq!(others.get()?, "second");
/// # Ok(()) }
/// ```
pub struct PutError<B> {
    /// What was to be put.
    pub value: B,
    /// Why it was not.
    pub error: Error,
}

impl<B> fmt::Debug for PutError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<B> fmt::Display for PutError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<B> std::error::Error for PutError<B> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl<B> From<PutError<B>> for Error {
    fn from(error: PutError<B>) -> Error {
        error.error
    }
}

/// Why not all of several values could be put. With `?` it becomes the [`Error`].
///
/// ```
/// # fn main() -> ipc_queue::Result<()> {
/// let queue = ipc_queue::Queue::<u8>::bounded(2)?;
/// let values = [1, 2, 3, 4];
/// let failed = queue.try_put_many(&values).unwrap_err();
/// assert_eq!(failed.to_string(), "only 2 values were put");
/// queue.get_many(2)?;
/// queue.put_many(&values[failed.put..])?; // the others
/// assert_eq!(queue.get_many(2)?, [3, 4]);
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[error("only {put} values were put")]
pub struct PutManyError {
    /// How many were: the first ones.
    pub put: usize,
    /// Why the next one was not.
    #[source]
    pub error: Error,
}

impl From<PutManyError> for Error {
    fn from(error: PutManyError) -> Error {
        error.error
    }
}
