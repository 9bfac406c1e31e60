//! One producer and one consumer: nobody to be kept out, so no locks.
//!
//! Each end has the place up to which it has got for itself, and tells the other one by a plain store. A store and a later look at whether
//! somebody sleeps may change places in the processor, and a barrier between them would take longer than all the rest. So it is who
//! goes to sleep that has the other one pass a barrier: membarrier(2).

use std::borrow::Borrow;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};
use std::time::Duration;

use ipc_core::{Deadline, Decode, Encode, Postcard, Role, Roles, Segment, crash_point, explain};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::codec::{Of, contents, decode, encoded, with_scratch};
use crate::core::Core;
use crate::error::Quick;
use crate::layout::Header;
use crate::place::Place;
use crate::put::Message;
use crate::take::Record;
use crate::{Error, PutError, PutManyError, Result, Settings, sys};

/// Makes a queue for one producer and one consumer: the same promise as [`Queue`](crate::Queue), without locks, and faster.
///
/// Each end belongs to one owner: it cannot be cloned, its calls want it exclusively, and sending it, as an argument of a process or in a
/// message over a connection, moves it; what is left after it was sent by reference still counts as that end until it is dropped, so drop
/// it. [`Settings::items`] counts here as well; leases there are none.
///
/// ```
/// use ipc_queue::{Postcard, Process, Settings, SpscProducer, spsc};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (producer, mut consumer) = spsc::<u64, Postcard>(&Settings::new())?;
/// let child = Process::spawn(
///     |mut producer: SpscProducer<u64>| (0..1000).for_each(|n| producer.put(n).unwrap()),
///     producer,
/// )?;
/// let mut sum = 0;
/// while let Ok(n) = consumer.get() {
///     sum += n; // until the child has ended, however it does
/// }
/// assert_eq!(sum, 499_500);
/// child.join()?;
/// # Ok(()) }
/// ```
///
/// # When a process dies
///
/// What a killed producer had put is there, then the consumer gets [`Error::Disconnected`]; a producer whose consumer was killed gets it
/// when the queue is full.
///
/// # Errors
/// As [`Queue::with`](crate::Queue::with).
///
/// # References
/// membarrier(2), by which the ends do without barriers of their own.
pub fn spsc<T, C>(settings: &Settings) -> Result<(SpscProducer<T, C>, SpscConsumer<T, C>)> {
    let settings = Settings { leases: 0, ..settings.checked()? };
    let segment = Segment::sparse(settings.layout())?;
    let core = Core::create(&segment, settings, contents::<T, C>(), true)?;
    let (producer, consumer) = (Role::new(&segment, Roles::PRODUCER)?, Role::new(&segment, Roles::CONSUMER)?);
    Ok((SpscProducer(End::new(core.again(), producer)), SpscConsumer(End::new(core, consumer))))
}

/// The end of a queue for one producer and one consumer that puts; see [`spsc()`].
///
/// ```
/// use ipc_queue::{Postcard, Settings, spsc};
/// use std::time::Duration;
///
/// # fn main() -> ipc_queue::Result<()> {
/// let (mut producer, mut consumer) = spsc::<u8, Postcard>(&Settings::new().items(2))?;
/// producer.put(1)?;
/// producer.put_many(&[2])?;
/// assert_eq!(producer.len(), 2);
/// assert!(producer.is_full() && producer.try_put(3).unwrap_err().error.is_would_block());
/// assert!(producer.put_timeout(3, Duration::from_millis(10)).unwrap_err().error.is_timeout());
/// assert_eq!(consumer.get_many(10)?, [1, 2]);
/// assert!(producer.is_empty());
/// producer.put_bytes(&[3])?; // as the codec writes it
/// producer.close()?;
/// assert_eq!(consumer.get()?, 3);
/// assert!(consumer.get().unwrap_err().is_closed());
/// # Ok(()) }
/// ```
pub struct SpscProducer<T, C = Postcard>(End<T, C>);

