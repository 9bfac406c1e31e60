//! Barriers.

mod stopped;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::segment::file_of;
use ipc_core::{Process, Segment};
use ipc_sync::{Barrier, BrokenBy, Error, Mutex};
use ipc_tests::{eventually, isolated, least, raw};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use super::{Holder, LONG, SHORT, add_one, timed_out, while_waiting};

fn broken_by<T>(result: Result<T, Error>) -> Option<BrokenBy> {
    match result {
        Err(Error::Broken(cause)) => Some(cause),
        _ => None,
    }
}

#[test]
fn all_meet_again_and_again_and_get_different_places() {
    isolated(|| {
        let barrier = Barrier::new(3).unwrap();
        let meet = |barrier: Barrier| {
            let mut party = barrier.enroll().unwrap();
            (0..500).map(|_| party.wait().unwrap()).collect::<Vec<_>>()
        };
        let children = [Process::spawn(meet, barrier.clone()).unwrap(), Process::spawn(meet, barrier.clone()).unwrap()];
        let mut places = vec![meet(barrier.clone())];
        places.extend(children.map(|child| child.join().unwrap()));
        for meeting in 0..500 {
            let mut indices: Vec<_> = places.iter().map(|mine| mine[meeting]).collect();
            indices.sort_unstable();
            assert_eq!(indices, [0, 1, 2]);
        }
    });
}

#[test]
fn parties_that_have_not_enrolled_meet_as_well() {
    isolated(|| {
        let barrier = Barrier::new(3).unwrap();
        let meet = |barrier: Barrier| (0..500).map(|_| barrier.wait().unwrap()).sum::<usize>();
        let children = [Process::spawn(meet, barrier.clone()).unwrap(), Process::spawn(meet, barrier.clone()).unwrap()];
        let sum = meet(barrier.clone()) + children.map(|child| child.join().unwrap()).iter().sum::<usize>();
        assert_eq!(sum, 500 * 3);
        assert_eq!((barrier.waiting().unwrap(), barrier.parties()), (0, 3));
    });
}

#[test]
fn a_killed_party_is_named_and_its_place_is_free_after_a_reset() {
    isolated(|| {
        let barrier = Barrier::new(2).unwrap();
        let mut party = barrier.enroll().unwrap();
        let holder = Holder::of(&barrier, Barrier::enroll);
        assert!(matches!(barrier.enroll(), Err(Error::Full { parties: 2 })));
        assert!(matches!(barrier.wait(), Err(Error::Full { .. })));
        let pid = holder.pid();
        let (result, took) = while_waiting(|| party.wait(), || holder.end());
        assert_eq!(broken_by(result), Some(BrokenBy::Died { pid }));
        assert!(took < LONG);
        assert_eq!(barrier.broken_by().unwrap(), Some(BrokenBy::Died { pid }));
        assert_eq!(broken_by(party.wait()), Some(BrokenBy::Died { pid }));
        barrier.reset().unwrap();
        assert_eq!(barrier.broken_by().unwrap(), None);
        let mut other = barrier.enroll().unwrap();
        let ((first, _), second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| other.wait());
            ((party.wait(), ()), second.join().unwrap())
        });
        assert_eq!(first.unwrap() + second.unwrap(), 1);
    });
}

#[test]
fn survivors_that_each_repair_meet_again_and_all_are_told_who_died() {
    isolated(|| {
        for _ in 0..20 {
            let barrier = Barrier::new(4).unwrap();
            let survive = |barrier: Barrier| {
                let mut party = barrier.enroll().unwrap();
                let Err(Error::Broken(BrokenBy::Died { pid })) = party.wait() else { panic!("not told") };
                barrier.repair().unwrap();
                party.wait().unwrap();
                pid
            };
            let survivors: Vec<_> = (0..2).map(|_| Process::spawn(survive, barrier.clone()).unwrap()).collect();
            let holder = Holder::of(&barrier, Barrier::enroll);
            let mut party = barrier.enroll().unwrap();
            ipc_tests::eventually("they wait", || barrier.waiting().unwrap() == 2);
            // This one waits before the death as well: who comes after the barrier was repaired is told of nothing.
            let mut pid = 0;
            let (result, _) = while_waiting(|| party.wait(), || pid = holder.kill());
            assert_eq!(broken_by(result), Some(BrokenBy::Died { pid }));
            barrier.repair().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| barrier.wait().unwrap()); // in place of the dead
                party.wait().unwrap();
            });
            assert!(survivors.into_iter().all(|survivor| survivor.join().unwrap() == pid));
        }
    });
}

