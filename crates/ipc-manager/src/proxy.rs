//! What stands for an object in a client.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ipc_core::{CodecError, explain};
use ipc_socket::Address;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::Kind;
use crate::error::{Error, Result};
use crate::protocol::{Answer, Call, Op};
use crate::session::{CALL_TIMEOUT, Session, Waiting, number, unexpected};
use crate::value::{claim_arriving, note_leaving};

/// An object of a manager: one of the types of this crate.
///
/// ```
/// use ipc_manager::{Manager, Object};
///
/// # fn main() -> Result<(), ipc_manager::Error> {
/// /// Makes known what others are to find.
/// fn publish_both(manager: &Manager, one: &impl Object, two: &impl Object) -> Result<(), ipc_manager::Error> {
///     manager.publish("one", one)?;
///     manager.publish("two", two)
/// }
/// # let manager = Manager::start()?;
/// publish_both(&manager, &manager.list::<u8>()?, &manager.lock()?)?;
/// # Ok(()) }
/// ```
///
/// An object lives as long as anybody holds it: a proxy in any process, a value that contains one, its name, or a proxy that was sent and has not arrived
/// (for a minute). A process that is killed holds nothing any more. Objects that contain each other in a circle live as long as the server.
pub trait Object: sealed::Sealed + Sized {
    /// What it is.
    #[doc(hidden)]
    const KIND: Kind;

    /// The types in it.
    #[doc(hidden)]
    fn types() -> String;

    #[doc(hidden)]
    fn of(proxy: Proxy) -> Self;

    #[doc(hidden)]
    fn proxy(&self) -> &Proxy;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// A hold on an object, shared by all clones of a proxy.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Proxy(Arc<Hold>);

#[derive(Debug)]
struct Hold {
    session: Arc<Session>,
    object: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.session.let_go(vec![self.object]);
    }
}

impl Proxy {
    /// For an object that the server has counted for this session.
    pub(crate) fn counted(session: &Arc<Session>, object: u64) -> Proxy {
        Proxy(Arc::new(Hold { session: Arc::clone(session), object }))
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.0.session
    }

    pub(crate) fn object(&self) -> u64 {
        self.0.object
    }

    pub(crate) fn call<R>(&self, op: Op<'_>, read: impl FnOnce(Answer<'_>) -> Result<R>) -> Result<R> {
        self.session().on(self.object(), op, read)
    }

    pub(crate) fn wait<R>(
        &self,
        op: Op<'_>,
        waiting: Waiting,
        read: impl FnOnce(Answer<'_>) -> Result<R>,
    ) -> Result<R> {
        self.session().wait(self.object(), op, waiting, read)
    }

    /// As `call`, without waiting for the answer.
    pub(crate) fn tell(&self, op: Op<'_>) {
        let _ = self.session().tell(Call::On { object: self.object(), op });
    }

    /// Whether both stand for the same object.
    pub(crate) fn is_same(&self, other: &Proxy) -> bool {
        self.object() == other.object() && self.session().is_beside(other.session())
    }
}

/// A proxy inside of a value.
#[derive(Serialize, Deserialize)]
enum Wire {
    /// On its way to its own server, or from there.
    Here(u64),
    /// On its way to anybody else.
    Elsewhere { address: Address, key: Vec<u8>, object: u64, ticket: u64 },
}

impl Proxy {
    pub(crate) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (session, object) = (self.session(), self.object());
        let wire = match note_leaving(self) {
            Some(Ok(())) => Wire::Here(object),
            Some(Err(why)) => return Err(ser::Error::custom(explain(&CodecError::new(why)))),
            None => {
                let ticket = session.call(Call::Ticket { object }, number);
                let ticket = ticket.map_err(|error| ser::Error::custom(explain(&error)))?;
                Wire::Elsewhere { address: session.address().clone(), key: session.key().into(), object, ticket }
            }
        };
        wire.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        kind: Kind,
        types: &str,
        deserializer: D,
    ) -> Result<Proxy, D::Error> {
        let claimed = match Wire::deserialize(deserializer)? {
            Wire::Here(object) => match claim_arriving(object) {
                // What it is stands in the types of the object that it was in.
                Some((session, true)) => Ok(Proxy::counted(&session, object)),
                Some((session, false)) => claim(&session, object, 0, kind, types),
                None => Err(Error::NoSuchObject),
            },
            Wire::Elsewhere { address, key, object, ticket } => {
                claim_elsewhere(address, key, |session| claim(session, object, ticket, kind, types))
            }
        };
        claimed.map_err(|error| de::Error::custom(explain(&error)))
    }
}

fn claim(session: &Arc<Session>, object: u64, ticket: u64, kind: Kind, types: &str) -> Result<Proxy> {
    session.call(Call::Claim { object, ticket, kind, types }, |answer| match answer {
        Answer::Object(object) => Ok(Proxy::counted(session, object)),
        other => Err(unexpected(other)),
    })
}