/// The end of a queue for one producer and one consumer that takes; see [`spsc()`].
///
/// ```
/// use ipc_queue::{Bytes, Settings, spsc};
/// use std::time::Duration;
///
/// # fn main() -> ipc_queue::Result<()> {
/// let (mut producer, mut consumer) = spsc::<Vec<u8>, Bytes>(&Settings::new())?;
/// assert!(consumer.is_empty() && consumer.try_get().unwrap_err().is_would_block());
/// assert!(consumer.get_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
/// producer.put_many(&[b"one".to_vec(), b"two".to_vec()])?;
/// drop(producer);
/// let mut bytes = Vec::new();
/// consumer.get_bytes_into(&mut bytes)?; // in memory that is there already
/// assert_eq!((&bytes[..], consumer.len()), (&b"one"[..], 1));
/// assert_eq!(consumer.get_many(10)?, [b"two"]);
/// assert!(consumer.get().unwrap_err().is_disconnected());
/// # Ok(()) }
/// ```
pub struct SpscConsumer<T, C = Postcard>(End<T, C>);

struct End<T, C> {
    core: Core,
    /// `None` while it is being dropped.
    role: Option<Role>,
    moved: Arc<AtomicBool>,
    /// How far this end has got: the tail, or the head.
    mine: Place,
    /// How far the other one had got, when this one last looked.
    theirs: Place,
    /// The other end cannot have this process pass a barrier.
    needs_fence: bool,
    of: Of<T, C>,
    /// Two threads that have it by reference could send it away at the same time.
    not_sync: PhantomData<Cell<()>>,
}

impl<T, C> End<T, C> {
    fn new(core: Core, role: Role) -> End<T, C> {
        let (head, tail) = (core.head(), core.tail());
        let (mine, theirs) = if role.roles() == Roles::PRODUCER { (tail, head) } else { (head, tail) };
        let needs_fence = !sys::accept_barriers();
        End {
            core,
            role: Some(role),
            moved: Arc::default(),
            mine,
            theirs,
            needs_fence,
            of: Of::default(),
            not_sync: PhantomData,
        }
    }

    fn arrived(role: Role, roles: Roles) -> Quick<End<T, C>> {
        if role.roles() != roles {
            return Err(Error::Damaged("it is the other end").into());
        }
        Ok(End::new(Core::open(role.segment(), contents::<T, C>(), true)?, role))
    }

    #[inline]
    fn check(&self) -> Quick<()> {
        if self.moved.load(Ordering::Relaxed) {
            return Err(Error::Moved.into());
        }
        Ok(self.core.segment().check_fork()?)
    }

    /// Between a store and the look at who sleeps.
    #[inline]
    fn order(&self) {
        if self.needs_fence { fence(Ordering::SeqCst) } else { compiler_fence(Ordering::SeqCst) }
    }

    fn len(&self) -> u64 {
        self.core.tail().items_since(self.core.head())
    }
}

impl<T, C> Drop for End<T, C> {
    fn drop(&mut self) {
        drop(self.role.take());
        if self.core.segment().is_original() {
            self.core.depart();
        }
    }
}

macro_rules! moving {
    ($($end:ident $role:ident;)*) => { $(
        impl<T, C> Serialize for $end<T, C> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let role = self.0.role.as_ref().ok_or_else(|| serde::ser::Error::custom("it is being dropped"))?;
                role.serialize_moving(&self.0.moved, serializer)
            }
        }

        impl<'de, T, C> Deserialize<'de> for $end<T, C> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$end<T, C>, D::Error> {
                let role = Role::deserialize_moved(deserializer)?;
                let end = End::arrived(role, Roles::$role);
                end.map($end).map_err(|error| de::Error::custom(explain(&error)))
            }
        }

        impl<T, C> $end<T, C> {
            /// How many messages there are in the queue, just now.
            #[doc(alias = "qsize")]
            pub fn len(&self) -> usize {
                self.0.len() as usize
            }

            /// Whether there is none, just now.
            #[doc(alias = "empty")]
            pub fn is_empty(&self) -> bool {
                self.0.len() == 0
            }
        }

        impl<T, C> fmt::Debug for $end<T, C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($end)).field(&self.0.core).finish()
            }
        }
    )* };
}

moving! {
    SpscProducer PRODUCER;
    SpscConsumer CONSUMER;
}

