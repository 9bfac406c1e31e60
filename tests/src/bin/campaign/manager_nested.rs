//! Objects in objects, made, stored, taken out and dropped by several, of which one is killed: what nobody holds any more is gone.

use std::collections::BTreeMap;
use std::fmt::Debug;

use ipc_core::{Builder, Decode, Encode, Postcard, Process};
use ipc_manager::{Dict, Error, List, Manager, ObjectStats, Queue, Result, Stats};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round};
use serde::{Deserialize, Serialize};

use crate::manager::{AFTERWARDS, Host, Place, complain, judge_lanes, waited};
use crate::permits::join_survivor;

type Lists = Dict<u64, List<u64>>;
type Dicts = Dict<u64, Dict<u64, List<u64>>>;
type Passed = Queue<(u64, List<u64>)>;
/// So long that all of them together make several pages of a snapshot.
type Long = Dict<u64, (List<u64>, Vec<u8>)>;
type Counts = Dict<u64, u64>;

/// As many keys are in use, so that the workers meet.
const KEYS: u64 = 4;
/// How long one of the long values is; a page has 256 KiB.
const LONG: usize = 100_000;
/// The key that all count up.
const ALL: u64 = 99;

/// Something that a worker does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mistake {
    None,
    /// It keeps a proxy for ever.
    Keeps,
    /// It reads and writes where it should update.
    ReadsAndWrites,
}

#[derive(Serialize, Deserialize)]
struct Worker {
    /// In the supervisor, whose proxies belong together.
    #[serde(skip)]
    manager: Option<Manager>,
    place: Place,
    lane: Lane,
    number: u64,
    seed: u64,
    /// It may be killed, and then a proxy on its way would be held for a minute.
    dies: bool,
    mistake: Mistake,
}

/// The objects that have names; all others are in them.
struct Roots {
    manager: Manager,
    lists: Lists,
    dicts: Dicts,
    long: Long,
    passed: Passed,
    counts: Counts,
}

impl Roots {
    fn open(manager: Manager) -> Result<Roots> {
        Ok(Roots {
            lists: manager.open("lists")?,
            dicts: manager.open("dicts")?,
            long: manager.open("long")?,
            passed: manager.open("passed")?,
            counts: manager.open("counts")?,
            manager,
        })
    }
}

/// A victim for ever, a survivor until some time after the victim's end.
fn work(mut worker: Worker) {
    let manager = worker.manager.take().unwrap_or_else(|| worker.place.enter());
    let roots = Roots::open(manager).expect("the objects are there");
    let mut rng = Rng::new(worker.seed);
    let (mut done, mut more) = (0, AFTERWARDS);
    while more > 0 && worker.lane.flaw().is_none() {
        more -= u32::from(worker.lane.is_over());
        worker.lane.attempt(done + 1);
        // Its own count, and that of all: what is acknowledged is never lost.
        let counted = count(&worker, &roots.counts, worker.number).and_then(|()| count(&worker, &roots.counts, ALL));
        if let Err(error) = counted {
            worker.lane.complain(complain(&worker.lane, "count", &error));
        }
        done += 1;
        worker.lane.acknowledge(done);
        for _ in 0..rng.below(6) {
            match change(&roots, &mut rng, &worker) {
                Ok(()) => {}
                Err(error) if waited(&error) => {}
                Err(error) => worker.lane.complain(complain(&worker.lane, "change what is nested", &error)),
            }
        }
    }
}

fn count(worker: &Worker, counts: &Counts, key: u64) -> Result<()> {
    if worker.mistake == Mistake::ReadsAndWrites {
        let n = counts.get(&key)?.unwrap_or(0);
        return counts.insert(&key, &(n + 1)).map(drop);
    }
    counts.update(&key, |n| n.unwrap_or(0) + 1).map(drop)
}

/// Does one of the many things that can be done with objects in objects.
fn change(roots: &Roots, rng: &mut Rng, worker: &Worker) -> Result<()> {
    let Roots { manager, lists, dicts, long, passed, .. } = roots;
    let (key, other) = (rng.below(KEYS), rng.below(KEYS));
    match rng.below(16) {
        0 => {
            let list = manager.list_of(0..rng.below(5))?;
            let before = lists.insert(&key, &list)?;
            if worker.mistake == Mistake::Keeps {
                std::mem::forget(before);
            }
        }
        1 => drop(lists.remove(&key)?),
        2 => drop(lists.pop_any()?),
        // The same list under two keys.
        3 => {
            if let Some(list) = lists.get(&key)? {
                list.push(&key)?;
                lists.insert(&other, &list)?;
            }
        }
        4 => {
            let new = manager.list()?;
            lists.update(&key, |list| list.unwrap_or_else(|| new.clone()))?;
        }
        5 => {
            let dict = dicts.get_or_insert(&key, &manager.dict()?)?;
            dict.insert(&other, &manager.list_of([key])?)?;
        }
        6 => {
            if let (Some(dict), Some(list)) = (dicts.get(&key)?, lists.get(&other)?) {
                dict.insert(&other, &list)?;
                lists.remove(&other)?;
            }
        }
        7 => drop(dicts.remove(&key)?),
        8 => passed.put(&(key, manager.list_of([other])?))?,
        9 => {
            let (key, list) = passed.try_get()?;
            lists.insert(&key, &list)?;
        }
        // Some of the values are seen, others not, and some are used.
        10 => {
            for entry in lists.iter()?.take(rng.below(KEYS) as usize) {
                entry?.1.len()?;
            }
        }
        11 => {
            let mut batch = manager.batch();
            let list = manager.list()?;
            let before = batch.add(lists.later().insert(&key, &list));
            let _ = batch.add(lists.later().insert(&other, &list));
            let _ = batch.add(lists.later().get(&key));
            let mut results = batch.send()?;
            if rng.one_in(2) {
                results.take(before)?;
            }
        }
        12 => drop(long.insert(&key, &(manager.list()?, vec![0; LONG]))?),
        13 => {
            for entry in long.iter()?.take(rng.below(KEYS) as usize) {
                entry?.1.0.push(&key)?;
            }
        }
        // One that goes another way than through the server, and comes back.
        14 if !worker.dies => {
            let mut bytes = Vec::new();
            Postcard::encode(&manager.list_of([key])?, &mut bytes).expect("it can be sent");
            let list: List<u64> = Postcard::decode(&bytes).expect("it is there");
            lists.insert(&key, &list)?;
        }
        _ => {
            let expected = lists.get(&key)?;
            let new = if rng.one_in(2) { None } else { Some(manager.list()?) };
            drop(lists.compare_and_swap(&key, expected.as_ref(), new.as_ref())?);
        }
    }
    Ok(())
}