#[test]
fn a_party_killed_while_it_waits_is_named_too() {
    isolated(|| {
        let barrier = Barrier::new(3).unwrap();
        let child = Process::<()>::spawn(|barrier: Barrier| drop(barrier.wait()), barrier.clone()).unwrap();
        ipc_tests::eventually("it waits", || barrier.waiting().unwrap() == 1);
        let pid = child.pid();
        let (result, _) = while_waiting(
            || barrier.wait(),
            || {
                child.kill().unwrap();
                child.join().unwrap_err();
            },
        );
        assert_eq!(broken_by(result), Some(BrokenBy::Died { pid }));
    });
}

#[test]
fn who_leaves_is_not_waited_for() {
    isolated(|| {
        let barrier = Barrier::new(2).unwrap();
        let mut party = barrier.enroll().unwrap();
        let holder = Holder::of(&barrier, Barrier::enroll);
        let pid = holder.pid();
        let (result, _) = while_waiting(|| party.wait(), || holder.release());
        assert_eq!(broken_by(result), Some(BrokenBy::Left { pid }));
        // Another one may take its place instead of a reset, if it comes in time.
        barrier.reset().unwrap();
        drop(barrier.enroll().unwrap());
        let mut other = barrier.enroll().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| other.wait().unwrap());
            party.wait().unwrap();
        });
        drop(other);
        assert_eq!(
            broken_by(party.wait()),
            Some(BrokenBy::Left { pid: std::process::id() }),
            "also if it was gone before"
        );
    });
}

#[test]
fn a_wait_that_runs_out_of_time_breaks_the_barrier_for_all() {
    isolated(|| {
        let barrier = Barrier::new(3).unwrap();
        let (mut first, mut second) = (barrier.enroll().unwrap(), barrier.enroll().unwrap());
        let (result, _) = while_waiting(|| first.wait(), || assert!(timed_out(|limit| second.wait_timeout(limit))));
        let by_me = BrokenBy::Timeout { pid: std::process::id() };
        assert_eq!(broken_by(result), Some(by_me));
        assert_eq!(broken_by(first.wait_timeout(LONG)), Some(by_me));
        assert_eq!(broken_by(barrier.wait_timeout(SHORT)), Some(by_me));
        barrier.reset().unwrap();
        assert!(timed_out(|limit| barrier.wait_timeout(limit)));
    });
}

#[test]
fn to_try_is_to_come_only_as_the_last_one() {
    isolated(|| {
        let barrier = Barrier::new(2).unwrap();
        let (mut first, mut second) = (barrier.enroll().unwrap(), barrier.enroll().unwrap());
        assert!(matches!(first.try_wait(), Err(Error::WouldBlock)));
        assert_eq!(barrier.waiting().unwrap(), 0);
        let (result, _) = while_waiting(|| first.wait(), || assert_eq!(second.try_wait().unwrap(), 1));
        assert_eq!(result.unwrap(), 0);
    });
}

#[test]
fn aborting_and_resetting_end_the_waits() {
    isolated(|| {
        let barrier = Barrier::new(2).unwrap();
        let mut party = barrier.enroll().unwrap();
        let (result, _) = while_waiting(|| party.wait(), || barrier.abort().unwrap());
        assert_eq!(broken_by(result), Some(BrokenBy::Aborted { pid: std::process::id() }));
        assert!(party.wait().is_err());
        barrier.reset().unwrap();
        let (result, _) = while_waiting(|| party.wait(), || barrier.reset().unwrap());
        assert_eq!(broken_by(result), Some(BrokenBy::Reset));
        assert_eq!(barrier.broken_by().unwrap(), None);
        let mut other = barrier.enroll().unwrap();
        let (result, _) = while_waiting(|| party.wait(), || assert_eq!(other.wait().unwrap(), 1));
        result.unwrap();
    });
}

#[test]
fn exactly_one_runs_the_action_before_any_goes_on() {
    isolated(|| {
        let (barrier, runs) = (Barrier::new(3).unwrap(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut party = barrier.enroll().unwrap();
                    for meeting in 1..=200 {
                        let index = party.wait_with(|| add_one(&runs)).unwrap();
                        assert!(index < 3);
                        assert!(runs.load(Ordering::Relaxed) >= meeting);
                    }
                    // Nobody may go into the next meeting before this is looked at.
                    party.wait().unwrap();
                });
            }
        });
        assert_eq!(runs.load(Ordering::Relaxed), 200);
    });
}

