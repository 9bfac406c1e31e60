//! Records of several writers, honest and not, in any cuts: what comes out is what was written, or is called torn or garbage.

use std::collections::{BTreeMap, VecDeque};

use ipc_fifo::assembly::{Assembly, Event};
use ipc_fifo::record::{HEADER, Header, PAYLOAD};

use crate::Trace;
use crate::script::{Script, pattern};

/// The longest message.
const MAX: u64 = 20_000;
const WRITERS: usize = 4;

/// What comes out.
#[derive(Debug, PartialEq)]
enum Seen {
    Message(Vec<u8>),
    Torn { writer: u64, arrived: u64, total: u64 },
    TooLarge(u64),
    Garbage,
}

#[derive(Debug, Default)]
struct Writer {
    number: u64,
    /// The message that it is writing, and how much of it is out.
    message: Option<(Vec<u8>, usize)>,
    /// When its first record was written.
    since: usize,
    /// What is out of an earlier one whose rest will not come, when that began, and its length.
    left: Option<(usize, u64, u64)>,
}

impl Writer {
    /// What a reader has of a message that is not complete: since when, how much, of how much.
    fn unfinished(&self) -> Option<(usize, u64, u64)> {
        let current = self.message.as_ref().filter(|(_, out)| *out > 0);
        self.left.or(current.map(|(message, out)| (self.since, *out as u64, message.len() as u64)))
    }
}

struct Fixture<'a> {
    assembly: Assembly,
    writers: BTreeMap<u64, Writer>,
    /// What was written and is not read.
    pipe: Vec<u8>,
    written: usize,
    records: usize,
    /// What must come out, as long as all keep to the format.
    honest: Option<VecDeque<Seen>>,
    /// How many bytes came out, as messages and garbage.
    came: u64,
    trace: &'a mut Trace,
}

pub(crate) fn run(input: &[u8], trace: &mut Trace) {
    let mut script = Script::new(input);
    let mut fixture = Fixture {
        assembly: Assembly::new(MAX),
        writers: BTreeMap::new(),
        pipe: Vec::new(),
        written: 0,
        records: 0,
        honest: Some(VecDeque::new()),
        came: 0,
        trace,
    };
    for _ in 0..100 {
        let Some(step) = script.step() else { break };
        let writer = u64::from(step / 16) % WRITERS as u64 + 1;
        fixture.trace.note(step % 16);
        match step % 16 {
            0..=4 => fixture.go_on(writer, &mut script),
            5 => fixture.begin(writer, script.short() % (MAX as usize + 100)),
            6 => {
                let len = script.byte();
                let bytes = script.take(len).to_vec();
                fixture.hostile(&bytes);
            }
            7 => {
                let number = |script: &mut Script<'_>| match script.byte() {
                    255 => u64::MAX,
                    254 => 1 << 62,
                    small => (small * small) as u64,
                };
                let len = script.byte() % 32;
                let (offset, number, more) = (number(&mut script) >> 2, number(&mut script), number(&mut script) >> 2);
                let header =
                    Header { len: len.max(1), number, writer, offset, total: offset + len.max(1) as u64 + more };
                let bytes = [&header.encode()[..], &pattern(header.len, 1)].concat();
                fixture.hostile(&bytes);
            }
            8 => {
                // A record that is cut off, or whose header is changed.
                let header = Header { len: 4, number: 9, writer, offset: 0, total: 4 };
                let mut bytes = [&header.encode()[..], b"four"].concat();
                let (at, bit) = (script.byte() % HEADER, script.byte());
                match bit & 8 {
                    0 => bytes.truncate(at),
                    _ => bytes[at] ^= 1 << (bit % 8),
                }
                fixture.hostile(&bytes);
            }
            9 => {
                fixture.assembly.mark_gone(writer);
                fixture.honest = None; // it may go on all the same
            }
            10..=12 => {
                let n = script.short();
                fixture.read(n, false);
            }
            _ => fixture.read(usize::MAX, true),
        }
    }
    fixture.read(usize::MAX, true);
    fixture.assembly.end();
    if let Some(honest) = &mut fixture.honest {
        let mut unfinished: Vec<_> =
            fixture.writers.iter().filter_map(|(number, w)| Some((w.unfinished()?, *number))).collect();
        unfinished.sort_unstable();
        for ((_, arrived, total), writer) in unfinished.into_iter().filter(|((_, _, total), _)| *total <= MAX) {
            honest.push_back(Seen::Torn { writer, arrived, total });
        }
    }
    fixture.drain();
    assert!(fixture.honest.is_none_or(|honest| honest.is_empty()), "something did not come");
    assert!(!fixture.assembly.is_waiting() && !fixture.assembly.may_be_ready());
}

