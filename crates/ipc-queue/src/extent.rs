//! Long messages: each in a place of its own in the sparse end of the queue's file, written and read by system calls. So a lack of memory
//! is an error and no signal, and what has been read gives its memory back at once.
//!
//! ```text
//! owner word of an extent
//!   0                  free
//!   n, below 2⁶²       participant n writes it, or is freeing it
//!   1 << 63 | place    it belongs to the message at that place in the ring
//!   1 << 62 | lease    it belongs to that lease
//! ```
//! A word changes before that which it names comes into being: the message is published, the lease kept. So an extent whose message
//! or lease is not there, or not any more, belongs to nobody, and is freed by whoever finds it.

use std::sync::atomic::{AtomicU64, Ordering};

use ipc_core::{Deadline, Roles, crash_point};

use crate::Error;
use crate::core::Core;
use crate::error::Quick;
use crate::layout::{EXTENTS, LeaseField};
use crate::place::Place;
use crate::put::Message;

const QUEUED: u64 = 1 << 63;
const LEASED: u64 = 1 << 62;
/// How many of the longest messages all extents may take together.
const MOST: u64 = 4;

/// An extent of this process. Unless the message it is for gets into the queue, it is freed.
pub(crate) struct Extent<'a> {
    core: &'a Core,
    index: usize,
    len: u64,
    /// What its owner word is, as long as nobody else has claimed it.
    word: std::cell::Cell<u64>,
    is_handed_on: std::cell::Cell<bool>,
}

impl<'a> Extent<'a> {
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// It is the message's at this place now, which is going to be published.
    pub(crate) fn queue(&self, at: Place) {
        self.word.set(QUEUED | at.open().0 >> 1);
        self.core.extent_words().0[self.index].store(self.word.get(), Ordering::Release);
    }

    /// Its message is going to be in the queue.
    pub(crate) fn hand_on(&self) {
        self.is_handed_on.set(true);
    }

    /// It is the lease's now.
    pub(crate) fn lease(self, lease: usize) {
        self.core.extent_words().0[self.index].store(LEASED | lease as u64, Ordering::Release);
        self.hand_on();
    }
}

impl Drop for Extent<'_> {
    fn drop(&mut self) {
        let core = self.core;
        if self.is_handed_on.get() || !core.segment().is_original() {
            return;
        }
        // Somebody may have found it behind the tail, and claimed it.
        let word = &core.extent_words().0[self.index];
        if word.compare_exchange(self.word.get(), core.me(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            core.free_extent(self.index);
        }
    }
}

impl Core {
    /// Puts a message that does not go through the ring.
    #[cold]
    pub(crate) fn put_long(&self, bytes: &[u8], deadline: Deadline) -> Quick<()> {
        let len = bytes.len() as u64;
        if len > self.settings.max_message {
            return Err(Error::TooLarge { len, max: self.settings.max_message }.into());
        }
        let extent = self.write_extent(bytes, deadline)?;
        let put = self.put_message(&Message::Extent(&extent), deadline);
        if put.is_ok() {
            extent.hand_on();
        }
        put
    }

