//! A parallel grep: `queue_grep [PATTERN FILE…]` prints the lines that contain a text, in the order of the files. The workers take files from a
//! queue under leases, so a file that a killed worker was searching goes to another one. One of them is killed on purpose, in the
//! middle of its first file, and nothing is missing.
//!
//! Without arguments it searches the examples' own sources for `fn main`, and says only how many there are.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io, thread};

use ipc_queue::{Builder, Consumer, Error, Process, Producer, Queue};

/// A file's number among the arguments, and its lines that match; or why it could not be read.
type Found = (usize, Result<Vec<(usize, String)>, String>);

struct Args {
    pattern: String,
    files: Vec<PathBuf>,
    is_quiet: bool,
}

impl Args {
    fn new() -> io::Result<Args> {
        let mut args = env::args().skip(1);
        if let Some(pattern) = args.next() {
            return Ok(Args { pattern, files: args.map(PathBuf::from).collect(), is_quiet: false });
        }
        let folder = fs::read_dir(env!("CARGO_MANIFEST_DIR"))?;
        let mut files = folder.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
        files.sort();
        Ok(Args { pattern: "fn main".into(), files, is_quiet: true })
    }
}

fn search(file: &Path, pattern: &str) -> Result<Vec<(usize, String)>, String> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains(pattern));
    Ok(lines.map(|(number, line)| (number + 1, line.to_string())).collect())
}

/// Searches file after file until the queue is closed.
fn worker((pattern, files, results): (String, Consumer<(usize, PathBuf)>, Producer<Found>)) {
    loop {
        let file = match files.lease() {
            Ok(file) => file,
            Err(Error::Closed) => return,
            Err(error) => panic!("{error}"),
        };
        let (number, path) = &*file;
        results.put((*number, search(path, &pattern))).expect("the parent waits for it");
        // Killed before this, another worker does the same once more: whoever takes results counts each file once.
        file.ack().expect("this is no forked copy");
    }
}

/// Takes a file, and never comes back.
fn doomed((files, begun): (Consumer<(usize, PathBuf)>, Producer<usize>)) {
    let file = files.lease().expect("there are files");
    begun.put(file.0).expect("the parent waits for it");
    loop {
        thread::park();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Args { pattern, files, is_quiet } = Args::new()?;
    let (tasks, results) = (Queue::new()?, Queue::<Found>::new()?);
    for task in files.iter().cloned().enumerate() {
        tasks.put(task)?;
    }

    if !files.is_empty() {
        let begun = Queue::new()?;
        let victim: Process<()> =
            Builder::new().core_dumps(false).spawn(doomed, (tasks.consumer(), begun.producer()))?;
        let number: usize = begun.get()?;
        victim.kill()?;
        let death = victim.join().expect_err("it was killed");
        eprintln!("a worker was killed while it had {}: {death}", files[number].display());
    }

    let count = thread::available_parallelism()?.get();
    let start = |_| Process::spawn(worker, (pattern.clone(), tasks.consumer(), results.producer()));
    let workers = (0..count).map(start).collect::<Result<Vec<_>, _>>()?;

    let mut found = BTreeMap::new();
    while found.len() < files.len() {
        let (number, lines) = results.get()?;
        found.insert(number, lines);
    }
    tasks.close()?;
    workers.into_iter().try_for_each(Process::join)?;

    let mut total = 0;
    for (number, lines) in found {
        let file = files[number].display();
        match lines {
            Ok(lines) => {
                total += lines.len();
                let shown = lines.iter().filter(|_| !is_quiet);
                shown.for_each(|(line, text)| println!("{file}:{line}: {text}"));
            }
            Err(error) => eprintln!("{file}: {error}"),
        }
    }
    if is_quiet {
        let alone: usize = files.iter().map(|file| search(file, &pattern).map_or(0, |lines| lines.len())).sum();
        assert_eq!(total, alone);
        println!("as many lines as one process finds alone");
    }
    Ok(())
}
