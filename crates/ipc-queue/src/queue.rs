//! The queue and its ends.

use std::borrow::Borrow;
use std::fmt;
use std::iter::FusedIterator;
use std::time::Duration;

use ipc_core::{Deadline, Decode, Encode, Ownership, Postcard, Roles};

use crate::handle::{End, Stats};
use crate::in_place::{Peek, Reservation};
use crate::readiness::Readiness;
use crate::{DeadLetter, Error, Lease, PutError, PutManyError, Result, Settings};

/// A queue between processes: first in, first out, for any number of producers and consumers.
///
/// A handle: clone it, pass it to a process, send it in a message; all handles are the same queue. Values are of any serde type, in the
/// [`Postcard`] format unless `C` says otherwise ([`Plain`](ipc_core::Plain) for plain data, [`Bytes`](ipc_core::Bytes)).
///
/// ```
/// use ipc_queue::{Process, Queue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue: Queue<(u32, Option<String>)> = Queue::new()?;
/// let child = Process::spawn(
///     |queue: Queue<(u32, Option<String>)>| queue.put((42, Some("hello".into()))).unwrap(),
///     queue.clone(),
/// )?;
/// assert_eq!(queue.get()?, (42, Some("hello".to_string())));
/// child.join()?;
/// # Ok(()) }
/// ```
///
/// A `Queue` is both ends, as in Python, so a process can get back what it put itself. Give each process the end that it needs
/// ([`split`](Queue::split), [`producer`](Queue::producer), [`consumer`](Queue::consumer)), and receivers also learn when nobody is left who could put
/// something:
///
/// ```
/// use ipc_queue::{Process, Producer, Queue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (producer, consumer) = Queue::<String>::new()?.split();
/// let child = Process::spawn(
///     |producer: Producer<String>| {
///         for i in 0..3 {
///             producer.put(format!("item {i}")).unwrap();
///         }
///     },
///     producer,
/// )?;
/// let items: Vec<String> = consumer.iter().collect::<Result<_, _>>()?; // until the child has ended, however it does
/// assert_eq!(items, ["item 0", "item 1", "item 2"]);
/// child.join()?;
/// # Ok(()) }
/// ```
///
/// A process that waits with a bare `Queue`, its only handle, which it once shared, gets `Disconnected` when no other process has the queue any
/// more and nothing is under a lease: nobody could end the wait. So give threads handles of their own.
///
/// There is no thread behind it: when [`put`](Queue::put) returns the message can be taken, so there is nothing to be joined or flushed
/// before the process ends (Python's `join_thread`, `cancel_join_thread`).
///
/// # When a process dies
///
/// A killed producer: what it put is there; the message it was just putting is there or not. A killed consumer: what it was just taking goes
/// to another one, before everything else; what `get` has returned it had. With [`lease`](Queue::lease) a message stays the queue's until
/// it is acknowledged. Whoever waits goes on at once if the dead process had a lock, and within about 100 ms after the kernel
/// has closed its files in the other cases. The memory is gone with the last process that has the queue.
///
/// # References
/// CPython `multiprocessing.Queue`, `SimpleQueue`.
#[doc(alias = "SimpleQueue")]
pub struct Queue<T, C = Postcard>(pub(crate) End<T, C>);

/// The end of a [`Queue`] that puts.
pub struct Producer<T, C = Postcard>(pub(crate) End<T, C>);

/// The end of a [`Queue`] that takes.
pub struct Consumer<T, C = Postcard>(pub(crate) End<T, C>);

impl<T, C> Queue<T, C> {
    /// Makes a queue with the settings of [`Settings::new`]: as many items as fit into 1 MiB.
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn new() -> Result<Queue<T, C>> {
        Queue::with(&Settings::new())
    }

    /// Makes a queue of at most so many items; 0, as in Python, is no limit but that of the memory.
    ///
    /// # Errors
    /// As [`new`](Queue::new); [`Error::Setting`](crate::Error::Setting).
    #[doc(alias = "maxsize")]
    pub fn bounded(items: usize) -> Result<Queue<T, C>> {
        Queue::with(&Settings::new().items(items))
    }

