//! A queue in whose memory anybody may write anything at any time, but for the words of its locks: whoever may write a memory is trusted
//! with those. Its calls give values or errors and come to an end, and nothing is taken out of it that is longer than it allows.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_core::{Connection, Handle};
use ipc_queue::{Error, Lease, Queue, Result, Settings, SpscConsumer, SpscProducer, spsc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Trace;
use crate::script::{Script, letters, pattern};

type Value = Vec<u8>;

/// Where things lie, in words; `ipc-queue/src/layout.rs` has it in bytes.
mod place {
    use std::ops::Range;

    pub(super) const SETTINGS: usize = 8;
    pub(super) const RING: usize = SETTINGS + 1;
    pub(super) const TAIL: usize = 32;
    pub(super) const TAKEN: usize = 54;
    pub(super) const HEAD: usize = 64;
    pub(super) const HANDS: usize = 80;
    pub(super) const LEASES: usize = 600;
    pub(super) const LEASE_WORDS: usize = 8 + 128;
    pub(super) const EXTENTS: usize = 4096;
    /// The locks of the producers and of the consumers.
    pub(super) const LOCKS: [Range<usize>; 2] = [16..22, 48..54];
    /// Everything before the hands that is not a lock.
    pub(super) const PLAIN: [Range<usize>; 4] = [0..16, 22..36, 54..68, 592..600];
    /// The largest page of all machines.
    pub(super) const PAGE: usize = 64 << 10;
}

/// A place in the ring is a word: bytes before it by 8, whether it is closed, messages before it.
const UNIT: u64 = 1 << 24;
const CLOSED: u64 = 1 << 23;

/// The memory as another process has it.
struct Memory {
    file: File,
    ring: usize,
    leases: usize,
    /// Our number in it, as far as that is known.
    me: u64,
}

impl Memory {
    fn new(file: OwnedFd, ring: usize, leases: usize) -> Memory {
        // Opened anew: what was sent counts as a handle.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = File::options().read(true).write(true).open(path).expect("our own file");
        let memory = Memory { file, ring, leases, me: 7 };
        assert_eq!(memory.word(place::RING), ring as u64, "the queue's layout has changed");
        memory
    }

    fn word(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at as u64 * 8).expect("there are so many bytes");
        u64::from_ne_bytes(bytes)
    }

    fn set(&self, at: usize, word: u64) {
        self.write(at * 8, &word.to_ne_bytes());
    }

    /// What does not belong to a lock.
    fn write(&self, at: usize, bytes: &[u8]) {
        let [first, second] = place::LOCKS.map(|words| words.start * 8..words.end * 8);
        for part in [0..first.start, first.end..second.start, second.end..self.end()] {
            let part = part.start.max(at)..part.end.min(at + bytes.len());
            if !part.is_empty() {
                let bytes = &bytes[part.start - at..part.end - at];
                self.file.write_all_at(bytes, part.start as u64).expect("there is room");
            }
        }
    }

    /// As if somebody had died with a lock: the kernel or another process wrote this.
    fn die(&self, lock: &Range<usize>) {
        self.file.write_all_at(&9u32.to_ne_bytes(), lock.end as u64 * 8 - 4).expect("there is room");
    }

    fn lease(&self, lease: usize) -> usize {
        place::LEASES + self.leases + lease * place::LEASE_WORDS
    }

    fn extents(&self) -> usize {
        place::LEASES + self.leases * (1 + place::LEASE_WORDS)
    }

    fn ring_start(&self) -> usize {
        ((self.extents() + 2 * place::EXTENTS) * 8).next_multiple_of(place::PAGE)
    }

    /// Behind the ring.
    fn end(&self) -> usize {
        self.ring_start() + self.ring
    }

    /// The word in the ring at a place.
    fn in_ring(&self, place: u64) -> usize {
        self.ring_start() / 8 + (place / UNIT) as usize % (self.ring / 8)
    }

    /// Those at the limits of something.
    fn number(&self, script: &mut Script<'_>) -> u64 {
        match script.byte() {
            small @ 0..64 => small as u64,
            // Near a place, in front of it or behind, with a message more or less.
            near @ 64..112 => {
                let place = self.word([place::TAIL, place::TAKEN, place::HEAD][near % 3]);
                let moved = place.wrapping_add((script.byte() as i8 as u64).wrapping_mul(UNIT));
                moved & !(CLOSED - 1) | moved.wrapping_add(near as u64 / 8 % 4) & (CLOSED - 1)
            }
            112 => self.word(place::TAIL) | CLOSED,
            113 => self.word(place::TAIL).wrapping_add(self.ring as u64 / 8 * UNIT),
            114 => self.word(place::HEAD).wrapping_sub(UNIT),
            115 => self.word(place::HEAD).wrapping_add(1 << 63),
            // Owners: of a hand, a lease, an extent.
            120 => self.me,
            121 => self.me + 1,
            122 => 1 << 63,
            123 => 1 << 63 | 1,
            124 => 1 << 62 | self.me,
            125 => 1 << 62 | (self.me + 1),
            126 => 1 << 62 | script.byte() as u64,
            127 => 1 << 63 | self.word(place::TAKEN) >> 1,
            // What stands before a message.
            128 => 1 << 32 | 16,
            129 => 1 << 32 | script.short() as u64,
            130 => script.short() as u64,
            131 => self.ring as u64 - script.byte() as u64,
            132 => u64::from(u32::MAX),
            133 => (script.byte() as u64) << 40 | script.byte() as u64,
            134 => !0 << 40 | script.byte() as u64,
            140 => u64::MAX,
            141 => u64::MAX >> 1,
            142 => 1 << 40,
            143 => self.ring as u64,
            144 => script.short() as u64,
            145 => u64::MAX - script.byte() as u64,
            _ => script.take(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        }
    }
}

/// Sends something to ourselves, as what it is in the bytes.
fn through<A: Serialize, B: DeserializeOwned>(value: &A) -> Result<B, ipc_core::Error> {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut to = Connection::<A, ()>::try_from(OwnedFd::from(ours)).expect("a socket");
    let mut from = Connection::<(), B>::try_from(OwnedFd::from(theirs)).expect("a socket");
    to.send(value)?;
    from.recv()
}

/// The file under an end of a queue.
fn file_of(end: &impl Serialize) -> OwnedFd {
    let (_, file): (u8, Handle) = through(end).expect("room for it");
    file.into_fd().expect("nobody else has it")
}

const PRODUCER: u8 = 1;
const CONSUMER: u8 = 2;

const ITEMS: [usize; 4] = [0, 1, 2, 7];
const LONGEST: [usize; 6] = [1 << 20, 10, 2000, 20_000, 100_000, 1 << 30];
const LEASES: [usize; 4] = [4, 0, 1, 70];
/// Longer than a lease has room for, and than the fourth of the ring.
const LENGTHS: [usize; 16] =
    [0, 1, 7, 8, 9, 100, 1000, 1024, 1025, 3000, 16_000, 16_384, 16_385, 40_000, 65_536, 200_000];
/// How many steps there are at most.
const STEPS: usize = 200;
/// How many of them may wait.
const WAITS: usize = 4;

pub(crate) fn run(input: &[u8], trace: &mut Trace) {
    let mut script = Script::new(input);
    let kind = script.byte();
    let ring = place::PAGE << (kind >> 1 & 1);
    let leases = LEASES[kind >> 2 & 3];
    let (items, longest) = (ITEMS[script.byte() % ITEMS.len()], LONGEST[script.byte() % LONGEST.len()]);
    let deliveries = (kind >> 4 & 3) as u32;
    let settings =
        Settings::new().ring(ring).items(items).max_message(longest).leases(leases).max_deliveries(deliveries);
    if kind & 1 == 1 {
        single(&settings, ring, script, trace);
    } else {
        let queue = Queue::with(&settings).expect("memory");
        let mut memory = Memory::new(file_of(&queue), ring, leases);
        queue.put(vec![1]).expect("room");
        let peek = queue.peek().expect("a message");
        memory.me = memory.word(place::HANDS);
        drop(peek);
        let most = longest.next_multiple_of(place::PAGE).max(ring);
        let mut several = Several { memory, most, queue: Some(queue), kept: Vec::new(), waits: 0, trace };
        for _ in 0..STEPS {
            let Some(step) = script.step() else { break };
            several.step(step, &mut script);
        }
        several.end();
    }
}

/// What a step writes over the memory, if it is one that does.
fn write(memory: &Memory, step: u8, script: &mut Script<'_>) {
    match step {
        0 | 1 => {
            let words = place::PLAIN.into_iter().flatten().collect::<Vec<_>>();
            let at = words[script.byte() % words.len()];
            memory.set(at, memory.number(script));
        }
        2 => {
            // All fields of a hand: whose, from where to where, in which lease from where on, in which order.
            let at = place::HANDS + script.byte() % 64 * 8;
            (0..6).for_each(|field| memory.set(at + field, memory.number(script)));
        }
        3 => {
            let at = place::HANDS + script.byte() % 64 * 8 + script.byte() % 6;
            memory.set(at, memory.number(script));
        }
        4 if memory.leases > 0 => {
            // The owner, the length, the extent, how often, in which order.
            let lease = script.byte() % memory.leases;
            memory.set(place::LEASES + lease, memory.number(script));
            let fields = memory.lease(lease);
            (0..4).for_each(|field| memory.set(fields + field, memory.number(script)));
        }
        5 => {
            let extent = script.byte() % 8;
            let (owner, len) = (memory.number(script), memory.number(script));
            memory.set(memory.extents() + extent, owner);
            memory.set(memory.extents() + place::EXTENTS + extent, len);
        }
        6 | 7 => {
            // The words of a message.
            let at = memory.word([place::TAKEN, place::HEAD, place::TAIL][script.byte() % 3]);
            let first = memory.in_ring(at.wrapping_add(script.byte() as u64 / 16 * UNIT));
            (first..first + script.byte() % 4).for_each(|word| memory.set(word, memory.number(script)));
        }
        8 => {
            let (at, len) = (script.short() * 16, script.byte());
            memory.write(at, script.take(len));
        }
        9 => {
            // Many owners at once.
            let (region, owner) = (script.byte(), memory.number(script));
            match region % 3 {
                0 => (0..64).for_each(|hand| memory.set(place::HANDS + hand * 8, owner)),
                1 => (0..memory.leases).for_each(|lease| memory.set(place::LEASES + lease, owner)),
                _ => memory.write(memory.extents() * 8, &owner.to_ne_bytes().repeat(place::EXTENTS)),
            }
        }
        10 => memory.die(&place::LOCKS[script.byte() % 2]),
        _ => {
            let (at, len) = (script.short() * 16, script.short());
            memory.write(at, &pattern(len, at));
        }
    }
}

/// Steps that write are as many.
const WRITES: u8 = 12;

struct Several<'a> {
    memory: Memory,
    /// No message may be longer.
    most: usize,
    queue: Option<Queue<Value>>,
    kept: Vec<Lease<Value>>,
    waits: usize,
    trace: &'a mut Trace,
}

