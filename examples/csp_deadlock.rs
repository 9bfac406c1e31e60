//! Two processes each write before they read: a deadlock. PyCSP's processes would stand there; it notices that only among greenlets. Here a report
//! says who waits for what, and who for whom; it is taken from the memory that they share, so nobody has to answer. What to do about it is
//! the program's decision: this one poisons a channel.
#![forbid(unsafe_code)]

use std::thread;

use ipc_csp::{Network, Process, Reader, Report, Writer};

fn polite((to, from): (Writer<String>, Reader<String>)) -> String {
    let swap = || {
        to.write("after you".to_string())?; // waits for the other one to read
        from.read()
    };
    swap().unwrap_or_else(|error: ipc_csp::Error| error.to_string())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new()?;
    let there = network.builder().name("there").channel()?;
    let back = network.builder().name("back").channel()?;
    let left = Process::spawn(polite, (there.writer()?, back.reader()?))?;
    let right = Process::spawn(polite, (back.writer()?, there.reader()?))?;

    // A report is not of one moment: only a deadlock that two of them show is one.
    let report = loop {
        let (before, after) = (network.report()?, network.report()?);
        if !before.deadlocks().is_empty() && !after.deadlocks().is_empty() {
            break after;
        }
        thread::yield_now();
    };
    print!("{report}");

    // The same from outside, as `cargo run --example csp_report PID` would see it.
    let mut pids = [left.pid(), right.pid()];
    pids.sort_unstable();
    for report in Report::of_process(left.pid())? {
        for mut deadlock in report.deadlocks().iter().cloned() {
            deadlock.sort_unstable();
            println!("the two wait for each other: {}", deadlock == pids);
        }
    }

    there.poison()?;
    println!("left: {}", left.join()?);
    println!("right: {}", right.join()?);
    Ok(())
}
