//! Leases: messages that stay the queue's until they are acknowledged.
//!
//! ```text
//! owner word of a lease
//!   0               free
//!   PENDING | n     participant n fills it, and the message still is in its hand; or n is done with it, and it becomes free
//!   n               participant n has the message
//!   RETURNED        it goes to whoever asks next
//!   DEAD            it was delivered too often
//! ```

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipc_core::{CodecError, crash_point};

use crate::core::Core;
use crate::error::Quick;
use crate::layout::{DEAD, EXTENTS, INLINE, LeaseField, PENDING, RETURNED};
use crate::take::{NO_LEASE, Source, Taken, Want};
use crate::{Error, Result};

impl Core {
    /// Takes a free lease. Under the consumers' lock.
    pub(crate) fn reserve_lease(&self) -> Quick<usize> {
        let owners = self.lease_owners();
        let hint = &self.view.consumers.lease_hint;
        let from = (hint.load(Ordering::Relaxed) as usize).min(owners.len());
        let is_free = |owner: &AtomicU64| owner.load(Ordering::Acquire) == 0;
        let behind = owners[from..].iter().position(is_free).map(|index| from + index);
        let lease = behind.or_else(|| owners[..from].iter().position(is_free));
        let lease = match lease {
            Some(lease) => lease,
            None => {
                self.recover()?; // what the dead were filling is free again; what they had goes to others first
                let free = owners.iter().position(is_free);
                free.ok_or(Error::LeaseLimit { max: self.settings.leases })?
            }
        };
        self.lease_field(lease, LeaseField::Extent).store(0, Ordering::Relaxed);
        owners[lease].store(PENDING | self.me(), Ordering::Release);
        // The same one again, if it is free by then: its bytes are in the cache.
        hint.store(lease as u64, Ordering::Relaxed);
        Ok(lease)
    }

    /// The same if one is wanted.
    #[inline(always)]
    pub(crate) fn reserve_lease_if(&self, wanted: bool) -> Quick<usize> {
        if wanted { self.reserve_lease() } else { Ok(NO_LEASE) }
    }

    /// It was not needed.
    pub(crate) fn unreserve_lease(&self, lease: usize) {
        if lease != NO_LEASE {
            self.lease_owner(lease).store(0, Ordering::Release);
        }
    }

    /// Keeps a message that was taken, whose bytes these are, in its lease. If that cannot be, it goes back to the queue.
    pub(crate) fn keep(&self, taken: &mut Taken<'_>, bytes: &[u8]) -> Quick<()> {
        if let Err(error) = self.fill_lease(taken, bytes) {
            self.forgo_lease(taken);
            taken.pass_on(); // nobody has seen it
            return Err(error);
        }
        self.commit_lease(taken, self.me());
        Ok(())
    }

    /// The lease does not come about: first the hand forgets it, else it would be taken for one whose message is in the lease.
    #[cold]
    pub(crate) fn forgo_lease(&self, taken: &mut Taken<'_>) {
        let lease = std::mem::replace(&mut taken.lease, NO_LEASE);
        if let (Source::Ring { hand, .. }, true) = (taken.source, lease != NO_LEASE) {
            self.view.hands[hand].lease.store(0, Ordering::Release);
            self.drop_lease(lease);
        }
    }

    /// Copies a message into its lease; it still is in the hand.
    fn fill_lease(&self, taken: &Taken<'_>, bytes: &[u8]) -> Quick<()> {
        let lease = taken.lease;
        let Source::Ring { hand, start, end } = taken.source else { return Ok(()) }; // it is there already
        let record = self.record(start, end.bytes_since(start))?;
        self.lease_field(lease, LeaseField::Len).store(bytes.len() as u64, Ordering::Relaxed);
        self.lease_field(lease, LeaseField::Deliveries).store(taken.deliveries(), Ordering::Relaxed);
        let order = self.view.hands[hand].order.load(Ordering::Relaxed);
        self.lease_field(lease, LeaseField::Order).store(order, Ordering::Relaxed);
        let extent = self.lease_field(lease, LeaseField::Extent);
        if record.header.is_extent() {
            let (index, _) = self.extent_of(record);
            if index >= EXTENTS {
                return Err(Error::Damaged("a message lies in an extent that there is not").into());
            }
            extent.store(index + 1, Ordering::Relaxed);
            self.lease_extent(index, lease);
        } else if bytes.len() <= INLINE {
            let (mut words, mut whole) = (self.lease_bytes(lease).iter(), bytes.chunks_exact(8));
            for (bytes, word) in (&mut whole).zip(&mut words) {
                word.store(u64::from_ne_bytes(bytes.try_into().unwrap_or_default()), Ordering::Relaxed);
            }
            if let (rest @ [_, ..], Some(word)) = (whole.remainder(), words.next()) {
                let mut eight = [0; 8];
                eight[..rest.len()].copy_from_slice(rest);
                word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
            }
        } else {
            let written = self.write_extent_of_lease(bytes)?;
            extent.store(written.index() as u64 + 1, Ordering::Relaxed);
            written.lease(lease);
        }
        crash_point!("lease.stored");
        Ok(())
    }

