//! A queue as a process sees it: its memory, and what all operations have in common.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipc_core::{Deadline, Participant, Ring, Roles, Segment, View};
use ipc_sync::mechanism::{Lock, Locked, Slices, WaitWord};
use nix::unistd::{SysconfVar, sysconf};

use crate::error::Quick;
use crate::layout::{DEAD, EXTENTS, LEASE_WORDS, LeaseField, PENDING, QueueState, RETURNED};
use crate::place::Place;
use crate::settings::Settings;
use crate::{Error, shim, sys};

/// How long to look again and again before going to sleep: what it takes to be woken, at most.
const SPIN: Duration = Duration::from_micros(50);
/// How many pauses to make before the first look if the other side is as fast.
const PAUSES: u32 = 50;
/// How many looks there are between two at the clock.
const CLOCK_AFTER: u32 = 64;
/// Within so many looks it came at once.
const SOON: u32 = 4;
/// How often in a row that is no accident.
const AT_ONCE: u32 = 8;
/// How often to believe it then.
const TRUST: u32 = 200;
/// How long to sleep if the other end may not notice.
const UNANNOUNCED: Duration = Duration::from_millis(1);
/// How long a call that is not to wait does wait for a lock: its owner needs it for less than a microsecond, unless it is stopped.
const LOCK_PATIENCE: Duration = Duration::from_millis(1);

pub(crate) struct Core {
    pub(crate) view: View<QueueState>,
    pub(crate) ring: Ring,
    pub(crate) settings: Settings,
    /// For one producer and one consumer.
    pub(crate) is_single: bool,
    /// Departures that have been looked into: somebody else was left.
    seen_departures: AtomicU32,
    /// How this process waits for messages, and for room.
    pub(crate) pace: Pace,
    pub(crate) room_pace: Pace,
    /// When somebody last looked whether anybody is left, without waiting.
    last_look: AtomicU64,
}

impl Core {
    /// Makes the queue at the beginning of an empty segment.
    pub(crate) fn create(segment: &Segment, settings: Settings, contents: u64, is_single: bool) -> Quick<Core> {
        let view = segment.create(0, settings.words(), |view: &View<QueueState>| {
            view.producers.lock.init();
            view.consumers.lock.init();
            let said = &view.settings;
            said.items.store(settings.items, Ordering::Relaxed);
            said.ring.store(settings.ring, Ordering::Relaxed);
            said.max_message.store(settings.max_message, Ordering::Relaxed);
            said.leases.store(settings.leases, Ordering::Relaxed);
            said.max_deliveries.store(settings.max_deliveries, Ordering::Relaxed);
            said.contents.store(contents, Ordering::Relaxed);
            said.is_single.store(u32::from(is_single), Ordering::Relaxed);
        })?;
        Core::of(view, contents, is_single)
    }

    /// Opens what is there.
    pub(crate) fn open(segment: &Segment, contents: u64, is_single: bool) -> Quick<Core> {
        Core::of(segment.open(0)?, contents, is_single)
    }

    /// The settings are looked at once: what somebody writes over them later leads nobody astray.
    fn of(view: View<QueueState>, contents: u64, is_single: bool) -> Quick<Core> {
        let said = &view.settings;
        let word = |word: &shim::AtomicU64| word.load(Ordering::Relaxed);
        let settings = Settings {
            items: word(&said.items),
            ring: word(&said.ring),
            max_message: word(&said.max_message),
            leases: word(&said.leases),
            max_deliveries: word(&said.max_deliveries),
        };
        let refused = |text: &str| Box::new(Error::Memory(ipc_core::Error::Incompatible(text.into())));
        if word(&said.contents) != contents {
            return Err(refused("the queue is for another type of messages, or another codec"));
        }
        if said.is_single.load(Ordering::Relaxed) != u32::from(is_single) {
            return Err(refused("one of the two is a queue for one producer and one consumer, the other is not"));
        }
        if settings.checked().ok() != Some(settings) || settings.words() != view.words().len() {
            return Err(refused("the settings of the queue are damaged"));
        }
        let end = view.segment().end();
        if end.start != settings.layout().mapped as u64 || end.end != settings.layout().len {
            return Err(refused("the size of the memory does not fit the queue's settings"));
        }
        let ring = view.segment().ring(settings.ring_offset(), settings.ring as usize)?;
        Ok(Core {
            view,
            ring,
            settings,
            is_single,
            seen_departures: AtomicU32::new(0),
            pace: Pace::default(),
            room_pace: Pace::default(),
            last_look: AtomicU64::new(0),
        })
    }

