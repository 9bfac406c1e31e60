//! What users see of channels, choice and composition, within one process and with children.

mod channels;
mod choice;
mod compose;
mod ends;
mod limits;
mod model;
mod races;
mod report;
mod values;

use std::thread;
use std::time::{Duration, Instant};

use ipc_csp::{Channel, Network, Reader, Writer};

const SHORT: Duration = Duration::from_millis(20);
/// Nothing takes this long, also on a loaded machine, unless it hangs.
const LONG: Duration = Duration::from_secs(30);

fn pair<T>(capacity: usize) -> (Writer<T>, Reader<T>) {
    ends(&Network::new().unwrap(), capacity)
}

fn ends<T>(network: &Network, capacity: usize) -> (Writer<T>, Reader<T>) {
    let channel = network.buffered::<T>(capacity).unwrap();
    (channel.writer().unwrap(), channel.reader().unwrap())
}

/// Waits until so many threads wait in this network, and others can see for what.
fn until_waiting(network: &Network, count: usize) {
    eventually("they wait", || {
        let report = network.report().unwrap();
        let waiting = report.waiting();
        waiting.len() == count && waiting.iter().all(|one| one.reads.len() + one.writes.len() > 0)
    });
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < LONG, "not in time: {what}");
        thread::yield_now();
    }
}

/// Channels until there is room for no more, so that each further attempt looks for the dead.
fn fill(network: &Network) -> Vec<Channel<()>> {
    std::iter::from_fn(|| network.channel().ok()).collect()
}
