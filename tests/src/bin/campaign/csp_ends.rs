//! Ends of channels in values: those who send them and those who read them are killed.

use std::thread;
use std::time::Duration;

use ipc_core::{Builder, Process};
use ipc_csp::{Channel, Choice, Error, Network, Reader, Result, Writer};
use ipc_tests::campaign::{Flaw, Items, Lane, Round, Sizes, VARIABLE};
use ipc_tests::{children, eventually};
use serde::{Deserialize, Serialize};

use crate::csp::tell_of_deaths;
use crate::csp_census::take_census;
use crate::csp_ledger::{Ledger, Part, Step};
use crate::csp_member::{Desk, Member, Value, Way, without_value, work};
use crate::permits::join_survivor;

/// A value with the only end of a kind of a channel that was made for it.
#[derive(Serialize, Deserialize)]
struct Request {
    body: Value,
    gift: Gift,
}

#[derive(Serialize, Deserialize)]
enum Gift {
    /// For the answer.
    Answer(Writer<u64>),
    /// Where there is more to be read.
    Source(Reader<u64>),
}

/// What whoever made the channel keeps.
enum Kept {
    Answer(Reader<u64>),
    Source(Writer<u64>),
}

/// Sends requests, or serves them.
#[derive(Serialize, Deserialize)]
struct Agent {
    sends: Option<Writer<Request>>,
    serves: Option<Reader<Request>>,
    /// Some of those that it serves go on to this channel.
    forwards: Option<Writer<Request>>,
    lane: Lane,
    number: u64,
    seed: u64,
    items: Items,
    is_endless: bool,
}

fn act(mut agents: Vec<Agent>) {
    let first = agents.pop();
    thread::scope(|scope| {
        agents.into_iter().for_each(|agent| drop(scope.spawn(|| agent.act())));
        first.into_iter().for_each(Agent::act);
    });
}

/// How often a survivor still sends after the victim's end.
const AFTERWARDS: u32 = 3;

impl Agent {
    fn act(mut self) {
        let mut desk = Desk::new(self.lane.share(), self.number, self.seed, self.items);
        if let Some(to) = self.sends.take() {
            let mut more = AFTERWARDS;
            while more > 0 && send(&mut desk, &to) {
                more -= u32::from(!self.is_endless && self.lane.is_over());
            }
        }
        if let Some(from) = self.serves.take() {
            self.lane.attempt(1);
            while self.serve(&mut desk, &from) {}
        }
    }

    /// Serves one request. `false` when there will be none any more.
    fn serve(&self, desk: &mut Desk, from: &Reader<Request>) -> bool {
        let Request { body, gift } = match from.read() {
            Ok(request) => request,
            Err(error) => {
                if !error.is_end() {
                    desk.complain(&format!("no request: {error:?}"));
                }
                return false;
            }
        };
        if let Some(on) = self.forwards.as_ref().filter(|_| desk.rng.one_in(2)) {
            match without_value(on.write(Request { body, gift })) {
                Err(error) if !error.is_end() => desk.complain(&format!("cannot pass a request on: {error:?}")),
                _ => {}
            }
            return true;
        }
        let Some(number) = desk.number(&body) else { return true };
        desk.note(Step::Read, number);
        let done = match gift {
            Gift::Answer(to) => without_value(to.write(number)),
            Gift::Source(from) => from.read().map(|read| expect(desk, read, number)),
        };
        match done {
            Ok(()) => {}
            // Whoever has sent it is dead.
            Err(Error::Retired) => desk.note(Step::Deserted, number),
            Err(error) => desk.complain(&format!("an end from a request: {error:?}")),
        }
        true
    }
}

fn expect(desk: &Desk, read: u64, number: u64) {
    if read != number {
        desk.complain(&format!("{read} instead of {number}"));
    }
}

