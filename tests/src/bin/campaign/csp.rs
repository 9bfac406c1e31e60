//! Networks of which one member after the other is killed.

use std::thread;
use std::time::Duration;

use ipc_core::{Builder, JoinError, Process};
use ipc_csp::{Channel, Network};
use ipc_tests::campaign::{Flaw, Items, Round, Sizes, VARIABLE};
use ipc_tests::raw::exit;

use crate::csp_census::take_census;
use crate::csp_ledger::{Ledger, Part};
use crate::csp_member::{Member, Over, Value, Way, judge_over, work};
use crate::permits::join_survivor;

/// Where somebody sits: the channels that it reads from and writes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) reads: &'static [usize],
    pub(crate) writes: &'static [usize],
    pub(crate) way: Way,
}

pub(crate) const fn reads(from: &'static [usize], way: Way) -> Seat {
    Seat { reads: from, writes: &[], way }
}

pub(crate) const fn writes(to: &'static [usize], way: Way) -> Seat {
    Seat { reads: &[], writes: to, way }
}

pub(crate) const fn both(from: &'static [usize], to: &'static [usize]) -> Seat {
    Seat { reads: from, writes: to, way: Way::Choosing }
}

/// Who takes part in a round, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cast {
    /// How many values each channel keeps.
    pub(crate) channels: &'static [usize],
    /// A thread for each seat.
    pub(crate) victim: &'static [Seat],
    /// Another process.
    pub(crate) other: &'static [Seat],
    /// Threads of the supervisor.
    pub(crate) near: &'static [Seat],
    pub(crate) sizes: Sizes,
    /// So many die before the victim does, one after the other, on its seats.
    pub(crate) deaths: u64,
    /// The victim ends the channels, if it comes to that; else the supervisor does.
    pub(crate) end: Option<Over>,
    /// Whether what nobody has read may be thrown away.
    pub(crate) throws: bool,
    /// The survivors write until nobody reads any more.
    pub(crate) is_endless: bool,
}

impl Cast {
    pub(crate) const fn of(channels: &'static [usize], victim: &'static [Seat]) -> Cast {
        let (sizes, nobody) = (Sizes::Small, &[]);
        Cast {
            channels,
            victim,
            other: nobody,
            near: nobody,
            sizes,
            deaths: 0,
            end: None,
            throws: false,
            is_endless: false,
        }
    }
}

/// Numbers the members of a round, and knows them afterwards.
struct Company<'a> {
    cast: &'a Cast,
    channels: &'a [Channel<Value>],
    items: Items,
    next: u64,
    ledger: Ledger,
}

impl Company<'_> {
    fn members(&mut self, round: &mut Round, seats: &[Seat], dies: bool) -> Vec<Member> {
        // The last one is the process's first thread; that one is to have the first lane.
        let mut members: Vec<Member> = seats.iter().map(|seat| self.member(round, *seat, dies)).collect();
        members.reverse();
        members
    }

    fn member(&mut self, round: &mut Round, seat: Seat, dies: bool) -> Member {
        let number = self.next;
        self.next += 1;
        let (reads, writes) = (!seat.reads.is_empty(), !seat.writes.is_empty());
        self.ledger.enter(Part { lane: number, dies, reads, writes });
        Member {
            reads: seat.reads.iter().map(|at| self.channels[*at].reader().expect("an end")).collect(),
            writes: seat.writes.iter().map(|at| self.channels[*at].writer().expect("an end")).collect(),
            way: seat.way,
            lane: round.lane(number),
            number,
            seed: round.rng.next(),
            items: self.items,
            ends: self.cast.end.filter(|_| dies).map(|over| (round.rng.below(150), over)),
            is_endless: self.cast.is_endless,
        }
    }
}

