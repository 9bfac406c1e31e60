//! Objects in shared memory: locks, arrays, queues, behind a header that is checked by all who open them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::participant::Participant;
use crate::raw::{Header, READY, Shared, View};
use crate::segment::full;
use crate::{Error, Result, Segment, complaint};

impl Segment {
    /// How many bytes a `T` with `words` words after it takes in a segment.
    pub fn space_for<T: Shared>(words: usize) -> usize {
        size_of::<Header>() + size_of::<T>().next_multiple_of(8) + words * 8
    }

    /// Makes a segment for one object, and the object in it. For the crates of the mechanisms.
    ///
    /// ```
    /// use ipc_core::{Process, Segment, Shared, View};
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #[repr(C)]
    /// struct Hits {
    ///     total: AtomicU32,
    /// }
    ///
    /// // SAFETY: one atomic, laid out as in C: no pointer, no destructor, and every pattern of its bytes is a value.
    /// unsafe impl Shared for Hits {
    ///     const KIND: &'static str = "hits";
    ///     const VERSION: u32 = 1;
    ///
    ///     fn contents() -> String {
    ///         "per hour".into() // whoever opens it must say the same
    ///     }
    ///
    ///     fn check_words(words: usize) -> bool {
    ///         words == 24
    ///     }
    /// }
    ///
    /// let hits: View<Hits> = Segment::of(24, |new: &View<Hits>| new.total.store(5, Relaxed))?;
    /// let child = Process::spawn(
    ///     |hits: View<Hits>| {
    ///         hits.words()[7].fetch_add(1, Relaxed); // between seven and eight
    ///         hits.total.fetch_add(1, Relaxed)
    ///     },
    ///     hits.clone(),
    /// )?;
    /// assert_eq!(child.join()?, 5);
    /// assert_eq!((hits.total.load(Relaxed), hits.words()[7].load(Relaxed)), (6, 1));
    /// assert_eq!((hits.segment().size(), hits.offset()), (Segment::space_for::<Hits>(24), 0));
    /// assert_eq!(hits.handles(), 1); // in this process
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`anonymous`](Segment::anonymous).
    pub fn of<T: Shared>(words: usize, init: impl FnOnce(&View<T>)) -> Result<View<T>> {
        Segment::anonymous(Segment::space_for::<T>(words))?.create(0, words, init)
    }

    /// Makes an object at `offset`, where there is none yet: `init` gets it as the segment's bytes are, all zero if nobody has
    /// written there. What another process has begun to make, and then died, is begun again. For the crates of the mechanisms.
    ///
    /// ```
    /// use ipc_core::{Error, Segment, Shared, View};
    /// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #[repr(transparent)]
    /// struct Number(AtomicU64);
    ///
    /// // SAFETY: an atomic.
    /// unsafe impl Shared for Number {
    ///     const KIND: &'static str = "number";
    ///     const VERSION: u32 = 1;
    /// }
    ///
    /// let segment = Segment::anonymous(256)?;
    /// assert!(matches!(segment.open::<Number>(128), Err(Error::Missing { offset: 128 })));
    /// let number: View<Number> = segment.create(128, 0, |new: &View<Number>| new.0.store(42, Relaxed))?;
    /// assert!(matches!(segment.create::<Number>(128, 0, |_| ()), Err(Error::Exists { .. })));
    /// assert_eq!(segment.open::<Number>(128)?.0.load(Relaxed), 42);
    /// assert!(matches!(segment.read_at(192, &mut [0; 8]), Err(Error::Exists { .. }))); // it is no plain memory
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Exists`], also while another process is making it; [`Error::OutOfBounds`], [`Error::Forked`].
    pub fn create<T: Shared>(&self, offset: usize, words: usize, init: impl FnOnce(&View<T>)) -> Result<View<T>> {
        self.check_fork()?;
        // Not over what this process has a handle for, whatever the header says by now.
        let view = self.view::<T>(offset, words, true)?;
        let header = self.header(offset)?;
        let me = self.participant().number();
        let mut found = 0;
        while let Err(other) = header.state.compare_exchange(found, me, Ordering::Acquire, Ordering::Acquire) {
            // Complete, foreign, or in the hands of somebody who lives?
            let dead = match Participant::from_number(other) {
                Some(maker) => !self.is_alive(maker)?,
                None => other == 0,
            };
            if !dead {
                return Err(Error::Exists { offset });
            }
            found = other;
        }
        init(&view);
        header.kind.iter().zip(kind_of::<T>()).for_each(|(to, kind)| to.store(kind, Ordering::Relaxed));
        header.layout.store(layout_of::<T>(), Ordering::Relaxed);
        header.words.store(words as u64, Ordering::Relaxed);
        let is_sparse = offset == 0 && self.size() as u64 != self.file_len();
        header.mapped.store(if is_sparse { self.size() as u64 } else { 0 }, Ordering::Relaxed);
        crate::crash_point!("segment.object-filled");
        // Release: publishes the object; pairs with the Acquire in `open`.
        header.state.store(READY, Ordering::Release);
        Ok(view)
    }

    /// Opens the object at `offset`, after a look at what it says it is. For the crates of the mechanisms.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none (yet), [`Error::Incompatible`] if it is another kind, version or type,
    /// [`Error::OutOfBounds`], [`Error::Forked`].
    pub fn open<T: Shared>(&self, offset: usize) -> Result<View<T>> {
        self.check_fork()?;
        let header = self.header(offset)?;
        match header.state.load(Ordering::Acquire) {
            READY => {}
            state if state < READY && (state == 0 || Participant::from_number(state).is_some()) => {
                return Err(Error::Missing { offset });
            }
            _ => return Err(Error::Incompatible(format!("there is no object at offset {offset}, but something else"))),
        }
        let kind = [0, 1].map(|half: usize| header.kind[half].load(Ordering::Relaxed));
        if kind != kind_of::<T>() {
            let letters = kind.iter().flat_map(|half| half.to_le_bytes()).take_while(u8::is_ascii_graphic);
            let found: String = letters.map(char::from).collect();
            return Err(Error::Incompatible(format!("the object is a \"{found}\" and not a \"{}\"", T::KIND)));
        }
        if header.layout.load(Ordering::Relaxed) != layout_of::<T>() {
            let what = T::contents();
            return Err(Error::Incompatible(format!(
                "the \"{}\" is of another type, version, C library or pid namespace{}{what}",
                T::KIND,
                if what.is_empty() { "" } else { " than one of " },
            )));
        }
        let words = header.words.load(Ordering::Relaxed);
        match usize::try_from(words) {
            Ok(words) if T::check_words(words) => self.view(offset, words, false),
            _ => Err(Error::Incompatible(format!("the \"{}\" says that it has {words} words", T::KIND))),
        }
    }

    fn view<T: Shared>(&self, offset: usize, words: usize, is_new: bool) -> Result<View<T>> {
        let bad = self.out_of_bounds(offset, Segment::space_for::<T>(0));
        if offset % Segment::ALIGNMENT != 0 || align_of::<T>() > Segment::ALIGNMENT {
            return Err(bad);
        }
        if self.is_read_only() {
            return Err(Error::ReadOnly);
        }
        let start = offset.checked_add(size_of::<Header>());
        start.and_then(|start| View::new(self, offset, start, words, is_new)).ok_or(bad)?
    }

    fn header(&self, offset: usize) -> Result<&Header> {
        let place = (offset % Segment::ALIGNMENT == 0).then(|| self.mapping().header(offset)).flatten();
        place.ok_or(self.out_of_bounds(offset, size_of::<Header>()))
    }
}

/// A view is the segment and where in it the object is.
impl<T: Shared> Serialize for View<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.segment(), self.offset() as u64).serialize(serializer)
    }
}

impl<'de, T: Shared> Deserialize<'de> for View<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<View<T>, D::Error> {
        let (segment, offset) = <(Segment, u64)>::deserialize(deserializer)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        segment.open(offset).map_err(|error| de::Error::custom(complaint::note(full(&error))))
    }
}

fn kind_of<T: Shared>() -> [u64; 2] {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(T::KIND.bytes()).for_each(|(to, from)| *to = from);
    let half = |n: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[n * 8 + i]));
    [half(0), half(1)]
}

/// A hash of everything both sides must agree on: FNV-1a.
fn layout_of<T: Shared>() -> u64 {
    let libc = format!("gnu {}", size_of::<libc::pthread_mutex_t>());
    let namespace = if T::HAS_LOCKS { pid_namespace() } else { "" };
    let (size, align) = (size_of::<T>(), align_of::<T>());
    let text = format!("{} {} {size} {align} {} {libc} {namespace}", T::KIND, T::VERSION, T::contents());
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Of this process, as `pid:[4026531836]`.
fn pid_namespace() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let link = std::fs::read_link("/proc/self/ns/pid");
        link.map_or("unknown".into(), |name| name.to_string_lossy().into_owned())
    })
}

/// What a process knows about an object that it has handles for: which of its places are in use by a guard of this process.
///
/// A guard that is forgotten leaves its mark for ever. So nobody in this process gets a second guard when the kernel takes the lock
/// back because the thread has ended: references that the first one gave out may still exist.
///
/// ```
/// use ipc_core::{Segment, Shared, View};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #[repr(transparent)]
/// struct Lock(std::sync::atomic::AtomicU64);
///
/// // SAFETY: an atomic.
/// unsafe impl Shared for Lock {
///     const KIND: &'static str = "lock";
///     const VERSION: u32 = 1;
/// }
///
/// let lock: View<Lock> = Segment::of(0, |_| ())?;
/// lock.local().mark(0); // when it gives a guard out
/// assert!(lock.clone().local().is_marked(0) && !lock.local().is_marked(1)); // for all handles of the process
/// lock.local().unmark(0); // when the guard is dropped
/// assert!(!lock.local().is_marked(0));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Local {
    extent: Extent,
    marks: [AtomicBool; Local::PLACES],
    keep_mapped: Arc<AtomicBool>,
}

