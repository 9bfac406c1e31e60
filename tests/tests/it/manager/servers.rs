//! Servers that are killed, or stopped.

use ipc_tests::isolated;

use super::*;

/// How many there are, and so how many connections they take.
const WAYS: u64 = 16;

/// All the ways to wait, each in a thread of its own; returns what each found. `connected` returns when the server has let in as many connections as
/// there are ways, and `all_sleep` is called when all of them have said upon these what they want.
fn wait_everywhere<'a>(
    all: &'a Everything,
    connected: impl FnOnce(),
    all_sleep: impl FnOnce(),
    finds: fn(Result<()>) -> bool,
) -> Vec<(&'static str, bool)> {
    type Wait<'a> = Box<dyn FnOnce() -> Result<()> + Send + 'a>;
    let waits: Vec<(&'static str, Wait<'_>)> = vec![
        ("Lock::lock", Box::new(|| all.lock.lock().map(drop))),
        ("Lock::lock_timeout", Box::new(|| all.lock.lock_timeout(LONG).map(drop))),
        ("Lock::lock_or_repair", Box::new(|| all.lock.lock_or_repair().map(drop))),
        ("RLock::lock", Box::new(|| all.rlock.lock().map(drop))),
        ("Condition::lock", Box::new(|| all.condition.lock().map(drop))),
        ("ConditionGuard::wait", Box::new(|| all.other_condition.lock()?.wait())),
        ("ConditionGuard::wait_timeout", Box::new(|| all.other_condition.lock()?.wait_timeout(LONG).map(drop))),
        ("ConditionGuard::wait_while", Box::new(|| all.other_condition.lock()?.wait_while(|| Ok(true)))),
        ("Semaphore::acquire", Box::new(|| all.semaphore.acquire().map(drop))),
        ("Event::wait", Box::new(|| all.event.wait())),
        ("Barrier::wait", Box::new(|| all.barrier.wait().map(drop))),
        ("Queue::get", Box::new(|| all.empty.get().map(drop))),
        ("Queue::get_timeout", Box::new(|| all.empty.get_timeout(LONG).map(drop))),
        ("Queue::put", Box::new(|| all.full.put(&1))),
        ("JoinableQueue::join", Box::new(|| all.tasks.join())),
        ("JoinableQueue::get", Box::new(|| all.tasks.get().map(drop))),
    ];
    assert_eq!(waits.len() as u64, WAYS);
    thread::scope(|scope| {
        let start = |(name, wait): (&'static str, Wait<'a>)| asleep(scope, move || (name, finds(wait())));
        let (threads, numbers): (Vec<_>, Vec<u32>) = waits.into_iter().map(start).unzip();
        connected();
        numbers.into_iter().for_each(until_asleep);
        all_sleep();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn whoever_waits_for_a_killed_server_is_told_at_once_and_whoever_asks_later() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything::new(&manager).unwrap();
        let guards = (all.lock.lock().unwrap(), all.rlock.lock().unwrap(), all.condition.lock().unwrap());
        let mut others: Vec<Other> = (0..2)
            .map(|_| {
                Other::until(all.clone(), |all: Everything, line| {
                    let line = std::cell::RefCell::new(line);
                    let connected = || line.borrow_mut().tell_and_wait();
                    let found = wait_everywhere(&all, connected, || line.borrow_mut().tell(), disconnected);
                    let line = line.into_inner();
                    line.tell();
                    assert!(found.iter().all(|(_, disconnected)| *disconnected), "{found:?}");
                    assert!(disconnected(all.dict.get(&"one".to_string())) && disconnected(all.lock.lock()));
                    assert!(disconnected(all.empty.get()) && disconnected(all.empty.try_get()));
                    line.tell_and_wait();
                })
            })
            .collect();
        eventually("all are let in", || manager.stats().unwrap().connections == 1 + 2 * WAYS);
        others.iter_mut().for_each(Other::go_on);
        others.iter_mut().for_each(Other::reached);
        seen_by_all(&manager);
        let killed = Instant::now();
        server.signal(Signal::SIGKILL);
        others.iter_mut().for_each(Other::reached);
        assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
        others.iter_mut().for_each(Other::reached);
        others.into_iter().for_each(Other::finish);
        ends_within(Duration::ZERO..SOON, "what is left is dropped", || {
            drop(guards);
            true
        });
        ends_within(Duration::ZERO..SOON, "and the rest", || {
            drop((all, manager));
            true
        });
        let (manager, _) = start();
        assert_eq!(manager.list_of([1]).unwrap().to_vec().unwrap(), [1]);
    });
}

