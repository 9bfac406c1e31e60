//! The steps that decide whose a message is, on the words of the state alone: the models check them (`model/`).
//!
//! A hand is what somebody has taken and not yet used up. It is noted under the consumers' lock and emptied without it. The head follows the
//! earliest hand.

use std::sync::atomic::Ordering;

use ipc_core::crash_point;

use crate::layout::{HANDS, Hand, QueueState, RETURNED};
use crate::place::Place;
use crate::shim::fence;

impl QueueState {
    /// Whether there may be something to take.
    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        let taken = Place(self.consumers.taken.load(Ordering::SeqCst));
        !Place(self.end.tail.load(Ordering::SeqCst)).is_at(taken) || self.consumers.returned.load(Ordering::SeqCst) != 0
    }

    /// Makes what lies between two places part of the queue, unless it was closed meanwhile. Under the producers' lock.
    #[inline(always)]
    pub(crate) fn move_tail(&self, from: Place, to: Place) -> bool {
        // Release: publishes the messages; pairs with the Acquire in `take`. SeqCst: before the look for who sleeps.
        self.end.tail.compare_exchange(from.0, to.0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// From now on the tail stays where it is.
    pub(crate) fn mark_closed(&self) {
        self.end.tail.fetch_or(Place::START.closed().0, Ordering::SeqCst);
    }

    /// Something has come back. Each says so by an exchange: so whoever finds it said sees what all of them have given back before.
    pub(crate) fn say_returned(&self) {
        self.consumers.returned.swap(1, Ordering::SeqCst);
    }

    /// Before a look for what has come back: what comes back meanwhile says so again. Under the lock.
    pub(crate) fn expect_returned(&self) {
        self.consumers.returned.swap(0, Ordering::SeqCst);
    }

    /// The hands that something may be in.
    #[inline]
    pub(crate) fn hands(&self) -> std::slice::Iter<'_, Hand> {
        let used = self.consumers.hands.load(Ordering::Acquire) as usize;
        self.hands[..used.min(HANDS)].iter()
    }

    /// Notes in a free hand what is being taken by `me`. Under the lock.
    #[inline(always)]
    pub(crate) fn note(&self, me: u64, start: Place, end: Place, lease: usize, order: u64) -> Option<usize> {
        // Acquire: whoever had the hand before has done with it.
        let index = self.hands().position(|hand| hand.owner.load(Ordering::Acquire) == 0);
        let index = index.or_else(|| self.one_more_hand())?;
        let hand = self.hands.get(index)?;
        hand.end.store(end.0, Ordering::Relaxed);
        hand.upto.store(end.0, Ordering::Relaxed);
        hand.lease.store((lease as u64).wrapping_add(1), Ordering::Relaxed);
        hand.lease_at.store(start.0, Ordering::Relaxed);
        hand.order.store(order, Ordering::Relaxed);
        hand.start.store(start.0, Ordering::Relaxed);
        // Release: whoever sees it in use sees from where on.
        hand.owner.store(me, Ordering::Release);
        Some(index)
    }

    /// Under the lock.
    #[cold]
    fn one_more_hand(&self) -> Option<usize> {
        let hands = &self.consumers.hands;
        let used = hands.load(Ordering::Relaxed) as usize;
        (used < HANDS).then(|| {
            hands.store(used as u64 + 1, Ordering::Release);
            used
        })
    }

    /// Makes a hand that was given back `me`'s. Under the lock. As a whole, and so in one step: it needs no other hand, and nothing is ever in
    /// two. Whoever uses up the first message only [leaves](QueueState::leave_hand) the others there.
    pub(crate) fn take_over(&self, me: u64, index: usize, upto: Place, lease: usize) {
        let hand = &self.hands[index];
        hand.upto.store(upto.0, Ordering::Relaxed);
        hand.lease.store((lease as u64).wrapping_add(1), Ordering::Relaxed);
        hand.lease_at.store(hand.start.load(Ordering::Relaxed), Ordering::Relaxed);
        crash_point!("redeliver.noted");
        hand.owner.store(me, Ordering::Release);
    }

    /// What comes before `next` in one's own hand has been used up, or is somewhere else: it is empty, or the others go to the next one who
    /// asks.
    #[inline]
    pub(crate) fn leave_hand(&self, index: usize, next: Place) {
        let hand = &self.hands[index];
        if Place(hand.end.load(Ordering::Relaxed)).is_at(next) {
            return self.clear_hand(index);
        }
        // Release: what was there has been used.
        hand.start.store(next.0, Ordering::Release);
        self.give_back(index);
    }

    /// What is in one's own hand goes to the next one who asks.
    pub(crate) fn give_back(&self, index: usize) {
        self.hands[index].owner.store(RETURNED, Ordering::Release);
        crash_point!("lease.given-back");
        self.say_returned();
        self.end.filled.wake();
    }

    #[inline]
    pub(crate) fn clear_hand(&self, hand: usize) {
        // Release: what was in it has been used.
        self.hands[hand].owner.store(0, Ordering::Release);
    }

    /// Whether anything is in the hands of such owners.
    pub(crate) fn is_in_hands(&self, is_theirs: impl Fn(u64) -> bool) -> bool {
        self.hands().any(|hand| is_theirs(hand.owner.load(Ordering::Acquire)))
    }

    /// Gives back the space of everything that is in no hand any more.
    #[inline]
    pub(crate) fn free(&self) {
        let (consumers, head) = (&self.consumers, &self.head);
        let mut used = consumers.hands.load(Ordering::Relaxed);
        // Of two that empty their hands at the same time at least one must see that both are empty.
        if used > 1 {
            fence(Ordering::SeqCst);
        }
        let mut bound = self.earliest_taken();
        let mut known = head.head.load(Ordering::Relaxed);
        while bound.is_after(Place(known)) {
            // Release: the bytes before it have been read. SeqCst: before the look for who sleeps.
            match head.head.compare_exchange(known, bound.0, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => {
                    crash_point!("get.freed");
                    head.freed.wake();
                    head.done.wake();
                    // A second hand came into use meanwhile: the fence was missing, which this exchange was as well.
                    if used > 1 || consumers.hands.load(Ordering::Relaxed) <= 1 {
                        return;
                    }
                    (used, known, bound) = (u64::MAX, bound.0, self.earliest_taken());
                }
                Err(now) => known = now,
            }
        }
    }

    /// Before which place everything has been used.
    #[inline]
    fn earliest_taken(&self) -> Place {
        // In this order: whoever takes something after the look at `taken` does not take what lies before that.
        let mut bound = Place(self.consumers.taken.load(Ordering::Acquire));
        for hand in self.hands().filter(|hand| hand.owner.load(Ordering::Acquire) != 0) {
            let start = Place(hand.start.load(Ordering::Acquire));
            if bound.is_after(start) {
                bound = start;
            }
        }
        bound
    }
}

#[cfg(all(test, loom))]
#[path = "model/freeing.rs"]
mod freeing;
#[cfg(all(test, loom))]
#[path = "model/publishing.rs"]
mod publishing;
