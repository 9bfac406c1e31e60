//! The way out: what a consumer takes is in its hand, and still in the ring, until it has used it up.
//!
//! ```text
//! under the lock                         afterwards
//!   note in a hand: from where to where    copy, decode
//!   make the hand one's own                empty the hand: this is the moment at which it is gone
//!   move `taken`                           move `head` up to the earliest hand
//! ```
//! Whoever is killed before `taken` has moved has taken nothing; from then on until the hand is empty, the message is in the hand of
//! a dead process, and goes to somebody else (`recover.rs`).

use std::sync::atomic::{AtomicU64, Ordering};

use ipc_core::{Deadline, Roles, crash_point};
use ipc_sync::mechanism::Locked;

use crate::Error;
use crate::core::{Core, now};
use crate::error::Quick;
use crate::layout::{DEAD, Hand, Header, LeaseField, PENDING, RETURNED};
use crate::place::Place;
use crate::put::AHEAD;

/// How many messages are taken before somebody looks at the clock, whether to look for the dead though nobody has to wait.
const LOOK_EVERY: u64 = 64;
/// How many bytes of a batch the processor is to fetch at once.
const BATCH_AHEAD: u64 = 4096;
/// How often to look for the dead, in ns.
const LOOK_AFTER: u64 = 25_000_000;

/// Messages that this process has taken and not used up. Filled in where it is used, and never moved on the way there, as a
/// [`Room`](crate::put::Room).
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    core: &'a Core,
    pub(crate) source: Source,
    /// The lease into which it goes if it is to be kept, or buried; else [`NO_LEASE`].
    pub(crate) lease: usize,
    /// Whether there may be messages among them that lie in extents.
    pub(crate) has_long: bool,
    /// How many of them have been looked at.
    used: usize,
}

pub(crate) const NO_LEASE: usize = usize::MAX;

/// Where they are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// Nothing was taken, or it is over.
    Nowhere,
    /// In the ring, from one place to another; the hand.
    Ring { hand: usize, start: Place, end: Place },
    /// One, in a lease that was given back.
    Lease(usize),
}

/// A message in the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) header: Header,
    pub(crate) at: Place,
}

/// What somebody wants to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// How many messages at most.
    pub(crate) most: u64,
    /// Whether to keep it, which takes a lease.
    pub(crate) keep: bool,
}

impl Want {
    pub(crate) const ONE: Want = Want { most: 1, keep: false };
}

/// What there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Something,
    /// A message that was delivered too often, and is to become a dead letter.
    ToBury,
    /// Perhaps, but all hands are full.
    NoHand,
}