#[test]
fn every_later_call_says_that_a_killed_server_is_gone() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything::new(&manager).unwrap();
        let guard = all.lock.lock().unwrap();
        let mut wait = all.condition.lock().unwrap();
        server.signal(Signal::SIGKILL);
        eventually("it is gone", || server.is_gone());
        for round in 0..3 {
            let calls: Vec<(&str, Result<()>)> = vec![
                ("Dict::get", all.dict.get(&"one".to_string()).map(drop)),
                ("List::push", all.list.push(&1).map(drop)),
                ("List::to_vec", all.list.to_vec().map(drop)),
                ("Queue::get", all.empty.get().map(drop)),
                ("Queue::try_get", all.empty.try_get().map(drop)),
                ("Queue::put_timeout", all.full.put_timeout(&1, LONG)),
                ("Lock::lock", all.lock.lock().map(drop)),
                ("ConditionGuard::wait", wait.wait()),
                ("ConditionGuard::notify_all", wait.notify_all().map(drop)),
                ("Semaphore::try_acquire", all.semaphore.try_acquire().map(drop)),
                ("Event::set", all.event.set()),
                ("Barrier::wait", all.barrier.wait().map(drop)),
                ("Manager::stats", manager.stats().map(drop)),
                ("Manager::list", manager.list::<u32>().map(drop)),
                ("Manager::shutdown", manager.shutdown()),
            ];
            for (name, result) in calls {
                match result {
                    Err(Error::Disconnected) => {}
                    // Its own wait has told it.
                    Err(Error::NotHeld) if name == "ConditionGuard::wait" && round > 0 => {}
                    other => panic!("{name}, {round}: {other:?}"),
                }
            }
        }
        assert!(disconnected(guard.unlock()));
    });
}

type Calls<F> = Vec<(&'static str, Box<F>)>;

/// What needs nobody but the server.
fn plain_calls<'a>(manager: &'a Manager, all: &'a Everything) -> Calls<dyn Fn() -> Result<()> + 'a> {
    vec![
        ("Dict::get", Box::new(|| all.dict.get(&"one".to_string()).map(drop))),
        ("Dict::update", Box::new(|| all.dict.update(&"two".to_string(), |_| 2).map(drop))),
        ("Dict::iter", Box::new(|| all.dict.iter().map(drop))),
        ("List::extend", Box::new(|| all.list.extend(&[4, 5]))),
        ("List::len", Box::new(|| all.list.len().map(drop))),
        ("Queue::len", Box::new(|| all.empty.len().map(drop))),
        ("Queue::try_get", Box::new(|| all.full.try_get().map(drop))),
        ("Queue::try_put", Box::new(|| all.full.try_put(&9))),
        ("Lock::try_lock", Box::new(|| all.other_condition.try_lock().map(drop))),
        ("Semaphore::try_acquire", Box::new(|| all.semaphore.try_acquire().map(drop))),
        ("JoinableQueue::try_join", Box::new(|| all.tasks.try_join())),
        ("Event::is_set", Box::new(|| all.event.is_set().map(drop))),
        ("Manager::list_of", Box::new(|| manager.list_of([1]).map(drop))),
        ("Manager::stats", Box::new(|| manager.stats().map(drop))),
        ("Manager::publish", Box::new(|| manager.publish("list", &all.list))),
        (
            "Batch::send",
            Box::new(|| {
                let mut batch = manager.batch();
                (0..10).for_each(|n| drop(batch.add(all.list.later().push(&n))));
                batch.send().map(drop)
            }),
        ),
    ]
}

#[test]
fn calls_to_a_stopped_server_end_when_the_time_for_calls_has_passed() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything::new(&manager).unwrap();
        manager.set_call_timeout(SHORT);
        server.stop();
        for round in 0..2 {
            for (name, call) in plain_calls(&manager, &all) {
                ends_within(SHORT..SHORT + LATE, &format!("{name}, {round}"), || timed_out(call()));
            }
        }
        ends_within(SHORT..SHORT + LATE, "connect", || {
            let builder = Manager::builder().authkey(manager.authkey()).call_timeout(SHORT);
            timed_out(builder.connect(manager.address()))
        });
        server.wake();
        // What was given up was done or not; nothing else comes of it.
        assert!(matches!(all.dict.get(&"one".to_string()), Ok(Some(1))));
        assert!(all.list.len().unwrap() >= 3);
        eventually("objects that were made for nobody go", || objects(&manager) == 12);
    });
}

