//! Automation of this workspace; `cargo xtask --help` lists the commands.
#![forbid(unsafe_code)]

mod bench;
mod process;
mod test_all;
#[cfg(test)]
mod tidy;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use lexopt::prelude::*;

const HELP: &str = "\
Automation of this workspace.

Usage: cargo xtask <COMMAND> [OPTIONS]

Commands:
  test-all    Run every check and test that a commit has to pass; exactly what CI runs
  model       Check loom's models of the crates' algorithms; a step of test-all
  bench       Measure the crates against their alternatives

Options:
  -h, --help  Print this text; after a command, that command's
";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
enum Command {
    /// Print this text.
    Help(String),
    TestAll(test_all::Args),
    /// With arguments for the benchmark.
    Bench(Vec<OsString>),
}

fn main() -> ExitCode {
    let command = match parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {error}\n\n`cargo xtask --help` lists the commands and options.");
            return ExitCode::from(2);
        }
    };
    let result = match command {
        Command::Help(text) => {
            print!("{text}");
            Ok(true)
        }
        Command::TestAll(args) => test_all::run(&args),
        Command::Bench(arguments) => Err(bench::run(&arguments)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    match parser.next()? {
        None => Err("which command?".into()),
        Some(Short('h') | Long("help")) => Ok(Command::Help(HELP.to_owned())),
        Some(Value(name)) if name == "test-all" => test_all::parse(parser),
        // A step of test-all by itself.
        Some(Value(name)) if name == "model" => {
            let args = test_all::Args { only: vec!["models".to_owned()], ..test_all::Args::default() };
            parser.next()?.map_or(Ok(Command::TestAll(args)), |argument| Err(argument.unexpected()))
        }
        Some(Value(name)) if name == "bench" => Ok(Command::Bench(parser.raw_args()?.collect())),
        Some(Value(name)) => Err(format!("unknown command `{}`", name.to_string_lossy()).into()),
        Some(argument) => Err(argument.unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, HELP, parse, test_all};

    fn parsed(line: &str) -> Result<Command, String> {
        parse(lexopt::Parser::from_args(line.split_whitespace())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_plain_command_has_no_options() {
        assert_eq!(parsed("test-all"), Ok(Command::TestAll(test_all::Args::default())));
    }

    #[test]
    fn help_is_found_before_and_after_a_command() {
        assert_eq!(parsed("--help"), Ok(Command::Help(HELP.to_owned())));
        assert!(matches!(parsed("test-all -h"), Ok(Command::Help(text)) if text.contains("--only")));
    }

    #[test]
    fn only_takes_names_with_commas_and_repeats() {
        let line = "test-all --only fmt,docs --only=msrv --soak";
        let Ok(Command::TestAll(args)) = parsed(line) else { panic!("not accepted") };
        assert_eq!(args.only, ["fmt", "docs", "msrv"]);
    }

    #[test]
    fn the_benchmark_reads_its_own_arguments() {
        let arguments = ["--quick", "--help"].map(Into::into).into();
        assert_eq!(parsed("bench --quick --help"), Ok(Command::Bench(arguments)));
    }

    #[test]
    fn model_is_one_step_of_test_all() {
        let Ok(Command::TestAll(args)) = parsed("model") else { panic!("not accepted") };
        assert_eq!(args.only, ["models"]);
        assert!(parsed("model now").is_err());
    }

    #[test]
    fn what_is_unknown_is_named() {
        assert_eq!(parsed("frobnicate"), Err("unknown command `frobnicate`".to_owned()));
        assert_eq!(parsed("--fast"), Err("invalid option '--fast'".to_owned()));
        assert_eq!(parsed("test-all --fast"), Err("invalid option '--fast'".to_owned()));
        assert!(parsed("test-all --only fmt,nonsense").unwrap_err().contains("`nonsense`"));
        assert!(parsed("test-all fmt").unwrap_err().contains("fmt"));
        assert!(parsed("").is_err());
    }
}
