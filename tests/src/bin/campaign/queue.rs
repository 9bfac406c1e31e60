//! Queues that several put into and take from, of which one is killed.

use std::thread;
use std::time::Duration;

use ipc_core::{Builder, JoinError, Process};
use ipc_sync::{Semaphore, Signal};
use ipc_tests::campaign::{Flaw, Items, Lane, Log, Rng, Round, Sizes, VARIABLE};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::permits::join_survivor;
use crate::queue_ledger::{Entry, Ledger, Step, number};

/// How often a survivor still puts after the victim's end.
const AFTERWARDS: u32 = 5;

/// A queue, or something that is meant to be one.
pub(crate) trait Line: Serialize + DeserializeOwned + Send + 'static {
    /// A handle for one who does this, and will be killed or not.
    fn share(&self, role: Role, is_victim: bool) -> Self;

    /// Puts messages in, in their order. Returns how many are in, and an error if there can be no more.
    fn put(&mut self, giver: &mut Giver, messages: &[Vec<u8>]) -> (usize, Result<(), End>);

    /// Takes messages, if there are any, and has the taker note what becomes of them.
    ///
    /// # Errors
    /// There will be none any more.
    fn take(&mut self, taker: &mut Taker) -> Result<(), End>;

    /// Nothing more can be put.
    fn close(&self);

    /// All are done, and have taken everything.
    fn judge_end(&self, _round: &mut Round) {}
}

/// What one does with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Gives,
    Takes,
}

/// Why one cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should be.
    Over,
    /// As it should not be.
    Wrong,
}

/// How many threads of a process put and take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Part {
    pub(crate) gives: u64,
    pub(crate) takes: u64,
}

pub(crate) const GIVER: Part = Part { gives: 1, takes: 0 };
pub(crate) const TAKER: Part = Part { gives: 0, takes: 1 };
pub(crate) const BOTH: Part = Part { gives: 1, takes: 1 };
pub(crate) const NOBODY: Part = Part { gives: 0, takes: 0 };

/// Who takes part in a round, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cast {
    pub(crate) victim: Part,
    /// Another process.
    pub(crate) other: Part,
    /// Threads of the supervisor.
    pub(crate) near: Part,
    pub(crate) sizes: Sizes,
    /// How many messages are put and taken at once, at most.
    pub(crate) batch: u64,
    /// How many messages a taker may have for good before it notes them; 0 if it finishes with each.
    pub(crate) at_once: u64,
    pub(crate) end: Ending,
    /// The others begin when the victim has ended.
    pub(crate) later: bool,
    /// So many die before the victim does.
    pub(crate) deaths: u64,
}

/// How it ends, for those who put or take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// When the givers are done, the supervisor closes the queue.
    Closed,
    /// The victim closes it, if it comes to that.
    ClosedByVictim,
    /// Nobody is left who gives.
    NoGivers,
    /// Nobody is left who takes.
    NoTakers,
}

impl Cast {
    /// One dies, another process and a thread put and take.
    pub(crate) const fn of(victim: Part) -> Cast {
        let (other, near, end) = (BOTH, BOTH, Ending::Closed);
        Cast { victim, other, near, sizes: Sizes::Small, batch: 1, at_once: 1, end, later: false, deaths: 0 }
    }
}

/// One who puts or takes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Member<L> {
    line: L,
    lane: Lane,
    number: u64,
    seed: u64,
    items: Items,
    batch: u64,
    role: Role,
    dies: bool,
    /// How many messages it puts before it closes the queue.
    closes_after: Option<u64>,
    /// It puts until nobody takes any more.
    is_endless: bool,
    /// Raised when it puts no more.
    done: Option<Signal>,
}

/// One who puts, for the time of a call.
pub(crate) struct Giver<'a> {
    pub(crate) rng: Rng,
    pub(crate) lane: &'a Lane,
    log: Log,
}

/// One who takes, and its notes.
pub(crate) struct Taker<'a> {
    pub(crate) rng: Rng,
    pub(crate) batch: u64,
    /// It will be killed.
    pub(crate) dies: bool,
    lane: &'a Lane,
    log: Log,
    items: Items,
    scratch: Vec<u8>,
}

