//! The clients that have come and are not accepted yet: all their exchanges of keys at once.
//!
//! There is no thread. Whoever waits in `accept` moves all of them on, a step at a time and without ever waiting for one of them, so
//! that a client that is silent, slow or hostile holds up nobody. A client that has not finished in its time is dropped; that time passes only
//! while somebody accepts, or waits for the listener.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipc_core::{Deadline, crash_point, wait};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::error::{Error, Result};
use crate::handshake::{Handshake, Terms};
use crate::listener::Bound;
use crate::{Allow, Peer, Refusal};

/// As many clients may be in the exchange of keys at once; when there are more, the oldest goes, as an honest one takes no time.
const MAX_PENDING: usize = 1024;
/// How many new clients are taken before those that are there get a turn.
const AT_ONCE: usize = 64;

/// How often to look whether the time of clients has passed. When nobody has looked for longer, no more than that has passed for them.
const TICK: Duration = Duration::from_millis(100);
/// At the limit of open files, the oldest client has had a chance when it has been there for this long.
const CHANCE: Duration = Duration::from_secs(1);
/// How long to wait at that limit before trying again: that there is room again is no event.
const PAUSE: Duration = Duration::from_millis(10);

const LISTENER: u64 = u64::MAX;
const READY: u64 = u64::MAX - 1;
const TIMER: u64 = u64::MAX - 2;

pub(crate) struct Arrivals {
    bound: Bound,
    epoll: Epoll,
    /// Can be read while somebody is ready, for those who wait in another thread, or in `wait`.
    ready: EventFd,
    /// Ticks while clients are in the exchange of keys.
    timer: TimerFd,
    state: Mutex<State>,
    terms: Option<Terms>,
    allow: Allow,
    patience: Duration,
    on_refused: OnRefused,
}

/// Is told who was not let in, when nothing is locked.
pub(crate) type OnRefused = Arc<dyn Fn(&Refusal) + Send + Sync>;

#[derive(Debug)]
struct State {
    /// By number, so the first one is the oldest.
    pending: BTreeMap<u64, Pending>,
    next: u64,
    ready: VecDeque<OwnedFd>,
    refusals: Vec<Refusal>,
    /// Whether `ready` of the arrivals can be read.
    announced: bool,
    /// For how long somebody has been looking after the clients, and when the last look was.
    clock: Duration,
    looked: Instant,
    ticks: bool,
    /// The last one could not be taken in: too many files are open.
    is_full: bool,
}

/// A client in the exchange of keys.
#[derive(Debug)]
struct Pending {
    socket: OwnedFd,
    peer: Peer,
    handshake: Handshake,
    /// When it came, by the clock.
    since: Duration,
}

