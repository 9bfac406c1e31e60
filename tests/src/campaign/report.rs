//! The program around the scenarios: its command line, and the table it prints.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::board::Board;
use super::message::Flaw;
use super::supervisor::{Order, watch};
use super::{Scenario, points};
use crate::SETTLE;

const HELP: &str = "\
Kills workers again and again, and looks at what the survivors see.

  --kills N        how many kills for each crate, shared by its scenarios (2000)
  --kills CRATE=N  how many for this one; may be given several times
  --seed S         what was printed by the run that is to be repeated
  --scenario NAME  only this one; may be given several times
  --from N         begin with this round, to repeat one that failed
  --list           name the scenarios
";

/// How many rounds a control has at most to be caught.
const CONTROL_KILLS: u64 = 40;

struct Args {
    kills: u64,
    /// For the crates that have a number of their own.
    kills_of: Vec<(String, u64)>,
    seed: u64,
    from: u64,
    only: Vec<String>,
    list: bool,
}

impl Args {
    /// How many kills a scenario gets, as one of so many of its crate.
    fn share(&self, scenario: &Scenario, real: u64) -> u64 {
        let own = self.kills_of.iter().rev().find(|(name, _)| name == scenario.of);
        own.map_or(self.kills, |(_, kills)| *kills).div_ceil(real.max(1))
    }
}

/// Runs the scenarios as the command line says. It fails if there is a flaw, if a control is not caught, if a crash point was
/// never hit, or if a segment with a name is left.
pub fn main<F>(scenarios: F) -> ExitCode
where
    F: FnOnce() -> &'static [Scenario] + Copy + Send + Sync + 'static,
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
        all.iter().for_each(|scenario| println!("{:5} {:22} {}", scenario.of, scenario.name, scenario.about));
        return ExitCode::SUCCESS;
    }
    if let Some((name, _)) = args.kills_of.iter().find(|(name, _)| all.iter().all(|scenario| scenario.of != name)) {
        eprintln!("no scenario is for {name}, `--list` names the crates");
        return ExitCode::from(2);
    }
    let chosen: Vec<usize> =
        (0..all.len()).filter(|i| args.only.is_empty() || args.only.iter().any(|name| name == all[*i].name)).collect();
    if chosen.is_empty() {
        eprintln!("no such scenario, `--list` names them");
        return ExitCode::from(2);
    }
    println!("seed {}, {} crash points\n{}", args.seed, points().len(), header());
    let before = segments();
    let run = |index: usize| {
        let scenario = &all[index];
        let real = chosen.iter().filter(|i| all[**i].of == scenario.of && all[**i].control.is_none()).count() as u64;
        let share = if scenario.control.is_some() { CONTROL_KILLS } else { args.share(scenario, real) };
        let begin = Instant::now();
        let board = watch(scenarios, index, Order { seed: args.seed, kills: share, from: args.from });
        println!("{}", row(scenario, &board, begin.elapsed()));
        (scenario, board)
    };
    let (mut good, mut kills, mut inside, mut hits) = (true, 0, 0, vec![0; points().len()]);
    for (scenario, board) in side_by_side(&chosen, run) {
        good &= verdict(scenario, &board).is_ok();
        if scenario.control.is_none() {
            hits.iter_mut().enumerate().for_each(|(i, hits)| *hits += board.hits(i));
            kills += board.kills();
            inside += board.inside();
        }
    }
    let left = left_segments(&before);
    if !left.is_empty() {
        println!("left in {SEGMENTS}: {}", left.join(", "));
        good = false;
    }
    let missed: Vec<_> = points().iter().zip(&hits).filter(|(_, hits)| **hits == 0).map(|(name, _)| *name).collect();
    if args.only.is_empty() && !missed.is_empty() {
        println!("never hit: {}", missed.join(", "));
        good = false;
    }
    // For whoever reads the output by a program.
    let ending = if good { "survived" } else { "FAILED" };
    println!("verdict: {kills} kills, {inside} of them inside a critical section, {ending}");
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// As many at a time as there are processors: a round consists of waiting as much as of work, and the scenarios share nothing.
fn side_by_side<R: Send>(indices: &[usize], run: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let (next, run) = (AtomicUsize::new(0), &run);
    let work = || {
        let indices = std::iter::from_fn(|| indices.get(next.fetch_add(1, Ordering::Relaxed)));
        indices.map(|index| run(*index)).collect::<Vec<R>>()
    };
    thread::scope(|scope| {
        let lanes = 0..thread::available_parallelism().map_or(1, NonZero::get);
        let lanes: Vec<_> = lanes.map(|_| scope.spawn(work)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("what it calls does not panic")).collect()
    })
}

/// Where the system keeps segments with names.
const SEGMENTS: &str = "/dev/shm";

fn segments() -> BTreeSet<String> {
    let entries = fs::read_dir(SEGMENTS).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The segments that are there now and do not go away: other programs of this machine may come and go meanwhile.
fn left_segments(before: &BTreeSet<String>) -> Vec<String> {
    let (mut left, begin) = (&segments() - before, Instant::now());
    while !left.is_empty() && begin.elapsed() < SETTLE {
        thread::yield_now();
        left = &left & &segments();
    }
    left.into_iter().collect()
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Args, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = now.as_micros() as u64 % 1_000_000;
    let mut args = Args { kills: 2000, kills_of: Vec::new(), seed, from: 0, only: Vec::new(), list: false };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n\n{HELP}"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number\n\n{HELP}"));
        match argument.as_str() {
            "--kills" => {
                let text = value()?;
                match text.split_once('=') {
                    Some((name, count)) => args.kills_of.push((name.into(), number(count.into())?)),
                    None => args.kills = number(text)?,
                }
            }
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
        "{:22}{:>7}{:>9}{:>8}{:>7}{:>10}{:>8}{:>7}{flaws}{:>9}{:>7}  verdict",
        "scenario", "kills", "at point", "inside", "stops", "messages", "again", "held", "stall", "time"
    )
}

fn row(scenario: &Scenario, board: &Board, time: Duration) -> String {
    let flaws = Flaw::ALL.map(|flaw| format!("{:>8}", board.flaws(flaw))).concat();
    let verdict = verdict(scenario, board).unwrap_or_else(|text| text);
    format!(
        "{:22}{:>7}{:>9}{:>8}{:>7}{:>10}{:>8}{:>7}{flaws}{:>6} ms{:>5} s  {verdict}",
        scenario.name,
        board.kills(),
        board.at_point(),
        board.inside(),
        board.stops(),
        board.messages(),
        board.again(),
        board.held(),
        board.stall().as_millis(),
        time.as_secs(),
    )
}
