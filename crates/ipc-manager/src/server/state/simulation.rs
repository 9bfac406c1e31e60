//! A server without sockets, for tests and for fuzzing: clients that say anything, and what must be true after each step.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;
use std::time::{Duration, Instant};

use super::{State, TICKET};
use crate::protocol::{Answer, Call, Fault, Reply, Request, VERSION};
use crate::server::outbox::{Asker, Grant, Outbox};
use crate::server::store::Stored;

/// What an object says about itself.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// What its values hold.
    pub(crate) refs: Vec<u64>,
    /// Who waits for something.
    pub(crate) waiters: Vec<Asker>,
    /// The sessions that have something of it.
    pub(crate) owners: Vec<u64>,
}

impl Audit {
    pub(crate) fn stored<'a>(&mut self, all: impl IntoIterator<Item = &'a Stored>) {
        self.refs.extend(all.into_iter().flat_map(|stored| stored.refs.iter().copied()));
    }
}

/// A server and its clients. Panics when the server does what it must not.
#[derive(Debug)]
pub struct Simulation {
    pub(crate) state: State,
    pub(crate) out: Outbox,
    clients: BTreeMap<u64, Client>,
    next: u64,
}

#[derive(Debug, Default)]
struct Client {
    session: Option<u64>,
    next: u32,
    /// The requests that are not answered yet, and how often each number was used.
    open: HashMap<u32, usize>,
    answers: Vec<Vec<u8>>,
}

impl Default for Simulation {
    fn default() -> Simulation {
        Simulation::new()
    }
}

impl Simulation {
    /// An empty server.
    pub fn new() -> Simulation {
        let state = State::new(1 << 20, TICKET, 1);
        Simulation { state, out: Outbox::default(), clients: BTreeMap::new(), next: 1 }
    }

    /// A connection that has not said anything yet.
    pub fn connect(&mut self) -> u64 {
        let connection = self.next;
        self.next += 1;
        self.out.open(connection);
        self.clients.insert(connection, Client::default());
        connection
    }

    /// A connection of a new session, or of that of another connection.
    pub fn enter(&mut self, with: Option<u64>) -> u64 {
        let session = with.and_then(|with| self.clients.get(&with)?.session);
        let connection = self.connect();
        let _ = self.ask(
            connection,
            Call::Hello { version: VERSION, sessions: session.into_iter().collect(), pid: connection as u32 },
        );
        connection
    }

    /// The connections there are.
    pub fn connections(&self) -> Vec<u64> {
        self.clients.keys().copied().collect()
    }

    /// The numbers of the objects there are, in their order.
    pub(crate) fn objects(&self) -> Vec<u64> {
        let mut objects: Vec<u64> = self.state.objects.keys().copied().collect();
        objects.sort_unstable();
        objects
    }

    /// Whether the connection is still there.
    pub fn is_open(&self, connection: u64) -> bool {
        self.clients.contains_key(&connection)
    }

    #[cfg(test)]
    pub(crate) fn session(&self, connection: u64) -> Option<u64> {
        self.clients.get(&connection)?.session
    }

    pub(crate) fn kind(&self, object: u64) -> Option<crate::Kind> {
        self.state.objects.get(&object).map(|object| object.kind)
    }

    /// The number of the last request of a connection.
    pub(crate) fn latest(&self, connection: u64) -> u32 {
        self.clients.get(&connection).map_or(0, |client| client.next)
    }

    /// A number for the next one.
    pub(crate) fn number(&mut self, connection: u64) -> u32 {
        let Some(client) = self.clients.get_mut(&connection) else { return 0 };
        client.next += 1;
        client.next
    }

    /// Sends a request, and says what its number is.
    pub(crate) fn ask(&mut self, connection: u64, call: Call<'_>) -> u32 {
        let id = self.number(connection);
        let frame = postcard::to_stdvec(&Request { id, call }).expect("requests can be encoded");
        self.frame(connection, &frame);
        id
    }

