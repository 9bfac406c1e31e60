//! Every CPython of this machine at the other end of our pipes.

use std::process::Command;

use super::outcome::{Outcome, Tally};
use super::steps::{BUILT_BY_TESTS, Job, check};
use crate::process::{Finished, Streams};
use crate::workspace::forget_cargo_run;

pub(super) fn run(job: &Job) -> Outcome {
    let build = check(job.cargo(&BUILT_BY_TESTS));
    if build.output().is_some() {
        return build;
    }
    let mut command = Command::new(job.workspace.target.join("debug/with_python"));
    forget_cargo_run(&mut command);
    match job.run(command.current_dir(&job.workspace.root), Streams::Apart, job.deadline) {
        Ok(finished) => judge(&finished),
        Err(error) => Outcome::failed(error),
    }
}

fn judge(finished: &Finished) -> Outcome {
    let lines = || finished.stdout.lines().rev();
    let output = format!("{}\n{}\n{}", finished.stdout.trim_end(), finished.stderr.trim_end(), finished.ending());
    let (Some(tally), Some(detail)) = (lines().find_map(tally), lines().find(|line| line.starts_with("ran: "))) else {
        return Outcome::failed(output);
    };
    let outcome = match () {
        () if tally == Tally::default() => Outcome::not_run("no CPython 3 on PATH or in pyenv's folder"),
        () if finished.is_success() => Outcome::counted(tally, output),
        () => Outcome::failed(output).with_tally(tally),
    };
    outcome.with_detail(detail)
}

/// Reads `135 passed, 0 failed`.
fn tally(line: &str) -> Option<Tally> {
    let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Tally { passed: passed.parse().ok()?, failed: failed.parse().ok()?, skipped: 0 })
}

#[cfg(test)]
mod tests {
    use super::{Tally, judge, tally};
    use crate::process::{End, Finished};
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn finished(stdout: &str, code: i32) -> Finished {
        let end = End::Exited(ExitStatus::from_raw(code << 8));
        Finished { end, stdout: stdout.to_owned(), stderr: String::new() }
    }

    #[test]
    fn the_last_line_is_counted() {
        assert_eq!(tally("135 passed, 2 failed"), Some(Tally { passed: 135, failed: 2, skipped: 0 }));
        assert_eq!(tally("3.8.18: 15 cases ok"), None);
    }

    #[test]
    fn versions_stand_in_the_row() {
        let some = judge(&finished("3.8.18: 15 cases ok\nran: 3.8.18; did not answer: none\n15 passed, 0 failed\n", 0));
        assert_eq!(some.detail, "ran: 3.8.18; did not answer: none");
        assert_eq!(some.tally(), Tally { passed: 15, failed: 0, skipped: 0 });
        let none = judge(&finished("ran: none; did not answer: /usr/bin/python3\n0 passed, 0 failed\n", 0));
        assert_eq!(none.tally(), Tally { passed: 0, failed: 0, skipped: 1 });
        assert_eq!(none.detail, "ran: none; did not answer: /usr/bin/python3");
    }

    #[test]
    fn a_failure_is_seen_by_its_exit_too() {
        for text in ["", "ran: 3.8.18; did not answer: none\n15 passed, 0 failed\n"] {
            assert!(judge(&finished(text, 1)).output().is_some());
        }
        assert!(judge(&finished("ran: 3.8.18; did not answer: none\n14 passed, 1 failed\n", 1)).output().is_some());
        assert!(judge(&finished("", 0)).output().is_some());
    }
}
