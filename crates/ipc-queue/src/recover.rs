//! What the dead had taken goes to the living. All of it under the consumers' lock; each step is one store, and can be repeated.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use ipc_core::{Deadline, crash_point};

use crate::Error;
use crate::core::Core;
use crate::error::Quick;
use crate::layout::{Hand, LeaseField, PENDING, RETURNED};
use crate::place::Place;
use crate::take::{Found, NO_LEASE, Source, Taken, Want};

/// Which processes live, each asked for once.
struct Living<'a> {
    core: &'a Core,
    known: HashMap<u64, bool>,
}

impl Living<'_> {
    fn has(&mut self, number: u64) -> Quick<bool> {
        if number == self.core.me() {
            return Ok(true);
        }
        if let Some(alive) = self.known.get(&number) {
            return Ok(*alive);
        }
        let alive = self.core.is_alive(number)?;
        self.known.insert(number, alive);
        Ok(alive)
    }
}

impl Core {
    /// Looks for the dead if nobody has the lock just now; whoever has it may do the same.
    pub(crate) fn look_for_the_dead(&self) -> Quick<()> {
        if self.is_single {
            return Ok(()); // what one had taken goes to nobody else
        }
        let consumers = &self.view.consumers;
        let locked = match consumers.lock.acquire(self.segment(), Deadline::NOW) {
            Ok(locked) => locked,
            Err(ipc_sync::Error::WouldBlock | ipc_sync::Error::AlreadyLocked) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let recovered = if locked.died().is_some() { self.repair_consumers() } else { self.recover() };
        self.unlock(&consumers.lock, locked);
        recovered
    }

    /// Under the lock of a consumer that died.
    #[cold]
    pub(crate) fn repair_consumers(&self) -> Quick<()> {
        let consumers = &self.view.consumers;
        // What it had noted and not yet taken, it has not taken. The kernel hands the lock on before it closes the dead process's files, so
        // it may still look alive. Nobody else can have come so far: it takes the lock.
        for index in self.full_hands() {
            let hand = &self.view.hands[index];
            let start = Place(hand.start.load(Ordering::Acquire));
            if hand.owner.load(Ordering::Acquire) != RETURNED && start.is_at(self.taken()) {
                self.drop_pending(hand, start);
                self.view.clear_hand(index);
            }
        }
        self.recover()?;
        // It may have been looking for what has come back, and have counted dead letters.
        self.view.say_returned();
        self.count_dead_letters();
        consumers.lock.mark_repaired();
        Ok(())
    }

    /// Gives back what dead processes have in their hands and leases.
    #[cold]
    pub(crate) fn recover(&self) -> Quick<()> {
        let consumers = &self.view.consumers;
        let mut living = Living { core: self, known: HashMap::new() };
        let (mut came_back, mut is_anything_back) = (0, false);
        // Hands first: whether a lease has come about tells what becomes of a hand.
        for index in self.full_hands() {
            let hand = &self.view.hands[index];
            // A living process may empty it at any moment; a dead one does nothing any more.
            let owner = hand.owner.load(Ordering::Acquire);
            if owner == RETURNED {
                is_anything_back = true; // whoever gave it back may have been killed before saying so
            } else if owner != 0 && !living.has(owner)? {
                came_back += u64::from(self.give_back_hand(index, hand, owner)?);
            }
        }
        for lease in 0..self.lease_owners().len() {
            let owner = self.lease_owner(lease).load(Ordering::Acquire);
            is_anything_back |= owner == RETURNED;
            if owner == 0 || owner >= RETURNED || living.has(owner & !PENDING)? {
                continue;
            }
            // What it was when its owner was found dead it stays.
            if self.lease_owner(lease).load(Ordering::Acquire) != owner {
                continue;
            }
            if owner & PENDING != 0 {
                self.drop_lease(lease); // nobody ever had it, or it is done with
            } else {
                self.lease_owner(lease).store(RETURNED, Ordering::Release);
                came_back += 1;
            }
        }
        self.free_stray_extents(|owner| living.has(owner))?;
        self.count_dead_letters();
        self.view.head.done.wake();
        self.view.counts.recoveries.fetch_add(came_back, Ordering::Relaxed);
        if came_back > 0 || is_anything_back && consumers.returned.load(Ordering::SeqCst) == 0 {
            self.view.say_returned();
            self.view.end.filled.wake();
        }
        self.view.free();
        Ok(())
    }

    fn full_hands(&self) -> impl Iterator<Item = usize> + '_ {
        let hands = self.view.hands().enumerate();
        hands.filter(|(_, hand)| hand.owner.load(Ordering::Acquire) != 0).map(|(index, _)| index)
    }

