//! Memory that is mapped and used by hand: what ours is compared with.

use super::{Goal, Row};
use crate::failure::Outcome;
use crate::groups::{ATOMIC, BULK_COPY_IN, BULK_COPY_IN_64K, BULK_COPY_OUT, BULK_COPY_OUT_64K, SEGMENTS};
use crate::memory::{Copies, Counter, copied_in, copied_out, counted};
use crate::raw::{self, Bytes};
use crate::window::Window;

pub(crate) const ROWS: &[Row] = &[
    Row { group: &ATOMIC, name: "AtomicU64 in a mapping", goal: Goal::Reference, measure: counted::<raw::Counter> },
    Row {
        group: &BULK_COPY_IN,
        name: "memcpy",
        goal: Goal::Reference,
        measure: copied_in::<Bytes<{ 1 << 20 }>, { 1 << 20 }>,
    },
    Row {
        group: &BULK_COPY_OUT,
        name: "memcpy",
        goal: Goal::Reference,
        measure: copied_out::<Bytes<{ 1 << 20 }>, { 1 << 20 }>,
    },
    Row {
        group: &BULK_COPY_IN_64K,
        name: "memcpy",
        goal: Goal::Reference,
        measure: copied_in::<Bytes<{ 64 << 10 }>, { 64 << 10 }>,
    },
    Row {
        group: &BULK_COPY_OUT_64K,
        name: "memcpy",
        goal: Goal::Reference,
        measure: copied_out::<Bytes<{ 64 << 10 }>, { 64 << 10 }>,
    },
    Row {
        group: &SEGMENTS,
        name: "memfd_create, ftruncate, mmap, munmap, close",
        goal: Goal::Reference,
        measure: |plan| plan.alone(mapped),
    },
];

impl Counter for raw::Counter {
    fn new() -> Outcome<Self> {
        Ok(raw::Counter::new()?)
    }

    #[inline(always)]
    fn next(&self) -> u64 {
        self.fetch_add(1)
    }
}

impl<const SIZE: usize> Copies<SIZE> for Bytes<SIZE> {
    fn new() -> Outcome<Self> {
        Ok(Bytes::new()?)
    }

    #[inline(always)]
    fn copy_in(&self, from: &[u8]) -> Outcome<()> {
        Bytes::copy_in(self, from);
        Ok(())
    }

    #[inline(always)]
    fn copy_out(&self, to: &mut [u8]) -> Outcome<()> {
        Bytes::copy_out(self, to);
        Ok(())
    }
}

fn mapped(window: Window) -> Outcome<f64> {
    let timed = window.time(16, || {
        Bytes::<4096>::new()?.copy_in(&[1]);
        Ok(())
    })?;
    Ok(timed.microseconds_each())
}
