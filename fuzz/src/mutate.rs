//! New inputs out of known ones.

use crate::MAX_INPUT;

/// What lengths, counts and headers are made of.
const WORDS: &[&[u8]] = &[
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 1],
    &[0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 253],
    &[0xff, 0xff, 0xff, 0xfd],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
    &[0, 0, 0, 0],
    &[0, 0, 0, 1],
    &[0, 1, 0, 0],
    // Numbers in seven bits a byte: 128, 65,536, 2³² - 1, 2⁶³, 2⁶⁴ - 1.
    &[0x80, 0x01],
    &[0x80, 0x80, 0x04],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    // Words of 64 bits in shared memory, and how Python says what is in one.
    &[8, 0, 0, 0, 0, 0, 0, 0],
    &[16, 0, 0, 0, 0, 0, 0, 0],
    &[0, 0, 0, 0, 0, 0, 0, 0],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0, 0, 0, 0, 0, 0, 0, 0x80],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f],
    b"q\0\0\0\0\0\0\0",
    b"16s\0\0\0\0\0",
    b"xxxxxx?x",
    b"[",
    b"{\"a\":",
    b"null,",
    b"1e999",
];

/// A generator of numbers that are the same for the same seed: splitmix64.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ a >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ b >> 31
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }
}

/// Makes an input of one that is known, and perhaps of a second one.
pub fn mutate(known: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = known[random.below(known.len())].clone();
    for _ in 0..1 + random.below(4) {
        once(&mut input, known, random);
    }
    input.truncate(MAX_INPUT);
    input
}

fn once(input: &mut Vec<u8>, known: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let len = 1 + random.below(16.min(input.len() - at + 1));
    let part = at..(at + len).min(input.len());
    match random.below(9) {
        0 => part.for_each(|i| input[i] ^= 1 << random.below(8)),
        1 => part.for_each(|i| input[i] = random.number() as u8),
        2 => drop(input.drain(part)),
        3 => drop(input.splice(at..at, (0..len).map(|_| random.number() as u8))),
        4 => drop(input.splice(at..at, WORDS[random.below(WORDS.len())].iter().copied())),
        5 => {
            let word = WORDS[random.below(WORDS.len())];
            let end = (at + word.len()).min(input.len());
            drop(input.splice(at..end, word.iter().copied()));
        }
        6 => {
            // Mostly a few times, and sometimes thousands: what is deep or long is made like this.
            let most = 1 + random.below(14);
            let times = 1 << random.below(most);
            let copies = input[part].repeat(times);
            drop(input.splice(at..at, copies.into_iter().take(MAX_INPUT)));
        }
        7 => {
            let other = &known[random.below(known.len())];
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = [0, 1, 0x7f, 0x80, 0xfe, 0xff][random.below(6)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, mutate};
    use crate::MAX_INPUT;

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let known = [b"some bytes".to_vec(), Vec::new()];
        let inputs = |seed| {
            let mut random = Random::new(seed);
            (0..2000).map(|_| mutate(&known, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(3).iter().all(|input| input.len() <= MAX_INPUT));
    }
}
