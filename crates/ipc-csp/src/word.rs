//! The word of a chooser: who communicates, and whether somebody has taken it up on one of its offers.
//!
//! ```text
//!          begin            take                 commit
//!   IDLE ─────────▶ WAITING ─────▶ TAKING(t, o) ─────────▶ DONE(o)
//!     ▲                │  ▲              │
//!     └── withdraw ────┘  └── put back ──┘ (t has died)
//!     └── withdraw ──────────────────────┘ (time passed: t finds out when it commits)
//! ```
//! A chooser makes as many offers as its choice has output guards, in as many channels; whoever takes one of them moves the
//! word by compare-and-swap, so only one of them is ever taken. The generation, which changes with every choice, makes what has been left of
//! an earlier one worthless. Nothing is delivered before the commit, and the one who offered is told by nothing else: both see the
//! communication, or none does.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crate::shim::{AtomicU32, AtomicU64};

/// What the word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Idle,
    Waiting,
    /// The chooser in that slot is taking that offer.
    Taking {
        taker: usize,
        offer: usize,
    },
    /// That offer was taken.
    Done {
        offer: usize,
    },
}

/// Which choice of a chooser.
pub(crate) type Generation = u32;

const WAITING: u64 = 1;
const TAKING: u64 = 2;
const DONE: u64 = 3;

fn pack(generation: Generation, state: State) -> u64 {
    let low = match state {
        State::Idle => 0,
        State::Waiting => WAITING,
        State::Taking { taker, offer } => TAKING | (taker as u64 & 0x3fff) << 2 | (offer as u64 & 0xffff) << 16,
        State::Done { offer } => DONE | (offer as u64 & 0xffff) << 16,
    };
    u64::from(generation) << 32 | low
}

fn unpack(word: u64) -> (Generation, State) {
    let (taker, offer) = ((word >> 2 & 0x3fff) as usize, (word >> 16 & 0xffff) as usize);
    let state = match word & 3 {
        WAITING => State::Waiting,
        TAKING => State::Taking { taker, offer },
        DONE => State::Done { offer },
        _ => State::Idle,
    };
    ((word >> 32) as Generation, state)
}

/// The word, and the flag by which others tell a chooser to look again.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Chooser {
    word: AtomicU64,
    poked: AtomicU32,
}

impl Chooser {
    /// What it says.
    #[inline]
    pub(crate) fn state(&self) -> (Generation, State) {
        unpack(self.word.load(Acquire))
    }

    /// Begins a choice: nobody knows its generation before its offers are made.
    pub(crate) fn begin(&self) -> Generation {
        let next = self.state().0.wrapping_add(1);
        self.poked.store(0, Relaxed);
        self.word.store(pack(next, State::Waiting), SeqCst);
        next
    }

    /// Whether offers of that choice can still be taken.
    #[inline]
    pub(crate) fn is_waiting(&self, generation: Generation) -> bool {
        self.state() == (generation, State::Waiting)
    }

    /// Takes an offer, for now.
    #[inline]
    pub(crate) fn take(&self, generation: Generation, taker: usize, offer: usize) -> bool {
        self.turn(generation, State::Waiting, State::Taking { taker, offer })
    }

    /// Whether the taker still may have what it took.
    #[inline]
    pub(crate) fn is_taken(&self, generation: Generation, taker: usize, offer: usize) -> bool {
        self.state() == (generation, State::Taking { taker, offer })
    }

    /// Takes it for good. Not if the one who offered it has withdrawn meanwhile.
    #[inline]
    pub(crate) fn commit(&self, generation: Generation, taker: usize, offer: usize) -> bool {
        self.turn(generation, State::Taking { taker, offer }, State::Done { offer })
    }

    /// The taker has died, or does not want it: the choice is open again.
    pub(crate) fn put_back(&self, generation: Generation, taker: usize, offer: usize) -> bool {
        self.turn(generation, State::Taking { taker, offer }, State::Waiting)
    }

    /// Ends the choice without a communication, unless there has been one: then that is returned.
    pub(crate) fn withdraw(&self, generation: Generation) -> Option<usize> {
        loop {
            match self.state() {
                (now, _) if now != generation => return None,
                (_, State::Done { offer }) => return Some(offer),
                (_, State::Idle) => return None,
                (_, state) => {
                    if self.turn(generation, state, State::Idle) {
                        return None;
                    }
                }
            }
        }
    }

    #[inline]
    fn turn(&self, generation: Generation, from: State, to: State) -> bool {
        // Release for what was copied out before a commit, Acquire for what was written before an offer.
        self.word.compare_exchange(pack(generation, from), pack(generation, to), SeqCst, Acquire).is_ok()
    }

    /// Has it look again. `false` if it was told already, and has not looked yet.
    #[inline]
    pub(crate) fn poke(&self) -> bool {
        self.poked.swap(1, SeqCst) == 0
    }

    /// Whether it is to look again.
    #[inline]
    pub(crate) fn is_poked(&self) -> bool {
        self.poked.load(SeqCst) != 0
    }

    /// It is going to look. Under the locks of all its channels, so that no poke gets lost.
    pub(crate) fn listen(&self) {
        self.poked.store(0, Release);
    }
}

#[cfg(all(test, loom))]
#[path = "model/choice.rs"]
mod checks;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_has_room_for_all_it_says() {
        let states = [
            State::Idle,
            State::Waiting,
            State::Taking { taker: 0, offer: 0 },
            State::Taking { taker: 1023, offer: 4095 },
            State::Done { offer: 4095 },
        ];
        for state in states {
            assert_eq!(unpack(pack(u32::MAX, state)), (u32::MAX, state));
        }
    }
}
