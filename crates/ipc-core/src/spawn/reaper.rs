//! Reaps the children that nobody will join, so that no zombies stay: one thread for all of them, which ends with the last.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, LazyLock};

use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::handoff::Handoff;
use super::running::Child;
use crate::{Deadline, endpoint};

/// A detached child, with what has to stay open as long as it runs.
pub(super) type Detached = (Child, Option<OwnedFd>);

static REAPER: LazyLock<Handoff<Detached, Arc<EventFd>>> = LazyLock::new(Handoff::new);

/// Reaps the child when it ends.
pub(super) fn reap_later(detached: Detached) {
    if detached.0.ended().is_none() {
        // Without a thread the child stays a zombie until this process ends, or until somebody asks for it.
        REAPER.give(detached, wake, || start().ok());
    }
}

fn wake(waker: &Arc<EventFd>) {
    // It fails only if the counter is full, and then the thread is awake.
    let _ = waker.write(1);
}

fn start() -> std::io::Result<Arc<EventFd>> {
    let waker = Arc::new(EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let own = Arc::clone(&waker);
    std::thread::Builder::new().name("ipc-reaper".into()).spawn(move || reap_all(&own))?;
    Ok(waker)
}

fn reap_all(waker: &EventFd) {
    let mut children: Vec<Detached> = Vec::new();
    loop {
        let _ = waker.read(); // clears it, before the look for new work
        if !REAPER.take(&mut children, |(child, _)| child.ended().is_none()) {
            return;
        }
        let descriptors = children.iter().map(|(child, _)| child.sentinel()).chain([waker.as_fd()]);
        let mut fds: Vec<_> = descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let _ = endpoint::poll(&mut fds, Deadline::NEVER);
    }
}
