//! Waiting for a change of what a mutex protects.

use std::fmt;
use std::time::Duration;

use bytemuck::Pod;
use ipc_core::{Deadline, Segment, View, crash_point};
use serde::{Deserialize, Serialize};

use crate::presence::give_up_alone;
use crate::word::{Slices, Ticket, WaitWord};
use crate::{Error, MutexGuard, Result};

/// How much longer than its time-out a wait may take to get the mutex back.
const GRACE: Duration = Duration::from_millis(100);

/// Where those wait who have a [`Mutex`](crate::Mutex) but find that its value is not as they need it.
///
/// ```
/// use ipc_sync::{Condvar, Mutex, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (stock, changed) = (Mutex::new(0u32)?, Condvar::new()?);
/// let child = Process::spawn(
///     |(stock, changed): (Mutex<u32>, Condvar)| {
///         *stock.lock().unwrap() += 5;
///         changed.notify_one().unwrap();
///     },
///     (stock.clone(), changed.clone()),
/// )?;
/// let guard = changed.wait_while(stock.lock()?, |stock| *stock < 5)?;
/// assert_eq!(*guard, 5);
/// # drop(guard);
/// child.join()?;
/// # Ok(()) }
/// ```
///
/// As everywhere a wait can end without a reason (here it does after 25 ms, later 90 ms, at the latest), and
/// [`notify_one`](Condvar::notify_one) may wake several: so look at the value again, or use [`wait_while`](Condvar::wait_while). All who
/// wait must use the same mutex.
///
/// # When a process dies
///
/// Notifying never waits for those who sleep, so dead ones hold up nobody. If the one who changed the value is killed before it has
/// notified, the others find out within 25 ms, or 90 ms if they have waited for long. A wait returns, without the mutex,
/// [`Error::OwnerDied`] if somebody died with that, and [`Error::Abandoned`] when nobody else has the condition variable any more: no other
/// process, no message that is on its way, and no other handle in this process. So give threads that are to notify a handle of their own. A
/// process that keeps a handle which it does not need keeps the others waiting: give the last one away. An object that never left its
/// process is never abandoned, as its threads may have it by reference.
///
/// # References
/// pthread_cond_wait(3), futex(2); CPython `multiprocessing.Condition`, whose `notify` hangs if a sleeper was killed.
#[doc(alias = "Condition")]
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Condvar(View<CondvarState>);

#[repr(C)]
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
pub(crate) struct CondvarState {
    notified: WaitWord,
    unused: std::sync::atomic::AtomicU32,
}

impl Condvar {
    /// Makes a condition variable in memory of its own.
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn new() -> Result<Condvar> {
        Ok(Condvar(Segment::of(0, |_| ())?))
    }

    /// How many bytes a condition variable takes in a segment.
    pub fn size() -> usize {
        Segment::space_for::<CondvarState>(0)
    }

    /// Makes a condition variable in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// use ipc_sync::{Condvar, Mutex, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Beside its mutex.
    /// let changed_at = Mutex::<u32>::size().next_multiple_of(Segment::ALIGNMENT);
    /// let segment = Segment::anonymous(changed_at + Condvar::size())?;
    /// let (count, changed) = (Mutex::create_in(&segment, 0, 1u32)?, Condvar::create_in(&segment, changed_at)?);
    /// *count.lock()? += 1;
    /// changed.notify_all()?;
    /// let theirs = Condvar::open_in(&segment, changed_at)?;
    /// assert_eq!(*theirs.wait_while(count.lock()?, |count| *count < 2)?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, or the place does not lie in the segment.
    pub fn create_in(segment: &Segment, offset: usize) -> Result<Condvar> {
        Ok(Condvar(segment.create(offset, 0, |_| ())?))
    }