impl<T, C: Encode<T>> SpscProducer<T, C> {
    /// Puts a value, or a reference to one; waits while the queue is full.
    ///
    /// # Errors
    /// The value comes back in the error: [`Error::Closed`], [`Error::Disconnected`], [`Error::TooLarge`], [`Error::Encode`],
    /// [`Error::NoMemory`], [`Error::Moved`].
    #[inline]
    pub fn put<B: Borrow<T>>(&mut self, value: B) -> Result<(), PutError<B>> {
        self.put_until(value, Deadline::NEVER)
    }

    /// Puts a value if the queue is not full.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if it is; else as [`put`](Self::put).
    #[doc(alias = "put_nowait")]
    #[inline]
    pub fn try_put<B: Borrow<T>>(&mut self, value: B) -> Result<(), PutError<B>> {
        self.put_until(value, Deadline::NOW)
    }

    /// Puts a value; waits for `timeout` at most.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`put`](Self::put).
    pub fn put_timeout<B: Borrow<T>>(&mut self, value: B, timeout: Duration) -> Result<(), PutError<B>> {
        self.put_until(value, Deadline::after(timeout))
    }

    /// Puts several values, in order, and tells the consumer of as many at a time as there is room for.
    ///
    /// # Errors
    /// How many were put, and why the next one was not: as [`put`](Self::put).
    pub fn put_many<B: Borrow<T>>(&mut self, values: &[B]) -> Result<(), PutManyError> {
        // Written with the last store held back, as long as nothing has to be waited for.
        self.0.check().map_err(|error| PutManyError { put: 0, error: *error })?;
        let mut written = 0;
        let result = values.iter().enumerate().try_for_each(|(index, value)| {
            let put = encoded::<T, C, _>(value.borrow(), |bytes| self.write_bytes(bytes, Deadline::NOW));
            match put {
                Err(error) if matches!(*error, Error::WouldBlock) => {
                    self.publish();
                    written = index;
                    encoded::<T, C, _>(value.borrow(), |bytes| self.write_bytes(bytes, Deadline::NEVER))?;
                }
                put => put?,
            }
            written = index + 1;
            Ok(())
        });
        self.publish();
        result.map_err(|error| PutManyError { put: written, error })
    }

    #[inline(always)]
    fn put_until<B: Borrow<T>>(&mut self, value: B, deadline: Deadline) -> Result<(), PutError<B>> {
        match encoded::<T, C, _>(value.borrow(), |bytes| self.put_bytes_until(bytes, deadline)) {
            Ok(()) => Ok(()),
            Err(error) => Err(PutError { value, error: *error }),
        }
    }
}

