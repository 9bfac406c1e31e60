//! Mutexes, re-entrant ones, readers and writers, and what happens once.

use std::sync::atomic::{AtomicU32, Ordering};

use ipc_core::{Connection, Process};
use ipc_pipe::duplex;
use ipc_sync::{Error, MAX_HELD, Mutex, Once, RLock, RwLock, Segment, Semaphore, Signal};
use ipc_tests::{isolated, raw};

use super::{Holder, LONG, add_one, timed_out, while_waiting};

fn owner_died<T>(result: Result<T, Error>) -> Option<u32> {
    match result {
        Err(Error::OwnerDied { pid }) => pid,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("nobody said that the owner died"),
    }
}

/// Takes the lock and forgets the guard, as a holder's closure cannot return what borrows from its argument.
fn hold(mutex: &Mutex<u64>) -> ipc_sync::Result<()> {
    let mut guard = mutex.lock()?;
    *guard += 1;
    std::mem::forget(guard);
    Ok(())
}

#[test]
fn increments_of_many_processes_and_threads_add_up() {
    isolated(|| {
        let mutex = Mutex::new(0u64).unwrap();
        let work = |mutex: Mutex<u64>| {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| (0..5_000).for_each(|_| *mutex.lock().unwrap() += 1));
                }
            });
        };
        let children: Vec<_> = (0..3).map(|_| Process::spawn(work, mutex.clone()).unwrap()).collect();
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), 30_000);
    });
}

#[test]
fn a_waiter_gets_the_lock_of_a_killed_owner_and_is_told() {
    isolated(|| {
        let mutex = Mutex::new(0u64).unwrap();
        let holder = Holder::of(&mutex, hold);
        let pid = holder.pid();
        assert!(matches!(mutex.try_lock(), Err(Error::WouldBlock)));
        let (result, took) = while_waiting(|| mutex.lock().map(|guard| *guard), || holder.end());
        assert_eq!(owner_died(result), Some(pid));
        assert!(took < LONG);
        // It stays so until somebody says that it is repaired.
        assert_eq!(owner_died(mutex.try_lock()), Some(pid));
        assert_eq!(owner_died(mutex.lock_or_repair(|_, dead| dead != Some(pid))), Some(pid));
        let panicked = std::panic::catch_unwind(|| mutex.lock_or_repair(|_, _| panic!("on purpose")).map(drop));
        assert!(panicked.is_err());
        assert!(mutex.try_lock().unwrap_err().is_owner_died());
        let guard = mutex.lock_or_repair(|value, _| {
            *value = 10;
            true
        });
        assert_eq!(*guard.unwrap(), 10);
        assert_eq!(*mutex.lock().unwrap(), 10);
    });
}

