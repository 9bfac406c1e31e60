//! Each worker has a few slots in shared memory, where parts of the text are put. How many words it has found it adds up in its
//! place of one array that all share, and that the parent reads at the end.

use std::error::Error;

use ipc_core::{Builder, Process};
use ipc_shm::{AtomicArray, SharedMemory};
use ipc_sync::{Semaphore, Signal};
use serde::{Deserialize, Serialize};

use crate::input::Input;
use crate::{Count, Mechanism, words};

pub(crate) const SHM: Mechanism =
    Mechanism { name: "shm", shows: "parts of the text copied into shared slots, counts added up in one array", count };

/// Small enough to stay in a processor's cache, with all the slots.
const PART: usize = 128 * 1024;
/// While a worker counts one part, the next ones are there already.
const SLOTS: usize = 4;

/// What the parent and one worker share. Nobody else has its signals: whoever waits for one is told if the other is dead.
#[derive(Clone, Serialize, Deserialize)]
struct Desk {
    text: SharedMemory,
    /// How long the part in each slot is.
    lens: AtomicArray<u64>,
    filled: Signal,
    free: Signal,
}

impl Desk {
    fn new(slot_size: usize) -> Result<Desk, ipc_shm::Error> {
        Ok(Desk {
            text: SharedMemory::anonymous(SLOTS * slot_size)?,
            lens: AtomicArray::zeroed(SLOTS)?,
            filled: Semaphore::signal(0)?,
            free: Semaphore::signal(SLOTS as u32)?,
        })
    }

    fn slot_size(&self) -> usize {
        self.text.size() / SLOTS
    }

    /// Fills slot `i`, counted on and on; with nothing at the end.
    fn put(&self, i: usize, part: &[u8]) -> Result<(), ipc_shm::Error> {
        let slot = i % SLOTS;
        self.free.acquire()?;
        self.text.write_at(slot * self.slot_size(), part)?;
        self.lens.set(slot, part.len() as u64)?;
        Ok(self.filled.release()?)
    }

    fn count_all(&self, total: impl Fn(u64) -> Result<u64, ipc_shm::Error>) -> Result<(), ipc_shm::Error> {
        let mut buffer = vec![0; self.slot_size()];
        for slot in (0..SLOTS).cycle() {
            self.filled.acquire()?;
            let part = &mut buffer[..self.lens.get(slot)? as usize];
            if part.is_empty() {
                break;
            }
            self.text.read_at(slot * self.slot_size(), part)?;
            self.free.release()?;
            total(words::count(part))?;
        }
        Ok(())
    }
}

/// Counts until there is nothing more.
fn work((desk, totals, i): (Desk, AtomicArray<u64>, usize)) -> Result<(), String> {
    desk.count_all(|words| totals.fetch_add(i, words)).map_err(|error| error.to_string())
}

fn count(input: &Input) -> Result<Count, Box<dyn Error>> {
    let slot_size = words::chunks(&input.text, PART).map(<[u8]>::len).max().unwrap_or(1);
    let totals = AtomicArray::zeroed(input.workers)?;
    let mut workers = Vec::new();
    for i in 0..input.workers {
        let desk = Desk::new(slot_size)?;
        let builder = Builder::new().name(format!("counter {}", i + 1));
        workers.push((builder.spawn(work, (desk.clone(), totals.clone(), i))?, desk));
    }

    let parts = words::chunks(&input.text, PART).chain(std::iter::repeat_n(&[][..], input.workers));
    for (i, part) in parts.enumerate() {
        let worker = i % workers.len();
        if let Err(error) = workers[worker].1.put(i / workers.len(), part) {
            return Err(finish(workers.swap_remove(worker)).err().unwrap_or_else(|| error.into()));
        }
    }
    workers.into_iter().try_for_each(finish)?;
    Ok(Count { words: totals.to_vec().iter().sum(), processes: 1 + input.workers })
}

/// Waits for the end of a worker. If it was not the expected one, this says more than that no part could be put.
fn finish((worker, desk): (Process<Result<(), String>>, Desk)) -> Result<(), Box<dyn Error>> {
    drop(desk); // if the worker still waits for something, it learns that nothing will come
    let who = format!("{} (process {})", worker.name(), worker.pid());
    match worker.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{who} failed: {error}").into()),
        Err(error) => Err(format!("{who} is gone: {error}").into()),
    }
}
