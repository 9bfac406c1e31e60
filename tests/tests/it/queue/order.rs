//! Who gets what, in which order.

use std::time::{Duration, Instant};

use ipc_core::{Connection, Process};
use ipc_pipe::duplex;
use ipc_queue::{Consumer, Error, Producer, Queue, Settings};
use ipc_tests::isolated;

use super::LONG;

/// Who put it, and as which one.
type Numbered = (u32, u32);

const MESSAGES: u32 = 5_000;

fn produce((queue, who): (Producer<Numbered>, u32)) {
    for n in 0..MESSAGES {
        queue.put((who, n)).unwrap();
    }
}

fn consume(queue: Consumer<Numbered>) -> Vec<Numbered> {
    queue.iter().map(Result::unwrap).collect()
}

fn consume_batches(queue: Consumer<Numbered>) -> Vec<Numbered> {
    let mut all = Vec::new();
    loop {
        match queue.get_many(7) {
            Ok(some) => {
                assert!(!some.is_empty() && some.len() <= 7);
                all.extend(some);
            }
            Err(Error::Disconnected) => return all,
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn produce_batches((queue, who): (Producer<Numbered>, u32)) {
    let all: Vec<Numbered> = (0..MESSAGES).map(|n| (who, n)).collect();
    for some in all.chunks(11) {
        queue.put_many(some).unwrap();
    }
}

type StartProducer = fn(Producer<Numbered>, u32) -> Process<()>;
type StartConsumer = fn(Consumer<Numbered>) -> Process<Vec<Numbered>>;

/// The messages of each producer came in its order to each consumer, and all together once.
fn check(parts: &[Vec<Numbered>], producers: u32, settings: &Settings) {
    for part in parts {
        for who in 0..producers {
            let of_one = part.iter().filter(|(by, _)| *by == who);
            assert!(of_one.is_sorted(), "the order of a producer is kept");
        }
    }
    let mut all = parts.concat();
    all.sort_unstable();
    let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(twice.is_empty(), "{settings:?}: came twice: {twice:?}, of {:?} that came", all.len());
    let expected: Vec<_> = (0..producers).flat_map(|who| (0..MESSAGES).map(move |n| (who, n))).collect();
    assert!(all == expected, "{settings:?}: {} of {} came", all.len(), expected.len());
}

fn run<const C: usize>(settings: &Settings, producers: [StartProducer; 2], consumers: [StartConsumer; C]) {
    let queue = Queue::with(settings).unwrap();
    let consumers = consumers.map(|start| start(queue.consumer()));
    let mut who = 0..;
    let producers = producers.map(|start| start(queue.producer(), who.next().unwrap()));
    drop(queue);
    producers.into_iter().for_each(|process| process.join().unwrap());
    check(&consumers.map(|process| process.join().unwrap()), 2, settings);
}

#[test]
fn each_message_comes_once_and_in_the_order_of_its_producer() {
    isolated(|| {
        let one = |queue, who| Process::spawn(produce, (queue, who)).unwrap();
        let many = |queue, who| Process::spawn(produce_batches, (queue, who)).unwrap();
        let get = |queue| Process::spawn(consume, queue).unwrap();
        let get_many = |queue| Process::spawn(consume_batches, queue).unwrap();
        for settings in
            [Settings::new(), Settings::new().items(1), Settings::new().ring(64 << 10), Settings::new().items(5)]
        {
            run(&settings, [one, one], [get]);
            run(&settings, [one, many], [get, get_many]);
        }
        run(&Settings::new(), [many, many], [get_many, get_many, get]);
    });
}

/// Each of these calls waits, if only for a moment, hence looks for the dead, while others are just taking something.
const MOMENT: Duration = Duration::from_nanos(1);

fn look_and_put((queue, who): (Producer<Numbered>, u32)) {
    for n in 0..MESSAGES {
        while queue.put_timeout((who, n), MOMENT).is_err() {}
    }
}

fn look_and_get(queue: Consumer<Numbered>) -> Vec<Numbered> {
    let mut all = Vec::new();
    loop {
        match queue.get_timeout(MOMENT) {
            Ok(message) => all.push(message),
            Err(Error::Timeout) => {}
            Err(Error::Disconnected) => return all,
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn who_looks_for_the_dead_takes_nothing_from_the_living() {
    isolated(|| {
        let put = |queue, who| Process::spawn(produce, (queue, who)).unwrap();
        let looking_put = |queue, who| Process::spawn(look_and_put, (queue, who)).unwrap();
        let get = |queue| Process::spawn(consume, queue).unwrap();
        let looking_get = |queue| Process::spawn(look_and_get, queue).unwrap();
        for items in [1, 2, 5] {
            run(&Settings::new().items(items), [put, looking_put], [get, looking_get]);
        }
    });
}

#[test]
fn the_order_is_that_of_all_puts_whoever_made_them() {
    isolated(|| {
        let queue = Queue::new().unwrap();
        let (mut order, theirs) = duplex::<u32, ()>().unwrap();
        let other = Process::spawn(
            |(queue, mut orders): (Producer<u32>, Connection<(), u32>)| {
                while let Ok(n) = orders.recv() {
                    queue.put(n).unwrap();
                    orders.send(()).unwrap();
                }
            },
            (queue.producer(), theirs),
        )
        .unwrap();
        for n in 0..1000 {
            if n % 3 == 0 {
                queue.put(n).unwrap();
            } else {
                order.send(n).unwrap();
                order.recv().unwrap();
            }
        }
        drop(order);
        other.join().unwrap();
        assert!(queue.get_many(usize::MAX).unwrap().into_iter().eq(0..1000));
    });
}

#[test]
fn a_put_is_there_for_all_when_it_returns_also_if_its_process_ends_then() {
    isolated(|| {
        let queue = Queue::<String>::new().unwrap();
        for n in 0..50 {
            let put = |(queue, text): (Producer<String>, String)| {
                queue.put(text).unwrap();
                ipc_tests::raw::exit(3); // nothing is tidied up
            };
            let process = Process::<()>::spawn(put, (queue.producer(), format!("message {n}"))).unwrap();
            assert!(process.join().is_err());
            assert_eq!((queue.len(), queue.is_empty()), (1, false));
            assert_eq!(queue.try_get().unwrap(), format!("message {n}"));
            assert!(queue.try_get().is_err_and(|error| error.is_would_block()));
        }
    });
}

#[test]
fn many_threads_of_many_processes_share_a_queue() {
    const THREADS: u32 = 4;
    isolated(|| {
        let queue = Queue::bounded(16).unwrap();
        let put = |queue: Producer<u64>| {
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| (1..=2000).for_each(|n| queue.put(n).unwrap()));
                }
            });
        };
        let get = |queue: Consumer<u64>| {
            let taken = std::thread::scope(|scope| {
                let add = || queue.iter().map(Result::unwrap).fold((0, 0), |(count, sum), n| (count + 1, sum + n));
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(add)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<(u32, u64)>>()
            });
            taken.into_iter().fold((0, 0), |all, part| (all.0 + part.0, all.1 + part.1))
        };
        let producers: Vec<_> = (0..2).map(|_| Process::spawn(put, queue.producer()).unwrap()).collect();
        let consumers: Vec<_> = (0..2).map(|_| Process::spawn(get, queue.consumer()).unwrap()).collect();
        drop(queue);
        producers.into_iter().for_each(|process| process.join().unwrap());
        let taken: Vec<(u32, u64)> = consumers.into_iter().map(|process| process.join().unwrap()).collect();
        assert_eq!(taken.iter().map(|part| part.0).sum::<u32>(), 2 * THREADS * 2000);
        assert_eq!(taken.iter().map(|part| part.1).sum::<u64>(), u64::from(2 * THREADS) * 2000 * 2001 / 2);
    });
}

#[test]
fn a_full_queue_gives_the_value_back_and_takes_it_once_another_process_has_made_room() {
    isolated(|| {
        let queue = Queue::bounded(2).unwrap();
        let _other = queue.clone(); // as if somebody else could still put something
        queue.put_many(&["a", "b"].map(String::from)).unwrap();
        assert!(queue.is_full() && queue.len() == 2 && queue.capacity() == Some(2));
        let refused = queue.try_put("c".to_string()).unwrap_err();
        assert_eq!(refused.value, "c");
        assert!(refused.error.is_would_block());
        assert!(super::timed_out(|limit| queue.put_timeout("c".to_string(), limit)));
        let (result, _) = super::while_waiting(
            || queue.put_timeout("c".to_string(), LONG),
            || {
                let get = |queue: Consumer<String>| queue.get().unwrap();
                assert_eq!(Process::spawn(get, queue.consumer()).unwrap().join().unwrap(), "a");
            },
        );
        result.unwrap();
        assert_eq!(queue.get_many(10).unwrap(), ["b", "c"]);
        assert!(super::timed_out(|limit| queue.get_timeout(limit)));
    });
}

#[test]
fn a_large_message_gets_its_turn_behind_small_ones_that_keep_coming() {
    isolated(|| {
        // A quarter of the ring just goes through it; small ones must not take every place that becomes free.
        let queue = Queue::<Vec<u8>>::with(&Settings::new().ring(64 << 10)).unwrap();
        let put_small = |queue: Producer<Vec<u8>>| while queue.put(vec![1; 100]).is_ok() {};
        let small = [(); 2].map(|()| Process::spawn(put_small, queue.producer()).unwrap());
        // So slowly that the queue is always full.
        let take = |queue: Consumer<Vec<u8>>| {
            while queue.get().is_ok() {
                let started = Instant::now();
                while started.elapsed() < Duration::from_micros(50) {}
            }
        };
        let taker = Process::spawn(take, queue.consumer()).unwrap();
        for _ in 0..20 {
            queue.put_timeout(vec![2; 16_000], LONG).unwrap();
        }
        queue.close().unwrap();
        small.into_iter().for_each(|process| process.join().unwrap());
        taker.join().unwrap();
    });
}

#[test]
fn who_needs_much_room_is_not_passed_for_ever_by_those_who_need_little() {
    isolated(|| {
        let queue = Queue::<Vec<u8>>::with(&Settings::new().ring(64 << 10)).unwrap();
        while queue.try_put(vec![1; 100]).is_ok() {}
        let (result, _) = super::while_waiting(
            || queue.put_timeout(vec![2; 16_000], LONG),
            || {
                for _ in 0..500 {
                    queue.get().unwrap();
                    let _ = queue.try_put(vec![1; 100]); // into the place that has just become free
                }
            },
        );
        result.unwrap();
    });
}
