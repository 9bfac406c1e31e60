//! One round: workers, of which one is killed, and what the others see.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipc_core::{Builder, Error, JoinError, Process};
use serde::de::DeserializeOwned;

use super::Scenario;
use super::journal::{Journal, Lane};
use super::message::Flaw;
use super::plan::{Plan, Struck, Trigger, VICTIM};
use super::rng::Rng;

/// How long a survivor may wait after the victim has ended. What is seen is below 600 ms also under load; a machine that
/// runs other tests at the same time may not give a process a turn for longer than that.
pub const STALL_LIMIT: Duration = Duration::from_secs(5);

/// What a scenario works with in one round.
#[derive(Debug)]
pub struct Round {
    /// For whatever the scenario chooses.
    pub rng: Rng,
    journal: Journal,
    plan: Plan,
    victim_was_killed: bool,
    pub(super) struck: Struck,
    pub(super) stall: Duration,
    pub(super) messages: u64,
    pub(super) again: u64,
    pub(super) held: u64,
    pub(super) also_killed: u64,
    pub(super) inside: bool,
    pub(super) flaws: Vec<(Flaw, String)>,
}

impl Round {
    pub(super) fn new(scenario: &Scenario, seed: u64, number: u64, journal: Journal) -> Round {
        journal.clear();
        let mut rng = Rng::of(seed, number);
        // Without the hooks in the program, all kills are at random times.
        let points = if super::points().is_empty() { &[] } else { scenario.points };
        let plan = Plan::draw(&mut rng, number, points);
        Round {
            rng,
            journal,
            plan,
            victim_was_killed: false,
            struck: Struck::default(),
            stall: Duration::ZERO,
            messages: 0,
            again: 0,
            held: 0,
            also_killed: 0,
            inside: false,
            flaws: Vec::new(),
        }
    }

    /// A page of the journal. The victim notes what it attempts on lane 0, from which the campaign knows that it has begun.
    pub fn lane(&self, number: u64) -> Lane {
        self.journal.lane(number)
    }

    /// Has the survivors come to an end, see [`Lane::is_over`].
    pub fn end(&self) {
        self.journal.end();
    }

    /// How to start the process that is to be killed, exactly one, inside of [`strike`](Round::strike).
    pub fn victim(&self) -> Builder {
        let builder = Builder::new().name(VICTIM);
        match self.plan.variable() {
            Some(plan) => builder.env(super::VARIABLE, plan),
            None => builder,
        }
    }

    /// Runs `survive`, and meanwhile kills the [`victim`](Round::victim) that it starts. What `survive` does after the
    /// victim's end, until it returns, is the survivor's stall.
    ///
    /// # Panics
    /// When `survive` does, once the victim has ended.
    pub fn strike<R>(&mut self, survive: impl FnOnce(&mut Round) -> R) -> R {
        let (plan, lane, over) = (self.plan, self.lane(0), AtomicBool::new(false));
        let (result, struck, back) = std::thread::scope(|scope| {
            let killer = scope.spawn(|| plan.carry_out(&lane, &over));
            let result = panic::catch_unwind(AssertUnwindSafe(|| survive(self)));
            let back = Instant::now();
            over.store(true, Ordering::Relaxed);
            (result, killer.join().expect("the killer does not panic"), back)
        });
        self.struck = struck;
        if let Some(ended) = struck.ended {
            self.stall = back.saturating_duration_since(ended);
            if self.stall > STALL_LIMIT {
                self.flaw(Flaw::Wrong, format!("a survivor was held up for {:?}", self.stall));
            }
        }
        result.unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// Joins the victim, and notes whether it was killed.
    ///
    /// # Errors
    /// How it ended, if it did not return.
    pub fn join<R: DeserializeOwned>(&mut self, victim: Process<R>) -> Result<R, JoinError> {
        let result = victim.join();
        match &result {
            Err(JoinError::Killed { signal: libc::SIGKILL, .. }) => self.victim_was_killed = true,
            Err(error) => self.flaw(Flaw::Wrong, format!("the victim: {error}")),
            Ok(_) => {}
        }
        result
    }

    /// Notes that something is wrong.
    pub fn flaw(&mut self, flaw: Flaw, text: impl Into<String>) {
        self.flaws.push((flaw, text.into()));
    }

    /// Whether anything was wrong so far.
    pub fn has_flaws(&self) -> bool {
        !self.flaws.is_empty()
    }

    /// Counts messages, or whatever the work consists of; the verdict shows them.
    pub fn messages(&mut self, n: u64) {
        self.messages += n;
    }

    /// Counts one who was killed before the victim.
    pub fn also_killed(&mut self) {
        self.also_killed += 1;
    }

    /// Counts what was rightly delivered once more, as whoever had it was killed or gave it back.
    pub fn again(&mut self, n: u64) {
        self.again += n;
    }

    /// Counts what the victim had been given and did not come to note before it was killed.
    pub fn held(&mut self, n: u64) {
        self.held += n;
    }

    /// Notes that the victim died inside a critical section, or with something in its hands; the verdict shows how many did.
    pub fn inside(&mut self) {
        self.inside = true;
    }

    /// The crash point at which the victim died, if it was one, and not a moment later.
    pub fn died_at(&self) -> Option<&'static str> {
        self.hit().filter(|_| !self.struck.went_on)
    }

    /// Judges a stream of messages of which one end was killed: `received` must be a prefix of what the sender has
    /// attempted that contains everything it has acknowledged (unless the receiver was killed: `all` is false).
    pub fn judge(&mut self, sender: &Lane, received: u64, all: bool) {
        let (attempted, acknowledged) = (sender.attempted(), sender.acknowledged());
        self.messages += received;
        if all && received < acknowledged {
            self.flaw(Flaw::Lost, format!("{acknowledged} messages acknowledged, {received} received"));
        }
        if received > attempted {
            self.flaw(Flaw::Duplicate, format!("{attempted} messages attempted, {received} received"));
        }
    }

    /// Judges how a stream ended whose other end was killed.
    pub fn judge_end(&mut self, error: &Error) {
        if !error.is_disconnected() {
            self.flaw(Flaw::Wrong, format!("the stream ended with: {error:?}"));
        }
    }

    /// The victim was killed, by whomever.
    pub(super) fn is_kill(&self) -> bool {
        self.struck.killed || self.victim_was_killed
    }

    /// The crash point at which it killed or stopped itself.
    pub(super) fn hit(&self) -> Option<&'static str> {
        let Trigger::Point(name, _) = self.plan.trigger else { return None };
        let killed_itself = self.victim_was_killed && !self.struck.killed && !self.struck.stopped;
        (killed_itself || self.struck.stopped_itself).then_some(name)
    }

    pub(super) fn plan(&self) -> String {
        format!("{:?}", self.plan)
    }
}
