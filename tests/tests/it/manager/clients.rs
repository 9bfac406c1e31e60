//! Clients that are killed: what they had is given back, and what they waited for goes to the next one.

use ipc_tests::isolated;

use super::*;

macro_rules! dies_with {
    ($make:ident, $type:ty) => {{
        let (manager, _) = start();
        let lock = manager.$make().unwrap();
        let owner = Other::until(lock.clone(), |lock: $type, line| {
            let _guard = lock.lock().unwrap();
            line.tell_and_wait();
        });
        assert!(lock.try_lock().is_err_and(|error| error.is_would_block()));
        let stats = manager.stats().unwrap();
        assert_eq!(stats.objects[0].owner.as_ref().map(|owner| owner.pid), Some(owner.pid()));
        let wait = || lock.lock().map(drop);
        let (result, took) = while_waiting(&manager, wait, || owner.kill());
        assert!(matches!(result, Err(Error::OwnerDied)) && took < SOON, "{result:?} after {took:?}");
        assert!(!lock.is_locked().unwrap());
        // All others are told, too, until one takes it who knows.
        let other = Other::until(lock.clone(), |lock: $type, line| {
            assert!(matches!(lock.lock(), Err(Error::OwnerDied)));
            assert!(matches!(lock.try_lock(), Err(Error::OwnerDied)));
            assert!(matches!(lock.lock_timeout(LONG), Err(Error::OwnerDied)));
            line.tell_and_wait();
        });
        other.finish();
        let (guard, died) = lock.lock_or_repair().unwrap();
        assert!(died);
        drop(guard);
        let (guard, died) = lock.try_lock_or_repair().unwrap();
        assert!(!died, "that was the one before");
        drop(guard);
        drop(lock.lock().unwrap());
    }};
}

#[test]
fn a_killed_owner_gives_its_lock_back_and_the_next_one_is_told() {
    isolated(|| {
        dies_with!(lock, Lock);
        dies_with!(rlock, RLock);
        dies_with!(condition, Condition);
    });
}

#[test]
fn a_nested_lock_of_a_killed_owner_is_free_as_a_whole() {
    isolated(|| {
        let (manager, _) = start();
        let lock = manager.rlock().unwrap();
        let owner = Other::until(lock.clone(), |lock: RLock, line| {
            let _guards = [lock.lock().unwrap(), lock.lock().unwrap(), lock.lock().unwrap()];
            line.tell_and_wait();
        });
        owner.kill();
        let (guard, died) = lock.lock_or_repair_timeout(LONG).unwrap();
        assert!(died);
        let inner = lock.lock().unwrap();
        drop(guard);
        assert!(lock.is_locked().unwrap());
        drop(inner);
        assert!(!lock.is_locked().unwrap());
    });
}

#[test]
fn a_killed_waiter_of_a_condition_is_not_notified_in_the_place_of_another_one() {
    isolated(|| {
        let (manager, _) = start();
        let condition = manager.condition().unwrap();
        let first = Other::until(condition.clone(), |condition: Condition, line| {
            let mut guard = condition.lock().unwrap();
            line.tell();
            let _ = guard.wait();
        });
        has_asked(&first, &manager);
        let wait = || {
            let mut guard = condition.lock().unwrap();
            guard.wait()
        };
        let (result, _) = while_waiting(&manager, wait, || {
            first.kill();
            only_clients(&manager, 1);
            let guard = condition.lock().unwrap();
            assert!(guard.notify_one().unwrap(), "one waits");
            assert!(!guard.notify_one().unwrap(), "and only one");
        });
        result.unwrap();
    });
}

