//! The choice: of several communications the one that takes place. A plain read or write is a choice of one.
//!
//! Whoever reads is active: it takes a value, from a buffer or from one who waits. Whoever writes makes an offer and waits until it is taken, and until
//! the reader has it: only then the value is read, in the same step as it is written. A reader that finds nothing makes an offer, too, by
//! which a writer finds whom to tell. To wait is: make all offers, look at all channels under all their locks, and sleep until somebody has taken
//! an offer or told to look again.

use std::sync::atomic::Ordering;

use ipc_core::{Deadline, crash_point};
use ipc_sync::mechanism::Slices;
use smallvec::SmallVec;

use crate::Error;
use crate::ends::{Encoded, End};
use crate::error::Quick;
use crate::layout::{BUFFERED, POISONED, Which, ZOMBIE};
use crate::list::{ChannelLock, taker_of};
use crate::net::{LOCK_PATIENCE, Net, Slot, thread_id};
use crate::pause::{Patience, Pause, now};
use crate::taken::Taken;
use crate::word::{Generation, State};

/// How many guards a choice can have: a thread cannot hold many more locks.
pub(crate) const GUARDS: usize = 512;

/// A communication that may take place.
pub(crate) struct Guard<'a> {
    pub(crate) channel: usize,
    /// Which of the channels that have been in that place.
    generation: u32,
    /// The value, if one is to be written.
    pub(crate) value: Option<&'a Encoded<'a>>,
    offer: Option<usize>,
}

impl<'a> Guard<'a> {
    pub(crate) fn read(end: &End) -> Guard<'a> {
        Guard { channel: end.channel(), generation: end.tag.generation, value: None, offer: None }
    }

    pub(crate) fn write(end: &End, value: &'a Encoded<'a>) -> Guard<'a> {
        Guard { channel: end.channel(), generation: end.tag.generation, value: Some(value), offer: None }
    }
}

/// What has taken place.
pub(crate) enum Event<'a> {
    /// This was written.
    Written,
    /// This is about to be read.
    Read(Taken<'a>),
    /// The channel has ended.
    Over(Error),
}

/// Which of the guards, and what.
pub(crate) type Chosen<'a> = (usize, Event<'a>);

/// Communicates by one of the guards: of several that are possible at once, by the first one.
pub(crate) fn choose<'a>(net: &'a Net, guards: &mut [Guard<'_>], deadline: Deadline) -> Quick<Chosen<'a>> {
    if guards.len() > GUARDS {
        return Err(Error::Full { what: "guards in a choice", max: GUARDS }.into());
    }
    let slot = net.claim_slot()?;
    let mut choice = Choice { net, slot: Some(slot), guards, generation: None, is_linked: false, is_news: false };
    if let Some(chosen) = choice.attempt_each(deadline)? {
        return Ok(chosen);
    }
    if deadline.is_now() {
        net.look_for_the_dead(false)?; // who only ever asks is to see the end, too
        return Err(Error::WouldBlock.into());
    }
    if choice.guards.is_empty() {
        return Err(Error::NoGuard.into());
    }
    let is_passive = choice.is_passive()?;
    if is_passive {
        if let Some(chosen) = choice.watch(deadline)? {
            return Ok(chosen);
        }
    }
    choice.wait(deadline, !is_passive)
}

/// A choice that is being made. Dropped, it withdraws what it has offered.
struct Choice<'a, 'g, 'v> {
    net: &'a Net,
    /// Until it goes on to what was taken.
    slot: Option<Slot<'a>>,
    guards: &'g mut [Guard<'v>],
    /// While offers of it can be taken.
    generation: Option<Generation>,
    /// Some of them may be in lists.
    is_linked: bool,
    /// Something has just come for its only guard: to look at the channel before it is locked would only fetch its line twice.
    is_news: bool,
}

