//! Parts of the text are written to one channel, from which whichever worker has nothing to do reads the next one. The totals come back on
//! another channel, until all workers have retired.

use std::error::Error;
use std::time::Duration;

use ipc_csp::{Builder, Network, Process, Reader, Writer};

use crate::input::Input;
use crate::text::Text;
use crate::{Count, Mechanism, pipe, words};

pub(crate) const CSP: Mechanism = Mechanism {
    name: "csp",
    shows: "parts of the text on one channel, read by whoever is free; totals on another one",
    count,
};

/// Small enough to stay in a processor's cache.
const PART: usize = 128 * 1024;

/// Counts what it reads until nobody writes any more.
fn work((parts, totals): (Reader<Text>, Writer<u64>)) -> Result<(), String> {
    let mut total = 0;
    loop {
        match parts.read() {
            Ok(part) => total += words::count(&part.0),
            Err(error) if error.is_retired() => return totals.write(total).map_err(|error| error.to_string()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn count(input: &Input) -> Result<Count, Box<dyn Error>> {
    let network = Network::new()?;
    // Room for a part for each worker: while all of them count, the next ones are written.
    let parts = network.builder().name("parts").buffered(input.workers).channel()?;
    let totals = network.builder().name("totals").channel()?;
    let mut workers = Vec::new();
    for i in 1..=input.workers {
        let builder = Builder::new().name(format!("counter {i}"));
        workers.push(builder.spawn(work, (parts.reader()?, totals.writer()?))?);
    }
    let (parts, totals) = (parts.writer()?, totals.reader()?);
    let written = words::chunks(&input.text, PART).try_for_each(|part| parts.write(Text(part.to_vec())));
    parts.retire(); // that was all; or all workers are dead
    let words = totals.iter().sum();

    workers.into_iter().try_for_each(finish)?;
    written?;
    Ok(Count { words, processes: 1 + input.workers })
}

/// Waits for the end of a worker. If it was not the expected one, this says more than that nobody reads.
fn finish(mut worker: Process<Result<(), String>>) -> Result<(), Box<dyn Error>> {
    let end = worker.join_timeout(Duration::MAX);
    pipe::verdict(&worker, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_to_workers_that_are_dead() {
        let parts = Network::new().unwrap().channel().unwrap();
        let builder = Builder::new().name("counter 7");
        let worker = builder.spawn(|_: Reader<Text>| Err("no time".to_string()), parts.reader().unwrap()).unwrap();
        let failed = parts.writer().unwrap().write(Text(b"to be or not to be".to_vec())).unwrap_err();
        assert!(failed.error.is_retired());
        let error = finish(worker).unwrap_err().to_string();
        assert!(error.starts_with("counter 7 (process ") && error.ends_with(") failed: no time"), "{error}");
    }
}
