//! Which structures may lie in shared memory.
#![allow(unsafe_code)]

use ipc_core::Shared;

use crate::layout::NetworkState;

// SAFETY: `repr(C)`, made of atomics and of `ipc-sync`'s locks and words, which are made for lying in shared memory; no pointers of
// ours, no destructors, and every word of it is checked before it is used.
unsafe impl Shared for NetworkState {
    const KIND: &'static str = "csp-network";
    const VERSION: u32 = 1;
    const HAS_LOCKS: bool = true;

    fn check_words(words: usize) -> bool {
        words == 0
    }
}
