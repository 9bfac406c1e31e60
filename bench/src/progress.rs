//! How far it is: a bar on a terminal, plain lines elsewhere. Nothing is drawn while something is measured.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    start: Instant,
    done: u64,
    total: u64,
}

impl Progress {
    pub(crate) fn new(total: usize) -> Progress {
        let total = total as u64;
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            // No steady tick: that would be a thread which wakes up in the middle of a measurement.
            let template = "{bar:30} {pos}/{len}  {eta} left  {wide_msg}";
            bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Progress { bar, start: Instant::now(), done: 0, total }
    }

    /// The next round begins.
    pub(crate) fn round(&self, group: &str, round: usize, rounds: usize) {
        if self.bar.is_none() {
            let left = match self.done {
                0 => String::new(),
                done => {
                    let left = self.start.elapsed().mul_f64((self.total - done) as f64 / done as f64);
                    format!(", {} left", seconds(left))
                }
            };
            eprintln!("{group}: round {} of {rounds}{left}", round + 1);
        }
    }

    /// The next row is measured.
    pub(crate) fn row(&self, group: &str, row: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{group}: {row}"));
            bar.tick();
        }
    }

    /// It has been.
    pub(crate) fn advance(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// There is more to do than was thought.
    pub(crate) fn lengthen(&mut self, rows: usize) {
        self.total += rows as u64;
        if let Some(bar) = &self.bar {
            bar.inc_length(rows as u64);
        }
    }

    /// Says something that matters.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        s @ ..60 => format!("{s} s"),
        s => format!("{} min {} s", s / 60, s % 60),
    }
}
