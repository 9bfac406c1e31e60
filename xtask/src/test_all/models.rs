//! loom's models of the algorithms in the crates, and the models of mistakes that must fail.

use std::fs;

use super::counts;
use super::outcome::{Outcome, Tally};
use super::steps::Job;
use crate::process::{Finished, Streams};

/// Runs the tests of all modules called `model`, and each test of the modules called `control`, which has to fail: so that it
/// is seen, in every run, that the tool can see.
pub(super) fn run(job: &Job) -> Outcome {
    let mut tally = Tally::default();
    let mut output = String::new();
    for package in job.workspace.crates() {
        // A crate that has models says so by its dependency.
        if !fs::read_to_string(package.folder.join("Cargo.toml")).is_ok_and(|manifest| manifest.contains("cfg(loom)")) {
            continue;
        }
        match check(job, &package.name) {
            Ok((counted, text)) => {
                tally = tally + counted;
                output += &text;
            }
            Err(text) => return Outcome::failed(text),
        }
    }
    let detail = format!("{} models hold, mistakes among them fail as they must", tally.passed);
    let nothing = tally == Tally::default();
    if nothing { Outcome::not_run("no crate has models") } else { Outcome::counted(tally, output).with_detail(detail) }
}

fn check(job: &Job, package: &str) -> Result<(Tally, String), String> {
    let models = cargo_test(job, package, &["model::"])?;
    let mut tally = counts::from_libtest(&models.stdout);
    if !models.is_success() {
        tally.failed = tally.failed.max(1);
        return Ok((tally, models.stdout));
    }
    let mut output = String::new();
    let list = cargo_test(job, package, &["--list", "control::"])?;
    for control in list.stdout.lines().filter_map(|line| line.strip_suffix(": test")) {
        let run = cargo_test(job, package, &["--exact", control])?;
        if fails_as_it_must(run.is_success(), &run.stdout) {
            tally.passed += 1;
        } else {
            tally.failed += 1;
            output += &format!("{control} is a mistake that the model should have found:\n{}\n", run.stdout);
        }
    }
    Ok((tally, output))
}

/// By what loom or the model says, and not by a build that fails or a test that is not there.
fn fails_as_it_must(success: bool, output: &str) -> bool {
    !success && ["deadlock; threads", "Causality violation", "assertion `"].iter().any(|sign| output.contains(sign))
}

fn cargo_test(job: &Job, package: &str, filter: &[&str]) -> Result<Finished, String> {
    let mut command = job.workspace.cargo();
    command.args(["test", "--package", package, "--lib", "--profile", "model", "--"]).args(filter);
    // A directory of its own: with other flags everything would be built anew, and after it once more.
    command.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", job.workspace.target.join("model"));
    job.run(command.env("RUST_BACKTRACE", "0"), Streams::Together, job.deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_fails_by_what_loom_finds_only() {
        assert!(fails_as_it_must(false, "x\ndeadlock; threads = [(Id(0)"));
        assert!(fails_as_it_must(false, "assertion `left == right` failed"));
        assert!(!fails_as_it_must(true, "deadlock; threads = []"));
        assert!(!fails_as_it_must(false, "error: could not compile"));
    }
}
