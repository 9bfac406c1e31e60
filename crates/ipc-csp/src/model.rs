//! What the models of the choice have in common. They stand in `model/choice.rs`, as a part of `word.rs`, and beside them, in `control`, are the
//! mistakes that they must find. They run the words of choosers, and the words of `ipc-sync` on which those sleep, themselves; what surrounds
//! them in `choose.rs`, `list.rs`, `taken.rs` and `recover.rs` needs a process with a memory, and is restated here, with the name of the function.
//!
//! The locks of channels are loom's mutexes: what the real one promises is checked in `ipc-sync`. Nobody is killed in the middle of something;
//! that is for the campaigns. Time stands still: a poke that gets lost is a deadlock, and not a wait of 90 ms.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ipc_sync::mechanism::WaitWord;
use loom::sync::{Mutex, MutexGuard};

use crate::shim::AtomicU64;
use crate::word::{Chooser, Generation, State};

/// Choosers, each in the slot of that number.
pub(crate) const ANN: usize = 0;
pub(crate) const BOB: usize = 1;
pub(crate) const CID: usize = 2;
/// Channels.
pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
/// How many guards a choice has at most.
const GUARDS: usize = 2;

pub(crate) struct World {
    pub(crate) choosers: [Member; 3],
    channels: [Mutex<Channel>; 2],
    /// What is in the offers, of which each chooser has one for each guard. Weakly ordered, as it may be used again while it is read.
    values: [AtomicU64; 3 * GUARDS],
    pub(crate) mistake: Option<Mistake>,
    pub(crate) take: Turn,
    pub(crate) commit: Turn,
    pub(crate) put_back: Turn,
}

/// A step from one state of a chooser's word to the next one.
type Turn = fn(&Chooser, Generation, usize, usize) -> bool;

/// What is done in another way than it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// The flag is cleared after a look, and not before it, under the locks.
    ForgetsPokes,
    /// It looks, and makes its offers when the channels have been unlocked in between.
    OffersAfterTheLook,
    /// Who leaves does not tell the next one.
    LeavesInSilence,
    /// Who gives an offer back does not tell the readers.
    PutsBackInSilence,
    /// An offer is given back, and then put into its list.
    PutsBackUnlisted,
    /// Who takes the offer of one who waits for room does not tell the next one of the room there is.
    KeepsRoomToItself,
}

#[derive(Default)]
pub(crate) struct Member {
    pub(crate) chooser: Chooser,
    wait: WaitWord,
}

#[derive(Default)]
struct Channel {
    capacity: usize,
    buffer: Vec<u64>,
    writers: Vec<Offer>,
    readers: Vec<Offer>,
}

#[derive(Clone, Copy, Debug)]
struct Offer {
    index: usize,
    slot: usize,
    generation: Generation,
}

impl Channel {
    fn has_room(&self) -> bool {
        self.buffer.len() < self.capacity
    }

    fn has_values(&self) -> bool {
        !self.buffer.is_empty() || !self.writers.is_empty()
    }

    /// `ChannelLock::unlink`.
    fn unlink(&mut self, index: usize) {
        self.writers.retain(|offer| offer.index != index);
        self.readers.retain(|offer| offer.index != index);
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    channel: usize,
    value: Option<u64>,
}

pub(crate) fn read(channel: usize) -> Guard {
    Guard { channel, value: None }
}

pub(crate) fn write(channel: usize, value: u64) -> Guard {
    Guard { channel, value: Some(value) }
}

/// What has taken place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Written(u64),
    Read(u64),
}

/// A value in the hands of its reader.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Taken {
    Buffered(u64),
    Offered { index: usize, slot: usize, generation: Generation },
}

enum Chosen {
    Written(u64),
    Read(Taken),
}

impl World {
    pub(crate) fn new() -> World {
        World {
            choosers: Default::default(),
            channels: Default::default(),
            values: Default::default(),
            mistake: None,
            take: Chooser::take,
            commit: Chooser::commit,
            put_back: Chooser::put_back,
        }
    }

    pub(crate) fn with(mistake: Mistake) -> World {
        World { mistake: Some(mistake), ..World::new() }
    }

