//! The lock under all locks: a robust mutex that knows who has it and who died with it.

use std::sync::atomic::Ordering;
use std::thread;

use ipc_core::{Deadline, Segment, crash_point, process_id};

use crate::raw::Taken;
use crate::shim::{AtomicU32, RobustMutex};
use crate::word::Slices;
use crate::{Error, Result, held};

/// Stands for a dead owner that had not left its name.
const NAMELESS: u32 = u32::MAX;
/// How many pauses to make before the first look again, and at how many to give up and sleep: each time twice as many. To look takes the
/// lock's cache line away from its owner, who is done sooner if it is left alone. None in a model, where the owner would not go on.
const PAUSES: std::ops::Range<u32> = if cfg!(loom) { 1..1 } else { 32..2048 };

/// A mutex in shared memory that is handed on when its owner dies, together with that fact.
#[repr(C)]
#[cfg_attr(loom, derive(Default))]
pub struct Lock {
    mutex: RobustMutex,
    /// The pid of the owner; 0 while there is none, and for the first few instructions of a new one.
    holder: std::sync::atomic::AtomicU32,
    /// The pid of an owner that died, or panicked, until somebody declares what it left to be repaired. 0: nobody.
    died: AtomicU32,
}

/// The lock is taken. It must be given back by [`Lock::give_back`] in the same thread.
///
/// One word, whose low half says who died with it and whose next bit says whether the thread was panicking. As a struct of the
/// two it is written in parts and read as a whole when it is handed on, for which the processor has to wait: lock and unlock took
/// twice as long.
#[derive(Clone, Copy, Debug)]
pub struct Locked(u64);

impl Locked {
    const PANICKING: u32 = 32;

    /// For what is to be filled in later.
    pub const NONE: Locked = Locked(0);

    /// Somebody died with it, and nobody has declared the data repaired.
    #[inline]
    pub fn died(self) -> Option<Died> {
        match self.0 as u32 {
            0 => None,
            pid => Some(Died { pid: (pid != NAMELESS).then_some(pid) }),
        }
    }

    #[inline]
    fn was_panicking(self) -> bool {
        self.0 >> Locked::PANICKING != 0
    }
}

/// Who died with a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Died {
    /// Its pid, if it had left it.
    pub pid: Option<u32>,
}

impl From<Died> for Error {
    fn from(died: Died) -> Error {
        Error::OwnerDied { pid: died.pid }
    }
}

impl Lock {
    /// For an object that is being made, of whatever the memory contained.
    pub fn init(&self) {
        self.mutex.init();
        self.holder.store(0, Ordering::Relaxed);
        self.died.store(0, Ordering::Relaxed);
    }

    /// Takes it: in a process that has not been forked, and counted among those that the thread holds.
    ///
    /// # Errors
    /// That somebody has it until the deadline, or this thread does already, or holds too many; but not that an owner has died.
    #[inline(always)] // across crates the compiler would not, and hand the result over in memory
    pub fn acquire(&self, segment: &Segment, deadline: Deadline) -> Result<Locked> {
        segment.check_fork()?;
        // The pid is at hand in the segment.
        let locked = self.take_as(segment.participant().pid(), deadline, || true)?;
        // Afterwards, as an owner that takes it again is to be told that.
        if let Err(error) = held::enter() {
            self.release(locked);
            return Err(error);
        }
        Ok(locked)
    }

    /// Without a look for forks, and not counted as held. Under the lock of an owner that died, `is_harmful` tells whether it may have
    /// left anything undone.
    #[inline]
    pub(crate) fn take(&self, deadline: Deadline, is_harmful: impl Fn() -> bool) -> Result<Locked> {
        self.take_as(process_id(), deadline, is_harmful)
    }

    #[inline(always)]
    fn take_as(&self, pid: u32, deadline: Deadline, is_harmful: impl Fn() -> bool) -> Result<Locked> {
        match self.mutex.try_lock() {
            Taken::Clean => {}
            other => self.take_slowly(other, deadline, is_harmful)?,
        }
        crash_point!("mutex.locked");
        self.holder.store(pid, Ordering::Relaxed);
        Ok(self.look())
    }

    /// What the owner finds.
    #[inline(always)]
    pub(crate) fn look(&self) -> Locked {
        let died = self.died.load(Ordering::Relaxed);
        Locked(u64::from(died) | u64::from(thread::panicking()) << Locked::PANICKING)
    }

    #[cold]
    fn take_slowly(&self, mut taken: Taken, deadline: Deadline, is_harmful: impl Fn() -> bool) -> Result<()> {
        let mut pauses = PAUSES.start;
        let mut slices = Slices::new(deadline);
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
                Taken::Busy if pauses < PAUSES.end => {
                    (0..pauses).for_each(|_| std::hint::spin_loop());
                    pauses *= 2;
                    taken = self.mutex.try_lock();
                }
                Taken::Busy => taken = self.mutex.lock_within(slices.limit().ok_or(Error::Timeout)?),
            }
        }
    }

    /// The death is noted before the mutex forgets it: whoever is killed in between leaves it to the next one.
    fn note_death(&self, is_harmful: bool) {
        let holder = self.holder.load(Ordering::Relaxed);
        // One without a name has changed nothing, so it does not hide who died before it and is not repaired.
        if is_harmful && (holder != 0 || self.died.load(Ordering::Relaxed) == 0) {
            self.died.store(if holder == 0 { NAMELESS } else { holder }, Ordering::Relaxed);
        }
        crash_point!("mutex.died-seen");
        self.mutex.mark_consistent();
    }

    /// What an owner that died or panicked has left is sound again. The caller has the lock.
    pub fn mark_repaired(&self) {
        self.died.store(0, Ordering::Relaxed);
    }

    /// Gives back what [`acquire`](Lock::acquire) took; a copy of the process that came about by a fork has nothing to give back.
    #[inline(always)]
    pub fn give_back(&self, segment: &Segment, locked: Locked) {
        if segment.is_original() {
            self.release(locked);
        }
        held::leave();
    }

    /// Gives the lock back. If a panic has begun since it was taken, that counts as the owner's death.
    #[inline(always)]
    pub(crate) fn release(&self, locked: Locked) {
        self.note_panic(locked);
        self.holder.store(0, Ordering::Relaxed);
        crash_point!("mutex.unlocking");
        self.mutex.unlock();
    }

    #[inline(always)]
    pub(crate) fn note_panic(&self, locked: Locked) {
        if thread::panicking() && !locked.was_panicking() {
            self.died.store(process_id(), Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, loom))]
impl Lock {
    /// What the kernel does when the owner has died.
    pub(crate) fn owner_dies(&self) {
        self.mutex.owner_dies();
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock").field("holder", &self.holder).field("died", &self.died).finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
#[path = "model/lock.rs"]
mod checks;
