//! The bytes of a list: where everything is, and what it may be. Nothing in them is believed.
//!
//! All words are of 64 bits in the machine's order.
//!
//! ```text
//! 0               N                     how many elements
//! 8               (N + 1) words         where the value of each begins, counted from the first, and where the last ends
//!                                       (Python 3.8: N words, how many bytes each has)
//! 8 (N + 2)       K bytes               the values; the place of each is a multiple of 8 bytes long, and at least 8
//! … + K           N × 8 bytes           how each is packed, in the language of Python's `struct`, filled up with NULs
//! … + K + 8 N     N bytes               what is to be done with it then: 0 nothing, 1 it is a text, 2 bytes, 3 None
//! ```
//!
//! The first value begins at 0, and no place has 0 bytes, so the second word tells which Python it was.

use std::sync::Arc;

use super::Item;
use crate::{Error, Result, SharedMemory};

const WORD: usize = size_of::<u64>();

/// The largest place whose size can be written with the seven digits that fit before the `s` of a format.
const MAX_PLACE: usize = 9_999_992;

/// How many words are read at a time: memory is taken only for what has been there.
const CHUNK: usize = 64;

/// What a list is read from.
pub(super) trait Source {
    fn size(&self) -> usize;
    fn read_at(&self, offset: usize, to: &mut [u8]) -> Result<()>;
}

impl Source for SharedMemory {
    fn size(&self) -> usize {
        SharedMemory::size(self)
    }

    fn read_at(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        SharedMemory::read_at(self, offset, to)
    }
}

impl Source for [u8] {
    fn size(&self) -> usize {
        self.len()
    }

    fn read_at(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        let (len, size) = (to.len(), self.len());
        let from = offset.checked_add(len).and_then(|end| self.get(offset..end));
        to.copy_from_slice(from.ok_or(Error::OutOfBounds { offset, len, size })?);
        Ok(())
    }
}

/// How the places of the values are told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialect {
    /// By where they begin: since Python 3.9.
    Offsets,
    /// By how long they are: Python 3.8.
    Sizes,
}

/// Where the values are; read once, and checked: they do not overlap, and everything lies in the memory.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// From the beginning of the memory; one more than there are elements. What follows them begins at the last.
    starts: Arc<[usize]>,
}

/// The places of an element, from the beginning of the memory.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) value: usize,
    /// How many bytes of a text fit.
    pub(super) room: usize,
    pub(super) format: usize,
    pub(super) code: usize,
}

impl Layout {
    pub(super) fn read(source: &(impl Source + ?Sized)) -> Result<Layout> {
        let size = source.size();
        let count = word_at(source, 0)?;
        if count == 0 {
            // Python writes the length first, we write it last: a list that is being made has length 0 in a greater memory.
            return match size / WORD {
                1 | 2 => Ok(Layout { starts: Arc::new([size]) }),
                _ => Err(Error::Layout("its length is 0, but not its size: it may not be complete yet")),
            };
        }
        // The least an element takes; so what follows cannot overflow.
        if count > (size / (WORD + WORD + 1)) as u64 {
            return Err(Error::Layout("it has more elements than its memory has room for"));
        }
        let count = count as usize;
        let (dialect, data) = match word_at(source, WORD)? {
            0 => (Dialect::Offsets, (count + 2) * WORD),
            _ => (Dialect::Sizes, (count + 1) * WORD),
        };
        let end = (size - count * (WORD + 1)).checked_sub(data).ok_or(Error::Layout("it is longer than its memory"))?;

        let mut starts = vec![data];
        let mut last = 0; // where the value that is looked at begins, and at last where all end
        let mut buffer = [0; CHUNK * WORD];
        while starts.len() <= count {
            let table = match dialect {
                Dialect::Offsets => 2 * WORD,
                Dialect::Sizes => WORD,
            };
            let at = table + (starts.len() - 1) * WORD;
            let buffer = &mut buffer[..CHUNK.min(count + 1 - starts.len()) * WORD];
            source.read_at(at, buffer)?;
            for word in buffer.chunks_exact(WORD).map(word) {
                let next = match dialect {
                    Dialect::Offsets => word,
                    Dialect::Sizes => word.saturating_add(last),
                };
                if next > end as u64 {
                    return Err(Error::Layout("an element is longer than its memory"));
                }
                if next < last + WORD as u64 || next % WORD as u64 != 0 {
                    return Err(Error::Layout("its elements overlap, or do not lie on multiples of 8"));
                }
                last = next;
                starts.push(data + next as usize);
            }
        }
        Ok(Layout { starts: starts.into() })
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn slot(&self, index: usize) -> Result<Slot> {
        let len = self.len();
        if index >= len {
            return Err(Error::Index { index, len });
        }
        let end = self.starts[len];
        Ok(Slot {
            value: self.starts[index],
            room: (self.starts[index + 1] - self.starts[index]).min(MAX_PLACE),
            format: end + index * WORD,
            code: end + len * WORD + index,
        })
    }

    pub(super) fn item(&self, source: &(impl Source + ?Sized), index: usize) -> Result<Item> {
        let slot = self.slot(index)?;
        let number = || {
            let mut bytes = [0; WORD];
            source.read_at(slot.value, &mut bytes).map(|()| bytes)
        };
        let text = |len: usize| -> Result<Vec<u8>> {
            let mut bytes = vec![0; len];
            source.read_at(slot.value, &mut bytes)?;
            bytes.truncate(trimmed(&bytes).len());
            Ok(bytes)
        };
        Ok(match slot.packing(source)?.0 {
            Packing::None => Item::None,
            Packing::Bool => Item::Bool(number()?[WORD - 1] != 0),
            Packing::Int => Item::Int(i64::from_ne_bytes(number()?)),
            Packing::Float => Item::Float(f64::from_ne_bytes(number()?)),
            Packing::Str(len) => {
                Item::Str(String::from_utf8(text(len)?).map_err(|source| Error::Text { index, source })?)
            }
            Packing::Bytes(len) => Item::Bytes(text(len)?),
        })
    }

    pub(super) fn format(&self, source: &(impl Source + ?Sized), index: usize) -> Result<String> {
        let (_, format) = self.slot(index)?.packing(source)?;
        Ok(trimmed(&format).iter().copied().map(char::from).collect())
    }
}

/// How a value is packed, as its format and its code say together.
#[derive(Debug)]
enum Packing {
    None,
    Bool,
    Int,
    Float,
    Str(usize),
    Bytes(usize),
}

const NONE: &[u8] = b"xxxxxx?x";
const BOOL: &[u8] = b"xxxxxxx?";

impl Slot {
    fn packing(&self, source: &(impl Source + ?Sized)) -> Result<(Packing, [u8; WORD])> {
        let (mut format, mut code) = ([0; WORD], [0]);
        source.read_at(self.format, &mut format)?;
        source.read_at(self.code, &mut code)?;
        let packing = match (trimmed(&format), code[0]) {
            (NONE, 3) => Some(Packing::None),
            (BOOL, 0) => Some(Packing::Bool),
            (b"q", 0) => Some(Packing::Int),
            (b"d", 0) => Some(Packing::Float),
            ([digits @ .., b's'], 1) => self.len(digits).map(Packing::Str),
            ([digits @ .., b's'], 2) => self.len(digits).map(Packing::Bytes),
            _ => None,
        };
        packing
            .map(|packing| (packing, format))
            .ok_or(Error::Layout("an element has a type that Python does not write"))
    }