#[test]
fn who_waits_to_be_notified_is_told_that_the_owner_of_the_lock_died() {
    isolated(|| {
        let (manager, _) = start();
        let condition = manager.condition().unwrap();
        let wait = || {
            let mut guard = condition.lock().unwrap();
            let result = guard.wait();
            assert!(matches!(guard.notify_all(), Err(Error::NotHeld)), "the guard does not have the lock");
            assert!(matches!(guard.wait(), Err(Error::NotHeld)));
            result
        };
        let (result, took) = while_waiting(&manager, wait, || {
            let owner = Other::until(condition.clone(), |condition: Condition, line| {
                let _guard = condition.lock().unwrap();
                line.tell_and_wait();
            });
            owner.kill();
        });
        assert!(matches!(result, Err(Error::OwnerDied)), "{result:?} after {took:?}");
        let (guard, died) = condition.lock_or_repair().unwrap();
        assert!(died);
        drop(guard);
    });
}

#[test]
fn permits_of_a_killed_process_come_back() {
    isolated(|| {
        let (manager, _) = start();
        let semaphore = manager.semaphore(3).unwrap();
        let holder = Other::until(semaphore.clone(), |semaphore: Semaphore, line| {
            let _one = semaphore.acquire().unwrap();
            semaphore.acquire().unwrap().keep();
            semaphore.acquire().unwrap().keep();
            line.tell_and_wait();
        });
        assert_eq!(semaphore.available().unwrap(), 0);
        assert!(matches!(semaphore.release(), Err(Error::NotHeld)), "they are not this process's");
        let wait = || {
            let permit = semaphore.acquire().unwrap();
            let available = semaphore.available().unwrap();
            drop(permit);
            available
        };
        let (available, took) = while_waiting(&manager, wait, || holder.kill());
        assert!(available == 2 && took < SOON, "{available} after {took:?}");
        assert_eq!(semaphore.available().unwrap(), 3);
    });
}

#[test]
fn tasks_of_a_killed_process_are_given_to_the_next_one_first_and_in_order() {
    isolated(|| {
        let (manager, _) = start();
        let tasks = manager.joinable_queue().unwrap();
        (0..6).for_each(|task| tasks.put(&task).unwrap());
        let careless = Other::until(tasks.clone(), |tasks: JoinableQueue<u32>, line| {
            assert_eq!([0, 1, 2, 3].map(|_| tasks.get().unwrap()), [0, 1, 2, 3]);
            tasks.task_done().unwrap();
            line.tell_and_wait();
        });
        assert_eq!(tasks.len().unwrap(), 2);
        assert!(matches!(tasks.task_done(), Err(Error::NoTask)), "they are not this process's");
        careless.kill();
        only_clients(&manager, 1);
        let (result, _) = while_waiting(
            &manager,
            || tasks.join(),
            || {
                assert_eq!([0; 5].map(|_| tasks.get().unwrap()), [1, 2, 3, 4, 5]);
                assert!(tasks.try_get().is_err_and(|error| error.is_would_block()));
                (0..5).for_each(|_| tasks.task_done().unwrap());
            },
        );
        result.unwrap();
    });
}

#[test]
fn a_barrier_breaks_when_one_that_has_come_is_killed() {
    isolated(|| {
        let (manager, _) = start();
        let barrier = manager.barrier(3).unwrap();
        let first = Other::until(barrier.clone(), |barrier: Barrier, line| {
            line.tell();
            let _ = barrier.wait();
        });
        eventually("it has come", || barrier.waiting().unwrap() == 1);
        let (result, took) = while_waiting(&manager, || barrier.wait(), || first.kill());
        assert!(matches!(result, Err(Error::Broken { by_death: true })) && took < SOON, "{result:?} after {took:?}");
        assert!(barrier.is_broken().unwrap());
        assert!(matches!(barrier.wait(), Err(Error::Broken { by_death: true })));
    });
}

#[test]
fn a_barrier_breaks_when_one_is_killed_between_two_rounds() {
    isolated(|| {
        let (manager, _) = start();
        let barrier = manager.barrier(2).unwrap();
        let wait_twice = |barrier: Barrier, line: &mut crate::other::Line| {
            barrier.wait().unwrap();
            line.tell_and_wait();
            barrier.wait().unwrap();
        };
        let mut partner = Other::start(barrier.clone(), wait_twice);
        barrier.wait().unwrap();
        partner.reached();
        let (result, took) = while_waiting(&manager, || barrier.wait(), || partner.kill());
        assert!(matches!(result, Err(Error::Broken { by_death: true })) && took < SOON, "{result:?} after {took:?}");
        barrier.reset().unwrap();
        let mut partner = Other::start(barrier.clone(), wait_twice);
        barrier.wait().unwrap();
        partner.reached();
        partner.go_on();
        barrier.wait().unwrap();
        partner.finish();
    });
}

