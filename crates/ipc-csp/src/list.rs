//! The lists of a channel, under its lock.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

use ipc_core::crash_point;
use ipc_sync::mechanism::Locked;

use crate::Error;
use crate::error::Quick;
use crate::layout::{
    BUFFERED, CLOSED, ChannelState, ChooserState, FLAGS, ListState, OFFERS, OfferState, POISONED, Which, ZOMBIE,
};
use crate::net::Net;
use crate::taken::Source;
use crate::word::State;

/// A locked channel. Who was poked is woken when it is unlocked.
pub(crate) struct ChannelLock<'a> {
    pub(crate) net: &'a Net,
    pub(crate) index: usize,
    pub(crate) channel: &'a ChannelState,
    locked: Locked,
    poked: RefCell<Poked<'a>>,
    /// There is a value, or room for one, that was not there before.
    has_news: Cell<bool>,
}

/// Most often one at most.
#[derive(Default)]
struct Poked<'a> {
    first: Option<&'a ChooserState>,
    more: Vec<&'a ChooserState>,
}

impl<'a> ChannelLock<'a> {
    #[inline]
    pub(crate) fn new(net: &'a Net, index: usize, channel: &'a ChannelState, locked: Locked) -> ChannelLock<'a> {
        ChannelLock { net, index, channel, locked, poked: RefCell::default(), has_news: Cell::new(false) }
    }

    #[inline]
    fn list(&self, which: Which) -> &'a ListState {
        match which {
            Which::Buffer => &self.channel.buffer,
            Which::Writers => &self.channel.writers,
            Which::Readers => &self.channel.readers,
        }
    }

    /// A value can be put into the buffer, and nobody waits to do so.
    pub(crate) fn has_room(&self) -> bool {
        self.channel.buffered.load(Ordering::Relaxed) < self.channel.capacity.load(Ordering::Relaxed)
    }

    /// The oldest first. It may be changed meanwhile: the next one is read before one is given out.
    pub(crate) fn each(&self, which: Which) -> impl Iterator<Item = Quick<(usize, &'a OfferState)>> {
        let mut next = self.list(which).first.load(Ordering::Relaxed);
        let mut left = OFFERS;
        let net = self.net;
        std::iter::from_fn(move || {
            let index = next.checked_sub(1)? as usize;
            let Some(offer) = net.view.offers.get(index).filter(|_| left > 0) else {
                next = 0;
                return Some(Err(Error::Damaged("a list leads nowhere").into()));
            };
            left -= 1;
            next = offer.next.load(Ordering::Relaxed);
            Some(Ok((index, offer)))
        })
    }

    /// Gives an offer its age.
    pub(crate) fn stamp(&self, offer: &OfferState) {
        let ticket = self.channel.ticket.load(Ordering::Relaxed).wrapping_add(1);
        self.channel.ticket.store(ticket, Ordering::Relaxed);
        offer.ticket.store(ticket, Ordering::Relaxed);
        offer.channel.store(self.index as u32, Ordering::Relaxed);
    }

    /// Puts an offer where it belongs by age: most often at the end, at the beginning if it was there before.
    pub(crate) fn link(&self, index: usize, which: Which) -> Quick<()> {
        let offer = self.net.offer(index)?;
        let list = self.list(which);
        offer.list.store(which as u32, Ordering::Relaxed);
        crash_point!("csp.listed");
        let ticket = offer.ticket.load(Ordering::Relaxed);
        let mut before = list.last.load(Ordering::Relaxed);
        let mut left = OFFERS;
        while let Some(other) = before.checked_sub(1) {
            let other = self.net.offer(other as usize)?;
            // They go round.
            if ticket.wrapping_sub(other.ticket.load(Ordering::Relaxed)) < 1 << 31 {
                break;
            }
            before = other.previous.load(Ordering::Relaxed);
            left = left.checked_sub(1).ok_or(Error::Damaged("a list leads nowhere"))?;
        }
        let after = match before.checked_sub(1) {
            Some(before) => &self.net.offer(before as usize)?.next,
            None => &list.first,
        };
        let next = after.load(Ordering::Relaxed);
        offer.next.store(next, Ordering::Relaxed);
        offer.previous.store(before, Ordering::Relaxed);
        let behind = match next.checked_sub(1) {
            Some(next) => &self.net.offer(next as usize)?.previous,
            None => &list.last,
        };
        let link = index as u32 + 1;
        after.store(link, Ordering::Relaxed);
        crash_point!("csp.half-linked");
        behind.store(link, Ordering::Relaxed);
        if which == Which::Buffer {
            self.count(1);
        }
        self.has_news.set(true);
        Ok(())
    }

    fn count(&self, change: i32) {
        let buffered = &self.channel.buffered;
        buffered.store(buffered.load(Ordering::Relaxed).saturating_add_signed(change), Ordering::Release);
    }

    /// Takes an offer out of the list it is in, if it is in one.
    pub(crate) fn unlink(&self, index: usize) -> Quick<()> {
        let offer = self.net.offer(index)?;
        if offer.channel.load(Ordering::Relaxed) as usize != self.index {
            return Ok(());
        }
        let Some(which) = Which::of(offer.list.load(Ordering::Relaxed)) else { return Ok(()) };
        let list = self.list(which);
        let (next, previous) = (offer.next.load(Ordering::Relaxed), offer.previous.load(Ordering::Relaxed));
        let after = match previous.checked_sub(1) {
            Some(previous) => &self.net.offer(previous as usize)?.next,
            None => &list.first,
        };
        let behind = match next.checked_sub(1) {
            Some(next) => &self.net.offer(next as usize)?.previous,
            None => &list.last,
        };
        after.store(next, Ordering::Relaxed);
        crash_point!("csp.half-unlinked");
        behind.store(previous, Ordering::Relaxed);
        if which == Which::Buffer {
            self.count(-1);
        }
        offer.list.store(0, Ordering::Relaxed);
        if which == Which::Buffer || self.channel.capacity.load(Ordering::Relaxed) > 0 {
            self.has_news.set(true);
        }
        Ok(())
    }

    /// Makes the lists anew from what the offers say: somebody died while changing them.
    #[cold]
    pub(crate) fn rebuild(&self) -> Quick<()> {
        for list in [&self.channel.buffer, &self.channel.writers, &self.channel.readers] {
            list.first.store(0, Ordering::Relaxed);
            list.last.store(0, Ordering::Relaxed);
        }
        self.channel.buffered.store(0, Ordering::Relaxed);
        crash_point!("csp.rebuilding");
        for (index, offer) in self.net.offers().iter().enumerate() {
            let listed = Which::of(offer.list.load(Ordering::Relaxed));
            if offer.channel.load(Ordering::Relaxed) as usize != self.index || listed.is_none() {
                continue;
            }
            let owner = offer.owner.load(Ordering::Acquire);
            let is_open =
                self.owner_of(offer).is_ok_and(|(chooser, generation)| chooser.chooser.is_waiting(generation));
            let which = match listed {
                _ if owner == BUFFERED => Some(Which::Buffer).filter(|_| offer.taker.load(Ordering::Relaxed) == 0),
                Some(which) if Net::is_participant(owner) && is_open && which != Which::Buffer => Some(which),
                _ => None,
            };
            match which {
                Some(which) => self.link(index, which)?,
                None => offer.list.store(0, Ordering::Relaxed),
            }
            if owner == ZOMBIE {
                self.net.free_offer(index);
            }
        }
        Ok(())
    }

    /// Whose offer it is, and which of its choices.
    fn owner_of(&self, offer: &OfferState) -> Quick<(&'a ChooserState, u32)> {
        let chooser = self.net.chooser(offer.chooser.load(Ordering::Relaxed) as usize)?;
        Ok((chooser, offer.generation.load(Ordering::Relaxed)))
    }

    /// Takes a value for the chooser in that slot: from the buffer, or from one who waits. It is in the taker's hands then, and in no
    /// list; whose it is, is the answer.
    pub(crate) fn take(&self, taker: usize) -> Quick<Option<(usize, Source)>> {
        if let Some(first) = self.each(Which::Buffer).next() {
            let (index, offer) = first?;
            offer.taker.store(taker as u32 + 1, Ordering::Relaxed);
            crash_point!("csp.buffered-taken");
            self.unlink(index)?;
            self.poke_one(Which::Writers)?; // there is room
            return Ok(Some((index, None)));
        }
        for entry in self.each(Which::Writers) {
            let (index, offer) = entry?;
            if offer.owner.load(Ordering::Relaxed) == ZOMBIE {
                self.bury(index)?;
                continue;
            }
            let (chooser, generation) = self.owner_of(offer)?;
            let slot = offer.chooser.load(Ordering::Relaxed) as usize;
            if slot != taker && chooser.chooser.take(generation, taker, index) {
                crash_point!("csp.taken");
                self.unlink(index)?;
                crash_point!("csp.unlinked");
                if self.has_room() {
                    self.poke_one(Which::Writers)?; // it was told that there is, and does not need it any more
                }
                return Ok(Some((index, Some((slot, generation)))));
            }
        }
        Ok(None)
    }

    /// What was taken, and not read, can be taken again. `false` if its writer has withdrawn it.
    pub(crate) fn put_back(&self, index: usize, source: Source, taker: usize) -> Quick<bool> {
        let offer = self.net.offer(index)?;
        // Withdrawn by its writer, it may be somebody else's by now.
        let is_its = match source {
            None => true,
            Some((slot, generation)) => self.net.chooser(slot)?.chooser.is_taken(generation, taker, index),
        };
        if !is_its || offer.channel.load(Ordering::Relaxed) as usize != self.index {
            return Ok(false);
        }
        self.net.return_ends(taker, index);
        self.unlink(index)?; // it may be in a list: whoever did this before has died
        match source {
            None => {
                self.link(index, Which::Buffer)?;
                crash_point!("csp.relinked");
                offer.taker.store(0, Ordering::SeqCst);
            }
            Some((slot, generation)) => {
                // Before it can be taken again: who finds it in the list until then finds that it is not open.
                self.link(index, Which::Writers)?;
                crash_point!("csp.putting-back");
                if !self.net.chooser(slot)?.chooser.put_back(generation, taker, index) {
                    self.unlink(index)?;
                    return Ok(false);
                }
            }
        }
        self.poke_one(Which::Readers)?;
        Ok(true)
    }

    /// Whether somebody has a value from the buffer in hand, which is not read yet.
    pub(crate) fn is_anything_taken(&self) -> bool {
        self.channel.capacity.load(Ordering::Relaxed) > 0
            && self.net.offers().iter().any(|offer| {
                offer.owner.load(Ordering::SeqCst) == BUFFERED
                    && offer.channel.load(Ordering::Relaxed) as usize == self.index
                    && offer.taker.load(Ordering::SeqCst) != 0
            })
    }

    /// Frees an offer whose owner could not.
    pub(crate) fn bury(&self, index: usize) -> Quick<()> {
        self.unlink(index)?;
        self.net.free_offer(index);
        Ok(())
    }

    /// Has one of those who wait in a list look again who has not been told to yet.
    pub(crate) fn poke_one(&self, which: Which) -> Quick<()> {
        for entry in self.each(which) {
            let (index, offer) = entry?;
            if offer.owner.load(Ordering::Relaxed) == ZOMBIE {
                self.bury(index)?;
                continue;
            }
            let (chooser, generation) = self.owner_of(offer)?;
            if chooser.chooser.is_waiting(generation) && chooser.chooser.poke() {
                self.will_wake(chooser);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Has all who wait look again.
    pub(crate) fn poke_all(&self) -> Quick<()> {
        for entry in self.each(Which::Writers).chain(self.each(Which::Readers)) {
            let (_, offer) = entry?;
            let (chooser, _) = self.owner_of(offer)?;
            chooser.chooser.poke();
            self.will_wake(chooser);
        }
        Ok(())
    }

    fn will_wake(&self, chooser: &'a ChooserState) {
        let mut poked = self.poked.borrow_mut();
        match poked.first {
            None => poked.first = Some(chooser),
            Some(_) => poked.more.push(chooser),
        }
    }

    /// Whether room is for the writer of that offer: nobody has waited for longer, but for those who have been told and do not come. One of
    /// them may be stopped.
    pub(crate) fn is_next(&self, index: usize) -> Quick<bool> {
        for entry in self.each(Which::Writers) {
            let (other, offer) = entry?;
            if other == index {
                return Ok(true);
            }
            let (chooser, generation) = self.owner_of(offer)?;
            if chooser.chooser.is_waiting(generation) && !chooser.chooser.is_poked() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Somebody leaves who was told to look, perhaps, and did not do what there is to be done: the next one is told.
    pub(crate) fn pass_on(&self) -> Quick<()> {
        if !self.channel.readers.is_empty() && self.channel.has_values() {
            self.poke_one(Which::Readers)?;
        }
        if !self.channel.writers.is_empty() && self.has_room() {
            self.poke_one(Which::Writers)?;
        }
        Ok(())
    }

    /// Throws away what is in the buffer: nobody will read it.
    pub(crate) fn clear(&self) -> Quick<()> {
        for entry in self.each(Which::Buffer) {
            self.bury(entry?.0)?;
        }
        Ok(())
    }
}

impl ListState {
    /// Without the lock it is a hint.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.load(Ordering::Acquire) == 0
    }
}

impl ChannelState {
    /// Which of the channels it is that have been in this place; 0: there is none.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.state.load(Ordering::Acquire) >> FLAGS
    }

    /// Why nothing, or nothing more, goes through it: flags.
    #[inline]
    pub(crate) fn over(&self) -> u32 {
        self.state.load(Ordering::Acquire) & ((1 << FLAGS) - 1)
    }

    /// An error unless it is the channel of that generation.
    pub(crate) fn check(&self, generation: u32) -> Quick<()> {
        match self.generation() == generation {
            true => Ok(()),
            false => Err(Error::OtherEnd("the channel is gone").into()),
        }
    }

    /// Sets a flag of the channel of that generation. `false` if it was set.
    pub(crate) fn mark(&self, generation: u32, flag: u32) -> Quick<bool> {
        loop {
            self.check(generation)?;
            let state = generation << FLAGS | self.over();
            if state & flag != 0 {
                return Ok(false);
            }
            if self.state.compare_exchange(state, state | flag, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return Ok(true);
            }
        }
    }

    /// Why nothing can be communicated, ever. Readers may still find something that was written before, unless it is poisoned.
    #[inline]
    pub(crate) fn end(&self) -> Option<Error> {
        match self.over() {
            0 => None,
            over if over & POISONED != 0 => Some(Error::Poisoned),
            over if over & CLOSED != 0 => Some(Error::Closed),
            _ => Some(Error::Retired),
        }
    }

    /// Whether there may be room for a value that nobody waits for.
    #[inline]
    pub(crate) fn may_have_room(&self) -> bool {
        let is_full = self.buffered.load(Ordering::Acquire) >= self.capacity.load(Ordering::Relaxed);
        !is_full && self.writers.is_empty()
    }

    /// Whether there may be something to read. Without the lock it is a hint.
    #[inline]
    pub(crate) fn has_values(&self) -> bool {
        !self.writers.is_empty() || !self.buffer.is_empty()
    }
}

impl Drop for ChannelLock<'_> {
    #[inline]
    fn drop(&mut self) {
        self.channel.lock.give_back(self.net.segment(), self.locked);
        if self.has_news.get() {
            self.channel.news.0.fetch_add(1, Ordering::Release);
        }
        let poked = self.poked.get_mut();
        if let Some(first) = poked.first {
            crash_point!("csp.poked");
            first.wait.wake();
            poked.more.iter().for_each(|chooser| chooser.wait.wake());
        }
    }
}

/// What a chooser that is waiting for a taker to be done sees.
pub(crate) fn taker_of(state: State) -> Option<(usize, usize)> {
    match state {
        State::Taking { taker, offer } => Some((taker, offer)),
        _ => None,
    }
}
