//! The campaigns that kill workers, and a proof that what programs ship has no hook for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::outcome::Outcome;
use super::steps::{Job, check};
use crate::process::Streams;
use crate::workspace::forget_cargo_run;

/// Some seven minutes on two processors; locks and queues have more points at which a death matters, sockets and FIFOs fewer.
const KILLS: [&str; 16] = [
    "--kills",
    "2000",
    "--kills",
    "sync=5000",
    "--kills",
    "shm=2000",
    "--kills",
    "queue=5000",
    "--kills",
    "fifo=1000",
    "--kills",
    "socket=1000",
    "--kills",
    "manager=2000",
    "--kills",
    "csp=2000",
];
/// With `--soak`: three hours.
const SOAK: [&str; 8] =
    ["--kills", "50000", "--kills", "queue=200000", "--kills", "manager=10000", "--kills", "csp=10000"];

/// What a program with crash points contains: the variable that they obey.
const HOOK: &[u8] = b"IPC_CRASH";
const EXAMPLE: &str = "tour";

pub(super) fn run(job: &Job) -> Outcome {
    // A directory of its own, or the two kinds of builds would take turns to throw away what the other one built.
    let target = job.workspace.target.join("crash");
    let mut build = job.workspace.cargo();
    build.args(["build", "--profile", "crash", "--package", "ipc-tests", "--bin", "campaign"]);
    build.args(["--package", "ipc-examples", "--example", EXAMPLE, "--target-dir"]).arg(&target);
    build.env("RUSTFLAGS", "--cfg ipc_crash_points");
    let plain = ["build", "--release", "--package", "ipc-examples", "--example", EXAMPLE];
    for built in [job.run(&mut build, Streams::Together, job.deadline), job.cargo(&plain)] {
        let built = check(built);
        if built.output().is_some() {
            return built;
        }
    }
    let with_hook = target.join("crash/examples").join(EXAMPLE);
    let without = job.workspace.target.join("release/examples").join(EXAMPLE);
    if let Err(text) = hook(&with_hook, true).and_then(|()| hook(&without, false)) {
        return Outcome::failed(text);
    }
    let mut campaign = Command::new(target.join("crash/campaign"));
    forget_cargo_run(&mut campaign);
    campaign.args(if job.soak { &SOAK[..] } else { &KILLS });
    match job.run(campaign.current_dir(&job.workspace.root), Streams::Together, job.deadline) {
        Ok(finished) => {
            let detail = verdict(&finished.stdout);
            check(Ok(finished)).with_detail(detail)
        }
        Err(error) => Outcome::failed(error),
    }
}

/// The campaign's last word, with the seed that repeats it.
fn verdict(output: &str) -> String {
    let line = |start: &str| output.lines().rev().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
    let seed = line("seed ").split(',').next().unwrap_or_default();
    format!("{}, seed {seed}", line("verdict: "))
}

fn hook(program: &Path, wanted: bool) -> Result<(), String> {
    let bytes = fs::read(program).map_err(|error| format!("cannot read {}: {error}", program.display()))?;
    match (bytes.windows(HOOK.len()).any(|window| window == HOOK), wanted) {
        (true, false) => Err(format!("{} has crash points, though it is an ordinary build", program.display())),
        (false, true) => {
            Err(format!("{} has no crash points, so their absence elsewhere proves nothing", program.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn the_last_word_is_found() {
        let output =
            "seed 7, 26 crash points\nwriter 3\nverdict: 7000 kills, 900 of them inside a critical section, survived\n";
        assert_eq!(verdict(output), "7000 kills, 900 of them inside a critical section, survived, seed 7");
    }
}
