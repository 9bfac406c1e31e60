//! Objects that many processes share, in a server process: lists, dicts, namespaces, queues, locks, on one machine or several.
//!
//! ```
//! use ipc_manager::{Dict, List, Manager, Process};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let manager = Manager::start()?; // a process of its own
//! let (dict, list) = (manager.dict::<String, u32>()?, manager.list_of(0..10)?);
//! let child = Process::spawn(
//!     |(dict, list): (Dict<String, u32>, List<u32>)| {
//!         dict.insert(&"one".to_string(), &1).unwrap();
//!         list.reverse().unwrap();
//!     },
//!     (dict.clone(), list.clone()),
//! )?;
//! child.join()?;
//! assert_eq!(dict.get(&"one".to_string())?, Some(1));
//! assert_eq!(list.get(0)?, Some(9));
//! # Ok(()) }
//! ```
//!
//! Start at [`Manager::start`], or [`Manager::connect`] if there is a server already. A [`Manager`] makes objects, of any serde types; what it
//! returns are proxies, which can be cloned, sent to any process, and stored in other objects: [`List`], [`Array`], [`Dict`], [`Set`],
//! [`Namespace`], [`Value`], [`Queue`], [`JoinableQueue`], [`Lock`], [`RLock`], [`Semaphore`], [`Condition`], [`Event`], [`Barrier`]. Each
//! operation is a request to the server, which does one after the other, so each is atomic; [`Batch`] sends many at once.
//!
//! The most flexible way to share, and not the fastest: a request takes some microseconds, a sleeping server some 65. On one machine, memory (`ipc-shm`),
//! locks (`ipc-sync`) and queues (`ipc-queue`) that are shared directly are up to a thousand times as fast.
//! Not here: objects that survive their server, functions that the server runs, a connection by itself (`ipc-socket`).
//!
//! # When a process dies
//!
//! - **A client** that is killed or cut off gives back, at once, its locks (who takes one next gets [`Error::OwnerDied`]), its permits, and the tasks it had not
//!   done; a barrier breaks; what it held goes, if nobody else holds it. A change that was acknowledged is there, one that was not may be there or not, whole or not at all.
//! - **The server**: every call gets [`Error::Disconnected`], also those that wait. The objects are gone.
//! - **A stopped server**: a call fails with [`Error::Timeout`] after 30 s ([`Manager::set_call_timeout`]), one with a time-out of its own after that.
//! - **The process that has started the server**: the server ends with it, unless it was told to [stay](ManagerBuilder::stay).
//!
//! A client that waits holds no thread of the server.
//!
//! # Near and far
//!
//! A server can listen at any [`Address`]: [`Manager::serve`] or [`ManagerBuilder::start`] with `tcp:…`, and [`Manager::connect`] on the other machine with
//! the same key. The key keeps others out, but nothing is encrypted; see `ipc-socket`. A proxy that is sent to another process contains address *and key*.
//!
//! # From Python
//!
//! | `multiprocessing` | here |
//! |---|---|
//! | `Manager()`, `with Manager() as m:` | [`Manager::start`]; the server ends when it is dropped |
//! | `BaseManager(address, authkey).start()`, `.connect()`, `.get_server().serve_forever()` | [`ManagerBuilder::start`], [`Manager::connect`], [`Manager::serve`] and [`Server::join`] |
//! | `manager.list([1, 2])`, `.dict()`, `.set()`, `.Namespace()`, `.Value('i', 0)`, `.Array('i', [0])` | [`Manager::list_of`], [`Manager::dict`], [`Manager::set`], [`Manager::namespace`], [`Manager::value`], [`Manager::array`] |
//! | `manager.Queue(5)`, `.JoinableQueue()`, `.Lock()`, `.RLock()`, `.Semaphore(2)`, `.Condition()`, `.Event()`, `.Barrier(3)` | [`Manager::bounded_queue`], [`Manager::joinable_queue`], [`Manager::lock`], … |
//! | `manager.Pool()` | processes, and a [`JoinableQueue`] of what they are to do |
//! | `manager.register('get_x', …)`, `manager.get_x()` | [`Manager::publish`], [`Manager::open`]; a type of one's own is a [`Value`] or is in a [`Dict`] |
//! | `d['n'] += 1`, which loses changes | [`Dict::update`], which does not |
//! | `d.copy()`, `l[:]` | [`Dict::to_map`], [`List::to_vec`] |
//! | `for x in l:`, which asks for each position | [`List::iter`], which has all of one moment |
//! | `lock.acquire(timeout=1)`, `condition.wait_for(f)` | [`Lock::lock_timeout`], [`ConditionGuard::wait_while`] with the opposite of `f` |
//! | `manager.address`, `_number_of_objects()`, `_debug_info()` | [`Manager::address`], [`Manager::stats`] |
//! | `manager.shutdown()`, which only its maker can | dropping it, or [`Manager::shutdown`], which every client can |
//! | `RemoteError` | nothing: the server runs no code of yours; an [`Error`] says what was wrong |
//! | `SharedMemoryManager` | `Scope` in `ipc-shm` |
//!
//! # Examples
//!
//! | program | what it shows | in Python |
//! |---|---|---|
//! | [`manager_records`](../../../examples/manager_records.rs) | one process adds a record to a list, another one prints all | the loop asks for each position, and may miss some |
//! | [`manager_namespace`](../../../examples/manager_namespace.rs) | attributes that processes share | `ns.x += 5` loses changes there, too, unless there is a lock |
//! | [`manager_dict_list`](../../../examples/manager_dict_list.rs) | a dict and a list for several workers | the same; here keys and values have types |
//! | [`manager_counter`](../../../examples/manager_counter.rs) | why reading and writing loses changes, and what does not | only a lock helps |
//! | [`manager_nested`](../../../examples/manager_nested.rs) | a list of dicts: copies, and shared ones | the same, since 3.6 |
//! | [`manager_queue`](../../../examples/manager_queue.rs) | the task of a killed worker goes to the next one | it is lost, and `join` waits for ever |
//! | [`manager_locks`](../../../examples/manager_locks.rs) | a killed process's lock, permits and place at a barrier | the others wait for ever |
//! | [`manager_condition_event`](../../../examples/manager_condition_event.rs) | waiting until others have got somewhere | each client has a thread in the server |
//! | [`manager_batch`](../../../examples/manager_batch.rs) | ten thousand operations, and ten times waited | `update` of a dict, and nothing else |
//! | [`manager_server`](../../../examples/manager_server.rs) | a server that outlives the program that started it | it ends with its parent, or the program does nothing but serve |
//! | [`manager_tcp`](../../../examples/manager_tcp.rs) | several computers, by address and key | types are registered on both sides |
//! | [`manager_stats`](../../../examples/manager_stats.rs) | who is connected, what there is, who holds a lock | `_debug_info`, a text |
//!
//! Next: `ipc-socket` for addresses, keys and who is let in, `ipc-core` for processes.
//!
//! # Limits
//!
//! Values are copied. Keys are compared as they are encoded. A server holds everything in memory, and serves by one thread. Objects that contain each other in a circle
//! live as long as it. Python's managers are another protocol.
#![forbid(unsafe_code)]

mod batch;
mod builder;
mod dict;
mod error;
mod line;
mod list;
mod lock;
mod manager;
mod protocol;
mod proxy;
mod queue;
mod server;
mod session;
mod snapshot;
mod stats;
mod sync;
mod value;

#[doc(hidden)] // for fuzzing
pub use crate::server::state::simulation;

pub use ipc_core::{Builder, Child, JoinError, Process};
pub use ipc_socket::{Address, Allow};

pub use crate::{
    batch::{Batch, Command, Pending, Results},
    builder::ManagerBuilder,
    dict::{Dict, DictLater, Namespace, Set, SetLater},
    error::{Error, Result},
    list::{Array, ArrayLater, List, ListLater, Value, ValueLater},
    lock::{Condition, ConditionGuard, Guard, Lock, RLock},
    manager::{Manager, Server},
    protocol::Kind,
    proxy::Object,
    queue::{JoinableQueue, Queue},
    snapshot::{Entries, Keys, Snapshot},
    stats::{LockOwner, ObjectStats, Stats},
    sync::{Barrier, BoundedSemaphore, Event, Permit, Semaphore},
};
