//! What arbitrary bytes from a peer do to the crates: [`TARGETS`], each a function of bytes that panics if they do harm.
//!
//! `cargo run -p ipc-fuzz --release` runs them on their corpus, `corpus/<target>/`, and then on what it makes of it. There is no
//! instrumentation, as that would take another compiler: a target notes what happens while it runs ([`Trace`]), and inputs
//! that make something new happen are what further ones are made from.
#![forbid(unsafe_code)]

mod attach;
mod frames;
mod handles;
mod handshake;
mod input;
mod list;
pub mod mutate;
mod queue;
mod records;
mod requests;
mod script;
mod values;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Something to feed bytes to.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also the name of the folder of its corpus.
    pub name: &'static str,
    /// Panics if the bytes do harm, and notes what they do.
    pub run: fn(&[u8], &mut Trace),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    // A receiver gives what a simple parser of the same bytes gives, however they are cut.
    Target { name: "frames", run: frames::run },
    // Bytes decode to a value or an error, within bounds, and values survive a round trip.
    Target { name: "values", run: values::run },
    // Descriptors arrive with their message or are closed.
    Target { name: "handles", run: handles::run },
    // Objects are opened in memory with arbitrary contents, or are not.
    Target { name: "attach", run: attach::run },
    // Python's list is what a simple parser of the same bytes finds.
    Target { name: "list", run: list::run },
    // A queue gives values or errors, whatever somebody writes over its memory.
    Target { name: "queue", run: queue::run },
    // Nobody is let in without the key, however the bytes are cut, and nothing behind them is read.
    Target { name: "handshake", run: handshake::run },
    // Messages come out of a FIFO as they were written, or torn, or are garbage.
    Target { name: "records", run: records::run },
    // A manager's server answers each request once, and keeps nothing that nobody holds.
    Target { name: "requests", run: requests::run },
];

/// The longest input that is made.
pub const MAX_INPUT: usize = 64 << 10;

/// What happened during a run, as the set of the steps that followed upon each other.
#[derive(Debug, Default)]
pub struct Trace {
    last: u64,
    steps: HashSet<u64>,
}

impl Trace {
    /// Notes that `step` came after the one before it.
    pub fn note(&mut self, step: impl Hash) {
        let this = hash(&step);
        self.steps.insert(hash(&(self.last, this)));
        self.last = this;
    }

    /// Adds this trace to all others; whether there was anything new in it.
    pub fn add_to(self, known: &mut HashSet<u64>) -> bool {
        let before = known.len();
        known.extend(self.steps);
        known.len() > before
    }
}

/// The same number for the same value, also in the next run.
pub fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Runs the target on one input and fails if a descriptor is left open. Nothing else may open or close any meanwhile.
///
/// # Panics
/// When the input does harm.
pub fn run_one(target: &Target, input: &[u8]) -> Trace {
    let before = open_descriptors();
    let mut trace = Trace::default();
    (target.run)(input, &mut trace);
    let after = open_descriptors();
    assert!(after <= before, "{} descriptors were left open", after - before);
    trace
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is there").count()
}

/// The files of a target's corpus, always in the same order.
///
/// # Errors
/// The folder cannot be read.
pub fn corpus(target: &Target) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(corpus_folder(target))? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

/// Where the corpus of a target is.
pub fn corpus_folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

#[cfg(test)]
mod tests {
    // One test: a second one in another thread would open descriptors of its own.
    #[test]
    fn the_corpus_does_no_harm() {
        for target in super::TARGETS {
            let files = super::corpus(target).expect("a folder for the target");
            assert!(!files.is_empty(), "{}", target.name);
            for file in files {
                super::run_one(target, &std::fs::read(file).expect("a readable file"));
            }
        }
    }
}