#[test]
fn a_panic_with_the_lock_counts_as_a_death() {
    isolated(|| {
        let mutex = Mutex::new(0u64).unwrap();
        let panicked = std::panic::catch_unwind(|| {
            let _guard = mutex.lock().unwrap();
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(owner_died(mutex.lock()), Some(std::process::id()));
        drop(mutex.lock_or_repair(|_, _| true).unwrap());
        // Taken and released by a destructor that runs because of a panic: nothing was interrupted.
        struct Last<'a>(&'a Mutex<u64>);
        impl Drop for Last<'_> {
            fn drop(&mut self) {
                *self.0.lock().unwrap() = 5;
            }
        }
        let panicked = std::panic::catch_unwind(|| {
            let _last = Last(&mutex);
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(*mutex.lock().unwrap(), 5);
    });
}

#[test]
fn a_stopped_owner_holds_nobody_up_longer_than_he_wants() {
    isolated(|| {
        let mutex = Mutex::new(0u64).unwrap();
        let holder = Holder::of(&mutex, hold);
        holder.stop();
        assert!(timed_out(|limit| mutex.lock_timeout(limit)));
        assert!(timed_out(|limit| mutex.lock_or_repair_timeout(limit, |_, _| true)));
        assert!(matches!(mutex.try_lock(), Err(Error::WouldBlock)));
        assert!(matches!(mutex.try_lock_or_repair(|_, _| true), Err(Error::WouldBlock)));
        holder.go_on();
        holder.release(); // its thread ends with the guard forgotten
        assert!(mutex.lock_timeout(LONG).unwrap_err().is_owner_died());
    });
}

#[test]
fn locking_twice_is_an_error_by_whatever_handle() {
    isolated(|| {
        let mutex = Mutex::new(1u64).unwrap();
        let (mut to, mut from) = duplex::<Mutex<u64>, ()>().unwrap();
        to.send(&mutex).unwrap();
        let again = from.recv().unwrap(); // a second mapping in the same process
        let guard = mutex.lock().unwrap();
        for other in [&mutex, &mutex.clone(), &again] {
            assert!(matches!(other.lock(), Err(Error::AlreadyLocked)));
            assert!(matches!(other.try_lock(), Err(Error::AlreadyLocked)));
            assert!(matches!(other.lock_timeout(LONG), Err(Error::AlreadyLocked)));
        }
        drop(guard);
        assert_eq!(*again.lock().unwrap(), 1);
    });
}

#[test]
fn a_forgotten_guard_keeps_the_lock_until_its_thread_ends_and_this_process_out_for_ever() {
    isolated(|| {
        let (mutex, rwlock) = (Mutex::new(0u64).unwrap(), RwLock::new(0u64).unwrap());
        // What the guard gave out gets away from its thread.
        let (first, read) = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let guard = Box::leak(Box::new(mutex.lock().unwrap()));
                let first: &mut u64 = &mut *guard;
                assert!(matches!(mutex.lock(), Err(Error::AlreadyLocked)));
                let guard = Box::leak(Box::new(rwlock.read().unwrap()));
                let read: &u64 = &*guard;
                (first, read)
            });
            thread.join().unwrap()
        });
        *first = 1;
        assert!(matches!(mutex.lock(), Err(Error::GuardForgotten)));
        assert!(matches!(mutex.lock_or_repair(|_, _| true), Err(Error::GuardForgotten)));
        assert!(matches!(rwlock.write(), Err(Error::GuardForgotten)));
        assert_eq!((*rwlock.read().unwrap(), *read), (0, 0), "reading is no harm");
        // The others are told, and go on.
        let other = Process::spawn(
            |mutex: Mutex<u64>| mutex.lock().unwrap_err().is_owner_died() && mutex.lock_or_repair(|_, _| true).is_ok(),
            mutex.clone(),
        );
        assert!(other.unwrap().join().unwrap());
        assert!(matches!(mutex.try_lock(), Err(Error::GuardForgotten)));
        drop(Process::spawn(|lock: RwLock<u64>| drop(lock.write().unwrap()), rwlock.clone()).unwrap().join());
        let rwlock = RwLock::new(0u64).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| std::mem::forget(rwlock.write().unwrap()));
        });
        let repair = |lock: RwLock<u64>| lock.write_or_repair(|_, _| true).map(drop).unwrap();
        assert!(matches!(rwlock.read(), Err(Error::GuardForgotten))); // once the thread has ended
        Process::spawn(repair, rwlock.clone()).unwrap().join().unwrap();
        assert!(matches!(rwlock.read(), Err(Error::GuardForgotten)));
        assert!(matches!(rwlock.write(), Err(Error::GuardForgotten)));
    });
}

#[test]
fn a_forked_copy_changes_nothing_of_the_original_not_even_by_what_it_was_doing() {
    isolated(|| {
        let (once, semaphore, mutex) = (Once::new().unwrap(), Semaphore::new(1).unwrap(), Mutex::new(0u64).unwrap());
        let permit = semaphore.acquire().unwrap();
        Holder::of(&mutex, hold).kill();
        // The copy comes about in the midst of operations, and ends them.
        let in_copy = std::cell::Cell::new(false);
        let end_copy = |is_fine: bool| {
            if in_copy.get() {
                raw::exit(i32::from(!is_fine));
            }
        };
        let fork = || match raw::fork() {
            None => in_copy.set(true),
            Some(child) => assert!(raw::wait(child)),
        };
        let result = once.call_once(fork);
        end_copy(matches!(result, Err(Error::Forked)) && once.is_completed().is_err());
        assert!(result.is_ok() && once.is_completed().unwrap());
        let result = mutex.lock_or_repair(|_, _| {
            fork();
            in_copy.get()
        });
        end_copy(matches!(result, Err(Error::Forked)));
        assert!(result.unwrap_err().is_owner_died());
        assert!(mutex.lock().unwrap_err().is_owner_died(), "the copy has not repaired it");
        fork();
        if in_copy.get() {
            permit.keep();
            raw::exit(0);
        }
        drop(permit);
        assert_eq!(semaphore.available().unwrap(), 1, "the copy has not kept it");
    });
}