/// What has a time-out of its own.
fn timed_calls(all: &Everything) -> Calls<dyn Fn(Duration) -> Result<()> + '_> {
    vec![
        ("Lock::lock_timeout", Box::new(|limit| all.lock.lock_timeout(limit).map(drop))),
        ("Lock::lock_or_repair_timeout", Box::new(|limit| all.lock.lock_or_repair_timeout(limit).map(drop))),
        ("RLock::lock_timeout", Box::new(|limit| all.rlock.lock_timeout(limit).map(drop))),
        ("Condition::lock_timeout", Box::new(|limit| all.condition.lock_timeout(limit).map(drop))),
        ("Queue::get_timeout", Box::new(|limit| all.empty.get_timeout(limit).map(drop))),
        ("Queue::put_timeout", Box::new(|limit| all.full.put_timeout(&7, limit))),
        ("JoinableQueue::get_timeout", Box::new(|limit| all.tasks.get_timeout(limit).map(drop))),
        ("JoinableQueue::join_timeout", Box::new(|limit| all.tasks.join_timeout(limit))),
        ("Semaphore::acquire_timeout", Box::new(|limit| all.semaphore.acquire_timeout(limit).map(drop))),
        ("Event::wait_timeout", Box::new(|limit| all.event.wait_timeout(limit))),
        ("Barrier::wait_timeout", Box::new(|limit| all.barrier.wait_timeout(limit).map(drop))),
    ]
}

#[test]
fn calls_with_a_time_of_their_own_end_in_it_though_the_server_is_stopped() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything::new(&manager).unwrap();
        manager.set_call_timeout(LONG); // is not what they go by
        server.stop();
        for round in 0..2 {
            for (name, call) in timed_calls(&all) {
                ends_within(SHORT..SHORT + LATE, &format!("{name}, {round}"), || timed_out(call(SHORT)));
            }
        }
        server.wake();
        // Nobody has got anything who was told that the time had passed.
        assert!(manager.stats().unwrap().objects.iter().all(|object| object.owner.is_none()));
        drop((all.lock.lock().unwrap(), all.rlock.lock().unwrap(), all.condition.lock().unwrap()));
        assert_eq!(all.full.get().unwrap(), 0);
        eventually("no put was done", || all.full.is_empty().unwrap());
        all.empty.put(&3).unwrap();
        assert_eq!(all.empty.get_timeout(LONG).unwrap(), 3);
    });
}

/// The one connection of this process has half of a request on it and is of no more use; what the process holds is not lost with it.
#[test]
fn a_request_that_is_cut_off_by_its_time_costs_nothing_that_the_process_has() {
    isolated(|| {
        let (manager, server) = start();
        let (lock, queue) = (manager.lock().unwrap(), manager.queue::<Vec<u8>>().unwrap());
        let guard = lock.lock().unwrap();
        server.stop();
        assert!(timed_out(queue.put_timeout(&vec![7; 2_000_000], SHORT)));
        server.wake();
        assert!(lock.is_locked().unwrap());
        assert_eq!(manager.stats().unwrap().clients, 1);
        guard.unlock().unwrap();
        assert!(queue.is_empty().unwrap());
    });
}

#[test]
fn one_who_is_given_up_by_a_stopped_server_takes_nothing_when_it_goes_on() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything::new(&manager).unwrap();
        manager.set_call_timeout(LONG);
        let one = manager.semaphore(1).unwrap();
        all.empty.put(&1).unwrap();
        all.empty.put(&2).unwrap();
        server.stop();
        // All of this could be had.
        assert!(timed_out(all.lock.lock_timeout(SHORT)));
        assert!(timed_out(all.empty.get_timeout(SHORT)));
        assert!(timed_out(one.acquire_timeout(SHORT)));
        server.wake();
        eventually("all is given back", || !all.lock.is_locked().unwrap() && one.available().unwrap() == 1);
        drop(all.lock.try_lock().unwrap()); // and not by one who died
        eventually("the element is", || all.empty.len().unwrap() == 2);
        assert_eq!([all.empty.get().unwrap(), all.empty.get().unwrap()], [1, 2]);
    });
}

