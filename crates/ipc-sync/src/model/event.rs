//! Who waits when it is set goes on.
//!
//! Bound: none for two threads, 4 for three. Run time: 1.1 s.

use loom::cell::UnsafeCell;

use super::*;
use crate::model::{both, bounded, three};

#[derive(Default)]
struct World {
    event: EventState,
    data: UnsafeCell<()>,
}

fn wait(world: &World) {
    world.event.wait(Deadline::NEVER, || Ok(())).unwrap();
    world.data.with(|_| ());
}

/// Sets it, and clears it at once if somebody was seen waiting before.
fn pulse(world: &World, set: fn(&EventState)) {
    let is_awaited = world.event.changed.has_waiters();
    world.data.with_mut(|_| ());
    set(&world.event);
    if is_awaited {
        world.event.clear();
    }
}

mod model {
    use super::*;

    #[test]
    fn set_lets_go_on_who_waits_and_who_comes() {
        bounded(4, || {
            three(World::default(), wait, wait, |world| {
                world.data.with_mut(|_| ());
                world.event.set();
            });
        });
    }

    #[test]
    fn a_pulse_lets_go_on_who_waits() {
        loom::model(|| {
            both(World::default(), wait, |world| pulse(world, EventState::set));
        });
    }

    #[test]
    fn two_who_set_it_do_not_hide_each_other() {
        let set = |world: &World| world.event.set();
        bounded(4, move || {
            three(World::default(), set, set, wait);
        });
    }
}

mod control {
    use super::*;

    /// A pulse is over before the one who waits has looked.
    #[test]
    fn pulses_are_not_counted() {
        loom::model(|| {
            both(World::default(), wait, |world| {
                pulse(world, |event| {
                    event.flag.fetch_or(SET, Ordering::SeqCst);
                    event.changed.wake();
                });
            });
        });
    }

    #[test]
    fn publish_relaxed() {
        loom::model(|| {
            both(World::default(), wait, |world| {
                world.data.with_mut(|_| ());
                world.event.flag.fetch_add(ROUND | SET, Ordering::Relaxed);
                world.event.changed.wake();
            });
        });
    }
}
