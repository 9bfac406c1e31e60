//! Many operations in one round trip.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::protocol::{Answer, Call, Op, Reply};
use crate::proxy::Proxy;
use crate::session::{Session, encode};

/// How an answer becomes a result.
pub(crate) type Read<R> = fn(&Arc<Session>, Answer<'_>) -> Result<R>;

/// An operation that has not been sent yet: made by the `later()` of an object, sent by [`Batch::add`] or [`run`](Command::run).
#[must_use = "it is not done before it is sent"]
pub struct Command<R> {
    session: Arc<Session>,
    /// The request without its number.
    call: Result<Vec<u8>>,
    read: Read<R>,
}

impl<R> Command<R> {
    pub(crate) fn new(
        proxy: &Proxy,
        op: impl FnOnce(&Arc<Session>, u64) -> Result<Vec<u8>>,
        read: Read<R>,
    ) -> Command<R> {
        let session = Arc::clone(proxy.session());
        Command { call: op(&session, proxy.object()), session, read }
    }

    /// Sends it, and waits for the result.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn run(self) -> Result<R> {
        let (session, read) = (&self.session, self.read);
        session.call_encoded(&self.call?, |answer| read(session, answer))
    }
}

impl<R> fmt::Debug for Command<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command<{}>", type_name::<R>())
    }
}

/// An operation on an object as bytes, without the number of the request.
pub(crate) fn request(object: u64, op: Op<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64);
    encode(&Call::On { object, op }, &mut bytes)?;
    Ok(bytes)
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
    requests: Vec<Vec<u8>>,
    /// Those that could not be encoded.
    failed: Vec<(usize, Error)>,
}

/// Where the result of an operation in a batch will be.
#[must_use = "it is how to get at the result"]
pub struct Pending<R> {
    index: usize,
    read: Read<R>,
}

impl<R> fmt::Debug for Pending<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending<{}> {}", type_name::<R>(), self.index)
    }
}

/// The results of a batch.
#[derive(Debug)]
pub struct Results {
    session: Arc<Session>,
    /// The answers as bytes, until they are taken.
    answers: Vec<Result<Vec<u8>>>,
    not_sync: PhantomData<*const ()>,
}

impl Batch {
    pub(crate) fn new(session: &Arc<Session>) -> Batch {
        Batch { session: Arc::clone(session), requests: Vec::new(), failed: Vec::new() }
    }

    /// Adds an operation, and says how to get at its result. One that is not wanted can be dropped.
    ///
    /// # Panics
    /// If it is an operation on an object of another manager.
    pub fn add<R>(&mut self, command: Command<R>) -> Pending<R> {
        assert!(Arc::ptr_eq(&self.session, &command.session), "the object belongs to another manager");
        let index = self.requests.len();
        let request = match command.call {
            Ok(call) => {
                let mut request = Vec::with_capacity(call.len() + 5);
                numbered(index as u32 + 1, &call, &mut request);
                request
            }
            Err(error) => {
                self.failed.push((index, error));
                Vec::new()
            }
        };
        self.requests.push(request);
        Pending { index, read: command.read }
    }

    /// How many operations it contains.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether it contains none.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Sends all operations and waits until all are answered.
    ///
    /// # Errors
    /// [`Error::Disconnected`], [`Error::Timeout`] (for a single answer): some may have been done and others not. What fails in an operation
    /// is in its result. [`Error::TooLarge`]: nothing was done.
    pub fn send(self) -> Result<Results> {
        let max = self.session.max_message();
        if let Some(request) = self.requests.iter().find(|request| request.len() as u64 > max) {
            return Err(Error::TooLarge { len: request.len() as u64, max });
        }
        let mut answers: Vec<Result<Vec<u8>>> = self.requests.iter().map(|_| Err(Error::Protocol)).collect();
        let failed: Vec<usize> = self.failed.iter().map(|(index, _)| *index).collect();
        for (index, error) in self.failed {
            answers[index] = Err(error);
        }
        let sent: Vec<usize> = (0..self.requests.len()).filter(|index| failed.binary_search(index).is_err()).collect();
        let requests: Vec<Vec<u8>> = self.requests.into_iter().filter(|request| !request.is_empty()).collect();
        self.session.batch(&requests, |nth, answer| {
            answers[sent[nth]] = Ok(answer.to_vec());
            Ok(())
        })?;
        Ok(Results { session: self.session, answers, not_sync: PhantomData })
    }
}

impl Results {
    /// Takes a result out.
    ///
    /// # Errors
    /// Those of the operation; [`Error::Protocol`] if it belongs to another batch.
    pub fn take<R>(&mut self, pending: Pending<R>) -> Result<R> {
        let slot = self.answers.get_mut(pending.index).ok_or(Error::Protocol)?;
        let bytes = std::mem::replace(slot, Err(Error::Protocol))?;
        let reply: Reply<'_> = postcard::from_bytes(&bytes).map_err(|_| Error::Protocol)?;
        match reply.id as usize == pending.index + 1 {
            true => (pending.read)(&self.session, reply.answer),
            false => Err(Error::Protocol),
        }
    }
}

/// A request with its number, which comes first.
pub(crate) fn numbered(id: u32, call: &[u8], bytes: &mut Vec<u8>) {
    let mut left = id;
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes.extend_from_slice(call);
}

/// Defines operations twice: as methods of an object, which do them, and as methods of its `later()`, which give [`Command`]s.
macro_rules! operations {
    (
        $name:ident [$($T:ident),*] $later:ident where [$($bound:tt)*]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Request;

    #[test]
    fn a_numbered_call_is_a_request() {
        for id in [1, 127, 128, 16_383, 16_384, u32::MAX] {
            let call = request(7, Op::Len).unwrap();
            let mut whole = Vec::new();
            encode(&Request { id, call: Call::On { object: 7, op: Op::Len } }, &mut whole).unwrap();
            let mut numbers = Vec::new();
            numbered(id, &call, &mut numbers);
            assert_eq!(numbers, whole);
        }
    }
}
