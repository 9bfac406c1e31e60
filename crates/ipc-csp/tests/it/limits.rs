//! How much there can be of everything, and that what is gone makes room.

use ipc_csp::{Choice, Error, Network, Reader};

use super::*;

fn is_full<T>(result: Result<T, Error>, of: &str, at: usize) -> bool {
    matches!(&result, Err(Error::Full { what, max }) if what.contains(of) && *max == at)
}

#[test]
fn a_name_has_up_to_32_bytes() {
    let network = Network::new().unwrap();
    for name in ["".to_string(), "x".into(), "ä".repeat(16), "y".repeat(32)] {
        let channel = network.builder().name(&name).channel::<u32>().unwrap();
        assert_eq!((channel.name(), channel.reader().unwrap().name()), (name.clone(), name));
    }
    let error = network.builder().name("z".repeat(33)).channel::<u32>().unwrap_err();
    assert!(matches!(error, Error::LongName { len: 33, max: 32 }), "{error:?}");
    assert_eq!(error.to_string(), "the name of a channel has at most 32 bytes, this one has 33");
}

#[test]
fn there_are_1024_channels_and_those_without_ends_make_room() {
    let network = Network::new().unwrap();
    for round in 0..3 {
        let mut channels = fill(&network);
        assert_eq!(channels.len(), 1024, "round {round}");
        assert!(is_full(network.channel::<u32>(), "channels", 1024));
        drop(channels.remove(5));
        let reader = channels.remove(700).reader().unwrap();
        let (one, next) = (network.channel::<u32>().unwrap(), network.channel::<u32>());
        assert!(is_full(next, "channels", 1024), "an end keeps its channel");
        drop(reader);
        let other = network.channel::<u32>().unwrap();
        drop((one, other));
    }
    assert_eq!(network.report().unwrap().channels().len(), 1024, "what is gone is found when there is need");
}

#[test]
fn a_channel_in_an_old_place_knows_nothing_of_the_old_one() {
    let network = Network::new().unwrap();
    let mut kept = fill(&network);
    for round in 0..20u32 {
        drop(kept.swap_remove(500));
        let old = network.builder().name("old").buffered(4).channel::<u32>().unwrap();
        let (writer, reader) = (old.writer().unwrap(), old.reader().unwrap());
        (0..4).for_each(|n| writer.write(n).unwrap());
        match round % 4 {
            0 => old.poison().unwrap(),
            1 => old.close().unwrap(),
            2 => drop(reader.read()),
            _ => {}
        }
        let debug = format!("{old:?}");
        drop((writer, reader, old));
        let new = network.channel::<u32>().unwrap();
        let (writer, reader) = (new.writer().unwrap(), new.reader().unwrap());
        assert_eq!(debug.replace("old", ""), format!("{new:?}"), "it is in the same place");
        assert_eq!(new.name(), "");
        assert!(reader.try_read().unwrap_err().is_would_block());
        assert!(writer.try_write(1).unwrap_err().error.is_would_block());
        let reading = thread::spawn(move || reader.read());
        writer.write(round).unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), round);
        drop((writer, new));
        kept.push(network.channel().unwrap());
    }
}

#[test]
fn there_are_8192_ends_and_those_that_are_gone_make_room() {
    let network = Network::new().unwrap();
    let channel = network.channel::<u32>().unwrap();
    let (carrier_out, carrier_in) = ends::<Reader<u32>>(&network, 1);
    for _ in 0..2 {
        let mut readers: Vec<_> = std::iter::from_fn(|| channel.reader().ok()).collect();
        assert_eq!(readers.len(), 8192 - 3);
        assert!(is_full(channel.writer(), "ends", 8192));
        assert!(is_full(network.channel::<u32>(), "ends", 8192), "a channel needs one itself");
        let refused = carrier_out.write(readers[0].clone()).unwrap_err().error;
        assert!(matches!(refused, Error::Encode(_)), "{refused}");
        readers.pop();
        carrier_out.write(readers[0].clone()).unwrap();
        assert!(is_full(channel.reader(), "ends", 8192));
        drop(carrier_in.read().unwrap());
        drop(channel.reader().unwrap());
    }
}

#[test]
fn there_are_4096_values_in_buffers() {
    let network = Network::new().unwrap();
    assert!(is_full(network.buffered::<u32>(4097), "buffer", 4096));
    let (writer, reader) = ends::<u32>(&network, 4096);
    let (other, other_reader) = ends::<u32>(&network, 1);
    for round in 0..2 {
        (0..4096).for_each(|n| writer.try_write(n).unwrap());
        assert!(writer.try_write(0).unwrap_err().error.is_would_block());
        assert!(is_full(other.write(1).map_err(|error| error.error), "offers", 4096));
        assert!(is_full(writer.write_timeout(1, LONG).map_err(|error| error.error), "offers", 4096));
        assert!(is_full(other_reader.read(), "offers", 4096));
        let read = (0..4096).map(|_| reader.try_read().unwrap());
        match round {
            0 => assert!(read.eq(0..4096)),
            _ => writer.poison().unwrap(),
        }
        other.write(2).unwrap();
        assert_eq!(other_reader.read().unwrap(), 2);
    }
    let again = network.buffered::<u32>(4096).unwrap();
    let (writer, reader) = (again.writer().unwrap(), again.reader().unwrap());
    (0..4096).for_each(|n| writer.try_write(n).unwrap());
    drop(reader);
    let (writer, _reader) = ends::<u32>(&network, 4096);
    (0..4096).for_each(|n| writer.try_write(n).unwrap());
}

#[test]
fn a_choice_has_512_guards() {
    let network = Network::new().unwrap();
    let ends: Vec<_> = (0..513).map(|_| ends::<u32>(&network, 0)).collect();
    for limit in [512, 513] {
        let mut choice = Choice::new();
        let branches: Vec<_> = ends[..limit].iter().map(|(_, reader)| choice.read(reader)).collect();
        choice.timeout(LONG);
        if limit == 513 {
            assert!(is_full(choice.select(), "guards", 512));
            choice.enable(branches[0], false);
        }
        thread::scope(|scope| {
            scope.spawn(|| ends[500].0.write(7).unwrap());
            let mut chosen = choice.select().unwrap();
            assert_eq!(chosen.index(), 500);
            assert_eq!(chosen.take(branches[500]).unwrap().unwrap(), 7);
        });
    }
    let mut choice = Choice::new();
    for (writer, _) in &ends[..256] {
        choice.write(writer, &1);
    }
    for (_, reader) in &ends[256..512] {
        choice.read(reader);
    }
    let late = choice.timeout(SHORT);
    assert!(choice.select().unwrap().is(late));
    thread::scope(|scope| {
        let reading = scope.spawn(|| ends[255].1.read().unwrap());
        assert_eq!(choice.select().unwrap().index(), 255);
        assert_eq!(reading.join().unwrap(), 1);
    });
}

#[test]
fn offers_of_choices_that_are_made_come_back() {
    let network = Network::new().unwrap();
    let ends: Vec<_> = (0..64).map(|_| ends::<Vec<u8>>(&network, 0)).collect();
    let value = vec![1; 5000];
    for round in 0..200 {
        let mut choice = Choice::new();
        for (writer, _) in &ends {
            choice.write(writer, &value);
        }
        let late = match round % 2 {
            0 => choice.timeout(Duration::from_micros(10)),
            _ => choice.skip(),
        };
        assert!(choice.select().unwrap().is(late));
    }
    let (writer, _reader) = super::ends::<u32>(&network, 4096);
    (0..4096).for_each(|n| writer.try_write(n).unwrap());
}
