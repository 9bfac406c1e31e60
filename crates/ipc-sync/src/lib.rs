//! Locks, semaphores, events and barriers between processes, which survive the death of those who have them.
//!
//! ```
//! use ipc_sync::{Mutex, Process};
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
//! Start at [`Mutex`]; what it says about death and misuse holds for the other locks. [`Error`] tells what can go wrong.
//!
//! Not here: data without a lock, and named memory ([`ipc-shm`](../ipc_shm/index.html)); queues ([`ipc-queue`](../ipc_queue/index.html));
//! channels on which processes meet ([`ipc-csp`](../ipc_csp/index.html)); locks on several machines
//! ([`ipc-manager`](../ipc_manager/index.html)); locks inside one process ([`std::sync`]). Processes, and messages between them:
//! [`ipc-core`](ipc_core), [`ipc-pipe`](../ipc_pipe/index.html).
//!
//! # Examples
//!
//! Complete programs, each run by `cargo run --example` and its name:
//!
//! | program | shows | what differs from Python |
//! |---|---|---|
//! | [`sync_counter`](../../../examples/sync_counter.rs) | a counter that can only be touched under its lock | no access without the lock, so no lost counts |
//! | [`sync_crash`](../../../examples/sync_crash.rs) | the owner of a lock is killed | the next one is told, and repairs; there it waits for ever |
//! | [`sync_semaphore`](../../../examples/sync_semaphore.rs) | a writer and a reader take turns at one piece of memory | who is left alone learns it |
//! | [`sync_permits`](../../../examples/sync_permits.rs) | so many at a time | the permit of a killed process comes back |
//! | [`sync_rwlock`](../../../examples/sync_rwlock.rs) | many read at the same time, one changes | `multiprocessing` has no such lock |
//! | [`sync_condvar`](../../../examples/sync_condvar.rs) | producers and consumers around a small buffer | `notify` does not wait for those it wakes |
//! | [`sync_event`](../../../examples/sync_event.rs) | a start signal for many, and one that will never come | who waits for that gets an error |
//! | [`sync_barrier`](../../../examples/sync_barrier.rs) | phases that begin when all have finished the last one | a killed party breaks the barrier, by its pid |
//! | [`sync_once`](../../../examples/sync_once.rs) | whoever comes first makes a table, the others wait for it | `multiprocessing` has no counterpart |
//!
//! # From Python
//!
//! | `multiprocessing` | here |
//! |---|---|
//! | `Lock()`, `with lock:` | [`Mutex`]`::new(data)`; the guard of [`lock`](Mutex::lock) |
//! | `lock.acquire()`, `acquire(False)`, `acquire(timeout=t)`, `release()` | [`lock`](Mutex::lock), [`try_lock`](Mutex::try_lock), [`lock_timeout`](Mutex::lock_timeout), dropping the guard |
//! | `RLock()` | [`RLock`] |
//! | `Semaphore(n)`, `BoundedSemaphore(n)` | [`Semaphore`]`::new(n)`, whose permits are guards |
//! | `sem.acquire()`, `release()`, `get_value()` | [`acquire`](Semaphore::acquire), dropping the [`Permit`], or [`keep`](Permit::keep) and [`release`](Semaphore::release); [`available`](Semaphore::available) |
//! | `Semaphore(0)` to hand over | [`Semaphore::signal`]`(0)`: [`Signal::acquire`], [`Signal::release`] |
//! | `Condition()`, `wait()`, `wait_for(p)` | [`Condvar`], [`wait`](Condvar::wait), [`wait_while`](Condvar::wait_while)`(!p)` |
//! | `notify(n)`, `notify_all()` | [`notify_one`](Condvar::notify_one), [`notify_all`](Condvar::notify_all) |
//! | `Event()`, `set()`, `clear()`, `is_set()`, `wait(t)` | [`Event`], [`set`](Event::set), [`clear`](Event::clear), [`is_set`](Event::is_set), [`wait_timeout`](Event::wait_timeout)`(t)` |
//! | `Barrier(n)`, `wait()`, `reset()`, `abort()` | [`Barrier`], [`wait`](Barrier::wait) or [`enroll`](Barrier::enroll); [`reset`](Barrier::reset), [`abort`](Barrier::abort) |
//! | `Barrier(n, action)` | [`Party::wait_with`]`(action)` |
//! | `parties`, `n_waiting`, `broken`, `BrokenBarrierError` | [`parties`](Barrier::parties), [`waiting`](Barrier::waiting), [`broken_by`](Barrier::broken_by), [`Error::Broken`] |
//!
//! A wait that runs out of time is an [`Error::Timeout`] here; there it is `False`, or `BrokenBarrierError`. To release a lock that
//! another one has, which Python's `Lock` allows, cannot be written.
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
