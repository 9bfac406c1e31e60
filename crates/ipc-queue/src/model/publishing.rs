//! What a put has acknowledged is taken before anybody hears that the queue is closed, and nobody sleeps through it.
//!
//! Bound: 5 for two threads, 3 or 4 for three. Run time: 2 s.

use std::rc::Rc;

use super::*;
use crate::layout::RETURNED;
use crate::model::*;

impl World {
    /// `Core::has_room`.
    fn has_room(&self, room: u64) -> bool {
        let head = Place(self.state.head.head.load(Ordering::SeqCst));
        self.tail().items_since(head) < room
    }

    /// `Core::put_message` in a queue for `room` items: whether the message was put, or the queue is closed.
    fn put(&self, room: u64) -> bool {
        self.put_with(room, |tail, end| self.state.move_tail(tail, end))
    }

    fn put_with(&self, room: u64, publish: impl Fn(Place, Place) -> bool) -> bool {
        loop {
            let locked = self.producers.lock().unwrap();
            let tail = Place(self.state.end.tail.load(Ordering::Relaxed));
            if tail.is_closed() {
                return false;
            }
            if tail.items_since(self.head()) < room {
                self.write(messages(tail));
                let moved = publish(tail, tail.after(8, 1));
                drop(locked);
                self.state.end.filled.wake();
                return moved;
            }
            drop(locked);
            World::wait(&self.state.head.freed, || self.tail().is_closed() || self.has_room(room));
        }
    }

    /// `Core::close`.
    fn close(&self) {
        self.state.mark_closed();
        self.state.end.filled.wake();
        self.state.head.freed.wake();
    }

    /// `Core::is_over`, without leases.
    fn is_over(&self, me: u64) -> bool {
        !self.state.is_in_hands(|owner| owner != 0 && owner != me)
    }

    /// `Core::take`, `wait_for_more`, `check_end`: `None` if the queue is closed and everything is taken.
    fn get(&self, me: u64) -> Option<Taken> {
        self.get_with(me, || self.is_over(me))
    }

    fn get_with(&self, me: u64, is_over: impl Fn() -> bool) -> Option<Taken> {
        loop {
            if let Some(taken) = self.take(me, ROOM) {
                return Some(taken);
            }
            let state = &self.state;
            World::wait(&state.end.filled, || state.is_filled() || self.tail().is_closed() && is_over());
            if !state.is_filled() && self.tail().is_closed() && !state.is_filled() && is_over() {
                return None;
            }
        }
    }

    /// Takes and uses everything until the queue is closed. Returns how many messages.
    fn get_all(&self, me: u64) -> u64 {
        std::iter::from_fn(|| self.get(me))
            .map(|taken| {
                let count = taken.end.items_since(taken.start);
                self.finish(taken);
                count
            })
            .sum()
    }
}

/// One puts, one closes, one gets until the queue is closed: as much as was put.
fn put_and_close(put: fn(&World) -> bool, get_all: fn(&World) -> u64) {
    bounded(4, move || {
        let (acknowledged, received) = (Rc::new(std::cell::Cell::new(0)), Rc::new(std::cell::Cell::new(0)));
        let (noted, got) = (Rc::clone(&acknowledged), Rc::clone(&received));
        let world = three(
            World::default(),
            move |world| noted.set(u64::from(put(world))),
            move |world| got.set(get_all(world)),
            World::close,
        );
        assert_eq!(acknowledged.get(), received.get(), "what was acknowledged is not what was received");
        world.assert_all_free();
    });
}

/// One has taken the message and gives it back; the other one waits for it in a closed queue.
fn one_gives_back(give_back: fn(&World, Taken), get: fn(&World) -> Option<Taken>) {
    bounded(5, move || {
        let world = World::with(1);
        let taken = world.take(ANN, 1).expect("there is one");
        world.close();
        let world = both(
            world,
            move |world| give_back(world, taken),
            move |world| {
                let again = get(world);
                assert_eq!(again.map(|again| world.finish(again)), Some(1), "the message is lost");
            },
        );
        world.assert_all_free();
    });
}

/// The message was given back, one takes it and gives it back again. Another one, who does not wait, hears meanwhile whether it is over.
fn one_gives_back_again(is_over: fn(&World) -> bool) {
    bounded(5, move || {
        let world = World::with(1);
        let taken = world.take(ANN, 1).expect("there is one");
        world.state.hands[taken.hand].owner.store(RETURNED, Ordering::Release);
        world.state.mark_closed();
        let world = both(
            world,
            |world| {
                let taken = {
                    let _locked = world.consumers.lock().unwrap();
                    world.take_returned(ANN)
                };
                taken.into_iter().for_each(|taken| world.give_back(taken));
            },
            // `Core::check_end`
            move |world| assert_ne!((world.state.is_filled(), is_over(world)), (false, true), "the message is lost"),
        );
        assert!(world.get(BOB).is_some());
    });
}

mod model {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_received() {
        put_and_close(|world| world.put(ROOM), |world| world.get_all(BOB));
    }

    /// Each waits for the other one: for messages, and for room.
    #[test]
    fn nobody_sleeps_for_ever() {
        bounded(5, || {
            let world = both(
                World::default(),
                |world| (0..2).for_each(|_| assert!(world.put(1))),
                |world| {
                    for n in 1..=2 {
                        let taken = world.get(BOB).expect("it is open");
                        assert_eq!(world.finish(taken), n);
                    }
                },
            );
            world.assert_all_free();
        });
    }

