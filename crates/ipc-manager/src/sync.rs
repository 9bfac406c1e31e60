//! Semaphores, events, barriers.

use std::time::Duration;

use crate::error::Result;
use crate::protocol::{Answer, Op};
use crate::proxy::{Proxy, proxy};
use crate::session::{Waiting, done, flag, number, unexpected};

proxy! {
    /// So many permits in the server. Made by [`Manager::semaphore`](crate::Manager::semaphore).
    ///
    /// Permits belong to the process that has acquired them, and come back at once when it is killed or cut off. There are never more than there were: it is also
    /// Python's `BoundedSemaphore`.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let seats = manager.semaphore(2)?;
    /// let one = seats.acquire()?;
    /// let _two = seats.acquire()?;
    /// assert!(seats.try_acquire().is_err_and(|e| e.is_would_block()));
    /// drop(one);
    /// assert_eq!(seats.available()?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `threading.BoundedSemaphore` in a manager, whose permits are lost with their owner.
    Semaphore
}

/// What Python calls a semaphore that cannot have more permits than at first. All are.
pub type BoundedSemaphore = Semaphore;

/// A permit, given back when this is dropped.
///
/// ```
/// use ipc_manager::{Error, Manager};
///
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = Manager::start()?;
/// let seats = manager.semaphore(1)?;
/// drop(seats.acquire()?); // given back
/// seats.acquire()?.keep(); // for this process, as Python's `acquire` does
/// assert_eq!(seats.available()?, 0);
/// seats.release()?;
/// assert!(matches!(seats.release(), Err(Error::NotHeld))); // there are never more than there were
/// # Ok(()) }
/// ```
#[must_use = "dropped at once, the permit is free again"]
#[derive(Debug)]
pub struct Permit<'a> {
    proxy: &'a Proxy,
}

impl Permit<'_> {
    /// Keeps the permit for this process, until [`Semaphore::release`] or the process's end.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let _ = self.proxy.call(Op::GivePermit, done);
    }
}

impl Semaphore {
    /// Takes a permit; waits for one.
    ///
    /// ```
    /// use ipc_manager::{Manager, Process, Semaphore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let seats = manager.semaphore(1)?;
    /// let child = Process::spawn(|seats: Semaphore| seats.acquire().unwrap().keep(), seats.clone())?;
    /// child.join()?; // it has ended with the permit
    /// let _seat = seats.acquire()?; // which has come back
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Disconnected`](crate::Error::Disconnected).
    pub fn acquire(&self) -> Result<Permit<'_>> {
        self.acquire_by(Waiting::FOR_EVER)
    }

    /// As [`acquire`](Semaphore::acquire), but does not wait.
    ///
    /// # Errors
    /// [`Error::WouldBlock`](crate::Error::WouldBlock): none is free. Else as `acquire`.
    pub fn try_acquire(&self) -> Result<Permit<'_>> {
        self.acquire_by(Waiting::No)
    }

    /// As [`acquire`](Semaphore::acquire), but waits no longer than `timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let seats = manager.semaphore(1)?;
    /// let seat = seats.acquire_timeout(Duration::from_secs(10))?;
    /// assert!(seats.acquire_timeout(Duration::from_millis(1)).is_err_and(|error| error.is_timeout()));
    /// drop(seat);
    /// seats.try_acquire()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout). Else as `acquire`.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>> {
        self.acquire_by(Waiting::within(timeout))
    }

    fn acquire_by(&self, waiting: Waiting) -> Result<Permit<'_>> {
        self.proxy.wait(Op::TakePermit { wait: waiting.may_wait() }, waiting, |answer| match answer {
            Answer::Granted { .. } => Ok(Permit { proxy: &self.proxy }),
            other => Err(unexpected(other)),
        })
    }

    /// Gives back a permit that was [kept](Permit::keep).
    ///
    /// # Errors
    /// [`Error::NotHeld`](crate::Error::NotHeld): this process has none.
    pub fn release(&self) -> Result<()> {
        self.proxy.call(Op::GivePermit, done)
    }

    /// How many permits are free.
    pub fn available(&self) -> Result<u64> {
        self.proxy.call(Op::Len, number)
    }
}

proxy! {
    /// Something that has happened or not. Made by [`Manager::event`](crate::Manager::event).
    ///
    /// ```
    /// use ipc_manager::{Event, Manager, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let ready = manager.event()?;
    /// let child = Process::spawn(|ready: Event| ready.set().map_err(|e| e.to_string()), ready.clone())?;
    /// ready.wait()?;
    /// assert!(ready.is_set()?);
    /// child.join()??;
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `threading.Event` in a manager.
    Event
}

