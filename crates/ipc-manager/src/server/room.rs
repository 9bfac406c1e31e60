//! Giving back room that is no longer needed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};
use std::hint::black_box;

/// Room for so many is kept in any case.
const FEW: usize = 64;
/// When a collection shrinks that had room for so many, what was in them goes back to the system, too.
const MANY: usize = 1024;
/// Of this length are blocks that are not mapped on their own, and have the C library collect what is free around them when they are freed.
const BLOCK: usize = 96 * 1024;

/// Collections that keep the room which they have once needed, unless they are told to give it back.
pub(crate) trait Room {
    /// Gives back what is far more than needed. Half of it at most stays free, so to shrink costs little compared to what has been removed before.
    fn shrink(&mut self);
}

/// How much room to keep, if less than a quarter of it is in use.
#[inline]
fn enough(len: usize, capacity: usize) -> Option<usize> {
    (capacity > FEW && len < capacity / 4).then_some((len * 2).max(FEW / 2))
}

/// Short blocks that are freed go to lists of the C library's where they are neither joined nor given back, until a long one is freed. `malloc_trim` would do the
/// same, but is no safe call.
fn collect() {
    drop(black_box(Vec::<u8>::with_capacity(BLOCK)));
}

macro_rules! room {
    ($([$($parameters:tt)*] $type:ty;)+) => {
        $(impl<$($parameters)*> Room for $type {
            #[inline]
            fn shrink(&mut self) {
                let capacity = self.capacity();
                if let Some(enough) = enough(self.len(), capacity) {
                    self.shrink_to(enough);
                    if capacity >= MANY {
                        collect();
                    }
                }
            }
        })+
    };
}

room! {
    [T] Vec<T>;
    [T] VecDeque<T>;
    [K: Eq + Hash, V, S: BuildHasher] HashMap<K, V, S>;
    [T: Eq + Hash, S: BuildHasher] HashSet<T, S>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_in_steps_and_some_is_kept() {
        const COUNT: usize = 10_000;
        let (mut vec, mut deque): (Vec<_>, VecDeque<_>) = ((0..COUNT).collect(), (0..COUNT).collect());
        let (mut set, mut map): (HashSet<_>, HashMap<_, _>) =
            ((0..COUNT).collect(), (0..COUNT).map(|n| (n, n)).collect());
        let mut moves = 0;
        for n in 0..COUNT {
            let before = vec.capacity();
            vec.pop();
            deque.pop_front();
            set.remove(&n);
            map.remove(&n);
            vec.shrink();
            deque.shrink();
            set.shrink();
            map.shrink();
            moves += usize::from(vec.capacity() < before) * vec.len();
            let left = COUNT - n - 1;
            for capacity in [vec.capacity(), deque.capacity(), set.capacity(), map.capacity()] {
                assert!(capacity >= left && capacity / 4 <= left.max(FEW / 2), "{capacity} for {left}");
            }
        }
        assert!(moves < COUNT / 2, "{moves} elements were moved");
        let capacities = [vec.capacity(), deque.capacity(), set.capacity(), map.capacity()];
        assert!(capacities.iter().all(|capacity| *capacity <= FEW), "{capacities:?}");
    }
}
