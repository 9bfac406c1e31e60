//! The oldest Rust that the crates promise to support, if this machine has it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::outcome::Outcome;
use super::steps::{Job, check};
use crate::process::{self, Streams};
use crate::workspace::forget_cargo_run;

/// A release's first two numbers. Its third one only repairs the compiler.
type Release = (u32, u32);

pub(super) fn run(job: &Job) -> Outcome {
    let Some(text) = job.workspace.crates().find_map(|package| package.rust_version.as_deref()) else {
        return Outcome::failed("no crate has a rust-version; it belongs into [workspace.package] of Cargo.toml");
    };
    let Some(wanted) = release(text) else {
        return Outcome::failed(format!("the rust-version `{text}` is not a release"));
    };
    let Some((rustc, version)) = candidates().into_iter().find_map(|rustc| fitting(rustc, wanted)) else {
        return Outcome::not_run(format!("no Rust {}.{} known to rustup, on PATH or in /usr/bin", wanted.0, wanted.1));
    };
    let mut command = old(&rustc.with_file_name("cargo"));
    command.current_dir(&job.workspace.root).env("RUSTC", &rustc).env("CARGO_TERM_COLOR", "never");
    // Libraries only: tests and tools may use what developers have, users compile these. A directory of its own, or
    // the two compilers would take turns to throw away what the other one built.
    command
        .args(["check", "--lib", "--all-features", "--locked", "--target-dir"])
        .arg(job.workspace.target.join("msrv"));
    for package in job.workspace.crates() {
        command.args(["--package", &package.name]);
    }
    check(job.run(&mut command, Streams::Together, job.deadline)).with_detail(version)
}

/// Every rustc of this machine that might be the one.
fn candidates() -> Vec<PathBuf> {
    let list = process::answer(old(Path::new("rustup")).args(["toolchain", "list"])).unwrap_or_default();
    let by_rustup = list.lines().filter_map(toolchain_name).filter_map(|name| {
        let path = process::answer(old(Path::new("rustup")).args(["which", "--toolchain", name, "rustc"]))?;
        Some(PathBuf::from(path.trim()))
    });
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("rustc"));
    // A distribution's compiler may be installed and yet not be on PATH.
    by_rustup.chain(on_path).chain([PathBuf::from("/usr/bin/rustc")]).collect()
}

/// The compiler with its version in words, if it is the wanted release and has a cargo.
fn fitting(rustc: PathBuf, wanted: Release) -> Option<(PathBuf, String)> {
    if !rustc.with_file_name("cargo").exists() {
        return None;
    }
    let answer = process::answer(old(&rustc).arg("--version"))?;
    let words: Vec<_> = answer.split_whitespace().take(2).collect();
    (words.first() == Some(&"rustc") && release(words.get(1)?) == Some(wanted)).then(|| (rustc, words.join(" ")))
}

/// A program of the other toolchain, without what this one's cargo and rustup have put into the environment.
fn old(program: &Path) -> Command {
    let mut command = Command::new(program);
    forget_cargo_run(&mut command);
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "RUST_RECURSION_COUNT", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command
}

/// The name in a line such as `stable-x86_64-unknown-linux-gnu (active, default)`.
fn toolchain_name(line: &str) -> Option<&str> {
    // Without a toolchain, rustup prints the sentence `no installed toolchains`.
    line.split_whitespace().next().filter(|_| !line.starts_with("no installed"))
}

/// Reads `1.85` and `1.85.1`; a beta or nightly is no release.
fn release(text: &str) -> Option<Release> {
    let mut numbers = text.split('.').map(|number| number.parse::<u32>().ok());
    let release = (numbers.next()??, numbers.next()??);
    // The third number may be missing, but what is there must be a number and the last one.
    matches!((numbers.next(), numbers.next()), (None | Some(Some(_)), None)).then_some(release)
}

#[cfg(test)]
mod tests {
    use super::{release, toolchain_name};

    #[test]
    fn releases_are_told_from_pre_releases() {
        assert_eq!(release("1.85"), Some((1, 85)));
        assert_eq!(release("1.85.1"), Some((1, 85)));
        for other in ["", "1", "1.85.0-nightly", "1.85.0-beta.3", "1.85.0.1", "x.y", "1.-5"] {
            assert_eq!(release(other), None, "{other}");
        }
        assert_ne!(release("1.86.0"), release("1.85"));
    }

    #[test]
    fn toolchains_are_named_without_their_notes() {
        assert_eq!(toolchain_name("1.85-x86_64-unknown-linux-gnu"), Some("1.85-x86_64-unknown-linux-gnu"));
        assert_eq!(
            toolchain_name("stable-aarch64-apple-darwin (active, default)"),
            Some("stable-aarch64-apple-darwin")
        );
        assert_eq!(toolchain_name("no installed toolchains"), None);
        assert_eq!(toolchain_name(""), None);
    }
}
