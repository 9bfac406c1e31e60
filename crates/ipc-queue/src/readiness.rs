//! A queue among other things to wait for.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use ipc_core::{Deadline, Roles, Waitable};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::core::Core;
use crate::error::Quick;
use crate::{Error, Result};

/// Tells when there is something to take from a queue, or nothing will ever come any more: for [`wait`](ipc_core::wait), or by its
/// descriptor for epoll(7) and its like.
///
/// Behind it is a thread of this process that sleeps as a receiver would, until the readiness is dropped. So producers need not know that
/// somebody looks, named queues work as all others, and whoever is killed in the middle of waking is not missed.
///
/// ```
/// use ipc_queue::{Queue, wait};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (urgent, others) = (Queue::<u32>::new()?, Queue::<u32>::new()?);
/// others.put(1)?;
/// let (first, second) = (urgent.readiness()?, others.readiness()?);
/// assert_eq!(wait(&[&first, &second], Duration::MAX)?, [1]);
/// # Ok(()) }
/// ```
///
/// With epoll: the descriptor is readable when it is time to look. Then take what there is, with the `try_` calls, until they say
/// `WouldBlock`, and call [`rearm`](Readiness::rearm), which says whether something has come meanwhile.
///
/// # References
/// eventfd(2), epoll(7); CPython `multiprocessing.connection.wait` with a queue's private `_reader`.
pub struct Readiness {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    core: Core,
    event: EventFd,
    /// Whether the thread is to look out.
    armed: Mutex<bool>,
    changed: Condvar,
    is_over: AtomicBool,
}

impl Readiness {
    pub(crate) fn new(core: &Core) -> Result<Readiness> {
        core.segment().check_fork()?;
        let failed = |source: std::io::Error| {
            Error::Memory(ipc_core::Error::Io { doing: "make something to wait for a queue with", source })
        };
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags).map_err(|errno| failed(errno.into()))?;
        let shared = Arc::new(Shared {
            core: core.again(),
            event,
            armed: Mutex::new(true),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("ipc-queue-ready".into()).stack_size(64 << 10);
        let thread = thread.spawn(move || theirs.look_out()).map_err(failed)?;
        Ok(Readiness { shared, thread: Some(thread) })
    }

    /// After everything was taken: the descriptor becomes unreadable until there is something again. Returns whether there is something
    /// already, or nothing will ever come; then it stays readable.
    ///
    /// ```
    /// use ipc_queue::{Queue, wait};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let queue = Queue::<u32>::new()?;
    /// let readiness = queue.readiness()?; // its descriptor could be in an epoll set
    /// queue.put(1)?;
    /// wait(&[&readiness], Duration::MAX)?;
    /// while queue.try_get().is_ok() {}
    /// assert!(!readiness.rearm()); // nothing has come meanwhile
    /// queue.put(2)?;
    /// assert!(readiness.rearm()); // and now something has
    /// # Ok(()) }
    /// ```
    pub fn rearm(&self) -> bool {
        if !self.shared.core.segment().is_original() {
            return true; // in a forked copy all that is left is to find that out
        }
        let _ = self.shared.event.read(); // fails if it is not readable, which is what it is to become
        let ready = self.shared.is_ready();
        if ready {
            self.shared.announce();
        } else {
            *self.shared.armed.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.shared.changed.notify_one();
        }
        ready
    }
}

impl Shared {
    fn is_ready(&self) -> bool {
        let core = &self.core;
        core.is_filled() || !matches!(self.check(), Ok(())) || core.tail().is_closed() && core.is_over()
    }

    /// An error if nobody could ever put anything, and nothing can come back.
    fn check(&self) -> Quick<()> {
        let core = &self.core;
        let somebody = core.is_anybody_left(Roles::PRODUCER)? && core.could_be_ended()?;
        if somebody || !core.is_over() { Ok(()) } else { Err(Error::Disconnected.into()) }
    }

    fn announce(&self) {
        let _ = self.event.write(1); // fails if it is as readable as it can be
    }

    /// The thread.
    fn look_out(&self) {
        loop {
            let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
            while !*armed && !self.is_over.load(Ordering::Acquire) {
                armed = self.changed.wait(armed).unwrap_or_else(PoisonError::into_inner);
            }
            *armed = false;
            drop(armed);
            let core = &self.core;
            let over = || self.is_over.load(Ordering::Acquire);
            if over() {
                return;
            }
            // Whatever it is, an error included, is for the receiver to find out.
            let _ = core.wait_asleep(
                &core.view.end.filled,
                Deadline::NEVER,
                || Ok(over() || core.is_filled() || core.tail().is_closed() && core.is_over()),
                || {
                    core.look_for_the_dead()?;
                    self.check()
                },
            );
            if over() {
                return;
            }
            self.announce();
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        if !self.shared.core.segment().is_original() {
            return; // the thread is the original's
        }
        self.shared.is_over.store(true, Ordering::SeqCst);
        let armed = self.shared.armed.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.changed.notify_one();
        drop(armed);
        self.shared.core.view.end.filled.wake();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }
}

impl Waitable for Readiness {
    fn is_ready_now(&self) -> bool {
        self.rearm()
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn is_still_ready(&self) -> bool {
        self.rearm()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}
