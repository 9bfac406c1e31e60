//! How long to look before going to sleep, and how long to wait for one who has taken something.

use std::time::{Duration, Instant};

use ipc_core::Deadline;
use nix::unistd::{SysconfVar, sysconf};

/// How long to look again and again before going to sleep: what it takes to be woken, at most.
const SPIN: Duration = Duration::from_micros(50);
/// How many looks there are between two at the clock, and after how many of those others get the processor in between: they may be those
/// who are waited for.
const CLOCK_AFTER: u32 = 16;
const YIELD_AFTER: u32 = 64;
/// How many pauses to make before a look.
const PAUSES: u32 = 1;
/// How long one who takes an offer may need to decode it: each time twice as long, so that one who needs long has it in the end.
pub(crate) struct Patience {
    pub(crate) since: Option<Instant>,
    limit: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { since: None, limit: Duration::from_secs(1) }
    }
}

impl Patience {
    pub(crate) fn is_over(&mut self) -> bool {
        let is_over = self.since.get_or_insert_with(Instant::now).elapsed() >= self.limit;
        if is_over {
            *self = Patience { since: None, limit: self.limit * 2 };
        }
        is_over
    }
}

/// The time between two looks.
pub(crate) struct Pause {
    deadline: Deadline,
    start: Option<Instant>,
    looks: u32,
}

impl Pause {
    pub(crate) fn new(deadline: Deadline) -> Pause {
        Pause { deadline, start: None, looks: 0 }
    }

    /// Waits for a moment. `false` when there have been enough.
    #[inline]
    pub(crate) fn goes_on(&mut self) -> bool {
        // Who looks takes the line away from the one who is just about to write it.
        (0..PAUSES).for_each(|_| std::hint::spin_loop());
        self.looks += 1;
        // To read the clock takes longer than to look.
        if self.looks % CLOCK_AFTER == 0 {
            let start = *self.start.get_or_insert_with(Instant::now);
            if !is_spinning_of_use() || start.elapsed() >= SPIN || self.deadline.has_passed() {
                return false;
            }
            if self.looks >= YIELD_AFTER {
                std::thread::yield_now();
            }
        }
        true
    }
}

/// Not where there is one processor, which the other side needs.
fn is_spinning_of_use() -> bool {
    static ANSWER: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ANSWER.get_or_init(|| !matches!(sysconf(SysconfVar::_NPROCESSORS_ONLN), Ok(Some(1))))
}

/// The monotonic clock, in ns; the same for all processes of the machine.
pub(crate) fn now() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}
