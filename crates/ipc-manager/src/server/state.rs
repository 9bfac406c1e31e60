//! What the server knows: objects, who holds them, and what is done with them. No sockets here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::{Answer, Blob, Call, Fault, Init, Kind, Op, Pair, Request, VERSION};
use crate::stats::{LockOwner, ObjectStats, Stats};

use super::body::Body;
use super::ids::{IdMap, IdSet};
use super::outbox::{Asker, Given, Grant, Outbox};
use super::room::Room;
use super::store::{Stored, Turn};

mod script;
pub mod simulation;
#[cfg(test)]
mod tests;

/// How long an object is kept for a proxy that was sent to another process and has not arrived.
pub(crate) const TICKET: Duration = Duration::from_secs(60);
/// About how many bytes of a snapshot go into one answer.
const PAGE: usize = 256 * 1024;
/// How many snapshots a session may be in the middle of.
const SNAPSHOTS: usize = 64;

#[derive(Debug)]
pub(crate) struct State {
    objects: IdMap<Object>,
    names: HashMap<String, u64>,
    sessions: IdMap<Session>,
    /// What is held for proxies on their way, by number.
    tickets: BTreeMap<u64, (u64, Instant)>,
    ticket: Duration,
    /// No number is ever given twice.
    next: u64,
    calls: u64,
    began: Instant,
    max_message: u64,
    /// A number that no other server has.
    server: u64,
    pub(crate) is_over: bool,
}

#[derive(Debug)]
struct Object {
    kind: Kind,
    types: String,
    name: Option<String>,
    /// Sessions, tickets, a name and values that hold it. Without any it goes.
    holds: u64,
    /// The sessions to whose end it has to do something.
    touched_by: Vec<u64>,
    body: Body,
}

/// A key, and its value.
type Entry = (Arc<[u8]>, Stored);

/// A client: all connections of one process.
#[derive(Debug, Default)]
struct Session {
    pid: u32,
    connections: usize,
    holds: IdMap<u64>,
    /// The locks, queues, … of which it may have something that others wait for.
    touched: IdSet,
    /// What is still to be fetched of each, keys and values.
    snapshots: IdMap<VecDeque<Entry>>,
}

