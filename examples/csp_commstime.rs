//! Commstime, by which CSP libraries are compared: a number goes round in a circle of three processes, one more at each turn, and a fourth
//! gets a copy. Each number is four communications. The same functions run as processes and as threads. PyCSP ends such a network with
//! `poison`, which is an exception in every process; here the consumer just leaves, and each of the others finds nobody left to write to.
#![forbid(unsafe_code)]

use std::time::Instant;

use ipc_csp::{Network, Reader, Result, Writer, parallel, process, thread};

const NUMBERS: u64 = 2000;

/// Writes 0, and then what comes.
fn prefix((from, to): (Reader<u64>, Writer<u64>)) {
    if to.write(0).is_ok() {
        from.iter().take_while(|n| to.write(*n).is_ok()).for_each(drop);
    }
}

/// Writes everything twice.
fn delta2((from, consumer, successor): (Reader<u64>, Writer<u64>, Writer<u64>)) {
    let both = |n: &u64| consumer.write(*n).is_ok() && successor.write(*n).is_ok();
    from.iter().take_while(both).for_each(drop);
}

fn successor((from, to): (Reader<u64>, Writer<u64>)) {
    from.iter().take_while(|n| to.write(n + 1).is_ok()).for_each(drop);
}

/// How many numbers came, and whether it was one after the other.
fn consumer(from: Reader<u64>) -> (u64, bool) {
    let mut expected = 0;
    for n in from.iter().take(NUMBERS as usize) {
        if n != expected {
            return (expected, false);
        }
        expected += 1;
    }
    (expected, true)
}

type Way = (Reader<u64>, Writer<u64>);
type Fork = (Reader<u64>, Writer<u64>, Writer<u64>);

/// The ends for each of the four.
fn circle() -> Result<(Way, Fork, Way, Reader<u64>)> {
    let network = Network::new()?;
    let (a, b, c, d) = (network.channel()?, network.channel()?, network.channel()?, network.channel()?);
    Ok((
        (c.reader()?, a.writer()?),
        (a.reader()?, d.writer()?, b.writer()?),
        (b.reader()?, c.writer()?),
        d.reader()?, //
    ))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (first, second, third, fourth) = circle()?;
    let start = Instant::now();
    let (.., (count, is_fine)) = parallel((
        process(prefix, first),
        process(delta2, second),
        process(successor, third),
        process(consumer, fourth),
    ))?;
    report("processes", count, is_fine, start);

    let (first, second, third, fourth) = circle()?;
    let start = Instant::now();
    let (.., (count, is_fine)) = parallel((
        thread(|| prefix(first)),
        thread(|| delta2(second)),
        thread(|| successor(third)),
        thread(|| consumer(fourth)),
    ))?;
    report("threads", count, is_fine, start);
    Ok(())
}

fn report(who: &str, count: u64, is_fine: bool, start: Instant) {
    println!("four {who}: {count} numbers, {}", if is_fine { "one after the other" } else { "and then a wrong one" });
    let each = start.elapsed() / (4 * NUMBERS as u32);
    eprintln!("four {who}: {each:?} per communication, with the time to start them; `cargo xtask bench` measures it");
}
