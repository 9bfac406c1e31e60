//! Values by key: dicts, sets, namespaces.

use std::any::type_name;
use std::fmt;
use std::hash::Hash;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::batch::{operations, request};
use crate::error::{Error, Result};
use crate::protocol::{Answer, Blob, Op, Pair};
use crate::proxy::proxy;
use crate::session::{decode, done, flag, number, optional, some, unexpected};
use crate::snapshot::{Entries, Keys, Pages};
use crate::value::Encoded;

proxy! {
    /// A dictionary that many processes share: what `HashMap<K, V>` is in one. Made by [`Manager::dict`](crate::Manager::dict).
    ///
    /// Each operation is done by the server, whole. Two keys are equal if their encoded forms are, so a key must not contain a `HashMap` or
    /// `HashSet`, whose order is arbitrary, nor proxies. Values are copied: see [`List`](crate::List).
    ///
    /// ```
    /// use ipc_manager::{Dict, Manager, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let counts = manager.dict::<String, u32>()?;
    /// let count = |(counts, word): (Dict<String, u32>, String)| {
    ///     for _ in 0..100 {
    ///         counts.update(&word, |n| n.unwrap_or(0) + 1).unwrap();
    ///     }
    /// };
    /// let children = ["one", "two", "one"].map(|word| Process::spawn(count, (counts.clone(), word.to_string())).unwrap());
    /// for child in children {
    ///     child.join()?;
    /// }
    /// assert_eq!((counts.get(&"one".to_string())?, counts.get(&"two".to_string())?), (Some(200), Some(100)));
    /// # Ok(()) }
    /// ```
    ///
    /// What the operations do, and what they return:
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let stock = manager.dict_of([('a', 1), ('b', 2)])?;
    /// assert_eq!((stock.insert(&'c', &3)?, stock.insert(&'a', &9)?), (None, Some(1))); // what was there
    /// assert_eq!((stock.get(&'z')?, stock.contains_key(&'b')?, stock.remove(&'b')?), (None, true, Some(2)));
    /// assert_eq!((stock.get_or_insert(&'d', &4)?, stock.get_or_insert(&'a', &4)?), (4, 9));
    /// stock.extend([(&'e', &5), (&'f', &6)])?; // as one change
    /// assert_eq!((stock.keys()?.len(), stock.values()?.iter().sum::<u32>()), (5, 27));
    /// assert_eq!(stock.to_map()?[&'e'], 5);
    /// assert!(stock.pop_any()?.is_some() && stock.len()? == 4);
    /// stock.clear()?;
    /// assert!(stock.is_empty()? && stock.pop_any()?.is_none());
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `multiprocessing.managers.DictProxy`.
    Dict<K, V>
}

