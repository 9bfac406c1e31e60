//! The head stays before everything that is in a hand, and gets to `taken` when all hands are empty.
//!
//! Bound: 5, and 4 for what is delivered again. Run time: 0.8 s.

use super::*;
use crate::model::*;

/// What a producer does that finds room: it writes over what was there.
fn write_where_it_is_free(world: &World) {
    (0..messages(world.head())).for_each(|n| world.write(n));
}

/// Two take a message each, and use it up.
fn two_take(finish: fn(&World, Taken)) {
    bounded(5, move || {
        let take = move |world: &World, me| {
            let taken = world.take(me, 1).expect("there are two");
            finish(world, taken);
        };
        let world = both(World::with(2), move |world| take(world, ANN), move |world| take(world, BOB));
        world.assert_all_free();
        write_where_it_is_free(&world);
    });
}

/// Two take a message each, and the second one writes where there is room then.
fn two_take_and_one_writes(finish: fn(&World, Taken)) {
    bounded(5, move || {
        let take = move |world: &World, me| {
            let taken = world.take(me, 1).expect("there are two");
            finish(world, taken);
        };
        let write = move |world: &World| {
            take(world, BOB);
            write_where_it_is_free(world);
        };
        both(World::with(2), move |world| take(world, ANN), write);
    });
}

/// A batch of two was given back: one takes it over and uses up the first message, another one then takes what is left, and writes where
/// there is room.
fn a_batch_is_delivered_again(finish: fn(&World, Taken)) {
    bounded(4, move || {
        let world = World::with(2);
        let batch = world.take(BOB, 2).expect("there are two");
        world.give_back(batch);
        let first = world.take(ANN, 1).expect("it was given back");
        let world = both(
            world,
            move |world| finish(world, first),
            move |world| {
                if let Some(rest) = world.take(BOB, 1) {
                    assert_eq!(world.finish(rest), 2, "the first message comes twice");
                }
                write_where_it_is_free(world);
            },
        );
        while let Some(taken) = world.take(ANN, 1) {
            world.finish(taken);
        }
        world.assert_all_free();
    });
}

fn finish(world: &World, taken: Taken) {
    world.finish(taken);
}

mod model {
    use super::*;

    #[test]
    fn who_empties_the_last_hand_frees_everything() {
        two_take(finish);
    }

    #[test]
    fn what_is_in_a_hand_is_not_written_over() {
        two_take_and_one_writes(finish);
    }

    #[test]
    fn what_is_left_of_a_batch_that_was_given_back_stays() {
        a_batch_is_delivered_again(finish);
    }

    /// Of a batch the first messages are used up, the others given back: `Taken::give_back_after`.
    #[test]
    fn the_rest_of_a_batch_stays() {
        bounded(5, || {
            let world = both(
                World::with(2),
                |world| {
                    let mut batch = world.take(ANN, 2).expect("there are two");
                    world.read_all(&batch);
                    batch.start = place(1);
                    world.state.hands[batch.hand].start.store(batch.start.0, Ordering::Release);
                    world.give_back(batch);
                    world.state.free();
                },
                |world| {
                    World::wait(&world.state.head.freed, || messages(world.head()) > 0);
                    write_where_it_is_free(world);
                },
            );
            let rest = world.take(BOB, 2).expect("it was given back");
            assert_eq!(world.finish(rest), 2);
            world.assert_all_free();
        });
    }
}

mod control {
    use super::*;
    use crate::shim::fence;

    #[derive(Clone, Copy)]
    struct Steps {
        fence: bool,
        recheck: bool,
        taken_first: bool,
    }

    const RIGHT: Steps = Steps { fence: true, recheck: true, taken_first: true };

    /// `QueueState::free` with one step left out.
    fn free(state: &QueueState, steps: Steps) {
        let (consumers, head) = (&state.consumers, &state.head);
        let used = consumers.hands.load(Ordering::Relaxed);
        if used > 1 && steps.fence {
            fence(Ordering::SeqCst);
        }
        let taken = || Place(consumers.taken.load(Ordering::Acquire));
        let mut bound = if steps.taken_first { taken() } else { place(ROOM) };
        for hand in state.hands().filter(|hand| hand.owner.load(Ordering::Acquire) != 0) {
            let start = Place(hand.start.load(Ordering::Acquire));
            if bound.is_after(start) {
                bound = start;
            }
        }
        if !steps.taken_first && !taken().is_after(bound) {
            bound = taken();
        }
        let mut known = head.head.load(Ordering::Relaxed);
        while bound.is_after(Place(known)) {
            match head.head.compare_exchange(known, bound.0, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => {
                    head.freed.wake();
                    if steps.recheck && used <= 1 && consumers.hands.load(Ordering::Relaxed) > 1 {
                        free(state, steps);
                    }
                    return;
                }
                Err(now) => known = now,
            }
        }
    }

    fn finish(world: &World, taken: Taken, steps: Steps) {
        world.read_all(&taken);
        world.state.clear_hand(taken.hand);
        free(&world.state, steps);
    }

    /// Each of two sees the other one's hand as it was.
    #[test]
    fn no_fence() {
        two_take(|world, taken| finish(world, taken, Steps { fence: false, ..RIGHT }));
    }

    /// Who had the first hand alone made no fence.
    #[test]
    fn no_second_look_at_the_number_of_hands() {
        two_take(|world, taken| finish(world, taken, Steps { recheck: false, ..RIGHT }));
    }

    /// What is taken in between is in no hand that was looked at.
    #[test]
    fn hands_looked_at_before_taken() {
        two_take_and_one_writes(|world, taken| finish(world, taken, Steps { taken_first: false, ..RIGHT }));
    }

    #[test]
    fn emptied_before_it_is_used() {
        two_take_and_one_writes(|world, taken| {
            world.state.clear_hand(taken.hand);
            world.state.free();
            world.read_all(&taken);
        });
    }

    #[test]
    fn emptied_relaxed() {
        two_take_and_one_writes(|world, taken| {
            world.read_all(&taken);
            world.state.hands[taken.hand].owner.store(0, Ordering::Relaxed);
            world.state.free();
        });
    }

    /// `taken` moves before the hand is noted.
    #[test]
    fn noted_too_late() {
        bounded(5, || {
            both(
                World::with(2),
                |world| {
                    let _locked = world.consumers.lock().unwrap();
                    world.state.consumers.taken.store(place(1).0, Ordering::Release);
                    let hand = world.state.note(ANN, place(0), place(1), 0, 0).expect("a free hand");
                    world.read_all(&Taken { hand, start: place(0), end: place(1) });
                },
                |world| {
                    world.state.free();
                    write_where_it_is_free(world);
                },
            );
        });
    }

    /// `QueueState::leave_hand` the other way round.
    #[test]
    fn given_back_before_it_moves_on() {
        a_batch_is_delivered_again(|world, taken| {
            world.read_all(&taken);
            world.state.give_back(taken.hand);
            world.state.hands[taken.hand].start.store(taken.end.0, Ordering::Release);
            world.state.free();
        });
    }

    /// The hand moves on before what was first in it has been used.
    #[test]
    fn left_before_it_is_used() {
        a_batch_is_delivered_again(|world, taken| {
            world.state.leave_hand(taken.hand, taken.end);
            world.state.free();
            world.read_all(&taken);
        });
    }
}
