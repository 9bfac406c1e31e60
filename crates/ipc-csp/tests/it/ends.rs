//! Ends: how many there are of a channel, how they travel, and what happens when they are gone.

use ipc_csp::{Channel, Error, Network, Reader, Writer};

use super::*;

/// Readers and writers, of the channel of that name.
fn counts(network: &Network, name: &str) -> (usize, usize) {
    let report = network.report().unwrap();
    let channel = report.channels().iter().find(|channel| channel.name == name).expect("it is there");
    (channel.readers, channel.writers)
}

#[test]
fn clones_are_one_end_and_made_ones_are_many() {
    let network = Network::new().unwrap();
    let channel = network.builder().name("c").channel::<u32>().unwrap();
    assert_eq!((channel.name(), counts(&network, "c")), ("c".into(), (0, 0)));
    let reader = channel.reader().unwrap();
    let clone = reader.clone();
    assert_eq!((reader.name(), counts(&network, "c")), ("c".into(), (1, 0)));
    let other = channel.clone().reader().unwrap();
    let writer = clone.network().channel::<u8>().unwrap().writer().unwrap();
    assert_eq!(counts(&writer.network(), "c"), (2, 0));
    drop(reader);
    other.retire();
    assert_eq!(counts(&network, "c"), (1, 0));
    clone.retire();
    assert_eq!(counts(&network, "c"), (0, 0));
    assert!(format!("{channel:?} {network:?} {writer:?}").contains("\"c\""));
}

#[test]
fn before_there_was_a_reader_nobody_is_retired_and_afterwards_for_good() {
    let network = Network::new().unwrap();
    for capacity in [0, 1] {
        let channel = network.buffered::<u32>(capacity).unwrap();
        let writer = channel.writer().unwrap();
        if capacity == 1 {
            writer.try_write(0).unwrap();
        }
        assert!(writer.try_write(1).unwrap_err().error.is_would_block());
        assert!(writer.write_timeout(1, SHORT).unwrap_err().error.is_timeout());
        channel.reader().unwrap().retire();
        let error = writer.write(1).unwrap_err();
        assert!(error.value == 1 && error.error.is_retired() && error.error.is_end());
        let reader = channel.reader().unwrap();
        assert!(writer.try_write(1).unwrap_err().error.is_retired());
        assert!(reader.try_read().unwrap_err().is_retired(), "what was in it is thrown away");
    }
}

#[test]
fn before_there_was_a_writer_nobody_is_retired_and_afterwards_for_good() {
    let channel = Network::new().unwrap().buffered::<u32>(4).unwrap();
    let reader = channel.reader().unwrap();
    assert!(reader.try_read().unwrap_err().is_would_block());
    assert!(reader.read_timeout(SHORT).unwrap_err().is_timeout());
    let writer = channel.writer().unwrap();
    writer.write(1).unwrap();
    writer.retire();
    assert_eq!(reader.read().unwrap(), 1);
    assert!(reader.read().unwrap_err().is_retired());
    assert!(channel.writer().unwrap().write(1).unwrap_err().error.is_retired());
}

#[test]
fn those_who_wait_learn_that_the_other_side_has_gone() {
    for capacity in [0, 1] {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<u32>(&network, capacity);
        let waiting: Vec<_> =
            (0..3).map(|_| reader.clone()).map(|reader| thread::spawn(move || reader.read())).collect();
        until_waiting(&network, 3);
        drop(writer);
        waiting.into_iter().for_each(|waiting| assert!(waiting.join().unwrap().unwrap_err().is_retired()));

        let (writer, reader) = ends::<u32>(&network, capacity);
        if capacity == 1 {
            writer.write(0).unwrap();
        }
        let waiting = (0..3).map(|_| writer.clone()).map(|writer| thread::spawn(move || writer.write(1)));
        let waiting: Vec<_> = waiting.collect();
        until_waiting(&network, 3);
        drop(reader);
        waiting.into_iter().for_each(|waiting| assert!(waiting.join().unwrap().unwrap_err().error.is_retired()));
    }
}