operations! {
    Dict [K, V]
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let stock = manager.dict_of([('a', 1)])?;
    /// let mut batch = manager.batch();
    /// let (old, new) = (batch.add(stock.later().insert(&'a', &2)), batch.add(stock.later().get_or_insert(&'b', &3)));
    /// let (taken, is_there) = (batch.add(stock.later().remove(&'a')), batch.add(stock.later().contains_key(&'a')));
    /// let (value, len) = (batch.add(stock.later().get(&'b')), batch.add(stock.later().len()));
    /// let (any, _) = (batch.add(stock.later().pop_any()), batch.add(stock.later().clear()));
    /// let mut results = batch.send()?;
    /// assert_eq!((results.take(old)?, results.take(new)?), (Some(1), 3));
    /// assert_eq!((results.take(taken)?, results.take(is_there)?), (Some(2), false));
    /// assert_eq!((results.take(value)?, results.take(len)?, results.take(any)?), (Some(3), 1, Some(('b', 3))));
    /// # Ok(()) }
    /// ```
    DictLater where [K: Serialize + DeserializeOwned + Eq + Hash, V: Serialize + DeserializeOwned]

    /// How many keys it has.
    fn len() -> usize = |session, object| request(object, Op::Len), |_, answer| number(answer).map(|n| n as usize);

    /// The value of a key, if it has one.
    fn get(key: &K) -> Option<V> = |session, object| request(object, Op::Lookup(Encoded::of(session, key)?.key()?)),
        |session, answer| optional(session, answer);

    /// Sets the value of a key, and returns what it was.
    fn insert(key: &K, value: &V) -> Option<V> = |session, object| {
            let (key, value) = (Encoded::of(session, key)?, Encoded::of(session, value)?);
            request(object, Op::Put(key.key()?, value.item()))
        },
        |session, answer| optional(session, answer);

    /// Removes a key, and returns its value.
    #[doc(alias = "pop")]
    fn remove(key: &K) -> Option<V> = |session, object| request(object, Op::Take(Encoded::of(session, key)?.key()?)),
        |session, answer| optional(session, answer);

    /// Whether there is such a key.
    fn contains_key(key: &K) -> bool = |session, object| request(object, Op::Has(Encoded::of(session, key)?.key()?)),
        |_, answer| flag(answer);

    /// The value of a key, which is set to `default` if there is none.
    #[doc(alias = "setdefault")]
    fn get_or_insert(key: &K, default: &V) -> V = |session, object| {
            let (key, value) = (Encoded::of(session, key)?, Encoded::of(session, default)?);
            request(object, Op::GetOrPut(key.key()?, value.item()))
        },
        |session, answer| some(session, answer);

    /// Removes some key and its value, if there is one.
    #[doc(alias = "popitem")]
    fn pop_any() -> Option<(K, V)> = |session, object| request(object, Op::TakeAny),
        |session, answer| match answer {
            Answer::Pair(None) => Ok(None),
            Answer::Pair(Some((key, item))) => {
                let value = decode(session, &item)?; // first, as it may contain proxies
                Ok(Some((decode(session, &crate::protocol::Item { bytes: key, refs: Vec::new() })?, value)))
            }
            other => Err(unexpected(other)),
        };

    /// Removes all keys.
    fn clear() -> () = |session, object| request(object, Op::Clear), |_, answer| done(answer);
}

