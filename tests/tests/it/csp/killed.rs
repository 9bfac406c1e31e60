//! A process that is killed: in the midst of a read, while it waits, and wherever it happens to be.

use ipc_csp::{Error, select};
use ipc_shm::AtomicArray;
use ipc_tests::isolated;

use super::*;
use crate::other::Other;

/// A process that is killed in the midst of reading the first value.
fn doomed_reader(reader: &Reader<Trap>) -> Other {
    Other::until(reader.clone(), |reader: Reader<Trap>, line| {
        arm(libc::SIGKILL);
        line.tell();
        let _ = reader.read();
    })
}

#[test]
fn what_a_killed_reader_was_reading_goes_to_another_one_and_its_writer_is_told_then() {
    isolated(|| {
        for size in SIZES {
            for by_choice in [false, true] {
                let network = Network::new().unwrap();
                let (writer, reader) = ends::<Trap>(&network, 0);
                let (_other_writer, other_reader) = ends::<Trap>(&network, 0);
                let victim = doomed_reader(&reader);
                until_waiting(&network, 1);
                let writing = thread::spawn(move || {
                    let value = Trap(1, vec![7; size]);
                    match by_choice {
                        false => writer.write(value).unwrap(),
                        true => select! {
                            write(writer, &value) -> result => result.unwrap(),
                            read(other_reader) -> _ => panic!("nobody writes"),
                        }
                        .unwrap(),
                    }
                });
                eventually("it is killed", || ipc_tests::state(victim.pid()) == Some('Z'));
                assert!(!writing.is_finished(), "nobody has read it");
                let started = Instant::now();
                assert_eq!(reader.read_timeout(LONG).unwrap(), Trap(1, vec![7; size]));
                assert!(started.elapsed() < SOON);
                writing.join().unwrap();
                assert!(reader.read_timeout(LONG).unwrap_err().is_retired());
                victim.kill();
            }
        }
    });
}

#[test]
fn what_a_killed_reader_was_reading_from_a_buffer_comes_first() {
    isolated(|| {
        for size in SIZES {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<Trap>(&network, 3);
            (0..3).for_each(|n| writer.write(Trap(n, vec![n as u8; size])).unwrap());
            let victim = doomed_reader(&reader);
            eventually("it is killed", || ipc_tests::state(victim.pid()) == Some('Z'));
            victim.kill();
            // The dead are looked for when somebody waits.
            let (_silent, nothing) = ends::<u32>(&network, 0);
            assert!(nothing.read_timeout(SOON / 4).unwrap_err().is_timeout());
            (0..3).for_each(|n| assert_eq!(reader.read_timeout(LONG).unwrap(), Trap(n, vec![n as u8; size])));
            assert!(reader.try_read().unwrap_err().is_would_block());
        }
    });
}

#[test]
fn ends_in_a_value_that_a_killed_reader_was_reading_are_there_for_the_next() {
    isolated(|| {
        for capacity in [0, 1] {
            let network = Network::new().unwrap();
            let (carrier_out, carrier) = ends::<(Writer<u32>, Trap, Writer<u32>)>(&network, capacity);
            let (writer, reader) = ends::<u32>(&network, 1);
            let victim = Other::until(carrier.clone(), |carrier: Reader<(Writer<u32>, Trap, Writer<u32>)>, line| {
                arm(libc::SIGKILL);
                line.tell();
                let _ = carrier.read();
            });
            until_waiting(&network, 1);
            let writing = thread::spawn(move || {
                carrier_out.write((writer.clone(), Trap(1, vec![]), writer)).map_err(|error| error.error).unwrap();
            });
            eventually("it is killed", || ipc_tests::state(victim.pid()) == Some('Z'));
            let (first, _, second) = carrier.read_timeout(LONG).unwrap();
            writing.join().unwrap();
            first.write(1).unwrap();
            assert_eq!(reader.read().unwrap(), 1);
            second.write(2).unwrap();
            assert_eq!(reader.read().unwrap(), 2);
            drop((first, second));
            assert!(reader.read_timeout(LONG).unwrap_err().is_retired(), "the dead one's are not counted");
            victim.kill();
        }
    });
}

