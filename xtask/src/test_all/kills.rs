//! The campaigns that kill workers.

use std::process::Command;

use super::outcome::Outcome;
use super::probe;
use super::steps::{Job, check};
use crate::process::Streams;
use crate::workspace::forget_cargo_run;

/// Some four minutes on two processors; locks and queues have more points at which a death matters, sockets and FIFOs fewer.
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

pub(super) fn run(job: &Job) -> Outcome {
    // A directory of its own, or the two kinds of builds would take turns to throw away what the other one built.
    let target = job.workspace.target.join("crash");
    let (package, name) = probe::NAMES;
    let mut build = job.workspace.cargo();
    build.args(["build", "--profile", "crash", "--package", "ipc-tests", "--bin", "campaign"]);
    build.args(["--package", package, "--bin", name, "--target-dir"]).arg(&target);
    build.env("RUSTFLAGS", "--cfg ipc_crash_points");
    let built = check(job.run(&mut build, Streams::Together, job.deadline));
    if built.output().is_some() {
        return built;
    }
    // Other steps show that programs without crash points have no hook.
    match probe::has_hook(&target.join("crash").join(name)) {
        Ok(true) => {}
        Ok(false) => {
            return Outcome::failed("with crash points there is no hook either, so its absence proves nothing");
        }
        Err(text) => return Outcome::failed(text),
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