#[test]
fn readers_are_told_of_a_panic_from_the_first_moment() {
    isolated(|| {
        let lock = RwLock::new([0u64; 2]).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    match lock.read() {
                        Ok(value) => assert_eq!(value[0], value[1]),
                        Err(error) => assert!(error.is_owner_died()),
                    }
                }
            });
            for _ in 0..300 {
                let panicked = std::panic::catch_unwind(|| {
                    let mut value = lock.write().unwrap();
                    value[0] += 1;
                    std::panic::resume_unwind(Box::new("without a message"));
                });
                assert!(panicked.is_err());
                let repair = |value: &mut [u64; 2], _| {
                    value[1] = value[0];
                    true
                };
                drop(lock.write_or_repair(repair).unwrap());
            }
            over.store(true, Ordering::Relaxed);
            reader.join().unwrap();
        });
    });
}

#[test]
fn handles_can_be_dropped_while_a_forgotten_guard_keeps_the_lock() {
    isolated(|| {
        let child = Process::spawn(
            |()| {
                // The C library's list of held locks would run through memory that is not mapped any more.
                let kinds: [fn(); 4] = [
                    || hold(&Mutex::new(0u64).unwrap()).unwrap(),
                    || std::mem::forget(RLock::new(0u64).unwrap().lock().unwrap()),
                    || std::mem::forget(RwLock::new(0u64).unwrap().read().unwrap()),
                    || std::mem::forget(RwLock::new(0u64).unwrap().write().unwrap()),
                ];
                for kind in kinds {
                    kind();
                    let others: Vec<_> = (0..20).map(|n| Mutex::new(n).unwrap()).collect();
                    let guards: Vec<_> = others.iter().map(|mutex| mutex.lock().unwrap()).collect();
                    assert_eq!(guards.iter().map(|guard| **guard).sum::<i32>(), 190);
                }
            },
            (),
        );
        child.unwrap().join().unwrap();
    });
}

#[test]
fn a_thousand_locks_can_be_held_and_all_come_back() {
    isolated(|| {
        let size = Mutex::<u64>::size().next_multiple_of(Segment::ALIGNMENT);
        let segment = Segment::anonymous(size * (MAX_HELD as usize + 1)).unwrap();
        let all = |segment: &Segment, open: bool| -> Vec<Mutex<u64>> {
            let at = |n: usize| n * size;
            (0..=MAX_HELD as usize)
                .map(|n| {
                    let made = if open { Mutex::open_in(segment, at(n)) } else { Mutex::create_in(segment, at(n), 0) };
                    made.unwrap()
                })
                .collect()
        };
        let mutexes = all(&segment, false);
        let guards: Vec<_> = mutexes[1..].iter().map(|mutex| mutex.lock().unwrap()).collect();
        assert!(matches!(mutexes[0].lock(), Err(Error::TooManyHeld)));
        drop(guards);
        let holder = Holder::of(&segment, |segment| {
            let size = Mutex::<u64>::size().next_multiple_of(Segment::ALIGNMENT);
            for n in 0..MAX_HELD as usize {
                std::mem::forget(Mutex::<u64>::open_in(segment, n * size)?.lock()?);
            }
            assert!(matches!(
                Mutex::<u64>::open_in(segment, MAX_HELD as usize * size)?.lock(),
                Err(Error::TooManyHeld)
            ));
            Ok(())
        });
        let pid = holder.kill();
        for mutex in &mutexes[..MAX_HELD as usize] {
            assert_eq!(owner_died(mutex.lock_timeout(LONG)), Some(pid));
        }
        assert!(mutexes[MAX_HELD as usize].try_lock().is_ok());
    });
}

#[test]
fn a_forked_copy_neither_has_nor_releases_the_lock() {
    isolated(|| {
        let (mutex, rlock, rwlock, once) =
            (Mutex::new(0u64).unwrap(), RLock::new(0u64).unwrap(), RwLock::new(0u64).unwrap(), Once::new().unwrap());
        let guards = (mutex.lock().unwrap(), rlock.lock().unwrap(), rwlock.write().unwrap());
        assert!(raw::in_forked_copy(|| {
            matches!(mutex.try_lock(), Err(Error::Forked))
                && matches!(rlock.try_lock(), Err(Error::Forked))
                && matches!(rwlock.try_read(), Err(Error::Forked))
                && matches!(rwlock.try_write(), Err(Error::Forked))
                && matches!(once.call_once(|| ()), Err(Error::Forked))
        }));
        let guards = raw::drop_in_forked_copy(guards);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(matches!(mutex.try_lock(), Err(Error::WouldBlock)));
                assert!(matches!(rlock.try_lock(), Err(Error::WouldBlock)));
                assert!(matches!(rwlock.try_read(), Err(Error::WouldBlock)));
            });
        });
        drop(guards);
        assert!(mutex.try_lock().is_ok() && rlock.try_lock().is_ok() && rwlock.try_write().is_ok());
    });
}

