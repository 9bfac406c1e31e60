//! A lock for many readers or one writer.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{Ordering, compiler_fence};
use std::time::Duration;

use bytemuck::Pod;
use ipc_core::{Deadline, Local, Segment, View, crash_point};
use serde::{Deserialize, Serialize};

use crate::lock::{Died, Lock, Locked};
use crate::raw::{Data, Taken};
use crate::shim::{AtomicU32, RobustMutex, order};
use crate::word::Slices;
use crate::{Error, Result, held};

/// How many guards for reading there can be at a time.
const SLOTS: usize = 64;
/// Where a process marks that it has the guard for writing; the slots before it are those of readers.
const WRITER: usize = SLOTS;

const _: () = assert!(WRITER < Local::PLACES);

/// A value that many can read at a time, or one can change.
///
/// Every reader takes one of 64 slots, each of them a robust lock of its own: so one that is killed is out at once,
/// without anybody having to find out. A writer takes the slots one after the other: reading costs about as much as a
/// [`Mutex`](crate::Mutex), writing some 60 times that. A waiting writer goes before readers that come after it. Everything else is as
/// in [`Mutex`](crate::Mutex).
///
/// ```
/// use ipc_sync::{Process, RwLock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limits = RwLock::new([0u32, 100])?;
/// let first = limits.read()?;
/// let child = Process::spawn(|limits: RwLock<[u32; 2]>| limits.read().unwrap()[1], limits.clone())?;
/// assert_eq!(child.join()?, 100); // it could read at the same time
/// drop(first);
/// limits.write()?[1] = 200;
/// # Ok(()) }
/// ```
///
/// # When a process dies
///
/// A dead reader is gone. A writer that dies, or panics, while it may have changed the value makes everybody else see
/// [`Error::OwnerDied`], readers too, until somebody repairs it with [`write_or_repair`](RwLock::write_or_repair).
///
/// # Misuse
///
/// Asking for a second guard in a thread that has one is [`Error::AlreadyLocked`], except that several guards for reading are
/// possible as long as no writer waits and a slot is free.
///
/// # References
/// pthread_rwlock_rdlock(3), which has no robust kind. CPython has no counterpart.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct RwLock<T: Pod>(View<RwState<T>>);

#[repr(C)]
pub(crate) struct RwState<T> {
    core: RwCore<SLOTS>,
    pub(crate) data: Data<T>,
}

/// The algorithm, without the data.
///
/// ```text
/// reader                                 writer
///   take a slot                            take the writers' lock
///   is a writer there?                     WAITING: from now on readers give way
///     no: in                               take and release every slot: all readers are out
///     yes: give the slot back, take        WRITING
///          the writers' lock, a slot,      … IDLE, give the lock back
///          give the lock back: in
/// ```
/// Both write first (slot, phase) and then look at the other's: at least one of the two sees the other.
#[repr(C)]
pub(crate) struct RwCore<const N: usize> {
    writers: Lock,
    phase: AtomicU32,
    unused: [std::sync::atomic::AtomicU32; 3],
    slots: [Slot; N],
}

/// Alone on its cache line, so that readers do not disturb each other.
#[repr(C, align(64))]
#[cfg_attr(all(test, loom), derive(Default))]
struct Slot(RobustMutex);

const NO_SLOT: &str = "a reader's slot is no robust mutex any more";
/// How long to wait for one slot before looking at all of them again.
const LOOK_AROUND: Duration = Duration::from_millis(1);

/// Nobody writes; readers may come in.
const IDLE: u32 = 0;
/// A writer waits for the readers to leave. If it dies, nothing has happened.
const WAITING: u32 = 1;
/// A writer may be changing the value. If it dies, that may be half done.
const WRITING: u32 = 2;

impl<const N: usize> RwCore<N> {
    fn init(&self) {
        self.writers.init();
        self.phase.store(IDLE, Ordering::Relaxed);
        self.slots.iter().for_each(|slot| slot.0.init());
    }

