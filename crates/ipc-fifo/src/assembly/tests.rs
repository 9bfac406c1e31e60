use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::record::PAYLOAD;

const MAX: u64 = 1 << 20;

/// What a test compares: an event with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Message(Vec<u8>),
    Torn { writer: u64, arrived: u64, total: u64 },
    TooLarge(u64),
    Garbage(u64),
}

fn seen(event: Event<'_>) -> Seen {
    match event {
        Event::Message(bytes) => Seen::Message(bytes.to_vec()),
        Event::Long(bytes) => Seen::Message(bytes),
        Event::Torn { writer, arrived, total } => Seen::Torn { writer, arrived, total },
        Event::TooLarge { len } => Seen::TooLarge(len),
        Event::Garbage { bytes } => Seen::Garbage(bytes),
    }
}

fn message(bytes: &[u8]) -> Seen {
    Seen::Message(bytes.to_vec())
}

fn torn(writer: u64, arrived: usize, total: usize) -> Seen {
    Seen::Torn { writer, arrived: arrived as u64, total: total as u64 }
}

/// One read that brings these bytes, and all that comes out.
fn feed(assembly: &mut Assembly, bytes: &[u8], emptied: bool) -> Vec<Seen> {
    assembly.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
    assembly.arrived(bytes.len(), emptied);
    drain(assembly)
}

fn drain(assembly: &mut Assembly) -> Vec<Seen> {
    std::iter::from_fn(|| assembly.take().map(seen)).collect()
}

/// The records of a message, of at most `most` bytes each.
fn records_of(writer: u64, number: u64, bytes: &[u8], most: usize) -> Vec<Vec<u8>> {
    let total = bytes.len() as u64;
    let record = |offset: usize, part: &[u8]| {
        let header = Header { len: part.len(), number, writer, offset: offset as u64, total };
        [&header.encode()[..], part].concat()
    };
    match bytes {
        [] => vec![record(0, &[])],
        _ => bytes.chunks(most).enumerate().map(|(i, part)| record(i * most, part)).collect(),
    }
}

fn records(writer: u64, number: u64, bytes: &[u8]) -> Vec<Vec<u8>> {
    records_of(writer, number, bytes, PAYLOAD)
}

