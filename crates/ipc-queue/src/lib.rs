//! Queues between processes: typed, fast, and not impressed by `kill -9`.
//!
//! ```
//! use ipc_queue::{Consumer, Process, Producer, Queue};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (jobs, results) = (Queue::<u64>::new()?, Queue::<u64>::new()?);
//! let worker = Process::spawn(
//!     |(jobs, results): (Consumer<u64>, Producer<u64>)| {
//!         while let Ok(n) = jobs.get() {
//!             results.put(n * n).unwrap();
//!         }
//!     },
//!     (jobs.consumer(), results.producer()),
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
//! somebody sleeps, or a message is longer than a quarter of the ring. All handles can be passed to
//! [`Process::spawn`](ipc_core::Process::spawn), and sent in messages over a connection, not through a queue; all but the ends of
//! [`spsc()`] can be cloned.
//!
//! Start at [`Queue`]; give each process the end it needs, a [`Producer`] or a [`Consumer`]. Blocking calls come in threes: `try_…` does
//! not wait, `…_timeout` waits on the monotonic clock; of the ends of [`spsc()`] only those for one value do. [`Error`] tells what can go
//! wrong, [`Settings`] how large a queue is.
//!
//! Not here: a pipe for two that ask and answer, and handles in messages ([`ipc-pipe`](../ipc_pipe/index.html)); channels on which both
//! sides meet ([`ipc-csp`](../ipc_csp/index.html)); queues over the network ([`ipc-manager`](../ipc_manager/index.html)); locks and events
//! ([`ipc-sync`](ipc_sync)); memory without messages ([`ipc-shm`](../ipc_shm/index.html)). Processes: [`ipc-core`](ipc_core).
//!
//! # When a process dies
//!
//! It may be killed at any instruction: nobody hangs, and what was put is delivered, in order, and once. What a receiver was
//! just taking goes to another one; what it had taken, it had, unless it was under a lease. A message that a killed producer was just
//! putting is there or not. A process that is stopped (SIGSTOP) in the middle of a call holds up others until it goes on; calls
//! with a time-out keep their time.
//!
//! # Examples
//!
//! Complete programs, each run by `cargo run --example` and its name:
//!
//! | program | shows | what differs from Python |
//! |---|---|---|
//! | [`queue_grep`](../../../examples/queue_grep.rs) | a program of use: a parallel grep whose workers may be killed | no file is missing, and nobody hangs |
//! | [`queue_methods`](../../../examples/queue_methods.rs) | every call once: what it says when there is no room, nothing to take, or nothing more to come | `len` and its like are true to the moment |
//! | [`queue_items`](../../../examples/queue_items.rs) | a consumer takes items until a last one, or until no producer is left | the end of the last producer is an end, also by a kill |
//! | [`queue_numbers`](../../../examples/queue_numbers.rs) | numbers from one process to another | closing ends all consumers, without a sentinel for each |
//! | [`queue_squares`](../../../examples/queue_squares.rs) | one process puts, and has ended when another one takes | what `put` has put is there: no feeder thread |
//! | [`queue_turns`](../../../examples/queue_turns.rs) | two processes answer each other by two queues | each has one end only, checked by the compiler |
//! | [`queue_values`](../../../examples/queue_values.rs) | a list of different things as one message | an enum says what may come |
//! | [`queue_tasks`](../../../examples/queue_tasks.rs) | `JoinableQueue`: waiting until all tasks are done | the task of a worker that ended comes back |
//! | [`queue_batches`](../../../examples/queue_batches.rs) | many small messages with one call | `put_many`, `get_many` have no counterpart |
//! | [`queue_large`](../../../examples/queue_large.rs) | messages far larger than the ring | how large is a setting |
//! | [`queue_bytes`](../../../examples/queue_bytes.rs) | messages written and read in place | no copy, and no pickle |
//! | [`queue_spsc`](../../../examples/queue_spsc.rs) | one producer, one consumer, no locks | the ends cannot be shared |
//! | [`queue_wait`](../../../examples/queue_wait.rs) | a queue among other things to wait for | there it is the private `_reader` |
//! | [`queue_name`](../../../examples/queue_name.rs) | a queue with a name, for unrelated programs | there only by a manager |
//! | [`queue_crash`](../../../examples/queue_crash.rs) | a job under a lease goes to another worker when its worker is killed | there it is lost |
//! | [`queue_dead_letters`](../../../examples/queue_dead_letters.rs) | a message that kills every worker is put aside | no counterpart |
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
//! | `put` of what cannot be pickled: lost, told by the feeder thread | [`Error::Encode`] from `put` itself |
//! | `connection.wait([q._reader, …])` | [`wait`] with [`Queue::readiness`] |
//! | `JoinableQueue`, `task_done`, `join` | the same on [`JoinableQueue`]; too many `task_done` are [`Error::NoTask`]; [`join_timeout`](JoinableQueue::join_timeout) |
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
    Builder, Bytes, Child, CodecError, Decode, Encode, JoinError, Ownership, Plain, Postcard, Process, Waitable, wait,
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
