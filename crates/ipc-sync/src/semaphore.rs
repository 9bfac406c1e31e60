//! A number of permits.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use ipc_core::{Deadline, Participant, Segment, View, crash_point};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::shim::Word;
use crate::word::WaitWord;
use crate::{Error, Result, Signal};

/// A fixed number of permits; who finds none waits until one is given back.
///
/// A [`Permit`] is a guard: dropped, it goes back, and so it does when the process that has it dies. There are never
/// more permits than in the beginning, so Python's `BoundedSemaphore` is the same type. To hand permits *over*, acquired here
/// and released there, use a [signal](Semaphore::signal).
///
/// ```
/// use ipc_sync::{Process, Semaphore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // At most two of four children work at a time.
/// let seats = Semaphore::new(2)?;
/// let children: Vec<_> = (0..4)
///     .map(|_| {
///         Process::spawn(
///             |seats: Semaphore| {
///                 let _seat = seats.acquire().unwrap();
///                 seats.available().unwrap()
///             },
///             seats.clone(),
///         )
///     })
///     .collect::<Result<_, _>>()?;
/// for child in children {
///     assert!(child.join()? < 2);
/// }
/// assert_eq!(seats.available()?, 2);
/// # Ok(()) }
/// ```
///
/// # When a process dies
///
/// Its permits come back once the kernel has closed its descriptors: whoever waits finds them within 25 ms, or 90 ms after a long wait,
/// whoever comes later at once. They also come back when it replaces its program (exec), or drops its last handle of the semaphore and of
/// whatever else lies in the same segment. While a copy of it lives that was forked without exec, they do not: the copy keeps its
/// descriptors open.
///
/// # Misuse
///
/// A permit that is forgotten stays with the process until it ends. To keep one on purpose there is [`Permit::keep`], and
/// [`release`](Semaphore::release) gives it back; without one to give back that is [`Error::NotHeld`]. In a process that was forked
/// without exec every call is [`Error::Forked`], and a permit that was copied with it does nothing when it is dropped.
///
/// # References
/// sem_overview(7); CPython `multiprocessing.Semaphore` and `BoundedSemaphore`, whose permits are lost with a process that is killed.
#[doc(alias = "BoundedSemaphore")]
pub struct Semaphore {
    view: View<SemaphoreState>,
    /// Where to look for a permit first: where one was given back, else behind the last one taken. Of this handle, not shared.
    hint: AtomicUsize,
}

/// As in Python. Here every semaphore is bounded: see [`Semaphore`].
///
/// ```
/// # fn main() -> ipc_sync::Result<()> {
/// let seats = ipc_sync::BoundedSemaphore::new(2)?;
/// assert!(seats.release().is_err()); // never more than in the beginning
/// assert_eq!((seats.available()?, seats.permits()), (2, 2));
/// # Ok(()) }
/// ```
pub type BoundedSemaphore = Semaphore;

/// What is shared; the words after it are the permits. Each contains the number of the participant that has it, or 0.
///
/// So a permit has an owner from the very instruction that takes it to the one that gives it back, and a kill in between finds
/// nothing half done.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SemaphoreState {
    freed: WaitWord,
    unused: AtomicU32,
}

/// In the word of a permit: it is kept without a guard. Above all numbers of participants.
const KEPT: u64 = 1 << 63;

impl Semaphore {
    /// How many permits a semaphore can have at most.
    pub const MAX_PERMITS: u32 = 1 << 16;

    /// Makes a semaphore with so many permits in memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for no permit, or more than [`MAX_PERMITS`](Self::MAX_PERMITS); the system is short of memory, or the
    /// limit of open files is reached.
    pub fn new(permits: u32) -> Result<Semaphore> {
        Ok(Semaphore::of(Segment::of(Semaphore::words(permits)?, |_| ())?))
    }

    /// Makes a signal: a semaphore for handing over, on which one process waits for what others have done. See [`Signal`].
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn signal(initial: u32) -> Result<Signal> {
        Signal::new(initial)
    }

    /// How many bytes a semaphore with so many permits takes in a segment.
    pub fn size(permits: u32) -> usize {
        Segment::space_for::<SemaphoreState>(permits as usize)
    }

