//! Managers: servers, and getting at them.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use ipc_core::{JoinError, Process, explain};
use ipc_socket::Address;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::batch::Batch;
use crate::builder::ManagerBuilder;
use crate::error::{Error, Result};
use crate::protocol::{Answer, Call, Init};
use crate::proxy::{Object, Proxy, open_session};
use crate::server::Running;
use crate::session::{CALL_TIMEOUT, Session, done, unexpected};
use crate::value::Encoded;
use crate::{
    Array, Barrier, Condition, Dict, Event, JoinableQueue, Kind, List, Lock, Namespace, Queue, RLock, Semaphore, Set,
    Stats, Value,
};

/// How long the server may take to end by itself, and then when it is asked to by a signal.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Access to a server with shared objects: one that this process has [started](Manager::start), or [connected](Manager::connect) to.
///
/// Its methods make objects, which are held by the proxies that are returned, and copies of these, in any process; see [`Object`]. A manager can be cloned, and
/// shared by threads. When the one that has started the server, and its clones, are dropped, the server is shut down: asked to end, and after a second made to.
///
/// Each proxy can tell its manager, as [`List::manager`] does, and a manager can be sent to other processes, too. What comes from there, or arrives here,
/// gives access to the server and does not keep it from being shut down.
///
/// ```
/// use ipc_manager::{List, Manager, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = Manager::start()?;
/// let groups = manager.list::<List<String>>()?;
/// let child = Process::spawn(
///     |groups: List<List<String>>| {
///         let group = groups.manager().list_of(["Ada".to_string()]).unwrap();
///         groups.push(&group).unwrap();
///     },
///     groups.clone(),
/// )?;
/// child.join()?;
/// assert_eq!(groups.get(0)?.unwrap().to_vec()?, ["Ada"]);
/// # Ok(()) }
/// ```
///
/// ```
/// use ipc_manager::Manager;
///
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = Manager::start()?;
/// let dict = manager.dict::<String, Vec<u32>>()?;
/// manager.publish("results", &dict)?;
///
/// // Anywhere else, with the address and the key:
/// let other = Manager::connect(manager.address(), manager.authkey())?;
/// let results = other.open::<ipc_manager::Dict<String, Vec<u32>>>("results")?;
/// results.insert(&"primes".to_string(), &vec![2, 3, 5])?;
/// assert_eq!(dict.get(&"primes".to_string())?, Some(vec![2, 3, 5]));
/// # Ok(()) }
/// ```
///
/// # Errors
/// Every method that asks the server for something, as those that make objects, can fail for the [reasons that every operation has](Error#of-every-operation);
/// others stand with it.
#[derive(Clone)]
pub struct Manager {
    // Before the server, so that it has one client less when it is told to end.
    pub(crate) session: Arc<Session>,
    #[expect(dead_code, reason = "ends the server when the last of them is dropped")]
    pub(crate) started: Option<Arc<Started>>,
}

/// A server in a process of its own, until this is dropped.
pub(crate) struct Started {
    pub(crate) process: Option<Process<()>>,
    pub(crate) session: Arc<Session>,
    pub(crate) pid: u32,
}

/// A server in this process, until it is dropped or ended by a client; see [`Manager::serve`].
///
/// ```
/// use ipc_manager::{Manager, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Manager::serve("unix-abstract:", "a key that both know")?;
/// let place = (server.address().to_string(), "a key that both know".to_string());
/// let child = Process::spawn(|(address, key): (String, String)| Manager::connect(&address, key).unwrap().shutdown().unwrap(), place)?;
/// server.join(); // until the child ends it
/// child.join()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Server {
    pub(crate) running: Running,
    pub(crate) address: Address,
    pub(crate) key: Vec<u8>,
}