/// Sends a request with an end in it, and does its part with the other end. `false` if there is nobody who serves.
fn send(desk: &mut Desk, to: &Writer<Request>) -> bool {
    let (number, body) = desk.draft();
    let inner: Channel<u64> = match to.network().builder().buffered(desk.rng.below(2) as usize).channel() {
        Ok(channel) => channel,
        Err(error) => {
            desk.complain(&format!("no channel: {error:?}"));
            return false;
        }
    };
    let (reader, writer) = (inner.reader().expect("an end"), inner.writer().expect("an end"));
    let (kept, gift) = match desk.rng.below(2) {
        0 => (Kept::Answer(reader), Gift::Answer(writer)),
        _ => (Kept::Source(writer), Gift::Source(reader)),
    };
    let is_kept_whole = desk.rng.one_in(2).then_some(&inner);
    let request = Request { body, gift };
    let time = Duration::from_micros(desk.rng.below(2000));
    let sent: Result<()> = match desk.rng.below(5) {
        0 => without_value(to.try_write(request)),
        1 => without_value(to.write_timeout(request, time)),
        2 => choose(to, request, time),
        _ => without_value(to.write(request)),
    };
    let goes_on = desk.written(number, &sent);
    let _whole = is_kept_whole;
    // Nobody has the other end, or somebody has it who does its part, or dies.
    let done = match &kept {
        Kept::Answer(from) => from.read().map(|read| expect(desk, read, number)),
        Kept::Source(to) => without_value(to.write(number)),
    };
    match (done, sent) {
        (Ok(()), Ok(())) => {}
        (Err(Error::Retired), Ok(())) => desk.note(Step::Unanswered, number),
        (Err(Error::Retired), Err(_)) => {}
        (Ok(()), Err(_)) if matches!(kept, Kept::Source(_)) => {} // it is in the buffer
        (done, sent) => desk.complain(&format!("after {sent:?} the kept end gave {done:?}")),
    }
    goes_on
}

fn choose(to: &Writer<Request>, request: Request, time: Duration) -> Result<()> {
    let mut choice = Choice::new();
    let write = choice.write(to, &request);
    choice.timeout(time);
    choice.select()?.take(write).unwrap_or(Err(Error::Timeout))
}

/// Who takes part: how many send and serve.
#[derive(Clone, Copy, Debug)]
struct Troupe {
    victim: (u64, u64),
    other: (u64, u64),
    near: (u64, u64),
    is_endless: bool,
}

/// Each thread that dies may have a request that it has read, or the only end of a channel whose other end is kept.
fn play(round: &mut Round, troupe: Troupe) {
    let sizes = [Sizes::Fixed(8), Sizes::Small, Sizes::Mixed][round.rng.below(3) as usize];
    let items = Items { seed: round.rng.next(), sizes };
    let network = Network::new().expect("memory for a network");
    let capacity = round.rng.below(2) as usize * 3;
    let requests: Channel<Request> = network.buffered(capacity).expect("a channel");
    let forwarded: Channel<Request> = network.channel().expect("a channel");
    let forwards = round.rng.one_in(2) && troupe.other.1 > 0;
    let mut ledger = Ledger::new(if troupe.is_endless { capacity as u64 + troupe.victim.1 } else { 0 });
    if forwards {
        ledger.holds_longer();
    }
    let mut parts = Vec::new();
    round.strike(|round| {
        let mut next = 0;
        let mut agents = |round: &mut Round, (sends, serves): (u64, u64), dies: bool, is_behind: bool| -> Vec<Agent> {
            let roles = (0..sends).map(|_| true).chain((0..serves).map(|_| false));
            let mut agents: Vec<Agent> = roles
                .map(|sends| {
                    let number = next;
                    next += 1;
                    let part = Part { lane: number, dies, reads: !sends, writes: sends };
                    ledger.enter(part);
                    parts.push(part);
                    let from = if is_behind && forwards { &forwarded } else { &requests };
                    Agent {
                        sends: sends.then(|| requests.writer().expect("an end")),
                        serves: (!sends).then(|| from.reader().expect("an end")),
                        forwards: (!sends && forwards && !is_behind).then(|| forwarded.writer().expect("an end")),
                        lane: round.lane(number),
                        number,
                        seed: round.rng.next(),
                        items,
                        is_endless: troupe.is_endless,
                    }
                })
                .collect();
            agents.reverse();
            agents
        };
        let victim = agents(round, troupe.victim, true, false);
        // Behind are those who serve what is passed on.
        let other = agents(round, troupe.other, false, true);
        let near = agents(round, troupe.near, false, false);
        let victim: Process<()> = round.victim().spawn(act, victim).expect("the victim starts");
        let other: Process<()> = Builder::new().spawn(act, other).expect("the other one starts");
        thread::scope(|scope| {
            near.into_iter().for_each(|agent| drop(scope.spawn(|| act(vec![agent]))));
            drop(round.join(victim));
            if round.rng.one_in(2) {
                tell_of_deaths();
            }
            round.end();
        });
        join_survivor(round, other);
    });
    ledger.judge(round);
    judge_ends(round, &parts, &ledger);
    drop(forwarded);
    if !round.has_flaws() {
        take_census(round, &network, vec![requests]);
    }
}

