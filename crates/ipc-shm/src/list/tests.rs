use ipc_core::Process;
use proptest::prelude::*;

use super::layout::{Dialect, Layout, image};
use super::{Item, ShareableList};
use crate::{Error, Result, SharedMemory};

/// What Python 3.11 writes for `[7, True, None, 2.5, 'hi', b'\1\2', 'x' * 8]`.
const FROM_PYTHON: &[&[u8]] = &[
    b"\x07\0\0\0\0\0\0\0",
    b"\0\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x18\0\0\0\0\0\0\0",
    b"\x20\0\0\0\0\0\0\0\x28\0\0\0\0\0\0\0\x30\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0",
    b"\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\x40",
    b"hi\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0xxxxxxxx\0\0\0\0\0\0\0\0",
    b"q\0\0\0\0\0\0\0xxxxxxx?xxxxxx?xd\0\0\0\0\0\0\0",
    b"8s\0\0\0\0\0\x008s\0\0\0\0\0\x0016s\0\0\0\0\0",
    b"\0\0\x03\0\x01\x02\x01",
];

fn same_items() -> Vec<Item> {
    vec![7.into(), true.into(), Item::None, 2.5.into(), "hi".into(), b"\x01\x02".into(), "xxxxxxxx".into()]
}

/// A memory with these bytes.
fn memory(bytes: &[u8]) -> SharedMemory {
    let memory = SharedMemory::anonymous(bytes.len()).unwrap();
    memory.write_at(0, bytes).unwrap();
    memory
}

fn bytes_of(list: &ShareableList) -> Vec<u8> {
    let mut bytes = vec![0; list.memory().size()];
    list.memory().read_at(0, &mut bytes).unwrap();
    bytes
}

fn read_all(bytes: &[u8]) -> Result<Vec<Result<Item>>> {
    let layout = Layout::read(bytes)?;
    Ok((0..layout.len()).map(|index| layout.item(bytes, index)).collect())
}

#[test]
#[cfg(target_endian = "little")]
fn bytes_are_those_of_python() {
    let bytes = FROM_PYTHON.concat();
    assert_eq!(bytes.len(), 199);
    assert_eq!(image(same_items().into_iter(), Dialect::Offsets).unwrap(), bytes);
    assert_eq!(ShareableList::from_memory(memory(&bytes)).unwrap().to_vec().unwrap(), same_items());
    assert_eq!(bytes_of(&ShareableList::anonymous(same_items()).unwrap()), bytes);
    // Python 3.8: lengths in the place of offsets, and one word less.
    let old = image(same_items().into_iter(), Dialect::Sizes).unwrap();
    let sizes: Vec<u8> = [8, 8, 8, 8, 8, 8, 16].into_iter().flat_map(u64::to_ne_bytes).collect();
    assert_eq!(old, [&bytes[..8], &sizes, &bytes[72..]].concat());
}

#[test]
fn elements_are_read_found_and_replaced() -> Result<()> {
    let list = ShareableList::anonymous(same_items())?;
    assert_eq!((list.len(), list.is_empty(), list.name()), (7, false, None));
    assert_eq!(list.iter().rev().collect::<Result<Vec<_>>>()?, same_items().into_iter().rev().collect::<Vec<_>>());
    assert_eq!(list.index(&"hi".into())?, Some(4));
    assert_eq!(list.index(&1.into())?, None); // which Python would find: True == 1
    let formats: Vec<String> = (0..7).map(|i| list.format(i)).collect::<Result<_>>()?;
    assert_eq!(formats, ["q", "xxxxxxx?", "xxxxxx?x", "d", "8s", "8s", "16s"]);
    assert_eq!((list.room(0)?, list.room(6)?), (8, 16));

    let others = [Item::from("8 bytes!"), Item::None, f64::NEG_INFINITY.into(), b"\0\x01".into(), i64::MIN.into()];
    for (index, item) in others.iter().enumerate() {
        list.set(index, item)?;
    }
    list.set(5, Item::None)?;
    list.set(6, "grün, 16 bytes.")?;
    let changed = list.clone().to_vec()?;
    assert_eq!(changed[..5], others);
    assert_eq!(changed[5..], [Item::None, "grün, 16 bytes.".into()]);
    assert_eq!((list.count(&Item::None)?, list.count(&7.into())?), (2, 0));
    Ok(())
}

