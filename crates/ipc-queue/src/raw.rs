//! Which structures may lie in shared memory.
#![allow(unsafe_code)]

use ipc_core::Shared;

use crate::layout::QueueState;
use crate::settings::Settings;

// SAFETY: `repr(C)`, made of atomics and of `ipc-sync`'s locks and words, which are made for lying in shared memory; no pointers of
// ours, no destructors, and every word of it is checked before it is used.
unsafe impl Shared for QueueState {
    const KIND: &'static str = "queue";
    const VERSION: u32 = 1;
    const HAS_LOCKS: bool = true;

    fn check_words(words: usize) -> bool {
        (Settings::new().leases(0).words()..=Settings::new().leases(Settings::MAX_LEASES).words()).contains(&words)
    }
}
