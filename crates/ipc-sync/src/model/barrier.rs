//! All come together, nobody goes on before, and nobody waits for what will not happen.
//!
//! Bound: 6 where the two meet more than once, 4 where it is broken twice, else none. Run time: 5 s.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use loom::cell::{Cell, UnsafeCell};

use super::*;
use crate::model::{both, bounded};

/// Two parties. Those that have enrolled have the place of their number.
#[derive(Default)]
struct World {
    state: BarrierState,
    places: [AtomicU64; 2 * PLACE_WORDS],
    /// What a party does before it comes, and the other one sees afterwards.
    work: [UnsafeCell<()>; 2],
    actions: Cell<u32>,
    /// The sum of the indices, which are 0 and 1 each time.
    sum: [Cell<usize>; 2],
}

/// Of numbers that stand for them as pids.
fn party(number: usize) -> Participant {
    Participant::from_number((number as u64 + 1) << 40 | 1).unwrap()
}

impl World {
    fn enrolled() -> World {
        let world = World::default();
        for number in 0..2 {
            assert_eq!(world.core(number).enroll().unwrap(), number);
        }
        world
    }

    fn core(&self, number: usize) -> Core<'_, AtomicU64, impl Fn(Participant) -> Result<bool> + use<>> {
        Core::new(&self.state, &self.places, party(number), |_| Ok(true))
    }

    fn wait(&self, number: usize) -> Result<usize> {
        self.core(number).wait(number, Deadline::NEVER, || Ok(()), None)
    }

    fn wait_with(&self, number: usize, mut action: impl FnMut()) -> Result<usize> {
        self.core(number).wait(number, Deadline::NEVER, || Ok(()), Some(&mut action))
    }
}

/// Why the barrier was broken, if that is what came of the wait.
fn cause(result: Result<usize>) -> Option<BrokenBy> {
    match result {
        Err(Error::Broken(cause)) => Some(cause),
        _ => None,
    }
}

/// One has no time to wait, and exactly if it still meets the other one, the other one meets it.
fn meet_or_run_out_of_time(other: fn(&World) -> Result<usize>) {
    let world = both(
        World::enrolled(),
        |world| {
            let result = world.core(0).wait(0, Deadline::after(Duration::ZERO), || Ok(()), None);
            world.sum[0].set(result.map_or(0, |index| index + 1));
        },
        |world| match other(world) {
            Ok(index) => world.sum[1].set(index + 1),
            result => assert_eq!(cause(result), Some(BrokenBy::Timeout { pid: party(0).pid() })),
        },
    );
    let sum = world.sum[0].get() + world.sum[1].get();
    assert_eq!(sum % 3, 0, "one of the two has gone on alone");
}

mod model {
    use super::*;

    #[test]
    fn two_meet_and_meet_again() {
        bounded(6, || {
            let meet = |world: &World, number: usize| {
                world.work[number].with_mut(|_| ());
                let first = world.wait(number).unwrap();
                world.work[1 - number].with(|_| ());
                let second = world.wait(number).unwrap();
                world.work[number].with_mut(|_| ());
                world.sum[number].set(10 * first + second);
            };
            let world = both(World::enrolled(), move |world| meet(world, 0), move |world| meet(world, 1));
            assert_eq!(world.sum[0].get() + world.sum[1].get(), 11, "one comes first, one last, each time");
        });
    }

    #[test]
    fn two_meet_without_having_enrolled() {
        bounded(6, || {
            let meet = |world: &World, number: usize| {
                let core = world.core(number);
                let first = core.wait_once(Deadline::NEVER, || Ok(())).unwrap();
                let second = core.wait_once(Deadline::NEVER, || Ok(())).unwrap();
                world.sum[number].set(10 * first + second);
            };
            let world = both(World::default(), move |world| meet(world, 0), move |world| meet(world, 1));
            assert_eq!(world.sum[0].get() + world.sum[1].get(), 11, "one comes first, one last, each time");
        });
    }

