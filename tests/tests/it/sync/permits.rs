//! Semaphores.

use ipc_core::Process;
use ipc_sync::{Error, Semaphore};
use ipc_tests::{isolated, raw};

use super::{Holder, LONG, timed_out, while_waiting};

fn take_two(semaphore: &Semaphore) -> ipc_sync::Result<()> {
    semaphore.acquire()?.keep();
    std::mem::forget(semaphore.acquire()?);
    Ok(())
}

#[test]
fn permits_of_a_killed_process_come_back_to_who_waits_and_to_who_comes() {
    isolated(|| {
        let semaphore = Semaphore::new(2).unwrap();
        let holder = Holder::of(&semaphore, take_two);
        assert!(matches!(semaphore.try_acquire(), Err(Error::WouldBlock)));
        assert_eq!(semaphore.available().unwrap(), 0);
        let (result, took) = while_waiting(|| semaphore.acquire().map(drop), || holder.end());
        result.unwrap();
        assert!(took < LONG);
        assert_eq!(semaphore.available().unwrap(), 2);
        Holder::of(&semaphore, take_two).kill();
        let both = (semaphore.try_acquire().unwrap(), semaphore.try_acquire().unwrap());
        assert!(semaphore.try_acquire().is_err());
        drop(both);
    });
}

#[test]
fn permits_come_back_when_the_last_handle_of_a_process_goes() {
    isolated(|| {
        let semaphore = Semaphore::new(2).unwrap();
        // A process that ends by itself, and one that goes on without the semaphore.
        Holder::of(&semaphore, take_two).release();
        assert_eq!(semaphore.available().unwrap(), 2);
        let holder = Holder::of(&semaphore, |semaphore| {
            let mine = semaphore.clone();
            take_two(semaphore)?;
            drop(mine);
            Ok(())
        });
        assert_eq!(semaphore.available().unwrap(), 0);
        holder.release();
    });
}

#[test]
fn stopped_holders_hold_nobody_up_longer_than_he_wants() {
    isolated(|| {
        let semaphore = Semaphore::new(2).unwrap();
        let holder = Holder::of(&semaphore, take_two);
        holder.stop();
        assert!(timed_out(|limit| semaphore.acquire_timeout(limit)));
        assert!(matches!(semaphore.try_acquire(), Err(Error::WouldBlock)));
        holder.go_on();
        holder.release();
        assert!(semaphore.acquire_timeout(LONG).is_ok());
    });
}

#[test]
fn only_what_a_process_keeps_can_be_released() {
    isolated(|| {
        let semaphore = Semaphore::new(3).unwrap();
        assert!(matches!(semaphore.release(), Err(Error::NotHeld)));
        let guard = semaphore.acquire().unwrap();
        assert!(matches!(semaphore.release(), Err(Error::NotHeld)), "that is a guard's");
        semaphore.acquire().unwrap().keep();
        let other =
            Process::spawn(|s: Semaphore| matches!(s.release(), Err(Error::NotHeld)), semaphore.clone()).unwrap();
        assert!(other.join().unwrap(), "that is another process's");
        assert_eq!(semaphore.available().unwrap(), 1);
        std::thread::scope(|scope| {
            scope.spawn(|| semaphore.clone().release().unwrap());
        });
        assert!(matches!(semaphore.release(), Err(Error::NotHeld)));
        assert_eq!(semaphore.available().unwrap(), 2);
        std::thread::scope(|scope| {
            scope.spawn(|| drop(guard)); // a permit is the process's, not the thread's
        });
        assert_eq!((semaphore.available().unwrap(), semaphore.permits()), (3, 3));
    });
}

#[test]
fn impossible_numbers_are_refused() {
    isolated(|| {
        for permits in [0, Semaphore::MAX_PERMITS + 1, u32::MAX] {
            assert!(matches!(Semaphore::new(permits), Err(Error::OutOfRange { .. })));
        }
        let many = Semaphore::new(Semaphore::MAX_PERMITS).unwrap();
        (0..Semaphore::MAX_PERMITS).for_each(|_| many.try_acquire().unwrap().keep());
        assert!(matches!(many.try_acquire(), Err(Error::WouldBlock)));
        many.release().unwrap();
        assert!(many.try_acquire().is_ok());
    });
}

#[test]
fn never_more_are_in_than_there_are_permits() {
    isolated(|| {
        let (seats, inside) = (Semaphore::new(3).unwrap(), ipc_sync::Mutex::new([0u32, 0]).unwrap());
        let work = |(seats, inside): (Semaphore, ipc_sync::Mutex<[u32; 2]>)| {
            for _ in 0..2_000 {
                let _seat = seats.acquire().unwrap();
                {
                    let mut inside = inside.lock().unwrap();
                    inside[0] += 1;
                    inside[1] = inside[1].max(inside[0]);
                }
                inside.lock().unwrap()[0] -= 1;
            }
        };
        let all = (seats.clone(), inside.clone());
        let children: Vec<_> = (0..5).map(|_| Process::spawn(work, all.clone()).unwrap()).collect();
        children.into_iter().for_each(|child| child.join().unwrap());
        let [now, most] = *inside.lock().unwrap();
        assert!(now == 0 && most <= 3, "{now} are in, {most} were at most");
        assert_eq!(seats.available().unwrap(), 3);
    });
}

#[test]
fn a_forked_copy_neither_has_nor_gives_back_permits() {
    isolated(|| {
        let semaphore = Semaphore::new(1).unwrap();
        semaphore.acquire().unwrap().keep();
        assert!(raw::in_forked_copy(
            || matches!(semaphore.release(), Err(Error::Forked)) && matches!(semaphore.available(), Err(Error::Forked))
        ));
        semaphore.release().unwrap();
    });
}
