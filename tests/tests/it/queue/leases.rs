//! Messages that are leased: who gets them when, how often, and where they end.

use std::time::Instant;

use ipc_core::Process;
use ipc_queue::{Consumer, Error, Queue, Settings};
use ipc_tests::isolated;

use super::{Holder, LONG, SHORT, SOON, timed_out, while_waiting};

/// Leases so many messages, and keeps them.
fn lease_three(queue: Consumer<u32>, hold: &mut dyn FnMut()) {
    let _leases = [(); 3].map(|()| queue.lease().unwrap());
    hold();
}

/// What can be leased now, with how often it was delivered; acknowledged.
fn leased(queue: &Queue<u32>) -> Vec<(u32, u32)> {
    let next = || queue.lease_timeout(SHORT).ok();
    std::iter::from_fn(next)
        .map(|lease| {
            let seen = (*lease, lease.deliveries());
            lease.ack().unwrap();
            seen
        })
        .collect()
}

#[test]
fn what_a_dead_process_had_leased_comes_again_first_and_the_oldest_first() {
    isolated(|| {
        for is_killed in [true, false] {
            let queue = Queue::new().unwrap();
            queue.put_many(&[1, 2, 3, 4, 5]).unwrap();
            let holder = Holder::of(queue.consumer(), lease_three);
            assert_eq!(queue.len(), 2);
            assert_eq!(queue.get_many(2).unwrap(), [4, 5]);
            if is_killed {
                holder.kill()
            } else {
                holder.release()
            }
            assert_eq!(queue.get_timeout(LONG).unwrap(), 1);
            queue.put(6).unwrap();
            assert_eq!(leased(&queue), [(2, 2), (3, 2), (6, 1)]);
            assert_eq!((queue.is_empty(), queue.len()), (true, 0));
        }
    });
}

#[test]
fn what_comes_again_comes_to_every_way_of_taking() {
    isolated(|| {
        let queue = Queue::new().unwrap();
        queue.put_many(&[1, 2, 3]).unwrap();
        Holder::of(queue.consumer(), lease_three).kill();
        assert_eq!(queue.get().unwrap(), 1);
        queue.put(4).unwrap();
        let peek = queue.peek().unwrap();
        assert_eq!((peek.len(), peek.byte(0).unwrap(), peek.deliveries()), (1, 2, 2));
        peek.release();
        let mut rest = queue.get_many(10).unwrap();
        assert_eq!(rest[0], 3);
        rest.extend((rest.len() == 1).then(|| queue.get().unwrap()));
        assert_eq!(rest, [3, 4]);

        queue.put_many(&[1, 2, 3]).unwrap();
        Holder::of(queue.consumer(), lease_three).kill();
        assert_eq!(queue.iter().take(3).map(Result::unwrap).collect::<Vec<u32>>(), [1, 2, 3]);
    });
}

#[test]
fn who_waits_gets_what_a_killed_process_had_leased() {
    isolated(|| {
        let queue = Queue::new().unwrap();
        queue.put_many(&[1, 2, 3]).unwrap();
        let holder = Holder::of(queue.consumer(), lease_three);
        assert!(timed_out(|limit| queue.get_timeout(limit)));
        let (result, took) = while_waiting(|| queue.get(), || holder.kill());
        assert!(result.unwrap() == 1 && took < SOON, "{took:?}");
        let lease = queue.lease().unwrap();
        assert_eq!((*lease, lease.deliveries()), (2, 2));
        // A lease that is dropped is given back at once.
        let (result, took) = while_waiting(
            || {
                assert_eq!(queue.get().unwrap(), 3);
                queue.get()
            },
            || drop(lease),
        );
        assert!(result.unwrap() == 2 && took < SOON, "{took:?}");
    });
}

#[test]
fn leases_of_the_dead_are_found_also_if_the_queue_never_runs_empty() {
    isolated(|| {
        let queue = Queue::new().unwrap();
        queue.put_many(&[1, 2, 3, 4, 5]).unwrap();
        Holder::of(queue.consumer(), lease_three).kill();
        let started = Instant::now();
        let mut seen: Vec<u32> = Vec::new();
        while seen.len() < 3 {
            queue.put(0).unwrap();
            seen.extend([queue.get().unwrap()].iter().filter(|n| (1..=3).contains(*n)));
            assert!(started.elapsed() < SOON, "nobody looks for the dead");
        }
        assert_eq!(seen, [1, 2, 3]);
    });
}

#[test]
fn what_was_acknowledged_does_not_come_again_though_its_process_is_killed() {
    isolated(|| {
        let queue = Queue::new().unwrap();
        queue.put_many(&[1, 2, 3, 4]).unwrap();
        let holder = Holder::of(queue.consumer(), |queue: Consumer<u32>, hold| {
            let first = queue.lease().unwrap();
            let second = queue.lease().unwrap();
            assert_eq!(queue.get().unwrap(), 3);
            second.ack().unwrap();
            hold();
            drop(first);
        });
        assert_eq!((queue.len(), queue.get().unwrap()), (1, 4));
        holder.kill();
        assert_eq!(leased(&queue), [(1, 2)]);
    });
}

#[test]
fn a_stopped_process_keeps_its_leases() {
    isolated(|| {
        let queue = Queue::new().unwrap();
        queue.put_many(&[1, 2, 3, 4]).unwrap();
        let holder = Holder::of(queue.consumer(), lease_three);
        holder.stop();
        assert_eq!(queue.get().unwrap(), 4);
        assert!(timed_out(|limit| queue.get_timeout(limit)));
        holder.go_on();
        holder.release();
        assert_eq!(leased(&queue), [(1, 2), (2, 2), (3, 2)]);
    });
}