    /// Makes a queue.
    ///
    /// # Errors
    /// As [`bounded`](Queue::bounded).
    pub fn with(settings: &Settings) -> Result<Queue<T, C>> {
        Ok(Queue(End::create(settings, false)?))
    }

    /// Makes a queue with a name, for processes of the same user that are not related. The name appears when the queue is complete, and is
    /// removed as `ownership` says; one that dead processes have left is taken over. The handle cannot be sent: send the name.
    ///
    /// ```
    /// use ipc_queue::{Ownership, Queue, Settings};
    ///
    /// # fn main() -> ipc_queue::Result<()> {
    /// let name = format!("jobs-{}", std::process::id());
    /// let here: Queue<u32> = Queue::create_named(&name, &Settings::new(), Ownership::Creator)?;
    /// let there: Queue<u32> = Queue::open_named(&name)?; // in whatever program
    /// there.put(7)?;
    /// assert_eq!(here.get()?, 7);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`bounded`](Queue::bounded); that of [`Segment::create_named`](ipc_core::Segment::create_named), which is
    /// [`NameTaken`](ipc_core::Error::NameTaken) if there is memory of that name.
    pub fn create_named(name: &str, settings: &Settings, ownership: Ownership) -> Result<Queue<T, C>> {
        Ok(Queue(End::create_named(name, settings, ownership)?))
    }

    /// Opens the queue of that name.
    ///
    /// # Errors
    /// There is none ([`NoSuchName`](ipc_core::Error::NoSuchName)); or it is for another type, another codec, or not a queue
    /// ([`Incompatible`](ipc_core::Error::Incompatible)). Types are compared by their names, without paths, and sizes.
    pub fn open_named(name: &str) -> Result<Queue<T, C>> {
        Ok(Queue(End::open_named(name)?))
    }

    /// The two ends, in place of the queue. (A queue of which ends were only made, and which is still there, counts as both; also if another
    /// variable has got its name.)
    pub fn split(self) -> (Producer<T, C>, Consumer<T, C>) {
        (self.producer(), self.consumer())
    }

    /// The end that puts.
    pub fn producer(&self) -> Producer<T, C> {
        Producer(self.0.as_role(Roles::PRODUCER))
    }

    /// The end that takes.
    pub fn consumer(&self) -> Consumer<T, C> {
        Consumer(self.0.as_role(Roles::CONSUMER))
    }
}

