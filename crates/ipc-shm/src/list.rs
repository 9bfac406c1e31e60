//! Python's list in shared memory, byte for byte.

mod item;
mod layout;
#[cfg(test)]
mod tests;

use std::fmt;
use std::iter::FusedIterator;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::item::Item;
use self::layout::{Dialect, Layout, encode, image};
use crate::{Error, Result, SharedMemory};

/// A list of numbers, texts, bytes, booleans and `None`s that Rust and Python processes share, after Python's class of this name.
///
/// Its length is fixed, and so is the room of each element; within its room an element can be replaced by one of another type.
/// A list is a handle: clone it, pass it to `Process::spawn`, send it in messages, or give it a name that a Python process opens.
///
/// ```
/// use ipc_shm::{Item, ShareableList};
///
/// # fn main() -> Result<(), ipc_shm::Error> {
/// # let name = &format!("ipc-doc-list-{}", std::process::id());
/// let list = ShareableList::create(name, [Item::from(7), "grün".into(), 2.5.into(), true.into(), Item::None])?;
///
/// // Another process; in Python it would be
/// //     list = ShareableList(name=name)
/// //     list[1] = 'rot'
/// let theirs = ShareableList::open(name)?;
/// theirs.set(1, "rot")?;
///
/// assert_eq!(list.get(1)?, Item::from("rot"));
/// let count: i64 = list.get(0)?.try_into()?;
/// assert_eq!(count, 7);
/// # Ok(()) }
/// ```
///
/// # Concurrency
///
/// A list has no lock, as in Python: an element is several words, and whoever reads it while another process writes it may get an error or
/// a value that nobody wrote. Put an `ipc_sync::Mutex` beside it where that can happen between Rust processes; a Python process needs an
/// agreement of its own, such as a message that says whose turn it is. The same holds for a process that is killed while it writes: the
/// element it was about may be of its new type with its old bytes, all others are as they were.
///
/// # Hostile memory
///
/// Length and places of the elements are read and checked once, when the list is opened; the type of an element each time it is
/// read. So no bytes, and no change to them at whatever moment, do more than give an error or another value.
/// An open list allocates less than the list itself takes. A process that cuts off the memory itself is another matter: see
/// [`SharedMemory`].
///
/// # From Python
///
/// | `ShareableList` | here |
/// |---|---|
/// | `ShareableList(items, name=n)` | [`create`](Self::create) |
/// | `ShareableList(items)` | [`anonymous`](Self::anonymous), which needs no name |
/// | `ShareableList(name=n)` | [`open`](Self::open) |
/// | `l[i]`, `l[i] = x`, `len(l)`, `list(l)` | [`get`](Self::get), [`set`](Self::set), [`len`](Self::len), [`to_vec`](Self::to_vec) |
/// | `l.index(x)`, `l.count(x)` | [`index`](Self::index), [`count`](Self::count) |
/// | `l.format`, `l.shm`, `l.shm.unlink()` | [`format`](Self::format) by element, [`memory`](Self::memory), [`SharedMemory::unlink`] |
///
/// What is different:
///
/// - **Length of texts.** Python measures a text in characters when it makes room for it, and cuts off what then is too long in UTF-8,
///   without a word (CPython issue 145261). Here room is measured in bytes, so texts arrive in Python whole, and what does not fit is
///   [`Error::TooLong`]. A text that Python has cut within a character is [`Error::Text`]; one that it has
///   cut between two cannot be told from a shorter one.
/// - **NULs at the end** of a text or of bytes are taken for filling by every reader, Python's too (CPython issue 106939). To write
///   such a value is therefore [`Error::TrailingNul`]; NULs elsewhere are kept.
/// - **Equality.** For `index` and `count` the type matters: `1`, `1.0` and `True` are the same to Python, but different here.
/// - **Python 3.8** has a layout of its own, and later versions do not understand it. [`open`](Self::open) understands both;
///   to make a list for 3.8 there is [`create_for_python_3_8`](Self::create_for_python_3_8).
///
/// A Python process that only *opens* a list removes its name when it ends, and with it the list for everybody who comes later: its
/// resource tracker takes everything for its own that the process has seen (CPython issue 82300). The cure, in every version, is a line
/// after the opening:
///
/// ```python
/// from multiprocessing import resource_tracker
/// from multiprocessing.shared_memory import ShareableList
///
/// l = ShareableList(name=name)
/// resource_tracker.unregister(l.shm._name, 'shared_memory')
/// ```
///
/// For a plain `SharedMemory` Python 3.13 has `track=False`. Whoever has the list open keeps it in either case.
///
/// # When not to use it
///
/// Between Rust processes only: a `Value` or an `Array` is typed, and has a lock that survives its owners.
///
/// # References
/// CPython `Lib/multiprocessing/shared_memory.py`, class `ShareableList`.
#[derive(Clone)]
pub struct ShareableList {
    memory: SharedMemory,
    layout: Layout,
}