    /// Opens the condition variable that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<Condvar> {
        Ok(Condvar(segment.open(offset)?))
    }

    /// Releases the mutex, waits until somebody notifies, for 25 ms at most, and takes the mutex again. What is notified after this thread
    /// took the mutex is not missed.
    ///
    /// ```
    /// use ipc_sync::{Condvar, Mutex};
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let (open, changed) = (Mutex::new(0u8)?, Condvar::new()?);
    /// let theirs = (open.clone(), changed.clone()); // handles of its own for the thread that notifies
    /// let porter = std::thread::spawn(move || {
    ///     *theirs.0.lock().unwrap() = 1;
    ///     theirs.1.notify_all().unwrap();
    /// });
    /// let mut guard = open.lock()?;
    /// while *guard == 0 {
    ///     guard = changed.wait(guard)?; // may return early: hence the loop
    /// }
    /// # drop(guard);
    /// # porter.join().unwrap();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OwnerDied`], [`Error::Abandoned`]; in each case the mutex is not taken.
    pub fn wait<'a, T: Pod>(&self, guard: MutexGuard<'a, T>) -> Result<MutexGuard<'a, T>> {
        self.wait_nth(guard, Deadline::NEVER, 0).map(|(guard, _)| guard)
    }

    /// As [`wait`](Condvar::wait), for `timeout` at most; also tells whether the time passed. To get the mutex back may take up to 100 ms
    /// longer.
    ///
    /// ```
    /// use ipc_sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let (jobs, changed) = (Mutex::new(0u32)?, Condvar::new()?);
    /// let (mut guard, mut is_late) = (jobs.lock()?, false);
    /// while *guard == 0 && !is_late {
    ///     (guard, is_late) = changed.wait_timeout(guard, Duration::from_millis(20))?;
    /// }
    /// assert!(is_late); // and the mutex is taken
    /// assert_eq!(*guard, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Condvar::wait); [`Error::Timeout`] if the mutex could not be had, which then is not taken.
    pub fn wait_timeout<'a, T: Pod>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> Result<(MutexGuard<'a, T>, bool)> {
        self.wait_nth(guard, Deadline::after(timeout), 0)
    }

    /// Waits as long as `condition` says so, which is asked with the mutex taken.
    ///
    /// ```
    /// use ipc_sync::{Condvar, Mutex, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (stock, changed) = (Mutex::new(0u32)?, Condvar::new()?);
    /// let dead: Process<()> =
    ///     Process::spawn(|_both: (Mutex<u32>, Condvar)| std::process::abort(), (stock.clone(), changed.clone()))?;
    /// // Whoever could have filled the stock is gone.
    /// assert!(changed.wait_while(stock.lock()?, |stock| *stock == 0).unwrap_err().is_abandoned());
    /// dead.join().unwrap_err();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Condvar::wait).
    #[doc(alias = "wait_for")]
    pub fn wait_while<'a, T: Pod>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<MutexGuard<'a, T>> {
        let mut rounds = 0..;
        while condition(&mut guard) {
            (guard, _) = self.wait_nth(guard, Deadline::NEVER, rounds.next().unwrap_or(u32::MAX))?;
        }
        Ok(guard)
    }

    /// As [`wait_while`](Condvar::wait_while), for `timeout` at most; also tells whether the time passed and the condition still says to
    /// wait.
    ///
    /// ```
    /// use ipc_sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let (stock, changed) = (Mutex::new(3u32)?, Condvar::new()?);
    /// let soon = Duration::from_millis(10);
    /// let (guard, in_vain) = changed.wait_timeout_while(stock.lock()?, soon, |stock| *stock < 5)?;
    /// assert!(in_vain);
    /// assert_eq!(*guard, 3);
    /// let (_guard, in_vain) = changed.wait_timeout_while(guard, soon, |stock| *stock < 3)?;
    /// assert!(!in_vain); // there are enough already: no wait
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`wait_timeout`](Condvar::wait_timeout).
    pub fn wait_timeout_while<'a, T: Pod>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<(MutexGuard<'a, T>, bool)> {
        let deadline = Deadline::after(timeout);
        let (mut late, mut rounds) = (false, 0..);
        while condition(&mut guard) {
            if late {
                return Ok((guard, true));
            }
            (guard, late) = self.wait_nth(guard, deadline, rounds.next().unwrap_or(u32::MAX))?;
        }
        Ok((guard, false))
    }

    /// The `n`-th wait in a row of one caller.
    fn wait_nth<'a, T: Pod>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Deadline,
        n: u32,
    ) -> Result<(MutexGuard<'a, T>, bool)> {
        let mutex = guard.mutex();
        let late = match self.sleep(guard, Slices::after(n, deadline)) {
            Ok(()) => false,
            Err(Error::Timeout) => true,
            Err(error) => return Err(error),
        };
        let back = deadline.remaining().map_or(Deadline::NEVER, |left| Deadline::after(left.saturating_add(GRACE)));
        Ok((mutex.lock_until(back)?, late))
    }

    /// Announces this thread, releases the mutex, and sleeps until somebody notifies, or a slice is over.
    fn sleep<T: Pod>(&self, guard: MutexGuard<'_, T>, slices: Slices) -> Result<()> {
        self.0.segment().check_fork()?;
        // Asked here, with the mutex, and not after the sleep: if nobody else has it now, nobody can change what the caller has just
        // seen, while one who is gone after the sleep may have done so before.
        give_up_alone(&self.0)?;
        let ticket = self.0.notified.prepare();
        crash_point!("condvar.registered");
        drop(guard);
        crash_point!("condvar.released");
        self.0.sleep(ticket, slices)
    }

    /// Wakes somebody who waits, if anybody does. Several may wake up: it wakes all, as the one that it would choose could be
    /// killed before it gets to run.
    ///
    /// Change the value under the mutex before; to release the mutex first spares the woken ones a wait.
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[doc(alias = "notify")]
    pub fn notify_one(&self) -> Result<()> {
        self.notify_all()
    }

    /// Wakes everybody who waits.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn notify_all(&self) -> Result<()> {
        self.0.segment().check_fork()?;
        self.0.notified.wake();
        Ok(())
    }
}

impl CondvarState {
    fn sleep(&self, ticket: Ticket, mut slices: Slices) -> Result<()> {
        // Once only: who changed the value may have been killed before it notified, or with the mutex. So a slice ends the wait.
        if self.notified.is_current(ticket) {
            self.notified.sleep(ticket, slices.limit().ok_or(Error::Timeout)?);
            if self.notified.is_current(ticket) {
                slices.limit().ok_or(Error::Timeout)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
#[path = "model/condvar.rs"]
mod checks;
