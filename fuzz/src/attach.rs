//! Memory with arbitrary contents in which objects are opened: an object or an error, and what it says of itself lies in the memory.
//! Locks are opened and not taken, as who may write a memory is trusted with the words of the locks in it; only such as were just made
//! are, also in memory that was not empty.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

use ipc_core::{Connection, Handle};
use ipc_shm::{Array, AtomicArray, AtomicValue, Segment, SharedMemory, Value};
use ipc_sync::{Barrier, Condvar, Event, Mutex, Once, RLock, RwLock, Semaphore, Signal};

use crate::Trace;
use crate::script::{Script, letters, pattern};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Mutex,
    RLock,
    RwLock,
    Semaphore,
    Signal,
    Condvar,
    Event,
    Barrier,
    Once,
    Value,
    Array,
    Atomics,
    Atomic,
}

const KINDS: [Kind; 13] = [
    Kind::Mutex,
    Kind::RLock,
    Kind::RwLock,
    Kind::Semaphore,
    Kind::Signal,
    Kind::Condvar,
    Kind::Event,
    Kind::Barrier,
    Kind::Once,
    Kind::Value,
    Kind::Array,
    Kind::Atomics,
    Kind::Atomic,
];

enum Object {
    Mutex(Mutex<u64>),
    RLock(RLock<u64>),
    RwLock(RwLock<u64>),
    Semaphore(Semaphore),
    Signal(Signal),
    Condvar(Condvar),
    Event(Event),
    Barrier(Barrier),
    Once(Once),
    Value(Value<u32>),
    Array(Array<u16>),
    Atomics(AtomicArray<u32>),
    Atomic(AtomicValue<u64>),
}

/// Why there is no object, without what differs from run to run.
type Refused = String;

fn refused(error: impl std::error::Error) -> Refused {
    letters(&error.to_string())
}

fn open(kind: Kind, segment: &Segment, at: usize) -> Result<Object, Refused> {
    Ok(match kind {
        Kind::Mutex => Object::Mutex(Mutex::open_in(segment, at).map_err(refused)?),
        Kind::RLock => Object::RLock(RLock::open_in(segment, at).map_err(refused)?),
        Kind::RwLock => Object::RwLock(RwLock::open_in(segment, at).map_err(refused)?),
        Kind::Semaphore => Object::Semaphore(Semaphore::open_in(segment, at).map_err(refused)?),
        Kind::Signal => Object::Signal(Signal::open_in(segment, at).map_err(refused)?),
        Kind::Condvar => Object::Condvar(Condvar::open_in(segment, at).map_err(refused)?),
        Kind::Event => Object::Event(Event::open_in(segment, at).map_err(refused)?),
        Kind::Barrier => Object::Barrier(Barrier::open_in(segment, at).map_err(refused)?),
        Kind::Once => Object::Once(Once::open_in(segment, at).map_err(refused)?),
        Kind::Value => Object::Value(Value::open_in(segment, at).map_err(refused)?),
        Kind::Array => Object::Array(Array::open_in(segment, at).map_err(refused)?),
        Kind::Atomics => Object::Atomics(AtomicArray::open_in(segment, at).map_err(refused)?),
        Kind::Atomic => Object::Atomic(AtomicValue::open_in(segment, at).map_err(refused)?),
    })
}

/// `n` says how much of it, or what is in it.
fn create(kind: Kind, segment: &Segment, at: usize, n: u8) -> Result<Object, Refused> {
    let some = u32::from(n);
    let elements = usize::from(n);
    Ok(match kind {
        Kind::Mutex => Object::Mutex(Mutex::create_in(segment, at, some.into()).map_err(refused)?),
        Kind::RLock => Object::RLock(RLock::create_in(segment, at, some.into()).map_err(refused)?),
        Kind::RwLock => Object::RwLock(RwLock::create_in(segment, at, some.into()).map_err(refused)?),
        Kind::Semaphore => Object::Semaphore(Semaphore::create_in(segment, at, some).map_err(refused)?),
        Kind::Signal => Object::Signal(Signal::create_in(segment, at, some).map_err(refused)?),
        Kind::Condvar => Object::Condvar(Condvar::create_in(segment, at).map_err(refused)?),
        Kind::Event => Object::Event(Event::create_in(segment, at).map_err(refused)?),
        Kind::Barrier => Object::Barrier(Barrier::create_in(segment, at, some).map_err(refused)?),
        Kind::Once => Object::Once(Once::create_in(segment, at).map_err(refused)?),
        Kind::Value => Object::Value(Value::create_in(segment, at, some).map_err(refused)?),
        Kind::Array => Object::Array(Array::create_zeroed_in(segment, at, elements).map_err(refused)?),
        Kind::Atomics => Object::Atomics(AtomicArray::create_zeroed_in(segment, at, elements).map_err(refused)?),
        Kind::Atomic => Object::Atomic(AtomicValue::create_in(segment, at, some.into()).map_err(refused)?),
    })
}

