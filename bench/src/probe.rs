//! How far two processors are apart at the moment. A hypervisor may move them, and then everything between them is several times as slow.

use std::hint::spin_loop;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use crate::failure::{Failure, Outcome};
use crate::plan::pin;
use crate::stats::median;

const BATCHES: usize = 21;
const ROUND_TRIPS: u32 = 1000;

/// How long a word takes from one processor to the other, in nanoseconds: two threads answer each other through it.
///
/// The median of many short batches: one in which a thread lost its processor for a while does not count.
pub(crate) fn core_to_core(a: usize, b: usize) -> Outcome<f64> {
    let (word, pinned, start) = (AtomicU32::new(0), AtomicBool::new(true), Barrier::new(2));
    let begin = |cpu| {
        if pin(cpu).is_err() {
            pinned.store(false, Ordering::Relaxed);
        }
        start.wait();
        pinned.load(Ordering::Relaxed)
    };
    // Relaxed: nothing but the word itself passes between the threads.
    let turn = |expected: u32| {
        while word.load(Ordering::Relaxed) != expected {
            spin_loop();
        }
        word.store(expected + 1, Ordering::Relaxed);
    };
    let total = BATCHES as u32 * ROUND_TRIPS;
    std::thread::scope(|scope| {
        scope.spawn(|| begin(b).then(|| (0..total).for_each(|i| turn(2 * i + 1))));
        let asking = scope.spawn(|| {
            begin(a).then(|| {
                let batch = |batch| {
                    let start = Instant::now();
                    (0..ROUND_TRIPS).for_each(|i| turn(2 * (batch * ROUND_TRIPS + i)));
                    start.elapsed().as_nanos() as f64 / f64::from(2 * ROUND_TRIPS)
                };
                (0..BATCHES as u32).map(batch).collect::<Vec<_>>()
            })
        });
        match asking.join() {
            Ok(Some(batches)) => Ok(median(&batches)),
            _ => Err(Failure::new(format!("cannot run threads on the processors {a} and {b}"))),
        }
    })
}
