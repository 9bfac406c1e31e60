//! Many operations in one round trip.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::line::Numbered;
use crate::protocol::{Answer, Call, Op, Reply};
use crate::proxy::Proxy;
use crate::session::Session;
use crate::value::keeping;

/// How an answer becomes a result.
pub(crate) type Read<R> = fn(&Arc<Session>, Answer<'_>) -> Result<R>;

/// An operation that has not been sent yet: made by the `later()` of an object, sent by [`Batch::add`] or [`run`](Command::run).
///
/// ```
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = ipc_manager::Manager::start()?;
/// let list = manager.list::<u32>()?;
/// let push = list.later().push(&5); // encoded, and not sent
/// assert!(list.is_empty()?);
/// assert_eq!(push.run()?, 0);
/// assert_eq!(list.to_vec()?, [5]);
/// # Ok(()) }
/// ```
#[must_use = "it is not done before it is sent"]
pub struct Command<R> {
    session: Arc<Session>,
    request: Result<Numbered>,
    /// What stands for objects in its values, so that these are there when it is sent.
    keeps: Vec<Proxy>,
    read: Read<R>,
}

impl<R> Command<R> {
    pub(crate) fn new(
        proxy: &Proxy,
        op: impl FnOnce(&Arc<Session>, u64) -> Result<Numbered>,
        read: Read<R>,
    ) -> Command<R> {
        let session = Arc::clone(proxy.session());
        let (request, mut keeps) = keeping(|| op(&session, proxy.object()));
        keeps.push(proxy.clone());
        Command { request, keeps, session, read }
    }

    /// Sends it, and waits for the result.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn run(self) -> Result<R> {
        let (session, read) = (&self.session, self.read);
        session.call_encoded(self.request?, |answer| read(session, answer))
    }
}

impl<R> fmt::Debug for Command<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command<{}>", type_name::<R>())
    }
}

/// An operation on an object as bytes.
pub(crate) fn request(object: u64, op: Op<'_>) -> Result<Numbered> {
    Numbered::new(&Call::On { object, op })
}

/// Collects operations, and sends all of them before it waits for the first answer: many times as fast as one after the other. Made by
/// [`Manager::batch`](crate::Manager::batch).
///
/// They are done in their order, but not as one: operations of others may come in between. Each has a result of its own.
///
/// ```
/// use ipc_manager::Manager;
///
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = Manager::start()?;
/// let prices = manager.dict::<String, u64>()?;
/// let mut batch = manager.batch();
/// for (n, name) in ["apple", "pear", "plum"].into_iter().enumerate() {
///     let _ = batch.add(prices.later().insert(&name.to_string(), &(n as u64)));
/// }
/// let plum = batch.add(prices.later().get(&"plum".to_string()));
/// let count = batch.add(prices.later().len());
/// let mut results = batch.send()?;
/// assert_eq!(results.take(plum)?, Some(2));
/// assert_eq!(results.take(count)?, 3);
/// # Ok(()) }
/// ```
#[must_use = "nothing is done before it is sent"]
#[derive(Debug)]
pub struct Batch {
    session: Arc<Session>,
    number: u64,
    requests: Vec<Numbered>,
    /// Of each operation: the place of its request, or why it could not be encoded.
    operations: Vec<Result<usize>>,
    keeps: Vec<Proxy>,
}

/// Where the result of an operation in a batch will be.
///
/// ```
/// use ipc_manager::{Manager, Pending};
///
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = Manager::start()?;
/// let squares = manager.list_of((0..100u64).map(|n| n * n))?;
/// let mut batch = manager.batch();
/// let wanted: Vec<Pending<Option<u64>>> = [3, 7, 100].map(|n| batch.add(squares.later().get(n))).into();
/// let _ = batch.add(squares.later().clear()); // its result is not wanted
/// let mut results = batch.send()?;
/// let found = wanted.into_iter().map(|place| results.take(place)).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(found, [Some(9), Some(49), None]);
/// # Ok(()) }
/// ```
#[must_use = "it is how to get at the result"]
pub struct Pending<R> {
    batch: u64,
    index: usize,
    read: Read<R>,
}

impl<R> fmt::Debug for Pending<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending<{}> {}", type_name::<R>(), self.index)
    }
}

/// The results of a batch.
///
/// ```
/// use ipc_manager::{Error, Manager};
///
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = Manager::start()?;
/// let (number, word) = (manager.value(5)?, manager.value("five".to_string())?);
/// let (mut batch, mut other) = (manager.batch(), manager.batch());
/// let (n, w) = (batch.add(number.later().get()), batch.add(word.later().get())); // of any objects, of any types
/// let elsewhere = other.add(number.later().replace(&6));
/// let mut results = batch.send()?;
/// assert_eq!((results.take(w)?.as_str(), results.take(n)?), ("five", 5));
/// assert!(matches!(results.take(elsewhere), Err(Error::Protocol))); // it belongs to the other batch
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Results {
    session: Arc<Session>,
    batch: u64,
    /// The answers as bytes, until they are taken.
    answers: Vec<Result<Vec<u8>>>,
}