impl Object {
    /// How many bytes it has, from its header on.
    fn size(&self) -> usize {
        match self {
            Object::Mutex(_) => Mutex::<u64>::size(),
            Object::RLock(_) => RLock::<u64>::size(),
            Object::RwLock(_) => RwLock::<u64>::size(),
            Object::Semaphore(semaphore) => Semaphore::size(semaphore.permits()),
            Object::Signal(_) => Signal::size(),
            Object::Condvar(_) => Condvar::size(),
            Object::Event(_) => Event::size(),
            Object::Barrier(barrier) => Barrier::size(barrier.parties()),
            Object::Once(_) => Once::size(),
            Object::Value(_) => Value::<u32>::size(),
            Object::Array(array) => Array::<u16>::size(array.len()).expect("it exists"),
            Object::Atomics(array) => AtomicArray::<u32>::size(array.len()).expect("it exists"),
            Object::Atomic(_) => AtomicValue::<u64>::size(),
        }
    }

    /// What was just made is as new, whatever was in the memory before. Here, and only here, locks are taken.
    fn check_new(&self, n: u8) {
        let (some, number) = (u32::from(n), u64::from(n));
        match self {
            Object::Mutex(lock) => assert_eq!(*lock.try_lock().expect("nobody has it"), number),
            Object::RLock(lock) => assert_eq!(lock.try_lock().expect("nobody has it").get(), number),
            Object::RwLock(lock) => {
                *lock.try_write().expect("nobody has it") += 1;
                assert_eq!(*lock.try_read().expect("nobody has it"), number + 1);
            }
            Object::Semaphore(semaphore) => assert_eq!(semaphore.available().expect("it can be asked"), some),
            Object::Signal(signal) => assert_eq!(signal.value().expect("it can be asked"), some),
            Object::Condvar(_) => {}
            Object::Event(event) => assert!(!event.is_set().expect("it can be asked")),
            Object::Barrier(barrier) => {
                assert_eq!(barrier.waiting().expect("it can be asked"), 0);
                assert_eq!(barrier.broken_by().expect("it can be asked"), None);
                let parties: Vec<_> = (0..some).map(|_| barrier.enroll().expect("there is a place")).collect();
                assert!(barrier.enroll().is_err(), "{} and one more", parties.len());
            }
            Object::Once(once) => {
                let mut runs = 0;
                once.try_call_once(|| runs += 1).expect("nobody else runs it");
                assert_eq!((runs, once.is_completed().expect("it can be asked")), (1, true));
            }
            Object::Value(value) => assert_eq!(*value.try_lock().expect("nobody has it"), some),
            Object::Array(array) => {
                assert_eq!(*array.try_lock().expect("nobody has it"), *vec![0; usize::from(n)]);
            }
            Object::Atomics(array) => assert_eq!(array.to_vec(), vec![0; usize::from(n)]),
            Object::Atomic(atomic) => assert_eq!(atomic.get(), number),
        }
    }

