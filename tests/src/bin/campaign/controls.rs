//! Workers and survivors with a mistake on purpose, which the campaign must find.

use std::os::unix::net::UnixStream;

use ipc_core::{Builder, Process};
use ipc_tests::campaign::{Lane, Round, VARIABLE};

use crate::pipes::{Mistake, write_and_die};

pub(crate) fn lost(round: &mut Round) {
    write_and_die(round, false, Mistake::AcknowledgesFirst);
}

pub(crate) fn duplicate(round: &mut Round) {
    write_and_die(round, false, Mistake::SendsTwice);
}

pub(crate) fn corrupt(round: &mut Round) {
    write_and_die(round, false, Mistake::ChangesByte);
}

fn never_end() {
    loop {
        std::thread::park();
    }
}

fn work(lane: Lane) {
    lane.attempt(1);
    never_end();
}

pub(crate) fn hang(round: &mut Round) {
    round.strike(|round| {
        let victim: Process<()> = round.victim().spawn(work, round.lane(0)).expect("the victim starts");
        let _ = round.join(victim);
        let other: Process<()> = Builder::new().spawn(|()| never_end(), ()).expect("the other one starts");
        let _ = other.join();
    });
}

pub(crate) fn child(round: &mut Round) {
    round.strike(|round| {
        let with_child = |lane: Lane| {
            let builder = Builder::new().env_remove(VARIABLE);
            let _child: Process<()> = builder.spawn(|()| never_end(), ()).expect("the child starts");
            work(lane);
        };
        let victim: Process<()> = round.victim().spawn(with_child, round.lane(0)).expect("the victim starts");
        let _ = round.join(victim);
    });
}

pub(crate) fn descriptor(round: &mut Round) {
    round.strike(|round| {
        let victim: Process<()> = round.victim().spawn(work, round.lane(0)).expect("the victim starts");
        let _ = round.join(victim);
        std::mem::forget(UnixStream::pair().expect("a pair of sockets"));
    });
}
