//! Of all communications that two choices could lead to one takes place, both see the same one, and nobody sleeps through it.
//!
//! Bound: 5 or 6 for two threads, 4 or 5 for three. Run time: 6 s on a busy machine.

use std::rc::Rc;

use super::*;
use crate::model::*;

fn pair(one: Event, other: Event) -> Option<u64> {
    match (one, other) {
        (Event::Written(written), Event::Read(read)) | (Event::Read(read), Event::Written(written)) => {
            (written == read).then_some(read)
        }
        _ => None,
    }
}

/// Ann and Bob choose; whatever it is, it takes place between them.
fn crossing(world: fn() -> World, anns: fn() -> Vec<Guard>, bobs: fn() -> Vec<Guard>) {
    bounded(6, move || {
        let world = Rc::new(world());
        let (ann, bob) = both(&world, move |world| world.choose(ANN, &anns()), |world| world.choose(BOB, &bobs()));
        assert_ne!(pair(ann, bob), None, "each has seen another communication");
        world.assert_nothing_is_left();
    });
}

fn each_way(world: fn() -> World) {
    crossing(world, || vec![write(A, 1), read(B)], || vec![read(A), write(B, 2)]);
}

fn reads_against_writes(world: fn() -> World) {
    crossing(world, || vec![read(A), read(B)], || vec![write(A, 1), write(B, 2)]);
}

/// Ann writes 1, and then 2 with the same offer, and each time the time passes. Bob looks twice what there is.
fn time_passes(world: fn() -> World) {
    bounded(6, move || {
        let world = Rc::new(world());
        let (written, read) = both(
            &world,
            |world| [1, 2].map(|value| Choice::begin(world, ANN, &[write(A, value)]).give_up()),
            |world| [(); 2].map(|()| world.try_read(BOB, A)),
        );
        let each = |values: [Option<u64>; 2]| values.into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(each(written), each(read), "what was written is not what was read");
        world.assert_nothing_is_left();
    });
}

/// Ann offers on both channels until the time passes; on each there is one who looks what there is.
fn two_take(world: fn() -> World) {
    bounded(5, move || {
        let world = Rc::new(world());
        let (written, (one, other)) = both(
            &world,
            |world| Choice::begin(world, ANN, &[write(A, 1), write(B, 2)]).give_up(),
            |world| {
                // Both have what they have taken at the same time.
                let (one, other) = (world.take_from(BOB, A), world.take_from(CID, B));
                let read = |slot, taken: Option<Taken>| taken.and_then(|taken| world.finish(slot, taken));
                (read(BOB, one), read(CID, other))
            },
        );
        let read: Vec<u64> = one.into_iter().chain(other).collect();
        assert_eq!(read, Vec::from_iter(written), "what was written is not what was read");
        world.assert_nothing_is_left();
    });
}

/// Bob has taken what Ann writes, and died. One gives it back and reads, and Ann's time passes.
fn taker_dies(world: fn() -> World) {
    bounded(5, move || {
        let world = Rc::new(world());
        let theirs = Rc::clone(&world);
        // Ann waits already; the world is kept by both threads until the end.
        let mut choice = Choice::begin(&theirs, ANN, &[write(A, 1)]);
        choice.offer_all();
        let taken = world.take_from(BOB, A).expect("it was offered");
        let (read, written) = both(
            &world,
            move |world| {
                world.put_back_from(BOB, taken, A);
                world.try_read(CID, A)
            },
            |_| choice.withdrawn(),
        );
        assert_eq!(written, read, "what was written is not what was read");
        world.assert_nothing_is_left();
    });
}

/// Bob has taken what Ann writes, and died. Ann gives it back to herself, and Cid waits for it.
fn taker_dies_and_another_waits(world: fn() -> World) {
    bounded(6, move || {
        let world = Rc::new(world());
        let theirs = Rc::clone(&world);
        let mut choice = Choice::begin(&theirs, ANN, &[write(A, 1)]);
        choice.offer_all();
        let taken = world.take_from(BOB, A).expect("it was offered");
        let (cid, ann) = both(
            &world,
            |world| world.choose(CID, &[read(A)]),
            |world| {
                world.put_back_from(BOB, taken, A);
                choice.go_on()
            },
        );
        assert_eq!(pair(ann, cid), Some(1));
        world.assert_nothing_is_left();
    });
}

/// Bob has taken what Ann writes, and was stopped. She gives it back to herself, Cid reads, and Bob goes on.
fn given_up(world: fn() -> World) {
    bounded(6, move || {
        let world = Rc::new(world());
        let theirs = Rc::clone(&world);
        let mut choice = Choice::begin(&theirs, ANN, &[write(A, 1)]);
        choice.offer_all();
        let taken = world.take_from(BOB, A).expect("it was offered");
        let (bob, cid) = both(
            &world,
            move |world| world.finish(BOB, taken),
            |world| {
                world.put_back_from(BOB, taken, A);
                world.try_read(CID, A)
            },
        );
        let read: Vec<u64> = bob.into_iter().chain(cid).collect();
        assert_eq!(read, Vec::from_iter(choice.withdrawn()), "what was written is not what was read");
        world.assert_nothing_is_left();
    });
}

/// Cid waits for room, and so does Bob behind her, in a full channel from which Ann reads two values.
fn room(world: fn() -> World) {
    bounded(5, move || {
        let world = Rc::new(world());
        world.fill(1);
        let theirs = Rc::clone(&world);
        let mut cid = Choice::begin(&theirs, CID, &[write(A, 2)]);
        cid.offer_all();
        let mut bob = Choice::begin(&theirs, BOB, &[write(A, 3)]);
        bob.offer_all();
        let first = Rc::clone(&world);
        let ann = loom::thread::spawn(move || [(); 2].map(|()| first.try_read(ANN, A)));
        assert_eq!(cid.go_on(), Event::Written(2));
        assert_eq!(bob.go_on(), Event::Written(3));
        assert_eq!(ann.join().unwrap(), [Some(1), Some(2)]);
    });
}