/// The sessions of this process: it has one with each server, however often it connects and however proxies get here.
static SESSIONS: Mutex<Vec<Weak<Session>>> = Mutex::new(Vec::new());

/// The living ones of servers with this key.
fn known_sessions(key: &[u8]) -> Vec<Arc<Session>> {
    let mut sessions = SESSIONS.lock();
    sessions.retain(|session| session.strong_count() > 0);
    sessions.iter().filter_map(Weak::upgrade).filter(|s| s.key() == key && !s.is_forked()).collect()
}

/// A hold for a proxy that was sent from anywhere, in a session that there is or a new one.
fn claim_elsewhere(address: Address, key: Vec<u8>, claim: impl Fn(&Arc<Session>) -> Result<Proxy>) -> Result<Proxy> {
    for session in known_sessions(&key).iter().filter(|session| *session.address() == address) {
        match claim(session) {
            Err(Error::Disconnected | Error::Connect(_)) => {} // of an earlier server at this address
            other => return other,
        }
    }
    claim(&open_session(address, key, CALL_TIMEOUT)?)
}

/// The session of this process with a server.
pub(crate) fn open_session(address: Address, key: Vec<u8>, timeout: Duration) -> Result<Arc<Session>> {
    let known = known_sessions(&key);
    let ours = Session::open(address, key, &known, timeout)?;
    let is_known = |session: &Arc<Session>| known.iter().any(|known| Arc::ptr_eq(known, session));
    if is_known(&ours) {
        return Ok(ours);
    }
    let mut sessions = SESSIONS.lock();
    // Another thread may have been faster. Those of this server that were known before have ended, else ours would be one of them.
    let faster = |session: &Arc<Session>| session.is_beside(&ours) && !is_known(session);
    if let Some(theirs) = sessions.iter().filter_map(Weak::upgrade).find(faster) {
        return Ok(theirs);
    }
    sessions.push(Arc::downgrade(&ours));
    Ok(ours)
}

/// Makes the type of a proxy: a hold on an object, and the types in it.
macro_rules! proxy {
    ($(#[$doc:meta])* $name:ident $(<$($T:ident),+>)?) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// Every operation can fail for the [reasons that all have](crate::Error#of-every-operation); others stand with it.
        pub struct $name $(<$($T),+>)? {
            proxy: $crate::proxy::Proxy,
            $(types: std::marker::PhantomData<fn($($T),+) -> ($($T,)+)>,)?
        }

        impl $(<$($T),+>)? $name $(<$($T),+>)? {
            /// The manager that this came from, or one that is connected to the same server, to make more objects there.
            pub fn manager(&self) -> $crate::Manager {
                $crate::Manager::of(self.proxy.session())
            }
        }

        impl $(<$($T),+>)? $crate::proxy::sealed::Sealed for $name $(<$($T),+>)? {}

        impl $(<$($T),+>)? $crate::Object for $name $(<$($T),+>)? {
            const KIND: $crate::Kind = $crate::Kind::$name;

            fn types() -> String {
                let names: &[&str] = &[$($(std::any::type_name::<$T>()),+)?];
                names.join(", ")
            }

            fn of(proxy: $crate::proxy::Proxy) -> Self {
                $name { proxy, $(types: std::marker::PhantomData::<fn($($T),+) -> ($($T,)+)>)? }
            }

            fn proxy(&self) -> &$crate::proxy::Proxy {
                &self.proxy
            }
        }

        /// Another proxy for the same object.
        impl $(<$($T),+>)? Clone for $name $(<$($T),+>)? {
            fn clone(&self) -> Self {
                $crate::Object::of(self.proxy.clone())
            }
        }

        impl $(<$($T),+>)? std::fmt::Debug for $name $(<$($T),+>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), " {}"), self.proxy.object())
            }
        }

        /// Whether both stand for the same object.
        impl $(<$($T),+>)? PartialEq for $name $(<$($T),+>)? {
            fn eq(&self, other: &Self) -> bool {
                self.proxy.is_same(&other.proxy)
            }
        }

        /// To be sent to another process, or stored in another object. It asks the server for a ticket, unless it goes to it.
        impl $(<$($T),+>)? serde::Serialize for $name $(<$($T),+>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.proxy.serialize(serializer)
            }
        }

        /// Connects to the server, if this process is not.
        impl<'de $(, $($T),+)?> serde::Deserialize<'de> for $name $(<$($T),+>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let types = <Self as $crate::Object>::types();
                let kind = <Self as $crate::Object>::KIND;
                $crate::proxy::Proxy::deserialize(kind, &types, deserializer).map($crate::Object::of)
            }
        }
    };
}
pub(crate) use proxy;
