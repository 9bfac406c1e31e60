//! The process of one target.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipc_fuzz::mutate::{Random, mutate};
use ipc_fuzz::{Target, Trace, corpus, corpus_folder, hash, run_one};
use nix::sys::resource::{Resource, setrlimit};

use crate::Args;

/// An input that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Memory in all, in bytes. Decoding within the limits may reserve, not use, about 1 MiB for each of 128 levels.
const MEMORY: u64 = 1 << 30;
/// What a thread of a Rust program has, unless told otherwise.
const STACK: usize = 2 << 20;
/// Longer inputs are not kept: they take long to run, and are made again if need be.
const LONG: usize = 2048;
/// How many inputs are kept to make others from.
const POOL: usize = 4096;

pub(crate) fn run(target: &'static Target, current: &Path, args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let args = args.clone();
    let current = File::create(current)?;
    let runs = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&runs);
    let fuzzer = thread::Builder::new().stack_size(STACK).spawn(move || fuzz(target, &current, &args, &runs))?;
    watch(&seen, || fuzzer.is_finished());
    let text = fuzzer.join().map_err(|_| "the input does harm")??;
    println!("{text}");
    Ok(())
}

/// Ends this process if an input takes too long. Looks now and then, and opens nothing, as descriptors are counted.
fn watch(runs: &AtomicU64, is_finished: impl Fn() -> bool) {
    let (mut last, mut since) = (0, Instant::now());
    while !is_finished() {
        thread::sleep(Duration::from_millis(20));
        let now = runs.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            eprintln!("the input runs for more than {PATIENCE:?}");
            std::process::exit(1);
        }
    }
}

fn fuzz(target: &'static Target, current: &File, args: &Args, runs: &AtomicU64) -> std::io::Result<String> {
    let run = |input: &[u8]| -> std::io::Result<Trace> {
        write_current(current, input)?;
        runs.fetch_add(1, Ordering::Relaxed);
        match catch_unwind(|| run_one(target, input)) {
            Ok(trace) => Ok(trace),
            Err(_) => {
                eprintln!("found by input {} of the run", runs.load(Ordering::Relaxed));
                Err(std::io::Error::other("the input does harm"))
            }
        }
    };
    if let Some(file) = &args.replay {
        run(&fs::read(file)?)?;
        return Ok("the input does no harm".to_owned());
    }
    let (mut known, mut pool) = (HashSet::new(), Vec::new());
    for file in corpus(target)? {
        let input = fs::read(file)?;
        run(&input)?.add_to(&mut known);
        pool.push(input);
    }
    if pool.is_empty() {
        pool.push(Vec::new());
    }
    let from_corpus = pool.len();
    let mut random = Random::new(args.seed);
    let (start, limit) = (Instant::now(), Duration::from_secs(args.seconds));
    while start.elapsed() < limit {
        let input = mutate(&pool, &mut random);
        if run(&input)?.add_to(&mut known) && input.len() <= LONG {
            if args.keep {
                fs::write(corpus_folder(target).join(format!("{:016x}", hash(&input))), &input)?;
            }
            match pool.len() {
                POOL => {
                    let place = from_corpus.min(POOL - 1) + random.below(POOL - from_corpus.min(POOL - 1));
                    pool[place] = input;
                }
                _ => pool.push(input),
            }
        }
    }
    let new = runs.load(Ordering::Relaxed) - from_corpus as u64;
    let steps = known.len();
    Ok(format!("{from_corpus} inputs of the corpus, {new} others in {limit:?}, {steps} steps seen, seed {}", args.seed))
}

/// One write, so that a killed process leaves all of it: the length, then the bytes.
fn write_current(file: &File, input: &[u8]) -> std::io::Result<()> {
    file.write_all_at(&[&(input.len() as u64).to_le_bytes()[..], input].concat(), 0)
}

/// The input that ran last.
pub(crate) fn read_current(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap_or_default();
    let Some((len, rest)) = bytes.split_first_chunk::<8>() else { return Vec::new() };
    rest[..rest.len().min(u64::from_le_bytes(*len) as usize)].to_vec()
}
