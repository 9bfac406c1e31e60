//! What a watcher sees while the steps run.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::outcome::Verdict;
use super::{Row, table};

/// A bar on a terminal, lines elsewhere: a log that keeps every frame of a bar cannot be read.
pub(super) struct Progress {
    total: usize,
    done: usize,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(total: usize) -> Progress {
        let bar = (io::stdout().is_terminal() && io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}");
            let bar = ProgressBar::new(total as u64).with_style(style.expect("the template is correct"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress { total, done: 0, bar }
    }

    pub(super) fn start(&mut self, name: &'static str) {
        match &self.bar {
            Some(bar) => bar.set_message(name),
            None => println!("[{}/{}] {name} ...", self.done + 1, self.total),
        }
    }

    pub(super) fn finish(&mut self, row: &Row) {
        self.done += 1;
        let seconds = row.time.as_secs_f64();
        let result = table::result(row);
        let print = || {
            if let Verdict::Failed { output } = &row.outcome.verdict {
                println!("---- {} ----\n{}\n---- end of {} ----", row.name, output.trim_end(), row.name);
            }
            println!("[{}/{}] {}: {result} {seconds:.1} s", self.done, self.total, row.name);
        };
        match &self.bar {
            Some(bar) => {
                bar.suspend(print);
                bar.inc(1);
            }
            None => print(),
        }
    }

    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