impl State {
    /// Tickets are valid for `ticket`.
    pub(crate) fn new(max_message: u64, ticket: Duration, server: u64) -> State {
        State {
            objects: IdMap::default(),
            names: HashMap::new(),
            sessions: IdMap::default(),
            tickets: BTreeMap::new(),
            ticket,
            next: 1,
            calls: 0,
            began: Instant::now(),
            max_message,
            server,
            is_over: false,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Does what a client asks for. `session` is that of the connection, once it has one. Says whether the connection is to go on.
    pub(crate) fn handle(
        &mut self,
        connection: u64,
        session: &mut Option<u64>,
        frame: &[u8],
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let request: Request<'_> = match postcard::take_from_bytes(frame) {
            Ok((request, [])) => request,
            _ => return Err(Fault::Malformed),
        };
        if self.is_over {
            return Err(Fault::NoSession); // of those that came with the one which has ended the server, or just after
        }
        self.calls += 1;
        let mut asker = Asker { connection, session: 0, request: request.id };
        if let Call::Hello { version, sessions, pid } = request.call {
            asker.session = self.enter(version, &sessions, pid, session.is_some())?;
            *session = Some(asker.session);
            let (session, max_message, server) = (asker.session, self.max_message, self.server);
            out.answer(asker, Answer::Welcome { version: VERSION, session, max_message, server });
            return Ok(());
        }
        asker.session = session.ok_or(Fault::NoSession)?;
        // These come also from one who has not yet seen what it was given.
        let confirms = !matches!(request.call, Call::Cancel { .. } | Call::GiveUp { .. } | Call::Ping);
        if let Some(line) = out.line(connection) {
            // Who waits says nothing else; and two answers with one number nobody could tell apart.
            if line.waiting.is_some_and(|(_, waits)| confirms || waits == request.id) {
                return Err(Fault::TooMany);
            }
            if let Some(given) = line.given.take_if(|_| confirms) {
                self.confirm(given, out);
            }
        }
        self.call(asker, request.call, out);
        Ok(())
    }

    fn enter(&mut self, version: u32, joined: &[u64], pid: u32, again: bool) -> Result<u64, Fault> {
        if version != VERSION {
            return Err(Fault::Version(VERSION));
        }
        if again {
            return Err(Fault::Unfit);
        }
        let number = match joined.iter().find(|number| self.sessions.contains_key(number)) {
            Some(number) => *number,
            None => {
                // Not the next one: a client of an earlier server at this address must not come into the session of another.
                let number = getrandom::u64().map_err(|_| Fault::TooMany)?;
                if self.sessions.contains_key(&number) {
                    return Err(Fault::TooMany);
                }
                self.sessions.insert(number, Session { pid, ..Session::default() });
                number
            }
        };
        self.sessions.get_mut(&number).ok_or(Fault::NoSession)?.connections += 1;
        Ok(number)
    }

    fn call(&mut self, asker: Asker, call: Call<'_>, out: &mut Outbox) {
        match call {
            Call::On { object, op: op @ (Op::Snapshot | Op::Drain) } => self.snapshot(asker, object, &op, out),
            // Nothing stored holds what there is not: a later object could get that number.
            Call::On { op, .. } if !op.refs(|object| self.objects.contains_key(&object)) => {
                out.fault(asker, Fault::NoObject);
            }
            Call::On { object, op } => {
                self.touch(asker.session, object);
                self.on(asker, object, out, |body, turn| body.run(op, turn));
            }
            Call::Confirm | Call::Hello { .. } => {}
            Call::Ping => out.answer(asker, Answer::Done),
            Call::Cancel { request } => self.cancel(asker, request, out),
            Call::GiveUp { request } => self.give_up(asker, request, out),
            Call::Make { init, .. } if !init.refs(|object| self.objects.contains_key(&object)) => {
                out.fault(asker, Fault::NoObject);
            }
            Call::Make { kind, types, init } => {
                let answer = self.make(asker, kind, types, &init, out).map_or_else(Answer::Fault, Answer::Object);
                out.answer(asker, answer);
            }
            Call::Publish { object, name } => {
                let answer = self.publish(object, name).map_or_else(Answer::Fault, |()| Answer::Done);
                out.answer(asker, answer);
            }
            Call::Find { name, kind, types } => {
                let found = self.names.get(name).copied().ok_or(Fault::NoName);
                let found = found.and_then(|object| self.check(object, kind, types).map(|()| object));
                if let Ok(object) = found {
                    self.hold_by(asker.session, object);
                }
                out.answer(asker, found.map_or_else(Answer::Fault, Answer::Object));
            }
            Call::Unlink { name } => match self.names.remove(name) {
                Some(number) => {
                    if let Some(object) = self.objects.get_mut(&number) {
                        object.name = None;
                    }
                    self.names.shrink();
                    self.release(vec![number], out);
                    out.answer(asker, Answer::Done);
                }
                None => out.fault(asker, Fault::NoName),
            },
            Call::Release { objects } => {
                let objects = self.let_go(asker.session, objects);
                self.release(objects, out);
            }
            Call::Ticket { object } => {
                if !self.hold(object) {
                    return out.fault(asker, Fault::NoObject);
                }
                let number = self.number();
                self.tickets.insert(number, (object, Instant::now() + self.ticket));
                out.answer(asker, Answer::Number(number));
            }
            Call::Claim { object, ticket, kind, types } => {
                let answer = match self.check(object, kind, types) {
                    Ok(()) => {
                        self.hold_by(asker.session, object);
                        Answer::Object(object)
                    }
                    Err(fault) => Answer::Fault(fault),
                };
                out.answer(asker, answer);
                if self.tickets.get(&ticket).is_some_and(|(held, _)| *held == object) {
                    self.tickets.remove(&ticket);
                    self.release(vec![object], out);
                }
            }
            Call::Page { cursor } => self.page(asker, cursor, 0, out),
            Call::EndPages { cursor } => self.end_pages(asker.session, cursor, out),
            Call::Stats => {
                let stats = postcard::to_stdvec(&self.stats()).unwrap_or_default();
                match stats.len() as u64 <= self.max_message {
                    true => out.answer(asker, Answer::Stats(Blob(&stats))),
                    false => out.fault(asker, Fault::TooMany),
                }
            }
            Call::Shutdown => {
                self.is_over = true;
                out.answer(asker, Answer::Done);
            }
        }
    }

    /// Notes that the end of the session can matter to the object.
    fn touch(&mut self, session: u64, number: u64) {
        let Some(object) = self.objects.get_mut(&number) else { return };
        if object.body.has_owners() && self.sessions.get_mut(&session).is_some_and(|s| s.touched.insert(number)) {
            object.touched_by.push(session);
        }
    }

    /// Runs something on an object, and then does to others what came of it.
    fn on(&mut self, asker: Asker, object: u64, out: &mut Outbox, run: impl FnOnce(&mut Body, &mut Turn<'_>)) {
        let Some(found) = self.objects.get_mut(&object) else { return out.fault(asker, Fault::NoObject) };
        let mut turn = Turn { out, asker, object, held: Vec::new(), granted: Vec::new(), released: Vec::new() };
        run(&mut found.body, &mut turn);
        found.body.shrink();
        let Turn { held, granted, released, .. } = turn;
        for object in held {
            self.hold(object);
        }
        for (session, object) in granted {
            self.hold_by(session, object);
        }
        if !released.is_empty() {
            self.release(released, out);
        }
    }

    /// One hold more. Nothing if there is no such object, and there will never be.
    fn hold(&mut self, object: u64) -> bool {
        self.objects.get_mut(&object).map(|object| object.holds += 1).is_some()
    }

    fn hold_by(&mut self, session: u64, object: u64) {
        if self.sessions.contains_key(&session) && self.hold(object) {
            if let Some(session) = self.sessions.get_mut(&session) {
                *session.holds.entry(object).or_default() += 1;
            }
        }
    }

    /// Takes holds from a session, never more than it has, and says which it had.
    fn let_go(&mut self, session: u64, mut objects: Vec<u64>) -> Vec<u64> {
        let Some(session) = self.sessions.get_mut(&session) else { return Vec::new() };
        objects.retain(|object| match session.holds.get_mut(object) {
            Some(holds) => {
                *holds -= 1;
                if *holds == 0 {
                    session.holds.remove(object);
                }
                true
            }
            None => false,
        });
        session.holds.shrink();
        objects
    }

    /// One hold less on each; what nobody holds any more goes, and with it what it held.
    fn release(&mut self, mut objects: Vec<u64>, out: &mut Outbox) {
        while let Some(number) = objects.pop() {
            let Some(object) = self.objects.get_mut(&number) else { continue };
            object.holds -= 1;
            if object.holds > 0 {
                continue;
            }
            let Some(mut gone) = self.objects.remove(&number) else { continue };
            for session in gone.touched_by {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.touched.remove(&number);
                    session.touched.shrink();
                }
            }
            let asker = Asker { connection: 0, session: 0, request: 0 };
            let mut turn = Turn { out, asker, object: number, held: vec![], granted: vec![], released: vec![] };
            gone.body.dismiss(&mut turn);
            objects.append(&mut turn.released);
        }
        self.objects.shrink();
    }

    fn check(&self, object: u64, kind: Kind, types: &str) -> Result<(), Fault> {
        let found = self.objects.get(&object).ok_or(Fault::NoObject)?;
        match found.kind == kind && found.types == types {
            true => Ok(()),
            false => Err(Fault::WrongType { kind: found.kind, types: found.types.clone() }),
        }
    }

    fn publish(&mut self, number: u64, name: &str) -> Result<(), Fault> {
        if self.names.contains_key(name) {
            return Err(Fault::NameTaken);
        }
        let object = self.objects.get_mut(&number).ok_or(Fault::NoObject)?;
        if let Some(name) = &object.name {
            return Err(Fault::HasName(name.clone()));
        }
        object.name = Some(name.into());
        object.holds += 1;
        self.names.insert(name.into(), number);
        Ok(())
    }

    fn make(&mut self, asker: Asker, kind: Kind, types: &str, init: &Init<'_>, out: &mut Outbox) -> Result<u64, Fault> {
        let number = self.number();
        let mut turn = Turn { out, asker, object: number, held: vec![], granted: vec![], released: vec![] };
        let body = Body::new(kind, init, &mut turn).ok_or(Fault::Unfit)?;
        let (held, released) = (turn.held, turn.released);
        let touched_by = Vec::new();
        self.objects.insert(number, Object { kind, types: types.into(), name: None, holds: 0, touched_by, body });
        self.hold_by(asker.session, number);
        for object in held {
            self.hold(object);
        }
        self.release(released, out);
        Ok(number)
    }

    /// All that is in an object at this moment, or the first page of it.
    fn snapshot(&mut self, asker: Asker, number: u64, op: &Op<'_>, out: &mut Outbox) {
        if self.sessions.get(&asker.session).is_none_or(|session| session.snapshots.len() == SNAPSHOTS) {
            return out.fault(asker, Fault::TooMany);
        }
        let Some(object) = self.objects.get_mut(&number) else { return out.fault(asker, Fault::NoObject) };
        let nothing: Arc<[u8]> = Arc::new([]);
        let take = matches!(op, Op::Drain);
        let mut version = 0;
        let entries: VecDeque<_> = match &mut object.body {
            Body::Sequence(list) => {
                version = list.version();
                if take && list.is_fixed {
                    return out.fault(asker, Fault::Unfit);
                }
                list.items.iter().map(|item| (nothing.clone(), item.clone())).collect()
            }
            Body::Map(map) => map.entries.iter().map(|(key, item)| (key.clone(), item.clone())).collect(),
            _ => return out.fault(asker, Fault::Unfit),
        };
        // The snapshot holds what its values do, until it is over.
        let held: Vec<u64> = entries.iter().flat_map(|(_, item)| item.refs.clone()).collect();
        for object in held {
            self.hold(object);
        }
        let cursor = self.number();
        let Some(session) = self.sessions.get_mut(&asker.session) else { return };
        session.snapshots.insert(cursor, entries);
        self.page(asker, cursor, version, out);
        if take {
            let silent = Asker { connection: 0, ..asker };
            self.on(silent, number, out, |body, turn| body.run(Op::Clear, turn));
        }
    }

    fn page(&mut self, asker: Asker, cursor: u64, version: u64, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(&asker.session) else { return };
        let Some(entries) = session.snapshots.get_mut(&cursor) else { return out.fault(asker, Fault::NoObject) };
        let (mut bytes, mut count) = (0, 0);
        for (key, item) in entries.iter() {
            let len = key.len() + item.bytes.len() + 16 + 10 * item.refs.len();
            if count > 0 && bytes + len > PAGE {
                break;
            }
            (bytes, count) = (bytes + len, count + 1);
        }
        let page: Vec<_> = entries.drain(..count).collect();
        let more = if entries.is_empty() { None } else { Some(cursor) };
        if more.is_none() {
            session.snapshots.remove(&cursor);
        }
        let pairs: Vec<Pair<'_>> = page.iter().map(|(key, item)| (Blob(key), item.item())).collect();
        out.answer(asker, Answer::Page { pairs, more, version });
        let refs: Vec<u64> = page.into_iter().flat_map(|(_, item)| item.refs).collect();
        for object in &refs {
            self.hold_by(asker.session, *object);
        }
        self.release(refs, out);
    }

    fn end_pages(&mut self, session: u64, cursor: u64, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(&session) else { return };
        if let Some(entries) = session.snapshots.remove(&cursor) {
            self.release(entries.into_iter().flat_map(|(_, item)| item.refs).collect(), out);
        }
    }

    /// What was given has arrived.
    fn confirm(&mut self, given: Given, out: &mut Outbox) {
        let Grant::Item { item, task, .. } = given.grant else { return };
        if task.is_none() {
            self.release(item.refs, out); // the queue has held them until now
        }
    }

    /// What was given has not arrived, or was not wanted.
    fn take_back(&mut self, session: u64, given: Given, out: &mut Outbox) {
        let Given { object, grant, .. } = given;
        let refs = match &grant {
            Grant::Item { item, .. } => self.let_go(session, item.refs.clone()),
            Grant::Lock(_) | Grant::Permit { .. } => Vec::new(),
        };
        match self.objects.contains_key(&object) {
            true => {
                let asker = Asker { connection: 0, session, request: 0 };
                self.on(asker, object, out, |body, turn| body.take_back(grant, turn));
            }
            false => self.confirm(Given { object, request: 0, grant }, out),
        }
        self.release(refs, out);
    }

    /// Nobody waits any more for the answer to this request.
    fn give_up(&mut self, asker: Asker, request: u32, out: &mut Outbox) {
        let Some(line) = out.line(asker.connection) else { return };
        if let Some((object, _)) = line.waiting.take_if(|(_, waits)| *waits == request) {
            let silent = Asker { connection: 0, ..asker };
            self.on(silent, object, out, |body, turn| body.forget(asker.connection, false, turn));
        } else if let Some(given) = line.given.take_if(|given| given.request == request) {
            self.take_back(asker.session, given, out);
        }
    }

    fn cancel(&mut self, asker: Asker, request: u32, out: &mut Outbox) {
        let waiting = out.line(asker.connection).and_then(|line| line.waiting);
        let Some((object, waits)) = waiting.filter(|(_, waits)| *waits == request) else { return };
        let mut later = false;
        self.on(asker, object, out, |body, turn| {
            later = match body {
                Body::Lock(lock) => lock.cancel(asker.connection, turn),
                _ => false,
            };
            if !later {
                body.forget(asker.connection, false, turn);
            }
        });
        if !later {
            out.fault(Asker { request: waits, ..asker }, Fault::Cancelled);
        }
    }

    /// A connection has ended: what was not delivered on it is taken back, and who waited does not any more. With its last one a session ends.
    pub(crate) fn leave(&mut self, connection: u64, session: Option<u64>, out: &mut Outbox) {
        let line = out.close(connection);
        let Some(session) = session else { return };
        let asker = Asker { connection: 0, session, request: 0 };
        let is_end = self.sessions.get(&session).is_some_and(|session| session.connections == 1);
        if let Some(line) = line {
            if let Some((object, _)) = line.waiting {
                self.on(asker, object, out, |body, turn| body.forget(connection, is_end, turn));
            }
            if let Some(given) = line.given {
                self.take_back(session, given, out);
            }
        }
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        entry.connections -= 1;
        if entry.connections > 0 {
            return;
        }
        let Some(gone) = self.sessions.remove(&session) else { return };
        self.sessions.shrink();
        // Locks and permits first: what it held may go with it.
        for number in gone.touched {
            let Some(object) = self.objects.get_mut(&number) else { continue };
            object.touched_by.retain(|touched_by| *touched_by != session);
            self.on(asker, number, out, |body, turn| body.bury(session, turn));
        }
        let holds = gone.holds.into_iter().flat_map(|(object, n)| std::iter::repeat_n(object, n as usize));
        let shown = gone.snapshots.into_values().flatten().flat_map(|(_, item)| item.refs);
        self.release(holds.chain(shown).collect(), out);
    }

    /// Lets go of what was held for proxies that have never arrived. Says when to ask again.
    pub(crate) fn expire(&mut self, now: Instant, out: &mut Outbox) -> Option<Instant> {
        while let Some(entry) = self.tickets.first_entry() {
            let (object, until) = *entry.get();
            if until > now {
                return Some(until);
            }
            entry.remove();
            self.release(vec![object], out);
        }
        None
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut objects: Vec<_> = self
            .objects
            .iter()
            .map(|(number, object)| ObjectStats {
                number: *number,
                kind: object.kind,
                types: object.types.clone(),
                name: object.name.clone(),
                len: object.body.len(),
                references: object.holds,
                owner: match &object.body {
                    Body::Lock(lock) => lock.owner.map(|owner| LockOwner {
                        pid: self.sessions.get(&owner.session).map_or(0, |session| session.pid),
                        thread: owner.thread,
                    }),
                    _ => None,
                },
            })
            .collect();
        objects.sort_by_key(|object| object.number);
        Stats {
            clients: self.sessions.len() as u64,
            connections: self.sessions.values().map(|session| session.connections as u64).sum(),
            calls: self.calls,
            uptime: self.began.elapsed(),
            objects,
        }
    }
}
