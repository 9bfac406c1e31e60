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
///
/// ```
/// use ipc_manager::{Kind, Manager};
///
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = Manager::start()?;
/// let words = manager.list_of(["one".to_string()])?;
/// manager.publish("words", &words)?;
/// let object = &manager.stats()?.objects[0];
/// assert_eq!((object.kind, object.len, object.name.as_deref()), (Kind::List, 1, Some("words")));
/// assert_eq!((object.types.as_str(), object.references), ("alloc::string::String", 2)); // `words`, and its name
/// # Ok(()) }
/// ```
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
///
/// ```
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = ipc_manager::Manager::start()?;
/// let lock = manager.lock()?;
/// let owner = || Ok::<_, ipc_manager::Error>(manager.stats()?.objects[0].owner.clone());
/// let guard = lock.lock()?;
/// assert_eq!(owner()?.map(|owner| owner.pid), Some(std::process::id())); // this keeps the others waiting
/// drop(guard);
/// assert_eq!(owner()?, None);
/// # Ok(()) }
/// ```
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
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let list = manager.list::<u32>()?;
    /// list.push(&1)?;
    /// let stats = manager.stats()?;
    /// assert!(stats.calls >= 2 && stats.calls_per_second() > 0.0);
    /// # Ok(()) }
    /// ```
    pub fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.uptime.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}
