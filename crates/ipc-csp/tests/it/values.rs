//! Values that are not what they should be, and code of users' that runs while a value is encoded or decoded.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ipc_csp::{Choice, Error, Network, Reader, Writer};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::*;

/// Encoded as one type, decoded as another.
enum Bent<A, B> {
    Sent(A),
    Arrived(B),
}

impl<A: Serialize, B> Serialize for Bent<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Bent::Sent(value) => value.serialize(serializer),
            Bent::Arrived(_) => Err(S::Error::custom("it has arrived")),
        }
    }
}

impl<'de, A, B: Deserialize<'de>> Deserialize<'de> for Bent<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        B::deserialize(deserializer).map(Bent::Arrived)
    }
}

/// What the reader gets of a value that was written.
fn sent_as<A: Serialize, B: DeserializeOwned>(network: &Network, value: A) -> Result<B, Error> {
    let (writer, reader) = ends::<Bent<A, B>>(network, 1);
    writer.write(Bent::Sent(value)).unwrap();
    reader.read().map(|value| match value {
        Bent::Arrived(value) => value,
        Bent::Sent(_) => panic!("it did not arrive"),
    })
}

/// How many ends there are.
fn total(network: &Network) -> usize {
    network.report().unwrap().channels().iter().map(|channel| channel.readers + channel.writers).sum()
}

#[test]
fn an_end_that_is_another_one_than_expected_is_an_error_and_is_gone() {
    let network = Network::new().unwrap();
    let channel = network.channel::<u32>().unwrap();
    let decode = |result: Result<(), Error>| {
        assert!(matches!(&result, Err(Error::Decode(_))), "{result:?}");
        assert_eq!(total(&network), 0);
    };
    decode(sent_as::<_, Reader<u64>>(&network, channel.reader().unwrap()).map(drop));
    decode(sent_as::<_, Writer<u32>>(&network, channel.reader().unwrap()).map(drop));
    decode(sent_as::<_, Reader<u32>>(&network, channel.writer().unwrap()).map(drop));
    decode(sent_as::<_, ipc_csp::Channel<u32>>(&network, channel.writer().unwrap()).map(drop));
    decode(sent_as::<_, Reader<u32>>(&network, channel.clone()).map(drop));
    decode(sent_as::<_, Reader<Vec<u32>>>(&network, channel.reader().unwrap()).map(drop));
    // Numbers that happen to look like an end.
    decode(sent_as::<_, Reader<u32>>(&network, (0u8, 5u8, 0u8, 1u8, 0u8)).map(drop));
    decode(sent_as::<_, Reader<u32>>(&network, (0u8, 200u8, 200u8, 1u8, 0u8, 1u8, 0u8)).map(drop));
    decode(sent_as::<_, Writer<u32>>(&network, (1u8, 0u8, 0u8, 1u8, 0u8, 1u8, 0u8)).map(drop));
    assert!(sent_as::<_, Reader<u32>>(&network, channel.reader().unwrap()).is_ok());
    assert_eq!(total(&network), 0);
}

#[test]
fn an_end_is_taken_once_from_a_value() {
    let network = Network::new().unwrap();
    let channel = network.channel::<u32>().unwrap();
    // Whoever reads the same bytes twice gets one end.
    struct Twice;
    impl<'de> Deserialize<'de> for Twice {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let bytes = <Vec<u8>>::deserialize(deserializer)?;
            assert_eq!(bytes.len(), 3);
            Ok(Twice)
        }
    }
    assert!(sent_as::<_, Twice>(&network, vec![1u8, 2, 3]).is_ok());
    let pairs =
        sent_as::<_, (Reader<u32>, Reader<u32>)>(&network, (channel.reader().unwrap(), channel.reader().unwrap()));
    let (first, second) = pairs.unwrap();
    assert_eq!(total(&network), 2);
    drop(first);
    assert_eq!(total(&network), 1);
    drop(second);
}

