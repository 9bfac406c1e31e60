//! A client's side of the protocol: the connections of a process to one server.
//!
//! A call takes a connection out of the pool, or makes one, and puts it back. So threads do not wait for each other, and one that is kept waiting by the
//! server (for a lock, say) has its connection to itself. To the server all of them are one session, which ends with the last of them.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipc_core::{Bytes, crash_point, process_id};
use ipc_socket::{Address, Client, Connection};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::batch::numbered;
use crate::error::{Error, Result};
use crate::protocol::{Answer, Call, Fault, Item, Op, Reply, Request, VERSION};
use crate::value::Arriving;

/// How long an answer may take that needs nobody else.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a waiting call is silent before it asks whether the server is still there.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the server may take to take a request back whose time has passed.
const CANCEL: Duration = Duration::from_millis(100);
/// How long to look for an answer before sleeping.
const SPIN: Duration = Duration::from_micros(50);
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
    pid: u32,
    max_message: u64,
    timeout: Mutex<Duration>,
    idle: Mutex<Vec<Line>>,
}

#[derive(Debug)]
struct Line {
    connection: Connection<Vec<u8>, Vec<u8>, Bytes>,
    next: u32,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// A number for each thread of this process.
pub(crate) fn thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static THIS: Cell<u64> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed)));
    THIS.with(Cell::get)
}

impl Session {
    pub(crate) fn open(address: Address, key: Vec<u8>, timeout: Duration) -> Result<Arc<Session>> {
        let pid = std::process::id();
        let (line, number, max_message) = Line::open(&address, &key, None, pid, timeout)?;
        let idle = Mutex::new(vec![line]);
        Ok(Arc::new(Session { address, key, number, pid, max_message, timeout: Mutex::new(timeout), idle }))
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(crate) fn set_timeout(&self, timeout: Duration) {
        *self.timeout.lock() = timeout;
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.pid != process_id()
    }

    fn take(&self) -> Result<Line> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        let idle = self.idle.lock().pop();
        match idle {
            Some(line) => Ok(line),
            None => {
                let (line, ..) =
                    Line::open(&self.address, &self.key, Some(self.number), self.pid, *self.timeout.lock())?;
                Ok(line)
            }
        }
    }

    fn put_back(&self, line: Line) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE {
            idle.push(line);
        }
    }

    /// Asks for something that needs nobody else, and reads the answer.
    pub(crate) fn call<R>(&self, call: Call<'_>, read: impl FnOnce(Answer<'_>) -> Result<R>) -> Result<R> {
        let mut line = self.take()?;
        let timeout = *self.timeout.lock();
        let id = line.send(call, self.max_message, timeout)?;
        crash_point!("manager.asked");
        line.receive(id, timeout)?; // on an error the connection is dropped: an answer may still come
        let result = line.read(read);
        self.put_back(line);
        result
    }

    /// As `call`, for what is encoded already, all but its number.
    pub(crate) fn call_encoded<R>(&self, call: &[u8], read: impl FnOnce(Answer<'_>) -> Result<R>) -> Result<R> {
        let mut line = self.take()?;
        let timeout = *self.timeout.lock();
        let id = line.number();
        line.request.clear();
        numbered(id, call, &mut line.request);
        line.send_request(self.max_message, timeout)?;
        crash_point!("manager.asked");
        line.receive(id, timeout)?;
        let result = line.read(read);
        self.put_back(line);
        result
    }

    /// An operation on an object.
    pub(crate) fn on<R>(&self, object: u64, op: Op<'_>, read: impl FnOnce(Answer<'_>) -> Result<R>) -> Result<R> {
        self.call(Call::On { object, op }, read)
    }

    /// Asks for something that others may have to do something for first. What is given is confirmed, so that it is nobody else's any more.
    pub(crate) fn wait<R>(
        &self,
        object: u64,
        op: Op<'_>,
        waiting: Waiting,
        read: impl FnOnce(Answer<'_>) -> Result<R>,
    ) -> Result<R> {
        let mut line = self.take()?;
        let timeout = *self.timeout.lock();
        let id = line.send(Call::On { object, op }, self.max_message, timeout)?;
        match waiting {
            Waiting::No => line.receive(id, timeout)?,
            Waiting::Until(until) => line.wait_for(id, until, timeout)?,
        }
        crash_point!("manager.granted");
        let result = line.read(read);
        // If this does not get there, the connection does not either, and what was given is taken back or was this session's.
        if line.send(Call::Confirm, self.max_message, timeout).is_ok() {
            self.put_back(line);
        }
        result
    }

    /// Tells the server something that it does not answer. Never waits long; what is not heard ends with the session.
    pub(crate) fn tell(&self, call: Call<'_>) {
        if self.is_forked() {
            return;
        }
        if let Ok(mut line) = self.take() {
            if line.send(call, self.max_message, CANCEL).is_ok() {
                self.put_back(line);
            }
        }
    }

    /// Lets go of objects that were counted for this session.
    pub(crate) fn let_go(&self, objects: Vec<u64>) {
        if !objects.is_empty() {
            self.tell(Call::Release { objects });
        }
    }

    /// Sends many requests before it reads their answers.
    pub(crate) fn batch(&self, requests: &[Vec<u8>], mut read: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let mut line = self.take()?;
        let timeout = *self.timeout.lock();
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
            let chunk = &requests[done..done + count];
            line.send_encoded(chunk, timeout)?;
            for index in done..done + count {
                let len = line.receive_next(timeout)?;
                read(index, &line.answer[..len])?;
            }
            done += count;
        }
        self.put_back(line);
        Ok(())
    }

    pub(crate) fn max_message(&self) -> u64 {
        self.max_message
    }
}

