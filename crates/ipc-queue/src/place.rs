//! A place in the ring: how many bytes and how many messages came before it, in one word that is stored and compared as a whole.

use std::fmt;

/// ```text
/// bits  0 to 22   messages before this place, round and round
/// bit   23        in the tail only: closed for good
/// bits 24 to 63   bytes before this place in units of 8, round and round
/// ```
/// Both numbers wrap. Only their differences are used, which are far below half of what they count up to: there are at most
/// [`MAX_ITEMS`](Place::MAX_ITEMS) messages in a queue, and at most [`MAX_RING`](Place::MAX_RING) bytes in a ring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) u64);

const ITEMS: u64 = (1 << 23) - 1;
const CLOSED: u64 = 1 << 23;
const SHIFT: u32 = 24;
const UNITS: u64 = (1 << 40) - 1;
const UNIT: u64 = 8;

impl Place {
    /// How many messages there may be between two places.
    pub(crate) const MAX_ITEMS: u64 = 1 << 22;
    /// How long a ring may be.
    pub(crate) const MAX_RING: u64 = 1 << 40;
    pub(crate) const START: Place = Place(0);

    /// The bytes before it, for the ring, whose length divides the number at which they wrap.
    #[inline]
    pub(crate) fn bytes(self) -> u64 {
        (self.0 >> SHIFT) * UNIT
    }

    #[inline]
    pub(crate) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    #[inline]
    pub(crate) fn closed(self) -> Place {
        Place(self.0 | CLOSED)
    }

    #[inline]
    pub(crate) fn open(self) -> Place {
        Place(self.0 & !CLOSED)
    }

    /// The place `bytes`, a multiple of 8, and `items` later.
    #[inline]
    pub(crate) fn after(self, bytes: u64, items: u64) -> Place {
        let units = (self.0 >> SHIFT).wrapping_add(bytes / UNIT) & UNITS;
        let count = (self.0 & ITEMS).wrapping_add(items) & ITEMS;
        Place(units << SHIFT | (self.0 & CLOSED) | count)
    }

    /// How many bytes it is behind an earlier place.
    #[inline]
    pub(crate) fn bytes_since(self, earlier: Place) -> u64 {
        ((self.0 >> SHIFT).wrapping_sub(earlier.0 >> SHIFT) & UNITS) * UNIT
    }

    /// How many messages it is behind an earlier place.
    #[inline]
    pub(crate) fn items_since(self, earlier: Place) -> u64 {
        (self.0 & ITEMS).wrapping_sub(earlier.0 & ITEMS) & ITEMS
    }

    /// Whether it is the same place, closed or not.
    #[inline]
    pub(crate) fn is_at(self, other: Place) -> bool {
        self.open() == other.open()
    }

    /// Whether it comes after the other one.
    #[inline]
    pub(crate) fn is_after(self, other: Place) -> bool {
        let distance = self.bytes_since(other) / UNIT;
        distance != 0 && distance <= UNITS / 2
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = if self.is_closed() { ", closed" } else { "" };
        write!(f, "byte {}, message {}{closed}", self.bytes(), self.0 & ITEMS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_numbers_wrap_without_touching_each_other() {
        let last = Place(!CLOSED);
        let next = last.after(16, 3);
        assert_eq!((next.bytes_since(last), next.items_since(last)), (16, 3));
        assert!(next.is_after(last) && !last.is_after(next) && !next.is_after(next));
        assert_eq!(next.bytes(), 8);
        assert!(!next.is_closed());
        assert!(last.closed().after(16, 3).is_closed());
        assert!(next.closed().is_at(next) && next.closed() != next);
    }
}
