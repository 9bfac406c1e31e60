//! What is sent: numbered messages, and the check of each one that arrives.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};

/// The message of the small groups.
pub(crate) type Small = [u8; 64];

/// The message of the large one.
pub(crate) const LARGE: usize = 16 << 20;

/// Between two numbers in a large message. Every word would be checked at the price of memory bandwidth, which is what is measured.
const STRIDE: usize = 64 * 1024;

/// A message of [`LARGE`] bytes. Not of zeros, which would be one page of the kernel, shown again and again.
pub(crate) fn large() -> Vec<u8> {
    vec![0xa5; LARGE]
}

/// What a sender numbers, and a receiver checks.
pub(crate) trait Message {
    /// What the sender has of it.
    type Owned: Borrow<Self>;

    /// One of `len` bytes, if that is to be chosen.
    fn new(len: usize) -> Self::Owned;

    fn number(message: &mut Self::Owned, n: u64);

    fn check(&self, len: usize, messages: &mut Checker) -> Outcome<()>;
}

impl Message for [u8] {
    type Owned = Vec<u8>;

    fn new(len: usize) -> Vec<u8> {
        vec![0xa5; len]
    }

    fn number(message: &mut Vec<u8>, n: u64) {
        stamp(message, n);
    }

    fn check(&self, len: usize, messages: &mut Checker) -> Outcome<()> {
        messages.check(self, len)
    }
}

impl Message for Words {
    type Owned = Words;

    fn new(_: usize) -> Words {
        words(0)
    }

    fn number(message: &mut Words, n: u64) {
        message[0] = FIRST_WORD + n;
    }

    fn check(&self, _: usize, messages: &mut Checker) -> Outcome<()> {
        messages.check_words(self)
    }
}

impl Message for Record {
    type Owned = Record;

    fn new(_: usize) -> Record {
        Record::new(0)
    }

    fn number(message: &mut Record, n: u64) {
        message.renumber(n);
    }

    fn check(&self, _: usize, messages: &mut Checker) -> Outcome<()> {
        messages.check_record(self)
    }
}

/// A message that is one byte again and again, so that it can be made where it is to be, without a source.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) byte: u8,
    pub(crate) len: usize,
}

impl Filled {
    /// What is there, after a look at each cache line.
    #[inline(always)]
    pub(crate) fn seen(len: usize, at: impl Fn(usize) -> Outcome<u8>) -> Outcome<Filled> {
        let (byte, mut differences) = (at(len - 1)?, 0);
        for i in (0..len).step_by(64) {
            differences |= at(i)? ^ byte;
        }
        Ok(Filled { byte, len: if differences == 0 { len } else { 0 } })
    }
}

impl Message for Filled {
    type Owned = Filled;

    fn new(len: usize) -> Filled {
        Filled { byte: 0, len }
    }

    fn number(message: &mut Filled, n: u64) {
        message.byte = n as u8;
    }

    fn check(&self, len: usize, messages: &mut Checker) -> Outcome<()> {
        messages.check_filled(self, len)
    }
}

/// Writes number `n` at the start and the end of a message, and in between in a large one.
pub(crate) fn stamp(message: &mut [u8], n: u64) {
    for word in places(message.len()) {
        message[word..word + 8].copy_from_slice(&n.to_le_bytes());
    }
}

/// A small message with number `n`.
pub(crate) fn small(n: u64) -> Small {
    let mut message = [0xa5; 64];
    stamp(&mut message, n);
    message
}

fn places(len: usize) -> impl Iterator<Item = usize> {
    (0..len - 8).step_by(STRIDE).chain([len - 8])
}

/// Checks that messages arrive whole, of the right length, in order, none missing and none twice.
#[derive(Default)]
pub(crate) struct Checker {
    next: u64,
}

impl Checker {
    /// Takes the next message, which has to be of `len` bytes.
    pub(crate) fn check(&mut self, message: &[u8], len: usize) -> Outcome<()> {
        if message.len() != len {
            return Err(self.wrong(format!("has {} bytes instead of {len}", message.len())));
        }
        for word in places(len) {
            let number = u64_at(message, word);
            if number != self.next {
                return Err(self.wrong(format!("has number {number} at byte {word}")));
            }
        }
        self.next += 1;
        Ok(())
    }

    /// Takes the next record.
    pub(crate) fn check_record(&mut self, record: &Record) -> Outcome<()> {
        if record.id != Record::FIRST_ID + self.next || record.name != NAME || record.tags != TAGS {
            return Err(self.wrong(format!("is {record:?}")));
        }
        self.next += 1;
        Ok(())
    }

