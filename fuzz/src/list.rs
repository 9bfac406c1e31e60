//! Arbitrary bytes opened as Python's list: a simple parser and the list agree on what they are, before and after changes, honest and not.

use ipc_shm::{Error, Item, ShareableList, SharedMemory};

use crate::Trace;
use crate::script::{Script, letters};

/// Where the parts of an element are.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    value: usize,
    room: usize,
    format: usize,
    code: usize,
}

/// The places of all elements, if the bytes are a list.
fn parse(bytes: &[u8]) -> Option<Vec<Place>> {
    let len = word(bytes, 0)?;
    if len == 0 {
        return (bytes.len() < 24).then(Vec::new);
    }
    let is_old = word(bytes, 8)? != 0;
    let mut places = Vec::new();
    let (mut start, mut n) = (0u64, 0u64);
    while n < len {
        let end = if is_old {
            start.checked_add(word(bytes, 8 + 8 * n as usize)?)?
        } else {
            word(bytes, 16 + 8 * n as usize)?
        };
        let room = end.checked_sub(start).filter(|room| *room >= 8 && room % 8 == 0 && end <= bytes.len() as u64)?;
        places.push(Place { value: start as usize, room: room as usize, format: 0, code: 0 });
        (start, n) = (end, n + 1);
    }
    let values = 8 + 8 * places.len() + if is_old { 0 } else { 8 };
    let formats = values + start as usize;
    let codes = formats + 8 * places.len();
    for (n, place) in places.iter_mut().enumerate() {
        (place.value, place.format, place.code) = (place.value + values, formats + 8 * n, codes + n);
    }
    (codes + places.len() <= bytes.len()).then_some(places)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
}

/// What an element must be read as.
#[derive(Debug, PartialEq)]
enum Expected {
    Item(Item),
    /// By its bits: one that is not a number equals none.
    Float(u64),
    BadText,
    BadType,
}

impl Expected {
    fn of(place: &Place, bytes: &[u8]) -> Expected {
        let (number, format) = (&bytes[place.value..place.value + 8], trimmed(&bytes[place.format..place.format + 8]));
        let bits = u64::from_ne_bytes(number.try_into().expect("eight bytes"));
        let text = || {
            let digits = std::str::from_utf8(format.strip_suffix(b"s")?).ok()?;
            let all_digits = digits.bytes().all(|digit| digit.is_ascii_digit());
            let len: usize = all_digits.then(|| digits.parse().ok())??;
            Some(trimmed(bytes[place.value..place.value + place.room].get(..len)?).to_vec())
        };
        match (format, bytes[place.code]) {
            (b"xxxxxx?x", 3) => Expected::Item(Item::None),
            (b"xxxxxxx?", 0) => Expected::Item(Item::Bool(number[7] != 0)),
            (b"q", 0) => Expected::Item(Item::Int(bits as i64)),
            (b"d", 0) => Expected::Float(bits),
            (_, 1) => match text().map(String::from_utf8) {
                Some(Ok(text)) => Expected::Item(Item::Str(text)),
                Some(Err(_)) => Expected::BadText,
                None => Expected::BadType,
            },
            (_, 2) => text().map_or(Expected::BadType, |bytes| Expected::Item(Item::Bytes(bytes))),
            _ => Expected::BadType,
        }
    }

    fn found(result: Result<Item, Error>) -> Expected {
        match result {
            Ok(Item::Float(number)) => Expected::Float(number.to_bits()),
            Ok(item) => Expected::Item(item),
            Err(Error::Text { .. }) => Expected::BadText,
            Err(Error::Layout(_)) => Expected::BadType,
            Err(error) => panic!("an element of the list is none: {error:?}"),
        }
    }
}

struct Fixture<'a> {
    memory: SharedMemory,
    list: ShareableList,
    places: Vec<Place>,
    trace: &'a mut Trace,
}

/// How many elements are looked at: the others say nothing new and take long.
const MOST: usize = 64;

pub(crate) fn run(input: &[u8], trace: &mut Trace) {
    let mut script = Script::new(input);
    let len = script.short();
    let steps = script.take(len);
    let more = [0, 1, 7, 8, 64, 4096][script.byte() % 6];
    let contents = script.rest();
    let memory = SharedMemory::anonymous((contents.len() + more).max(1)).expect("memory");
    memory.write_at(0, contents).expect("there is room");
    let Some((list, places)) = open(&memory, trace) else { return };
    let mut fixture = Fixture { memory, list, places, trace };
    fixture.read();
    let mut script = Script::new(steps);
    for _ in 0..60 {
        let Some(step) = script.step() else { break };
        fixture.trace.note(step % 8);
        match step % 8 {
            0..=2 => fixture.set(&mut script),
            3 => {
                let (at, len) = (script.short() % fixture.memory.size(), script.byte() % 16);
                let len = len.min(fixture.memory.size() - at);
                fixture.memory.write_at(at, &[script.take(len), &[0xff; 16]].concat()[..len]).expect("there is room");
            }
            4 if !fixture.places.is_empty() => {
                // The type of an element, by somebody who knows where it is.
                let place = &fixture.places[script.byte() % fixture.places.len()];
                let (format, code) = (FORMATS[script.byte() % FORMATS.len()], (script.byte() % 5) as u8);
                fixture.memory.write_at(place.format, format).expect("there is room");
                fixture.memory.write_at(place.code, &[code]).expect("there is room");
            }
            5 => fixture.copy(),
            6 => drop(open(&fixture.memory, fixture.trace)),
            _ => fixture.read(),
        }
    }
    fixture.read();
    fixture.copy();
}

