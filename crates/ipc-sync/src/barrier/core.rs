//! The algorithm of the barrier, over words that may be the machine's or loom's.
//!
//! To come, to enroll and to reset happen under a lock: they are short and rare. To break the barrier, to leave it and to let all go on do
//! not, so that a process which is stopped with the lock keeps nobody from that. Whoever is killed leaves nothing half done: each
//! step is one store that makes it happen, and what was stored before that means nothing without it.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use ipc_core::{Deadline, Participant, crash_point};

use super::BrokenBy;
use super::words::{Cause, Info, Kind, Moment, Phase, Reset};
use crate::lock::{Lock, Locked};
use crate::shim::{AtomicU32, AtomicU64, Word, order};
use crate::word::{SLICE, WaitWord};
use crate::{Error, Result};

/// Words per place: who has it, and its [`Info`].
pub(crate) const PLACE_WORDS: usize = 2;
/// How long a call that is not a wait may wait for the lock.
const PATIENCE: Duration = Duration::from_secs(1);

#[repr(C)]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct BarrierState {
    /// Who has it counts those who have come, gives out places and resets.
    lock: Lock,
    changed: WaitWord,
    /// When somebody last looked who is alive, so that one does it for all: milliseconds.
    looked: AtomicU32,
    /// A [`Reset`] each, the last one and the one before: each reset writes the one that does not count yet.
    resets: [AtomicU64; 2],
    /// A [`Cause`], noted before the moment is broken. It counts if the moment is, and is the one it was noted at.
    cause: AtomicU64,
    /// A [`Moment`].
    moment: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<BarrierState>() == size_of::<Lock>() + 40);

impl BarrierState {
    pub(super) fn init<W: Word>(&self, places: &[W]) {
        self.lock.init();
        // The memory need not be zero. What the other words contain does not matter.
        self.moment.store(0, Ordering::Relaxed);
        self.cause.store(0, Ordering::Relaxed);
        places.iter().for_each(|word| word.set(0));
    }
}

/// Who has arrived, when, and as the how many-th.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Moment,
    index: usize,
    is_last: bool,
}

/// The barrier as one of its users sees it.
pub(super) struct Core<'a, W, F> {
    state: &'a BarrierState,
    places: &'a [W],
    me: Participant,
    /// Fails in a forked copy of this process.
    is_alive: F,
}

/// The lock of a barrier, while it is held.
struct Inside<'a>(&'a Lock, Locked);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.release(self.1);
    }
}

/// A model has no clock.
fn at_most(limit: Duration) -> Deadline {
    if cfg!(loom) { Deadline::NEVER } else { Deadline::after(limit) }
}

