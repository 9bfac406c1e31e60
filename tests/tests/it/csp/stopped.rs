//! A process that is stopped: in the midst of a read, while it waits, and wherever it happens to be.

use ipc_csp::{Choice, select};
use ipc_tests::{isolated, state};

use super::*;
use crate::other::Other;

/// A process that is stopped in the midst of reading the first value, which somebody has to write. Then it reads the next one.
fn stopped_reader(reader: &Reader<Trap>) -> Other {
    Other::until(reader.clone(), |reader: Reader<Trap>, line| {
        arm(libc::SIGSTOP);
        line.tell();
        let values = (reader.read().unwrap().0, reader.read().unwrap().0);
        assert_eq!(values, (2, 3));
        line.tell();
    })
}

fn until_stopped(other: &Other) {
    eventually("it stops", || state(other.pid()) == Some('T'));
}

#[test]
fn time_outs_of_writers_hold_while_the_reader_is_stopped_in_the_midst_of_their_value() {
    isolated(|| {
        for size in SIZES {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<Trap>(&network, 0);
            let mut other = stopped_reader(&reader);
            until_waiting(&network, 1);
            drop(reader);
            let value = |n: u32| Trap(n, vec![n as u8; size]);
            eventually("it stops within the value", || {
                let started = Instant::now();
                let error = writer.write_timeout(value(0), SHORT).unwrap_err();
                assert!(error.error.is_timeout() && started.elapsed() < SHORT + LATE, "{error:?}");
                assert_eq!(error.value, value(0));
                state(other.pid()) == Some('T')
            });
            let value_1 = value(1);
            in_vain(SHORT, |limit| writer.write_timeout(value(1), limit).unwrap_err().error.is_timeout());
            assert!(writer.try_write(value(1)).unwrap_err().error.is_would_block());
            in_vain(SHORT, |limit| {
                let late = select! { write(writer, &value_1) -> _ => false, timeout(limit) => true };
                late.unwrap()
            });
            assert!(select! { write(writer, &value_1) -> _ => false, skip => true }.unwrap());
            other.wake();
            writer.write_timeout(value(2), LONG).unwrap();
            writer.write_timeout(value(3), LONG).unwrap();
            other.reached();
            other.finish();
        }
    });
}

#[test]
fn a_writer_that_waits_while_its_reader_is_stopped_goes_on_with_it_or_with_the_next() {
    isolated(|| {
        for is_killed in [false, true] {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<Trap>(&network, 0);
            let mut other = stopped_reader(&reader);
            until_waiting(&network, 1);
            let writing = thread::spawn(move || (2..4).for_each(|n| writer.write(Trap(n, vec![])).unwrap()));
            until_stopped(&other);
            in_vain(SHORT, |limit| reader.read_timeout(limit).unwrap_err().is_timeout());
            if is_killed {
                other.kill();
                assert_eq!((reader.read().unwrap().0, reader.read().unwrap().0), (2, 3));
            } else {
                other.wake();
                other.reached();
                other.finish();
            }
            writing.join().unwrap();
        }
    });
}

#[test]
fn a_reader_that_stays_stopped_does_not_keep_its_writer_from_others() {
    isolated(|| {
        for by_choice in [false, true] {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<Trap>(&network, 0);
            let (other_writer, other_reader) = ends::<Trap>(&network, 0);
            let mut stopped = Other::until(reader.clone(), |reader: Reader<Trap>, line| {
                arm(libc::SIGSTOP);
                line.tell();
                assert!(reader.read().unwrap_err().is_retired(), "somebody else has read it");
                line.tell();
            });
            until_waiting(&network, 1);
            let writing = thread::spawn(move || {
                let value = Trap(1, vec![5; 1000]);
                match by_choice {
                    false => writer.write(value).unwrap(),
                    true => select! {
                        write(writer, &value) -> _ => panic!("nobody has read it there"),
                        write(other_writer, &value) -> result => result.unwrap(),
                    }
                    .unwrap(),
                }
            });
            until_stopped(&stopped);
            let reader = if by_choice { &other_reader } else { &reader };
            assert_eq!(reader.read_timeout(LONG).unwrap(), Trap(1, vec![5; 1000]));
            writing.join().unwrap();
            stopped.wake();
            stopped.reached();
            stopped.finish();
        }
    });
}

