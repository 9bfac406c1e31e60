//! What happens when nobody is left at the other end, and when a queue is closed.

use ipc_core::Process;
use ipc_pipe::duplex;
use ipc_queue::{Consumer, Error, Producer, Queue, Settings};
use ipc_tests::isolated;

use super::{Holder, LONG, SHORT, SOON, timed_out, while_waiting};

/// Whether every way to take says that nobody is left.
fn says_disconnected(queue: &Consumer<u32>) -> bool {
    let answers = [
        queue.get().err(),
        queue.try_get().err(),
        queue.get_timeout(LONG).err(),
        queue.get_many(3).err(),
        queue.try_get_many(3).err(),
        queue.lease().map(drop).err(),
        queue.peek().map(drop).err(),
        queue.get_bytes_into(&mut Vec::new()).err(),
    ];
    answers.iter().all(|answer| matches!(answer, Some(Error::Disconnected))) && queue.iter().next().is_none()
}

#[test]
fn consumers_drain_and_learn_that_the_last_producer_has_gone() {
    isolated(|| {
        let queue = Queue::new().unwrap();
        let (producer, consumer) = (queue.producer(), queue.consumer());
        drop(queue);
        let put = |queue: Producer<u32>| (1..=3).for_each(|n| queue.put(n).unwrap());
        Process::spawn(put, producer.clone()).unwrap().join().unwrap();
        drop(producer);
        assert_eq!(consumer.get().unwrap(), 1);
        assert_eq!(*consumer.lease().unwrap(), 2); // and given back
        assert_eq!(consumer.iter().map(Result::unwrap).collect::<Vec<u32>>(), [2, 3]);
        assert!(says_disconnected(&consumer));
        assert!(!consumer.is_closed());
    });
}

#[test]
fn the_ends_of_a_queue_that_was_split_are_all_there_are() {
    isolated(|| {
        let (producer, consumer) = Queue::<u32>::new().unwrap().split();
        let process = Process::spawn(|queue: Producer<u32>| queue.put(1).unwrap(), producer).unwrap();
        assert!(consumer.iter().map(Result::unwrap).eq([1]));
        process.join().unwrap();
        let (producer, consumer) = Queue::<u32>::bounded(1).unwrap().split();
        let process = Process::spawn(|queue: Consumer<u32>| queue.get().unwrap(), consumer).unwrap();
        producer.put(5).unwrap();
        assert_eq!(process.join().unwrap(), 5);
        producer.put(6).unwrap_err();
    });
}

#[test]
fn who_waits_for_a_message_learns_at_once_that_the_last_producer_has_gone_or_was_killed() {
    isolated(|| {
        for is_killed in [false, true] {
            let queue = Queue::<u32>::new().unwrap();
            let (holder, consumer) = (Holder::of(queue.producer(), |_queue, hold| hold()), queue.consumer());
            drop(queue);
            assert!(timed_out(|limit| consumer.get_timeout(limit)), "there is one");
            let end = || if is_killed { holder.kill() } else { holder.release() };
            let (result, took) = while_waiting(|| consumer.get(), end);
            assert!(result.unwrap_err().is_disconnected() && took < SOON, "{took:?}");
            assert!(says_disconnected(&consumer));
        }
        // Also if it was in this process.
        let queue = Queue::<u32>::new().unwrap();
        let (producer, consumer) = (queue.producer(), queue.consumer());
        drop(queue);
        let (result, took) = while_waiting(|| consumer.lease().map(|lease| *lease), || drop(producer));
        assert!(result.unwrap_err().is_disconnected() && took < SOON, "{took:?}");
    });
}