#[test]
fn what_is_not_there_or_does_not_fit_is_refused() -> Result<()> {
    let list = ShareableList::anonymous(same_items())?;
    let before = bytes_of(&list);
    assert!(matches!(list.get(7), Err(Error::Index { index: 7, len: 7 })));
    assert!(matches!(list.set(usize::MAX, 1), Err(Error::Index { .. })));
    assert!(matches!(list.room(7), Err(Error::Index { .. })));
    // Nine bytes, though seven characters.
    assert!(matches!(list.set(0, "grüne ß"), Err(Error::TooLong { needed: 9, room: 8 })));
    assert!(matches!(list.set(6, "nul\0"), Err(Error::TrailingNul)));
    assert!(matches!(list.set(6, b"\0"), Err(Error::TrailingNul)));
    assert_eq!(bytes_of(&list), before);

    assert!(matches!(ShareableList::anonymous(["\0"]), Err(Error::TrailingNul)));
    let longest = "x".repeat(9_999_991);
    assert_eq!(ShareableList::anonymous([&longest])?.format(0)?, "9999992s");
    let error = ShareableList::anonymous([longest + "x"]).unwrap_err();
    assert!(matches!(error, Error::TooLong { needed: 9_999_992, room: 9_999_991 }));
    Ok(())
}

#[test]
fn texts_are_measured_in_bytes() -> Result<()> {
    // In Python: UnicodeDecodeError when it is read, as 8 characters get 16 of the 24 bytes they need.
    let list = ShareableList::anonymous(["한".repeat(8)])?;
    assert_eq!((list.get(0)?, list.room(0)?), (Item::from("한".repeat(8)), 32));
    Ok(())
}

#[test]
fn a_cut_text_is_an_error_with_its_bytes() -> Result<()> {
    let mut bytes = image([Item::from("x".repeat(15))].into_iter(), Dialect::Offsets)?;
    bytes[24..40].copy_from_slice(&"한".repeat(8).as_bytes()[..16]);
    let list = ShareableList::from_memory(memory(&bytes))?;
    let Error::Text { index: 0, source } = list.get(0).unwrap_err() else { panic!("another error") };
    assert_eq!(source.into_bytes().len(), 16);
    assert!(list.to_vec().is_err());
    list.set(0, "new")?;
    assert_eq!(list.get(0)?, "new".into());
    Ok(())
}

#[test]
fn empty_lists_of_every_python_are_lists_and_unfinished_ones_are_not() -> Result<()> {
    for size in [8, 16] {
        let list = ShareableList::from_memory(memory(&vec![0; size]))?;
        assert_eq!((list.to_vec()?, list.index(&Item::None)?), (vec![], None));
        assert!(matches!(list.get(0), Err(Error::Index { index: 0, len: 0 })));
    }
    assert!(ShareableList::anonymous::<Item>([])?.is_empty());
    let mut unfinished = FROM_PYTHON.concat();
    unfinished[..8].fill(0);
    for bytes in [&unfinished[..], &[0; 199], &[0; 7]] {
        assert!(matches!(ShareableList::from_memory(memory(bytes)), Err(Error::Layout(_))));
    }
    Ok(())
}

#[test]
fn words_that_cannot_be_are_refused() {
    let mut refused = 0;
    for dialect in [Dialect::Offsets, Dialect::Sizes] {
        let image = image(same_items().into_iter(), dialect).unwrap();
        for at in (0..80).step_by(8) {
            for word in [u64::MAX, u64::MAX - 7, 1 << 63, i64::MAX as u64, 1 << 61, 1 << 32, 200, 56, 16, 9, 8, 7, 1, 0]
            {
                let mut bytes = image.clone();
                bytes[at..at + 8].copy_from_slice(&word.to_ne_bytes());
                let layout = Layout::read(&bytes[..]);
                assert_eq!(layout.is_ok(), is_list(&bytes), "{dialect:?}, {word} at {at}");
                refused += usize::from(layout.is_err());
            }
        }
        for len in 0..image.len() {
            assert!(matches!(Layout::read(&image[..len]), Err(Error::Layout(_))), "{dialect:?}, {len} bytes");
        }
    }
    assert!(refused > 200, "{refused}");
}

