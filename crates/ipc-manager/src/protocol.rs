//! What client and server say to each other: one frame per request, one per answer, in postcard.
//!
//! Values are bytes to the server: it does not know their types, only what the types are called. Two keys are equal if their bytes are.
//! A value that contains proxies says which objects they stand for, so that the server keeps these as long as the value.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Both ends must have the same.
pub(crate) const VERSION: u32 = 1;

/// Bytes that are taken from where they lie.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Blob<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Blob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Blob<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = &'de [u8];

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<&'de [u8], E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_bytes(Borrowed).map(Blob)
    }
}

/// A value, and the objects that the proxies in it stand for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Item<'a> {
    #[serde(borrow)]
    pub(crate) bytes: Blob<'a>,
    pub(crate) refs: Vec<u64>,
}

/// A key with its value.
pub(crate) type Pair<'a> = (Blob<'a>, Item<'a>);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request<'a> {
    /// Chosen by the client; the answer has it, too.
    pub(crate) id: u32,
    #[serde(borrow)]
    pub(crate) call: Call<'a>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Call<'a> {
    /// The first one on a connection. A session is all connections of a process: the first of these sessions that there is, or else a new one.
    Hello {
        version: u32,
        sessions: Vec<u64>,
        pid: u32,
    },
    /// What was granted last on this connection has arrived. No answer.
    Confirm,
    /// The blocking request of this number is to wait no longer; it is that one that is answered.
    Cancel {
        request: u32,
    },
    /// Nobody wants the answer of the blocking request of this number any more: it waits no longer, and what was given is taken back. No answer.
    GiveUp {
        request: u32,
    },
    Ping,
    Make {
        kind: Kind,
        types: &'a str,
        #[serde(borrow)]
        init: Init<'a>,
    },
    /// Gives an object a name, if that is free.
    Publish {
        object: u64,
        name: &'a str,
    },
    /// The object of this name.
    Find {
        name: &'a str,
        kind: Kind,
        types: &'a str,
    },
    /// The name is free again; the object lives as long as somebody has it.
    Unlink {
        name: &'a str,
    },
    /// One hold less on each. No answer.
    Release {
        objects: Vec<u64>,
    },
    /// A hold for a proxy that is sent to another process.
    Ticket {
        object: u64,
    },
    /// A hold for a proxy that has arrived.
    Claim {
        object: u64,
        ticket: u64,
        kind: Kind,
        types: &'a str,
    },
    On {
        object: u64,
        #[serde(borrow)]
        op: Op<'a>,
    },
    /// More of a snapshot.
    Page {
        cursor: u64,
    },
    /// The rest of a snapshot is not wanted. No answer.
    EndPages {
        cursor: u64,
    },
    Stats,
    Shutdown,
}

/// What an object is.
///
/// ```
/// use ipc_manager::{Error, Kind, List, Manager};
///
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = Manager::start()?;
/// manager.publish("jobs", &manager.queue::<u32>()?)?;
/// let wrong = manager.open::<List<u32>>("jobs").expect_err("it is a queue");
/// assert!(matches!(wrong, Error::WrongType { kind: Kind::Queue, .. }));
/// assert_eq!(wrong.to_string(), "the type of the object is Queue<u32>");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A [`List`](crate::List).
    List,
    /// An [`Array`](crate::Array).
    Array,
    /// A [`Dict`](crate::Dict).
    Dict,
    /// A [`Set`](crate::Set).
    Set,
    /// A [`Namespace`](crate::Namespace).
    Namespace,
    /// A [`Value`](crate::Value).
    Value,
    /// A [`Queue`](crate::Queue).
    Queue,
    /// A [`JoinableQueue`](crate::JoinableQueue).
    JoinableQueue,
    /// A [`Lock`](crate::Lock).
    Lock,
    /// An [`RLock`](crate::RLock).
    RLock,
    /// A [`Semaphore`](crate::Semaphore).
    Semaphore,
    /// A [`Condition`](crate::Condition).
    Condition,
    /// An [`Event`](crate::Event).
    Event,
    /// A [`Barrier`](crate::Barrier).
    Barrier,
}