#[test]
fn ends_in_values_count_while_they_are_under_way() {
    let network = Network::new().unwrap();
    let carrier = network.buffered::<(Writer<u32>, Vec<Reader<u32>>)>(2).unwrap();
    let (out, into) = (carrier.writer().unwrap(), carrier.reader().unwrap());
    let channel = network.builder().name("c").channel::<u32>().unwrap();
    out.write((channel.writer().unwrap(), vec![channel.reader().unwrap(); 3])).unwrap();
    assert_eq!(counts(&network, "c"), (3, 1), "those that were given away are dropped here");
    out.write((channel.writer().unwrap(), vec![])).unwrap();
    let (writer, readers) = into.read().unwrap();
    assert_eq!(counts(&network, "c"), (3, 2));
    let waiting = thread::spawn({
        let reader = readers[1].clone();
        move || reader.read()
    });
    writer.write(7).unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), 7);
    drop(readers);
    assert_eq!(counts(&network, "c"), (0, 2));
    assert!(writer.write(8).unwrap_err().error.is_retired());
    into.poison().unwrap();
    assert_eq!(counts(&network, "c"), (0, 1), "what nobody will read is gone");
}

#[test]
fn ends_in_a_value_that_is_not_written_stay() {
    let network = Network::new().unwrap();
    let (out, into) = ends::<Reader<u32>>(&network, 0);
    let channel = network.builder().name("c").channel::<u32>().unwrap();
    let (writer, mut reader) = (channel.writer().unwrap(), channel.reader().unwrap());
    reader = out.try_write(reader).unwrap_err().value;
    reader = out.write_timeout(reader, SHORT).unwrap_err().value;
    assert_eq!(counts(&network, "c"), (1, 1));
    let waiting = thread::spawn({
        let out = out.clone();
        move || out.write(reader)
    });
    until_waiting(&network, 1);
    into.poison().unwrap();
    let error = waiting.join().unwrap().unwrap_err();
    assert!(error.error.is_poisoned());
    let reader = error.value;
    reader.network().channel::<u32>().unwrap();
    assert_eq!(counts(&network, "c"), (1, 1));
    let reading = thread::spawn(move || reader.read());
    writer.write(1).unwrap();
    assert_eq!(reading.join().unwrap().unwrap(), 1);
}

#[test]
fn channels_as_a_whole_travel_and_keep_themselves_in_being() {
    let network = Network::new().unwrap();
    let (out, into) = ends::<Channel<u32>>(&network, 1);
    out.write(network.builder().name("c").channel().unwrap()).unwrap();
    let channel = into.read().unwrap();
    assert_eq!((channel.name(), counts(&network, "c")), ("c".into(), (0, 0)));
    let (writer, reader) = (channel.writer().unwrap(), channel.reader().unwrap());
    drop(channel);
    let reading = thread::spawn(move || reader.read());
    writer.write(1).unwrap();
    assert_eq!(reading.join().unwrap().unwrap(), 1);
}

#[test]
fn a_channel_can_carry_its_own_ends() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Token(u32, Option<Box<(Writer<Token>, Reader<Token>)>>);

    let (writer, reader) = pair::<Token>(2);
    writer.write(Token(1, Some(Box::new((writer.clone(), reader.clone()))))).unwrap();
    drop(writer);
    let Token(1, Some(own)) = reader.read().unwrap() else { panic!("not the first one") };
    own.0.write(Token(2, None)).unwrap();
    assert_eq!(own.1.read().unwrap().0, 2);
    drop(own);
    assert!(reader.read().err().unwrap().is_retired());
}

/// Each of these channels has its only reader in the buffer of the one before.
#[test]
fn readers_within_buffers_within_buffers_are_gone_when_nobody_can_read_the_first() {
    for how in ["poison", "drop"] {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<u32>(&network, 0);
        let (to_second, second) = ends::<Reader<u32>>(&network, 1);
        let (to_first, first) = ends::<Reader<Reader<u32>>>(&network, 1);
        to_second.write(reader).unwrap();
        to_first.write(second).unwrap();
        if how == "poison" {
            first.poison().unwrap()
        } else {
            drop(first)
        }
        let error = writer.write_timeout(1, LONG / 4).unwrap_err().error;
        assert!(error.is_retired(), "{how}: {error}");
        drop(to_second);
    }
}

#[test]
fn ends_go_through_connections_and_count_on_their_way() {
    let network = Network::new().unwrap();
    let channel = network.builder().name("c").channel::<u32>().unwrap();
    let echo = ipc_csp::Process::spawn(
        |(channel, reader): (Channel<u32>, Reader<u32>)| (channel.writer().unwrap(), channel, reader),
        (channel.clone(), channel.reader().unwrap()),
    );
    let (writer, back, reader) = echo.unwrap().join().unwrap();
    assert_eq!(back.network().report().unwrap().channels().len(), 1, "it is the same network");
    let reading = thread::spawn(move || reader.read());
    writer.write(4).unwrap();
    assert_eq!(reading.join().unwrap().unwrap(), 4);
    assert!(matches!(writer.write(5).unwrap_err().error, Error::Retired));
}