impl Core {
    /// Takes messages; waits until there is one. With `keep`, the lease comes with it.
    #[inline(always)]
    pub(crate) fn take<'a>(&'a self, taken: &mut Taken<'a>, want: Want, deadline: Deadline) -> Quick<()> {
        match self.try_take(taken, want, deadline)? {
            Found::Something => Ok(()),
            found => self.take_slowly(taken, found, want, deadline),
        }
    }

    #[cold]
    fn take_slowly<'a>(&'a self, taken: &mut Taken<'a>, mut found: Found, want: Want, deadline: Deadline) -> Quick<()> {
        loop {
            match found {
                Found::Something => return Ok(()),
                Found::ToBury if !self.bury(taken, want)? => return Ok(()),
                Found::ToBury => {}
                Found::Nothing => self.wait_for_more(deadline)?,
                Found::NoHand => self.wait_for_hand(deadline)?,
            }
            found = self.try_take(taken, want, deadline)?;
        }
    }

    #[inline(always)]
    fn try_take<'a>(&'a self, taken: &mut Taken<'a>, want: Want, deadline: Deadline) -> Quick<Found> {
        let consumers = &self.view.consumers;
        let locked = self.lock(&consumers.lock, deadline)?;
        let found = self.take_locked(taken, locked, want);
        self.unlock(&consumers.lock, locked);
        found
    }

    #[inline(always)]
    fn take_locked<'a>(&'a self, found: &mut Taken<'a>, locked: Locked, want: Want) -> Quick<Found> {
        let consumers = &self.view.consumers;
        if locked.died().is_some() {
            self.repair_consumers()?;
        }
        let until_look = consumers.until_look.load(Ordering::Relaxed);
        if until_look == 0 {
            consumers.until_look.store(LOOK_EVERY, Ordering::Relaxed);
            self.recover_now_and_then()?;
        } else {
            consumers.until_look.store((until_look - 1).min(LOOK_EVERY), Ordering::Relaxed);
        }
        if consumers.returned.load(Ordering::Relaxed) != 0 {
            let returned = self.take_returned(found, want)?;
            if returned != Found::Nothing {
                return Ok(returned);
            }
        }
        let taken = Place(consumers.taken.load(Ordering::Relaxed));
        let mut tail = Place(consumers.seen_tail.load(Ordering::Relaxed));
        if tail.is_at(taken) || tail.bytes_since(taken) > self.settings.ring {
            // Acquire: pairs with the Release that published what is there.
            tail = self.tail().open();
            consumers.seen_tail.store(tail.0, Ordering::Relaxed);
            if tail.is_at(taken) {
                return Ok(Found::Nothing);
            }
        }
        let mut left = self.distance(taken, tail)?;
        if want.most > 1 {
            self.prefetch(taken, left);
        }
        let (mut end, mut count, mut has_long) = (taken, 0, false);
        loop {
            while left != 0 && count < want.most {
                let header = self.record(end, left)?.header;
                let size = header.size();
                has_long |= header.is_extent();
                (end, left, count) = (end.after(size, 1), left - size, count + 1);
            }
            if count == want.most {
                break;
            }
            // There may be more than was seen the last time.
            tail = self.tail().open();
            consumers.seen_tail.store(tail.0, Ordering::Relaxed);
            left = self.distance(end, tail)?;
            self.distance(taken, tail)?;
            if left == 0 {
                break;
            }
        }
        if left > 2 * AHEAD {
            self.ring.prefetch(end.bytes() + AHEAD, false);
        }
        let lease = match self.reserve_lease_if(want.keep) {
            // To find that out, leases of the dead were given back: these are for taking.
            Err(error)
                if matches!(*error, Error::LeaseLimit { .. }) && consumers.returned.load(Ordering::Relaxed) != 0 =>
            {
                return match self.take_returned(found, want)? {
                    Found::Nothing => Err(error),
                    returned => Ok(returned),
                };
            }
            lease => lease?,
        };
        let Some(hand) = self.view.note(self.me(), taken, end, lease, self.next_order()) else {
            return self.without_hand(lease);
        };
        crash_point!("get.noted");
        // Release: whoever sees that it has moved sees the hand.
        consumers.taken.store(end.0, Ordering::Release);
        crash_point!("get.moved");
        found.source = Source::Ring { hand, start: taken, end };
        (found.lease, found.has_long) = (lease, has_long);
        Ok(Found::Something)
    }

    /// Where each message begins is known only when the one before it has been seen: so that they are not waited for one after the other.
    fn prefetch(&self, from: Place, bytes: u64) {
        (0..bytes.min(BATCH_AHEAD)).step_by(64).for_each(|at| self.ring.prefetch(from.bytes() + at, false));
    }

    #[cold]
    fn recover_now_and_then(&self) -> Quick<()> {
        let looked_at = &self.view.consumers.looked_at;
        let now = now();
        if now.wrapping_sub(looked_at.load(Ordering::Relaxed)) < LOOK_AFTER {
            return Ok(());
        }
        looked_at.store(now, Ordering::Relaxed);
        self.recover()
    }

    /// All hands are full, by the dead, or by many who are just taking something.
    #[cold]
    fn without_hand(&self, lease: usize) -> Quick<Found> {
        self.unreserve_lease(lease);
        self.recover()?;
        Ok(Found::NoHand)
    }

    /// Waits until a hand is empty. Mostly whoever empties one gives back space, too, and so wakes us; else it is found by and by.
    #[cold]
    fn wait_for_hand(&self, deadline: Deadline) -> Quick<()> {
        // What has come back needs no hand of its own.
        let is_empty = || {
            let is_back = self.view.consumers.returned.load(Ordering::SeqCst) != 0;
            Ok(is_back || self.view.hands().any(|hand| hand.owner.load(Ordering::SeqCst) == 0))
        };
        if deadline.is_now() {
            return if is_empty()? { Ok(()) } else { Err(Error::WouldBlock.into()) };
        }
        let (word, waits) = (&self.view.head.freed, &self.view.counts.get_waits);
        self.wait(word, waits, &self.room_pace, deadline, is_empty, || self.look_for_the_dead())
    }

    #[inline]
    pub(crate) fn next_order(&self) -> u64 {
        let order = &self.view.consumers.order;
        let next = order.load(Ordering::Relaxed).wrapping_add(1);
        order.store(next, Ordering::Relaxed);
        next
    }

    /// A message that begins somewhere in the ring; `left` is how many bytes there are.
    #[inline(always)]
    pub(crate) fn record(&self, at: Place, left: u64) -> Quick<Record> {
        let header = Header(self.ring.word(at.bytes()).load(Ordering::Relaxed));
        if header.size() > left || (header.is_extent() && header.len() != 16) {
            return Err(Error::Damaged("a message has an impossible length").into());
        }
        Ok(Record { header, at })
    }

    /// The number of the extent in which a message lies, and its length.
    pub(crate) fn extent_of(&self, record: Record) -> (u64, u64) {
        let word = |offset| self.ring.word(record.at.bytes() + offset).load(Ordering::Relaxed);
        (word(8), word(16))
    }

    /// Waits until there is something to be taken.
    #[cold]
    fn wait_for_more(&self, deadline: Deadline) -> Quick<()> {
        if deadline.is_now() {
            return self.look_again();
        }
        self.wait(
            &self.view.end.filled,
            &self.view.counts.get_waits,
            &self.pace,
            deadline,
            || Ok(self.is_filled() || self.tail().is_closed() && self.is_over()),
            || {
                self.check_producers()?;
                let in_vain = !self.could_be_ended()? && !self.is_filled();
                if in_vain { Err(Error::Disconnected.into()) } else { Ok(()) }
            },
        )?;
        if !self.is_filled() {
            return self.check_end();
        }
        // It comes while the lock is taken.
        let next = self.taken().bytes();
        self.ring.prefetch(next, false);
        self.ring.prefetch(next + 64, false);
        Ok(())
    }

    /// An error if nothing is there, and nothing will ever come.
    fn check_end(&self) -> Quick<()> {
        let error = if self.tail().is_closed() {
            Error::Closed
        } else if !self.is_anybody_left(Roles::PRODUCER)? {
            Error::Disconnected
        } else {
            return Ok(());
        };
        // Somebody may have put something just before.
        if self.is_filled() || !self.is_over() { Ok(()) } else { Err(error.into()) }
    }

    /// Whether nothing of what others have taken can come back.
    pub(crate) fn is_over(&self) -> bool {
        // What was given back counts as well: who did so may not have got so far as to say it.
        let is_others = |owner: u64| owner != 0 && owner != DEAD && owner & !PENDING != self.me();
        // Another thread of this process may be about to leave some of what it has to others.
        let has_more = |hand: &Hand| {
            let count = Place(hand.end.load(Ordering::Relaxed)).items_since(Place(hand.start.load(Ordering::Relaxed)));
            hand.owner.load(Ordering::Acquire) == self.me() && count > 1
        };
        let is_leased = |owner: &AtomicU64| is_others(owner.load(Ordering::Acquire));
        let is_in_hands = self.view.is_in_hands(is_others) || self.view.hands().any(has_more);
        !is_in_hands && !self.lease_owners().iter().any(is_leased)
    }

    /// For one who waits: is anybody left who could put something, and what have the dead taken?
    fn check_producers(&self) -> Quick<()> {
        self.look_for_the_dead()?;
        if self.is_filled() { Ok(()) } else { self.check_end() }
    }

    /// For a call that does not wait: an error, unless there is something to take after all.
    fn look_again(&self) -> Quick<()> {
        let is_due = self.tail().is_closed() || !matches!(self.is_anybody_left_since(Roles::PRODUCER), Ok(true));
        if is_due || self.is_look_due() {
            if let Err(error) = self.check_producers() {
                self.look_again_soon();
                return Err(error);
            }
        }
        if self.is_filled() { Ok(()) } else { Err(Error::WouldBlock.into()) }
    }
}

