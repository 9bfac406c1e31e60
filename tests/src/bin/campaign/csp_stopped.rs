//! Whoever is stopped inside a lock of a channel holds up nobody who does not want to wait.

use std::thread;
use std::time::{Duration, Instant};

use ipc_core::{Builder, Process};
use ipc_csp::{Channel, Choice, Error, Network, Reader, Result, Writer};
use ipc_tests::campaign::{Flaw, Items, Round, STALL_LIMIT, Sizes, VARIABLE};
use ipc_tests::{eventually, state};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::csp_census::take_census;
use crate::csp_ledger::{Ledger, Part, Step};
use crate::csp_member::{Desk, Member, Value, Way, judge_over, without_value, work};

/// Where it has the lock of the channel.
const SYNC: [&str; 5] = ["csp.listed", "csp.half-linked", "csp.half-unlinked", "csp.taken", "csp.unlinked"];
const BUFFERED: [&str; 5] =
    ["csp.listed", "csp.half-linked", "csp.half-unlinked", "csp.buffered", "csp.buffered-taken"];

const TIMEOUT: Duration = Duration::from_millis(5);
/// One of some calls that do not wait takes no longer, whatever else the machine does.
const AT_ONCE: Duration = Duration::from_millis(5);
const TRIES: u32 = 50;

/// Calls of which one at least comes back in time. What each has led to is noted.
fn in_time(round: &mut Round, what: &str, least: Duration, mut call: impl FnMut() -> Result<()>) {
    let mut quickest = Duration::MAX;
    for _ in 0..TRIES {
        let begin = Instant::now();
        let result = call();
        quickest = quickest.min(begin.elapsed());
        let expected = if least.is_zero() { Error::is_would_block } else { Error::is_timeout };
        if !result.as_ref().is_err_and(expected) {
            round.flaw(Flaw::Wrong, format!("{what} while the lock is another one's: {result:?}"));
            return;
        }
        if quickest <= least + AT_ONCE {
            break;
        }
    }
    if quickest < least || quickest > least + AT_ONCE {
        round.flaw(Flaw::Wrong, format!("{what} took {quickest:?} at least"));
    }
}

/// A choice of both that ends by its last guard.
fn choose(desk: &mut Desk, reader: &Reader<Value>, writer: &Writer<Value>, time: Option<Duration>) -> Result<()> {
    let (number, value) = desk.draft();
    let mut choice = Choice::new();
    let write = choice.write(writer, &value);
    let read = choice.read(reader);
    let end = match time {
        Some(time) => choice.timeout(time),
        None => choice.skip(),
    };
    let mut chosen = choice.select()?;
    if let Some(result) = chosen.take(write) {
        desk.written(number, &result);
        return result;
    }
    desk.note(Step::Refused, number);
    if let Some(result) = chosen.take(read) {
        desk.read(result);
        return Ok(());
    }
    match (chosen.is(end), time) {
        (true, Some(_)) => Err(Error::Timeout),
        _ => Err(Error::WouldBlock),
    }
}

/// Calls that must all come back.
fn call(round: &mut Round, desk: &mut Desk, reader: &Reader<Value>, writer: &Writer<Value>) {
    fn read(desk: &mut Desk, result: Result<Value>) -> Result<()> {
        desk.read(Ok(result?));
        Ok(())
    }
    let write = |desk: &mut Desk, time: Option<Duration>| -> Result<()> {
        let (number, value) = desk.draft();
        let result = without_value(match time {
            Some(time) => writer.write_timeout(value, time),
            None => writer.try_write(value),
        });
        desk.written(number, &result);
        result
    };
    in_time(round, "try_read", Duration::ZERO, || read(desk, reader.try_read()));
    in_time(round, "try_write", Duration::ZERO, || write(desk, None));
    in_time(round, "skip", Duration::ZERO, || choose(desk, reader, writer, None));
    in_time(round, "read_timeout", TIMEOUT, || read(desk, reader.read_timeout(TIMEOUT)));
    in_time(round, "write_timeout", TIMEOUT, || write(desk, Some(TIMEOUT)));
    in_time(round, "timeout", TIMEOUT, || choose(desk, reader, writer, Some(TIMEOUT)));
}

