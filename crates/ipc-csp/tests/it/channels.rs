//! Channels and their ends: values, time, order, and how channels end.

use ipc_csp::{Error, Network, Reader, Writer, parallel, process};

use super::*;

#[test]
fn values_of_any_size_arrive_in_order() {
    for capacity in [0, 1, 3] {
        let (writer, reader) = pair::<Vec<u8>>(capacity);
        let sizes = [0, 1, 7, 8, 175, 176, 177, 4096, 5_000_000, 3];
        let sent = thread::spawn(move || {
            for size in sizes {
                writer.write(vec![size as u8; size]).unwrap();
            }
        });
        let received: Vec<_> = reader.iter().collect();
        sent.join().unwrap();
        assert_eq!(received.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        assert!(received.iter().all(|bytes| bytes.iter().all(|byte| *byte == bytes.len() as u8)));
        assert!(reader.read().unwrap_err().is_retired());
    }
}

#[test]
fn a_write_returns_when_it_is_read() {
    let (writer, reader) = pair::<u32>(0);
    assert!(writer.try_write(1).unwrap_err().error.is_would_block());
    assert!(reader.try_read().unwrap_err().is_would_block());
    let started = Instant::now();
    assert!(writer.write_timeout(1, SHORT).unwrap_err().error.is_timeout());
    assert!(reader.read_timeout(SHORT).unwrap_err().is_timeout());
    assert!(started.elapsed() >= 2 * SHORT);
    let network = reader.network();
    let writing = thread::spawn(move || writer.write(5).unwrap());
    until_waiting(&network, 1);
    assert!(!writing.is_finished());
    assert_eq!(reader.read().unwrap(), 5);
    writing.join().unwrap();
}

#[test]
fn a_buffer_takes_so_many_and_no_more() {
    let (writer, reader) = pair::<u32>(2);
    writer.try_write(1).unwrap();
    writer.try_write(2).unwrap();
    assert_eq!(writer.try_write(3).unwrap_err().value, 3);
    assert_eq!(reader.try_read().unwrap(), 1);
    writer.try_write(3).unwrap();
    drop(writer);
    assert_eq!(reader.iter().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn many_writers_and_readers_exchange_everything_once() {
    for capacity in [0, 4] {
        let channel = Network::new().unwrap().buffered::<u64>(capacity).unwrap();
        let writers: Vec<_> = (0..4).map(|_| channel.writer().unwrap()).collect();
        let readers: Vec<_> = (0..4).map(|_| channel.reader().unwrap()).collect();
        let writing = writers.into_iter().enumerate().map(|(nth, writer)| {
            thread::spawn(move || (0..2000).for_each(|n| writer.write(nth as u64 * 10_000 + n).unwrap()))
        });
        let writing: Vec<_> = writing.collect();
        let reading = readers.into_iter().map(|reader| thread::spawn(move || reader.iter().collect::<Vec<_>>()));
        let mut all: Vec<u64> =
            reading.collect::<Vec<_>>().into_iter().flat_map(|reader| reader.join().unwrap()).collect();
        writing.into_iter().for_each(|writer| writer.join().unwrap());
        all.sort_unstable();
        let expected: Vec<u64> = (0..4).flat_map(|nth| (0..2000).map(move |n| nth * 10_000 + n)).collect();
        assert_eq!(all, expected);
    }
}

#[test]
fn ends_travel_over_channels_and_to_processes() {
    let network = Network::new().unwrap();
    let (carrier, numbers) = (network.channel::<Reader<u32>>().unwrap(), network.channel::<u32>().unwrap());
    let (_, sum, ()) = parallel((
        process(
            |(carrier, reader): (Writer<Reader<u32>>, Reader<u32>)| carrier.write(reader).unwrap(),
            (carrier.writer().unwrap(), numbers.reader().unwrap()),
        ),
        process(|carrier: Reader<Reader<u32>>| carrier.read().unwrap().iter().sum::<u32>(), carrier.reader().unwrap()),
        process(|writer: Writer<u32>| (1..=100).for_each(|n| writer.write(n).unwrap()), numbers.writer().unwrap()),
    ))
    .unwrap();
    assert_eq!(sum, 5050);
}

#[test]
fn other_networks_ends_and_other_types_are_refused() {
    let carrier = Network::new().unwrap().buffered::<Reader<u32>>(1).unwrap();
    let foreign = Network::new().unwrap().channel::<u32>().unwrap();
    let error = carrier.writer().unwrap().write(foreign.reader().unwrap()).unwrap_err().error;
    assert!(matches!(error, Error::Encode(_)), "{error}");
}

#[test]
fn poison_is_immediate_and_close_drains() {
    let (writer, reader) = pair::<u32>(4);
    writer.write(1).unwrap();
    writer.close().unwrap();
    assert!(matches!(writer.write(2).unwrap_err().error, Error::Closed));
    assert_eq!(reader.read().unwrap(), 1);
    assert!(matches!(reader.read(), Err(Error::Closed)));

    let (writer, reader) = pair::<u32>(4);
    writer.write(1).unwrap();
    let waiting = {
        let (_writer, reader) = (writer.clone(), reader.clone());
        reader.read().unwrap();
        thread::spawn(move || reader.read())
    };
    until_waiting(&writer.network(), 1);
    writer.poison().unwrap();
    assert!(waiting.join().unwrap().unwrap_err().is_poisoned());
    assert!(writer.write(2).unwrap_err().error.is_poisoned());
}

#[test]
fn a_killed_process_retires_its_ends() {
    let channel = Network::new().unwrap().channel::<u32>().unwrap();
    let child = ipc_csp::Process::spawn(
        |writer: Writer<u32>| {
            writer.write(1).unwrap();
            std::process::abort();
        },
        channel.writer().unwrap(),
    )
    .unwrap();
    let child: ipc_csp::Process<()> = child;
    let reader = channel.reader().unwrap();
    assert_eq!(reader.read().unwrap(), 1);
    assert!(reader.read().unwrap_err().is_retired());
    child.join().unwrap_err();
}

#[test]
fn each_call_has_three_forms() {
    for capacity in [0, 1, 5] {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<String>(&network, capacity);
        let text = || "x".repeat(capacity + 1);
        for _ in 0..3 {
            let read = || reader.read().unwrap();
            let read_timeout = || reader.read_timeout(LONG).unwrap();
            thread::scope(|scope| {
                for reading in [&read as &(dyn Fn() -> String + Sync), &read_timeout] {
                    for form in 0..3 {
                        let reading = scope.spawn(reading);
                        match form {
                            0 => writer.write(text()).unwrap(),
                            1 => writer.write_timeout(text(), LONG).unwrap(),
                            // A reader that is not scheduled within a millisecond is none.
                            _ => eventually("somebody reads", || writer.try_write(text()).is_ok()),
                        }
                        assert_eq!(reading.join().unwrap(), text());
                    }
                }
                let writing = scope.spawn(|| writer.write(text()).unwrap());
                let mut got = None;
                eventually("somebody writes", || {
                    got = reader.try_read().ok();
                    got.is_some()
                });
                assert_eq!(got.unwrap(), text());
                writing.join().unwrap();
            });
        }
        assert!(reader.try_read().unwrap_err().is_would_block());
        assert!(reader.read_timeout(Duration::ZERO).unwrap_err().is_timeout());
        (0..capacity).for_each(|_| writer.write_timeout(text(), Duration::MAX).unwrap());
        assert!(writer.try_write(text()).unwrap_err().error.is_would_block());
        let error = writer.write_timeout(text(), Duration::ZERO).unwrap_err();
        assert_eq!((error.value.clone(), error.to_string()), (text(), "timed out".into()));
        assert!(Error::from(error).is_timeout());
    }
}

#[test]
fn what_was_not_written_in_time_is_never_read() {
    let network = Network::new().unwrap();
    for capacity in [0, 1] {
        let (writer, reader) = ends::<u64>(&network, capacity);
        let reading = thread::spawn(move || reader.iter().collect::<Vec<_>>());
        let mut written = Vec::new();
        for n in 0..3000u64 {
            let result = match n % 3 {
                0 => writer.try_write(n),
                1 => writer.write_timeout(n, Duration::from_micros(n % 50)),
                _ => writer.write_timeout(n, Duration::from_micros(1)),
            };
            match result {
                Ok(()) => written.push(n),
                Err(error) => assert!(error.error.is_timeout() || error.error.is_would_block()),
            }
        }
        writer.write(u64::MAX).unwrap();
        written.push(u64::MAX);
        drop(writer);
        assert_eq!(reading.join().unwrap(), written);
    }
}

#[test]
fn what_was_not_read_in_time_is_read_by_the_next() {
    for capacity in [0, 1] {
        let (writer, reader) = pair::<u64>(capacity);
        let writing = thread::spawn(move || (0..3000).for_each(|n| writer.write(n).unwrap()));
        let mut next = 0;
        loop {
            let result = match next % 3 {
                0 => reader.try_read(),
                1 => reader.read_timeout(Duration::from_micros(next % 50)),
                _ => reader.read_timeout(Duration::from_micros(1)),
            };
            match result {
                Ok(n) => {
                    assert_eq!(n, next);
                    next += 1;
                }
                Err(error) if error.is_retired() => break,
                Err(error) => assert!(error.is_timeout() || error.is_would_block()),
            }
        }
        assert_eq!(next, 3000);
        writing.join().unwrap();
    }
}

#[test]
fn writers_that_wait_behind_a_full_buffer_come_in_the_order_in_which_they_came() {
    for capacity in [0, 1, 3] {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<usize>(&network, capacity);
        (0..capacity).for_each(|n| writer.write(n).unwrap());
        let waiting = (capacity..capacity + 5).map(|n| {
            let writer = writer.clone();
            let waiting = thread::spawn(move || writer.write(n).unwrap());
            until_waiting(&network, n - capacity + 1);
            waiting
        });
        let waiting: Vec<_> = waiting.collect();
        assert!(writer.try_write(99).unwrap_err().error.is_would_block(), "nobody gets in before them");
        for n in 0..capacity + 5 {
            assert_eq!(reader.read().unwrap(), n);
            // Those behind it move up, before the next one is read.
            until_waiting(&network, 5usize.saturating_sub(n + 1));
        }
        waiting.into_iter().for_each(|waiting| waiting.join().unwrap());
    }
}

#[test]
fn values_keep_the_order_of_each_writer_whoever_reads_them() {
    for capacity in [0, 1, 7] {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<(usize, u32)>(&network, capacity);
        let writing: Vec<_> = (0..3)
            .map(|who| (who, writer.clone()))
            .map(|(who, writer)| thread::spawn(move || (0..1000).for_each(|n| writer.write((who, n)).unwrap())))
            .collect();
        let reading: Vec<_> = (0..2)
            .map(|_| reader.clone())
            .map(|reader| thread::spawn(move || reader.iter().collect::<Vec<_>>()))
            .collect();
        drop((writer, reader));
        let read: Vec<_> = reading.into_iter().map(|reading| reading.join().unwrap()).collect();
        writing.into_iter().for_each(|writing| writing.join().unwrap());
        assert_eq!(read.iter().map(Vec::len).sum::<usize>(), 3000);
        for values in &read {
            for who in 0..3 {
                let own: Vec<_> = values.iter().filter(|value| value.0 == who).collect();
                assert!(own.windows(2).all(|pair| pair[0].1 < pair[1].1));
            }
        }
    }
}

#[test]
fn from_which_end_a_channel_is_ended_does_not_matter() {
    type Ending = fn(&ipc_csp::Channel<u32>, &Writer<u32>, &Reader<u32>) -> Result<(), Error>;
    let close: [Ending; 3] =
        [|channel, _, _| channel.close(), |_, writer, _| writer.close(), |_, _, reader| reader.close()];
    let poison: [Ending; 3] =
        [|channel, _, _| channel.poison(), |_, writer, _| writer.poison(), |_, _, reader| reader.poison()];
    for (is_poison, end) in close.map(|end| (false, end)).into_iter().chain(poison.map(|end| (true, end))) {
        let network = Network::new().unwrap();
        let channel = network.buffered::<u32>(3).unwrap();
        let (writer, reader) = (channel.writer().unwrap(), channel.reader().unwrap());
        (0..2).for_each(|n| writer.write(n).unwrap());
        end(&channel, &writer, &reader).unwrap();
        end(&channel, &writer, &reader).unwrap();
        let is_right = |error: &Error| error.is_end() && error.is_poisoned() == is_poison && !error.is_retired();
        assert!(is_right(&writer.try_write(2).unwrap_err().error));
        assert!(is_right(&writer.write(2).unwrap_err().error));
        assert!(is_right(&writer.write_timeout(2, LONG).unwrap_err().error));
        if !is_poison {
            assert_eq!((reader.read().unwrap(), reader.try_read().unwrap()), (0, 1));
        }
        assert!(is_right(&reader.try_read().unwrap_err()));
        assert!(is_right(&reader.read().unwrap_err()));
        assert!(is_right(&reader.read_timeout(LONG).unwrap_err()));
        assert!(is_right(&channel.reader().unwrap().read().unwrap_err()), "also for later ends");
        channel.poison().unwrap();
        assert!(reader.read().unwrap_err().is_poisoned(), "poison beats all");
        drop(writer);
        assert!(reader.read().unwrap_err().is_poisoned());
    }
}

#[test]
fn those_who_wait_are_told_at_once_that_a_channel_is_closed_or_poisoned() {
    for is_poison in [false, true] {
        for capacity in [0, 1] {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<u32>(&network, capacity);
            let end = || if is_poison { writer.poison().unwrap() } else { writer.close().unwrap() };
            let is_right = |error: &Error| error.is_end() && error.is_poisoned() == is_poison;
            thread::scope(|scope| {
                let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| reader.read())).collect();
                until_waiting(&network, 3);
                end();
                readers.into_iter().for_each(|waiting| assert!(is_right(&waiting.join().unwrap().unwrap_err())));
            });
            let (writer, reader) = ends::<u32>(&network, capacity);
            if capacity == 1 {
                writer.write(0).unwrap();
            }
            thread::scope(|scope| {
                let writers: Vec<_> = (0..3)
                    .map(|n| {
                        scope.spawn({
                            let writer = &writer;
                            move || writer.write(n)
                        })
                    })
                    .collect();
                until_waiting(&network, 3);
                if is_poison {
                    reader.poison().unwrap()
                } else {
                    reader.close().unwrap()
                }
                writers.into_iter().for_each(|waiting| assert!(is_right(&waiting.join().unwrap().unwrap_err().error)));
            });
            if capacity == 1 && !is_poison {
                assert_eq!(reader.read().unwrap(), 0);
            }
            assert!(is_right(&reader.read().unwrap_err()));
        }
    }
}

/// Whatever is acknowledged before a close is read; whatever is read was acknowledged.
#[test]
fn nothing_is_lost_or_invented_by_a_close_at_any_moment() {
    for round in 0..40u32 {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<u32>(&network, round as usize % 4);
        let (written, read) = thread::scope(|scope| {
            let writing = scope.spawn(|| (0..).take_while(|n| writer.write(*n).is_ok()).count());
            let reading = scope.spawn(|| reader.iter().count());
            eventually("some are through", || {
                reader.network().report().is_ok_and(|report| !report.waiting().is_empty())
            });
            (0..round * 80).for_each(|_| std::hint::spin_loop());
            writer.close().unwrap();
            (writing.join().unwrap(), reading.join().unwrap())
        });
        assert_eq!(written, read, "round {round}");
    }
}

#[test]
fn all_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Network>();
    shared::<ipc_csp::Channel<std::cell::Cell<u8>>>();
    shared::<Reader<std::cell::Cell<u8>>>();
    shared::<Writer<std::rc::Rc<u8>>>();
    shared::<Error>();
    shared::<ipc_csp::Report>();
    shared::<ipc_csp::Fairness>();
    sent::<ipc_csp::Member<u8>>();
    sent::<ipc_csp::Spawned<u8>>();
    sent::<ipc_csp::Failures>();
    sent::<ipc_csp::WriteError<u8>>();
}

