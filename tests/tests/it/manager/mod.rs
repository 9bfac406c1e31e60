//! Managers whose clients, servers and owners are killed or stopped, and whose guests are hostile.

mod clients;
mod crowds;
mod garbage;
mod owners;
mod references;
mod servers;
mod updates;
mod waits;

use std::fs;
use std::ops::Range;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use ipc_core::Connection;
use ipc_manager::{
    Barrier, Condition, Dict, Error, Event, JoinableQueue, List, Lock, Manager, Queue, RLock, Result, Semaphore, Value,
};
use ipc_tests::{children, eventually, state};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::other::{Other, until_asleep};

const SHORT: Duration = Duration::from_millis(200);
/// Nothing takes this long, also on a loaded machine, unless it hangs.
const LONG: Duration = Duration::from_secs(20);
/// How long it may take until a death is noticed or somebody is served, with room for a loaded machine.
const SOON: Duration = Duration::from_secs(1);
/// How much later than asked for a call may end whose time has passed, with room for a loaded machine.
const LATE: Duration = Duration::from_millis(500);
const KEY: &[u8] = b"what both know";

/// A server's process, which is somebody's child.
#[derive(Clone, Copy)]
struct Server(u32);

/// Starts a server, and says which process that is.
fn start() -> (Manager, Server) {
    start_at("unix-abstract:")
}

fn start_at(address: &str) -> (Manager, Server) {
    let mine = || children(std::process::id()).into_iter().map(|(pid, _)| pid).collect::<Vec<_>>();
    let before = mine();
    let manager = Manager::builder().start(address).unwrap();
    let new: Vec<u32> = mine().into_iter().filter(|pid| !before.contains(pid)).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    (manager, Server(new[0]))
}

impl Server {
    fn signal(self, signal: Signal) {
        kill(Pid::from_raw(self.0 as i32), signal).unwrap();
    }

    fn stop(self) {
        self.signal(Signal::SIGSTOP);
        eventually("it stops", || state(self.0) == Some('T'));
    }

    fn wake(self) {
        self.signal(Signal::SIGCONT);
    }

    /// Whether it has ended; one whose parent is gone may wait for whoever adopted it.
    fn is_gone(self) -> bool {
        matches!(state(self.0), None | Some('Z'))
    }

    fn threads(self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.0)).unwrap().count()
    }

    /// How much memory it has, in bytes.
    fn memory(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

/// Waits until the server has been asked for whatever that process is asking for: its main thread sleeps, and the server has looked at everybody.
fn has_asked(other: &Other, manager: &Manager) {
    until_asleep(other.pid());
    seen_by_all(manager);
}

/// When this returns, the server has read all that was sent to it before: it looks at everybody after some looks at the one who talks just now.
fn seen_by_all(manager: &Manager) {
    for _ in 0..50 {
        manager.stats().unwrap();
    }
}

/// Runs `wait` in a thread, and returns when that sleeps, and which thread it is.
fn asleep<'scope, R: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    wait: impl FnOnce() -> R + Send + 'scope,
) -> (ScopedJoinHandle<'scope, R>, u32) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let waiter = scope.spawn(move || {
        sender.send(nix::unistd::gettid().as_raw() as u32).unwrap();
        wait()
    });
    let thread = receiver.recv().unwrap();
    until_asleep(thread);
    (waiter, thread)
}

/// Runs `wait` in a thread, `event` once that sleeps and was seen by the server, and returns what `wait` returned, and how long after the event began.
fn while_waiting<R: Send>(manager: &Manager, wait: impl FnOnce() -> R + Send, event: impl FnOnce()) -> (R, Duration) {
    thread::scope(|scope| {
        let (waiter, _) = asleep(scope, || (wait(), Instant::now()));
        seen_by_all(manager);
        assert!(!waiter.is_finished(), "it did not wait");
        let since = Instant::now();
        event();
        let (result, at) = waiter.join().unwrap();
        (result, at.saturating_duration_since(since))
    })
}

/// How long the call takes, which has to end as asked and within this time.
fn ends_within(limits: Range<Duration>, what: &str, call: impl FnOnce() -> bool) {
    let started = Instant::now();
    let right = call();
    let took = started.elapsed();
    assert!(right && limits.contains(&took), "{what}: {right} after {took:?}, and not within {limits:?}");
}

fn timed_out<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Timeout))
}

fn disconnected<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Disconnected))
}

fn objects(manager: &Manager) -> usize {
    manager.stats().unwrap().objects.len()
}

/// Waits until nobody is connected but this many processes.
fn only_clients(manager: &Manager, n: u64) {
    eventually("the others have left", || manager.stats().unwrap().clients == n);
}

/// One object of each kind that can be waited for, in such a state that one has to wait, and two to talk with.
#[derive(Clone, Serialize, Deserialize)]
struct Everything {
    lock: Lock,
    rlock: RLock,
    condition: Condition,
    other_condition: Condition,
    semaphore: Semaphore,
    event: Event,
    barrier: Barrier,
    empty: Queue<u32>,
    full: Queue<u32>,
    tasks: JoinableQueue<u32>,
    dict: Dict<String, u32>,
    list: List<u32>,
}

impl Everything {
    /// `lock`, `rlock` and `condition` are not locked yet.
    fn new(manager: &Manager) -> Result<Everything> {
        let all = Everything {
            lock: manager.lock()?,
            rlock: manager.rlock()?,
            condition: manager.condition()?,
            other_condition: manager.condition()?,
            semaphore: manager.semaphore(0)?,
            event: manager.event()?,
            barrier: manager.barrier(100)?,
            empty: manager.queue()?,
            full: manager.bounded_queue(1)?,
            tasks: manager.joinable_queue()?,
            dict: manager.dict_of([("one".to_string(), 1)])?,
            list: manager.list_of([1, 2, 3])?,
        };
        all.full.put(&0)?;
        all.tasks.put(&0)?;
        all.tasks.get()?; // a task that is not done
        Ok(all)
    }
}

/// Where a server is, for somebody who knows nothing else of it.
type Place = (String, Vec<u8>);

fn place(manager: &Manager) -> Place {
    (manager.address().to_string(), manager.authkey().to_vec())
}

fn visit((address, key): &Place) -> Result<Manager> {
    Manager::connect(address, key.clone())
}