impl<'a, W: Word, F: Fn(Participant) -> Result<bool>> Core<'a, W, F> {
    pub(super) fn new(state: &'a BarrierState, places: &'a [W], me: Participant, is_alive: F) -> Core<'a, W, F> {
        Core { state, places, me, is_alive }
    }

    fn enter(&self, deadline: Deadline) -> Result<Inside<'a>> {
        Ok(Inside(&self.state.lock, self.state.lock.take(deadline, || false)?))
    }

    /// With looks, meanwhile, whether the barrier is broken.
    fn enter_to_come(&self, deadline: Deadline) -> Result<Inside<'a>> {
        loop {
            let slice = match deadline.remaining() {
                Some(left) if left <= SLICE => deadline,
                _ => at_most(SLICE),
            };
            match self.enter(slice) {
                Err(Error::Timeout) if !deadline.has_passed() => self.unbroken().map(drop)?,
                result => return result,
            }
        }
    }

    fn now(&self) -> Moment {
        Moment(self.state.moment.load(Ordering::SeqCst))
    }

    /// Goes on to another moment, unless it is not this one any more.
    fn step(&self, from: Moment, to: Moment) -> bool {
        self.state.moment.compare_exchange(from.0, to.0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn parties(&self) -> usize {
        self.places.len() / PLACE_WORDS
    }

    fn owner(&self, place: usize) -> &W {
        &self.places[place * PLACE_WORDS]
    }

    fn info(&self, place: usize) -> Info {
        Info(self.places[place * PLACE_WORDS + 1].value())
    }

    fn set_info(&self, place: usize, info: Info) {
        self.places[place * PLACE_WORDS + 1].set(info.0);
    }

    fn pid(&self, place: usize) -> u32 {
        Participant::from_number(self.owner(place).value()).map_or(0, Participant::pid)
    }

    fn arrived(&self, now: Moment) -> usize {
        (0..self.parties()).filter(|place| self.info(*place).has_arrived(now)).count()
    }

    fn find(&self, kind: Kind, now: Moment) -> Option<usize> {
        (0..self.parties()).find(|place| self.info(*place).kind(now) == kind)
    }

    /// A place that nobody has; that of one who left before all others, as to take it is to come in its stead.
    fn vacant(&self, now: Moment) -> Option<usize> {
        self.find(Kind::Left, now).or_else(|| self.find(Kind::Free, now))
    }

    /// The name first: whoever is killed in between leaves a place of which is known what it was known of before. With the lock.
    fn take(&self, place: usize, info: Info) {
        self.owner(place).set(self.me.number());
        crash_point!("barrier.place-taken");
        self.set_info(place, info);
    }

    /// Whether this is a copy of the process that came: an action may fork.
    fn is_forked(&self) -> bool {
        matches!((self.is_alive)(self.me), Err(Error::Forked))
    }

    fn has_died(&self, place: usize) -> Result<bool> {
        let owner = Participant::from_number(self.owner(place).value());
        Ok(!owner.map_or(Ok(false), &self.is_alive)?)
    }

    /// A place whose owner is needed, and dead, and its pid. One question to the kernel for places of one process in a row, none for
    /// our own.
    fn find_dead(&self, now: Moment, is_needed: impl Fn(Kind) -> bool) -> Result<Option<(usize, u32)>> {
        let mut alive = self.me.number();
        for place in 0..self.parties() {
            let (info, owner) = (self.info(place), self.owner(place).value());
            if !is_needed(info.kind(now)) || owner == alive {
                continue;
            }
            let who = Participant::from_number(owner); // none: nobody of ours has written that
            if who.map_or(Ok(false), &self.is_alive)? {
                alive = owner;
            } else if owner == self.owner(place).value() && info == self.info(place) {
                return Ok(Some((place, who.map_or(0, Participant::pid))));
            }
        }
        Ok(None)
    }

    /// Breaks the barrier if somebody is dead who has enrolled or arrived.
    fn look(&self, now: Moment) -> Result<()> {
        if let Some((_, pid)) = self.find_dead(now, |kind| matches!(kind, Kind::Enrolled | Kind::Once))? {
            self.break_at(now, BrokenBy::Died { pid });
        }
        Ok(())
    }

    /// Breaks the barrier if somebody has left.
    fn look_for_left(&self, now: Moment) {
        if let Some(place) = self.find(Kind::Left, now) {
            self.break_at(now, BrokenBy::Left { pid: self.pid(place) });
        }
    }

    /// Whether nobody has looked who is there for a slice. It is asked by all who wait, once per slice, and one is told to look.
    fn is_time_to_look(&self) -> bool {
        if cfg!(loom) {
            return false; // a model has no clock
        }
        // The wall clock, as the monotonic one need not be the same in all processes. If it is set, one look comes too early.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (now, looked) = (since.as_millis() as u32, &self.state.looked);
        let before = looked.load(Ordering::Relaxed);
        now.wrapping_sub(before) >= SLICE.as_millis() as u32
            && looked.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Looks for parties that will not come, and breaks the barrier if there are any.
    fn check(&self, alone: &mut impl FnMut() -> Result<()>) -> Result<()> {
        if !self.is_time_to_look() {
            return Ok(());
        }
        let now = self.now();
        self.look_for_left(now);
        self.look(now)?;
        if self.now().phase() == Phase::Broken { Ok(()) } else { alone() }
    }

    /// How many parties of this process have enrolled, and whether one of them has not come yet.
    pub(super) fn enrolled_here(&self) -> (usize, bool) {
        let now = self.now();
        let is_mine = |place: &usize| {
            self.info(*place).kind(now) == Kind::Enrolled && self.owner(*place).value() == self.me.number()
        };
        let mine = || (0..self.parties()).filter(is_mine);
        (mine().count(), mine().any(|place| !self.info(place).has_arrived(now)))
    }

    pub(super) fn enroll(&self) -> Result<usize> {
        let _inside = self.enter(at_most(PATIENCE))?;
        let now = self.now();
        let place = match self.vacant(now) {
            Some(place) => place,
            None => {
                let dead = self.find_dead(now, |kind| kind == Kind::Enrolled)?;
                let (place, pid) = dead.ok_or(Error::Full { parties: self.parties() as u32 })?;
                if self.arrived(now) > 0 {
                    self.break_at(now, BrokenBy::Died { pid });
                }
                place
            }
        };
        self.take(place, Info::of(Kind::Enrolled));
        crash_point!("barrier.enrolled");
        Ok(place)
    }

    /// By the owner of the place, which nobody else may change while that lives.
    pub(super) fn leave(&self, place: usize) {
        self.set_info(place, Info::of(Kind::Left));
        order(); // who arrives writes that first, and then looks who has left: one of the two sees the other
        // Those who wait already are told at once; left alone, they would find out by their next look at who is there.
        let now = self.now();
        if self.arrived(now) > 0 {
            self.break_at(now, BrokenBy::Left { pid: self.me.pid() });
        }
    }

    /// Waits with a place of one's own.
    pub(super) fn wait(
        &self,
        place: usize,
        deadline: Deadline,
        alone: impl FnMut() -> Result<()>,
        action: Option<&mut dyn FnMut()>,
    ) -> Result<usize> {
        self.meet(Kind::Enrolled, |_| Ok(Some(place)), deadline, alone, action)
    }

    /// Waits with a place for this one time.
    pub(super) fn wait_once(&self, deadline: Deadline, alone: impl FnMut() -> Result<()>) -> Result<usize> {
        self.meet(Kind::Once, |now| self.place_for_once(now), deadline, alone, None)
    }

    /// `None` if there will be one when others have met.
    fn place_for_once(&self, now: Moment) -> Result<Option<usize>> {
        let place = self.vacant(now);
        if place.is_some() || self.find(Kind::Once, now).is_some() {
            return Ok(place);
        }
        // All have enrolled, and nobody else will come; that of a dead one is not for the taking before its death is known.
        self.look(now)?;
        self.unbroken()?;
        Err(Error::Full { parties: self.parties() as u32 })
    }

    fn meet(
        &self,
        kind: Kind,
        find_place: impl Fn(Moment) -> Result<Option<usize>>,
        deadline: Deadline,
        mut alone: impl FnMut() -> Result<()>,
        action: Option<&mut dyn FnMut()>,
    ) -> Result<usize> {
        let mut is_party = true;
        let come = || {
            let arrival = self.come(kind, &find_place, deadline)?;
            is_party = arrival.is_some(); // else it waits for others to go
            Ok(arrival)
        };
        match self.state.changed.wait(deadline, come, || self.check(&mut alone)) {
            Ok(arrival) => self.attend(arrival, deadline, alone, action),
            Err(Error::Timeout) => {
                let now = self.unbroken()?;
                if is_party && now.phase() == Phase::Filling {
                    self.break_at(now, self.reason(&Error::Timeout));
                }
                Err(Error::Timeout)
            }
            Err(error) => Err(error),
        }
    }

    /// The moment, unless it is broken.
    fn unbroken(&self) -> Result<Moment> {
        loop {
            let now = self.now();
            if now.phase() != Phase::Broken {
                return Ok(now);
            }
            if let Some(error) = self.broken(now) {
                return Err(error);
            }
        }
    }

    /// What those get who find it broken at this moment; unless it has passed.
    fn broken(&self, at: Moment) -> Option<Error> {
        let cause = Cause(self.state.cause.load(Ordering::SeqCst));
        if cause.is_of(at) {
            return Some(Error::Broken(cause.broken_by()));
        }
        (self.now() == at).then_some(Error::Damaged("the barrier is broken without a cause"))
    }

    /// Arrives, if there is a place and no action is being run.
    fn come(
        &self,
        kind: Kind,
        find_place: &impl Fn(Moment) -> Result<Option<usize>>,
        deadline: Deadline,
    ) -> Result<Option<Arrival>> {
        let now = self.unbroken()?;
        // Without the lock, as it is asked again and again by those for whom there is no place as yet.
        if now.phase() == Phase::Acting {
            if self.is_time_to_look() {
                self.look(now)?;
            }
            return Ok(None);
        }
        if kind == Kind::Once && find_place(now)?.is_none() {
            return Ok(None);
        }
        let _inside = self.enter_to_come(deadline)?;
        let now = self.unbroken()?;
        if now.phase() == Phase::Acting {
            return Ok(None);
        }
        find_place(now)?.map(|place| self.arrive(place, kind, now, deadline)).transpose()
    }

    /// With the lock.
    fn arrive(&self, place: usize, kind: Kind, now: Moment, deadline: Deadline) -> Result<Arrival> {
        let index = self.arrived(now);
        let is_last = index + 1 == self.parties();
        if !is_last && deadline.is_now() {
            return Err(Error::WouldBlock);
        }
        self.take(place, Info::of(kind).arrived(now));
        crash_point!("barrier.arrived");
        Ok(Arrival { at: now, index, is_last })
    }

    /// What there is to do for one who has arrived.
    fn attend(
        &self,
        arrival: Arrival,
        deadline: Deadline,
        mut alone: impl FnMut() -> Result<()>,
        action: Option<&mut dyn FnMut()>,
    ) -> Result<usize> {
        let ready = || self.outcome(arrival.at);
        let ended = if arrival.is_last {
            self.complete(arrival.at, action).and_then(|()| ready()?.ok_or(Error::Damaged("the barrier did not open")))
        } else {
            order(); // see `leave`
            self.look_for_left(arrival.at);
            self.state.changed.wait(deadline, ready, || self.check(&mut alone))
        };
        match ended {
            Ok(()) => Ok(arrival.index),
            Err(error @ (Error::Broken(_) | Error::Forked)) => Err(error),
            // The others would wait for us in vain; if it is not over already.
            Err(error) if self.break_at(arrival.at, self.reason(&error)) => Err(error),
            Err(error) => ready()?.map(|()| arrival.index).ok_or(error),
        }
    }

    /// Why those who wait for us get to know that we gave up.
    fn reason(&self, error: &Error) -> BrokenBy {
        let pid = self.me.pid();
        match error {
            Error::Timeout => BrokenBy::Timeout { pid },
            Error::Abandoned => BrokenBy::Abandoned { pid },
            _ => BrokenBy::Aborted { pid },
        }
    }

    /// Lets everybody go on, after the action; unless somebody is dead.
    fn complete(&self, at: Moment, action: Option<&mut dyn FnMut()>) -> Result<()> {
        let mut from = at;
        self.look(at)?;
        if let Some(action) = action {
            from = at.with(Phase::Acting);
            if !self.step(at, from) {
                return Ok(());
            }
            self.act(at, action)?;
            self.look(at)?;
        }
        if self.step(from, at.all_met()) {
            crash_point!("barrier.released");
            self.state.changed.wake();
        }
        Ok(())
    }

    /// Runs the action as the only one.
    fn act(&self, at: Moment, action: &mut dyn FnMut()) -> Result<()> {
        struct Panicked<'b, 'a, W: Word, F: Fn(Participant) -> Result<bool>>(&'b Core<'a, W, F>, Moment);
        impl<W: Word, F: Fn(Participant) -> Result<bool>> Drop for Panicked<'_, '_, W, F> {
            fn drop(&mut self) {
                if !self.0.is_forked() {
                    self.0.break_at(self.1, BrokenBy::Action { pid: self.0.me.pid() });
                }
            }
        }
        let panicked = Panicked(self, at);
        action();
        std::mem::forget(panicked);
        if self.is_forked() { Err(Error::Forked) } else { Ok(()) }
    }

    /// How it ended for those who arrived then; `None` if it has not.
    fn outcome(&self, at: Moment) -> Result<Option<()>> {
        loop {
            let now = self.now();
            match now.resets_since(at) {
                0 if now.met() != at.met() => return Ok(Some(())),
                0 if now.phase() != Phase::Broken => return Ok(None),
                0 => {
                    if let Some(error) = self.broken(now) {
                        return Err(error);
                    }
                }
                1 => {
                    let reset = Reset(self.state.resets[(now.resets() & 1) as usize].load(Ordering::SeqCst));
                    // Did all meet before the reset?
                    if self.now().resets() == now.resets() {
                        let met = reset.met() != at.met();
                        return if met { Ok(Some(())) } else { Err(Error::Broken(reset.cause())) };
                    }
                }
                // Nobody knows any more, and it is safe to say no.
                _ => return Err(Error::Broken(BrokenBy::Reset)),
            }
        }
    }

    /// Breaks the barrier, if it is still that time and nobody has done it. Needs no lock.
    fn break_at(&self, at: Moment, cause: BrokenBy) -> bool {
        self.note(at, cause);
        crash_point!("barrier.cause-noted");
        let broken =
            [Phase::Filling, Phase::Acting].iter().any(|phase| self.step(at.with(*phase), at.with(Phase::Broken)));
        if broken {
            crash_point!("barrier.broken");
            self.state.changed.wake();
        }
        broken
    }

    /// Notes the cause, unless somebody, perhaps dead by now, has noted one for this moment already.
    fn note(&self, at: Moment, cause: BrokenBy) {
        loop {
            let word = self.state.cause.load(Ordering::SeqCst);
            // In this order: the word is not replaced any more once the moment has passed and somebody noted what broke another one.
            if Cause(word).is_of(at) || self.now().stamp() != at.stamp() {
                return;
            }
            let next = Cause::of(cause, at).0;
            if self.state.cause.compare_exchange(word, next, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return;
            }
        }
    }

    pub(super) fn abort(&self) {
        loop {
            let now = self.now();
            if now.phase() == Phase::Broken || self.break_at(now, BrokenBy::Aborted { pid: self.me.pid() }) {
                return;
            }
        }
    }

    /// `gently`: only if it is broken.
    pub(super) fn reset(&self, gently: bool) -> Result<()> {
        let _inside = self.enter(at_most(PATIENCE))?;
        // Broken first: who is killed before the end must not leave places free in which others wait for somebody.
        let cause = loop {
            match self.unbroken() {
                Ok(_) if gently => return Ok(()),
                Ok(now) => self.break_at(now, BrokenBy::Reset),
                Err(Error::Broken(cause)) => break cause,
                Err(_) => break BrokenBy::Reset, // without a cause
            };
        };
        let now = self.now(); // it stays: nobody else resets
        for place in 0..self.parties() {
            let is_gone = match self.info(place).kind(now) {
                Kind::Left => true,
                Kind::Enrolled => self.has_died(place)?,
                Kind::Free | Kind::Once => false,
            };
            if is_gone {
                self.set_info(place, Info::of(Kind::Free));
            }
        }
        let next = now.after_reset();
        self.state.resets[(next.resets() & 1) as usize].store(Reset::of(now, cause).0, Ordering::SeqCst);
        self.state.moment.store(next.0, Ordering::SeqCst);
        self.state.changed.wake();
        Ok(())
    }

    pub(super) fn waiting(&self) -> u32 {
        let now = self.now();
        if now.phase() == Phase::Broken { 0 } else { self.arrived(now) as u32 }
    }

    pub(super) fn broken_by(&self) -> Result<Option<BrokenBy>> {
        let now = self.unbroken();
        if let Ok(now) = now {
            if self.arrived(now) > 0 {
                self.look(now)?;
            }
        }
        match self.unbroken() {
            Ok(_) => Ok(None),
            Err(Error::Broken(cause)) => Ok(Some(cause)),
            Err(error) => Err(error),
        }
    }
}

#[cfg(all(test, loom))]
#[path = "../model/barrier.rs"]
mod checks;
