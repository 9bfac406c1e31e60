//! What the models of the algorithms have in common. Each of them stands in a file of `model/`, as a part of the module whose
//! algorithm it checks, and beside it, in `control`, are the mistakes that it must find.
//!
//! Where no bound is stated a model tries all orders; a bound is how often a thread that could go on is interrupted in one run. The
//! models of the crate take 18 s together, those of the workspace with all controls 22 s: on two processors as on one, as most of
//! it goes into mapping the stacks of loom's threads.
//!
//! Two things are not as they are in life. A thread can be killed only where a model says so, and with one lock in hand
//! (`Lock::owner_dies`); everything else is tried out by the campaigns. And time stands still: a sleep ends by a wake-up and never
//! because its slice is over, so a wake-up that gets lost is a deadlock.

use std::rc::Rc;

/// Runs `first` in a thread of its own and `second` in this one, and gives the world back when both have ended.
pub(crate) fn both<W: 'static>(world: W, first: impl FnOnce(&W) + 'static, second: impl FnOnce(&W)) -> W {
    let world = Rc::new(world);
    let theirs = Rc::clone(&world);
    let thread = loom::thread::spawn(move || first(&theirs));
    second(&world);
    thread.join().unwrap();
    Rc::into_inner(world).expect("the other thread has ended")
}

/// As [`both`], for three.
pub(crate) fn three<W: 'static>(
    world: W,
    first: impl FnOnce(&W) + 'static,
    second: impl FnOnce(&W) + 'static,
    third: impl FnOnce(&W),
) -> W {
    let world = Rc::new(world);
    let theirs = Rc::clone(&world);
    let thread = loom::thread::spawn(move || first(&theirs));
    let world = both(world, |world| second(world), |world| third(world));
    thread.join().unwrap();
    Rc::into_inner(world).expect("the other threads have ended")
}

/// Runs a model under all orders in which threads that could go on are interrupted so many times at most.
pub(crate) fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
