//! How long a call may wait.

use std::time::{Duration, Instant};

/// The end of a wait, fixed on the monotonic clock when the call begins, so that retries do not lengthen it.
///
/// ```
/// use ipc_core::Deadline;
/// use std::time::Duration;
///
/// let deadline = Deadline::after(Duration::from_secs(60)); // for all steps of a call together
/// assert!(!deadline.has_passed());
/// assert!(deadline.remaining().is_some_and(|left| left <= Duration::from_secs(60)));
/// assert!(Deadline::NOW.has_passed() && Deadline::NOW.is_now());
/// assert_eq!(Deadline::NEVER.remaining(), None);
/// assert_eq!(Deadline::after(Duration::MAX), Deadline::NEVER); // an endless time-out is no time-out
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Now,
    At(Instant),
    Never,
}

impl Deadline {
    /// Do not wait at all: the `try_` forms.
    pub const NOW: Deadline = Deadline(Kind::Now);
    /// Wait as long as it takes: the plain forms.
    pub const NEVER: Deadline = Deadline(Kind::Never);

    /// Wait for `timeout` from now: the `_timeout` forms. One too long for the clock, as `Duration::MAX`, means [`NEVER`](Self::NEVER).
    pub fn after(timeout: Duration) -> Deadline {
        match Instant::now().checked_add(timeout) {
            Some(at) => Deadline(Kind::At(at)),
            None => Deadline::NEVER,
        }
    }

    /// What is left: `None` without end, zero when it has passed.
    pub fn remaining(self) -> Option<Duration> {
        match self.0 {
            Kind::Now => Some(Duration::ZERO),
            Kind::At(at) => Some(at.saturating_duration_since(Instant::now())),
            Kind::Never => None,
        }
    }

    /// Whether there is no time left.
    pub fn has_passed(self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }

    /// Whether this is [`NOW`](Self::NOW): the caller asked not to wait, as against having waited in vain.
    pub fn is_now(self) -> bool {
        self.0 == Kind::Now
    }
}

/// Ends a call in time also while the other end goes on and on, a bit at a time, so that the call never has to wait.
#[derive(Debug)]
pub(crate) struct Patience {
    deadline: Deadline,
    late: u32,
}

impl Patience {
    pub(crate) fn until(deadline: Deadline) -> Patience {
        Patience { deadline, late: 0 }
    }

    /// Whether to go on, after a step that did not finish the work. What lies ready when the time has passed is still taken, and
    /// that may be several steps, as the kernel hands out descriptors packet by packet.
    pub(crate) fn lasts(&mut self) -> bool {
        const LATE_STEPS: u32 = 8;
        if matches!(self.deadline.0, Kind::At(at) if Instant::now() >= at) {
            self.late += 1;
        }
        self.late <= LATE_STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the sender ever falls behind is up to the scheduler, so this is shown without one.
    #[test]
    fn patience_ends_some_steps_after_its_time_and_never_before() {
        let mut endless = Patience::until(Deadline::NEVER);
        let mut soon = Patience::until(Deadline::after(Duration::from_secs(3600)));
        let mut over = Patience::until(Deadline::after(Duration::ZERO));
        assert!((0..1000).all(|_| endless.lasts() && soon.lasts()));
        assert_eq!((0..1000).filter(|_| over.lasts()).count(), 8);
    }
}
