//! FIFOs with a mistake on purpose, which the campaign must find.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use ipc_core::Process;
use ipc_fifo::Fifo;
use ipc_tests::campaign::{Lane, Round};

use crate::fifo::{Mistake, writer_with};
use crate::folder::Folder;

pub(crate) fn lost(round: &mut Round) {
    writer_with(round, Mistake::AcknowledgesFirst);
}

pub(crate) fn duplicate(round: &mut Round) {
    writer_with(round, Mistake::SendsTwice);
}

pub(crate) fn corrupt(round: &mut Round) {
    writer_with(round, Mistake::WritesBytes);
}

/// Waits with open(2) for one who is killed.
pub(crate) fn hang(round: &mut Round) {
    let folder = Folder::new();
    let fifo = Fifo::create(folder.file("fifo"), 0o600).expect("a new name");
    round.strike(|round| {
        let work = |lane: Lane| {
            lane.attempt(1);
            loop {
                std::thread::park();
            }
        };
        let victim: Process<()> = round.victim().spawn(work, round.lane(0)).expect("the victim starts");
        // By way of a descriptor, as a round that hangs leaves its names.
        let place = File::options().read(true).custom_flags(libc::O_PATH).open(fifo.path()).expect("it is there");
        drop((fifo, folder));
        drop(File::open(format!("/proc/self/fd/{}", place.as_raw_fd())));
        let _ = round.join(victim);
    });
}
