//! Locks, semaphores, events and barriers between processes, which survive the death of those who have them.
//!
//! ```
//! use ipc_core::Process;
//! use ipc_sync::Mutex;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let account = Mutex::new([100i64, 0])?; // euros on both sides: always 100 in all
//! let victim: Process<()> = Process::spawn(
//!     |account: Mutex<[i64; 2]>| {
//!         let mut sides = account.lock().unwrap();
//!         sides[0] -= 30;
//!         std::process::abort(); // in the middle of a transfer
//!     },
//!     account.clone(),
//! )?;
//! victim.join().unwrap_err();
//!
//! // The death is never kept from the next one.
//! assert!(account.lock().unwrap_err().is_owner_died());
//! let sides = account.lock_or_repair(|sides, _pid| {
//!     sides[1] = 100 - sides[0];
//!     true // sound again
//! })?;
//! assert_eq!(*sides, [70, 30]);
//! # Ok(()) }
//! ```
//!
//! | | for | when who has it dies |
//! |---|---|---|
//! | [`Mutex`], [`RLock`] | one at a time | handed on at once, with that fact |
//! | [`RwLock`] | many readers or one writer | a reader is gone; a writer as with `Mutex` |
//! | [`Semaphore`] | so many at a time | its permits come back |
//! | [`Signal`] | counting what others have done | nothing comes back; `Abandoned` if nobody is left |
//! | [`Condvar`], [`Event`] | waiting for a change | `Abandoned` if nobody is left |
//! | [`Barrier`] | waiting for each other | broken, naming the dead |
//! | [`Once`] | doing it once | done again by the next one |
//!
//! All of them are handles: clone them, pass them to [`Process::spawn`](ipc_core::Process::spawn), send them in messages. Each lives in
//! anonymous memory of its own, or with others in a [`Segment`], by `create_in` and `open_in`; nothing is ever left behind. Blocking calls
//! come in threes: `try_…` does not wait, `…_timeout` waits on the monotonic clock and returns in time also while a
//! *stopped* process has the lock.
//!
//! Not here: data without a lock and named memory (`ipc-shm`), queues (`ipc-queue`), locks inside one process (`std::sync`).
//!
//! # From Python
//!
//! | `multiprocessing` | here |
//! |---|---|
//! | `Lock()`, `with lock:` | [`Mutex`]`::new(data)`; the guard of [`lock`](Mutex::lock) |
//! | `RLock()` | [`RLock`] |
//! | `Semaphore(n)`, `BoundedSemaphore(n)` | [`Semaphore`]`::new(n)`, whose permits are guards |
//! | `Semaphore(0)` to hand over | [`Semaphore::signal`]`(0)` |
//! | `Condition()`, `wait_for(p)`, `notify(n)` | [`Condvar`], [`wait_while`](Condvar::wait_while)`(!p)`, [`notify_one`](Condvar::notify_one) |
//! | `Event()` | [`Event`] |
//! | `Barrier(n)`, `n_waiting`, `BrokenBarrierError` | [`Barrier`], [`waiting`](Barrier::waiting), [`Error::Broken`] |
//!
//! # Limits
//!
//! What locks protect is plain data ([`Pod`]); a thread holds at most [`MAX_HELD`] locks at a time; whoever may write the memory is
//! trusted not to attack the words of its locks. All processes must be in one pid namespace, as the C library knows the owner of a
//! lock by its thread id.
#![deny(unsafe_code)] // allowed again in raw.rs and sys.rs

mod barrier;
mod condvar;
mod error;
mod event;
mod held;
mod lock;
#[cfg(all(test, loom))]
mod model;
mod mutex;
mod once;
mod presence;
mod raw;
mod rlock;
mod rwlock;
mod semaphore;
mod shim;
mod signal;
#[cfg(not(loom))]
mod sys;
mod word;

/// What can be in a lock: plain data, for which every pattern of bytes is a value. For structs of your own, with the crate `bytemuck` and
/// its feature `derive`; no unsafe code is needed:
///
/// ```
/// #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
/// #[repr(C)] // and without gaps between the fields
/// struct Account {
///     euros: i64,
///     cents: i64,
/// }
///
/// # fn main() -> ipc_sync::Result<()> {
/// let account = ipc_sync::Mutex::new(Account { euros: 10, cents: 50 })?;
/// account.lock()?.euros += 5;
/// # Ok(()) }
/// ```
pub use bytemuck::Pod;
pub use ipc_core::{Builder, Child, JoinError, Process, Segment};

/// What the crates of other mechanisms are made of.
#[doc(hidden)]
pub mod mechanism {
    pub use crate::{
        lock::{Died, Lock, Locked},
        raw::{contents_of, hash_of},
        word::{Slices, Ticket, WaitWord},
    };
}

pub use crate::{
    barrier::{Barrier, BrokenBy, Party},
    condvar::Condvar,
    error::{Error, Result},
    event::Event,
    held::MAX_HELD,
    mutex::{Mutex, MutexGuard},
    once::Once,
    rlock::{RLock, RLockGuard},
    rwlock::{ReadGuard, RwLock, WriteGuard},
    semaphore::{BoundedSemaphore, Permit, Semaphore},
    signal::Signal,
};
