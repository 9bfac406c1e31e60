//! A server process has everything: the parts of the text in a queue, from which workers take them, and what they have found in a dict, by
//! the number of the part. A part is done when that is in the dict.

use std::error::Error;
use std::time::Duration;

use ipc_core::{Builder, Process};
use ipc_manager::{Dict, Error as ManagerError, JoinableQueue, Manager};

use crate::input::Input;
use crate::text::Text;
use crate::{Count, Mechanism, pipe, words};

pub(crate) const MANAGER: Mechanism = Mechanism {
    name: "manager",
    shows: "parts of the text in a queue of a server, their counts in a dict of it",
    count,
};

/// What the server copies in one go.
const PART: usize = 128 * 1024;
/// So many parts wait in the server.
const WINDOW: usize = 16;
/// How often one who waits for the workers looks whether they are alive.
const LOOK: Duration = Duration::from_secs(1);

/// Numbered parts; `None` says that there will be no more.
type Parts = JoinableQueue<Option<(u64, Text)>>;
/// The words of each part. To count a part twice does no harm: as when a worker dies that has entered it, or when the server was too busy to
/// say that a part is in the queue.
type Counts = Dict<u64, u64>;
type Worker = Process<Result<(), String>>;

fn work((parts, counts): (Parts, Counts)) -> Result<(), String> {
    count_all(&parts, &counts).map_err(|error| error.to_string())
}

fn count_all(parts: &Parts, counts: &Counts) -> Result<(), ManagerError> {
    while let Some((number, text)) = parts.get()? {
        counts.insert(&number, &words::count(&text.0))?;
        parts.task_done()?;
    }
    parts.task_done()
}

fn count(input: &Input) -> Result<Count, Box<dyn Error>> {
    let manager = Manager::start()?; // when this is dropped, workers that are left end with an error
    let (parts, counts): (Parts, Counts) = (manager.bounded_joinable_queue(WINDOW)?, manager.dict()?);
    let mut workers: Vec<Worker> = Vec::new();
    for i in 1..=input.workers {
        let builder = Builder::new().name(format!("counter {i}"));
        workers.push(builder.spawn(work, (parts.clone(), counts.clone()))?);
    }
    let mut number = 0;
    for part in words::chunks(&input.text, PART) {
        put(&parts, Some((number, Text(part.to_vec()))), &mut workers)?;
        number += 1;
    }
    for _ in 0..input.workers {
        put(&parts, None, &mut workers)?;
    }
    workers.into_iter().try_for_each(finish)?;
    let counts = counts.values()?;
    if counts.len() as u64 != number {
        return Err(format!("{} parts of {number} are counted", counts.len()).into());
    }
    Ok(Count { words: counts.iter().sum(), processes: 2 + input.workers })
}

/// Waits until there is room, but not for workers of which one is dead.
fn put(parts: &Parts, part: Option<(u64, Text)>, workers: &mut Vec<Worker>) -> Result<(), Box<dyn Error>> {
    loop {
        match parts.put_timeout(&part, LOOK) {
            Err(ManagerError::Timeout) => {}
            other => return Ok(other?),
        }
        if let Some(i) = workers.iter().position(|worker| !worker.is_alive()) {
            finish(workers.swap_remove(i))?;
        }
    }
}

fn finish(mut worker: Worker) -> Result<(), Box<dyn Error>> {
    let end = worker.join_timeout(Duration::MAX);
    pipe::verdict(&worker, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_worker_that_is_dead() {
        let manager = Manager::start().unwrap();
        let parts: Parts = manager.bounded_joinable_queue(1).unwrap();
        parts.put(&None).unwrap();
        let worker = Builder::new().name("counter 7").spawn(|()| Err("no time".to_string()), ()).unwrap();
        let error = put(&parts, None, &mut vec![worker]).unwrap_err().to_string();
        assert!(error.starts_with("counter 7 (process ") && error.ends_with(") failed: no time"), "{error}");
    }

    #[test]
    fn what_a_dead_worker_has_not_done_another_one_does() {
        let manager = Manager::start().unwrap();
        let (parts, counts): (Parts, Counts) = (manager.joinable_queue().unwrap(), manager.dict().unwrap());
        for (number, text) in (0..).zip(["one", "two words"]) {
            parts.put(&Some((number, Text(text.into())))).unwrap();
        }
        parts.put(&None).unwrap();
        let quitter = Process::spawn(|parts: Parts| drop(parts.get().unwrap()), parts.clone()).unwrap();
        quitter.join().unwrap();
        let worker = Process::spawn(work, (parts.clone(), counts.clone())).unwrap();
        worker.join().unwrap().unwrap();
        parts.try_join().unwrap();
        assert_eq!(counts.to_map().unwrap(), [(0, 1), (1, 2)].into());
    }
}
