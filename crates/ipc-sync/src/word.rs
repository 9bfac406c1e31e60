//! A word to sleep on, and who wakes whom.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ipc_core::{Deadline, crash_point};

use crate::shim::{Futex, Instant, order};
use crate::{Error, Result};

/// How long anybody sleeps before looking again, whatever happens. A process that changes what others wait for and is killed before it
/// wakes them costs them this much.
pub(crate) const SLICE: Duration = Duration::from_millis(25);
/// How many such slices there are in a wait.
const SHORT_SLICES: u32 = 1;
/// How long those sleep who have waited longer than that: to wake up costs up to 60 µs of a processor's time, and who waits for long is
/// to cost less than a thousandth of it.
const LONG_SLICE: Duration = Duration::from_millis(90);

/// Somebody sleeps, or is about to. A flag and not a counter: a counter would never come back to zero after a sleeper is killed.
const WAITERS: u32 = 1;
/// The other bits count wake-ups, so that one that comes between the look at the condition and the sleep is not missed.
const ROUND: u32 = 2;

/// An eventcount: whoever finds that it has to wait sleeps here, whoever changes what others may wait for wakes all of them.
///
/// ```text
/// waiter                              waker
///   prepare: set WAITERS                change the condition
///   look at the condition again         WAITERS set? clear it and count, in one step; wake all
///   sleep, unless the word changed
/// ```
/// One of the two sees the other: both sides write first and then look, in the total order of `SeqCst`.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct WaitWord(Futex);

/// The word as it was when a waiter announced itself.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u32);

impl WaitWord {
    /// Announces a waiter. From now on every wake changes the word.
    pub fn prepare(&self) -> Ticket {
        let ticket = Ticket(self.0.value().fetch_or(WAITERS, Ordering::SeqCst) | WAITERS);
        order();
        ticket
    }

    /// Whether nobody has been woken since.
    pub fn is_current(&self, ticket: Ticket) -> bool {
        self.0.value().load(Ordering::SeqCst) == ticket.0
    }

    /// Sleeps until somebody wakes, unless somebody has since the ticket was given out.
    pub fn sleep(&self, ticket: Ticket, limit: Duration) {
        crash_point!("word.waiting");
        self.0.sleep(ticket.0, limit);
    }

    /// Wakes everybody who waits. One load if nobody does.
    #[inline]
    pub fn wake(&self) {
        order();
        let word = self.0.value().load(Ordering::SeqCst);
        if word & WAITERS != 0 {
            self.wake_from(word);
        }
    }

    #[cold]
    fn wake_from(&self, mut word: u32) {
        // The flag goes before the wake: cleared after it, it would also hide whoever came in between.
        while word & WAITERS != 0 {
            let next = (word & !WAITERS).wrapping_add(ROUND);
            match self.0.value().compare_exchange(word, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    crash_point!("word.cleared");
                    return self.0.wake_all();
                }
                Err(now) => word = now, // another waker has cleared it and wakes, or a waiter has come
            }
        }
    }

    /// Waits until `ready` gives something. Every slice `check` is asked whether there is a reason to give up.
    pub(crate) fn wait<R>(
        &self,
        deadline: Deadline,
        mut ready: impl FnMut() -> Result<Option<R>>,
        mut check: impl FnMut() -> Result<()>,
    ) -> Result<R> {
        if let Some(result) = ready()? {
            return Ok(result);
        }
        if deadline.is_now() {
            return Err(Error::WouldBlock);
        }
        let mut clock = Slices::new(deadline);
        loop {
            let ticket = self.prepare();
            if let Some(result) = ready()? {
                return Ok(result);
            }
            self.sleep(ticket, clock.limit().ok_or(Error::Timeout)?);
            if clock.is_due() {
                // The last one may have made it ready, and was killed before it woke us.
                if let Err(error) = check() {
                    return ready()?.ok_or(error);
                }
            }
        }
    }
}

/// Cuts a wait into slices.
#[derive(Debug)]
pub struct Slices {
    deadline: Deadline,
    slept: u32,
    checked: Instant,
}

impl Slices {
    /// From now on.
    pub fn new(deadline: Deadline) -> Slices {
        Slices::after(0, deadline)
    }

    /// For one who has slept so many slices already.
    pub(crate) fn after(slept: u32, deadline: Deadline) -> Slices {
        Slices { deadline, slept, checked: Instant::now() }
    }

    /// How long to sleep now; `None` when the time has passed.
    pub fn limit(&mut self) -> Option<Duration> {
        let slice = if self.slept < SHORT_SLICES { SLICE } else { LONG_SLICE };
        self.slept = self.slept.saturating_add(1);
        match self.deadline.remaining() {
            Some(Duration::ZERO) => None,
            Some(left) => Some(left.min(slice)),
            None => Some(slice),
        }
    }

    /// Whether it is time for a look at who is alive; also if wake-ups come so often that no sleep lasts a slice.
    pub fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now.saturating_duration_since(self.checked) >= SLICE;
        if due {
            self.checked = now;
        }
        due
    }
}

#[cfg(all(test, loom))]
#[path = "model/word.rs"]
mod checks;
