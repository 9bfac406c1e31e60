//! Choices: a buffer, which is a process that either reads or writes, as it can; and which of several guards is preferred. PyCSP's guards are
//! objects with actions that are strings or functions; here a branch is code in its place. For a pre-condition one puts the list of guards
//! together anew in PyCSP; here it stands before its guard, as in occam. Others may be choosing at the other ends of the channels.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use ipc_csp::{Error, Fairness, Network, Process, Reader, Writer, fair_select, pri_select, select};

const ROOM: usize = 3;
const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

/// Reads while there is room, writes while there is something: an output guard next to an input guard.
fn buffer((from, to): (Reader<u32>, Writer<u32>)) -> Result<(), String> {
    let (mut values, mut is_open) = (VecDeque::new(), true);
    while is_open || !values.is_empty() {
        let next = values.front().copied().unwrap_or_default();
        let chosen = select! {
            if is_open && values.len() < ROOM, read(from) -> value => match value {
                Ok(value) => values.push_back(value),
                Err(_) => is_open = false, // nobody will write any more
            },
            if !values.is_empty(), write(to, &next) -> written => match written {
                Ok(()) => drop(values.pop_front()),
                Err(error) => return Err(error.to_string()),
            },
        };
        chosen.map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new()?;
    let (into, out_of) = (network.channel()?, network.channel()?);
    let process = Process::spawn(buffer, (into.reader()?, out_of.writer()?))?;
    let (to, from) = (into.writer()?, out_of.reader()?);
    for value in 1..=ROOM as u32 {
        to.write(value)?;
    }
    // The pre-condition is false now, so nobody reads however long this takes.
    println!("one too many: {}", to.write_timeout(4, SHORT).expect_err("there is no room"));
    println!("out comes {}, and then there is room: {:?}", from.read()?, to.write_timeout(4, LONG).is_ok());
    drop(to);
    println!("what is left: {:?}", from.iter().collect::<Vec<_>>());
    process.join()??;

    // Which of two that are both ready? With `select!` none is preferred.
    let (left, right) = (network.buffered(8)?, network.buffered(8)?);
    let (left_in, right_in, left_out, right_out) = (left.reader()?, right.reader()?, left.writer()?, right.writer()?);
    for _ in 0..8 {
        left_out.write('l')?;
        right_out.write('r')?;
    }
    let (mut prior, mut fair, mut fairness) = (String::new(), String::new(), Fairness::new());
    for _ in 0..4 {
        prior.push(pri_select! { read(right_in) -> value => value?, read(left_in) -> value => value? }?);
    }
    for _ in 0..6 {
        fair.push(fair_select! { fairness; read(left_in) -> value => value?, read(right_in) -> value => value? }?);
    }
    println!("the right one has priority: {prior}, both are served: {fair}");

    // Nothing is ready: not to wait, or not for long.
    let nothing = network.channel::<char>()?;
    let (silent, _writer) = (nothing.reader()?, nothing.writer()?);
    println!("skip: {}", select! { read(silent) -> value => value?.to_string(), skip => "nothing there".into() }?);
    println!(
        "timeout: {}",
        select! { read(silent) -> value => value?.to_string(), timeout(SHORT) => "too late".into() }?
    );
    let chosen: Result<char, Error> = select! { if false, read(silent) -> value => value? };
    println!("all switched off: {}", chosen.expect_err("it could not end"));
    Ok(())
}
