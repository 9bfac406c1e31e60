//! Two threads: one lets clients in, one serves all of them.
//!
//! The one that serves does what it is asked for between two system calls, so nothing is ever seen half done, and a client that waits for a
//! lock is an entry in a list. After something was to do it looks again and again for a short while before it sleeps: to be woken takes ten
//! times as long as to serve a request.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipc_core::{Bytes, wait};
use ipc_socket::Listener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{MsgFlags, recv, send};
use parking_lot::Mutex;

use super::ids::IdMap;
use super::outbox::{Asker, Outbox};
use super::room::Room;
use super::state::{State, TICKET};
use crate::error::{Error, Result};
use crate::protocol::Fault;

pub(crate) type Door = Listener<Vec<u8>, Vec<u8>, Bytes>;

const WAKER: Token = Token(0);
/// How much is read from one client before the next one gets its turn.
const READ: usize = 64 * 1024;
/// A client that does not read its answers is not read from beyond so many bytes.
const UNREAD: usize = 4 * 1024 * 1024;
/// A buffer that has grown beyond this is given back when it is empty.
const KEEP: usize = 4 * 1024;
/// How long to look for more before sleeping.
const SPIN: Duration = Duration::from_micros(50);
/// After so many looks at the client that was served last, one at all.
const LOOKS: u32 = 32;

/// A server that runs in this process.
#[derive(Debug)]
pub(crate) struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Clients that were let in and are not served yet.
    incoming: Mutex<Vec<OwnedFd>>,
    waker: Waker,
    /// Becomes readable when the server is to end.
    end: EventFd,
    ends: AtomicBool,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    session: Option<u64>,
    /// The beginning of a frame that is not complete.
    partial: Vec<u8>,
    /// How much of what is to be written has been.
    written: usize,
    /// It is not read from until it has read.
    is_held: bool,
    /// It has been held: whole frames may be left in `partial`.
    has_frames: bool,
    /// It sends nothing more, and goes when all is read.
    is_ending: bool,
    /// It has sent what no client sends, and goes when it has been told.
    is_leaving: bool,
}

