//! Queues between processes: typed, fast, and not impressed by `kill -9`.
//!
//! ```
//! use ipc_queue::{Process, Queue};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (jobs, results) = (Queue::<u64>::new()?, Queue::<u64>::new()?);
//! let worker = Process::spawn(
//!     |(jobs, results): (Queue<u64>, Queue<u64>)| {
//!         while let Ok(n) = jobs.get() {
//!             results.put(n * n).unwrap();
//!         }
//!     },
//!     (jobs.clone(), results.clone()),
//! )?;
//! jobs.put_many(&[1, 2, 3, 4])?;
//! jobs.close()?;
//! worker.join()?;
//! assert_eq!(results.get_many(10)?, [1, 4, 9, 16]);
//! # Ok(()) }
//! ```
//!
//! | | for |
//! |---|---|
//! | [`Queue`], its ends [`Producer`] and [`Consumer`] | any number of producers and consumers, in one process or many |
//! | [`Lease`] | a message that stays the queue's until it is acknowledged; [`DeadLetter`]s |
//! | [`JoinableQueue`] | tasks that are declared done, and waiting until all are |
//! | [`spsc()`] | one producer and one consumer: no locks |
//! | [`Reservation`], [`Peek`] | messages that are written and read in place |
//! | [`Readiness`] | a queue among other things to wait for |
//!
//! A queue is one file in memory that has no name, or one if it is made so: a ring of bytes, mapped twice so that no message is cut, a
//! lock for producers and one for consumers, which the kernel hands on when their owner dies. Nobody makes a system call unless
//! somebody sleeps, or a message is longer than a quarter of the ring. All handles can be cloned, passed to
//! [`Process::spawn`](ipc_core::Process::spawn), and sent in messages over a connection; not through a queue.
//!
//! # When a process dies
//!
//! It may be killed at any instruction: nobody hangs, and what was put is delivered, in order, and once. What a receiver was
//! just taking goes to another one; what it had taken, it had, unless it was under a lease. A message that a killed producer was just
//! putting is there or not. A process that is stopped (SIGSTOP) in the middle of a call holds up others until it goes on; calls
//! with a time-out keep their time.
//!
//! # From Python
//!
//! | `multiprocessing` | here |
//! |---|---|
//! | `Queue(maxsize)`, `SimpleQueue()` | [`Queue::bounded`]`(maxsize)`, [`Queue::new`]`()` |
//! | `put`, `put_nowait`, `put(timeout=)`; `queue.Full` | [`put`](Queue::put), [`try_put`](Queue::try_put), [`put_timeout`](Queue::put_timeout); [`Error::WouldBlock`], [`Error::Timeout`] |
//! | `get`, `get_nowait`, `get(timeout=)`; `queue.Empty` | [`get`](Queue::get), [`try_get`](Queue::try_get), [`get_timeout`](Queue::get_timeout) |
//! | `qsize`, `empty`, `full` | [`len`](Queue::len), [`is_empty`](Queue::is_empty), [`is_full`](Queue::is_full): true to the moment |
//! | a sentinel (`None`) at the end | the same, or drop the producers: [`Error::Disconnected`] |
//! | `close`, `join_thread`, `cancel_join_thread` | drop the handle: there is no thread, and what was put is there; [`Queue::close`] is for everybody |
//! | `JoinableQueue`, `task_done`, `join` | the same on [`JoinableQueue`] |
//!
//! # Limits
//!
//! At most 4,194,304 items, 64 messages that are just being taken, and 4,096 long ones. Values with handles in them cannot be put
//! (send those over a connection, of `ipc-pipe`). All processes must be in one pid namespace, and run programs for the same C library.
//! Whoever may write the memory is trusted not to attack the words of its locks.
#![deny(unsafe_code)] // allowed again in raw.rs and sys.rs

mod codec;
mod core;
mod error;
mod extent;
mod handle;
mod hands;
mod in_place;
mod joinable;
mod layout;
mod lease;
#[cfg(all(test, loom))]
mod model;
mod place;
mod put;
mod queue;
mod raw;
mod readiness;
mod recover;
mod settings;
mod shim;
mod spsc;
mod sys;
mod take;

pub use ipc_core::{
    Builder, Bytes, Child, CodecError, Decode, Encode, JoinError, Ownership, Plain, Postcard, Process, wait,
};

pub use crate::{
    error::{Error, PutError, PutManyError, Result},
    handle::Stats,
    in_place::{Peek, Reservation},
    joinable::JoinableQueue,
    lease::{DeadLetter, Lease},
    queue::{Consumer, Iter, Producer, Queue},
    readiness::Readiness,
    settings::Settings,
    spsc::{SpscConsumer, SpscProducer, spsc},
};