#[test]
fn a_killed_waiter_leaves_the_line_and_the_next_one_is_served() {
    isolated(|| {
        let (manager, _) = start();
        let all = Everything::new(&manager).unwrap();

        let first = Other::until(all.empty.clone(), |queue: Queue<u32>, line| {
            line.tell();
            queue.get().unwrap();
        });
        has_asked(&first, &manager);
        let (got, _) = while_waiting(
            &manager,
            || all.empty.get(),
            || {
                first.kill();
                only_clients(&manager, 1);
                all.empty.put(&7).unwrap();
            },
        );
        assert_eq!(got.unwrap(), 7);

        let first = Other::until(all.full.clone(), |queue: Queue<u32>, line| {
            line.tell();
            queue.put(&1).unwrap();
        });
        has_asked(&first, &manager);
        let (put, _) = while_waiting(
            &manager,
            || all.full.put(&2),
            || {
                first.kill();
                only_clients(&manager, 1);
                assert_eq!(all.full.get().unwrap(), 0);
            },
        );
        put.unwrap();
        assert_eq!(all.full.get().unwrap(), 2, "what the killed one would have put is not there");
        assert!(all.full.is_empty().unwrap());

        let guard = all.lock.lock().unwrap();
        let first = Other::until(all.lock.clone(), |lock: Lock, line| {
            line.tell();
            let _guard = lock.lock().unwrap();
            line.tell_and_wait();
        });
        has_asked(&first, &manager);
        let (locked, _) = while_waiting(
            &manager,
            || all.lock.lock().map(drop),
            || {
                first.kill();
                only_clients(&manager, 1);
                drop(guard);
            },
        );
        locked.unwrap(); // nobody has died who had it

        let one = manager.semaphore(1).unwrap();
        let permit = one.acquire().unwrap();
        let first = Other::until(one.clone(), |semaphore: Semaphore, line| {
            line.tell();
            semaphore.acquire().unwrap().keep();
        });
        has_asked(&first, &manager);
        let (acquired, _) = while_waiting(
            &manager,
            || one.acquire().map(drop),
            || {
                first.kill();
                only_clients(&manager, 1);
                drop(permit);
            },
        );
        acquired.unwrap();
        assert_eq!(one.available().unwrap(), 1);

        let first = Other::until(all.event.clone(), |event: Event, line| {
            line.tell();
            event.wait().unwrap();
        });
        has_asked(&first, &manager);
        let (happened, _) = while_waiting(
            &manager,
            || all.event.wait(),
            || {
                first.kill();
                only_clients(&manager, 1);
                all.event.set().unwrap();
            },
        );
        happened.unwrap();
    });
}

/// Kills a client that has asked for something while the server is stopped: it is served when it is dead.
fn dies_after_asking<F>(manager: &Manager, server: Server, all: &Everything, what: F)
where
    F: Fn(&Everything) + Copy + Send + 'static,
{
    let mut client = Other::until(all.clone(), move |all: Everything, line| {
        line.tell_and_wait();
        line.tell();
        what(&all);
        unreachable!("the server is stopped");
    });
    server.stop();
    client.go_on();
    client.reached();
    until_asleep(client.pid());
    client.kill();
    server.wake();
    only_clients(manager, 1);
}