    /// What is in the hand of a dead process goes to somebody else, unless it is elsewhere already. Returns whether it does.
    fn give_back_hand(&self, index: usize, hand: &Hand, was: u64) -> Quick<bool> {
        // It may have emptied the hand, and then ended: but since it has been found dead it does nothing any more.
        if hand.owner.load(Ordering::Acquire) != was {
            return Ok(false);
        }
        let (start, end) = (Place(hand.start.load(Ordering::Acquire)), Place(hand.end.load(Ordering::Relaxed)));
        let mut start = start;
        if let Some(lease) = self.lease_of(hand) {
            if self.lease_owner(lease).load(Ordering::Acquire) == PENDING | was {
                self.drop_pending(hand, start);
            } else {
                // The first message is in the lease, or was, and is somewhere else by now.
                start = start.after(self.record(start, self.distance(start, end)?)?.header.size(), 1);
                if start.is_at(end) {
                    self.view.clear_hand(index);
                    return Ok(false);
                }
                hand.start.store(start.0, Ordering::Release);
            }
        }
        let upto = Place(hand.upto.load(Ordering::Relaxed)).bytes_since(start);
        let (mut at, mut left) = (start, if upto <= self.distance(start, end)? { upto } else { 0 });
        while left != 0 {
            let record = self.record(at, left)?;
            self.ring.word(at.bytes()).store(record.header.one_more_delivery().0, Ordering::Relaxed);
            (at, left) = (at.after(record.header.size(), 1), left - record.header.size());
        }
        hand.owner.store(RETURNED, Ordering::Release);
        crash_point!("recover.returned");
        Ok(true)
    }

    /// The lease into which the first message of a hand goes, or has gone.
    fn lease_of(&self, hand: &Hand) -> Option<usize> {
        let lease = hand.lease.load(Ordering::Relaxed).wrapping_sub(1) as usize;
        let is_of_first = hand.lease_at.load(Ordering::Relaxed) == hand.start.load(Ordering::Relaxed);
        (is_of_first && lease < self.lease_owners().len()).then_some(lease)
    }

    /// The lease into which a message was to go does not come about.
    fn drop_pending(&self, hand: &Hand, start: Place) {
        let Some(lease) = self.lease_of(hand) else { return };
        if self.lease_owner(lease).load(Ordering::Acquire) != PENDING | hand.owner.load(Ordering::Relaxed) {
            return;
        }
        // The message's own extent goes back to it; one that was made for the lease goes.
        if let Ok(record) = self.record(start, self.settings.ring) {
            if record.header.is_extent() {
                self.queue_extent(self.extent_of(record).0, start);
                self.lease_field(lease, LeaseField::Extent).store(0, Ordering::Relaxed);
            }
        }
        // Before the lease is free: a hand that names a lease which is not pending would be taken for one whose message is there.
        hand.lease.store(0, Ordering::Release);
        self.drop_lease(lease);
    }