/// Cid waits to read, and gives up; Bob waits to read, too, and Ann to write.
fn one_leaves(world: fn() -> World) {
    bounded(4, move || {
        let world = Rc::new(world());
        let theirs = Rc::clone(&world);
        let mut cid = Choice::begin(&theirs, CID, &[read(A)]);
        cid.offer_all();
        let (first, second) = (Rc::clone(&world), Rc::clone(&world));
        let ann = loom::thread::spawn(move || first.choose(ANN, &[write(A, 1)]));
        let bob = loom::thread::spawn(move || second.choose(BOB, &[read(A)]));
        assert_eq!(cid.withdrawn(), None);
        assert_eq!(pair(ann.join().unwrap(), bob.join().unwrap()), Some(1));
        world.assert_nothing_is_left();
    });
}

mod model {
    use super::*;

    #[test]
    fn of_two_that_cross_one_takes_place() {
        each_way(World::new);
    }

    #[test]
    fn of_two_in_the_same_direction_one_takes_place() {
        reads_against_writes(World::new);
    }

    #[test]
    fn who_reads_and_writes_a_channel_does_not_meet_itself() {
        crossing(World::new, || vec![write(A, 1), read(A)], || vec![read(A), write(A, 2)]);
    }

    #[test]
    fn both_sides_know_whether_it_was_in_time() {
        time_passes(World::new);
    }

    #[test]
    fn of_two_who_take_one_does() {
        two_take(World::new);
    }

    #[test]
    fn what_a_dead_one_had_taken_is_read_or_withdrawn() {
        taker_dies(World::new);
    }

    #[test]
    fn who_waits_gets_what_a_dead_one_had_taken() {
        taker_dies_and_another_waits(World::new);
    }

    /// Two find that Bob is dead; one of them gives back what was taken by then by one who lives, in the same slot.
    #[test]
    fn what_is_given_back_in_error_is_read_once() {
        bounded(6, || {
            let world = Rc::new(World::new());
            let theirs = Rc::clone(&world);
            let mut choice = Choice::begin(&theirs, ANN, &[write(A, 1)]);
            choice.offer_all();
            let taken = world.take_from(BOB, A).expect("it was offered");
            let (one, other) = both(
                &world,
                move |world| {
                    world.put_back_from(BOB, taken, A);
                    world.try_read(BOB, A)
                },
                move |world| {
                    world.put_back_from(BOB, taken, A);
                    world.try_read(CID, A)
                },
            );
            let read = [one, other].into_iter().flatten().count() as u64;
            assert_eq!(choice.withdrawn().into_iter().sum::<u64>(), read, "what was written is not what was read");
            world.assert_nothing_is_left();
        });
    }

    /// Ann does not wait any longer for Bob, who has taken what she writes, and goes on just now.
    #[test]
    fn what_a_slow_one_had_taken_is_read_once() {
        given_up(World::new);
    }

    #[test]
    fn who_leaves_passes_on_what_it_was_told() {
        one_leaves(World::new);
    }

    #[test]
    fn nobody_sleeps_while_there_is_room() {
        room(World::new);
    }
}

mod control {
    use super::*;

    /// Whoever has withdrawn in between is not noticed.
    #[test]
    fn committed_by_a_store() {
        time_passes(|| {
            let mut world = World::new();
            world.commit = |chooser, generation, _, offer| {
                chooser.word.store(pack(generation, State::Done { offer }), SeqCst);
                true
            };
            world
        });
    }

    /// Whoever takes another offer in between is not noticed.
    #[test]
    fn taken_in_two_steps() {
        two_take(|| {
            let mut world = World::new();
            world.take = |chooser, generation, taker, offer| {
                let is_open = chooser.is_waiting(generation);
                is_open && {
                    chooser.word.store(pack(generation, State::Taking { taker, offer }), SeqCst);
                    true
                }
            };
            world
        });
    }

    /// Whoever has given it to another one in between is not noticed.
    #[test]
    fn committed_without_a_look_at_whose_it_is() {
        given_up(|| {
            let mut world = World::new();
            world.commit = |chooser, generation, _, offer| {
                let (now, state) = chooser.state();
                now == generation && matches!(state, State::Waiting | State::Taking { .. }) && {
                    chooser.turn(generation, state, State::Done { offer })
                }
            };
            world
        });
    }

    /// What was withdrawn is open again.
    #[test]
    fn put_back_by_a_store() {
        taker_dies(|| {
            let mut world = World::new();
            world.put_back = |chooser, generation, _, _| {
                chooser.word.store(pack(generation, State::Waiting), SeqCst);
                true
            };
            world
        });
    }

    #[test]
    fn put_back_before_it_is_listed() {
        taker_dies(|| World::with(Mistake::PutsBackUnlisted));
    }

    #[test]
    fn put_back_in_silence() {
        taker_dies_and_another_waits(|| World::with(Mistake::PutsBackInSilence));
    }

    #[test]
    fn pokes_forgotten_after_the_look() {
        reads_against_writes(|| World::with(Mistake::ForgetsPokes));
    }

    /// The other one has looked before, and offered after.
    #[test]
    fn offered_after_the_look() {
        reads_against_writes(|| World::with(Mistake::OffersAfterTheLook));
    }

    #[test]
    fn left_in_silence() {
        one_leaves(|| World::with(Mistake::LeavesInSilence));
    }

    #[test]
    fn room_kept_to_oneself() {
        room(|| World::with(Mistake::KeepsRoomToItself));
    }
}
