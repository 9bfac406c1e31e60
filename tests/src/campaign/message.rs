//! Messages whose every byte is known beforehand, from a seed and their number.

use serde::{Deserialize, Serialize};

use super::rng::Rng;

/// What can be wrong with what a survivor sees: the columns of the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Somebody waits for ever.
    Hang,
    /// What was acknowledged did not arrive.
    Lost,
    /// It arrived twice.
    Duplicate,
    /// It is not what was sent.
    Corrupt,
    /// A survivor got what a dead process held, and was not told.
    Untold,
    /// A child, a descriptor or a thread is still there.
    Left,
    /// A call gave another error than it should, or took too long.
    Wrong,
}

impl Flaw {
    /// All of them, in the order of the columns.
    pub const ALL: [Flaw; 7] =
        [Flaw::Hang, Flaw::Lost, Flaw::Duplicate, Flaw::Corrupt, Flaw::Untold, Flaw::Left, Flaw::Wrong];

    /// For the table.
    pub fn name(self) -> &'static str {
        ["hang", "lost", "dup", "corrupt", "untold", "left", "wrong"][self as usize]
    }
}

/// An endless sequence of messages.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Contents {
    /// Which sequence.
    pub seed: u64,
    /// Messages of up to 1 MiB, around the sizes of the buffers, too; else up to 200 bytes.
    pub large: bool,
}

/// Number and checksum, in messages that have room for them.
const HEADER: usize = 16;

impl Contents {
    /// Writes message number `n` over what is in `message`.
    pub fn write(self, n: u64, message: &mut Vec<u8>) {
        let mut rng = Rng::of(self.seed, n);
        let len = match (self.large, rng.below(8)) {
            (_, 0) => 0,
            (false, _) => rng.below(201),
            (true, 1) => rng.below((1 << 20) + 1),
            (true, 2) => 65_500 + rng.below(80), // around what is gathered before it is written
            (true, 3) => rng.below(300_000),     // around what a socket holds
            (true, _) => rng.below(8193),
        } as usize;
        message.clear();
        message.resize(len, 0);
        for word in message.chunks_mut(8) {
            word.copy_from_slice(&rng.next().to_le_bytes()[..word.len()]);
        }
        if len >= HEADER {
            let sum = checksum(n, &message[HEADER..]);
            message[..8].copy_from_slice(&n.to_le_bytes());
            message[8..HEADER].copy_from_slice(&sum.to_le_bytes());
        }
    }

    /// Message number `n`.
    pub fn message(self, n: u64) -> Vec<u8> {
        let mut message = Vec::new();
        self.write(n, &mut message);
        message
    }
}

fn checksum(n: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(n ^ 0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Compares what arrives with what must arrive: message after message, from number 0 on.
#[derive(Debug)]
pub struct Checker {
    contents: Contents,
    next: u64,
    expected: Vec<u8>,
}

impl Checker {
    /// Nothing has arrived yet.
    pub fn new(contents: Contents) -> Checker {
        Checker { contents, next: 0, expected: Vec::new() }
    }

    /// How many have arrived.
    pub fn received(&self) -> u64 {
        self.next
    }

    /// Takes the next message in.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn accept(&mut self, message: &[u8]) -> Result<(), Flaw> {
        self.contents.write(self.next, &mut self.expected);
        if message == self.expected {
            self.next += 1;
            return Ok(());
        }
        // Another one of the sequence, or none of it?
        let Some((number, _)) = message.split_first_chunk().filter(|_| message.len() >= HEADER) else {
            // Too short to have a number. That it is the one before is all that can be said.
            let before = self.next.checked_sub(1).is_some_and(|n| self.contents.message(n) == message);
            return Err(if before { Flaw::Duplicate } else { Flaw::Corrupt });
        };
        let number = u64::from_le_bytes(*number);
        if message[8..HEADER] != checksum(number, &message[HEADER..]).to_le_bytes() {
            return Err(Flaw::Corrupt);
        }
        Err(if number < self.next { Flaw::Duplicate } else { Flaw::Lost })
    }
}

/// Messages that do not arrive in the order of their numbers: each tells its own.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Items {
    /// Which messages.
    pub seed: u64,
    /// How long they are.
    pub sizes: Sizes,
}

