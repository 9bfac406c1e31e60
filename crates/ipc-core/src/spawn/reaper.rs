//! Reaps the children that nobody will join, so that no zombies stay: one thread for all of them, which ends with the last.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::AsFd;

use super::running::{Child, lock};
use crate::{Deadline, endpoint};

/// A detached child, with what has to stay open as long as it runs.
pub(super) type Detached = (Child, Option<OwnedFd>);

/// What the thread and those that give it work share.
struct Reaper {
    /// Wakes the thread; there is one as long as there is a thread.
    waker: Option<Arc<EventFd>>,
    /// Children that the thread does not know yet.
    fresh: Vec<Detached>,
}

static REAPER: Mutex<Reaper> = Mutex::new(Reaper { waker: None, fresh: Vec::new() });

/// Reaps the child when it ends.
pub(super) fn reap_later(detached: Detached) {
    if detached.0.ended().is_some() {
        return;
    }
    let mut reaper = lock(&REAPER);
    reaper.fresh.push(detached);
    match &reaper.waker {
        Some(waker) => drop(waker.write(1)),
        // Without a thread the child stays a zombie until this process ends, or until somebody asks for it.
        None => reaper.waker = start().ok(),
    }
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
        let _ = waker.read();
        let mut reaper = lock(&REAPER);
        children.append(&mut reaper.fresh);
        children.retain(|(child, _)| child.ended().is_none());
        if children.is_empty() {
            reaper.waker = None;
            return;
        }
        drop(reaper);
        let descriptors = children.iter().map(|(child, _)| child.sentinel()).chain([waker.as_fd()]);
        let mut fds: Vec<_> = descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let _ = endpoint::poll(&mut fds, Deadline::NEVER);
    }
}
