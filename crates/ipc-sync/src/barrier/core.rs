//! The algorithm of the barrier, over words that may be the machine's or loom's.
//!
//! What happens at a barrier is short and rare, so it happens under a lock. Whoever is killed while it has the lock leaves nothing half
//! done: each step is one store that makes it happen, and what was stored before that means nothing without it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ipc_core::{Deadline, Participant, crash_point};

use super::BrokenBy;
use crate::lock::{Lock, Locked};
use crate::shim::{AtomicU32, AtomicU64, Word};
use crate::word::WaitWord;
use crate::{Error, Result};

/// Words per place: who has it, and its [`Info`].
pub(crate) const PLACE_WORDS: usize = 2;
/// How long a call may wait for the lock that is not itself a wait, where it cannot report an error.
const PATIENCE: Duration = Duration::from_secs(1);

#[repr(C)]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct BarrierState {
    lock: Lock,
    changed: WaitWord,
    /// How often all came together when the last reset was, and the one before: each reset writes the one that does not count yet.
    reset_at: [AtomicU32; 2],
    /// Why it is broken; counts while the phase says so.
    cause: AtomicU32,
    cause_pid: AtomicU32,
    unused: u32,
    /// A [`Moment`].
    moment: AtomicU64,
}

/// All that must change in one step.
///
/// ```text
/// bits 0 to 31   how often all parties came together
///     32 to 55   how often it was reset
///     56, 57     the phase
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Parties come.
    Filling,
    /// All have come, and one of them runs the action.
    Acting,
    Broken,
}

impl Moment {
    const PHASE: u32 = 56;
    const RESET: u64 = 1 << 32;

    fn phase(self) -> Phase {
        match self.0 >> Moment::PHASE {
            0 => Phase::Filling,
            1 => Phase::Acting,
            _ => Phase::Broken,
        }
    }

    fn with(self, phase: Phase) -> Moment {
        let bits = match phase {
            Phase::Filling => 0,
            Phase::Acting => 1,
            Phase::Broken => 2,
        };
        Moment(self.stamp() | bits << Moment::PHASE)
    }

    /// Without the phase.
    fn stamp(self) -> u64 {
        self.0 & ((1 << Moment::PHASE) - 1)
    }

    fn met(self) -> u32 {
        self.0 as u32
    }

    fn resets(self) -> u32 {
        (self.stamp() >> 32) as u32
    }

    fn all_met(self) -> Moment {
        Moment((self.stamp() & !u64::from(u32::MAX)) | u64::from(self.met().wrapping_add(1)))
    }

    fn after_reset(self) -> Moment {
        Moment(self.stamp().wrapping_add(Moment::RESET)).with(Phase::Filling)
    }
}

/// What a place is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Free,
    /// Until its owner leaves.
    Enrolled,
    /// Its owner was enrolled and has left.
    Left,
    /// Once: when the moment has passed it is free again by itself.
    Once,
}

/// The second word of a place: bits 0 to 1 the kind, bit 2 whether its owner has arrived, the rest the moment at which it did.
#[derive(Clone, Copy, Debug)]
struct Info(u64);

impl Info {
    const ARRIVED: u64 = 4;
    const STAMP: u32 = 8;

    fn of(kind: Kind) -> Info {
        Info(match kind {
            Kind::Free => 0,
            Kind::Enrolled => 1,
            Kind::Left => 2,
            Kind::Once => 3,
        })
    }

    fn arrived(self, now: Moment) -> Info {
        Info((self.0 & 3) | Info::ARRIVED | now.stamp() << Info::STAMP)
    }

    fn has_arrived(self, now: Moment) -> bool {
        self.0 & Info::ARRIVED != 0 && self.0 >> Info::STAMP == now.stamp()
    }

    fn kind(self, now: Moment) -> Kind {
        match self.0 & 3 {
            1 => Kind::Enrolled,
            2 => Kind::Left,
            3 if self.has_arrived(now) => Kind::Once,
            _ => Kind::Free,
        }
    }
}

/// Who has arrived, when, and as the how many-th.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Moment,
    index: usize,
    is_last: bool,
}

impl BarrierState {
    pub(super) fn init<W: Word>(&self, places: &[W]) {
        self.lock.init();
        self.moment.store(0, Ordering::Relaxed);
        places.iter().for_each(|word| word.set(0));
    }

