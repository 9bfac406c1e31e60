//! One round each: who dies over what.

use ipc_core::{Builder, Bytes, Process};
use ipc_queue::{Consumer, Error, Producer, Settings};
use ipc_tests::campaign::{Flaw, Items, Lane, Round, Sizes, VARIABLE};
use ipc_tests::raw::exit;
use serde::{Deserialize, Serialize};

use crate::queue::{BOTH, Cast, Ending, GIVER, NOBODY, Part, Role, TAKER, Taker, play, play_after};
use crate::queue_ledger::{Ledger, Step, number};
use crate::queue_ways::{MOST_DELIVERIES, Plain, Put, Take, Ways, small};

fn ways(put: Put, take: Take) -> Ways {
    Ways::new(&small(), put, take)
}

pub(crate) fn giver(round: &mut Round) {
    play(round, &Cast::of(GIVER), ways(Put::One, Take::One));
}

pub(crate) fn taker(round: &mut Round) {
    play(round, &Cast::of(TAKER), ways(Put::One, Take::One));
}

/// Several threads die at once.
pub(crate) fn threads(round: &mut Round) {
    let cast = Cast { other: Part { gives: 2, takes: 2 }, ..Cast::of(Part { gives: 2, takes: 2 }) };
    play(round, &cast, ways(Put::One, Take::One));
}

const BATCH: u64 = 20;

pub(crate) fn giver_of_many(round: &mut Round) {
    play(round, &Cast { batch: BATCH, at_once: BATCH, ..Cast::of(GIVER) }, ways(Put::Many, Take::Many));
}

pub(crate) fn taker_of_many(round: &mut Round) {
    play(round, &Cast { batch: BATCH, at_once: BATCH, ..Cast::of(TAKER) }, ways(Put::Many, Take::Many));
}

const LEASING: Cast = Cast { batch: 3, at_once: 0, ..Cast::of(TAKER) };

/// At times only the victim gives something back, so that all that comes back is its.
fn leasing(round: &mut Round, settings: &Settings) -> Ways {
    let ways = Ways::new(settings, Put::One, Take::Lease);
    if round.rng.one_in(2) { ways.others_take(Take::One) } else { ways }
}

pub(crate) fn leases(round: &mut Round) {
    let ways = leasing(round, &small());
    play(round, &LEASING, ways);
}

/// What was delivered twice in vain is put aside.
pub(crate) fn dead_letters(round: &mut Round) {
    let ways = leasing(round, &small().max_deliveries(MOST_DELIVERIES)).buries();
    play(round, &LEASING, ways);
}

pub(crate) fn peek(round: &mut Round) {
    let ways = ways(Put::One, Take::Peek);
    let ways = if round.rng.one_in(2) { ways.others_take(Take::One) } else { ways };
    play(round, &Cast { at_once: 0, sizes: Sizes::Mixed, ..Cast::of(TAKER) }, ways);
}

pub(crate) fn reserve(round: &mut Round) {
    play(round, &Cast { sizes: Sizes::Mixed, ..Cast::of(GIVER) }, ways(Put::Reserve, Take::One));
}

pub(crate) fn large_giver(round: &mut Round) {
    play(round, &Cast { sizes: Sizes::Large, ..Cast::of(GIVER) }, ways(Put::One, Take::One));
}

pub(crate) fn large_taker(round: &mut Round) {
    play(round, &Cast { sizes: Sizes::Large, batch: 3, at_once: 3, ..Cast::of(TAKER) }, ways(Put::One, Take::Many));
}

pub(crate) fn large_leases(round: &mut Round) {
    let ways = leasing(round, &small());
    play(round, &Cast { sizes: Sizes::Large, ..LEASING }, ways);
}

/// There is room for a few long messages only, and those under leases may need some, too.
pub(crate) fn short_of_room(round: &mut Round) {
    let ways = leasing(round, &small().max_message(20_000));
    let near = if round.rng.one_in(2) { TAKER } else { BOTH };
    play(round, &Cast { sizes: Sizes::Medium, near, other: GIVER, ..LEASING }, ways);
}