#[test]
fn other_handles_in_a_value_are_an_error_and_nothing_is_communicated() {
    let network = Network::new().unwrap();
    fn refused<T: Serialize + DeserializeOwned + 'static>(network: &Network, value: T) {
        let (writer, reader) = ends::<(Writer<u32>, T)>(network, 1);
        let (end, _reader) = ends::<u32>(network, 0);
        let before = total(network);
        let error = writer.write((end, value)).unwrap_err();
        assert!(matches!(error.error, Error::Encode(_)), "{error:?}");
        assert_eq!(total(network), before);
        let mut choice = Choice::new();
        choice.write(&writer, &error.value);
        choice.read(&reader);
        assert!(matches!(choice.select(), Err(Error::Encode(_))));
        assert!(reader.try_read().err().unwrap().is_would_block());
        drop(choice);
        drop(error);
        assert_eq!(total(network), before - 1);
    }
    refused(&network, ipc_core::Handle::from(std::fs::File::open("/dev/null").unwrap()));
    refused(&network, ipc_sync::Mutex::new(1u32).unwrap());
    refused(&network, Network::new().unwrap().channel::<u32>().unwrap());
    let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
    refused(&network, ipc_core::Handle::from(std::os::fd::OwnedFd::from(socket)));
}

thread_local! {
    static TRIP: Cell<Trip> = const { Cell::new(Trip::None) };
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trip {
    None,
    Panic,
    Fail,
}

fn trip<E>(error: impl FnOnce(&'static str) -> E) -> Result<(), E> {
    match TRIP.replace(Trip::None) {
        Trip::None => Ok(()),
        Trip::Panic => std::panic::resume_unwind(Box::new("tripped")),
        Trip::Fail => Err(error("tripped")),
    }
}

/// Fails or panics when it is encoded or decoded in a thread that has said so, between two ends.
struct Mine(Writer<u32>, Writer<u32>);

impl Serialize for Mine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Middle;
        impl Serialize for Middle {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                trip(S::Error::custom)?;
                serializer.serialize_unit()
            }
        }
        (&self.0, Middle, &self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Middle;
        impl<'de> Deserialize<'de> for Middle {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                trip(D::Error::custom)?;
                <()>::deserialize(deserializer).map(|()| Middle)
            }
        }
        let (first, Middle, second) = Deserialize::deserialize(deserializer)?;
        Ok(Mine(first, second))
    }
}

#[test]
fn values_that_fail_or_panic_while_they_are_encoded_are_not_written() {
    for capacity in [0, 1] {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<Mine>(&network, capacity);
        let (end, receiver) = ends::<u32>(&network, 1);
        let before = total(&network);
        for way in [Trip::Panic, Trip::Fail] {
            TRIP.set(way);
            let result = catch_unwind(AssertUnwindSafe(|| writer.write(Mine(end.clone(), end.clone()))));
            match result {
                Err(_) => assert_eq!(way, Trip::Panic),
                Ok(result) => assert!(matches!(result.unwrap_err().error, Error::Encode(_))),
            }
            assert!(reader.try_read().err().unwrap().is_would_block());
            assert_eq!(total(&network), before);
        }
        let writing = thread::spawn(move || writer.write(Mine(end.clone(), end)).unwrap());
        let Mine(_, last) = reader.read().unwrap();
        writing.join().unwrap();
        last.write(1).unwrap();
        assert_eq!(receiver.read().unwrap(), 1);
    }
}

#[test]
fn values_that_fail_or_panic_while_they_are_decoded_are_read() {
    for capacity in [0, 2] {
        for way in [Trip::Panic, Trip::Fail] {
            for by_choice in [false, true] {
                let network = Network::new().unwrap();
                let (writer, reader) = ends::<Mine>(&network, capacity);
                let (end, receiver) = ends::<u32>(&network, 1);
                let writing = thread::spawn(move || {
                    writer.write(Mine(end.clone(), end.clone())).unwrap();
                    writer.write(Mine(end.clone(), end)).unwrap();
                });
                eventually("it is written", || network.report().unwrap().channels()[1].writers >= 3);
                TRIP.set(way);
                let result = catch_unwind(AssertUnwindSafe(|| match by_choice {
                    false => reader.read(),
                    true => ipc_csp::select! { read(reader) -> value => value }.and_then(|value| value),
                }));
                match result {
                    Err(_) => assert_eq!(way, Trip::Panic),
                    Ok(result) => assert!(matches!(result, Err(Error::Decode(_)))),
                }
                let Mine(first, second) = reader.read().unwrap();
                writing.join().unwrap();
                assert_eq!(network.report().unwrap().channels()[1].writers, 2, "those of the first value are gone");
                first.write(1).unwrap();
                assert_eq!(receiver.read().unwrap(), 1);
                drop((first, second));
                assert!(receiver.read().unwrap_err().is_retired());
            }
        }
    }
}