#[test]
fn a_process_that_replaces_its_program_counts_as_dead() {
    isolated(|| {
        let (mutex, permits) = (Mutex::new(0u64).unwrap(), Semaphore::new(1).unwrap());
        let child = Process::<()>::spawn(
            |(mutex, permits): (Mutex<u64>, Semaphore)| {
                use std::os::unix::process::CommandExt;
                hold(&mutex).unwrap();
                permits.acquire().unwrap().keep();
                panic!("{}", std::process::Command::new("true").exec());
            },
            (mutex.clone(), permits.clone()),
        );
        // It is the same process still, but its guard is gone.
        let pid = child.as_ref().unwrap().pid();
        assert!(child.unwrap().join().is_err());
        assert_eq!(owner_died(mutex.lock_timeout(LONG)), Some(pid));
        assert!(permits.try_acquire().is_ok());
    });
}

#[test]
fn a_re_entrant_lock_is_taken_again_by_its_thread_only_and_survives_it() {
    isolated(|| {
        let lock = RLock::new(0u64).unwrap();
        let guards: Vec<_> = (0..3).map(|_| lock.lock().unwrap()).collect();
        guards[2].set(7);
        assert_eq!(guards[0].get(), 7);
        let locked_elsewhere = || std::thread::scope(|scope| scope.spawn(|| lock.try_lock().is_err()).join().unwrap());
        for guard in guards {
            assert!(locked_elsewhere());
            drop(guard); // the first one first
        }
        assert!(!locked_elsewhere());
        let holder = Holder::of(&lock, |lock| {
            (0..3).for_each(|n| {
                let guard = lock.lock().unwrap();
                guard.set(n);
                std::mem::forget(guard);
            });
            Ok(())
        });
        holder.stop();
        assert!(timed_out(|limit| lock.lock_timeout(limit)));
        let pid = holder.kill();
        assert_eq!(owner_died(lock.lock()), Some(pid));
        let guard = lock.lock_or_repair(|value, dead| value.get() == 2 && dead == Some(pid)).unwrap();
        drop(guard);
        assert!(!locked_elsewhere(), "the dead owner's depth counts for nothing");
        let panicked = std::panic::catch_unwind(|| {
            let _outer = lock.lock().unwrap();
            let _inner = lock.lock().unwrap();
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert!(lock.lock().unwrap_err().is_owner_died());
        assert!(lock.try_lock_or_repair(|_, _| true).is_ok());
        assert!(!locked_elsewhere());
    });
}

#[test]
fn readers_share_and_a_killed_one_is_out() {
    isolated(|| {
        let lock = RwLock::new(1u64).unwrap();
        let read = |lock: &RwLock<u64>| lock.read().map(std::mem::forget);
        let (one, two) = (Holder::of(&lock, read), Holder::of(&lock, read));
        let mine = lock.read().unwrap();
        assert!(matches!(lock.try_write(), Err(Error::AlreadyLocked)), "this thread reads");
        drop(mine);
        assert!(matches!(lock.try_write(), Err(Error::WouldBlock)));
        assert!(timed_out(|limit| lock.write_timeout(limit)));
        assert!(lock.try_read().is_ok(), "the writer that gave up holds up nobody");
        one.kill();
        two.stop();
        assert!(timed_out(|limit| lock.write_timeout(limit)));
        let (result, _) = while_waiting(|| lock.write().map(|mut value| *value = 2), || two.end());
        result.unwrap();
        assert_eq!(*lock.read().unwrap(), 2);
    });
}

#[test]
fn everybody_is_told_of_a_dead_writer_until_one_repairs() {
    isolated(|| {
        let lock = RwLock::new([1u64; 4]).unwrap();
        let holder = Holder::of(&lock, |lock| {
            let mut guard = lock.write()?;
            guard[0] = 2;
            std::mem::forget(guard);
            Ok(())
        });
        assert!(matches!(lock.try_read(), Err(Error::WouldBlock)));
        let pid = holder.pid();
        let (result, _) = while_waiting(|| lock.read().map(|value| *value), || holder.end());
        assert_eq!(owner_died(result), Some(pid));
        assert_eq!(owner_died(lock.read()), Some(pid));
        assert_eq!(owner_died(lock.write()), Some(pid));
        assert_eq!(owner_died(lock.write_or_repair(|_, _| false)), Some(pid));
        let guard = lock.write_or_repair(|value, dead| {
            *value = [2; 4];
            dead == Some(pid)
        });
        drop(guard.unwrap());
        assert_eq!(*lock.read().unwrap(), [2; 4]);
    });
}

#[test]
fn a_writer_killed_before_it_could_write_has_done_nothing() {
    isolated(|| {
        let lock = RwLock::new(1u64).unwrap();
        let reader = lock.read().unwrap();
        let (mut line, theirs) = duplex::<(), ()>().unwrap();
        let child = Process::<()>::spawn(
            |(lock, mut line): (RwLock<u64>, Connection<(), ()>)| {
                line.send(()).unwrap();
                let _ = lock.write();
            },
            (lock.clone(), theirs),
        );
        line.recv().unwrap();
        // It waits for this reader: another one in this thread would have to wait for it, and so for itself.
        ipc_tests::eventually("it waits", || matches!(lock.try_read(), Err(Error::AlreadyLocked)));
        let child = child.unwrap();
        child.kill().unwrap();
        child.join().unwrap_err();
        drop(reader);
        assert_eq!(*lock.read().unwrap(), 1);
        assert_eq!(*lock.write().unwrap(), 1);
    });
}

#[test]
fn more_readers_than_there_are_slots_wait_for_one() {
    isolated(|| {
        let lock = RwLock::new(1u64).unwrap();
        let mut guards: Vec<_> = (0..64).map(|_| lock.read().unwrap()).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(matches!(lock.try_read(), Err(Error::WouldBlock)));
                assert!(timed_out(|limit| lock.read_timeout(limit)));
            });
        });
        let (value, _) = while_waiting(|| lock.read().map(|value| *value), || guards.clear());
        assert_eq!(value.unwrap(), 1);
    });
}

