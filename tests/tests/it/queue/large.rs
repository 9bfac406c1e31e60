//! Messages that do not lie in the ring.

use ipc_core::Process;
use ipc_queue::{Bytes, Error, Queue, Settings};
use ipc_tests::{eventually, isolated};

use super::{Holder, LONG, blocks, file_of, timed_out, while_waiting};

type ByteQueue = Queue<Vec<u8>, Bytes>;
type Consumer = ipc_queue::Consumer<Vec<u8>, Bytes>;
type Producer = ipc_queue::Producer<Vec<u8>, Bytes>;

const RING: usize = 64 * 1024;

/// A message of which every byte can be checked: it has so many, and of this number.
fn message(len: usize, number: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8).wrapping_add(number)).collect()
}

fn check(message: &[u8], len: usize, number: u8) {
    assert!(message == self::message(len, number), "message {number} of {len} bytes, {} have come", message.len());
}

/// Around everything that could be a limit.
const SIZES: [usize; 14] = [
    0,
    1,
    4095,
    RING / 4 - 17,
    RING / 4 - 8,
    RING / 4,
    RING / 4 + 1,
    RING / 2,
    RING - 8,
    RING,
    RING + 1,
    3 * RING,
    1_000_000,
    5,
];

#[test]
fn messages_of_any_size_keep_their_order_and_the_memory_is_given_back() {
    isolated(|| {
        let settings = Settings::new().ring(RING);
        let (queue, file) = file_of(|| ByteQueue::with(&settings).unwrap());
        let before = blocks(&file);
        let put = |queue: Producer| {
            for number in 0..20 {
                SIZES.iter().for_each(|len| queue.put(message(*len, number)).unwrap());
            }
        };
        let get = |queue: Consumer| {
            for number in 0..20 {
                SIZES.iter().for_each(|len| check(&queue.get().unwrap(), *len, number));
            }
        };
        let consumer = Process::spawn(get, queue.consumer()).unwrap();
        Process::spawn(put, queue.producer()).unwrap().join().unwrap();
        consumer.join().unwrap();
        assert_eq!(blocks(&file), before);

        // All of them at once.
        SIZES.iter().for_each(|len| queue.put(message(*len, 1)).unwrap());
        assert!(blocks(&file) > before + 1_000_000 / 512);
        queue.get_many(100).unwrap().iter().zip(SIZES).for_each(|(message, len)| check(message, len, 1));
        assert_eq!(blocks(&file), before);
    });
}

#[test]
fn many_large_messages_under_way_to_many_are_not_mixed_up() {
    isolated(|| {
        let (queue, file) = file_of(|| ByteQueue::with(&Settings::new().ring(RING).items(9)).unwrap());
        let before = blocks(&file);
        let put = |(queue, number): (Producer, u8)| {
            for n in 0..100 {
                let len = 10 + n * 1000;
                queue.put([&[number, n as u8][..], &message(len, number)].concat()).unwrap();
            }
        };
        let get = |queue: Consumer| {
            let mut count = 0;
            for bytes in queue.iter() {
                let bytes = bytes.unwrap();
                check(&bytes[2..], 10 + usize::from(bytes[1]) * 1000, bytes[0]);
                count += 1;
            }
            count
        };
        let consumers = [(); 3].map(|()| Process::spawn(get, queue.consumer()).unwrap());
        let producers = [1, 2, 3].map(|number| Process::spawn(put, (queue.producer(), number)).unwrap());
        drop(queue);
        producers.into_iter().for_each(|process| process.join().unwrap());
        assert_eq!(consumers.map(|process| process.join().unwrap()).iter().sum::<u32>(), 300);
        assert_eq!(blocks(&file), before);
    });
}

#[test]
fn a_large_message_that_was_leased_by_the_dead_comes_again_whole() {
    isolated(|| {
        let settings = Settings::new().ring(RING).max_deliveries(3);
        let (queue, file) = file_of(|| ByteQueue::with(&settings).unwrap());
        let before = blocks(&file);
        queue.put(message(1_000_000, 1)).unwrap();
        for deliveries in 1..=2 {
            Holder::of((queue.consumer(), deliveries), |(queue, deliveries): (Consumer, u32), hold| {
                let lease = queue.lease().unwrap();
                assert_eq!(lease.deliveries(), deliveries);
                check(&lease, 1_000_000, 1);
                hold();
            })
            .kill();
        }
        let peek = queue.peek().unwrap();
        let mut tail = [0; 10];
        peek.read_at(peek.len() - 10, &mut tail).unwrap();
        assert_eq!(tail, message(1_000_000, 1)[999_990..]);
        peek.release();
        assert_eq!(blocks(&file), before);

        // As a dead letter it takes its memory along.
        queue.put(message(500_000, 3)).unwrap();
        for _ in 0..3 {
            drop(queue.lease().unwrap());
        }
        assert!(queue.try_get().unwrap_err().is_would_block());
        assert!(blocks(&file) > before);
        let letters = queue.take_dead_letters().unwrap();
        check(letters[0].value.as_ref().unwrap(), 500_000, 3);
        assert_eq!((letters.len(), letters[0].deliveries), (1, 3));
        assert_eq!(blocks(&file), before);
    });
}

