//! Queues with one producer and one consumer.

use ipc_core::{Connection, Process};
use ipc_pipe::duplex;
use ipc_queue::{Error, Plain, Settings, SpscConsumer, SpscProducer, spsc};
use ipc_tests::isolated;

use super::{Holder, LONG, SOON, blocks, file_of, timed_out, while_waiting};

#[test]
fn all_messages_come_in_order_and_then_the_end() {
    isolated(|| {
        for settings in [Settings::new(), Settings::new().items(1), Settings::new().ring(64 << 10)] {
            let (producer, mut consumer) = spsc::<String, _>(&settings).unwrap();
            let put = |mut queue: SpscProducer<String>| {
                for n in 0..10_000 {
                    queue.put(format!("message {n}")).unwrap();
                }
            };
            let process = Process::spawn(put, producer).unwrap();
            for n in 0..10_000 {
                assert_eq!(consumer.get().unwrap(), format!("message {n}"));
            }
            assert!(consumer.get().unwrap_err().is_disconnected());
            assert!(consumer.try_get().unwrap_err().is_disconnected());
            process.join().unwrap();
        }
    });
}

#[test]
fn batches_of_plain_data_come_in_order() {
    isolated(|| {
        let (mut producer, consumer) = spsc::<[u64; 3], Plain>(&Settings::new().ring(64 << 10)).unwrap();
        let get = |mut queue: SpscConsumer<[u64; 3], Plain>| {
            let mut next = 0;
            while let Ok(some) = queue.get_many(100) {
                assert!(!some.is_empty() && some.len() <= 100);
                for message in some {
                    assert_eq!(message, [next, next + 1, 7]);
                    next += 1;
                }
            }
            next
        };
        let process = Process::spawn(get, consumer).unwrap();
        let all: Vec<_> = (0..50_000).map(|n| [n, n + 1, 7]).collect();
        all.chunks(33).for_each(|some| producer.put_many(some).unwrap());
        drop(producer);
        assert_eq!(process.join().unwrap(), 50_000);
    });
}

#[test]
fn an_end_that_was_sent_belongs_to_its_receiver() {
    isolated(|| {
        let (mut producer, mut consumer) = spsc::<u32, ipc_queue::Postcard>(&Settings::new()).unwrap();
        producer.put(1).unwrap();
        let (mut ours, mut theirs) = duplex::<SpscProducer<u32>, SpscConsumer<u32>>().unwrap();
        ours.send(&producer).unwrap();
        theirs.send(&consumer).unwrap();
        assert!(is_moved(producer.put(2).unwrap_err().error) && is_moved(producer.try_put(2).unwrap_err().error));
        assert!(is_moved(consumer.get().unwrap_err()) && is_moved(consumer.get_timeout(LONG).unwrap_err()));
        assert!(ours.send(&producer).is_err(), "it cannot be sent twice");
        let (mut first, mut second) = (theirs.recv().unwrap(), ours.recv().unwrap());
        first.put(2).unwrap();
        drop(producer);
        drop(consumer);
        assert_eq!((second.get().unwrap(), second.get().unwrap()), (1, 2));
        assert!(timed_out(|limit| second.get_timeout(limit)), "what was sent away is not the end of it");
        drop(first);
        assert!(second.get().unwrap_err().is_disconnected());
    });
}

fn is_moved(error: Error) -> bool {
    error.to_string().contains("sent") && !error.is_disconnected()
}

