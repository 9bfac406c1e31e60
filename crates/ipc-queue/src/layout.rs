//! What lies in a queue's memory.
//!
//! ```text
//! 0         header
//! 64        QueueState: settings, producers' line, tail, consumers' lines, head, hands, statistics
//!           owners of the leases, one word each
//!           the leases, LEASE_WORDS each
//!           owners of the extents, one word each; their lengths
//! page      the ring, mapped twice
//! page      the extents: not mapped, sparse
//! ```
//!
//! **A message in the ring** is a word and its bytes, filled up to a multiple of 8. The word has the length in bytes (32 bits), what
//! kind it is (8 bits) and how often it was taken in vain (24 bits).
//!
//! **From left to right:** `head` ≤ `taken` ≤ `tail`. Producers write at the tail, under their lock, and publish by moving it, in one step.
//! Consumers take at `taken`, under theirs. A message that was taken is *in a hand* until its last byte has been used, so it
//! still lies in the ring: `head` follows the earliest hand, and producers do not pass it.

use ipc_sync::mechanism::{Lock, WaitWord};

use crate::shim::{AtomicU32, AtomicU64};

/// How many messages (or batches) can be in hands at a time.
pub(crate) const HANDS: usize = if cfg!(loom) { 3 } else { 64 };
/// How many long messages there can be.
pub(crate) const EXTENTS: u64 = 4096;
/// How many bytes of a message are kept in a lease itself; longer ones are kept in an extent.
pub(crate) const INLINE: usize = 1024;
/// What a lease takes: its fields and its bytes.
pub(crate) const LEASE_WORDS: u64 = LeaseField::COUNT as u64 + (INLINE / 8) as u64;

#[repr(C, align(64))]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct QueueState {
    pub(crate) settings: SettingsState,
    pub(crate) producers: ProducerState,
    pub(crate) end: EndState,
    pub(crate) consumers: ConsumerState,
    pub(crate) head: HeadState,
    pub(crate) hands: [Hand; HANDS],
    pub(crate) counts: Counts,
}

/// Written once, or hardly ever: everybody reads it all the time, so nothing may be here that changes often.
#[repr(C, align(64))]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct SettingsState {
    pub(crate) items: AtomicU64,
    pub(crate) ring: AtomicU64,
    pub(crate) max_message: AtomicU64,
    pub(crate) leases: AtomicU64,
    pub(crate) max_deliveries: AtomicU64,
    /// A hash of the type of the messages and the codec.
    pub(crate) contents: AtomicU64,
    /// How many dead letters there are: they take room as messages do.
    pub(crate) dead: AtomicU64,
    /// Whether it is for one producer and one consumer.
    pub(crate) is_single: AtomicU32,
    /// How often the last handle of a role in a process was dropped.
    pub(crate) departures: AtomicU32,
}

/// What producers change, under their lock.
#[repr(C, align(64))]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct ProducerState {
    pub(crate) lock: Lock,
    /// The head, as it was when there last seemed to be no room.
    pub(crate) seen_head: AtomicU64,
    /// Somebody waits for much room, until this moment of the monotonic clock in ns: everybody else has to wait, too.
    pub(crate) wanted_until: AtomicU64,
    /// Who that is.
    pub(crate) wanted_by: AtomicU64,
    reserved: [u64; 7],
}

/// What producers write and consumers read.
#[repr(C, align(64))]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct EndState {
    pub(crate) tail: AtomicU64,
    /// Consumers sleep here.
    pub(crate) filled: WaitWord,
    reserved: [u64; 14],
}

/// What consumers change, under their lock; but hands are given up, and what was taken is given back, without it.
#[repr(C, align(64))]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct ConsumerState {
    pub(crate) lock: Lock,
    pub(crate) taken: AtomicU64,
    /// The tail, as it was when there last seemed to be nothing.
    pub(crate) seen_tail: AtomicU64,
    /// How many hands have ever been in use: those behind them are empty.
    pub(crate) hands: AtomicU64,
    /// Not 0: something may have come back, in a hand or a lease.
    pub(crate) returned: AtomicU64,
    /// How often something was taken, so that what comes back can be told apart by age.
    pub(crate) order: AtomicU64,
    /// How many times to take something before the next look for the dead.
    pub(crate) until_look: AtomicU64,
    /// From which lease on to look for a free one.
    pub(crate) lease_hint: AtomicU64,
    /// When somebody last looked for the dead, of those who did not wait.
    pub(crate) looked_at: AtomicU64,
    /// How many extents have ever been in use: those behind them are free.
    pub(crate) extents: AtomicU64,
    reserved: [u64; 1],
}

