//! Numbers that are the same for the same seed, on every machine.

/// SplitMix64: small, fast, and any seed is a good one.
#[derive(Clone, Copy, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The sequence of a seed and what it is for: a round, a worker, a message.
    pub fn of(seed: u64, part: u64) -> Rng {
        Rng(Rng(seed).next() ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and an iterator's adapters are of no use here")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Another sequence, for a part of the work that may draw more or fewer numbers.
    pub fn fork(&mut self) -> Rng {
        Rng(self.next())
    }

    /// A number from 0 to `n - 1`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// Does nothing for a moment: up to `n - 1` turns of a loop.
    pub fn spin(&mut self, n: u64) {
        let mut turns = self.below(n);
        // A range takes ten times as long where nothing is optimised, as here.
        while turns > 0 {
            std::hint::spin_loop();
            turns -= 1;
        }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
