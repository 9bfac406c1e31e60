//! What the dead have left: offers, slots, ends, and values that they were about to read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use ipc_core::{Deadline, Participant, crash_point};

use crate::Error;
use crate::ends::{Kind, Tag};
use crate::error::Quick;
use crate::layout::{BUFFERED, CHANNELS, ChooserState, NO_READERS, NO_WRITERS, OfferState, POISONED, ZOMBIE};
use crate::list::{ChannelLock, taker_of};
use crate::net::Net;
use crate::pause::now;
use crate::word::{Generation, State};

/// How often anybody looks, of all who wait.
const INTERVAL: u64 = 20_000_000;

/// What is known while somebody looks: who lives, and which channels a stopped process has locked.
struct Pass<'a> {
    net: &'a Net,
    known: BTreeMap<u64, bool>,
    stuck: BTreeSet<usize>,
}

impl<'a> Pass<'a> {
    fn is_alive(&mut self, number: u64) -> Quick<bool> {
        if let Some(answer) = self.known.get(&number) {
            return Ok(*answer);
        }
        let answer = match Participant::from_number(number) {
            Some(who) => self.net.segment().is_alive(who)?,
            None => false,
        };
        self.known.insert(number, answer);
        Ok(answer)
    }

    /// Unless somebody is stopped with it: that channel will be seen to when it goes on, and the others now.
    fn lock_now(&mut self, index: usize) -> Quick<Option<ChannelLock<'a>>> {
        if self.stuck.contains(&index) {
            return Ok(None);
        }
        let lock = self.net.lock_now(index)?;
        if lock.is_none() {
            self.stuck.insert(index);
        }
        Ok(lock)
    }
}

impl Net {
    /// Sees to what the dead have left, unless somebody did so just now, or is doing it.
    pub(crate) fn look_for_the_dead(&self, at_once: bool) -> Quick<()> {
        let (now, last) = (now(), self.view.looked_at.load(Ordering::Relaxed));
        if !at_once && now.wrapping_sub(last) < INTERVAL {
            return Ok(());
        }
        self.view.looked_at.store(now, Ordering::Relaxed);
        match self.registered(Deadline::NOW, || self.bury_the_dead()) {
            // Whoever has a lock is doing it, or is stopped.
            Err(error) if matches!(*error, Error::WouldBlock | Error::Timeout) => Ok(()),
            done => done,
        }
    }