    /// Makes A a channel with a buffer for one value, which is full.
    pub(crate) fn fill(&self, value: u64) {
        let mut channel = self.channels[A].lock().unwrap();
        channel.capacity = 1;
        channel.buffer.push(value);
    }

    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn lock(&self, channels: impl Iterator<Item = usize>) -> Locked<'_> {
        let mut numbers: Vec<usize> = channels.collect();
        numbers.sort_unstable();
        numbers.dedup();
        let channels = numbers.into_iter().map(|number| (number, self.channels[number].lock().unwrap())).collect();
        Locked { world: self, channels, poked: Vec::new() }
    }

    /// `choose::choose`, which waits until something takes place, and what users do with it.
    pub(crate) fn choose(&self, slot: usize, guards: &[Guard]) -> Event {
        loop {
            match Choice::begin(self, slot, guards).wait() {
                Chosen::Written(value) => return Event::Written(value),
                Chosen::Read(taken) => {
                    if let Some(value) = self.finish(slot, taken) {
                        return Event::Read(value);
                    }
                }
            }
        }
    }

    /// `Choice::attempt` of a read: what there is.
    pub(crate) fn try_read(&self, slot: usize, channel: usize) -> Option<u64> {
        let taken = self.take_from(slot, channel)?;
        self.finish(slot, taken)
    }

    /// As far as that, and no further.
    pub(crate) fn take_from(&self, slot: usize, channel: usize) -> Option<Taken> {
        self.lock([channel].into_iter()).take(channel, slot)
    }

    /// `Taken::copy`, `Taken::finish`. `None` if it was withdrawn.
    pub(crate) fn finish(&self, slot: usize, taken: Taken) -> Option<u64> {
        match taken {
            Taken::Buffered(value) => Some(value),
            Taken::Offered { index, slot: from, generation } => {
                let value = self.values[index].load(Relaxed);
                let writer = &self.choosers[from];
                if !writer.chooser.is_taken(generation, slot, index)
                    || !(self.commit)(&writer.chooser, generation, slot, index)
                {
                    return None;
                }
                writer.wait.wake();
                Some(value)
            }
        }
    }

    /// `Net::put_back_from`, when the taker is known to be dead.
    pub(crate) fn put_back_from(&self, taker: usize, taken: Taken, channel: usize) {
        let Taken::Offered { index, slot, generation } = taken else { return };
        let mut locked = self.lock([channel].into_iter());
        let chooser = &self.choosers[slot].chooser;
        if !chooser.is_taken(generation, taker, index) {
            return;
        }
        let offer = Offer { index, slot, generation };
        if self.is(Mistake::PutsBackUnlisted) {
            (self.put_back)(chooser, generation, taker, index);
            drop(locked);
            locked = self.lock([channel].into_iter());
            locked.channel(channel).writers.insert(0, offer);
            return locked.poke_one(channel, |channel| &channel.readers);
        }
        locked.channel(channel).unlink(index);
        locked.channel(channel).writers.insert(0, offer);
        if !(self.put_back)(chooser, generation, taker, index) {
            return locked.channel(channel).unlink(index);
        }
        if !self.is(Mistake::PutsBackInSilence) {
            locked.poke_one(channel, |channel| &channel.readers);
        }
    }

    /// Everybody has returned.
    pub(crate) fn assert_nothing_is_left(&self) {
        for channel in &self.channels {
            let channel = channel.lock().unwrap();
            assert_eq!((channel.writers.len(), channel.readers.len()), (0, 0), "an offer is left");
        }
    }
}

/// Channels that are locked. Who was poked is woken when they are unlocked.
struct Locked<'a> {
    world: &'a World,
    channels: Vec<(usize, MutexGuard<'a, Channel>)>,
    poked: Vec<usize>,
}