#[test]
fn guards_permits_and_proxies_are_dropped_in_time_though_the_server_is_stopped() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything::new(&manager).unwrap();
        let one = manager.semaphore(1).unwrap();
        manager.set_call_timeout(SHORT);
        let (lock, rlock) = (all.lock.lock().unwrap(), all.rlock.lock().unwrap());
        let (mut condition, permit) = (all.condition.lock().unwrap(), one.acquire().unwrap());
        let entries = all.dict.iter().unwrap();
        server.stop();
        let soon = Duration::ZERO..SHORT + LATE;
        ends_within(SHORT..SHORT + LATE, "notify", || timed_out(condition.notify_all()));
        ends_within(SHORT..2 * SHORT + LATE, "wait_timeout", || timed_out(condition.wait_timeout(SHORT)));
        ends_within(soon.clone(), "a guard", || {
            drop(lock);
            true
        });
        ends_within(soon.clone(), "a guard that is unlocked", || timed_out(rlock.unlock()));
        ends_within(soon.clone(), "a guard of a condition", || {
            drop(condition);
            true
        });
        ends_within(soon.clone(), "a permit", || {
            drop(permit);
            true
        });
        ends_within(soon.clone(), "a snapshot", || {
            drop(entries);
            true
        });
        for _ in 0..3 {
            let copy = all.list.clone();
            ends_within(soon.clone(), "a copy of a proxy", || {
                drop(copy);
                true
            });
        }
        ends_within(Duration::ZERO..12 * SHORT + LATE, "twelve proxies", || {
            drop(all);
            true
        });
        server.wake();
        // Each of them was given back, by what was said or by the end of the connection.
        eventually("all go", || objects(&manager) == 1);
        eventually("the permit is free", || one.available().unwrap() == 1);
    });
}

#[test]
fn a_lock_that_was_let_go_while_the_server_was_stopped_is_free_when_it_goes_on() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything::new(&manager).unwrap();
        manager.set_call_timeout(SHORT);
        let (lock, rlock, condition) =
            (all.lock.lock().unwrap(), all.rlock.lock().unwrap(), all.condition.lock().unwrap());
        server.stop();
        drop((lock, rlock, condition));
        server.wake();
        let is_locked = || [all.lock.is_locked(), all.rlock.is_locked(), all.condition.is_locked()];
        eventually("all are free", || is_locked().iter().all(|locked| matches!(locked, Ok(false))));
        drop((all.lock.lock().unwrap(), all.rlock.lock().unwrap(), all.condition.lock().unwrap()));
    });
}

#[test]
fn waiting_without_end_for_a_stopped_server_ends_when_it_does_not_say_that_it_is_there() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything::new(&manager).unwrap();
        manager.set_call_timeout(SHORT);
        let holder = Other::until(all.clone(), |all: Everything, line| {
            let _guards = (all.lock.lock().unwrap(), all.rlock.lock().unwrap(), all.condition.lock().unwrap());
            line.tell_and_wait();
        });
        let mut stopped = Instant::now();
        let stop = || {
            server.stop();
            stopped = Instant::now();
        };
        let connections = || manager.stats().unwrap().connections;
        let connected = || eventually("all are let in", || connections() == 1 + 1 + WAYS);
        let found = wait_everywhere(&all, connected, stop, timed_out);
        // It is asked after five seconds in which nothing came.
        assert!(stopped.elapsed() < Duration::from_secs(5) + SHORT + LATE, "{:?}", stopped.elapsed());
        assert!(found.iter().all(|(_, timed_out)| *timed_out), "{found:?}");
        server.wake();
        holder.finish();
        // Nobody waits any more who would take what comes.
        all.empty.put(&5).unwrap();
        assert_eq!(all.empty.get_timeout(LONG).unwrap(), 5);
        assert_eq!(all.full.get().unwrap(), 0);
        assert!(all.full.is_empty().unwrap());
        drop((all.lock.lock().unwrap(), all.rlock.lock().unwrap(), all.other_condition.lock().unwrap()));
    });
}

#[test]
fn a_manager_that_is_dropped_ends_its_stopped_server() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything::new(&manager).unwrap();
        server.stop();
        ends_within(Duration::ZERO..Duration::from_secs(4), "the last of it", || {
            drop(manager);
            true
        });
        assert_eq!(state(server.0), None, "it is gone, and reaped");
        assert!(disconnected(all.list.len()));
    });
}

#[test]
fn everything_goes_on_when_a_stopped_server_does() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything::new(&manager).unwrap();
        let mut other = Other::until(all.clone(), |all: Everything, line| {
            let guard = all.lock.lock().unwrap();
            line.tell_and_wait();
            assert_eq!(all.empty.get().unwrap(), 8);
            drop(guard);
            line.tell_and_wait();
        });
        other.go_on();
        has_asked(&other, &manager);
        let wait = || all.lock.lock().map(drop);
        let (locked, _) = while_waiting(&manager, wait, || {
            server.stop();
            // Long enough to be missed, and not to be given up.
            let put = thread::scope(|scope| {
                let putter = scope.spawn(|| all.empty.put(&8));
                until_asleep(other.pid());
                server.wake();
                putter.join().unwrap()
            });
            put.unwrap();
            other.reached();
        });
        locked.unwrap();
        other.finish();
        assert_eq!(all.dict.get(&"one".to_string()).unwrap(), Some(1));
    });
}