/// The calls that put; the fields are those of all who have an [`End`].
macro_rules! puts {
    ($($end:ident)*) => { $(
        impl<T, C: Encode<T>> $end<T, C> {
            /// Puts a value, or a reference to one; waits while the queue is full. When it returns the message can be taken.
            ///
            /// The error has what was passed, so with a reference it cannot be boxed by `?` (it is not `'static`): there,
            /// `.map_err(Error::from)` before it.
            ///
            /// # Errors
            /// The value comes back in the error: [`Closed`](crate::Error::Closed), [`Disconnected`](crate::Error::Disconnected) when no
            /// consumer is left (one that was killed is noticed when the queue is full), [`TooLarge`](crate::Error::TooLarge),
            /// [`Encode`](crate::Error::Encode), [`NoMemory`](crate::Error::NoMemory).
            #[inline]
            pub fn put<B: Borrow<T>>(&self, value: B) -> Result<(), PutError<B>> {
                self.0.put(value, Deadline::NEVER)
            }

            /// Puts a value if the queue is not full.
            ///
            /// # Errors
            /// [`WouldBlock`](crate::Error::WouldBlock) if it is; else as [`put`](Self::put).
            #[doc(alias = "put_nowait")]
            #[inline]
            pub fn try_put<B: Borrow<T>>(&self, value: B) -> Result<(), PutError<B>> {
                self.0.put(value, Deadline::NOW)
            }

            /// Puts a value; waits for `timeout` at most, also while a stopped process has the lock.
            ///
            /// # Errors
            /// [`Timeout`](crate::Error::Timeout); else as [`put`](Self::put).
            pub fn put_timeout<B: Borrow<T>>(&self, value: B, timeout: Duration) -> Result<(), PutError<B>> {
                self.0.put(value, Deadline::after(timeout))
            }

            /// Puts several values, in order, as many at a time as there is room for: the way to the highest throughput. Others may put
            /// theirs in between.
            ///
            /// # Errors
            /// How many were put, and why the next one was not: as [`put`](Self::put).
            pub fn put_many<B: Borrow<T>>(&self, values: &[B]) -> Result<(), PutManyError> {
                self.0.put_many(values, Deadline::NEVER)
            }

            /// Puts as many of several values as there is room for.
            ///
            /// # Errors
            /// How many were put, with [`WouldBlock`](crate::Error::WouldBlock) if there was no room for the next one.
            pub fn try_put_many<B: Borrow<T>>(&self, values: &[B]) -> Result<(), PutManyError> {
                self.0.put_many(values, Deadline::NOW)
            }

            /// Puts several values; waits for `timeout` at most.
            ///
            /// # Errors
            /// How many were put, with [`Timeout`](crate::Error::Timeout) if there was no room for the next one.
            pub fn put_many_timeout<B: Borrow<T>>(&self, values: &[B], timeout: Duration) -> Result<(), PutManyError> {
                self.0.put_many(values, Deadline::after(timeout))
            }
        }

        impl<T, C> $end<T, C> {
            /// Puts a value that is encoded already.
            ///
            /// # Errors
            /// As [`put`](Self::put).
            pub fn put_bytes(&self, bytes: &[u8]) -> Result<()> {
                Ok(self.0.core.put(bytes, Deadline::NEVER)?)
            }

            /// Puts a value that is encoded already, if the queue is not full.
            ///
            /// # Errors
            /// As [`try_put`](Self::try_put).
            pub fn try_put_bytes(&self, bytes: &[u8]) -> Result<()> {
                Ok(self.0.core.put(bytes, Deadline::NOW)?)
            }

            /// Puts a value that is encoded already; waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`put_timeout`](Self::put_timeout).
            pub fn put_bytes_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<()> {
                Ok(self.0.core.put(bytes, Deadline::after(timeout))?)
            }

            /// Room for a message of `len` encoded bytes, to be filled in place; waits until there is so much. Nobody else can put
            /// anything until it is committed or dropped.
            ///
            /// # Errors
            /// [`TooLarge`](crate::Error::TooLarge) for more than the ring holds; else as [`put`](Self::put).
            pub fn reserve(&self, len: usize) -> Result<Reservation<'_>> {
                Reservation::new(&self.0.core, len, Deadline::NEVER)
            }

            /// The same if there is so much room.
            ///
            /// # Errors
            /// As [`reserve`](Self::reserve), [`WouldBlock`](crate::Error::WouldBlock).
            pub fn try_reserve(&self, len: usize) -> Result<Reservation<'_>> {
                Reservation::new(&self.0.core, len, Deadline::NOW)
            }

            /// The same, but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`reserve`](Self::reserve), [`Timeout`](crate::Error::Timeout).
            pub fn reserve_timeout(&self, len: usize, timeout: Duration) -> Result<Reservation<'_>> {
                Reservation::new(&self.0.core, len, Deadline::after(timeout))
            }
        }
    )* };
}

