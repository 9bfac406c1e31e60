//! Putting and getting, and what is said about a queue.

use std::thread;

use ipc_queue::{Consumer, Error, JoinableQueue, Producer, PutError, Queue, Settings, spsc};

use crate::{LONG, SHORT, timed_out, would_block};

#[test]
fn a_value_is_put_by_value_or_by_reference() {
    let queue = Queue::<String>::new().unwrap();
    let text = "kept".to_string();
    queue.put(&text).unwrap();
    queue.put("moved".to_string()).unwrap();
    queue.put_many(&[&text, &text]).unwrap();
    queue.put_many::<String>(&[]).unwrap();
    assert_eq!(queue.get_many(10).unwrap(), ["kept", "moved", "kept", "kept"]);
    assert!(would_block(queue.try_get()));
}

#[test]
fn each_call_has_three_forms() {
    let queue = Queue::<u32>::bounded(2).unwrap();
    queue.put(1).unwrap();
    queue.put_timeout(2, LONG).unwrap();
    assert!(would_block(queue.try_put(3)) && timed_out(|limit| queue.put_timeout(3, limit)));
    assert!(would_block(queue.try_put_many(&[3])) && timed_out(|limit| queue.put_many_timeout(&[3], limit)));
    assert!(would_block(queue.try_put_bytes(&[3])) && timed_out(|limit| queue.put_bytes_timeout(&[3], limit)));
    assert_eq!((queue.get().unwrap(), queue.get_timeout(LONG).unwrap()), (1, 2));
    assert!(would_block(queue.try_get()) && timed_out(|limit| queue.get_timeout(limit)));
    assert!(would_block(queue.try_get_many(3)) && timed_out(|limit| queue.get_many_timeout(3, limit)));
    assert!(would_block(queue.try_lease()) && timed_out(|limit| queue.lease_timeout(limit)));
    assert!(would_block(queue.try_peek()) && timed_out(|limit| queue.peek_timeout(limit)));
    let mut bytes = Vec::new();
    assert!(would_block(queue.try_get_bytes_into(&mut bytes)));
    assert!(timed_out(|limit| queue.get_bytes_into_timeout(&mut bytes, limit)));
    // A time of zero is a try that says that the time has passed; one without end is one.
    assert!(
        queue.get_timeout(std::time::Duration::ZERO).is_err_and(|error| error.is_timeout() || error.is_would_block())
    );
    queue.put_timeout(4, std::time::Duration::MAX).unwrap();
    assert_eq!(queue.get_timeout(std::time::Duration::MAX).unwrap(), 4);
}

#[test]
fn a_value_that_is_refused_comes_back() {
    let queue = Queue::<String>::bounded(1).unwrap();
    queue.put("first".to_string()).unwrap();
    let PutError { value, error } = queue.try_put("second".to_string()).unwrap_err();
    assert!(value == "second" && error.is_would_block());
    let PutError { value, error } = queue.put_timeout(&value, SHORT).unwrap_err();
    assert!(value == "second" && error.is_timeout());
    queue.close().unwrap();
    let refused = queue.put("second".to_string()).unwrap_err();
    assert!(refused.value == "second" && refused.error.is_closed());
    // An error like any other.
    assert!(!refused.to_string().is_empty() && format!("{refused:?}").contains("Closed"));
    let boxed: Box<dyn std::error::Error> = refused.into();
    assert!(boxed.source().is_none());
    fn question_mark(queue: &Queue<String>) -> Result<(), Error> {
        queue.put("third".to_string())?;
        queue.put_many(&["fourth".to_string()])?;
        Ok(())
    }
    assert!(question_mark(&queue).unwrap_err().is_closed());
}

#[test]
fn a_batch_goes_in_as_far_as_there_is_room() {
    let queue = Queue::<u32>::bounded(3).unwrap();
    let error = queue.try_put_many(&[1, 2, 3, 4, 5]).unwrap_err();
    assert!(error.put == 3 && error.error.is_would_block());
    let error = queue.try_put_many(&[4]).unwrap_err();
    assert!(error.put == 0 && error.error.is_would_block());
    assert_eq!(queue.get().unwrap(), 1);
    let error = queue.put_many_timeout(&[4, 5], SHORT).unwrap_err();
    assert!(error.put == 1 && error.error.is_timeout());
    assert_eq!(queue.get_many(2).unwrap(), [2, 3]);
    assert_eq!(queue.get_many(2).unwrap(), [4]);
    // With somebody who takes, one that is longer than the queue goes through as a whole.
    thread::scope(|scope| {
        scope.spawn(|| queue.put_many(&(0..1000).collect::<Vec<u32>>()).unwrap());
        assert!(queue.iter().take(1000).map(Result::unwrap).eq(0..1000));
    });
    // As many bytes as the ring has.
    let queue = Queue::<Vec<u8>>::with(&Settings::new().ring(64 << 10)).unwrap();
    let error = queue.try_put_many(&vec![vec![7; 1000]; 100]).unwrap_err();
    assert!(error.put >= 60 && error.put < 66 && error.error.is_would_block(), "{}", error.put);
    assert_eq!(queue.get_many(usize::MAX).unwrap().len(), error.put);
}

