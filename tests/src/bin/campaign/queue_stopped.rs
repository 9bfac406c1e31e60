//! Whoever is stopped inside a lock of a queue holds up nobody who does not want to wait.

use std::time::{Duration, Instant};

use ipc_core::{Builder, Process};
use ipc_queue::Error;
use ipc_tests::campaign::{Flaw, Items, Lane, Round, STALL_LIMIT, Sizes, VARIABLE};
use ipc_tests::{eventually, state};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::queue::{Role, Taker, pause};
use crate::queue_ledger::{Ledger, number};
use crate::queue_ways::{Plain, Put, Take, Ways, small};

/// Where it has the lock of those who put, or of those who take.
const GIVING: [&str; 2] = ["put.filled", "put.published"];
const TAKING: [&str; 2] = ["get.noted", "get.moved"];

const TIMEOUT: Duration = Duration::from_millis(5);
/// One of some calls that do not wait takes no longer, whatever else the machine does.
const AT_ONCE: Duration = Duration::from_millis(5);
const TRIES: u32 = 50;

#[derive(Serialize, Deserialize)]
struct Worker {
    queue: Plain,
    gives: Lane,
    takes: Lane,
    items: Items,
    seed: u64,
}

/// Puts and takes in turn, for ever.
fn work(worker: Worker) {
    let Worker { queue, gives, takes, items, seed } = worker;
    let mut taker = Taker::new(&takes, items, seed);
    for n in 0.. {
        gives.attempt(n + 1);
        queue.put(items.message(number(0, n))).expect("there is room");
        gives.acknowledge(n + 1);
        pause(&mut taker.rng);
        // Another one may have taken it.
        if let Ok(message) = queue.try_get() {
            taker.taken(&[message]);
        }
    }
}

/// Calls of which each must end without success, and one at least in time.
fn in_time(round: &mut Round, what: &str, expected: fn(&Error) -> bool, call: impl Fn() -> Result<(), Error>) {
    let least = if what.starts_with("try") { Duration::ZERO } else { TIMEOUT };
    let mut quickest = Duration::MAX;
    for _ in 0..TRIES {
        let begin = Instant::now();
        let result = call();
        quickest = quickest.min(begin.elapsed());
        if !result.as_ref().is_err_and(expected) {
            round.flaw(Flaw::Wrong, format!("{what} while the lock is another one's: {result:?}"));
        }
        if quickest <= least + AT_ONCE {
            break;
        }
    }
    if quickest < least || quickest > least + AT_ONCE {
        round.flaw(Flaw::Wrong, format!("{what} took {quickest:?} at least"));
    }
}

pub(crate) fn inside(round: &mut Round) {
    let ways = Ways::new(&small(), Put::One, Take::One);
    let queue = ways.queue().clone();
    let items = Items { seed: round.rng.next(), sizes: Sizes::Small };
    let mut ledger = Ledger::new(true);
    [(Role::Gives, 0), (Role::Takes, 1)].into_iter().for_each(|(role, lane)| ledger.enter(role, lane, true, 1));
    [(Role::Gives, 2), (Role::Takes, 3)].into_iter().for_each(|(role, lane)| ledger.enter(role, lane, false, 1));
    let gives = round.rng.one_in(2);
    let point = (if gives { GIVING } else { TAKING })[round.rng.below(2) as usize];
    let plan = format!("{point}:{}:STOP", 1 + round.rng.below(40));
    let worker =
        Worker { queue: queue.clone(), gives: round.lane(0), takes: round.lane(1), items, seed: round.rng.next() };
    let victim: Process<()> = Builder::new().env(VARIABLE, plan).spawn(work, worker).expect("the victim starts");
    eventually("the victim stops itself", || state(victim.pid()) == Some('T'));
    let message = items.message(number(2, 0));
    if gives {
        in_time(round, "try_put", Error::is_would_block, || Ok(queue.try_put(&message)?));
        in_time(round, "try_put_many", Error::is_would_block, || Ok(queue.try_put_many(&[&message])?));
        in_time(round, "try_reserve", Error::is_would_block, || queue.try_reserve(8).map(drop));
        in_time(round, "put_timeout", Error::is_timeout, || Ok(queue.put_timeout(&message, TIMEOUT)?));
    } else {
        in_time(round, "try_get", Error::is_would_block, || queue.try_get().map(drop));
        in_time(round, "try_get_many", Error::is_would_block, || queue.try_get_many(3).map(drop));
        in_time(round, "try_lease", Error::is_would_block, || queue.try_lease().map(drop));
        in_time(round, "try_peek", Error::is_would_block, || queue.try_peek().map(drop));
        in_time(round, "get_timeout", Error::is_timeout, || queue.get_timeout(TIMEOUT).map(drop));
    }
    if round.rng.one_in(3) {
        // It goes on as if nothing had been.
        kill(Pid::from_raw(victim.pid() as i32), Signal::SIGCONT).expect("it is ours");
        round.rng.spin(20_000);
    }
    victim.kill().expect("it is ours");
    let begin = Instant::now();
    let _ = round.join(victim);
    round.inside();
    // And then the others go on.
    let (gives, takes) = (round.lane(2), round.lane(3));
    let mut taker = Taker::new(&takes, items, round.rng.next());
    gives.attempt(1);
    queue.put(&message).expect("not closed");
    gives.acknowledge(1);
    queue.close().expect("not forked");
    loop {
        match queue.get() {
            Ok(message) => taker.taken(&[message]),
            Err(Error::Closed) => break,
            Err(error) => {
                round.flaw(Flaw::Wrong, format!("cannot take what is left: {error:?}"));
                break;
            }
        }
    }
    if begin.elapsed() > STALL_LIMIT {
        round.flaw(Flaw::Wrong, format!("the survivor was held up for {:?}", begin.elapsed()));
    }
    ledger.judge(round);
}