/// The victim, another process and threads of this one communicate. Every value that was written is read by somebody, once.
pub(crate) fn play(round: &mut Round, cast: &Cast) {
    let items = Items { seed: round.rng.next(), sizes: cast.sizes };
    let network = Network::new().expect("memory for a network");
    let channels: Vec<Channel<Value>> =
        cast.channels.iter().map(|capacity| network.buffered(*capacity).expect("a channel")).collect();
    let ledger = round.strike(|round| {
        let ledger = Ledger::new(thrown(cast));
        let mut company = Company { cast, channels: &channels, items, next: 0, ledger };
        let victim = company.members(round, cast.victim, true);
        let other = company.members(round, cast.other, false);
        let near = company.members(round, cast.near, false);
        let mut victim = Some(victim);
        let mut start = |round: &Round| -> Option<Process<()>> {
            victim.take().map(|members| round.victim().spawn(work, members).expect("the victim starts"))
        };
        let running = if cast.deaths == 0 { start(round) } else { None };
        let other = (!other.is_empty())
            .then(|| -> Process<()> { Builder::new().spawn(work, other).expect("the other one starts") });
        thread::scope(|scope| {
            near.into_iter().for_each(|member| drop(scope.spawn(|| work(vec![member]))));
            for _ in 0..cast.deaths {
                let members = company.members(round, cast.victim, true);
                die(round, members);
            }
            let victim = running.or_else(|| start(round));
            victim.into_iter().for_each(|victim| drop(round.join(victim)));
            if round.rng.one_in(2) {
                tell_of_deaths();
            }
            if let Some(over) = cast.end {
                for channel in &channels {
                    let ended = if over == Over::Closed { channel.close() } else { channel.poison() };
                    judge_over(&ended).unwrap_or_else(|error| round.flaw(Flaw::Wrong, error));
                }
            }
            round.end();
        });
        other.into_iter().for_each(|other| join_survivor(round, other));
        company.ledger
    });
    ledger.judge(round);
    if !round.has_flaws() {
        take_census(round, &network, channels);
    }
}

/// What is in the buffers, and what the victim had taken from them: it comes back, and nobody reads it.
fn thrown(cast: &Cast) -> u64 {
    let most = cast.channels.iter().sum::<usize>() + cast.victim.iter().filter(|seat| !seat.reads.is_empty()).count();
    if cast.throws { most as u64 } else { 0 }
}

/// A network is told of deaths by whoever joins one who died; else those who wait find out by themselves.
pub(crate) fn tell_of_deaths() {
    fn fail((): ()) {
        exit(1)
    }
    let builder = Builder::new().env_remove(VARIABLE);
    let spawned = ipc_csp::spawn(ipc_csp::process_with(builder, fail, ())).expect("a process");
    spawned.join().expect_err("it has failed");
}

/// Where one who dies before the victim does it.
pub(crate) const POINTS: [&str; 18] = [
    "csp.slot",
    "csp.filled",
    "csp.buffered",
    "csp.buffered-taken",
    "csp.linked",
    "csp.listed",
    "csp.half-linked",
    "csp.half-unlinked",
    "csp.offered",
    "csp.poked",
    "csp.taken",
    "csp.unlinked",
    "csp.copied",
    "csp.committing",
    "csp.committed",
    "csp.emptying",
    "csp.freeing",
    "csp.withdrawn",
];

/// One more dies, as well as the victim.
fn die(round: &mut Round, members: Vec<Member>) {
    let point = POINTS[round.rng.below(POINTS.len() as u64) as usize];
    let builder = if round.rng.one_in(2) {
        Builder::new().env(VARIABLE, format!("{point}:{}:KILL", 1 + round.rng.below(20)))
    } else {
        Builder::new()
    };
    let mut process: Process<()> = builder.spawn(work, members).expect("it starts");
    if let Err(JoinError::Timeout) = process.join_timeout(Duration::from_micros(round.rng.below(15_000))) {
        process.kill().expect("it is ours");
        let _ = process.join();
    }
    round.also_killed();
}