    #[test]
    fn the_action_is_run_once_and_before_anybody_goes_on() {
        loom::model(|| {
            let meet = |world: &World, number: usize| {
                world.wait_with(number, || world.actions.set(world.actions.get() + 1)).unwrap();
                assert_eq!(world.actions.get(), 1);
            };
            both(World::enrolled(), move |world| meet(world, 0), move |world| meet(world, 1));
        });
    }

    #[test]
    fn a_panic_of_the_action_breaks_it() {
        loom::model(|| {
            let meet = |world: &World, number: usize| {
                let panics = || world.wait_with(number, || resume_unwind(Box::new(())));
                let Ok(result) = catch_unwind(AssertUnwindSafe(panics)) else { return };
                let other = party(1 - number).pid();
                assert_eq!(cause(result), Some(BrokenBy::Action { pid: other }));
            };
            both(World::enrolled(), move |world| meet(world, 0), move |world| meet(world, 1));
        });
    }

    #[test]
    fn who_aborts_it_breaks_it_for_those_who_wait() {
        loom::model(|| {
            both(
                World::enrolled(),
                |world| assert_eq!(cause(world.wait(0)), Some(BrokenBy::Aborted { pid: party(1).pid() })),
                |world| world.core(1).abort(),
            );
        });
    }

    #[test]
    fn who_leaves_breaks_it_for_those_who_wait() {
        loom::model(|| {
            both(
                World::enrolled(),
                |world| assert_eq!(cause(world.wait(0)), Some(BrokenBy::Left { pid: party(1).pid() })),
                |world| world.core(1).leave(1),
            );
        });
    }

    #[test]
    fn whose_time_runs_out_breaks_it_unless_all_have_met() {
        loom::model(|| meet_or_run_out_of_time(|world| world.wait(1)));
    }

    #[test]
    fn of_two_who_break_it_one_says_why() {
        loom::model(|| {
            let world = both(World::enrolled(), |world| world.core(0).abort(), |world| world.core(1).abort());
            let cause = world.core(0).broken_by().unwrap();
            assert!([0, 1].iter().any(|number| cause == Some(BrokenBy::Aborted { pid: party(*number).pid() })));
        });
    }

    /// Of the two times it is broken each has its own cause.
    #[test]
    fn a_cause_is_not_that_of_another_time() {
        bounded(4, || {
            let world = both(
                World::enrolled(),
                |world| world.core(0).leave(0),
                |world| {
                    assert!(world.core(1).wait(1, Deadline::after(Duration::ZERO), || Ok(()), None).is_err());
                    world.core(1).reset(true).unwrap();
                    world.core(1).abort();
                },
            );
            assert_eq!(world.core(1).broken_by().unwrap(), Some(BrokenBy::Aborted { pid: party(1).pid() }));
        });
    }

    #[test]
    fn who_resets_it_sends_home_those_who_wait_and_then_meets_them() {
        bounded(6, || {
            both(
                World::enrolled(),
                |world| {
                    // More than once, as it stays broken while it is being reset.
                    while let Some(cause) = cause(world.wait(0)) {
                        assert_eq!(cause, BrokenBy::Reset);
                        loom::thread::yield_now();
                    }
                },
                |world| {
                    world.core(1).reset(false).unwrap();
                    world.wait(1).unwrap();
                },
            );
        });
    }
}

mod control {
    use super::*;

    /// Arrives as it should.
    fn arrive(world: &World, number: usize) -> Result<Arrival> {
        let place = |_| Ok(Some(number));
        Ok(world.core(number).come(Kind::Enrolled, &place, Deadline::NEVER)?.expect("no action is being run"))
    }

    fn attend(world: &World, number: usize, arrival: Arrival) -> Result<usize> {
        world.core(number).attend(arrival, Deadline::NEVER, || Ok(()), None)
    }

