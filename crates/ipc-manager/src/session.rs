//! A client's side of the protocol: the connections of a process to one server.
//!
//! A call takes a connection out of the pool, or makes one, and puts it back. So threads do not wait for each other, and one that is kept waiting by the
//! server (for a lock, say) has its connection to itself. To the server all of them are one session, which ends with the last of them.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipc_core::{crash_point, process_id};
use ipc_socket::Address;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::line::{Borrowed, CANCEL, Line, Numbered, Patience};
use crate::protocol::{Answer, Call, Fault, Item, Op};
use crate::value::Arriving;

/// How long an answer may take that needs nobody else.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// As many connections are kept that nobody uses.
const IDLE: usize = 8;
/// About as much of a batch is sent before its answers are read.
const BATCH: usize = 48 * 1024;

/// How long a call may wait for what others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    No,
    Until(Option<Instant>),
}

impl Waiting {
    pub(crate) fn within(timeout: Duration) -> Waiting {
        Waiting::Until(Instant::now().checked_add(timeout))
    }

    pub(crate) const FOR_EVER: Waiting = Waiting::Until(None);

    pub(crate) fn may_wait(self) -> bool {
        self != Waiting::No
    }
}

/// A process's connections to a server.
#[derive(Debug)]
pub(crate) struct Session {
    address: Address,
    key: Vec<u8>,
    number: u64,
    server: u64,
    pid: u32,
    max_message: u64,
    /// In nanoseconds.
    timeout: AtomicU64,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Line>,
    /// Objects to let go, when the server can be told.
    unwanted: Vec<u64>,
    /// One that is of no more use, and would have been the last one: it is closed when there is another one.
    broken: Option<Line>,
}

/// A number for each thread of this process.
pub(crate) fn thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static THIS: Cell<u64> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed)));
    THIS.with(Cell::get)
}

fn nanoseconds(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)
}

