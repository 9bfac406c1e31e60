//! Messages that are written and read where they lie.

use std::io::Write;
use std::thread;

use ipc_queue::{Bytes, Error, Queue, Settings};

use crate::{LONG, timed_out, would_block};

type ByteQueue = Queue<Vec<u8>, Bytes>;

#[test]
fn a_reservation_becomes_a_message_when_it_is_committed() {
    let queue = ByteQueue::new().unwrap();
    let mut reservation = queue.reserve(10).unwrap();
    reservation.fill(0, 10, b'.').unwrap();
    reservation.write_at(2, b"abc").unwrap();
    reservation.write_at(9, b"z").unwrap();
    reservation.write_at(10, b"").unwrap();
    for (offset, len) in [(8, 3), (11, 0), (usize::MAX, 1), (usize::MAX, 0)] {
        assert!(reservation.write_at(offset, &vec![0; len]).is_err(), "{offset} {len}");
    }
    assert!(queue.is_empty() && would_block(queue.try_get()));
    reservation.commit().unwrap();
    assert_eq!(queue.get().unwrap(), b"..abc....z");

    let mut reservation = queue.reserve(5).unwrap();
    assert_eq!(reservation.write(b"abc").unwrap(), 3);
    assert_eq!(reservation.write(b"defgh").unwrap(), 2);
    assert_eq!(reservation.write(b"ijk").unwrap(), 0);
    reservation.flush().unwrap();
    reservation.commit().unwrap();
    assert_eq!(queue.get().unwrap(), b"abcde");

    queue.reserve(0).unwrap().commit().unwrap();
    assert_eq!(queue.get().unwrap(), b"");
}

#[test]
fn what_was_not_written_is_nothing_of_others() {
    let queue = ByteQueue::with(&Settings::new().ring(64 << 10)).unwrap();
    // All the ring has been used before.
    for _ in 0..100 {
        queue.put(vec![0xee; 10_000]).unwrap();
        queue.get().unwrap();
    }
    let mut reservation = queue.reserve(100).unwrap();
    reservation.write_at(0, b"x").unwrap();
    reservation.commit().unwrap();
    assert_eq!(queue.get().unwrap().len(), 100);
}

#[test]
fn a_reservation_that_is_dropped_never_was() {
    let queue = ByteQueue::bounded(1).unwrap();
    let mut reservation = queue.reserve(10).unwrap();
    reservation.fill(0, 10, 1).unwrap();
    drop(reservation);
    assert!(queue.is_empty() && !queue.is_full());
    queue.put(vec![2]).unwrap();
    assert!(would_block(queue.try_reserve(1)) && timed_out(|limit| queue.reserve_timeout(1, limit)));
    assert_eq!(queue.get().unwrap(), [2]);
}

#[test]
fn a_thread_with_a_reservation_does_not_wait_for_itself() {
    let queue = ByteQueue::new().unwrap();
    let reservation = queue.reserve(10).unwrap();
    assert!(matches!(queue.put(vec![1]).unwrap_err().error, Error::AlreadyLocked));
    assert!(matches!(queue.try_put(vec![1]).unwrap_err().error, Error::AlreadyLocked));
    assert!(matches!(queue.reserve(1), Err(Error::AlreadyLocked)));
    assert!(matches!(queue.producer().put_many(&[vec![1]]).unwrap_err().error, Error::AlreadyLocked));
    thread::scope(|scope| {
        scope.spawn(|| assert!(would_block(queue.try_put(vec![1]))));
        scope.spawn(|| assert!(timed_out(|limit| queue.put_timeout(vec![1], limit))));
    });
    // Other queues are not concerned, nor is taking.
    let other = ByteQueue::new().unwrap();
    other.put(vec![5]).unwrap();
    assert!(would_block(queue.try_get()) && other.get().unwrap() == [5]);
    drop(reservation);
    queue.put(vec![1]).unwrap();
}