    fn both_do(party: fn(&World, usize)) {
        loom::model(move || {
            both(World::enrolled(), move |world| party(world, 0), move |world| party(world, 1));
        });
    }

    /// One waits, the other one makes the mistake.
    fn one_waits(other: fn(&World)) {
        loom::model(move || {
            both(World::enrolled(), |world| drop(world.wait(0)), other);
        });
    }

    #[test]
    fn broken_without_a_wake() {
        one_waits(|world| {
            let (core, now) = (world.core(1), world.core(1).now());
            core.note(now, BrokenBy::Aborted { pid: 0 });
            core.step(now, now.with(Phase::Broken));
        });
    }

    #[test]
    fn broken_before_the_cause_is_noted() {
        loom::model(|| {
            both(
                World::enrolled(),
                |world| assert_eq!(cause(world.wait(0)), Some(BrokenBy::Aborted { pid: 0 })),
                |world| {
                    let (core, now) = (world.core(1), world.core(1).now());
                    core.step(now, now.with(Phase::Broken));
                    core.note(now, BrokenBy::Aborted { pid: 0 });
                    world.state.changed.wake();
                },
            );
        });
    }

    #[test]
    fn left_without_a_look_who_waits() {
        one_waits(|world| {
            world.core(1).set_info(1, Info::of(Kind::Left));
            world.state.changed.wake();
        });
    }

    /// Who leaves may then miss who arrives, and who arrives who has left.
    #[test]
    fn left_and_looked_without_a_total_order() {
        one_waits(|world| {
            let core = world.core(1);
            world.places[PLACE_WORDS + 1].store(Info::of(Kind::Left).0, Ordering::Release);
            let now = core.now();
            if core.arrived(now) > 0 {
                core.break_at(now, BrokenBy::Left { pid: 0 });
            }
        });
    }

    #[test]
    fn arrived_without_a_look_who_has_left() {
        loom::model(|| {
            both(
                World::enrolled(),
                |world| {
                    let (core, arrival) = (world.core(0), arrive(world, 0).unwrap());
                    let ready = || core.outcome(arrival.at);
                    drop(world.state.changed.wait(Deadline::NEVER, ready, || Ok(())));
                },
                |world| world.core(1).leave(1),
            );
        });
    }

    #[test]
    fn out_of_time_without_breaking_it() {
        one_waits(|world| {
            if world.core(1).enter(Deadline::after(Duration::ZERO)).is_ok() {
                world.wait(1).unwrap();
            }
        });
    }

    /// Who lets all go on does not see that it has just been broken.
    #[test]
    fn opened_without_compare_and_swap() {
        loom::model(|| {
            meet_or_run_out_of_time(|world| {
                let arrival = arrive(world, 1)?;
                if !arrival.is_last {
                    return attend(world, 1, arrival);
                }
                world.state.moment.store(arrival.at.all_met().0, Ordering::SeqCst);
                world.state.changed.wake();
                Ok(1)
            });
        });
    }

    #[test]
    fn woken_before_it_is_open() {
        one_waits(|world| {
            let arrival = arrive(world, 1).unwrap();
            if arrival.is_last {
                world.state.changed.wake();
                world.core(1).step(arrival.at, arrival.at.all_met());
            } else {
                attend(world, 1, arrival).unwrap();
            }
        });
    }

    /// Both take themselves for the first.
    #[test]
    fn counted_without_the_lock() {
        both_do(|world, number| {
            let core = world.core(number);
            let arrival = core.arrive(number, Kind::Enrolled, core.now(), Deadline::NEVER).unwrap();
            attend(world, number, arrival).unwrap();
        });
    }

    #[test]
    fn action_after_the_others_have_gone_on() {
        both_do(|world, number| {
            if world.wait(number).unwrap() == 1 {
                world.actions.set(1);
            }
            world.actions.get();
        });
    }
}
