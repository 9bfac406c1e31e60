//! Channels between processes of which one is killed, stopped or forked, also in the midst of a read.

mod ends;
mod forked;
mod killed;
mod report;
mod resources;
mod stopped;

use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipc_csp::{Channel, Network, Reader, Writer};
use ipc_tests::{eventually, raw};
use serde::{Deserialize, Deserializer, Serialize};

const SHORT: Duration = Duration::from_millis(50);
/// Nothing takes this long, also on a loaded machine, unless it hangs.
const LONG: Duration = Duration::from_secs(20);
/// How long it may take until a death is noticed, with room for a loaded machine.
const SOON: Duration = Duration::from_secs(1);
/// How much later than asked for a call may end whose time has passed, with room for a loaded machine.
const LATE: Duration = Duration::from_millis(500);
/// Sizes that are kept in the offer, and beside it.
const SIZES: [usize; 3] = [0, 150, 300_000];

/// A channel, and one end of each kind.
fn ends<T>(network: &Network, capacity: usize) -> (Writer<T>, Reader<T>) {
    let channel = network.buffered::<T>(capacity).unwrap();
    (channel.writer().unwrap(), channel.reader().unwrap())
}

/// Waits until so many threads wait in this network, and others can see for what.
fn until_waiting(network: &Network, count: usize) {
    eventually("they wait", || {
        let report = network.report().unwrap();
        let waiting = report.waiting();
        // Asleep: who is stopped while it makes its offers has the channels locked.
        waiting.len() == count && waiting.iter().all(|one| !one.since.is_zero())
    });
}

/// Raises a signal in the process that has armed it and reads it: in the midst of the read.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Trap(u32, Vec<u8>);

static ARMED: AtomicI32 = AtomicI32::new(0);

fn arm(signal: i32) {
    ARMED.store(signal, Ordering::SeqCst);
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Trap, D::Error> {
        let (number, bytes) = Deserialize::deserialize(deserializer)?;
        match ARMED.swap(0, Ordering::SeqCst) {
            0 => {}
            signal => raw::raise(signal),
        }
        Ok(Trap(number, bytes))
    }
}

/// Runs something whose time is to pass in vain, and sees that it does not take longer.
fn in_vain(limit: Duration, call: impl FnOnce(Duration) -> bool) {
    let started = Instant::now();
    assert!(call(limit), "its time should have passed");
    let took = started.elapsed();
    assert!(took >= limit && took < limit + LATE, "{took:?} instead of {limit:?}");
}
