//! One address that several processes listen at in turn, of which one is killed: it never is that of two.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use ipc_core::{Builder, Process};
use ipc_socket::{Address, Client, Connection, Error, Listener, Peer};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round};
use ipc_tests::unique_name;
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::permits::join_survivor;

const SHORT: Duration = Duration::from_millis(2);
/// How often a survivor listens after the victim's end.
const AFTERWARDS: u32 = 5;
/// The points at which one who dies leaves the file in one state or another.
const INSIDE: [&str; 3] = ["bind.replacing", "bind.bound", "listener.leaving"];

#[derive(Serialize, Deserialize)]
pub(crate) struct Worker {
    pub(crate) address: Address,
    pub(crate) lane: Lane,
    seed: u64,
}

impl Worker {
    fn new(round: &mut Round, address: &Address, lane: u64) -> Worker {
        Worker { address: address.clone(), lane: round.lane(lane), seed: round.rng.next() }
    }

    /// Listens, and leaves, again and again: a victim for ever, a survivor until some time after the victim's end.
    pub(crate) fn work(&self) {
        let mut rng = Rng::new(self.seed);
        let (mut tries, mut done, mut more) = (0, 0, AFTERWARDS);
        while more > 0 {
            let over = self.lane.is_over();
            tries += 1;
            self.lane.attempt(tries);
            if rng.one_in(6) {
                self.litter();
            }
            match self.listen(&mut rng) {
                Ok(true) => {
                    done += 1;
                    self.lane.acknowledge(done);
                    more -= u32::from(over);
                }
                Ok(false) => self.visit(),
                Err(flaw) => return self.lane.complain(flaw),
            }
        }
    }

    /// Returns whether it could.
    fn listen(&self, rng: &mut Rng) -> Result<bool, Flaw> {
        let listener = match Listener::bind(&self.address) {
            Ok(listener) => listener,
            Err(Error::InUse { .. }) => return Ok(false),
            Err(error) => return Err(self.complain("cannot listen", &error)),
        };
        self.check(&listener)?;
        let most = if rng.one_in(4) { 20_000 } else { 500 };
        rng.spin(most);
        self.check(&listener)?;
        Ok(true)
    }

    /// Whoever comes to the address comes to this listener.
    fn check(&self, listener: &Listener<(), u64>) -> Result<(), Flaw> {
        let mut visit: Connection<u64, ()> = loop {
            match Client::connect_timeout(&self.address, SHORT) {
                Ok(visit) => break visit,
                // So many have come that there is no room for one more.
                Err(error) if error.is_timeout() => while listener.try_accept().is_ok() {},
                Err(error) if error.is_not_listening() => return Err(Flaw::Lost),
                Err(error) => return Err(self.complain("cannot connect", &error)),
            }
        };
        // It waits to be accepted, behind the visits of others.
        loop {
            let mut conn = match listener.try_accept() {
                Ok(conn) => conn,
                Err(error) if error.is_would_block() => return Err(Flaw::Duplicate),
                Err(error) => return Err(self.complain("cannot accept", &error)),
            };
            let peer = Peer::of(&conn).map_err(|error| self.complain("does not know who came", &error))?;
            if matches!(peer, Peer::Local { pid, .. } if pid == std::process::id()) {
                visit.send(self.seed).map_err(|_| Flaw::Duplicate)?;
                return if conn.recv().is_ok_and(|seed| seed == self.seed) { Ok(()) } else { Err(Flaw::Corrupt) };
            }
        }
    }

    /// Comes to whoever has the address. He may just be leaving.
    fn visit(&self) {
        let visit: Result<Connection<u64, ()>, _> = Client::connect(&self.address);
        drop(visit);
        std::thread::yield_now();
    }

    /// Makes what one leaves who is killed.
    fn litter(&self) {
        if let Address::Unix(path) = &self.address {
            let _ = UnixListener::bind(path);
        }
    }

    fn complain(&self, what: &str, error: &Error) -> Flaw {
        eprintln!("one at {} {what}: {error:?}", self.address);
        Flaw::Wrong
    }
}

/// Three listen at one address in turn, and what one of them leaves that is killed is replaced.
pub(crate) fn address(round: &mut Round) {
    let folder = Folder::new();
    let address = match round.rng.one_in(6) {
        true => Address::abstract_name(unique_name()),
        false => Address::unix(folder.file("socket")),
    };
    address_with(round, &address, |worker| worker.work());
    // Whatever is there in the end, the next one who listens can, and removes it.
    if let Err(error) = Listener::<(), ()>::bind(&address) {
        round.flaw(Flaw::Wrong, format!("nobody listens, but one cannot: {error:?}"));
    }
    folder.judge_empty(round);
}

/// The same, with another victim.
pub(crate) fn address_with(round: &mut Round, address: &Address, work: impl FnOnce(Worker) + Copy + Send + 'static) {
    round.strike(|round| {
        let victim: Process<()> =
            round.victim().spawn(work, Worker::new(round, address, 0)).expect("the victim starts");
        let other = Worker::new(round, address, 1);
        let survive = |worker: Worker| worker.work();
        let other: Process<()> = Builder::new().spawn(survive, other).expect("the other one starts");
        let near = Worker::new(round, address, 2);
        std::thread::scope(|scope| {
            scope.spawn(|| near.work());
            let _ = round.join(victim);
            round.end();
        });
        join_survivor(round, other);
    });
    if round.died_at().is_some_and(|point| INSIDE.contains(&point)) {
        round.inside();
    }
    round.messages((0..3).map(|lane| round.lane(lane).acknowledged()).sum());
    for lane in [0, 1, 2].map(|lane| round.lane(lane)) {
        if let Some(flaw) = lane.flaw() {
            round.flaw(flaw, format!("noted by one who listened: {lane:?}"));
        }
    }
}