#[test]
fn a_batch_of_nothing_is_taken_by_nobody() {
    let queue = Queue::<u32>::new().unwrap();
    queue.put(1).unwrap();
    assert!(queue.get_many(0).unwrap().is_empty());
    assert_eq!(queue.len(), 1);
}

#[test]
fn what_is_said_about_a_queue_is_so() {
    let queue = Queue::<u32>::bounded(2).unwrap();
    let (producer, consumer) = (queue.producer(), queue.consumer());
    for n in 0..=2usize {
        assert_eq!((queue.len(), producer.len(), consumer.len()), (n, n, n));
        assert_eq!((queue.is_empty(), producer.is_empty(), consumer.is_empty()), (n == 0, n == 0, n == 0));
        assert_eq!((queue.is_full(), producer.is_full(), consumer.is_full()), (n == 2, n == 2, n == 2));
        assert_eq!((queue.capacity(), producer.capacity(), consumer.capacity()), (Some(2), Some(2), Some(2)));
        let _ = queue.try_put(1);
    }
    assert!(!queue.is_closed() && !producer.is_closed() && !consumer.is_closed());
    consumer.close().unwrap();
    assert!(queue.is_closed() && producer.is_closed() && consumer.is_closed());
    let queue = Queue::<u32>::new().unwrap();
    assert_eq!(queue.capacity(), None);
    assert!(!queue.is_full() && !format!("{queue:?}").is_empty());
    // As in Python.
    assert_eq!(Queue::<u32>::bounded(0).unwrap().capacity(), None);
}

#[test]
fn a_ring_that_is_full_is_full_also_without_a_limit_of_items() {
    let queue = Queue::<Vec<u8>>::with(&Settings::new().ring(64 << 10)).unwrap();
    while queue.try_put(vec![1; 10_000]).is_ok() {}
    assert!(timed_out(|limit| queue.put_timeout(vec![1; 10_000], limit)));
    let before = queue.len();
    assert_eq!(before, 6);
    queue.get().unwrap();
    queue.try_put(vec![1; 10_000]).unwrap();
    // Many times round the ring, with lengths that begin everywhere.
    while queue.try_get().is_ok() {}
    for n in 0..5000usize {
        queue.put(vec![n as u8; n % 700]).unwrap();
        if n >= 10 {
            assert_eq!(queue.get().unwrap(), vec![(n - 10) as u8; (n - 10) % 700]);
        }
    }
}

#[test]
fn impossible_settings_are_refused() {
    fn refused(settings: Settings) {
        let error = Queue::<u32>::with(&settings).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error:?}");
        assert!(error.to_string().contains("from"), "{error}");
        assert!(matches!(spsc::<u32, ipc_queue::Postcard>(&settings), Err(Error::Setting { .. })));
    }
    refused(Settings::new().items(usize::MAX));
    refused(Settings::new().items(Settings::MAX_ITEMS + 1));
    refused(Settings::new().ring(usize::MAX));
    refused(Settings::new().max_message(usize::MAX));
    refused(Settings::new().max_message(0));
    refused(Settings::new().leases(usize::MAX));
    refused(Settings::new().leases(Settings::MAX_LEASES + 1));
    refused(Settings::new().max_deliveries(u32::MAX));
    assert!(Queue::<u32>::bounded(Settings::MAX_ITEMS).is_ok());
    assert!(matches!(Queue::<u32>::bounded(Settings::MAX_ITEMS + 1), Err(Error::Setting { .. })));
    assert_eq!(Settings::default(), Settings::new());
    assert!(Queue::<u32>::with(&Settings::new().leases(0).ring(1)).is_ok());
}

#[test]
fn an_iteration_ends_with_the_queue() {
    let queue = Queue::<u32>::new().unwrap();
    let (producer, consumer) = (queue.producer(), queue.consumer());
    drop(queue);
    producer.put_many(&[1, 2, 3]).unwrap();
    assert_eq!(consumer.iter().next().unwrap().unwrap(), 1);
    drop(producer);
    let rest: Result<Vec<u32>, Error> = consumer.iter().collect();
    assert_eq!(rest.unwrap(), [2, 3]);
    assert!(consumer.iter().next().is_none() && consumer.get().unwrap_err().is_disconnected());

    let queue = Queue::<u32>::new().unwrap();
    queue.put(1).unwrap();
    queue.close().unwrap();
    assert_eq!(queue.iter().map(Result::unwrap).collect::<Vec<_>>(), [1]);
    assert!(queue.get().unwrap_err().is_closed());
    // What is no value is one of its items, and not its end.
    let queue = Queue::<bool>::new().unwrap();
    queue.put_bytes(&[9]).unwrap();
    queue.put(true).unwrap();
    queue.close().unwrap();
    let items: Vec<_> = queue.iter().map(|item| item.ok()).collect();
    assert_eq!(items, [None, Some(true)]);
}

