//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::groups::{self, Group};
use crate::machine;
use crate::window::Window;

pub(crate) const HELP: &str = "\
Measures the crates of this workspace against their alternatives.

Usage: cargo run --release -p ipc-bench -- [OPTIONS]

  --quick           3 rounds, shorter ones: for a look, not for figures to quote
  --only GROUP      only this group; may be repeated
  --rounds N        how often each row is measured, 7 unless set
  --cpus A,B        the processors to use, the first two unless set
  --picture FOLDER  draw how queues do with many processes and with all sizes, into files in FOLDER; measures
                    nothing else then, except for groups that `--only` asks for
  --json FILE       also write every figure of every round to FILE
  --list            show the groups and their rows, and end
  -h, --help        show this, and end

The tables go to standard output as Markdown, what happens meanwhile to standard error.
Exit code: 0, or 1 when a measurement or one of its checks failed, or 2 for wrong arguments.
";

pub(crate) enum Command {
    Help,
    List,
    Run(Args),
}

pub(crate) struct Args {
    pub(crate) groups: Vec<&'static Group>,
    pub(crate) rounds: usize,
    pub(crate) window: Window,
    /// The processors for the two processes, if there are two.
    pub(crate) cpus: (usize, Option<usize>),
    pub(crate) json: Option<PathBuf>,
    /// The folder for the pictures, if they are wanted.
    pub(crate) picture: Option<PathBuf>,
}

pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;

    let (mut quick, mut only, mut rounds, mut cpus) = (false, Vec::new(), None, None);
    let (mut json, mut picture) = (None, None);
    let mut parser = lexopt::Parser::from_iter(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("quick") => quick = true,
            Long("only") => only.push(parser.value()?.parse_with(group)?),
            Long("rounds") => rounds = Some(parser.value()?.parse_with(positive)?),
            Long("cpus") => cpus = Some(parser.value()?.parse_with(two_cpus)?),
            Long("picture") => picture = Some(PathBuf::from(parser.value()?)),
            Long("json") => json = Some(parser.value()?.into()),
            Long("list") => return Ok(Command::List),
            Short('h') | Long("help") => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    let allowed =
        machine::allowed_cpus().map_err(|error| format!("cannot tell which processors may be used: {error}"))?;
    let first = *allowed.first().ok_or("there is no processor to run on")?;
    let (a, b) = cpus.unwrap_or((first, allowed.get(1).copied()));
    if let Some(bad) = [Some(a), b].into_iter().flatten().find(|cpu| !allowed.contains(cpu)) {
        return Err(format!("processor {bad} may not be used here, but {allowed:?}").into());
    }
    let all = only.is_empty() && picture.is_none();
    Ok(Command::Run(Args {
        groups: groups::ALL.into_iter().filter(|group| all || only.contains(&group.id)).collect(),
        rounds: rounds.unwrap_or(if quick { 3 } else { 7 }),
        window: if quick { QUICK } else { FULL },
        cpus: (a, b),
        json,
        picture,
    }))
}

const FULL: Window = Window { warm_up: Duration::from_millis(100), length: Duration::from_millis(300) };
const QUICK: Window = Window { warm_up: Duration::from_millis(30), length: Duration::from_millis(100) };

fn group(text: &str) -> Result<&'static str, String> {
    match groups::ALL.iter().find(|group| group.id == text) {
        Some(group) => Ok(group.id),
        None => Err(format!("no such group, but {}", groups::ALL.map(|group| group.id).join(", "))),
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1000) => Ok(n),
        _ => Err("not a number from 1 to 1000".into()),
    }
}

fn two_cpus(text: &str) -> Result<(usize, Option<usize>), String> {
    let parsed = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match parsed {
        Some((a, b)) if a != b => Ok((a, Some(b))),
        _ => Err("not two different processors, as in `0,1`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Command, lexopt::Error> {
        parse(std::iter::once("bench").chain(args.iter().copied()).map(OsString::from))
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for args in [
            &["--only", "nothing"][..],
            &["--only"],
            &["--rounds", "0"],
            &["--rounds", "x"],
            &["--cpus", "0"],
            &["--cpus", "0,0"],
            &["--cpus", "0,99999"],
            &["--quick=yes"],
            &["--fast"],
            &["ping-pong"],
        ] {
            assert!(parsed(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn only_chooses_groups() {
        let Ok(Command::Run(args)) = parsed(&["--quick", "--only", "typed", "--only", "spawn"]) else { panic!() };
        assert_eq!(args.groups.iter().map(|group| group.id).collect::<Vec<_>>(), ["typed", "spawn"]);
        assert_eq!(args.rounds, 3);
    }

    #[test]
    fn pictures_come_alone_unless_groups_are_asked_for() {
        let groups = |args: &[&str]| match parsed(args) {
            Ok(Command::Run(args)) => args.groups.len(),
            _ => panic!("{args:?}"),
        };
        assert_eq!(groups(&["--picture", "target"]), 0);
        assert_eq!(groups(&["--picture", "target", "--only", "typed"]), 1);
        assert_eq!(groups(&[]), groups::ALL.len());
    }
}