const FORMATS: [&[u8; 8]; 12] = [
    b"xxxxxx?x",
    b"xxxxxxx?",
    b"q\0\0\0\0\0\0\0",
    b"d\0\0\0\0\0\0\0",
    b"0s\0\0\0\0\0\0",
    b"8s\0\0\0\0\0\0",
    b"16s\0\0\0\0\0",
    b"9999999s",
    b"s\0\0\0\0\0\0\0",
    b"-8s\0\0\0\0\0",
    b"00000008",
    b"0000008s",
];

/// The list, if there is one: the parser must agree.
fn open(memory: &SharedMemory, trace: &mut Trace) -> Option<(ShareableList, Vec<Place>)> {
    let bytes = memory.to_vec(0, memory.size()).expect("all of it");
    match (ShareableList::from_memory(memory.clone()), parse(&bytes)) {
        (Ok(list), Some(places)) => {
            assert_eq!(list.len(), places.len());
            trace.note(("list", list.len().checked_ilog2()));
            Some((list, places))
        }
        (Err(error @ Error::Layout(_)), None) => {
            trace.note(letters(&error.to_string()));
            None
        }
        (Ok(list), None) => panic!("what is no list was opened as one of {} elements", list.len()),
        (Err(error), places) => panic!("{error:?}, but it is {:?}", places.map(|places| places.len())),
    }
}

impl Fixture<'_> {
    fn bytes(&self) -> Vec<u8> {
        self.memory.to_vec(0, self.memory.size()).expect("all of it")
    }

    fn read(&mut self) {
        let bytes = self.bytes();
        for (n, place) in self.places.iter().enumerate().take(MOST) {
            let (expected, found) = (Expected::of(place, &bytes), Expected::found(self.list.get(n)));
            assert_eq!(found, expected, "element {n}");
            assert_eq!(self.list.room(n).expect("an element"), place.room);
            let format = self.list.format(n);
            assert!(format.is_ok() || expected == Expected::BadType, "{format:?} of {expected:?}");
            self.trace.note((std::mem::discriminant(&expected), place.room.ilog2()));
        }
        let len = self.places.len();
        for none in [len, usize::MAX] {
            assert!(matches!(self.list.get(none), Err(Error::Index { .. })), "there is no such element");
            assert!(matches!(self.list.set(none, 1), Err(Error::Index { .. })), "there is no such element");
        }
        assert_eq!(self.list.iter().rev().take(MOST).count(), len.min(MOST));
    }

    fn set(&mut self, script: &mut Script<'_>) {
        if self.places.is_empty() {
            return;
        }
        let index = script.short() % self.places.len();
        let item = item(script);
        let (before, result) = (self.bytes(), self.list.set(index, &item));
        let (after, place) = (self.bytes(), &self.places[index]);
        let changed = before.iter().zip(&after).enumerate().filter(|(_, (before, after))| before != after);
        let outside = |at: usize| {
            !(place.value..place.value + place.room).contains(&at)
                && !(place.format..place.format + 8).contains(&at)
                && at != place.code
        };
        let mut changed = changed.map(|(at, _)| at);
        match result {
            Ok(()) => {
                assert_eq!(changed.find(|at| outside(*at)), None, "another element has changed as well");
                let expected = match item {
                    Item::Float(number) => Expected::Float(number.to_bits()),
                    item => Expected::Item(item),
                };
                assert_eq!(Expected::found(self.list.get(index)), expected);
                self.trace.note("set");
            }
            Err(error) => {
                assert_eq!(changed.next(), None, "{error}, and yet something was written");
                let is_right = match (&error, &item) {
                    (Error::TooLong { needed, room }, _) => *room == place.room && needed > room,
                    (Error::TrailingNul, Item::Str(text)) => text.ends_with('\0'),
                    (Error::TrailingNul, Item::Bytes(bytes)) => bytes.ends_with(&[0]),
                    _ => false,
                };
                assert!(is_right, "{error:?} for {item:?} in {place:?}");
                self.trace.note(letters(&error.to_string()));
            }
        }
    }

    /// What can be read can be written: a list of the same elements, in both layouts.
    fn copy(&mut self) {
        let Ok(items) = self.list.to_vec() else { return };
        let bits = |items: &[Item]| items.iter().map(|item| Expected::found(Ok(item.clone()))).collect::<Vec<_>>();
        let copies =
            [ShareableList::anonymous(&items), ShareableList::create_for_python_3_8(&items, SharedMemory::anonymous)];
        for copy in copies {
            let copy = copy.expect("these elements are in a list already");
            let memory = copy.memory().clone();
            let (again, _) = open(&memory, self.trace).expect("a list");
            assert_eq!(bits(&again.to_vec().expect("all elements")), bits(&items));
        }
        self.trace.note("copied");
    }
}

fn item(script: &mut Script<'_>) -> Item {
    let kind = script.byte();
    let mut bytes = || {
        let len = script.byte();
        script.take(len).to_vec()
    };
    match kind % 6 {
        0 => Item::None,
        1 => Item::Bool(script.byte() % 2 == 1),
        2 => Item::Int(i64::from(script.byte() as i8) << (script.byte() % 64)),
        3 => Item::Float(f64::from_bits((script.short() as u64) << 48 | script.short() as u64)),
        4 => Item::Str(String::from_utf8_lossy(&bytes()).into_owned()),
        _ => Item::Bytes(bytes()),
    }
}
