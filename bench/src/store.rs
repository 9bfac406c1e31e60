//! How fast a dictionary in a server is, whoever serves.

use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::plan::{Plan, on_cpu};
use crate::raw::Counter;
use crate::window::{Durations, Window};

/// The dictionary has so many keys, and so many operations go together when they do.
pub(crate) const KEYS: u64 = 100;
/// Between two questions, so that everybody sleeps, and their processors do.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);

pub(crate) fn key(n: u64) -> String {
    format!("key {n}")
}

/// The value of the key with number `n` when each was set so many times.
pub(crate) fn value(n: u64, times: u64) -> u64 {
    1_000_000_000 + times * KEYS + n
}

/// A server with a dictionary that all its clients share, in which every key was set 0 times, as `value` has it.
pub(crate) trait Store: 'static {
    /// Ends the server when it is dropped.
    type Server;
    /// How to get there from another process.
    type Door: Serialize + DeserializeOwned + Clone;
    type Client;

    fn start() -> Outcome<(Self::Server, Self::Door)>;

    fn enter(door: Self::Door) -> Outcome<Self::Client>;

    /// Gets the value of the key with number `n`, and checks it. Always inlined, as if it were written out in the loop that is timed.
    fn get(client: &mut Self::Client, n: u64) -> Outcome<()>;

    /// Gets the values of all keys at once, which were set so many times, and checks each.
    fn get_all(client: &mut Self::Client, times: u64) -> Outcome<()>;

    /// Sets all keys at once, for the `times`th time, and checks each answer.
    fn set_all(client: &mut Self::Client, times: u64) -> Outcome<()>;
}

/// Nanoseconds of a get.
pub(crate) fn get<S: Store>(plan: &Plan) -> Outcome<f64> {
    let (_server, door) = on_cpu(plan.cpus.map(|cpus| cpus.1), S::start)?;
    plan.one(
        |(window, door): (Window, S::Door)| {
            let (mut client, mut n) = (S::enter(door)?, 0);
            let timed = window.time(64, || {
                n = (n + 1) % KEYS;
                S::get(&mut client, n)
            })?;
            Ok(timed.nanoseconds_each())
        },
        (plan.window, door),
    )
}

/// Microseconds of a get when client and server sleep before: the median.
pub(crate) fn get_asleep<S: Store>(plan: &Plan) -> Outcome<f64> {
    let (_server, door) = on_cpu(plan.cpus.map(|cpus| cpus.1), S::start)?;
    plan.one(
        |(window, door): (Window, S::Door)| {
            let (mut client, mut n) = (S::enter(door)?, 0);
            after_pauses(window, || {
                n = (n + 1) % KEYS;
                S::get(&mut client, n)
            })
        },
        (plan.window, door),
    )
}

/// Microseconds of what is done after a pause, again and again: the median.
pub(crate) fn after_pauses(window: Window, mut one: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let (mut durations, start) = (Durations::new(), Instant::now());
    while start.elapsed() < window.warm_up + window.length {
        thread::sleep(PAUSE);
        let asked = Instant::now();
        one()?;
        let took = asked.elapsed();
        if start.elapsed() >= window.warm_up {
            durations.add(took);
        }
    }
    Ok(durations.percentile(50) / 1000.0)
}

/// Gets per second when all keys are asked for at once.
pub(crate) fn pipelined_gets<S: Store>(plan: &Plan) -> Outcome<f64> {
    let (_server, door) = on_cpu(plan.cpus.map(|cpus| cpus.1), S::start)?;
    plan.one(
        |(window, door): (Window, S::Door)| {
            let mut client = S::enter(door)?;
            let timed = window.time(1, || S::get_all(&mut client, 0))?;
            Ok(KEYS as f64 * timed.per_second())
        },
        (plan.window, door),
    )
}

/// The same for keys that are set.
pub(crate) fn pipelined_sets<S: Store>(plan: &Plan) -> Outcome<f64> {
    let (_server, door) = on_cpu(plan.cpus.map(|cpus| cpus.1), S::start)?;
    plan.one(
        |(window, door): (Window, S::Door)| {
            let (mut client, mut times) = (S::enter(door)?, 0);
            let timed = window.time(1, || {
                times += 1;
                S::set_all(&mut client, times)
            })?;
            S::get_all(&mut client, times)?;
            Ok(KEYS as f64 * timed.per_second())
        },
        (plan.window, door),
    )
}

/// Gets per second of so many processes together, which each ask for all keys at once.
pub(crate) fn together<S: Store, const CLIENTS: u64>(plan: &Plan) -> Outcome<f64> {
    let ((_server, door), (begun, finished)) = (S::start()?, (Counter::new()?, Counter::new()?));
    let mut workers = Vec::new();
    for _ in 0..CLIENTS {
        let (door, begun, finished) = (door.clone(), begun.try_clone()?, finished.try_clone()?);
        workers.push(Work::<S> { window: plan.window, door, begun, finished });
    }
    let rates = plan.all(
        |work: Work<S>| {
            let mut client = S::enter(work.door)?;
            // Nobody measures before all are there, or stops before all have measured.
            meet::<S>(&mut client, &work.begun, CLIENTS)?;
            let timed = work.window.time(1, || S::get_all(&mut client, 0))?;
            meet::<S>(&mut client, &work.finished, CLIENTS)?;
            Ok(KEYS as f64 * timed.per_second())
        },
        workers,
    )?;
    Ok(rates.iter().sum())
}

/// Nobody is as late as that.
const LONGEST: Duration = Duration::from_secs(20);

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Work<S: Store> {
    window: Window,
    door: S::Door,
    begun: Counter,
    finished: Counter,
}

/// Goes on until all are here.
fn meet<S: Store>(client: &mut S::Client, here: &Counter, clients: u64) -> Outcome<()> {
    let (start, mut count) = (Instant::now(), here.fetch_add(1) + 1);
    while count < clients {
        if start.elapsed() > LONGEST {
            return Err(Failure::new("another client has failed"));
        }
        S::get_all(client, 0)?;
        count = here.fetch_add(0);
    }
    Ok(())
}