impl Session {
    /// One of these sessions, whose keys are this one, if it is of this server and has not ended, and else a new one.
    pub(crate) fn open(
        address: Address,
        key: Vec<u8>,
        known: &[Arc<Session>],
        timeout: Duration,
    ) -> Result<Arc<Session>> {
        let numbers = known.iter().map(|session| session.number).collect();
        let (line, welcome) = Line::open(&address, &key, numbers, timeout)?;
        let is_it = |session: &&Arc<Session>| session.number == welcome.session && session.server == welcome.server;
        if let Some(session) = known.iter().find(is_it) {
            let broken = session.pool.lock().broken.take();
            drop(broken);
            session.put_back(line);
            return Ok(Arc::clone(session));
        }
        Ok(Arc::new(Session {
            address,
            key,
            number: welcome.session,
            server: welcome.server,
            pid: process_id(),
            max_message: welcome.max_message,
            timeout: AtomicU64::new(nanoseconds(timeout)),
            pool: Mutex::new(Pool { idle: vec![line], ..Pool::default() }),
        }))
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether both are of the same server, and of the same process. Nobody comes to know a server's number without its key.
    pub(crate) fn is_beside(&self, other: &Session) -> bool {
        self.server == other.server && self.key == other.key && self.pid == other.pid
    }

    fn timeout(&self) -> Duration {
        Duration::from_nanos(self.timeout.load(Ordering::Relaxed))
    }

    pub(crate) fn set_timeout(&self, timeout: Duration) {
        self.timeout.store(nanoseconds(timeout), Ordering::Relaxed);
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.pid != process_id()
    }

    /// A connection that nobody uses, or a new one.
    fn take(self: &Arc<Self>, timeout: Duration) -> Result<Borrowed<'_>> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        let (line, unwanted) = {
            let mut pool = self.pool.lock();
            (pool.idle.pop(), std::mem::take(&mut pool.unwanted))
        };
        let line = match line {
            Some(line) => Ok(line),
            None => Line::join(&self.address, &self.key, self.number, timeout).inspect(|_| {
                let broken = self.pool.lock().broken.take();
                drop(broken); // the session has another connection now
            }),
        };
        let mut line = match line {
            Ok(line) => Borrowed::new(self, line),
            Err(error) => {
                self.pool.lock().unwanted.extend(unwanted);
                return Err(error);
            }
        };
        if !unwanted.is_empty() {
            let objects = unwanted.clone();
            if line.line().send(Call::Release { objects }, u64::MAX, Duration::ZERO).is_err() {
                self.pool.lock().unwanted.extend(unwanted);
            }
        }
        Ok(line)
    }

    pub(crate) fn put_back(&self, mut line: Line) {
        line.shrink();
        let unwanted = line.take_unwanted();
        let mut pool = self.pool.lock();
        pool.unwanted.extend(unwanted);
        if pool.idle.len() < IDLE {
            pool.idle.push(line);
        }
    }

    /// Closes a connection, or keeps it until there is another one.
    pub(crate) fn set_aside(&self, line: Line) {
        let mut pool = self.pool.lock();
        if pool.idle.is_empty() && pool.broken.is_none() {
            pool.broken = Some(line);
        }
    }

    /// Asks for something that needs nobody else, and reads the answer.
    pub(crate) fn call<R>(self: &Arc<Self>, call: Call<'_>, read: impl FnOnce(Answer<'_>) -> Result<R>) -> Result<R> {
        self.ask(|line, max, timeout| line.send(call, max, timeout), read)
    }

    /// As `call`, for what is encoded already, all but its number.
    pub(crate) fn call_encoded<R>(
        self: &Arc<Self>,
        mut request: Numbered,
        read: impl FnOnce(Answer<'_>) -> Result<R>,
    ) -> Result<R> {
        self.ask(|line, max, timeout| line.send_encoded(&mut request, max, timeout), read)
    }

    fn ask<R>(
        self: &Arc<Self>,
        send: impl FnOnce(&mut Line, u64, Duration) -> Result<u32>,
        read: impl FnOnce(Answer<'_>) -> Result<R>,
    ) -> Result<R> {
        let timeout = self.timeout();
        let mut line = self.take(timeout)?;
        let sent = send(line.line(), self.max_message, timeout);
        let id = line.judge(sent)?;
        crash_point!("manager.asked");
        let received = line.line().receive(id, timeout);
        if matches!(received, Err(Error::Timeout)) {
            line.line().give_up(id);
        }
        line.judge(received)?;
        line.line().read(read)
    }

    /// An operation on an object.
    pub(crate) fn on<R>(
        self: &Arc<Self>,
        object: u64,
        op: Op<'_>,
        read: impl FnOnce(Answer<'_>) -> Result<R>,
    ) -> Result<R> {
        self.call(Call::On { object, op }, read)
    }

    /// Asks for something that others may have to do something for first. What is given is confirmed, so that it is nobody else's any more.
    pub(crate) fn wait<R>(
        self: &Arc<Self>,
        object: u64,
        op: Op<'_>,
        waiting: Waiting,
        read: impl FnOnce(Answer<'_>) -> Result<R>,
    ) -> Result<R> {
        let answers_anyway = matches!(op, Op::CondWait { .. });
        let timeout = self.timeout();
        let (until, at_most) = match waiting {
            Waiting::Until(Some(until)) => (Some(until), until.saturating_duration_since(Instant::now()) + CANCEL),
            Waiting::Until(None) => (None, timeout),
            // The answer comes at once, or not from a server that is stopped.
            Waiting::No => (None, timeout),
        };
        let mut line = self.take(at_most.min(timeout))?;
        let sent = line.line().send(Call::On { object, op }, self.max_message, at_most.min(timeout));
        if matches!(sent, Err(Error::Timeout)) {
            line.discard(); // a part of it may be out, and must never be followed by the rest
        }
        let id = line.judge(sent)?;
        let received = match waiting {
            Waiting::No => line.line().receive(id, timeout),
            Waiting::Until(_) => line.line().wait_for(id, Patience { until, server: timeout, answers_anyway }),
        };
        if matches!(received, Err(Error::Timeout))
            && line.line().send(Call::GiveUp { request: id }, u64::MAX, Duration::ZERO).is_err()
        {
            line.discard();
        }
        line.judge(received)?;
        crash_point!("manager.granted");
        let mut is_grant = false;
        let result = line.line().read(|answer| {
            is_grant = matches!(answer, Answer::Granted { .. } | Answer::Item(Some(_)));
            read(answer)
        });
        if is_grant {
            // If this does not get there, the connection does not either, and what was given is taken back.
            let confirmed = line.line().send(Call::Confirm, u64::MAX, CANCEL);
            if confirmed.is_err() {
                line.discard();
                return Err(Error::Disconnected);
            }
        }
        result
    }

    /// Tells the server something whose answer nobody waits for. Never waits long.
    pub(crate) fn tell(self: &Arc<Self>, call: Call<'_>) -> Result<()> {
        let mut line = self.take(CANCEL)?;
        let sent = line.line().send(call, u64::MAX, Duration::ZERO);
        line.judge(sent).map(drop)
    }

    /// Lets go of objects that were counted for this session. What the server cannot be told now it is told later.
    pub(crate) fn let_go(self: &Arc<Self>, objects: Vec<u64>) {
        if objects.is_empty() || self.is_forked() {
            return;
        }
        if self.tell(Call::Release { objects: objects.clone() }).is_err() {
            self.pool.lock().unwanted.extend(objects);
        }
    }

    /// The rest of a snapshot is not wanted.
    pub(crate) fn end_pages(self: &Arc<Self>, cursor: u64) {
        let _ = self.tell(Call::EndPages { cursor }); // else it ends with the session
    }

    /// Sends many requests before it reads their answers.
    pub(crate) fn batch(self: &Arc<Self>, requests: &mut [Numbered], mut read: impl FnMut(&[u8])) -> Result<()> {
        let timeout = self.timeout();
        let mut line = self.take(timeout)?;
        let mut done = 0;
        while done < requests.len() {
            // What is under way fits into the kernel's buffers, so neither end waits for the other one to read.
            let mut bytes = 0;
            let rest = requests[done..].iter();
            let count = rest
                .take_while(|request| {
                    bytes += request.len() + 8;
                    bytes <= BATCH
                })
                .count()
                .max(1);
            let sent = line.line().send_many(&mut requests[done..done + count], timeout);
            if sent.is_err() {
                line.discard(); // some may be out, and some not
            }
            let first = sent?;
            for id in first..first + count as u32 {
                let received = line.line().receive(id, timeout);
                if matches!(received, Err(Error::Timeout)) {
                    (id..first + count as u32).for_each(|id| line.line().give_up(id));
                }
                line.judge(received)?;
                if line.line().is_closing() {
                    return line.line().read(|answer| Err(unexpected(answer)));
                }
                read(line.line().bytes());
            }
            done += count;
        }
        Ok(())
    }

    pub(crate) fn max_message(&self) -> u64 {
        self.max_message
    }
}

/// An answer that does not belong to the question: a fault, or nonsense.
pub(crate) fn unexpected(answer: Answer<'_>) -> Error {
    match answer {
        Answer::Fault(fault) => Error::of(fault, "", 0),
        _ => Error::Protocol,
    }
}

pub(crate) fn done(answer: Answer<'_>) -> Result<()> {
    match answer {
        Answer::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

pub(crate) fn number(answer: Answer<'_>) -> Result<u64> {
    match answer {
        Answer::Number(number) => Ok(number),
        other => Err(unexpected(other)),
    }
}

pub(crate) fn flag(answer: Answer<'_>) -> Result<bool> {
    match answer {
        Answer::Flag(flag) => Ok(flag),
        other => Err(unexpected(other)),
    }
}

/// A value that may be there, in the session that it came over.
pub(crate) fn optional<T: DeserializeOwned>(session: &Arc<Session>, answer: Answer<'_>) -> Result<Option<T>> {
    match answer {
        Answer::Item(None) => Ok(None),
        Answer::Item(Some(item)) => decode(session, &item).map(Some),
        other => Err(unexpected(other)),
    }
}

/// A value that is there.
pub(crate) fn some<T: DeserializeOwned>(session: &Arc<Session>, answer: Answer<'_>) -> Result<T> {
    optional(session, answer)?.ok_or(Error::Protocol)
}

pub(crate) fn decode<T: DeserializeOwned>(session: &Arc<Session>, item: &Item<'_>) -> Result<T> {
    Arriving::decode(session, item)
}

impl Fault {
    /// For a position that a request was about.
    pub(crate) fn at(self, index: usize) -> Error {
        Error::of(self, "", index)
    }
}
