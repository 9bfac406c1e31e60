//! How shared memory is measured, whoever made it.

use std::hint::black_box;

use crate::failure::{Failure, Outcome};
use crate::plan::Plan;
use crate::window::Window;

/// A number that needs no lock, 0 at first.
pub(crate) trait Counter: Sized + 'static {
    fn new() -> Outcome<Self>;

    /// Adds 1, and returns what it was. Implementations are always inlined, as if each were written out in the loop that is timed.
    fn next(&self) -> u64;
}

/// Nanoseconds for one addition.
pub(crate) fn counted<C: Counter>(plan: &Plan) -> Outcome<f64> {
    plan.alone(|window: Window| {
        let (counter, mut own) = (C::new()?, 0);
        let timed = window.time(1024, || {
            let before = counter.next();
            own += 1;
            // Not only a check: a number that nobody looks at is added to by another, shorter instruction.
            if before + 1 == own { Ok(()) } else { Err(Failure::new(format!("addition {own} found {before}"))) }
        })?;
        Ok(timed.nanoseconds_each())
    })
}

/// So many bytes of memory.
pub(crate) trait Copies<const SIZE: usize>: Sized + 'static {
    fn new() -> Outcome<Self>;

    /// All of them. Inlined as well.
    fn copy_in(&self, from: &[u8]) -> Outcome<()>;

    fn copy_out(&self, to: &mut [u8]) -> Outcome<()>;
}

/// GB per second into the memory.
pub(crate) fn copied_in<M: Copies<SIZE>, const SIZE: usize>(plan: &Plan) -> Outcome<f64> {
    plan.alone(|window: Window| {
        let (memory, bytes, mut copy) = (M::new()?, pattern(SIZE), vec![0; SIZE]);
        let timed = window.time(batch(SIZE), || memory.copy_in(black_box(&bytes)))?;
        memory.copy_out(&mut copy)?;
        arrived(&bytes, &copy)?;
        Ok(timed.per_second() * SIZE as f64 / 1e9)
    })
}

/// GB per second out of it.
pub(crate) fn copied_out<M: Copies<SIZE>, const SIZE: usize>(plan: &Plan) -> Outcome<f64> {
    plan.alone(|window: Window| {
        let (memory, bytes, mut copy) = (M::new()?, pattern(SIZE), vec![0; SIZE]);
        memory.copy_in(&bytes)?;
        let timed = window.time(batch(SIZE), || memory.copy_out(black_box(&mut copy)))?;
        arrived(&bytes, &copy)?;
        Ok(timed.per_second() * SIZE as f64 / 1e9)
    })
}

/// About 1 MiB between two looks at the clock.
fn batch(size: usize) -> u32 {
    ((1 << 20) / size) as u32
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 + (i >> 8) * 13) as u8).collect()
}

fn arrived(sent: &[u8], received: &[u8]) -> Outcome<()> {
    if sent == received { Ok(()) } else { Err(Failure::new("other bytes came out than went in")) }
}
