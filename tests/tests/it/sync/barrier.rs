//! Barriers.

use std::sync::atomic::{AtomicU32, Ordering};

use ipc_core::Process;
use ipc_sync::{Barrier, BrokenBy, Error};
use ipc_tests::{isolated, raw};

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
        let mut party = raw::drop_in_forked_copy(party);
        assert_eq!(party.wait().unwrap(), 0, "the copy has not left for the original");
    });
}