impl Batch {
    pub(crate) fn new(session: &Arc<Session>) -> Batch {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Batch { session: Arc::clone(session), number, requests: vec![], operations: vec![], keeps: vec![] }
    }

    /// Adds an operation, and says how to get at its result. One that is not wanted can be dropped.
    ///
    /// # Panics
    /// If it is an operation on an object of another server.
    pub fn add<R>(&mut self, command: Command<R>) -> Pending<R> {
        assert!(self.session.is_beside(&command.session), "the object belongs to another server");
        let index = self.operations.len();
        self.operations.push(command.request.map(|request| {
            self.requests.push(request);
            self.requests.len() - 1
        }));
        self.keeps.extend(command.keeps);
        Pending { batch: self.number, index, read: command.read }
    }

    /// How many operations it contains.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let numbers = manager.list::<u32>()?;
    /// let mut batch = manager.batch();
    /// for n in 0..2500 {
    ///     let _ = batch.add(numbers.later().push(&n));
    ///     if batch.len() == 1000 {
    ///         let full = std::mem::replace(&mut batch, manager.batch());
    ///         full.send()?;
    ///     }
    /// }
    /// if !batch.is_empty() {
    ///     batch.send()?;
    /// }
    /// assert_eq!(numbers.len()?, 2500);
    /// # Ok(()) }
    /// ```
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether it contains none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Sends all operations and waits until all are answered.
    ///
    /// # Errors
    /// [`Error::Disconnected`], [`Error::Timeout`] (for a single answer): some may have been done and others not. What fails in an operation
    /// is in its result. [`Error::TooLarge`]: nothing was done.
    pub fn send(mut self) -> Result<Results> {
        let max = self.session.max_message();
        if let Some(request) = self.requests.iter().find(|request| request.len() as u64 > max) {
            return Err(Error::TooLarge { len: request.len() as u64, max });
        }
        let answers = Vec::with_capacity(self.requests.len());
        let mut results = Results { session: Arc::clone(&self.session), batch: self.number, answers };
        self.session.batch(&mut self.requests, |answer| results.answers.push(Ok(answer.to_vec())))?;
        if results.answers.len() < self.operations.len() {
            let place = |operation: Result<usize>| match operation {
                Ok(place) => std::mem::replace(&mut results.answers[place], Err(Error::Protocol)),
                Err(error) => Err(error),
            };
            results.answers = self.operations.into_iter().map(place).collect();
        }
        Ok(results)
    }
}

impl Results {
    /// Takes a result out.
    ///
    /// # Errors
    /// Those of the operation; [`Error::Protocol`] if it belongs to another batch.
    pub fn take<R>(&mut self, pending: Pending<R>) -> Result<R> {
        if pending.batch != self.batch {
            return Err(Error::Protocol);
        }
        let slot = self.answers.get_mut(pending.index).ok_or(Error::Protocol)?;
        let bytes = std::mem::replace(slot, Err(Error::Protocol))?;
        let reply: Reply<'_> = postcard::from_bytes(&bytes).map_err(|_| Error::Protocol)?;
        (pending.read)(&self.session, reply.answer)
    }
}

impl Drop for Results {
    /// Lets go of what came with results that were not taken.
    fn drop(&mut self) {
        let mut unwanted = Vec::new();
        for answer in self.answers.drain(..).flatten() {
            if let Ok(reply) = postcard::from_bytes::<Reply<'_>>(&answer) {
                reply.answer.held(&mut unwanted);
            }
        }
        self.session.let_go(unwanted);
    }
}

/// Defines operations twice: as methods of an object, which do them, and as methods of its `later()`, which give [`Command`]s.
macro_rules! operations {
    (
        $name:ident [$($T:ident),*] $(#[$example:meta])* $later:ident where [$($bound:tt)*]
        $($(#[$doc:meta])* fn $fn:ident($($arg:ident: $type:ty),*) -> $R:ty = |$session:ident, $object:ident| $op:expr, $read:expr;)*
    ) => {
        impl<$($T),*> $name<$($T),*> where $($bound)* {
            $(
                $(#[$doc])*
                pub fn $fn(&self, $($arg: $type),*) -> $crate::Result<$R> {
                    self.later().$fn($($arg),*).run()
                }
            )*

            /// The same operations, to be sent later, in a [`Batch`](crate::Batch).
            pub fn later(&self) -> $later<'_, $($T),*> {
                $later(self)
            }
        }

        #[doc = concat!("The operations of a [`", stringify!($name), "`] as [`Command`](crate::Command)s.")]
        ///
        $(#[$example])*
        #[derive(Debug)]
        pub struct $later<'a, $($T),*>(&'a $name<$($T),*>);

        impl<$($T),*> $later<'_, $($T),*> where $($bound)* {
            $(
                #[doc = concat!("As [`", stringify!($name), "::", stringify!($fn), "`].")]
                pub fn $fn(&self, $($arg: $type),*) -> $crate::Command<$R> {
                    $crate::Command::new(
                        &self.0.proxy,
                        |$session, $object| { let _ = $session; $op },
                        $read,
                    )
                }
            )*
        }
    };
}
pub(crate) use operations;
