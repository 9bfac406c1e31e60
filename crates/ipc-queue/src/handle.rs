//! A handle for one end of a queue, or both: what `Queue`, `Producer` and `Consumer` have in common.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ipc_core::{Deadline, Decode, Encode, Role, Roles, Segment, explain};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::codec::{Of, contents, decode, encode, encoded, with_scratch};
use crate::core::Core;
use crate::error::Quick;
use crate::in_place::Peek;
use crate::layout::Header;
use crate::settings::Settings;
use crate::take::{Taken, Want};
use crate::{DeadLetter, Error, Lease, PutError, PutManyError};

pub(crate) struct End<T, C> {
    pub(crate) core: Arc<Core>,
    role: Option<Role>,
    of: Of<T, C>,
}

impl<T, C> End<T, C> {
    pub(crate) fn create(settings: &Settings, is_single: bool) -> Quick<End<T, C>> {
        let settings = settings.checked()?;
        let segment = Segment::sparse(settings.layout())?;
        End::with(Core::create(&segment, settings, contents::<T, C>(), is_single)?, Roles::BOTH)
    }

    pub(crate) fn create_named(name: &str, settings: &Settings, ownership: ipc_core::Ownership) -> Quick<End<T, C>> {
        let settings = settings.checked()?;
        let make = |segment: &Segment| -> Quick<End<T, C>> {
            End::with(Core::create(segment, settings, contents::<T, C>(), false)?, Roles::BOTH)
        };
        Segment::create_named_filled(name, settings.layout(), ownership, make)
    }

    pub(crate) fn open_named(name: &str) -> Quick<End<T, C>> {
        let segment = Segment::open_named(name)?;
        End::with(Core::open(&segment, contents::<T, C>(), false)?, Roles::BOTH)
    }

    fn with(core: Core, roles: Roles) -> Quick<End<T, C>> {
        let role = Role::new(core.segment(), roles)?;
        Ok(End { core: shared(core), role: Some(role), of: Of::default() })
    }

    /// Another handle for the same queue.
    pub(crate) fn as_role(&self, roles: Roles) -> End<T, C> {
        End { core: Arc::clone(&self.core), role: Some(self.role().part(roles)), of: Of::default() }
    }

    pub(crate) fn received(role: Role, is_single: bool) -> Quick<End<T, C>> {
        let core = Core::open(role.segment(), contents::<T, C>(), is_single)?;
        Ok(End { core: shared(core), role: Some(role), of: Of::default() })
    }

    pub(crate) fn role(&self) -> &Role {
        self.role.as_ref().expect("a handle has its role until it is dropped")
    }
}

/// What this process has of a queue is there once, however often a handle arrives: tasks that a thread has taken belong to the queue, not
/// to the handle.
fn shared(core: Core) -> Arc<Core> {
    static CORES: Mutex<BTreeMap<u64, Weak<Core>>> = Mutex::new(BTreeMap::new());
    let mut cores = CORES.lock().unwrap_or_else(PoisonError::into_inner);
    cores.retain(|_, core| core.strong_count() > 0);
    if let Some(known) =
        cores.get(&core.me()).and_then(Weak::upgrade).filter(|known| std::ptr::eq(&*known.view, &*core.view))
    {
        return known;
    }
    let core = Arc::new(core);
    cores.insert(core.me(), Arc::downgrade(&core));
    core
}

impl<T, C> Clone for End<T, C> {
    fn clone(&self) -> End<T, C> {
        End { core: Arc::clone(&self.core), role: self.role.clone(), of: Of::default() }
    }
}

impl<T, C> Drop for End<T, C> {
    fn drop(&mut self) {
        let Some(role) = self.role.take() else { return };
        let roles = role.roles();
        drop(role);
        let segment = self.core.segment();
        let is_last = [Roles::PRODUCER, Roles::CONSUMER]
            .iter()
            .any(|one| (*one == roles || roles == Roles::BOTH) && segment.own_roles(*one) == 0);
        if is_last && segment.is_original() {
            self.core.depart();
        }
    }
}

impl<T, C> Serialize for End<T, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.role().serialize(serializer)
    }
}

impl<T, C> End<T, C> {
    /// What arrives must be the end that is expected.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(roles: Roles, deserializer: D) -> Result<End<T, C>, D::Error> {
        let role = Role::deserialize(deserializer)?;
        let is_other = role.roles() != roles;
        let end = if is_other { Err(Error::OtherEnd.into()) } else { End::received(role, false) };
        end.map_err(|error| de::Error::custom(explain(&*error)))
    }
}

/// What goes in.
impl<T, C: Encode<T>> End<T, C> {
    #[inline]
    pub(crate) fn put<B: std::borrow::Borrow<T>>(&self, value: B, deadline: Deadline) -> Result<(), PutError<B>> {
        match encoded::<T, C, _>(value.borrow(), |bytes| self.core.put(bytes, deadline)) {
            Ok(()) => Ok(()),
            Err(error) => Err(PutError { value, error: *error }),
        }
    }