impl Running {
    pub(crate) fn start(door: Door, max_message: u64) -> Result<Running> {
        let poll = Poll::new().map_err(Error::io("make an epoll descriptor"))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(Error::io("make a waker"))?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let end = EventFd::from_flags(flags).map_err(Error::io("make an eventfd"))?;
        let number = getrandom::u64().map_err(|error| Error::io("get random bytes")(io::Error::other(error)))?;
        let state = Mutex::new(State::new(max_message, TICKET, number));
        let shared = Arc::new(Shared { state, incoming: Mutex::default(), waker, end, ends: AtomicBool::new(false) });
        let mut running = Running { shared: Arc::clone(&shared), threads: Vec::new() };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(run).map_err(Error::io("start a thread"))
        };
        let serving = Arc::clone(&shared);
        let server = Loop {
            poll,
            shared: serving,
            clients: IdMap::default(),
            out: Outbox::default(),
            next: 1,
            max_message,
            buffer: vec![0; READ],
            ready: VecDeque::new(),
        };
        running.threads.push(spawn("ipc-manager", Box::new(move || server.run()))?);
        running.threads.push(spawn("ipc-manager-in", Box::new(move || let_in(&door, &shared)))?);
        Ok(running)
    }

    pub(crate) fn stats(&self) -> crate::Stats {
        self.shared.state.lock().stats()
    }

    /// Waits until a client ends the server.
    pub(crate) fn join(mut self) {
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }

    pub(crate) fn is_over(&self) -> bool {
        self.shared.ends.load(Ordering::Acquire)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.end();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Shared {
    fn end(&self) {
        self.ends.store(true, Ordering::Release);
        // Neither can fail in a way that matters: a counter that is not 0 is one.
        let _ = self.end.write(1);
        let _ = self.waker.wake();
    }
}

impl Client {
    fn new(socket: OwnedFd) -> Client {
        let partial = Vec::new();
        let (session, written) = (None, 0);
        Client {
            socket,
            session,
            partial,
            written,
            is_held: false,
            has_frames: false,
            is_ending: false,
            is_leaving: false,
        }
    }
}

/// Ends the other thread as well, however this one ends.
struct EndsAll(Arc<Shared>);

impl Drop for EndsAll {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn let_in(door: &Door, shared: &Shared) {
    while !shared.ends.load(Ordering::Acquire) {
        if wait(&[door, &shared.end.as_fd()], Duration::MAX).is_err() {
            std::thread::sleep(Duration::from_millis(50)); // the system is short of something; who is in is served
        }
        loop {
            match door.try_accept().map(ipc_core::Connection::into_fd) {
                Ok(Ok(socket)) => {
                    shared.incoming.lock().push(socket);
                    let _ = shared.waker.wake();
                }
                Ok(Err(_)) => {}
                Err(error) if error.is_would_block() => break,
                Err(_) => {
                    // At the limit of open files: who waits can be let in when somebody has left.
                    let _ = wait(&[&shared.end.as_fd()], Duration::from_millis(50));
                    break;
                }
            }
        }
    }
}

struct Loop {
    poll: Poll,
    shared: Arc<Shared>,
    clients: IdMap<Client>,
    out: Outbox,
    next: u64,
    max_message: u64,
    buffer: Vec<u8>,
    /// Clients that may have sent more than was read.
    ready: VecDeque<u64>,
}

impl Loop {
    fn run(mut self) {
        let _ends_all = EndsAll(Arc::clone(&self.shared));
        let mut events = Events::with_capacity(256);
        let mut pause = None;
        // The client that was served last, and until when to look whether it goes on.
        let mut spinning: Option<(u64, Instant)> = None;
        while !self.shared.ends.load(Ordering::Acquire) {
            let timeout = if self.ready.is_empty() && spinning.is_none() { pause } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                _ => {}
            }
            self.take_in();
            for event in &events {
                let number = event.token().0 as u64;
                if event.token() == WAKER {
                    continue;
                }
                if event.is_read_closed() || event.is_error() {
                    // There is no event for the end itself when it has come together with the last bytes. It comes first: who asks now may
                    // know that this one is gone, and its own event may be an older one.
                    self.clients.entry(number).and_modify(|client| client.is_ending = true);
                    while self.read(number) {}
                } else if event.is_readable() {
                    self.ready.push_back(number);
                }
                if event.is_writable() {
                    self.write(number);
                }
            }
            if let Some(last) = self.serve() {
                spinning = Some((last, Instant::now() + SPIN));
            }
            if let Some((last, until)) = spinning {
                spinning = self.look(last, until);
            }
            pause = self.expire();
            self.flush();
            if self.shared.state.lock().is_over {
                self.shared.end();
            }
        }
        self.flush();
    }

    /// Looks some times whether this client goes on, and says until when to do so again.
    fn look(&mut self, last: u64, mut until: Instant) -> Option<(u64, Instant)> {
        for _ in 0..LOOKS {
            if self.clients.get(&last).is_none_or(|client| client.is_held || client.is_leaving) {
                return None;
            }
            match self.read_some(last) {
                Some(0) => std::hint::spin_loop(),
                Some(_) => {
                    self.flush();
                    until = Instant::now() + SPIN;
                }
                None => {
                    self.flush();
                    return None;
                }
            }
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::yield_now(); // others may need the processor to ask anything
        Some((last, until))
    }

    /// Reads from everybody who may have sent something, in turns, and answers.
    ///
    /// Returns who was the last one.
    fn serve(&mut self) -> Option<u64> {
        let mut last = None;
        for _ in 0..self.ready.len() {
            let Some(number) = self.ready.pop_front() else { break };
            last = Some(number);
            if self.read(number) {
                self.ready.push_back(number);
            }
        }
        self.flush();
        last
    }

    fn flush(&mut self) {
        while let Some(number) = self.out.next_dirty() {
            self.write(number); // which may end a client, and give others something to write
        }
    }

    fn expire(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let next = self.shared.state.lock().expire(now, &mut self.out);
        next.map(|at| at.saturating_duration_since(now).max(Duration::from_millis(1)))
    }

    fn take_in(&mut self) {
        let incoming = std::mem::take(&mut *self.shared.incoming.lock());
        for socket in incoming {
            let number = self.next;
            self.next += 1;
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered =
                self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(number as usize), interest);
            if registered.is_err() {
                continue; // it sees that the connection is closed
            }
            self.out.open(number);
            self.clients.insert(number, Client::new(socket));
            self.ready.push_back(number);
        }
    }

    /// Reads once, and does what was asked for. Says whether there may be more.
    fn read(&mut self, number: u64) -> bool {
        let Some(client) = self.clients.get_mut(&number) else { return false };
        if client.is_held || client.is_leaving {
            return false;
        }
        if std::mem::take(&mut client.has_frames) {
            self.digest(number, 0);
            return true;
        }
        let is_ending = client.is_ending;
        // A short read has emptied the socket; what comes later makes an event of its own.
        match self.read_some(number) {
            Some(n) => n == self.buffer.len() || n > 0 && is_ending,
            None => false,
        }
    }

    /// Reads once and does what was asked for: how many bytes that were, `None` if the client is gone.
    fn read_some(&mut self, number: u64) -> Option<usize> {
        let client = self.clients.get_mut(&number)?;
        let read = loop {
            match recv(client.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                other => break other,
            }
        };
        match read {
            Err(Errno::EAGAIN) => Some(0),
            Ok(0) | Err(_) => {
                self.leave(number);
                None
            }
            Ok(n) => {
                self.digest(number, n);
                Some(n)
            }
        }
    }

    /// Does what was asked for in what was left of earlier and in the first `n` bytes of the buffer, as long as the client takes its answers.
    fn digest(&mut self, number: u64, n: usize) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        let Client { session, partial, written, is_held, .. } = client;
        let (out, buffer) = (&mut self.out, &self.buffer[..n]);
        let mut state = self.shared.state.lock();
        let handle = |frame: &[u8]| {
            state.handle(number, session, frame, out)?;
            *is_held = out.line(number).is_some_and(|line| line.bytes.len() - *written > UNREAD);
            Ok(!*is_held)
        };
        let result = if partial.is_empty() {
            let result = frames(buffer, self.max_message, handle);
            partial.extend_from_slice(&buffer[result.as_ref().map_or(n, |used| *used)..]);
            result
        } else {
            partial.extend_from_slice(buffer);
            let result = frames(partial, self.max_message, handle);
            partial.drain(..result.as_ref().map_or(partial.len(), |used| *used));
            if partial.is_empty() && partial.capacity() > KEEP {
                *partial = Vec::new();
            }
            result
        };
        drop(state);
        client.has_frames = client.is_held;
        if let Err(fault) = result {
            client.is_leaving = true;
            self.out.fault(Asker { connection: number, session: 0, request: 0 }, fault);
        }
    }

    /// Writes what a client is to be told, as far as it takes it.
    fn write(&mut self, number: u64) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        let Some(line) = self.out.line(number) else { return };
        while client.written < line.bytes.len() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(client.socket.as_raw_fd(), &line.bytes[client.written..], flags) {
                Ok(n) => client.written += n,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    // There is an event when it has room again. What is out need not be kept meanwhile.
                    if client.written > READ && client.written > line.bytes.len() / 2 {
                        line.bytes.drain(..client.written);
                        client.written = 0;
                    }
                    return;
                }
                Err(_) => return self.leave(number),
            }
        }
        client.written = 0;
        line.bytes.clear();
        if line.bytes.capacity() > KEEP {
            line.bytes = Vec::new();
        }
        if client.is_leaving {
            return self.leave(number);
        }
        if std::mem::take(&mut client.is_held) {
            self.ready.push_back(number);
        }
    }

    fn leave(&mut self, number: u64) {
        let Some(client) = self.clients.remove(&number) else { return };
        self.clients.shrink();
        let _ = self.poll.registry().deregister(&mut SourceFd(&client.socket.as_raw_fd()));
        self.shared.state.lock().leave(number, client.session, &mut self.out);
    }
}

/// Has every frame that is complete handled, until that says no, and returns how many bytes those were.
fn frames(
    bytes: &[u8],
    max: u64,
    mut handle: impl FnMut(&[u8]) -> std::result::Result<bool, Fault>,
) -> std::result::Result<usize, Fault> {
    let mut used = 0;
    while let Some((header, rest)) = bytes[used..].split_first_chunk::<4>() {
        let len = u32::from_be_bytes(*header);
        if u64::from(len) > max {
            return Err(Fault::Malformed);
        }
        let Some(frame) = rest.get(..len as usize) else { break };
        used += 4 + len as usize;
        if !handle(frame)? {
            break;
        }
    }
    Ok(used)
}
