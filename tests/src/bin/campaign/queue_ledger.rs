//! What becomes of each message of a queue, as those note it who put it in and take it out, and whether that is as it should be.

use std::collections::{BTreeMap, BTreeSet};

use ipc_tests::campaign::{Flaw, Lane, Round};

use crate::queue::Role;

/// What a taker notes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It has it for good.
    Taken,
    /// It has it until it has finished with it.
    Leased,
    /// It is about to finish with it for good,
    Finishing,
    /// and has.
    Finished,
    /// It is about to give it back, so another one must get it.
    GivingBack,
    /// By a giver: the call has failed, and it may be in all the same. It is put once more.
    MayBeIn,
}

const STEPS: [Step; 6] = [Step::Taken, Step::Leased, Step::Finishing, Step::Finished, Step::GivingBack, Step::MayBeIn];

/// An entry of a log: a step, a message, and the how many-th delivery it is (0 if that is not told).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) step: Step,
    pub(crate) number: u64,
    pub(crate) deliveries: u32,
}

/// Numbers of messages: that of the giver's lane, and how many it has put before.
const LANE_SHIFT: u32 = 40;
const DELIVERIES_SHIFT: u32 = 48;
const STEP_SHIFT: u32 = 60;

pub(crate) fn number(lane: u64, n: u64) -> u64 {
    lane << LANE_SHIFT | n
}

fn split(number: u64) -> (u64, u64) {
    (number >> LANE_SHIFT, number & ((1 << LANE_SHIFT) - 1))
}

impl Entry {
    pub(crate) fn encode(self) -> u64 {
        let deliveries = u64::from(self.deliveries.min(0xfff));
        (1 + self.step as u64) << STEP_SHIFT | deliveries << DELIVERIES_SHIFT | self.number
    }

    fn decode(word: u64) -> Entry {
        Entry {
            step: STEPS[(word >> STEP_SHIFT) as usize - 1],
            number: word & ((1 << DELIVERIES_SHIFT) - 1),
            deliveries: (word >> DELIVERIES_SHIFT) as u32 & 0xfff,
        }
    }
}

/// One who takes.
struct Taking {
    lane: u64,
    is_victim: bool,
    /// How many messages it may have for good before it notes the first of them; 0 if it finishes with each.
    at_once: u64,
}

/// Who has put and taken.
pub(crate) struct Ledger {
    givers: Vec<u64>,
    /// The victim is one of them.
    giver_dies: bool,
    takers: Vec<Taking>,
    /// Everything that was acknowledged must come to somebody.
    all: bool,
}

/// Points at which a taker dies that has nothing for good; at `lease.acked` it has what came back to it in a lease.
const HAS_NOTHING: [&str; 9] = [
    "get.noted",
    "get.moved",
    "get.copied",
    "lease.stored",
    "lease.kept",
    "lease.given-back",
    "redeliver.noted",
    "redeliver.moved",
    "dead-letter.marked",
];
/// The same, where only takers die; givers pass it as well.
const HAS_NOTHING_AS_TAKER: &str = "manager.granted";
/// Points that only givers pass.
const GIVING: [&str; 6] =
    ["put.filled", "put.published", "put.unlocked", "extent.claimed", "extent.written", "extent.queued"];
/// Points with a lock, or with a message in one's hands.
const INSIDE: [&str; 15] = [
    "put.filled",
    "put.published",
    "get.noted",
    "get.moved",
    "get.copied",
    "lease.stored",
    "lease.kept",
    "recover.returned",
    "redeliver.noted",
    "redeliver.moved",
    "extent.claimed",
    "extent.written",
    "extent.queued",
    "extent.freeing",
    "manager.granted",
];

/// One delivery of a message, and how it ended.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    taker: usize,
    /// 0 if it was not told.
    deliveries: u32,
    /// The last that was noted.
    step: Step,
    /// The giver's messages before it had not all come before it to this taker.
    is_late: bool,
}

type Deliveries = BTreeMap<u64, Vec<Delivery>>;

impl Ledger {
    pub(crate) fn new(all: bool) -> Ledger {
        Ledger { givers: Vec::new(), giver_dies: false, takers: Vec::new(), all }
    }

    /// One more takes part, on this lane.
    pub(crate) fn enter(&mut self, role: Role, lane: u64, is_victim: bool, at_once: u64) {
        match role {
            Role::Gives => {
                self.givers.push(lane);
                self.giver_dies |= is_victim;
            }
            Role::Takes => self.takers.push(Taking { lane, is_victim, at_once }),
        }
    }

