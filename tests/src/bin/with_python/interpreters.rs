//! Which interpreters this machine has.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::peer::answer;

/// How long an interpreter may take to say its version.
const PATIENCE: Duration = Duration::from_secs(20);

/// Its kind, version and file, one in a line.
const QUESTION: &str = "\
import os, platform, sys
print(platform.python_implementation())
print('.'.join(map(str, sys.version_info[:3])))
print(os.path.realpath(sys.executable))
print(sys.version.replace('\\n', ' '))
";

/// A CPython 3 that answers.
pub(crate) struct Interpreter {
    /// As `3.11.2`.
    pub(crate) version: String,
    pub(crate) path: PathBuf,
    /// The version with how and when it was built.
    build: String,
}

impl Interpreter {
    /// The 11 of 3.11.2.
    pub(crate) fn minor(&self) -> u32 {
        self.version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0)
    }
}

/// What was found.
pub(crate) struct Search {
    /// The oldest first.
    pub(crate) found: Vec<Interpreter>,
    /// Files with the name of an interpreter that do not work as one.
    pub(crate) silent: Vec<PathBuf>,
}

/// The interpreter in this file, if it is one.
pub(crate) fn at(path: &Path) -> Option<Interpreter> {
    ask(path).flatten()
}

/// Looks on PATH and among the versions of pyenv.
pub(crate) fn search() -> Search {
    let (mut found, mut silent) = (Vec::<Interpreter>::new(), Vec::new());
    for path in candidates() {
        match ask(&path) {
            None => silent.push(path),
            Some(None) => {} // another kind of Python: it has no say in what CPython's frames are
            Some(Some(new)) => {
                let known = |old: &Interpreter| old.path == new.path || old.build == new.build;
                if !found.iter().any(known) {
                    found.push(new);
                }
            }
        }
    }
    found.sort_by_key(|python| python.version.split('.').map(|n| n.parse().unwrap_or(0)).collect::<Vec<u32>>());
    Search { found, silent }
}

fn candidates() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv"));
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from).or(home).unwrap_or_default();
    // pyenv puts scripts on PATH that start one of its versions, or none; the versions themselves are looked at below.
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).filter(|folder| *folder != pyenv.join("shims"));
    let mut candidates: Vec<PathBuf> = folders.flat_map(|folder| list(&folder)).filter(|path| is_named(path)).collect();
    candidates.extend(list(&pyenv.join("versions")).into_iter().map(|version| version.join("bin/python3")));
    candidates.retain(|path| path.is_file());
    candidates.sort();
    candidates.dedup_by_key(|path| fs::canonicalize(&path).unwrap_or_else(|_| path.clone()));
    candidates
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// `python3` or `python3.N`, not `python3.N-config` and the like.
fn is_named(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let Some(rest) = name.strip_prefix("python3") else { return false };
    rest.is_empty() || rest.strip_prefix('.').is_some_and(|minor| minor.parse::<u32>().is_ok())
}

/// `None` if it does not answer, `Some(None)` if it is no CPython 3.
fn ask(path: &Path) -> Option<Option<Interpreter>> {
    let text = answer(Command::new(path).args(["-I", "-c", QUESTION]), PATIENCE)?;
    let [kind, version, path, build] = text.lines().collect::<Vec<_>>()[..] else { return None };
    let interpreter = || Interpreter { version: version.into(), path: path.into(), build: build.into() };
    Some((kind == "CPython" && version.starts_with("3.")).then(interpreter))
}

#[cfg(test)]
mod tests {
    use super::is_named;
    use std::path::Path;

    #[test]
    fn interpreters_are_told_from_tools_by_their_names() {
        for name in ["python3", "python3.6", "python3.13"] {
            assert!(is_named(Path::new("/usr/bin").join(name).as_path()), "{name}");
        }
        for name in ["python", "python2.7", "python3-config", "python3.11-config", "python3.", "pypy3"] {
            assert!(!is_named(Path::new("/usr/bin").join(name).as_path()), "{name}");
        }
    }
}
