//! Values in a row: lists, arrays, single values.

use std::ops::ControlFlow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::batch::{operations, request};
use crate::error::{Error, Result};
use crate::protocol::{Answer, Op};
use crate::proxy::proxy;
use crate::session::{done, flag, number, optional, some, unexpected};
use crate::snapshot::Snapshot;
use crate::value::Encoded;

proxy! {
    /// A list that many processes share: what `Vec<T>` is in one. Made by [`Manager::list`](crate::Manager::list).
    ///
    /// Each operation is done by the server, whole. Values are copied: to change an element, read it and write it, or use [`update`](List::update),
    /// which does that so that no change of another process is lost. A list or dict *inside* a list is shared if it is a proxy.
    ///
    /// ```
    /// use ipc_manager::{List, Manager, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let records = manager.list_of([("Sam".to_string(), 10), ("Adam".to_string(), 9)])?;
    /// let child = Process::spawn(
    ///     |records: List<(String, u32)>| records.push(&("Kevin".to_string(), 9)).map_err(|e| e.to_string()),
    ///     records.clone(),
    /// )?;
    /// child.join()??;
    /// assert_eq!(records.to_vec()?[2], ("Kevin".to_string(), 9));
    /// # Ok(()) }
    /// ```
    ///
    /// What the operations do, and what they return:
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let list = manager.list_of([3, 1, 2])?;
    /// assert_eq!(list.push(&4)?, 3); // its position
    /// list.extend(&[5, 5])?;
    /// list.insert(0, &0)?;
    /// assert_eq!((list.remove(1)?, list.pop()?, list.set(0, &9)?), (3, Some(5), 0));
    /// list.reverse()?;
    /// assert_eq!((list.position(&2)?, list.contains(&7)?, list.count(&9)?), (Some(2), false, 1));
    /// list.truncate(2)?;
    /// assert_eq!((list.len()?, list.to_vec()?, list.get(2)?), (2, vec![5, 4], None));
    /// list.clear()?;
    /// assert!(list.is_empty()? && list.pop()?.is_none());
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `multiprocessing.managers.ListProxy`.
    List<T>
}

operations! {
    List [T]
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let list = manager.list_of([3, 1])?;
    /// let mut batch = manager.batch();
    /// let (place, _) = (batch.add(list.later().push(&2)), batch.add(list.later().extend(&[5, 3])));
    /// let (first, last) = (batch.add(list.later().get(0)), batch.add(list.later().pop()));
    /// let (found, is_there) = (batch.add(list.later().position(&5)), batch.add(list.later().contains(&9)));
    /// let (threes, _) = (batch.add(list.later().count(&3)), batch.add(list.later().reverse()));
    /// let (_, len) = (batch.add(list.later().truncate(3)), batch.add(list.later().len()));
    /// let mut results = batch.send()?;
    /// assert_eq!((results.take(place)?, results.take(first)?, results.take(last)?), (2, Some(3), Some(3)));
    /// assert_eq!((results.take(found)?, results.take(is_there)?), (Some(3), false));
    /// assert_eq!((results.take(threes)?, results.take(len)?), (1, 3));
    /// assert_eq!(list.to_vec()?, [5, 2, 1]);
    /// list.later().clear().run()?;
    /// assert!(list.is_empty()?);
    /// # Ok(()) }
    /// ```
    ListLater where [T: Serialize + DeserializeOwned]

    /// How many elements it has.
    fn len() -> usize = |session, object| request(object, Op::Len), |_, answer| number(answer).map(|n| n as usize);

    /// Adds an element at the end, and returns its position.
    #[doc(alias = "append")]
    fn push(element: &T) -> usize = |session, object| request(object, Op::Push(Encoded::of(session, element)?.item())),
        |_, answer| number(answer).map(|n| n as usize);

    /// Adds many elements at the end, as one.
    fn extend(elements: &[T]) -> () = |session, object| {
            let encoded = elements.iter().map(|element| Encoded::of(session, element)).collect::<Result<Vec<_>>>()?;
            request(object, Op::Extend(encoded.iter().map(Encoded::item).collect()))
        },
        |_, answer| number(answer).map(drop);

    /// The element at a position, if there is one.
    fn get(index: usize) -> Option<T> = |session, object| request(object, Op::Get(index as u64)), |session, answer| optional(session, answer);

    /// Takes the last element away, if there is one.
    fn pop() -> Option<T> = |session, object| request(object, Op::Pop), |session, answer| optional(session, answer);

    /// Removes all elements.
    fn clear() -> () = |session, object| request(object, Op::Clear), |_, answer| done(answer);

    /// Keeps only the first `len` elements.
    fn truncate(len: usize) -> () = |session, object| request(object, Op::Truncate(len as u64)), |_, answer| done(answer);

    /// Turns the order around.
    fn reverse() -> () = |session, object| request(object, Op::Reverse), |_, answer| done(answer);

    /// Whether there is an element whose encoded form is that of `element`.
    fn contains(element: &T) -> bool = |session, object| request(object, Op::Find(Encoded::of(session, element)?.blob())),
        |_, answer| number(answer).map(|n| n != u64::MAX);

    /// Where the first element is whose encoded form is that of `element`.
    #[doc(alias = "index")]
    fn position(element: &T) -> Option<usize> = |session, object| request(object, Op::Find(Encoded::of(session, element)?.blob())),
        |_, answer| number(answer).map(|n| usize::try_from(n).ok().filter(|_| n != u64::MAX));

    /// How many elements have the encoded form of `element`.
    fn count(element: &T) -> usize = |session, object| request(object, Op::Count(Encoded::of(session, element)?.blob())),
        |_, answer| number(answer).map(|n| n as usize);
}

