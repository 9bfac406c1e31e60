//! A flag to wait for.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipc_core::{Deadline, Segment, View, crash_point};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::presence::give_up_alone;
use crate::shim::AtomicU32;
use crate::word::WaitWord;

/// A flag that one sets and others wait for.
///
/// ```
/// use ipc_sync::{Event, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let go = Event::new()?;
/// let child = Process::spawn(|go: Event| go.wait().is_ok(), go.clone())?;
/// go.set()?;
/// assert!(child.join()?);
/// # Ok(()) }
/// ```
///
/// Who waits when it is set goes on, even if it is cleared at once: set and clear as a pulse wake everybody who was waiting.
///
/// # When a process dies
///
/// Setting and clearing are single steps. If the one who sets it is killed before it has woken the others, they find out within 25 ms, or
/// 90 ms if they have waited for long. Who waits gets [`Error::Abandoned`](crate::Error::Abandoned) when nobody else has the event any
/// more: no other process, no message that is on its way, and no other handle in this process. So give threads that are to set it a handle
/// of their own. A process that keeps a handle which it does not need keeps the others waiting: give the last one away. An object that
/// never left its process is never abandoned, as its threads may have it by reference.
///
/// # References
/// futex(2); CPython `multiprocessing.Event`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Event(View<EventState>);

#[repr(C)]
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
pub(crate) struct EventState {
    /// Bit 0: it is set. The others count how often it was set.
    flag: AtomicU32,
    changed: WaitWord,
}

const SET: u32 = 1;
const ROUND: u32 = 2;

impl Event {
    /// Makes an event that is not set, in memory of its own.
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn new() -> Result<Event> {
        Ok(Event(Segment::of(0, |_| ())?))
    }

    /// How many bytes an event takes in a segment.
    pub fn size() -> usize {
        Segment::space_for::<EventState>(0)
    }

    /// Makes an event in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// use ipc_sync::{Event, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(Event::size())?;
    /// Event::create_in(&segment, 0)?.set()?;
    /// assert!(Event::open_in(&segment, 0)?.is_set()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, or the place does not lie in the segment.
    pub fn create_in(segment: &Segment, offset: usize) -> Result<Event> {
        Ok(Event(segment.create(offset, 0, |view: &View<EventState>| view.flag.store(0, Ordering::Relaxed))?))
    }

    /// Opens the event that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<Event> {
        Ok(Event(segment.open(offset)?))
    }

    /// Sets it, and wakes everybody who waits. Never waits for them.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    pub fn set(&self) -> Result<()> {
        self.0.segment().check_fork()?;
        self.0.set();
        Ok(())
    }

    /// Clears it: from now on [`wait`](Event::wait) waits again.
    ///
    /// ```
    /// # fn main() -> ipc_sync::Result<()> {
    /// let go = ipc_sync::Event::new()?;
    /// go.set()?;
    /// go.wait()?; // at once, as often as it is asked
    /// assert!(go.is_set()?);
    /// go.clear()?;
    /// assert!(!go.is_set()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    pub fn clear(&self) -> Result<()> {
        self.0.segment().check_fork()?;
        self.0.clear();
        Ok(())
    }

    /// Whether it is set.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    pub fn is_set(&self) -> Result<bool> {
        self.0.segment().check_fork()?;
        Ok(self.0.flag.load(Ordering::SeqCst) & SET != 0)
    }

    /// Waits until it is set, or returns at once if it is.
    ///
    /// ```
    /// use ipc_sync::{Event, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let go = Event::new()?;
    /// let starter: Process<()> = Process::spawn(|_go: Event| std::process::abort(), go.clone())?;
    /// assert!(go.wait().unwrap_err().is_abandoned()); // nobody is left who could set it
    /// starter.join().unwrap_err();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Abandoned`](crate::Error::Abandoned) if nobody is left who could set it.
    pub fn wait(&self) -> Result<()> {
        self.wait_until(Deadline::NEVER)
    }

    /// Waits until it is set, for `timeout` at most.
    ///
    /// ```
    /// # fn main() -> ipc_sync::Result<()> {
    /// let go = ipc_sync::Event::new()?;
    /// assert!(go.wait_timeout(std::time::Duration::from_millis(10)).unwrap_err().is_timeout());
    /// go.set()?;
    /// go.wait_timeout(std::time::Duration::ZERO)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout), [`Error::Abandoned`](crate::Error::Abandoned).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> Result<()> {
        self.0.segment().check_fork()?;
        self.0.wait(deadline, || give_up_alone(&self.0))
    }
}

impl EventState {
    fn set(&self) {
        let mut flag = self.flag.load(Ordering::SeqCst);
        while flag & SET == 0 {
            let set = flag.wrapping_add(ROUND) | SET;
            match self.flag.compare_exchange(flag, set, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => break,
                Err(now) => flag = now,
            }
        }
        crash_point!("event.set");
        // Also if it was set before: whoever set it may have been killed before it came to this.
        self.changed.wake();
    }

    fn clear(&self) {
        self.flag.fetch_and(!SET, Ordering::SeqCst);
    }

    fn wait(&self, deadline: Deadline, check: impl FnMut() -> Result<()>) -> Result<()> {
        let before = self.flag.load(Ordering::SeqCst);
        let ready = || {
            let flag = self.flag.load(Ordering::SeqCst);
            Ok((flag & SET != 0 || flag != before).then_some(()))
        };
        self.changed.wait(deadline, ready, check)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &(self.0.flag.load(Ordering::Relaxed) & SET != 0)).finish()
    }
}

#[cfg(all(test, loom))]
#[path = "model/event.rs"]
mod checks;
