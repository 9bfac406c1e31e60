//! Work for a thread that exists only while there is some.
//!
//! The thread ends when it holds nothing more, and is started again with the next piece of work. Two things must not happen:
//! that a piece is given to a thread that is just ending, and that a thread sleeps while a piece lies there. The first is kept
//! by one lock around both decisions, the second by the order in the thread: it clears its waker *before* it looks.

use std::sync::PoisonError;

use crate::shim::Mutex;

/// `W` wakes the thread; there is one as long as there is a thread.
pub(super) struct Handoff<T, W>(Mutex<State<T, W>>);

struct State<T, W> {
    waker: Option<W>,
    /// Work that the thread does not know yet.
    fresh: Vec<T>,
}

impl<T, W> Handoff<T, W> {
    pub(super) fn new() -> Self {
        Handoff(Mutex::new(State { waker: None, fresh: Vec::new() }))
    }

    /// Gives the thread a piece of work: wakes it, or starts it if there is none. If it cannot be started, the work lies there
    /// until the next piece comes.
    pub(super) fn give(&self, work: T, wake: impl FnOnce(&W), start: impl FnOnce() -> Option<W>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.fresh.push(work);
        match &state.waker {
            Some(waker) => wake(waker),
            None => state.waker = start(),
        }
    }

    /// For the thread, which has cleared its waker: adds new work to `held`, and drops all of which `goes_on` says no. When this
    /// returns false nothing is left and the thread has to end.
    pub(super) fn take(&self, held: &mut Vec<T>, goes_on: impl FnMut(&T) -> bool) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.append(&mut state.fresh);
        held.retain(goes_on);
        if held.is_empty() {
            state.waker = None;
        }
        !held.is_empty()
    }
}

/// Two pieces of work, of which the first goes on until the second has been seen. Bound: none; run time below a second.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::sync::{Arc, Condvar, Mutex as LoomMutex};
    use loom::thread::JoinHandle;

    /// As an eventfd: it stays set until it is cleared.
    #[derive(Default)]
    struct Event(LoomMutex<bool>, Condvar);

    impl Event {
        fn set(&self) {
            *self.0.lock().unwrap() = true;
            self.1.notify_all();
        }

        fn clear(&self) {
            *self.0.lock().unwrap() = false;
        }

        fn wait(&self) {
            let mut set = self.0.lock().unwrap();
            while !*set {
                set = self.1.wait(set).unwrap();
            }
        }
    }

    struct World {
        handoff: Handoff<usize, Arc<Event>>,
        /// Which pieces have been seen, as bits.
        seen: AtomicUsize,
        threads: LoomMutex<Vec<JoinHandle<()>>>,
    }

    fn work(world: &World, waker: &Event, clear_first: bool) {
        let mut held = Vec::new();
        loop {
            if clear_first {
                waker.clear();
            }
            let goes_on = |piece: &usize| {
                let seen = world.seen.fetch_or(1 << piece, Ordering::SeqCst) | 1 << piece;
                *piece == 0 && seen != 0b11
            };
            if !world.handoff.take(&mut held, goes_on) {
                return;
            }
            if !clear_first {
                waker.clear();
            }
            // The first piece ends when the second has been seen, and that, too, would end the sleep.
            if world.seen.load(Ordering::SeqCst) != 0b11 {
                waker.wait();
            }
        }
    }

    fn start(world: &Arc<World>, clear_first: bool) -> Option<Arc<Event>> {
        let waker = Arc::new(Event::default());
        let (own, theirs) = (Arc::clone(&waker), Arc::clone(world));
        let thread = loom::thread::spawn(move || work(&theirs, &own, clear_first));
        world.threads.lock().unwrap().push(thread);
        Some(waker)
    }

    pub(super) fn all_work_is_seen(clear_first: bool, pieces: [usize; 2]) {
        loom::model(move || {
            let world = Arc::new(World {
                handoff: Handoff::new(),
                seen: AtomicUsize::new(0),
                threads: LoomMutex::new(Vec::new()),
            });
            for piece in pieces {
                world.handoff.give(piece, |waker| waker.set(), || start(&world, clear_first));
            }
            loop {
                let Some(thread) = world.threads.lock().unwrap().pop() else { break };
                thread.join().unwrap();
            }
            assert_eq!(world.seen.load(Ordering::SeqCst), 0b11);
        });
    }

    #[test]
    fn no_work_is_lost_and_no_thread_sleeps_on_it() {
        all_work_is_seen(true, [0, 1]);
        all_work_is_seen(true, [1, 0]);
    }
}

/// The mistake that the order in the thread avoids.
#[cfg(all(test, loom))]
mod control {
    #[test]
    fn clearing_the_waker_after_the_look() {
        super::model::all_work_is_seen(false, [0, 1]);
    }
}