    pub(crate) fn put_many<B: std::borrow::Borrow<T>>(
        &self,
        values: &[B],
        deadline: Deadline,
    ) -> Result<(), PutManyError> {
        let mut put = 0;
        while put < values.len() {
            match self.put_some(&values[put..], deadline) {
                Ok(some) => put += some,
                Err(error) => return Err(PutManyError { put, error: *error }),
            }
        }
        Ok(())
    }

    /// Puts at least one of several values. Returns how many.
    fn put_some<B: std::borrow::Borrow<T>>(&self, values: &[B], deadline: Deadline) -> Quick<usize> {
        let max = self.core.settings.max_record().min(self.core.settings.max_message);
        let fits = |bytes: &&[u8]| bytes.len() as u64 <= max;
        if C::as_bytes(values[0].borrow()).is_some() {
            // Collected first: what a value's own code does must not happen under the lock.
            let mut slices: [&[u8]; AT_ONCE] = [&[]; AT_ONCE];
            let mut count = 0;
            let bytes = values.iter().map_while(|value| C::as_bytes(value.borrow()).filter(fits));
            for (slot, bytes) in slices.iter_mut().zip(bytes) {
                (*slot, count) = (bytes, count + 1);
            }
            let put = self.core.put_batch(slices[..count].iter().copied(), deadline)?;
            return if put == 0 { self.put_first(values, deadline) } else { Ok(put) };
        }
        let mut result = Ok(0);
        with_scratch(|scratch| result = self.put_some_encoded(values, max, scratch, deadline));
        result
    }

    fn put_some_encoded<B: std::borrow::Borrow<T>>(
        &self,
        values: &[B],
        max: u64,
        scratch: &mut Vec<u8>,
        deadline: Deadline,
    ) -> Quick<usize> {
        // Each with its length before it, as many as fit into a part of the ring.
        let mut error = None;
        for value in values {
            let start = scratch.len();
            scratch.extend_from_slice(&[0; 8]);
            if let Err(failed) = encode::<T, C>(value.borrow(), scratch) {
                error = Some(failed);
                scratch.truncate(start);
                break;
            }
            let len = scratch.len() - start - 8;
            if len as u64 > max {
                scratch.truncate(start);
                break;
            }
            scratch[start..start + 8].copy_from_slice(&(len as u64).to_ne_bytes());
            if scratch.len() as u64 >= max {
                break;
            }
        }
        let put = self.core.put_batch(Framed(scratch), deadline)?;
        match error {
            _ if put > 0 => Ok(put),
            Some(error) => Err(error),
            None => self.put_first(values, deadline),
        }
    }

    /// The first one, which is long.
    fn put_first<B: std::borrow::Borrow<T>>(&self, values: &[B], deadline: Deadline) -> Quick<usize> {
        encoded::<T, C, _>(values[0].borrow(), |bytes| self.core.put(bytes, deadline))?;
        Ok(1)
    }
}

/// How many values are put at once, at most.
const AT_ONCE: usize = 64;

/// Messages with their lengths before them.
#[derive(Clone, Copy)]
struct Framed<'a>(&'a [u8]);

impl<'a> Iterator for Framed<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first_chunk::<8>()?;
        let (bytes, rest) = rest.split_at_checked(u64::from_ne_bytes(*len) as usize)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// What comes out.
impl<T, C: Decode<T>> End<T, C> {
    #[inline]
    pub(crate) fn get(&self, deadline: Deadline) -> Quick<T> {
        let mut taken = Taken::nothing(&self.core);
        self.core.take(&mut taken, Want::ONE, deadline)?;
        let mut value = None;
        with_scratch(|scratch| {
            value = Some(match taken.one(scratch) {
                Ok(()) => decode::<T, C>(scratch),
                Err(error) => Err(error),
            });
        });
        let value = value.unwrap_or_else(|| Err(Error::NOTHING.into()))?;
        taken.finish();
        Ok(value)
    }

