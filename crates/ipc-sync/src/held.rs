//! How many robust locks this thread holds.
//!
//! When a thread dies the kernel walks along the list of the locks that it holds, but gives up after 2,048: the rest would stay
//! locked for ever. So nobody gets to hold that many.

use std::cell::Cell;

use crate::{Error, Result};

/// How many locks a thread may hold at a time, of all kinds together: [`Error::TooManyHeld`] beyond it. The kernel hands on at most 2,048
/// locks of a thread that dies.
///
/// # References
/// get_robust_list(2); `ROBUST_LIST_LIMIT` in the kernel's `futex.h`.
pub const MAX_HELD: u32 = 1000;

thread_local! {
    static HELD: Cell<u32> = const { Cell::new(0) };
}

#[inline]
pub(crate) fn enter() -> Result<()> {
    let held = HELD.get();
    if held >= MAX_HELD {
        return Err(Error::TooManyHeld);
    }
    HELD.set(held + 1);
    Ok(())
}

#[inline]
pub(crate) fn leave() {
    HELD.set(HELD.get() - 1);
}