    /// The length that a format says, if it fits.
    fn len(&self, digits: &[u8]) -> Option<usize> {
        let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let len = all_digits.then(|| digits.iter().fold(0, |len, digit| 10 * len + usize::from(digit - b'0')))?;
        (len <= self.room).then_some(len)
    }
}

/// An element as it is written.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) format: [u8; WORD],
    pub(super) code: u8,
    /// A text fills its place.
    pub(super) value: Vec<u8>,
}

/// Packs an element for a place with this room.
pub(super) fn encode(item: &Item, room: usize) -> Result<Encoded> {
    let text = |bytes: &[u8], code| {
        if bytes.len() > room {
            return Err(Error::TooLong { needed: bytes.len(), room });
        }
        if bytes.last() == Some(&0) {
            return Err(Error::TrailingNul);
        }
        let mut value = bytes.to_vec();
        value.resize(room, 0);
        Ok(Encoded { format: padded(format!("{room}s").as_bytes()), code, value })
    };
    let plain = |format, code, value: [u8; WORD]| Ok(Encoded { format: padded(format), code, value: value.to_vec() });
    match item {
        Item::None => plain(NONE, 3, [0; WORD]),
        Item::Bool(value) => plain(BOOL, 0, [0, 0, 0, 0, 0, 0, 0, (*value).into()]),
        Item::Int(value) => plain(b"q", 0, value.to_ne_bytes()),
        Item::Float(value) => plain(b"d", 0, value.to_ne_bytes()),
        Item::Str(value) => text(value.as_bytes(), 1),
        Item::Bytes(value) => text(value, 2),
    }
}

/// The room a new list gives to an element. Python's rule, but for texts, whose length Python takes in characters.
fn room_for(item: &Item) -> Result<usize> {
    let len = match item {
        Item::Str(value) => value.len(),
        Item::Bytes(value) => value.len(),
        _ => return Ok(WORD),
    };
    let place = WORD * (len / WORD + 1);
    (place <= MAX_PLACE).then_some(place).ok_or(Error::TooLong { needed: len, room: MAX_PLACE - 1 })
}

/// All bytes of a new list.
pub(super) fn image(items: impl Iterator<Item = Item>, dialect: Dialect) -> Result<Vec<u8>> {
    let (mut table, mut values, mut formats, mut codes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut count = 0_u64;
    if let Dialect::Offsets = dialect {
        table.extend_from_slice(&0_u64.to_ne_bytes());
    }
    for item in items {
        let encoded = encode(&item, room_for(&item)?)?;
        values.extend_from_slice(&encoded.value);
        formats.extend_from_slice(&encoded.format);
        codes.push(encoded.code);
        let word = match dialect {
            Dialect::Offsets => values.len() as u64,
            Dialect::Sizes => encoded.value.len() as u64,
        };
        table.extend_from_slice(&word.to_ne_bytes());
        count += 1;
    }
    let mut image = count.to_ne_bytes().to_vec();
    for part in [table, values, formats, codes] {
        image.extend_from_slice(&part);
    }
    Ok(image)
}

fn word_at(source: &(impl Source + ?Sized), offset: usize) -> Result<u64> {
    let mut bytes = [0; WORD];
    if source.size() < offset + WORD {
        return Err(Error::Layout("its memory is too small for any"));
    }
    source.read_at(offset, &mut bytes)?;
    Ok(word(&bytes))
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD];
    word.copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// Without the NULs at the end, which fill up.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..len]
}

fn padded(format: &[u8]) -> [u8; WORD] {
    let mut padded = [0; WORD];
    padded[..format.len()].copy_from_slice(format); // at most seven digits and an `s`, see MAX_PLACE
    padded
}
