//! Values as the server keeps them.

use std::sync::Arc;

use crate::protocol::{Answer, Blob, Fault, Item};

use super::outbox::{Asker, Outbox};

/// A value's bytes, and the objects that it keeps alive.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) refs: Vec<u64>,
}

impl Stored {
    pub(crate) fn item(&self) -> Item<'_> {
        Item { bytes: Blob(&self.bytes), refs: self.refs.clone() }
    }
}

/// One request on its way: who asked, and what its execution does to the holds on other objects. That is done when the object itself is no
/// longer borrowed.
pub(crate) struct Turn<'o> {
    pub(crate) out: &'o mut Outbox,
    pub(crate) asker: Asker,
    pub(crate) object: u64,
    /// Objects that a stored value holds from now on.
    pub(crate) held: Vec<u64>,
    /// Objects that a value which is given out stands for: the session that gets it holds them.
    pub(crate) granted: Vec<(u64, u64)>,
    /// Objects that a value has held which is no longer there.
    pub(crate) released: Vec<u64>,
}

impl Turn<'_> {
    /// Keeps a value.
    pub(crate) fn store(&mut self, item: &Item<'_>) -> Stored {
        self.held.extend_from_slice(&item.refs);
        Stored { bytes: item.bytes.0.into(), refs: item.refs.clone() }
    }

    /// Lets go of a value.
    pub(crate) fn release(&mut self, stored: Stored) {
        self.released.extend(stored.refs);
    }

    /// Notes that a session is given the value.
    pub(crate) fn grant(&mut self, session: u64, stored: &Stored) {
        self.granted.extend(stored.refs.iter().map(|object| (session, *object)));
    }

    /// Tells one who waits for an object that is gone.
    pub(crate) fn dismiss(&mut self, asker: Asker) {
        self.out.fault(asker, Fault::NoObject);
    }

    pub(crate) fn answer(&mut self, answer: Answer<'_>) {
        self.out.answer(self.asker, answer);
    }

    /// Answers with a value that stays.
    pub(crate) fn show(&mut self, stored: Option<&Stored>) {
        if let Some(stored) = stored {
            self.grant(self.asker.session, stored);
        }
        self.out.answer(self.asker, Answer::Item(stored.map(Stored::item)));
    }

    /// Answers with a value that is no longer there.
    pub(crate) fn hand_out(&mut self, stored: Option<Stored>) {
        self.show(stored.as_ref());
        if let Some(stored) = stored {
            self.release(stored);
        }
    }
}
