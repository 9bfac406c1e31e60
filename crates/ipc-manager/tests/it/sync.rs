use std::thread;

use ipc_manager::{Error, Semaphore};

use crate::{LONG, SHORT, both, object, server, stranger, takes, wait_for_waiting, wait_until};

#[test]
fn there_are_as_many_permits_as_there_were() {
    let (server, manager) = both();
    let seats = manager.semaphore(2).unwrap();
    let one = seats.acquire().unwrap();
    seats.try_acquire().unwrap().keep();
    assert_eq!(seats.available().unwrap(), 0);
    assert_eq!(object(&server, 0).unwrap().len, 0);
    assert!(seats.try_acquire().unwrap_err().is_would_block());
    assert!(takes(SHORT, || seats.acquire_timeout(SHORT)).unwrap_err().is_timeout());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| seats.acquire_timeout(LONG).map(drop));
        wait_for_waiting(&manager, 1);
        drop(one);
        waiter.join().unwrap().unwrap();
    });
    seats.release().unwrap();
    assert_eq!(seats.available().unwrap(), 2);
    assert!(matches!(seats.release(), Err(Error::NotHeld)));
    assert!(manager.semaphore(0).unwrap().try_acquire().is_err());
}

#[test]
fn permits_that_were_kept_come_back_with_the_end_of_their_process() {
    let server = server();
    let manager = server.manager().unwrap();
    let seats = manager.semaphore(1).unwrap();
    manager.publish("seats", &seats).unwrap();
    let other = stranger(&server);
    other.open::<Semaphore>("seats").unwrap().acquire().unwrap().keep();
    assert!(matches!(seats.release(), Err(Error::NotHeld)), "not ours");
    drop(other);
    drop(seats.acquire_timeout(LONG).unwrap());
}

#[test]
fn an_event_is_waited_for_until_it_is_set() {
    let (_server, manager) = both();
    let event = manager.event().unwrap();
    assert!(!event.is_set().unwrap());
    assert!(takes(SHORT, || event.wait_timeout(SHORT)).unwrap_err().is_timeout());
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..3).map(|_| scope.spawn(|| event.wait())).collect();
        event.set().unwrap();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap().unwrap());
    });
    event.wait_timeout(SHORT).unwrap();
    event.clear().unwrap();
    assert!(!event.is_set().unwrap());
}

#[test]
fn a_barrier_lets_all_through_when_all_are_there() {
    let (_server, manager) = both();
    let meeting = manager.barrier(3).unwrap();
    assert_eq!((meeting.parties().unwrap(), meeting.waiting().unwrap()), (3, 0));
    for _ in 0..20 {
        let mut places: Vec<usize> = thread::scope(|scope| {
            let all: Vec<_> = (0..3).map(|_| scope.spawn(|| meeting.wait().unwrap())).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2]);
    }
    assert!(matches!(manager.barrier(0), Err(Error::Unfit)));
}

#[test]
fn a_barrier_is_broken_for_all_until_it_is_reset() {
    let (_server, manager) = both();
    let meeting = manager.barrier(2).unwrap();
    assert!(takes(SHORT, || meeting.wait_timeout(SHORT)).unwrap_err().is_timeout());
    assert!(meeting.is_broken().unwrap());
    assert!(matches!(meeting.wait(), Err(Error::Broken { by_death: false })));
    meeting.reset().unwrap();
    assert!(!meeting.is_broken().unwrap());
    for end in [ipc_manager::Barrier::abort, ipc_manager::Barrier::reset] {
        meeting.reset().unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| meeting.wait());
            wait_until(|| meeting.waiting().unwrap() == 1, || "nobody has come".into());
            end(&meeting).unwrap();
            assert!(matches!(waiter.join().unwrap(), Err(Error::Broken { by_death: false })));
        });
    }
    assert!(!meeting.is_broken().unwrap());
}
