//! Ends that travel to other processes, or do not arrive there.

use std::cell::RefCell;

use ipc_core::{Builder, Connection};
use ipc_csp::{Process, parallel, process};
use ipc_pipe::duplex;
use ipc_tests::{isolated, state};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serializer;

use super::*;
use crate::other::Other;

#[test]
fn ends_go_as_arguments_as_results_over_connections_and_over_channels() {
    isolated(|| {
        type Pair = (Writer<u32>, Option<Reader<u32>>);
        type Line = Connection<Channel<u32>, Writer<u32>>;
        let network = Network::new().unwrap();
        let (carrier_out, carrier) = ends::<Pair>(&network, 0);
        let (mut ours, theirs) = duplex::<Writer<u32>, Channel<u32>>().unwrap();
        let child = Process::spawn(
            |(carrier, mut line): (Reader<Pair>, Line)| {
                let (first, none) = carrier.read().unwrap();
                assert!(none.is_none());
                first.write(1).unwrap();
                let (second, Some(reader)) = carrier.read().unwrap() else { panic!("a reader is missing") };
                second.write(reader.read().unwrap() + 1).unwrap();
                line.recv().unwrap().write(3).unwrap();
                let made = carrier.network().channel::<u32>().unwrap();
                line.send(&made).unwrap();
                (made.reader().unwrap(), second)
            },
            (carrier, theirs),
        )
        .unwrap();
        let (writer, reader) = ends::<u32>(&network, 0);
        carrier_out.write((writer.clone(), None)).unwrap();
        assert_eq!(reader.read().unwrap(), 1);
        let (to, from) = ends::<u32>(&network, 1);
        carrier_out.write((writer.clone(), Some(from))).unwrap();
        to.write(1).unwrap();
        assert_eq!(reader.read().unwrap(), 2);
        ours.send(writer).unwrap();
        assert_eq!(reader.read().unwrap(), 3);
        let made = ours.recv().unwrap();
        let (result, second) = child.join().unwrap();
        let made = made.writer().unwrap();
        let writing = thread::spawn(move || made.write(9).unwrap());
        assert_eq!(result.read().unwrap(), 9);
        writing.join().unwrap();
        let writing = thread::spawn(move || second.write(10).unwrap());
        assert_eq!(reader.read().unwrap(), 10);
        writing.join().unwrap();
        assert!(reader.read().unwrap_err().is_retired(), "no end is left of those that came and went");
    });
}

#[test]
fn an_end_wanders_through_many_processes() {
    isolated(|| {
        type Baton = (u32, Writer<u32>, Reader<u32>);
        fn runner((from, to): (Reader<Baton>, Writer<Baton>)) {
            for (round, writer, reader) in from.iter() {
                writer.write_timeout(round, LONG).unwrap();
                assert_eq!(reader.read_timeout(LONG).unwrap(), round);
                if to.write((round + 1, writer, reader)).is_err() {
                    return;
                }
            }
        }
        let network = Network::new().unwrap();
        let batons: Vec<_> = (0..4).map(|_| network.channel::<Baton>().unwrap()).collect();
        let runners: Vec<_> = (0..3)
            .map(|n| {
                process(runner, (batons[n].reader().unwrap(), batons[n + 1].writer().unwrap())).name(format!("{n}"))
            })
            .collect();
        let (start, back) = (batons[0].writer().unwrap(), batons[3].reader().unwrap());
        drop(batons);
        let racing = thread::spawn(move || parallel(runners).unwrap());
        let (writer, reader) = ends::<u32>(&network, 1);
        let mut baton = (0, writer, reader);
        for round in 0..200 {
            start.write_timeout(baton, LONG).map_err(|error| error.error).unwrap();
            baton = back.read_timeout(LONG).unwrap();
            assert_eq!(baton.0, 3 * (round + 1));
        }
        // Those who had it before may be about to drop what they have passed on.
        eventually("one end of each kind is left", || {
            let report = network.report().unwrap();
            report.channels().last().is_some_and(|channel| (channel.readers, channel.writers) == (1, 1))
        });
        drop(start);
        racing.join().unwrap();
    });
}

#[test]
fn an_end_that_arrives_as_something_else_is_an_error_and_counts_no_longer() {
    isolated(|| {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<u32>(&network, 0);
        let (mut to, from) = duplex::<Writer<u32>, ()>().unwrap();
        let mut from = from.retype::<(), Reader<u32>, ipc_core::Postcard>();
        to.send(&writer).unwrap();
        let error = from.recv().unwrap_err();
        assert!(ipc_core::explain(&error).contains("another end of a channel"), "{}", ipc_core::explain(&error));
        let mut from = from.retype::<(), Writer<u64>, ipc_core::Postcard>();
        to.send(writer).unwrap();
        let error = from.recv().unwrap_err();
        assert!(ipc_core::explain(&error).contains("another type"), "{}", ipc_core::explain(&error));
        assert!(reader.read_timeout(LONG).unwrap_err().is_retired());
        let (mut to, from) = duplex::<Reader<u32>, ()>().unwrap();
        let mut from = from.retype::<(), Channel<u32>, ipc_core::Postcard>();
        let (writer, reader) = ends::<u32>(&network, 0);
        to.send(reader).unwrap();
        assert!(from.recv().is_err());
        assert!(writer.write_timeout(1, LONG).unwrap_err().error.is_retired());
    });
}