impl<'a> Choice<'a, '_, '_> {
    fn slot(&self) -> &Slot<'a> {
        self.slot.as_ref().expect("a choice has its slot until it is made")
    }

    /// What is possible at once, of all.
    fn attempt_each(&mut self, deadline: Deadline) -> Quick<Option<Chosen<'a>>> {
        let is_polite = self.guards.len() > 1 || deadline.is_now();
        for index in 0..self.guards.len() {
            if index > 0 {
                if !self.may_be_ready(index)? {
                    continue;
                }
                // Something may have come for an earlier one meanwhile, and before this. (What is offered was offered already.)
                for earlier in 0..index {
                    if !self.is_offered(earlier)? && self.may_be_ready(earlier)? {
                        if let Some(event) = self.attempt(earlier, is_polite, deadline)? {
                            return Ok(Some((earlier, event)));
                        }
                    }
                }
            }
            if let Some(event) = self.attempt(index, is_polite, deadline)? {
                return Ok(Some((index, event)));
            }
        }
        Ok(None)
    }

    /// Whether it is a write that somebody has to take.
    fn is_offered(&self, index: usize) -> Quick<bool> {
        let guard = &self.guards[index];
        Ok(guard.value.is_some() && self.net.channel(guard.channel)?.capacity.load(Ordering::Relaxed) == 0)
    }

    /// A hint.
    fn may_be_ready(&self, index: usize) -> Quick<bool> {
        let channel = self.net.channel(self.guards[index].channel)?;
        let is_possible = match self.guards[index].value {
            None => channel.has_values(),
            Some(_) if self.is_offered(index)? => !channel.readers.is_empty(),
            Some(_) => channel.may_have_room(),
        };
        Ok(is_possible || channel.over() != 0)
    }

    /// Whether nobody needs to know of this choice: it takes what others offer, or puts a value where there is room.
    fn is_passive(&self) -> Quick<bool> {
        for index in 0..self.guards.len() {
            if self.is_offered(index)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Looks for a while whether something becomes possible. Others have less to do with one who has not offered anything yet.
    fn watch(&mut self, deadline: Deadline) -> Quick<Option<Chosen<'a>>> {
        let mut seen: SmallVec<[u32; 8]> = SmallVec::new();
        let mut pause = Pause::new(deadline);
        loop {
            seen.clear();
            for guard in self.guards.iter() {
                seen.push(self.net.channel(guard.channel)?.news.0.load(Ordering::Acquire));
            }
            if let Some(chosen) = self.attempt_each(deadline)? {
                return Ok(Some(chosen));
            }
            self.is_news = false;
            let channels = &self.net.view.channels;
            let has_news =
                |(guard, seen): (&Guard<'_>, &u32)| channels[guard.channel].news.0.load(Ordering::Acquire) != *seen;
            while !self.guards.iter().zip(&seen).any(has_news) {
                if !pause.goes_on() {
                    return Ok(None);
                }
            }
            self.is_news = self.guards.len() == 1;
        }
    }

    /// What is possible at once, without offering it to all. `is_polite`: others are there that may be chosen instead, so an offer to one
    /// who waits is made for a moment only.
    fn attempt(&mut self, index: usize, is_polite: bool, deadline: Deadline) -> Quick<Option<Event<'a>>> {
        let net = self.net;
        let (number, is_write) = (self.guards[index].channel, self.guards[index].value.is_some());
        let channel = net.channel(number)?;
        if !is_write {
            if !self.is_news && !channel.has_values() && channel.end().is_none() {
                return Ok(None);
            }
            let lock = self.lock(index, deadline)?;
            return self.try_read(&lock);
        }
        if channel.capacity.load(Ordering::Relaxed) > 0 {
            if let Some(error) = channel.end() {
                return Ok(Some(Event::Over(error)));
            }
            if !channel.may_have_room() {
                return Ok(None);
            }
            self.prepare(index)?;
            let lock = self.lock(index, deadline)?;
            return self.try_buffer(&lock, index);
        }
        // A value with ends is offered once only: who has taken it, and is too late, has its ends in hand.
        let is_polite = is_polite && (deadline.is_now() || !self.guards[index].value.is_some_and(Encoded::has_ends));
        if !is_polite {
            return Ok(None); // all that is to be known is asked under the lock
        }
        if let Some(error) = channel.end() {
            return Ok(Some(Event::Over(error)));
        }
        if channel.readers.is_empty() {
            return Ok(None);
        }
        self.offer_briefly(index, deadline)
    }

    fn lock(&self, index: usize, deadline: Deadline) -> Quick<ChannelLock<'a>> {
        let guard = &self.guards[index];
        let lock = self.net.lock(guard.channel, deadline)?;
        lock.channel.check(guard.generation)?;
        Ok(lock)
    }

    /// Takes what there is. The lock is held.
    fn try_read(&mut self, lock: &ChannelLock<'a>) -> Quick<Option<Event<'a>>> {
        if lock.channel.over() & POISONED == 0 {
            if let Some((offer, source)) = lock.take(self.slot().index)? {
                return Ok(Some(Event::Read(Taken::new(self.slot.take(), offer, source))));
            }
        }
        // What somebody has taken from the buffer comes back if that one dies.
        let over = lock.channel.end();
        Ok(over.filter(|error| matches!(error, Error::Poisoned) || !lock.is_anything_taken()).map(Event::Over))
    }

    /// Leaves a value in the buffer, if there is room. The lock is held.
    fn try_buffer(&mut self, lock: &ChannelLock<'a>, index: usize) -> Quick<Option<Event<'a>>> {
        if let Some(error) = lock.channel.end() {
            return Ok(Some(Event::Over(error)));
        }
        let Some(offer) = self.guards[index].offer else { return Ok(None) };
        let state = self.net.offer(offer)?;
        if !lock.has_room() || !lock.is_next(offer)? {
            return Ok(None);
        }
        if state.list.load(Ordering::Relaxed) == 0 {
            lock.stamp(state);
        } else {
            lock.unlink(offer)?;
        }
        // First nobody can take another one of the offers; then, in this order, whoever finds it half done does the rest.
        if let Some(generation) = self.generation {
            self.slot().state().chooser.withdraw(generation);
        }
        state.list.store(Which::Buffer as u32, Ordering::Relaxed);
        state.taker.store(0, Ordering::Relaxed);
        state.owner.store(BUFFERED, Ordering::SeqCst);
        self.guards[index].offer = None;
        self.guards[index].value.into_iter().for_each(Encoded::note_written);
        crash_point!("csp.buffered");
        lock.link(offer, Which::Buffer)?;
        lock.poke_one(Which::Readers)?;
        if lock.has_room() {
            lock.poke_one(Which::Writers)?;
        }
        Ok(Some(Event::Written))
    }

    /// Puts the value of a guard into an offer, before anything is locked.
    fn prepare(&mut self, index: usize) -> Quick<()> {
        let guard = &mut self.guards[index];
        let offer = match guard.offer {
            Some(offer) => offer,
            None => {
                let offer = self.net.claim_offer()?;
                guard.offer = Some(offer);
                if let Some(value) = guard.value {
                    self.net.fill(offer, &value.bytes)?;
                    value.put_into(offer);
                }
                crash_point!("csp.filled");
                offer
            }
        };
        let (state, slot) = (self.net.offer(offer)?, self.slot().index);
        state.chooser.store(slot as u32, Ordering::Relaxed);
        state.generation.store(self.generation.unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }

    /// Offers a value to one who waits to read, for as long as that one needs to take it.
    fn offer_briefly(&mut self, index: usize, deadline: Deadline) -> Quick<Option<Event<'a>>> {
        self.generation = Some(self.slot().state().chooser.begin());
        self.prepare(index)?;
        // If somebody is stopped with the lock, nobody is ready.
        let Ok(lock) = self.net.lock_soon(self.guards[index].channel) else { return Ok(self.recall()) };
        if lock.channel.readers.is_empty() {
            drop(lock);
            return Ok(self.recall());
        }
        self.link(&lock, index)?;
        drop(lock);
        let left = deadline.remaining().filter(|_| !deadline.is_now()).unwrap_or(LOCK_PATIENCE);
        let deadline = Deadline::after(left.min(LOCK_PATIENCE));
        let state = self.slot().state();
        self.note_wait(deadline);
        let mut slices = Slices::new(deadline);
        while !self.is_done() {
            if self.spin(|choice| choice.is_done(), deadline) {
                break;
            }
            let ticket = state.wait.prepare();
            let Some(limit) = slices.limit().filter(|_| !self.is_done()) else { break };
            state.wait.sleep(ticket, limit);
        }
        Ok(self.recall())
    }

    fn recall(&mut self) -> Option<Event<'a>> {
        self.withdraw().map(|_| Event::Written)
    }

    /// Puts an offer into its list, and tells one who may want it.
    fn link(&mut self, lock: &ChannelLock<'a>, index: usize) -> Quick<()> {
        let guard = &self.guards[index];
        let Some(offer) = guard.offer else { return Ok(()) };
        let which = if guard.value.is_some() { Which::Writers } else { Which::Readers };
        lock.stamp(self.net.offer(offer)?);
        self.is_linked = true;
        lock.link(offer, which)?;
        crash_point!("csp.linked");
        if which == Which::Writers {
            lock.poke_one(Which::Readers)?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        matches!(self.slot().state().chooser.state().1, State::Done { .. })
    }

    /// Offers all, and waits until one of them is taken, or there is something to take.
    fn wait(&mut self, deadline: Deadline, is_spinning: bool) -> Quick<Chosen<'a>> {
        match self.wait_for_one(deadline, is_spinning) {
            // Whatever went wrong: an offer may have been taken.
            Err(error) if self.slot.is_some() => self.give_up(error),
            done => done,
        }
    }

    fn wait_for_one(&mut self, deadline: Deadline, mut is_spinning: bool) -> Quick<Chosen<'a>> {
        self.generation = Some(self.slot().state().chooser.begin());
        for index in 0..self.guards.len() {
            self.prepare(index)?;
        }
        self.note_wait(deadline);
        if let Some(chosen) = self.look(deadline)? {
            return Ok(chosen);
        }
        let mut slices = Slices::new(deadline);
        let mut patience = Patience::default();
        loop {
            let chooser = self.slot().state();
            let is_awaited = is_spinning && self.spin(|choice| choice.is_awaited(), deadline);
            if !is_awaited {
                let ticket = chooser.wait.prepare();
                if !self.is_awaited() {
                    match slices.limit() {
                        Some(limit) => {
                            if chooser.since.load(Ordering::Relaxed) == 0 {
                                chooser.since.store(now(), Ordering::Relaxed);
                            }
                            chooser.wait.sleep(ticket, limit);
                        }
                        None => {
                            self.net.look_for_the_dead(false)?;
                            return Err(Error::Timeout.into());
                        }
                    }
                }
            }
            if self.is_done() {
                return Err(Error::Damaged("a value was taken and not taken").into()); // it is found when it is withdrawn
            }
            let is_due = slices.is_due();
            // Again only when something goes on: to spin in every slice would cost as much as all the rest.
            is_spinning = chooser.chooser.is_poked();
            if is_due {
                self.net.segment().check_fork()?;
                self.net.look_for_the_dead(false)?;
                match self.look_for_a_lost_taker(&mut patience) {
                    // Somebody is stopped with the lock: later.
                    Err(error) if matches!(*error, Error::WouldBlock) => {}
                    done => done?,
                }
            }
            if is_due || chooser.chooser.is_poked() {
                if let Some(chosen) = self.look(deadline)? {
                    return Ok(chosen);
                }
                // Others may take everything away, again and again.
                if deadline.has_passed() {
                    return Err(Error::Timeout.into());
                }
            }
        }
    }

    /// Whether it is time to do something.
    fn is_awaited(&self) -> bool {
        self.is_done() || self.slot().state().chooser.is_poked()
    }

    /// The time has passed, or an offer has been taken; who withdraws learns which.
    #[inline]
    fn give_up(&mut self, error: Box<Error>) -> Quick<Chosen<'a>> {
        match self.withdraw() {
            Some(index) => Ok((index, Event::Written)),
            None => Err(error),
        }
    }

    fn note_wait(&self, deadline: Deadline) {
        let state = self.slot().state();
        state.since.store(0, Ordering::Relaxed); // until it sleeps: to ask for the time takes longer than much else
        state.forever.store(u32::from(deadline == Deadline::NEVER), Ordering::Relaxed);
        state.thread.store(thread_id(), Ordering::Relaxed);
    }

    /// Locks all channels, does what is possible, and else makes sure that all offers are made.
    fn look(&mut self, deadline: Deadline) -> Quick<Option<Chosen<'a>>> {
        let mut numbers: SmallVec<[usize; 8]> = self.guards.iter().map(|guard| guard.channel).collect();
        // In this order everywhere, so that nobody waits for somebody who waits for it.
        numbers.sort_unstable();
        numbers.dedup();
        let mut locks: SmallVec<[ChannelLock<'a>; 1]> = SmallVec::new();
        for number in &numbers {
            locks.push(self.net.lock(*number, deadline)?);
        }
        let chooser = &self.slot().state().chooser;
        chooser.listen();
        let Some(generation) = self.generation.filter(|generation| chooser.is_waiting(*generation)) else {
            return Ok(None); // somebody is taking an offer
        };
        let lock_of = |number: usize| {
            let at = numbers.binary_search(&number).map_err(|_| Error::Damaged("a channel is not locked"))?;
            Ok::<_, Error>(&locks[at])
        };
        let mut chosen = None;
        for index in 0..self.guards.len() {
            let lock = lock_of(self.guards[index].channel)?;
            lock.channel.check(self.guards[index].generation)?;
            let event = match self.guards[index].value {
                None => self.try_read(lock)?,
                Some(_) if lock.channel.capacity.load(Ordering::Relaxed) > 0 => self.try_buffer(lock, index)?,
                Some(_) => lock.channel.end().map(Event::Over),
            };
            if let Some(event) = event {
                chosen = Some((index, event));
                break;
            }
        }
        if let Some((_, event)) = &chosen {
            // Nobody can have taken one of the offers, as their channels are locked.
            let slot = match event {
                Event::Read(taken) => taken.slot(),
                _ => self.slot(),
            };
            slot.state().chooser.withdraw(generation);
            self.generation = None;
            for guard in self.guards.iter_mut() {
                if let Some(offer) = guard.offer.take() {
                    let lock = lock_of(guard.channel)?;
                    lock.unlink(offer)?;
                    lock.pass_on()?;
                    take_back(self.net, guard.value, offer);
                }
            }
            self.is_linked = false;
            return Ok(chosen);
        }
        for index in 0..self.guards.len() {
            let guard = &self.guards[index];
            let Some(offer) = guard.offer else { continue };
            if self.net.offer(offer)?.list.load(Ordering::Relaxed) == 0 {
                self.link(lock_of(guard.channel)?, index)?;
            }
        }
        crash_point!("csp.offered");
        Ok(None)
    }

    /// One who has taken an offer and died before it had the value gives it back; also one who is stopped: if it goes on, it finds that it is too late.
    fn look_for_a_lost_taker(&self, patience: &mut Patience) -> Quick<()> {
        let (slot, (generation, state)) = (self.slot().index, self.slot().state().chooser.state());
        let Some((taker, offer)) = taker_of(state).filter(|_| Some(generation) == self.generation) else {
            patience.since = None;
            return Ok(());
        };
        let is_lost = patience.is_over() && self.net.offer(offer)?.ends.load(Ordering::Relaxed) == 0;
        self.net.put_back_from_the_dead(taker, offer, slot, generation, is_lost)
    }

    /// Looks again and again for a while.
    #[inline]
    fn spin(&self, mut ready: impl FnMut(&Self) -> bool, deadline: Deadline) -> bool {
        let mut pause = Pause::new(deadline);
        loop {
            if ready(self) {
                return true;
            }
            if !pause.goes_on() {
                return false;
            }
        }
    }

    /// Takes back all offers. Returns the guard of the one that was taken, if one was.
    fn withdraw(&mut self) -> Option<usize> {
        let generation = self.generation.take()?;
        let done = self.slot().state().chooser.withdraw(generation);
        crash_point!("csp.withdrawn");
        let mut chosen = None;
        for (index, guard) in self.guards.iter_mut().enumerate() {
            let Some(offer) = guard.offer.take() else { continue };
            let is_done = done == Some(offer);
            if is_done {
                chosen = Some(index);
                guard.value.into_iter().for_each(Encoded::note_written);
            } else if let Some(value) = guard.value {
                value.take_out_of(offer);
            }
            let Ok(state) = self.net.offer(offer) else { continue };
            // Whoever took it has taken it out of its list, too.
            let is_listed = self.is_linked && (!is_done || state.list.load(Ordering::Relaxed) != 0);
            let unlinked = match is_listed {
                false => Ok(()),
                true => self.net.lock_soon(guard.channel).and_then(|lock| {
                    lock.unlink(offer)?;
                    lock.pass_on()
                }),
            };
            match unlinked {
                Ok(()) => self.net.free_offer(offer),
                // Somebody is stopped with the lock: whoever has it next takes the offer out and frees it.
                Err(_) => state.owner.store(ZOMBIE, Ordering::SeqCst),
            }
        }
        self.is_linked = false;
        chosen
    }
}

/// Frees an offer that was not taken up.
fn take_back(net: &Net, value: Option<&Encoded<'_>>, offer: usize) {
    if let Some(value) = value {
        value.take_out_of(offer);
    }
    net.free_offer(offer);
}

impl Drop for Choice<'_, '_, '_> {
    fn drop(&mut self) {
        if !self.net.segment().is_original() {
            return;
        }
        if self.slot.is_some() {
            self.withdraw();
        }
        // Those that were never offered; or an error has come in between.
        for guard in self.guards.iter_mut() {
            let Some(offer) = guard.offer.take() else { continue };
            match self.net.offer(offer) {
                Ok(state) if state.list.load(Ordering::Relaxed) != 0 => state.owner.store(ZOMBIE, Ordering::SeqCst),
                _ => take_back(self.net, guard.value, offer),
            }
        }
    }
}
