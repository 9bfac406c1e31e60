//! Counts allocations.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, and a count. The count costs an increment of a thread-local number, in every row.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    // Const and without a destructor: to use it neither allocates nor fails, also while a thread ends.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has allocated or grown memory so far.
pub(crate) fn count() -> u64 {
    COUNT.get()
}

fn increment() {
    COUNT.set(COUNT.get() + 1);
}

// SAFETY: every call is passed on as it is to the system's allocator, which keeps the contract; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        increment();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        increment();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        increment();
        // SAFETY: as in `alloc`; `old` came from `System`, as every block does.
        unsafe { System.realloc(old, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(block, layout) }
    }
}