    /// Whatever does not take a lock. Nobody else changes the memory meanwhile, so it has to fit together.
    fn examine(&self, trace: &mut Trace) {
        match self {
            Object::Mutex(_) | Object::RLock(_) | Object::RwLock(_) | Object::Value(_) => {}
            Object::Semaphore(semaphore) => examine_semaphore(semaphore, trace),
            Object::Signal(signal) => examine_signal(signal, trace),
            Object::Condvar(condvar) => condvar.notify_one().and_then(|()| condvar.notify_all()).expect("no fork"),
            Object::Event(event) => examine_event(event, trace),
            Object::Barrier(barrier) => examine_barrier(barrier, trace),
            Object::Once(once) => {
                let completed = once.is_completed().expect("no fork");
                if completed {
                    once.call_once(|| panic!("again")).expect("there is nothing to do");
                }
                trace.note(completed);
            }
            Object::Array(array) => {
                assert!(
                    array.get(array.len()).is_err() && array.update(usize::MAX, |_| ()).is_err(),
                    "no such element"
                );
                trace.note(array.is_empty());
            }
            Object::Atomics(array) => examine_atomics(array, trace),
            Object::Atomic(number) => {
                let before = number.fetch_add(3);
                assert_eq!(number.swap(before), before.wrapping_add(3));
            }
        }
    }
}

fn examine_semaphore(semaphore: &Semaphore, trace: &mut Trace) {
    let available = semaphore.available().expect("no fork");
    assert!(available <= semaphore.permits());
    match semaphore.try_acquire() {
        Ok(permit) => {
            assert_eq!(semaphore.available().expect("no fork") + 1, available);
            drop(permit);
        }
        Err(_) => assert_eq!(available, 0),
    }
    assert_eq!(semaphore.available().expect("no fork"), available);
    let released = semaphore.release().is_ok();
    assert_eq!(semaphore.available().expect("no fork"), available + u32::from(released));
    trace.note((available == 0, available == semaphore.permits(), released));
}

fn examine_signal(signal: &Signal, trace: &mut Trace) {
    let value = signal.value().expect("no fork");
    let taken = signal.try_acquire().is_ok();
    assert_eq!((taken, signal.value().expect("no fork")), (value > 0, value.saturating_sub(1)));
    let released = signal.release().is_ok();
    assert!(signal.release_many(u32::MAX).is_err(), "more than there can be");
    assert_eq!(signal.value().expect("no fork"), value.saturating_sub(1) + u32::from(released));
    trace.note((taken, released));
}

fn examine_event(event: &Event, trace: &mut Trace) {
    let was_set = event.is_set().expect("no fork");
    assert_eq!(event.wait_timeout(Duration::ZERO).is_ok(), was_set);
    event.set().expect("no fork");
    assert!(event.is_set().expect("no fork"));
    event.wait().expect("it is set");
    event.clear().expect("no fork");
    assert!(!event.is_set().expect("no fork"));
    trace.note(was_set);
}

fn examine_barrier(barrier: &Barrier, trace: &mut Trace) {
    let waiting = barrier.waiting().expect("no fork");
    assert!(waiting <= barrier.parties());
    let before = barrier.broken_by();
    barrier.abort().expect("no fork");
    let after = barrier.broken_by();
    // One that is broken without a cause is an error, and remains one.
    match (&before, &after) {
        (Ok(None), Ok(Some(_))) | (Err(_), Err(_)) => {}
        (Ok(Some(before)), Ok(Some(after))) => assert_eq!(before, after),
        _ => panic!("{before:?} before it was aborted, and {after:?} afterwards"),
    }
    assert_eq!(barrier.waiting().expect("no fork"), 0);
    trace.note((waiting > 0, before.map(|by| by.map(|by| letters(&by.to_string()))).map_err(refused)));
}

fn examine_atomics(array: &AtomicArray<u32>, trace: &mut Trace) {
    let (len, all) = (array.len(), array.to_vec());
    assert_eq!(all.len(), len);
    assert!(array.get(len).is_err() && array.at(usize::MAX).is_err(), "no such element");
    assert!(array.read_at(len, &mut [0]).is_err() && array.write_at(usize::MAX, &[0]).is_err(), "no such element");
    if let Some((last, first)) = all.last().zip(all.first()) {
        assert_eq!(array.fetch_add(len - 1, 1).expect("the last element"), *last);
        array.set(len - 1, *last).expect("the last element");
        assert_eq!(array.get(0).expect("the first element"), *first);
    }
    trace.note(len.checked_ilog2());
}

