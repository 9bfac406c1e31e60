//! When and how a worker is killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipc_core::{Child, active_children, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::journal::Lane;
use super::rng::Rng;
use crate::state;

/// The name of the process that is to be killed.
pub(super) const VICTIM: &str = "victim";

/// How long a victim may take to come to its crash point, or to its first message, before it is killed wherever it is.
const PATIENCE: Duration = Duration::from_millis(40);
/// Between two looks at something that gives no event.
const LOOK: Duration = Duration::from_micros(100);

/// What is done to the victim of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) trigger: Trigger,
    /// It is stopped first, and goes on if this says so, to be killed a little later.
    stop: Option<Stop>,
    later: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Trigger {
    /// It does it to itself, when it passes this point for the n-th time.
    Point(&'static str, u64),
    /// After this time from its start.
    Start(Duration),
    /// After this time from its first operation.
    Work(Duration),
}

#[derive(Clone, Copy, Debug)]
struct Stop {
    pause: Duration,
    goes_on: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Struck {
    /// The campaign has sent SIGKILL.
    pub(super) killed: bool,
    /// It was stopped.
    pub(super) stopped: bool,
    /// It stopped itself, at its crash point.
    pub(super) stopped_itself: bool,
    /// It was let go on after a stop.
    pub(super) went_on: bool,
    /// When it was seen to have ended.
    pub(super) ended: Option<Instant>,
}

impl Plan {
    /// Every second round takes the next of the crash points in turn, so that none is left out.
    pub(super) fn draw(rng: &mut Rng, round: u64, points: &[(&'static str, u64)]) -> Plan {
        let micros = |rng: &mut Rng, n| Duration::from_micros(rng.below(n));
        let trigger = match (round % 2, rng.below(3)) {
            (0, _) if !points.is_empty() => {
                let (name, most) = points[(round / 2) as usize % points.len()];
                // Early passes more often than late ones, which some victims never come to.
                let bound = 1 + rng.below(most);
                Trigger::Point(name, 1 + rng.below(bound))
            }
            (_, 0) => Trigger::Start(micros(rng, 4000)),
            _ => Trigger::Work(micros(rng, 2000)),
        };
        let stop = rng.one_in(4).then(|| Stop { pause: micros(rng, 3000), goes_on: rng.one_in(2) });
        Plan { trigger, stop, later: micros(rng, 2000) }
    }

    /// For the environment of the victim.
    pub(super) fn variable(self) -> Option<String> {
        let Trigger::Point(name, pass) = self.trigger else { return None };
        Some(format!("{name}:{pass}:{}", if self.stop.is_some() { "STOP" } else { "KILL" }))
    }

    /// Does it, as soon as there is a victim; `over` ends it early.
    pub(super) fn carry_out(self, lane: &Lane, over: &AtomicBool) -> Struck {
        let is_over = || over.load(Ordering::Relaxed);
        let mut struck = Struck::default();
        let victim = loop {
            match active_children().into_iter().find(|child| child.name() == VICTIM) {
                Some(victim) => break victim,
                None if is_over() => return struck,
                None => thread::sleep(LOOK),
            }
        };
        let stopped = || state(victim.pid()) == Some('T');
        match self.trigger {
            Trigger::Point(..) => {
                let end = Instant::now() + PATIENCE;
                while Instant::now() < end && !ends_within(&victim, 10 * LOOK) && !struck.stopped_itself {
                    struck.stopped_itself = self.stop.is_some() && stopped();
                }
                struck.stopped = struck.stopped_itself;
            }
            Trigger::Start(delay) => drop(ends_within(&victim, delay)),
            Trigger::Work(delay) => {
                let end = Instant::now() + PATIENCE;
                while Instant::now() < end && lane.attempted() == 0 && !ends_within(&victim, LOOK) {}
                ends_within(&victim, delay);
            }
        }
        if let Some(stop) = self.stop {
            if !struck.stopped && !ends_within(&victim, Duration::ZERO) {
                signal(&victim, Signal::SIGSTOP);
                while !stopped() && !ends_within(&victim, LOOK) {}
                struck.stopped = true;
            }
            ends_within(&victim, stop.pause);
            if stop.goes_on {
                signal(&victim, Signal::SIGCONT);
                struck.went_on = true;
                ends_within(&victim, self.later);
            }
        }
        if !ends_within(&victim, Duration::ZERO) {
            struck.killed = victim.kill().is_ok();
        }
        // SIGKILL cannot be refused. If it hangs all the same, the campaign sees that the round does not end.
        ends_within(&victim, Duration::MAX);
        struck.ended = Some(Instant::now());
        struck
    }
}

fn ends_within(victim: &Child, time: Duration) -> bool {
    wait(&[victim], time).is_ok_and(|ready| !ready.is_empty())
}

/// Only for a victim that was alive a moment ago; its pid is not another's before the round is over.
fn signal(victim: &Child, signal: Signal) {
    let _ = kill(Pid::from_raw(victim.pid() as i32), signal);
}
