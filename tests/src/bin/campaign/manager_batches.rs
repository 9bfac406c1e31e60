//! Many operations at once, and reading of all there is, with a victim in the middle of them.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use ipc_core::{Builder, Process};
use ipc_manager::{Dict, List, Manager, Result};
use ipc_tests::campaign::{Flaw, Items, Lane, Rng, Round, Sizes};
use serde::{Deserialize, Serialize};

use crate::manager::{AFTERWARDS, Host, Place, complain, judge_lanes};
use crate::permits::join_survivor;

/// By worker and number, the two halves of what is set as one.
type Entries = Dict<(u64, u64, bool), Vec<u8>>;
/// Worker and number, in the order in which they were added.
type Order = List<(u64, u64)>;

/// Something that a worker does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mistake {
    None,
    /// It sets the two halves one after the other.
    OneByOne,
}

#[derive(Serialize, Deserialize)]
struct Worker {
    place: Place,
    lane: Lane,
    number: u64,
    seed: u64,
    items: Items,
    mistake: Mistake,
}

/// A victim for ever, a survivor until some time after the victim's end.
fn work(worker: Worker) {
    let manager = worker.place.enter();
    let entries: Entries = manager.open("entries").expect("it is there");
    let order: Order = manager.open("order").expect("it is there");
    let mut rng = Rng::new(worker.seed);
    let (mut n, mut more) = (0, AFTERWARDS);
    while more > 0 && worker.lane.flaw().is_none() {
        more -= u32::from(worker.lane.is_over());
        let many = rng.one_in(8) && worker.items.sizes == Sizes::Small;
        let count = 1 + rng.below(if many { 300 } else { 8 });
        worker.lane.attempt(n + count);
        let added = match rng.below(3) {
            0 => add_as_one(&worker, &entries, &order, n..n + count),
            _ => add_in_batch(&worker, &manager, (&entries, &order), n..n + count),
        };
        let looked = added.and_then(|()| {
            worker.lane.acknowledge(n + count);
            look(&worker, &entries, &mut rng)
        });
        if let Err(error) = looked {
            worker.lane.complain(complain(&worker.lane, "work with many", &error));
        }
        n += count;
    }
}

/// Each pair is set as one, in one request.
fn add_as_one(worker: &Worker, entries: &Entries, order: &Order, numbers: Range<u64>) -> Result<()> {
    let keys: Vec<_> = numbers.clone().map(|n| (worker.number, n)).collect();
    let values: Vec<_> = pairs(worker, numbers).collect();
    match worker.mistake {
        Mistake::None => entries.extend(values.iter().map(|(key, value)| (key, value)))?,
        Mistake::OneByOne => {
            for (key, value) in &values {
                entries.insert(key, value)?;
            }
        }
    }
    order.extend(&keys)
}

fn pairs(worker: &Worker, numbers: Range<u64>) -> impl Iterator<Item = ((u64, u64, bool), Vec<u8>)> {
    let (items, number) = (worker.items, worker.number);
    numbers.flat_map(move |n| {
        [false, true].map(|half| ((number, n, half), items.message(crate::queue_ledger::number(number, n))))
    })
}

/// The pairs in many requests, each of which is one.
fn add_in_batch(
    worker: &Worker,
    manager: &Manager,
    (entries, order): (&Entries, &Order),
    numbers: Range<u64>,
) -> Result<()> {
    let mut batch = manager.batch();
    let mut pending = Vec::new();
    for n in numbers {
        let halves: Vec<_> = pairs(worker, n..n + 1).collect();
        for (key, value) in &halves {
            // There is no request for both; who looks takes this one for the other half of nothing.
            let _ = batch.add(entries.later().insert(&(key.0, key.1 | SINGLE, key.2), value));
        }
        pending.push(batch.add(order.later().push(&(worker.number, n))));
    }
    let mut results = batch.send()?;
    pending.into_iter().try_for_each(|position| results.take(position).map(drop))
}

/// In the number of what is not set in pairs.
const SINGLE: u64 = 1 << 32;

/// What is there at one moment is whole.
fn look(worker: &Worker, entries: &Entries, rng: &mut Rng) -> Result<()> {
    if rng.one_in(2) {
        return Ok(());
    }
    // Some look at a part of it only.
    let most = if rng.one_in(4) { rng.below(50) as usize } else { usize::MAX };
    let (mut halves, mut seen, mut scratch) = (BTreeMap::<_, u32>::new(), 0, Vec::new());
    for entry in entries.iter()?.take(most) {
        let ((lane, n, _), value) = entry?;
        seen += 1;
        if worker.items.number(&value, &mut scratch) != Some(crate::queue_ledger::number(lane, n & !SINGLE)) {
            worker.lane.complain(Flaw::Corrupt);
        }
        if n & SINGLE == 0 {
            *halves.entry((lane, n)).or_default() += 1;
        }
    }
    if seen < most && halves.values().any(|count| *count != 2) {
        worker.lane.complain(Flaw::Corrupt);
    }
    Ok(())
}

/// What was acknowledged is there, once and in its order, and of the rest the first so many.
pub(crate) fn batches(round: &mut Round) {
    batches_with(round, Mistake::None);
}

pub(crate) fn batches_with(round: &mut Round, mistake: Mistake) {
    let host = Host::new(round);
    let sizes = if round.rng.one_in(4) { Sizes::Medium } else { Sizes::Small };
    let items = Items { seed: round.rng.next(), sizes };
    let entries: Entries = host.publish("entries", host.manager.dict());
    let order: Order = host.publish("order", host.manager.list());
    round.strike(|round| {
        let worker = |round: &mut Round, number: u64| Worker {
            place: host.place.clone(),
            lane: round.lane(number),
            number,
            seed: round.rng.next(),
            items,
            mistake,
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
    let lanes = [0, 1, 2].map(|lane| round.lane(lane));
    judge_lanes(round, &lanes);
    host.wait_for_clients(1);
    if let Err(error) = judge(round, &lanes, &entries, &order) {
        round.flaw(Flaw::Wrong, format!("cannot see what is there: {error:?}"));
    }
    drop((entries, order));
    host.judge_empty(round);
}

fn judge(round: &mut Round, lanes: &[Lane], entries: &Entries, order: &Order) -> Result<()> {
    let (there, order): (HashSet<_>, _) = (entries.keys()?.into_iter().collect(), order.to_vec()?);
    for (lane, number) in lanes.iter().zip(0..) {
        let mine: Vec<_> = order.iter().filter(|(worker, _)| *worker == number).map(|(_, n)| *n).collect();
        let in_order = mine.iter().zip(0..).all(|(n, place)| *n == place);
        let count = mine.len() as u64;
        round.messages(count);
        if count < lane.acknowledged() {
            round.flaw(Flaw::Lost, format!("{count} are there of {lane:?}"));
        } else if count > lane.attempted() {
            round.flaw(Flaw::Duplicate, format!("{count} are there of {lane:?}"));
        } else if !in_order {
            round.flaw(Flaw::Corrupt, format!("not in their order: {mine:?}"));
        }
        // Whatever is in the list was put into the dict before.
        let has = |n: u64, single| [false, true].iter().all(|half| there.contains(&(number, n | single, *half)));
        if let Some(n) = (0..count).find(|n| !has(*n, 0) && !has(*n, SINGLE)) {
            round.flaw(Flaw::Lost, format!("{n} of {lane:?} is in the list only"));
        }
    }
    Ok(())
}
