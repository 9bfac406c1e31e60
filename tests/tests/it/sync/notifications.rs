//! Events, condition variables and signals.

use std::time::Duration;

use ipc_core::{Connection, Process};
use ipc_pipe::duplex;
use ipc_sync::{Condvar, Error, Event, Mutex, Semaphore, Signal};
use ipc_tests::{isolated, raw};

use super::{Holder, LONG, SHORT, timed_out, while_waiting};

fn is_abandoned<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Abandoned))
}

#[test]
fn an_event_wakes_all_who_wait_also_as_a_pulse() {
    isolated(|| {
        let (event, woken) = (Event::new().unwrap(), Semaphore::signal(0).unwrap());
        let wait = |(event, woken): (Event, Signal)| {
            woken.release().unwrap();
            event.wait().unwrap();
            woken.release().unwrap();
        };
        let waiters: Vec<_> = (0..3).map(|_| Process::spawn(wait, (event.clone(), woken.clone())).unwrap()).collect();
        (0..3).for_each(|_| woken.acquire().unwrap());
        let (result, _) = while_waiting(
            || event.wait(),
            || {
                event.set().unwrap();
                event.clear().unwrap();
            },
        );
        result.unwrap();
        // Those who may not have come to wait yet are helped on.
        event.set().unwrap();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert!(event.is_set().unwrap());
        event.wait().unwrap();
        event.clear().unwrap();
        assert!(!event.is_set().unwrap());
        let _other = event.clone(); // the others are gone, and with them whoever could set it
        assert!(timed_out(|limit| event.wait_timeout(limit)));
    });
}

#[test]
fn who_waits_for_a_notification_is_told_when_nobody_is_left_to_give_it() {
    isolated(|| {
        let (event, signal, condvar) = (Event::new().unwrap(), Semaphore::signal(0).unwrap(), Condvar::new().unwrap());
        let mutex = Mutex::new(0u32).unwrap();
        let holder = Holder::of(&(event.clone(), signal.clone(), condvar.clone()), |_| Ok(()));
        assert!(timed_out(|limit| event.wait_timeout(limit)), "there is somebody");
        let (result, took) = while_waiting(|| event.wait(), || holder.end());
        assert!(is_abandoned(result) && took < LONG);
        assert!(is_abandoned(signal.acquire()) && is_abandoned(signal.acquire_timeout(LONG)));
        assert!(is_abandoned(condvar.wait(mutex.lock().unwrap())));
        assert!(mutex.try_lock().is_ok(), "the mutex was released");
        // With another handle in the process there is somebody.
        let other = event.clone();
        assert!(timed_out(|limit| event.wait_timeout(limit)));
        other.set().unwrap();
        event.wait().unwrap();
    });
}

#[test]
fn a_handle_on_its_way_counts_as_somebody_and_a_lost_one_does_not() {
    isolated(|| {
        let event = Event::new().unwrap();
        let (mut to, from) = duplex::<Event, ()>().unwrap();
        to.send(&event).unwrap();
        assert!(timed_out(|limit| event.wait_timeout(limit)));
        let (result, _) = while_waiting(|| event.wait(), || drop(from));
        assert!(is_abandoned(result));
        // A child that is killed before it has received its arguments.
        let event = Event::new().unwrap();
        let child = ipc_core::Builder::new().env(raw::STALL, "1").spawn(|_: Event| (), event.clone()).unwrap();
        assert!(timed_out(|limit| event.wait_timeout(limit)));
        child.kill().unwrap();
        assert!(child.join().is_err());
        assert!(is_abandoned(event.wait()));
    });
}

#[test]
fn what_never_left_the_process_is_never_abandoned() {
    isolated(|| {
        let event = Event::new().unwrap();
        assert!(timed_out(|limit| event.wait_timeout(limit)));
        let (result, _) = while_waiting(|| event.wait(), || event.set().unwrap());
        result.unwrap();
    });
}

#[test]
fn a_signal_counts_over_processes_and_nothing_comes_back() {
    isolated(|| {
        let signal = Semaphore::signal(1).unwrap();
        let holder = Holder::of(&signal, |signal: &Signal| {
            signal.acquire()?;
            signal.release_many(3)
        });
        assert_eq!(signal.value().unwrap(), 3);
        holder.kill();
        (0..3).for_each(|_| signal.try_acquire().unwrap());
        assert!(matches!(signal.try_acquire(), Err(Error::WouldBlock)));
        signal.release_many(Signal::MAX).unwrap();
        assert!(matches!(signal.release(), Err(Error::OutOfRange { .. })));
        assert!(matches!(signal.release_many(u32::MAX), Err(Error::OutOfRange { .. })));
        assert_eq!(signal.value().unwrap(), Signal::MAX);
        assert!(Semaphore::signal(u32::MAX).is_err());
        assert!(raw::in_forked_copy(|| matches!(signal.release(), Err(Error::Forked))));
    });
}

