//! Memory that another process fills with whatever it likes: errors, but no panic, no hang and no death.
//!
//! All but the locks, whose words are the C library's: whoever may write them can stop everybody.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ipc_core::{Connection, Process};
use ipc_pipe::duplex;
use ipc_queue::{Bytes, Error, Lease, Postcard, Queue, Settings, SpscConsumer, SpscProducer, spsc};
use ipc_tests::isolated;

use super::{SOON, file_of, locks};

/// The state: settings, places, the hands that are used first.
const STATE: Range<u64> = 64..1024;
const RING: u64 = 64 << 10;

/// The memory of a queue, as one sees it who may write it.
struct Memory {
    file: File,
    locks: [Range<u64>; 2],
    /// How far it is mapped: up to the end of the ring, behind which the file is sparse. The header says so.
    mapped: u64,
}

impl Memory {
    fn new(file: File) -> Memory {
        let mut memory = Memory { file, locks: locks(), mapped: 0 };
        memory.mapped = memory.word(40);
        assert!(memory.mapped > STATE.end + RING);
        memory
    }

    fn word(&self, at: u64) -> u64 {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, at).unwrap();
        u64::from_ne_bytes(word)
    }

    fn write(&self, at: u64, word: u64) {
        self.file.write_all_at(&word.to_ne_bytes(), at).unwrap();
    }

    /// Writes a word somewhere where it may hurt.
    fn spoil(&self, random: &mut Random) {
        let ring = self.mapped - RING;
        let range = match random.below(8) {
            0..5 => STATE,
            5 => STATE.end..ring, // other hands, leases, owners of extents
            _ => ring..ring + 4096,
        };
        let at = range.start + random.below(range.end - range.start) / 8 * 8;
        if !self.locks.iter().any(|lock| lock.contains(&at)) {
            self.write(at, random.word(self));
        }
    }
}

/// Numbers that look like anything but are the same again.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// One that may be taken for a place, a length, a flag or a number of somebody.
    fn word(&mut self, memory: &Memory) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(64),
            3 => self.below(100),
            4 => self.below(1 << 20) << 24 | self.below(9),
            5 => self.next(),
            // What stands elsewhere.
            _ => memory.word(self.below(STATE.end / 8) * 8) ^ ((1 << self.below(64)) & self.next()),
        }
    }
}

/// Runs a call that must end soon, with whatever result.
fn tried<T, E: Into<Error>>(what: &str, call: impl FnOnce() -> Result<T, E>) -> Option<T> {
    let started = Instant::now();
    let result = call().map_err(Into::into);
    let took = started.elapsed();
    assert!(took < SOON, "{what} took {took:?}");
    if let Err(Error::Damaged(what)) = &result {
        assert!(!what.is_empty());
        DAMAGED.fetch_add(1, Ordering::Relaxed);
    }
    result.ok()
}

/// How many calls have noticed something in this process.
static DAMAGED: AtomicU32 = AtomicU32::new(0);

const LIMIT: Duration = Duration::from_millis(2);

/// Everything that can be called.
fn use_it<T: Clone, C>(queue: &Queue<T, C>, value: &T)
where
    C: ipc_queue::Encode<T> + ipc_queue::Decode<T>,
{
    tried("put", || queue.put_timeout(value, LIMIT));
    tried("try_put", || queue.try_put(value));
    tried("put_many", || queue.put_many_timeout(&[value, value, value], LIMIT));
    tried("get", || queue.get_timeout(LIMIT));
    tried("try_get", || queue.try_get());
    let lease = tried("lease", || queue.lease_timeout(LIMIT));
    let other = tried("try_lease", || queue.try_lease());
    if let Some(peek) = tried("peek", || queue.peek_timeout(LIMIT)) {
        tried("read_at", || peek.read_at(0, &mut vec![0; peek.len().min(1 << 20)]));
        tried("byte", || peek.byte(peek.len() / 2));
        if peek.len() % 2 == 0 {
            peek.release();
        }
    }
    tried("get_many", || queue.get_many_timeout(5, LIMIT));
    tried("get_bytes", || queue.get_bytes_into_timeout(&mut Vec::new(), LIMIT));
    lease.map(|lease| tried("ack", || lease.ack()));
    drop(other);
    tried("take_dead_letters", || queue.take_dead_letters());
    let _ = (queue.len(), queue.is_empty(), queue.is_full(), queue.capacity(), queue.is_closed());
    tried("readiness", || queue.readiness().map(|ready| ipc_core::wait(&[&ready], LIMIT).map(drop)));
}

/// A queue with a bit of everything, one message under a lease included, and its memory.
fn filled() -> (Queue<Vec<u8>>, Lease<Vec<u8>>, Memory) {
    let settings = Settings::new().ring(RING as usize).leases(4).items(20).max_message(100_000).max_deliveries(5);
    let (queue, file) = file_of(|| Queue::<Vec<u8>>::with(&settings).unwrap());
    for len in [0, 10, 2000, 50_000, 100, 7, 30_000] {
        queue.put(vec![1; len]).unwrap();
    }
    let lease = queue.lease().unwrap();
    drop(queue.lease().unwrap());
    drop(queue.peek().unwrap());
    (queue, lease, Memory::new(file))
}