#[test]
fn a_reservation_may_be_as_long_as_the_ring() {
    const RING: usize = 64 << 10;
    let queue = ByteQueue::with(&Settings::new().ring(RING)).unwrap();
    for len in [RING / 4, RING / 4 + 1, 50_000, RING - 8] {
        let mut reservation = queue.reserve(len).unwrap();
        assert_eq!((reservation.len(), reservation.is_empty()), (len, false));
        reservation.fill(0, len, 9).unwrap();
        reservation.write_at(len - 3, b"end").unwrap();
        reservation.commit().unwrap();
        let message = queue.get().unwrap();
        assert!(message.len() == len && message[..len - 3].iter().all(|byte| *byte == 9) && message.ends_with(b"end"));
    }
    assert!(matches!(queue.reserve(RING - 7), Err(Error::TooLarge { len: 65529, max: 65528 })));
    drop(queue.reserve(RING - 8).unwrap());
    assert!(queue.is_empty());
    let queue = ByteQueue::with(&Settings::new().max_message(100)).unwrap();
    assert!(matches!(queue.reserve(101), Err(Error::TooLarge { len: 101, max: 100 })));
    // One that waits for all of the ring gets it, though small messages keep coming.
    let queue = ByteQueue::with(&Settings::new().ring(RING)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| while queue.put(vec![1; 100]).is_ok() {});
        scope.spawn(|| while queue.get().is_ok() {});
        for _ in 0..20 {
            queue.reserve_timeout(RING - 8, LONG).unwrap().commit().unwrap();
        }
        queue.close().unwrap();
    });
}

#[test]
fn the_queue_may_be_closed_while_something_is_written() {
    let queue = ByteQueue::new().unwrap();
    let mut reservation = queue.reserve(3).unwrap();
    reservation.write_at(0, b"abc").unwrap();
    queue.close().unwrap();
    assert!(matches!(reservation.commit(), Err(Error::Closed)));
    assert!(queue.get().unwrap_err().is_closed() && matches!(queue.reserve(3), Err(Error::Closed)));
}

#[test]
fn who_looks_sees_all_of_a_message_and_takes_it_only_if_he_says_so() {
    let queue = ByteQueue::with(&Settings::new().ring(64 << 10)).unwrap();
    for len in [0usize, 1, 100, 20_000] {
        let message: Vec<u8> = (0..len).map(|at| at as u8).collect();
        queue.put(&message).unwrap();
        for again in 0..3 {
            let peek = queue.peek().unwrap();
            assert_eq!((peek.len(), peek.is_empty()), (len, len == 0));
            let mut all = vec![0xaa; len];
            peek.read_at(0, &mut all).unwrap();
            assert_eq!(all, message);
            if len > 1 {
                let mut two = [0; 2];
                peek.read_at(len - 2, &mut two).unwrap();
                assert_eq!(two, message[len - 2..]);
                assert_eq!(peek.byte(len - 1).unwrap(), message[len - 1]);
            }
            for (offset, count) in [(len, 1), (len + 1, 0), (usize::MAX, 1), (0, len + 1)] {
                assert!(peek.read_at(offset, &mut vec![0; count]).is_err(), "{offset} {count}");
            }
            assert!(peek.byte(len).is_err() && peek.byte(usize::MAX).is_err());
            assert!(queue.try_get().is_err(), "somebody has it");
            if again == 2 {
                peek.release();
            }
        }
        assert!(would_block(queue.try_get()));
    }
}

#[test]
fn several_look_at_several_messages() {
    let queue = ByteQueue::bounded(3).unwrap();
    queue.put_many(&[vec![1], vec![2], vec![3]]).unwrap();
    let (first, second) = (queue.peek().unwrap(), queue.peek().unwrap());
    assert_eq!((first.byte(0).unwrap(), second.byte(0).unwrap()), (1, 2));
    second.release();
    assert!(queue.is_full(), "the first one still lies in its place");
    drop(first);
    assert_eq!(queue.get_many(1).unwrap(), [[1]]);
    assert!(!queue.is_full());
    queue.put_many(&[vec![4], vec![5]]).unwrap();
    assert_eq!(queue.get_many(5).unwrap(), [[3], [4], [5]]);
}
