//! The public interface of queues, within one process. What dies and is killed is tested across processes, elsewhere.
#![forbid(unsafe_code)]

mod calls;
mod codecs;
mod in_place;
mod leases;
mod model;

use std::time::{Duration, Instant};

use ipc_queue::Error;

const SHORT: Duration = Duration::from_millis(20);
/// Nothing takes this long unless it hangs.
const LONG: Duration = Duration::from_secs(20);

/// Whether the call says that the time has passed, when it has.
fn timed_out<T, E: Into<Error>>(call: impl FnOnce(Duration) -> Result<T, E>) -> bool {
    let started = Instant::now();
    let result = call(SHORT);
    assert!(started.elapsed() >= SHORT);
    result.map_err(Into::into).is_err_and(|error| error.is_timeout())
}

fn would_block<T, E: Into<Error>>(result: Result<T, E>) -> bool {
    result.map_err(Into::into).is_err_and(|error| error.is_would_block())
}
