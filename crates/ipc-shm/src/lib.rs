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
//! All of them are handles: clone them, pass them to [`Process::spawn`], send them in messages. Anonymous ones live as long as somebody
//! has them; what has a name is removed by its [`Ownership`], or with a [`Scope`], also when processes are killed.
//! [`Value`] and [`Array`] can lie side by side in a [`Segment`], by `create_in` and `open_in`, with each other and with the locks of `ipc-sync`;
//! if that has a name, send the memory and open them in it.
//!
//! Not here: locks by themselves (`ipc-sync`), queues (`ipc-queue`), objects in a server process (`ipc-manager`).
//!
//! # From Python
//!
//! | `multiprocessing` | here |
//! |---|---|
//! | `shared_memory.SharedMemory(create=True, size=n)`, `(name)` | [`SharedMemory::create`], [`SharedMemory::open`] |
//! | `shm.buf[i:j]` | [`read_at`](SharedMemory::read_at), [`write_at`](SharedMemory::write_at), or a [`cursor`](SharedMemory::cursor) |
//! | `shm.close()`, `shm.unlink()` | drop the handle; [`Ownership`], [`SharedMemory::unlink`] |
//! | `ShareableList` | [`ShareableList`], the same bytes |
//! | `SharedMemoryManager` | [`Scope`] |
//! | `Value`, `Array` | [`Value`], [`Array`] |
//! | `RawValue`, `RawArray`, `lock=False` | [`AtomicValue`], [`AtomicArray`] |
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
