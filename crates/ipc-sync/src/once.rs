//! Something that is to happen once.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipc_core::{Deadline, Segment, View, crash_point};
use serde::{Deserialize, Serialize};

use crate::lock::{Lock, Locked};
use crate::shim::AtomicU32;
use crate::{Error, Result, held};

/// Runs a function in one of several processes, and in the others waits until it has run.
///
/// ```
/// use ipc_sync::{Once, Process, Semaphore, Signal};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (once, runs) = (Once::new()?, Semaphore::signal(0)?);
/// let children: Vec<_> = (0..3)
///     .map(|_| {
///         Process::spawn(
///             |(once, runs): (Once, Signal)| once.call_once(|| runs.release().unwrap()).unwrap(),
///             (once.clone(), runs.clone()),
///         )
///     })
///     .collect::<Result<_, _>>()?;
/// for child in children {
///     child.join()?;
/// }
/// assert!(once.is_completed()?);
/// assert_eq!(runs.value()?, 1);
/// # Ok(()) }
/// ```
///
/// # When a process dies
///
/// If the one that runs the function is killed, or the function panics, the next caller runs its own: the function has to bear
/// that it was begun before. What has once completed is completed.
///
/// # Misuse
///
/// The function runs with a lock held: a call from within it is [`Error::AlreadyLocked`](crate::Error::AlreadyLocked), and the other limits
/// of [`Mutex`](crate::Mutex) hold.
///
/// # References
/// pthread_once(3).
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Once(View<OnceState>);

#[repr(C)]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct OnceState {
    lock: Lock,
    done: AtomicU32,
    unused: std::sync::atomic::AtomicU32,
}

impl OnceState {
    fn init(&self) {
        self.lock.init();
        self.done.store(0, Ordering::Relaxed);
    }

    fn is_done(&self) -> bool {
        // Acquire: what the function has written is seen; pairs with the Release below.
        self.done.load(Ordering::Acquire) != 0
    }

    /// `is_original` tells whether this process is no copy that came about by a fork within `f`.
    fn call(&self, deadline: Deadline, f: impl FnOnce(), is_original: impl Fn() -> bool) -> Result<()> {
        if self.is_done() {
            return Ok(());
        }
        held::enter()?;
        let locked = self.lock.take(deadline, || false).inspect_err(|_| held::leave())?;
        let running = Running { once: self, locked, is_original: &is_original };
        if !self.is_done() {
            crash_point!("once.running");
            f();
            if !is_original() {
                return Err(Error::Forked);
            }
            // Release: publishes what `f` has written; pairs with the Acquire in `is_done`.
            self.done.store(1, Ordering::Release);
            crash_point!("once.done");
        }
        drop(running);
        Ok(())
    }
}

/// Gives the lock back, also if the function panics.
struct Running<'a> {
    once: &'a OnceState,
    locked: Locked,
    is_original: &'a dyn Fn() -> bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if (self.is_original)() {
            self.once.lock.mark_repaired(); // nothing that it protects can be half done
            self.once.lock.release(self.locked);
        }
        held::leave();
    }
}

impl Once {
    /// Makes one in memory of its own.
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn new() -> Result<Once> {
        Ok(Once(Segment::of(0, |view: &View<OnceState>| view.init())?))
    }

    /// How many bytes it takes in a segment.
    pub fn size() -> usize {
        Segment::space_for::<OnceState>(0)
    }

    /// Makes one in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// use ipc_sync::{Once, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(Once::size())?;
    /// Once::create_in(&segment, 0)?.call_once(|| ())?;
    /// assert!(Once::open_in(&segment, 0)?.is_completed()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, or the place does not lie in the segment.
    pub fn create_in(segment: &Segment, offset: usize) -> Result<Once> {
        Ok(Once(segment.create(offset, 0, |view: &View<OnceState>| view.init())?))
    }

    /// Opens the one that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<Once> {
        Ok(Once(segment.open(offset)?))
    }

    /// Runs `f` if nothing has completed yet; waits while another thread or process runs its own. When it returns, one has completed.
    ///
    /// ```
    /// use ipc_sync::{Once, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let once = Once::new()?;
    /// let victim: Process<()> =
    ///     Process::spawn(|once: Once| once.call_once(|| std::process::abort()).unwrap(), once.clone())?;
    /// victim.join().unwrap_err();
    /// assert!(!once.is_completed()?); // it was begun, and counts for nothing
    ///
    /// let mut runs = 0;
    /// once.call_once(|| runs += 1)?;
    /// once.call_once(|| runs += 1)?;
    /// assert_eq!(runs, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::AlreadyLocked`](crate::Error::AlreadyLocked) from within `f`; [`Error::Forked`](crate::Error::Forked).
    ///
    /// # Panics
    /// When `f` does.
    pub fn call_once(&self, f: impl FnOnce()) -> Result<()> {
        self.call(Deadline::NEVER, f)
    }

    /// As [`call_once`](Once::call_once), but does not wait for others.
    ///
    /// # Errors
    /// [`Error::WouldBlock`](crate::Error::WouldBlock) while another one runs its function.
    ///
    /// # Panics
    /// When `f` does.
    pub fn try_call_once(&self, f: impl FnOnce()) -> Result<()> {
        self.call(Deadline::NOW, f)
    }

    /// As [`call_once`](Once::call_once), but waits for others for `timeout` at most, also if they are stopped.
    ///
    /// ```
    /// use ipc_sync::Once;
    /// use std::{thread, time::Duration};
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let once = Once::new()?;
    /// once.call_once(|| {
    ///     // Others come while it runs.
    ///     thread::scope(|scope| {
    ///         scope.spawn(|| {
    ///             assert!(once.try_call_once(|| ()).unwrap_err().is_would_block());
    ///             assert!(once.call_once_timeout(Duration::from_millis(10), || ()).unwrap_err().is_timeout());
    ///         });
    ///     });
    /// })?;
    /// once.try_call_once(|| unreachable!("it has completed"))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout).
    ///
    /// # Panics
    /// When `f` does.
    pub fn call_once_timeout(&self, timeout: Duration, f: impl FnOnce()) -> Result<()> {
        self.call(Deadline::after(timeout), f)
    }

    fn call(&self, deadline: Deadline, f: impl FnOnce()) -> Result<()> {
        self.0.segment().check_fork()?;
        self.0.call(deadline, f, || self.0.segment().is_original())
    }

    /// Whether a function has completed.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    pub fn is_completed(&self) -> Result<bool> {
        self.0.segment().check_fork()?;
        Ok(self.0.is_done())
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("completed", &self.0.is_done()).finish()
    }
}

#[cfg(all(test, loom))]
#[path = "model/once.rs"]
mod checks;
