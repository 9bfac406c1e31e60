//! Queues of which a stopped process has a lock: so it looks to all others.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ipc_queue::{Queue, Result, Settings};
use ipc_tests::{eventually, isolated, raw};

use super::{Holder, LONG, SOON, file_of, locks, timed_out, while_waiting};

/// A queue with something in it, and somebody who has it and is stopped.
struct Jammed {
    queue: Queue<u32>,
    file: File,
    producers: usize,
    consumers: usize,
    stopped: Holder,
}

impl Jammed {
    fn new(settings: &Settings) -> Jammed {
        let (queue, file) = file_of(|| Queue::with(settings).unwrap());
        let stopped = Holder::of(queue.clone(), |_queue: Queue<u32>, hold| hold());
        stopped.stop();
        let [producers, consumers] = locks().map(|lock| lock.start as usize);
        Jammed { queue, file, producers, consumers, stopped }
    }

    fn jam(&self, lock: usize) {
        let owner = raw::word32(&self.file, lock);
        let jam = || owner.compare_exchange(0, self.stopped.pid(), Ordering::SeqCst, Ordering::SeqCst).is_ok();
        eventually("nobody else has it", jam);
    }

    fn free(&self, lock: usize) {
        raw::word32(&self.file, lock).store(0, Ordering::SeqCst);
    }

    fn end(self) {
        self.stopped.kill();
    }
}

/// Whether it says at once that it would have to wait.
fn would_block<T, E: Into<ipc_queue::Error>>(call: impl FnOnce() -> Result<T, E>) -> bool {
    in_time(call).map_err(Into::into).is_err_and(|error| error.is_would_block())
}

fn in_time<R>(call: impl FnOnce() -> R) -> R {
    let started = Instant::now();
    let result = call();
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    result
}

#[test]
fn time_runs_out_in_time_while_a_stopped_process_has_the_producers_lock() {
    isolated(|| {
        let jammed = Jammed::new(&Settings::new());
        let queue = &jammed.queue;
        queue.put_many(&[1, 2, 3]).unwrap();
        jammed.jam(jammed.producers);
        assert!(
            timed_out(|limit| queue.put_timeout(4, limit)) && timed_out(|limit| queue.put_many_timeout(&[4], limit))
        );
        assert!(would_block(|| queue.try_put(4)) && would_block(|| queue.try_put_many(&[4])));
        assert!(would_block(|| queue.try_put_bytes(&[4])));
        // Who takes does not need it, nor who looks.
        assert_eq!(in_time(|| queue.len()), 3);
        assert_eq!(in_time(|| queue.get().unwrap()), 1);
        in_time(|| queue.lease().unwrap().ack()).unwrap();
        assert_eq!(in_time(|| queue.get_many(5).unwrap()), [3]);
        assert!(would_block(|| queue.try_get()));
        let (result, _) = while_waiting(|| queue.put_timeout(5, LONG), || jammed.free(jammed.producers));
        result.unwrap();
        assert_eq!(queue.get().unwrap(), 5);
        jammed.jam(jammed.producers);
        in_time(|| queue.close().unwrap());
        assert!(queue.get().unwrap_err().is_closed());
        jammed.free(jammed.producers);
        assert!(queue.put(1).unwrap_err().error.is_closed());
        jammed.end();
    });
}

#[test]
fn time_runs_out_in_time_while_a_stopped_process_has_the_consumers_lock() {
    isolated(|| {
        let jammed = Jammed::new(&Settings::new().items(3));
        let queue = &jammed.queue;
        queue.put_many(&[1, 2]).unwrap();
        jammed.jam(jammed.consumers);
        assert!(timed_out(|limit| queue.get_timeout(limit)) && timed_out(|limit| queue.get_many_timeout(5, limit)));
        assert!(timed_out(|limit| queue.lease_timeout(limit).map(drop)));
        assert!(timed_out(|limit| queue.peek_timeout(limit).map(drop)));
        assert!(would_block(|| queue.try_get()) && would_block(|| queue.try_get_many(5)));
        assert!(would_block(|| queue.try_lease().map(drop)) && would_block(|| queue.try_peek().map(drop)));
        // Who puts does not need it, nor who looks.
        in_time(|| queue.put(3)).unwrap();
        assert_eq!(in_time(|| queue.len()), 3);
        assert!(would_block(|| queue.try_put(4)) && timed_out(|limit| queue.put_timeout(4, limit)));
        let (result, _) = while_waiting(|| queue.get(), || jammed.free(jammed.consumers));
        assert_eq!(result.unwrap(), 1);
        assert_eq!(queue.get_many(5).unwrap(), [2, 3]);
        jammed.end();
    });
}

