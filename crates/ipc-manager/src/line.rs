//! One connection of a client.
//!
//! Requests go out and answers come in, in any order; each answer has the number of its request. So a connection on which an answer did not come in time can
//! be used on: that answer is passed over when it comes, and what came with it is let go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipc_core::{Bytes, process_id};
use ipc_socket::{Address, Client, Connection};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::protocol::{Answer, Call, Reply, Request, VERSION};
use crate::session::{Session, unexpected};

/// How long a waiting call is silent before it asks whether the server is still there.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the server may take to take a request back whose time has passed.
pub(crate) const CANCEL: Duration = Duration::from_millis(100);
/// How long to look for an answer before sleeping.
const SPIN: Duration = Duration::from_micros(50);
/// A buffer for answers that has grown beyond this is given back.
const KEEP: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Line {
    connection: Connection<Vec<u8>, Vec<u8>, Bytes>,
    next: u32,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// How much of `answer` the last one is.
    len: usize,
    /// Requests that were given up and whose answers may still come.
    given_up: Vec<u32>,
    /// What such answers brought that was counted for this session.
    unwanted: Vec<u64>,
}

/// What a server says when it lets a connection in.
pub(crate) struct Welcome {
    pub(crate) session: u64,
    pub(crate) max_message: u64,
    pub(crate) server: u64,
}

/// How long to wait for an answer, and what for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For what others do; `None` is without end.
    pub(crate) until: Option<Instant>,
    /// For what needs nobody but the server.
    pub(crate) server: Duration,
    /// The answer comes also when the request is taken back, if perhaps late: a lock that has to be taken again.
    pub(crate) answers_anyway: bool,
}

impl Line {
    /// One more connection of this session.
    pub(crate) fn join(address: &Address, key: &[u8], session: u64, timeout: Duration) -> Result<Line> {
        match Line::open(address, key, vec![session], timeout) {
            Ok((line, welcome)) if welcome.session == session => Ok(line),
            Ok(_) => Err(Error::Disconnected), // the session has ended
            // There was a server, and it is gone, or another one is there now.
            Err(Error::Connect(error))
                if error.is_not_listening() || error.is_disconnected() || error.is_authentication() =>
            {
                Err(Error::Disconnected)
            }
            Err(error) => Err(error),
        }
    }

    /// A connection of the first of these sessions that there is, or of a new one.
    pub(crate) fn open(
        address: &Address,
        key: &[u8],
        sessions: Vec<u64>,
        timeout: Duration,
    ) -> Result<(Line, Welcome)> {
        let started = Instant::now();
        let connection =
            Client::builder().authkey(key).connect_timeout(address, timeout).map_err(|error| match error {
                error if error.is_timeout() => Error::Timeout,
                error => Error::Connect(error),
            })?;
        let (request, answer) = (Vec::new(), vec![0; 256]);
        let mut line = Line { connection, next: 1, request, answer, len: 0, given_up: vec![], unwanted: vec![] };
        line.connection.set_spin(SPIN);
        line.connection.set_max_handles(0); // no answer brings any, so none of a server's is to be left open here
        let left = timeout.saturating_sub(started.elapsed());
        let id = line.send(Call::Hello { version: VERSION, sessions, pid: process_id() }, u64::MAX, left)?;
        line.receive(id, left)?;
        let welcome = line.read(|answer| match answer {
            Answer::Welcome { session, max_message, server, .. } => Ok(Welcome { session, max_message, server }),
            other => Err(unexpected(other)),
        })?;
        Ok((line, welcome))
    }