fn long(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_new_message_tears_the_unfinished_one_of_its_writer_only() {
    let mut assembly = Assembly::new(MAX);
    let bytes = long(10_000);
    feed(&mut assembly, &records(1, 1, &bytes)[0], true);
    feed(&mut assembly, &records(2, 1, &bytes)[0], true);
    assert_eq!(feed(&mut assembly, &records(1, 2, b"next")[0], true), [torn(1, PAYLOAD, 10_000), message(b"next")]);
    assert_eq!(feed(&mut assembly, &records(2, 1, &bytes)[1..].concat(), true), [message(&bytes)]);
}

#[test]
fn parts_without_a_beginning_are_torn_once() {
    let mut assembly = Assembly::new(MAX);
    let parts = records(1, 1, &long(5 * PAYLOAD));
    let events: Vec<_> = parts[2..].iter().flat_map(|part| feed(&mut assembly, part, true)).collect();
    assert_eq!(events, [torn(1, PAYLOAD, 5 * PAYLOAD)]);
    assert_eq!(feed(&mut assembly, &records(1, 2, b"next")[0], true), [message(b"next")]);
}

#[test]
fn a_part_that_does_not_fit_tears_its_message_once() {
    let mut assembly = Assembly::new(MAX);
    let parts = records(1, 1, &long(5 * PAYLOAD));
    let gap = [&parts[0][..], &parts[2], &parts[3], &parts[4]].concat();
    assert_eq!(feed(&mut assembly, &gap, true), [torn(1, PAYLOAD, 5 * PAYLOAD)]);
    let again = [&parts[0][..], &parts[0], &parts[1]].concat();
    assert_eq!(feed(&mut assembly, &again, true), [torn(1, PAYLOAD, 5 * PAYLOAD)]);
}

#[test]
fn a_message_is_torn_when_its_writer_was_gone_before_a_read_that_emptied_the_pipe() {
    let mut assembly = Assembly::new(MAX);
    let bytes = long(3 * PAYLOAD);
    let parts = records(7, 1, &bytes);
    feed(&mut assembly, &parts[0], true);
    assert_eq!(assembly.writers().collect::<Vec<_>>(), [7]);
    assembly.mark_gone(7);
    assert!(assembly.is_waiting());
    assert_eq!(feed(&mut assembly, &parts[1], false), []); // there may be more in the pipe
    assert_eq!(feed(&mut assembly, &parts[2], true), [message(&bytes)]); // and there was

    feed(&mut assembly, &records(7, 2, &bytes)[0], true);
    assembly.mark_gone(7);
    assert_eq!(feed(&mut assembly, &[], true), [torn(7, PAYLOAD, 3 * PAYLOAD)]);
    assert!(!assembly.is_waiting());
}

#[test]
fn at_the_end_all_unfinished_messages_are_torn_once() {
    let mut assembly = Assembly::new(MAX);
    for writer in 1..=3 {
        feed(&mut assembly, &records(writer, 1, &long(10_000))[0], true);
    }
    assembly.end();
    assert_eq!(drain(&mut assembly), [1, 2, 3].map(|writer| torn(writer, PAYLOAD, 10_000)));
    assembly.end();
    assert_eq!(drain(&mut assembly), []);
}

#[test]
fn the_limit_is_checked_at_the_beginning_and_nothing_is_kept() {
    let mut assembly = Assembly::new(10_000);
    let (fits, too_long) = (long(10_000), long(10_001));
    assert_eq!(feed(&mut assembly, &records(1, 1, &too_long)[0], true), [Seen::TooLarge(10_001)]);
    assert!(!assembly.is_waiting());
    assert_eq!(feed(&mut assembly, &records(1, 1, &too_long)[1..].concat(), true), []);
    assert_eq!(feed(&mut assembly, &records(1, 2, &fits).concat(), true), [message(&fits)]);
    assembly.set_max_message(2);
    let two = [records(1, 3, b"abc"), records(1, 4, b"ab")].concat().concat();
    assert_eq!(feed(&mut assembly, &two, true), [Seen::TooLarge(3), message(b"ab")]);
}

#[test]
fn of_too_many_unfinished_messages_the_oldest_goes() {
    let mut assembly = Assembly::new(MAX);
    let bytes = long(2 * PAYLOAD);
    for writer in 1..=LIMIT as u64 {
        assert_eq!(feed(&mut assembly, &records(writer, 1, &bytes)[0], true), []);
    }
    assert_eq!(feed(&mut assembly, &records(1000, 1, &bytes)[0], true), [torn(1, PAYLOAD, 2 * PAYLOAD)]);
    assert_eq!(feed(&mut assembly, &records(1, 1, &bytes)[1], true), []); // told already
    assert_eq!(feed(&mut assembly, &records(2, 1, &bytes)[1], true), [message(&bytes)]);
    assert_eq!(feed(&mut assembly, &records(1000, 1, &bytes)[1], true), [message(&bytes)]);
}

#[test]
fn what_a_pipe_was_emptied_of_without_being_whole_is_garbage() {
    let record = &records(1, 1, b"abcdef")[0];
    for cut in 1..record.len() {
        let mut assembly = Assembly::new(MAX);
        assert_eq!(feed(&mut assembly, &record[..cut], true), [Seen::Garbage(cut as u64)]);
        assert_eq!(feed(&mut assembly, record, true), [message(b"abcdef")]);
        // Where there may be more it is kept.
        assert_eq!(feed(&mut assembly, &record[..cut], false), []);
        assert_eq!(feed(&mut assembly, &record[cut..], true), [message(b"abcdef")]);
    }
}

#[test]
fn it_is_known_whether_there_may_be_more() {
    let mut assembly = Assembly::new(MAX);
    let two = [records(1, 1, b"one"), records(2, 1, b"two")].concat().concat();
    assembly.room(two.len())[..two.len()].copy_from_slice(&two);
    assembly.arrived(two.len(), true);
    for _ in 0..2 {
        assert!(assembly.may_be_ready());
        assert!(assembly.take().is_some());
    }
    assert!(!assembly.may_be_ready());
    assert_eq!(assembly.take(), None);
}

#[test]
fn buffers_of_long_messages_are_used_again() {
    let mut assembly = Assembly::new(MAX);
    let bytes = records(1, 1, &long(100_000)).concat();
    let mut place = None;
    for _ in 0..3 {
        assembly.room(bytes.len())[..bytes.len()].copy_from_slice(&bytes);
        assembly.arrived(bytes.len(), true);
        let Some(Event::Long(message)) = assembly.take() else { panic!("a long message") };
        assert_eq!(*place.get_or_insert(message.as_ptr()), message.as_ptr());
        assembly.recycle(message);
    }
}

#[test]
fn what_a_header_announces_is_not_set_aside() {
    let mut assembly = Assembly::new(u64::MAX);
    let header = Header { len: PAYLOAD, number: 1, writer: 1, offset: 0, total: 1 << 62 };
    feed(&mut assembly, &[&header.encode()[..], &[0; PAYLOAD]].concat(), true);
    assert!(assembly.unfinished[0].bytes.capacity() < 4 * PAYLOAD);
}

/// Messages of several writers, in the order of the records that `order` draws: for each record, who is next.
fn interleave(messages: &[Vec<Vec<u8>>], most: usize, order: &[Index]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut queues: Vec<_> = messages
        .iter()
        .enumerate()
        .map(|(writer, messages)| {
            let records = |(number, bytes): (usize, &Vec<u8>)| {
                let parts = records_of(writer as u64 + 1, number as u64, bytes, most);
                let last = parts.len() - 1;
                let with = |(i, part)| (part, (i == last).then(|| bytes.clone()));
                parts.into_iter().enumerate().map(with).collect::<Vec<_>>()
            };
            messages.iter().enumerate().flat_map(records).collect::<VecDeque<_>>()
        })
        .collect();
    let (mut records, mut expected) = (Vec::new(), Vec::new());
    let mut order = order.iter().cycle();
    loop {
        queues.retain(|queue| !queue.is_empty());
        if queues.is_empty() {
            return (records, expected);
        }
        let next = order.next().map_or(0, |index| index.index(queues.len()));
        let (record, message) = queues[next].pop_front().expect("empty ones are gone");
        records.push(record);
        expected.extend(message);
    }
}

fn any_messages() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let message = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => (0usize..20_000).prop_map(long),
    ];
    proptest::collection::vec(proptest::collection::vec(message, 0..6), 1..5)
}

