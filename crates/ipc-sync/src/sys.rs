//! The system calls: futexes of the shared kind.
#![allow(unsafe_code)]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps until somebody wakes this word, at most for `limit`, unless it does not contain `expected` (any more).
///
/// Not FUTEX_PRIVATE_FLAG: with it the kernel keys the word by this process's memory, and no other process could wake us.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, limit: Duration) {
    let limit = libc::timespec { tv_sec: limit.as_secs() as _, tv_nsec: limit.subsec_nanos() as _ };
    // SAFETY: the word is alive during the call and the kernel only compares it; `limit` is a valid time. The result does not
    // matter: woken, too late, interrupted or timed out, the caller looks at its condition again.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const limit) };
}

/// Wakes everybody who sleeps on the word. A wake of one could be lost with a process that is killed before it gets to run.
pub(crate) fn futex_wake_all(word: &AtomicU32) {
    // SAFETY: the kernel uses the address as a key only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
