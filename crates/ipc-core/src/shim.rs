//! The primitives of algorithms that are checked by models: std's, or loom's when the models run (`cargo xtask model`).
//!
//! loom runs a model under every order in which its threads can take turns, and every value that weakly ordered atomics may
//! return. What a model is to see has to go through here.

#[cfg(not(loom))]
pub(crate) use std::sync::Mutex;

#[cfg(loom)]
pub(crate) use loom::sync::Mutex;

/// Models of mistakes: `cargo xtask model` runs each and expects it to fail, which shows that the tool sees what it is there for.
#[cfg(all(test, loom))]
mod control {
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use loom::sync::{Arc, Condvar, Mutex};

    #[test]
    fn missing_release() {
        loom::model(|| {
            let shared = Arc::new((AtomicUsize::new(0), AtomicBool::new(false)));
            let theirs = Arc::clone(&shared);
            let writer = loom::thread::spawn(move || {
                theirs.0.store(42, Ordering::Relaxed);
                theirs.1.store(true, Ordering::Relaxed); // Release is missing here
            });
            if shared.1.load(Ordering::Acquire) {
                assert_eq!(shared.0.load(Ordering::Relaxed), 42, "the value is published before it is written");
            }
            writer.join().unwrap();
        });
    }

    #[test]
    fn lost_wake_up() {
        loom::model(|| {
            let shared = Arc::new((Mutex::new(false), Condvar::new()));
            let theirs = Arc::clone(&shared);
            let waker = loom::thread::spawn(move || {
                *theirs.0.lock().unwrap() = true;
                theirs.1.notify_all();
            });
            // The flag is looked at, the lock let go, and then there is no second look before the sleep.
            if !*shared.0.lock().unwrap() {
                drop(shared.1.wait(shared.0.lock().unwrap()));
            }
            waker.join().unwrap();
        });
    }
}