impl ShareableList {
    /// Makes a list of these elements under a new name, which is removed when this process drops its last handle; for another
    /// [`Ownership`](crate::Ownership) see [`create_with`](Self::create_with).
    ///
    /// A text or bytes get at least one byte more room than they have, up to the next multiple of 8; so give an element the
    /// longest value it will have, and set it afterwards. Who opens the name before the list is complete gets an error, or in Python
    /// an empty list.
    ///
    /// # Errors
    /// Those of [`SharedMemory::create`]; a text or bytes are longer than 9,999,991 bytes ([`TooLong`](Error::TooLong)), or
    /// they end with a NUL ([`TrailingNul`](Error::TrailingNul)). Then there is no new name.
    pub fn create<I: Into<Item>>(name: &str, items: impl IntoIterator<Item = I>) -> Result<ShareableList> {
        ShareableList::create_with(items, |size| SharedMemory::create(name, size))
    }

    /// Makes a list of these elements in memory that `make` makes when it is told the size.
    ///
    /// ```
    /// use ipc_shm::{Ownership, ShareableList, SharedMemory};
    ///
    /// # fn main() -> Result<(), ipc_shm::Error> {
    /// # let name = &format!("ipc-doc-list-owned-{}", std::process::id());
    /// // For Python processes that are to find it when this process has ended: Python is no user that ours would see.
    /// let make = |size| SharedMemory::create_owned(name, size, Ownership::Persistent);
    /// drop(ShareableList::create_with([1, 2, 3], make)?);
    /// assert_eq!(ShareableList::open(name)?.len(), 3);
    /// SharedMemory::unlink(name)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`create`](Self::create); [`Length`](Error::Length) if the memory has another size.
    pub fn create_with<I: Into<Item>>(
        items: impl IntoIterator<Item = I>,
        make: impl FnOnce(usize) -> Result<SharedMemory>,
    ) -> Result<ShareableList> {
        ShareableList::make(items.into_iter().map(Into::into), Dialect::Offsets, make)
    }

    /// As [`create_with`](Self::create_with), in the layout that only Python 3.8 knows.
    ///
    /// ```
    /// use ipc_shm::{ShareableList, SharedMemory};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// # let name = &format!("ipc-doc-list-38-{}", std::process::id());
    /// let list = ShareableList::create_for_python_3_8(["spam"], |size| SharedMemory::create(name, size))?;
    /// assert_eq!(list.name(), Some(name.as_str()));
    /// assert_eq!(ShareableList::open(name)?.get(0)?, "spam".into()); // either layout is understood
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As `create_with`.
    pub fn create_for_python_3_8<I: Into<Item>>(
        items: impl IntoIterator<Item = I>,
        make: impl FnOnce(usize) -> Result<SharedMemory>,
    ) -> Result<ShareableList> {
        ShareableList::make(items.into_iter().map(Into::into), Dialect::Sizes, make)
    }