impl Line {
    fn open(
        address: &Address,
        key: &[u8],
        session: Option<u64>,
        pid: u32,
        timeout: Duration,
    ) -> Result<(Line, u64, u64)> {
        let connection =
            Client::builder().authkey(key).connect_timeout(address, timeout).map_err(|error| match error {
                ipc_socket::Error::Timeout => Error::Timeout,
                error => Error::Connect(error),
            })?;
        let mut line = Line { connection, next: 1, request: Vec::new(), answer: vec![0; 256] };
        line.connection.set_spin(SPIN);
        let id = line.send(Call::Hello { version: VERSION, session, pid }, u64::MAX, timeout)?;
        line.receive(id, timeout)?;
        let (number, max_message) = line.read(|answer| match answer {
            Answer::Welcome { session, max_message, .. } => Ok((session, max_message)),
            other => Err(unexpected(other)),
        })?;
        Ok((line, number, max_message))
    }

    fn number(&mut self) -> u32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1).max(1);
        id
    }

    fn send(&mut self, call: Call<'_>, max: u64, timeout: Duration) -> Result<u32> {
        let id = self.number();
        self.request.clear();
        encode(&Request { id, call }, &mut self.request)?;
        self.send_request(max, timeout)?;
        Ok(id)
    }

    fn send_request(&mut self, max: u64, timeout: Duration) -> Result<()> {
        if self.request.len() as u64 > max {
            return Err(Error::TooLarge { len: self.request.len() as u64, max });
        }
        match self.connection.try_send_bytes(&self.request) {
            Err(ipc_core::Error::WouldBlock) => self.connection.send_bytes_timeout(&self.request, timeout)?,
            Err(ipc_core::Error::Unfinished { .. }) => self.connection.flush(timeout)?,
            sent => sent?,
        }
        Ok(())
    }

    fn send_encoded(&mut self, requests: &[Vec<u8>], timeout: Duration) -> Result<()> {
        self.connection.send_many_timeout(requests, timeout)?;
        Ok(())
    }

    /// The next answer, of whatever it is: how long it is.
    fn receive_next(&mut self, timeout: Duration) -> Result<usize> {
        loop {
            match self.connection.recv_bytes_into_timeout(&mut self.answer, timeout) {
                Err(ipc_core::Error::BufferTooShort { needed, .. }) => self.answer.resize(needed, 0),
                other => return Ok(other?),
            }
        }
    }

    /// The answer to this request; what comes for others that were given up is passed over.
    fn receive(&mut self, id: u32, timeout: Duration) -> Result<()> {
        loop {
            let len = self.receive_next(timeout)?;
            let reply: Reply<'_> = postcard::from_bytes(&self.answer[..len]).map_err(|_| Error::Protocol)?;
            if reply.id == id || reply.id == 0 {
                return Ok(());
            }
        }
    }

    /// The answer to a request that may wait, until its time has passed; then the request is taken back.
    fn wait_for(&mut self, id: u32, until: Option<Instant>, timeout: Duration) -> Result<()> {
        loop {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            match self.receive(id, left.min(SILENCE)) {
                Err(Error::Timeout) => {}
                other => return other,
            }
            if left <= SILENCE {
                self.send(Call::Cancel { request: id }, u64::MAX, CANCEL)?;
                return self.receive(id, CANCEL);
            }
            // Is anybody there?
            let ping = self.send(Call::Ping, u64::MAX, timeout)?;
            let asked = Instant::now();
            loop {
                let len = self.receive_next(timeout.saturating_sub(asked.elapsed()))?;
                let reply: Reply<'_> = postcard::from_bytes(&self.answer[..len]).map_err(|_| Error::Protocol)?;
                match reply.id {
                    0 => return Ok(()),
                    number if number == id => return Ok(()), // the ping's answer is passed over later
                    number if number == ping => break,
                    _ => {}
                }
            }
        }
    }

    fn read<R>(&self, read: impl FnOnce(Answer<'_>) -> Result<R>) -> Result<R> {
        let reply: Reply<'_> = match postcard::take_from_bytes(&self.answer) {
            Ok((reply, _)) => reply,
            Err(_) => return Err(Error::Protocol),
        };
        read(reply.answer)
    }
}

/// A request as bytes.
pub(crate) fn encode<T: Serialize>(request: &T, out: &mut Vec<u8>) -> Result<()> {
    let bytes = std::mem::take(out);
    *out = postcard::to_extend(request, bytes).map_err(|_| Error::Protocol)?;
    Ok(())
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