#[test]
fn ends_in_one_process_are_told_when_the_other_one_goes() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    let (producer, consumer) = (queue.producer(), queue.consumer());
    assert!(timed_out(|limit| consumer.get_timeout(limit)), "there are a producer and a queue");
    drop(queue);
    assert!(timed_out(|limit| consumer.get_timeout(limit)), "there is a producer");
    let second = producer.clone();
    drop(producer);
    assert!(would_block(consumer.try_get()));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| consumer.get());
        drop(second);
        assert!(waiter.join().unwrap().unwrap_err().is_disconnected());
    });
    assert!(consumer.try_get().unwrap_err().is_disconnected());

    let queue = Queue::<u32>::bounded(1).unwrap();
    let (producer, consumer) = (queue.producer(), queue.consumer());
    drop(queue);
    producer.put(1).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| producer.put(2));
        drop(consumer);
        assert!(waiter.join().unwrap().unwrap_err().error.is_disconnected());
    });
}

#[test]
fn threads_share_the_handles() {
    fn assert_shared<T: Send + Sync + Clone>(_: &T) {}
    let queue = Queue::<u64>::bounded(3).unwrap();
    assert_shared(&queue);
    assert_shared(&queue.producer());
    assert_shared(&queue.consumer());
    assert_shared(&JoinableQueue::<u64>::new().unwrap());
    let sum = |consumer: Consumer<u64>| consumer.iter().map(Result::unwrap).sum::<u64>();
    let put = |producer: Producer<u64>| (0..1000).for_each(|n| producer.put(n).unwrap());
    let total = thread::scope(|scope| {
        let sums: Vec<_> = (0..3).map(|_| queue.consumer()).map(|end| scope.spawn(move || sum(end))).collect();
        (0..3).map(|_| queue.producer()).for_each(|end| drop(scope.spawn(move || put(end))));
        drop(queue);
        sums.into_iter().map(|sum| sum.join().unwrap()).sum::<u64>()
    });
    assert_eq!(total, 3 * 999 * 500);
}

#[test]
fn a_queue_of_a_joinable_kind_counts_what_is_done() {
    let queue = JoinableQueue::<u32>::bounded(3).unwrap();
    queue.join().unwrap();
    (1..=3).for_each(|n| queue.put(n).unwrap());
    assert!(would_block(queue.try_put(4)) && queue.len() == 3 && queue.is_full());
    assert_eq!((queue.get().unwrap(), queue.try_get().unwrap()), (1, 2));
    queue.task_done().unwrap();
    assert!(timed_out(|limit| queue.join_timeout(limit)));
    queue.task_done().unwrap();
    assert!(matches!(queue.task_done(), Err(Error::NoTask)));
    assert_eq!(queue.get_timeout(LONG).unwrap(), 3);
    thread::scope(|scope| {
        let join = scope.spawn(|| queue.join());
        queue.task_done().unwrap();
        join.join().unwrap().unwrap();
    });
    queue.close().unwrap();
    assert!(queue.get().unwrap_err().is_closed() && queue.put(1).unwrap_err().error.is_closed());
}

#[test]
fn one_producer_and_one_consumer_pass_everything_on() {
    let (mut producer, mut consumer) = spsc::<String, ipc_queue::Postcard>(&Settings::new().items(2)).unwrap();
    producer.put("one".to_string()).unwrap();
    producer.put_timeout("two".to_string(), LONG).unwrap();
    let refused = producer.try_put("three".to_string()).unwrap_err();
    assert!(refused.value == "three" && refused.error.is_would_block());
    assert!(timed_out(|limit| producer.put_timeout("three".to_string(), limit)));
    assert_eq!((consumer.get().unwrap(), consumer.try_get().unwrap()), ("one".to_string(), "two".to_string()));
    assert!(would_block(consumer.try_get()) && timed_out(|limit| consumer.get_timeout(limit)));
    thread::scope(|scope| {
        scope.spawn(move || {
            (0..1000).for_each(|n| producer.put(format!("{n}")).unwrap());
            producer.put_many(&["a", "b", "c"].map(String::from)).unwrap();
        });
        (0..1000).for_each(|n| assert_eq!(consumer.get().unwrap(), format!("{n}")));
        let mut rest = Vec::new();
        while let Ok(some) = consumer.get_many(2) {
            assert!((1..=2).contains(&some.len()));
            rest.extend(some);
        }
        assert_eq!(rest, ["a", "b", "c"]);
    });
    assert!(consumer.get().unwrap_err().is_disconnected());
}