    /// Writes bytes into an extent; waits until there is a free one.
    pub(crate) fn write_extent(&self, bytes: &[u8], deadline: Deadline) -> Quick<Extent<'_>> {
        let len = bytes.len() as u64;
        let extent = match self.claim_extent(len, self.most_in_extents())? {
            Some(extent) => extent,
            None => self.wait_for_extent(len, deadline)?,
        };
        self.fill_extent(extent, bytes)
    }

    /// The same for a lease, which does not wait: its own leases may be what takes the room.
    pub(crate) fn write_extent_of_lease(&self, bytes: &[u8]) -> Quick<Extent<'_>> {
        let len = bytes.len() as u64;
        let mut extent = self.claim_extent(len, u64::MAX)?;
        if extent.is_none() {
            self.look_for_the_dead()?;
            extent = self.claim_extent(len, u64::MAX)?;
        }
        self.fill_extent(extent.ok_or_else(|| Error::LeaseLimit { max: EXTENTS })?, bytes)
    }

    fn most_in_extents(&self) -> u64 {
        self.settings.max_message.max(self.settings.max_record()).saturating_mul(MOST)
    }

    fn fill_extent<'a>(&'a self, extent: Extent<'a>, bytes: &[u8]) -> Quick<Extent<'a>> {
        let len = extent.len;
        crash_point!("extent.claimed");
        match self.segment().write_end(self.extent_offset(extent.index), bytes) {
            Ok(()) => {
                crash_point!("extent.written");
                Ok(extent)
            }
            Err(ipc_core::Error::Io { source, .. }) => Err(Error::NoMemory { len, source }.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn extent_offset(&self, index: usize) -> u64 {
        self.segment().end().start + index as u64 * self.settings.stride()
    }

    /// Takes a free extent, unless all of messages in the queue would take more than `most` together.
    fn claim_extent(&self, len: u64, most: u64) -> Quick<Option<Extent<'_>>> {
        self.segment().check_fork()?;
        let (owners, lens) = self.extent_words();
        let mut free = None;
        let mut used = 0u64;
        // Some are kept for leases: else what waits in the queue could keep everybody from taking it.
        let for_all = if most == u64::MAX { owners.len() } else { owners.len() / 4 * 3 };
        for (index, owner) in owners.iter().enumerate() {
            let owner = owner.load(Ordering::SeqCst);
            let is_leased = owner & QUEUED == 0 && owner & LEASED != 0;
            if owner != 0 && !is_leased {
                used = used.saturating_add(lens[index].load(Ordering::Relaxed));
            } else if owner == 0 && free.is_none() && index < for_all {
                free = Some(index);
            }
        }
        let Some(index) = free else { return Ok(None) };
        if used.saturating_add(len) > most {
            return Ok(None);
        }
        // Of several that claim at the same time each gets another one: together they may take a little more than they should.
        let extents = &self.view.consumers.extents;
        let claimed = owners[index..for_all].iter().enumerate().position(|(after, owner)| {
            if owner.load(Ordering::Relaxed) != 0 {
                return false;
            }
            // Before it is claimed: who looks for strays looks up to there.
            extents.fetch_max((index + after + 1) as u64, Ordering::SeqCst);
            owner.compare_exchange(0, self.me(), Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        Ok(claimed.map(|after| {
            let index = index + after;
            lens[index].store(len, Ordering::Relaxed);
            Extent { core: self, index, len, word: self.me().into(), is_handed_on: false.into() }
        }))
    }

    fn wait_for_extent(&self, len: u64, deadline: Deadline) -> Quick<Extent<'_>> {
        self.look_for_the_dead()?;
        let mut extent = self.claim_extent(len, self.most_in_extents())?;
        if extent.is_none() && deadline.is_now() {
            return Err(Error::WouldBlock.into());
        }
        if extent.is_none() {
            self.wait(
                &self.view.head.freed,
                &self.view.counts.put_waits,
                &self.room_pace,
                deadline,
                || {
                    if self.tail().is_closed() {
                        return Err(Error::Closed.into());
                    }
                    extent = self.claim_extent(len, self.most_in_extents())?;
                    Ok(extent.is_some())
                },
                || {
                    self.look_for_the_dead()?;
                    let left = self.is_anybody_left(Roles::CONSUMER)? && self.could_be_ended()?;
                    if left { Ok(()) } else { Err(Error::Disconnected.into()) }
                },
            )?;
        }
        extent.ok_or_else(|| Error::Damaged("an extent came and went").into())
    }

    /// Appends the bytes of an extent to a vector.
    pub(crate) fn read_extent(&self, index: u64, len: u64, to: &mut Vec<u8>) -> Quick<()> {
        let offset = self.extent_offset(self.extent_index(index, len)?);
        // A length that is a lie must not take memory: so many bytes have been written there, for which somebody has paid.
        if !self.segment().is_written(offset, len)? {
            return Err(Error::Damaged("a message is not there").into());
        }
        let start = to.len();
        to.try_reserve_exact(len as usize)
            .map_err(|error| Error::NoMemory { len, source: std::io::Error::other(error) })?;
        to.resize(start + len as usize, 0);
        Ok(self.segment().read_end(offset, &mut to[start..])?)
    }

    /// Copies some of the bytes of an extent.
    pub(crate) fn read_extent_at(&self, index: u64, offset: u64, to: &mut [u8]) -> Quick<()> {
        let index = self.extent_index(index, offset.saturating_add(to.len() as u64))?;
        Ok(self.segment().read_end(self.extent_offset(index) + offset, to)?)
    }

    fn extent_index(&self, index: u64, len: u64) -> Quick<usize> {
        if index >= EXTENTS || len > self.settings.stride() {
            return Err(Error::Damaged("a message lies in an extent that there is not").into());
        }
        Ok(index as usize)
    }

    /// An extent that is in a message becomes a lease's.
    pub(crate) fn lease_extent(&self, index: u64, lease: usize) {
        if let Some(owner) = self.extent_words().0.get(index as usize) {
            owner.store(LEASED | lease as u64, Ordering::Release);
        }
    }

    /// And back: the lease did not come about.
    pub(crate) fn queue_extent(&self, index: u64, at: Place) {
        if let Some(owner) = self.extent_words().0.get(index as usize) {
            owner.store(QUEUED | at.open().0 >> 1, Ordering::Release);
        }
    }

    /// Frees the extent of a message that has been used up and is in no hand any more.
    pub(crate) fn free_queued(&self, index: u64, at: Place) {
        let Some(word) = self.extent_words().0.get(index as usize) else { return };
        // Whoever looked for strays in between may have it already.
        let was = QUEUED | at.open().0 >> 1;
        if word.compare_exchange(was, self.me(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.free_extent(index as usize);
        }
    }

    /// Frees the extent of a lease that this process has.
    pub(crate) fn free_leased(&self, index: usize, lease: usize) {
        let word = self.extent_words().0.get(index);
        if word.is_some_and(|word| word.load(Ordering::Acquire) == LEASED | lease as u64) {
            self.free_extent(index);
        }
    }

    /// Gives the memory of an extent back, and then the extent.
    fn free_extent(&self, index: usize) {
        let (owners, lens) = self.extent_words();
        let Some(owner) = owners.get(index) else { return };
        crash_point!("extent.freeing");
        // What was written there: also a writer that failed had noted the length before.
        let len = lens[index].load(Ordering::Relaxed).min(self.settings.stride());
        if self.segment().free_end(self.extent_offset(index), len.next_multiple_of(crate::settings::PAGE)).is_ok() {
            crash_point!("extent.punched");
            owner.store(0, Ordering::SeqCst); // before the look for who waits for one
            self.view.head.freed.wake();
        }
    }

    /// Frees what belongs to a message that was used up, to a lease that is over, or to a dead writer. Under the consumers' lock, hence
    /// nobody else does the same.
    pub(crate) fn free_stray_extents(&self, mut is_alive: impl FnMut(u64) -> Quick<bool>) -> Quick<()> {
        let head = self.head();
        for (index, word) in self.used_extents().iter().enumerate() {
            let owner = word.load(Ordering::Acquire);
            let is_stray = match owner {
                0 => false,
                owner if owner & QUEUED != 0 => {
                    let place = Place((owner & !QUEUED) << 1);
                    head.is_after(place)
                }
                owner if owner & LEASED != 0 => self.is_lease_over((owner & !LEASED) as usize, index),
                owner => !is_alive(owner)?,
            };
            // Claimed first: its owner may just be freeing it, too.
            if is_stray && word.compare_exchange(owner, self.me(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                self.free_extent(index);
            }
        }
        Ok(())
    }

    /// The owners of those that have ever been in use.
    fn used_extents(&self) -> &[AtomicU64] {
        let used = self.view.consumers.extents.load(Ordering::SeqCst).min(EXTENTS) as usize;
        &self.extent_words().0[..used]
    }

    /// Whether a lease has no more to do with an extent.
    fn is_lease_over(&self, lease: usize, extent: usize) -> bool {
        lease as u64 >= self.settings.leases
            || self.lease_owner(lease).load(Ordering::Acquire) == 0
            || self.lease_field(lease, LeaseField::Extent).load(Ordering::Relaxed) != extent as u64 + 1
    }

    /// Frees what belongs to messages that a dead producer wrote behind the tail and never published. Under the producers' lock.
    pub(crate) fn free_unpublished(&self, tail: Place) {
        for (index, word) in self.used_extents().iter().enumerate() {
            let owner = word.load(Ordering::Acquire);
            let is_queued = owner & QUEUED != 0;
            let place = Place((owner & !QUEUED) << 1);
            if is_queued && !tail.is_after(place) {
                let claimed = word.compare_exchange(owner, self.me(), Ordering::AcqRel, Ordering::Relaxed);
                claimed.is_ok().then(|| self.free_extent(index));
            }
        }
    }
}