#[test]
fn the_ends_of_a_channel_serve_many_threads_at_once() {
    let network = Network::new().unwrap();
    let (writer, reader) = ends::<u32>(&network, 2);
    let total: u32 = thread::scope(|scope| {
        // By reference: no end of their own.
        let writing: Vec<_> = (0..8).map(|_| scope.spawn(|| (0..200).for_each(|n| writer.write(n).unwrap()))).collect();
        let reading: Vec<_> =
            (0..8).map(|_| scope.spawn(|| (0..200).map(|_| reader.read().unwrap()).sum::<u32>())).collect();
        writing.into_iter().for_each(|one| one.join().unwrap());
        reading.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(total, 8 * 199 * 100);
}

/// Who has slept for 30 ms looks again by itself some 85 ms later, so a wake-up that is forgotten shows in how long it takes.
#[test]
fn who_sleeps_is_woken_and_does_not_just_look_again() {
    const ROUNDS: usize = 8;
    type Wait = fn(&Writer<u32>, &Reader<u32>);
    let cases: [(usize, Wait, Wait); 3] = [
        (0, |writer, _| writer.write(1).unwrap(), |_, reader| assert!(reader.read().is_ok())),
        (0, |_, reader| assert!(reader.read().is_ok()), |writer, _| writer.write(1).unwrap()),
        (1, |writer, _| writer.write(1).unwrap(), |_, reader| assert!(reader.read().is_ok())),
    ];
    for (nth, (capacity, wait, end)) in cases.into_iter().enumerate() {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<u32>(&network, capacity);
        (0..capacity).for_each(|_| writer.write(0).unwrap());
        let mut delays: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                thread::scope(|scope| {
                    let waiting = scope.spawn(|| {
                        wait(&writer, &reader);
                        Instant::now()
                    });
                    eventually("it sleeps for long", || {
                        let report = network.report().unwrap();
                        report.waiting().first().is_some_and(|one| one.since > Duration::from_millis(30))
                    });
                    let begun = Instant::now();
                    end(&writer, &reader);
                    waiting.join().unwrap().saturating_duration_since(begun)
                })
            })
            .collect();
        delays.sort_unstable();
        assert!(delays[ROUNDS / 4] < Duration::from_millis(40), "case {nth}: {delays:?}");
    }
}
