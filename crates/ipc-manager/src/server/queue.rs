//! Queues: first in, first out, with room for so many.
//!
//! What a client takes is given back, as the first one, if it does not arrive, and from a joinable queue also if its taker dies before it has said
//! that the task is done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::protocol::{Answer, Fault, Op};

use super::outbox::{Asker, Grant};
use super::state::simulation::Audit;
use super::store::{Stored, Turn};

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) items: VecDeque<Stored>,
    /// 0 is without limit.
    capacity: u64,
    is_joinable: bool,
    putters: VecDeque<(Asker, Stored)>,
    getters: VecDeque<(Asker, u64)>,
    joiners: Vec<Asker>,
    /// What was taken and is not done yet, by session and thread, oldest first.
    tasks: BTreeMap<(u64, u64), VecDeque<Stored>>,
    pub(crate) unfinished: u64,
}

impl Queue {
    pub(crate) fn new(capacity: u64, is_joinable: bool) -> Queue {
        Queue { capacity, is_joinable, ..Queue::default() }
    }

    fn has_room(&self) -> bool {
        self.capacity == 0 || (self.items.len() as u64) < self.capacity
    }

    fn add(&mut self, item: Stored) {
        self.items.push_back(item);
        self.unfinished += 1;
    }

    pub(crate) fn run(&mut self, op: Op<'_>, turn: &mut Turn<'_>) {
        match op {
            Op::Enqueue { item, wait } => {
                if self.has_room() && self.putters.is_empty() {
                    let stored = turn.store(&item);
                    self.add(stored);
                    turn.answer(Answer::Done);
                } else if wait {
                    let stored = turn.store(&item);
                    self.putters.push_back((turn.asker, stored));
                    turn.out.wait(turn.asker, turn.object);
                } else {
                    return turn.answer(Answer::Fault(Fault::WouldWait));
                }
            }
            Op::Dequeue { wait, thread } => {
                if self.items.is_empty() && !wait {
                    return turn.answer(Answer::Fault(Fault::WouldWait));
                }
                self.getters.push_back((turn.asker, thread));
                turn.out.wait(turn.asker, turn.object);
            }
            Op::TaskDone { thread } => match self.done(turn.asker.session, thread) {
                Some(task) => {
                    turn.release(task);
                    turn.answer(Answer::Done);
                }
                None => return turn.answer(Answer::Fault(Fault::NoTask)),
            },
            Op::Join { .. } if !self.is_joinable => return turn.answer(Answer::Fault(Fault::Unfit)),
            Op::Join { wait } => match self.unfinished {
                0 => return turn.answer(Answer::Done),
                _ if wait => {
                    self.joiners.push(turn.asker);
                    turn.out.wait(turn.asker, turn.object);
                }
                _ => return turn.answer(Answer::Fault(Fault::WouldWait)),
            },
            Op::Len => return turn.answer(Answer::Number(self.items.len() as u64)),
            Op::Capacity => return turn.answer(Answer::Number(self.capacity)),
            _ => return turn.answer(Answer::Fault(Fault::Unfit)),
        }
        self.settle(turn);
    }

    fn done(&mut self, session: u64, thread: u64) -> Option<Stored> {
        let tasks = self.tasks.get_mut(&(session, thread))?;
        let task = tasks.pop_front();
        if tasks.is_empty() {
            self.tasks.remove(&(session, thread));
        }
        self.unfinished -= u64::from(task.is_some());
        task
    }

    /// Gives what is there to those who wait for it, and takes in what those bring who wait for room.
    pub(crate) fn settle(&mut self, turn: &mut Turn<'_>) {
        loop {
            while !self.putters.is_empty() && self.has_room() {
                let Some((asker, item)) = self.putters.pop_front() else { break };
                self.add(item);
                turn.out.answer(asker, Answer::Done);
            }
            if self.items.is_empty() || self.getters.is_empty() {
                break;
            }
            let (Some((asker, thread)), Some(item)) = (self.getters.pop_front(), self.items.pop_front()) else { break };
            turn.grant(asker.session, &item);
            let task = self.is_joinable.then_some(thread);
            match task {
                Some(thread) => self.tasks.entry((asker.session, thread)).or_default().push_back(item.clone()),
                None => self.unfinished -= 1,
            }
            let grant = Grant::Item { item: item.clone(), session: asker.session, task };
            turn.out.give(asker, turn.object, grant, Answer::Item(Some(item.item())));
        }
        if self.unfinished == 0 {
            self.joiners.drain(..).for_each(|asker| turn.out.answer(asker, Answer::Done));
        }
    }