impl Locked<'_> {
    fn channel(&mut self, number: usize) -> &mut Channel {
        let mut all = self.channels.iter_mut();
        all.find(|(other, _)| *other == number).map(|(_, channel)| &mut **channel).expect("it is locked")
    }

    /// `ChannelLock::take`.
    fn take(&mut self, number: usize, taker: usize) -> Option<Taken> {
        let world = self.world;
        let channel = self.channel(number);
        if !channel.buffer.is_empty() {
            let value = channel.buffer.remove(0);
            self.poke_one(number, |channel| &channel.writers);
            return Some(Taken::Buffered(value));
        }
        let take = |offer: &&Offer| {
            let Offer { index, slot, generation } = **offer;
            slot != taker && (world.take)(&world.choosers[slot].chooser, generation, taker, index)
        };
        let Offer { index, slot, generation } = *channel.writers.iter().find(take)?;
        channel.unlink(index);
        if channel.has_room() && !world.is(Mistake::KeepsRoomToItself) {
            self.poke_one(number, |channel| &channel.writers);
        }
        Some(Taken::Offered { index, slot, generation })
    }

    /// `ChannelLock::poke_one`.
    fn poke_one(&mut self, number: usize, list: fn(&Channel) -> &Vec<Offer>) {
        let world = self.world;
        let poke = |offer: &&Offer| {
            let chooser = &world.choosers[offer.slot].chooser;
            chooser.is_waiting(offer.generation) && chooser.poke()
        };
        let poked = list(self.channel(number)).iter().find(poke).map(|offer| offer.slot);
        self.poked.extend(poked);
    }

    /// `ChannelLock::pass_on`.
    fn pass_on(&mut self, number: usize) {
        if self.world.is(Mistake::LeavesInSilence) {
            return;
        }
        if self.channel(number).has_values() {
            self.poke_one(number, |channel| &channel.readers);
        }
        if self.channel(number).has_room() {
            self.poke_one(number, |channel| &channel.writers);
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.channels.clear();
        self.poked.iter().for_each(|slot| self.world.choosers[*slot].wait.wake());
    }
}

/// `choose::Choice`.
pub(crate) struct Choice<'a> {
    world: &'a World,
    slot: usize,
    generation: Generation,
    guards: Vec<Guard>,
    /// Which of them have an offer in a list.
    linked: Vec<bool>,
}

impl<'a> Choice<'a> {
    /// `Choice::wait_for_one`, at the beginning; `Choice::prepare`.
    pub(crate) fn begin(world: &'a World, slot: usize, guards: &[Guard]) -> Choice<'a> {
        let generation = world.choosers[slot].chooser.begin();
        for (nth, guard) in guards.iter().enumerate() {
            guard.value.into_iter().for_each(|value| world.values[slot * GUARDS + nth].store(value, Relaxed));
        }
        Choice { world, slot, generation, guards: guards.to_vec(), linked: vec![false; guards.len()] }
    }

    fn member(&self) -> &'a Member {
        &self.world.choosers[self.slot]
    }

    fn offer(&self, nth: usize) -> Offer {
        Offer { index: self.slot * GUARDS + nth, slot: self.slot, generation: self.generation }
    }

    fn is_done(&self) -> bool {
        matches!(self.member().chooser.state().1, State::Done { .. })
    }

    fn is_awaited(&self) -> bool {
        self.is_done() || self.member().chooser.is_poked()
    }

    /// `Choice::wait_for_one`, asleep for good.
    fn wait(&mut self) -> Chosen {
        match self.look() {
            Some(chosen) => chosen,
            None => self.sleep(),
        }
    }

    /// When it has looked, and offered.
    fn sleep(&mut self) -> Chosen {
        let member = self.member();
        loop {
            let ticket = member.wait.prepare();
            if !self.is_awaited() {
                member.wait.sleep(ticket, Duration::MAX);
            }
            if self.is_done() {
                return Chosen::Written(self.withdraw().expect("an offer was taken"));
            }
            if member.chooser.is_poked() {
                if let Some(chosen) = self.look() {
                    return chosen;
                }
            }
        }
    }

    /// Offers, and the time passes: `Choice::give_up`. What was written, if anything was.
    pub(crate) fn give_up(mut self) -> Option<u64> {
        self.offer_all();
        self.withdrawn()
    }

    /// It has looked, and waits.
    pub(crate) fn offer_all(&mut self) {
        assert!(self.look().is_none(), "there is nothing to be read");
    }

    /// It waits already, and the time passes.
    pub(crate) fn withdrawn(mut self) -> Option<u64> {
        self.withdraw()
    }