/// Cuts bytes into reads, of which the last empties the pipe.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn feed_cut(assembly: &mut Assembly, bytes: &[u8], cuts: &[Index]) -> Vec<Seen> {
    let reads = cut(bytes, cuts);
    let last = reads.len() - 1;
    reads.iter().enumerate().flat_map(|(i, read)| feed(assembly, read, i == last)).collect()
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in(
        messages in any_messages(),
        most in prop_oneof![Just(PAYLOAD), 1..200usize],
        order in proptest::collection::vec(any::<Index>(), 1..50),
        cuts in proptest::collection::vec(any::<Index>(), 0..20),
    ) {
        let (records, expected) = interleave(&messages, most, &order);
        let expected: Vec<_> = expected.iter().map(|bytes| message(bytes)).collect();
        let mut assembly = Assembly::new(MAX);
        prop_assert_eq!(feed_cut(&mut assembly, &records.concat(), &cuts), expected);
        prop_assert!(!assembly.is_waiting());
    }

    #[test]
    fn garbage_between_records_is_told_and_left_out(
        messages in any_messages(),
        order in proptest::collection::vec(any::<Index>(), 1..50),
        garbage in proptest::collection::vec((any::<Index>(), proptest::collection::vec(any::<u8>(), 1..300)), 1..5),
        cuts in proptest::collection::vec(any::<Index>(), 0..20),
    ) {
        let (mut records, expected) = interleave(&messages, PAYLOAD, &order);
        let sum: usize = garbage.iter().map(|(_, bytes)| bytes.len()).sum();
        for (place, bytes) in garbage {
            records.insert(place.index(records.len() + 1), bytes);
        }
        let events = feed_cut(&mut Assembly::new(MAX), &records.concat(), &cuts);
        let told: u64 = events.iter().map(|event| if let Seen::Garbage(bytes) = event { *bytes } else { 0 }).sum();
        prop_assert_eq!(told, sum as u64);
        let rest: Vec<_> = events.into_iter().filter(|event| !matches!(event, Seen::Garbage(_))).collect();
        prop_assert_eq!(rest, expected.iter().map(|bytes| message(bytes)).collect::<Vec<_>>());
    }

    /// Records that were lost, as with a reader that was killed: each message comes whole, or is torn at most once, or had no
    /// record left.
    #[test]
    fn of_lost_records_no_message_is_made(
        messages in any_messages(),
        order in proptest::collection::vec(any::<Index>(), 1..50),
        lost in proptest::collection::vec(any::<Index>(), 1..10),
    ) {
        let (mut records, mut expected) = interleave(&messages, PAYLOAD, &order);
        for lost in lost {
            if !records.is_empty() {
                records.remove(lost.index(records.len()));
            }
        }
        let mut assembly = Assembly::new(MAX);
        let mut events = feed(&mut assembly, &records.concat(), true);
        assembly.end();
        events.extend(drain(&mut assembly));
        let mut tears: HashMap<u64, usize> = HashMap::new();
        for event in events {
            match event {
                Seen::Message(bytes) => {
                    let at = expected.iter().position(|message| *message == bytes);
                    prop_assert!(at.is_some(), "a message that nobody sent");
                    expected.remove(at.unwrap_or(0));
                }
                Seen::Torn { writer, .. } => *tears.entry(writer).or_default() += 1,
                other => prop_assert!(false, "{:?}", other),
            }
        }
        for (writer, torn) in tears {
            let long = messages[writer as usize - 1].iter().filter(|message| message.len() > PAYLOAD).count();
            prop_assert!(torn <= long, "{} of {} long messages torn", torn, long);
        }
    }

    /// Also such as look like records: no panic, and nothing is set aside that did not come.
    #[test]
    fn any_bytes_are_digested(
        parts in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..100),
                (0..100usize, 0..3u64, 1..4u64, 0..300u64, 0..1000u64).prop_map(|(len, number, writer, offset, after)| {
                    let total = offset + len as u64 + after;
                    let len = if total == 0 { 0 } else { len.max(1) };
                    let header = Header { len, number, writer, offset, total: total.max(offset + len as u64) };
                    [&header.encode()[..], &vec![7; len]].concat()
                }),
            ],
            0..30,
        ),
        gone in proptest::collection::vec(1..4u64, 0..10),
    ) {
        let mut assembly = Assembly::new(MAX);
        let mut gone = gone.into_iter();
        let came: usize = parts.iter().map(Vec::len).sum();
        for (i, part) in parts.iter().enumerate() {
            gone.next().into_iter().for_each(|writer| assembly.mark_gone(writer));
            feed(&mut assembly, part, i % 2 == 0);
            let kept: usize = assembly.unfinished.iter().map(|message| message.bytes.capacity()).sum();
            prop_assert!(kept <= 2 * came + 8 * LIMIT, "{} kept of {}", kept, came);
        }
        assembly.end();
        drain(&mut assembly);
        prop_assert!(!assembly.is_waiting() && !assembly.may_be_ready());
    }
}