#[test]
fn the_other_end_learns_at_once_that_one_has_gone_or_was_killed() {
    isolated(|| {
        for is_killed in [false, true] {
            let end = |holder: Holder| if is_killed { holder.kill() } else { holder.release() };
            let (producer, mut consumer) = spsc::<u32, ipc_queue::Postcard>(&Settings::new()).unwrap();
            let holder = Holder::of(producer, |mut queue: SpscProducer<u32>, hold| {
                queue.put_many(&[1, 2]).unwrap();
                hold();
            });
            assert_eq!(consumer.get().unwrap(), 1);
            end(holder);
            assert_eq!(consumer.get().unwrap(), 2);
            assert!(consumer.get().unwrap_err().is_disconnected());

            let (producer, mut consumer) = spsc::<u32, ipc_queue::Postcard>(&Settings::new()).unwrap();
            let holder = Holder::of(producer, |_queue: SpscProducer<u32>, hold| hold());
            let (result, took) = while_waiting(move || consumer.get(), || end(holder));
            assert!(result.unwrap_err().is_disconnected() && took < SOON, "{took:?}");

            let (mut producer, consumer) = spsc::<u32, ipc_queue::Postcard>(&Settings::new().items(1)).unwrap();
            let holder = Holder::of(consumer, |_queue: SpscConsumer<u32>, hold| hold());
            producer.put(1).unwrap();
            assert!(producer.try_put(2).unwrap_err().error.is_would_block());
            assert!(timed_out(|limit| producer.put_timeout(2, limit)));
            let (result, took) = while_waiting(
                move || {
                    let refused = producer.put(2).unwrap_err();
                    (refused.value, refused.error.is_disconnected() && producer.put(3).is_err())
                },
                || end(holder),
            );
            assert!(result == (2, true) && took < SOON, "{took:?}");
        }
    });
}

#[test]
fn closing_ends_it_for_the_consumer_once_it_has_everything() {
    isolated(|| {
        let (mut producer, mut consumer) = spsc::<u32, ipc_queue::Postcard>(&Settings::new()).unwrap();
        producer.put(1).unwrap();
        producer.close().unwrap();
        assert!(producer.put(2).unwrap_err().error.is_closed());
        assert_eq!(consumer.get().unwrap(), 1);
        assert!(consumer.get().unwrap_err().is_closed());

        // Also for one who waits in another process.
        let (producer, mut consumer) = spsc::<u32, ipc_queue::Postcard>(&Settings::new()).unwrap();
        let holder = Holder::of(producer, |mut queue: SpscProducer<u32>, hold| {
            hold();
            queue.close().unwrap();
            hold();
        });
        let Holder { process, mut line } = holder;
        let (result, took) = while_waiting(|| consumer.get(), || line.send(()).unwrap());
        assert!(result.unwrap_err().is_closed() && took < SOON, "{took:?}");
        line.recv().unwrap();
        drop(line);
        process.join().unwrap();
    });
}

#[test]
fn large_messages_come_whole_and_leave_no_memory_behind() {
    isolated(|| {
        let ((mut producer, consumer), file) =
            file_of(|| spsc::<Vec<u8>, ipc_queue::Bytes>(&Settings::new().ring(65536).max_message(200_000)).unwrap());
        let before = blocks(&file);
        let get = |(mut queue, mut line): (SpscConsumer<Vec<u8>, ipc_queue::Bytes>, Connection<(), ()>)| {
            for n in 0..200 {
                assert!(queue.get().unwrap() == vec![n as u8; n * 1000]);
            }
            let _ = line.recv();
        };
        let (line, theirs) = duplex::<(), ()>().unwrap();
        let process = Process::spawn(get, (consumer, theirs)).unwrap();
        for n in 0..200 {
            producer.put(vec![n as u8; n * 1000]).unwrap();
        }
        let refused = producer.put_bytes(&[0; 300_000]).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { .. }), "{refused:?}");
        drop(line);
        process.join().unwrap();
        assert_eq!(blocks(&file), before);
    });
}

#[test]
fn a_stopped_peer_holds_nobody_up_longer_than_he_wants() {
    isolated(|| {
        let (mut producer, consumer) = spsc::<u32, ipc_queue::Postcard>(&Settings::new().items(1)).unwrap();
        let holder = Holder::of(consumer, |mut queue: SpscConsumer<u32>, hold| {
            hold();
            assert_eq!(queue.get().unwrap(), 1);
        });
        producer.put(1).unwrap();
        holder.stop();
        assert!(timed_out(|limit| producer.put_timeout(2, limit)));
        assert!(producer.try_put(2).unwrap_err().error.is_would_block());
        holder.go_on();
        holder.release();
        assert!(producer.put(2).unwrap_err().error.is_disconnected());
    });
}