impl Local {
    /// How many places can be told apart.
    pub const PLACES: usize = 65;

    /// Marks a place. The caller holds what makes it the only one who can.
    #[inline]
    pub fn mark(&self, place: usize) {
        self.marks[place].store(true, Ordering::Relaxed);
    }

    /// Takes the mark away.
    #[inline]
    pub fn unmark(&self, place: usize) {
        self.marks[place].store(false, Ordering::Relaxed);
    }

    /// Whether a place is in use by a guard of this process, or was forgotten in use.
    #[inline]
    pub fn is_marked(&self, place: usize) -> bool {
        self.marks[place].load(Ordering::Relaxed)
    }
}

impl Drop for Local {
    /// The last handle goes. If a guard was forgotten, the C library's list of held locks may run through the memory.
    fn drop(&mut self) {
        if self.marks.iter_mut().any(|mark| *mark.get_mut()) {
            self.keep_mapped.store(true, Ordering::Relaxed);
        }
    }
}

/// The bytes of an object, and those of them in which other objects may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) all: Range<usize>,
    pub(crate) room: Range<usize>,
}

impl Extent {
    fn clashes_with(&self, other: &Extent) -> bool {
        let overlap = self.all.start < other.all.end && other.all.start < self.all.end;
        let lies_in = |room: &Range<usize>, all: &Range<usize>| room.start <= all.start && all.end <= room.end;
        overlap && !lies_in(&self.room, &other.all) && !lies_in(&other.room, &self.all)
    }
}

