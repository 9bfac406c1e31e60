//! Programs built as users ship them: what spawning relies on must survive the linker.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::outcome::Outcome;
use super::steps::{Job, check};
use crate::process::Streams;
use crate::workspace::forget_cargo_run;

/// The package, which needs little as it is built once in each profile, and its program.
pub(super) const NAMES: (&str, &str) = ("ipc-probe", "probe");
const LIMIT: Duration = Duration::from_secs(60);

/// What a program with crash points contains: the variable that they obey.
const HOOK: &[u8] = b"IPC_CRASH";

/// Builds the probe with `profile` and runs it; its exit status is the verdict. What is shipped has no crash points.
pub(super) fn run(job: &Job, profile: &str) -> Outcome {
    let (package, name) = NAMES;
    let build = check(job.cargo(&["build", "--package", package, "--profile", profile]));
    if build.output().is_some() {
        return build;
    }
    let program = job.workspace.target.join(profile).join(name);
    match has_hook(&program) {
        Ok(false) => {}
        Ok(true) => return Outcome::failed(format!("{} has crash points", program.display())),
        Err(text) => return Outcome::failed(text),
    }
    let mut command = Command::new(program);
    forget_cargo_run(&mut command);
    check(job.run(command.current_dir(&job.workspace.root), Streams::Together, Instant::now() + LIMIT))
}

pub(super) fn has_hook(program: &Path) -> Result<bool, String> {
    let bytes = fs::read(program).map_err(|error| format!("cannot read {}: {error}", program.display()))?;
    Ok(bytes.windows(HOOK.len()).any(|window| window == HOOK))
}