/// How long messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sizes {
    /// As many bytes as this; 8 at least.
    Fixed(usize),
    /// Up to 200 bytes.
    Small,
    /// From 10,000 to 20,000 bytes, most of them.
    Medium,
    /// Up to 1 MiB, most of them above 16 KiB.
    Large,
    /// Most of them small, some large.
    Mixed,
}

/// Where the number is.
const NUMBER: usize = 8;

impl Items {
    /// Writes the message of a number over what is in `message`.
    pub fn write(self, number: u64, message: &mut Vec<u8>) {
        let mut rng = Rng::of(self.seed, number);
        let size = match (self.sizes, rng.below(8)) {
            (Sizes::Fixed(size), _) => size as u64,
            (Sizes::Small, _) | (Sizes::Medium, 0) | (Sizes::Mixed, 1..) => 8 + rng.below(193),
            (Sizes::Medium, _) => 10_000 + rng.below(10_001),
            (Sizes::Large, 1) => rng.below((1 << 20) + 1),
            (Sizes::Large, 2) => 16_300 + rng.below(200), // around what goes another way
            (Sizes::Large | Sizes::Mixed, _) => 10_000 + rng.below(100_000),
        };
        message.clear();
        message.resize(NUMBER.max(size as usize), 0);
        message[..NUMBER].copy_from_slice(&number.to_le_bytes());
        for word in message[NUMBER..].chunks_mut(8) {
            word.copy_from_slice(&rng.next().to_le_bytes()[..word.len()]);
        }
    }

    /// The message of a number.
    pub fn message(self, number: u64) -> Vec<u8> {
        let mut message = Vec::new();
        self.write(number, &mut message);
        message
    }

    /// The number of a message, if every byte of it is as it should be. `scratch` is written over.
    pub fn number(self, message: &[u8], scratch: &mut Vec<u8>) -> Option<u64> {
        let number = u64::from_le_bytes(*message.first_chunk()?);
        self.write(number, scratch);
        (message == scratch.as_slice()).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checker_tells_flaws_apart() {
        let contents = Contents { seed: 7, large: false };
        let with_header = |from: u64| (from..).find(|n| contents.message(*n).len() > HEADER).unwrap();
        let (first, mut checker) = (with_header(2), Checker::new(contents));
        (0..=first).for_each(|n| checker.accept(&contents.message(n)).unwrap());
        assert_eq!(checker.accept(&contents.message(first)), Err(Flaw::Duplicate));
        let next = with_header(first + 2);
        assert_eq!(checker.accept(&contents.message(next)), Err(Flaw::Lost));
        let mut torn = contents.message(next);
        *torn.last_mut().unwrap() ^= 1;
        assert_eq!(checker.accept(&torn), Err(Flaw::Corrupt));
        assert_eq!(checker.accept(&torn[..3]), Err(Flaw::Corrupt));
        assert_eq!(checker.received(), first + 1);
        checker.accept(&contents.message(first + 1)).unwrap();
    }

    #[test]
    fn items_tell_their_number() {
        for sizes in [Sizes::Fixed(8), Sizes::Small, Sizes::Medium, Sizes::Mixed, Sizes::Large] {
            let (items, mut scratch) = (Items { seed: 7, sizes }, Vec::new());
            for number in [0, 1, 1 << 40] {
                let mut message = items.message(number);
                assert_eq!(items.number(&message, &mut scratch), Some(number));
                message.push(0);
                assert_eq!(items.number(&message, &mut scratch), None);
                message.truncate(7);
                assert_eq!(items.number(&message, &mut scratch), None);
            }
        }
    }

    #[test]
    fn all_sizes_occur() {
        let contents = Contents { seed: 1, large: true };
        let sizes: Vec<_> = (0..400).map(|n| contents.message(n).len()).collect();
        assert!(sizes.contains(&0) && sizes.iter().any(|len| *len > 900_000));
    }
}
