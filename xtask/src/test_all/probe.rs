//! Programs built as users ship them: what spawning relies on must survive the linker.

use std::time::{Duration, Instant};

use super::outcome::Outcome;
use super::steps::{Job, check};
use crate::process::Streams;
use crate::workspace::forget_cargo_run;

const PACKAGE: &str = "ipc-tests";
const EXAMPLE: &str = "probe";
const LIMIT: Duration = Duration::from_secs(60);

/// Builds the probe with `profile` and runs it; its exit status is the verdict.
pub(super) fn run(job: &Job, profile: &str) -> Outcome {
    if !job.workspace.examples(PACKAGE).contains(&EXAMPLE) {
        return Outcome::not_run("no probe");
    }
    let build = check(job.cargo(&["build", "--package", PACKAGE, "--example", EXAMPLE, "--profile", profile]));
    if build.output().is_some() {
        return build;
    }
    let mut command = std::process::Command::new(job.workspace.target.join(profile).join("examples").join(EXAMPLE));
    forget_cargo_run(&mut command);
    check(job.run(command.current_dir(&job.workspace.root), Streams::Together, Instant::now() + LIMIT))
}
