//! Leases within one process.

use ipc_queue::{Bytes, Error, Queue, Settings};

use crate::{LONG, would_block};

#[test]
fn a_lease_lets_see_the_value_and_is_acknowledged_or_given_back() {
    let queue = Queue::<String>::new().unwrap();
    queue.put_many(&["one", "two", "three"].map(String::from)).unwrap();
    let first = queue.lease().unwrap();
    assert_eq!((first.as_str(), first.deliveries()), ("one", 1));
    assert!(format!("{first:?}").contains("one"));
    first.ack().unwrap();
    for deliveries in 1..=3 {
        let second = queue.lease().unwrap();
        assert_eq!((second.as_str(), second.deliveries()), ("two", deliveries));
    }
    assert_eq!((queue.len(), queue.get().unwrap().as_str()), (2, "two"));
    let third = queue.lease_timeout(LONG).unwrap();
    assert!(would_block(queue.try_lease()));
    drop(third);
    queue.lease().unwrap().ack().unwrap();
    assert!(queue.is_empty() && would_block(queue.try_lease()));
}

#[test]
fn leased_messages_do_not_fill_the_queue() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    let leases: Vec<_> = (0..100)
        .map(|n| {
            queue.put(n).unwrap();
            queue.lease().unwrap()
        })
        .collect();
    assert!(queue.is_empty());
    leases.into_iter().rev().for_each(drop);
    assert_eq!(queue.len(), 100);
    assert!((0..100).all(|n| queue.get().unwrap() == n), "the oldest first, whatever came back first");
}

#[test]
fn leases_of_messages_of_every_length() {
    let queue = Queue::<Vec<u8>, Bytes>::with(&Settings::new().ring(64 << 10).leases(8)).unwrap();
    for round in 0..3u8 {
        let lens = [0, 1, 8, 1000, 1024, 1025, 16_000, 100_000];
        let leases = lens.map(|len| {
            queue.put(vec![round; len]).unwrap();
            queue.lease().unwrap()
        });
        assert!(lens.iter().zip(&leases).all(|(len, lease)| **lease == vec![round; *len]));
        queue.put(vec![0xff]).unwrap();
        assert!(matches!(queue.lease(), Err(Error::LeaseLimit { max: 8 })));
        assert_eq!(queue.get().unwrap(), [0xff], "it was not lost");
        drop(leases);
        assert!(lens.iter().all(|len| queue.get().unwrap() == vec![round; *len]));
        assert!(queue.is_empty());
    }
}

#[test]
fn a_queue_without_leases_has_none() {
    let queue = Queue::<u32>::with(&Settings::new().leases(0)).unwrap();
    queue.put(1).unwrap();
    assert!(matches!(queue.lease(), Err(Error::LeaseLimit { max: 0 })));
    drop(queue.peek().unwrap());
    assert_eq!(queue.get().unwrap(), 1);
}

#[test]
fn messages_that_come_back_too_often_are_dead() {
    let queue = Queue::<u32>::with(&Settings::new().items(2).max_deliveries(2)).unwrap();
    queue.put_many(&[1, 2]).unwrap();
    (0..2).for_each(|_| drop(queue.lease().unwrap()));
    assert_eq!(queue.get().unwrap(), 2);
    assert!(would_block(queue.try_get()) && queue.is_empty());
    queue.put(3).unwrap();
    assert!(queue.is_full() && would_block(queue.try_put(4)), "the dead letter takes a place");
    let letters = queue.take_dead_letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((*letters[0].value.as_ref().unwrap(), letters[0].deliveries), (1, 2));
    assert!(queue.take_dead_letters().unwrap().is_empty());
    queue.put(4).unwrap();
    assert_eq!(queue.get_many(5).unwrap(), [3, 4]);
}

#[test]
fn a_lease_may_outlive_the_handle() {
    let queue = Queue::<u32>::new().unwrap();
    queue.put_many(&[1, 2]).unwrap();
    let (first, second) = (queue.lease().unwrap(), queue.lease().unwrap());
    drop(queue);
    assert_eq!((*first, *second), (1, 2));
    first.ack().unwrap();
    drop(second);
}
