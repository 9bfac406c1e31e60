//! `cargo xtask bench`: the benchmark, built in the one way in which its figures mean something.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use crate::workspace;

/// Becomes the benchmark, which reads the arguments; returns only if that fails.
pub(crate) fn run(arguments: &[OsString]) -> String {
    // Where the user is, not at the workspace's root: file names among the arguments are meant from here.
    let mut command = workspace::cargo();
    command.args(["run", "--quiet", "--release", "--package", "ipc-bench", "--"]).args(arguments);
    format!("cannot run {command:?}: {}", command.exec())
}