    /// Comes in as a reader, and returns the slot, which is to be given to [`leave`](RwCore::leave). Of the slots only such as are
    /// `usable`.
    #[inline]
    fn enter(&self, deadline: Deadline, home: usize, usable: impl Fn(usize) -> bool) -> Result<(usize, Option<Died>)> {
        if let Some(slot) = self.take_slot(home, &usable)? {
            order();
            if self.phase.load(Ordering::SeqCst) == IDLE {
                crash_point!("rwlock.reader-in");
                return Ok((slot, self.writers.look().died()));
            }
            self.slots[slot].0.unlock();
        }
        if self.has_slot() {
            return Err(Error::AlreadyLocked); // it would wait for a writer that waits for this thread
        }
        // Behind the writer that is there. With its lock in hand no other one can come.
        let locked = self.lock_writers(deadline)?;
        let slot = self.wait_for_slot(deadline, home, usable);
        self.writers.release(locked);
        crash_point!("rwlock.reader-in");
        Ok((slot?, locked.died()))
    }

    fn wait_for_slot(&self, deadline: Deadline, home: usize, usable: impl Fn(usize) -> bool) -> Result<usize> {
        let mut slices = Slices::new(deadline);
        loop {
            if let Some(slot) = self.take_slot(home, &usable)? {
                return Ok(slot);
            }
            if deadline.is_now() {
                return Err(Error::WouldBlock);
            }
            // All slots are taken: wait until one reader has left, but not long, as it may be another one that leaves.
            let limit = slices.limit().ok_or(Error::Timeout)?.min(LOOK_AROUND);
            let slot = &self.slots[home % N].0;
            match slot.lock_within(limit) {
                Taken::Clean => slot.unlock(),
                Taken::OwnerDied => {
                    slot.mark_consistent();
                    slot.unlock();
                }
                Taken::Busy | Taken::ByUs => {}
                Taken::Damaged => return Err(Error::Damaged(NO_SLOT)),
            }
        }
    }

    /// Takes any free slot. Not one that this thread has: that is somebody's guard.
    #[inline]
    fn take_slot(&self, home: usize, usable: impl Fn(usize) -> bool) -> Result<Option<usize>> {
        for slot in (0..N).map(|i| (home + i) % N) {
            let mutex = &self.slots[slot].0;
            match mutex.try_lock() {
                Taken::Clean => {}
                Taken::OwnerDied => mutex.mark_consistent(), // a reader changes nothing
                Taken::Busy | Taken::ByUs => continue,
                Taken::Damaged => return Err(Error::Damaged(NO_SLOT)),
            }
            if usable(slot) {
                return Ok(Some(slot));
            }
            mutex.unlock();
        }
        Ok(None)
    }

    /// Whether this thread is a reader.
    fn has_slot(&self) -> bool {
        self.slots.iter().any(|slot| match slot.0.try_lock() {
            Taken::ByUs => true,
            taken => {
                if taken == Taken::OwnerDied {
                    slot.0.mark_consistent();
                }
                if matches!(taken, Taken::Clean | Taken::OwnerDied) {
                    slot.0.unlock();
                }
                false
            }
        })
    }

    fn leave(&self, slot: usize) {
        self.slots[slot].0.unlock();
    }

    /// Comes in as the writer, unless a reader's slot is free though it is not `usable`.
    fn enter_writing(&self, deadline: Deadline, usable: impl Fn(usize) -> bool) -> Result<Locked> {
        let locked = self.lock_writers(deadline)?;
        self.phase.store(WAITING, Ordering::SeqCst);
        order();
        crash_point!("rwlock.writer-announced");
        if let Err(error) = self.wait_for_readers(deadline, usable) {
            self.phase.store(IDLE, Ordering::SeqCst);
            self.writers.release(locked);
            return Err(error);
        }
        self.phase.store(WRITING, Ordering::SeqCst);
        // What is written to the value must come after that also in the order of the instructions, which is what a kill respects.
        compiler_fence(Ordering::SeqCst);
        crash_point!("rwlock.writer-in");
        Ok(locked)
    }

