//! Each worker has a two-way pipe: parts of the text go out as bytes, their counts come back as numbers.

use std::error::Error;
use std::time::Duration;

use ipc_pipe::{Builder, Child, Connection, JoinError, Process, duplex, wait};

use crate::input::Input;
use crate::{Count, Mechanism, words};

pub(crate) const PIPE: Mechanism =
    Mechanism { name: "pipe", shows: "parts of the text sent as bytes, counts received as numbers", count };

/// Fits into the kernel's buffer, so the parent does not wait for a worker while another one has nothing to do.
const CHUNK: usize = 128 * 1024;
/// So many parts are under way to each worker: while it counts one, the next one is there already.
const WINDOW: usize = 2;

/// Counts what comes until the parent hangs up.
pub(crate) fn work(mut conn: Connection<u64, ()>) -> Result<(), String> {
    conn.set_max_message(u64::MAX);
    let mut buffer = vec![0; CHUNK];
    loop {
        match conn.recv_bytes_into(&mut buffer) {
            Ok(len) => conn.send(words::count(&buffer[..len])).map_err(|error| error.to_string())?,
            // A very long word. The message is still there.
            Err(ipc_pipe::Error::BufferTooShort { needed, .. }) => buffer.resize(needed, 0),
            Err(ipc_pipe::Error::Disconnected) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

pub(crate) struct Worker {
    process: Process<Result<(), String>>,
    conn: Connection<(), u64>,
    /// How many parts it has not answered yet.
    open: usize,
}

fn count(input: &Input) -> Result<Count, Box<dyn Error>> {
    let mut workers = Vec::new();
    for i in 1..=input.workers {
        let (conn, theirs) = duplex()?;
        let process = Builder::new().name(format!("counter {i}")).spawn(work, theirs)?;
        workers.push(Worker::new(process, conn));
    }
    share_out(input, workers)
}

/// Has the workers count everything.
pub(crate) fn share_out(input: &Input, mut workers: Vec<Worker>) -> Result<Count, Box<dyn Error>> {
    let words = count_parts(input, &mut workers)?;
    for worker in workers {
        worker.finish()?;
    }
    Ok(Count { words, processes: 1 + input.workers })
}

fn count_parts(input: &Input, workers: &mut [Worker]) -> Result<u64, Box<dyn Error>> {
    let mut words = 0;
    let mut chunks = words::chunks(&input.text, CHUNK);
    for worker in workers.iter_mut() {
        for chunk in chunks.by_ref().take(WINDOW) {
            worker.ask(chunk)?;
        }
    }
    loop {
        let mut busy: Vec<&mut Worker> = workers.iter_mut().filter(|worker| worker.open > 0).collect();
        if busy.is_empty() {
            return Ok(words);
        }
        let conns: Vec<_> = busy.iter().map(|worker| &worker.conn as _).collect();
        for i in wait(&conns, Duration::MAX)? {
            words += busy[i].answer()?;
            if let Some(chunk) = chunks.next() {
                busy[i].ask(chunk)?;
            }
        }
    }
}

impl Worker {
    pub(crate) fn new(process: Process<Result<(), String>>, mut conn: Connection<(), u64>) -> Worker {
        conn.set_max_message(u64::MAX);
        Worker { process, conn, open: 0 }
    }

    fn ask(&mut self, chunk: &[u8]) -> Result<(), Box<dyn Error>> {
        self.open += 1;
        self.conn.send_bytes(chunk).map_err(|error| self.explain(error))
    }

    fn answer(&mut self) -> Result<u64, Box<dyn Error>> {
        self.open -= 1;
        self.conn.recv().map_err(|error| self.explain(error))
    }

    /// If the pipe broke because the process has ended, how it ended says more.
    fn explain(&mut self, error: ipc_pipe::Error) -> Box<dyn Error> {
        match error {
            ipc_pipe::Error::Disconnected | ipc_pipe::Error::Truncated { .. } => {
                let end = self.process.join_timeout(Duration::MAX);
                verdict(&self.process, end).err().unwrap_or_else(|| error.into())
            }
            other => other.into(),
        }
    }

    /// Hangs up, and waits for the process to end as it should.
    fn finish(mut self) -> Result<(), Box<dyn Error>> {
        drop(self.conn);
        let end = self.process.join_timeout(Duration::MAX);
        verdict(&self.process, end)
    }
}

pub(crate) fn verdict(worker: &Child, end: Result<Result<(), String>, JoinError>) -> Result<(), Box<dyn Error>> {
    let who = format!("{} (process {})", worker.name(), worker.pid());
    match end {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{who} failed: {error}").into()),
        Err(error) => Err(format!("{who} is gone: {error}").into()),
    }
}
