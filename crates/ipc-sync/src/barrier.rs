//! A place where a number of parties meet.

mod core;

use std::fmt;
use std::time::Duration;

use ipc_core::{Deadline, Participant, Segment, View};
use serde::{Deserialize, Serialize};

pub(crate) use self::core::BarrierState;
use self::core::Core;
use crate::presence::give_up_alone;
use crate::{Error, Result};

/// Holds everybody up until all parties have come, then lets all of them go on; and again.
///
/// A party [enrolls](Barrier::enroll) and gets a [`Party`] to wait with. From then on the others do not wait for it in vain: if its
/// process dies, or it leaves, the barrier breaks and says who it was. [`Barrier::wait`] is for parties that have not
/// enrolled: nobody misses them before they come.
///
/// ```
/// use ipc_core::Process;
/// use ipc_sync::Barrier;
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
/// descriptors of a party that had enrolled, or that was waiting. [`reset`](Barrier::reset) mends the barrier, and the dead party's
/// place can be taken by another one. Who waits for parties that have not enrolled gets
/// [`Error::Abandoned`] when nobody else has the barrier any more.
///
/// As in Python, a wait that runs out of time breaks the barrier: the others would wait in vain.
///
/// # References
/// CPython `multiprocessing.Barrier`, `threading.Barrier`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Barrier(View<BarrierState>);

/// Why a barrier is broken. The pids are those in the process's own pid namespace.
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
    /// Somebody called [`Barrier::abort`].
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

    /// Takes one of the places for good, until the [`Party`] is dropped. Never waits for others.
    ///
    /// # Errors
    /// [`Error::Full`] if all places are taken; those of dead parties, and of such that have left, are not.
    pub fn enroll(&self) -> Result<Party> {
        self.0.segment().check_fork()?;
        let place = self.core().enroll()?;
        Ok(Party { barrier: self.clone(), place })
    }

    /// Waits without having enrolled: takes a place for this one time.
    ///
    /// # Errors
    /// [`Error::Broken`]; [`Error::Full`] if all places belong to parties that have enrolled; [`Error::Abandoned`].
    pub fn wait(&self) -> Result<usize> {
        self.wait_once(Deadline::NEVER)
    }

    /// As [`wait`](Barrier::wait), for `timeout` at most. If the time runs out, the barrier is broken.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`wait`](Barrier::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize> {
        self.wait_once(Deadline::after(timeout))
    }

    fn wait_once(&self, deadline: Deadline) -> Result<usize> {
        self.0.segment().check_fork()?;
        self.core().wait_once(deadline, || give_up_alone(&self.0))
    }

    /// Breaks the barrier: those who wait, and those who come, get [`Error::Broken`], until it is [reset](Barrier::reset).
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn abort(&self) -> Result<()> {
        self.0.segment().check_fork()?;
        self.core().abort()
    }

    /// Begins anew: the barrier is not broken any more, and dead parties and such that have left have no place any more. Those who
    /// wait just now get [`Error::Broken`].
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn reset(&self) -> Result<()> {
        self.0.segment().check_fork()?;
        self.core().reset()
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

    /// Why it is broken, if it is.
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[doc(alias = "broken")]
    pub fn broken_by(&self) -> Result<Option<BrokenBy>> {
        self.0.segment().check_fork()?;
        self.core().broken_by()
    }

    fn core(&self) -> Core<'_, std::sync::atomic::AtomicU64, impl Fn(Participant) -> Result<bool> + '_> {
        let segment = self.0.segment();
        Core::new(&self.0, self.0.words(), segment.participant(), move |who| Ok(segment.is_alive(who)?))
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
/// another party has enrolled in its place, or the barrier is [reset](Barrier::reset).
///
/// It belongs to the process, and may be moved to another thread.
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
    /// [`Error::Broken`]; [`Error::Abandoned`].
    pub fn wait(&mut self) -> Result<usize> {
        self.wait_until(Deadline::NEVER, None)
    }

    /// Comes if that makes all parties complete.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if it does not: it has not come. Else as [`wait`](Party::wait).
    pub fn try_wait(&mut self) -> Result<usize> {
        self.wait_until(Deadline::NOW, None)
    }

    /// As [`wait`](Party::wait), for `timeout` at most. If the time runs out, the barrier is broken: the others would wait in vain.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`wait`](Party::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<usize> {
        self.wait_until(Deadline::after(timeout), None)
    }

    /// As [`wait`](Party::wait); the one that comes last runs its `action` before all go on. If that panics, or its process dies, the
    /// barrier is broken.
    ///
    /// # Errors
    /// As [`wait`](Party::wait).
    ///
    /// # Panics
    /// When `action` does.
    pub fn wait_with(&mut self, action: impl FnOnce()) -> Result<usize> {
        let mut action = Some(action);
        let mut run = || {
            if let Some(action) = action.take() {
                action();
            }
        };
        self.wait_until(Deadline::NEVER, Some(&mut run))
    }

    fn wait_until(&mut self, deadline: Deadline, action: Option<&mut dyn FnMut()>) -> Result<usize> {
        self.barrier.0.segment().check_fork()?;
        self.barrier.core().wait(self.place, deadline, || give_up_alone(&self.barrier.0), action)
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        if self.barrier.0.segment().is_original() {
            self.barrier.core().leave(self.place);
        }
    }
}
