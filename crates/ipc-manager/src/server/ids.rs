//! Maps by numbers that the server has given out itself.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// No client chooses the numbers, so none can choose such as collide: one multiplication will do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, number: u64) {
        // 2⁶⁴ divided by the golden ratio; the map looks at the highest bits and at the lowest ones.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

pub(crate) type IdMap<V> = HashMap<u64, V, BuildHasherDefault<Spread>>;
pub(crate) type IdSet = HashSet<u64, BuildHasherDefault<Spread>>;
