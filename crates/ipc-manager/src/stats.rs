//! What a server tells about itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Kind;

/// What a server knows of itself; see [`Manager::stats`](crate::Manager::stats).
///
/// ```
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = ipc_manager::Manager::start()?;
/// let (list, lock) = (manager.list_of([1, 2])?, manager.lock()?);
/// let _guard = lock.lock()?;
/// let stats = manager.stats()?;
/// assert_eq!((stats.clients, stats.objects[0].len), (1, 2));
/// assert!(stats.objects[1].owner.as_ref().is_some_and(|owner| owner.pid == std::process::id()));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// The processes that are connected.
    pub clients: u64,
    /// Their connections; each thread that waits has one.
    pub connections: u64,
    /// How many requests were served so far.
    pub calls: u64,
    /// For how long the server has been running.
    pub uptime: Duration,
    /// All objects, in the order in which they were made.
    pub objects: Vec<ObjectStats>,
}

/// What a server knows of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObjectStats {
    /// Its number, which no other object ever has.
    pub number: u64,
    /// What it is.
    pub kind: Kind,
    /// The names of the types in it.
    pub types: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// How much is in it: elements, or permits that are free.
    pub len: u64,
    /// How many hold it: proxies, by process; values of other objects; a name; proxies on their way.
    pub references: u64,
    /// Who has the lock.
    pub owner: Option<LockOwner>,
}

/// A thread of a client that has a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LockOwner {
    /// The process, as it says itself.
    pub pid: u32,
    /// A number of the thread within it.
    pub thread: u64,
}

impl Stats {
    /// Requests per second since the server began.
    pub fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.uptime.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}
