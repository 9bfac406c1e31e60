//! Workers with a mistake on purpose, which the campaign must find.

use ipc_core::{Builder, Process};
use ipc_manager::Value;
use ipc_tests::campaign::{Lane, Round};

use crate::manager::{Host, Place};
use crate::manager_locks::{a_lock, lock_with};
use crate::permits::join_survivor;
use crate::{manager_batches, manager_nested, manager_queues};

pub(crate) fn lost(round: &mut Round) {
    manager_queues::with_mistake(round, manager_queues::Mistake::AcknowledgesFirst);
}

pub(crate) fn duplicate(round: &mut Round) {
    manager_queues::with_mistake(round, manager_queues::Mistake::PutsTwice);
}

/// Python's `d['n'] += 1`.
pub(crate) fn lost_update(round: &mut Round) {
    manager_nested::nested_with(round, manager_nested::Mistake::ReadsAndWrites);
}

pub(crate) fn corrupt(round: &mut Round) {
    manager_batches::batches_with(round, manager_batches::Mistake::OneByOne);
}

pub(crate) fn untold(round: &mut Round) {
    lock_with(round, a_lock, true);
}

pub(crate) fn left(round: &mut Round) {
    manager_nested::nested_with(round, manager_nested::Mistake::Keeps);
}

/// A lock that is a value: nobody gives it back for the dead.
pub(crate) fn hang(round: &mut Round) {
    fn work((place, lane): (Place, Lane)) {
        let taken: Value<bool> = place.enter().open("taken").expect("it is there");
        let mut more = 5;
        while more > 0 {
            more -= u32::from(lane.is_over());
            lane.attempt(1);
            while taken.compare_and_swap(&false, &true).expect("the server is there").is_err() {
                std::thread::yield_now();
            }
            (0..10_000).for_each(|_| std::hint::spin_loop());
            taken.set(&false).expect("the server is there");
        }
    }
    let host = Host::new(round);
    let taken = host.publish("taken", host.manager.value(false));
    round.strike(|round| {
        let victim: Process<()> =
            round.victim().spawn(work, (host.place.clone(), round.lane(0))).expect("the victim starts");
        let other: Process<()> =
            Builder::new().spawn(work, (host.place.clone(), round.lane(1))).expect("the other one starts");
        let _ = round.join(victim);
        round.end();
        join_survivor(round, other);
    });
    drop(taken);
    host.judge_empty(round);
}