    fn wait_for_readers(&self, deadline: Deadline, usable: impl Fn(usize) -> bool) -> Result<()> {
        let mut slices = Slices::new(deadline);
        let mut is_reader = None;
        for (n, slot) in self.slots.iter().enumerate() {
            let mut taken = slot.0.try_lock();
            while taken == Taken::Busy {
                // Before it waits for anybody: that one may wait for this thread.
                if *is_reader.get_or_insert_with(|| self.has_slot()) {
                    return Err(Error::AlreadyLocked);
                }
                if deadline.is_now() {
                    return Err(Error::WouldBlock);
                }
                taken = slot.0.lock_within(slices.limit().ok_or(Error::Timeout)?);
            }
            match taken {
                Taken::Clean => {}
                Taken::OwnerDied => slot.0.mark_consistent(),
                Taken::ByUs => return Err(Error::AlreadyLocked),
                Taken::Busy | Taken::Damaged => return Err(Error::Damaged(NO_SLOT)),
            }
            slot.0.unlock();
            if !usable(n) {
                return Err(Error::GuardForgotten);
            }
        }
        Ok(())
    }

    fn leave_writing(&self, locked: Locked) {
        compiler_fence(Ordering::SeqCst);
        self.writers.note_panic(locked); // before readers can come in, who are to be told
        self.phase.store(IDLE, Ordering::SeqCst);
        self.writers.release(locked);
    }

    /// Takes the writers' lock. Whatever phase is found then was left by a dead writer.
    fn lock_writers(&self, deadline: Deadline) -> Result<Locked> {
        let locked = self.writers.take(deadline, || self.phase.load(Ordering::SeqCst) == WRITING)?;
        self.phase.store(IDLE, Ordering::SeqCst);
        Ok(locked)
    }
}

impl<T: Pod> RwState<T> {
    fn init(view: &View<RwState<T>>, value: T) {
        view.core.init();
        view.data.init(value);
    }
}

impl<T: Pod> RwLock<T> {
    /// Makes a lock in memory of its own.
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn new(value: T) -> Result<RwLock<T>> {
        Ok(RwLock(Segment::of(0, |view| RwState::init(view, value))?))
    }

    /// How many bytes a lock takes in a segment.
    pub fn size() -> usize {
        Segment::space_for::<RwState<T>>(0)
    }

    /// Makes a lock in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// use ipc_sync::{RwLock, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(RwLock::<[u16; 2]>::size())?; // some 4 KiB: a place for each of 64 readers
    /// RwLock::create_in(&segment, 0, [1u16, 2])?.write()?[0] = 10;
    /// assert_eq!(*RwLock::<[u16; 2]>::open_in(&segment, 0)?.read()?, [10, 2]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, or the place does not lie in the segment.
    pub fn create_in(segment: &Segment, offset: usize, value: T) -> Result<RwLock<T>> {
        Ok(RwLock(segment.create(offset, 0, |view| RwState::init(view, value))?))
    }

