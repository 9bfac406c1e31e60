//! Each worker reads parts of the text from a FIFO of its own. The totals of all go into one FIFO, which has many writers. What processes
//! need to find each other are paths.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use ipc_fifo::{Builder, Bytes, Error as FifoError, Fifo, Process, Reader, Scope, Writer};

use crate::input::Input;
use crate::{Count, Mechanism, pipe, words};

pub(crate) const FIFO: Mechanism = Mechanism {
    name: "fifo",
    shows: "parts of the text through named pipes, found by their paths; totals of all into one",
    count,
};

/// Takes a few dozen writes, each short enough to be in one piece.
const PART: usize = 128 * 1024;
/// How often one who waits for a worker looks whether it is alive.
const LOOK: Duration = Duration::from_millis(100);

type Parts = Writer<Vec<u8>, Bytes>;

/// Counts what comes until the parent closes its end.
fn work((parts, totals): (Fifo, Fifo)) -> Result<(), String> {
    count_all(&parts, &totals).map_err(|error| error.to_string())
}

fn count_all(parts: &Fifo, totals: &Fifo) -> Result<(), FifoError> {
    let mut totals: Writer<u64> = totals.writer()?;
    let mut parts: Reader<Vec<u8>, Bytes> = parts.reader()?;
    parts.set_max_message(u64::MAX);
    let mut total = 0;
    loop {
        match parts.recv_bytes() {
            Ok(part) => total += words::count(&part),
            Err(FifoError::Disconnected) => return totals.send(total),
            Err(error) => return Err(error),
        }
    }
}

fn count(input: &Input) -> Result<Count, Box<dyn Error>> {
    // The names are removed even if this process is killed.
    let mut scope = Scope::new()?;
    let fifo = scope.create(path("totals"), 0o600)?;
    let mut totals: Reader<u64> = fifo.lasting_reader()?;
    let mut workers = Vec::new();
    for i in 1..=input.workers {
        let parts = scope.create(path(&format!("parts{i}")), 0o600)?;
        let builder = Builder::new().name(format!("counter {i}"));
        workers.push((builder.spawn(work, (parts.share(), fifo.share()))?, parts));
    }
    let mut counters = Vec::new();
    for (worker, parts) in workers {
        match open(&parts, &worker) {
            Ok(mut parts) => {
                parts.set_max_message(u64::MAX);
                counters.push((worker, parts));
            }
            Err(error) => return Err(finish(worker).err().unwrap_or_else(|| error.into())),
        }
    }

    for (i, part) in words::chunks(&input.text, PART).enumerate() {
        let at = i % counters.len();
        if let Err(error) = counters[at].1.send_bytes(part) {
            let (worker, parts) = counters.swap_remove(at);
            drop(parts);
            return Err(finish(worker).err().unwrap_or_else(|| error.into()));
        }
    }
    let mut words = 0;
    for (worker, parts) in counters {
        drop(parts); // that was all
        finish(worker)?;
        words += totals.try_recv()?; // this one's, or that of one who was faster
    }
    Ok(Count { words, processes: 1 + input.workers })
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("tour-{name}-{}", std::process::id()))
}

/// Waits until the worker has opened its end, but not for one that is dead.
fn open(parts: &Fifo, worker: &Process<Result<(), String>>) -> Result<Parts, FifoError> {
    loop {
        let opened: Result<Parts, FifoError> = parts.writer_timeout(LOOK);
        match opened {
            Err(FifoError::Timeout) if worker.is_alive() => {}
            other => return other,
        }
    }
}

/// Waits for the end of a worker, which says more than that a FIFO has no reader.
fn finish(mut worker: Process<Result<(), String>>) -> Result<(), Box<dyn Error>> {
    let end = worker.join_timeout(Duration::MAX);
    pipe::verdict(&worker, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_worker_that_is_dead() {
        let parts = Fifo::create(path("test"), 0o600).unwrap();
        let worker = Builder::new().name("counter 7").spawn(|()| Err("no time".to_string()), ()).unwrap();
        assert!(open(&parts, &worker).is_err_and(|error| error.is_timeout()));
        let error = finish(worker).unwrap_err().to_string();
        assert!(error.starts_with("counter 7 (process ") && error.ends_with(") failed: no time"), "{error}");
    }
}
