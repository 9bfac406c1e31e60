//! Queues with a name that several processes make, open, use and drop, of which one is killed.

use std::time::Duration;

use ipc_core::{Builder, Ownership, Process};
use ipc_queue::{Error, Queue};
use ipc_tests::campaign::{Flaw, Items, Lane, Rng, Round, Sizes};
use ipc_tests::unique_name;
use serde::{Deserialize, Serialize};

use crate::memory::{exists, judge_gone, judge_left};
use crate::permits::join_survivor;
use crate::queue::pause;
use crate::queue_ways::{Plain, small};

const SHORT: Duration = Duration::from_micros(300);
/// How often a survivor has a queue after the victim's end.
const AFTERWARDS: u32 = 5;

#[derive(Serialize, Deserialize)]
struct Worker {
    name: String,
    lane: Lane,
    items: Items,
    seed: u64,
}

/// Makes a queue of the name or opens it, uses it and drops it: a victim for ever, a survivor until some time after the victim's end.
fn work(worker: Worker) {
    let Worker { name, lane, items, seed } = worker;
    let (mut rng, mut n, mut more) = (Rng::new(seed), 0, AFTERWARDS);
    while more > 0 && lane.flaw().is_none() {
        let over = lane.is_over();
        lane.attempt(n + 1);
        match enter(&name, &mut rng) {
            Ok(Some(queue)) => {
                if let Err(text) = pass(&queue, items, &mut rng) {
                    eprintln!("a queue with a name: {text}");
                    return lane.complain(Flaw::Wrong);
                }
                n += 1;
                lane.acknowledge(n);
                more -= u32::from(over);
            }
            Ok(None) => std::thread::yield_now(),
            Err(error) => {
                eprintln!("cannot enter: {error:?}");
                return lane.complain(Flaw::Wrong);
            }
        }
    }
}

fn enter(name: &str, rng: &mut Rng) -> Result<Option<Plain>, Error> {
    let made = match rng.below(3) {
        0 => Queue::create_named(name, &small(), Ownership::Creator),
        1 => Queue::create_named(name, &small(), Ownership::LastUser),
        _ => Queue::open_named(name),
    };
    match made {
        Ok(queue) => Ok(Some(queue)),
        // Another one has it; it has just gone.
        Err(Error::Memory(ipc_core::Error::NameTaken { .. } | ipc_core::Error::NoSuchName { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts something in and takes something out, not necessarily the same.
fn pass(queue: &Plain, items: Items, rng: &mut Rng) -> Result<(), String> {
    let mut scratch = Vec::new();
    for _ in 0..1 + rng.below(5) {
        match queue.put_timeout(items.message(rng.next() >> 24), SHORT) {
            Ok(()) => {}
            Err(error) if error.error.is_timeout() || error.error.is_disconnected() => {}
            Err(error) => return Err(format!("cannot put: {error:?}")),
        }
        pause(rng);
        match queue.get_timeout(SHORT) {
            Ok(message) if items.number(&message, &mut scratch).is_none() => {
                return Err(format!("{} bytes that nobody has put", message.len()));
            }
            // The others have just gone: nobody can put anything into a queue that nobody can open.
            Ok(_) | Err(Error::Timeout | Error::Disconnected) => {}
            Err(error) => return Err(format!("cannot get: {error:?}")),
        }
    }
    Ok(())
}

/// Nothing half made is ever seen, and nothing is left.
pub(crate) fn user(round: &mut Round) {
    let name = unique_name();
    let items = Items { seed: round.rng.next(), sizes: Sizes::Mixed };
    round.strike(|round| {
        let worker = |round: &mut Round, lane| Worker {
            name: name.clone(),
            lane: round.lane(lane),
            items,
            seed: round.rng.next(),
        };
        let victim: Process<()> = round.victim().spawn(work, worker(round, 0)).expect("the victim starts");
        let other: Process<()> = Builder::new().spawn(work, worker(round, 1)).expect("the other one starts");
        let near = worker(round, 2);
        std::thread::scope(|scope| {
            scope.spawn(|| work(near));
            let _ = round.join(victim);
            round.end();
        });
        join_survivor(round, other);
    });
    for lane in [0, 1, 2].map(|lane| round.lane(lane)) {
        round.messages(lane.acknowledged());
        if let Some(flaw) = lane.flaw() {
            round.flaw(flaw, format!("noted by a worker: {lane:?}"));
        }
    }
    if exists(&name) {
        // The victim may have left it last.
        judge_left(round, &name);
    }
    judge_gone(round, &name);
}