#[test]
fn an_action_that_panics_or_is_killed_breaks_the_barrier() {
    isolated(|| {
        let barrier = Barrier::new(2).unwrap();
        let (mut first, mut second) = (barrier.enroll().unwrap(), barrier.enroll().unwrap());
        let (result, _) = while_waiting(
            || first.wait(),
            || {
                let panicked = std::panic::AssertUnwindSafe(|| drop(second.wait_with(|| panic!("on purpose"))));
                assert!(std::panic::catch_unwind(panicked).is_err());
            },
        );
        assert_eq!(broken_by(result), Some(BrokenBy::Action { pid: std::process::id() }));
        drop(second);
        barrier.reset().unwrap();
        let mut pid = 0;
        let (result, _) = while_waiting(
            || first.wait(),
            || {
                let child = Process::<()>::spawn(
                    |barrier: Barrier| {
                        let mut party = barrier.enroll().unwrap();
                        let _ = party.wait_with(|| raw::raise(9));
                    },
                    barrier.clone(),
                )
                .unwrap();
                pid = child.pid();
                child.join().unwrap_err();
            },
        );
        assert_eq!(broken_by(result), Some(BrokenBy::Died { pid }));
    });
}

#[test]
fn waiting_for_parties_that_nobody_is_left_to_be_is_abandoned() {
    isolated(|| {
        let barrier = Barrier::new(2).unwrap();
        let holder = Holder::of(&barrier, |_| Ok(()));
        let (result, _) = while_waiting(|| barrier.wait(), || holder.end());
        assert!(matches!(result, Err(Error::Abandoned)), "{result:?}");
    });
}

#[test]
fn neither_its_own_handle_nor_its_other_parties_keep_a_party_waiting() {
    isolated(|| {
        let barrier = Barrier::new(3).unwrap();
        let me = std::process::id();
        Process::spawn(|_: Barrier| (), barrier.clone()).unwrap().join().unwrap();
        let (mut first, mut second) = (barrier.enroll().unwrap(), barrier.enroll().unwrap());
        // The second one might come, until it has; a thread with a handle of its own might, too.
        assert!(matches!(first.wait_timeout(4 * SHORT), Err(Error::Timeout)));
        barrier.repair().unwrap();
        let mut results = Vec::new();
        let (result, _) = while_waiting(|| first.wait(), || results.push(second.wait()));
        results.push(result);
        assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::Abandoned))).count(), 1);
        assert_eq!(results.into_iter().find_map(broken_by), Some(BrokenBy::Abandoned { pid: me }));
        assert_eq!(barrier.broken_by().unwrap(), Some(BrokenBy::Abandoned { pid: me }));
        drop(second);
        barrier.repair().unwrap();
        let other = barrier.clone();
        assert!(matches!(first.wait_timeout(4 * SHORT), Err(Error::Timeout)));
        drop((first, other));
        barrier.repair().unwrap();
        assert!(matches!(barrier.wait(), Err(Error::Abandoned)));
    });
}

#[test]
fn a_thread_with_as_many_locks_as_it_may_have_can_leave() {
    isolated(|| {
        let barrier = Barrier::new(2).unwrap();
        let (mut first, second) = (barrier.enroll().unwrap(), barrier.enroll().unwrap());
        let size = Mutex::<u8>::size().next_multiple_of(Segment::ALIGNMENT);
        let segment = Segment::anonymous(ipc_sync::MAX_HELD as usize * size).unwrap();
        let locks: Vec<_> =
            (0..ipc_sync::MAX_HELD as usize).map(|n| Mutex::create_in(&segment, n * size, 0u8).unwrap()).collect();
        let leave = || {
            let guards: Vec<_> = locks.iter().map(|lock| lock.lock().unwrap()).collect();
            drop(second);
            drop(guards);
        };
        let (result, _) = while_waiting(|| first.wait(), leave);
        assert_eq!(broken_by(result), Some(BrokenBy::Left { pid: std::process::id() }));
    });
}

/// A party in a process of its own that has come and waits.
fn waiting_child(barrier: &Barrier) -> Process<()> {
    let before = barrier.waiting().unwrap();
    let child = Process::spawn(|barrier: Barrier| drop(barrier.enroll().unwrap().wait()), barrier.clone()).unwrap();
    eventually("it waits", || barrier.waiting().unwrap() == before + 1);
    child
}

fn kill(child: Process<()>) -> u32 {
    let pid = child.pid();
    child.kill().unwrap();
    child.join().unwrap_err();
    pid
}