impl Manager {
    /// Starts a server in a process of its own, with a key that nobody else has, at an address on this machine that nothing is left of. It ends with this
    /// process, however that ends.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let list = manager.list_of([1, 2])?;
    /// let clone = manager.clone();
    /// drop(manager); // not the last one: the server runs
    /// assert_eq!(list.len()?, 2);
    /// drop(clone);
    /// assert!(list.len().is_err_and(|error| error.is_disconnected()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::Listen`], [`Error::Connect`].
    ///
    /// # References
    /// CPython `multiprocessing.Manager`.
    pub fn start() -> Result<Manager> {
        Manager::builder().start("unix-abstract:")
    }

    /// Serves in this process, by two threads, until the [`Server`] is dropped.
    ///
    /// # Errors
    /// [`Error::Listen`]: the address or the key cannot be used, or the address is in use.
    ///
    /// # References
    /// CPython `BaseManager.get_server().serve_forever()`.
    pub fn serve<A: TryInto<Address>>(address: A, key: impl Into<Vec<u8>>) -> Result<Server>
    where
        ipc_socket::Error: From<A::Error>,
    {
        Manager::builder().authkey(key).serve(address)
    }

    /// Connects to a server, on this machine or another. A process is one client, however often it connects and however the proxies come that it has, unless it is told to be
    /// [separate](ManagerBuilder::separate): locks and tasks that a thread has taken by one of them are its own by all of them.
    ///
    /// # Errors
    /// [`Error::Connect`]: nobody listens there, or the key is another one. [`Error::Timeout`], [`Error::Version`].
    ///
    /// # References
    /// CPython `BaseManager.connect`.
    pub fn connect<A: TryInto<Address>>(address: A, key: impl Into<Vec<u8>>) -> Result<Manager>
    where
        ipc_socket::Error: From<A::Error>,
    {
        Manager::builder().authkey(key).connect(address)
    }

    /// One that does not own the server.
    pub(crate) fn of(session: &Arc<Session>) -> Manager {
        Manager { session: Arc::clone(session), started: None }
    }