    /// Judges what was noted: each message that was acknowledged has come to somebody for good, once, and whole.
    pub(crate) fn judge(&self, round: &mut Round) {
        let deliveries = self.read(round);
        round.messages(deliveries.values().map(|all| all.len() as u64).sum());
        let (mut missing, mut again, mut unseen, mut returned) = (Vec::new(), 0, 0, 0);
        let (died_at, uncertain) = (round.died_at(), self.uncertain(round));
        for (number, all) in &deliveries {
            let (lane, n) = split(*number);
            let attempted = self.givers.contains(&lane).then(|| round.lane(lane).attempted());
            if attempted.is_none_or(|attempted| n >= attempted) {
                round.flaw(Flaw::Corrupt, format!("message {n} of {lane} was never put: {all:?}"));
                continue;
            }
            again += all.len() as u64 - 1;
            let end = match uncertain.get(number) {
                Some(times) if self.is_split(all, *times) => Ok(true),
                _ => self.end(all, died_at),
            };
            if let Err(text) = end {
                round.flaw(Flaw::Duplicate, format!("message {n} of {lane} {text}: {all:?}"));
            }
            if end == Ok(false) {
                missing.push((lane, n, all.as_slice()));
            }
            let most = all.iter().map(|delivery| delivery.deliveries).max().unwrap_or(0);
            unseen += u64::from(most).saturating_sub(all.len() as u64);
            // What comes for the first time, but late, was another one's who has never noted it.
            returned += u64::from(all.len() == 1 && all[0].is_late);
        }
        for lane in &self.givers {
            let acknowledged = round.lane(*lane).acknowledged();
            let absent = (0..acknowledged).filter(|n| !deliveries.contains_key(&number(*lane, *n)));
            missing.extend(absent.map(|n| (*lane, n, &[][..])));
        }
        let in_hands = self.in_hands(&deliveries);
        if in_hands || died_at.is_some_and(|point| INSIDE.contains(&point)) {
            round.inside();
        }
        round.again(again + returned);
        let most = self.most_held(died_at);
        if self.all && missing.len() as u64 > most {
            let first = &missing[..missing.len().min(5)];
            let text = format!(
                "{} messages did not come, up to {most} may be the victim's, which died at {died_at:?}: {first:?}",
                missing.len(),
            );
            round.flaw(Flaw::Lost, text);
        }
        if self.all {
            round.held(missing.len() as u64);
        }
        // Each thread of the victim's may have had something that it did not come to note.
        let victims: u64 = self.victims().map(|taker| taker.at_once.max(1)).sum();
        if returned > victims {
            round.flaw(Flaw::Wrong, format!("{returned} messages came too late, and the victim had {victims} at most"));
        }
        if unseen > victims {
            round.flaw(Flaw::Wrong, format!("{unseen} deliveries were counted that nobody has seen"));
        }
        if self.all && self.giver_dies && most == 0 {
            self.judge_prefix(round, &deliveries);
        }
    }

    /// How often each message may be in besides, as a call that had put it may have failed all the same.
    fn uncertain(&self, round: &Round) -> BTreeMap<u64, usize> {
        let mut times = BTreeMap::new();
        for lane in &self.givers {
            let entries = round.lane(*lane).entries().into_iter().map(Entry::decode);
            entries.for_each(|entry| *times.entry(entry.number).or_default() += 1);
        }
        times
    }

    /// It was put more than once, and each of them has come to an end, or is one of the victim's.
    fn is_split(&self, all: &[Delivery], times: usize) -> bool {
        let finished = all.iter().filter(|delivery| matches!(delivery.step, Step::Taken | Step::Finished)).count();
        (2..=1 + times).contains(&finished)
    }

    fn victims(&self) -> impl Iterator<Item = &Taking> {
        self.takers.iter().filter(|taker| taker.is_victim)
    }