impl<K, V> Dict<K, V>
where
    K: Serialize + DeserializeOwned + Eq + Hash,
    V: Serialize + DeserializeOwned,
{
    /// Whether it has no keys.
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Sets the values of many keys, as one.
    #[doc(alias = "update")]
    pub fn extend<'a>(&self, entries: impl IntoIterator<Item = (&'a K, &'a V)>) -> Result<()>
    where
        K: 'a,
        V: 'a,
    {
        let encoded = encode_pairs(&self.proxy, entries)?;
        self.proxy.call(Op::PutMany(pairs(&encoded)?), |answer| number(answer).map(drop))
    }

    /// Replaces the value of a key (`None`: no value) if it still is `expected`, by its encoded form; else returns what it is.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let owners = manager.dict::<u32, String>()?;
    /// let (ada, bob) = ("Ada".to_string(), "Bob".to_string());
    /// assert_eq!(owners.compare_and_swap(&1, None, Some(&ada))?, Ok(())); // nobody had it
    /// assert_eq!(owners.compare_and_swap(&1, None, Some(&bob))?, Err(Some(ada.clone())));
    /// assert_eq!(owners.compare_and_swap(&1, Some(&ada), None)?, Ok(())); // given back
    /// assert!(owners.is_empty()?);
    /// # Ok(()) }
    /// ```
    pub fn compare_and_swap(
        &self,
        key: &K,
        expected: Option<&V>,
        new: Option<&V>,
    ) -> Result<std::result::Result<(), Option<V>>> {
        let session = self.proxy.session();
        let key = Encoded::of(session, key)?;
        let expected = expected.map(|value| Encoded::of(session, value)).transpose()?;
        let new = new.map(|value| Encoded::of(session, value)).transpose()?;
        let op = Op::SwapKey {
            key: key.key()?,
            expected: expected.as_ref().map(Encoded::blob),
            new: new.as_ref().map(Encoded::item),
        };
        self.proxy.call(op, |answer| match answer {
            Answer::Done => Ok(Ok(())),
            Answer::Unequal(there) => there.map(|item| decode(session, &item)).transpose().map(Err),
            other => Err(unexpected(other)),
        })
    }

    /// Changes the value of a key by a function, which gets `None` if there is none, and returns what it has become. If another process changes it at the same
    /// time, the function is called again with what it is then; so no change is lost.
    pub fn update(&self, key: &K, mut change: impl FnMut(Option<V>) -> V) -> Result<V> {
        let session = self.proxy.session();
        let key = Encoded::of(session, key)?;
        let read = |answer: Answer<'_>| match answer {
            Answer::Item(there) | Answer::Unequal(there) => match there {
                Some(item) => Ok(Some((Some(item.bytes.0.to_vec()), Some(decode(session, &item)?)))),
                None => Ok(Some((None, None))),
            },
            Answer::Done => Ok(None),
            other => Err(unexpected(other)),
        };
        let mut there: (Option<Vec<u8>>, Option<V>) =
            self.proxy.call(Op::Lookup(key.key()?), read)?.ok_or(Error::Protocol)?;
        loop {
            let changed = change(there.1);
            let new = Encoded::of(session, &changed)?;
            let expected = there.0.as_deref().map(Blob);
            let op = Op::SwapKey { key: key.key()?, expected, new: Some(new.item()) };
            match self.proxy.call(op, read)? {
                None => return Ok(changed),
                Some(now) => there = now,
            }
        }
    }

    /// All keys and their values, as they are at this moment, fetched page by page, in no particular order.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let squares = manager.dict_of((0..100).map(|n| (n, n * n)))?;
    /// let mut sum = 0;
    /// for entry in squares.iter()? {
    ///     let (_, square) = entry?;
    ///     sum += square;
    /// }
    /// assert_eq!(sum, 328_350);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "items")]
    pub fn iter(&self) -> Result<Entries<K, V>> {
        Entries::begin(&self.proxy, Op::Snapshot)
    }

    /// All keys, as they are at this moment.
    pub fn keys(&self) -> Result<Vec<K>> {
        Keys::begin(&self.proxy, Op::Snapshot)?.collect()
    }

    /// All values, as they are at this moment.
    pub fn values(&self) -> Result<Vec<V>> {
        self.iter()?.map(|entry| entry.map(|(_, value)| value)).collect()
    }

    /// All keys and their values in a map of this process.
    #[doc(alias = "copy")]
    pub fn to_map(&self) -> Result<std::collections::HashMap<K, V>> {
        self.iter()?.collect()
    }

    /// Takes all keys and values away, as one, and returns them. What is not fetched is lost.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let hits = manager.dict_of([('a', 3), ('b', 1)])?;
    /// let period: Vec<(char, u32)> = hits.drain()?.collect::<Result<_, _>>()?;
    /// assert_eq!(period.iter().map(|(_, n)| n).sum::<u32>(), 4);
    /// assert!(hits.is_empty()?); // what is counted from now on is of the next period
    /// # Ok(()) }
    /// ```
    pub fn drain(&self) -> Result<Entries<K, V>> {
        Entries::begin(&self.proxy, Op::Drain)
    }
}

pub(crate) fn encode_pairs<'a, K: Serialize + 'a, V: Serialize + 'a>(
    proxy: &crate::proxy::Proxy,
    entries: impl IntoIterator<Item = (&'a K, &'a V)>,
) -> Result<Vec<(Encoded, Encoded)>> {
    let session = proxy.session();
    entries.into_iter().map(|(key, value)| Ok((Encoded::of(session, key)?, Encoded::of(session, value)?))).collect()
}

pub(crate) fn pairs(encoded: &[(Encoded, Encoded)]) -> Result<Vec<Pair<'_>>> {
    encoded.iter().map(|(key, value)| Ok((key.key()?, value.item()))).collect()
}

proxy! {
    /// A set that many processes share: what `HashSet<T>` is in one. Made by [`Manager::set`](crate::Manager::set).
    ///
    /// Elements are equal as the keys of a [`Dict`] are.
    ///
    /// ```
    /// use ipc_manager::Manager;
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::start()?;
    /// let seen = manager.set::<u32>()?;
    /// assert!(seen.insert(&7)?);
    /// assert!(!seen.insert(&7)?); // it was there: exactly one of many processes gets `true`
    /// # Ok(()) }
    /// ```
    ///
    /// What the operations do, and what they return:
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let seen = manager.set_of([1, 2, 3])?;
    /// assert!(seen.contains(&1)? && seen.remove(&1)? && !seen.remove(&1)?);
    /// seen.extend(&[4, 5])?;
    /// let mut all = seen.iter()?.collect::<Result<Vec<u32>, _>>()?;
    /// all.sort();
    /// assert_eq!(all, [2, 3, 4, 5]);
    /// assert!(seen.to_set()?.contains(&5) && seen.len()? == 4);
    /// assert_eq!(seen.drain()?.count(), 4);
    /// assert!(seen.is_empty()?);
    /// seen.clear()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython 3.14 `multiprocessing.managers.SetProxy`.
    Set<T>
}

