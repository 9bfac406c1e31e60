//! Timing inside the measured process.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::failure::Outcome;

/// How long something is measured, and how long it runs before.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

/// How often something happened in what time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    count: u64,
    elapsed: Duration,
}

impl Window {
    /// Calls `one` again and again for the time of the window. The clock is read every `batch` calls: it costs 20 ns.
    ///
    /// It is the receiver who does this: sent is not received. The sender goes on until it finds the receiver gone.
    pub(crate) fn time(self, batch: u32, mut one: impl FnMut() -> Outcome<()>) -> Outcome<Timed> {
        repeat(self.warm_up, batch, &mut one)?;
        repeat(self.length, batch, &mut one)
    }

    /// The same where a peer does it, too, and counts for as much: `done` tells how often it has been done so far, by whomever.
    pub(crate) fn time_with_peer(
        self,
        batch: u32,
        mut one: impl FnMut() -> Outcome<()>,
        done: impl Fn() -> Outcome<u64>,
    ) -> Outcome<Timed> {
        repeat(self.warm_up, batch, &mut one)?;
        let (before, start) = (done()?, Instant::now());
        repeat(self.length, batch, &mut one)?;
        // The clock comes last, as before: whoever counts may have to wait for the peer.
        let count = done()? - before;
        Ok(Timed { count, elapsed: start.elapsed() })
    }
}

fn repeat(length: Duration, batch: u32, one: &mut impl FnMut() -> Outcome<()>) -> Outcome<Timed> {
    let (mut count, start) = (0, Instant::now());
    loop {
        for _ in 0..batch {
            one()?;
        }
        count += u64::from(batch);
        let elapsed = start.elapsed();
        if elapsed >= length {
            return Ok(Timed { count, elapsed });
        }
    }
}

impl Timed {
    pub(crate) fn per_second(self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn nanoseconds_each(self) -> f64 {
        1e9 / self.per_second()
    }

    pub(crate) fn microseconds_each(self) -> f64 {
        1e6 / self.per_second()
    }
}
