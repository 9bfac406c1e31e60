//! What is to be written to the clients, and what becomes of it when one does not get it.

use crate::protocol::{Answer, Fault, Reply, frame};

use super::ids::IdMap;
use super::lock::Owner;
use super::room::Room;
use super::store::Stored;

/// A request that is waiting for its answer, and who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) connection: u64,
    pub(crate) session: u64,
    pub(crate) request: u32,
}

/// Something that was given to a client and has perhaps not arrived. If the connection ends before the client says that it has, it is taken
/// back.
#[derive(Debug)]
pub(crate) enum Grant {
    Lock(Owner),
    Permit { session: u64 },
    Item { item: Stored, session: u64, task: Option<u64> },
}

/// What was given, of which object, and on which request.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) object: u64,
    pub(crate) request: u32,
    pub(crate) grant: Grant,
}

/// One connection, as those who answer see it.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) bytes: Vec<u8>,
    pub(crate) given: Option<Given>,
    /// The object and number of the request that is waiting. There is at most one.
    pub(crate) waiting: Option<(u64, u32)>,
    is_dirty: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    lines: IdMap<Line>,
    /// The connections that have something to be written.
    dirty: Vec<u64>,
}

impl Outbox {
    pub(crate) fn open(&mut self, connection: u64) {
        self.lines.insert(connection, Line::default());
    }

    pub(crate) fn close(&mut self, connection: u64) -> Option<Line> {
        let line = self.lines.remove(&connection);
        self.lines.shrink();
        line
    }

    pub(crate) fn line(&mut self, connection: u64) -> Option<&mut Line> {
        self.lines.get_mut(&connection)
    }

    pub(crate) fn answer(&mut self, to: Asker, answer: Answer<'_>) {
        let Some(line) = self.lines.get_mut(&to.connection) else { return };
        if line.waiting.is_some_and(|(_, request)| request == to.request) {
            line.waiting = None;
        }
        frame(&Reply { id: to.request, answer }, &mut line.bytes);
        if !std::mem::replace(&mut line.is_dirty, true) {
            self.dirty.push(to.connection);
        }
    }

    pub(crate) fn fault(&mut self, to: Asker, fault: Fault) {
        self.answer(to, Answer::Fault(fault));
    }

    /// Answers with something that is taken back if it does not arrive.
    pub(crate) fn give(&mut self, to: Asker, object: u64, grant: Grant, answer: Answer<'_>) {
        if let Some(line) = self.lines.get_mut(&to.connection) {
            line.given = Some(Given { object, request: to.request, grant });
        }
        self.answer(to, answer);
    }

    /// The request will be answered later, by whoever changes the object.
    pub(crate) fn wait(&mut self, asker: Asker, object: u64) {
        if let Some(line) = self.lines.get_mut(&asker.connection) {
            line.waiting = Some((object, asker.request));
        }
    }

    /// A connection with something to write, each once.
    pub(crate) fn next_dirty(&mut self) -> Option<u64> {
        let connection = self.dirty.pop()?;
        if let Some(line) = self.lines.get_mut(&connection) {
            line.is_dirty = false;
        }
        Some(connection)
    }
}