#[test]
fn words_that_are_not_what_they_should_be_are_errors() {
    isolated(|| {
        for seed in 1..=150 {
            let (queue, _lease, memory) = filled();
            let mut random = Random::new(seed);
            for _ in 0..=random.below(16) {
                memory.spoil(&mut random);
            }
            let used = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| use_it(&queue, &vec![2; 10])));
            assert!(used.is_ok(), "seed {seed}");
        }
        let damaged = DAMAGED.load(Ordering::Relaxed);
        assert!(damaged > 30, "only {damaged} calls have noticed it");
    });
}

#[test]
fn memory_that_changes_all_the_time_is_survived() {
    isolated(|| {
        for seed in 1..=10 {
            let (queue, _lease, memory) = filled();
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut random = Random::new(seed);
                    while !over.load(Ordering::Relaxed) {
                        memory.spoil(&mut random);
                        std::thread::yield_now();
                    }
                });
                let used = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    (0..10).for_each(|n| use_it(&queue, &vec![2; n * 1000]));
                }));
                over.store(true, Ordering::Relaxed);
                assert!(used.is_ok(), "seed {seed}");
            });
        }
    });
}

#[test]
fn one_producer_and_one_consumer_survive_it_as_well() {
    isolated(|| {
        for seed in 1..=150 {
            let settings = Settings::new().ring(RING as usize).items(5).max_message(100_000);
            let ((mut producer, mut consumer), file) = file_of(|| spsc::<Vec<u8>, Bytes>(&settings).unwrap());
            let memory = Memory::new(file);
            // There are few words that it looks at: those that change, and the messages.
            let state = || STATE.step_by(8).map(|at| (at, memory.word(at))).collect::<Vec<_>>();
            let before = state();
            producer.put(vec![1; 10]).unwrap();
            consumer.get().unwrap();
            let changed = before.into_iter().zip(state()).filter(|(before, after)| before != after);
            let ring = memory.mapped - RING;
            let places: Vec<u64> = changed.map(|((at, _), _)| at).chain((ring..ring + 80).step_by(8)).collect();
            [10, 50_000, 3].iter().for_each(|len| producer.put(vec![1; *len]).unwrap());
            let mut random = Random::new(seed);
            for _ in 0..=random.below(4) {
                let at = places[random.below(places.len() as u64) as usize];
                memory.write(at, random.word(&memory));
            }
            let used = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for _ in 0..3 {
                    tried("put", || producer.put_timeout(vec![2; 20], LIMIT));
                    tried("try_put", || producer.try_put(vec![2; 40_000]));
                    tried("get", || consumer.get_timeout(LIMIT));
                    tried("try_get", || consumer.try_get());
                }
            }));
            assert!(used.is_ok(), "seed {seed}");
        }
        let damaged = DAMAGED.load(Ordering::Relaxed);
        assert!(damaged > 30, "only {damaged} calls have noticed it");
    });
}

#[test]
fn who_attaches_a_queue_whose_words_lie_is_told_or_finds_it_usable() {
    isolated(|| {
        let use_what_comes = |mut line: Connection<(), Queue<Vec<u8>>>| {
            let mut errors = 0;
            for _ in 0..60 {
                match line.recv() {
                    Ok(queue) => use_it(&queue, &vec![3; 100]),
                    Err(ipc_core::Error::Decode(_)) => errors += 1,
                    Err(error) => panic!("{error:?}"),
                }
                line.send(()).unwrap();
            }
            errors
        };
        let (mut line, theirs) = duplex::<Queue<Vec<u8>>, ()>().unwrap();
        let process = Process::spawn(use_what_comes, theirs).unwrap();
        for seed in 1..=60 {
            let (queue, _lease, memory) = filled();
            let mut random = Random::new(seed);
            // Also the header, and the settings, which are read once.
            for _ in 0..=random.below(3) {
                let word = random.word(&memory);
                memory.write(random.below(16) * 8, word);
                memory.spoil(&mut random);
            }
            line.send(&queue).unwrap();
            line.recv().unwrap();
        }
        let errors: u32 = process.join().unwrap();
        assert!(errors > 10, "{errors}");
    });
}

#[test]
fn ends_of_a_queue_for_two_whose_words_lie_are_refused() {
    isolated(|| {
        type Ends = (SpscProducer<u32>, SpscConsumer<u32>);
        for at in (64..64 + 64).step_by(8) {
            let ((producer, consumer), file) = file_of(|| spsc::<u32, Postcard>(&Settings::new()).unwrap());
            let memory = Memory::new(file);
            memory.write(at, memory.word(at) ^ 1);
            let (mut line, theirs) = duplex::<Ends, bool>().unwrap();
            line.send((producer, consumer)).unwrap();
            let process = Process::spawn(|mut line: Connection<bool, Ends>| line.recv().is_err(), theirs).unwrap();
            let is_refused = process.join().unwrap();
            // Other numbers of items, bytes, deliveries or dead letters may be as good.
            assert!(is_refused || matches!(at, 64 | 80 | 96 | 112), "{at}");
        }
    });
}