    #[test]
    fn two_who_put_do_so_in_order() {
        bounded(3, || {
            three(
                World::default(),
                |world| assert!(world.put(ROOM)),
                |world| assert!(world.put(ROOM)),
                |world| {
                    let mut sum = 0;
                    while sum < 3 {
                        let taken = world.get(BOB).expect("it is open");
                        sum += world.finish(taken);
                    }
                },
            );
        });
    }

    #[test]
    fn who_waits_for_room_hears_that_the_queue_is_closed() {
        bounded(5, || {
            both(World::with(1), |world| assert!(!world.put(1)), World::close);
        });
    }

    #[test]
    fn what_is_given_back_is_received() {
        one_gives_back(World::give_back, |world| world.get(BOB));
    }

    #[test]
    fn two_who_give_back_do_not_hide_each_other() {
        bounded(3, || {
            let world = World::with(2);
            let (first, second) = (world.take(ANN, 1), world.take(ANN, 1));
            three(
                world,
                move |world| first.into_iter().for_each(|taken| world.give_back(taken)),
                move |world| second.into_iter().for_each(|taken| world.give_back(taken)),
                |world| {
                    for _ in 0..2 {
                        let taken = world.get(BOB).expect("it is open");
                        world.finish(taken);
                    }
                },
            )
            .assert_all_free();
        });
    }

    #[test]
    fn what_is_taken_over_is_not_over() {
        one_gives_back_again(|world| world.is_over(BOB));
    }

    #[test]
    fn who_waits_in_case_it_comes_back_hears_that_it_does_not() {
        bounded(5, || {
            let world = World::with(1);
            let taken = world.take(ANN, 1).expect("there is one");
            world.close();
            both(
                world,
                // `Core::end_lease` has the same: others wait in case it comes back.
                move |world| {
                    world.finish(taken);
                    world.state.end.filled.wake();
                },
                |world| assert!(world.get(BOB).is_none()),
            );
        });
    }
}

mod control {
    use super::*;

    /// The tail is looked at and then stored: whoever closes in between is not noticed.
    #[test]
    fn published_in_two_steps() {
        let put = |world: &World| {
            world.put_with(ROOM, |_, end| {
                let is_open = !world.tail().is_closed();
                is_open.then(|| world.state.end.tail.store(end.0, Ordering::SeqCst)).is_some()
            })
        };
        put_and_close(put, |world| world.get_all(BOB));
    }

    /// The tail moves with the closed bit on: what was put after the end is taken by nobody.
    #[test]
    fn published_in_a_closed_queue() {
        let put = |world: &World| {
            world.put_with(ROOM, |_, _| {
                world.state.end.tail.fetch_add(place(1).0, Ordering::SeqCst);
                true
            })
        };
        put_and_close(put, |world| world.get_all(BOB));
    }

    #[test]
    fn published_relaxed() {
        let put = |world: &World| {
            world.put_with(ROOM, |tail, end| {
                let tails = &world.state.end.tail;
                tails.compare_exchange(tail.0, end.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            })
        };
        put_and_close(put, |world| world.get_all(BOB));
    }

    /// Closed and empty, seen in this order: something was put in between.
    #[test]
    fn empty_looked_at_before_closed() {
        let get_all = |world: &World| {
            let mut count = 0;
            loop {
                if let Some(taken) = world.take(BOB, ROOM) {
                    count += taken.end.items_since(taken.start);
                    world.finish(taken);
                } else if world.tail().is_closed() {
                    return count;
                } else {
                    let state = &world.state;
                    World::wait(&state.end.filled, || state.is_filled() || world.tail().is_closed());
                }
            }
        };
        put_and_close(|world| world.put(ROOM), get_all);
    }

    #[test]
    fn woken_before_it_is_published() {
        bounded(5, || {
            both(
                World::default(),
                |world| {
                    world.write(0);
                    world.state.end.filled.wake();
                    assert!(world.state.move_tail(place(0), place(1)));
                },
                |world| World::wait(&world.state.end.filled, || world.state.is_filled()),
            );
        });
    }

    /// What was given back counts as over.
    #[test]
    fn returned_is_over() {
        let get = |world: &World| {
            world.get_with(BOB, || !world.state.is_in_hands(|owner| owner != 0 && owner != BOB && owner != RETURNED))
        };
        one_gives_back(World::give_back, get);
    }

    #[test]
    fn said_to_be_back_before_it_is() {
        let give_back = |world: &World, taken: Taken| {
            world.state.consumers.returned.store(1, Ordering::SeqCst);
            world.state.end.filled.wake();
            world.state.hands[taken.hand].owner.store(RETURNED, Ordering::Release);
        };
        one_gives_back(give_back, |world| world.get(BOB));
    }

    /// Whoever finds it said that something has come back does not find it in the hand.
    #[test]
    fn said_by_plain_stores() {
        bounded(3, || {
            let world = World::with(2);
            let (first, second) = (world.take(ANN, 1), world.take(ANN, 1));
            let give_back = |world: &World, taken: Taken| {
                world.state.hands[taken.hand].owner.store(RETURNED, Ordering::Release);
                world.state.consumers.returned.store(1, Ordering::SeqCst);
                world.state.end.filled.wake();
            };
            three(
                world,
                move |world| first.into_iter().for_each(|taken| give_back(world, taken)),
                move |world| second.into_iter().for_each(|taken| give_back(world, taken)),
                |world| {
                    for _ in 0..2 {
                        let taken = world.get(BOB).expect("it is open");
                        world.finish(taken);
                    }
                },
            );
        });
    }
}
