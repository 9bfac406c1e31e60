//! The program around the scenarios: its command line, and the table it prints.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::board::Board;
use super::message::Flaw;
use super::supervisor::{Order, watch};
use super::{Scenario, points};

const HELP: &str = "\
Kills workers again and again, and looks at what the survivors see.

  --kills N        how many kills in all, shared by the scenarios (2000)
  --seed S         what was printed by the run that is to be repeated
  --scenario NAME  only this one; may be given several times
  --from N         begin with this round, to repeat one that failed
  --list           name the scenarios
";

/// How many rounds a control has at most to be caught.
const CONTROL_KILLS: u64 = 40;

struct Args {
    kills: u64,
    seed: u64,
    from: u64,
    only: Vec<String>,
    list: bool,
}

/// Runs the scenarios as the command line says. It fails if there is a flaw, if a control is not caught, or if a crash point
/// was never hit.
pub fn main<F>(scenarios: F) -> ExitCode
where
    F: FnOnce() -> &'static [Scenario] + Copy + Send + 'static,
{
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(text) => {
            eprint!("{text}");
            return ExitCode::from(2);
        }
    };
    let all = scenarios();
    if args.list {
        all.iter().for_each(|scenario| println!("{:20} {}", scenario.name, scenario.about));
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<usize> =
        (0..all.len()).filter(|i| args.only.is_empty() || args.only.iter().any(|name| name == all[*i].name)).collect();
    if chosen.is_empty() {
        eprintln!("no such scenario, `--list` names them");
        return ExitCode::from(2);
    }
    println!("seed {}, {} crash points\n{}", args.seed, points().len(), header());
    let real = chosen.iter().filter(|i| all[**i].control.is_none()).count() as u64;
    let (mut good, mut kills, mut hits) = (true, 0, vec![0; points().len()]);
    for &index in &chosen {
        let scenario = &all[index];
        let share = args.kills.div_ceil(real.max(1));
        let share = if scenario.control.is_some() { CONTROL_KILLS } else { share };
        let begin = Instant::now();
        let board = watch(scenarios, index, Order { seed: args.seed, kills: share, from: args.from });
        println!("{}", row(scenario, &board, begin.elapsed()));
        hits.iter_mut().enumerate().for_each(|(i, hits)| *hits += board.hits(i));
        good &= verdict(scenario, &board).is_ok();
        if scenario.control.is_none() {
            kills += board.kills();
        }
    }
    let missed: Vec<_> = points().iter().zip(&hits).filter(|(_, hits)| **hits == 0).map(|(name, _)| *name).collect();
    if args.only.is_empty() && !missed.is_empty() {
        println!("never hit: {}", missed.join(", "));
        good = false;
    }
    // For whoever reads the output by a program.
    println!("verdict: {kills} kills, {}", if good { "survived" } else { "FAILED" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Args, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut args =
        Args { kills: 2000, seed: now.as_micros() as u64 % 1_000_000, from: 0, only: Vec::new(), list: false };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n\n{HELP}"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number\n\n{HELP}"));
        match argument.as_str() {
            "--kills" => args.kills = number(value()?)?,
            "--seed" => args.seed = number(value()?)?,
            "--from" => args.from = number(value()?)?,
            "--scenario" => args.only.push(value()?),
            "--list" => args.list = true,
            _ => return Err(HELP.into()),
        }
    }
    Ok(args)
}

/// Whether the scenario went as it should.
fn verdict(scenario: &Scenario, board: &Board) -> Result<&'static str, &'static str> {
    match scenario.control {
        None if board.all_flaws() > 0 => Err("FAILED"),
        None if board.kills() == 0 => Err("nobody was killed"),
        None => Ok("ok"),
        Some(flaw) if board.flaws(flaw) > 0 => Ok("caught"),
        Some(_) => Err("NOT CAUGHT"),
    }
}

fn header() -> String {
    let flaws = Flaw::ALL.map(|flaw| format!("{:>8}", flaw.name())).concat();
    format!(
        "{:20}{:>7}{:>9}{:>7}{:>10}{flaws}{:>9}{:>7}  verdict",
        "scenario", "kills", "at point", "stops", "messages", "stall", "time"
    )
}

fn row(scenario: &Scenario, board: &Board, time: Duration) -> String {
    let flaws = Flaw::ALL.map(|flaw| format!("{:>8}", board.flaws(flaw))).concat();
    let verdict = verdict(scenario, board).unwrap_or_else(|text| text);
    format!(
        "{:20}{:>7}{:>9}{:>7}{:>10}{flaws}{:>6} ms{:>5} s  {verdict}",
        scenario.name,
        board.kills(),
        board.at_point(),
        board.stops(),
        board.messages(),
        board.stall().as_millis(),
        time.as_secs(),
    )
}