    fn number(&mut self) -> u32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1).max(1);
        id
    }

    /// Sends a request, and says what its number is.
    pub(crate) fn send(&mut self, call: Call<'_>, max: u64, timeout: Duration) -> Result<u32> {
        let id = self.number();
        let mut request = std::mem::take(&mut self.request);
        request.clear();
        encode(&Request { id, call }, &mut request)?;
        let sent = self.send_bytes(id, &request, max, timeout);
        self.request = request;
        sent
    }

    /// As `send`, for what is encoded already, all but its number.
    pub(crate) fn send_encoded(&mut self, request: &mut Numbered, max: u64, timeout: Duration) -> Result<u32> {
        let id = self.number();
        self.send_bytes(id, request.with(id), max, timeout)
    }

    fn send_bytes(&mut self, id: u32, request: &[u8], max: u64, timeout: Duration) -> Result<u32> {
        if request.len() as u64 > max {
            return Err(Error::TooLarge { len: request.len() as u64, max });
        }
        let sent = match self.connection.try_send_bytes(request) {
            Err(ipc_core::Error::WouldBlock) => self.connection.send_bytes_timeout(request, timeout),
            Err(ipc_core::Error::Unfinished { .. }) => self.connection.flush(timeout).map_err(|error| match error {
                ipc_core::Error::Timeout => ipc_core::Error::Unfinished { left: 0 },
                error => error,
            }),
            sent => sent,
        };
        match sent {
            Ok(()) => Ok(id),
            // The rest goes out with whatever is sent next.
            Err(ipc_core::Error::Unfinished { .. }) => {
                self.given_up.push(id);
                Err(Error::Timeout)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends requests that are encoded already, and says what the number of the first one is, upon which the others follow.
    pub(crate) fn send_many(&mut self, requests: &mut [Numbered], timeout: Duration) -> Result<u32> {
        let count = requests.len() as u32;
        if self.next.checked_add(count).is_none() {
            self.next = 1;
        }
        let first = self.next;
        self.next += count;
        for (request, id) in requests.iter_mut().zip(first..) {
            request.with(id);
        }
        self.connection.send_many_timeout(requests.iter().map(|request| &request.0), timeout)?;
        Ok(first)
    }

    /// The next answer, of whatever it is: the number of its request.
    pub(crate) fn receive_next(&mut self, timeout: Duration) -> Result<u32> {
        loop {
            match self.connection.recv_bytes_into_timeout(&mut self.answer, timeout) {
                Err(ipc_core::Error::BufferTooShort { needed, .. }) => self.answer.resize(needed, 0),
                received => {
                    self.len = received?;
                    break;
                }
            }
        }
        match postcard::take_from_bytes::<u32>(self.bytes()) {
            Ok((id, _)) => Ok(id),
            Err(_) => Err(Error::Protocol),
        }
    }

    /// The answer as bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.answer[..self.len]
    }

    /// The answer to this request; what comes for others that were given up is passed over.
    pub(crate) fn receive(&mut self, id: u32, timeout: Duration) -> Result<()> {
        let mut left = timeout;
        let mut began = None;
        loop {
            let number = self.receive_next(left)?;
            if number == id || number == 0 {
                return Ok(());
            }
            self.pass_over(number);
            // Nearly no call comes here, so none asks for the time before.
            let began = *began.get_or_insert_with(Instant::now);
            left = timeout.saturating_sub(began.elapsed());
        }
    }

    /// Nobody wants this answer any more.
    fn pass_over(&mut self, number: u32) {
        let Some(place) = self.given_up.iter().position(|given_up| *given_up == number) else { return };
        self.given_up.swap_remove(place);
        let Ok(reply) = postcard::from_bytes::<Reply<'_>>(&self.answer[..self.len]) else { return };
        // The rest of a snapshot is kept until the session ends: 64 of them at most.
        reply.answer.held(&mut self.unwanted);
    }

    /// The answer to this request has not come in time.
    pub(crate) fn give_up(&mut self, id: u32) {
        self.given_up.push(id);
    }

    /// What is to be let go, as it came with answers that nobody wanted.
    pub(crate) fn take_unwanted(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unwanted)
    }

    /// The answer to a request that may wait, until its time has passed; then the request is taken back.
    pub(crate) fn wait_for(&mut self, id: u32, patience: Patience) -> Result<()> {
        let mut until = patience.until;
        loop {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            match self.receive(id, left.min(SILENCE)) {
                Err(Error::Timeout) => {}
                other => return other,
            }
            if left <= SILENCE {
                self.send(Call::Cancel { request: id }, u64::MAX, CANCEL)?;
                if !patience.answers_anyway {
                    return self.receive(id, CANCEL);
                }
                until = None;
            }
            // Is anybody there?
            let ping = self.send(Call::Ping, u64::MAX, patience.server)?;
            let server = Instant::now().checked_add(patience.server);
            loop {
                let end = server.into_iter().chain(until).min();
                let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
                match self.receive_next(left) {
                    Ok(number) if number == id || number == 0 => return Ok(()), // the ping's answer is passed over later
                    Ok(number) if number == ping => break,
                    Ok(number) => self.pass_over(number),
                    // The time of the request itself has passed.
                    Err(Error::Timeout) if end == until && until.is_some() => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Reads the answer that was received last.
    pub(crate) fn read<R>(&self, read: impl FnOnce(Answer<'_>) -> Result<R>) -> Result<R> {
        match postcard::from_bytes::<Reply<'_>>(self.bytes()) {
            Ok(reply) => read(reply.answer),
            Err(_) => Err(Error::Protocol),
        }
    }

    /// Whether the last answer was of the connection as a whole: the server closes it.
    pub(crate) fn is_closing(&self) -> bool {
        self.bytes().first() == Some(&0)
    }

    /// Before it is put aside for a while.
    pub(crate) fn shrink(&mut self) {
        for buffer in [&mut self.answer, &mut self.request] {
            if buffer.capacity() > KEEP {
                *buffer = Vec::new();
            }
        }
        self.len = 0;
    }
}

/// A connection that is out of its session's pool, and goes back there unless it is of no more use: also when the code of a value panics.
#[derive(Debug)]
pub(crate) struct Borrowed<'s> {
    pub(crate) session: &'s Arc<Session>,
    line: Option<Line>,
    is_sound: bool,
    is_discarded: bool,
}

impl<'s> Borrowed<'s> {
    pub(crate) fn new(session: &'s Arc<Session>, line: Line) -> Borrowed<'s> {
        Borrowed { session, line: Some(line), is_sound: true, is_discarded: false }
    }

    pub(crate) fn line(&mut self) -> &mut Line {
        self.line.as_mut().expect("it is taken out when this is dropped")
    }

    /// After these errors the connection is as good as before.
    pub(crate) fn judge<R>(&mut self, result: Result<R>) -> Result<R> {
        if let Err(error) = &result {
            self.is_sound &= matches!(error, Error::Timeout | Error::TooLarge { .. } | Error::Encode(_));
        }
        result
    }

    /// The connection is closed, and with it goes what was asked for and not given. If it is the only one, that is when there is another one: with
    /// its last connection this process would lose all that it holds.
    pub(crate) fn discard(&mut self) {
        self.is_sound = false;
        self.is_discarded = true;
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else { return };
        if self.is_sound && !line.is_closing() {
            self.session.put_back(line);
        } else if self.is_discarded && !line.is_closing() {
            self.session.set_aside(line);
        }
    }
}

/// A request as bytes.
pub(crate) fn encode<T: Serialize>(request: &T, out: &mut Vec<u8>) -> Result<()> {
    let bytes = std::mem::take(out);
    *out = postcard::to_extend(request, bytes).map_err(|_| Error::Protocol)?;
    Ok(())
}

/// A request that is encoded already, and gets its number when it is sent.
#[derive(Debug)]
pub(crate) struct Numbered(Vec<u8>);

/// The longest number there is, and room for any.
const NUMBER: usize = 5;

impl Numbered {
    pub(crate) fn new(call: &Call<'_>) -> Result<Numbered> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&[0; NUMBER]);
        encode(call, &mut bytes)?;
        Ok(Numbered(bytes))
    }

    /// How long the request is.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The request with this number, which comes first: seven bits a byte, and in as many bytes as there are for it.
    fn with(&mut self, id: u32) -> &[u8] {
        for (place, byte) in self.0[..NUMBER].iter_mut().enumerate() {
            let more = if place + 1 < NUMBER { 0x80 } else { 0 };
            *byte = (id >> (7 * place)) as u8 & 0x7f | more;
        }
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Op;

    #[test]
    fn a_numbered_call_is_a_request() {
        let mut call = Numbered::new(&Call::On { object: 7, op: Op::Len }).unwrap();
        for id in [1, 127, 128, 16_383, 16_384, 1 << 28, u32::MAX] {
            let request: Request<'_> = postcard::from_bytes(call.with(id)).unwrap();
            assert_eq!(request.id, id);
            assert!(matches!(request.call, Call::On { object: 7, op: Op::Len }), "{request:?}");
        }
    }
}