/// What a new object begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Init<'a> {
    Nothing,
    /// A capacity, permits, parties.
    Number(u64),
    #[serde(borrow)]
    Items(Vec<Item<'a>>),
    #[serde(borrow)]
    Pairs(Vec<Pair<'a>>),
}

/// Something to do with an object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Op<'a> {
    // Of all that contain something.
    Len,
    Clear,
    /// All there is, as of now, page by page.
    Snapshot,
    /// The same, and it is no longer there.
    Drain,

    // Of lists and arrays; a value is a list of one.
    Get(u64),
    Set(u64, #[serde(borrow)] Item<'a>),
    Push(Item<'a>),
    Extend(Vec<Item<'a>>),
    Insert(u64, Item<'a>),
    Pop,
    Remove(u64),
    Find(Blob<'a>),
    Count(Blob<'a>),
    Truncate(u64),
    Reverse,
    /// The version of the whole, which changes with every change.
    Version,
    /// All of it is replaced, if it still has this version.
    Replace {
        version: u64,
        items: Vec<Item<'a>>,
    },
    /// An element is replaced, if it still is as expected.
    Swap {
        index: u64,
        expected: Blob<'a>,
        new: Item<'a>,
    },

    // Of dicts, sets and namespaces.
    Has(Blob<'a>),
    Lookup(Blob<'a>),
    Put(Blob<'a>, Item<'a>),
    Take(Blob<'a>),
    GetOrPut(Blob<'a>, Item<'a>),
    PutMany(Vec<Pair<'a>>),
    TakeAny,
    SwapKey {
        key: Blob<'a>,
        expected: Option<Blob<'a>>,
        new: Option<Item<'a>>,
    },

    // Of queues.
    Enqueue {
        item: Item<'a>,
        wait: bool,
    },
    Dequeue {
        wait: bool,
        thread: u64,
    },
    TaskDone {
        thread: u64,
    },
    Join {
        wait: bool,
    },
    Capacity,

    // Of locks, and of conditions, which have one.
    Acquire {
        wait: bool,
        thread: u64,
        repair: bool,
    },
    Release {
        thread: u64,
    },
    IsLocked,
    CondWait {
        thread: u64,
    },
    Notify {
        all: bool,
        thread: u64,
    },

    // Of semaphores.
    TakePermit {
        wait: bool,
    },
    GivePermit,

    // Of events.
    Raise,
    Lower,
    IsRaised,
    Await,

    // Of barriers.
    Meet,
    Abort,
    Reset,
}

impl Op<'_> {
    /// Whether the proxies in its values stand for objects as wanted.
    #[inline]
    pub(crate) fn refs(&self, is_good: impl Fn(u64) -> bool) -> bool {
        let good = |item: &Item<'_>| item.refs.iter().all(|object| is_good(*object));
        match self {
            Op::Set(_, item) | Op::Push(item) | Op::Insert(_, item) | Op::Put(_, item) | Op::GetOrPut(_, item) => {
                good(item)
            }
            Op::Swap { new: item, .. } | Op::SwapKey { new: Some(item), .. } | Op::Enqueue { item, .. } => good(item),
            Op::Extend(items) | Op::Replace { items, .. } => items.iter().all(good),
            Op::PutMany(pairs) => pairs.iter().all(|(_, item)| good(item)),
            _ => true,
        }
    }
}

impl Init<'_> {
    /// As for operations.
    pub(crate) fn refs(&self, is_good: impl Fn(u64) -> bool) -> bool {
        let good = |item: &Item<'_>| item.refs.iter().all(|object| is_good(*object));
        match self {
            Init::Nothing | Init::Number(_) => true,
            Init::Items(items) => items.iter().all(good),
            Init::Pairs(pairs) => pairs.iter().all(|(_, item)| good(item)),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reply<'a> {
    pub(crate) id: u32,
    #[serde(borrow)]
    pub(crate) answer: Answer<'a>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer<'a> {
    Done,
    Welcome {
        version: u32,
        session: u64,
        max_message: u64,
        /// A number that no other server has.
        server: u64,
    },
    Object(u64),
    Flag(bool),
    Number(u64),
    #[serde(borrow)]
    Item(Option<Item<'a>>),
    Pair(Option<Pair<'a>>),
    /// What is there instead of what was expected.
    Unequal(Option<Item<'a>>),
    Page {
        pairs: Vec<Pair<'a>>,
        more: Option<u64>,
        version: u64,
    },
    /// A lock, a permit.
    Granted {
        died: bool,
        timed_out: bool,
    },
    Stats(Blob<'a>),
    Fault(Fault),
}

impl Answer<'_> {
    /// The objects that were counted for the session that gets this.
    pub(crate) fn held(self, into: &mut Vec<u64>) {
        match self {
            Answer::Object(object) => into.push(object),
            Answer::Item(Some(item)) | Answer::Unequal(Some(item)) | Answer::Pair(Some((_, item))) => {
                into.extend(item.refs);
            }
            Answer::Page { pairs, .. } => into.extend(pairs.into_iter().flat_map(|(_, item)| item.refs)),
            _ => {}
        }
    }
}

/// Why a request was not done. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    Version(u32),
    NoSession,
    NoObject,
    NoName,
    NameTaken,
    HasName(String),
    WrongType { kind: Kind, types: String },
    WouldWait,
    Cancelled,
    OutOfRange { len: u64 },
    OwnerDied,
    AlreadyLocked,
    NotHeld,
    NoTask,
    Broken { by_death: bool },
    TooMany,
    Unfit,
    Malformed,
}

/// The answer's bytes as a frame.
pub(crate) fn frame<T: Serialize>(message: &T, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    struct Append<'a>(&'a mut Vec<u8>);
    impl postcard::ser_flavors::Flavor for Append<'_> {
        type Output = ();

        #[inline]
        fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
            self.0.extend_from_slice(data);
            Ok(())
        }

        #[inline]
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.0.push(byte);
            Ok(())
        }

        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }
    postcard::serialize_with_flavor(message, Append(out))
        .expect("a message of the protocol has nothing that postcard cannot encode");
    let len = u32::try_from(out.len() - start - 4).expect("messages are limited to less than that");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}
