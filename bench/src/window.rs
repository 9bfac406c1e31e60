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
        let mut repeat = |length: Duration| {
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
        };
        repeat(self.warm_up)?;
        repeat(self.length)
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