impl Arrivals {
    pub(crate) fn new(
        bound: Bound,
        terms: Option<Terms>,
        allow: Allow,
        patience: Duration,
        on_refused: OnRefused,
    ) -> Result<Arrivals> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(Error::io("make an epoll descriptor"))?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let ready = EventFd::from_flags(flags).map_err(Error::io("make an eventfd"))?;
        let watch = |fd: BorrowedFd<'_>, name| epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, name));
        watch(bound.fd(), LISTENER).map_err(Error::io("watch the listening socket"))?;
        watch(ready.as_fd(), READY).map_err(Error::io("watch an eventfd"))?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).map_err(Error::io("make a timer"))?;
        watch(timer.as_fd(), TIMER).map_err(Error::io("watch a timer"))?;
        let state = Mutex::new(State {
            pending: BTreeMap::new(),
            next: 0,
            ready: VecDeque::new(),
            refusals: Vec::new(),
            announced: false,
            clock: Duration::ZERO,
            looked: Instant::now(),
            ticks: false,
            is_full: false,
        });
        Ok(Arrivals { bound, epoll, ready, timer, state, terms, allow, patience, on_refused })
    }

    /// The next client that may come in.
    pub(crate) fn accept(&self, deadline: Deadline) -> Result<OwnedFd> {
        loop {
            let mut state = self.lock();
            let turn = if state.ready.is_empty() { self.turn(&mut state) } else { Ok(()) };
            let refusals = std::mem::take(&mut state.refusals);
            if !refusals.is_empty() {
                // Before anybody is taken out, who would be lost if this panicked.
                self.announce(&mut state);
                drop(state);
                refusals.iter().for_each(|refusal| (self.on_refused)(refusal));
                state = self.lock();
            }
            let (next, is_full) = (state.ready.pop_front(), state.is_full);
            self.announce(&mut state);
            drop(state);
            match next {
                Some(socket) => return Ok(socket),
                None => turn?,
            }
            if deadline.is_now() {
                return Err(Error::WouldBlock);
            }
            let left = deadline.remaining().unwrap_or(Duration::MAX);
            if left.is_zero() {
                return Err(Error::Timeout);
            }
            match is_full {
                true => std::thread::sleep(PAUSE.min(left)), // the listening socket stays readable
                false => drop(wait(&[&self.epoll.0.as_fd()], left).map_err(Error::Connection)?),
            }
        }
    }

    /// Moves on whatever can be, and says whether somebody is ready; for those who wait for several things.
    pub(crate) fn look(&self) -> bool {
        let mut state = self.lock();
        // An error is for the one who accepts.
        let failed = state.ready.is_empty() && self.turn(&mut state).is_err();
        self.announce(&mut state);
        let (refusals, any) = (std::mem::take(&mut state.refusals), !state.ready.is_empty());
        let is_full = state.is_full;
        drop(state);
        if is_full && !any {
            std::thread::sleep(PAUSE); // or else who waits would be called again at once
        }
        refusals.iter().for_each(|refusal| (self.on_refused)(refusal));
        failed || any
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every state in between is a good one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in all who have come and moves them on, as far as that is possible without waiting.
    fn turn(&self, state: &mut State) -> Result<()> {
        let mut events = [EpollEvent::empty(); AT_ONCE];
        let n = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(n) => n,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(Error::io("look for new clients")(errno)),
        };
        let tick = self.tick();
        state.clock += state.looked.elapsed().min(tick + tick / 2);
        state.looked = Instant::now();
        state.is_full = false;
        let mut result = Ok(());
        for event in &events[..n] {
            match event.data() {
                LISTENER => result = self.take_in(state),
                READY => {}
                TIMER => drop(self.timer.wait()), // cannot fail but for having nothing to read
                number => self.advance(state, number),
            }
        }
        while let Some(entry) = state.pending.first_entry() {
            if entry.get().since.saturating_add(self.patience) > state.clock {
                break;
            }
            let late = entry.remove();
            self.refuse(state, late, Error::Timeout);
        }
        self.keep_time(state);
        result
    }

    fn tick(&self) -> Duration {
        (self.patience / 8).clamp(Duration::from_millis(1), TICK)
    }

    /// Has the timer tick while there are clients whose time may pass. It is not stopped for every moment without one.
    fn keep_time(&self, state: &mut State) {
        let wanted = !state.pending.is_empty();
        if wanted && !state.ticks {
            let every = Expiration::Interval(TimeSpec::from(self.tick()));
            state.ticks = self.timer.set(every, TimerSetTimeFlags::empty()).is_ok();
        } else if !wanted && state.ticks && state.ready.is_empty() {
            state.ticks = self.timer.unset().is_err();
        }
    }

    fn take_in(&self, state: &mut State) -> Result<()> {
        for _ in 0..AT_ONCE {
            match self.bound.accept() {
                Ok(socket) => {
                    crash_point!("accept.accepted");
                    if let Err((peer, error)) = self.admit(state, socket) {
                        state.refusals.push(Refusal { peer, error });
                    }
                    if self.terms.is_none() && !state.ready.is_empty() {
                        break; // one is enough: the others wait just as well where they are
                    }
                }
                Err(error) => match error.raw_os_error() {
                    Some(nix::libc::EAGAIN) => break,
                    // It is gone again, or came over a network that has problems (accept(2)).
                    Some(
                        nix::libc::EINTR
                        | nix::libc::ECONNABORTED
                        | nix::libc::EPROTO
                        | nix::libc::ENETDOWN
                        | nix::libc::ENETUNREACH
                        | nix::libc::EHOSTDOWN
                        | nix::libc::EHOSTUNREACH
                        | nix::libc::ENONET
                        | nix::libc::ENOPROTOOPT,
                    ) => {}
                    Some(nix::libc::EMFILE | nix::libc::ENFILE) if !state.pending.is_empty() => {
                        // They are about to come in or to go, and then there is room.
                        let oldest = state.pending.first_key_value().map(|(_, pending)| pending.since);
                        match oldest.is_some_and(|since| since + CHANCE < state.clock) {
                            true => self.make_room(state),
                            false => state.is_full = true,
                        }
                        break;
                    }
                    _ => return Err(Error::io("accept a client")(error)),
                },
            }
        }
        Ok(())
    }

    /// Lets a client in, or has it show its key first.
    fn admit(&self, state: &mut State, socket: OwnedFd) -> Result<(), (Option<Peer>, Error)> {
        let peer = Peer::of(&socket).map_err(|error| (None, error))?;
        let refused = |error| (Some(peer), error);
        self.allow.check(peer).map_err(refused)?;
        self.bound.prepare(&socket).map_err(refused)?;
        let Some(terms) = &self.terms else {
            state.ready.push_back(socket);
            return Ok(());
        };
        if state.pending.len() == MAX_PENDING {
            self.make_room(state);
        }
        let handshake = Handshake::server(terms.clone()).map_err(refused)?;
        let number = state.next;
        let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, number);
        self.epoll.add(&socket, event).map_err(Error::io("watch a client")).map_err(refused)?;
        state.next += 1;
        let since = state.clock;
        state.pending.insert(number, Pending { socket, peer, handshake, since });
        self.advance(state, number); // it is sent the challenge
        Ok(())
    }

    fn make_room(&self, state: &mut State) {
        if let Some((_, oldest)) = state.pending.pop_first() {
            self.refuse(state, oldest, Error::Crowded);
        }
    }

    /// Reads and writes what a client's exchange needs and has.
    fn advance(&self, state: &mut State, number: u64) {
        let Some(pending) = state.pending.get_mut(&number) else { return };
        let result = step(&pending.socket, &mut pending.handshake);
        if matches!(result, Ok(false)) {
            return;
        }
        let Some(pending) = state.pending.remove(&number) else { return };
        match result {
            Err(error) => self.refuse(state, pending, error),
            Ok(_) => {
                crash_point!("handshake.done");
                match self.epoll.delete(&pending.socket) {
                    Ok(()) => state.ready.push_back(pending.socket),
                    Err(errno) => self.refuse(state, pending, Error::io("stop watching a client")(errno)),
                }
            }
        }
    }

    fn refuse(&self, state: &mut State, pending: Pending, error: Error) {
        let _ = self.epoll.delete(&pending.socket);
        state.refusals.push(Refusal { peer: Some(pending.peer), error });
    }

    /// Tells other threads whether somebody is ready.
    fn announce(&self, state: &mut State) {
        let any = !state.ready.is_empty();
        if any != state.announced {
            // Neither can fail: the counter is 0 or 1.
            let _ = if any { self.ready.write(1).map(drop) } else { self.ready.read().map(drop) };
            state.announced = any;
        }
    }
}