    /// Opens the lock that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none, or it is around another type.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<RwLock<T>> {
        Ok(RwLock(segment.open(offset)?))
    }

    /// Comes in for reading; waits while a writer is there, or waits before us.
    ///
    /// # Errors
    /// [`Error::OwnerDied`] if a writer died while it wrote and nobody has repaired the value since: it is not taken.
    #[inline]
    pub fn read(&self) -> Result<ReadGuard<'_, T>> {
        self.read_until(Deadline::NEVER)
    }

    /// Comes in for reading if no writer is there or waits.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if one does; else as [`read`](RwLock::read).
    pub fn try_read(&self) -> Result<ReadGuard<'_, T>> {
        self.read_until(Deadline::NOW)
    }

    /// Comes in for reading; waits for `timeout` at most, also while a stopped process is in.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`read`](RwLock::read).
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadGuard<'_, T>> {
        self.read_until(Deadline::after(timeout))
    }

    /// Comes in for writing; waits until everybody else is out.
    ///
    /// # Errors
    /// [`Error::OwnerDied`] if a writer died while it wrote and nobody has repaired the value since: it is not taken.
    pub fn write(&self) -> Result<WriteGuard<'_, T>> {
        self.write_until(Deadline::NEVER)
    }

    /// Comes in for writing if nobody else is in.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if somebody is; else as [`write`](RwLock::write).
    pub fn try_write(&self) -> Result<WriteGuard<'_, T>> {
        self.write_until(Deadline::NOW)
    }

    /// Comes in for writing; waits for `timeout` at most, also while a stopped process is in.
    ///
    /// ```
    /// use ipc_sync::RwLock;
    /// use std::{thread, time::Duration};
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let limits = RwLock::new([0u32, 100])?;
    /// let soon = Duration::from_millis(10);
    /// let reader = limits.read()?;
    /// thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         assert!(limits.try_read().is_ok() && limits.read_timeout(soon).is_ok()); // beside the other reader
    ///         assert!(limits.try_write().unwrap_err().is_would_block());
    ///         assert!(limits.write_timeout(soon).unwrap_err().is_timeout());
    ///     });
    /// });
    /// drop(reader);
    /// limits.write()?[1] = 200;
    /// assert_eq!(*limits.read()?, [0, 200]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`write`](RwLock::write).
    pub fn write_timeout(&self, timeout: Duration) -> Result<WriteGuard<'_, T>> {
        self.write_until(Deadline::after(timeout))
    }

    /// Comes in for writing, and has the value repaired if a writer died while it wrote: see
    /// [`Mutex::lock_or_repair`](crate::Mutex::lock_or_repair).
    ///
    /// ```
    /// use ipc_sync::{Process, RwLock};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let range = RwLock::new([0u32, 10])?;
    /// let victim: Process<()> = Process::spawn(
    ///     |range: RwLock<[u32; 2]>| {
    ///         range.write().unwrap()[0] = 20;
    ///         let _writing = range.write().unwrap();
    ///         std::process::abort();
    ///     },
    ///     range.clone(),
    /// )?;
    /// victim.join().unwrap_err();
    ///
    /// assert!(range.read().unwrap_err().is_owner_died()); // readers are told, too
    /// assert!(range.try_write_or_repair(|_range, _pid| false).is_err()); // not repaired
    /// let repaired = range.write_or_repair_timeout(std::time::Duration::from_millis(50), |range, _pid| {
    ///     range.sort();
    ///     true
    /// })?;
    /// assert_eq!(*repaired, [10, 20]);
    /// drop(repaired);
    /// assert!(range.write_or_repair(|_range, _pid| unreachable!()).is_ok());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OwnerDied`] if `repair` returns false. The value stays marked, also if `repair` panics.
    pub fn write_or_repair(&self, repair: impl FnOnce(&mut T, Option<u32>) -> bool) -> Result<WriteGuard<'_, T>> {
        self.write_or_repair_until(Deadline::NEVER, repair)
    }

    /// As [`write_or_repair`](RwLock::write_or_repair), if nobody else is in.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if somebody is.
    pub fn try_write_or_repair(&self, repair: impl FnOnce(&mut T, Option<u32>) -> bool) -> Result<WriteGuard<'_, T>> {
        self.write_or_repair_until(Deadline::NOW, repair)
    }

    /// As [`write_or_repair`](RwLock::write_or_repair), but waits for `timeout` at most.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn write_or_repair_timeout(
        &self,
        timeout: Duration,
        repair: impl FnOnce(&mut T, Option<u32>) -> bool,
    ) -> Result<WriteGuard<'_, T>> {
        self.write_or_repair_until(Deadline::after(timeout), repair)
    }

    #[inline]
    fn read_until(&self, deadline: Deadline) -> Result<ReadGuard<'_, T>> {
        let (segment, local) = (self.0.segment(), self.0.local());
        segment.check_fork()?;
        held::enter()?;
        let entered = self.0.core.enter(deadline, home(), |slot| !local.is_marked(slot));
        let (slot, died) = entered.inspect_err(|_| held::leave())?;
        // A writer of this process takes its mark away before readers come in.
        if local.is_marked(WRITER) {
            self.0.core.leave(slot);
            held::leave();
            return Err(Error::GuardForgotten);
        }
        local.mark(slot);
        let guard = ReadGuard { lock: self, slot, not_send: PhantomData };
        match died {
            None => Ok(guard),
            Some(died) => Err(died.into()),
        }
    }

    fn write_until(&self, deadline: Deadline) -> Result<WriteGuard<'_, T>> {
        let guard = self.take_writing(deadline)?;
        match guard.locked.died() {
            None => Ok(guard),
            Some(died) => Err(died.into()),
        }
    }

    fn write_or_repair_until(
        &self,
        deadline: Deadline,
        repair: impl FnOnce(&mut T, Option<u32>) -> bool,
    ) -> Result<WriteGuard<'_, T>> {
        let mut guard = self.take_writing(deadline)?;
        if let Some(died) = guard.locked.died() {
            let is_sound = repair(&mut guard, died.pid);
            self.0.segment().check_fork()?;
            if !is_sound {
                return Err(died.into());
            }
            self.0.core.writers.mark_repaired();
        }
        Ok(guard)
    }

    fn take_writing(&self, deadline: Deadline) -> Result<WriteGuard<'_, T>> {
        let (segment, local) = (self.0.segment(), self.0.local());
        segment.check_fork()?;
        held::enter()?;
        let entered = self.0.core.enter_writing(deadline, |slot| !local.is_marked(slot));
        let locked = entered.inspect_err(|_| held::leave())?;
        if local.is_marked(WRITER) {
            self.0.core.leave_writing(locked);
            held::leave();
            return Err(Error::GuardForgotten);
        }
        local.mark(WRITER);
        Ok(WriteGuard { lock: self, locked, not_send: PhantomData })
    }
}