/// The header of an honest object of each kind: whoever may write a memory can copy that of another one.
fn headers() -> &'static [[u8; 64]] {
    static HEADERS: OnceLock<Vec<[u8; 64]>> = OnceLock::new();
    HEADERS.get_or_init(|| {
        let header = |kind: Kind| {
            let memory = SharedMemory::anonymous(1 << 14).expect("memory");
            let made = create(kind, memory.segment(), 0, 1).expect("there is room");
            let mut header = [0; 64];
            drop(made); // its bytes are not read while there is a handle
            memory.read_at(0, &mut header).expect("there are so many bytes");
            header
        };
        KINDS.map(header).to_vec()
    })
}

/// Where a header says how many words there are behind the object.
const WORDS: usize = 32;

const SIZES: [usize; 12] = [4096, 1, 64, 128, 136, 200, 1000, 4095, 8192, 16_384, 65_536, 1 << 20];

struct Fixture<'a> {
    memory: SharedMemory,
    /// The memory as another process has it, which may write anywhere at any time.
    file: File,
    kept: Vec<(usize, Object)>,
    trace: &'a mut Trace,
}

fn file_of(segment: &Segment) -> File {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut to = Connection::<Segment, ()>::try_from(OwnedFd::from(ours)).expect("a socket");
    let mut from = Connection::<(), Handle>::try_from(OwnedFd::from(theirs)).expect("a socket");
    to.send(segment).expect("room for it");
    from.recv().expect("it was sent").into_fd().expect("nobody else has it").into()
}

pub(crate) fn run(input: &[u8], trace: &mut Trace) {
    let headers = headers();
    let mut script = Script::new(input);
    let size = SIZES[script.byte() % SIZES.len()];
    let memory = SharedMemory::anonymous(size).expect("memory");
    let file = file_of(memory.segment());
    let mut fixture = Fixture { memory, file, kept: Vec::new(), trace };
    for _ in 0..100 {
        let Some(step) = script.step() else { break };
        let step = step % 12;
        fixture.trace.note(step);
        match step {
            0 => {
                let (at, len) = (script.short(), script.byte());
                fixture.write(at, script.take(len));
            }
            1 => {
                let (kind, at) = (fixture.kind(&mut script), fixture.place(&mut script));
                fixture.create(kind, at, script.byte() as u8);
            }
            2 => {
                let (kind, at) = (fixture.kind(&mut script), fixture.place(&mut script));
                let words = fixture.number(&mut script);
                fixture.write(at, &headers[kind as usize]);
                fixture.write(at.saturating_add(WORDS), &words.to_ne_bytes());
            }
            3 => {
                let (from, to, mut bytes) = (fixture.place(&mut script), fixture.place(&mut script), [0; 256]);
                let len = script.byte();
                if fixture.file.read_exact_at(&mut bytes[..len], from as u64).is_ok() {
                    fixture.write(to, &bytes[..len]);
                }
            }
            4 => {
                let (at, number) = (script.short() << 3, fixture.number(&mut script));
                fixture.write(at, &number.to_ne_bytes());
            }
            5 => {
                // Many numbers, each of them another one.
                let (at, count, first) = (script.short() << 3, script.byte() << 6, fixture.number(&mut script));
                let numbers = (0..count as u64).flat_map(|n| first.wrapping_add(n).to_ne_bytes());
                fixture.write(at, &numbers.collect::<Vec<_>>());
            }
            6 => {
                let (at, len) = (script.short(), script.short());
                fixture.write(at, &pattern(len, at));
            }
            7 | 8 => {
                let (kind, at) = (fixture.kind(&mut script), fixture.place(&mut script));
                fixture.open(kind, at, step == 8);
            }
            9 => {
                let index = script.byte();
                if index < fixture.kept.len() {
                    drop(fixture.kept.swap_remove(index));
                }
            }
            10 => fixture.examine(),
            _ => fixture.open_all(script.byte() << 6),
        }
    }
    fixture.open_all(0);
    // Objects keep their memory.
    let Fixture { memory, kept, trace, .. } = fixture;
    drop(memory);
    kept.iter().for_each(|(_, object)| object.examine(trace));
}