    /// Runs something that nobody else does at the same time.
    pub(crate) fn registered<R>(&self, deadline: Deadline, f: impl FnOnce() -> Quick<R>) -> Quick<R> {
        struct Unlock<'a>(&'a Net, ipc_sync::mechanism::Locked);
        impl Drop for Unlock<'_> {
            fn drop(&mut self) {
                self.0.view.registry.give_back(self.0.segment(), self.1);
            }
        }
        let locked = self.take(&self.view.registry, deadline)?;
        // Whatever its last owner was doing can be done again from the beginning.
        if locked.died().is_some() {
            self.view.registry.mark_repaired();
        }
        let _unlock = Unlock(self, locked);
        f()
    }

    /// Each step can be done again: whoever dies here leaves it to the next one.
    fn bury_the_dead(&self) -> Quick<()> {
        let pass =
            &mut Pass { net: self, known: BTreeMap::from([(0, false), (self.me(), true)]), stuck: BTreeSet::new() };
        self.return_what_was_taken(pass)?;
        self.bury_offers(pass)?;
        for (slot, state) in self.choosers().iter().enumerate() {
            let owner = state.owner.load(Ordering::SeqCst);
            if owner == 0 || pass.is_alive(owner)? {
                continue;
            }
            let (generation, word) = state.chooser.state();
            let is_needed = matches!(word, State::Taking { taker, .. } if self.is_slot_alive(taker, pass)?);
            // It may have died after the steps above: then the next one does them for it.
            if !is_needed && !self.is_slot_in_use(slot, owner) {
                state.chooser.withdraw(generation);
                self.free_ends_in_hand(slot);
                crash_point!("csp.slot-buried");
                state.owner.store(0, Ordering::SeqCst);
            }
        }
        self.bury_ends(pass)
    }

    /// Whether offers are made, or something is taken, in the name of a slot.
    fn is_slot_in_use(&self, slot: usize, owner: u64) -> bool {
        let is_offering = |offer: &OfferState| {
            offer.chooser.load(Ordering::Relaxed) as usize == slot && offer.owner.load(Ordering::SeqCst) == owner
        };
        let is_taken = |offer: &OfferState| {
            offer.taker.load(Ordering::SeqCst) as usize == slot + 1 && offer.owner.load(Ordering::SeqCst) == BUFFERED
        };
        let is_taking =
            |state: &ChooserState| taker_of(state.chooser.state().1).is_some_and(|(taker, _)| taker == slot);
        self.offers().iter().any(|offer| is_offering(offer) || is_taken(offer)) || self.choosers().iter().any(is_taking)
    }

    fn is_slot_alive(&self, slot: usize, pass: &mut Pass<'_>) -> Quick<bool> {
        pass.is_alive(self.chooser(slot)?.owner.load(Ordering::SeqCst))
    }

    /// Values that the dead were about to read go back to where they came from.
    fn return_what_was_taken(&self, pass: &mut Pass<'_>) -> Quick<()> {
        for (index, offer) in self.offers().iter().enumerate() {
            let link = offer.taker.load(Ordering::SeqCst);
            let Some(taker) = link.checked_sub(1).map(|taker| taker as usize) else { continue };
            // A slot without an owner is that of one who was done just now.
            let who = self.chooser(taker)?.owner.load(Ordering::SeqCst);
            if offer.owner.load(Ordering::SeqCst) != BUFFERED || who == 0 || pass.is_alive(who)? {
                continue;
            }
            let Some(lock) = pass.lock_now(offer.channel.load(Ordering::Relaxed) as usize)? else { continue };
            // What the dead have taken stays as it is, but this one may have been done with it before.
            if offer.owner.load(Ordering::SeqCst) == BUFFERED && offer.taker.load(Ordering::SeqCst) == link {
                lock.put_back(index, None, taker)?;
            }
        }
        for (slot, state) in self.choosers().iter().enumerate() {
            let (generation, word) = state.chooser.state();
            if let Some((taker, offer)) = taker_of(word) {
                self.put_back_from(taker, offer, slot, generation, pass)?;
            }
        }
        Ok(())
    }

    /// If the taker of an offer has died, or is lost in another way, its value can be taken again.
    pub(crate) fn put_back_from_the_dead(
        &self,
        taker: usize,
        offer: usize,
        slot: usize,
        generation: Generation,
        is_lost: bool,
    ) -> Quick<()> {
        let known = BTreeMap::from([(0, false)]);
        let pass = &mut Pass { net: self, known, stuck: BTreeSet::new() };
        if is_lost {
            pass.known.insert(self.chooser(taker)?.owner.load(Ordering::SeqCst), false);
        }
        self.put_back_from(taker, offer, slot, generation, pass)
    }

    fn put_back_from(
        &self,
        taker: usize,
        offer: usize,
        slot: usize,
        generation: Generation,
        pass: &mut Pass<'_>,
    ) -> Quick<()> {
        if self.is_slot_alive(taker, pass)? {
            return Ok(());
        }
        let state = self.offer(offer)?;
        let Some(lock) = pass.lock_now(state.channel.load(Ordering::Relaxed) as usize)? else { return Ok(()) };
        lock.put_back(offer, Some((slot, generation)), taker).map(drop)
    }

    /// Unless somebody is stopped with it.
    pub(crate) fn lock_now(&self, index: usize) -> Quick<Option<ChannelLock<'_>>> {
        match self.lock_soon(index) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if matches!(*error, Error::WouldBlock) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Offers of the dead, and those that their owners could not free.
    fn bury_offers(&self, pass: &mut Pass<'_>) -> Quick<()> {
        for (index, offer) in self.offers().iter().enumerate() {
            let owner = offer.owner.load(Ordering::SeqCst);
            let is_dead = owner == ZOMBIE || (Net::is_participant(owner) && !pass.is_alive(owner)?);
            if !is_dead {
                continue;
            }
            if owner != ZOMBIE {
                let chooser = self.chooser(offer.chooser.load(Ordering::Relaxed) as usize)?;
                let (generation, word) = chooser.chooser.state();
                let is_its = generation == offer.generation.load(Ordering::Relaxed);
                if let Some((taker, taken)) = taker_of(word).filter(|_| is_its) {
                    if taken == index && self.is_slot_alive(taker, pass)? {
                        continue; // it is being read
                    }
                }
                // From here on nobody can take it.
                if is_its && chooser.owner.load(Ordering::SeqCst) == owner {
                    chooser.chooser.withdraw(generation);
                }
            }
            let Some(lock) = pass.lock_now(offer.channel.load(Ordering::Relaxed) as usize)? else { continue };
            // Whoever had the lock before may have freed it, and it may be somebody else's.
            if offer.owner.load(Ordering::SeqCst) != owner {
                continue;
            }
            lock.unlink(index)?;
            crash_point!("csp.offer-buried");
            self.free_offer(index);
            lock.pass_on()?;
        }
        Ok(())
    }

    /// Ends that nobody has any more, and with them channels.
    fn bury_ends(&self, pass: &mut Pass<'_>) -> Quick<()> {
        for (entry, end) in self.ends().iter().enumerate() {
            let owner = end.owner.load(Ordering::SeqCst);
            if owner == 0 || self.is_owner_there(owner, |number| pass.is_alive(number))? {
                continue;
            }
            crash_point!("csp.end-buried");
            self.free_end_of(entry, owner);
        }
        let made: Vec<u32> = self.channels().iter().map(|channel| channel.ends_made.load(Ordering::SeqCst)).collect();
        // Which ends there are, of each channel.
        let mut living = [0u8; CHANNELS];
        for end in self.ends() {
            let tag = Tag::of(end.tag.load(Ordering::SeqCst)).filter(|_| end.owner.load(Ordering::SeqCst) != 0);
            let Some(tag) = tag else { continue };
            let index = usize::from(tag.channel);
            let is_its = self.channel(index).is_ok_and(|channel| channel.generation() == tag.generation);
            if is_its {
                living[index] |= 1 << tag.kind as u8;
            }
        }
        for ((index, channel), made) in self.channels().iter().enumerate().zip(made) {
            let generation = channel.generation();
            // One that has come meanwhile may have been missed: the next time.
            if generation == 0 || channel.ends_made.load(Ordering::SeqCst) != made {
                continue;
            }
            if living[index] == 0 {
                self.free_channel(index, pass)?;
                continue;
            }
            if channel.over() & (POISONED | NO_READERS) != 0 && !channel.buffer.is_empty() {
                // Whoever marked it could not do that, or something has come back from the dead.
                if let Some(lock) = pass.lock_now(index)? {
                    lock.clear()?;
                }
            }
            // Of a kind of which there has been one: of the others one may still be made.
            let had = channel.had.load(Ordering::SeqCst);
            for (kind, flag) in [(Kind::Reader, NO_READERS), (Kind::Writer, NO_WRITERS)] {
                let bit = 1 << kind as u8;
                if had & bit != 0 && living[index] & bit as u8 == 0 {
                    let tag = Tag { channel: index as u16, generation, kind };
                    self.note_departure(tag);
                    // The flag may have been set where nobody could be told.
                    if channel.over() & flag != 0 && channel.told.load(Ordering::SeqCst) & flag == 0 {
                        if let Some(lock) = pass.lock_now(index)? {
                            lock.poke_all()?;
                            channel.told.fetch_or(flag, Ordering::SeqCst);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// A channel that nobody has an end of. Under the registry.
    fn free_channel(&self, index: usize, pass: &mut Pass<'_>) -> Quick<()> {
        let Some(lock) = pass.lock_now(index)? else { return Ok(()) };
        lock.clear()?;
        // Also what one who has just died had taken from it: else it would come back into the next channel in this place.
        for (number, offer) in self.offers().iter().enumerate() {
            let is_its = offer.channel.load(Ordering::Relaxed) as usize == index;
            if is_its && offer.owner.load(Ordering::SeqCst) == BUFFERED {
                lock.bury(number)?;
            }
        }
        lock.channel.state.store(0, Ordering::SeqCst);
        crash_point!("csp.channel-freed");
        Ok(())
    }
}