    /// Takes the next message of eight words.
    pub(crate) fn check_words(&mut self, message: &Words) -> Outcome<()> {
        if *message != words(self.next) {
            return Err(self.wrong(format!("is {message:x?}")));
        }
        self.next += 1;
        Ok(())
    }

    /// Takes the next message of one byte.
    pub(crate) fn check_filled(&mut self, message: &Filled, len: usize) -> Outcome<()> {
        if (message.byte, message.len) != (self.next as u8, len) {
            return Err(self.wrong(format!("is {message:?}, where a len of 0 stands for different bytes")));
        }
        self.next += 1;
        Ok(())
    }

    #[cold]
    fn wrong(&self, how: String) -> Failure {
        Failure::new(format!("message {} {how}", self.next))
    }
}

fn u64_at(message: &[u8], place: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&message[place..place + 8]);
    u64::from_le_bytes(word)
}

/// A typed message of 64 bytes: each of these numbers takes eight in postcard.
pub(crate) type Words = [u64; 8];

/// A typed message with number `n`.
pub(crate) fn words(n: u64) -> Words {
    let mut words = [0x00a5_a5a5_a5a5_a5a5; 8];
    words[0] = FIRST_WORD + n;
    words
}

/// Numbers from here on all take eight bytes.
const FIRST_WORD: u64 = 1 << 55;

/// What a program might send: a struct with parts on the heap.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    id: u64,
    name: String,
    tags: Vec<u32>,
}

const NAME: &str = "sixteen letters!";
const TAGS: [u32; 8] = [0xa5a5_a5a5; 8];

impl Record {
    /// Ids from here on all take nine bytes, so that all records are of one length.
    const FIRST_ID: u64 = 1 << 56;
    /// In postcard.
    pub(crate) const LEN: usize = 9 + (1 + 16) + (1 + 8 * 5);

    /// The record with number `n`.
    pub(crate) fn new(n: u64) -> Record {
        Record { id: Record::FIRST_ID + n, name: NAME.into(), tags: TAGS.into() }
    }

    /// Gives it number `n`: cheaper than a new one, as the sender's allocations are not what is measured.
    pub(crate) fn renumber(&mut self, n: u64) {
        self.id = Record::FIRST_ID + n;
    }

    /// Gives it the number of another one.
    pub(crate) fn renumber_as(&mut self, other: &Record) {
        self.id = other.id;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_in_order_is_accepted() {
        let mut checker = Checker::default();
        (0..3).for_each(|n| checker.check(&small(n), 64).unwrap());
        let (mut checker, mut message) = (Checker::default(), large());
        for n in 0..2 {
            stamp(&mut message, n);
            checker.check(&message, LARGE).unwrap();
        }
    }

    #[test]
    fn a_lost_a_doubled_a_cut_and_a_torn_message_are_noticed() {
        let after_one = || {
            let mut checker = Checker::default();
            checker.check(&small(0), 64).unwrap();
            checker
        };
        assert!(after_one().check(&small(0), 64).is_err(), "twice");
        assert!(after_one().check(&small(2), 64).is_err(), "one lost");
        assert!(after_one().check(&small(1)[..63], 64).is_err(), "too short");
        let mut torn = small(1);
        torn[56..].copy_from_slice(&small(0)[56..]);
        assert!(after_one().check(&torn, 64).is_err(), "half of another one");
        let mut filled = Filled::new(100);
        let mut seen = |n, hole| {
            Filled::number(&mut filled, n);
            let seen = Filled::seen(100, |i| Ok(if i == hole { 9 } else { filled.byte }))?;
            after_one().check_filled(&seen, 100)
        };
        assert!(seen(1, 65).is_ok(), "a hole where nobody looks");
        assert!(seen(1, 64).is_err(), "a hole");
        assert!(seen(2, 65).is_err(), "one lost");
        let mut torn = large();
        stamp(&mut torn, 1);
        torn[3 * STRIDE] = 0;
        assert!(after_one().check(&torn, LARGE).is_err(), "a hole");
        assert!(after_one().check_record(&Record::new(0)).is_err());
        assert!(after_one().check_words(&words(2)).is_err());
    }

    #[test]
    fn typed_messages_have_the_length_that_is_said() {
        for n in [0, 1, 127, 128, 1 << 30] {
            assert_eq!(postcard::to_stdvec(&Record::new(n)).unwrap().len(), Record::LEN);
            assert_eq!(postcard::to_stdvec(&words(n)).unwrap().len(), 64);
        }
    }
}
