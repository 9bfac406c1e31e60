//! A place where a number of parties meet.

mod core;
mod words;

use std::fmt;
use std::time::Duration;

use ipc_core::{Deadline, Participant, Segment, View};
use serde::{Deserialize, Serialize};

pub(crate) use self::core::BarrierState;
use self::core::Core;
use crate::{Error, Result};

/// Holds everybody up until all parties have come, then lets all of them go on; and again.
///
/// A party [enrolls](Barrier::enroll) and gets a [`Party`] to wait with. From then on the others do not wait for it in vain: if its
/// process dies, or it leaves, the barrier breaks and says who it was. [`Barrier::wait`] is for parties that have not
/// enrolled: nobody misses them before they come, or after they have gone on.
///
/// ```
/// use ipc_sync::{Barrier, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let barrier = Barrier::new(3)?;
/// let children: Vec<_> = (0..2)
///     .map(|_| {
///         Process::spawn(
///             |barrier: Barrier| {
///                 let mut party = barrier.enroll().unwrap();
///                 party.wait().unwrap() + party.wait().unwrap()
///             },
///             barrier.clone(),
///         )
///     })
///     .collect::<Result<_, _>>()?;
/// let mut party = barrier.enroll()?;
/// let mut sum = party.wait()? + party.wait()?;
/// for child in children {
///     sum += child.join()?;
/// }
/// assert_eq!(sum, 2 * (0 + 1 + 2)); // everybody gets another index
/// # Ok(()) }
/// ```
///
/// # When a process dies
///
/// Those who wait, and those who come, get [`Error::Broken`] with [`BrokenBy::Died`] within some 50 ms after the kernel has closed the
/// descriptors of a party that had enrolled, or that was waiting. Whoever comes last asks once more before all go on, after the action
/// too: nobody meets the dead. To go on without it, or with another one in its place, each of them calls
/// [`repair`](Barrier::repair), which mends the barrier once. As long as nobody waits, another party may [enroll](Barrier::enroll) in the
/// dead one's place, and nobody is told.
///
/// A copy of a process that was forked without exec keeps the descriptors open: while it lives its original counts as alive.
///
/// Who waits for parties that have not enrolled gets [`Error::Abandoned`] when nobody is left to come: no other process has the barrier, no
/// message with it is on its way, and in this process there is neither another handle than the one it waits by, nor a [`Party`]
/// that has not come. A thread that is to come should have a handle, or a party, of its own: one that borrows the handle is not seen.
///
/// As in Python, a wait that runs out of time breaks the barrier: the others would wait in vain. So does an abandoned one.
///
/// # When a process is stopped
///
/// To come, to enroll and to reset are done under a lock, in which a process may be stopped. Nobody needs it to run out of time, to
/// leave, to [abort](Barrier::abort) or to see that the barrier is broken. [`enroll`](Barrier::enroll), [`reset`](Barrier::reset) and
/// [`repair`](Barrier::repair) fail after a second.
///
/// # References
/// CPython `multiprocessing.Barrier`, `threading.Barrier`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Barrier(View<BarrierState>);

/// Why a barrier is broken. The pids are those in the process's own pid namespace.
///
/// ```
/// use ipc_sync::{Barrier, BrokenBy, Error, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let barrier = Barrier::new(2)?;
/// let victim: Process<()> = Process::spawn(
///     |barrier: Barrier| {
///         let _party = barrier.enroll().unwrap();
///         std::process::abort();
///     },
///     barrier.clone(),
/// )?;
/// let killed = victim.pid();
/// victim.join().unwrap_err();
///
/// match barrier.enroll()?.wait() {
///     Err(Error::Broken(BrokenBy::Died { pid })) => assert_eq!(pid, killed),
///     other => panic!("{other:?}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokenBy {
    /// A party died.
    Died {
        /// Its process.
        pid: u32,
    },
    /// A party that had enrolled has left: its [`Party`] was dropped.
    Left {
        /// Its process.
        pid: u32,
    },
    /// A party's time ran out before all had come.
    Timeout {
        /// Its process.
        pid: u32,
    },
    /// A party waited when nobody was left to come, and got [`Error::Abandoned`].
    Abandoned {
        /// Its process.
        pid: u32,
    },
    /// Somebody called [`Barrier::abort`], or could not go on waiting because the system refused a step.
    Aborted {
        /// The caller's process.
        pid: u32,
    },
    /// The action that was to be run panicked.
    Action {
        /// The process that ran it.
        pid: u32,
    },
    /// Somebody called [`Barrier::reset`] while this party was waiting.
    Reset,
}

