//! Processes that do something a step at a time, and are killed or stopped on the way.

use std::time::Duration;

use ipc_core::{Builder, Connection, Process};
use ipc_tests::{eventually, state};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long a step may take, also on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a process says, and is told, by the line it was started with.
pub(crate) struct Line(pub(crate) Connection<(), ()>);

impl Line {
    /// Says that it has come as far as was wanted.
    pub(crate) fn tell(&mut self) {
        self.0.send(()).unwrap();
    }

    /// Waits until it is to go on, or the other end is gone.
    pub(crate) fn wait(&mut self) {
        let _ = self.0.recv();
    }

    pub(crate) fn tell_and_wait(&mut self) {
        self.tell();
        self.wait();
    }
}

/// A process that does something with what it is given.
pub(crate) struct Other {
    process: Process<()>,
    pub(crate) line: Connection<(), ()>,
}

impl Other {
    pub(crate) fn start<T, F>(given: T, what: F) -> Other
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Fn(T, &mut Line) + Copy + Send + 'static,
    {
        let (line, theirs) = ipc_pipe::duplex::<(), ()>().unwrap();
        let process = Builder::new()
            .core_dumps(false)
            .daemon(true) // so that it does not outlive a test that has failed
            .spawn(move |(given, line): (T, Connection<(), ()>)| what(given, &mut Line(line)), (given, theirs))
            .unwrap();
        Other { process, line }
    }

    /// Waits until it has come as far as was wanted.
    pub(crate) fn reached(&mut self) {
        self.line.recv_timeout(PATIENCE).unwrap();
    }

    /// Starts it, and waits until it has said the first thing.
    pub(crate) fn until<T, F>(given: T, what: F) -> Other
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Fn(T, &mut Line) + Copy + Send + 'static,
    {
        let mut other = Other::start(given, what);
        other.reached();
        other
    }

    pub(crate) fn go_on(&mut self) {
        self.line.send(()).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        eventually("it stops", || state(self.pid()) == Some('T'));
    }

    pub(crate) fn wake(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Kills it, and returns when it is gone.
    pub(crate) fn kill(self) {
        self.process.kill().unwrap();
        assert!(self.process.join().is_err());
    }

    /// Lets it go on, and returns when it has ended.
    pub(crate) fn finish(self) {
        drop(self.line);
        self.process.join().unwrap();
    }
}

/// Waits until a thread, of this process or another one, sleeps in a call to the system, and not for another thread.
pub(crate) fn until_asleep(thread: u32) {
    let at = format!("/proc/{thread}/wchan");
    eventually("it sleeps", || {
        let place = std::fs::read_to_string(&at).unwrap_or_default();
        !matches!(place.as_str(), "" | "0") && !place.contains("futex")
    });
}