    /// The lease is filled: from now on it has the message. `owner` is whose it is.
    fn commit_lease(&self, taken: &mut Taken<'_>, owner: u64) {
        let is_new = self.lease_owner(taken.lease).load(Ordering::Relaxed) != owner;
        if is_new {
            // Release: until now the message is in the hand.
            self.lease_owner(taken.lease).store(owner, Ordering::Release);
            crash_point!("lease.kept");
        }
        if let Source::Ring { hand, end, .. } = taken.forget() {
            self.view.leave_hand(hand, end);
            self.view.free();
        }
    }

    /// A message that was delivered too often becomes a dead letter. Returns whether it could: if there is no room it is delivered once
    /// more.
    #[cold]
    pub(crate) fn bury(&self, taken: &mut Taken<'_>, want: Want) -> Quick<bool> {
        let mut bytes = Vec::new();
        taken.one(&mut bytes)?;
        if self.fill_lease(taken, &bytes).is_err() {
            if !want.keep {
                self.forgo_lease(taken);
            }
            return Ok(false);
        }
        // Counted first: of two that come at the same time neither may find room for one more. A kill is repaired by counting.
        self.view.settings.dead.fetch_add(1, Ordering::SeqCst);
        self.commit_lease(taken, DEAD);
        crash_point!("dead-letter.marked");
        self.view.head.done.wake();
        Ok(true)
    }

    /// A lease that has come back too often. Under the lock.
    pub(crate) fn mark_dead(&self, lease: usize) {
        self.view.settings.dead.fetch_add(1, Ordering::SeqCst);
        self.lease_owner(lease).store(DEAD, Ordering::SeqCst);
        crash_point!("dead-letter.marked");
        self.view.head.done.wake();
    }

    pub(crate) fn count_dead_letters(&self) {
        let dead = self.lease_owners().iter().filter(|owner| owner.load(Ordering::Acquire) == DEAD).count();
        self.view.settings.dead.store(dead as u64, Ordering::SeqCst);
    }

    /// Appends the bytes of a message that is in a lease to a vector.
    pub(crate) fn append_lease(&self, lease: usize, to: &mut Vec<u8>) -> Quick<()> {
        let len = self.lease_field(lease, LeaseField::Len).load(Ordering::Relaxed);
        let extent = self.lease_field(lease, LeaseField::Extent).load(Ordering::Relaxed);
        if extent != 0 {
            return self.read_extent(extent - 1, len, to);
        }
        if len > INLINE as u64 {
            return Err(Error::Damaged("a lease has an impossible length").into());
        }
        let end = to.len() + len as usize;
        for word in &self.lease_bytes(lease)[..(len as usize).div_ceil(8)] {
            to.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        to.truncate(end);
        Ok(())
    }

    /// The message of a lease of this process is done with.
    pub(crate) fn end_lease(&self, lease: usize) {
        if self.lease_field(lease, LeaseField::Extent).load(Ordering::Relaxed) != 0 {
            // This is the moment. Whoever finds it so, and its owner dead, goes on from here.
            self.lease_owner(lease).store(PENDING | self.me(), Ordering::Release);
            crash_point!("lease.acked");
        }
        self.drop_lease(lease);
        crash_point!("lease.acked");
        let (head, end) = (&self.view.head, &self.view.end);
        head.done.wake();
        if self.tail().is_closed() {
            end.filled.wake(); // others wait in case it comes back
        }
    }

    /// Makes a lease free that nobody has.
    pub(crate) fn drop_lease(&self, lease: usize) {
        let extent = self.lease_field(lease, LeaseField::Extent).load(Ordering::Relaxed);
        if extent != 0 {
            self.free_leased(extent as usize - 1, lease);
        }
        // SeqCst: before the look for who waits until all is done.
        self.lease_owner(lease).store(0, Ordering::SeqCst);
    }

    /// Takes all dead letters out, one after the other. One that cannot be read stays.
    pub(crate) fn take_dead(&self, mut f: impl FnMut(Vec<u8>, u64)) -> Quick<()> {
        self.segment().check_fork()?;
        let mut result = Ok(());
        for (lease, owner) in self.lease_owners().iter().enumerate() {
            if owner.compare_exchange(DEAD, self.me(), Ordering::AcqRel, Ordering::Relaxed).is_err() {
                continue;
            }
            let mut bytes = Vec::new();
            let deliveries = self.lease_field(lease, LeaseField::Deliveries).load(Ordering::Relaxed);
            if let Err(error) = self.append_lease(lease, &mut bytes) {
                owner.store(DEAD, Ordering::Release);
                result = Err(error);
                continue;
            }
            // Also if it panics: then the letter was taken.
            let mut taken = Taken::nothing(self);
            taken.source = Source::Lease(lease);
            f(bytes, deliveries);
            taken.finish();
            let one_less = |dead: u64| Some(dead.saturating_sub(1));
            let _ = self.view.settings.dead.fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_less);
        }
        self.view.head.freed.wake();
        result
    }