    pub(crate) fn get_many(&self, most: usize, deadline: Deadline) -> Quick<Vec<T>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut taken = Taken::nothing(&self.core);
        self.core.take(&mut taken, Want { most: most as u64, keep: false }, deadline)?;
        let mut values = Vec::with_capacity(taken.count().min(1 << 16));
        let mut decoded = Ok(());
        with_scratch(|scratch| {
            decoded = taken.each(
                scratch,
                #[inline(always)]
                |bytes| {
                    values.push(decode::<T, C>(bytes)?);
                    Ok(())
                },
            );
        });
        match decoded {
            Ok(()) => taken.finish(),
            Err(error) if values.is_empty() => {
                taken.give_back_after(1);
                return Err(error);
            }
            Err(_) => taken.give_back_after(values.len()), // the next call finds it
        }
        Ok(values)
    }

    #[inline(always)] // else the lease is moved as a whole right after it was put together in pieces
    pub(crate) fn lease(&self, deadline: Deadline) -> Quick<Lease<T>> {
        let core = &self.core;
        let mut taken = Taken::nothing(core);
        core.take(&mut taken, Want { most: 1, keep: true }, deadline)?;
        let (lease, deliveries) = (taken.lease, taken.deliveries());
        let mut value = None;
        with_scratch(|scratch| {
            let mut decoded = match taken.one(scratch) {
                Ok(()) => decode::<T, C>(scratch),
                Err(error) => Err(error),
            };
            if decoded.is_ok() {
                if let Err(error) = core.keep(&mut taken, scratch) {
                    decoded = Err(error);
                }
            }
            value = Some(decoded);
        });
        let value = value.unwrap_or_else(|| Err(Error::NOTHING.into()))?;
        Ok(Lease::new(value, Arc::clone(core), lease, deliveries))
    }

    pub(crate) fn take_dead_letters(&self) -> Quick<Vec<DeadLetter<T>>> {
        let mut letters = Vec::new();
        let taken = self.core.take_dead(|bytes, deliveries| {
            letters.push(DeadLetter {
                value: ipc_core::without_handles(|| C::decode(&bytes)),
                bytes,
                deliveries: deliveries.try_into().unwrap_or(u32::MAX),
            });
        });
        match taken {
            Err(error) if letters.is_empty() => Err(error),
            _ => Ok(letters), // those that could be read are taken
        }
    }
}

impl<T, C> End<T, C> {
    pub(crate) fn get_bytes_into(&self, to: &mut Vec<u8>, deadline: Deadline) -> Quick<()> {
        let mut taken = Taken::nothing(&self.core);
        self.core.take(&mut taken, Want::ONE, deadline)?;
        taken.one(to)?;
        taken.finish();
        Ok(())
    }

    pub(crate) fn peek(&self, deadline: Deadline) -> Quick<Peek<'_>> {
        let mut taken = Taken::nothing(&self.core);
        self.core.take(&mut taken, Want::ONE, deadline)?;
        Ok(Peek::new(&self.core, taken)?)
    }

    pub(crate) fn stats(&self) -> Quick<Stats> {
        let core = &self.core;
        core.segment().check_fork()?;
        let count = |word: &crate::shim::AtomicU64| word.load(std::sync::atomic::Ordering::Relaxed);
        let counts = &core.view.counts;
        Ok(Stats {
            items: core.len(),
            bytes: core.tail().bytes_since(core.head()),
            unfinished: core.unfinished(),
            dead_letters: count(&core.view.settings.dead),
            put_waits: count(&counts.put_waits),
            get_waits: count(&counts.get_waits),
            recoveries: count(&counts.recoveries),
            redeliveries: count(&counts.redeliveries),
            participants: core.segment().participants()?,
            memory: core.segment().memory()?,
        })
    }

    pub(crate) fn is_full(&self) -> bool {
        !self.core.has_room(Header::size_of(1))
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        let items = self.core.settings.items as usize;
        (items != Settings::MAX_ITEMS).then_some(items)
    }

    /// Waits until all is done.
    pub(crate) fn join(&self, timeout: Option<Duration>) -> Quick<()> {
        let core = &self.core;
        core.segment().check_fork()?;
        let deadline = timeout.map_or(Deadline::NEVER, Deadline::after);
        core.wait(
            &core.view.head.done,
            &core.view.counts.get_waits,
            &core.pace,
            deadline,
            || Ok(core.unfinished() == 0),
            || {
                core.look_for_the_dead()?;
                let left = core.is_anybody_left(Roles::CONSUMER)? && core.could_be_ended()? || core.unfinished() == 0;
                if left { Ok(()) } else { Err(Error::Disconnected.into()) }
            },
        )
    }
}

/// What goes on in a queue, as it was just now. The counts of what has happened may miss what a killed process was doing.
///
/// ```
/// # fn main() -> ipc_queue::Result<()> {
/// let queue = ipc_queue::Queue::<u32>::new()?;
/// queue.put_many(&[1, 2, 3])?;
/// let lease = queue.lease()?;
/// let stats = queue.stats()?;
/// assert_eq!((stats.items, stats.unfinished, stats.participants), (2, 3, 1));
/// drop(lease);
/// assert_eq!(*queue.lease()?, 1);
/// assert_eq!(queue.stats()?.redeliveries, 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many messages there are to be taken.
    pub items: usize,
    /// How many bytes of the ring they take, and those that are just being taken.
    pub bytes: u64,
    /// Messages that are not done with: in the queue, just being taken, or under a lease.
    pub unfinished: u64,
    /// How many dead letters there are.
    pub dead_letters: u64,
    /// How often a producer went to sleep.
    pub put_waits: u64,
    /// How often a consumer went to sleep.
    pub get_waits: u64,
    /// How often something was put right that a dead process had left: a lock, a message, a lease.
    pub recoveries: u64,
    /// How often a message was delivered again.
    pub redeliveries: u64,
    /// How many processes have the queue.
    pub participants: usize,
    /// How many bytes of memory the queue takes.
    pub memory: u64,
}