impl Fixture<'_> {
    fn begin(&mut self, writer: u64, len: usize) {
        let entry = self.writers.entry(writer).or_default();
        entry.number += 1;
        let new = Some((pattern(len, entry.number as usize + writer as usize), 0));
        if let Some((old, out)) = std::mem::replace(&mut entry.message, new) {
            if out > 0 {
                entry.left = Some((entry.since, out as u64, old.len() as u64));
            }
        }
    }

    /// Writes the next record of a writer.
    fn go_on(&mut self, writer: u64, script: &mut Script<'_>) {
        if self.writers.get(&writer).is_none_or(|writer| writer.message.is_none()) {
            let len = match script.byte() {
                few @ 0..128 => few,
                many => many * 100,
            };
            self.begin(writer, len);
        }
        let entry = self.writers.get_mut(&writer).expect("it was begun");
        let Some((message, out)) = &mut entry.message else { return };
        let part = &message[*out..message.len().min(*out + PAYLOAD)];
        let total = message.len() as u64;
        let header = Header { len: part.len(), number: entry.number, writer, offset: *out as u64, total };
        self.pipe.extend(header.encode());
        self.pipe.extend_from_slice(part);
        if *out == 0 {
            entry.since = self.records;
            let mut told = Vec::new();
            // That the rest of the last one will not come is seen now.
            if let Some((_, arrived, total)) = entry.left.take().filter(|(_, _, total)| *total <= MAX) {
                told.push(Seen::Torn { writer, arrived, total });
            }
            if total > MAX {
                told.push(Seen::TooLarge(total));
            }
            self.honest.iter_mut().for_each(|honest| honest.extend(told.drain(..)));
        }
        self.records += 1;
        *out += part.len();
        if *out == message.len() {
            let (message, _) = entry.message.take().expect("it is there");
            if let Some(honest) = self.honest.as_mut().filter(|_| total <= MAX) {
                honest.push_back(Seen::Message(message));
            }
        }
    }

    fn hostile(&mut self, bytes: &[u8]) {
        self.honest = None;
        self.pipe.extend_from_slice(bytes);
    }

    /// One read, of up to so many bytes; a read that is said to have emptied the pipe has.
    fn read(&mut self, n: usize, emptied: bool) {
        let n = n.min(self.pipe.len());
        let room = self.assembly.room(n);
        assert!(room.len() >= n);
        room[..n].copy_from_slice(&self.pipe[..n]);
        self.pipe.drain(..n);
        self.written += n;
        self.assembly.arrived(n, emptied);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.assembly.take() {
            self.trace.note(std::mem::discriminant(&event));
            let seen = match event {
                Event::Message(bytes) => Seen::Message(bytes.to_vec()),
                Event::Long(bytes) => {
                    let copy = bytes.clone();
                    self.assembly.recycle(bytes);
                    Seen::Message(copy)
                }
                Event::Torn { writer, arrived, total } => {
                    assert!(arrived <= total && arrived <= self.written as u64);
                    Seen::Torn { writer, arrived, total }
                }
                Event::TooLarge { len } => {
                    assert!(len > MAX);
                    Seen::TooLarge(len)
                }
                Event::Garbage { bytes } => {
                    self.came += bytes;
                    Seen::Garbage
                }
            };
            if let Seen::Message(bytes) = &seen {
                assert!(bytes.len() as u64 <= MAX);
                self.came += bytes.len() as u64;
            }
            assert!(self.came <= self.written as u64, "more came out than went in");
            if let Some(honest) = &mut self.honest {
                assert_eq!(Some(seen), honest.pop_front());
            }
        }
    }
}