#[test]
fn what_a_killed_writer_was_about_to_write_is_withdrawn() {
    isolated(|| {
        for capacity in [0, 1] {
            for by_choice in [false, true] {
                let network = Network::new().unwrap();
                let (writer, reader) = ends::<u32>(&network, capacity);
                let (second_out, second) = ends::<u32>(&network, 0);
                (0..capacity as u32).for_each(|n| writer.write(n).unwrap());
                let given = (writer.clone(), second_out.clone(), by_choice);
                let victim = Other::start(given, |(writer, second, by_choice): (Writer<u32>, Writer<u32>, bool), _| {
                    match by_choice {
                        false => writer.write(66).unwrap(),
                        true => select! { write(writer, &66) -> _ => (), write(second, &66) -> _ => () }.unwrap(),
                    }
                });
                until_waiting(&network, 1);
                victim.kill();
                // The dead are looked for when somebody waits; until then it may be read, once.
                let (_silent, nothing) = ends::<u32>(&network, 0);
                assert!(nothing.read_timeout(SOON / 4).unwrap_err().is_timeout());
                until_waiting(&network, 0);
                assert!(second.try_read().unwrap_err().is_would_block());
                let writing = thread::spawn(move || writer.write(5).unwrap());
                (0..capacity as u32).for_each(|n| assert_eq!(reader.read().unwrap(), n));
                assert_eq!(reader.read_timeout(LONG).unwrap(), 5);
                writing.join().unwrap();
                assert!(reader.read().unwrap_err().is_retired());
                drop(second_out);
                assert!(second.read().unwrap_err().is_retired());
            }
        }
    });
}

#[test]
fn readers_learn_soon_that_the_last_writer_was_killed_without_anybody_joining_it() {
    isolated(|| {
        for capacity in [0, 3] {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<u32>(&network, capacity);
            let (_other, other_reader) = ends::<u32>(&network, capacity);
            // A plain read, and a choice.
            let (all_read, are_all_read) = std::sync::mpsc::channel();
            let waiting = thread::spawn({
                let reader = reader.clone();
                move || {
                    (0..3).for_each(|n| assert_eq!(reader.read().unwrap(), n));
                    all_read.send(()).unwrap();
                    reader.read().unwrap_err()
                }
            });
            let victim = Other::until(writer, |writer: Writer<u32>, line| {
                (0..3).for_each(|n| writer.write(n).unwrap());
                line.tell_and_wait();
            });
            are_all_read.recv().unwrap();
            let choosing = thread::spawn(move || {
                select! { read(other_reader) -> _ => panic!("nobody writes"), read(reader) -> value => value.unwrap_err() }
            });
            until_waiting(&network, 2);
            victim.signal(nix::sys::signal::Signal::SIGKILL);
            let killed = Instant::now();
            assert!(waiting.join().unwrap().is_retired());
            assert!(choosing.join().unwrap().unwrap().is_retired());
            assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
            victim.kill();
        }
    });
}

#[test]
fn writers_learn_soon_that_the_last_reader_was_killed() {
    isolated(|| {
        for capacity in [0, 1] {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<u32>(&network, capacity);
            let victim = Other::until(reader, |_reader: Reader<u32>, line| line.tell_and_wait());
            let waiting: Vec<_> = (0..2)
                .map(|_| writer.clone())
                .map(|writer| thread::spawn(move || (0..3).find_map(|n| writer.write(n).err()).unwrap().error))
                .collect();
            until_waiting(&network, 2);
            victim.signal(nix::sys::signal::Signal::SIGKILL);
            let killed = Instant::now();
            waiting.into_iter().for_each(|waiting| assert!(waiting.join().unwrap().is_retired()));
            assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
            victim.kill();
        }
    });
}

#[test]
fn ends_are_gone_when_their_process_ends_however_that_is() {
    isolated(|| {
        for way in 0..4 {
            let network = Network::new().unwrap();
            let (to, from) = ends::<u32>(&network, 0);
            let (back_to, back) = ends::<u32>(&network, 0);
            let reading = thread::spawn(move || back.read());
            let writing = thread::spawn(move || to.write(1));
            until_waiting(&network, 2);
            let other = Other::start(
                (back_to, from, way),
                |(writer, reader, way): (Writer<u32>, Reader<u32>, u32), _| match way {
                    0 => {}
                    1 => std::mem::forget((writer, reader)),
                    2 => {
                        reader.retire();
                        writer.retire();
                    }
                    _ => std::process::exit(0),
                },
            );
            assert!(reading.join().unwrap().unwrap_err().is_retired());
            assert!(writing.join().unwrap().unwrap_err().error.is_retired());
            drop(other);
        }
    });
}