/// The slot at which this thread begins to look, so that most readers find theirs free.
fn home() -> usize {
    static THREADS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    thread_local! {
        static HOME: usize = (std::process::id() as usize)
            .wrapping_mul(7)
            .wrapping_add(THREADS.fetch_add(1, Ordering::Relaxed));
    }
    HOME.with(|home| home % SLOTS)
}

impl<T: Pod> Clone for RwLock<T> {
    fn clone(&self) -> RwLock<T> {
        RwLock(self.0.clone())
    }
}

impl<T: Pod> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RwLock").field(&self.0.core.writers).finish()
    }
}

/// The right to read the value of an [`RwLock`], until it is dropped. It stays in its thread.
///
/// ```
/// # fn main() -> ipc_sync::Result<()> {
/// let names = ipc_sync::RwLock::new([*b"one", *b"two"])?;
/// let (a, b) = (names.read()?, names.read()?); // several at a time, also in one thread, as long as no writer waits
/// assert_eq!(a[0], b[0]);
/// # Ok(()) }
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct ReadGuard<'a, T: Pod> {
    lock: &'a RwLock<T>,
    slot: usize,
    not_send: PhantomData<*const ()>,
}

impl<T: Pod> ReadGuard<'_, T> {
    #[inline]
    pub(crate) fn state(&self) -> &RwState<T> {
        &self.lock.0
    }
}

impl<T: Pod> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.0.local().unmark(self.slot);
        if self.lock.0.segment().is_original() {
            self.lock.0.core.leave(self.slot);
        }
        held::leave();
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The right to change the value of an [`RwLock`], until it is dropped. It stays in its thread.
///
/// ```
/// # fn main() -> ipc_sync::Result<()> {
/// let pair = ipc_sync::RwLock::new([1u32, 2])?;
/// pair.write()?.swap(0, 1); // readers come in again when the guard is dropped, here at the end of the statement
/// assert_eq!(*pair.read()?, [2, 1]);
/// # Ok(()) }
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct WriteGuard<'a, T: Pod> {
    lock: &'a RwLock<T>,
    locked: Locked,
    not_send: PhantomData<*const ()>,
}

impl<T: Pod> WriteGuard<'_, T> {
    #[inline]
    pub(crate) fn state(&self) -> &RwState<T> {
        &self.lock.0
    }
}

impl<T: Pod> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.0.local().unmark(WRITER);
        if self.lock.0.segment().is_original() {
            self.lock.0.core.leave_writing(self.locked);
        }
        held::leave();
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(all(test, loom))]
#[path = "model/rwlock.rs"]
mod checks;
