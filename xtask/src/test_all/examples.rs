//! Every program of `examples/`, compared with what it should print.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::expected;
use super::outcome::{Outcome, Tally};
use super::steps::{BUILT_BY_TESTS, Job, check};
use crate::process::Streams;
use crate::workspace::forget_cargo_run;

const PACKAGE: &str = "ipc-examples";
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn run(job: &Job) -> Outcome {
    let names = job.workspace.examples(PACKAGE);
    let folder = job.workspace.root.join("examples/expected");
    let files = file_names(&folder);
    if names.is_empty() && files.is_empty() {
        return Outcome::not_run("no examples");
    }
    let build = check(job.cargo(&BUILT_BY_TESTS));
    if build.output().is_some() {
        return build;
    }
    let mut failures: Vec<String> = orphans(&names, &files);
    let mut passed = 0;
    for name in &names {
        match run_one(job, &folder, name) {
            Ok(()) => passed += 1,
            Err(why) => failures.push(format!("example {name}: {why}")),
        }
    }
    let tally = Tally { passed, failed: failures.len() as u64, skipped: 0 };
    Outcome::counted(tally, failures.join("\n\n")).with_detail(tally.to_string())
}

fn run_one(job: &Job, folder: &Path, name: &str) -> Result<(), String> {
    let file = folder.join(format!("{name}.txt"));
    let expected = fs::read_to_string(&file).map_err(|_| {
        format!("examples/expected/{name}.txt is missing: run `cargo run --example {name}`, check what it prints, and put it there")
    })?;
    let arguments = fs::read_to_string(folder.join(format!("{name}.args"))).unwrap_or_default();
    let mut command = Command::new(job.workspace.target.join("debug/examples").join(name));
    forget_cargo_run(&mut command);
    command.args(arguments.lines()).current_dir(&job.workspace.root);
    let deadline = job.deadline.min(Instant::now() + LIMIT);
    let finished = job.run(&mut command, Streams::Apart, deadline)?;
    let difference = expected::compare(&expected, &finished.stdout).err();
    if finished.is_success() && difference.is_none() {
        return Ok(());
    }
    let difference = difference.map_or(String::new(), |text| {
        format!("\nexpected (-, from examples/expected/{name}.txt) and printed (+) differ:\n{text}")
    });
    let stderr = if finished.stderr.is_empty() { String::new() } else { format!("\nstderr:\n{}", finished.stderr) };
    Err(format!("{}{}{}", finished.ending(), difference.trim_end(), stderr.trim_end()))
}

/// Complaints about files that belong to no example.
fn orphans(names: &[&str], files: &BTreeSet<String>) -> Vec<String> {
    let orphans = files.iter().filter(|file| {
        let stem = file.strip_suffix(".txt").or_else(|| file.strip_suffix(".args"));
        !stem.is_some_and(|stem| names.contains(&stem))
    });
    orphans
        .map(|file| {
            format!(
                "examples/expected/{file} belongs to no example: remove it, or add the example to examples/Cargo.toml"
            )
        })
        .collect()
}

fn file_names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::orphans;

    #[test]
    fn files_without_an_example_are_named() {
        let files = ["a.txt", "a.args", "gone.txt", "b.args", "readme"].map(str::to_owned).into();
        let complaints = orphans(&["a", "b"], &files).join("\n");
        assert_eq!(complaints.lines().count(), 2, "{complaints}");
        assert!(complaints.contains("gone.txt") && complaints.contains("readme"));
    }
}