    /// Says how to start, serve or connect.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::new()
    }

    /// Where the server listens.
    pub fn address(&self) -> &Address {
        self.session.address()
    }

    /// The key: who has it can do everything with all objects.
    pub fn authkey(&self) -> &[u8] {
        self.session.key()
    }

    /// How long an answer may take that depends on nobody but the server, 30 s unless set: after that a call fails with [`Error::Timeout`], as when the
    /// server is stopped. For all of this process that goes to this server.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ipc_manager::Manager;
    /// use nix::sys::signal::{Signal, kill};
    /// use nix::unistd::Pid;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let list = manager.list_of([1])?;
    /// let server = ipc_core::active_children().into_iter().find(|child| child.name() == "ipc-manager");
    /// let server = Pid::from_raw(server.expect("it runs").pid() as i32);
    /// kill(server, Signal::SIGSTOP)?;
    /// manager.set_call_timeout(Duration::from_millis(20));
    /// let error = loop {
    ///     let Err(error) = list.len() else { continue }; // until the signal has got there
    ///     break error;
    /// };
    /// assert!(error.is_timeout());
    /// manager.set_call_timeout(Duration::from_secs(30));
    /// kill(server, Signal::SIGCONT)?;
    /// assert_eq!(list.len()?, 1); // the late answer is not mixed up with this one
    /// # Ok(()) }
    /// ```
    pub fn set_call_timeout(&self, timeout: Duration) {
        self.session.set_timeout(timeout);
    }

    /// What the server knows of itself: clients, objects, who has a lock. See [`Stats`].
    ///
    /// # Errors
    /// [`Error::Disconnected`], [`Error::Timeout`].
    ///
    /// # References
    /// CPython `BaseManager._debug_info`, `_number_of_objects`.
    pub fn stats(&self) -> Result<Stats> {
        self.session.call(Call::Stats, |answer| match answer {
            Answer::Stats(bytes) => postcard::from_bytes(bytes.0).map_err(|_| Error::Protocol),
            other => Err(unexpected(other)),
        })
    }

    /// Collects operations to be sent together.
    pub fn batch(&self) -> Batch {
        Batch::new(&self.session)
    }

    /// Ends the server, for everybody: all who call it or wait for it get [`Error::Disconnected`], and its objects are gone.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let queue = manager.queue::<u32>()?;
    /// std::thread::scope(|scope| {
    ///     let waiting = scope.spawn(|| queue.get());
    ///     manager.shutdown()?;
    ///     let error = waiting.join().expect("it does not panic").expect_err("nothing was put");
    ///     assert!(error.is_disconnected());
    ///     Ok::<(), ipc_manager::Error>(())
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Disconnected`], [`Error::Timeout`].
    pub fn shutdown(&self) -> Result<()> {
        self.session.call(Call::Shutdown, done)
    }

    /// Gives an object a name, by which others can [open](Manager::open) it. It holds the object until it is [removed](Manager::unlink).
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::HasName`].
    pub fn publish<O: Object>(&self, name: &str, object: &O) -> Result<()> {
        self.check(object.proxy())?;
        self.session.call(Call::Publish { object: object.proxy().object(), name }, |answer| named(name, answer, done))
    }

    /// The object of this name.
    ///
    /// # Errors
    /// [`Error::NoSuchName`]; [`Error::WrongType`]: it is something else, as a `Dict` with other types.
    ///
    /// # References
    /// What CPython's `BaseManager.register` is used for; there both sides register the name, and no type is compared.
    pub fn open<O: Object>(&self, name: &str) -> Result<O> {
        let call = Call::Find { name, kind: O::KIND, types: &O::types() };
        self.session.call(call, |answer| named(name, answer, |answer| object(&self.session, answer)))
    }

    /// The object of this name, or one that is made for it.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// # let manager = ipc_manager::Manager::start()?;
    /// let hits = manager.open_or_create("hits", |manager| manager.value(0u64))?;
    /// hits.update(|n| n + 1)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of `make`; [`Error::WrongType`].
    pub fn open_or_create<O: Object>(&self, name: &str, make: impl Fn(&Manager) -> Result<O>) -> Result<O> {
        loop {
            match self.open(name) {
                Err(Error::NoSuchName { .. }) => {}
                other => return other,
            }
            let made = make(self)?;
            match self.publish(name, &made) {
                Err(Error::NameTaken { .. }) => {} // somebody else was faster
                other => return other.map(|()| made),
            }
        }
    }

    /// Makes a name free again. The object lives as long as it is held.
    ///
    /// ```
    /// use ipc_manager::{Error, Manager, Value};
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::start()?;
    /// let value = manager.value(7)?;
    /// manager.publish("seven", &value)?;
    /// assert!(matches!(manager.publish("seven", &manager.lock()?), Err(Error::NameTaken { .. })));
    /// assert!(matches!(manager.publish("sept", &value), Err(Error::HasName { .. }))); // one name at a time
    /// manager.unlink("seven")?;
    /// assert!(matches!(manager.open::<Value<i32>>("seven"), Err(Error::NoSuchName { .. })));
    /// manager.publish("sept", &value)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchName`].
    pub fn unlink(&self, name: &str) -> Result<()> {
        self.session.call(Call::Unlink { name }, |answer| named(name, answer, done))
    }

    fn check(&self, proxy: &Proxy) -> Result<()> {
        if self.session.is_beside(proxy.session()) { Ok(()) } else { Err(Error::NoSuchObject) }
    }

    fn make<O: Object>(&self, init: Init<'_>) -> Result<O> {
        let call = Call::Make { kind: O::KIND, types: &O::types(), init };
        self.session.call(call, |answer| object(&self.session, answer))
    }

    fn make_of<'a, O: Object, T: Serialize + 'a>(&self, elements: impl IntoIterator<Item = &'a T>) -> Result<O> {
        let encoded = elements.into_iter().map(|e| Encoded::of(&self.session, e)).collect::<Result<Vec<_>>>()?;
        self.make(Init::Items(encoded.iter().map(Encoded::item).collect()))
    }

    /// An empty [`List`].
    pub fn list<T: Serialize + DeserializeOwned>(&self) -> Result<List<T>> {
        self.make(Init::Nothing)
    }

    /// A [`List`] of these elements.
    pub fn list_of<T: Serialize + DeserializeOwned>(&self, elements: impl IntoIterator<Item = T>) -> Result<List<T>> {
        self.make_of(&elements.into_iter().collect::<Vec<_>>())
    }

    /// An [`Array`] of these elements.
    pub fn array<T: Serialize + DeserializeOwned>(&self, elements: impl IntoIterator<Item = T>) -> Result<Array<T>> {
        self.make_of(&elements.into_iter().collect::<Vec<_>>())
    }

    /// A [`Value`].
    pub fn value<T: Serialize + DeserializeOwned>(&self, value: T) -> Result<Value<T>> {
        self.make_of([&value])
    }

    /// An empty [`Dict`].
    pub fn dict<K, V>(&self) -> Result<Dict<K, V>>
    where
        K: Serialize + DeserializeOwned + Eq + Hash,
        V: Serialize + DeserializeOwned,
    {
        self.make(Init::Nothing)
    }

    /// A [`Dict`] of these entries.
    pub fn dict_of<K, V>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<Dict<K, V>>
    where
        K: Serialize + DeserializeOwned + Eq + Hash,
        V: Serialize + DeserializeOwned,
    {
        let encode = |(key, value)| Ok((Encoded::of(&self.session, &key)?, Encoded::of(&self.session, &value)?));
        let encoded = entries.into_iter().map(encode).collect::<Result<Vec<_>>>()?;
        self.make(Init::Pairs(crate::dict::pairs(&encoded)?))
    }

    /// An empty [`Set`].
    pub fn set<T: Serialize + DeserializeOwned + Eq + Hash>(&self) -> Result<Set<T>> {
        self.make(Init::Nothing)
    }

    /// A [`Set`] of these elements.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// assert_eq!(manager.set_of([3, 5, 3])?.len()?, 2);
    /// # Ok(()) }
    /// ```
    pub fn set_of<T>(&self, elements: impl IntoIterator<Item = T>) -> Result<Set<T>>
    where
        T: Serialize + DeserializeOwned + Eq + Hash,
    {
        let set = self.set()?;
        set.extend(&elements.into_iter().collect::<Vec<_>>())?;
        Ok(set)
    }

    /// A [`Namespace`] without attributes.
    #[doc(alias = "Namespace")]
    pub fn namespace(&self) -> Result<Namespace> {
        self.make(Init::Nothing)
    }

    /// A [`Queue`] for any number of elements.
    #[doc(alias = "Queue")]
    pub fn queue<T: Serialize + DeserializeOwned>(&self) -> Result<Queue<T>> {
        self.make(Init::Number(0))
    }

    /// A [`Queue`] with room for so many elements; 0 is without limit.
    pub fn bounded_queue<T: Serialize + DeserializeOwned>(&self, elements: usize) -> Result<Queue<T>> {
        self.make(Init::Number(elements as u64))
    }

    /// A [`JoinableQueue`] for any number of tasks.
    #[doc(alias = "JoinableQueue")]
    pub fn joinable_queue<T: Serialize + DeserializeOwned>(&self) -> Result<JoinableQueue<T>> {
        self.make(Init::Number(0))
    }

    /// A [`JoinableQueue`] with room for so many tasks; 0 is without limit.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let (jobs, tasks) = (manager.bounded_queue::<u32>(1)?, manager.bounded_joinable_queue::<u32>(1)?);
    /// jobs.put(&1)?;
    /// tasks.put(&1)?;
    /// assert!(jobs.is_full()? && tasks.try_put(&2).is_err_and(|error| error.is_would_block()));
    /// # Ok(()) }
    /// ```
    pub fn bounded_joinable_queue<T: Serialize + DeserializeOwned>(&self, tasks: usize) -> Result<JoinableQueue<T>> {
        self.make(Init::Number(tasks as u64))
    }

    /// A [`Lock`].
    #[doc(alias = "Lock")]
    pub fn lock(&self) -> Result<Lock> {
        self.make(Init::Nothing)
    }

    /// An [`RLock`].
    #[doc(alias = "RLock")]
    pub fn rlock(&self) -> Result<RLock> {
        self.make(Init::Nothing)
    }

    /// A [`Semaphore`] with so many permits.
    #[doc(alias = "Semaphore")]
    #[doc(alias = "BoundedSemaphore")]
    pub fn semaphore(&self, permits: u64) -> Result<Semaphore> {
        self.make(Init::Number(permits))
    }

    /// A [`Condition`].
    #[doc(alias = "Condition")]
    pub fn condition(&self) -> Result<Condition> {
        self.make(Init::Nothing)
    }

    /// An [`Event`] that has not happened.
    #[doc(alias = "Event")]
    pub fn event(&self) -> Result<Event> {
        self.make(Init::Nothing)
    }

    /// A [`Barrier`] for so many.
    ///
    /// # Errors
    /// [`Error::Unfit`] for 0.
    #[doc(alias = "Barrier")]
    pub fn barrier(&self, parties: usize) -> Result<Barrier> {
        self.make(Init::Number(parties as u64))
    }
}