impl fmt::Display for BrokenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BrokenBy::Died { pid } => write!(f, "party {pid} died"),
            BrokenBy::Left { pid } => write!(f, "party {pid} has left"),
            BrokenBy::Timeout { pid } => write!(f, "the time of party {pid} ran out"),
            BrokenBy::Abandoned { pid } => write!(f, "party {pid} was left alone"),
            BrokenBy::Aborted { pid } => write!(f, "aborted by process {pid}"),
            BrokenBy::Action { pid } => write!(f, "the action panicked in process {pid}"),
            BrokenBy::Reset => write!(f, "reset while this party waited"),
        }
    }
}

impl Barrier {
    /// How many parties a barrier can have at most.
    pub const MAX_PARTIES: u32 = 4096;

    /// Makes a barrier for so many parties in memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for none, or more than [`MAX_PARTIES`](Self::MAX_PARTIES); the system is short of memory, or the limit of open
    /// files is reached.
    pub fn new(parties: u32) -> Result<Barrier> {
        Ok(Barrier(Segment::of(words(parties)?, |view: &View<BarrierState>| view.init(view.words()))?))
    }

    /// How many bytes a barrier for so many parties takes in a segment.
    pub fn size(parties: u32) -> usize {
        Segment::space_for::<BarrierState>(parties as usize * core::PLACE_WORDS)
    }

    /// Makes a barrier in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// use ipc_sync::{Barrier, Segment};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(Barrier::size(3))?;
    /// Barrier::create_in(&segment, 0, 3)?;
    /// assert_eq!(Barrier::open_in(&segment, 0)?.parties(), 3);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, the place does not lie in the segment, or [`Error::OutOfRange`].
    pub fn create_in(segment: &Segment, offset: usize, parties: u32) -> Result<Barrier> {
        let init = |view: &View<BarrierState>| view.init(view.words());
        Ok(Barrier(segment.create(offset, words(parties)?, init)?))
    }