/// What consumers write and producers read.
#[repr(C, align(64))]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct HeadState {
    pub(crate) head: AtomicU64,
    /// Producers sleep here.
    pub(crate) freed: WaitWord,
    /// Here sleeps who waits for all to be done.
    pub(crate) done: WaitWord,
    reserved: [u64; 14],
}

/// What somebody has taken and not yet used up: from `start` to `end`, in the ring.
#[repr(C, align(64))]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct Hand {
    /// The number of the participant, or [`RETURNED`]; 0: it is empty.
    pub(crate) owner: AtomicU64,
    pub(crate) start: AtomicU64,
    pub(crate) end: AtomicU64,
    /// One more than the lease into which the first message goes; 0: none.
    pub(crate) lease: AtomicU64,
    /// Where that message begins: once the hand begins elsewhere, it has nothing to do with the lease any more.
    pub(crate) lease_at: AtomicU64,
    pub(crate) order: AtomicU64,
    /// Up to where they are being delivered: those behind it came with them, from a hand that was given back.
    pub(crate) upto: AtomicU64,
    reserved: [u64; 1],
}

/// An owner word, of a hand or a lease: it was given back, or its owner died. Above all numbers of participants.
pub(crate) const RETURNED: u64 = 1 << 63;
/// The owner word of a lease: a dead letter.
pub(crate) const DEAD: u64 = RETURNED | 1;
/// A flag in the owner word of a lease: it is being filled, and its message is still in a hand.
pub(crate) const PENDING: u64 = 1 << 62;

/// The fields of a lease, before its bytes.
#[derive(Clone, Copy)]
pub(crate) enum LeaseField {
    Len,
    /// One more than the extent in which the bytes are; 0: they are in the lease.
    Extent,
    Deliveries,
    Order,
}

impl LeaseField {
    pub(crate) const COUNT: usize = 8;
}

/// For the curious only: nothing depends on them, and a kill may take one away.
#[repr(C, align(64))]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct Counts {
    pub(crate) put_waits: AtomicU64,
    pub(crate) get_waits: AtomicU64,
    pub(crate) recoveries: AtomicU64,
    pub(crate) redeliveries: AtomicU64,
    reserved: [u64; 4],
}

#[cfg(not(loom))]
const _: () = {
    // With the header of an object they are 128: two lines, as some processors fetch them in pairs.
    assert!(size_of::<SettingsState>() == 64 && size_of::<ProducerState>() == 128 && size_of::<EndState>() == 128);
    assert!(size_of::<ConsumerState>() == 128 && size_of::<HeadState>() == 128 && size_of::<Hand>() == 64);
};

/// The word before a message in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header(pub(crate) u64);

impl Header {
    const EXTENT: u64 = 1 << 32;
    const DELIVERIES: u32 = 40;
    /// How long a message in the ring may be, for its length to fit.
    pub(crate) const MAX_LEN: u64 = u32::MAX as u64 - 7;
    /// What a header takes in the ring.
    pub(crate) const SIZE: u64 = 8;

    /// A message of so many bytes that lies in the ring.
    #[inline]
    pub(crate) fn of(len: u64) -> Header {
        Header(len)
    }

    /// A message that lies in an extent; in the ring are its number and the message's length.
    pub(crate) fn of_extent() -> Header {
        Header(Header::EXTENT | 16)
    }

    /// How many bytes of the ring come behind it, without those that fill it up.
    #[inline]
    pub(crate) fn len(self) -> u64 {
        u64::from(self.0 as u32)
    }

    #[inline]
    pub(crate) fn is_extent(self) -> bool {
        self.0 & Header::EXTENT != 0
    }

    /// How often it was taken in vain.
    pub(crate) fn deliveries(self) -> u64 {
        self.0 >> Header::DELIVERIES
    }

    pub(crate) fn one_more_delivery(self) -> Header {
        if self.deliveries() == (1 << 24) - 1 { self } else { Header(self.0 + (1 << Header::DELIVERIES)) }
    }

    /// How many bytes of the ring a message takes.
    #[inline]
    pub(crate) fn size_of(len: u64) -> u64 {
        Header::SIZE + len.next_multiple_of(8)
    }

    #[inline]
    pub(crate) fn size(self) -> u64 {
        Header::size_of(self.len())
    }
}
