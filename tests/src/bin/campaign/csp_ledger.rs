//! What becomes of each value, as those note it who write and read it, and whether that is as it should be.

use std::collections::{BTreeMap, BTreeSet};

use ipc_tests::campaign::{Flaw, Round};

/// What a member notes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The call has returned without an error.
    Written = 1,
    /// It has returned with one, or another guard was chosen: nobody reads it, ever.
    Refused = 2,
    Read = 3,
    /// It was written, and whoever had the end that was in it has died.
    Unanswered = 4,
    /// It was read, and whoever had the other end of the one that was in it has died.
    Deserted = 5,
}

/// Numbers of values: that of the writer's lane, and how many it has begun to write before.
const LANE_SHIFT: u32 = 40;
const STEP_SHIFT: u32 = 60;

pub(crate) fn number(lane: u64, n: u64) -> u64 {
    lane << LANE_SHIFT | n
}

pub(crate) fn entry(step: Step, number: u64) -> u64 {
    (step as u64) << STEP_SHIFT | number
}

fn split(number: u64) -> (u64, u64) {
    (number >> LANE_SHIFT, number & ((1 << LANE_SHIFT) - 1))
}

/// The points at which one has read something and not returned yet.
const HAS_READ: [&str; 7] =
    ["csp.committed", "csp.emptying", "csp.freeing", "csp.ends-read", "csp.retiring", "csp.retired", "csp.over"];
/// Points with a lock, or with something half done.
const INSIDE: [&str; 22] = [
    "csp.filled",
    "csp.buffered",
    "csp.buffered-taken",
    "csp.linked",
    "csp.listed",
    "csp.half-linked",
    "csp.half-unlinked",
    "csp.offered",
    "csp.taken",
    "csp.unlinked",
    "csp.copied",
    "csp.committing",
    "csp.withdrawn",
    "csp.rebuilding",
    "csp.putting-back",
    "csp.relinked",
    "csp.offer-buried",
    "csp.slot-buried",
    "csp.end-buried",
    "csp.channel-made",
    "csp.channel-freed",
    "csp.ends-in-offer",
];

/// One who takes part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) lane: u64,
    pub(crate) dies: bool,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
}

/// Who has written and read.
#[derive(Debug)]
pub(crate) struct Ledger {
    parts: Vec<Part>,
    /// So many values that were written may have been thrown away with what they were in.
    thrown: u64,
    /// A reader may begin something else before it notes what it has read.
    holds_longer: bool,
}

impl Ledger {
    pub(crate) fn new(thrown: u64) -> Ledger {
        Ledger { parts: Vec::new(), thrown, holds_longer: false }
    }

    pub(crate) fn holds_longer(&mut self) {
        self.holds_longer = true;
    }

    pub(crate) fn thrown(&self) -> u64 {
        self.thrown
    }

    pub(crate) fn enter(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// Each value that was written was read once, and whole, no other one was; a choice has taken place once.
    pub(crate) fn judge(&self, round: &mut Round) {
        let mut readers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let (mut written, mut refused) = (BTreeSet::new(), BTreeSet::new());
        for part in &self.parts {
            let lane = round.lane(part.lane);
            if let Some(flaw) = lane.flaw() {
                round.flaw(flaw, format!("noted on lane {}: {lane:?}", part.lane));
            }
            for word in lane.entries() {
                let number = word & ((1 << STEP_SHIFT) - 1);
                match word >> STEP_SHIFT {
                    step if step == Step::Written as u64 => drop(written.insert(number)),
                    step if step == Step::Refused as u64 => drop(refused.insert(number)),
                    step if step == Step::Read as u64 => readers.entry(number).or_default().push(part.lane),
                    _ => {}
                }
            }
        }
        round.messages(readers.len() as u64);
        for (value, by) in &readers {
            let (lane, n) = split(*value);
            let writer = self.parts.iter().find(|part| part.lane == lane && part.writes);
            if writer.is_none_or(|_| n >= round.lane(lane).attempted()) {
                round.flaw(Flaw::Corrupt, format!("value {n} of {lane} was never written, and read by {by:?}"));
            }
            if by.len() > 1 {
                round.flaw(Flaw::Duplicate, format!("value {n} of {lane} was read by {by:?}"));
            }
            if refused.contains(value) {
                round.flaw(Flaw::Duplicate, format!("value {n} of {lane} was not written, and read by {by:?}"));
            }
        }
        for part in self.parts.iter().filter(|part| part.writes) {
            let all = (0..round.lane(part.lane).attempted()).map(|n| number(part.lane, n));
            let open: Vec<u64> = all.filter(|value| !written.contains(value) && !refused.contains(value)).collect();
            let read = open.iter().filter(|value| readers.contains_key(value)).count();
            if !part.dies && !open.is_empty() {
                round.flaw(Flaw::Wrong, format!("lane {} has not noted what became of {open:?}", part.lane));
            }
            if read > 1 {
                let text = format!("of what lane {} was choosing when it died, {read} were read: {open:?}", part.lane);
                round.flaw(Flaw::Duplicate, text);
            }
        }
        let missing: Vec<_> =
            written.iter().filter(|value| !readers.contains_key(value)).map(|value| split(*value)).collect();
        let (died_at, most) = (round.died_at(), self.most_held(round));
        if missing.len() as u64 > most + self.thrown {
            let first = &missing[..missing.len().min(5)];
            let text = format!(
                "{} values were not read, up to {most} may be the victim's, which died at {died_at:?}, and {} thrown away: {first:?}",
                missing.len(),
                self.thrown,
            );
            round.flaw(Flaw::Lost, text);
        }
        round.held(missing.len() as u64);
        if died_at.is_some_and(|point| INSIDE.contains(&point)) {
            round.inside();
        }
    }

    /// How many values the dead may have read and not noted.
    fn most_held(&self, round: &Round) -> u64 {
        let dead = || self.parts.iter().filter(|part| part.dies);
        let has_read = self.holds_longer || round.died_at().is_none_or(|point| HAS_READ.contains(&point));
        if dead().count() == 1 && !has_read { 0 } else { dead().filter(|part| part.reads).count() as u64 }
    }
}