    /// Opens the barrier that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<Barrier> {
        Ok(Barrier(segment.open(offset)?))
    }

    /// Takes one of the places for good, until the [`Party`] is dropped. Does not wait for other parties to come.
    ///
    /// The places of parties that have left, or died, are free. If somebody waits for the dead one, or it died while it waited, the
    /// barrier breaks, and the place can be used after a [`repair`](Barrier::repair); else nobody is told. A broken barrier can be
    /// enrolled at.
    ///
    /// ```
    /// use ipc_sync::{Barrier, BrokenBy, Error};
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let barrier = Barrier::new(2)?;
    /// let (mut first, second) = (barrier.enroll()?, barrier.enroll()?);
    /// assert!(matches!(barrier.enroll(), Err(Error::Full { parties: 2 })));
    /// drop(second); // it leaves, and the first one does not wait for it in vain
    /// assert!(matches!(first.wait(), Err(Error::Broken(BrokenBy::Left { .. }))));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Full`] if all places are taken, be it for one time by such that wait; [`Error::Timeout`] if somebody who is busy with the
    /// barrier does not get done within a second, being stopped; [`Error::Forked`].
    pub fn enroll(&self) -> Result<Party> {
        self.0.segment().check_fork()?;
        // Its handle first: see `give_up_alone`.
        let barrier = self.clone();
        let place = barrier.core().enroll()?;
        Ok(Party { barrier, place })
    }

    /// Waits without having enrolled: takes a place for this one time. If there is none, or an action is being run, it first waits for
    /// others to meet and go.
    ///
    /// Who comes like this in place of a party that has left hides its leaving. The place of a dead one it does not get.
    ///
    /// ```
    /// use ipc_sync::{Barrier, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let barrier = Barrier::new(2)?;
    /// let child = Process::spawn(|barrier: Barrier| barrier.wait().unwrap(), barrier.clone())?;
    /// let index = barrier.wait()?;
    /// assert_eq!(index + child.join()?, 0 + 1); // one was the first, one the last
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Broken`]; [`Error::Full`] if all places belong to parties that have enrolled; [`Error::Abandoned`];
    /// [`Error::Forked`].
    pub fn wait(&self) -> Result<usize> {
        self.wait_once(Deadline::NEVER)
    }

    /// Comes, without having enrolled, if that makes all parties complete.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if it does not, or if somebody else is just coming: it has not come. Else as [`wait`](Barrier::wait).
    pub fn try_wait(&self) -> Result<usize> {
        self.wait_once(Deadline::NOW)
    }

    /// As [`wait`](Barrier::wait), for `timeout` at most. If the time runs out, the barrier is broken; not if there was no place.
    ///
    /// ```
    /// use ipc_sync::{Barrier, BrokenBy};
    /// use std::time::Duration;
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let barrier = Barrier::new(2)?;
    /// assert!(barrier.try_wait().unwrap_err().is_would_block()); // has not come: the barrier is as it was
    /// assert!(barrier.wait_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
    /// let pid = std::process::id();
    /// assert_eq!(barrier.broken_by()?, Some(BrokenBy::Timeout { pid }));
    /// assert!(barrier.wait().unwrap_err().is_broken()); // who comes later is told
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`wait`](Barrier::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize> {
        self.wait_once(Deadline::after(timeout))
    }

    fn wait_once(&self, deadline: Deadline) -> Result<usize> {
        self.0.segment().check_fork()?;
        self.core().wait_once(deadline, || self.give_up_alone())
    }

    /// An error if nobody is left to come.
    fn give_up_alone(&self) -> Result<()> {
        let segment = self.0.segment();
        // First of all, as a handle that arrives while we look is one of ours then.
        if !segment.was_shared() || segment.has_others()? {
            return Ok(());
        }
        // A party has a handle of its own, which comes before it takes its place and goes after it has left. By that nobody can
        // enroll. Two counts, as one may come or go while we look.
        let before = self.0.handles();
        let (parties, one_may_come) = self.core().enrolled_here();
        let handles = before.max(self.0.handles()).saturating_sub(parties);
        if handles <= 1 && !one_may_come { Err(Error::Abandoned) } else { Ok(()) }
    }

    /// Breaks the barrier: those who wait, and those who come, get [`Error::Broken`], until it is [repaired](Barrier::repair) or
    /// [reset](Barrier::reset).
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn abort(&self) -> Result<()> {
        self.0.segment().check_fork()?;
        self.core().abort();
        Ok(())
    }

    /// Mends the barrier if it is broken, else does nothing: everybody who got [`Error::Broken`] can call it and then wait again. Dead
    /// parties, and such that have left, have no place any more.
    ///
    /// ```
    /// use ipc_sync::Barrier;
    /// use std::thread;
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let barrier = Barrier::new(2)?;
    /// let meet = |mut party: ipc_sync::Party| {
    ///     while party.wait().is_err() {
    ///         barrier.repair().unwrap(); // each of them calls it; the first one mends it
    ///     }
    /// };
    /// let (a, b) = (barrier.enroll()?, barrier.enroll()?);
    /// barrier.abort()?;
    /// thread::scope(|scope| {
    ///     scope.spawn(move || meet(a));
    ///     scope.spawn(move || meet(b));
    /// });
    /// assert_eq!(barrier.broken_by()?, None);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`] if somebody who is busy with the barrier does not get done within a second, being stopped;
    /// [`Error::Forked`].
    pub fn repair(&self) -> Result<()> {
        self.0.segment().check_fork()?;
        self.core().reset(true)
    }

    /// Begins anew in any case: the barrier is not broken any more, and dead parties and such that have left have no place any more. Those
    /// who wait just now get [`Error::Broken`].
    ///
    /// ```
    /// # fn main() -> ipc_sync::Result<()> {
    /// let barrier = ipc_sync::Barrier::new(2)?;
    /// barrier.abort()?;
    /// assert!(barrier.broken_by()?.is_some());
    /// barrier.reset()?;
    /// assert_eq!((barrier.broken_by()?, barrier.waiting()?), (None, 0));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`repair`](Barrier::repair).
    pub fn reset(&self) -> Result<()> {
        self.0.segment().check_fork()?;
        self.core().reset(false)
    }

    /// How many parties it is for.
    pub fn parties(&self) -> u32 {
        (self.0.words().len() / core::PLACE_WORDS) as u32
    }

    /// How many parties are waiting just now.
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[doc(alias = "n_waiting")]
    pub fn waiting(&self) -> Result<u32> {
        self.0.segment().check_fork()?;
        Ok(self.core().waiting())
    }

    /// Why it is broken, if it is. If parties wait, or an action is being run, it also asks whether all of them live.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Memory`].
    #[doc(alias = "broken")]
    pub fn broken_by(&self) -> Result<Option<BrokenBy>> {
        self.0.segment().check_fork()?;
        self.core().broken_by()
    }

    fn core(&self) -> Core<'_, std::sync::atomic::AtomicU64, impl Fn(Participant) -> Result<bool> + '_> {
        let segment = self.0.segment();
        let is_alive = move |who| {
            segment.check_fork()?;
            Ok(segment.is_alive(who)?)
        };
        Core::new(&self.0, self.0.words(), segment.participant(), is_alive)
    }
}

fn words(parties: u32) -> Result<usize> {
    let max = Barrier::MAX_PARTIES;
    let fits = (1..=max).contains(&parties);
    let words = parties as usize * core::PLACE_WORDS;
    fits.then_some(words).ok_or(Error::OutOfRange { what: "the number of parties", min: 1, max })
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("parties", &self.parties()).finish_non_exhaustive()
    }
}

