//! Shared memory between processes: bytes, values, arrays and lists, also Python's.
//!
//! ```
//! use ipc_shm::{Process, SharedMemory};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = SharedMemory::anonymous(1 << 20)?; // a megabyte that is not copied from process to process
//! let child = Process::spawn(|memory: SharedMemory| memory.write_at(7, b"from the child").unwrap(), memory.clone())?;
//! child.join()?;
//! assert_eq!(memory.to_vec(7, 14)?, b"from the child");
//! # Ok(()) }
//! ```
//!
//! | | what it is | while others write |
//! |---|---|---|
//! | [`SharedMemory`] | bytes, with a name or without | copied in and out, or atomics |
//! | [`Value`], [`Array`] | plain data of one type | under a lock that survives its owner |
//! | [`AtomicValue`], [`AtomicArray`] | numbers | atomics, no lock |
//! | [`ShareableList`] | Python's list of numbers and texts | not locked, as Python's |
//!
//! All of them are handles: clone them, pass them to [`Process::spawn`], send them in messages. Anonymous ones live as long as somebody has
//! them; what has a name is removed by its [`Ownership`], or with a [`Scope`], also when processes are killed. [`Value`] and [`Array`] can
//! lie side by side in a [`Segment`], by `create_in` and `open_in`, with each other and with the locks of `ipc-sync`; if that has a name,
//! send the memory and open them in it.
//!
//! Start at [`Value`] for a number, [`Array`] for many, [`SharedMemory`] for bytes and for Python at the other end. What a death leaves,
//! and who is told, is said at each type; [`Error`] tells what can go wrong.
//!
//! Not here: locks by themselves ([`ipc-sync`](ipc_sync)), queues ([`ipc-queue`](../ipc_queue/index.html)), objects in a server process
//! ([`ipc-manager`](../ipc_manager/index.html)), messages ([`ipc-pipe`](../ipc_pipe/index.html)). Processes: [`ipc-core`](ipc_core).
//!
//! # Examples
//!
//! Complete programs, each run by `cargo run --example` and its name:
//!
//! | program | shows | what differs from Python |
//! |---|---|---|
//! | [`shm_values`](../../../examples/shm_values.rs) | a number and an array that a child changes: `Value`, `Array` | the type parameter says what a typecode does |
//! | [`shm_squares`](../../../examples/shm_squares.rs) | a child squares a list into an array and leaves the sum in a value | the array's lock is held until the sum is there, too |
//! | [`shm_counter`](../../../examples/shm_counter.rs) | counting under a lock, and without one; and how counts get lost | `update` and `fetch_add` in place of `+=` |
//! | [`shm_concurrent`](../../../examples/shm_concurrent.rs) | two processes change one named array at the same time | no change is lost |
//! | [`shm_mmap`](../../../examples/shm_mmap.rs) | a writer and a reader open memory by its name and use it as a file | a cursor in place of an `mmap` object |
//! | [`shm_list`](../../../examples/shm_list.rs) | `ShareableList`: numbers and texts side by side | room is counted in bytes, so no text is cut |
//! | [`shm_name`](../../../examples/shm_name.rs) | programs started one by one, which share only a name | the last one removes the name |
//! | [`shm_scope`](../../../examples/shm_scope.rs) | the name goes also if its maker is killed | by a watcher; opening removes nothing, as the resource tracker there does |
//! | [`shm_picture`](../../../examples/shm_picture.rs) | several processes paint one picture without a lock | elements are atomics |
//! | [`shm_pipeline`](../../../examples/shm_pipeline/main.rs) | a program of use: a picture in three steps, whose workers may be killed | what a killed worker was doing is done by another one |
//! | [`shm_python`](../../../examples/shm_python.rs) | Python opens the same memory | `unregister`, or Python removes the name |
//!
//! # From Python
//!
//! | `multiprocessing` | here |
//! |---|---|
//! | `shared_memory.SharedMemory(create=True, size=n)`, `(name)` | [`SharedMemory::create`], [`SharedMemory::open`] |
//! | `shm.buf[i:j]` | [`read_at`](SharedMemory::read_at), [`write_at`](SharedMemory::write_at), or a [`cursor`](SharedMemory::cursor) |
//! | `shm.name`, `shm.size` | [`name`](SharedMemory::name), [`size`](SharedMemory::size), which is exactly what was asked for |
//! | `shm.close()`, `shm.unlink()` | drop the handle; [`Ownership`], [`SharedMemory::unlink`] |
//! | `ShareableList` | [`ShareableList`], the same bytes |
//! | `SharedMemoryManager` | [`Scope`] |
//! | `Value`, `Array` | [`Value`], [`Array`] |
//! | typecodes `b B h H i I q Q f d` | `i8 u8 i16 u16 i32 u32 i64 u64 f32 f64`; `l` and `L` are 64 bits here; `c` is `u8` |
//! | `v.get_lock()`, `v.get_obj()` | the guard of [`Value::lock`], [`Array::lock`] |
//! | `RawValue`, `RawArray`, `lock=False` | [`AtomicValue`], [`AtomicArray`]; `fetch_add` and `update` lose nothing |
//! | `mmap.mmap(-1, n)` | [`SharedMemory::anonymous`], [`SharedMemory::cursor`] |
//!
//! Python 3.8 to 3.13 opens ours and we open Python's. Mind that a Python process removes the name of what it has only opened when it
//! ends: `track=False` (from 3.13) or `resource_tracker.unregister` prevents that; see [`ShareableList`].
//!
//! # Limits
//!
//! Names are those of `/dev/shm`, for processes of one user. Whoever may write a memory is trusted not to attack the words of the locks
//! in it, and, if it has a name, not to shrink its file (SIGBUS).
#![deny(unsafe_code)] // allowed again in raw.rs

mod array;
mod atomic;
mod error;
mod list;
mod memory;
mod raw;
mod value;

pub use bytemuck::Pod;
pub use ipc_core::{Builder, Child, JoinError, Ownership, Process, Segment};
pub use ipc_sync::MutexGuard;

pub use crate::{
    array::{Array, ArrayGuard},
    atomic::{Atomic, AtomicArray, Integer, Scalar},
    error::{Error, Result},
    list::{Item, Iter, ShareableList},
    memory::{Cursor, Scope, SharedMemory},
    value::{AtomicValue, Value},
};
