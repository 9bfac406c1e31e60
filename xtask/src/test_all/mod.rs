//! `cargo xtask test-all`: every step in turn, whatever the earlier ones gave, then a table.

mod counts;
mod examples;
mod expected;
mod fuzz;
mod kills;
mod models;
mod msrv;
mod outcome;
mod probe;
mod progress;
mod python;
mod steps;
mod table;

use std::time::{Duration, Instant};

use lexopt::prelude::*;

use self::outcome::{Outcome, Tally, Verdict};
use self::progress::Progress;
use self::steps::{Job, STEPS, Step};
use crate::workspace::Workspace;
use crate::{Command, process};

/// A step that takes longer hangs, as far as the one who waits for it can tell.
const STEP_LIMIT: Duration = Duration::from_secs(20 * 60);
/// The same with `--soak`.
const SOAK_LIMIT: Duration = Duration::from_secs(4 * 60 * 60);

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Args {
    /// The steps to run; all if empty.
    pub(crate) only: Vec<String>,
    /// Name the steps instead of running them.
    pub(crate) list: bool,
    /// Long campaigns instead of the short ones.
    pub(crate) soak: bool,
}

/// A step that is over, or could not be run.
struct Row {
    name: &'static str,
    outcome: Outcome,
    time: Duration,
}

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut args = Args::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(help())),
            Long("list") => args.list = true,
            Long("soak") => args.soak = true,
            Long("only") => {
                for name in parser.value()?.string()?.split(',').map(str::trim) {
                    if !STEPS.iter().any(|step| step.name == name) {
                        return Err(format!("there is no step `{name}`; `--list` names them").into());
                    }
                    args.only.push(name.to_owned());
                }
            }
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Command::TestAll(args))
}

/// Runs the steps; true if none of them failed.
pub(crate) fn run(args: &Args) -> Result<bool, String> {
    if args.list {
        print!("{}", list());
        return Ok(true);
    }
    process::forward_interrupts().map_err(|error| format!("cannot watch for Ctrl-C: {error}"))?;
    let workspace = Workspace::load()?;
    let chosen: Vec<&Step> =
        STEPS.iter().filter(|step| args.only.is_empty() || args.only.iter().any(|name| name == step.name)).collect();
    let mut progress = Progress::new(chosen.len());
    let mut rows = Vec::new();
    for step in chosen {
        progress.start(step.name);
        let begin = Instant::now();
        let limit = if args.soak { SOAK_LIMIT } else { STEP_LIMIT };
        let outcome = (step.run)(&Job { workspace: &workspace, deadline: begin + limit, soak: args.soak });
        let row = Row { name: step.name, outcome, time: begin.elapsed() };
        progress.finish(&row);
        rows.push(row);
    }
    progress.end();
    let tally = rows.iter().fold(Tally::default(), |sum, row| sum + row.outcome.tally());
    // The counts come last and look like a test runner's closing line, so that a program that reads the log finds them.
    println!("\n{}\n{tally}", table::arrange(&rows));
    Ok(!rows.iter().any(|row| matches!(row.outcome.verdict, Verdict::Failed { .. })))
}

fn help() -> String {
    format!(
        "\
Run every check and test that a commit has to pass; exactly what CI runs.

A failing step prints its output and the others still run. What this machine
cannot do is `not run`, with the reason.

Usage: cargo xtask test-all [OPTIONS]

Options:
      --only NAME[,NAME]  Run these steps only
      --list              Name the steps and run nothing
      --soak              Run the long campaigns instead of the short ones:
                          470,000 kills, which takes some three hours, and
                          half an hour of fuzzing for each of its targets
  -h, --help              Print this text

Steps:
{}",
        list()
    )
}

fn list() -> String {
    STEPS.iter().map(|step| format!("  {:10}  {}\n", step.name, step.about)).collect()
}

#[cfg(test)]
mod tests {
    use super::STEPS;

    #[test]
    fn step_names_are_unique_and_can_be_listed_with_commas() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(!STEPS[..index].iter().any(|earlier| earlier.name == step.name), "`{}` twice", step.name);
            assert!(!step.name.contains([',', ' ']), "`{}`", step.name);
        }
    }
}
