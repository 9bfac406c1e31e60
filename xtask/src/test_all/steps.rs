//! The steps in their order, and those that are little more than one call of cargo.

use std::num::NonZero;
use std::process::Command;
use std::time::Instant;

use super::outcome::{Outcome, Tally};
use super::{counts, examples, fuzz, kills, models, msrv, probe, python};
use crate::process::{self, Finished, Streams};
use crate::workspace::Workspace;

pub(super) struct Step {
    pub(super) name: &'static str,
    /// For `--list`.
    pub(super) about: &'static str,
    pub(super) run: fn(&Job) -> Outcome,
}

/// What a step works with.
pub(super) struct Job<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) deadline: Instant,
    /// Long campaigns are wanted.
    pub(super) soak: bool,
}

/// Cheap and telling steps first: who waits for the table wants to see their failures early.
pub(super) const STEPS: &[Step] = &[
    Step { name: "fmt", about: "rustfmt would change nothing", run: fmt },
    Step { name: "clippy", about: "clippy and rustc have no warnings", run: clippy },
    Step { name: "docs", about: "the documentation builds without warnings", run: docs },
    Step { name: "features", about: "each crate builds alone, with no and with all features", run: features },
    Step { name: "package", about: "each crate can be packed for crates.io, as the work tree is", run: package },
    Step { name: "msrv", about: "the crates build with the Rust they promise to support", run: msrv::run },
    Step { name: "tests", about: "all tests, by nextest where it is installed", run: tests },
    Step { name: "models", about: "loom's models hold, and those of mistakes fail", run: models::run },
    Step { name: "doctests", about: "the examples in the documentation", run: doctests },
    Step { name: "python", about: "every CPython of this machine at the other end of a pipe", run: python::run },
    Step { name: "fuzz", about: "arbitrary bytes do no harm (half an hour each with --soak)", run: fuzz::run },
    Step { name: "examples", about: "the programs in examples/ print what they should", run: examples::run },
    Step {
        name: "stripped",
        about: "a stripped binary with fat LTO still spawns",
        run: |job| probe::run(job, "stripped"),
    },
    Step { name: "abort", about: "the same when panics abort", run: |job| probe::run(job, "abort") },
    Step {
        name: "kills",
        about: "20,000 workers are killed, and the others go on (470,000 with --soak)",
        run: kills::run,
    },
];

/// Programs that other steps run, as the tests have built them: for fewer packages, cargo would choose other features of the
/// libraries, and build everything once more.
pub(super) const BUILT_BY_TESTS: [&str; 6] =
    ["build", "--workspace", "--all-features", "--bin", "with_python", "--examples"];

impl Job<'_> {
    /// Runs cargo with everything it prints in one text; an error is a text, too.
    pub(super) fn cargo(&self, arguments: &[&str]) -> Result<Finished, String> {
        self.run(self.workspace.cargo().args(arguments), Streams::Together, self.deadline)
    }

    pub(super) fn run(&self, command: &mut Command, streams: Streams, deadline: Instant) -> Result<Finished, String> {
        process::run(command, streams, deadline).map_err(|error| format!("cannot run {command:?}: {error}"))
    }

    /// Whether cargo has this subcommand.
    fn has(&self, subcommand: &str) -> bool {
        process::answer(self.workspace.cargo().args([subcommand, "--version"])).is_some()
    }
}

/// One command, which is one check.
pub(super) fn check(result: Result<Finished, String>) -> Outcome {
    match result {
        Ok(finished) if finished.is_success() => Outcome::passed(),
        Ok(finished) => Outcome::failed(report(&finished)),
        Err(error) => Outcome::failed(error),
    }
}

fn report(finished: &Finished) -> String {
    format!("{}\n{}", finished.stdout.trim_end(), finished.ending())
}

fn fmt(job: &Job) -> Outcome {
    if !job.has("fmt") {
        return Outcome::not_run("rustfmt is not installed");
    }
    check(job.cargo(&["fmt", "--all", "--check", "--", "--color", "never"]))
}

fn clippy(job: &Job) -> Outcome {
    if !job.has("clippy") {
        return Outcome::not_run("clippy is not installed");
    }
    let mut arguments = vec!["clippy", "--workspace"];
    arguments.extend(job.workspace.exclude_borrowers());
    arguments.extend(["--all-targets", "--all-features", "--", "-D", "warnings"]);
    check(job.cargo(&arguments))
}