impl Event {
    /// It has happened: all who wait go on.
    pub fn set(&self) -> Result<()> {
        self.proxy.call(Op::Raise, done)
    }

    /// It has not happened yet.
    pub fn clear(&self) -> Result<()> {
        self.proxy.call(Op::Lower, done)
    }

    /// Whether it has happened.
    pub fn is_set(&self) -> Result<bool> {
        self.proxy.call(Op::IsRaised, flag)
    }

    /// Waits until it has happened. If everybody who could set it is gone, that is never: use a time-out.
    ///
    /// # Errors
    /// [`Error::Disconnected`](crate::Error::Disconnected).
    pub fn wait(&self) -> Result<()> {
        self.proxy.wait(Op::Await, Waiting::FOR_EVER, done)
    }

    /// As [`wait`](Event::wait), but waits no longer than `timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let ready = manager.event()?;
    /// assert!(ready.wait_timeout(Duration::from_millis(1)).is_err_and(|error| error.is_timeout()));
    /// ready.set()?;
    /// ready.wait_timeout(Duration::from_secs(10))?; // it stays so, also for who comes late
    /// ready.clear()?;
    /// assert!(!ready.is_set()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout). Else as `wait`.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        self.proxy.wait(Op::Await, Waiting::within(timeout), done)
    }
}

proxy! {
    /// A point at which so many threads or processes wait for each other. Made by [`Manager::barrier`](crate::Manager::barrier).
    ///
    /// It breaks for all when one gives up waiting, and when a process that has taken part dies, or ends: [`Error::Broken`](crate::Error::Broken).
    ///
    /// ```
    /// use ipc_manager::{Barrier, Manager, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let meeting = manager.barrier(2)?;
    /// let child = Process::spawn(|meeting: Barrier| meeting.wait().map_err(|e| e.to_string()), meeting.clone())?;
    /// let ours = meeting.wait()?;
    /// assert_eq!(ours + child.join()??, 1); // 0 and 1
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `threading.Barrier` in a manager.
    Barrier
}

impl Barrier {
    /// Waits until all are there, and returns as how many-th this one came, from 0.
    ///
    /// ```
    /// use ipc_manager::{Barrier, Error, Manager, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let meeting = manager.barrier(2)?;
    /// let child = Process::spawn(|meeting: Barrier| meeting.wait().is_ok(), meeting.clone())?;
    /// meeting.wait()?;
    /// assert!(child.join()?); // it has taken part, and is gone
    /// assert!(matches!(meeting.wait(), Err(Error::Broken { by_death: true })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Broken`](crate::Error::Broken), [`Error::Disconnected`](crate::Error::Disconnected).
    pub fn wait(&self) -> Result<usize> {
        self.wait_by(Waiting::FOR_EVER)
    }

    /// As [`wait`](Barrier::wait), but waits no longer than `timeout`; then the barrier is broken, unless all have come at that moment and the server was
    /// too slow to say so.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ipc_manager::{Error, Manager};
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::start()?;
    /// let meeting = manager.barrier(2)?;
    /// assert_eq!((meeting.parties()?, meeting.waiting()?), (2, 0));
    /// assert!(meeting.wait_timeout(Duration::from_millis(1)).is_err_and(|error| error.is_timeout()));
    /// assert!(meeting.is_broken()?); // also for who comes now
    /// assert!(matches!(meeting.wait(), Err(Error::Broken { by_death: false })));
    /// meeting.reset()?;
    /// assert!(!meeting.is_broken()?);
    /// meeting.abort()?;
    /// assert!(meeting.wait().is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout). Else as `wait`.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize> {
        self.wait_by(Waiting::within(timeout))
    }

    fn wait_by(&self, waiting: Waiting) -> Result<usize> {
        self.proxy.wait(Op::Meet, waiting, number).map(|n| n as usize)
    }

    /// Breaks it: all who wait, or come, get an error.
    pub fn abort(&self) -> Result<()> {
        self.proxy.call(Op::Abort, done)
    }

    /// Makes it whole again; who waits gets an error.
    pub fn reset(&self) -> Result<()> {
        self.proxy.call(Op::Reset, done)
    }

    /// How many it is for.
    pub fn parties(&self) -> Result<usize> {
        self.proxy.call(Op::Capacity, number).map(|n| n as usize)
    }

    /// How many wait.
    #[doc(alias = "n_waiting")]
    pub fn waiting(&self) -> Result<usize> {
        self.proxy.call(Op::Len, number).map(|n| n as usize)
    }

    /// Whether it is broken.
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> Result<bool> {
        self.proxy.call(Op::IsRaised, flag)
    }
}
