//! Lists, arrays and single values: values in a row.

use crate::protocol::{Answer, Fault, Op};

use super::store::{Stored, Turn};

#[derive(Debug, Default)]
pub(crate) struct Sequence {
    pub(crate) items: Vec<Stored>,
    /// Of arrays and values.
    pub(crate) is_fixed: bool,
    version: u64,
}

impl Sequence {
    pub(crate) fn new(items: Vec<Stored>, is_fixed: bool) -> Sequence {
        Sequence { items, is_fixed, version: 0 }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn run(&mut self, op: Op<'_>, turn: &mut Turn<'_>) {
        let len = self.items.len() as u64;
        let outside = Answer::Fault(Fault::OutOfRange { len });
        let place = |index: u64| usize::try_from(index).ok().filter(|index| *index < len as usize);
        if self.is_fixed
            && !matches!(
                op,
                Op::Len
                    | Op::Get(_)
                    | Op::Set(..)
                    | Op::Swap { .. }
                    | Op::Find(_)
                    | Op::Count(_)
                    | Op::Version
                    | Op::Reverse
            )
        {
            // What has a fixed length can still be replaced by as many.
            if !matches!(&op, Op::Replace { items, .. } if items.len() as u64 == len) {
                return turn.answer(Answer::Fault(Fault::Unfit));
            }
        }
        match op {
            Op::Len => return turn.answer(Answer::Number(len)),
            Op::Version => return turn.answer(Answer::Number(self.version)),
            Op::Get(index) => return turn.show(place(index).map(|index| &self.items[index])),
            Op::Find(value) => {
                let found = self.items.iter().position(|item| *item.bytes == *value.0);
                return turn.answer(Answer::Number(found.map_or(u64::MAX, |index| index as u64)));
            }
            Op::Count(value) => {
                let count = self.items.iter().filter(|item| *item.bytes == *value.0).count();
                return turn.answer(Answer::Number(count as u64));
            }
            Op::Set(index, item) => match place(index) {
                Some(index) => {
                    let new = turn.store(&item);
                    let old = std::mem::replace(&mut self.items[index], new);
                    turn.hand_out(Some(old));
                }
                None => return turn.answer(outside),
            },
            Op::Swap { index, expected, new } => match place(index) {
                Some(index) if *self.items[index].bytes == *expected.0 => {
                    let new = turn.store(&new);
                    let old = std::mem::replace(&mut self.items[index], new);
                    turn.release(old);
                    turn.answer(Answer::Done);
                }
                Some(index) => {
                    let stored = &self.items[index];
                    turn.grant(turn.asker.session, stored);
                    return turn.answer(Answer::Unequal(Some(stored.item())));
                }
                None => return turn.answer(outside),
            },
            Op::Push(item) => {
                self.items.push(turn.store(&item));
                turn.answer(Answer::Number(len));
            }
            Op::Extend(items) => {
                self.items.extend(items.iter().map(|item| turn.store(item)));
                turn.answer(Answer::Number(self.items.len() as u64));
            }
            Op::Insert(index, item) => match usize::try_from(index) {
                Ok(index) if index as u64 <= len => {
                    self.items.insert(index, turn.store(&item));
                    turn.answer(Answer::Done);
                }
                _ => return turn.answer(outside),
            },
            Op::Pop => turn.hand_out(self.items.pop()),
            Op::Remove(index) => match place(index) {
                Some(index) => turn.hand_out(Some(self.items.remove(index))),
                None => return turn.answer(outside),
            },
            Op::Truncate(to) => {
                let to = usize::try_from(to).unwrap_or(usize::MAX).min(self.items.len());
                self.items.drain(to..).for_each(|item| turn.release(item));
                turn.answer(Answer::Done);
            }
            Op::Clear => {
                self.items.drain(..).for_each(|item| turn.release(item));
                turn.answer(Answer::Done);
            }
            Op::Reverse => {
                self.items.reverse();
                turn.answer(Answer::Done);
            }
            Op::Replace { version, items } => {
                if version != self.version {
                    return turn.answer(Answer::Flag(false));
                }
                let new = items.iter().map(|item| turn.store(item)).collect();
                std::mem::replace(&mut self.items, new).into_iter().for_each(|item| turn.release(item));
                turn.answer(Answer::Flag(true));
            }
            _ => return turn.answer(Answer::Fault(Fault::Unfit)),
        }
        self.version += 1;
    }
}
