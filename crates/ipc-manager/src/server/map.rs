//! Dicts, sets and namespaces: values by the bytes of their keys.

use std::collections::HashMap;
use std::sync::Arc;

use crate::protocol::{Answer, Blob, Fault, Op, Pair};

use super::store::{Stored, Turn};

#[derive(Debug, Default)]
pub(crate) struct Map {
    pub(crate) entries: HashMap<Arc<[u8]>, Stored>,
}

impl Map {
    pub(crate) fn extend(&mut self, pairs: &[Pair<'_>], turn: &mut Turn<'_>) {
        for (key, item) in pairs {
            let new = turn.store(item);
            if let Some(old) = self.put(key, new) {
                turn.release(old);
            }
        }
    }

    /// The key that is there stays.
    fn put(&mut self, key: &Blob<'_>, new: Stored) -> Option<Stored> {
        match self.entries.get_mut(key.0) {
            Some(old) => Some(std::mem::replace(old, new)),
            None => self.entries.insert(key.0.into(), new),
        }
    }

    pub(crate) fn run(&mut self, op: Op<'_>, turn: &mut Turn<'_>) {
        match op {
            Op::Lookup(key) => turn.show(self.entries.get(key.0)),
            Op::Put(key, item) => {
                let new = turn.store(&item);
                let old = self.put(&key, new);
                turn.hand_out(old);
            }
            Op::Has(key) => turn.answer(Answer::Flag(self.entries.contains_key(key.0))),
            Op::Take(key) => turn.hand_out(self.entries.remove(key.0)),
            Op::Len => turn.answer(Answer::Number(self.entries.len() as u64)),
            Op::GetOrPut(key, item) => {
                if !self.entries.contains_key(key.0) {
                    let new = turn.store(&item);
                    self.entries.insert(key.0.into(), new);
                }
                turn.show(self.entries.get(key.0));
            }
            Op::PutMany(pairs) => {
                self.extend(&pairs, turn);
                turn.answer(Answer::Number(self.entries.len() as u64));
            }
            Op::TakeAny => {
                let key = self.entries.keys().next().cloned();
                let taken = key.and_then(|key| self.entries.remove_entry(&key));
                if let Some((_, stored)) = &taken {
                    turn.grant(turn.asker.session, stored);
                }
                turn.answer(Answer::Pair(taken.as_ref().map(|(key, stored)| (Blob(key), stored.item()))));
                if let Some((_, stored)) = taken {
                    turn.release(stored);
                }
            }
            Op::SwapKey { key, expected, new } => {
                let there = self.entries.get(key.0);
                if there.map(|stored| &*stored.bytes) != expected.map(|expected| expected.0) {
                    if let Some(stored) = there {
                        turn.grant(turn.asker.session, stored);
                    }
                    return turn.answer(Answer::Unequal(there.map(Stored::item)));
                }
                let old = match new {
                    Some(new) => {
                        let new = turn.store(&new);
                        self.put(&key, new)
                    }
                    None => self.entries.remove(key.0),
                };
                if let Some(old) = old {
                    turn.release(old);
                }
                turn.answer(Answer::Done);
            }
            Op::Clear => {
                self.entries.drain().for_each(|(_, stored)| turn.release(stored));
                turn.answer(Answer::Done);
            }
            _ => turn.answer(Answer::Fault(Fault::Unfit)),
        }
    }
}
