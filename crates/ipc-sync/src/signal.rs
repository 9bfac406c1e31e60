//! A semaphore for handing over.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipc_core::{Deadline, Segment, View, crash_point};
use serde::{Deserialize, Serialize};

use crate::presence::give_up_alone;
use crate::shim::AtomicU32;
use crate::word::WaitWord;
use crate::{Error, Result};

/// A count that some raise and others wait for: "so many things are ready". Made by
/// [`Semaphore::signal`](crate::Semaphore::signal).
///
/// Nobody owns a count, so nothing comes back: what a process has released stays released, what it has acquired is used up, also
/// if it dies.
///
/// ```
/// use ipc_sync::{Process, Semaphore, Signal};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ready = Semaphore::signal(0)?;
/// let child = Process::spawn(|ready: Signal| ready.release().unwrap(), ready.clone())?;
/// ready.acquire()?; // until the child has got so far
/// child.join()?;
/// # Ok(()) }
/// ```
///
/// # When a process dies
///
/// Who waits without a limit gets [`Error::Abandoned`] when nobody else has the signal any more: no other process, no message
/// that is on its way, and no other handle in this process. So give threads that are to release it a handle of their own. A
/// process that keeps a handle which it does not need keeps the others waiting: give the last one away. An object that never left
/// its process is never abandoned, as its threads may have it by reference.
///
/// # References
/// sem_overview(7); CPython `multiprocessing.Semaphore(0)`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signal(View<SignalState>);

#[repr(C)]
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
pub(crate) struct SignalState {
    count: AtomicU32,
    raised: WaitWord,
}

impl Signal {
    /// The highest count: 2³¹ − 1.
    pub const MAX: u32 = i32::MAX as u32;

    pub(crate) fn new(initial: u32) -> Result<Signal> {
        in_range(initial)?;
        Ok(Signal(Segment::of(0, |view: &View<SignalState>| view.count.store(initial, Ordering::Relaxed))?))
    }

    /// How many bytes a signal takes in a segment.
    pub fn size() -> usize {
        Segment::space_for::<SignalState>(0)
    }

    /// Makes a signal in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// use ipc_sync::{Segment, Signal};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Whose turn it is, of two: each waits for its own signal and releases the other one's.
    /// let second = Signal::size().next_multiple_of(Segment::ALIGNMENT);
    /// let segment = Segment::anonymous(second + Signal::size())?;
    /// let (ping, pong) = (Signal::create_in(&segment, 0, 1)?, Signal::create_in(&segment, second, 0)?);
    /// ping.acquire()?;
    /// pong.release()?;
    /// assert_eq!(Signal::open_in(&segment, second)?.value()?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, the place does not lie in the segment, or [`Error::OutOfRange`].
    pub fn create_in(segment: &Segment, offset: usize, initial: u32) -> Result<Signal> {
        in_range(initial)?;
        let init = |view: &View<SignalState>| view.count.store(initial, Ordering::Relaxed);
        Ok(Signal(segment.create(offset, 0, init)?))
    }

    /// Opens the signal that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<Signal> {
        Ok(Signal(segment.open(offset)?))
    }

    /// Takes one from the count; waits until there is one.
    ///
    /// ```
    /// use ipc_sync::{Process, Semaphore, Signal};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ready = Semaphore::signal(0)?;
    /// let dead: Process<()> = Process::spawn(|_ready: Signal| std::process::abort(), ready.clone())?;
    /// assert!(ready.acquire().unwrap_err().is_abandoned()); // nobody is left who could release it
    /// dead.join().unwrap_err();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Abandoned`] if nobody is left who could release one.
    #[doc(alias = "sem_wait")]
    pub fn acquire(&self) -> Result<()> {
        self.acquire_until(Deadline::NEVER)
    }

    /// Takes one from the count if it is not 0.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if it is.
    #[doc(alias = "sem_trywait")]
    pub fn try_acquire(&self) -> Result<()> {
        self.acquire_until(Deadline::NOW)
    }

    /// Takes one from the count; waits for `timeout` at most.
    ///
    /// ```
    /// use ipc_sync::Semaphore;
    /// use std::time::Duration;
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let items = Semaphore::signal(1)?;
    /// items.try_acquire()?;
    /// assert!(items.try_acquire().unwrap_err().is_would_block());
    /// assert!(items.acquire_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Abandoned`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<()> {
        self.acquire_until(Deadline::after(timeout))
    }

    fn acquire_until(&self, deadline: Deadline) -> Result<()> {
        self.0.segment().check_fork()?;
        self.0.acquire(deadline, || give_up_alone(&self.0))?;
        crash_point!("signal.taken");
        Ok(())
    }

    /// Raises the count by one, and wakes who waits. Never waits.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the count would exceed [`MAX`](Signal::MAX): nothing has changed.
    #[doc(alias = "sem_post")]
    pub fn release(&self) -> Result<()> {
        self.release_many(1)
    }

    /// Raises the count by `n` in one step.
    ///
    /// ```
    /// use ipc_sync::{Error, Semaphore, Signal};
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let items = Semaphore::signal(0)?;
    /// items.release_many(3)?; // three are ready: up to three waiters go on
    /// items.acquire()?;
    /// assert_eq!(items.value()?, 2);
    /// assert!(matches!(items.release_many(Signal::MAX), Err(Error::OutOfRange { .. })));
    /// assert_eq!(items.value()?, 2); // nothing has changed
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`release`](Signal::release).
    pub fn release_many(&self, n: u32) -> Result<()> {
        self.0.segment().check_fork()?;
        self.0.release(n)
    }

    /// The count, as it was just now.
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[doc(alias = "get_value")]
    pub fn value(&self) -> Result<u32> {
        self.0.segment().check_fork()?;
        Ok(self.0.count.load(Ordering::Relaxed))
    }
}

fn in_range(count: u32) -> Result<()> {
    let max = Signal::MAX;
    if count > max { Err(Error::OutOfRange { what: "the count of a signal", min: 0, max }) } else { Ok(()) }
}

impl SignalState {
    fn acquire(&self, deadline: Deadline, check: impl FnMut() -> Result<()>) -> Result<()> {
        self.raised.wait(deadline, || Ok(self.take()), check)
    }

    fn take(&self) -> Option<()> {
        let mut count = self.count.load(Ordering::SeqCst);
        while count > 0 {
            match self.count.compare_exchange(count, count - 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Some(()),
                Err(now) => count = now,
            }
        }
        None
    }

    fn release(&self, n: u32) -> Result<()> {
        let mut count = self.count.load(Ordering::SeqCst);
        loop {
            let more = count.saturating_add(n);
            in_range(more)?;
            match self.count.compare_exchange(count, more, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => break,
                Err(now) => count = now,
            }
        }
        crash_point!("signal.added");
        self.raised.wake();
        Ok(())
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("count", &self.0.count).finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
#[path = "model/signal.rs"]
mod checks;
