//! Messages with handles: whoever dies, every descriptor is closed in the end.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_core::{Connection, Error, Handle, Process};
use ipc_pipe::duplex;
use ipc_tests::campaign::{Flaw, Lane, Rng, Round};
use serde::{Deserialize, Serialize};

/// How long the kernel may take to close what nobody holds any more.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// A message: its handles are all of the same socket, whose other end is the witness.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Parcel {
    number: u64,
    handles: Vec<Handle>,
    /// An end of a connection, which changes its owner: of the same socket, too.
    end: Option<Connection<(), ()>>,
    text: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Work<C> {
    pub(crate) conn: C,
    pub(crate) source: Handle,
    pub(crate) lane: Lane,
    pub(crate) seed: u64,
}

fn parcel(source: &Handle, seed: u64, number: u64) -> Parcel {
    let (count, text, with_end) = shape(seed, number);
    let another = || source.try_clone().expect("a descriptor");
    let end = with_end.then(|| Connection::try_from(another().into_fd().expect("not shared")));
    Parcel {
        number,
        handles: (0..count).map(|_| another()).collect(),
        end: end.map(|end| end.expect("a socket")),
        text: vec![number as u8; text],
    }
}

/// How many handles, how much text, and whether there is an end.
fn shape(seed: u64, number: u64) -> (usize, usize, bool) {
    let mut rng = Rng::of(seed, number);
    let count = if rng.one_in(3) { 240 + rng.below(61) } else { 1 + rng.below(20) };
    (count as usize, if rng.one_in(8) { 300_000 } else { rng.below(3000) as usize }, rng.one_in(3))
}

/// Sends parcels until the receiver is gone.
pub(crate) fn send_parcels(mut work: Work<Connection<Parcel, ()>>) {
    for number in 0.. {
        work.lane.attempt(number + 1);
        loop {
            match work.conn.send(parcel(&work.source, work.seed, number)) {
                Ok(()) => break,
                Err(Error::Disconnected) => return,
                // Only so many descriptors of a user may be under way (unix(7), ETOOMANYREFS).
                Err(Error::Io { source, .. }) if source.raw_os_error() == Some(libc::ETOOMANYREFS) => {}
                Err(Error::Unfinished { .. }) => {
                    while matches!(work.conn.flush(Duration::MAX), Err(Error::Io { .. })) {}
                    break;
                }
                Err(error) => panic!("cannot send: {error:?}"),
            }
            std::thread::yield_now();
        }
        work.lane.acknowledge(number + 1);
    }
}

/// Receives parcels until the stream ends; returns why, or what is wrong with one.
pub(crate) fn receive_parcels(work: &mut Work<Connection<(), Parcel>>) -> Result<Error, (Flaw, String)> {
    // Some are kept for a while.
    let mut kept = None;
    for number in 0.. {
        let parcel = match work.conn.recv() {
            Ok(parcel) => parcel,
            Err(error) => return Ok(error),
        };
        if parcel.number != number {
            let flaw = if parcel.number < number { Flaw::Duplicate } else { Flaw::Lost };
            return Err((flaw, format!("parcel {} instead of {number}", parcel.number)));
        }
        let (count, text, with_end) = shape(work.seed, number);
        let whole = (parcel.handles.len(), parcel.text.len(), parcel.end.is_some()) == (count, text, with_end);
        let open = parcel.handles.iter().all(|handle| nix::sys::stat::fstat(handle.as_fd()).is_ok());
        if !whole || !open {
            return Err((Flaw::Corrupt, format!("parcel {number} is not what was sent")));
        }
        work.lane.receive(number + 1);
        kept = (number % 3 == 0).then_some(parcel);
    }
    drop(kept);
    unreachable!("a parcel for each number there is")
}

pub(crate) fn receive_all(mut work: Work<Connection<(), Parcel>>) {
    match receive_parcels(&mut work) {
        Ok(error) => assert!(error.is_disconnected(), "{error:?}"),
        Err((flaw, text)) => {
            work.lane.complain(flaw);
            panic!("{text}");
        }
    }
}

/// A socket to send descriptors of, and the other end of it, which sees when the last one is closed.
pub(crate) fn witness() -> (UnixStream, Handle) {
    let (witness, source) = UnixStream::pair().expect("a pair of sockets");
    witness.set_read_timeout(Some(CLOSED_WITHIN)).expect("a time-out");
    (witness, Handle::from(source))
}

/// Fails if anybody still has a descriptor.
pub(crate) fn check_closed(round: &mut Round, mut witness: &UnixStream) {
    match witness.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        other => round.flaw(Flaw::Left, format!("a descriptor is open somewhere: {other:?}")),
    }
}

pub(crate) fn sender(round: &mut Round) {
    let (witness, source) = witness();
    let seed = round.rng.next();
    let (far, near) = duplex().expect("a pair of sockets");
    let received = round.strike(|round| {
        let work = Work { conn: far, source: source.try_clone().expect("a descriptor"), lane: round.lane(0), seed };
        let victim: Process<()> = round.victim().spawn(send_parcels, work).expect("the sender starts");
        let mut work = Work { conn: near, source, lane: round.lane(1), seed };
        match receive_parcels(&mut work) {
            Ok(error) => round.judge_end(&error),
            Err((flaw, text)) => round.flaw(flaw, text),
        }
        drop(work);
        let _ = round.join(victim);
        round.lane(1).received()
    });
    round.judge(&round.lane(0), received, !round.has_flaws());
    check_closed(round, &witness);
}

pub(crate) fn receiver(round: &mut Round) {
    let (witness, source) = witness();
    let seed = round.rng.next();
    let (near, far) = duplex().expect("a pair of sockets");
    round.strike(|round| {
        let work = Work { conn: far, source: source.try_clone().expect("a descriptor"), lane: round.lane(0), seed };
        let victim: Process<()> = round.victim().spawn(receive_all, work).expect("the receiver starts");
        send_parcels(Work { conn: near, source, lane: round.lane(1), seed });
        let _ = round.join(victim);
    });
    let received = round.lane(0).received();
    round.judge(&round.lane(1), received, false);
    if let Some(flaw) = round.lane(0).flaw() {
        round.flaw(flaw, format!("parcel {received}, in the receiver"));
    }
    check_closed(round, &witness);
}