    /// A lease of this process goes to whoever asks next.
    pub(crate) fn give_back_lease(&self, lease: usize) {
        let mut taken = Taken::nothing(self);
        taken.source = Source::Lease(lease);
        taken.give_back();
    }
}

/// A message that was taken and stays the queue's until it is [acknowledged](Lease::ack).
///
/// If the process dies first, however it does, the message goes to another receiver, before all others and with a higher number of
/// [`deliveries`](Lease::deliveries); the same if the lease is dropped. So it is delivered at least once: somebody who has done
/// all the work and is killed before `ack` has somebody else do it again.
///
/// A lease belongs to its process, not to the thread, and holds up nobody: its message does not lie in the ring any more. If it is
/// forgotten (`mem::forget`) the message stays with this process until that ends.
///
/// ```
/// use ipc_queue::{Process, Queue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let jobs = Queue::<String>::new()?;
/// jobs.put("render".to_string())?;
/// let victim: Process<()> = Process::spawn(
///     |jobs: Queue<String>| {
///         let _job = jobs.lease().unwrap();
///         std::process::abort(); // in the middle of the work
///     },
///     jobs.clone(),
/// )?;
/// victim.join().unwrap_err();
///
/// let job = jobs.lease()?;
/// assert_eq!((job.as_str(), job.deliveries()), ("render", 2));
/// job.ack()?; // not before the work is done
/// assert_eq!(jobs.stats()?.unfinished, 0);
/// # Ok(()) }
/// ```
#[must_use = "a lease that is dropped goes back to the queue"]
pub struct Lease<T> {
    /// `None` once it was taken out.
    value: Option<T>,
    core: Arc<Core>,
    lease: usize,
    deliveries: u64,
    is_over: bool,
}

impl<T> Lease<T> {
    #[inline(always)]
    pub(crate) fn new(value: T, core: Arc<Core>, lease: usize, deliveries: u64) -> Lease<T> {
        Lease { value: Some(value), core, lease, deliveries, is_over: false }
    }

    /// The message is done with: nobody gets it again.
    ///
    /// # Errors
    /// [`Error::Forked`]: the copy has nothing to acknowledge.
    #[inline]
    pub fn ack(mut self) -> Result<()> {
        self.core.segment().check_fork()?;
        self.is_over = true;
        self.core.end_lease(self.lease);
        Ok(())
    }

    /// The value, and the lease, which stays open.
    pub(crate) fn into_parts(mut self) -> (T, usize) {
        self.is_over = true;
        (self.value.take().expect("a lease has its value until it ends"), self.lease)
    }

    /// How often the message has been delivered, with this time.
    pub fn deliveries(&self) -> u32 {
        self.deliveries.try_into().unwrap_or(u32::MAX)
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("a lease has its value until it ends")
    }
}

impl<T> Drop for Lease<T> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_over && self.core.segment().is_original() {
            self.core.give_back_lease(self.lease);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("value", &self.value)
            .field("deliveries", &self.deliveries)
            .finish_non_exhaustive()
    }
}

/// A message that was delivered as often as [`Settings::max_deliveries`](crate::Settings::max_deliveries) allows, and never
/// acknowledged.
///
/// ```
/// use ipc_queue::{Queue, Settings};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let jobs = Queue::<String>::with(&Settings::new().max_deliveries(1))?;
/// jobs.put("cannot be done".to_string())?;
/// drop(jobs.lease()?);
/// jobs.try_lease().unwrap_err(); // nobody gets it again
/// for letter in jobs.take_dead_letters()? {
///     assert_eq!((letter.value?.as_str(), letter.deliveries), ("cannot be done", 1));
///     assert_eq!(letter.bytes.len(), 15); // as they were in the queue: the length, and the text
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DeadLetter<T> {
    /// The message, if it is one: that it cannot be decoded may be why it is here.
    pub value: Result<T, CodecError>,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How often it was delivered.
    pub deliveries: u32,
}

const _: () = assert!(RETURNED > PENDING);
