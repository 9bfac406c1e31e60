//! All that is in an object at one moment, fetched page by page.

use std::collections::VecDeque;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::protocol::{Answer, Call, Op};
use crate::proxy::Proxy;
use crate::session::{decode, unexpected};

/// The elements of an object as they were at the moment when this was made, whatever happens to it since. They are fetched page by page, of about
/// 256 KiB, and kept by the server until they are, or this is dropped. An element is an error for the
/// [reasons that every operation has](crate::Error#of-every-operation); a process that is in the middle of 64 of them cannot make another one
/// ([`TooMany`](crate::Error::TooMany)).
///
/// ```
/// # fn main() -> Result<(), ipc_manager::Error> {
/// # let manager = ipc_manager::Manager::start()?;
/// let list = manager.list_of(0..3)?;
/// let before = list.iter()?;
/// list.push(&3)?;
/// assert_eq!(before.collect::<Result<Vec<i32>, _>>()?, [0, 1, 2]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Snapshot<T> {
    inner: Pages,
    types: PhantomData<fn() -> T>,
}

/// The entries of a dict; see [`Snapshot`].
///
/// ```
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = ipc_manager::Manager::start()?;
/// let ages = manager.dict_of([("Ada".to_string(), 36), ("Alan".to_string(), 41)])?;
/// let entries = ages.iter()?;
/// ages.clear()?; // not seen
/// let oldest = entries.collect::<Result<Vec<_>, _>>()?.into_iter().max_by_key(|(_, age)| *age);
/// assert_eq!(oldest, Some(("Alan".to_string(), 41)));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Entries<K, V> {
    inner: Pages,
    types: PhantomData<fn() -> (K, V)>,
}

/// The keys of a dict or the elements of a set; see [`Snapshot`].
///
/// ```
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = ipc_manager::Manager::start()?;
/// let seen = manager.set_of([7, 3, 5])?;
/// let mut keys = seen.iter()?;
/// let first = keys.next().transpose()?; // in no particular order
/// assert!(first.is_some_and(|key| [3, 5, 7].contains(&key)));
/// drop(keys); // the server keeps the others no longer
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Keys<K> {
    inner: Pages,
    types: PhantomData<fn() -> K>,
}

/// The bytes of a key, those of its value, and what that holds.
type Entry = (Vec<u8>, Vec<u8>, Vec<u64>);

#[derive(Debug)]
pub(crate) struct Pages {
    proxy: Proxy,
    here: VecDeque<Entry>,
    more: Option<u64>,
    version: u64,
}

impl Pages {
    pub(crate) fn begin(proxy: &Proxy, op: Op<'_>) -> Result<Pages> {
        let mut pages = Pages { proxy: proxy.clone(), here: VecDeque::new(), more: None, version: 0 };
        pages.fetch(Call::On { object: proxy.object(), op })?;
        Ok(pages)
    }

    fn fetch(&mut self, call: Call<'_>) -> Result<()> {
        self.more = None;
        let (here, more, version) = self.proxy.session().call(call, |answer| match answer {
            Answer::Page { pairs, more, version } => {
                let copy = |(key, item): (crate::protocol::Blob<'_>, crate::protocol::Item<'_>)| {
                    (key.0.to_vec(), item.bytes.0.to_vec(), item.refs)
                };
                Ok((pairs.into_iter().map(copy).collect(), more, version))
            }
            other => Err(unexpected(other)),
        })?;
        (self.here, self.more) = (here, more);
        self.version = self.version.max(version);
        Ok(())
    }

    pub(crate) fn next(&mut self) -> Option<Result<Entry>> {
        if self.here.is_empty() {
            if let Err(error) = self.fetch(Call::Page { cursor: self.more? }) {
                return Some(Err(error));
            }
        }
        self.here.pop_front().map(Ok)
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self, bytes: &[u8], refs: Vec<u64>) -> Result<T> {
        let item = crate::protocol::Item { bytes: crate::protocol::Blob(bytes), refs };
        decode(self.proxy.session(), &item)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let session = self.proxy.session();
        if let Some(cursor) = self.more {
            session.end_pages(cursor);
        }
        let unseen: Vec<u64> = self.here.drain(..).flat_map(|(_, _, refs)| refs).collect();
        session.let_go(unseen);
    }
}

impl<T: DeserializeOwned> Snapshot<T> {
    pub(crate) fn begin(proxy: &Proxy, op: Op<'_>) -> Result<Snapshot<T>> {
        Ok(Snapshot { inner: Pages::begin(proxy, op)?, types: PhantomData })
    }

    pub(crate) fn version(&self) -> u64 {
        self.inner.version
    }
}

impl<T: DeserializeOwned> Iterator for Snapshot<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let (_, bytes, refs) = match self.inner.next()? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        Some(self.inner.decode(&bytes, refs))
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> Entries<K, V> {
    pub(crate) fn begin(proxy: &Proxy, op: Op<'_>) -> Result<Entries<K, V>> {
        Ok(Entries { inner: Pages::begin(proxy, op)?, types: PhantomData })
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> Iterator for Entries<K, V> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Result<(K, V)>> {
        let (key, bytes, refs) = match self.inner.next()? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let value = self.inner.decode(&bytes, refs);
        Some(value.and_then(|value| Ok((self.inner.decode(&key, Vec::new())?, value))))
    }
}

impl<K: DeserializeOwned> Keys<K> {
    pub(crate) fn begin(proxy: &Proxy, op: Op<'_>) -> Result<Keys<K>> {
        Ok(Keys { inner: Pages::begin(proxy, op)?, types: PhantomData })
    }
}

impl<K: DeserializeOwned> Iterator for Keys<K> {
    type Item = Result<K>;

    fn next(&mut self) -> Option<Result<K>> {
        let (key, _, refs) = match self.inner.next()? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        self.inner.proxy.session().let_go(refs);
        Some(self.inner.decode(&key, Vec::new()))
    }
}