/// The same decision as in `Layout::read`, in numbers that cannot overflow.
fn is_list(bytes: &[u8]) -> bool {
    let word = |index: usize| Some(u64::from_ne_bytes(*bytes.get(8 * index..)?.first_chunk()?) as i128);
    let Some(count) = word(0) else { return false };
    if count == 0 || count > bytes.len() as i128 {
        return count == 0 && bytes.len() < 24;
    }
    let (skipped, mut last) = (if word(1) == Some(0) { 2 } else { 1 }, 0);
    for index in 0..count as usize {
        let Some(word) = word(skipped + index) else { return false };
        let next = if skipped == 2 { word } else { last + word };
        if next < last + 8 || next % 8 != 0 {
            return false;
        }
        last = next;
    }
    8 * (skipped as i128 + count) + last + 9 * count <= bytes.len() as i128
}

#[test]
fn a_format_that_python_does_not_write_is_refused() -> Result<()> {
    let list = ShareableList::anonymous(["text"])?;
    let (format, code) = (32, 40);
    for (text, number) in [
        (b"9s\0\0\0\0\0\0", 1), // longer than the place
        (b"9999999s", 1),
        (b"s\0\0\0\0\0\0\0", 1),
        (b"-8s\0\0\0\0\0", 1),
        (b"8s\0s\0\0\0\0", 1),
        (b"8s\0\0\0\0\0\0", 0),
        (b"8s\0\0\0\0\0\0", 255),
        (b"q\0\0\0\0\0\0\0", 1),
        (b"Q\0\0\0\0\0\0\0", 0),
        (b"xxxxxx?x", 0),
        (b"\0\0\0\0\0\0\0\0", 0),
    ] {
        list.memory().write_at(format, text)?;
        list.memory().write_at(code, &[number])?;
        assert!(matches!(list.get(0), Err(Error::Layout(_))), "{} {number}", text.escape_ascii());
        assert!(matches!(list.format(0), Err(Error::Layout(_))));
    }
    list.set(0, "again")?;
    assert_eq!(list.get(0)?, "again".into());
    Ok(())
}

#[test]
fn a_list_travels_and_is_shared() -> Result<()> {
    let list = ShareableList::anonymous(["to be changed"])?;
    let child = Process::spawn(|list: ShareableList| list.set(0, "changed").unwrap(), list.clone());
    child.unwrap().join().unwrap();
    assert_eq!(list.get(0)?, "changed".into());
    Ok(())
}

#[test]
fn a_name_is_opened_and_what_is_read_only_stays_so() -> Result<()> {
    let name = format!("ipc-shm-list-{}", std::process::id());
    let list = ShareableList::create(&name, [1, 2])?;
    let opened = ShareableList::open(&name).and_then(|list| Ok((list, SharedMemory::open_read_only(&name)?)));
    let again = ShareableList::create(&name, [3]);
    SharedMemory::unlink(&name)?;
    let (writer, reader) = opened?;
    let reader = ShareableList::from_memory(reader)?;
    again.unwrap_err();
    writer.set(1, "two")?;
    assert!(matches!(reader.set(1, 2), Err(Error::ReadOnly)));
    assert_eq!((list.name(), reader.get(1)?), (Some(&*name), "two".into()));
    assert!(ShareableList::open(&name).is_err());
    Ok(())
}