/// An enrolled party of a [`Barrier`]. Dropped, it leaves: then those who wait, and those who come, get [`BrokenBy::Left`], until
/// another party has come or enrolled in its place, or the barrier is [reset](Barrier::reset). It leaves at once, whatever others do.
///
/// It belongs to the process, and may be moved to another thread.
///
/// ```
/// use ipc_sync::{Barrier, Party};
///
/// # fn main() -> ipc_sync::Result<()> {
/// let barrier = Barrier::new(2)?;
/// let (mut ours, mut theirs): (Party, Party) = (barrier.enroll()?, barrier.enroll()?);
/// let other = std::thread::spawn(move || (theirs.wait().unwrap(), theirs.wait().unwrap()));
/// let (first, second) = (ours.wait()?, ours.wait()?); // two phases
/// let (their_first, their_second) = other.join().unwrap();
/// assert_eq!((first + their_first, second + their_second), (0 + 1, 0 + 1)); // each time another index
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Party {
    barrier: Barrier,
    place: usize,
}

impl Party {
    /// Waits until all parties have come, and returns as the how many-th this one came, from 0: the last one gets
    /// `parties − 1`.
    ///
    /// # Errors
    /// [`Error::Broken`]; [`Error::Abandoned`]; [`Error::Forked`].
    pub fn wait(&mut self) -> Result<usize> {
        self.wait_until(Deadline::NEVER, None)
    }

    /// Comes if that makes all parties complete.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if it does not, or if somebody else is just coming: it has not come. Else as [`wait`](Party::wait).
    pub fn try_wait(&mut self) -> Result<usize> {
        self.wait_until(Deadline::NOW, None)
    }

    /// As [`wait`](Party::wait), for `timeout` at most. If the time runs out, the barrier is broken: the others would wait in vain.
    ///
    /// ```
    /// use ipc_sync::Barrier;
    /// use std::time::Duration;
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let barrier = Barrier::new(2)?;
    /// let (mut first, mut second) = (barrier.enroll()?, barrier.enroll()?);
    /// assert!(first.try_wait().unwrap_err().is_would_block());
    /// assert!(first.wait_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
    /// assert!(second.wait().unwrap_err().is_broken()); // the other one is told, whenever it comes
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`wait`](Party::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<usize> {
        self.wait_until(Deadline::after(timeout), None)
    }

    /// As [`wait`](Party::wait); the one that comes last runs its `action` before all go on. If that panics, or a party dies before it
    /// is done, the barrier is broken. A copy of the process that is forked in the action gets [`Error::Forked`].
    ///
    /// ```
    /// use ipc_sync::{Barrier, Mutex};
    /// use std::{thread, time::Duration};
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let (barrier, phase) = (Barrier::new(2)?, Mutex::new(0u32)?);
    /// let run = |mut party: ipc_sync::Party| {
    ///     party.wait_with(|| *phase.lock().unwrap() += 1).unwrap();
    ///     assert_eq!(*phase.lock().unwrap(), 1); // done once, before anybody went on
    ///     party.wait_with_timeout(Duration::from_secs(60), || *phase.lock().unwrap() += 1).unwrap();
    /// };
    /// let (a, b) = (barrier.enroll()?, barrier.enroll()?);
    /// thread::scope(|scope| {
    ///     scope.spawn(|| run(a));
    ///     scope.spawn(|| run(b));
    /// });
    /// assert_eq!(*phase.lock()?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Party::wait).
    ///
    /// # Panics
    /// When `action` does.
    pub fn wait_with(&mut self, action: impl FnOnce()) -> Result<usize> {
        self.wait_acting(Deadline::NEVER, action)
    }

    /// As [`wait_with`](Party::wait_with), for `timeout` at most. The action is not cut short; but while another party's is run, the time
    /// may run out, and that breaks the barrier.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`wait`](Party::wait).
    ///
    /// # Panics
    /// When `action` does.
    pub fn wait_with_timeout(&mut self, timeout: Duration, action: impl FnOnce()) -> Result<usize> {
        self.wait_acting(Deadline::after(timeout), action)
    }

    fn wait_acting(&mut self, deadline: Deadline, action: impl FnOnce()) -> Result<usize> {
        let mut action = Some(action);
        let mut run = || {
            if let Some(action) = action.take() {
                action();
            }
        };
        self.wait_until(deadline, Some(&mut run))
    }

    fn wait_until(&mut self, deadline: Deadline, action: Option<&mut dyn FnMut()>) -> Result<usize> {
        self.barrier.0.segment().check_fork()?;
        self.barrier.core().wait(self.place, deadline, || self.barrier.give_up_alone(), action)
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        if self.barrier.0.segment().is_original() {
            self.barrier.core().leave(self.place);
        }
    }
}
