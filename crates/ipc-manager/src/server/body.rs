//! What an object can be.

use crate::protocol::{Init, Item, Kind, Op};

use super::lock::Lock;
use super::map::Map;
use super::outbox::Grant;
use super::queue::Queue;
use super::room::Room;
use super::sequence::Sequence;
use super::state::simulation::Audit;
use super::store::Turn;
use super::sync::{Barrier, Event, Semaphore};

#[derive(Debug)]
pub(crate) enum Body {
    Sequence(Sequence),
    Map(Map),
    Queue(Queue),
    Lock(Lock),
    Semaphore(Semaphore),
    Event(Event),
    Barrier(Barrier),
}

impl Body {
    pub(crate) fn new(kind: Kind, init: &Init<'_>, turn: &mut Turn<'_>) -> Option<Body> {
        let items = |items: &[Item<'_>], turn: &mut Turn<'_>| items.iter().map(|item| turn.store(item)).collect();
        Some(match (kind, init) {
            (Kind::List, Init::Nothing) => Body::Sequence(Sequence::default()),
            (Kind::List, Init::Items(all)) => Body::Sequence(Sequence::new(items(all, turn), false)),
            (Kind::Array, Init::Items(all)) => Body::Sequence(Sequence::new(items(all, turn), true)),
            (Kind::Value, Init::Items(all)) if all.len() == 1 => Body::Sequence(Sequence::new(items(all, turn), true)),
            (Kind::Dict | Kind::Set | Kind::Namespace, Init::Nothing) => Body::Map(Map::default()),
            (Kind::Dict | Kind::Set | Kind::Namespace, Init::Pairs(pairs)) => {
                let mut map = Map::default();
                map.extend(pairs, turn);
                Body::Map(map)
            }
            (Kind::Queue, Init::Number(capacity)) => Body::Queue(Queue::new(*capacity, false)),
            (Kind::JoinableQueue, Init::Number(capacity)) => Body::Queue(Queue::new(*capacity, true)),
            (Kind::Lock, Init::Nothing) => Body::Lock(Lock::new(false, false)),
            (Kind::RLock, Init::Nothing) => Body::Lock(Lock::new(true, false)),
            (Kind::Condition, Init::Nothing) => Body::Lock(Lock::new(false, true)),
            (Kind::Semaphore, Init::Number(permits)) => Body::Semaphore(Semaphore::new(*permits)),
            (Kind::Event, Init::Nothing) => Body::Event(Event::default()),
            (Kind::Barrier, Init::Number(parties)) if *parties > 0 => Body::Barrier(Barrier::new(*parties)),
            _ => return None,
        })
    }

    pub(crate) fn run(&mut self, op: Op<'_>, turn: &mut Turn<'_>) {
        match self {
            Body::Sequence(list) => list.run(op, turn),
            Body::Map(map) => map.run(op, turn),
            Body::Queue(queue) => queue.run(op, turn),
            Body::Lock(lock) => lock.run(op, turn),
            Body::Semaphore(semaphore) => semaphore.run(op, turn),
            Body::Event(event) => event.run(op, turn),
            Body::Barrier(barrier) => barrier.run(op, turn),
        }
    }

    /// Gives back the room of what is no longer in it.
    pub(crate) fn shrink(&mut self) {
        match self {
            Body::Sequence(list) => list.items.shrink(),
            Body::Map(map) => map.entries.shrink(),
            Body::Queue(queue) => queue.items.shrink(),
            Body::Lock(_) | Body::Semaphore(_) | Body::Event(_) | Body::Barrier(_) => {} // at most one entry for each connection
        }
    }

    /// A request that came over this connection waits no longer.
    pub(crate) fn forget(&mut self, connection: u64, by_death: bool, turn: &mut Turn<'_>) {
        match self {
            Body::Sequence(_) | Body::Map(_) => {}
            Body::Queue(queue) => queue.forget(connection, turn),
            Body::Lock(lock) => lock.forget(connection, turn),
            Body::Semaphore(semaphore) => semaphore.forget(connection),
            Body::Event(event) => event.forget(connection),
            Body::Barrier(barrier) => barrier.forget(connection, by_death, turn),
        }
    }

    pub(crate) fn take_back(&mut self, grant: Grant, turn: &mut Turn<'_>) {
        match (self, grant) {
            (Body::Queue(queue), Grant::Item { item, session, task }) => queue.take_back(item, session, task, turn),
            (Body::Lock(lock), Grant::Lock(owner)) => lock.take_back(owner, turn),
            (Body::Semaphore(semaphore), Grant::Permit { session }) => semaphore.take_back(session, turn),
            _ => {}
        }
    }

    /// The object is gone: who waits is told so, and what it held it holds no more.
    pub(crate) fn dismiss(&mut self, turn: &mut Turn<'_>) {
        match self {
            Body::Sequence(list) => list.items.drain(..).for_each(|item| turn.release(item)),
            Body::Map(map) => map.entries.drain().for_each(|(_, item)| turn.release(item)),
            Body::Queue(queue) => queue.dismiss(turn),
            Body::Lock(lock) => lock.dismiss(turn),
            Body::Semaphore(semaphore) => semaphore.dismiss(turn),
            Body::Event(event) => event.dismiss(turn),
            Body::Barrier(barrier) => barrier.dismiss(turn),
        }
    }

    /// Whether the end of a session can matter to it.
    pub(crate) fn has_owners(&self) -> bool {
        !matches!(self, Body::Sequence(_) | Body::Map(_) | Body::Event(_))
    }

    pub(crate) fn bury(&mut self, session: u64, turn: &mut Turn<'_>) {
        match self {
            Body::Queue(queue) => queue.bury(session, turn),
            Body::Lock(lock) => lock.bury(session, turn),
            Body::Semaphore(semaphore) => semaphore.bury(session, turn),
            Body::Barrier(barrier) => barrier.bury(session, turn),
            Body::Sequence(_) | Body::Map(_) | Body::Event(_) => {}
        }
    }

    /// For tests.
    pub(crate) fn audit(&self) -> Audit {
        let mut audit = Audit::default();
        match self {
            Body::Sequence(list) => audit.stored(&list.items),
            Body::Map(map) => audit.stored(map.entries.values()),
            Body::Queue(queue) => queue.audit(&mut audit),
            Body::Lock(lock) => lock.audit(&mut audit),
            Body::Semaphore(semaphore) => semaphore.audit(&mut audit),
            Body::Event(event) => event.audit(&mut audit),
            Body::Barrier(barrier) => barrier.audit(&mut audit),
        }
        audit
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Body::Sequence(list) => list.items.len() as u64,
            Body::Map(map) => map.entries.len() as u64,
            Body::Queue(queue) => queue.items.len() as u64,
            Body::Semaphore(semaphore) => semaphore.available,
            Body::Lock(_) | Body::Event(_) | Body::Barrier(_) => 0,
        }
    }
}
