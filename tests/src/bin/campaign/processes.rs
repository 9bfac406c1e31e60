//! Processes that are killed while they start others, or are started.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_core::{Builder, Error, Handle, JoinError, Process};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round, VARIABLE};
use serde::{Deserialize, Serialize};

use crate::handles::check_closed;

/// Arguments and results: with handles, and sometimes more bytes than a socket holds.
#[derive(Debug, Serialize, Deserialize)]
struct Load {
    handles: Vec<Handle>,
    bytes: Vec<u8>,
}

impl Load {
    fn of(source: &Handle, rng: &mut Rng) -> Load {
        let count = if rng.one_in(3) { 254 + rng.below(40) } else { rng.below(4) };
        let len = if rng.one_in(3) { 300_000 + rng.below(700_000) } else { rng.below(5000) };
        let handles = (0..count).map(|_| source.try_clone().expect("a descriptor")).collect();
        Load { handles, bytes: vec![len as u8; len as usize] }
    }

    fn shape(&self) -> (usize, usize) {
        (self.handles.len(), self.bytes.len())
    }
}

/// Gives back what it is given, the other way round.
fn mirror((lane, mut load): (Lane, Load)) -> Load {
    lane.attempt(1);
    load.handles.reverse();
    lane.acknowledge(1);
    load
}

/// The child is killed between its start and its end: the parent gets the whole result or hears of the signal.
pub(crate) fn child(round: &mut Round) {
    let (witness, source) = UnixStream::pair().expect("a pair of sockets");
    witness.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    round.strike(|round| {
        let load = Load::of(&Handle::from(source), &mut round.rng);
        let shape = load.shape();
        // A child that stops before it has taken long arguments is waited for as long as this says.
        let timed = round.rng.one_in(4);
        let builder = round.victim();
        let builder = if timed { builder.handover_timeout(Duration::from_millis(2)) } else { builder };
        let victim = match builder.spawn(mirror, (round.lane(0), load)) {
            Ok(victim) => victim,
            Err(Error::Timeout | Error::Unfinished { .. }) if timed => return,
            Err(error) => return round.flaw(Flaw::Wrong, format!("spawn: {error:?}")),
        };
        match round.join(victim) {
            Ok(load) if load.shape() == shape => round.messages(1),
            Ok(_) => round.flaw(Flaw::Corrupt, "another result"),
            Err(JoinError::Killed { .. }) => {}
            Err(_) => {} // noted by `join`
        }
    });
    check_closed(round, &witness);
}

#[derive(Debug, Serialize, Deserialize)]
struct Family {
    source: Handle,
    lane: Lane,
    seed: u64,
}

/// Starts children in all the ways there are, for ever.
fn rear(family: Family) {
    let mut rng = Rng::new(family.seed);
    let mut daemons: Vec<Process<()>> = Vec::new();
    for n in 0.. {
        family.lane.attempt(n + 1);
        // They do not obey the crash point that is meant for this process.
        let builder = Builder::new().env_remove(VARIABLE).daemon(rng.one_in(2));
        let load = Load::of(&family.source, &mut rng);
        let shape = load.shape();
        let quick = |(_, load): (Handle, Load)| load;
        let endless = |(_held, _load): (Handle, Load)| -> () {
            loop {
                std::thread::park();
            }
        };
        let held = family.source.try_clone().expect("a descriptor");
        match rng.below(4) {
            0 => daemons.push(builder.daemon(true).spawn(endless, (held, load)).expect("a daemon starts")),
            1 => drop(builder.spawn(quick, (held, load)).map(|child: Process<Load>| child).expect("a child starts")),
            2 => {
                let mut child = builder.spawn(quick, (held, load)).expect("a child starts");
                while matches!(child.join_timeout(Duration::from_micros(500)), Err(JoinError::Timeout)) {}
            }
            _ => {
                let child: Process<Load> = builder.spawn(quick, (held, load)).expect("a child starts");
                assert_eq!(child.join().expect("a result").shape(), shape);
            }
        }
        if daemons.len() > 2 {
            let daemon = daemons.remove(0);
            daemon.kill().expect("it is ours");
            if rng.one_in(2) {
                assert!(matches!(daemon.join(), Err(JoinError::Killed { .. })));
            }
        }
        family.lane.acknowledge(n + 1);
    }
}

/// A parent is killed: its daemons end, its other children do not wait for it, and nothing stays open.
pub(crate) fn parent(round: &mut Round) {
    let (witness, source) = UnixStream::pair().expect("a pair of sockets");
    witness.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    round.strike(|round| {
        let family = Family { source: Handle::from(source), lane: round.lane(0), seed: round.rng.next() };
        let victim: Process<()> = round.victim().spawn(rear, family).expect("the parent starts");
        let _ = round.join(victim);
    });
    round.messages(round.lane(0).acknowledged());
    // Its children have become the supervisor's, which sees to it that none is left.
    check_closed(round, &witness);
}