/// What was not answered was a dead one's to answer, and what was not wanted any more was a dead one's wish.
fn judge_ends(round: &mut Round, parts: &[Part], ledger: &Ledger) {
    let count = |step: Step| -> u64 {
        let living = parts.iter().filter(|part| !part.dies).flat_map(|part| round.lane(part.lane).entries());
        living.filter(|word| word >> 60 == step as u64).count() as u64
    };
    let (unanswered, deserted) = (count(Step::Unanswered), count(Step::Deserted));
    let dead = |wanted: fn(&Part) -> bool| parts.iter().filter(|part| part.dies && wanted(part)).count() as u64;
    let (servers, clients) = (dead(|part| part.reads), dead(|part| part.writes));
    if unanswered > servers + ledger.thrown() || deserted > clients {
        let text = format!(
            "{unanswered} were not answered, {deserted} answered in vain, and of the dead {servers} served and {clients} sent"
        );
        round.flaw(Flaw::Lost, text);
    }
}

const ALL: Troupe = Troupe { victim: (1, 0), other: (1, 1), near: (1, 1), is_endless: false };

pub(crate) fn sender(round: &mut Round) {
    play(round, ALL);
}

pub(crate) fn receiver(round: &mut Round) {
    play(round, Troupe { victim: (0, 1), ..ALL });
}

/// Several threads send and receive at once, and are killed.
pub(crate) fn threads(round: &mut Round) {
    play(round, Troupe { victim: (2, 2), ..ALL });
}

/// The only one who serves is killed: what was on its way to it ends with it.
pub(crate) fn last_receiver(round: &mut Round) {
    play(round, Troupe { victim: (0, 1), other: (1, 0), near: (2, 0), is_endless: true });
}

/// How many processes the victim starts, each with ends of its own.
const HEIRS: u64 = 6;

/// Passes its ends on to processes that it starts.
fn pass_on(heirs: Vec<Member>) {
    for member in heirs {
        member.lane.attempt(0);
        drop(Builder::new().env_remove(VARIABLE).spawn::<_, _, ()>(work, vec![member]).expect("a process"));
    }
    loop {
        thread::park();
    }
}

pub(crate) fn passed_on(round: &mut Round) {
    let items = Items { seed: round.rng.next(), sizes: Sizes::Small };
    let network = Network::new().expect("memory for a network");
    let channel: Channel<Value> = network.buffered(round.rng.below(2) as usize * 3).expect("a channel");
    let mut ledger = Ledger::new(0);
    let mut member = |round: &mut Round, lane: u64, reads: bool| {
        ledger.enter(Part { lane, dies: false, reads, writes: !reads });
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
    let near = [member(round, 1, true), member(round, 2, false)];
    let heirs: Vec<Member> = (0..HEIRS).map(|n| member(round, 10 + n, n % 2 == 0)).collect();
    round.strike(|round| {
        let victim: Process<()> = round.victim().spawn(pass_on, heirs).expect("the victim starts");
        thread::scope(|scope| {
            near.into_iter().for_each(|member| drop(scope.spawn(|| work(vec![member]))));
            drop(round.join(victim));
            round.end();
        });
        // Its processes are this one's now.
        eventually("those whom it has started end", || {
            children(std::process::id()).iter().all(|(_, state)| *state == 'Z')
        });
    });
    ledger.judge(round);
    if !round.has_flaws() {
        take_census(round, &network, vec![channel]);
    }
}