    /// Has the server handle any bytes as one frame. What is returned is different for what is different in kind.
    pub fn frame(&mut self, connection: u64, frame: &[u8]) -> u64 {
        let mut happened = DefaultHasher::new();
        let Some(client) = self.clients.get_mut(&connection) else { return 0 };
        let request = match postcard::take_from_bytes::<Request<'_>>(frame) {
            Ok((request, [])) => Some(request),
            _ => None,
        };
        if let Some(Request { id, call }) = &request {
            discriminant(call).hash(&mut happened);
            if let Call::On { op, .. } = call {
                discriminant(op).hash(&mut happened);
            }
            let silent = [
                discriminant(&Call::Confirm),
                discriminant(&Call::Cancel { request: 0 }),
                discriminant(&Call::GiveUp { request: 0 }),
                discriminant(&Call::Release { objects: Vec::new() }),
                discriminant(&Call::EndPages { cursor: 0 }),
            ];
            if !silent.contains(&discriminant(call)) {
                *client.open.entry(*id).or_default() += 1;
            }
            if let Call::GiveUp { request } = call {
                // An answer is not owed any more, if it was.
                if self.out.line(connection).is_some_and(|line| line.waiting.is_some_and(|(_, id)| id == *request)) {
                    client.open.remove(request);
                }
            }
        }
        let before = client.session;
        let result = self.state.handle(connection, &mut client.session, frame, &mut self.out);
        result.is_ok().hash(&mut happened);
        assert!(before.is_none() || before == client.session, "a connection changes its session");
        assert!(request.is_some() || result == Err(Fault::Malformed), "{frame:?} is no request");
        self.collect(&mut happened);
        if result.is_err() {
            self.leave(connection);
        }
        self.check();
        happened.finish()
    }

    /// Takes what the server has said to anybody.
    fn collect(&mut self, happened: &mut DefaultHasher) {
        while let Some(connection) = self.out.next_dirty() {
            let Some(line) = self.out.line(connection) else { continue };
            let bytes = std::mem::take(&mut line.bytes);
            let client = self.clients.get_mut(&connection).expect("only who is there is answered");
            let mut rest = &bytes[..];
            while let Some((len, after)) = rest.split_first_chunk::<4>() {
                let (frame, after) = after.split_at(u32::from_be_bytes(*len) as usize);
                rest = after;
                let reply: Reply<'_> = postcard::from_bytes(frame).expect("the server sends answers");
                discriminant(&reply.answer).hash(happened);
                if let Answer::Fault(fault) = &reply.answer {
                    discriminant(fault).hash(happened);
                }
                let owed = client.open.get_mut(&reply.id).filter(|owed| **owed > 0);
                *owed.unwrap_or_else(|| panic!("an answer that nobody is owed: {reply:?}")) -= 1;
                client.answers.push(frame.to_vec());
            }
            assert!(rest.is_empty());
        }
    }

    /// The answers that a connection has got.
    #[cfg(test)]
    pub(crate) fn take_answers(&mut self, connection: u64) -> Vec<Vec<u8>> {
        self.clients.get_mut(&connection).map(|client| std::mem::take(&mut client.answers)).unwrap_or_default()
    }

    /// A connection ends, with what was said on it not heard perhaps.
    pub fn leave(&mut self, connection: u64) {
        let Some(client) = self.clients.remove(&connection) else { return };
        self.state.leave(connection, client.session, &mut self.out);
        self.collect(&mut DefaultHasher::new());
        self.check();
    }

    /// So much time passes.
    pub fn pass(&mut self, time: Duration) {
        self.state.expire(Instant::now() + time, &mut self.out);
        self.collect(&mut DefaultHasher::new());
        self.check();
    }

    /// All leave, and nothing is left but what a name, or another object, holds.
    pub fn finish(mut self) {
        for connection in self.connections() {
            self.leave(connection);
        }
        self.pass(TICKET + Duration::from_secs(1));
        assert!(self.state.sessions.is_empty() && self.state.tickets.is_empty());
        for (number, audit) in self.audits() {
            assert!(audit.waiters.is_empty() && audit.owners.is_empty(), "{number}: {audit:?}");
        }
    }

    fn audits(&self) -> BTreeMap<u64, Audit> {
        let objects = self.state.objects.iter();
        objects.map(|(number, object)| (*number, object.body.audit())).collect()
    }

    /// What must be true between any two requests.
    pub fn check(&mut self) {
        let audits = self.audits();
        let mut holds: HashMap<u64, u64> = HashMap::new();
        let mut hold = |object: u64, n: u64| *holds.entry(object).or_default() += n;
        let state = &self.state;
        for session in state.sessions.values() {
            session.holds.iter().for_each(|(object, n)| hold(*object, *n));
            session.snapshots.values().flatten().for_each(|(_, item)| item.refs.iter().for_each(|r| hold(*r, 1)));
            assert!(session.snapshots.values().all(|rest| !rest.is_empty()), "a snapshot that is over is kept");
        }
        state.names.values().for_each(|object| hold(*object, 1));
        state.tickets.values().for_each(|(object, _)| hold(*object, 1));
        audits.values().for_each(|audit| audit.refs.iter().for_each(|object| hold(*object, 1)));
        let mut waiting = BTreeSet::new();
        let mut connections: HashMap<u64, usize> = HashMap::new();
        for (connection, client) in &self.clients {
            let line = self.out.line(*connection).expect("a line for each connection");
            if let Some(Grant::Item { item, task: None, .. }) = line.given.as_ref().map(|given| &given.grant) {
                item.refs.iter().for_each(|object| hold(*object, 1));
            }
            assert!(line.given.is_none() || line.waiting.is_none(), "who was given something waits");
            let owed: Vec<u32> = client.open.iter().filter(|(_, owed)| **owed > 0).map(|(id, _)| *id).collect();
            match line.waiting {
                Some((object, id)) => {
                    waiting.insert((object, *connection, id));
                    assert_eq!(owed, [id], "connection {connection}");
                }
                // After what ends a connection nothing is answered any more, and it is gone at once.
                None => assert!(owed.is_empty(), "connection {connection} waits for {owed:?} in vain"),
            }
            client.session.into_iter().for_each(|session| *connections.entry(session).or_default() += 1);
        }
        let mut known = BTreeSet::new();
        for (number, audit) in &audits {
            let object = &state.objects[number];
            assert_eq!(Some(&object.holds), holds.get(number), "what holds object {number}");
            for asker in &audit.waiters {
                assert!(known.insert((*number, asker.connection, asker.request)), "{asker:?} waits twice");
                assert!(state.sessions.contains_key(&asker.session), "{asker:?} is gone, and waits");
            }
            for owner in &audit.owners {
                let session = state.sessions.get(owner).unwrap_or_else(|| panic!("{owner} is gone, and has {number}"));
                assert!(session.touched.contains(number) && object.touched_by.contains(owner));
            }
        }
        assert_eq!(known, waiting, "who waits, and who the objects know of");
        for object in holds.keys() {
            assert!(audits.contains_key(object), "object {object} is gone, and held");
        }
        for (name, object) in &state.names {
            assert_eq!(state.objects[object].name.as_ref(), Some(name));
        }
        let sessions: HashMap<u64, usize> = state.sessions.iter().map(|(n, s)| (*n, s.connections)).collect();
        assert_eq!(sessions, connections, "sessions and their connections");
        let touched = state.sessions.values().map(|session| session.touched.len()).sum::<usize>();
        let touched_by = state.objects.values().map(|object| object.touched_by.len()).sum::<usize>();
        assert_eq!(touched, touched_by);
    }
}