impl<T, C> SpscProducer<T, C> {
    /// Puts a value that is encoded already.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.put_bytes_until(bytes, Deadline::NEVER)?)
    }

    /// Whether there is no room for even the smallest message, just now.
    pub fn is_full(&self) -> bool {
        !self.0.core.has_room(Header::size_of(1))
    }

    /// Ends the queue: the consumer gets what is there, then [`Error::Closed`]. (Who only drops this end has it get `Disconnected`.)
    ///
    /// # Errors
    /// [`Error::Moved`], [`Error::Forked`].
    pub fn close(&mut self) -> Result<()> {
        self.0.check()?;
        self.0.mine = self.0.mine.closed();
        Ok(self.0.core.close()?)
    }

    #[inline(always)]
    fn put_bytes_until(&mut self, bytes: &[u8], deadline: Deadline) -> Quick<()> {
        self.write_bytes(bytes, deadline)?;
        self.publish();
        Ok(())
    }

    /// Writes a message behind the last one, and does not yet say so.
    #[inline(always)]
    fn write_bytes(&mut self, bytes: &[u8], deadline: Deadline) -> Quick<()> {
        self.0.check()?;
        let settings = &self.0.core.settings;
        if bytes.len() as u64 > settings.max_record() || bytes.len() as u64 > settings.max_message {
            return self.write_long(bytes, deadline);
        }
        self.make_room(Header::size_of(bytes.len() as u64), deadline)?;
        self.0.mine = self.0.core.write(self.0.mine, &Message::Bytes(bytes));
        crash_point!("spsc.filled");
        Ok(())
    }

    #[cold]
    fn write_long(&mut self, bytes: &[u8], deadline: Deadline) -> Quick<()> {
        let (len, max) = (bytes.len() as u64, self.0.core.settings.max_message);
        if len > max {
            return Err(Error::TooLarge { len, max }.into());
        }
        self.make_room(Header::of_extent().size(), deadline)?;
        let extent = self.0.core.write_extent(bytes, deadline)?;
        let end = self.0.core.write(self.0.mine, &Message::Extent(&extent));
        extent.hand_on();
        self.0.mine = end;
        Ok(())
    }

    #[inline(always)]
    fn publish(&mut self) {
        let end = &self.0.core.view.end;
        // Release: publishes the messages; pairs with the Acquire in `make_sure`.
        end.tail.store(self.0.mine.0, Ordering::Release);
        crash_point!("spsc.published");
        self.0.order();
        end.filled.wake();
    }

    #[inline(always)]
    fn make_room(&mut self, size: u64, deadline: Deadline) -> Quick<()> {
        let end = &mut self.0;
        if end.mine.is_closed() {
            return Err(Error::Closed.into());
        }
        if !end.core.is_anybody_left_since(Roles::CONSUMER)? {
            return Err(Error::Disconnected.into());
        }
        let fits = |head: Place| {
            let settings = &end.core.settings;
            end.mine.bytes_since(head).saturating_add(size) <= settings.ring
                && end.mine.items_since(head) < settings.items
        };
        if fits(end.theirs) {
            return Ok(());
        }
        // Acquire: who has freed the room has read what was there.
        end.theirs = end.core.head();
        end.core.distance(end.theirs, end.mine)?;
        if fits(end.theirs) { Ok(()) } else { self.wait_for_room(size, deadline) }
    }

    #[cold]
    fn wait_for_room(&mut self, size: u64, deadline: Deadline) -> Quick<()> {
        let core = &self.0.core;
        let left = || if core.is_anybody_left(Roles::CONSUMER)? { Ok(()) } else { Err(Error::Disconnected.into()) };
        if deadline.is_now() {
            if core.is_look_due() {
                left().inspect_err(|_| core.look_again_soon())?;
            }
            return Err(Error::WouldBlock.into());
        }
        // Also what is written and not yet published takes room.
        let mine = self.0.mine;
        let fits = || {
            let head = core.head();
            let bytes = core.distance(head, mine)?;
            Ok(bytes.saturating_add(size) <= core.settings.ring && mine.items_since(head) < core.settings.items)
        };
        core.wait(&core.view.head.freed, &core.view.counts.put_waits, &core.pace, deadline, fits, left)?;
        self.0.theirs = core.head();
        Ok(())
    }
}

impl<T, C: Decode<T>> SpscConsumer<T, C> {
    /// Takes the next value; waits until there is one.
    ///
    /// # Errors
    /// [`Error::Closed`] or [`Error::Disconnected`] when nothing is there and nothing will come; [`Error::Decode`]: the message
    /// is taken; [`Error::Moved`].
    #[inline]
    pub fn get(&mut self) -> Result<T> {
        Ok(self.get_until(Deadline::NEVER)?)
    }

    /// Takes the next value if there is one.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if there is none; else as [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    #[inline]
    pub fn try_get(&mut self) -> Result<T> {
        Ok(self.get_until(Deadline::NOW)?)
    }

    /// Takes the next value; waits for `timeout` at most.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<T> {
        Ok(self.get_until(Deadline::after(timeout))?)
    }

    /// Takes what is there, at most `max` values; waits until there is one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_many(&mut self, max: usize) -> Result<Vec<T>> {
        self.0.check()?;
        let mut values = Vec::new();
        while values.len() < max {
            let deadline = if values.is_empty() { Deadline::NEVER } else { Deadline::NOW };
            match self.read(deadline) {
                Ok(value) => values.push(value),
                Err(error) if values.is_empty() => return Err(*error),
                Err(_) => break, // the next call finds it
            }
        }
        self.free();
        Ok(values)
    }

    #[inline(always)]
    fn get_until(&mut self, deadline: Deadline) -> Quick<T> {
        let value = self.read(deadline)?;
        self.free();
        Ok(value)
    }

    /// Decodes the next message, and does not yet give back its space. One that cannot be decoded is taken, if it is the first one.
    #[inline(always)]
    fn read(&mut self, deadline: Deadline) -> Quick<T> {
        let record = self.next(deadline)?;
        let mut value = None;
        with_scratch(|scratch| {
            value = Some(match self.0.core.append(record, scratch) {
                Ok(()) => {
                    // Also one whose decoding panics does not come twice.
                    self.0.mine = record.at.after(record.header.size(), 1);
                    decode::<T, C>(scratch)
                }
                Err(error) => Err(error),
            });
        });
        match value.unwrap_or_else(|| Err(Error::NOTHING.into())) {
            Ok(value) => {
                self.advance(record);
                Ok(value)
            }
            Err(error) => self.skip(record, error),
        }
    }

    #[cold]
    fn skip(&mut self, record: Record, error: Box<Error>) -> Quick<T> {
        self.0.mine = record.at;
        let is_first = self.0.core.head().is_at(self.0.mine);
        if is_first && matches!(*error, Error::Decode(_)) {
            self.advance(record);
            self.free();
        }
        Err(error)
    }
}