    /// Makes a semaphore in a segment, at an offset that is a multiple of [`Segment::ALIGNMENT`].
    ///
    /// ```
    /// use ipc_sync::{Segment, Semaphore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let segment = Segment::anonymous(Semaphore::size(100))?; // eight bytes per permit, and a header
    /// let connections = Semaphore::create_in(&segment, 0, 100)?;
    /// let _connection = connections.acquire()?;
    /// assert_eq!(Semaphore::open_in(&segment, 0)?.available()?, 99);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is an object already, the place does not lie in the segment, or [`Error::OutOfRange`].
    pub fn create_in(segment: &Segment, offset: usize, permits: u32) -> Result<Semaphore> {
        let clear = |view: &View<SemaphoreState>| view.words().iter().for_each(|word| word.store(0, Ordering::Relaxed));
        Ok(Semaphore::of(segment.create(offset, Semaphore::words(permits)?, clear)?))
    }

    /// Opens the semaphore that lies in a segment at this offset.
    ///
    /// # Errors
    /// There is none.
    pub fn open_in(segment: &Segment, offset: usize) -> Result<Semaphore> {
        Ok(Semaphore::of(segment.open(offset)?))
    }

    fn words(permits: u32) -> Result<usize> {
        let max = Semaphore::MAX_PERMITS;
        let fits = (1..=max).contains(&permits);
        fits.then_some(permits as usize).ok_or(Error::OutOfRange { what: "the number of permits", min: 1, max })
    }

    fn of(view: View<SemaphoreState>) -> Semaphore {
        Semaphore { view, hint: AtomicUsize::new(0) }
    }

    /// Takes a permit; waits until there is one.
    ///
    /// ```
    /// use ipc_sync::{Process, Semaphore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let seats = Semaphore::new(1)?;
    /// let victim: Process<()> = Process::spawn(
    ///     |seats: Semaphore| {
    ///         let _seat = seats.acquire().unwrap();
    ///         std::process::abort();
    ///     },
    ///     seats.clone(),
    /// )?;
    /// victim.join().unwrap_err();
    /// let seat = seats.acquire()?; // the permit of the dead has come back
    /// assert_eq!(seats.available()?, 0);
    /// drop(seat);
    /// assert_eq!(seats.available()?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[doc(alias = "sem_wait")]
    #[inline]
    pub fn acquire(&self) -> Result<Permit<'_>> {
        self.acquire_until(Deadline::NEVER)
    }

    /// Takes a permit if there is one.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if there is none.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>> {
        self.acquire_until(Deadline::NOW)
    }

    /// Takes a permit; waits for `timeout` at most, also while stopped processes have all of them.
    ///
    /// ```
    /// use ipc_sync::Semaphore;
    /// use std::time::Duration;
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let seats = Semaphore::new(1)?;
    /// let seat = seats.try_acquire()?;
    /// assert!(seats.try_acquire().unwrap_err().is_would_block());
    /// assert!(seats.acquire_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
    /// drop(seat);
    /// assert!(seats.acquire_timeout(Duration::from_millis(10)).is_ok());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>> {
        self.acquire_until(Deadline::after(timeout))
    }

    #[inline]
    fn acquire_until(&self, deadline: Deadline) -> Result<Permit<'_>> {
        self.view.segment().check_fork()?;
        let slot = match take(self.view.words(), self.hint.load(Ordering::Relaxed), self.me()) {
            Some(slot) => slot,
            None => self.acquire_slowly(deadline)?,
        };
        crash_point!("semaphore.taken");
        self.hint.store(slot + 1, Ordering::Relaxed);
        Ok(Permit { semaphore: self, slot })
    }

    #[cold]
    fn acquire_slowly(&self, deadline: Deadline) -> Result<usize> {
        self.sweep()?;
        let ready = || Ok(take(self.view.words(), self.hint.load(Ordering::Relaxed), self.me()));
        self.view.freed.wait(deadline, ready, || self.sweep().map(drop))
    }

    /// Gives back a permit that this process has [kept](Permit::keep).
    ///
    /// ```
    /// use ipc_sync::{Error, Semaphore};
    ///
    /// # fn main() -> ipc_sync::Result<()> {
    /// let seats = Semaphore::new(3)?;
    /// seats.acquire()?.keep(); // as Python's `acquire`, without a guard
    /// assert_eq!(seats.available()?, 2);
    /// seats.release()?;
    /// assert!(matches!(seats.release(), Err(Error::NotHeld))); // Python's `BoundedSemaphore`: ValueError
    /// assert_eq!(seats.available()?, 3);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotHeld`] if it keeps none.
    #[doc(alias = "sem_post")]
    pub fn release(&self) -> Result<()> {
        self.view.segment().check_fork()?;
        let kept = self.me() | KEPT;
        let freed = self.view.words().iter().any(|word| free(word, kept));
        if !freed {
            return Err(Error::NotHeld);
        }
        crash_point!("semaphore.freed");
        self.view.freed.wake();
        Ok(())
    }

    /// How many permits there are to take just now; those of dead processes are.
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[doc(alias = "get_value")]
    pub fn available(&self) -> Result<u32> {
        self.view.segment().check_fork()?;
        self.sweep()?;
        Ok(self.view.words().iter().filter(|word| word.load(Ordering::Relaxed) == 0).count() as u32)
    }

    /// How many permits there are in all.
    pub fn permits(&self) -> u32 {
        self.view.words().len() as u32
    }

    #[inline]
    fn me(&self) -> u64 {
        self.view.segment().participant().number()
    }

    /// Takes back the permits of processes that are gone. Any number of sweepers can be at it, or die at it: each permit is freed
    /// in one step, and only from an owner whose number nobody will ever have again.
    fn sweep(&self) -> Result<()> {
        let mut known: BTreeMap<u64, bool> = BTreeMap::new();
        let mut swept = false;
        for word in self.view.words() {
            let owner = word.load(Ordering::Relaxed);
            let number = owner & !KEPT;
            if owner == 0 || number == self.me() {
                continue;
            }
            let alive = match known.entry(number) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => {
                    // What is no number at all was written by nobody we know, and is as good as free.
                    let who = Participant::from_number(number);
                    *unknown.insert(who.map_or(Ok(false), |who| self.view.segment().is_alive(who))?)
                }
            };
            if !alive && free(word, owner) {
                crash_point!("semaphore.swept");
                swept = true;
            }
        }
        if swept {
            self.view.freed.wake();
        }
        Ok(())
    }
}

