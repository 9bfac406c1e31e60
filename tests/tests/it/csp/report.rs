//! Reports on other processes, and deadlocks.

use ipc_csp::{Error, Report, select};
use ipc_tests::isolated;

use super::*;
use crate::other::Other;

/// Reports until one satisfies.
fn until_report(network: &Network, what: &str, is_right: impl Fn(&Report) -> bool) -> Report {
    let mut last = network.report().unwrap();
    eventually(what, || {
        last = network.report().unwrap();
        is_right(&last)
    });
    last
}

#[test]
fn a_process_is_reported_on_from_outside_also_when_it_is_stopped() {
    isolated(|| {
        let other = Other::until((), |(), line| {
            let (first, second) = (Network::new().unwrap(), Network::new().unwrap());
            let numbers = first.builder().name("numbers").buffered(4).channel::<u32>().unwrap();
            let (writer, reader) = (numbers.writer().unwrap(), numbers.reader().unwrap());
            (0..3).for_each(|n| writer.write(n).unwrap());
            let silence = second.builder().name("silence").channel::<u32>().unwrap();
            let quiet = silence.reader().unwrap();
            let _writer = silence.writer().unwrap();
            line.tell();
            let _ = quiet.read();
            drop(reader);
        });
        let look = || {
            let mut reports = Report::of_process(other.pid()).unwrap();
            reports.sort_by_key(|report| report.channels().first().map(|channel| channel.name.clone()));
            reports
        };
        eventually("it waits", || look().iter().any(|report| report.waiting().len() == 1));
        for is_stopped in [false, true] {
            if is_stopped {
                other.stop();
            }
            let before = descriptors();
            let reports = look();
            assert_eq!(descriptors(), before);
            let [numbers, silence] = &reports[..] else { panic!("{reports:#?}") };
            let [channel] = numbers.channels() else { panic!("{numbers}") };
            assert_eq!((channel.name.as_str(), channel.buffered, channel.capacity), ("numbers", 3, 4));
            assert_eq!((channel.readers, channel.writers, channel.over), (1, 1, None));
            let [waiting] = silence.waiting() else { panic!("{silence}") };
            assert_eq!((waiting.pid, waiting.thread, waiting.forever), (other.pid(), other.pid(), true));
            assert_eq!((waiting.reads.len(), waiting.writes.len()), (1, 0));
            assert!(silence.to_string().contains("waits to read silence"), "{silence}");
        }
        let pid = other.pid();
        other.kill();
        assert!(matches!(Report::of_process(pid), Err(Error::Memory(_))));
        assert!(Report::of_process(std::process::id()).unwrap().is_empty(), "nothing of it is left here");
    });
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Each of so many processes waits to read from the one before it, and has the only end to write to the next.
fn circle(network: &Network, count: usize) -> Vec<Other> {
    let channels: Vec<Channel<u32>> = (0..count).map(|_| network.channel().unwrap()).collect();
    (0..count)
        .map(|n| {
            let ends = (channels[n].reader().unwrap(), channels[(n + 1) % count].writer().unwrap());
            Other::start(ends, |(reader, writer): (Reader<u32>, Writer<u32>), _| {
                if let Ok(value) = reader.read() {
                    let _ = writer.write(value);
                }
            })
        })
        .collect()
}

fn is_circle_of(deadlock: &[u32], others: &[Other]) -> bool {
    let pids: Vec<u32> = others.iter().map(Other::pid).collect();
    let start = deadlock.iter().position(|pid| *pid == pids[0]);
    // Each waits for the one before it.
    start.is_some_and(|start| {
        let mut turned = deadlock.to_vec();
        turned.rotate_left(start);
        turned[1..].reverse();
        turned == pids
    })
}

#[test]
fn two_and_three_processes_that_wait_for_each_other_are_named() {
    isolated(|| {
        for count in [2, 3] {
            let network = Network::new().unwrap();
            let mut others = circle(&network, count);
            // Somebody who waits and is no part of it; and somebody who waits for one who does not.
            let (writer, reader) = ends::<u32>(&network, 0);
            let waiting = thread::spawn(move || reader.read());
            // Of this process another thread may be about to write: that it is a part of one is no more than possible.
            let own = std::process::id();
            let is_others = |deadlock: &&Vec<u32>| !deadlock.contains(&own);
            let report =
                until_report(&network, "a deadlock", |report| report.deadlocks().iter().any(|one| is_others(&one)));
            let deadlocks: Vec<_> = report.deadlocks().iter().filter(is_others).collect();
            let [deadlock] = deadlocks[..] else { panic!("{report}") };
            assert!(is_circle_of(deadlock, &others), "{report}");
            assert!(report.to_string().contains(&format!("possible deadlock: {} waits for", deadlock[0])), "{report}");
            // It ends with one of them.
            others.pop().unwrap().kill();
            until_report(&network, "no deadlock", |report| {
                report.deadlocks().iter().all(|deadlock| deadlock.contains(&own))
            });
            others.into_iter().for_each(Other::finish);
            writer.write(1).unwrap();
            waiting.join().unwrap().unwrap();
        }
    });
}

#[test]
fn two_writers_that_wait_for_each_other_are_named_also_in_a_choice() {
    isolated(|| {
        let network = Network::new().unwrap();
        let (a_out, a_in) = ends::<u32>(&network, 0);
        let (b_out, b_in) = ends::<u32>(&network, 0);
        let (c_out, c_in) = ends::<u32>(&network, 0);
        let first = Other::start((a_out, b_in, c_out), |(a, _b, c): (Writer<u32>, Reader<u32>, Writer<u32>), _| {
            let _ = select! { write(a, &1) -> _ => (), write(c, &1) -> _ => () };
        });
        let second = Other::start((b_out, a_in, c_in), |(b, _a, _c): (Writer<u32>, Reader<u32>, Reader<u32>), _| {
            let _ = b.write(1);
        });
        let report = until_report(&network, "a deadlock", |report| !report.deadlocks().is_empty());
        let others = [first, second];
        assert!(is_circle_of(&report.deadlocks()[0], &others) && report.deadlocks().len() == 1, "{report}");
        others.into_iter().for_each(Other::kill);
    });
}

#[test]
fn no_deadlock_is_named_where_there_is_none() {
    isolated(|| {
        let network = Network::new().unwrap();
        let (to, from) = ends::<u32>(&network, 0);
        let (back_to, back) = ends::<u32>(&network, 0);
        // They wait for each other, but not for ever; and somebody outside could help.
        let timed = Other::start((from.clone(), back_to.clone()), |(from, _back): (Reader<u32>, Writer<u32>), _| {
            let _ = from.read_timeout(LONG);
        });
        let forever = Other::start((back.clone(), to.clone()), |(back, _to): (Reader<u32>, Writer<u32>), _| {
            let _ = back.read();
        });
        drop((from, back));
        until_waiting(&network, 2);
        for _ in 0..100 {
            assert!(network.report().unwrap().deadlocks().is_empty());
        }
        drop((to, back_to));
        let report = network.report().unwrap();
        assert!(report.deadlocks().is_empty(), "one of them goes on by itself: {report}");
        timed.kill();
        forever.finish();
        // One whose end is under way.
        let mut others = circle(&network, 2);
        let (carrier, carried) = ends::<Writer<u32>>(&network, 1);
        let report = until_report(&network, "a deadlock", |report| report.deadlocks().len() == 1);
        let number = report.waiting().iter().find(|waiting| waiting.pid == others[0].pid()).unwrap().reads[0];
        others.pop().unwrap().kill();
        assert!(number < 1024);
        drop((carrier, carried));
        others.pop().unwrap().finish();
        assert!(network.report().unwrap().deadlocks().is_empty());
    });
}
