//! Killed while it sees to what others who were killed have left.

use std::mem;
use std::thread;

use ipc_core::{Builder, Process};
use ipc_csp::{Channel, Network};
use ipc_tests::campaign::{Items, Lane, Round, Sizes, VARIABLE};

use crate::csp::{POINTS, tell_of_deaths};
use crate::csp_census::take_census;
use crate::csp_ledger::{Ledger, Part};
use crate::csp_member::{Member, Value, Way, work};
use crate::permits::join_survivor;

/// How many die before the victim.
const DEAD: u64 = 4;

/// Waits with its members for one who is dead, and looks for the dead again and again.
fn inherit((members, lane): (Vec<Member>, Lane)) {
    lane.attempt(1);
    thread::scope(|scope| {
        members.into_iter().for_each(|member| drop(scope.spawn(|| work(vec![member]))));
        loop {
            tell_of_deaths();
        }
    });
}

/// Communicates until it dies, with channels that nobody else has.
fn bequeath(members: Vec<Member>) {
    let network = members[0].reads[0].network();
    let channels: Vec<Channel<Value>> = (0..3).map(|n| network.buffered(n).expect("a channel")).collect();
    let ends: Vec<_> = channels.iter().map(|channel| (channel.reader(), channel.writer())).collect();
    mem::forget((channels, ends));
    work(members);
}

pub(crate) fn heir(round: &mut Round) {
    let sizes = if round.rng.one_in(2) { Sizes::Small } else { Sizes::Mixed };
    let items = Items { seed: round.rng.next(), sizes };
    let network = Network::new().expect("memory for a network");
    let channels: Vec<Channel<Value>> =
        [0, 3].map(|capacity| network.buffered(capacity).expect("a channel")).into_iter().collect();
    let mut ledger = Ledger::new(0);
    let mut next = 1;
    let mut member = |round: &mut Round, from: &[usize], to: &[usize], dies: bool| {
        let number = next;
        next += 1;
        ledger.enter(Part { lane: number, dies, reads: !from.is_empty(), writes: !to.is_empty() });
        Member {
            reads: from.iter().map(|at| channels[*at].reader().expect("an end")).collect(),
            writes: to.iter().map(|at| channels[*at].writer().expect("an end")).collect(),
            way: if from.len() + to.len() > 1 { Way::Choosing } else { Way::Plain },
            lane: round.lane(number),
            number,
            seed: round.rng.next(),
            items,
            ends: None,
            is_endless: false,
        }
    };
    let near = [member(round, &[0, 1], &[], false), member(round, &[], &[1], false)];
    let other = vec![member(round, &[0, 1], &[0, 1], false)];
    round.strike(|round| {
        // Those who write wait for a reader, which there is not, except for those who die.
        let heirs = [(&[][..], &[0][..]), (&[], &[1]), (&[], &[0, 1])];
        let heirs: Vec<Member> = heirs.into_iter().map(|(from, to)| member(round, from, to, true)).collect();
        let dead: Vec<Vec<Member>> = (0..DEAD).map(|_| vec![member(round, &[0, 1], &[0, 1], true)]).collect();
        let lane = round.lane(0);
        let victim: Process<()> = round.victim().spawn(inherit, (heirs, lane)).expect("the victim starts");
        let dying: Vec<Process<()>> = dead
            .into_iter()
            .map(|members| {
                let point = POINTS[round.rng.below(POINTS.len() as u64) as usize];
                let plan = format!("{point}:{}:KILL", 1 + round.rng.below(4));
                Builder::new().env(VARIABLE, plan).spawn(bequeath, members).expect("it starts")
            })
            .collect();
        let _ = round.join(victim);
        for process in dying {
            // It has come to its point, most often.
            let _ = process.kill();
            let _ = process.join();
        }
        round.end();
        let other: Process<()> = Builder::new().spawn(work, other).expect("the other one starts");
        thread::scope(|scope| near.into_iter().for_each(|member| drop(scope.spawn(|| work(vec![member])))));
        join_survivor(round, other);
    });
    ledger.judge(round);
    if !round.has_flaws() {
        take_census(round, &network, channels);
    }
}