impl<'a> Taker<'a> {
    pub(crate) fn new(lane: &'a Lane, items: Items, seed: u64) -> Taker<'a> {
        let (rng, log) = (Rng::new(seed), lane.log());
        Taker { rng, batch: 1, dies: false, lane, log, items, scratch: Vec::new() }
    }

    /// These are its own for good.
    pub(crate) fn taken<M: AsRef<[u8]>>(&mut self, messages: &[M]) {
        let step = Step::Taken;
        let numbers = messages.iter().filter_map(|message| self.number(message.as_ref()));
        let entries: Vec<_> = numbers.map(|number| Entry { step, number, deliveries: 0 }.encode()).collect();
        self.log.note(&entries);
    }

    /// It has this one until it has finished with it. Returns its number.
    pub(crate) fn leased(&mut self, message: &[u8], deliveries: u32) -> Option<u64> {
        let number = self.number(message)?;
        self.log.note(&[Entry { step: Step::Leased, number, deliveries }.encode()]);
        Some(number)
    }

    /// What becomes of one that it has.
    pub(crate) fn note(&mut self, step: Step, number: Option<u64>) {
        if let Some(number) = number {
            self.log.note(&[Entry { step, number, deliveries: 0 }.encode()]);
        }
    }

    fn number(&mut self, message: &[u8]) -> Option<u64> {
        let number = self.items.number(message, &mut self.scratch);
        if number.is_none() {
            eprintln!("{} bytes that nobody has put: {:?}", message.len(), &message[..message.len().min(32)]);
            self.lane.complain(Flaw::Corrupt);
        }
        number
    }

    /// Something is as it should not be.
    pub(crate) fn complain(&self, text: &str) -> End {
        eprintln!("a taker: {text}");
        self.lane.complain(Flaw::Wrong);
        End::Wrong
    }
}

impl Giver<'_> {
    /// What it was about to put may be in, though the call has failed.
    pub(crate) fn may_be_in(&mut self, message: &[u8]) {
        let number = u64::from_le_bytes(*message.first_chunk().expect("a message begins with its number"));
        self.log.note(&[Entry { step: Step::MayBeIn, number, deliveries: 0 }.encode()]);
    }

    /// Something is as it should not be.
    pub(crate) fn complain(&self, text: &str) -> End {
        eprintln!("a giver: {text}");
        self.lane.complain(Flaw::Wrong);
        End::Wrong
    }
}

/// Mostly not at all, so that the queue is at times full and at times empty.
pub(crate) fn pause(rng: &mut Rng) {
    let most = if rng.one_in(8) { 20_000 } else { 100 };
    rng.spin(most);
}

impl<L: Line> Member<L> {
    fn work(self) {
        match self.role {
            Role::Gives => self.give(),
            Role::Takes => self.take(),
        }
    }

    /// Puts message after message: a victim for ever, a survivor until some time after the victim's end.
    fn give(mut self) {
        let mut giver = Giver { rng: Rng::new(self.seed), lane: &self.lane, log: self.lane.log() };
        let (mut n, mut more) = (0, AFTERWARDS);
        while more > 0 {
            more -= u32::from(!self.is_endless && self.lane.is_over());
            if self.closes_after.is_some_and(|count| n >= count) {
                self.line.close();
                loop {
                    thread::park();
                }
            }
            let count = 1 + giver.rng.below(self.batch);
            let messages: Vec<_> = (n..n + count).map(|n| self.items.message(number(self.number, n))).collect();
            self.lane.attempt(n + count);
            let (put, end) = self.line.put(&mut giver, &messages);
            n += put as u64;
            self.lane.acknowledge(n);
            if end.is_err() {
                // What did not go in is not there.
                self.lane.attempt(n);
                break;
            }
            pause(&mut giver.rng);
        }
        drop(self.line);
        if let Some(done) = self.done {
            done.release().expect("not too often");
        }
    }

    /// Takes message after message, until there will be none any more.
    fn take(mut self) {
        self.lane.attempt(1);
        let taker = Taker::new(&self.lane, self.items, self.seed);
        let mut taker = Taker { batch: self.batch, dies: self.dies, ..taker };
        while self.line.take(&mut taker).is_ok() {
            pause(&mut taker.rng);
        }
    }
}

/// All members of a process, each in a thread of its own.
pub(crate) fn work<L: Line>(mut members: Vec<Member<L>>) {
    let first = members.pop();
    thread::scope(|scope| {
        members.into_iter().for_each(|member| drop(scope.spawn(|| member.work())));
        first.into_iter().for_each(Member::work);
    });
}

/// Numbers the members of a round, and knows them afterwards.
struct Company<'a, L> {
    line: &'a L,
    cast: &'a Cast,
    items: Items,
    done: Signal,
    next: u64,
    ledger: Ledger,
}