impl<T, C> SpscConsumer<T, C> {
    /// Takes the next message as it is, encoded, in place of what is in `to`; waits until there is one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_bytes_into(&mut self, to: &mut Vec<u8>) -> Result<()> {
        let record = self.next(Deadline::NEVER)?;
        to.clear();
        self.0.core.append(record, to)?;
        self.advance(record);
        self.free();
        Ok(())
    }

    /// The next message, where it lies.
    #[inline(always)]
    fn next(&mut self, deadline: Deadline) -> Quick<Record> {
        self.0.check()?;
        if self.0.theirs.is_at(self.0.mine) {
            self.make_sure(deadline)?;
        }
        let left = self.0.core.distance(self.0.mine, self.0.theirs)?;
        self.0.core.record(self.0.mine, left)
    }

    /// There is something, or else an error.
    #[inline]
    fn make_sure(&mut self, deadline: Deadline) -> Quick<()> {
        // Acquire: pairs with the Release that published what is there.
        self.0.theirs = self.0.core.tail().open();
        if self.0.theirs.is_at(self.0.mine) { self.wait_for_more(deadline) } else { Ok(()) }
    }

    #[cold]
    fn wait_for_more(&mut self, deadline: Deadline) -> Quick<()> {
        let (core, mine) = (&self.0.core, self.0.mine);
        let is_filled = || !core.tail().is_at(mine);
        let left = || {
            let error = if core.tail().is_closed() {
                Error::Closed
            } else if !core.is_anybody_left(Roles::PRODUCER)? {
                Error::Disconnected
            } else {
                return Ok(());
            };
            // It may have put something just before.
            if is_filled() { Ok(()) } else { Err(error.into()) }
        };
        if deadline.is_now() {
            let is_due = core.tail().is_closed() || !matches!(core.is_anybody_left_since(Roles::PRODUCER), Ok(true));
            if is_due || core.is_look_due() {
                left().inspect_err(|_| core.look_again_soon())?;
            }
            if !is_filled() {
                return Err(Error::WouldBlock.into());
            }
        } else {
            let ready = || Ok(is_filled() || core.tail().is_closed());
            core.wait(&core.view.end.filled, &core.view.counts.get_waits, &core.pace, deadline, ready, left)?;
            if !is_filled() {
                left()?;
            }
        }
        self.0.theirs = core.tail().open();
        Ok(())
    }

    /// Its last byte has been used.
    #[inline(always)]
    fn advance(&mut self, record: Record) {
        if record.header.is_extent() {
            self.free_long(record);
        }
        self.0.mine = record.at.after(record.header.size(), 1);
    }

    /// What is long is taken before its memory is given back.
    #[cold]
    fn free_long(&mut self, record: Record) {
        let (index, _) = self.0.core.extent_of(record);
        self.0.mine = record.at.after(record.header.size(), 1);
        self.free();
        self.0.core.free_queued(index, record.at);
    }

    /// Gives back the space: the last store of a get.
    #[inline(always)]
    fn free(&mut self) {
        crash_point!("spsc.copied");
        let head = &self.0.core.view.head;
        // Release: the bytes before it have been read.
        head.head.store(self.0.mine.0, Ordering::Release);
        crash_point!("spsc.freed");
        self.0.order();
        head.freed.wake();
    }
}

#[cfg(all(test, loom))]
#[path = "model/single.rs"]
mod checks;