/// Many die over one queue, one after the other.
pub(crate) fn many_deaths(round: &mut Round) {
    let sizes = if round.rng.one_in(2) { Sizes::Large } else { Sizes::Small };
    let others = Part { gives: 1, takes: 2 };
    let cast = Cast { sizes, batch: 3, at_once: 3, other: others, near: others, deaths: 15, ..Cast::of(BOTH) };
    play(round, &cast, ways(Put::One, Take::Any));
}

/// Everything at once: in all ways, messages of all lengths.
pub(crate) fn mixed(round: &mut Round) {
    let cast = Cast { sizes: Sizes::Mixed, batch: 4, at_once: 4, other: TAKER, ..Cast::of(BOTH) };
    play(round, &cast, ways(Put::Any, Take::Any));
}

/// There is room for one message.
pub(crate) fn one(round: &mut Round) {
    play(round, &Cast::of(BOTH), Ways::new(&small().items(1), Put::One, Take::One));
}

pub(crate) fn closed(round: &mut Round) {
    play(round, &Cast { end: Ending::ClosedByVictim, ..Cast::of(GIVER) }, ways(Put::One, Take::One));
}

/// The only one who puts dies: the others take what there is, and hear of it.
pub(crate) fn last_giver(round: &mut Round) {
    let cast = Cast { other: TAKER, near: TAKER, end: Ending::NoGivers, ..Cast::of(GIVER) };
    play(round, &cast, ways(Put::One, Take::One).never_closes());
}

/// The only one who takes dies: the others hear of it.
pub(crate) fn last_taker(round: &mut Round) {
    let cast = Cast { other: GIVER, near: GIVER, end: Ending::NoTakers, ..Cast::of(TAKER) };
    play(round, &cast, ways(Put::One, Take::One).never_closes());
}

/// The others wait for a descriptor.
pub(crate) fn ready_for_giver(round: &mut Round) {
    play(round, &Cast::of(GIVER), ways(Put::One, Take::Ready));
}

pub(crate) fn ready_taker(round: &mut Round) {
    play(round, &Cast::of(TAKER), ways(Put::One, Take::Ready));
}

/// Lanes that no member of a cast has.
const LEFT: [(Role, u64); 2] = [(Role::Gives, 20), (Role::Takes, 21)];

#[derive(Serialize, Deserialize)]
struct Leaver {
    queue: Plain,
    gives: Lane,
    takes: Lane,
    items: Items,
    seed: u64,
}

/// Puts messages, takes some of them, and ends without a word.
fn leave_behind(leaver: Leaver) {
    let Leaver { queue, gives, takes, items, seed } = leaver;
    let mut taker = Taker::new(&takes, items, seed);
    let count = 10 + taker.rng.below(30);
    for n in 0..count {
        gives.attempt(n + 1);
        queue.put(items.message(number(LEFT[0].1, n))).expect("there is room");
        gives.acknowledge(n + 1);
    }
    for _ in 0..1 + taker.rng.below(count) {
        if taker.rng.one_in(4) {
            let message = queue.get().expect("there is one");
            taker.taken(&[message]);
            continue;
        }
        let lease = queue.lease().expect("there is one");
        let number = taker.leased(&lease, lease.deliveries());
        match taker.rng.below(8) {
            0 => {
                taker.note(Step::GivingBack, number);
                drop(lease);
            }
            1 => {
                taker.note(Step::Finishing, number);
                lease.ack().expect("not forked");
                taker.note(Step::Finished, number);
            }
            _ => std::mem::forget(lease),
        }
    }
    exit(0);
}