/// Names the position in the error, and takes its absence for `None` where that is what is meant.
fn at<R>(index: usize, read: impl FnOnce(Answer<'_>) -> Result<R>) -> impl FnOnce(Answer<'_>) -> Result<R> {
    move |answer| match answer {
        Answer::Fault(fault) => Err(fault.at(index)),
        other => read(other),
    }
}

impl<T: Serialize + DeserializeOwned> List<T> {
    /// Whether it has no elements.
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Replaces an element, and returns what it was.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn set(&self, index: usize, element: &T) -> Result<T> {
        set(&self.proxy, index, element)
    }

    /// Puts an element before the one at `index`, or at the end.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn insert(&self, index: usize, element: &T) -> Result<()> {
        let encoded = Encoded::of(self.proxy.session(), element)?;
        self.proxy.call(Op::Insert(index as u64, encoded.item()), at(index, done))
    }

    /// Takes the element at `index` away.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn remove(&self, index: usize) -> Result<T> {
        let session = self.proxy.session();
        self.proxy.call(Op::Remove(index as u64), at(index, |answer| some(session, answer)))
    }

    /// Replaces the element at `index` if it still is `expected`, by its encoded form; else returns what it is.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let seats = manager.list_of(["free".to_string()])?;
    /// let (free, ada, bob) = ("free".to_string(), "Ada".to_string(), "Bob".to_string());
    /// assert_eq!(seats.compare_and_swap(0, &free, &ada)?, Ok(()));
    /// assert_eq!(seats.compare_and_swap(0, &free, &bob)?, Err(ada)); // somebody was faster: this one
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn compare_and_swap(&self, index: usize, expected: &T, new: &T) -> Result<Result<(), T>> {
        compare_and_swap(&self.proxy, index, expected, new)
    }

    /// Changes the element at `index` by a function, and returns what it has become. If another process changes it at the same time, the function is called
    /// again with what it is then; so no change is lost.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let counts = manager.list_of([0u32])?;
    /// std::thread::scope(|scope| {
    ///     let add = || (0..50).try_for_each(|_| counts.update(0, |n| n + 1).map(drop));
    ///     let threads = [scope.spawn(add), scope.spawn(add)];
    ///     threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    /// })?;
    /// assert_eq!(counts.get(0)?, Some(100)); // with `get` and `set` it might be less
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn update(&self, index: usize, change: impl FnMut(T) -> T) -> Result<T> {
        update(&self.proxy, index, change)
    }

    /// Changes the whole list by a function, as to sort it. If another process changes it at the same time, the function is called again with what it is then.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let names = manager.list_of(["Eve", "Ada", "Bob", "Ada"].map(String::from))?;
    /// names.update_all(|names| {
    ///     names.sort();
    ///     names.dedup();
    /// })?;
    /// assert_eq!(names.to_vec()?, ["Ada", "Bob", "Eve"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Disconnected`], [`Error::TooLarge`], [`Error::Timeout`].
    #[doc(alias = "sort")]
    pub fn update_all(&self, change: impl FnMut(&mut Vec<T>)) -> Result<()> {
        update_all(&self.proxy, change)
    }

    /// All elements, as they are at one moment.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        self.iter()?.collect()
    }

    /// All elements, as they are at this moment, fetched page by page.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let list = manager.list_of(1..=1000)?;
    /// let mut sum = 0;
    /// for n in list.iter()? {
    ///     sum += n?; // what others change meanwhile is not seen
    /// }
    /// assert_eq!(sum, 500_500);
    /// # Ok(()) }
    /// ```
    pub fn iter(&self) -> Result<Snapshot<T>> {
        Snapshot::begin(&self.proxy, Op::Snapshot)
    }

    /// Takes all elements away, as one, and returns them. What is not fetched is lost.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let letters = manager.list_of(['a', 'b'])?;
    /// let mine = letters.drain()?; // of several who do this at the same time one gets each element
    /// assert!(letters.is_empty()?);
    /// assert_eq!(mine.collect::<Result<Vec<_>, _>>()?, ['a', 'b']);
    /// # Ok(()) }
    /// ```
    pub fn drain(&self) -> Result<Snapshot<T>> {
        Snapshot::begin(&self.proxy, Op::Drain)
    }
}

