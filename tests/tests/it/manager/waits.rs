//! How long calls wait that do not get what they wait for.

use ipc_tests::isolated;

use super::*;

type Wait<'a> = Box<dyn Fn(Duration) -> bool + Send + 'a>;

/// All calls that wait for something that never comes, and what each has to say then.
fn waits(all: &Everything) -> Vec<(&'static str, Wait<'_>)> {
    vec![
        ("Lock::lock_timeout", Box::new(|limit| timed_out(all.lock.lock_timeout(limit)))),
        ("Lock::lock_or_repair_timeout", Box::new(|limit| timed_out(all.lock.lock_or_repair_timeout(limit)))),
        ("RLock::lock_timeout", Box::new(|limit| timed_out(all.rlock.lock_timeout(limit)))),
        ("RLock::lock_or_repair_timeout", Box::new(|limit| timed_out(all.rlock.lock_or_repair_timeout(limit)))),
        ("Condition::lock_timeout", Box::new(|limit| timed_out(all.condition.lock_timeout(limit)))),
        (
            "wait_timeout",
            Box::new(|limit| {
                let mut guard = all.other_condition.lock().unwrap();
                let notified = guard.wait_timeout(limit).unwrap();
                guard.unlock().unwrap(); // it has the lock again
                !notified
            }),
        ),
        (
            "wait_while_timeout",
            Box::new(|limit| {
                let mut guard = all.other_condition.lock().unwrap();
                !guard.wait_while_timeout(limit, || Ok(true)).unwrap()
            }),
        ),
        ("Queue::get_timeout", Box::new(|limit| timed_out(all.empty.get_timeout(limit)))),
        ("Queue::put_timeout", Box::new(|limit| timed_out(all.full.put_timeout(&7, limit)))),
        ("JoinableQueue::get_timeout", Box::new(|limit| timed_out(all.tasks.get_timeout(limit)))),
        ("JoinableQueue::join_timeout", Box::new(|limit| timed_out(all.tasks.join_timeout(limit)))),
        ("Semaphore::acquire_timeout", Box::new(|limit| timed_out(all.semaphore.acquire_timeout(limit)))),
        ("Event::wait_timeout", Box::new(|limit| timed_out(all.event.wait_timeout(limit)))),
        (
            "Barrier::wait_timeout",
            Box::new(|limit| {
                let timed_out = timed_out(all.barrier.wait_timeout(limit));
                assert!(all.barrier.is_broken().unwrap());
                all.barrier.reset().unwrap();
                timed_out
            }),
        ),
    ]
}

/// Whoever has the locks, in a process of its own.
fn holder(all: &Everything) -> Other {
    Other::until(all.clone(), |all: Everything, line| {
        let _guards = (all.lock.lock().unwrap(), all.rlock.lock().unwrap(), all.condition.lock().unwrap());
        line.tell_and_wait();
    })
}

#[test]
fn calls_wait_as_long_as_they_were_told_and_no_longer() {
    isolated(|| {
        let (manager, _) = start();
        let all = Everything::new(&manager).unwrap();
        let holder = holder(&all);
        for limit in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(30), SHORT] {
            for (name, wait) in waits(&all) {
                ends_within(limit..limit + LATE, name, || wait(limit));
            }
        }
        holder.finish();
        // Those who have given up take nothing of what comes later.
        all.empty.put(&1).unwrap();
        all.full.get().unwrap();
        assert!(all.full.is_empty().unwrap());
        assert_eq!(all.empty.len().unwrap(), 1);
        drop((all.lock.try_lock().unwrap(), all.rlock.try_lock().unwrap(), all.condition.try_lock().unwrap()));
    });
}

/// So long that meanwhile they look whether the server is still there.
#[test]
fn calls_that_wait_for_long_end_in_time_too() {
    const LIMIT: Duration = Duration::from_millis(6300);
    isolated(|| {
        let (manager, _) = start();
        let all = Everything::new(&manager).unwrap();
        let holder = holder(&all);
        thread::scope(|scope| {
            for (name, wait) in waits(&all) {
                scope.spawn(move || ends_within(LIMIT..LIMIT + LATE, name, || wait(LIMIT)));
            }
        });
        holder.finish();
    });
}

#[test]
fn calls_that_wait_get_what_comes_after_they_have_looked_for_the_server() {
    isolated(|| {
        let (manager, _) = start();
        let all = Everything::new(&manager).unwrap();
        let holder = holder(&all);
        thread::scope(|scope| {
            let since = Instant::now();
            let waiters = [
                asleep(scope, || all.empty.get_timeout(LONG).map(drop)).0,
                asleep(scope, || all.empty.get().map(drop)).0,
                asleep(scope, || all.lock.lock().map(drop)).0,
                asleep(scope, || all.event.wait_timeout(Duration::MAX)).0,
                asleep(scope, || all.semaphore.acquire_timeout(Duration::MAX).map(drop)).0,
            ];
            eventually("all are let in", || manager.stats().unwrap().connections == 1 + 1 + 5);
            seen_by_all(&manager);
            // Each asks whether the server is there; so does this process, once each time.
            let (before, mut mine) = (manager.stats().unwrap().calls, 0);
            eventually("all have looked for the server", || {
                mine += 1;
                manager.stats().unwrap().calls >= before + mine + 5
            });
            assert!(since.elapsed() >= Duration::from_secs(4), "{:?}", since.elapsed());
            assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
            all.empty.put(&1).unwrap();
            all.empty.put(&2).unwrap();
            all.event.set().unwrap();
            holder.finish();
            let released = Instant::now();
            let [first, second, locked, happened, permit] = waiters;
            first.join().unwrap().unwrap();
            second.join().unwrap().unwrap();
            happened.join().unwrap().unwrap();
            locked.join().unwrap().unwrap();
            assert!(released.elapsed() < SOON);
            assert!(!permit.is_finished());
            drop(manager);
            // The others are told that the server is gone.
            assert!(disconnected(permit.join().unwrap()));
        });
    });
}

#[test]
fn a_lock_that_somebody_stopped_has_is_waited_for_no_longer_than_told() {
    isolated(|| {
        let (manager, _) = start();
        let all = Everything::new(&manager).unwrap();
        let holder = holder(&all);
        holder.stop();
        ends_within(SHORT..SHORT + LATE, "Lock", || timed_out(all.lock.lock_timeout(SHORT)));
        ends_within(SHORT..SHORT + LATE, "RLock", || timed_out(all.rlock.lock_timeout(SHORT)));
        ends_within(SHORT..SHORT + LATE, "Condition", || timed_out(all.condition.lock_timeout(SHORT)));
        assert!(all.lock.try_lock().is_err_and(|error| error.is_would_block()));
        // The stopped one is nobody's trouble but of those who want what it has.
        all.list.push(&1).unwrap();
        holder.wake();
        holder.finish();
        drop((all.lock.lock().unwrap(), all.rlock.lock().unwrap(), all.condition.lock().unwrap()));
    });
}