impl Fixture<'_> {
    fn kind(&self, script: &mut Script<'_>) -> Kind {
        KINDS[script.byte() % KINDS.len()]
    }

    /// Mostly a multiple of the alignment inside the memory.
    fn place(&self, script: &mut Script<'_>) -> usize {
        let size = self.memory.size();
        match script.byte() {
            near @ 0..128 => near << 6,
            128 => script.short(),
            129 => size.saturating_sub(64) & !63,
            130 => (size & !63).saturating_sub(script.byte() << 6),
            131 => size,
            132 => size.next_multiple_of(64),
            133 => usize::MAX - 63,
            134 => usize::MAX,
            135 => 1 << 62,
            136 => isize::MAX as usize - 63,
            far => (far - 128) << 10,
        }
    }

    /// Those at the limits of something.
    fn number(&self, script: &mut Script<'_>) -> u64 {
        let me = self.memory.segment().participant().number();
        match script.byte() {
            small @ 0..128 => small as u64,
            128 => u64::MAX,
            129 => 1 << 63,
            130 => 1 << 62,
            131 => (1 << 62) - 1,
            132 => u64::MAX >> 3,
            133 => u64::MAX >> 4,
            134 => me,
            135 => me | 1 << 63,
            136 => me + 1,
            137 => 1 << 16,
            138 => (1 << 16) + 1,
            139 => u64::from(u32::MAX),
            140 => 1 << 32,
            141 => self.memory.size() as u64,
            142 => self.memory.size() as u64 / 8,
            143 => (self.memory.size() as u64 / 8).wrapping_sub(script.byte() as u64),
            144 => i32::MAX as u64,
            145 => 1 << 56 | script.short() as u64,
            146 => 2 << 56 | script.short() as u64,
            147 => script.short() as u64,
            _ => script.take(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        }
    }

    /// Writes what of it lies in the memory.
    fn write(&self, at: usize, bytes: &[u8]) {
        let room = self.memory.size().saturating_sub(at);
        if room > 0 {
            self.file.write_all_at(&bytes[..bytes.len().min(room)], at as u64).expect("there is room");
        }
    }

    fn create(&mut self, kind: Kind, at: usize, n: u8) {
        match create(kind, self.memory.segment(), at, n) {
            Ok(object) => {
                self.check_place(at, &object);
                object.check_new(n);
                self.trace.note((kind, "created"));
            }
            Err(why) => self.trace.note((kind, why)),
        }
    }

    fn open(&mut self, kind: Kind, at: usize, keep: bool) {
        match open(kind, self.memory.segment(), at) {
            Ok(object) => {
                self.check_place(at, &object);
                self.trace.note((kind, "opened", keep));
                object.examine(self.trace);
                if keep && self.kept.len() < 16 {
                    self.kept.push((at, object));
                }
            }
            Err(why) => self.trace.note((kind, why)),
        }
    }

    /// Of all kinds, at the first places from there on.
    fn open_all(&mut self, from: usize) {
        for at in (from..self.memory.size()).step_by(Segment::ALIGNMENT).take(8) {
            KINDS.into_iter().for_each(|kind| self.open(kind, at, false));
        }
    }

    /// Again, as the memory may have changed since they were opened.
    fn examine(&mut self) {
        for (at, object) in &self.kept {
            let place = *at..at + object.size();
            assert!(place.end <= self.memory.size(), "it has become longer than the memory: {place:?}");
            object.examine(self.trace);
        }
    }

    /// It lies in the memory, and not across another object: two locks would protect the same bytes.
    fn check_place(&self, at: usize, object: &Object) {
        let place = at..at + object.size();
        assert!(place.end <= self.memory.size() && at % Segment::ALIGNMENT == 0, "at {place:?}");
        for (other, known) in &self.kept {
            let known = *other..other + known.size();
            let apart = |a: &Range<usize>, b: &Range<usize>| a.end <= b.start || b.end <= a.start;
            assert!(place.start == known.start || apart(&place, &known), "at {place:?} and {known:?}");
        }
    }
}