impl<L: Line> Company<'_, L> {
    fn members(&mut self, round: &mut Round, part: Part, is_victim: bool) -> Vec<Member<L>> {
        let roles = [(Role::Gives, part.gives), (Role::Takes, part.takes)];
        let roles = roles.into_iter().flat_map(|(role, count)| (0..count).map(move |_| role));
        roles.map(|role| self.member(round, role, is_victim)).collect()
    }

    fn member(&mut self, round: &mut Round, role: Role, is_victim: bool) -> Member<L> {
        let number = self.next;
        self.next += 1;
        self.ledger.enter(role, number, is_victim, self.cast.at_once);
        Member {
            line: self.line.share(role, is_victim),
            lane: round.lane(number),
            number,
            seed: round.rng.next(),
            items: self.items,
            batch: self.cast.batch,
            role,
            dies: is_victim,
            closes_after: (is_victim && self.cast.end == Ending::ClosedByVictim).then(|| round.rng.below(200)),
            is_endless: self.cast.end == Ending::NoTakers,
            done: (role == Role::Gives && !is_victim).then(|| self.done.clone()),
        }
    }
}

/// The victim, another process and threads of this one put into a queue and take from it. Every message that was acknowledged comes
/// to somebody.
pub(crate) fn play<L: Line>(round: &mut Round, cast: &Cast, line: L) {
    play_then(round, cast, line, |_, _| {});
}

/// The same, and something that is done when nobody puts any more.
pub(crate) fn play_then<L: Line>(round: &mut Round, cast: &Cast, line: L, then: impl FnOnce(&mut Round, &L)) {
    let items = Items { seed: round.rng.next(), sizes: cast.sizes };
    play_after(round, cast, line, items, Vec::new(), then);
}

/// The same, after somebody has put and taken on the last lanes, and died.
pub(crate) fn play_after<L: Line>(
    round: &mut Round,
    cast: &Cast,
    line: L,
    items: Items,
    before: Vec<(Role, u64)>,
    then: impl FnOnce(&mut Round, &L),
) {
    let done = Semaphore::signal(0).expect("a signal");
    let all = cast.end != Ending::NoTakers;
    let mut ledger = Ledger::new(all);
    before.into_iter().for_each(|(role, lane)| ledger.enter(role, lane, true, 0));
    let (ledger, line) = round.strike(|round| {
        let mut company = Company { line: &line, cast, items, done: done.clone(), next: 0, ledger };
        let victim = company.members(round, cast.victim, true);
        let other = company.members(round, cast.other, false);
        let near = company.members(round, cast.near, false);
        let earlier: Vec<_> = (0..cast.deaths).map(|_| company.members(round, cast.victim, true)).collect();
        let ledger = company.ledger;
        let line = matches!(cast.end, Ending::Closed | Ending::ClosedByVictim).then_some(line);
        let mut victim = Some(victim);
        let mut start = |round: &Round| -> Option<Process<()>> {
            victim.take().map(|members| round.victim().spawn(work::<L>, members).expect("the victim starts"))
        };
        let mut running = if earlier.is_empty() { start(round) } else { None };
        if cast.later {
            running.take().into_iter().for_each(|victim| drop(round.join(victim)));
        }
        let other = (!other.is_empty())
            .then(|| -> Process<()> { Builder::new().spawn(work::<L>, other).expect("the other one starts") });
        thread::scope(|scope| {
            near.into_iter().for_each(|member| drop(scope.spawn(|| member.work())));
            earlier.into_iter().for_each(|members| die(round, members));
            let victim = running.or_else(|| start(round));
            victim.into_iter().for_each(|victim| drop(round.join(victim)));
            round.end();
            if let Some(line) = &line {
                (0..cast.other.gives + cast.near.gives).for_each(|_| done.acquire().unwrap_or_default());
                then(round, line);
                line.close();
            }
        });
        other.into_iter().for_each(|other| join_survivor(round, other));
        (ledger, line)
    });
    ledger.judge(round);
    if let Some(line) = line {
        line.judge_end(round);
    }
}

/// Where one who dies before the victim does it.
const POINTS: [&str; 8] = [
    "put.published",
    "get.moved",
    "get.copied",
    "lease.kept",
    "extent.claimed",
    "extent.written",
    "extent.queued",
    "extent.freeing",
];

/// One more dies, as well as the victim.
fn die<L: Line>(round: &mut Round, members: Vec<Member<L>>) {
    let point = POINTS[round.rng.below(POINTS.len() as u64) as usize];
    let builder = if round.rng.one_in(2) {
        Builder::new().env(VARIABLE, format!("{point}:{}:KILL", 1 + round.rng.below(10)))
    } else {
        Builder::new()
    };
    let mut process: Process<()> = builder.spawn(work::<L>, members).expect("it starts");
    if let Err(JoinError::Timeout) = process.join_timeout(Duration::from_micros(round.rng.below(12_000))) {
        process.kill().expect("it is ours");
        let _ = process.join();
    }
    round.also_killed();
}
