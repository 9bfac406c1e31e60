//! Values on their way to and from a server, and the proxies in them.
//!
//! A proxy in a value that goes to its own server is the number of its object, and is named beside the value. In a value that goes anywhere else it is
//! all that is needed to get at the object: address, key, number, and a ticket for which the server keeps the object until it is claimed.

use std::cell::RefCell;
use std::sync::Arc;

use ipc_core::{CodecError, Decode, Encode, Postcard, without_handles};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::protocol::{Blob, Item};
use crate::proxy::Proxy;
use crate::session::Session;

thread_local! {
    /// The value that is being encoded for a server.
    static LEAVING: RefCell<Option<Leaving>> = const { RefCell::new(None) };
    /// The value of a server that is being decoded.
    static ARRIVING: RefCell<Option<Arriving>> = const { RefCell::new(None) };
    /// The proxies in values of a request that is sent later.
    static KEPT: RefCell<Option<Vec<Proxy>>> = const { RefCell::new(None) };
}

/// Does something, and says which proxies were encoded in it.
pub(crate) fn keeping<R>(run: impl FnOnce() -> R) -> (R, Vec<Proxy>) {
    struct Restore(Option<Vec<Proxy>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            KEPT.set(self.0.take());
        }
    }
    let restore = Restore(KEPT.replace(Some(Vec::new())));
    let result = run();
    let kept = KEPT.take().unwrap_or_default();
    drop(restore);
    (result, kept)
}

struct Leaving {
    session: Arc<Session>,
    /// The proxies in it, which a value's own code may have made on the way.
    proxies: Vec<Proxy>,
}

pub(crate) struct Arriving {
    session: Arc<Session>,
    /// The objects that the server has counted for this session with the value. Each goes to a proxy, or is let go again.
    granted: Vec<u64>,
}

/// A value's bytes, and the objects that the proxies in it stand for.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    proxies: Vec<Proxy>,
}

impl Encoded {
    pub(crate) fn of<T: Serialize + ?Sized>(session: &Arc<Session>, value: &T) -> Result<Encoded> {
        let before = LEAVING.replace(Some(Leaving { session: Arc::clone(session), proxies: Vec::new() }));
        let restore = Restore(Some(before));
        let mut bytes = Vec::new();
        let result = without_handles(|| Postcard::encode(value, &mut bytes));
        let proxies = LEAVING.with_borrow_mut(|leaving| leaving.as_mut().map(|l| std::mem::take(&mut l.proxies)));
        drop(restore);
        result.map_err(Error::Encode)?;
        let proxies = proxies.unwrap_or_default();
        if !proxies.is_empty() {
            KEPT.with_borrow_mut(|kept| kept.iter_mut().for_each(|kept| kept.extend_from_slice(&proxies)));
        }
        Ok(Encoded { bytes, proxies })
    }

    pub(crate) fn item(&self) -> Item<'_> {
        Item { bytes: Blob(&self.bytes), refs: self.proxies.iter().map(Proxy::object).collect() }
    }

    /// As a key, which is compared by its bytes and keeps nothing alive.
    pub(crate) fn key(&self) -> Result<Blob<'_>> {
        match self.proxies.is_empty() {
            true => Ok(Blob(&self.bytes)),
            false => Err(Error::Encode(CodecError::new("a key cannot contain proxies"))),
        }
    }

    pub(crate) fn blob(&self) -> Blob<'_> {
        Blob(&self.bytes)
    }
}

/// Puts back what another value, around this one, was in the middle of; also when a value's own code panics.
struct Restore(Option<Option<Leaving>>);

impl Drop for Restore {
    fn drop(&mut self) {
        LEAVING.set(self.0.take().flatten());
    }
}

/// If a value is just being encoded for a server: notes that it contains this object of it. `None`: it goes elsewhere.
pub(crate) fn note_leaving(proxy: &Proxy) -> Option<Result<(), &'static str>> {
    LEAVING.with_borrow_mut(|leaving| {
        leaving.as_mut().map(|leaving| match leaving.session.is_beside(proxy.session()) {
            true => {
                leaving.proxies.push(proxy.clone());
                Ok(())
            }
            false => Err("a proxy of one server cannot be stored in another"),
        })
    })
}

/// If a value of a server is just being decoded: its session, and whether the server has counted this object for it.
pub(crate) fn claim_arriving(object: u64) -> Option<(Arc<Session>, bool)> {
    ARRIVING.with_borrow_mut(|arriving| {
        arriving.as_mut().map(|arriving| {
            let place = arriving.granted.iter().position(|granted| *granted == object);
            let granted = place.map(|place| arriving.granted.swap_remove(place)).is_some();
            (Arc::clone(&arriving.session), granted)
        })
    })
}

impl Arriving {
    pub(crate) fn decode<T: DeserializeOwned>(session: &Arc<Session>, item: &Item<'_>) -> Result<T> {
        if item.refs.is_empty() {
            return without_handles(|| Postcard::decode(item.bytes.0)).map_err(Error::Decode); // nearly always
        }
        struct Restore(Option<Option<Arriving>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let this = ARRIVING.replace(self.0.take().flatten());
                if let Some(Arriving { session, granted }) = this {
                    session.let_go(granted);
                }
            }
        }
        let arriving = Arriving { session: Arc::clone(session), granted: item.refs.clone() };
        let _restore = Restore(Some(ARRIVING.replace(Some(arriving))));
        without_handles(|| Postcard::decode(item.bytes.0)).map_err(Error::Decode)
    }
}