#[test]
fn dead_letters_are_taken_in_time_while_a_stopped_process_has_the_consumers_lock() {
    isolated(|| {
        let jammed = Jammed::new(&Settings::new().max_deliveries(1));
        let queue = &jammed.queue;
        queue.put(1).unwrap();
        drop(queue.lease().unwrap());
        assert!(queue.try_get().unwrap_err().is_would_block(), "it is dead");
        jammed.jam(jammed.consumers);
        let letters = in_time(|| queue.take_dead_letters()).unwrap();
        assert_eq!((letters.len(), *letters[0].value.as_ref().unwrap()), (1, 1));
        jammed.free(jammed.consumers);
        assert!(queue.take_dead_letters().unwrap().is_empty());
        jammed.end();
    });
}

#[test]
fn what_is_held_is_given_up_in_time_while_a_stopped_process_has_the_consumers_lock() {
    isolated(|| {
        let jammed = Jammed::new(&Settings::new());
        let queue = &jammed.queue;
        queue.put_many(&[1, 2, 3, 4]).unwrap();
        let (first, second, third) = (queue.lease().unwrap(), queue.lease().unwrap(), queue.peek().unwrap());
        jammed.jam(jammed.consumers);
        in_time(|| drop(first));
        in_time(|| second.ack()).unwrap();
        in_time(|| third.release());
        in_time(|| drop(queue.clone()));
        jammed.free(jammed.consumers);
        assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (1, 4));
        jammed.end();
    });
}

#[test]
fn the_dead_are_found_though_a_stopped_process_had_the_lock_for_a_while() {
    isolated(|| {
        let jammed = Jammed::new(&Settings::new());
        let queue = &jammed.queue;
        queue.put(1).unwrap();
        let holder = Holder::of(queue.consumer(), |queue: ipc_queue::Consumer<u32>, hold| {
            let _lease = queue.lease().unwrap();
            hold();
        });
        let (result, _) = while_waiting(
            || queue.get(),
            || {
                jammed.jam(jammed.consumers);
                holder.kill();
                // It goes to sleep again after it has looked, in vain.
                let slept = || queue.stats().unwrap().get_waits;
                let before = slept();
                eventually("it has looked", || slept() > before + 1);
                jammed.free(jammed.consumers);
            },
        );
        assert_eq!(result.unwrap(), 1);
        jammed.end();
    });
}

#[test]
fn a_reservation_of_a_stopped_process_holds_nobody_up_longer_than_he_wants() {
    isolated(|| {
        let queue = Queue::<Vec<u8>, ipc_queue::Bytes>::new().unwrap();
        queue.put(b"first".to_vec()).unwrap();
        let holder = Holder::of(queue.clone(), |queue: Queue<Vec<u8>, ipc_queue::Bytes>, hold| {
            let mut reservation = queue.reserve(7).unwrap();
            reservation.write_at(0, b"written").unwrap();
            hold();
            reservation.commit().unwrap();
        });
        holder.stop();
        assert!(timed_out(|limit| queue.put_timeout(b"second".to_vec(), limit)));
        assert!(would_block(|| queue.try_put(b"second".to_vec())) && would_block(|| queue.try_reserve(3).map(drop)));
        assert!(timed_out(|limit| queue.reserve_timeout(3, limit).map(drop)));
        assert_eq!(in_time(|| queue.get().unwrap()), b"first");
        assert!(timed_out(|limit| queue.get_timeout(limit)), "it was not committed");
        holder.go_on();
        holder.release();
        assert_eq!(queue.get().unwrap(), b"written");

        // And that of a killed one never was.
        Holder::of(queue.clone(), |queue: Queue<Vec<u8>, ipc_queue::Bytes>, hold| {
            let mut reservation = queue.reserve(7).unwrap();
            reservation.fill(0, 7, b'x').unwrap();
            hold();
            drop(reservation);
        })
        .kill();
        queue.put(b"third".to_vec()).unwrap();
        assert_eq!(queue.get().unwrap(), b"third");
    });
}

#[test]
fn what_a_stopped_process_looks_at_holds_nobody_up() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        queue.put_many(&[1, 2, 3]).unwrap();
        let holder = Holder::of(queue.consumer(), |queue: ipc_queue::Consumer<u32>, hold| {
            let peek = queue.peek().unwrap();
            assert_eq!(peek.byte(0).unwrap(), 1);
            hold();
            drop(peek);
        });
        holder.stop();
        assert_eq!(in_time(|| queue.get_many(5).unwrap()), [2, 3]);
        assert!(timed_out(|limit| queue.get_timeout(limit)));
        in_time(|| queue.put(4)).unwrap();
        assert_eq!(queue.get().unwrap(), 4);
        holder.kill();
        assert_eq!(queue.get_timeout(LONG).unwrap(), 1);
    });
}
