//! What lies in a network's memory.
//!
//! ```text
//! 0        header
//! 64       NetworkState: the registry, channels, choosers, offers, ends
//! page     the long values: not mapped, sparse, a stripe for each offer
//! ```
//!
//! **A chooser** is a thread that communicates: a slot, claimed for the time of a call. **An offer** is one of its guards in the
//! list of a channel, or a value that a buffered channel keeps. What is true stands in offers and in the words of choosers; the lists of a channel are a
//! way to find them, and are made anew from them when somebody dies who was changing them.

use std::sync::atomic::{AtomicU32, AtomicU64};

use ipc_sync::mechanism::{Lock, WaitWord};

use crate::word::Chooser;

/// How many channels a network can have.
pub(crate) const CHANNELS: usize = 1024;
/// How many threads can communicate at the same time.
pub(crate) const CHOOSERS: usize = 1024;
/// How many guards of waiting choices, and values in buffers, there can be.
pub(crate) const OFFERS: usize = 4096;
/// How many ends of channels there can be, in all processes and under way.
pub(crate) const ENDS: usize = 8192;
/// How many bytes of a value are kept in its offer.
pub(crate) const INLINE: usize = 8 * INLINE_WORDS;
const INLINE_WORDS: usize = 25;
/// How far the places of long values are apart.
pub(crate) const STRIDE: u64 = 1 << 32;
/// How long a value can be.
pub(crate) const LONGEST: u64 = u32::MAX as u64;
/// How many bytes of a channel's name are kept.
pub(crate) const NAME: usize = 32;

#[repr(C, align(64))]
pub(crate) struct NetworkState {
    /// Under it channels are made, and what the dead have left is seen to.
    pub(crate) registry: Lock,
    /// When somebody last looked for the dead.
    pub(crate) looked_at: AtomicU64,
    /// How many channels, choosers, offers and ends have ever been in use: those behind them are free.
    pub(crate) channels_used: AtomicU32,
    pub(crate) choosers_used: AtomicU32,
    pub(crate) offers_used: AtomicU32,
    pub(crate) ends_used: AtomicU32,
    pub(crate) channels: [ChannelState; CHANNELS],
    pub(crate) choosers: [ChooserState; CHOOSERS],
    pub(crate) offers: [OfferState; OFFERS],
    pub(crate) ends: [EndState; ENDS],
}

#[repr(C, align(64))]
pub(crate) struct ChannelState {
    // What a synchronous communication changes is in one cache line.
    pub(crate) lock: Lock,
    /// Its generation, 0 while it is free, and flags: why nothing, or nothing more, goes through it.
    pub(crate) state: AtomicU32,
    pub(crate) writers: ListState,
    pub(crate) ticket: AtomicU32,

    pub(crate) readers: ListState,
    pub(crate) buffer: ListState,
    /// How many values are in the buffer.
    pub(crate) buffered: AtomicU32,
    /// Those flags of which all who wait have been told for certain.
    pub(crate) told: AtomicU32,
    pub(crate) last_generation: AtomicU32,
    pub(crate) capacity: AtomicU32,
    /// How often an end of it was made: who has looked through all ends and found none looks again if one has come meanwhile, as it may have
    /// come behind the back of the one who looked, in the place of one before.
    pub(crate) ends_made: AtomicU32,
    /// Of which kinds there ever was an end: bits.
    pub(crate) had: AtomicU32,
    /// A hash of the type of its values.
    pub(crate) contents: AtomicU64,
    pub(crate) name: [AtomicU64; NAME / 8],
    /// Those who are about to wait for it look here, and nowhere else, until it changes: whatever makes a communication possible counts up,
    /// when it is done.
    pub(crate) news: News,
}

/// A cache line of its own.
#[repr(C, align(64))]
pub(crate) struct News(pub(crate) AtomicU32);

/// How many bits of the state of a channel are flags.
pub(crate) const FLAGS: u32 = 8;
/// Flags of a channel.
pub(crate) const CLOSED: u32 = 1;
pub(crate) const POISONED: u32 = 2;
pub(crate) const NO_READERS: u32 = 4;
pub(crate) const NO_WRITERS: u32 = 8;

/// A doubly linked list of offers, oldest first. Links are one more than the index of an offer; 0: none.
#[repr(C)]
pub(crate) struct ListState {
    pub(crate) first: AtomicU32,
    pub(crate) last: AtomicU32,
}

#[repr(C, align(64))]
pub(crate) struct ChooserState {
    pub(crate) chooser: Chooser,
    /// The number of the participant; 0: free.
    pub(crate) owner: AtomicU64,
    /// Since when it has been waiting, in ns of the monotonic clock, and whether without end; for reports.
    pub(crate) since: AtomicU64,
    pub(crate) forever: AtomicU32,
    pub(crate) wait: WaitWord,
    /// The thread, for reports.
    pub(crate) thread: AtomicU32,
}

#[repr(C, align(64))]
pub(crate) struct OfferState {
    /// The number of the participant, [`BUFFERED`] or [`ZOMBIE`]; 0: free.
    pub(crate) owner: AtomicU64,
    /// Its age among those of its channel.
    pub(crate) ticket: AtomicU32,
    /// How often it was used.
    pub(crate) serial: AtomicU32,
    pub(crate) channel: AtomicU32,
    /// In which list it is; changed before it is put there and after it is taken out.
    pub(crate) list: AtomicU32,
    pub(crate) next: AtomicU32,
    pub(crate) previous: AtomicU32,
    /// Whose it is, unless it is buffered: a slot, and which of its choices.
    pub(crate) chooser: AtomicU32,
    pub(crate) generation: AtomicU32,
    /// One more than the slot of who is taking it from the buffer; 0: nobody.
    pub(crate) taker: AtomicU32,
    /// How long the value is, in bytes.
    pub(crate) len: AtomicU32,
    /// How many ends of channels are in it.
    pub(crate) ends: AtomicU32,
    reserved: AtomicU32,
    /// The first word of it is in the same cache line as what stands before it.
    pub(crate) inline: [AtomicU64; INLINE_WORDS],
}

/// The owner of an offer that is in a buffer, or is being taken from it.
pub(crate) const BUFFERED: u64 = 1 << 63;
/// The owner of an offer that was withdrawn while somebody else had its channel locked: free it.
pub(crate) const ZOMBIE: u64 = 1 << 63 | 1;

/// An end of a channel, or a handle for it as a whole.
#[repr(C)]
pub(crate) struct EndState {
    /// 0: free. Else see `ends.rs`.
    pub(crate) owner: AtomicU64,
    /// Which channel, which generation of it, which end.
    pub(crate) tag: AtomicU64,
}

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Which {
    Buffer = 1,
    Writers = 2,
    Readers = 3,
}

impl Which {
    pub(crate) fn of(list: u32) -> Option<Which> {
        [Which::Buffer, Which::Writers, Which::Readers].into_iter().find(|which| *which as u32 == list)
    }
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<OfferState>() == 256 && size_of::<ChooserState>() == 64 && size_of::<EndState>() == 16);
    assert!(size_of::<ChannelState>() % 64 == 0 && std::mem::offset_of!(ChannelState, readers) == 64);
};