fn docs(job: &Job) -> Outcome {
    let mut command = job.workspace.cargo();
    command.args(["doc", "--workspace", "--no-deps", "--all-features"]).env("RUSTDOCFLAGS", "-D warnings");
    check(job.run(&mut command, Streams::Together, job.deadline))
}

/// Each crate by itself, because in one build of the workspace a crate may live on the features that another one asks
/// for.
fn features(job: &Job) -> Outcome {
    let mut tally = Tally::default();
    let mut output = String::new();
    for package in job.workspace.crates() {
        for flag in ["--no-default-features", "--all-features"] {
            let result = check(job.cargo(&["check", "--package", &package.name, flag]));
            tally = tally + result.tally();
            if let Some(text) = result.output() {
                output += &format!("cargo check --package {} {flag}\n{text}\n\n", package.name);
            }
        }
    }
    Outcome::counted(tally, output).with_detail(format!("{} builds", tally.passed + tally.failed))
}

/// All in one call: then each is packed as if the others were on crates.io already. They are not built from what is packed; `features` has built
/// them one by one.
fn package(job: &Job) -> Outcome {
    let version = process::answer(job.workspace.cargo().arg("--version")).unwrap_or_default();
    if !packs_a_family(&version) {
        return Outcome::not_run("only cargo 1.90 or newer packs crates that depend on each other");
    }
    // Downloads only what is not there yet. `cargo package` would ask crates.io for news each time, if it were not `--offline`.
    let fetch = check(job.cargo(&["fetch", "--locked"]));
    if fetch.output().is_some() {
        return fetch;
    }
    let names: Vec<_> = job.workspace.crates().flat_map(|package| ["--package", &package.name]).collect();
    // What is checked before it is committed makes a dirty tree, which cargo refuses without `--allow-dirty`.
    let mut arguments = vec!["package", "--no-verify", "--offline", "--allow-dirty"];
    arguments.extend(&names);
    check(job.cargo(&arguments)).with_detail(format!("{} crates, also what is not committed", names.len() / 2))
}

/// Whether a cargo that calls itself like this, as `cargo 1.95.0 (…)`, is new enough.
fn packs_a_family(version: &str) -> bool {
    let mut numbers = version.split(['.', ' ', '-']).filter_map(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(1), Some(90))
}

fn tests(job: &Job) -> Outcome {
    if job.has("nextest") {
        // Many tests do little but wait, for their processes or for a time to pass.
        let threads = (2 * std::thread::available_parallelism().map_or(1, NonZero::get)).to_string();
        let arguments =
            ["nextest", "run", "--workspace", "--all-features", "--no-fail-fast", "--test-threads", &threads];
        return test_run(job.cargo(&arguments), counts::from_nextest, "nextest");
    }
    let arguments = ["test", "--workspace", "--lib", "--bins", "--tests", "--all-features", "--no-fail-fast"];
    test_run(job.cargo(&arguments), counts::from_libtest, "cargo test")
}

fn doctests(job: &Job) -> Outcome {
    let mut arguments = vec!["test", "--workspace"];
    arguments.extend(job.workspace.exclude_borrowers());
    arguments.extend(["--doc", "--all-features", "--no-fail-fast"]);
    test_run(job.cargo(&arguments), counts::from_libtest, "cargo test")
}

fn test_run(result: Result<Finished, String>, count: fn(&str) -> Tally, runner: &str) -> Outcome {
    let tally = result.as_ref().map(|finished| count(&finished.stdout)).unwrap_or_default();
    let detail = if tally == Tally::default() { runner.to_owned() } else { format!("{tally}, by {runner}") };
    check(result).with_tally(tally).with_detail(detail)
}

#[cfg(test)]
mod tests {
    use super::packs_a_family;

    #[test]
    fn the_version_of_cargo_is_understood() {
        for version in ["cargo 1.90.0 (840b83a10 2025-07-30)", "cargo 1.100.1", "cargo 2.0.0-nightly (1 2)"] {
            assert!(packs_a_family(version), "{version}");
        }
        for version in ["cargo 1.89.0 (c24e10642 2025-06-23)", "cargo 1.9.0", "", "cargo"] {
            assert!(!packs_a_family(version), "{version}");
        }
    }
}