use crate::proxy::Proxy;

fn set<T: Serialize + DeserializeOwned>(proxy: &Proxy, index: usize, element: &T) -> Result<T> {
    let encoded = Encoded::of(proxy.session(), element)?;
    proxy.call(Op::Set(index as u64, encoded.item()), at(index, |answer| some(proxy.session(), answer)))
}

fn compare_and_swap<T: Serialize + DeserializeOwned>(
    proxy: &Proxy,
    index: usize,
    expected: &T,
    new: &T,
) -> Result<Result<(), T>> {
    let session = proxy.session();
    let (expected, new) = (Encoded::of(session, expected)?, Encoded::of(session, new)?);
    let op = Op::Swap { index: index as u64, expected: expected.blob(), new: new.item() };
    proxy.call(
        op,
        at(index, |answer| match answer {
            Answer::Done => Ok(Ok(())),
            Answer::Unequal(Some(item)) => crate::session::decode(session, &item).map(Err),
            other => Err(unexpected(other)),
        }),
    )
}

fn update<T: Serialize + DeserializeOwned>(proxy: &Proxy, index: usize, mut change: impl FnMut(T) -> T) -> Result<T> {
    let session = proxy.session();
    // The bytes that are there, not those that the value would be encoded to again: a map in it may come out in another order.
    let there: Option<(Vec<u8>, T)> = proxy.call(Op::Get(index as u64), |answer| match answer {
        Answer::Item(Some(item)) => Ok(Some((item.bytes.0.to_vec(), crate::session::decode(session, &item)?))),
        Answer::Item(None) => Ok(None),
        other => Err(unexpected(other)),
    })?;
    let Some((mut bytes, mut element)) = there else {
        let len = proxy.call(Op::Len, number)?.min(index as u64); // it may have grown since
        return Err(Error::OutOfRange { index, len });
    };
    loop {
        let changed = change(element);
        let new = Encoded::of(session, &changed)?;
        let op = Op::Swap { index: index as u64, expected: crate::protocol::Blob(&bytes), new: new.item() };
        let outcome = proxy.call(
            op,
            at(index, |answer| match answer {
                Answer::Done => Ok(ControlFlow::Break(())),
                Answer::Unequal(Some(item)) => {
                    Ok(ControlFlow::Continue((item.bytes.0.to_vec(), crate::session::decode(session, &item)?)))
                }
                other => Err(unexpected(other)),
            }),
        )?;
        match outcome {
            ControlFlow::Break(()) => return Ok(changed),
            ControlFlow::Continue(now) => (bytes, element) = now,
        }
    }
}

fn update_all<T: Serialize + DeserializeOwned>(proxy: &Proxy, mut change: impl FnMut(&mut Vec<T>)) -> Result<()> {
    let session = proxy.session();
    loop {
        let snapshot = Snapshot::begin(proxy, Op::Snapshot)?;
        let version = snapshot.version();
        let mut all = snapshot.collect::<Result<Vec<T>>>()?;
        change(&mut all);
        let encoded = all.iter().map(|element| Encoded::of(session, element)).collect::<Result<Vec<_>>>()?;
        let items = encoded.iter().map(Encoded::item).collect();
        if proxy.call(Op::Replace { version, items }, flag)? {
            return Ok(());
        }
    }
}

proxy! {
    /// An array that many processes share: as many elements for ever. Made by [`Manager::array`](crate::Manager::array).
    ///
    /// ```
    /// use ipc_manager::Manager;
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::start()?;
    /// let sums = manager.array([0u64; 3])?;
    /// sums.update(1, |n| n + 5)?;
    /// assert_eq!(sums.to_vec()?, [0, 5, 0]);
    /// assert!(sums.set(3, &1).is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// What the operations do, and what they return:
    ///
    /// ```
    /// use ipc_manager::{Error, Manager};
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::start()?;
    /// let pixels = manager.array([7u8, 0, 0])?;
    /// assert_eq!((pixels.set(0, &9)?, pixels.get(0)?, pixels.get(3)?), (7, Some(9), None));
    /// assert_eq!(pixels.compare_and_swap(1, &5, &6)?, Err(0)); // it is not 5
    /// pixels.update_all(|all| all.sort())?;
    /// assert_eq!((pixels.to_vec()?, pixels.len()?, pixels.is_empty()?), (vec![0, 0, 9], 3, false));
    /// assert!(matches!(pixels.update(3, |n| n), Err(Error::OutOfRange { index: 3, len: 3 })));
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `multiprocessing.managers.ArrayProxy`. Memory that is shared, and faster by far: `ipc_shm::Array`.
    Array<T>
}

