//! Barriers in a manager's server: who meets others there that die is told.

use ipc_core::{Builder, Process};
use ipc_manager::{Barrier, Error};
use ipc_tests::campaign::{Flaw, Lane, Round};
use serde::{Deserialize, Serialize};

use crate::manager::{Host, Place, complain, judge_lanes};
use crate::permits::join_survivor;

/// How a meeting ended for a survivor.
const BY_DEATH: u64 = 1;
const BY_ABORT: u64 = 2;

const PARTIES: usize = 3;

#[derive(Serialize, Deserialize)]
struct Member {
    place: Place,
    lane: Lane,
}

/// Meets the others again and again, until somebody is missing.
fn meet(Member { place, lane }: Member) {
    let meeting: Barrier = place.enter().open("meeting").expect("it is there");
    for n in 1.. {
        lane.attempt(n);
        match meeting.wait() {
            Ok(_) => lane.acknowledge(n),
            Err(Error::Broken { by_death }) => return lane.tell(if by_death { BY_DEATH } else { BY_ABORT }),
            Err(error) => return lane.complain(complain(&lane, "meet the others", &error)),
        }
    }
}

/// The others meet as often as the victim, and then hear of its death, if it ever came.
pub(crate) fn barrier(round: &mut Round) {
    let host = Host::new(round);
    let meeting = host.publish("meeting", host.manager.barrier(PARTIES));
    round.strike(|round| {
        let member = |round: &Round, lane| Member { place: host.place.clone(), lane: round.lane(lane) };
        let victim: Process<()> = round.victim().spawn(meet, member(round, 0)).expect("the victim starts");
        let other: Process<()> = Builder::new().spawn(meet, member(round, 1)).expect("the other one starts");
        let near = member(round, 2);
        std::thread::scope(|scope| {
            let near = scope.spawn(|| meet(near));
            let _ = round.join(victim);
            if round.lane(0).acknowledged() == 0 {
                // Perhaps it never came, and nobody would hear of it; those who come later do.
                meeting.abort().expect("the server is there");
            }
            near.join().expect("it does not panic");
        });
        join_survivor(round, other);
    });
    let lanes = [0, 1, 2].map(|lane| round.lane(lane));
    judge_lanes(round, &lanes);
    let (met, came) = (lanes[0].acknowledged(), lanes[0].attempted());
    for lane in &lanes[1..] {
        round.messages(lane.acknowledged());
        if lane.acknowledged() < met || lane.acknowledged() > came {
            round.flaw(
                Flaw::Wrong,
                format!("the victim has met others {met} to {came} times, and one of them: {lane:?}"),
            );
        }
        match lane.told() {
            BY_DEATH => round.inside(),
            BY_ABORT if met == 0 => {}
            other => {
                round.flaw(Flaw::Untold, format!("the victim had met the others, who were told {other}: {lane:?}"))
            }
        }
    }
    drop(meeting);
    host.judge_empty(round);
}