operations! {
    Set [T]
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let seen = manager.set_of([1, 2])?;
    /// let mut batch = manager.batch();
    /// let (is_new, was_there) = (batch.add(seen.later().insert(&3)), batch.add(seen.later().remove(&1)));
    /// let (is_there, len) = (batch.add(seen.later().contains(&1)), batch.add(seen.later().len()));
    /// let _ = batch.add(seen.later().clear());
    /// let mut results = batch.send()?;
    /// assert_eq!((results.take(is_new)?, results.take(was_there)?), (true, true));
    /// assert_eq!((results.take(is_there)?, results.take(len)?), (false, 2));
    /// assert!(seen.is_empty()?);
    /// # Ok(()) }
    /// ```
    SetLater where [T: Serialize + DeserializeOwned + Eq + Hash]

    /// How many elements it has.
    fn len() -> usize = |session, object| request(object, Op::Len), |_, answer| number(answer).map(|n| n as usize);

    /// Whether it has this element.
    fn contains(element: &T) -> bool = |session, object| request(object, Op::Has(Encoded::of(session, element)?.key()?)),
        |_, answer| flag(answer);

    /// Adds an element, and says whether it was not there.
    #[doc(alias = "add")]
    fn insert(element: &T) -> bool = |session, object| {
            let element = Encoded::of(session, element)?;
            request(object, Op::Put(element.key()?, Encoded::default().item()))
        },
        is_none;

    /// Removes an element, and says whether it was there.
    #[doc(alias = "discard")]
    fn remove(element: &T) -> bool = |session, object| request(object, Op::Take(Encoded::of(session, element)?.key()?)),
        |session, answer| is_none(session, answer).map(|none| !none);

    /// Removes all elements.
    fn clear() -> () = |session, object| request(object, Op::Clear), |_, answer| done(answer);
}

fn is_none(_: &std::sync::Arc<crate::session::Session>, answer: Answer<'_>) -> Result<bool> {
    match answer {
        Answer::Item(item) => Ok(item.is_none()),
        other => Err(unexpected(other)),
    }
}

impl<T: Serialize + DeserializeOwned + Eq + Hash> Set<T> {
    /// Whether it has no elements.
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Adds many elements, as one.
    pub fn extend<'a>(&self, elements: impl IntoIterator<Item = &'a T>) -> Result<()>
    where
        T: 'a,
    {
        let session = self.proxy.session();
        let encoded = elements.into_iter().map(|element| Encoded::of(session, element)).collect::<Result<Vec<_>>>()?;
        let nothing = Encoded::default();
        let pairs = encoded.iter().map(|element| Ok((element.key()?, nothing.item()))).collect::<Result<_>>()?;
        self.proxy.call(Op::PutMany(pairs), |answer| number(answer).map(drop))
    }

    /// All elements, as they are at this moment, fetched page by page, in no particular order.
    pub fn iter(&self) -> Result<Keys<T>> {
        Keys::begin(&self.proxy, Op::Snapshot)
    }

    /// All elements in a set of this process.
    #[doc(alias = "copy")]
    pub fn to_set(&self) -> Result<std::collections::HashSet<T>> {
        self.iter()?.collect()
    }

    /// Takes all elements away, as one, and returns them. What is not fetched is lost.
    pub fn drain(&self) -> Result<Keys<T>> {
        Keys::begin(&self.proxy, Op::Drain)
    }
}