/// The calls that take.
macro_rules! gets {
    ($($end:ident)*) => { $(
        impl<T, C: Decode<T>> $end<T, C> {
            /// Takes the next value; waits until there is one.
            ///
            /// # Errors
            /// [`Closed`](crate::Error::Closed) or [`Disconnected`](crate::Error::Disconnected) when nothing is there and nothing will
            /// come, also not from a process that has taken something and may still die;
            /// [`Decode`](crate::Error::Decode): the message is taken.
            #[inline]
            pub fn get(&self) -> Result<T> {
                Ok(self.0.get(Deadline::NEVER)?)
            }

            /// Takes the next value if there is one.
            ///
            /// # Errors
            /// [`WouldBlock`](crate::Error::WouldBlock) if there is none; else as [`get`](Self::get).
            #[doc(alias = "get_nowait")]
            #[inline]
            pub fn try_get(&self) -> Result<T> {
                Ok(self.0.get(Deadline::NOW)?)
            }

            /// Takes the next value; waits for `timeout` at most, also while a stopped process has the lock.
            ///
            /// # Errors
            /// [`Timeout`](crate::Error::Timeout); else as [`get`](Self::get).
            pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
                Ok(self.0.get(Deadline::after(timeout))?)
            }

            /// Takes what is there, at most `max` values; waits until there is one. The way to the highest throughput.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            pub fn get_many(&self, max: usize) -> Result<Vec<T>> {
                Ok(self.0.get_many(max, Deadline::NEVER)?)
            }

            /// Takes what is there, at most `max` values.
            ///
            /// # Errors
            /// As [`try_get`](Self::try_get).
            pub fn try_get_many(&self, max: usize) -> Result<Vec<T>> {
                Ok(self.0.get_many(max, Deadline::NOW)?)
            }

            /// Takes what is there, at most `max` values; waits for `timeout` at most until there is one.
            ///
            /// # Errors
            /// As [`get_timeout`](Self::get_timeout).
            pub fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Vec<T>> {
                Ok(self.0.get_many(max, Deadline::after(timeout))?)
            }

            /// Takes the next value under a lease: until it is acknowledged it stays the queue's, and goes to another receiver if this
            /// process dies: before all others, once somebody has missed it, which is after 25 ms in a queue that never runs empty.
            ///
            /// ```
            /// # fn main() -> ipc_queue::Result<()> {
            /// let jobs = ipc_queue::Queue::<String>::new()?;
            /// jobs.put("render".to_string())?;
            /// drop(jobs.lease()?); // not today
            /// let job = jobs.lease()?;
            /// assert_eq!((job.as_str(), job.deliveries()), ("render", 2));
            /// job.ack()?;
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`LeaseLimit`](crate::Error::LeaseLimit), [`NoMemory`](crate::Error::NoMemory): the message stays in the queue; else as
            /// [`get`](Self::get).
            #[inline]
            pub fn lease(&self) -> Result<Lease<T>> {
                Ok(self.0.lease(Deadline::NEVER)?)
            }

            /// The same if there is a value.
            ///
            /// # Errors
            /// As [`lease`](Self::lease), [`WouldBlock`](crate::Error::WouldBlock).
            #[inline]
            pub fn try_lease(&self) -> Result<Lease<T>> {
                Ok(self.0.lease(Deadline::NOW)?)
            }

            /// The same, but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`lease`](Self::lease), [`Timeout`](crate::Error::Timeout).
            pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease<T>> {
                Ok(self.0.lease(Deadline::after(timeout))?)
            }

            /// Takes all messages that were delivered too often; see [`Settings::max_deliveries`].
            ///
            /// # Errors
            /// [`Forked`](crate::Error::Forked); if none of them can be read: [`NoMemory`](crate::Error::NoMemory),
            /// [`Damaged`](crate::Error::Damaged).
            pub fn take_dead_letters(&self) -> Result<Vec<DeadLetter<T>>> {
                Ok(self.0.take_dead_letters()?)
            }

            /// The values one after the other, as they come: ends when [`get`](Self::get) would say `Closed` or `Disconnected`. It
            /// takes none ahead of its time.
            pub fn iter(&self) -> Iter<'_, T, C> {
                Iter { end: &self.0, is_over: false }
            }
        }

        impl<'a, T, C: Decode<T>> IntoIterator for &'a $end<T, C> {
            type Item = Result<T>;
            type IntoIter = Iter<'a, T, C>;

            fn into_iter(self) -> Iter<'a, T, C> {
                self.iter()
            }
        }

        impl<T, C> $end<T, C> {
            /// Takes the next message as it is, encoded, in place of what is in `to`; waits until there is one.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            pub fn get_bytes_into(&self, to: &mut Vec<u8>) -> Result<()> {
                Ok(self.0.get_bytes_into(to, Deadline::NEVER)?)
            }

            /// The same if there is one.
            ///
            /// # Errors
            /// As [`try_get`](Self::try_get).
            pub fn try_get_bytes_into(&self, to: &mut Vec<u8>) -> Result<()> {
                Ok(self.0.get_bytes_into(to, Deadline::NOW)?)
            }

            /// The same, but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`get_timeout`](Self::get_timeout).
            pub fn get_bytes_into_timeout(&self, to: &mut Vec<u8>, timeout: Duration) -> Result<()> {
                Ok(self.0.get_bytes_into(to, Deadline::after(timeout))?)
            }

            /// Looks at the next message where it lies, without a copy; waits until there is one. Until it is released nobody else
            /// gets it, and the ring's memory from there on stays in use: for a short time only.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            pub fn peek(&self) -> Result<Peek<'_>> {
                Ok(self.0.peek(Deadline::NEVER)?)
            }

            /// The same if there is one.
            ///
            /// # Errors
            /// As [`try_get`](Self::try_get).
            pub fn try_peek(&self) -> Result<Peek<'_>> {
                Ok(self.0.peek(Deadline::NOW)?)
            }

            /// The same, but waits for `timeout` at most.
            ///
            /// # Errors
            /// As [`get_timeout`](Self::get_timeout).
            pub fn peek_timeout(&self, timeout: Duration) -> Result<Peek<'_>> {
                Ok(self.0.peek(Deadline::after(timeout))?)
            }

            /// Something that [`wait`](ipc_core::wait) and epoll can wait for together with others: it is ready when there is something
            /// to take.
            ///
            /// # Errors
            /// The limit of open files, or of threads, is reached.
            pub fn readiness(&self) -> Result<Readiness> {
                Readiness::new(&self.0.core)
            }
        }
    )* };
}

