//! A tour of the ways in which processes can work together: the words of some files are counted in one process, and then by
//! several processes with each mechanism. All have to find the same number.
//!
//! `cargo run --release --example tour [-- MECHANISM... FILE...]`
#![forbid(unsafe_code)]

mod csp;
mod fifo;
mod input;
mod manager;
mod pipe;
mod queue;
mod shm;
mod socket;
mod text;
mod words;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use input::Input;

/// A way to count words in several processes.
struct Mechanism {
    name: &'static str,
    /// What can be seen in its source, which is the file of that name.
    shows: &'static str,
    count: fn(&Input) -> Result<Count, Box<dyn Error>>,
}

struct Count {
    words: u64,
    /// How many processes took part.
    processes: usize,
}

const ONE_PROCESS: Mechanism = Mechanism {
    name: "one process",
    shows: "the same work with nobody to talk to",
    count: |input| Ok(Count { words: words::count(&input.text), processes: 1 }),
};

/// All mechanisms, in the order of the table.
const MECHANISMS: &[Mechanism] =
    &[pipe::PIPE, fifo::FIFO, shm::SHM, queue::QUEUE, socket::SOCKET, manager::MANAGER, csp::CSP];

fn main() -> ExitCode {
    let mut chosen = Vec::new();
    let mut files = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match MECHANISMS.iter().position(|mechanism| argument == mechanism.name) {
            Some(mechanism) => chosen.push(mechanism),
            None => files.push(PathBuf::from(argument)),
        }
    }
    let texts = if files.is_empty() { input::own_files() } else { input::named_files(&files) };
    let input = match texts {
        Ok(texts) => Input::new(&texts),
        Err(error) => {
            let names: Vec<&str> = MECHANISMS.iter().map(|mechanism| mechanism.name).collect();
            eprintln!("tour: {error}");
            eprintln!("Name files to read, and any of these mechanisms: {}.", names.join(", "));
            return ExitCode::from(2);
        }
    };
    let selected = (0..MECHANISMS.len()).filter(|i| chosen.is_empty() || chosen.contains(i)).map(|i| &MECHANISMS[i]);
    match run(&input, selected) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tour: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(input: &Input, mechanisms: impl Iterator<Item = &'static Mechanism>) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout(); // not `println`, which would panic if nobody reads any more
    let megabytes = input.text.len() as f64 / 1e6;
    let of = |n: usize, what: &str| if n == 1 { format!("{n} {what}") } else { format!("{n} {what}s") };
    writeln!(out, "{megabytes:.1} MB of text: {}, {}", of(input.files, "file"), of(input.times, "time"))?;
    writeln!(out)?;
    writeln!(out, "{:<12}  {:>9}  {:>9}  {:>6}  what it shows", "mechanism", "processes", "time", "MB/s")?;
    let mut expected = None;
    for mechanism in std::iter::once(&ONE_PROCESS).chain(mechanisms) {
        let started = Instant::now();
        let Count { words, processes } =
            (mechanism.count)(input).map_err(|error| format!("{}: {error}", mechanism.name))?;
        let seconds = started.elapsed().as_secs_f64();
        let Mechanism { name, shows, .. } = mechanism;
        writeln!(out, "{name:<12}  {processes:>9}  {:>6.1} ms  {:>6.0}  {shows}", seconds * 1e3, megabytes / seconds)?;
        let expected = *expected.get_or_insert(words);
        if words != expected {
            return Err(format!("{name} counted {words} words, but there are {expected}").into());
        }
    }
    let words = expected.unwrap_or_default();
    writeln!(out)?;
    writeln!(out, "All found {words} words, {} in the files read once.", words / input.times as u64)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mechanism_finds_all_words_with_any_number_of_workers() {
        // With a word that is longer than any part, and with less text than there are workers.
        let long = ["many words ".repeat(50_000), "x".repeat(1_000_000), " end".to_string()].concat();
        for (text, words) in [(long.as_str(), 100_002), ("one\n", 1), ("", 0)] {
            for workers in [1, 3] {
                let input = Input { text: text.into(), files: 1, times: 1, workers };
                for mechanism in MECHANISMS {
                    let count =
                        (mechanism.count)(&input).unwrap_or_else(|error| panic!("{}: {error:?}", mechanism.name));
                    let servers = usize::from(mechanism.name == manager::MANAGER.name);
                    assert_eq!((count.words, count.processes), (words, 1 + servers + workers), "{}", mechanism.name);
                }
            }
        }
    }
}