impl Several<'_> {
    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let step = step % 32;
        self.trace.note(step);
        if step < WRITES {
            return write(&self.memory, step, script);
        }
        if step == 12 {
            return self.attach(script.byte());
        }
        let Some(queue) = self.queue.clone() else { return };
        match step {
            13 | 14 => {
                let value = value(script);
                self.note(queue.try_put(value).map_err(|error| error.error));
            }
            15 => {
                let values: Vec<_> = (0..script.byte()).map(|n| vec![n as u8; n % 50]).collect();
                self.note(queue.try_put_many(&values).map_err(|error| error.error));
            }
            16 => self.note(queue.try_put_bytes(&value(script))),
            17 | 18 => self.get(&queue),
            19 => {
                let values = queue.try_get_many(script.short());
                self.note(values.map(|values| values.len().checked_ilog2()));
            }
            20 => {
                let mut bytes = Vec::new();
                let got = queue.try_get_bytes_into(&mut bytes);
                self.check(bytes.len());
                self.note(got);
            }
            21 | 22 => self.lease(&queue),
            23 if !self.kept.is_empty() => {
                let lease = self.kept.swap_remove(script.byte() % self.kept.len());
                if script.byte() % 2 == 0 { drop(lease) } else { lease.ack().expect("no fork") }
            }
            24 => self.peek(&queue, script),
            25 => self.reserve(&queue, script),
            26 => match queue.take_dead_letters() {
                Ok(letters) => {
                    letters.iter().for_each(|letter| self.check(letter.bytes.len()));
                    self.note(Ok(letters.len().checked_ilog2()));
                }
                Err(error) => self.note::<()>(Err(error)),
            },
            27 => self.look(&queue),
            28 => queue.close().expect("no fork"),
            29 if self.waits < WAITS => {
                self.waits += 1;
                self.wait(&queue, script.byte());
            }
            30 => drop(self.queue.take()),
            _ => self.get(&queue),
        }
    }

    fn note<R: std::hash::Hash>(&mut self, result: Result<R>) {
        match result {
            Ok(found) => self.trace.note(found),
            Err(error) => self.trace.note(letters(&format!("{error} {}", reason(&error)))),
        }
    }

    fn check(&self, len: usize) {
        assert!(len <= self.most, "a message of {len} bytes");
    }

    /// Whoever arrives anew believes nothing. With all handles gone also the size of the mapping is read again.
    fn attach(&mut self, how: usize) {
        if how & 1 == 1 {
            (self.queue, self.kept) = (None, Vec::new());
        }
        let again = Memory::new_file(&self.memory.file);
        let queue = through::<_, Queue<Value>>(&((how >> 1 & 3) as u8, Handle::from(again)));
        match queue {
            Ok(queue) => {
                self.trace.note("attached");
                self.look(&queue);
                self.queue = Some(queue);
            }
            Err(error) => self.trace.note(letters(&ipc_core::explain(&error))),
        }
    }

    fn get(&mut self, queue: &Queue<Value>) {
        let got = queue.try_get();
        if let Ok(value) = &got {
            self.check(value.len());
        }
        self.note(got.map(|value| value.len().checked_ilog2()));
    }

    fn lease(&mut self, queue: &Queue<Value>) {
        match queue.try_lease() {
            Ok(lease) => {
                self.check(lease.len());
                self.trace.note(("lease", lease.deliveries().checked_ilog2()));
                if self.kept.len() < 80 {
                    self.kept.push(lease);
                }
            }
            Err(error) => self.note::<()>(Err(error)),
        }
    }

    /// Looks at several at a time, and does something else meanwhile.
    fn peek(&mut self, queue: &Queue<Value>, script: &mut Script<'_>) {
        let (count, how) = (script.byte() % 80, script.byte());
        let mut peeks = Vec::new();
        loop {
            match queue.try_peek() {
                Ok(peek) if peeks.len() < count => peeks.push(peek),
                Ok(peek) => break drop(peek),
                Err(error) => break self.note::<()>(Err(error)),
            }
        }
        self.trace.note(peeks.len().checked_ilog2());
        self.memory.me = [self.memory.word(place::HANDS)].into_iter().find(|me| (1..1 << 62).contains(me)).unwrap_or(7);
        if how & 1 == 1 {
            write(&self.memory, script.byte() as u8 % WRITES, script);
        }
        for peek in &peeks {
            let mut bytes = vec![0; how];
            let read = peek.read_at(script.byte(), &mut bytes);
            let past = peek.read_at(usize::MAX, &mut bytes[..how.min(1)]);
            assert!(past.is_err() || how == 0, "there is no such byte");
            let byte = peek.byte(peek.len().wrapping_sub(1));
            self.note(read.and(byte.map(|_| (peek.deliveries().checked_ilog2(), peek.is_empty()))));
        }
        if how & 2 == 2 {
            self.get(queue);
            self.lease(queue);
        }
        for peek in peeks {
            if how & 4 == 4 { peek.release() } else { drop(peek) }
        }
    }

    fn reserve(&mut self, queue: &Queue<Value>, script: &mut Script<'_>) {
        let (len, how) = (LENGTHS[script.byte() % LENGTHS.len()], script.byte());
        let mut room = match queue.try_reserve(len) {
            Ok(room) => room,
            Err(error) => return self.note::<()>(Err(error)),
        };
        room.fill(0, len, 0xf1).expect("that much was reserved");
        assert!(room.write_at(len, &[0]).is_err() && room.write_at(usize::MAX, &[0]).is_err(), "there is no such byte");
        if how & 1 == 1 {
            write(&self.memory, script.byte() as u8 % WRITES, script);
            assert!(queue.try_put(vec![1]).is_err(), "nobody can put anything meanwhile");
        }
        room.write_at(len.min(how), &pattern(len - len.min(how), how)).expect("that much was reserved");
        match how & 2 {
            2 => drop(room),
            _ => self.note(room.commit()),
        }
    }

    fn look(&mut self, queue: &Queue<Value>) {
        let few = (queue.len().checked_ilog2(), queue.is_empty(), queue.is_full(), queue.is_closed(), queue.capacity());
        let stats = queue.stats().expect("it can be asked");
        assert!(format!("{queue:?} {stats:?}").len() < 1000);
        self.trace.note((few, stats.unfinished.checked_ilog2(), stats.dead_letters.checked_ilog2()));
    }

    /// With calls that may wait, for a moment.
    fn wait(&mut self, queue: &Queue<Value>, how: usize) {
        let moment = Duration::from_micros(500);
        let result = match how % 5 {
            0 => queue.put_timeout(vec![3; how * 100], moment).map_err(|error| error.error),
            1 => queue.get_timeout(moment).map(drop),
            2 => queue.lease_timeout(moment).map(drop),
            3 => queue.get_many_timeout(how, moment).map(drop),
            _ => queue.reserve_timeout(how, moment).map(drop),
        };
        assert!(!matches!(result, Err(Error::WouldBlock)), "it was to wait");
        self.note(result);
    }

    /// Everything comes out and back, in the end.
    fn end(mut self) {
        if let Some(queue) = self.queue.take() {
            self.get(&queue);
            self.lease(&queue);
            self.look(&queue);
            self.note(queue.try_put(vec![9; 30]).map_err(|error| error.error));
            drop(std::mem::take(&mut self.kept));
            queue.close().expect("no fork");
            for _ in 0..300 {
                match queue.try_get() {
                    Ok(value) => self.check(value.len()),
                    Err(Error::Decode(_)) => {}
                    Err(error) => return self.note::<()>(Err(error)),
                }
            }
        }
    }
}

