//! Servers with a mistake on purpose, which the campaign must find.

use std::fs;
use std::os::unix::net::UnixListener;

use ipc_core::Process;
use ipc_socket::Address;
use ipc_tests::campaign::{Lane, Round};

use crate::folder::Folder;
use crate::socket::{Mistake, Service};
use crate::socket_names::{Worker, address_with};
use crate::socket_rounds::{client_of, server_with};

pub(crate) fn lost(round: &mut Round) {
    server_with(round, Mistake::AnswersFirst);
}

pub(crate) fn duplicate(round: &mut Round) {
    server_with(round, Mistake::CountsAgain);
}

pub(crate) fn corrupt(round: &mut Round) {
    server_with(round, Mistake::ChangesByte);
}

/// One who waits for each client in turn waits for one that is stopped.
pub(crate) fn hang(round: &mut Round) {
    let service = Service::plain(round);
    client_of(round, &service, Mistake::OneByOne, &["connect.connected"]);
}

pub(crate) fn descriptor(round: &mut Round) {
    let service = Service::plain(round);
    client_of(round, &service, Mistake::KeepsAll, &[]);
}

/// Makes room for itself as programs do: whatever is at the path is removed.
pub(crate) fn two_at_once(round: &mut Round) {
    let folder = Folder::new();
    let address = Address::unix(folder.file("socket"));
    address_with(round, &address, |worker: Worker| {
        let Address::Unix(path) = &worker.address else { unreachable!("it is a file") };
        for n in 1.. {
            worker.lane.attempt(n);
            let _ = fs::remove_file(path);
            let _listener = UnixListener::bind(path);
            (0..2000).for_each(|_| std::hint::spin_loop());
        }
    });
}

/// Nobody comes after a server that was killed.
pub(crate) fn left(round: &mut Round) {
    let folder = Folder::new();
    let address = Address::unix(folder.file("socket"));
    round.strike(|round| {
        let work = |(address, lane): (Address, Lane)| {
            let Address::Unix(path) = &address else { unreachable!("it is a file") };
            let _listener = UnixListener::bind(path).expect("a new name");
            lane.attempt(1);
            loop {
                std::thread::park();
            }
        };
        let victim: Process<()> =
            round.victim().spawn(work, (address.clone(), round.lane(0))).expect("the victim starts");
        let _ = round.join(victim);
    });
    folder.judge_empty(round);
}