#[test]
fn producers_get_their_value_back_when_the_last_consumer_has_gone_or_was_killed() {
    isolated(|| {
        for is_killed in [false, true] {
            let queue = Queue::<String>::bounded(1).unwrap();
            let (holder, producer) = (Holder::of(queue.consumer(), |_queue, hold| hold()), queue.producer());
            drop(queue);
            producer.put("first".to_string()).unwrap();
            let end = || if is_killed { holder.kill() } else { holder.release() };
            let (result, took) = while_waiting(|| producer.put("second".to_string()), end);
            let refused = result.unwrap_err();
            assert!(refused.error.is_disconnected() && refused.value == "second" && took < SOON, "{took:?}");
            assert!(producer.try_put("second".to_string()).unwrap_err().error.is_disconnected());
            assert!(producer.put_timeout("second".to_string(), LONG).unwrap_err().error.is_disconnected());
        }
        // Not only when there is no room.
        let queue = Queue::<u32>::new().unwrap();
        let producer = queue.producer();
        producer.put(1).unwrap();
        drop(queue);
        assert!(producer.put(2).unwrap_err().error.is_disconnected());
        let error = producer.put_many(&[2, 3]).unwrap_err();
        assert!(error.put == 0 && error.error.is_disconnected());
        assert!(producer.put_bytes(&[2]).unwrap_err().is_disconnected());
    });
}

#[test]
fn a_queue_counts_as_both_ends_whoever_has_it() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let holder = Holder::of(queue.clone(), |_queue, hold| hold());
        let (producer, consumer) = (queue.producer(), queue.consumer());
        drop(queue);
        producer.put(1).unwrap();
        drop(producer);
        assert_eq!(consumer.get().unwrap(), 1);
        assert!(timed_out(|limit| consumer.get_timeout(limit)));
        holder.kill();
        assert!(says_disconnected(&consumer));
    });
}

#[test]
fn the_last_handle_in_the_world_waits_for_nobody_but_works_on() {
    isolated(|| {
        let queue = Queue::<u32>::bounded(1).unwrap();
        assert!(timed_out(|limit| queue.get_timeout(limit)), "it was never anybody else's: threads may have it");
        let holder = Holder::of(queue.clone(), |queue, hold| {
            hold();
            queue.put(7).unwrap();
        });
        assert!(timed_out(|limit| queue.get_timeout(limit)), "somebody else has it");
        holder.release();
        assert_eq!(queue.get().unwrap(), 7);
        assert!(queue.get().unwrap_err().is_disconnected() && queue.get_timeout(LONG).unwrap_err().is_disconnected());
        assert!(queue.try_get().unwrap_err().is_would_block());
        // It can still put, and others can still come.
        queue.put(8).unwrap();
        assert!(queue.try_put(9).unwrap_err().error.is_would_block());
        assert!(queue.put(9).unwrap_err().error.is_disconnected());
        let take = |queue: Queue<u32>| queue.get().unwrap();
        assert_eq!(Process::spawn(take, queue.clone()).unwrap().join().unwrap(), 8);
        let other = queue.clone();
        assert!(timed_out(|limit| queue.get_timeout(limit)), "a second handle may be another thread's");
        drop(other);
        let lease = {
            queue.put(9).unwrap();
            queue.lease().unwrap()
        };
        assert!(timed_out(|limit| queue.get_timeout(limit)), "what is leased may come back");
        drop(lease);
        assert_eq!(queue.get().unwrap(), 9);
    });
}

#[test]
fn an_end_under_way_in_a_message_counts_until_it_is_lost() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let consumer = queue.consumer();
        let (mut ours, mut theirs) = duplex::<Producer<u32>, Producer<u32>>().unwrap();
        ours.send(queue.producer()).unwrap();
        drop(queue);
        assert!(timed_out(|limit| consumer.get_timeout(limit)), "it lies in the socket");
        let producer = theirs.recv().unwrap();
        producer.put(7).unwrap();
        assert_eq!(consumer.get().unwrap(), 7);
        ours.send(producer).unwrap();
        assert!(timed_out(|limit| consumer.get_timeout(limit)));
        let (result, took) = while_waiting(|| consumer.get(), || drop(theirs));
        assert!(result.unwrap_err().is_disconnected() && took < SOON, "{took:?}");
    });
}

