//! Queues of one who puts and one who takes, of whom one is killed.

use std::time::Duration;

use ipc_core::{Bytes, Process};
use ipc_queue::{Error, SpscConsumer, SpscProducer, spsc};
use ipc_tests::campaign::{Checker, Contents, Flaw, Lane, Rng, Round};
use serde::{Deserialize, Serialize};

use crate::queue::pause;
use crate::queue_ways::small;

type Input = SpscConsumer<Vec<u8>, Bytes>;
type Output = SpscProducer<Vec<u8>, Bytes>;

const SHORT: Duration = Duration::from_micros(300);
const BATCH: u64 = 8;

#[derive(Serialize, Deserialize)]
struct Giver {
    output: Output,
    lane: Lane,
    contents: Contents,
}

#[derive(Serialize, Deserialize)]
struct Taker {
    input: Input,
    lane: Lane,
    contents: Contents,
}

/// Puts message after message, until nobody takes them any more.
fn give(giver: Giver) -> Error {
    let Giver { mut output, lane, contents } = giver;
    let (mut rng, mut n) = (Rng::of(contents.seed, u64::MAX), 0);
    loop {
        let count = if rng.one_in(3) { 1 + rng.below(BATCH) } else { 1 };
        lane.attempt(n + count);
        let messages: Vec<_> = (n..n + count).map(|n| contents.message(n)).collect();
        let (put, result) = if count > 1 {
            match output.put_many(&messages) {
                Ok(()) => (count, Ok(())),
                Err(error) => (error.put as u64, Err(error.error)),
            }
        } else {
            let message = &messages[0];
            let result = match rng.below(6) {
                0 => output.try_put(message).map_err(Error::from),
                1 => output.put_timeout(message, SHORT).map_err(Error::from),
                2 => output.put_bytes(message),
                _ => output.put(message).map_err(Error::from),
            };
            (u64::from(result.is_ok()), result)
        };
        n += put;
        lane.acknowledge(n);
        match result {
            Ok(()) | Err(Error::WouldBlock | Error::Timeout) => pause(&mut rng),
            Err(error) => return error,
        }
    }
}

/// Takes message after message, until nobody puts them any more, and returns why that ended.
fn take(taker: Taker) -> Error {
    let Taker { mut input, lane, contents } = taker;
    let (mut rng, mut checker) = (Rng::of(contents.seed, u64::MAX - 1), Checker::new(contents));
    let mut bytes = Vec::new();
    lane.attempt(1);
    loop {
        let messages = match rng.below(8) {
            0 => input.try_get().map(|message| vec![message]),
            1 => input.get_timeout(SHORT).map(|message| vec![message]),
            2 => input.get_bytes_into(&mut bytes).map(|()| vec![std::mem::take(&mut bytes)]),
            3 | 4 => input.get_many(1 + rng.below(BATCH) as usize),
            _ => input.get().map(|message| vec![message]),
        };
        match messages {
            Ok(messages) => {
                if let Some(flaw) = messages.iter().find_map(|message| checker.accept(message).err()) {
                    lane.complain(flaw);
                }
                lane.receive(checker.received());
                pause(&mut rng);
            }
            Err(Error::WouldBlock | Error::Timeout) => std::thread::yield_now(),
            Err(error) => return error,
        }
    }
}

fn new(round: &mut Round) -> (Giver, Taker) {
    let contents = Contents { seed: round.rng.next(), large: round.rng.one_in(4) };
    let (output, input) = spsc(&small()).expect("a queue");
    (Giver { output, lane: round.lane(0), contents }, Taker { input, lane: round.lane(1), contents })
}

fn judge_end(round: &mut Round, error: &Error) {
    if !error.is_disconnected() {
        round.flaw(Flaw::Wrong, format!("the queue ended with: {error:?}"));
    }
    if let Some(flaw) = round.lane(1).flaw() {
        round.flaw(flaw, "noted by the taker");
    }
}

/// The one who puts dies: the other one takes what was put, and hears of it.
pub(crate) fn giver(round: &mut Round) {
    let (giver, taker) = new(round);
    round.strike(|round| {
        let work = |giver: Giver| drop(give(giver));
        let victim: Process<()> = round.victim().spawn(work, giver).expect("the victim starts");
        let error = take(taker);
        judge_end(round, &error);
        let _ = round.join(victim);
    });
    let received = round.lane(1).received();
    round.judge(&round.lane(0), received, !round.has_flaws());
}

/// The one who takes dies: the other one hears of it.
pub(crate) fn taker(round: &mut Round) {
    let (giver, taker) = new(round);
    let (giver, taker) = (Giver { lane: round.lane(1), ..giver }, Taker { lane: round.lane(0), ..taker });
    round.strike(|round| {
        let work = |taker: Taker| drop(take(taker));
        let victim: Process<()> = round.victim().spawn(work, taker).expect("the victim starts");
        let error = give(giver);
        if !error.is_disconnected() {
            round.flaw(Flaw::Wrong, format!("the queue ended with: {error:?}"));
        }
        let _ = round.join(victim);
    });
    if let Some(flaw) = round.lane(0).flaw() {
        round.flaw(flaw, "noted by the taker");
    }
    let received = round.lane(0).received();
    round.judge(&round.lane(1), received, false);
}