    /// Takes the oldest of what has come back. Under the lock.
    #[cold]
    pub(crate) fn take_returned<'a>(&'a self, taken: &mut Taken<'a>, want: Want) -> Quick<Found> {
        loop {
            self.view.expect_returned();
            let Some((source, is_last)) = self.oldest_returned() else { return Ok(Found::Nothing) };
            if !is_last {
                self.view.say_returned();
            }
            let mut found = self.take_back(taken, source, want);
            if matches!(&found, Err(error) if matches!(**error, Error::LeaseLimit { .. })) {
                // Nothing that is in a hand can be kept; but what is in a lease has one.
                if let Some(lease) =
                    self.lease_owners().iter().position(|owner| owner.load(Ordering::Acquire) == RETURNED)
                {
                    self.view.say_returned();
                    found = self.take_back(taken, Source::Lease(lease), want);
                }
            }
            if found.is_err() {
                self.view.say_returned();
            }
            if let Some(found) = found? {
                if found == Found::NoHand {
                    return Ok(found);
                }
                self.view.counts.redeliveries.fetch_add(1, Ordering::Relaxed);
                return Ok(found);
            }
        }
    }

    /// The oldest of what has come back, and whether it is all there is.
    fn oldest_returned(&self) -> Option<(Source, bool)> {
        let mut oldest: Option<(u64, Source)> = None;
        let mut count = 0;
        let mut consider = |order: u64, source: Source, items: u64| {
            count += items;
            if oldest.is_none_or(|(known, _)| order.wrapping_sub(known) > u64::MAX / 2) {
                oldest = Some((order, source));
            }
        };
        for index in self.full_hands() {
            let hand = &self.view.hands[index];
            if hand.owner.load(Ordering::Acquire) != RETURNED {
                continue;
            }
            let (start, end) = (Place(hand.start.load(Ordering::Relaxed)), Place(hand.end.load(Ordering::Relaxed)));
            if start.is_at(end) {
                self.view.clear_hand(index); // nothing is in it, which nobody here leaves behind
                continue;
            }
            let order = hand.order.load(Ordering::Relaxed);
            consider(order, Source::Ring { hand: index, start, end }, end.items_since(start));
        }
        for (lease, owner) in self.lease_owners().iter().enumerate() {
            if owner.load(Ordering::Acquire) == RETURNED {
                consider(self.lease_field(lease, LeaseField::Order).load(Ordering::Relaxed), Source::Lease(lease), 1);
            }
        }
        oldest.map(|(_, source)| (source, count == 1))
    }

    /// Takes one message of what has come back. `None` if it has become a dead letter.
    fn take_back<'a>(&'a self, taken: &mut Taken<'a>, source: Source, want: Want) -> Quick<Option<Found>> {
        let most = self.settings.max_deliveries;
        let is_too_often = |deliveries: u64| most != 0 && deliveries >= most;
        match source {
            Source::Nowhere => Ok(None),
            Source::Lease(lease) => {
                let deliveries = self.lease_field(lease, LeaseField::Deliveries);
                if is_too_often(deliveries.load(Ordering::Relaxed)) {
                    self.mark_dead(lease);
                    return Ok(None);
                }
                deliveries.fetch_add(1, Ordering::Relaxed);
                crash_point!("redeliver.noted");
                self.lease_owner(lease).store(self.me(), Ordering::Release);
                crash_point!("redeliver.moved");
                taken.source = source;
                taken.lease = if want.keep { lease } else { NO_LEASE };
                Ok(Some(Found::Something))
            }
            Source::Ring { hand, start, end } => {
                let record = self.record(start, self.distance(start, end)?)?;
                let next = start.after(record.header.size(), 1);
                let is_dead = is_too_often(record.header.deliveries());
                let lease = match self.reserve_lease_if(is_dead || want.keep) {
                    Err(error) if !want.keep && matches!(*error, Error::LeaseLimit { .. }) => NO_LEASE, // then it is delivered once more
                    lease => lease?,
                };
                self.view.take_over(self.me(), hand, next, lease);
                crash_point!("redeliver.moved");
                taken.source = Source::Ring { hand, start, end: next };
                (taken.lease, taken.has_long) = (lease, true);
                Ok(Some(if is_dead && lease != NO_LEASE { Found::ToBury } else { Found::Something }))
            }
        }
    }
}