#[test]
fn ends_travel_as_arguments_as_results_and_inside_messages() {
    isolated(|| {
        let queue = Queue::<String>::new().unwrap();
        let make = |queue: Queue<String>| (queue.producer(), queue.consumer());
        let (producer, consumer) = Process::spawn(make, queue.clone()).unwrap().join().unwrap();
        drop(queue);
        let (mut line, theirs) = duplex::<Option<(u8, Consumer<String>)>, ()>().unwrap();
        let process = Process::spawn(
            |mut line: ipc_core::Connection<(), Option<(u8, Consumer<String>)>>| {
                let (number, queue) = line.recv().unwrap().unwrap();
                (number, queue.get().unwrap())
            },
            theirs,
        )
        .unwrap();
        line.send(Some((9, consumer.clone()))).unwrap();
        producer.put("hello".to_string()).unwrap();
        assert_eq!(process.join().unwrap(), (9, "hello".to_string()));
        drop(producer);
        assert!(consumer.get().unwrap_err().is_disconnected());
    });
}

#[test]
fn a_handle_of_a_process_that_goes_on_is_noticed_when_it_is_dropped() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let consumer = queue.consumer();
        let holder = Holder::of(queue.producer(), |queue, hold| {
            let other = queue.clone();
            drop(queue);
            hold();
            drop(other);
            hold();
        });
        drop(queue);
        let Holder { process, mut line } = holder;
        assert!(timed_out(|limit| consumer.get_timeout(limit)), "it still has the clone");
        let (result, took) = while_waiting(|| consumer.get(), || line.send(()).unwrap());
        assert!(result.unwrap_err().is_disconnected() && took < SOON, "{took:?}");
        line.recv().unwrap();
        drop(line);
        process.join().unwrap();
    });
}

#[test]
fn closing_is_for_everybody_and_what_is_in_the_queue_still_comes() {
    isolated(|| {
        let queue = Queue::with(&Settings::new().items(2)).unwrap();
        queue.put_many(&[1, 2]).unwrap();
        let (result, took) = while_waiting(
            || queue.put(3),
            || {
                let close = |queue: Consumer<u32>| queue.close().unwrap();
                Process::spawn(close, queue.consumer()).unwrap().join().unwrap();
            },
        );
        let refused = result.unwrap_err();
        assert!(refused.error.is_closed() && refused.value == 3 && took < SOON, "{took:?}");
        assert!(queue.is_closed());
        for other in [queue.clone(), Process::spawn(|queue: Queue<u32>| queue, queue.clone()).unwrap().join().unwrap()]
        {
            assert!(other.is_closed());
            assert!(other.put(3).unwrap_err().error.is_closed() && other.try_put(3).unwrap_err().error.is_closed());
            assert!(other.put_many(&[3]).unwrap_err().error.is_closed());
        }
        let drain = |queue: Consumer<u32>| queue.iter().map(Result::unwrap).collect::<Vec<u32>>();
        assert_eq!(Process::spawn(drain, queue.consumer()).unwrap().join().unwrap(), [1, 2]);
        assert!(queue.get().unwrap_err().is_closed() && queue.try_get().unwrap_err().is_closed());
        assert!(queue.lease().unwrap_err().is_closed() && queue.get_timeout(SHORT).unwrap_err().is_closed());
        queue.close().unwrap();
        assert!(queue.get().unwrap_err().is_closed(), "the last handle of a role makes no difference");
    });
}

#[test]
fn all_who_wait_learn_that_the_queue_is_closed() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let get = |queue: Queue<u32>, hold: &mut dyn FnMut()| {
            hold();
            assert!(queue.get().unwrap_err().is_closed());
        };
        let others = [(); 3].map(|()| Holder::of(queue.clone(), get));
        let mut others = others.map(|Holder { process, mut line }| {
            line.send(()).unwrap();
            (process, line)
        });
        let (result, took) = while_waiting(|| queue.get(), || queue.close().unwrap());
        assert!(result.unwrap_err().is_closed() && took < SOON, "{took:?}");
        others.iter_mut().for_each(|(process, _)| process.join_timeout(LONG).unwrap());
    });
}
