//! Readers that are killed or stopped.

use ipc_tests::isolated;

use super::*;

#[test]
fn who_reads_after_a_killed_reader_begins_at_a_message_and_the_writers_go_on() {
    isolated(|| {
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        // These lose what they send while nobody is there, and say so; each numbers its messages nevertheless.
        let writers: Vec<Other> = (0..3)
            .map(|who| {
                Other::start((fifo.share(), who), |(fifo, who): (Fifo, u8), line| {
                    let mut pen: Pen = fifo.writer_timeout(LONG).unwrap();
                    let mut n = 0usize;
                    while line.0.try_recv().is_err_and(|error| error.is_would_block()) {
                        let mut bytes = message(who, n);
                        bytes.extend(n.to_le_bytes());
                        match pen.send_timeout(bytes, SHORT) {
                            Err(Error::Unfinished { .. }) => match pen.flush(LONG) {
                                Ok(()) | Err(Error::Disconnected) => n += 1,
                                Err(error) => panic!("{error:?}"),
                            },
                            Ok(()) | Err(Error::Disconnected) => n += 1,
                            Err(Error::Timeout) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                })
            })
            .collect();
        let mut last = [None; 3];
        let mut check = |bytes: Vec<u8>| {
            let (body, number) = bytes.split_at(bytes.len() - size_of::<usize>());
            let n = usize::from_le_bytes(number.try_into().unwrap());
            let who = body[0];
            assert!(body == message(who, n), "message {n} of writer {who}");
            let last = &mut last[usize::from(who)];
            assert!(last.is_none_or(|last| last < n), "{last:?}, then {n} of writer {who}");
            *last = Some(n);
        };
        for _ in 0..4 {
            let victim = Other::until(fifo.share(), |fifo: Fifo, line| {
                let mut log: Log = fifo.reader_timeout(LONG).unwrap();
                let mut got = 0;
                loop {
                    match log.recv_timeout(LONG) {
                        Ok(_) => got += 1,
                        Err(Error::Torn { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                    if got == 20 {
                        line.tell();
                    }
                }
            });
            victim.kill();
            let mut log: Log = fifo.reader_timeout(LONG).unwrap();
            let (mut got, mut torn) = (0, 0);
            while got < 100 {
                match log.recv_timeout(LONG) {
                    Ok(bytes) => {
                        check(bytes);
                        got += 1;
                    }
                    // The beginnings are gone with the other one.
                    Err(Error::Torn { .. }) => torn += 1,
                    Err(error) => panic!("{error:?}"),
                }
            }
            assert!(torn <= writers.len(), "{torn}");
        }
        writers.into_iter().for_each(Other::finish);
    });
}

#[test]
fn a_killed_reader_frees_the_writers_that_wait_for_it_and_they_can_send_to_the_next() {
    isolated(|| {
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        let mut reader = Other::start(fifo.share(), |fifo: Fifo, line| {
            let _log: Log = fifo.reader_timeout(LONG).unwrap();
            line.tell_and_wait();
        });
        let mut pen: Pen = fifo.writer_timeout(LONG).unwrap();
        reader.reached();
        let thread = std::sync::Arc::new(std::sync::atomic::AtomicI32::new(0));
        let told = std::sync::Arc::clone(&thread);
        let waiting = std::thread::spawn(move || {
            told.store(nix::unistd::gettid().as_raw(), std::sync::atomic::Ordering::Relaxed);
            let result = pen.send(vec![1; HUGE]);
            (pen, result, Instant::now())
        });
        let id = || thread.load(std::sync::atomic::Ordering::Relaxed) as u32;
        ipc_tests::eventually("it has begun", || id() != 0);
        until_asleep(id());
        let killed = Instant::now();
        reader.kill();
        let (mut pen, result, at) = waiting.join().unwrap();
        assert!(matches!(result, Err(Error::Disconnected)) && at - killed < SOON, "{result:?}");
        assert!(matches!(pen.send(vec![2]), Err(Error::Disconnected)));
        // What nobody has read is still there.
        let mut log: Log = fifo.lasting_reader().unwrap();
        assert!(matches!(log.try_recv(), Err(Error::WouldBlock)));
        pen.send(vec![3]).unwrap();
        let result = log.recv_timeout(LONG);
        assert!(matches!(result, Err(Error::Torn { writer, .. }) if writer == pen.id()), "{result:?}");
        assert_eq!(log.recv_timeout(LONG).unwrap(), [3]);
    });
}

#[test]
fn a_stopped_reader_lets_the_times_of_writers_pass_and_loses_nothing() {
    isolated(|| {
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        let mut reader = Other::start(fifo.share(), |fifo: Fifo, line| {
            let mut log: Log = fifo.reader_timeout(LONG).unwrap();
            line.tell();
            assert!(log.recv_timeout(LONG).unwrap() == vec![1; HUGE]);
            assert_eq!(log.recv_timeout(LONG).unwrap(), [2]);
            line.tell_and_wait();
        });
        let mut pen: Pen = fifo.writer_timeout(LONG).unwrap();
        reader.reached();
        reader.stop();
        let in_time = |call: &mut dyn FnMut() -> ipc_fifo::Result<()>| {
            let started = Instant::now();
            let error = call().unwrap_err();
            let took = started.elapsed();
            assert!(took >= SHORT && took < SOON, "{error:?} after {took:?}");
            error
        };
        let error = in_time(&mut || pen.send_timeout(vec![1; HUGE], SHORT));
        let Error::Unfinished { left } = error else { panic!("{error:?}") };
        assert!(left < HUGE as u64 && left > HUGE as u64 - (2 << 16), "{left}");
        let error = in_time(&mut || pen.flush(SHORT));
        assert!(matches!(error, Error::Unfinished { .. } | Error::Timeout), "{error:?}");
        let error = in_time(&mut || pen.send_timeout(vec![2], SHORT));
        assert!(matches!(error, Error::Unfinished { .. } | Error::Timeout), "{error:?}");
        reader.wake();
        pen.flush(LONG).unwrap();
        pen.send_timeout(vec![2], LONG).unwrap();
        reader.reached();
        reader.finish();
    });
}