#[test]
fn a_network_survives_the_process_that_made_it() {
    isolated(|| {
        let (mut ours, theirs) = ipc_pipe::duplex::<(), Channel<u32>>().unwrap();
        let maker = Other::until(theirs, |mut theirs: ipc_core::Connection<Channel<u32>, ()>, line| {
            let network = Network::new().unwrap();
            theirs.send(network.builder().name("one").buffered(1).channel().unwrap()).unwrap();
            let two = network.builder().name("two").buffered(2).channel::<u32>().unwrap();
            two.writer().unwrap().write(7).unwrap();
            theirs.send(two).unwrap();
            line.tell_and_wait();
        });
        let (one, two) = (ours.recv().unwrap(), ours.recv().unwrap());
        maker.kill();
        let network = one.network();
        assert_eq!(network.report().unwrap().channels().len(), 2);
        assert_eq!((one.name(), two.name()), ("one".into(), "two".into()));
        let (writer, reader) = (one.writer().unwrap(), one.reader().unwrap());
        let child = ipc_csp::Process::spawn(
            |(reader, two): (Reader<u32>, Channel<u32>)| {
                (reader.iter().sum::<u32>(), two.reader().unwrap().iter().collect::<Vec<_>>())
            },
            (reader, two),
        );
        (0..5).for_each(|n| writer.write(n).unwrap());
        drop(writer);
        assert_eq!(child.unwrap().join().unwrap(), (10, vec![7]), "and the only writer of the second is gone");
    });
}

/// Who wrote it, which one of those it is, and something that depends on that.
type Message = (u8, u32, Vec<u8>);

/// What was acknowledged to a victim is counted in memory of its own.
#[test]
fn of_writers_killed_at_any_time_nothing_is_lost_or_doubled() {
    isolated(|| {
        for round in 0..30u32 {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<Message>(&network, [0, 1, 4][round as usize % 3]);
            let said = AtomicArray::<u32>::zeroed(1).unwrap();
            let given = (writer.clone(), said.clone());
            let victim = Other::until(given, |(writer, said): (Writer<Message>, AtomicArray<u32>), line| {
                line.tell();
                for n in 0.. {
                    writer.write((0, n, vec![1; n as usize % 300])).unwrap();
                    said.set(0, n + 1).unwrap();
                }
            });
            let steady = thread::spawn(move || {
                (0..300).for_each(|n| writer.write((1, n, vec![2; n as usize % 300])).unwrap());
            });
            let (mut next, mut victim) = ([0; 2], Some(victim));
            for (who, n, bytes) in reader.iter() {
                assert_eq!(n, next[usize::from(who)], "of {who}");
                assert_eq!(bytes.len(), n as usize % 300);
                next[usize::from(who)] += 1;
                if next.iter().sum::<u32>() > 3 * round {
                    victim.take().into_iter().for_each(Other::kill);
                }
            }
            assert!(matches!(reader.read(), Err(Error::Retired)));
            steady.join().unwrap();
            assert_eq!(next[1], 300);
            let said = said.get(0).unwrap();
            assert!((said..=said + 1).contains(&next[0]), "{said} acknowledged, {} read", next[0]);
        }
    });
}

#[test]
fn of_readers_killed_at_any_time_the_values_go_to_the_others() {
    isolated(|| {
        for round in 0..15u32 {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<u32>(&network, [0, 1, 4][round as usize % 3]);
            // What it has read it has noted, except the last one perhaps.
            let noted = AtomicArray::<u32>::zeroed(1000).unwrap();
            let given = (reader.clone(), noted.clone());
            let victim = Other::until(given, |(reader, noted): (Reader<u32>, AtomicArray<u32>), line| {
                line.tell();
                for n in reader.iter() {
                    noted.fetch_add(n as usize, 1).unwrap();
                }
            });
            let reading = thread::spawn(move || reader.iter().collect::<Vec<_>>());
            let mut victim = Some(victim);
            for n in 0..1000 {
                writer.write(n).unwrap();
                if n > 50 * round {
                    victim.take().into_iter().for_each(Other::kill);
                }
            }
            drop(writer);
            let mut counts: Vec<u32> = noted.to_vec();
            reading.join().unwrap().into_iter().for_each(|n| counts[n as usize] += 1);
            let wrong: Vec<_> = counts.iter().enumerate().filter(|(_, count)| **count != 1).collect();
            // One that it had read and not noted yet.
            assert!(wrong.len() <= 1 && wrong.iter().all(|(_, count)| **count == 0), "round {round}: {wrong:?}");
        }
    });
}
