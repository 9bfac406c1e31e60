//! Starting the processes that are measured.

use std::time::{Duration, Instant};

use ipc_core::{JoinError, Process};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Outcome};
use crate::window::Window;

/// Longer than any measurement; what takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// How a row is to be measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) window: Window,
    /// The processors for the process that measures and for its peer; anywhere if `None`.
    pub(crate) cpus: Option<(usize, usize)>,
}

impl Plan {
    /// Runs `timed` in one process and `peer` in another, and returns what `timed` does. Neither closure may capture anything.
    pub(crate) fn pair<F, A, G, B>(&self, timed: F, a: A, peer: G, b: B) -> Outcome<f64>
    where
        F: FnOnce((Window, A)) -> Outcome<f64> + Copy + Send + 'static,
        G: FnOnce(B) -> Outcome<()> + Copy + Send + 'static,
        A: Serialize + DeserializeOwned,
        B: Serialize + DeserializeOwned,
    {
        let window = self.window;
        let timed = on_cpu(self.cpus.map(|cpus| cpus.0), || Process::spawn(timed, (window, a)))?;
        let peer = on_cpu(self.cpus.map(|cpus| cpus.1), || Process::spawn(peer, b));
        // If the second could not be started, the first finds its stream at the end, and is waited for all the same.
        let deadline = Instant::now() + LIMIT;
        let figure = join(timed, deadline);
        let other = peer.and_then(|peer| join(peer, deadline));
        match (figure, other) {
            (Ok(figure), Ok(())) => Ok(figure),
            (Ok(_), Err(other)) => Err(Failure::new(format!("the peer failed: {other}"))),
            (Err(failure), Ok(())) => Err(failure),
            (Err(failure), Err(other)) => Err(Failure::new(format!("{failure}; the peer failed: {other}"))),
        }
    }

    /// Runs `timed` in a process and returns what it does.
    pub(crate) fn alone<F>(&self, timed: F) -> Outcome<f64>
    where
        F: FnOnce(Window) -> Outcome<f64> + Copy + Send + 'static,
    {
        self.one(timed, self.window)
    }

    /// Runs `timed` in a process, where whoever it talks to runs already.
    pub(crate) fn one<F, A>(&self, timed: F, args: A) -> Outcome<f64>
    where
        F: FnOnce(A) -> Outcome<f64> + Copy + Send + 'static,
        A: Serialize + DeserializeOwned,
    {
        let timed = on_cpu(self.cpus.map(|cpus| cpus.0), || Process::spawn(timed, args))?;
        join(timed, Instant::now() + LIMIT)
    }

    /// The same with all on the first processor.
    pub(crate) fn on_one_cpu(&self) -> Plan {
        Plan { cpus: self.cpus.map(|(first, _)| (first, first)), ..*self }
    }

    /// Runs `work` in a process for each of the arguments, all at once, and returns what they do.
    pub(crate) fn all<F, A, R>(&self, work: F, args: Vec<A>) -> Outcome<Vec<R>>
    where
        F: FnOnce(A) -> Outcome<R> + Copy + Send + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let processes: Vec<_> = args.into_iter().map(|args| Process::spawn(work, args)).collect();
        let deadline = Instant::now() + LIMIT;
        // All of them are joined before anything is said about one.
        let results = processes.into_iter().map(|process| join(process?, deadline)).collect::<Vec<_>>();
        results.into_iter().collect()
    }
}

fn join<R: DeserializeOwned>(mut process: Process<Outcome<R>>, deadline: Instant) -> Outcome<R> {
    match process.join_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(outcome) => outcome,
        Err(JoinError::Timeout) => {
            process.kill()?;
            Err(Failure::new("a process hung and was killed"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Runs `f` with this thread on one processor. A process started meanwhile is there from its first instruction to its last.
pub(crate) fn on_cpu<R, E: Into<Failure>>(cpu: Option<usize>, f: impl FnOnce() -> Result<R, E>) -> Outcome<R> {
    let Some(cpu) = cpu else { return f().map_err(Into::into) };
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this)?;
    pin(cpu)?;
    let result = f();
    sched_setaffinity(this, &before)?;
    result.map_err(Into::into)
}

/// Keeps this thread on one processor.
pub(crate) fn pin(cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}