#[test]
fn leases_are_limited_and_those_of_the_dead_are_free_again() {
    isolated(|| {
        let queue = Queue::with(&Settings::new().leases(3)).unwrap();
        queue.put_many(&[1, 2, 3, 4, 5]).unwrap();
        let holder = Holder::of(queue.consumer(), lease_three);
        assert!(matches!(queue.lease().unwrap_err(), Error::LeaseLimit { max: 3 }));
        assert!(matches!(queue.try_lease().unwrap_err(), Error::LeaseLimit { max: 3 }));
        assert_eq!(queue.get().unwrap(), 4, "to take a message for good needs none");
        holder.kill();
        let leases = [(); 3].map(|()| queue.lease_timeout(LONG).unwrap());
        assert_eq!(leases.each_ref().map(|lease| **lease), [1, 2, 3]);
        assert!(matches!(queue.lease_timeout(LONG).unwrap_err(), Error::LeaseLimit { max: 3 }));
        let [first, second, third] = leases;
        second.ack().unwrap();
        assert_eq!(*queue.lease().unwrap(), 5);
        drop((first, third));
        assert_eq!(queue.len(), 3);
        assert_eq!(leased(&queue), [(1, 3), (3, 3), (5, 2)]);
    });
}

#[test]
fn a_message_that_kills_too_often_goes_to_the_dead_letters_and_takes_its_place_until_then() {
    isolated(|| {
        let queue = Queue::with(&Settings::new().items(2).max_deliveries(2)).unwrap();
        let _other = queue.clone(); // as if somebody else could still take something
        queue.put(13).unwrap();
        for _ in 0..2 {
            assert!(queue.take_dead_letters().unwrap().is_empty());
            Holder::of(queue.consumer(), |queue: Consumer<u32>, hold| {
                let lease = queue.lease().unwrap();
                assert_eq!(*lease, 13);
                hold();
            })
            .kill();
        }
        queue.put(1).unwrap();
        assert_eq!(leased(&queue), [(1, 1)]);
        queue.put(2).unwrap();
        assert!(queue.is_full() && queue.try_put(3).unwrap_err().error.is_would_block(), "it counts");
        let (result, took) = while_waiting(
            || queue.put(3),
            || {
                let take = |queue: Consumer<u32>| {
                    let letters = queue.take_dead_letters().unwrap().into_iter();
                    letters.map(|letter| (letter.value.unwrap(), letter.deliveries)).collect()
                };
                let letters: Vec<(u32, u32)> = Process::spawn(take, queue.consumer()).unwrap().join().unwrap();
                assert_eq!(letters, [(13, 2)]);
            },
        );
        assert!(result.is_ok() && took < SOON, "{took:?}");
        assert!(queue.take_dead_letters().unwrap().is_empty());
        assert_eq!(leased(&queue), [(2, 1), (3, 1)]);
    });
}

#[test]
fn a_lease_that_is_given_back_too_often_becomes_a_dead_letter_too() {
    isolated(|| {
        let queue = Queue::<u32>::with(&Settings::new().max_deliveries(1)).unwrap();
        queue.put_many(&[1, 2]).unwrap();
        drop(queue.lease().unwrap());
        assert_eq!(queue.get().unwrap(), 2);
        assert!(queue.try_get().unwrap_err().is_would_block());
        let letters = queue.take_dead_letters().unwrap();
        assert!(letters.len() == 1 && letters[0].deliveries == 1 && *letters[0].value.as_ref().unwrap() == 1);
    });
}

#[test]
fn leases_outlive_the_handles_and_the_closing_of_the_queue() {
    isolated(|| {
        let queue = Queue::new().unwrap();
        queue.put_many(&[1, 2, 3]).unwrap();
        let holder = Holder::of(queue.consumer(), |queue: Consumer<u32>, hold| {
            let lease = queue.lease().unwrap();
            drop(queue);
            hold();
            lease.ack().unwrap();
        });
        let mine = queue.lease().unwrap();
        holder.release();
        queue.close().unwrap();
        drop(mine);
        assert_eq!(leased(&queue), [(2, 2), (3, 1)]);
        assert!(queue.lease().unwrap_err().is_closed());
    });
}

#[test]
fn what_comes_back_after_the_queue_was_closed_is_not_lost() {
    isolated(|| {
        let queue = Queue::new().unwrap();
        queue.put_many(&[1, 2, 3]).unwrap();
        let holder = Holder::of(queue.consumer(), lease_three);
        queue.close().unwrap();
        holder.kill();
        assert_eq!(leased(&queue), [(1, 2), (2, 2), (3, 2)]);
        assert!(queue.get().unwrap_err().is_closed());
    });
}

#[test]
fn a_lease_can_go_to_another_thread() {
    isolated(|| {
        let queue = Queue::new().unwrap();
        queue.put_many(&[1, 2]).unwrap();
        let leases = [queue.lease().unwrap(), queue.lease().unwrap()];
        std::thread::scope(|scope| {
            let [first, second] = leases;
            scope.spawn(move || first.ack().unwrap());
            scope.spawn(move || drop(second));
        });
        assert_eq!(leased(&queue), [(2, 2)]);
    });
}