impl Memory {
    fn new_file(file: &File) -> OwnedFd {
        file.as_fd().try_clone_to_owned().expect("a descriptor")
    }
}

fn reason(error: &Error) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

fn value(script: &mut Script<'_>) -> Value {
    let len = LENGTHS[script.byte() % LENGTHS.len()];
    pattern(len, script.byte())
}

/// The same for one producer and one consumer.
fn single(settings: &Settings, ring: usize, mut script: Script<'_>, trace: &mut Trace) {
    let (producer, consumer) = spsc::<Value, _>(settings).expect("memory");
    let file = file_of(&producer);
    let memory = Memory::new(file.try_clone().expect("a descriptor"), ring, 0);
    // To send an end is to give it away.
    let producer = through::<_, SpscProducer<Value>>(&(PRODUCER, Handle::from(file))).expect("it was sent");
    let (mut producer, mut consumer): (Option<SpscProducer<Value>>, Option<SpscConsumer<Value>>) =
        (Some(producer), Some(consumer));
    let mut waits = 0;
    let note = |trace: &mut Trace, result: Result<()>| match result {
        Ok(()) => trace.note("done"),
        Err(error) => trace.note(letters(&format!("{error} {}", reason(&error)))),
    };
    for _ in 0..STEPS {
        let Some(step) = script.step() else { break };
        let step = step % 32;
        trace.note(step);
        match step {
            0..WRITES => write(&memory, step, &mut script),
            12 => {
                drop(producer.take());
                let again = (PRODUCER, Handle::from(Memory::new_file(&memory.file)));
                producer = through(&again).map_err(|error| trace.note(letters(&ipc_core::explain(&error)))).ok();
            }
            13 => {
                drop(consumer.take());
                let again = (CONSUMER, Handle::from(Memory::new_file(&memory.file)));
                consumer = through(&again).map_err(|error| trace.note(letters(&ipc_core::explain(&error)))).ok();
            }
            14..20 => {
                let Some(producer) = &mut producer else { continue };
                match step {
                    18 => {
                        let _ = (producer.len(), producer.is_empty(), producer.is_full());
                        assert!(format!("{producer:?}").len() < 1000);
                    }
                    19 if script.byte() % 4 == 0 => note(trace, producer.close()),
                    19 if waits < WAITS => {
                        waits += 1;
                        let put = producer.put_timeout(value(&mut script), Duration::from_micros(500));
                        note(trace, put.map_err(|error| error.error));
                    }
                    _ => note(trace, producer.try_put(value(&mut script)).map_err(|error| error.error)),
                }
            }
            _ => {
                let Some(consumer) = &mut consumer else { continue };
                match step {
                    20 => {
                        let _ = (consumer.len(), consumer.is_empty());
                        assert!(format!("{consumer:?}").len() < 1000);
                    }
                    21 if waits < WAITS => {
                        waits += 1;
                        note(trace, consumer.get_timeout(Duration::from_micros(500)).map(drop));
                    }
                    // It waits for the first one.
                    22 if !consumer.is_empty() => match consumer.try_get() {
                        Ok(_) if !consumer.is_empty() => {}
                        result => note(trace, result.map(drop)),
                    },
                    _ => note(trace, consumer.try_get().map(drop)),
                }
            }
        }
    }
}