impl<'a> Taken<'a> {
    /// To be filled in.
    #[inline(always)]
    pub(crate) fn nothing(core: &'a Core) -> Taken<'a> {
        Taken { core, source: Source::Nowhere, lease: NO_LEASE, has_long: false, used: 0 }
    }

    /// It is not this one's any more.
    #[inline(always)]
    fn end(&mut self) -> Source {
        let source = self.source;
        self.source = Source::Nowhere;
        source
    }

    /// Copies the bytes of the one message that was taken, in place of what is in `to`.
    #[inline(always)]
    pub(crate) fn one(&mut self, to: &mut Vec<u8>) -> Quick<()> {
        let copied = self.copy(to);
        // For want of memory, for instance: it stays in the queue.
        if matches!(&copied, Err(error) if !matches!(**error, Error::Damaged(_))) {
            self.core.forgo_lease(self);
            self.pass_on();
        }
        copied
    }

    #[inline(always)]
    fn copy(&self, to: &mut Vec<u8>) -> Quick<()> {
        to.clear();
        match self.source {
            Source::Ring { start, end, .. } => self.core.append(self.core.record(start, end.bytes_since(start))?, to),
            Source::Lease(lease) => self.core.append_lease(lease, to),
            Source::Nowhere => Err(Error::Damaged("a message was not there").into()),
        }
    }

    /// Calls `f` with the bytes of each message, copied into `scratch` first, in order, until it fails.
    #[inline(always)]
    pub(crate) fn each(&mut self, scratch: &mut Vec<u8>, mut f: impl FnMut(&[u8]) -> Quick<()>) -> Quick<()> {
        let Source::Ring { start, end, .. } = self.source else {
            self.one(scratch)?;
            return f(scratch);
        };
        // All of them in one copy: they lie behind each other.
        if !self.core.ring.append_to(scratch, start.bytes(), end.bytes_since(start) as usize) {
            return Err(Error::NOTHING.into());
        }
        let mut rest = scratch.as_slice();
        while let Some((word, after)) = rest.split_first_chunk::<8>() {
            let header = Header(u64::from_ne_bytes(*word));
            let Some(bytes) = after.get(..header.len() as usize) else { return Err(Error::NOTHING.into()) };
            self.used += 1;
            if header.is_extent() {
                let at = start.after((scratch.len() - rest.len()) as u64, 0);
                self.one_long(Record { header, at }, &mut f)?;
            } else {
                f(bytes)?;
            }
            rest = after.get(header.size() as usize - 8..).unwrap_or_default();
        }
        Ok(())
    }

    #[cold]
    fn one_long(&mut self, record: Record, f: &mut impl FnMut(&[u8]) -> Quick<()>) -> Quick<()> {
        let mut long = Vec::new();
        if let Err(error) = self.core.append(record, &mut long) {
            if !matches!(*error, Error::Damaged(_)) {
                self.give_back_after(self.used - 1); // as in `one`
            }
            return Err(error);
        }
        f(&long)
    }

    /// How many messages it is.
    pub(crate) fn count(&self) -> usize {
        match self.source {
            Source::Ring { start, end, .. } => end.items_since(start) as usize,
            Source::Lease(_) => 1,
            Source::Nowhere => 0,
        }
    }

    /// How often the (first) message has been delivered, with this time.
    pub(crate) fn deliveries(&self) -> u64 {
        match self.source {
            Source::Ring { start, .. } => {
                Header(self.core.ring.word(start.bytes()).load(Ordering::Relaxed)).deliveries() + 1
            }
            Source::Lease(lease) => self.core.lease_field(lease, LeaseField::Deliveries).load(Ordering::Relaxed),
            Source::Nowhere => 0,
        }
    }

    /// It is used up: the last store of a get.
    #[inline(always)]
    pub(crate) fn finish(&mut self) {
        let source = self.end();
        self.core.use_up(source, self.has_long);
    }

    /// It was delivered in vain, and goes to the next one who asks.
    pub(crate) fn give_back(&mut self) {
        if let Source::Ring { start, .. } = self.source {
            let word = self.core.ring.word(start.bytes());
            word.store(Header(word.load(Ordering::Relaxed)).one_more_delivery().0, Ordering::Relaxed);
        }
        self.pass_on();
    }

    pub(crate) fn pass_on(&mut self) {
        match self.end() {
            Source::Ring { hand, .. } => self.core.view.give_back(hand),
            Source::Lease(lease) => {
                self.core.lease_owner(lease).store(RETURNED, Ordering::Release);
                crash_point!("lease.given-back");
                self.core.view.say_returned();
                self.core.view.end.filled.wake();
            }
            Source::Nowhere => {}
        }
    }

    /// The first ones are used up, the others go to the next one who asks.
    pub(crate) fn give_back_after(&mut self, used: usize) {
        let Source::Ring { hand, start, end } = self.source else { return self.finish() };
        let (mut at, mut left) = (start, end.bytes_since(start));
        for _ in 0..used {
            let Ok(record) = self.core.record(at, left) else { break };
            (at, left) = (at.after(record.header.size(), 1), left - record.header.size());
        }
        if left == 0 {
            return self.finish();
        }
        let long = self.core.long_ones(start, at);
        self.core.view.hands[hand].start.store(at.0, Ordering::Release);
        self.source = Source::Ring { hand, start: at, end };
        self.pass_on();
        self.core.view.free();
        long.into_iter().for_each(|(index, at)| self.core.free_queued(index, at));
    }

    /// It is somebody else's from now on, so nothing happens when this goes.
    pub(crate) fn forget(&mut self) -> Source {
        self.end()
    }
}

impl Drop for Taken<'_> {
    /// After an error or a panic of a user's `Deserialize`: it was taken, and does not come twice.
    fn drop(&mut self) {
        if matches!(self.source, Source::Nowhere) || !self.core.segment().is_original() {
            return;
        }
        let is_in_ring = matches!(self.source, Source::Ring { .. });
        self.give_back_after(self.used.max(1));
        if is_in_ring && self.lease != NO_LEASE {
            self.core.drop_lease(self.lease); // it was to go there, and is used up
        }
    }
}