/// Writes and reads what is possible at once; says whether the exchange is complete.
fn step(socket: &OwnedFd, handshake: &mut Handshake) -> Result<bool> {
    loop {
        let result = write(socket, &handshake.take_output());
        if handshake.is_over() {
            return result.map(|()| true);
        }
        result?;
        match read(socket, handshake)? {
            None => return Ok(false),
            Some(Err(error)) => {
                // It is told, if it can be; if not, it sees the end of the connection.
                let _ = write(socket, &handshake.take_output());
                return Err(error);
            }
            Some(Ok(())) => {}
        }
    }
}

/// Sends the few bytes of one step. There is always room for them, unless the other end has not read those of many steps before.
pub(crate) fn write(socket: &OwnedFd, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    loop {
        return match send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(n) if n == bytes.len() => Ok(()),
            Ok(_) | Err(Errno::EAGAIN) => Err(Error::Protocol("it does not read what it is sent")),
            Err(Errno::EINTR) => continue,
            Err(errno) => Err(failed("write to the other end", errno)),
        };
    }
}

/// Feeds the exchange with what has arrived: `None` if that is nothing, else what the exchange says to it.
pub(crate) fn read(socket: &OwnedFd, handshake: &mut Handshake) -> Result<Option<Result<()>>> {
    let mut buffer = [0; 512];
    let room = handshake.wants().min(buffer.len());
    loop {
        return match recv(socket.as_raw_fd(), &mut buffer[..room], MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Err(Error::Disconnected),
            Ok(n) => Ok(Some(handshake.receive(&buffer[..n]))),
            Err(Errno::EAGAIN) => Ok(None),
            Err(Errno::EINTR) => continue,
            Err(errno) => Err(failed("read from the other end", errno)),
        };
    }
}

fn failed(doing: &'static str, errno: Errno) -> Error {
    match errno {
        Errno::EPIPE | Errno::ECONNRESET => Error::Disconnected,
        // Another machine that does not answer.
        Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN | Errno::ENETDOWN => {
            Error::Disconnected
        }
        errno => Error::io(doing)(errno),
    }
}