/// Takes any free permit, beginning at `hint`.
#[inline]
pub(crate) fn take<W: Word>(permits: &[W], hint: usize, me: u64) -> Option<usize> {
    if permits.get(hint).is_some_and(|word| word.swap_if(0, me)) {
        return Some(hint);
    }
    let (before, after) = permits.split_at(hint.min(permits.len()));
    let found = after.iter().position(|word| word.swap_if(0, me)).map(|n| n + before.len());
    found.or_else(|| before.iter().position(|word| word.swap_if(0, me)))
}

#[inline]
pub(crate) fn free<W: Word>(permit: &W, owner: u64) -> bool {
    permit.swap_if(owner, 0)
}

impl Clone for Semaphore {
    fn clone(&self) -> Semaphore {
        Semaphore::of(self.view.clone())
    }
}

impl Serialize for Semaphore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.view.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Semaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Semaphore, D::Error> {
        View::deserialize(deserializer).map(Semaphore::of)
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("permits", &self.permits()).finish_non_exhaustive()
    }
}

/// A permit of a [`Semaphore`]; dropped, it goes back. It belongs to the process: any thread may drop it.
///
/// ```
/// # fn main() -> ipc_sync::Result<()> {
/// let seats = ipc_sync::Semaphore::new(2)?;
/// let (first, second) = (seats.acquire()?, seats.acquire()?);
/// assert_eq!(seats.available()?, 0);
/// drop(first);
/// std::thread::scope(|scope| scope.spawn(move || drop(second)).join().unwrap()); // any thread may give it back
/// assert_eq!(seats.available()?, 2);
/// # Ok(()) }
/// ```
#[must_use = "the permit is given back at once if it is not kept"]
#[derive(Debug)]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    slot: usize,
}

impl Permit<'_> {
    /// Keeps the permit without a guard, until [`Semaphore::release`] or until the process ends.
    ///
    /// ```
    /// # fn main() -> ipc_sync::Result<()> {
    /// let seats = ipc_sync::Semaphore::new(2)?;
    /// seats.acquire()?.keep();
    /// assert_eq!((seats.available()?, seats.permits()), (1, 2)); // this process has one until it ends
    /// seats.release()?; // or until this
    /// assert_eq!(seats.available()?, 2);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "forget")]
    pub fn keep(self) {
        let (view, me) = (&self.semaphore.view, self.semaphore.me());
        if view.segment().is_original() {
            view.words()[self.slot].swap_if(me, me | KEPT);
        }
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        let view = &self.semaphore.view;
        if view.segment().is_original() && free(&view.words()[self.slot], self.semaphore.me()) {
            self.semaphore.hint.store(self.slot, Ordering::Relaxed);
            crash_point!("semaphore.freed");
            view.freed.wake();
        }
    }
}

#[cfg(all(test, loom))]
#[path = "model/semaphore.rs"]
mod checks;