    /// The same queue once more.
    pub(crate) fn again(&self) -> Core {
        Core {
            view: self.view.clone(),
            ring: self.ring.clone(),
            settings: self.settings,
            is_single: self.is_single,
            seen_departures: AtomicU32::new(0),
            pace: Pace::default(),
            room_pace: Pace::default(),
            last_look: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn segment(&self) -> &Segment {
        self.view.segment()
    }

    /// The number of this process.
    #[inline]
    pub(crate) fn me(&self) -> u64 {
        self.segment().participant().number()
    }

    /// Whether the process with this number is there.
    pub(crate) fn is_alive(&self, number: u64) -> Quick<bool> {
        match Participant::from_number(number) {
            Some(who) => Ok(self.segment().is_alive(who)?),
            None => Ok(false),
        }
    }

    /// Takes a lock. Whoever gets it from a dead owner must see to what that has left.
    #[inline(always)]
    pub(crate) fn lock(&self, lock: &Lock, deadline: Deadline) -> Quick<Locked> {
        match lock.acquire(self.segment(), deadline) {
            Ok(locked) => Ok(locked),
            Err(ipc_sync::Error::WouldBlock) => self.lock_patiently(lock),
            Err(error) => Err(error.into()),
        }
    }

    #[cold]
    fn lock_patiently(&self, lock: &Lock) -> Quick<Locked> {
        let locked = lock.acquire(self.segment(), Deadline::after(LOCK_PATIENCE));
        locked.map_err(
            |error| if matches!(error, ipc_sync::Error::Timeout) { Error::WouldBlock.into() } else { error.into() },
        )
    }

    #[inline(always)]
    pub(crate) fn unlock(&self, lock: &Lock, locked: Locked) {
        lock.give_back(self.segment(), locked);
    }

    #[inline]
    pub(crate) fn tail(&self) -> Place {
        Place(self.view.end.tail.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn taken(&self) -> Place {
        Place(self.view.consumers.taken.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn head(&self) -> Place {
        Place(self.view.head.head.load(Ordering::Acquire))
    }

    /// How far a place is behind another one; an error if that cannot be.
    #[inline]
    pub(crate) fn distance(&self, from: Place, to: Place) -> Quick<u64> {
        let bytes = to.bytes_since(from);
        if bytes <= self.settings.ring { Ok(bytes) } else { Err(Error::Damaged("its places are out of order").into()) }
    }

    pub(crate) fn lease_owner(&self, lease: usize) -> &AtomicU64 {
        &self.view.words()[lease]
    }

    fn lease_words(&self, lease: usize) -> &[AtomicU64] {
        let size = LEASE_WORDS as usize;
        let start = self.settings.leases as usize + lease * size;
        &self.view.words()[start..start + size]
    }

    pub(crate) fn lease_field(&self, lease: usize, field: LeaseField) -> &AtomicU64 {
        &self.lease_words(lease)[field as usize]
    }

    /// The bytes that are kept in a lease.
    pub(crate) fn lease_bytes(&self, lease: usize) -> &[AtomicU64] {
        &self.lease_words(lease)[LeaseField::COUNT..]
    }

    pub(crate) fn lease_owners(&self) -> &[AtomicU64] {
        &self.view.words()[..self.settings.leases as usize]
    }

    pub(crate) fn extent_words(&self) -> (&[AtomicU64], &[AtomicU64]) {
        let words = self.view.words();
        words[words.len() - 2 * EXTENTS as usize..].split_at(EXTENTS as usize)
    }

    /// How many messages there are to be taken.
    pub(crate) fn len(&self) -> usize {
        let taken = self.taken();
        let waiting = self.tail().items_since(taken);
        (waiting + self.returned_items()) as usize
    }

    fn returned_items(&self) -> u64 {
        let consumers = &self.view.consumers;
        if consumers.returned.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let hands = self.view.hands().filter(|hand| hand.owner.load(Ordering::Acquire) == RETURNED);
        let in_hands: u64 = hands
            .map(|hand| Place(hand.end.load(Ordering::Relaxed)).items_since(Place(hand.start.load(Ordering::Relaxed))))
            .sum();
        let leases = self.lease_owners().iter().filter(|owner| owner.load(Ordering::Relaxed) == RETURNED).count();
        in_hands + leases as u64
    }

    /// Whether there may be something to take.
    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        self.view.is_filled()
    }

    /// Messages that are not done with: in the queue, in hands, in leases; not the dead letters.
    pub(crate) fn unfinished(&self) -> u64 {
        loop {
            // In this order: the head never gets beyond a tail that was looked at later.
            let head = self.head();
            let before = self.tail();
            // A message gets into a lease before it leaves the ring.
            let in_ring = before.items_since(head);
            let kept = self.lease_owners().iter().filter(|owner| {
                let owner = owner.load(Ordering::SeqCst);
                owner != 0 && owner != DEAD && (owner == RETURNED || owner & PENDING == 0)
            });
            let kept = kept.count() as u64;
            // Only that there is nothing must be certain: who did one may have put others before it declared that done.
            if in_ring + kept != 0 || self.tail() == before {
                return in_ring + kept;
            }
        }
    }

    /// Closes the queue for everybody.
    pub(crate) fn close(&self) -> Quick<()> {
        self.segment().check_fork()?;
        self.view.mark_closed();
        ipc_core::crash_point!("close.marked");
        self.wake_all();
        Ok(())
    }

    pub(crate) fn wake_all(&self) {
        self.view.end.filled.wake();
        self.view.head.freed.wake();
        self.view.head.done.wake();
    }

    /// The last handle of a role in this process is gone: others look who is left.
    pub(crate) fn depart(&self) {
        self.view.settings.departures.fetch_add(1, Ordering::SeqCst);
        self.wake_all();
    }

    /// Whether somebody is left who has the other end, this process included.
    pub(crate) fn is_anybody_left(&self, role: Roles) -> Quick<bool> {
        Ok(self.segment().has_role(role)?)
    }

    /// Whether somebody is left who could end a wait: not if this process's only handle, which has both ends, is the last one in the world,
    /// and nothing can come back from a lease. As long as the queue has never left the process, threads may have the handle by
    /// reference.
    pub(crate) fn could_be_ended(&self) -> Quick<bool> {
        let segment = self.segment();
        let is_mine_alone = segment.own_handles() == 1 && segment.own_roles(Roles::BOTH) == 2;
        let is_alone = is_mine_alone && segment.was_shared() && !segment.has_others()?;
        Ok(!is_alone || self.lease_owners().iter().any(|owner| (1..RETURNED).contains(&owner.load(Ordering::Acquire))))
    }

    /// As [`is_anybody_left`](Core::is_anybody_left), looking only if somebody has left since the last time.
    #[inline]
    pub(crate) fn is_anybody_left_since(&self, role: Roles) -> Quick<bool> {
        let departures = self.view.settings.departures.load(Ordering::Relaxed);
        if departures == self.seen_departures.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let left = self.is_anybody_left(role)?;
        if left {
            self.seen_departures.store(departures, Ordering::Relaxed);
        }
        Ok(left)
    }

    /// Whether a call that does not wait should look who is left and who has died: now and then.
    pub(crate) fn is_look_due(&self) -> bool {
        let now = now();
        let last = self.last_look.load(Ordering::Relaxed);
        let due = now.wrapping_sub(last) >= 25_000_000;
        if due {
            self.last_look.store(now, Ordering::Relaxed);
        }
        due
    }

    /// The answer was that nobody is left: the next call is to find the same.
    pub(crate) fn look_again_soon(&self) {
        self.last_look.store(0, Ordering::Relaxed);
    }

    /// Waits until `ready` says yes: first looking again and again, then asleep. Every slice, and when somebody has left, `check` is asked
    /// whether there is a reason to give up.
    pub(crate) fn wait(
        &self,
        word: &WaitWord,
        waits: &shim::AtomicU64,
        pace: &Pace,
        deadline: Deadline,
        mut ready: impl FnMut() -> Quick<bool>,
        check: impl FnMut() -> Quick<()>,
    ) -> Quick<()> {
        if pace.spin(deadline, &mut ready)? {
            return Ok(());
        }
        self.wait_counted(word, Some(waits), deadline, ready, check)
    }

    /// The same, asleep from the first moment on.
    pub(crate) fn wait_asleep(
        &self,
        word: &WaitWord,
        deadline: Deadline,
        ready: impl FnMut() -> Quick<bool>,
        check: impl FnMut() -> Quick<()>,
    ) -> Quick<()> {
        self.wait_counted(word, None, deadline, ready, check)
    }

    fn wait_counted(
        &self,
        word: &WaitWord,
        waits: Option<&shim::AtomicU64>,
        deadline: Deadline,
        mut ready: impl FnMut() -> Quick<bool>,
        mut check: impl FnMut() -> Quick<()>,
    ) -> Quick<()> {
        let departures = || self.view.settings.departures.load(Ordering::SeqCst);
        let mut known = departures();
        check()?;
        let mut slices = Slices::new(deadline);
        loop {
            let ticket = word.prepare();
            // The others look for who sleeps after a plain store: `spsc.rs`.
            let is_announced = !self.is_single || sys::barrier();
            if ready()? {
                return Ok(());
            }
            if departures() == known {
                waits.map(|waits| waits.fetch_add(1, Ordering::Relaxed));
                let limit = slices.limit().ok_or(Error::Timeout)?;
                word.sleep(ticket, if is_announced { limit } else { limit.min(UNANNOUNCED) });
            }
            let now = departures();
            if slices.is_due() || now != known {
                known = now;
                self.segment().check_fork()?;
                if ready()? {
                    return Ok(());
                }
                check()?;
            }
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Core");
        shown.field("head", &self.head()).field("taken", &self.taken()).field("tail", &self.tail());
        shown.finish_non_exhaustive()
    }
}

/// How to look again and again without being in the way.
///
/// Who looks takes the line away from the one who is just writing it. If the other side is slow, that does not matter, and to look often is
/// to notice soon. If it is as fast as this one, both wait for the line at each message; then it is better to let some more come
/// together first. Which of them it is shows in how soon something came the last times.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// How often in a row something came at once.
    at_once: AtomicU32,
}

impl Pace {
    fn spin(&self, deadline: Deadline, ready: &mut impl FnMut() -> Quick<bool>) -> Quick<bool> {
        if !is_spinning_of_use() {
            return ready();
        }
        let at_once = self.at_once.load(Ordering::Relaxed);
        if at_once >= AT_ONCE {
            (0..PAUSES).for_each(|_| std::hint::spin_loop());
        }
        let mut start = None;
        let mut looks = 0;
        loop {
            std::hint::spin_loop();
            if ready()? {
                // Now and then it is tried out again.
                let next = if looks < SOON && at_once < AT_ONCE + TRUST { at_once + 1 } else { 0 };
                self.at_once.store(next, Ordering::Relaxed);
                return Ok(true);
            }
            looks += 1;
            // To read the clock takes longer than to look.
            if looks % CLOCK_AFTER == 0 {
                let start = *start.get_or_insert_with(Instant::now);
                if start.elapsed() >= SPIN || deadline.has_passed() {
                    self.at_once.store(0, Ordering::Relaxed);
                    return Ok(false);
                }
            }
        }
    }
}

/// Not where there is one processor, which the other side needs. How many this process may use says nothing about the other one.
fn is_spinning_of_use() -> bool {
    static ANSWER: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ANSWER.get_or_init(|| !matches!(sysconf(SysconfVar::_NPROCESSORS_ONLN), Ok(Some(1))))
}

/// The monotonic clock, in ns; the same for all processes of the machine.
pub(crate) fn now() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}