    /// Makes a list without a name, for the processes it is handed to: nothing of it can be left behind.
    ///
    /// # Errors
    /// As [`create`](Self::create), but for the name.
    pub fn anonymous<I: Into<Item>>(items: impl IntoIterator<Item = I>) -> Result<ShareableList> {
        ShareableList::create_with(items, SharedMemory::anonymous)
    }

    fn make(
        items: impl Iterator<Item = Item>,
        dialect: Dialect,
        make: impl FnOnce(usize) -> Result<SharedMemory>,
    ) -> Result<ShareableList> {
        let image = image(items, dialect)?;
        let layout = Layout::read(&image[..])?;
        let memory = make(image.len())?;
        if memory.size() != image.len() {
            return Err(Error::Length { expected: image.len(), found: memory.size() });
        }
        // The length comes last: until then it is 0, which no other list of this size has.
        let (len, rest) = image.split_at(size_of::<u64>());
        memory.write_at(len.len(), rest)?;
        memory.write_at(0, len)?;
        Ok(ShareableList { memory, layout })
    }

    /// Opens the list of this name, whoever has made it.
    ///
    /// # Errors
    /// There is no such name, or no list under it ([`Layout`](Error::Layout)).
    #[doc(alias = "attach")]
    pub fn open(name: &str) -> Result<ShareableList> {
        ShareableList::from_memory(SharedMemory::open(name)?)
    }

    /// Takes the list that lies in a memory; if that was opened for reading only, so is the list.
    ///
    /// ```
    /// use ipc_shm::{Error, ShareableList, SharedMemory};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// let list = ShareableList::anonymous(["a", "b"])?;
    /// let again = ShareableList::from_memory(list.memory().clone())?;
    /// list.set(1, "c")?;
    /// assert_eq!(again.get(1)?, "c".into());
    /// let memory = SharedMemory::anonymous(3)?; // too short even for a list without elements
    /// assert!(matches!(ShareableList::from_memory(memory), Err(Error::Layout(_))));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Layout`](Error::Layout) if there is none.
    pub fn from_memory(memory: SharedMemory) -> Result<ShareableList> {
        let layout = Layout::read(&memory)?;
        Ok(ShareableList { memory, layout })
    }

