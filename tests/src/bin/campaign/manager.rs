//! A manager's server in the supervisor, for one round, and how others get at it.

use std::time::Duration;

use ipc_manager::{Address, Error, Manager, Object, Result, Server, Stats};
use ipc_tests::campaign::{Flaw, Lane, Round, STALL_LIMIT};
use ipc_tests::eventually;
use serde::{Deserialize, Serialize};

use crate::memory::within;

/// A time-out that mostly passes.
pub(crate) const SHORT: Duration = Duration::from_micros(300);
/// How often a survivor still does something after the victim's end: each time some dozens of requests, all of which count
/// as its stall.
pub(crate) const AFTERWARDS: u32 = 2;

/// Where a server is. Objects are found by their names there: a proxy that is sent to a victim and never claimed would keep
/// its object for a minute.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) address: Address,
    pub(crate) key: Vec<u8>,
}

impl Place {
    pub(crate) fn enter(&self) -> Manager {
        Manager::connect(&self.address, self.key.clone()).expect("the server lets its clients in")
    }
}

/// A server, and the supervisor as its client.
pub(crate) struct Host {
    pub(crate) manager: Manager,
    pub(crate) place: Place,
    server: Server,
    /// How long the server may take to be as it should be.
    patience: Duration,
}

impl Host {
    pub(crate) fn new(round: &mut Round) -> Host {
        let key = round.rng.next().to_le_bytes().to_vec();
        // Mostly by the quicker way, and over TCP at times.
        let address = if round.rng.one_in(6) { "tcp:127.0.0.1:0" } else { "unix-abstract:" };
        let server = Manager::serve(address, key.clone()).expect("a server");
        let place = Place { address: server.address().clone(), key };
        Host { manager: place.enter(), place, server, patience: STALL_LIMIT }
    }

    /// For controls, in which the server does not come to be as it should.
    pub(crate) fn impatient(self) -> Host {
        Host { patience: STALL_LIMIT / 8, ..self }
    }

    /// Gives a new object a name.
    pub(crate) fn publish<O: Object>(&self, name: &str, object: Result<O>) -> O {
        let object = object.expect("an object");
        self.manager.publish(name, &object).expect("a new name");
        object
    }

    /// When nobody is there but so many clients.
    pub(crate) fn wait_for_clients(&self, clients: u64) {
        eventually("the server has seen who ended", || self.server.stats().clients == clients);
    }

    /// As the server says it, once `is_sound` holds; else as it is after a while.
    pub(crate) fn settled(&self, mut is_sound: impl FnMut(&Stats) -> bool) -> Stats {
        let mut stats = self.server.stats();
        within(self.patience, || {
            stats = self.server.stats();
            is_sound(&stats)
        });
        stats
    }

    /// When all others have ended, and the supervisor has dropped its proxies, the server has nothing.
    pub(crate) fn judge_empty(self, round: &mut Round) {
        for name in self.server.stats().objects.into_iter().filter_map(|object| object.name) {
            self.manager.unlink(&name).expect("it is there");
        }
        let is_empty = |stats: &Stats| stats.clients == 1 && stats.objects.is_empty();
        let stats = self.settled(is_empty);
        if !is_empty(&stats) {
            round.flaw(Flaw::Left, format!("the server still has {stats:?}"));
        }
    }
}

/// Waiting in vain is no end.
pub(crate) fn waited(error: &Error) -> bool {
    error.is_timeout() || error.is_would_block()
}

/// What a worker of the server's cannot explain.
pub(crate) fn complain(lane: &Lane, what: &str, error: &Error) -> Flaw {
    eprintln!("a worker ({lane:?}) cannot {what}: {error:?}");
    Flaw::Wrong
}

/// Whatever the workers have complained of.
pub(crate) fn judge_lanes(round: &mut Round, lanes: &[Lane]) {
    for lane in lanes {
        if let Some(flaw) = lane.flaw() {
            round.flaw(flaw, format!("noted by a worker: {lane:?}"));
        }
    }
}