#[test]
fn conversions_keep_the_type() {
    assert_eq!(Item::from(u32::MAX), Item::Int(0xffff_ffff));
    assert!(bool::try_from(Item::from(true)).unwrap());
    assert_eq!(Vec::<u8>::try_from(Item::from(&b"ab"[..])).unwrap(), b"ab");
    assert_eq!(f64::try_from(Item::from(0.5_f32)).unwrap(), 0.5);
    for item in [Item::None, true.into(), 1.5.into(), "1".into(), b"1".into()] {
        assert!(matches!(i64::try_from(item), Err(Error::WrongType { expected: "an integer", .. })));
    }
    assert!(matches!(f64::try_from(Item::Int(1)), Err(Error::WrongType { found: "an integer", .. })));
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        Just(Item::None),
        any::<bool>().prop_map(Item::from),
        any::<i64>().prop_map(Item::from),
        any::<f64>().prop_map(Item::from),
        any::<String>().prop_map(Item::from),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Item::from),
    ]
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::Offsets), Just(Dialect::Sizes)]
}

fn is_kept(item: &Item) -> bool {
    match item {
        Item::Str(text) => !text.ends_with('\0'),
        Item::Bytes(bytes) => bytes.last() != Some(&0),
        _ => true,
    }
}

fn is_same(one: &Item, other: &Item) -> bool {
    match (one, other) {
        (Item::Float(one), Item::Float(other)) => one.to_bits() == other.to_bits(),
        _ => one == other,
    }
}

proptest! {
    #[test]
    fn lists_survive_a_round_trip(items in proptest::collection::vec(item(), 0..150), dialect in dialect()) {
        let kept = items.iter().all(is_kept);
        match image(items.iter().cloned(), dialect) {
            Err(Error::TrailingNul) => prop_assert!(!kept),
            bytes => {
                prop_assert!(kept);
                let found = read_all(&bytes.unwrap()).unwrap();
                prop_assert_eq!(found.len(), items.len());
                for (found, item) in found.iter().zip(&items) {
                    prop_assert!(is_same(found.as_ref().unwrap(), item), "{:?} for {:?}", found, item);
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_a_list_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_all(&bytes);
    }

    /// Bytes of a list, some of them changed; then also the changes of a Rust process to it do not leave their place.
    #[test]
    fn damaged_lists_are_lists_or_errors(
        items in proptest::collection::vec(item().prop_filter("can be kept", is_kept), 1..12),
        dialect in dialect(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0..=300_u64), 0..6),
        cut in 0..20_usize,
        new in item(),
    ) {
        let mut bytes = image(items.into_iter(), dialect).unwrap();
        for (at, whole, value) in damage {
            let at = at.index(bytes.len());
            match bytes.get_mut(at / 8 * 8..at / 8 * 8 + 8) {
                Some(word) if whole => word.copy_from_slice(&value.to_ne_bytes()),
                _ => bytes[at] = value as u8,
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        prop_assume!(!bytes.is_empty());
        prop_assert_eq!(Layout::read(&bytes[..]).is_ok(), is_list(&bytes));
        let Ok(found) = read_all(&bytes) else { return Ok(()) };
        let list = ShareableList::from_memory(memory(&bytes)).unwrap();
        prop_assert_eq!(list.len(), found.len());
        for index in 0..list.len() {
            let before = list.iter().collect::<Vec<_>>();
            let is_set = list.set(index, &new);
            prop_assert!(is_set.is_err() || is_same(&list.get(index).unwrap(), &new));
            for (other, (before, after)) in before.iter().zip(list.iter()).enumerate() {
                if other != index || is_set.is_err() {
                    prop_assert_eq!(format!("{before:?}"), format!("{after:?}"));
                }
            }
        }
    }

    #[test]
    fn a_list_behaves_as_a_vector(
        items in proptest::collection::vec(item().prop_filter("can be kept", is_kept), 1..12),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), item()), 0..30),
    ) {
        let (list, mut model) = (ShareableList::anonymous(&items).unwrap(), items);
        for (index, item) in changes {
            let index = index.index(model.len());
            let room = list.room(index).unwrap();
            match list.set(index, &item) {
                Ok(()) => model[index] = item,
                Err(Error::TrailingNul) => prop_assert!(!is_kept(&item)),
                Err(Error::TooLong { needed, .. }) => prop_assert!(needed > room),
                Err(error) => panic!("{error}"),
            }
            prop_assert_eq!(list.room(index).unwrap(), room);
        }
        for (index, item) in model.iter().enumerate() {
            prop_assert!(is_same(&list.get(index).unwrap(), item));
        }
    }
}
