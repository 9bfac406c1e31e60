//! Locks, re-entrant locks, and conditions, which are a lock and those who wait to be notified.

use std::collections::VecDeque;

use crate::protocol::{Answer, Fault, Op};

use super::outbox::{Asker, Grant};
use super::state::simulation::Audit;
use super::store::Turn;

/// A thread of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) session: u64,
    pub(crate) thread: u64,
}

/// Somebody who waits for the lock.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    asker: Asker,
    thread: u64,
    repair: bool,
    /// How often it had the lock when it began to wait for a notification.
    count: u32,
    /// It had the lock and waited for a notification: it is not answered without having the lock again.
    slept: bool,
    timed_out: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Lock {
    is_reentrant: bool,
    is_condition: bool,
    pub(crate) owner: Option<Owner>,
    count: u32,
    /// An owner died, and nobody has taken the lock since who knows it.
    died: bool,
    waiters: VecDeque<Waiter>,
    /// Those who wait for a notification.
    sleepers: VecDeque<Waiter>,
}

impl Lock {
    pub(crate) fn new(is_reentrant: bool, is_condition: bool) -> Lock {
        Lock { is_reentrant, is_condition, ..Lock::default() }
    }

    pub(crate) fn run(&mut self, op: Op<'_>, turn: &mut Turn<'_>) {
        let asker = turn.asker;
        let own = |thread| Some(Owner { session: asker.session, thread });
        match op {
            Op::Acquire { wait, thread, repair } => {
                if self.owner == own(thread) {
                    if !self.is_reentrant {
                        return turn.answer(Answer::Fault(Fault::AlreadyLocked));
                    }
                    if self.count == u32::MAX {
                        return turn.answer(Answer::Fault(Fault::TooMany));
                    }
                } else if self.owner.is_some() && !wait {
                    return turn.answer(Answer::Fault(Fault::WouldWait));
                }
                self.waiters.push_back(Waiter { asker, thread, repair, count: 1, slept: false, timed_out: false });
                turn.out.wait(asker, turn.object);
            }
            Op::Release { thread } => {
                if self.owner != own(thread) {
                    return turn.answer(Answer::Fault(Fault::NotHeld));
                }
                self.leave();
                turn.answer(Answer::Done);
            }
            Op::IsLocked => return turn.answer(Answer::Flag(self.owner.is_some())),
            Op::CondWait { thread } if self.is_condition => {
                if self.owner != own(thread) {
                    return turn.answer(Answer::Fault(Fault::NotHeld));
                }
                let count = self.count;
                self.sleepers.push_back(Waiter { asker, thread, repair: false, count, slept: true, timed_out: false });
                turn.out.wait(asker, turn.object);
                (self.owner, self.count) = (None, 0);
            }
            Op::Notify { all, thread } if self.is_condition => {
                if self.owner != own(thread) {
                    return turn.answer(Answer::Fault(Fault::NotHeld));
                }
                let woken = if all { self.sleepers.len() } else { 1.min(self.sleepers.len()) };
                self.waiters.extend(self.sleepers.drain(..woken));
                turn.answer(Answer::Number(woken as u64));
            }
            _ => return turn.answer(Answer::Fault(Fault::Unfit)),
        }
        self.settle(turn);
    }

    fn leave(&mut self) {
        self.count -= 1;
        if self.count == 0 {
            self.owner = None;
        }
    }

    /// Gives the lock to those who can have it.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        while let Some(next) = self.next() {
            if self.died && !next.repair {
                turn.out.fault(next.asker, Fault::OwnerDied);
                continue;
            }
            let owner = Owner { session: next.asker.session, thread: next.thread };
            self.owner = Some(owner);
            self.count += next.count;
            let died = std::mem::take(&mut self.died);
            let answer = Answer::Granted { died, timed_out: next.timed_out };
            turn.out.give(next.asker, turn.object, Grant::Lock(owner), answer);
        }
    }

    /// The next one who can have the lock now: the first one if it is free, or whoever has it already.
    fn next(&mut self) -> Option<Waiter> {
        match self.owner {
            None => self.waiters.pop_front(),
            Some(_) if !self.is_reentrant => None,
            Some(owner) => {
                let again = |waiter: &Waiter| waiter.asker.session == owner.session && waiter.thread == owner.thread;
                let position = self.waiters.iter().position(again)?;
                self.waiters.remove(position)
            }
        }
    }

    /// The lock was given to one who did not get it: as if it had not been.
    pub(crate) fn take_back(&mut self, owner: Owner, turn: &mut Turn<'_>) {
        if self.owner == Some(owner) {
            self.leave();
            self.settle(turn);
        }
    }

    /// A request is to wait no longer. Who waited for a notification must have the lock again first; says whether it is such a one.
    pub(crate) fn cancel(&mut self, connection: u64, turn: &mut Turn<'_>) -> bool {
        let mine = self.sleepers.iter().position(|sleeper| sleeper.asker.connection == connection);
        if let Some(sleeper) = mine.and_then(|mine| self.sleepers.remove(mine)) {
            self.waiters.push_back(Waiter { timed_out: true, ..sleeper });
            self.settle(turn);
            return true;
        }
        // One who was notified and is on its way to the lock goes on.
        self.waiters.iter().any(|waiter| waiter.asker.connection == connection && waiter.slept)
    }

    /// A connection has ended.
    pub(crate) fn forget(&mut self, connection: u64, turn: &mut Turn<'_>) {
        self.waiters.retain(|waiter| waiter.asker.connection != connection);
        self.sleepers.retain(|sleeper| sleeper.asker.connection != connection);
        self.settle(turn);
    }

    pub(crate) fn audit(&self, audit: &mut Audit) {
        audit.waiters.extend(self.waiters.iter().chain(&self.sleepers).map(|waiter| waiter.asker));
        audit.owners.extend(self.owner.map(|owner| owner.session));
        assert_eq!(self.owner.is_some(), self.count > 0);
        assert!(self.is_reentrant || self.count <= 1);
        assert!(self.owner.is_some() || self.waiters.is_empty(), "the lock is free, and somebody waits for it");
    }

    /// The object is gone.
    pub(crate) fn dismiss(&mut self, turn: &mut Turn<'_>) {
        self.waiters.drain(..).chain(self.sleepers.drain(..)).for_each(|waiter| turn.dismiss(waiter.asker));
    }

    /// A session has ended.
    pub(crate) fn bury(&mut self, session: u64, turn: &mut Turn<'_>) {
        if self.owner.is_some_and(|owner| owner.session == session) {
            (self.owner, self.count, self.died) = (None, 0, true);
            // Nobody can rely on the state that they wait to be told of.
            self.waiters.extend(self.sleepers.drain(..));
        }
        self.settle(turn);
    }
}