impl Core {
    /// Appends the bytes of a message in the ring, or in an extent, to a vector.
    #[inline]
    pub(crate) fn append(&self, record: Record, to: &mut Vec<u8>) -> Quick<()> {
        if record.header.is_extent() {
            let (index, len) = self.extent_of(record);
            return self.read_extent(index, len, to);
        }
        if self.ring.append_to(to, record.at.bytes() + Header::SIZE, record.header.len() as usize) {
            Ok(())
        } else {
            Err(Error::Damaged("a message is longer than the ring").into())
        }
    }

    #[inline]
    fn use_up(&self, source: Source, has_long: bool) {
        match source {
            Source::Ring { hand, start, end } => {
                let long = if has_long { self.long_ones(start, end) } else { Vec::new() };
                crash_point!("get.copied");
                self.view.leave_hand(hand, end);
                crash_point!("get.cleared");
                self.view.free();
                for (index, at) in long {
                    self.free_queued(index, at);
                }
            }
            Source::Lease(lease) => self.end_lease(lease),
            Source::Nowhere => {}
        }
    }

    /// The extents of messages in the ring. Mostly there are none, and no allocation.
    #[inline]
    fn long_ones(&self, start: Place, end: Place) -> Vec<(u64, Place)> {
        let mut long = Vec::new();
        let (mut at, mut left) = (start, end.bytes_since(start));
        while left != 0 {
            let Ok(record) = self.record(at, left) else { break };
            if record.header.is_extent() {
                long.push((self.extent_of(record).0, at));
            }
            (at, left) = (at.after(record.header.size(), 1), left - record.header.size());
        }
        long
    }
}
