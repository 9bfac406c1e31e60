//! Arbitrary bytes for the crates: the corpus, and a while of new ones.

use super::outcome::Outcome;
use super::steps::{Job, check};
use crate::process::Streams;

/// For each target.
const SECONDS: &str = "3";
/// With `--soak`: half an hour for each.
const SOAK: &str = "1800";

pub(super) fn run(job: &Job) -> Outcome {
    let built = check(job.cargo(&["build", "--quiet", "--release", "--package", "ipc-fuzz"]));
    if built.output().is_some() {
        return built;
    }
    let mut command = job.workspace.cargo();
    command.args(["run", "--quiet", "--release", "--package", "ipc-fuzz", "--", "--seconds"]);
    command.arg(if job.soak { SOAK } else { SECONDS });
    match job.run(&mut command, Streams::Together, job.deadline) {
        Ok(finished) => {
            let detail = detail(&finished.stdout);
            check(Ok(finished)).with_detail(detail)
        }
        Err(error) => Outcome::failed(error),
    }
}

/// How many inputs each target had; those that failed have no such line.
fn detail(output: &str) -> String {
    let counts = output.lines().filter_map(|line| {
        let (target, rest) = line.split_once(": ")?;
        let (_, others) = rest.split_once(" inputs of the corpus, ")?;
        Some(format!("{target} {}", others.split(' ').next()?))
    });
    format!("new inputs: {}", counts.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::detail;

    #[test]
    fn inputs_are_counted_by_target() {
        let output = "frames: 14 inputs of the corpus, 6897 others in 5s, 578 steps seen, seed 1\nvalues: FAILED\n\
            handles: 21 inputs of the corpus, 4946 others in 5s, 1342 steps seen, seed 1\n2 passed, 1 failed\n";
        assert_eq!(detail(output), "new inputs: frames 6897, handles 4946");
    }
}
