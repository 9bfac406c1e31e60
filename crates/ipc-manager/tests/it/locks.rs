use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipc_manager::Error;

use crate::{LONG, SHORT, both, object, server, stranger, takes, wait_until};

#[test]
fn a_lock_is_one_threads() {
    let (server, manager) = both();
    let lock = manager.lock().unwrap();
    let guard = lock.lock().unwrap();
    assert!(matches!(lock.lock(), Err(Error::AlreadyLocked)));
    assert!(matches!(lock.try_lock(), Err(Error::AlreadyLocked)));
    assert_eq!(object(&server, 0).unwrap().owner.unwrap().pid, std::process::id());
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(lock.try_lock().unwrap_err().is_would_block());
            assert!(takes(SHORT, || lock.lock_timeout(SHORT)).unwrap_err().is_timeout());
            assert!(lock.try_lock_or_repair().unwrap_err().is_would_block());
            assert!(takes(SHORT, || lock.lock_or_repair_timeout(SHORT)).unwrap_err().is_timeout());
            assert!(lock.is_locked().unwrap());
        });
    });
    guard.unlock().unwrap();
    assert!(!lock.is_locked().unwrap());
    assert!(!lock.lock_or_repair().unwrap().1);
    assert!(!lock.try_lock_or_repair().unwrap().1);
    assert!(!lock.lock_or_repair_timeout(LONG).unwrap().1);
    drop((lock.lock_timeout(LONG).unwrap(), ()));
    assert_eq!(object(&server, 0).unwrap().owner, None);
}

#[test]
fn a_lock_excludes_whatever_times_out_meanwhile() {
    let (_server, manager) = both();
    let (lock, inside, count) = (manager.lock().unwrap(), AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while count.load(Ordering::SeqCst) < 400 {
                    match lock.lock_timeout(Duration::from_micros(100)) {
                        Ok(_guard) => {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            count.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                        Err(error) => assert!(error.is_timeout(), "{error:?}"),
                    }
                }
            });
        }
    });
    assert!(!lock.is_locked().unwrap());
}

#[test]
fn a_lock_dies_with_a_manager_whose_guard_was_forgotten() {
    let server = server();
    let manager = server.manager().unwrap();
    let lock = manager.lock().unwrap();
    {
        let other = stranger(&server);
        manager.publish("lock", &lock).unwrap();
        let theirs = other.open::<ipc_manager::Lock>("lock").unwrap();
        std::mem::forget(theirs.lock().unwrap());
    }
    let error = loop {
        match lock.try_lock() {
            Err(Error::WouldBlock) => thread::yield_now(), // its connections are still being closed
            other => break other.unwrap_err(),
        }
    };
    assert!(error.is_owner_died(), "{error:?}");
    assert!(lock.lock_or_repair().unwrap().1);
    drop(lock.lock().unwrap());
}

#[test]
fn a_reentrant_lock_is_free_after_its_last_guard() {
    let (_server, manager) = both();
    let lock = manager.rlock().unwrap();
    let guards: Vec<_> = (0..3).map(|_| lock.lock().unwrap()).collect();
    for guard in guards {
        thread::scope(|scope| {
            scope.spawn(|| assert!(lock.try_lock().unwrap_err().is_would_block()));
        });
        drop(guard);
    }
    thread::scope(|scope| {
        scope.spawn(|| drop(lock.try_lock().unwrap()));
    });
}

#[test]
fn a_condition_wakes_those_who_wait() {
    let (_server, manager) = both();
    let (condition, stage) = (manager.condition().unwrap(), manager.value(0u32).unwrap());
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut guard = condition.lock().unwrap();
                    stage.update(|n| n + 1).unwrap();
                    guard.wait().unwrap();
                    stage.update(|n| n + 10).unwrap();
                })
            })
            .collect();
        // Who has counted itself waits before anybody gets the lock.
        loop {
            let guard = condition.lock().unwrap();
            if stage.get().unwrap() == 3 {
                assert!(guard.notify_one().unwrap());
                assert_eq!(guard.notify_all().unwrap(), 2);
                assert!(!guard.notify_one().unwrap());
                assert_eq!(stage.get().unwrap(), 3, "they have to wait for the lock");
                break;
            }
        }
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
    assert_eq!(stage.get().unwrap(), 33);
    assert!(!condition.is_locked().unwrap());
}

#[test]
fn a_wait_that_times_out_has_the_lock_again() {
    let (_server, manager) = both();
    let condition = manager.condition().unwrap();
    let mut guard = condition.lock().unwrap();
    assert!(!takes(SHORT, || guard.wait_timeout(SHORT)).unwrap());
    assert!(condition.is_locked().unwrap());
    assert!(!takes(SHORT, || guard.wait_while_timeout(SHORT, || Ok(true))).unwrap());
    assert!(guard.wait_while_timeout(LONG, || Ok(false)).unwrap());
    guard.wait_while(|| Ok(false)).unwrap();
    assert!(matches!(guard.wait_while(|| Err(Error::Unfit)), Err(Error::Unfit)));
    guard.unlock().unwrap();
    assert!(!condition.is_locked().unwrap());
}

/// Longer than the server has to take a request back.
#[test]
fn a_wait_that_times_out_waits_for_the_lock_however_long_that_takes() {
    let (_server, manager) = both();
    let condition = manager.condition().unwrap();
    // On a loaded machine the lock may be taken too late.
    let mut was_kept = false;
    while !was_kept {
        let waits = manager.event().unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let mut guard = condition.lock().unwrap();
                waits.set().unwrap();
                let notified = guard.wait_timeout(SHORT).unwrap();
                guard.unlock().unwrap(); // it is held
                notified
            });
            waits.wait().unwrap();
            let guard = condition.lock().unwrap();
            was_kept = !waiter.is_finished();
            let start = Instant::now();
            let half_a_second = || start.elapsed() > Duration::from_millis(500);
            wait_until(|| manager.stats().is_ok() && half_a_second(), || "time stands still".into());
            assert!(!was_kept || !waiter.is_finished(), "it has gone on without the lock");
            drop(guard);
            assert!(!waiter.join().unwrap(), "nobody has notified");
        });
    }
}