operations! {
    Array [T]
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let sums = manager.array([1, 2, 3])?;
    /// let mut batch = manager.batch();
    /// let (len, last) = (batch.add(sums.later().len()), batch.add(sums.later().get(2)));
    /// let mut results = batch.send()?;
    /// assert_eq!((results.take(len)?, results.take(last)?), (3, Some(3)));
    /// # Ok(()) }
    /// ```
    ArrayLater where [T: Serialize + DeserializeOwned]

    /// How many elements it has.
    fn len() -> usize = |session, object| request(object, Op::Len), |_, answer| number(answer).map(|n| n as usize);

    /// The element at a position, if there is one.
    fn get(index: usize) -> Option<T> = |session, object| request(object, Op::Get(index as u64)), |session, answer| optional(session, answer);
}

impl<T: Serialize + DeserializeOwned> Array<T> {
    /// Whether it has no elements.
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Replaces an element, and returns what it was.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn set(&self, index: usize, element: &T) -> Result<T> {
        set(&self.proxy, index, element)
    }

    /// As [`List::compare_and_swap`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn compare_and_swap(&self, index: usize, expected: &T, new: &T) -> Result<Result<(), T>> {
        compare_and_swap(&self.proxy, index, expected, new)
    }

    /// As [`List::update`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn update(&self, index: usize, change: impl FnMut(T) -> T) -> Result<T> {
        update(&self.proxy, index, change)
    }

    /// As [`List::update_all`]; the number of elements stays.
    ///
    /// # Errors
    /// [`Error::Disconnected`], [`Error::TooLarge`], [`Error::Timeout`].
    pub fn update_all(&self, mut change: impl FnMut(&mut [T])) -> Result<()> {
        update_all(&self.proxy, |all: &mut Vec<T>| change(all))
    }

    /// All elements, as they are at one moment.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        Snapshot::begin(&self.proxy, Op::Snapshot)?.collect()
    }
}

proxy! {
    /// One value that many processes share. Made by [`Manager::value`](crate::Manager::value).
    ///
    /// ```
    /// use ipc_manager::Manager;
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::start()?;
    /// let best = manager.value(("nobody".to_string(), 0))?;
    /// best.update(|old| if old.1 < 7 { ("Ada".to_string(), 7) } else { old })?;
    /// assert_eq!(best.get()?, ("Ada".to_string(), 7));
    /// # Ok(()) }
    /// ```
    ///
    /// Who of several is first, and what was there before:
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let leader = manager.value("nobody".to_string())?;
    /// let (nobody, ada, bob) = ("nobody".to_string(), "Ada".to_string(), "Bob".to_string());
    /// assert_eq!(leader.compare_and_swap(&nobody, &ada)?, Ok(()));
    /// assert_eq!(leader.compare_and_swap(&nobody, &bob)?, Err(ada.clone())); // there is one already
    /// assert_eq!(leader.replace(&bob)?, ada);
    /// leader.set(&nobody)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `multiprocessing.managers.ValueProxy`, whose `+= 1` loses changes. Memory that is shared, and faster by far: `ipc_shm::Value`.
    Value<T>
}

operations! {
    Value [T]
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let (width, height) = (manager.value(3)?, manager.value(4)?);
    /// let mut batch = manager.batch();
    /// let (old, now) = (batch.add(width.later().replace(&5)), batch.add(height.later().get()));
    /// let mut results = batch.send()?;
    /// assert_eq!((results.take(old)?, results.take(now)?, width.get()?), (3, 4, 5));
    /// # Ok(()) }
    /// ```
    ValueLater where [T: Serialize + DeserializeOwned]

    /// The value.
    fn get() -> T = |session, object| request(object, Op::Get(0)), |session, answer| some(session, answer);

    /// Replaces the value, and returns what it was.
    #[doc(alias = "set")]
    fn replace(new: &T) -> T = |session, object| request(object, Op::Set(0, Encoded::of(session, new)?.item())),
        |session, answer| some(session, answer);
}

impl<T: Serialize + DeserializeOwned> Value<T> {
    /// Sets the value.
    pub fn set(&self, new: &T) -> Result<()> {
        self.replace(new).map(drop)
    }

    /// Replaces the value if it still is `expected`, by its encoded form; else returns what it is.
    pub fn compare_and_swap(&self, expected: &T, new: &T) -> Result<Result<(), T>> {
        compare_and_swap(&self.proxy, 0, expected, new)
    }

    /// Changes the value by a function, and returns what it has become. If another process changes it at the same time, the function is called again
    /// with what it is then; so no change is lost.
    pub fn update(&self, change: impl FnMut(T) -> T) -> Result<T> {
        update(&self.proxy, 0, change)
    }
}