#[test]
fn what_is_given_to_one_that_was_killed_between_question_and_answer_is_taken_back() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything::new(&manager).unwrap();

        // It never had the lock, so that nobody died with it.
        dies_after_asking(&manager, server, &all, |all| drop(all.lock.lock()));
        drop(all.lock.try_lock().unwrap());
        dies_after_asking(&manager, server, &all, |all| drop(all.rlock.lock()));
        drop(all.rlock.try_lock().unwrap());
        dies_after_asking(&manager, server, &all, |all| drop(all.condition.lock()));
        drop(all.condition.try_lock().unwrap());

        (1..=3).for_each(|n| all.empty.put(&n).unwrap());
        dies_after_asking(&manager, server, &all, |all| drop(all.empty.get()));
        dies_after_asking(&manager, server, &all, |all| drop(all.empty.try_get()));
        assert_eq!([0; 3].map(|_| all.empty.try_get().unwrap()), [1, 2, 3]);
        assert!(all.empty.is_empty().unwrap());

        (1..=3).for_each(|n| all.tasks.put(&n).unwrap());
        dies_after_asking(&manager, server, &all, |all| drop(all.tasks.get()));
        assert_eq!([0; 3].map(|_| all.tasks.try_get().unwrap()), [1, 2, 3]);
        (0..4).for_each(|_| all.tasks.task_done().unwrap()); // and the one there was
        all.tasks.try_join().unwrap();

        // A change that nobody was told of is there, or not; and whole.
        dies_after_asking(&manager, server, &all, |all| drop(all.dict.insert(&"one".to_string(), &2)));
        assert!(matches!(all.dict.get(&"one".to_string()).unwrap(), Some(1 | 2)));
        dies_after_asking(&manager, server, &all, |all| drop(all.list.extend(&[4, 5, 6])));
        assert!(matches!(all.list.to_vec().unwrap()[..], [1, 2, 3] | [1, 2, 3, 4, 5, 6]));
        dies_after_asking(&manager, server, &all, |all| drop(all.barrier.wait()));
        assert_eq!(all.barrier.waiting().unwrap(), 0);
    });
}

#[test]
fn a_permit_for_one_that_was_killed_between_question_and_answer_is_free_again() {
    isolated(|| {
        let (manager, server) = start();
        let all = Everything { semaphore: manager.semaphore(1).unwrap(), ..Everything::new(&manager).unwrap() };
        dies_after_asking(&manager, server, &all, |all| drop(all.semaphore.acquire()));
        assert_eq!(all.semaphore.available().unwrap(), 1);
    });
}

#[test]
fn what_a_killed_process_was_adding_is_there_up_to_some_request() {
    isolated(|| {
        let (manager, _) = start();
        for round in 0..5 {
            let list = manager.list::<u32>().unwrap();
            let sender = Other::until(list.clone(), |list: List<u32>, line| {
                line.tell();
                list.push(&0).unwrap();
                let mut next = 1u32;
                loop {
                    let elements: Vec<u32> = (next..next + 5000).collect();
                    next += 5000;
                    list.extend(&elements).unwrap();
                }
            });
            eventually("it is in the midst of it", || list.len().unwrap() > 1000 * (round + 1));
            sender.kill();
            only_clients(&manager, 1);
            let there = list.to_vec().unwrap();
            assert!(there.iter().copied().eq(0..there.len() as u32) && there.len() % 5000 == 1, "{}", there.len());
        }
    });
}

#[test]
fn a_batch_whose_sender_is_killed_is_done_up_to_some_operation() {
    isolated(|| {
        let (manager, server) = start();
        let threads = server.threads();
        for round in 0..5 {
            let list = manager.list::<u32>().unwrap();
            manager.publish("list", &list).unwrap();
            let sender = Other::until(place(&manager), |place: Place, line| {
                let manager = visit(&place).unwrap();
                let list = manager.open::<List<u32>>("list").unwrap();
                line.tell();
                let mut numbers = 0u32..;
                loop {
                    let mut batch = manager.batch();
                    numbers.by_ref().take(20_000).for_each(|n| drop(batch.add(list.later().push(&n))));
                    batch.send().unwrap();
                }
            });
            eventually("it is in the midst of it", || list.len().unwrap() > 3000 * (round + 1));
            sender.kill();
            only_clients(&manager, 1);
            let there = list.to_vec().unwrap();
            assert!(there.iter().copied().eq(0..there.len() as u32), "{}", there.len());
            manager.unlink("list").unwrap();
        }
        assert_eq!(server.threads(), threads);
    });
}
