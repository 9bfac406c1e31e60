//! Writers: many at once, and such as are killed or stopped in the midst of a message.

use ipc_tests::isolated;

use super::*;

#[test]
fn what_many_processes_write_at_once_arrives_whole_and_in_their_order() {
    isolated(|| {
        const WRITERS: u8 = 8;
        const EACH: usize = 120;
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        let writers: Vec<Other> = (0..WRITERS).map(|who| writer(&fifo, who, EACH)).collect();
        let mut log: Log = fifo.lasting_reader().unwrap();
        let mut tally = Tally::of(WRITERS);
        for _ in 0..usize::from(WRITERS) * EACH {
            tally.next(&log.recv_timeout(LONG).unwrap());
        }
        assert!(matches!(log.try_recv(), Err(Error::WouldBlock)));
        writers.into_iter().for_each(Other::finish);
    });
}

#[test]
fn a_reader_that_waits_for_writers_sees_their_end_when_all_are_gone() {
    isolated(|| {
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        let writers: Vec<Other> = (0..3).map(|who| writer(&fifo, who, 20)).collect();
        let mut log: Log = fifo.reader_timeout(LONG).unwrap();
        let mut tally = Tally::of(3);
        // Of processes that start at different times the first may be gone before the last has come.
        while tally.0.iter().sum::<usize>() < 60 {
            match log.recv_timeout(LONG) {
                Ok(bytes) => tally.next(&bytes),
                Err(error) => assert!(matches!(error, Error::Disconnected), "{error:?}"),
            }
        }
        writers.into_iter().for_each(Other::finish);
        assert!(matches!(log.recv_timeout(LONG), Err(Error::Disconnected)));
    });
}

#[test]
fn a_long_message_of_a_killed_writer_is_torn_once_and_the_others_lose_nothing() {
    isolated(|| {
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        let mut log: Log = fifo.lasting_reader().unwrap();
        for _ in 0..5 {
            let (victim, id) = within_a_message(&fifo, &mut log);
            // These find the pipe full.
            let writers: Vec<Other> = (0..3).map(|who| writer(&fifo, who, 30)).collect();
            victim.kill();
            let killed = Instant::now();
            let (mut tally, mut torn) = (Tally::of(3), Vec::new());
            while tally.0.iter().sum::<usize>() < 90 || torn.is_empty() {
                match log.recv_timeout(LONG) {
                    Ok(bytes) => tally.next(&bytes),
                    Err(Error::Torn { writer, arrived, total }) => {
                        torn.push((writer, arrived, total, killed.elapsed()))
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            writers.into_iter().for_each(Other::finish);
            assert!(matches!(log.try_recv(), Err(Error::WouldBlock)));
            let [(writer, arrived, total, took)] = torn[..] else { panic!("{torn:?}") };
            assert!(writer == id && total == HUGE as u64 && (1..=1 << 16).contains(&arrived), "{torn:?}");
            assert!(took < LONG / 4, "{torn:?}");
        }
    });
}

#[test]
fn a_torn_message_is_told_soon_also_if_nobody_else_writes() {
    isolated(|| {
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        for lasting in [true, false] {
            let mut log: Log = fifo.lasting_reader().unwrap();
            if !lasting {
                log = fifo.reader().unwrap(); // for which the other one was a writer, and is gone now
            }
            let (victim, id) = within_a_message(&fifo, &mut log);
            victim.stop(); // so that it sends no more meanwhile
            assert!(matches!(log.recv_timeout(SHORT), Err(Error::Timeout)), "its writer lives");
            victim.kill();
            let killed = Instant::now();
            let result = log.recv_timeout(LONG);
            assert!(matches!(result, Err(Error::Torn { writer, .. }) if writer == id), "{result:?}");
            assert!(killed.elapsed() < SOON);
            if !lasting {
                assert!(matches!(log.recv_timeout(LONG), Err(Error::Disconnected)));
            }
        }
    });
}

#[test]
fn a_writer_stopped_in_the_midst_of_a_message_holds_up_only_that() {
    isolated(|| {
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        let mut log: Log = fifo.lasting_reader().unwrap();
        let (mut slow, _) = within_a_message(&fifo, &mut log);
        slow.stop();
        let writers: Vec<Other> = (0..3).map(|who| writer(&fifo, who, 30)).collect();
        let mut tally = Tally::of(3);
        for _ in 0..90 {
            tally.next(&log.recv_timeout(LONG).unwrap());
        }
        writers.into_iter().for_each(Other::finish);
        let started = Instant::now();
        assert!(matches!(log.recv_timeout(SHORT), Err(Error::Timeout)));
        assert!(started.elapsed() >= SHORT && started.elapsed() < SOON);
        assert!(matches!(log.try_recv(), Err(Error::WouldBlock)));
        slow.wake();
        assert!(log.recv_timeout(LONG).unwrap() == vec![7; HUGE]);
        slow.reached();
        slow.finish();
    });
}

/// Wherever they are at that moment.
#[test]
fn writers_killed_at_any_time_leave_only_whole_messages_and_one_that_is_torn() {
    isolated(|| {
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        let mut log: Log = fifo.lasting_reader().unwrap();
        for round in 0..15 {
            let steady = writer(&fifo, 1, 60);
            let victim = writer(&fifo, 0, usize::MAX);
            let (mut tally, mut torn) = (Tally::of(2), 0);
            let mut doomed = Some(victim);
            loop {
                match log.recv_timeout(SHORT) {
                    Ok(bytes) => tally.next(&bytes),
                    Err(Error::Torn { .. }) => torn += 1,
                    Err(Error::Timeout) if doomed.is_none() && tally.0[1] == 60 => break,
                    Err(Error::Timeout) => {}
                    Err(error) => panic!("{error:?}"),
                }
                if tally.0[0] > 3 * round {
                    doomed.take().into_iter().for_each(Other::kill);
                }
            }
            assert!(torn <= 1);
            steady.finish();
        }
    });
}