/// Somebody has died with messages in its hands, and who finds them is killed, too.
pub(crate) fn heir(round: &mut Round) {
    let ways = ways(Put::One, Take::Lease);
    let items = Items { seed: round.rng.next(), sizes: Sizes::Small };
    let [gives, takes] = LEFT.map(|(_, lane)| round.lane(lane));
    let leaver = Leaver { queue: ways.queue().clone(), gives, takes, items, seed: round.rng.next() };
    let point = ["", "get.moved", "get.copied", "lease.stored", "lease.kept"][round.rng.below(5) as usize];
    let builder = Builder::new().env(VARIABLE, format!("{point}:{}:KILL", 1 + round.rng.below(8)));
    let leaver: Process<()> = builder.spawn(leave_behind, leaver).expect("the leaver starts");
    let _ = leaver.join();
    let cast = Cast { other: NOBODY, near: Part { gives: 1, takes: 2 }, later: true, ..LEASING };
    play_after(round, &cast, ways, items, LEFT.to_vec(), |_, _| {});
}

/// How many processes the victim passes its end on to.
const HEIRS: u64 = 40;
/// The lane of the first of them; before it are the victim and two takers.
const FIRST_HEIR: u64 = 3;

#[derive(Serialize, Deserialize)]
struct Passer {
    end: Producer<Vec<u8>, Bytes>,
    lane: Lane,
    items: Items,
    /// For those who get the end.
    heirs: Vec<Lane>,
}

impl Passer {
    fn put(&self, lane: u64, count: u64) {
        for n in 0..count {
            self.lane.attempt(n + 1);
            self.end.put(self.items.message(number(lane, n))).expect("somebody takes");
            self.lane.acknowledge(n + 1);
        }
    }
}

/// Has others put, one after the other, each with an end of its own.
fn pass_on(passer: Passer) {
    passer.put(0, 3);
    for (lane, heir) in (FIRST_HEIR..).zip(&passer.heirs) {
        let heir = Passer { end: passer.end.clone(), lane: heir.share(), items: passer.items, heirs: Vec::new() };
        let work = |(heir, lane): (Passer, u64)| heir.put(lane, 3);
        let builder = Builder::new().env_remove(VARIABLE);
        let process: Process<()> = builder.spawn(work, (heir, lane)).expect("it starts");
        // The next one may begin before this one has ended.
        if lane % 2 == 0 {
            process.join().expect("it is not killed");
        } else {
            drop(process);
        }
    }
    loop {
        std::thread::park();
    }
}

/// The only one who puts passes its end on, and dies: those who take hear of the end when the last one is gone that got it.
pub(crate) fn passed_on(round: &mut Round) {
    let (queue, items) =
        (Plain::with(&small()).expect("a queue"), Items { seed: round.rng.next(), sizes: Sizes::Small });
    let mut ledger = Ledger::new(true);
    ledger.enter(Role::Gives, 0, true, 0);
    (FIRST_HEIR..FIRST_HEIR + HEIRS).for_each(|lane| ledger.enter(Role::Gives, lane, false, 0));
    [1, 2].into_iter().for_each(|lane| ledger.enter(Role::Takes, lane, false, 1));
    round.strike(|round| {
        let heirs = (FIRST_HEIR..FIRST_HEIR + HEIRS).map(|lane| round.lane(lane)).collect();
        let passer = Passer { end: queue.producer(), lane: round.lane(0), items, heirs };
        let take = |(end, lane, items): (Consumer<Vec<u8>, Bytes>, Lane, Items)| -> bool {
            let mut taker = Taker::new(&lane, items, 0);
            end.iter().all(|message| message.map(|message| taker.taken(&[message])).is_ok());
            matches!(end.get(), Err(Error::Disconnected))
        };
        let (near, far) = (queue.consumer(), queue.consumer());
        drop(queue);
        let victim: Process<()> = round.victim().spawn(pass_on, passer).expect("the victim starts");
        let other = Builder::new().spawn(take, (far, round.lane(2), items)).expect("the other one starts");
        let is_over = [take((near, round.lane(1), items)), other.join().expect("it is not killed")];
        if is_over != [true; 2] {
            round.flaw(Flaw::Wrong, "the queue ended in another way");
        }
        let _ = round.join(victim);
    });
    ledger.judge(round);
}
