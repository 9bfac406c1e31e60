//! Runs the targets: `cargo run -p ipc-fuzz --release -- --seconds 5`.
//!
//! Each target runs in a process of its own, which has every input in a file before it runs it. So also an input that
//! overflows the stack, takes all memory or does not come to an end is known afterwards.
#![forbid(unsafe_code)]

mod worker;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

use ipc_fuzz::{TARGETS, Target, hash};
use lexopt::prelude::*;

const HELP: &str = "\
Feeds bytes to the crates: those of fuzz/corpus, then mutations of them.

Usage: cargo run -p ipc-fuzz --release -- [OPTIONS]

Options:
      --seconds N    For each target, after its corpus; 5 unless given
      --target NAME  Only this one
      --seed N       The same inputs as an earlier run that printed this seed
      --keep         Add inputs that make something new happen to the corpus
      --replay FILE  Run this one input of --target
  -h, --help         Print this text
";

/// What to do; also handed on to the process that does it.
#[derive(Clone, Debug)]
struct Args {
    seconds: u64,
    target: Option<&'static Target>,
    seed: u64,
    keep: bool,
    replay: Option<PathBuf>,
    /// In the process of a target: the file for the input that is about to run.
    current: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = match parse(lexopt::Parser::from_env()) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    if let (Some(target), Some(current)) = (args.target, &args.current) {
        return match worker::run(target, current, &args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let targets = TARGETS.iter().filter(|target| args.target.is_none_or(|chosen| chosen.name == target.name));
    let (mut passed, mut failed) = (0, 0);
    for target in targets {
        match supervise(target, &args) {
            Ok(text) => {
                passed += 1;
                println!("{}: {}", target.name, text.trim_end());
            }
            Err(text) => {
                failed += 1;
                println!("{}: FAILED\n{}", target.name, text.trim_end());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Args>, lexopt::Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = now.as_nanos() as u64;
    let mut args = Args { seconds: 5, target: None, seed, keep: false, replay: None, current: None };
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("seconds") => args.seconds = parser.value()?.parse()?,
            Long("seed") => args.seed = parser.value()?.parse()?,
            Long("keep") => args.keep = true,
            Long("replay") => args.replay = Some(parser.value()?.into()),
            Long("current") => args.current = Some(parser.value()?.into()),
            Long("target") => {
                let name = parser.value()?.string()?;
                let known = TARGETS.iter().find(|target| target.name == name);
                args.target = Some(known.ok_or_else(|| format!("there is no target `{name}`"))?);
            }
            _ => return Err(argument.unexpected()),
        }
    }
    match (&args.replay, args.target) {
        (Some(_), None) => Err("--replay needs --target".into()),
        _ => Ok(Some(args)),
    }
}

/// Runs a target in a process of its own. An error says what happened and how to see it again.
fn supervise(target: &Target, args: &Args) -> Result<String, String> {
    let folder = findings().map_err(|error| format!("no place for findings: {error}"))?;
    let current = folder.join(format!("{}.{}.current", target.name, std::process::id()));
    let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
    command.arg("--current").arg(&current).args(["--target", target.name]);
    command.args(["--seconds", &args.seconds.to_string(), "--seed", &args.seed.to_string()]);
    command.args(args.keep.then_some("--keep"));
    command.args(args.replay.iter().flat_map(|file| [OsString::from("--replay"), file.into()]));
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    let input = worker::read_current(&current);
    let _ = fs::remove_file(&current);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let file = folder.join(format!("{}-{:016x}", target.name, hash(&input)));
    let saved = fs::write(&file, &input).map_or_else(|error| error.to_string(), |()| file.display().to_string());
    Err(format!(
        "{text}{errors}{}, seed {}, with these {} bytes:\n  {saved}\nrun them again:\n  \
         cargo run -p ipc-fuzz --release -- --target {} --replay {saved}",
        output.status,
        args.seed,
        input.len(),
        target.name
    ))
}

/// Where inputs that fail are kept: beside what cargo builds, as it is no part of the sources.
fn findings() -> std::io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(2).unwrap_or(Path::new(".")).join("fuzz");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