pub(crate) fn inside(round: &mut Round) {
    // It takes a second until somebody is given up who is stopped.
    if round.rng.one_in(15) {
        return with_a_value(round);
    }
    let items = Items { seed: round.rng.next(), sizes: Sizes::Small };
    let network = Network::new().expect("memory for a network");
    let is_buffered = round.rng.one_in(2);
    let channel: Channel<Value> = network.buffered(if is_buffered { 2 } else { 0 }).expect("a channel");
    let mut ledger = Ledger::new(0);
    let mut member = |round: &mut Round, lane: u64, dies: bool| {
        ledger.enter(Part { lane, dies, reads: true, writes: true });
        Member {
            reads: vec![channel.reader().expect("an end")],
            writes: vec![channel.writer().expect("an end")],
            way: Way::Choosing,
            lane: round.lane(lane),
            number: lane,
            seed: round.rng.next(),
            items,
            ends: None,
            is_endless: false,
        }
    };
    let (victim, other) = (member(round, 0, true), member(round, 1, false));
    ledger.enter(Part { lane: 2, dies: false, reads: true, writes: true });
    let mut desk = Desk::new(round.lane(2), 2, round.rng.next(), items);
    let (reader, writer) = (channel.reader().expect("an end"), channel.writer().expect("an end"));
    let point = (if is_buffered { BUFFERED } else { SYNC })[round.rng.below(5) as usize];
    let plan = format!("{point}:{}:STOP", 1 + round.rng.below(20));
    let victim: Process<()> = Builder::new().env(VARIABLE, plan).spawn(work, vec![victim]).expect("the victim starts");
    let begin = thread::scope(|scope| {
        scope.spawn(|| work(vec![other]));
        eventually("the victim stops itself", || state(victim.pid()) == Some('T'));
        call(round, &mut desk, &reader, &writer);
        if round.rng.one_in(3) {
            judge_over(&channel.close()).unwrap_or_else(|error| round.flaw(Flaw::Wrong, error));
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
        round.end();
        drop(writer);
        while desk.read(reader.read()) {}
        drop(reader);
        begin
    });
    if begin.elapsed() > STALL_LIMIT {
        round.flaw(Flaw::Wrong, format!("the survivor was held up for {:?}", begin.elapsed()));
    }
    ledger.judge(round);
    if !round.has_flaws() {
        take_census(round, &network, vec![channel]);
    }
}

/// A reader is stopped with a value in its hands, and another one gets it; whatever the first one does then, it was read once.
fn with_a_value(round: &mut Round) {
    let sizes = if round.rng.one_in(2) { Sizes::Small } else { Sizes::Mixed };
    let items = Items { seed: round.rng.next(), sizes };
    let network = Network::new().expect("memory for a network");
    let channel: Channel<Value> = network.channel().expect("a channel");
    let mut ledger = Ledger::new(0);
    let mut member = |round: &mut Round, lane: u64, reads: bool, dies: bool| {
        ledger.enter(Part { lane, dies, reads, writes: !reads });
        Member {
            reads: reads.then(|| channel.reader().expect("an end")).into_iter().collect(),
            writes: (!reads).then(|| channel.writer().expect("an end")).into_iter().collect(),
            way: Way::Plain,
            lane: round.lane(lane),
            number: lane,
            seed: round.rng.next(),
            items,
            ends: None,
            is_endless: false,
        }
    };
    let near = [member(round, 1, false, false), member(round, 2, true, false)];
    let victim = member(round, 0, true, true);
    let point = if round.rng.one_in(2) { "csp.copied" } else { "csp.committing" };
    let plan = format!("{point}:{}:STOP", 1 + round.rng.below(10));
    let victim: Process<()> = Builder::new().env(VARIABLE, plan).spawn(work, vec![victim]).expect("the victim starts");
    thread::scope(|scope| {
        near.into_iter().for_each(|member| drop(scope.spawn(|| work(vec![member]))));
        eventually("the victim stops itself", || state(victim.pid()) == Some('T'));
        let (lane, begin) = (round.lane(1), Instant::now());
        let before = lane.entries().len();
        eventually("another one reads", || lane.entries().len() > before + 2);
        if begin.elapsed() > STALL_LIMIT {
            round.flaw(Flaw::Wrong, format!("a writer was held up for {:?}", begin.elapsed()));
        }
        if round.rng.one_in(2) {
            kill(Pid::from_raw(victim.pid() as i32), Signal::SIGCONT).expect("it is ours");
            round.rng.spin(1_000_000);
        }
        victim.kill().expect("it is ours");
        let _ = round.join(victim);
        round.inside();
        round.end();
    });
    ledger.judge(round);
    if !round.has_flaws() {
        take_census(round, &network, vec![channel]);
    }
}
