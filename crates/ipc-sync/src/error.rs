//! What can go wrong.

use crate::barrier::BrokenBy;
use crate::held::MAX_HELD;

/// Why an operation on a lock or its like did not succeed.
///
/// ```
/// use ipc_sync::{Error, Mutex};
/// use std::time::Duration;
///
/// /// Counts, or returns `None` if others keep the counter for too long.
/// fn count(counter: &Mutex<u32>) -> Result<Option<u32>, Error> {
///     match counter.lock_timeout(Duration::from_millis(10)) {
///         Ok(mut count) => {
///             *count += 1;
///             Ok(Some(*count))
///         }
///         Err(error) if error.is_timeout() => Ok(None),
///         // A single number is always sound.
///         Err(Error::OwnerDied { .. }) => Ok(Some(*counter.lock_or_repair(|_count, _pid| true)?)),
///         Err(error) => Err(error),
///     }
/// }
///
/// # fn main() -> ipc_sync::Result<()> {
/// let counter = Mutex::new(0)?;
/// assert_eq!(count(&counter)?, Some(1));
/// let guard = counter.lock()?;
/// assert_eq!(count(&counter).unwrap_err().to_string(), "this thread holds the lock already");
/// std::thread::scope(|scope| scope.spawn(|| assert_eq!(count(&counter).unwrap(), None)).join().unwrap());
/// # drop(guard);
/// # Ok(()) }
/// ```
///
/// What callers branch on has a name of its own:
///
/// ```
/// use ipc_sync::{Barrier, Event, Process, Semaphore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert!(Semaphore::signal(0)?.try_acquire().unwrap_err().is_would_block());
/// let barrier = Barrier::new(2)?;
/// barrier.abort()?;
/// assert!(barrier.wait().unwrap_err().is_broken());
/// let go = Event::new()?;
/// Process::spawn(|_go: Event| (), go.clone())?.join()?; // has it no more
/// assert!(go.wait().unwrap_err().is_abandoned());
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Whoever held the lock died, or panicked, with it: what it protects may be half changed. The lock is not taken, and says so to
    /// everybody until it is repaired: see [`Mutex::lock_or_repair`](crate::Mutex::lock_or_repair).
    #[error("{} died or panicked while it held the lock", name(*pid))]
    OwnerDied {
        /// Its pid, in its own pid namespace. `None` if it died in the few instructions in which it had the lock but had not left its
        /// name yet, or not any more: then it has changed nothing, or all it wanted.
        pid: Option<u32>,
    },
    /// This thread has the lock already, so it would wait for itself.
    #[error("this thread holds the lock already")]
    AlreadyLocked,
    /// A guard of this process was forgotten in a thread that has ended, so the lock is free, but references that the guard gave out may
    /// still exist. Other processes can take the lock, this one cannot any more.
    #[error("a guard of this process was forgotten, and what it gave out may still be in use")]
    GuardForgotten,
    /// This process holds no permit that it could give back.
    #[error("this process keeps no permit of the semaphore")]
    NotHeld,
    /// The thread holds as many locks as it may: beyond that the kernel would not release all of them if it died.
    #[error("a thread can hold at most {MAX_HELD} locks at a time")]
    TooManyHeld,
    /// The time passed. Nothing has changed, except that a party whose time runs out breaks its barrier.
    #[error("timed out")]
    Timeout,
    /// A `try_` call would have had to wait; nothing has changed.
    #[error("the call would have to wait")]
    WouldBlock,
    /// Nobody else has the object any more, so nobody could end the wait.
    #[error("nobody else is left who could end the wait")]
    Abandoned,
    /// The barrier is broken: those who wait at it do not come together. [`Barrier::reset`](crate::Barrier::reset) mends it.
    #[error("the barrier is broken: {0}")]
    Broken(BrokenBy),
    /// As many parties as the barrier is for have enrolled already.
    #[error("all {parties} places of the barrier are taken")]
    Full {
        /// How many places it has.
        parties: u32,
    },
    /// A number is outside of what is possible: of permits, of parties, or the count of a signal would become too high.
    #[error("{what} must be from {min} to {max}")]
    OutOfRange {
        /// What number.
        what: &'static str,
        /// The least possible.
        min: u32,
        /// The greatest possible.
        max: u32,
    },
    /// What lies in the shared memory is not what the operations of this crate leave there.
    #[error("the lock in shared memory is damaged: {0}")]
    Damaged(&'static str),
    /// This process is a copy of the one that has the object, made by a fork without exec. The copy cannot use it.
    #[error("this process was forked, and a forked copy cannot use the shared objects of the original")]
    Forked,
    /// The shared memory cannot be made, opened or asked.
    #[error(transparent)]
    Memory(ipc_core::Error),
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether an owner died, or panicked, with the lock.
    pub fn is_owner_died(&self) -> bool {
        matches!(self, Error::OwnerDied { .. })
    }

    /// Whether nobody is left who could end the wait.
    pub fn is_abandoned(&self) -> bool {
        matches!(self, Error::Abandoned)
    }

    /// Whether a barrier is broken.
    pub fn is_broken(&self) -> bool {
        matches!(self, Error::Broken(_))
    }

    /// Whether the time passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout)
    }

    /// Whether a `try_` call would have had to wait.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Error::WouldBlock)
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

fn name(pid: Option<u32>) -> String {
    pid.map_or("a process".into(), |pid| format!("process {pid}"))
}