proxy! {
    /// Attributes of different types that many processes share. Made by [`Manager::namespace`](crate::Manager::namespace).
    ///
    /// It prints as Python's does: `Namespace(x = 1, y = 1)`, by the names of the attributes.
    ///
    /// ```
    /// use ipc_manager::Manager;
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::start()?;
    /// let using = manager.namespace()?;
    /// using.set("y", &"one")?;
    /// using.set("x", &1)?;
    /// assert_eq!(using.get::<i32>("x")?, Some(1));
    /// assert!(using.get::<String>("x").is_err()); // it is an i32
    /// assert_eq!(using.to_string(), r#"Namespace(x = 1, y = "one")"#);
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `multiprocessing.managers.Namespace`.
    Namespace
}

/// What is stored for an attribute.
#[derive(Serialize, Deserialize)]
struct Attribute<T> {
    types: String,
    text: String,
    value: T,
}

/// The part of it that does not depend on the type.
#[derive(Deserialize)]
struct Label {
    types: String,
    text: String,
}

impl Namespace {
    /// Sets an attribute.
    pub fn set<T: Serialize + fmt::Debug + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        let session = self.proxy.session();
        // A text and a string are the same to who reads them.
        let types = if type_name::<T>() == "str" || type_name::<T>() == "&str" {
            type_name::<String>()
        } else {
            type_name::<T>()
        };
        let attribute = Attribute { types: types.into(), text: format!("{value:?}"), value };
        let (key, item) = (Encoded::of(session, name)?, Encoded::of(session, &attribute)?);
        self.proxy.call(Op::PutMany(vec![(key.key()?, item.item())]), |answer| number(answer).map(drop))
    }

    /// The value of an attribute, if there is one of this name.
    ///
    /// # Errors
    /// [`Error::WrongAttribute`]: it was set as a value of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let session = self.proxy.session();
        let key = Encoded::of(session, name)?;
        self.proxy.call(Op::Lookup(key.key()?), |answer| match answer {
            Answer::Item(None) => Ok(None),
            Answer::Item(Some(item)) => {
                let types = label(item.bytes.0)?.types;
                if types != type_name::<T>() {
                    session.let_go(item.refs);
                    return Err(Error::WrongAttribute { name: name.into(), types });
                }
                decode::<Attribute<T>>(session, &item).map(|attribute| Some(attribute.value))
            }
            other => Err(unexpected(other)),
        })
    }

    /// Removes an attribute, and says whether it was there.
    pub fn remove(&self, name: &str) -> Result<bool> {
        let key = Encoded::of(self.proxy.session(), name)?;
        let session = self.proxy.session();
        self.proxy.call(Op::Take(key.key()?), |answer| match answer {
            Answer::Item(None) => Ok(false),
            Answer::Item(Some(item)) => {
                // What it held was counted for this process, which does not want it.
                session.let_go(item.refs);
                Ok(true)
            }
            other => Err(unexpected(other)),
        })
    }

    /// The names of all attributes, sorted.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let using = manager.namespace()?;
    /// using.set("y", &"two")?;
    /// using.set("x", &1)?;
    /// assert_eq!(using.names()?, ["x", "y"]);
    /// assert!(using.remove("x")? && !using.remove("x")?);
    /// assert_eq!(using.get::<i32>("x")?, None);
    /// # Ok(()) }
    /// ```
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = Keys::begin(&self.proxy, Op::Snapshot)?.collect::<Result<_>>()?;
        names.sort();
        Ok(names)
    }

    /// All attributes with their names, sorted, as they print.
    fn texts(&self) -> Result<Vec<(String, String)>> {
        let mut pages = Pages::begin(&self.proxy, Op::Snapshot)?;
        let mut texts = Vec::new();
        while let Some(entry) = pages.next() {
            let (key, bytes, refs) = entry?;
            self.proxy.session().let_go(refs);
            texts.push((pages.decode(&key, Vec::new())?, label(&bytes)?.text));
        }
        texts.sort();
        Ok(texts)
    }
}

fn label(bytes: &[u8]) -> Result<Label> {
    postcard::take_from_bytes(bytes).map(|(label, _)| label).map_err(|_| Error::Protocol)
}

impl fmt::Display for Namespace {
    /// As Python prints it; an error is printed in its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.texts() {
            Ok(texts) => {
                let texts: Vec<_> = texts.iter().map(|(name, text)| format!("{name} = {text}")).collect();
                write!(f, "Namespace({})", texts.join(", "))
            }
            Err(error) => write!(f, "Namespace({error})"),
        }
    }
}
