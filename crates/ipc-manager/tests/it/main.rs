//! The public interface, within one process; what needs several is in the package `tests`.

mod batches;
mod containers;
mod history;
mod locks;
mod names;
mod nesting;
mod queues;
mod random;
mod servers;
mod sessions;
mod sync;

use std::thread;
use std::time::{Duration, Instant};

use ipc_manager::{Manager, ObjectStats, Server};

/// Long enough for a loaded machine.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(30);
/// How much later than its time-out a call may return on a machine that has other things to do.
const LATE: Duration = Duration::from_secs(3);

/// A server in this process.
fn server() -> Server {
    Manager::serve("unix-abstract:", "key").unwrap()
}

/// A server and a manager of it.
fn both() -> (Server, Manager) {
    let server = server();
    let manager = server.manager().unwrap();
    (server, manager)
}

/// A manager that is a client of its own, as one of another process is.
fn stranger(server: &Server) -> Manager {
    Manager::builder().authkey("key").separate().connect(server.address()).unwrap()
}

fn object(server: &Server, number: usize) -> Option<ObjectStats> {
    server.stats().objects.get(number).cloned()
}

/// Waits until the server has so many objects: letting go is not answered.
#[track_caller]
fn wait_for_objects(server: &Server, count: usize) {
    wait_until(|| server.stats().objects.len() == count, || format!("{:?}", server.stats().objects));
}

/// Waits until others have so many connections of this process in use, besides the one that asks.
#[track_caller]
fn wait_for_waiting(manager: &Manager, count: u64) {
    let connections = || manager.stats().unwrap().connections;
    wait_until(|| connections() > count, || format!("{} connections", connections()));
}

#[track_caller]
fn wait_until(mut is_so: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "{}", otherwise());
        thread::yield_now();
    }
}

/// What a call takes that is to time out.
#[track_caller]
fn takes<R>(least: Duration, call: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = call();
    let took = start.elapsed();
    assert!(least <= took && took < least + LATE, "{took:?} instead of {least:?}");
    result
}