/// The objects that a process has handles for, by the offset of their headers.
pub(crate) type Locals = BTreeMap<usize, Weak<Local>>;

/// Finds or makes what is known about an object. Objects that overlap would give out two `&mut` to the same bytes: the one that comes
/// later is refused; one that `is_new` also if what is there lies in its room, or is itself.
pub(crate) fn find_local(
    locals: &mut Locals,
    extent: Extent,
    is_new: bool,
    keep_mapped: impl FnOnce() -> Arc<AtomicBool>,
) -> Result<Arc<Local>> {
    if locals.len().is_power_of_two() {
        locals.retain(|_, local| local.strong_count() > 0); // now and then: each time would cost a square for many
    }
    let offset = extent.all.start;
    for (at, local) in near(locals, &extent.all) {
        if local.extent == extent && !is_new {
            return Ok(local);
        }
        let lies_inside = extent.all.start <= local.extent.all.start && local.extent.all.end <= extent.all.end;
        if local.extent.clashes_with(&extent) || (is_new && lies_inside) {
            return Err(Error::Exists { offset: at });
        }
    }
    let marks = std::array::from_fn(|_| AtomicBool::new(false));
    let local = Arc::new(Local { extent, marks, keep_mapped: keep_mapped() });
    locals.insert(offset, Arc::downgrade(&local));
    Ok(local)
}

/// Refuses bytes of objects.
pub(crate) fn check_plain(locals: &Locals, bytes: Range<usize>) -> Result<()> {
    let taken = near(locals, &bytes).find(|(_, local)| local.extent.all.end > bytes.start);
    taken.map_or(Ok(()), |(offset, _)| Err(Error::Exists { offset }))
}

/// The objects that may have bytes in common with these. Of those that end before them only the last two: an object lies in none other, or
/// in the room of one.
fn near<'a>(locals: &'a Locals, bytes: &Range<usize>) -> impl Iterator<Item = (usize, Arc<Local>)> + 'a {
    let start = bytes.start;
    let mut before = 0;
    let living = locals.range(..bytes.end).rev().filter_map(|(at, local)| Some((*at, local.upgrade()?)));
    living.take_while(move |(_, local)| {
        before += usize::from(local.extent.all.end <= start);
        before <= 2
    })
}
