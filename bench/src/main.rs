//! Measures each mechanism of this workspace against what a user would pick instead.
//!
//! `cargo run --release -p ipc-bench -- --help` tells how; `cargo xtask bench` is the same.
//!
//! A **row** is a thing that is measured, a **group** the rows that do the same job, one of which is the reference that the others
//! are divided by. What is measured runs in processes of its own, new for every figure. A **round** measures each row of a
//! group once, one after the other, so that what disturbs the machine for a while disturbs all of them; ratios are taken
//! within a round.
//!
//! - `rows/` has one file per mechanism or peer, and the list of them: the place to add one. `groups` says what can be measured, `unit` what
//!   a figure is.
//! - `plan` starts processes on their processors, `window` times them, `message` numbers and checks what they send.
//! - `transfer` and `latency` measure messages from one process to another, `crowd` from several to several, whoever carries them;
//!   `stream` carries them over the kernel's streams. `pictures` does so with many sizes, and `chart` draws that.
//! - `records` measures messages through FIFOs, from one process or several to one.
//! - `network` measures connections that begin with an address, whoever carries them: `visitors` how many a server can receive,
//!   and `fairness` how evenly it serves a thousand at once.
//! - `store` measures dictionaries in a server, whoever serves.
//! - `csp` measures channels on which processes or threads meet, whoever makes them.
//! - `exclusion` measures locks and semaphores, and `memory` numbers and bytes that are shared, whoever made them; `raw` has
//!   what one writes by hand instead.
//! - `runner` does the rounds, with `probe` and `machine` watching for disturbances; `report` makes tables of it.
#![deny(unsafe_code)] // allowed again in alloc.rs and raw.rs only

mod alloc;
mod args;
mod chart;
mod crowd;
mod csp;
mod exclusion;
mod failure;
mod fairness;
mod groups;
mod latency;
mod machine;
mod memory;
mod message;
mod network;
mod pictures;
mod plan;
mod probe;
mod progress;
mod raw;
mod records;
mod report;
mod rows;
mod runner;
mod stats;
mod store;
mod stream;
mod transfer;
mod unit;
mod visitors;
mod window;

use std::process::ExitCode;

use args::{Args, Command};
use failure::Failure;

fn main() -> ExitCode {
    // Before everything else: what a process costs that does nothing.
    if std::env::args_os().nth(1).is_some_and(|first| first == rows::RETURN_AT_ONCE) {
        return ExitCode::SUCCESS;
    }
    match args::parse(std::env::args_os()) {
        Ok(Command::Help) => print!("{}", args::HELP),
        Ok(Command::List) => print!("{}", groups::list()),
        Ok(Command::Run(args)) => match run(&args) {
            Ok(true) => {}
            Ok(false) => return ExitCode::FAILURE,
            Err(failure) => {
                eprintln!("bench: {failure}");
                return ExitCode::FAILURE;
            }
        },
        Err(error) => {
            eprintln!("bench: {error} (--help lists the options, --list the groups)");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Measures, prints, and says whether everything that has to be right was.
fn run(args: &Args) -> Result<bool, Failure> {
    if let Some(file) = &args.json {
        // A wrong name is found now and not after the minutes of measuring.
        std::fs::File::create(file).map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))?;
    }
    let report = runner::run(args);
    rows::iceoryx2::remove_left();
    let report = report?;
    print!("{}", report.to_markdown());
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    let mut complaints = report.complaints();
    for picture in args.picture.iter().flat_map(|folder| rows::PICTURES.iter().map(move |picture| (folder, picture))) {
        let (table, failures) = pictures::draw(picture.1, args, picture.0)?;
        print!("{table}");
        complaints.extend(failures);
    }
    for complaint in &complaints {
        eprintln!("bench: {complaint}");
    }
    Ok(complaints.is_empty())
}
