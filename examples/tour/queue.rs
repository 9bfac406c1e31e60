//! Parts of the text lie in one queue, and whichever worker has nothing to do takes the next one. The totals come back in another queue.

use std::error::Error;

use ipc_queue::{Builder, Bytes, Consumer, Error as QueueError, Process, Producer, Queue};

use crate::input::Input;
use crate::{Count, Mechanism, words};

pub(crate) const QUEUE: Mechanism = Mechanism {
    name: "queue",
    shows: "parts of the text in one queue, taken by whoever is free; totals in another one",
    count,
};

/// Small enough to stay in a processor's cache, and several of them fit into the queue.
const PART: usize = 128 * 1024;

/// Counts what it gets until nothing more can come.
fn work((parts, totals): (Consumer<Vec<u8>, Bytes>, Producer<u64>)) -> Result<(), String> {
    let (mut part, mut total) = (Vec::new(), 0);
    loop {
        match parts.get_bytes_into(&mut part) {
            Ok(()) => total += words::count(&part),
            Err(QueueError::Disconnected) => return totals.put(total).map_err(|error| error.to_string()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn count(input: &Input) -> Result<Count, Box<dyn Error>> {
    let (parts, their_parts) = Queue::new()?.split();
    let (their_totals, totals) = Queue::new()?.split();
    let mut workers = Vec::new();
    for i in 1..=input.workers {
        let builder = Builder::new().name(format!("counter {i}"));
        workers.push(builder.spawn(work, (their_parts.clone(), their_totals.clone()))?);
    }
    drop((their_parts, their_totals)); // if all workers are dead, our ends say so
    let put = words::chunks(&input.text, PART).try_for_each(|part| parts.put_bytes(part));
    drop(parts);

    for worker in workers {
        finish(worker)?;
    }
    put?;
    Ok(Count { words: totals.iter().sum::<Result<u64, QueueError>>()?, processes: 1 + input.workers })
}

/// Waits for the end of a worker. If it was not the expected one, this says more than that no part could be put.
fn finish(worker: Process<Result<(), String>>) -> Result<(), Box<dyn Error>> {
    let who = format!("{} (process {})", worker.name(), worker.pid());
    match worker.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{who} failed: {error}").into()),
        Err(error) => Err(format!("{who} is gone: {error}").into()),
    }
}