#[test]
fn ends_that_nobody_receives_are_gone_with_their_message() {
    isolated(|| {
        let network = Network::new().unwrap();
        for is_killed in [false, true] {
            let (writer, reader) = ends::<u32>(&network, 0);
            let (mut ours, theirs) = duplex::<Vec<Writer<u32>>, ()>().unwrap();
            let victim = Other::until(theirs, |_line: Connection<(), Vec<Writer<u32>>>, line| line.tell_and_wait());
            ours.send(vec![writer.clone(), writer]).unwrap();
            in_vain(4 * SHORT, |limit| reader.read_timeout(limit).unwrap_err().is_timeout());
            if is_killed {
                victim.kill()
            } else {
                victim.finish()
            }
            assert!(reader.read_timeout(LONG).unwrap_err().is_retired());
            drop(ours);
        }
    });
}

#[test]
fn ends_of_a_process_that_is_killed_before_it_took_its_arguments_are_gone() {
    isolated(|| {
        let network = Network::new().unwrap();
        let (to, from) = ends::<u32>(&network, 0);
        let (back_to, back) = ends::<u32>(&network, 0);
        raw::link_staller();
        let builder = Builder::new().env(raw::STALL, "1").core_dumps(false).daemon(true);
        let child = builder.spawn(|_: (Writer<u32>, Reader<u32>)| (), (back_to, from)).unwrap();
        eventually("it is stalled", || state(child.pid()) == Some('T'));
        in_vain(4 * SHORT, |limit| back.read_timeout(limit).unwrap_err().is_timeout());
        in_vain(SHORT, |limit| to.write_timeout(1, limit).unwrap_err().error.is_timeout());
        kill(Pid::from_raw(child.pid() as i32), Signal::SIGKILL).unwrap();
        let killed = Instant::now();
        assert!(back.read_timeout(LONG).unwrap_err().is_retired());
        assert!(to.write_timeout(1, LONG).unwrap_err().error.is_retired());
        assert!(killed.elapsed() < SOON + LATE, "{:?}", killed.elapsed());
        child.join().unwrap_err();
    });
}

#[test]
fn ends_in_a_buffer_stay_when_the_process_that_wrote_them_is_killed() {
    isolated(|| {
        let network = Network::new().unwrap();
        let (carrier_out, carrier) = ends::<Reader<u32>>(&network, 2);
        let (writer, reader) = ends::<u32>(&network, 0);
        let given = (carrier_out.clone(), reader);
        let victim = Other::until(given, |(carrier, reader): (Writer<Reader<u32>>, Reader<u32>), line| {
            carrier.write(reader.clone()).unwrap();
            carrier.write(reader).unwrap();
            line.tell_and_wait();
        });
        victim.kill();
        in_vain(4 * SHORT, |limit| writer.write_timeout(1, limit).unwrap_err().error.is_timeout());
        let reader = carrier.read().unwrap();
        let writing = thread::spawn({
            let writer = writer.clone();
            move || writer.write(2).unwrap()
        });
        assert_eq!(reader.read().unwrap(), 2);
        writing.join().unwrap();
        drop(reader);
        drop(carrier);
        assert!(writer.write_timeout(1, LONG).unwrap_err().error.is_retired());
    });
}

/// The end goes with the inner message, which is none of the network's.
#[test]
fn an_end_that_is_sent_over_a_connection_while_a_value_is_encoded_arrives() {
    isolated(|| {
        type Inner = (Connection<Writer<u32>, ()>, Writer<u32>);
        struct Leaky(RefCell<Option<Inner>>);
        impl Serialize for Leaky {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if let Some((mut connection, writer)) = self.0.take() {
                    connection.send(writer).unwrap();
                }
                serializer.serialize_u32(5)
            }
        }
        impl<'de> Deserialize<'de> for Leaky {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Leaky, D::Error> {
                u32::deserialize(deserializer).map(|_| Leaky(None.into()))
            }
        }
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<u32>(&network, 1);
        let (carrier_out, carrier) = ends::<Leaky>(&network, 1);
        let (ours, mut theirs) = duplex::<Writer<u32>, ()>().unwrap();
        let value = Leaky(Some((ours, writer)).into());
        carrier_out.write(value).map_err(|error| error.error).unwrap();
        let arrived = theirs.recv().unwrap();
        carrier.read().unwrap();
        arrived.write(1).unwrap();
        assert_eq!(reader.read().unwrap(), 1);
        drop(arrived);
        assert!(reader.read_timeout(LONG).unwrap_err().is_retired());
    });
}
