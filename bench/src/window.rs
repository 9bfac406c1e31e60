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

    /// The same, with a call of `prepare` before each batch, which is not timed.
    pub(crate) fn time_prepared(
        self,
        batch: u32,
        mut prepare: impl FnMut() -> Outcome<()>,
        mut one: impl FnMut() -> Outcome<()>,
    ) -> Outcome<Timed> {
        let (mut count, mut elapsed, begin) = (0, Duration::ZERO, Instant::now());
        while begin.elapsed() < self.warm_up + self.length {
            prepare()?;
            let start = Instant::now();
            for _ in 0..batch {
                one()?;
            }
            let took = start.elapsed();
            if begin.elapsed() >= self.warm_up {
                elapsed += took;
                count += u64::from(batch);
            }
        }
        Ok(Timed { count, elapsed })
    }

    /// As `time`, where a peer does it, too, and counts for as much: `done` tells how often it has been done so far, by whomever.
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

    /// As `time`, and how long each call took.
    pub(crate) fn each(self, mut one: impl FnMut() -> Outcome<()>) -> Outcome<Durations> {
        repeat(self.warm_up, 16, &mut one)?;
        let (start, mut durations) = (Instant::now(), Durations::new());
        let mut last = start;
        loop {
            one()?;
            // One look at the clock for the end of this call and the beginning of the next.
            let now = Instant::now();
            durations.add(now - last);
            if now - start >= self.length {
                return Ok(durations);
            }
            last = now;
        }
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

/// How long something took, again and again: counts of nanoseconds, and of what took longer than is counted.
pub(crate) struct Durations {
    counts: Vec<u32>,
    total: u64,
}

impl Durations {
    const LONGEST: usize = 1_000_000;

    pub(crate) fn new() -> Durations {
        Durations { counts: vec![0; Durations::LONGEST + 1], total: 0 }
    }

    /// Of nothing at all: what measuring adds to a duration.
    pub(crate) fn of_nothing() -> Durations {
        let window = Window { warm_up: Duration::ZERO, length: Duration::from_millis(1) };
        window.each(|| Ok(())).expect("nothing cannot fail")
    }

    pub(crate) fn add(&mut self, duration: Duration) {
        self.counts[(duration.as_nanos() as usize).min(Durations::LONGEST)] += 1;
        self.total += 1;
    }

    /// The shortest one, in nanoseconds, that so many in a hundred are not longer than.
    pub(crate) fn percentile(&self, percent: u64) -> f64 {
        let mut left = (self.total * percent).div_ceil(100);
        let shortest = self.counts.iter().position(|count| {
            left = left.saturating_sub(u64::from(*count));
            left == 0
        });
        shortest.unwrap_or_default() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_sorted_durations() {
        let mut durations = Durations::new();
        (1..=200).rev().for_each(|n| durations.add(Duration::from_nanos(n)));
        assert_eq!([0, 50, 99, 100].map(|percent| durations.percentile(percent)), [0.0, 100.0, 198.0, 200.0]);
    }
}
