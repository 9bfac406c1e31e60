//! The lock under all locks: a robust mutex that knows who has it and who died with it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use ipc_core::{Deadline, Segment, crash_point};

use crate::raw::Taken;
use crate::shim::RobustMutex;
use crate::word::Slices;
use crate::{Error, Result, held};

/// This process, as it is named in locks: asked once, as a system call would cost more than the lock.
#[inline]
fn pid() -> u32 {
    thread_local! {
        static PID: u32 = std::process::id();
    }
    PID.with(|pid| *pid)
}

/// Stands for a dead owner that had not left its name.
const NAMELESS: u32 = u32::MAX;
/// How often to look again before sleeping: about as long as a short critical section and the lock's way to another processor take.
const SPINS: u32 = 20;

/// A mutex in shared memory that is handed on when its owner dies, together with that fact.
#[repr(C)]
pub(crate) struct Lock {
    mutex: RobustMutex,
    /// The pid of the owner; 0 while there is none, and for the first few instructions of a new one.
    holder: AtomicU32,
    /// The pid of an owner that died, or panicked, until somebody declares what it left to be repaired. 0: nobody.
    died: AtomicU32,
}

/// The lock is taken. It must be given back by [`Lock::release`] in the same thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Locked {
    /// Somebody died with it, and nobody has declared the data repaired.
    pub(crate) died: Option<Died>,
    panicking: bool,
}

/// Who died with a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Died {
    pub(crate) pid: Option<u32>,
}

impl From<Died> for Error {
    fn from(died: Died) -> Error {
        Error::OwnerDied { pid: died.pid }
    }
}

impl Lock {
    /// For an object that is being made.
    pub(crate) fn init(&self) {
        self.mutex.init();
    }

    #[inline]
    pub(crate) fn acquire(&self, segment: &Segment, deadline: Deadline) -> Result<Locked> {
        segment.check_fork()?;
        self.take(deadline, || true)
    }

    /// Without a look for forks. Under the lock of an owner that died, `is_harmful` tells whether it may have left anything undone.
    #[inline]
    pub(crate) fn take(&self, deadline: Deadline, is_harmful: impl Fn() -> bool) -> Result<Locked> {
        held::enter()?;
        match self.mutex.try_lock() {
            Taken::Clean => {}
            other => self.take_slowly(other, deadline, is_harmful).inspect_err(|_| held::leave())?,
        }
        crash_point!("mutex.locked");
        self.holder.store(pid(), Ordering::Relaxed);
        Ok(self.look())
    }

    /// What the owner finds.
    #[inline]
    pub(crate) fn look(&self) -> Locked {
        let died = match self.died.load(Ordering::Relaxed) {
            0 => None,
            pid => Some(Died { pid: (pid != NAMELESS).then_some(pid) }),
        };
        Locked { died, panicking: thread::panicking() }
    }

    #[cold]
    fn take_slowly(&self, mut taken: Taken, deadline: Deadline, is_harmful: impl Fn() -> bool) -> Result<()> {
        let mut spins = if deadline.is_now() { 0 } else { SPINS };
        let slices = Slices::new(deadline);
        loop {
            match taken {
                Taken::Clean => return Ok(()),
                Taken::OwnerDied => {
                    self.note_death(is_harmful());
                    return Ok(());
                }
                Taken::ByUs => return Err(Error::AlreadyLocked),
                Taken::Damaged => return Err(Error::Damaged("it is no robust mutex any more")),
                Taken::Busy if deadline.is_now() => return Err(Error::WouldBlock),
                Taken::Busy if spins > 0 => {
                    spins -= 1;
                    (0..10).for_each(|_| std::hint::spin_loop());
                    taken = self.mutex.try_lock();
                }
                Taken::Busy => taken = self.mutex.lock_within(slices.next().ok_or(Error::Timeout)?),
            }
        }
    }

    /// The death is noted before the mutex forgets it: whoever is killed in between leaves it to the next one.
    fn note_death(&self, is_harmful: bool) {
        let holder = self.holder.load(Ordering::Relaxed);
        if is_harmful {
            self.died.store(if holder == 0 { NAMELESS } else { holder }, Ordering::Relaxed);
        }
        crash_point!("mutex.died-seen");
        self.mutex.mark_consistent();
    }

    /// What an owner that died or panicked has left is sound again. The caller has the lock.
    pub(crate) fn mark_repaired(&self) {
        self.died.store(0, Ordering::Relaxed);
    }

    /// Gives the lock back. If a panic has begun since it was taken, that counts as the owner's death.
    #[inline]
    pub(crate) fn release(&self, locked: Locked) {
        self.note_panic(locked);
        self.holder.store(0, Ordering::Relaxed);
        crash_point!("mutex.unlocking");
        self.mutex.unlock();
        held::leave();
    }

    #[inline]
    pub(crate) fn note_panic(&self, locked: Locked) {
        if thread::panicking() && !locked.panicking {
            self.died.store(pid(), Ordering::Relaxed);
        }
    }

    /// Whether some thread of this process has it; asked when nobody here can be just taking it.
    pub(crate) fn is_held_here(&self) -> bool {
        self.holder.load(Ordering::Relaxed) == pid()
    }
}

#[cfg(all(test, loom))]
impl Default for Lock {
    fn default() -> Lock {
        Lock { mutex: RobustMutex::default(), holder: AtomicU32::new(0), died: AtomicU32::new(0) }
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock").field("holder", &self.holder).field("died", &self.died).finish_non_exhaustive()
    }
}