#[test]
fn values_that_cannot_be_decoded_are_read_and_do_not_disturb_the_next() {
    let network = Network::new().unwrap();
    fn refused<A: Serialize + Send + 'static, B: DeserializeOwned + 'static>(
        network: &Network,
        capacity: usize,
        value: A,
    ) {
        let (writer, reader) = ends::<Bent<A, B>>(network, capacity);
        let writing = thread::spawn(move || writer.write(Bent::Sent(value)).map_err(|error| error.error));
        let error = reader.read().err().unwrap();
        assert!(matches!(error, Error::Decode(_)), "{error:?}");
        writing.join().unwrap().unwrap();
        assert!(reader.read().err().unwrap().is_retired());
    }
    for capacity in [0, 1] {
        refused::<_, u64>(&network, capacity, ());
        refused::<_, bool>(&network, capacity, 7u8);
        refused::<_, String>(&network, capacity, vec![0xffu8; 300]);
        refused::<_, Vec<u64>>(&network, capacity, u64::MAX);
        refused::<_, Vec<()>>(&network, capacity, u64::MAX);
        refused::<_, u8>(&network, capacity, 1000u64);
    }
}

/// Its code sends it over another channel of the same network, while it is encoded and while it is decoded.
#[test]
fn code_that_runs_within_a_value_may_communicate_by_itself() {
    thread_local! {
        static OTHER: std::cell::RefCell<Option<(Writer<u32>, Reader<u32>)>> = const { std::cell::RefCell::new(None) };
    }
    struct Busy(Writer<u32>, String);
    fn meanwhile() {
        OTHER.with_borrow(|other| {
            let Some((writer, reader)) = other else { return };
            writer.write(5).unwrap();
            assert_eq!(reader.try_read().unwrap(), 5);
            let (ends_out, ends_in) = ends::<Writer<u32>>(&writer.network(), 1);
            ends_out.write(writer.clone()).unwrap();
            ends_in.read().unwrap().write(6).unwrap();
            assert_eq!(ipc_csp::select! { read(reader) -> value => value.unwrap() }.unwrap(), 6);
            drop(ends_in);
            assert!(ends_out.try_write(writer.clone()).unwrap_err().error.is_retired());
        });
    }
    impl Serialize for Busy {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            meanwhile();
            let done = (&self.0, &self.1).serialize(serializer);
            meanwhile();
            done
        }
    }
    impl<'de> Deserialize<'de> for Busy {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            meanwhile();
            let (writer, text) = Deserialize::deserialize(deserializer)?;
            meanwhile();
            Ok(Busy(writer, text))
        }
    }
    for capacity in [0, 1] {
        let network = Network::new().unwrap();
        let own = ends::<u32>(&network, 1);
        let (end, receiver) = ends::<u32>(&network, 1);
        let (writer, reader) = ends::<Busy>(&network, capacity);
        let text = "text ".repeat(100);
        let writing = thread::spawn({
            let (own, text) = (ends::<u32>(&network, 1), text.clone());
            move || {
                OTHER.set(Some(own));
                writer.write(Busy(end, text)).map_err(|error| error.error).unwrap();
                OTHER.take();
            }
        });
        OTHER.set(Some(own));
        let Busy(end, arrived) = reader.read().unwrap();
        OTHER.take();
        writing.join().unwrap();
        assert_eq!(arrived, text);
        end.write(1).unwrap();
        assert_eq!(receiver.read().unwrap(), 1);
    }
}

#[test]
fn a_writer_whose_time_passes_while_its_value_is_decoded_has_not_written() {
    thread_local! {
        static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    #[derive(Debug)]
    struct Slow(u32);
    impl Serialize for Slow {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.serialize(serializer)
        }
    }
    impl<'de> Deserialize<'de> for Slow {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            if let Some(until) = UNTIL.take() {
                eventually("time passes", || Instant::now() > until);
            }
            u32::deserialize(deserializer).map(Slow)
        }
    }
    for by_choice in [false, true] {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<Slow>(&network, 0);
        let reading = thread::spawn(move || {
            UNTIL.set(Some(Instant::now() + 20 * SHORT));
            reader.read().unwrap().0
        });
        until_waiting(&network, 1);
        let started = Instant::now();
        let value = Slow(1);
        let is_late = match by_choice {
            false => writer.write_timeout(Slow(1), 5 * SHORT).unwrap_err().error.is_timeout(),
            true => ipc_csp::select! {
                write(writer, &value) -> result => { result.unwrap(); false },
                timeout(5 * SHORT) => true,
            }
            .unwrap(),
        };
        assert!(is_late && started.elapsed() >= 5 * SHORT);
        writer.write(Slow(2)).unwrap();
        assert_eq!(reading.join().unwrap(), 2, "and nobody has read the first one");
    }
}