#[test]
fn what_a_stopped_writer_has_offered_is_read_and_only_once() {
    isolated(|| {
        for capacity in [0, 1] {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<u32>(&network, capacity);
            (0..capacity as u32).for_each(|n| writer.write(n).unwrap());
            let mut other = Other::start(writer, |writer: Writer<u32>, line| {
                writer.write(1).unwrap();
                line.tell_and_wait();
            });
            until_waiting(&network, 1);
            other.stop();
            (0..capacity as u32).for_each(|n| assert_eq!(reader.read_timeout(LONG).unwrap(), n));
            assert_eq!(reader.read_timeout(LONG).unwrap(), 1);
            assert!(reader.try_read().unwrap_err().is_would_block());
            in_vain(SHORT, |limit| reader.read_timeout(limit).unwrap_err().is_timeout());
            other.wake();
            other.reached();
            other.finish();
        }
    });
}

#[test]
fn a_stopped_chooser_communicates_once() {
    isolated(|| {
        let network = Network::new().unwrap();
        let (first_out, first) = ends::<u32>(&network, 0);
        let (second_out, second) = ends::<u32>(&network, 0);
        let mut other = Other::start((first_out, second_out), |(first, second): (Writer<u32>, Writer<u32>), line| {
            let chosen = select! { write(first, &1) -> _ => 1, write(second, &2) -> _ => 2 };
            assert_eq!(chosen.unwrap(), 2);
            line.tell_and_wait();
        });
        until_waiting(&network, 1);
        other.stop();
        assert_eq!(second.read_timeout(LONG).unwrap(), 2);
        in_vain(SHORT, |limit| first.read_timeout(limit).unwrap_err().is_timeout());
        assert!(second.try_read().unwrap_err().is_would_block());
        other.wake();
        other.reached();
        other.finish();
    });
}

#[test]
fn a_stopped_reader_does_not_keep_values_from_the_others() {
    isolated(|| {
        for capacity in [0, 1] {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<u32>(&network, capacity);
            let stopped = Other::start(reader.clone(), |reader: Reader<u32>, _| {
                reader.read().unwrap_err();
            });
            until_waiting(&network, 1);
            stopped.stop();
            let reading = thread::spawn({
                let reader = reader.clone();
                move || reader.iter().count()
            });
            until_waiting(&network, 2);
            for n in 0..10 {
                let started = Instant::now();
                writer.write_timeout(n, LONG).unwrap();
                assert!(started.elapsed() < SOON);
            }
            writer.close().unwrap();
            assert_eq!(reading.join().unwrap(), 10);
            stopped.wake();
            stopped.finish();
        }
    });
}

#[test]
fn a_stopped_writer_at_the_head_of_the_line_does_not_keep_the_others_from_a_buffer_with_room() {
    isolated(|| {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<u32>(&network, 2);
        (0..2).for_each(|n| writer.write(n).unwrap());
        let mut other = Other::start(writer.clone(), |writer: Writer<u32>, line| {
            writer.write(100).unwrap();
            line.tell_and_wait();
        });
        until_waiting(&network, 1);
        other.stop();
        let mut read: Vec<_> = (0..2).map(|_| reader.read().unwrap()).collect();
        writer.write_timeout(2, LONG).unwrap();
        other.wake();
        other.reached();
        read.extend((0..2).map(|_| reader.read().unwrap()));
        read.sort_unstable();
        assert_eq!(read, [0, 1, 2, 100]);
        other.finish();
    });
}

#[test]
fn a_value_from_a_buffer_in_the_hand_of_a_stopped_reader_is_neither_lost_nor_the_end() {
    isolated(|| {
        for is_killed in [false, true] {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<Trap>(&network, 3);
            let mut other = stopped_reader(&reader);
            (2..5).for_each(|n| writer.write(Trap(n, vec![1; 1000])).unwrap());
            until_stopped(&other);
            assert_eq!((reader.read().unwrap().0, reader.read_timeout(LONG).unwrap().0), (3, 4));
            writer.write(Trap(3, vec![])).unwrap();
            if is_killed {
                drop(writer);
                assert_eq!(reader.read().unwrap().0, 3);
                in_vain(SHORT, |limit| reader.read_timeout(limit).unwrap_err().is_timeout());
                other.kill();
                assert_eq!(reader.read().unwrap().0, 2, "it comes back");
                assert!(reader.read().unwrap_err().is_retired());
            } else {
                other.wake();
                other.reached();
                assert!(reader.try_read().unwrap_err().is_would_block());
                other.finish();
            }
        }
    });
}