#[test]
fn readers_and_writers_of_several_processes_never_see_half_of_a_change() {
    isolated(|| {
        let lock = RwLock::new([0u64; 8]).unwrap();
        let write = |lock: RwLock<[u64; 8]>| {
            for _ in 0..2_000 {
                let mut words = lock.write().unwrap();
                words.iter_mut().for_each(|word| *word += 1);
            }
        };
        let read = |lock: RwLock<[u64; 8]>| {
            let mut last = 0;
            while last < 4_000 {
                let words = *lock.read().unwrap();
                assert!(words.iter().all(|word| *word == words[0]) && words[0] >= last);
                last = words[0];
            }
        };
        let children = [
            Process::spawn(write, lock.clone()).unwrap(),
            Process::spawn(write, lock.clone()).unwrap(),
            Process::spawn(read, lock.clone()).unwrap(),
        ];
        children.into_iter().for_each(|child| child.join().unwrap());
    });
}

#[test]
fn what_is_to_happen_once_is_done_again_if_it_was_interrupted() {
    isolated(|| {
        let (once, runs) = (Once::new().unwrap(), Semaphore::signal(0).unwrap());
        let holder = Holder::of(&(once.clone(), runs.clone()), |(once, runs): &(Once, Signal)| {
            let (once, runs) = (once.clone(), runs.clone());
            std::thread::spawn(move || {
                once.call_once(|| {
                    runs.release().unwrap();
                    loop {
                        std::thread::park();
                    }
                })
            });
            Ok(())
        });
        runs.acquire().unwrap(); // it runs
        assert!(matches!(once.try_call_once(|| ()), Err(Error::WouldBlock)));
        holder.stop();
        assert!(timed_out(|limit| once.call_once_timeout(limit, || ())));
        holder.go_on();
        let ran = AtomicU32::new(0);
        let (result, _) = while_waiting(|| once.call_once(|| add_one(&ran)), || holder.end());
        result.unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 1);
        once.call_once(|| panic!("it has completed")).unwrap();

        let once = Once::new().unwrap();
        let panicked = std::panic::catch_unwind(|| once.call_once(|| panic!("on purpose")));
        assert!(panicked.is_err() && !once.is_completed().unwrap());
        once.call_once(|| assert!(matches!(once.call_once(|| ()), Err(Error::AlreadyLocked)))).unwrap();
        assert!(once.is_completed().unwrap());
    });
}

#[test]
fn objects_lie_side_by_side_in_a_segment() {
    isolated(|| {
        let segment = Segment::anonymous(1 << 16).unwrap();
        let mutex = Mutex::create_in(&segment, 0, [1u32; 3]).unwrap();
        let signal = Signal::create_in(&segment, 4096, 0).unwrap();
        let child = Process::spawn(
            |segment: Segment| {
                let mutex = Mutex::<[u32; 3]>::open_in(&segment, 0).unwrap();
                mutex.lock().unwrap()[1] = 5;
                Signal::open_in(&segment, 4096).unwrap().release().unwrap();
            },
            segment.clone(),
        )
        .unwrap();
        drop(segment);
        signal.acquire().unwrap();
        assert_eq!(*mutex.lock().unwrap(), [1, 5, 1]);
        child.join().unwrap();
    });
}