    /// Reads an element.
    ///
    /// # Errors
    /// [`Index`](Error::Index); [`Layout`](Error::Layout) if its type is none, which is a foreign mistake or a race;
    /// [`Text`](Error::Text) if it is a text, but not in UTF-8.
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: usize) -> Result<Item> {
        self.layout.item(&self.memory, index)
    }

    /// Replaces an element, also by one of another type. Nothing is written if there is an error.
    ///
    /// ```
    /// use ipc_shm::{Error, Item, ShareableList};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// let list = ShareableList::anonymous([Item::from("short"), 1.into()])?;
    /// assert_eq!(list.room(0)?, 8);
    /// list.set(0, 2.5)?; // another type
    /// list.set(0, "eight...")?;
    /// assert!(matches!(list.set(0, "nine....."), Err(Error::TooLong { needed: 9, room: 8 })));
    /// assert!(matches!(list.set(0, "nul\0"), Err(Error::TrailingNul)));
    /// assert_eq!(list.get(0)?, "eight...".into()); // nothing was written
    /// assert!(matches!(list.set(2, 1), Err(Error::Index { index: 2, len: 2 })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Index`](Error::Index); [`TooLong`](Error::TooLong) for its room; [`TrailingNul`](Error::TrailingNul);
    /// [`ReadOnly`](Error::ReadOnly).
    #[doc(alias = "__setitem__")]
    pub fn set(&self, index: usize, item: impl Into<Item>) -> Result<()> {
        let slot = self.layout.slot(index)?;
        let encoded = encode(&item.into(), slot.room)?;
        // In Python's order: whoever reads meanwhile sees the mixtures that Python's readers would see.
        self.memory.write_at(slot.format, &encoded.format)?;
        self.memory.write_at(slot.code, &[encoded.code])?;
        self.memory.write_at(slot.value, &encoded.value)
    }

    /// How many elements there are.
    #[doc(alias = "__len__")]
    pub fn len(&self) -> usize {
        self.layout.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements, one after the other; each is read when it is asked for.
    pub fn iter(&self) -> Iter<'_> {
        Iter { list: self, indices: 0..self.len() }
    }

    /// Reads all elements.
    ///
    /// ```
    /// # fn main() -> ipc_shm::Result<()> {
    /// let list = ipc_shm::ShareableList::anonymous(["a", "b"])?;
    /// assert_eq!(list.to_vec()?, ["a".into(), "b".into()]);
    /// let texts: Vec<String> = list.iter().map(|item| item?.try_into()).collect::<Result<_, _>>()?; // or of one type
    /// assert_eq!(texts, ["a", "b"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// That of the first that cannot be read, see [`get`](Self::get).
    pub fn to_vec(&self) -> Result<Vec<Item>> {
        self.iter().collect()
    }

    /// Where the first element is that equals `item`, which includes its type.
    ///
    /// ```
    /// use ipc_shm::{Item, ShareableList};
    ///
    /// # fn main() -> ipc_shm::Result<()> {
    /// let list = ShareableList::anonymous([Item::Int(1), Item::Float(1.0), Item::Int(1)])?;
    /// assert_eq!(list.index(&1.0.into())?, Some(1)); // in Python it would be 0
    /// assert_eq!(list.count(&1.into())?, 2); // in Python 3
    /// assert_eq!(list.index(&true.into())?, None);
    /// assert_eq!((list.format(0)?, list.format(1)?), ("q".to_string(), "d".to_string()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// An element before it cannot be read, see [`get`](Self::get).
    pub fn index(&self, item: &Item) -> Result<Option<usize>> {
        for (index, element) in self.iter().enumerate() {
            if element? == *item {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// How many elements equal `item`, which includes its type.
    ///
    /// # Errors
    /// An element cannot be read, see [`get`](Self::get).
    pub fn count(&self, item: &Item) -> Result<usize> {
        self.iter().try_fold(0, |count, element| Ok(count + usize::from(element? == *item)))
    }

    /// How an element is packed, in the language of Python's module `struct`: `q`, `d`, `16s`, …
    ///
    /// # Errors
    /// [`Index`](Error::Index); [`Layout`](Error::Layout) as with [`get`](Self::get).
    pub fn format(&self, index: usize) -> Result<String> {
        self.layout.format(&self.memory, index)
    }

    /// How many bytes a text, or bytes, may have in the place of this element.
    ///
    /// # Errors
    /// [`Index`](Error::Index).
    pub fn room(&self, index: usize) -> Result<usize> {
        Ok(self.layout.slot(index)?.room)
    }

    /// The name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.memory.name()
    }

    /// The memory it lies in.
    #[doc(alias = "shm")]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }
}

impl fmt::Debug for ShareableList {
    // Without the elements: they may change, be unreadable, or be ten megabytes long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareableList").field("name", &self.name()).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Serialize for ShareableList {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.memory.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ShareableList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        ShareableList::from_memory(SharedMemory::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The elements of a [`ShareableList`].
///
/// ```
/// # fn main() -> ipc_shm::Result<()> {
/// let list = ipc_shm::ShareableList::anonymous([1, 2, 3])?;
/// let mut backwards = Vec::new();
/// for item in list.iter().rev() {
///     backwards.push(i64::try_from(item?)?); // each may be unreadable by itself
/// }
/// assert_eq!(backwards, [3, 2, 1]);
/// assert_eq!((list.is_empty(), list.to_vec()?.len()), (false, list.len()));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    list: &'a ShareableList,
    indices: Range<usize>,
}

impl Iterator for Iter<'_> {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        Some(self.list.get(self.indices.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.indices.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Result<Item>> {
        Some(self.list.get(self.indices.next_back()?))
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a ShareableList {
    type Item = Result<Item>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
