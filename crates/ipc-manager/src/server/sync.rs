//! Semaphores, events, barriers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::protocol::{Answer, Fault, Op};

use super::outbox::{Asker, Grant};
use super::state::simulation::Audit;
use super::store::Turn;

#[derive(Debug)]
pub(crate) struct Semaphore {
    permits: u64,
    pub(crate) available: u64,
    /// How many each session has.
    holders: BTreeMap<u64, u64>,
    waiters: VecDeque<Asker>,
}

impl Semaphore {
    pub(crate) fn new(permits: u64) -> Semaphore {
        Semaphore { permits, available: permits, holders: BTreeMap::new(), waiters: VecDeque::new() }
    }

    pub(crate) fn run(&mut self, op: Op<'_>, turn: &mut Turn<'_>) {
        match op {
            Op::TakePermit { wait } => {
                if self.available == 0 && !wait {
                    return turn.answer(Answer::Fault(Fault::WouldWait));
                }
                self.waiters.push_back(turn.asker);
                turn.out.wait(turn.asker, turn.object);
            }
            Op::GivePermit => {
                if !self.give(turn.asker.session) {
                    return turn.answer(Answer::Fault(Fault::NotHeld));
                }
                turn.answer(Answer::Done);
            }
            Op::Len => return turn.answer(Answer::Number(self.available)),
            _ => return turn.answer(Answer::Fault(Fault::Unfit)),
        }
        self.settle(turn);
    }

    fn give(&mut self, session: u64) -> bool {
        let Some(held) = self.holders.get_mut(&session) else { return false };
        *held -= 1;
        if *held == 0 {
            self.holders.remove(&session);
        }
        self.available += 1;
        true
    }

    fn settle(&mut self, turn: &mut Turn<'_>) {
        while self.available > 0 {
            let Some(asker) = self.waiters.pop_front() else { break };
            self.available -= 1;
            *self.holders.entry(asker.session).or_default() += 1;
            let answer = Answer::Granted { died: false, timed_out: false };
            turn.out.give(asker, turn.object, Grant::Permit { session: asker.session }, answer);
        }
    }

    pub(crate) fn take_back(&mut self, session: u64, turn: &mut Turn<'_>) {
        self.give(session);
        self.settle(turn);
    }

    pub(crate) fn forget(&mut self, connection: u64) {
        self.waiters.retain(|asker| asker.connection != connection);
    }

    pub(crate) fn audit(&self, audit: &mut Audit) {
        audit.waiters.extend(&self.waiters);
        audit.owners.extend(self.holders.keys());
        assert!(self.holders.values().all(|held| *held > 0));
        assert!(self.available == 0 || self.waiters.is_empty(), "a permit is free, and somebody waits for it");
        assert_eq!(
            u128::from(self.available) + self.holders.values().map(|n| u128::from(*n)).sum::<u128>(),
            self.permits.into()
        );
    }

    /// The object is gone.
    pub(crate) fn dismiss(&mut self, turn: &mut Turn<'_>) {
        self.waiters.drain(..).for_each(|asker| turn.dismiss(asker));
    }

    pub(crate) fn bury(&mut self, session: u64, turn: &mut Turn<'_>) {
        self.available += self.holders.remove(&session).unwrap_or(0);
        self.settle(turn);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Event {
    is_set: bool,
    waiters: Vec<Asker>,
}

impl Event {
    pub(crate) fn run(&mut self, op: Op<'_>, turn: &mut Turn<'_>) {
        match op {
            Op::Raise => {
                self.is_set = true;
                self.waiters.drain(..).for_each(|asker| turn.out.answer(asker, Answer::Done));
                turn.answer(Answer::Done);
            }
            Op::Lower => {
                self.is_set = false;
                turn.answer(Answer::Done);
            }
            Op::IsRaised => turn.answer(Answer::Flag(self.is_set)),
            Op::Await if self.is_set => turn.answer(Answer::Done),
            Op::Await => {
                self.waiters.push(turn.asker);
                turn.out.wait(turn.asker, turn.object);
            }
            _ => turn.answer(Answer::Fault(Fault::Unfit)),
        }
    }

    pub(crate) fn forget(&mut self, connection: u64) {
        self.waiters.retain(|asker| asker.connection != connection);
    }

    pub(crate) fn audit(&self, audit: &mut Audit) {
        audit.waiters.extend(&self.waiters);
        assert!(!self.is_set || self.waiters.is_empty(), "it has happened, and somebody waits for it");
    }

    /// The object is gone.
    pub(crate) fn dismiss(&mut self, turn: &mut Turn<'_>) {
        self.waiters.drain(..).for_each(|asker| turn.dismiss(asker));
    }
}

#[derive(Debug)]
pub(crate) struct Barrier {
    parties: u64,
    arrived: Vec<Asker>,
    /// The sessions that have ever taken part: if one of them ends, the others would wait for it in vain.
    members: BTreeSet<u64>,
    /// By a death, or by somebody who gave up.
    broken: Option<bool>,
}

impl Barrier {
    pub(crate) fn new(parties: u64) -> Barrier {
        Barrier { parties, arrived: Vec::new(), members: BTreeSet::new(), broken: None }
    }

    pub(crate) fn run(&mut self, op: Op<'_>, turn: &mut Turn<'_>) {
        match op {
            Op::Meet => match self.broken {
                Some(by_death) => turn.answer(Answer::Fault(Fault::Broken { by_death })),
                None => {
                    self.members.insert(turn.asker.session);
                    self.arrived.push(turn.asker);
                    turn.out.wait(turn.asker, turn.object);
                    if self.arrived.len() as u64 == self.parties {
                        for (index, asker) in self.arrived.drain(..).enumerate() {
                            turn.out.answer(asker, Answer::Number(index as u64));
                        }
                    }
                }
            },
            Op::Abort => {
                self.break_up(false, turn);
                turn.answer(Answer::Done);
            }
            Op::Reset => {
                self.break_up(false, turn);
                self.broken = None;
                self.members.clear();
                turn.answer(Answer::Done);
            }
            Op::Len => turn.answer(Answer::Number(self.arrived.len() as u64)),
            Op::Capacity => turn.answer(Answer::Number(self.parties)),
            Op::IsRaised => turn.answer(Answer::Flag(self.broken.is_some())),
            _ => turn.answer(Answer::Fault(Fault::Unfit)),
        }
    }

    fn break_up(&mut self, by_death: bool, turn: &mut Turn<'_>) {
        self.broken.get_or_insert(by_death);
        self.arrived.drain(..).for_each(|asker| turn.out.fault(asker, Fault::Broken { by_death }));
    }

    /// Somebody waits no longer: then the others would wait in vain, as in Python.
    pub(crate) fn forget(&mut self, connection: u64, by_death: bool, turn: &mut Turn<'_>) {
        let before = self.arrived.len();
        self.arrived.retain(|asker| asker.connection != connection);
        if self.arrived.len() < before {
            self.break_up(by_death, turn);
        }
    }

    pub(crate) fn audit(&self, audit: &mut Audit) {
        audit.waiters.extend(&self.arrived);
        audit.owners.extend(&self.members);
        assert!(self.arrived.is_empty() || self.broken.is_none() && (self.arrived.len() as u64) < self.parties);
    }

    /// The object is gone.
    pub(crate) fn dismiss(&mut self, turn: &mut Turn<'_>) {
        self.arrived.drain(..).for_each(|asker| turn.dismiss(asker));
    }

    pub(crate) fn bury(&mut self, session: u64, turn: &mut Turn<'_>) {
        if self.members.remove(&session) {
            self.break_up(true, turn);
        }
    }
}