    /// An item has not arrived: it is the first one again.
    pub(crate) fn take_back(&mut self, item: Stored, session: u64, task: Option<u64>, turn: &mut Turn<'_>) {
        match task {
            Some(thread) => {
                // If the thread has been given another one since, over another connection, that one stays its own.
                let Some(tasks) = self.tasks.get_mut(&(session, thread)) else { return };
                let is_it = |task: &Stored| Arc::ptr_eq(&task.bytes, &item.bytes);
                let Some(place) = tasks.iter().rposition(is_it) else { return };
                tasks.remove(place);
                if tasks.is_empty() {
                    self.tasks.remove(&(session, thread));
                }
            }
            None => self.unfinished += 1,
        }
        self.items.push_front(item);
        self.settle(turn);
    }

    /// A request waits no longer.
    pub(crate) fn forget(&mut self, connection: u64, turn: &mut Turn<'_>) {
        self.getters.retain(|(asker, _)| asker.connection != connection);
        self.joiners.retain(|asker| asker.connection != connection);
        let mine = self.putters.iter().position(|(asker, _)| asker.connection == connection);
        if let Some((_, item)) = mine.and_then(|mine| self.putters.remove(mine)) {
            turn.release(item);
        }
        self.settle(turn);
    }

    /// A session has ended: its tasks are to be done again, before all others, the oldest first.
    pub(crate) fn bury(&mut self, session: u64, turn: &mut Turn<'_>) {
        let theirs: Vec<_> = self.tasks.range((session, 0)..=(session, u64::MAX)).map(|(key, _)| *key).collect();
        let mut back: Vec<Stored> = theirs.iter().filter_map(|key| self.tasks.remove(key)).flatten().collect();
        while let Some(item) = back.pop() {
            self.items.push_front(item);
        }
        self.settle(turn);
    }

    pub(crate) fn audit(&self, audit: &mut Audit) {
        audit.stored(self.items.iter().chain(self.putters.iter().map(|(_, item)| item)));
        audit.stored(self.tasks.values().flatten());
        audit.waiters.extend(self.putters.iter().map(|(asker, _)| *asker));
        audit.waiters.extend(self.getters.iter().map(|(asker, _)| *asker).chain(self.joiners.iter().copied()));
        audit.owners.extend(self.tasks.keys().map(|(session, _)| *session));
        assert!(self.items.is_empty() || self.getters.is_empty(), "there is something, and somebody waits for it");
        assert!(self.putters.is_empty() || !self.has_room(), "there is room, and somebody waits for it");
        assert!(self.joiners.is_empty() || self.unfinished > 0, "all is done, and somebody waits for that");
        let tasks = self.tasks.values().map(|tasks| tasks.len()).sum::<usize>();
        assert_eq!(self.unfinished, (self.items.len() + tasks) as u64);
    }

    /// The object is gone.
    pub(crate) fn dismiss(&mut self, turn: &mut Turn<'_>) {
        let putters = self.putters.iter().map(|(asker, _)| *asker);
        let getters = self.getters.drain(..).map(|(asker, _)| asker);
        putters.chain(getters).chain(self.joiners.drain(..)).for_each(|asker| turn.dismiss(asker));
        let waiting = self.putters.drain(..).map(|(_, item)| item);
        let tasks = std::mem::take(&mut self.tasks).into_values().flatten();
        self.items.drain(..).chain(waiting).chain(tasks).for_each(|item| turn.released.extend(item.refs));
    }
}