/// What the named objects contain in the end is all there is, and has no holds but theirs.
pub(crate) fn nested(round: &mut Round) {
    nested_with(round, Mistake::None);
}

pub(crate) fn nested_with(round: &mut Round, mistake: Mistake) {
    let host = Host::new(round);
    let host = if mistake == Mistake::None { host } else { host.impatient() };
    let manager = &host.manager;
    let (lists, dicts) = (host.publish("lists", manager.dict()), host.publish("dicts", manager.dict()));
    let long = host.publish("long", manager.dict());
    let (passed, counts) = (host.publish("passed", manager.queue()), host.publish("counts", manager.dict()));
    let roots = Roots { manager: manager.clone(), lists, dicts, long, passed, counts };
    round.strike(|round| {
        let worker = |round: &mut Round, number: u64| Worker {
            manager: (number == 2).then(|| manager.clone()),
            place: host.place.clone(),
            lane: round.lane(number),
            number,
            seed: round.rng.next(),
            dies: number == 0,
            mistake: if number == 0 && mistake == Mistake::Keeps { Mistake::None } else { mistake },
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
    if mistake == Mistake::None {
        host.wait_for_clients(1);
    }
    judge_counts(round, &lanes, &roots.counts);
    match held(&roots) {
        Ok(held) => judge_holds(round, &host, &held),
        Err(error) => round.flaw(Flaw::Wrong, format!("cannot see what is left: {error:?}")),
    }
    drop(roots);
    host.judge_empty(round);
}

fn judge_counts(round: &mut Round, lanes: &[Lane], counts: &Counts) {
    let sum = |number: fn(&Lane) -> u64| lanes.iter().map(number).sum::<u64>();
    let (attempted, acknowledged) = (sum(Lane::attempted), sum(Lane::acknowledged));
    round.messages(acknowledged);
    let numbers = lanes.iter().zip(0..).map(|(lane, number)| (number, lane.attempted(), lane.acknowledged()));
    for (key, attempted, acknowledged) in numbers.chain([(ALL, attempted, acknowledged)]) {
        let n = counts.get(&key).ok().flatten().unwrap_or(0);
        if n < acknowledged {
            round.flaw(Flaw::Lost, format!("{acknowledged} changes of {key} were acknowledged, there are {n}"));
        }
        if n > attempted {
            round.flaw(Flaw::Duplicate, format!("{attempted} changes of {key} were attempted, there are {n}"));
        }
    }
}

/// How often each object stands in others.
fn held(roots: &Roots) -> Result<BTreeMap<String, u64>, Error> {
    fn note(held: &mut BTreeMap<String, u64>, object: &impl Debug) {
        *held.entry(format!("{object:?}")).or_default() += 1;
    }
    let mut held = BTreeMap::new();
    roots.lists.values()?.iter().for_each(|list| note(&mut held, list));
    roots.long.values()?.iter().for_each(|(list, _)| note(&mut held, list));
    let dicts = roots.dicts.values()?;
    for dict in &dicts {
        note(&mut held, dict);
    }
    let distinct: BTreeMap<_, _> = dicts.iter().map(|dict| (format!("{dict:?}"), dict)).collect();
    for dict in distinct.values() {
        dict.values()?.iter().for_each(|list| note(&mut held, list));
    }
    while let Ok((_, list)) = roots.passed.try_get() {
        // It is taken out of the queue, and goes where it is still held.
        roots.lists.insert(&(KEYS + held.len() as u64), &list)?;
        note(&mut held, &list);
    }
    Ok(held)
}

fn judge_holds(round: &mut Round, host: &Host, held: &BTreeMap<String, u64>) {
    let flaws = |stats: &Stats| -> Vec<ObjectStats> {
        let nested = stats.objects.iter().filter(|object| object.name.is_none());
        let name = |object: &ObjectStats| format!("{:?} {}", object.kind, object.number);
        nested.filter(|object| held.get(&name(object)) != Some(&object.references)).cloned().collect()
    };
    let is_sound = |stats: &Stats| {
        flaws(stats).is_empty() && stats.objects.iter().filter(|object| object.name.is_none()).count() == held.len()
    };
    let stats = host.settled(is_sound);
    if !is_sound(&stats) {
        let (flaws, nested) = (flaws(&stats), stats.objects.iter().filter(|object| object.name.is_none()).count());
        round.flaw(Flaw::Left, format!("{flaws:?} of {nested} are not as they are held: {held:?}"));
    }
}