/// Wherever it is: in a lock, with a value half written, or between two.
#[test]
fn one_that_is_stopped_anywhere_disturbs_nobody_on_other_channels_and_no_time_out() {
    isolated(|| {
        let network = Network::new().unwrap();
        let (busy_out, busy) = ends::<Trap>(&network, 0);
        let (more_out, more) = ends::<Trap>(&network, 2);
        let (calm_out, calm) = ends::<u32>(&network, 0);
        let (line_out, line) = ends::<u32>(&network, 1);
        let others: Vec<Other> = (0..2)
            .map(|_| {
                let given = (busy_out.clone(), busy.clone(), more_out.clone(), more.clone());
                Other::until(given, |given: (Writer<Trap>, Reader<Trap>, Writer<Trap>, Reader<Trap>), line| {
                    let (out, into, more_out, more) = given;
                    line.tell();
                    for round in 0.. {
                        let value = Trap(round, vec![1; (round as usize % 5) * 100]);
                        let mut choice = Choice::new();
                        choice.read(&into);
                        choice.write(&more_out, &value);
                        choice.read(&more);
                        choice.write(&out, &value);
                        choice.select().unwrap();
                    }
                })
            })
            .collect();
        let echo = thread::spawn(move || {
            for n in calm.iter() {
                line_out.write(n).unwrap();
            }
        });
        let mut seed = 12345u32;
        for round in 0..60u32 {
            let victim = &others[round as usize % 2];
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (0..seed >> 16).for_each(|_| std::hint::spin_loop());
            victim.stop();
            let started = Instant::now();
            for n in 0..20 {
                calm_out.write_timeout(n, LONG).unwrap();
                assert_eq!(line.read_timeout(LONG).unwrap(), n);
            }
            assert!(started.elapsed() < 2 * SOON, "{:?}", started.elapsed());
            // With the stopped one, time-outs hold; another one may well be there.
            let limit = Duration::from_millis(5);
            let started = Instant::now();
            let errors = [
                busy.read_timeout(limit).err(),
                more.read_timeout(limit).err(),
                busy_out.write_timeout(Trap(0, vec![]), limit).err().map(|error| error.error),
                more_out.write_timeout(Trap(0, vec![]), limit).err().map(|error| error.error),
                busy.try_read().err().filter(|error| !error.is_would_block()),
                more_out
                    .try_write(Trap(0, vec![]))
                    .err()
                    .map(|error| error.error)
                    .filter(|error| !error.is_would_block()),
            ];
            assert!(errors.iter().flatten().all(ipc_csp::Error::is_timeout), "round {round}: {errors:?}");
            let value = Trap(1, vec![]);
            select! {
                read(busy) -> value => drop(value.unwrap()),
                write(more_out, &value) -> result => result.unwrap(),
                write(busy_out, &value) -> result => result.unwrap(),
                read(more) -> value => drop(value.unwrap()),
                timeout(limit) => (),
            }
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert!(started.elapsed() < LATE + 10 * limit, "{:?}", started.elapsed());
            victim.wake();
        }
        others.into_iter().for_each(Other::kill);
        drop(calm_out);
        echo.join().unwrap();
    });
}

#[test]
fn a_network_of_which_somebody_is_stopped_makes_channels_and_ends() {
    isolated(|| {
        let network = Network::new().unwrap();
        let channel: Channel<u32> = network.channel().unwrap();
        let other = Other::until(channel.clone(), |channel: Channel<u32>, line| {
            line.tell();
            loop {
                let made: Channel<u32> = channel.network().buffered(1).unwrap();
                made.writer().unwrap().try_write(1).unwrap();
                drop(made.reader().unwrap());
            }
        });
        for _ in 0..30 {
            let other_made = network.channel::<u32>().unwrap();
            other.stop();
            drop(channel.reader().unwrap());
            drop(other_made);
            network.report().unwrap();
            other.wake();
        }
        other.kill();
    });
}