/// What every end has.
macro_rules! ends {
    ($($end:ident $role:ident;)*) => { $(
        impl<T, C> $end<T, C> {
            /// How many messages there are to be taken, just now.
            #[doc(alias = "qsize")]
            pub fn len(&self) -> usize {
                self.0.core.len()
            }

            /// Whether there is none, just now.
            #[doc(alias = "empty")]
            pub fn is_empty(&self) -> bool {
                !self.0.core.is_filled()
            }

            /// Whether there is no room for even the smallest message, just now.
            #[doc(alias = "full")]
            pub fn is_full(&self) -> bool {
                self.0.is_full()
            }

            /// How many messages there can be at most; `None` if only their bytes are limited.
            pub fn capacity(&self) -> Option<usize> {
                self.0.capacity()
            }

            /// Closes the queue, for everybody: nothing can be put any more; what is there can be taken, then receivers get
            /// [`Closed`](crate::Error::Closed). (Python's `close` concerns the calling process only; here that is to drop the handle.)
            ///
            /// # Errors
            /// [`Forked`](crate::Error::Forked).
            pub fn close(&self) -> Result<()> {
                Ok(self.0.core.close()?)
            }

            /// Whether it was closed.
            pub fn is_closed(&self) -> bool {
                self.0.core.tail().is_closed()
            }

            /// What goes on in the queue.
            ///
            /// # Errors
            /// [`Forked`](crate::Error::Forked); the system cannot tell how many processes have the queue.
            pub fn stats(&self) -> Result<Stats> {
                Ok(self.0.stats()?)
            }
        }

        impl<T, C> serde::Serialize for $end<T, C> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de, T, C> serde::Deserialize<'de> for $end<T, C> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$end<T, C>, D::Error> {
                End::deserialize(ipc_core::Roles::$role, deserializer).map($end)
            }
        }

        impl<T, C> Clone for $end<T, C> {
            fn clone(&self) -> $end<T, C> {
                $end(self.0.clone())
            }
        }

        impl<T, C> fmt::Debug for $end<T, C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($end)).field(&self.0.core).finish()
            }
        }
    )* };
}

puts!(Queue Producer);
gets!(Queue Consumer);
ends!(Queue BOTH; Producer PRODUCER; Consumer CONSUMER;);
pub(crate) use {ends, puts};

/// The values of a queue as they come; see [`Queue::iter`].
pub struct Iter<'a, T, C> {
    end: &'a End<T, C>,
    is_over: bool,
}

impl<T, C: Decode<T>> Iterator for Iter<'_, T, C> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.is_over {
            return None;
        }
        match self.end.get(Deadline::NEVER).map_err(Error::from) {
            Err(error) if error.is_end() => {
                self.is_over = true;
                None
            }
            // What will be there the next time as well is shown once.
            Err(error) if !matches!(error, Error::Decode(_)) => {
                self.is_over = true;
                Some(Err(error))
            }
            next => Some(next),
        }
    }
}

impl<T, C> fmt::Debug for Iter<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Iter").field(&self.end.core).finish()
    }
}

impl<T, C: Decode<T>> FusedIterator for Iter<'_, T, C> {}
