//! What can go wrong.

/// Why an operation on shared memory, or on what lies in it, did not succeed.
///
/// ```
/// use ipc_shm::{Array, Error, SharedMemory};
///
/// # fn main() -> ipc_shm::Result<()> {
/// let array = Array::new(&[1u8, 2])?;
/// assert!(matches!(array.get(2), Err(Error::Index { index: 2, len: 2 })));
/// let error = SharedMemory::anonymous(10)?.write_at(8, b"abc").unwrap_err();
/// assert_eq!(error.to_string(), "3 bytes at offset 8 are not aligned, or do not lie in a memory of 10 bytes");
///
/// // Of the errors of a lock, those that a caller decides by:
/// let _elements = array.lock()?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let error = array.try_lock().unwrap_err();
///         assert!(error.is_would_block() && !error.is_timeout() && !error.is_owner_died());
///     });
/// });
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The memory cannot be made, opened or asked.
    #[error(transparent)]
    Memory(ipc_core::Error),
    /// The lock of a value or array: it is held for too long, or its owner died with it.
    #[error(transparent)]
    Lock(ipc_sync::Error),
    /// The bytes do not lie in the memory.
    #[error("{len} bytes at offset {offset} are not aligned, or do not lie in a memory of {size} bytes")]
    OutOfBounds {
        /// Where the bytes were to be.
        offset: usize,
        /// How many.
        len: usize,
        /// The size of the memory in bytes.
        size: usize,
    },
    /// There is memory of this name already, of another size.
    #[error("there is memory of this name already, of {found} bytes and not {expected}")]
    Size {
        /// What was asked for, in bytes.
        expected: usize,
        /// What there is, in bytes.
        found: usize,
    },
    /// The memory was opened for reading only.
    #[error("the memory was opened for reading only")]
    ReadOnly,
    /// There is no such element.
    #[error("there is no element {index} among {len}")]
    Index {
        /// Which element.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// As many elements were given as there are not.
    #[error("{found} elements were given for {expected}")]
    Length {
        /// How many there are.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// The memory contains no list, or a damaged one.
    #[error("no list: {0}")]
    Layout(&'static str),
    /// A text or bytes are too long for the place they are to be written to.
    #[error("{needed} bytes do not fit into an element with room for {room}")]
    TooLong {
        /// How many bytes.
        needed: usize,
        /// How many there is room for.
        room: usize,
    },
    /// A text or bytes are to be written that end with a NUL, which every reader would take for filling.
    #[error("a text or bytes that end with a NUL cannot be kept in a list")]
    TrailingNul,
    /// An element of a list is a text, but not in UTF-8: Python has cut it within a character as it was too long, or it was
    /// written meanwhile.
    #[error("the text of element {index} is cut or damaged")]
    Text {
        /// Which element.
        index: usize,
        /// What is wrong with its bytes; it has them, too.
        source: std::string::FromUtf8Error,
    },
    /// An element is of another type than the one asked for.
    #[error("the element is {found}, not {expected}")]
    WrongType {
        /// What was asked for.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// Values of this type cannot be kept in shared memory by this crate.
    #[error("`{name}` cannot be kept in shared memory: {why}")]
    BadType {
        /// The type.
        name: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No memory can hold so many elements.
    #[error("{len} elements of {size} bytes are more than any memory can hold")]
    TooMany {
        /// How many elements.
        len: usize,
        /// The size of one in bytes.
        size: usize,
    },
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the memory itself complains about, in this crate's words.
    pub(crate) fn of_memory(error: ipc_core::Error) -> Error {
        match error {
            ipc_core::Error::OutOfBounds { offset, len, size } => Error::OutOfBounds { offset, len, size },
            ipc_core::Error::ReadOnly => Error::ReadOnly,
            other => Error::Memory(other),
        }
    }
}

impl Error {
    /// Whether an owner of the lock died, or panicked, with it.
    pub fn is_owner_died(&self) -> bool {
        matches!(self, Error::Lock(ipc_sync::Error::OwnerDied { .. }))
    }

    /// Whether the time passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Lock(ipc_sync::Error::Timeout))
    }

    /// Whether a `try_` call would have had to wait.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Error::Lock(ipc_sync::Error::WouldBlock))
    }
}

impl From<ipc_core::Error> for Error {
    fn from(error: ipc_core::Error) -> Error {
        Error::of_memory(error)
    }
}

/// What is not about the lock itself is about the memory.
impl From<ipc_sync::Error> for Error {
    fn from(error: ipc_sync::Error) -> Error {
        match error {
            ipc_sync::Error::Memory(error) => error.into(),
            ipc_sync::Error::Forked => ipc_core::Error::Forked.into(),
            other => Error::Lock(other),
        }
    }
}