    /// It waits already, and goes on to do so.
    pub(crate) fn go_on(mut self) -> Event {
        let (world, slot, guards) = (self.world, self.slot, self.guards.clone());
        match self.sleep() {
            Chosen::Written(value) => Event::Written(value),
            Chosen::Read(taken) => match world.finish(slot, taken) {
                Some(value) => Event::Read(value),
                None => world.choose(slot, &guards),
            },
        }
    }

    /// `Choice::look`.
    fn look(&mut self) -> Option<Chosen> {
        let world = self.world;
        let chooser = &self.member().chooser;
        let mut locked = world.lock(self.guards.iter().map(|guard| guard.channel));
        if !world.is(Mistake::ForgetsPokes) {
            chooser.listen();
        }
        if !chooser.is_waiting(self.generation) {
            return None;
        }
        let mut chosen = None;
        for (nth, guard) in self.guards.iter().enumerate() {
            chosen = match guard.value {
                None => locked.take(guard.channel, self.slot).map(Chosen::Read),
                Some(value) => self.try_buffer(&mut locked, nth, value),
            };
            if chosen.is_some() {
                break;
            }
        }
        if chosen.is_some() {
            chooser.withdraw(self.generation);
            for (nth, guard) in self.guards.iter().enumerate() {
                locked.channel(guard.channel).unlink(self.offer(nth).index);
                locked.pass_on(guard.channel);
            }
            return chosen;
        }
        if world.is(Mistake::OffersAfterTheLook) {
            drop(locked);
            locked = world.lock(self.guards.iter().map(|guard| guard.channel));
        }
        for (nth, guard) in self.guards.iter().enumerate() {
            if std::mem::replace(&mut self.linked[nth], true) {
                continue;
            }
            let offer = Offer { index: self.slot * GUARDS + nth, slot: self.slot, generation: self.generation };
            let channel = locked.channel(guard.channel);
            if guard.value.is_none() {
                channel.readers.push(offer);
            } else {
                channel.writers.push(offer);
                locked.poke_one(guard.channel, |channel| &channel.readers);
            }
        }
        drop(locked);
        if world.is(Mistake::ForgetsPokes) {
            chooser.listen();
        }
        None
    }

    /// `Choice::try_buffer`.
    fn try_buffer(&self, locked: &mut Locked<'_>, nth: usize, value: u64) -> Option<Chosen> {
        let (number, index) = (self.guards[nth].channel, self.offer(nth).index);
        let channel = locked.channel(number);
        // `ChannelLock::is_next`.
        let is_told = |other: &Offer| {
            let chooser = &self.world.choosers[other.slot].chooser;
            !chooser.is_waiting(other.generation) || chooser.is_poked()
        };
        let is_next = channel.writers.iter().take_while(|other| other.index != index).all(is_told);
        if !channel.has_room() || !is_next {
            return None;
        }
        channel.unlink(index);
        channel.buffer.push(value);
        locked.poke_one(number, |channel| &channel.readers);
        if locked.channel(number).has_room() {
            locked.poke_one(number, |channel| &channel.writers);
        }
        Some(Chosen::Written(value))
    }

    /// `Choice::withdraw`. What was written, if anything was.
    fn withdraw(&mut self) -> Option<u64> {
        let done = self.member().chooser.withdraw(self.generation);
        let mut written = None;
        for (nth, guard) in self.guards.iter().enumerate() {
            let index = self.offer(nth).index;
            if done == Some(index) {
                written = guard.value;
            } else if self.linked[nth] {
                let mut locked = self.world.lock([guard.channel].into_iter());
                locked.channel(guard.channel).unlink(index);
                locked.pass_on(guard.channel);
            }
        }
        written
    }
}

/// Runs `first` in a thread of its own and `second` in this one; when both have ended, gives back what came of them, and the world.
pub(crate) fn both<R: 'static, S>(
    world: &Rc<World>,
    first: impl FnOnce(&World) -> R + 'static,
    second: impl FnOnce(&World) -> S,
) -> (R, S) {
    let theirs = Rc::clone(world);
    let thread = loom::thread::spawn(move || first(&theirs));
    let second = second(world);
    (thread.join().unwrap(), second)
}

/// Runs a model under all orders in which threads that could go on are interrupted so many times at most.
pub(crate) fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