    /// What the takers have noted.
    fn read(&self, round: &mut Round) -> Deliveries {
        let mut deliveries = Deliveries::new();
        for (index, taker) in self.takers.iter().enumerate() {
            let (lane, mut highest) = (round.lane(taker.lane), BTreeMap::new());
            if let Some(flaw) = lane.flaw() {
                round.flaw(flaw, format!("noted by a taker: {lane:?}"));
            }
            for entry in lane.entries().into_iter().map(Entry::decode) {
                let all = deliveries.entry(entry.number).or_default();
                if !matches!(entry.step, Step::Taken | Step::Leased) {
                    let last = all.iter_mut().rev().find(|delivery| delivery.taker == index);
                    last.expect("it was noted when it came").step = entry.step;
                    continue;
                }
                let (giver, n) = split(entry.number);
                let highest = highest.entry(giver).or_insert(n);
                let is_late = n < *highest;
                *highest = n.max(*highest);
                all.push(Delivery { taker: index, deliveries: entry.deliveries, step: entry.step, is_late });
            }
        }
        for lane in &self.givers {
            let lane = round.lane(*lane);
            if let Some(flaw) = lane.flaw() {
                round.flaw(flaw, format!("noted by a giver: {lane:?}"));
            }
        }
        deliveries
    }

    /// Whether a message that has come is somebody's for good.
    ///
    /// # Errors
    /// It came too often.
    fn end(&self, all: &[Delivery], died_at: Option<&str>) -> Result<bool, &'static str> {
        let has_died = |delivery: &Delivery| self.takers[delivery.taker].is_victim;
        // It has finished, and has not come to note it.
        let acked = died_at == Some("lease.acked") && self.victims().count() == 1;
        let is_finished = |delivery: &Delivery| match delivery.step {
            Step::Taken | Step::Finished => true,
            Step::Finishing => acked && has_died(delivery),
            Step::Leased | Step::GivingBack | Step::MayBeIn => false,
        };
        let finished: Vec<_> = all.iter().filter(|delivery| is_finished(delivery)).collect();
        if finished.len() > 1 {
            return Err("came to an end more than once");
        }
        let mut counts: Vec<_> = all.iter().map(|delivery| delivery.deliveries).filter(|count| *count > 0).collect();
        counts.sort_unstable();
        if counts.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("was delivered twice under one count");
        }
        if let (Some(one), Some(most)) = (finished.first(), counts.last()) {
            if one.deliveries > 0 && one.deliveries < *most {
                return Err("came again after its end");
            }
        }
        let may_be = all.iter().any(|delivery| delivery.step == Step::Finishing && has_died(delivery));
        Ok(may_be || !finished.is_empty())
    }

    /// Whether the victim died with a message that it had noted.
    fn in_hands(&self, deliveries: &Deliveries) -> bool {
        let of_victim = |delivery: &Delivery| self.takers[delivery.taker].is_victim;
        let unfinished = |step| matches!(step, Step::Leased | Step::Finishing | Step::GivingBack);
        let mut all = deliveries.values().flatten();
        all.any(|delivery| of_victim(delivery) && unfinished(delivery.step))
    }

    /// How many messages the victim may have had for good and not have noted.
    fn most_held(&self, died_at: Option<&str>) -> u64 {
        let at_once: Vec<_> = self.victims().map(|taker| taker.at_once).collect();
        let most = at_once.iter().sum::<u64>();
        match died_at {
            Some(point) if HAS_NOTHING.contains(&point) => most - at_once.first().unwrap_or(&0),
            Some(HAS_NOTHING_AS_TAKER) if !self.giver_dies => most - at_once.first().unwrap_or(&0),
            Some(point) if GIVING.contains(&point) && !self.giver_dies => 0,
            _ => most,
        }
    }

    /// Of what a giver was about to put when it was killed the first so many are in.
    fn judge_prefix(&self, round: &mut Round, deliveries: &Deliveries) {
        for lane in &self.givers {
            let came = |n: &u64| deliveries.contains_key(&number(*lane, *n));
            let (acknowledged, attempted) = (round.lane(*lane).acknowledged(), round.lane(*lane).attempted());
            let first = (acknowledged..attempted).take_while(came).count() as u64;
            if (acknowledged + first..attempted).any(|n| came(&n)) {
                let text =
                    format!("of {acknowledged} to {attempted} of {lane} some came, but not {}", acknowledged + first);
                round.flaw(Flaw::Lost, text);
            }
        }
    }
}

/// How many messages somebody has noted this step of.
pub(crate) fn count(lanes: &[Lane], step: Step) -> u64 {
    let entries = lanes.iter().flat_map(Lane::entries).map(Entry::decode);
    let numbers: BTreeSet<_> = entries.filter(|entry| entry.step == step).map(|entry| entry.number).collect();
    numbers.len() as u64
}
