//! Looking for the dead, again and again, while the living communicate: nobody takes them for dead.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// For how long it is tried. Without the checks that this is about, each of these fails most of the time.
const TIME: Duration = Duration::from_secs(4);

/// Runs something while another thread looks for the dead all the time.
fn while_burying(network: &Network, body: impl FnOnce(Instant)) {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let _all = fill(network);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                drop(network.channel::<()>()); // there is no room, but at the end
            }
        });
        let _over = Over(&is_over);
        body(Instant::now() + TIME);
    });
}

#[test]
fn ends_that_have_just_arrived_are_not_taken_for_those_of_a_dead_process() {
    const MANY: usize = 100;
    let network = Network::new().unwrap();
    let (carrier_out, carrier_in) = ends::<Vec<Writer<u32>>>(&network, 0);
    let (writer, reader) = ends::<u32>(&network, 1);
    while_burying(&network, |end| {
        thread::scope(|scope| {
            scope.spawn(move || {
                for (round, writers) in carrier_in.iter().enumerate() {
                    let report = writers[0].network().report().unwrap();
                    let counted: usize = report.channels().iter().map(|channel| channel.writers).sum();
                    assert_eq!(counted, MANY + 2, "round {round}"); // and the one they were made from, and the carrier's
                    writers[MANY - 1].write_timeout(round as u32, LONG).unwrap();
                }
            });
            for round in (0..).take_while(|_| Instant::now() < end) {
                carrier_out.write_timeout(vec![writer.clone(); MANY], LONG).unwrap();
                assert_eq!(reader.read_timeout(LONG).unwrap(), round);
            }
            drop(carrier_out);
        });
    });
}

#[test]
fn values_that_are_just_read_are_not_returned_to_the_buffer() {
    let network = Network::new().unwrap();
    let channel = network.buffered::<u64>(4).unwrap();
    let writer = channel.writer().unwrap();
    let readers: Vec<_> = (0..2).map(|_| channel.reader().unwrap()).collect();
    while_burying(&network, |end| {
        let (count, mut all): (u64, Vec<u64>) = thread::scope(|scope| {
            let readers: Vec<_> =
                readers.into_iter().map(|reader| scope.spawn(move || reader.iter().collect::<Vec<_>>())).collect();
            let numbers = (0..).take_while(|_| Instant::now() < end);
            let count = numbers.inspect(|n| writer.write_timeout(*n, LONG).unwrap()).count();
            writer.retire();
            (count as u64, readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect())
        });
        all.sort_unstable();
        let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "read twice: {twice:?}");
        assert_eq!(all.len() as u64, count);
    });
}