fn named<R>(name: &str, answer: Answer<'_>, read: impl FnOnce(Answer<'_>) -> Result<R>) -> Result<R> {
    match answer {
        Answer::Fault(fault) => Err(Error::of(fault, name, 0)),
        other => read(other),
    }
}

fn object<O: Object>(session: &Arc<Session>, answer: Answer<'_>) -> Result<O> {
    match answer {
        Answer::Object(object) => Ok(O::of(Proxy::counted(session, object))),
        other => Err(unexpected(other)),
    }
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A manager of this server, in this process.
    ///
    /// # Errors
    /// As [`Manager::connect`].
    pub fn manager(&self) -> Result<Manager> {
        Manager::connect(&self.address, self.key.clone())
    }

    /// What it knows of itself.
    pub fn stats(&self) -> Stats {
        self.running.stats()
    }

    /// Whether a client has ended it.
    ///
    /// ```
    /// use ipc_manager::Manager;
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let server = Manager::serve("unix-abstract:", "a key")?;
    /// let manager = server.manager()?;
    /// assert_eq!((server.stats().clients, server.is_over()), (1, false));
    /// manager.shutdown()?; // a client may
    /// while !server.is_over() {
    ///     std::thread::yield_now(); // or something else that is to be done
    /// }
    /// # Ok(()) }
    /// ```
    pub fn is_over(&self) -> bool {
        self.running.is_over()
    }

    /// Serves until a client ends it by [`Manager::shutdown`].
    pub fn join(self) {
        self.running.join();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if self.pid != std::process::id() {
            return; // a copy that came about by a fork: the server is the original's
        }
        self.session.set_timeout(SHUTDOWN);
        let _ = self.session.call(Call::Shutdown, done);
        let is_running = |result| matches!(result, Err(JoinError::Timeout));
        if is_running(process.join_timeout(SHUTDOWN))
            && process.terminate().is_ok()
            && is_running(process.join_timeout(SHUTDOWN))
        {
            let _ = process.kill();
            let _ = process.join();
        }
    }
}

/// What is needed to connect to the server: its address *and key*. Send a [clone](Clone): when the one that has started the server goes, so does the server.
impl Serialize for Manager {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        (self.session.address(), self.session.key()).serialize(serializer)
    }
}

/// Connects to the server, if this process is not.
impl<'de> Deserialize<'de> for Manager {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Manager, D::Error> {
        let (address, key) = <(Address, Vec<u8>)>::deserialize(deserializer)?;
        let session = open_session(address, key, CALL_TIMEOUT);
        session.map(|session| Manager::of(&session)).map_err(|error| de::Error::custom(explain(&error)))
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("address", self.address()).finish_non_exhaustive()
    }
}

/// For errors that name a kind.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