#[test]
fn nobody_comes_or_enrolls_while_an_action_is_run() {
    isolated(|| {
        let barrier = Barrier::new(2).unwrap();
        let mut party = barrier.enroll().unwrap();
        let child = waiting_child(&barrier);
        let acted = party.wait_with(|| {
            assert!(matches!(barrier.enroll(), Err(Error::Full { .. })));
            assert!(matches!(barrier.try_wait(), Err(Error::WouldBlock)));
            assert!(timed_out(|limit| barrier.wait_timeout(limit)), "and it breaks nothing");
        });
        assert_eq!(acted.unwrap(), 1);
        child.join().unwrap();

        let child = waiting_child(&barrier);
        let mut pid = 0;
        let acted = party.wait_with(|| {
            pid = kill(child);
            assert_eq!(broken_by(barrier.wait()), Some(BrokenBy::Died { pid }));
            drop(barrier.enroll().unwrap()); // for the time after the repair
        });
        assert_eq!(broken_by(acted), Some(BrokenBy::Died { pid }));
    });
}

#[test]
fn who_comes_last_does_not_meet_the_dead() {
    isolated(|| {
        let barrier = Barrier::new(2).unwrap();
        let mut party = barrier.enroll().unwrap();
        // Before it comes, and before and in its action; by nobody else's look, as nobody else is there.
        let pid = kill(waiting_child(&barrier));
        assert_eq!(broken_by(party.wait()), Some(BrokenBy::Died { pid }));
        barrier.repair().unwrap();
        let pid = kill(waiting_child(&barrier));
        assert_eq!(broken_by(party.wait_with(|| panic!("for the dead"))), Some(BrokenBy::Died { pid }));
        barrier.repair().unwrap();
        let (child, mut pid) = (waiting_child(&barrier), 0);
        let acted = party.wait_with_timeout(LONG, || pid = kill(child));
        assert_eq!(broken_by(acted), Some(BrokenBy::Died { pid }));
        barrier.repair().unwrap();
        drop(party);
        // One that has not enrolled.
        let pid = kill(waiting_child(&barrier));
        assert_eq!(broken_by(barrier.wait()), Some(BrokenBy::Died { pid }));
    });
}

#[test]
fn the_place_of_a_dead_party_is_not_for_one_that_has_not_enrolled() {
    isolated(|| {
        let barrier = Barrier::new(2).unwrap();
        let pid = Holder::of(&barrier, Barrier::enroll).kill();
        assert_eq!(broken_by(barrier.wait()), Some(BrokenBy::Died { pid }));
        barrier.repair().unwrap();
        let pids = [Holder::of(&barrier, Barrier::enroll), Holder::of(&barrier, Barrier::enroll)].map(Holder::kill);
        let Some(BrokenBy::Died { pid }) = broken_by(barrier.try_wait()) else { panic!("not told") };
        assert!(pids.contains(&pid));
    });
}

#[test]
fn who_enrolls_for_a_dead_one_tells_those_who_wait_and_else_nobody() {
    isolated(|| {
        let barrier = Barrier::new(2).unwrap();
        let mut party = barrier.enroll().unwrap();
        Holder::of(&barrier, Barrier::enroll).end();
        let mut heir = barrier.enroll().unwrap();
        let (result, _) = while_waiting(|| party.wait(), || assert_eq!(heir.wait().unwrap(), 1));
        assert_eq!(result.unwrap(), 0);
        drop(heir);
        let pid = kill(waiting_child(&barrier));
        let mut heir = barrier.enroll().unwrap();
        assert_eq!(broken_by(heir.try_wait()), Some(BrokenBy::Died { pid }));
        barrier.repair().unwrap();
        let (result, _) = while_waiting(|| party.wait(), || assert_eq!(heir.wait().unwrap(), 1));
        assert_eq!(result.unwrap(), 0);
    });
}

#[test]
fn an_action_that_all_were_killed_in_is_found_out() {
    isolated(|| {
        let act_and_die = |barrier: Barrier| {
            std::thread::scope(|scope| {
                for _ in 0..barrier.parties() {
                    let mut party = barrier.enroll().unwrap();
                    scope.spawn(move || party.wait_with(|| raw::raise(9)));
                }
            });
        };
        for parties in [1, 2] {
            for asked in [true, false] {
                let barrier = Barrier::new(parties).unwrap();
                let child = Process::<()>::spawn(act_and_die, barrier.clone()).unwrap();
                let pid = child.pid();
                child.join().unwrap_err();
                let died = Some(BrokenBy::Died { pid });
                if asked {
                    assert_eq!(barrier.broken_by().unwrap(), died);
                }
                assert_eq!(broken_by(barrier.wait()), died);
                barrier.repair().unwrap();
                assert_eq!(barrier.enroll().unwrap().try_wait().is_ok(), parties == 1);
            }
        }
    });
}

