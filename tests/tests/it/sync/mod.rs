//! Locks and their like between processes of which one is killed, stopped, forked, or careless.

mod barrier;
mod locks;
mod notifications;
mod permits;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ipc_core::{Builder, Connection, Process};
use ipc_pipe::duplex;
use ipc_sync::{Error, Result};
use ipc_tests::{eventually, state};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

const SHORT: Duration = Duration::from_millis(30);
/// Nothing takes this long, also on a loaded machine, unless it hangs.
const LONG: Duration = Duration::from_secs(20);

/// A process that has done something with `object`, and then waits until it is ended.
struct Holder {
    process: Process<()>,
    line: Connection<(), ()>,
}

impl Holder {
    /// Starts it, and waits until it has done `what`, which returns what it is to hold, or an error that nobody expects.
    fn of<T, G, F>(object: &T, what: F) -> Holder
    where
        T: Clone + Serialize + DeserializeOwned + 'static,
        F: for<'a> Fn(&'a T) -> Result<G> + Copy + Send + 'static,
        G: 'static,
    {
        let (mut line, theirs) = duplex::<(), ()>().unwrap();
        let process = Builder::new()
            .core_dumps(false)
            .spawn(
                move |(object, mut line): (T, Connection<(), ()>)| {
                    let held = what(&object).expect("the holder gets what it is to hold");
                    line.send(()).unwrap();
                    let _ = line.recv();
                    drop(held);
                },
                (object.clone(), theirs),
            )
            .unwrap();
        line.recv().unwrap();
        Holder { process, line }
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        eventually("it stops", || state(self.pid()) == Some('T'));
    }

    fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Kills it, and returns its pid when it is gone.
    fn kill(self) -> u32 {
        let pid = self.pid();
        self.process.kill().unwrap();
        assert!(self.process.join().is_err());
        pid
    }

    /// Kills it, and returns when it is gone.
    fn end(self) {
        self.kill();
    }

    /// Lets it drop what it holds, and end.
    fn release(self) {
        drop(self.line);
        self.process.join().unwrap();
    }
}

fn add_one(count: &AtomicU32) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Runs `wait` in a thread, `event` once that sleeps, and returns what `wait` returned, and how long it took after the event.
fn while_waiting<R: Send>(wait: impl FnOnce() -> R + Send, event: impl FnOnce()) -> (R, Duration) {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            sender.send(nix::unistd::gettid()).unwrap();
            let result = wait();
            (result, Instant::now())
        });
        let thread = receiver.recv().unwrap();
        let waits = || std::fs::read_to_string(format!("/proc/self/task/{thread}/wchan")).unwrap_or_default();
        eventually("it sleeps", || waits().contains("futex") || waiter.is_finished());
        assert!(!waiter.is_finished(), "it did not wait");
        event();
        let since = Instant::now();
        let (result, at) = waiter.join().unwrap();
        (result, at.saturating_duration_since(since))
    })
}

fn timed_out<T>(call: impl FnOnce(Duration) -> Result<T>) -> bool {
    let started = Instant::now();
    let result = call(SHORT);
    let took = started.elapsed();
    assert!(took >= SHORT && took < LONG, "{took:?}");
    matches!(result, Err(Error::Timeout))
}