    pub(crate) fn is_lock_held_here(&self) -> bool {
        self.lock.is_held_here()
    }

    fn now(&self) -> Moment {
        Moment(self.moment.load(Ordering::SeqCst))
    }
}

/// The barrier as one of its users sees it.
pub(super) struct Core<'a, W, F> {
    state: &'a BarrierState,
    places: &'a [W],
    me: Participant,
    is_alive: F,
}

/// The lock of a barrier, while it is held.
struct Inside<'a>(&'a Lock, Locked);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.release(self.1);
    }
}

impl<'a, W: Word, F: Fn(Participant) -> Result<bool>> Core<'a, W, F> {
    pub(super) fn new(state: &'a BarrierState, places: &'a [W], me: Participant, is_alive: F) -> Core<'a, W, F> {
        Core { state, places, me, is_alive }
    }

    fn enter(&self, deadline: Deadline) -> Result<Inside<'a>> {
        Ok(Inside(&self.state.lock, self.state.lock.take(deadline, || false)?))
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

    fn arrived(&self, now: Moment) -> usize {
        (0..self.parties()).filter(|place| self.info(*place).has_arrived(now)).count()
    }

    fn has_died(&self, place: usize) -> Result<bool> {
        match Participant::from_number(self.owner(place).value()) {
            Some(owner) if owner == self.me => Ok(false),
            Some(owner) => Ok(!(self.is_alive)(owner)?),
            None => Ok(true), // nobody of ours has written that
        }
    }

    /// A place to take; also one whose owner is dead. With the lock.
    fn take_place(&self, now: Moment) -> Result<Option<usize>> {
        let free = |place: &usize| matches!(self.info(*place).kind(now), Kind::Free | Kind::Left);
        let mut place = (0..self.parties()).find(free);
        if place.is_none() {
            for candidate in 0..self.parties() {
                if self.info(candidate).kind(now) == Kind::Enrolled && self.has_died(candidate)? {
                    place = Some(candidate);
                    break;
                }
            }
        }
        if let Some(place) = place {
            self.set_info(place, Info::of(Kind::Free)); // nobody, until the new owner's name is there
            self.owner(place).set(self.me.number());
        }
        Ok(place)
    }

    pub(super) fn enroll(&self) -> Result<usize> {
        let inside = self.enter(Deadline::NEVER)?;
        let place = self.take_place(self.state.now())?.ok_or(Error::Full { parties: self.parties() as u32 })?;
        self.set_info(place, Info::of(Kind::Enrolled));
        crash_point!("barrier.enrolled");
        drop(inside);
        Ok(place)
    }

    pub(super) fn leave(&self, place: usize) {
        let Ok(inside) = self.enter(Deadline::after(PATIENCE)) else { return };
        self.set_info(place, Info::of(Kind::Left));
        drop(inside);
        self.state.changed.wake();
    }

    /// Waits with a place of one's own.
    pub(super) fn wait(
        &self,
        place: usize,
        deadline: Deadline,
        alone: impl FnMut() -> Result<()>,
        action: Option<&mut dyn FnMut()>,
    ) -> Result<usize> {
        let inside = self.enter(deadline)?;
        let now = self.come()?;
        let arrival = self.arrive(place, self.info(place), now, deadline)?;
        self.meet(inside, arrival, deadline, alone, action)
    }

    /// Waits with a place for this one time.
    pub(super) fn wait_once(&self, deadline: Deadline, mut alone: impl FnMut() -> Result<()>) -> Result<usize> {
        let mut inside = None;
        let ready = || {
            let entered = self.enter(deadline)?;
            let now = self.come()?;
            let Some(place) = self.take_place(now)? else {
                let others = (0..self.parties()).any(|place| self.info(place).kind(now) == Kind::Once);
                // The places are free again when those who have them have met.
                return if others { Ok(None) } else { Err(Error::Full { parties: self.parties() as u32 }) };
            };
            let arrival = self.arrive(place, Info::of(Kind::Once), now, deadline)?;
            inside = Some(entered);
            Ok(Some(arrival))
        };
        let arrival = self.state.changed.wait(deadline, ready, || self.check(deadline, &mut alone))?;
        let inside = inside.expect("it arrived with the lock");
        self.meet(inside, arrival, deadline, alone, None)
    }

    /// The moment, unless it is broken. With the lock.
    fn come(&self) -> Result<Moment> {
        let now = self.state.now();
        if now.phase() == Phase::Broken { Err(Error::Broken(self.cause())) } else { Ok(now) }
    }

    /// With the lock.
    fn arrive(&self, place: usize, info: Info, now: Moment, deadline: Deadline) -> Result<Arrival> {
        let index = self.arrived(now);
        let is_last = index + 1 == self.parties();
        if !is_last && deadline.is_now() {
            return Err(Error::WouldBlock);
        }
        self.set_info(place, info.arrived(now));
        crash_point!("barrier.arrived");
        Ok(Arrival { at: now, index, is_last })
    }

    fn meet(
        &self,
        inside: Inside<'_>,
        arrival: Arrival,
        deadline: Deadline,
        mut alone: impl FnMut() -> Result<()>,
        action: Option<&mut dyn FnMut()>,
    ) -> Result<usize> {
        if arrival.is_last {
            if let Some(action) = action {
                self.state.moment.store(arrival.at.with(Phase::Acting).0, Ordering::SeqCst);
                drop(inside);
                return self.act(arrival, action);
            }
            self.release(inside, arrival.at);
            return Ok(arrival.index);
        }
        let left = self.find_left(arrival.at);
        if let Some(cause) = left {
            self.break_it(cause);
        }
        drop(inside);
        if left.is_some() {
            self.state.changed.wake();
        }
        let ready = || {
            if self.state.now().stamp() == arrival.at.stamp() && self.state.now().phase() != Phase::Broken {
                return Ok(None);
            }
            let _inside = self.enter(deadline)?;
            self.outcome(arrival).map(Some)
        };
        let result = self.state.changed.wait(deadline, ready, || self.check(deadline, &mut alone));
        match result {
            Err(error @ (Error::Broken(_) | Error::Forked)) => Err(error),
            // The others would wait for us in vain.
            Err(error) => match self.give_up(arrival, BrokenBy::Timeout { pid: self.me.pid() }) {
                Some(outcome) => outcome,
                None => Err(error),
            },
            Ok(()) => Ok(arrival.index),
        }
    }

    /// Lets everybody go on.
    fn release(&self, inside: Inside<'_>, at: Moment) {
        self.state.moment.store(at.all_met().0, Ordering::SeqCst);
        crash_point!("barrier.released");
        drop(inside);
        self.state.changed.wake();
    }

    /// Runs the action, without the lock, as the only one.
    fn act(&self, arrival: Arrival, action: &mut dyn FnMut()) -> Result<usize> {
        struct Panicked<'b, 'a, W: Word, F: Fn(Participant) -> Result<bool>>(&'b Core<'a, W, F>, Arrival);
        impl<W: Word, F: Fn(Participant) -> Result<bool>> Drop for Panicked<'_, '_, W, F> {
            fn drop(&mut self) {
                self.0.give_up(self.1, BrokenBy::Action { pid: self.0.me.pid() });
            }
        }
        let panicked = Panicked(self, arrival);
        action();
        std::mem::forget(panicked);
        let inside = self.enter(Deadline::NEVER)?;
        if self.state.now() == arrival.at.with(Phase::Acting) {
            self.release(inside, arrival.at);
            return Ok(arrival.index);
        }
        self.outcome(arrival).map(|()| arrival.index)
    }

    /// How it ended for somebody who arrived. With the lock.
    fn outcome(&self, arrival: Arrival) -> Result<()> {
        let now = self.state.now();
        let resets = now.resets().wrapping_sub(arrival.at.resets());
        if resets == 0 {
            return match now.phase() {
                _ if now.met() != arrival.at.met() => Ok(()),
                Phase::Broken => Err(Error::Broken(self.cause())),
                Phase::Filling | Phase::Acting => Err(Error::Damaged("the barrier went back in time")),
            };
        }
        // Did all meet before the reset? After two resets nobody knows any more, and it is safe to say no.
        let reset_at = self.state.reset_at[(now.resets() & 1) as usize].load(Ordering::SeqCst);
        if resets == 1 && reset_at != arrival.at.met() { Ok(()) } else { Err(Error::Broken(BrokenBy::Reset)) }
    }

    /// Breaks the barrier, as this party will not wait any longer; unless the wait is over, then says how it ended.
    fn give_up(&self, arrival: Arrival, cause: BrokenBy) -> Option<Result<usize>> {
        let inside = self.enter(Deadline::after(PATIENCE)).ok()?;
        let now = self.state.now();
        if now.stamp() != arrival.at.stamp() || now.phase() == Phase::Broken {
            return Some(self.outcome(arrival).map(|()| arrival.index));
        }
        self.break_it(cause);
        drop(inside);
        self.state.changed.wake();
        None
    }

    /// Looks for parties that will not come, and breaks the barrier if there are any.
    fn check(&self, deadline: Deadline, alone: &mut impl FnMut() -> Result<()>) -> Result<()> {
        let inside = self.enter(deadline)?;
        let now = self.state.now();
        if now.phase() == Phase::Broken {
            return Ok(());
        }
        let mut cause = self.find_left(now);
        for place in 0..self.parties() {
            let kind = self.info(place).kind(now);
            if cause.is_none() && matches!(kind, Kind::Enrolled | Kind::Once) && self.has_died(place)? {
                cause = Some(BrokenBy::Died { pid: self.pid(place) });
            }
        }
        let Some(cause) = cause else {
            drop(inside);
            return alone();
        };
        self.break_it(cause);
        drop(inside);
        self.state.changed.wake();
        Ok(())
    }

    fn find_left(&self, now: Moment) -> Option<BrokenBy> {
        let left = (0..self.parties()).find(|place| self.info(*place).kind(now) == Kind::Left)?;
        Some(BrokenBy::Left { pid: self.pid(left) })
    }

    fn pid(&self, place: usize) -> u32 {
        Participant::from_number(self.owner(place).value()).map_or(0, Participant::pid)
    }

    /// With the lock.
    fn break_it(&self, cause: BrokenBy) {
        let (code, pid) = match cause {
            BrokenBy::Died { pid } => (0, pid),
            BrokenBy::Left { pid } => (1, pid),
            BrokenBy::Timeout { pid } => (2, pid),
            BrokenBy::Aborted { pid } => (3, pid),
            BrokenBy::Action { pid } => (4, pid),
            BrokenBy::Reset => (5, 0),
        };
        self.state.cause.store(code, Ordering::SeqCst);
        self.state.cause_pid.store(pid, Ordering::SeqCst);
        self.state.moment.store(self.state.now().with(Phase::Broken).0, Ordering::SeqCst);
        crash_point!("barrier.broken");
    }

    /// With the lock.
    fn cause(&self) -> BrokenBy {
        let pid = self.state.cause_pid.load(Ordering::SeqCst);
        match self.state.cause.load(Ordering::SeqCst) {
            0 => BrokenBy::Died { pid },
            1 => BrokenBy::Left { pid },
            2 => BrokenBy::Timeout { pid },
            3 => BrokenBy::Aborted { pid },
            4 => BrokenBy::Action { pid },
            _ => BrokenBy::Reset,
        }
    }

    pub(super) fn abort(&self) -> Result<()> {
        let inside = self.enter(Deadline::NEVER)?;
        if self.state.now().phase() != Phase::Broken {
            self.break_it(BrokenBy::Aborted { pid: self.me.pid() });
        }
        drop(inside);
        self.state.changed.wake();
        Ok(())
    }

    pub(super) fn reset(&self) -> Result<()> {
        let inside = self.enter(Deadline::NEVER)?;
        let now = self.state.now();
        let next = now.after_reset();
        for place in 0..self.parties() {
            let gone = match self.info(place).kind(now) {
                Kind::Left => true,
                Kind::Enrolled => self.has_died(place)?,
                Kind::Free | Kind::Once => false,
            };
            if gone {
                self.set_info(place, Info::of(Kind::Free));
            }
        }
        self.state.reset_at[(next.resets() & 1) as usize].store(now.met(), Ordering::SeqCst);
        self.state.moment.store(next.0, Ordering::SeqCst);
        drop(inside);
        self.state.changed.wake();
        Ok(())
    }

    pub(super) fn waiting(&self) -> u32 {
        let now = self.state.now();
        if now.phase() == Phase::Broken { 0 } else { self.arrived(now) as u32 }
    }

    pub(super) fn broken_by(&self) -> Result<Option<BrokenBy>> {
        let _inside = self.enter(Deadline::NEVER)?;
        Ok((self.state.now().phase() == Phase::Broken).then(|| self.cause()))
    }
}
