//! Memory with a name, handled as others do, which the campaign must find.

use std::os::fd::OwnedFd;

use ipc_shm::SharedMemory;
use ipc_tests::campaign::Round;
use ipc_tests::unique_name;
use nix::fcntl::OFlag;
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::Mode;
use nix::unistd::ftruncate;

use crate::memory::judge_gone;
use crate::names::{Worker, creator_with, opener_with};

/// Makes the name, and the memory afterwards, as the C library has it and Python does.
pub(crate) fn half_made(round: &mut Round) {
    let name = unique_name();
    opener_with(round, &name, |worker: Worker| {
        let name = format!("/{}", worker.name);
        for n in 1.. {
            worker.lane.attempt(n);
            let file: OwnedFd = shm_open(name.as_str(), OFlag::O_CREAT | OFlag::O_RDWR, Mode::S_IRWXU).expect("a name");
            ftruncate(&file, 4096).expect("memory");
            shm_unlink(name.as_str()).expect("it is there");
        }
    });
    let _ = SharedMemory::unlink(&name);
    judge_gone(round, &name);
}

/// Removes the name when one of its users ends, though others have the memory, as Python's resource tracker does.
pub(crate) fn tracker(round: &mut Round) {
    let name = unique_name();
    creator_with(round, &name, |worker: Worker| {
        for n in 1.. {
            worker.lane.attempt(n);
            drop(SharedMemory::open(&worker.name));
            let _ = SharedMemory::unlink(&worker.name);
        }
    });
    let _ = SharedMemory::unlink(&name);
}