/// Where in its segment the name of a place's owner is. The places are the last words, two each.
fn owner_of(place: u32, parties: u32) -> usize {
    Barrier::size(parties) - (parties - place) as usize * 16
}

#[test]
fn a_place_that_somebody_died_taking_is_still_that_of_one_who_left() {
    isolated(|| {
        let segment = Segment::anonymous(Barrier::size(2)).unwrap();
        let barrier = Barrier::create_in(&segment, 0, 2).unwrap();
        let owner = raw::word64(&file_of(&segment), owner_of(0, 2));
        let holder = Holder::of(&barrier, Barrier::enroll);
        let dead = owner.load(Ordering::SeqCst);
        let pid = holder.kill();
        barrier.reset().unwrap();
        let (party, mut other) = (barrier.enroll().unwrap(), barrier.enroll().unwrap());
        drop(party);
        owner.store(dead, Ordering::SeqCst);
        assert_eq!(broken_by(other.wait()), Some(BrokenBy::Left { pid }));
        barrier.repair().unwrap();
        // And one that somebody had died in.
        let holder = Holder::of(&barrier, Barrier::enroll);
        holder.end();
        owner.store(dead, Ordering::SeqCst);
        assert_eq!(broken_by(other.wait()), Some(BrokenBy::Died { pid }));
    });
}

#[test]
fn one_of_many_that_wait_looks_who_is_alive() {
    const MANY: u32 = 128;
    isolated(|| {
        let segment = Segment::anonymous(Barrier::size(2 * MANY)).unwrap();
        let barrier = Barrier::create_in(&segment, 0, 2 * MANY).unwrap();
        let enroll = |barrier: &Barrier| (0..MANY / 2).map(|_| barrier.enroll()).collect::<Result<Vec<_>, _>>();
        let holders = [Holder::of(&barrier, enroll), Holder::of(&barrier, enroll)];
        // Their places alternate, so that there is a question to be asked about each of them.
        let file = file_of(&segment);
        let owner = |place| raw::word64(&file, owner_of(place, 2 * MANY));
        for place in (1..MANY / 2).step_by(2) {
            let other = owner(place + MANY / 2).swap(owner(place).load(Ordering::SeqCst), Ordering::SeqCst);
            owner(place).store(other, Ordering::SeqCst);
        }
        let used = || {
            let used = getrusage(UsageWho::RUSAGE_SELF).unwrap();
            Duration::from_micros((used.user_time() + used.system_time()).num_microseconds() as u64)
        };
        let limit = Duration::from_millis(120);
        let spent = least(limit, || {
            barrier.repair().unwrap();
            std::thread::scope(|scope| {
                for _ in 1..MANY {
                    scope.spawn(|| barrier.wait().unwrap_err());
                }
                eventually("they wait", || barrier.waiting().unwrap() == MANY - 1);
                let before = used();
                assert!(barrier.wait_timeout(Duration::from_millis(1000)).is_err_and(|error| error.is_timeout()));
                used() - before
            })
        });
        assert!(spent < limit, "{spent:?} of a second");
        holders.into_iter().for_each(Holder::end);
    });
}

#[test]
fn impossible_numbers_and_forks_are_refused() {
    isolated(|| {
        assert!(Barrier::new(0).is_err() && Barrier::new(Barrier::MAX_PARTIES + 1).is_err());
        let alone = Barrier::new(1).unwrap();
        assert_eq!(alone.wait().unwrap(), 0);
        let mut party = alone.enroll().unwrap();
        assert_eq!(party.try_wait().unwrap(), 0);
        assert!(raw::in_forked_copy(|| matches!(alone.wait(), Err(Error::Forked))
            && matches!(alone.enroll(), Err(Error::Forked))
            && matches!(alone.reset(), Err(Error::Forked))));
        let mut copy = Some(0);
        let acted = party.wait_with(|| copy = raw::fork());
        match copy {
            None => raw::exit(i32::from(!matches!(acted, Err(Error::Forked)))),
            Some(pid) => assert!(raw::wait(pid) && acted.is_ok(), "the copy has not acted for the original"),
        }
        let mut party = raw::drop_in_forked_copy(party);
        assert_eq!(party.wait().unwrap(), 0, "the copy has not left for the original");
    });
}