#[test]
fn a_condition_is_waited_for_over_processes() {
    isolated(|| {
        let (turn, changed) = (Mutex::new(0u32).unwrap(), Condvar::new().unwrap());
        let child = Process::spawn(
            |(turn, changed): (Mutex<u32>, Condvar)| {
                for n in (1..2_000).step_by(2) {
                    let mut turn = changed.wait_while(turn.lock().unwrap(), |turn| *turn != n).unwrap();
                    *turn += 1;
                    drop(turn);
                    changed.notify_one().unwrap();
                }
            },
            (turn.clone(), changed.clone()),
        )
        .unwrap();
        for n in (0..2_000).step_by(2) {
            let mut turn = changed.wait_while(turn.lock().unwrap(), |turn| *turn != n).unwrap();
            *turn += 1;
            drop(turn);
            changed.notify_one().unwrap();
        }
        child.join().unwrap();
        assert_eq!(*turn.lock().unwrap(), 2_000);
    });
}

#[test]
fn killed_sleepers_hold_up_no_notifier() {
    isolated(|| {
        let (mutex, changed) = (Mutex::new(0u64).unwrap(), Condvar::new().unwrap());
        let (mut line, theirs) = duplex::<(), ()>().unwrap();
        let sleeper = Process::<()>::spawn(
            |(mutex, changed, mut line): (Mutex<u64>, Condvar, Connection<(), ()>)| {
                let guard = mutex.lock().unwrap();
                line.send(()).unwrap();
                let _ = changed.wait(guard);
            },
            (mutex.clone(), changed.clone(), theirs),
        )
        .unwrap();
        line.recv().unwrap();
        drop(mutex.lock().unwrap()); // it has released it, so it waits
        sleeper.kill().unwrap();
        sleeper.join().unwrap_err();
        changed.notify_all().unwrap();
        changed.notify_one().unwrap();

        let _other = changed.clone(); // so that there is somebody
        let (guard, late) = changed.wait_timeout_while(mutex.lock().unwrap(), SHORT, |_| true).unwrap();
        assert!(late);
        drop(guard);
    });
}

#[test]
fn a_wait_comes_back_in_time_though_a_stopped_process_has_the_mutex() {
    isolated(|| {
        let (mutex, changed) = (Mutex::new(0u64).unwrap(), Condvar::new().unwrap());
        let guard = mutex.lock().unwrap();
        let (result, _) = std::thread::scope(|scope| {
            // The holder is started while this thread has the mutex, and gets it when this thread waits.
            let starter = scope.spawn(|| Holder::of(&mutex, |mutex: &Mutex<u64>| mutex.lock().map(std::mem::forget)));
            let result = changed.wait_timeout_while(guard, Duration::from_secs(1), |_| true).map(drop);
            let holder = starter.join().unwrap();
            (result, holder.kill())
        });
        assert!(matches!(result, Err(Error::Timeout)), "{result:?}");
        // A death while waiting is told to who takes the mutex again.
        drop(mutex.lock_or_repair(|_, _| true).unwrap());
        let other = mutex.clone();
        let (result, _) = while_waiting(
            || changed.wait_while(mutex.lock().unwrap(), |_| true).map(drop),
            || {
                Holder::of(&other, |mutex: &Mutex<u64>| mutex.lock().map(std::mem::forget)).kill();
                changed.notify_all().unwrap();
            },
        );
        assert!(result.unwrap_err().is_owner_died());
    });
}

#[test]
fn timed_waits_for_a_condition_tell_whether_it_came() {
    isolated(|| {
        let (mutex, changed) = (Mutex::new(0u64).unwrap(), Condvar::new().unwrap());
        let (guard, late) = changed.wait_timeout_while(mutex.lock().unwrap(), SHORT, |n| *n == 0).unwrap();
        assert!(late && *guard == 0);
        let (guard, late) = changed.wait_timeout_while(guard, LONG, |n| *n != 0).unwrap();
        assert!(!late);
        drop(guard);
        let (result, took) = while_waiting(
            || changed.wait_timeout_while(mutex.lock().unwrap(), LONG, |n| *n == 0).map(|(guard, late)| (*guard, late)),
            || {
                *mutex.lock().unwrap() = 3;
                changed.notify_all().unwrap();
            },
        );
        assert_eq!(result.unwrap(), (3, false));
        assert!(took < LONG);
        assert!(raw::in_forked_copy(|| matches!(changed.notify_all(), Err(Error::Forked))));
    });
}