#[test]
fn a_message_that_is_too_large_is_given_back_and_changes_nothing() {
    isolated(|| {
        let settings = Settings::new().ring(RING).max_message(100_000);
        let (queue, file) = file_of(|| ByteQueue::with(&settings).unwrap());
        let before = blocks(&file);
        queue.put(message(100_000, 1)).unwrap();
        let refused = queue.put(message(100_001, 2)).unwrap_err();
        check(&refused.value, 100_001, 2);
        let text = refused.error.to_string();
        assert!(matches!(refused.error, Error::TooLarge { len: 100_001, max: 100_000 }), "{text}");
        assert!(text.contains("100001") && text.contains("100000"), "{text}");
        assert!(matches!(queue.put_bytes(&[0; 100_001]), Err(Error::TooLarge { .. })));
        assert!(matches!(queue.reserve(100_001).map(drop), Err(Error::TooLarge { .. })));
        // The ones before it are in.
        let error = queue.put_many(&[message(5, 3), message(200_000, 4), message(5, 5)]).unwrap_err();
        assert!(error.put == 1 && matches!(error.error, Error::TooLarge { len: 200_000, .. }));
        check(&queue.get().unwrap(), 100_000, 1);
        check(&queue.get().unwrap(), 5, 3);
        assert!(queue.is_empty());
        assert_eq!(blocks(&file), before);
    });
}

#[test]
fn what_nobody_takes_goes_with_the_queue() {
    isolated(|| {
        let (queue, file) = file_of(|| ByteQueue::new().unwrap());
        let holder = Holder::of(queue.clone(), |queue: ByteQueue, hold| {
            queue.put(message(10_000_000, 1)).unwrap();
            let _lease = queue.lease().unwrap();
            queue.put(message(10_000_000, 2)).unwrap();
            hold();
        });
        holder.kill();
        drop(queue);
        // Only this descriptor keeps the memory; nobody else has it.
        assert!(blocks(&file) > 0);
    });
}

#[test]
fn a_process_that_is_killed_while_it_puts_large_messages_leaves_no_memory_behind() {
    isolated(|| {
        let (queue, file) = file_of(|| ByteQueue::with(&Settings::new().items(2)).unwrap());
        let (before, _other) = (blocks(&file), queue.clone());
        for _ in 0..15 {
            let holder = Holder::of(queue.producer(), |queue: Producer, hold| {
                hold();
                let large = message(400_000, 1);
                loop {
                    queue.put(&large).map_err(Error::from).unwrap();
                }
            });
            let Holder { process, mut line } = holder;
            line.send(()).unwrap();
            check(&queue.get_timeout(LONG).unwrap(), 400_000, 1);
            process.kill().unwrap();
            process.join().unwrap_err();
            while let Ok(message) = queue.try_get() {
                check(&message, 400_000, 1);
            }
        }
        // What it was just writing is found at the latest when somebody puts, or waits.
        queue.put(message(400_000, 2)).unwrap();
        check(&queue.get().unwrap(), 400_000, 2);
        assert!(timed_out(|limit| queue.get_timeout(limit)));
        eventually("the memory is given back", || {
            let _ = queue.try_get();
            blocks(&file) == before
        });
    });
}

#[test]
fn a_waiting_put_of_a_large_message_goes_on_when_there_is_room() {
    isolated(|| {
        let queue = ByteQueue::bounded(1).unwrap();
        queue.put(message(1_000_000, 1)).unwrap();
        let (result, _) = while_waiting(
            || queue.put(message(2_000_000, 2)),
            || {
                let get = |queue: Consumer| check(&queue.get().unwrap(), 1_000_000, 1);
                Process::spawn(get, queue.consumer()).unwrap().join().unwrap();
            },
        );
        result.unwrap();
        check(&queue.get().unwrap(), 2_000_000, 2);
    });
}
