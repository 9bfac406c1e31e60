//! The page for those who come from Python has a row for every public name of `multiprocessing`, and none for a name that is not there.
//!
//! Asked is the newest CPython that is on PATH or among the versions of pyenv. Where there is none, or only an old one, nothing is checked.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PAGE: &str = include_str!("../src/from-python.md");
const SCRIPT: &str = include_str!("python_names.py");
/// The version whose names the page has. What is newer is marked with its own version.
const OF_THE_PAGE: (u32, u32) = (3, 13);
/// The first one with nearly all of the names.
const OLDEST: (u32, u32) = (3, 9);

const QUESTION: &str = "import platform, sys; print(platform.python_implementation(), *sys.version_info[:3])";

#[test]
fn every_name_of_python_has_a_row() {
    let Some((version, python)) = newest() else {
        return println!("not checked: no CPython from {OLDEST:?} on is on PATH or in pyenv's folder");
    };
    let output =
        Command::new(&python).args(["-I", "-W", "ignore", "-c", SCRIPT]).output().expect("it has answered before");
    assert!(output.status.success(), "{}: {}", python.display(), String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    let names: BTreeSet<&str> = text.lines().collect();
    assert!(names.len() > 400, "{} tells only {} names", python.display(), names.len());

    let complaints = compare(&names, &rows(PAGE), (version[0], version[1]));
    assert!(complaints.is_empty(), "compared with CPython {version:?}:\n{}", complaints.join("\n"));
    println!("{} names of CPython {version:?}", names.len());
}

/// A name in the first column of a table.
#[derive(Debug, PartialEq)]
struct Row {
    /// As the script prints them: one for each thing that the heading above names.
    names: Vec<String>,
    line: usize,
    /// It is marked as not being in the page's version yet.
    newer: bool,
}

/// Names are what begins with a dot in the first cell of a row, and belong to what is code in the heading above.
fn rows(page: &str) -> Vec<Row> {
    let (mut rows, mut owners, mut is_program) = (Vec::new(), Vec::new(), false);
    for (index, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            is_program = !is_program;
        } else if is_program {
        } else if line.starts_with('#') {
            owners = spans(line);
        } else if let Some(cells) = line.strip_prefix("| ") {
            let cell = cells.split(" | ").next().unwrap_or_default();
            for span in spans(cell).iter().filter_map(|span| span.strip_prefix('.')) {
                let name: String = span.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let names = owners.iter().map(|owner| format!("{owner} .{name}")).collect();
                rows.push(Row { names, line: index + 1, newer: cell.contains("(3.14)") });
            }
        }
    }
    rows
}

/// What stands between backticks.
fn spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn compare(names: &BTreeSet<&str>, rows: &[Row], version: (u32, u32)) -> Vec<String> {
    let known: BTreeSet<&str> = rows.iter().flat_map(|row| &row.names).map(String::as_str).collect();
    let missing = names.difference(&known).map(|name| {
        let (owner, name) = name.split_once(' ').unwrap_or_default();
        format!("from-python.md: give `{name}` a row below the heading that names `{owner}`")
    });
    let expected = |row: &&Row| version >= OF_THE_PAGE && !(row.newer && version == OF_THE_PAGE);
    let unknown =
        rows.iter().filter(expected).filter(|row| !row.names.iter().any(|name| names.contains(name.as_str())));
    let unknown = unknown.map(|row| {
        format!("from-python.md:{}: Python has none of {:?}: correct the name or the heading", row.line, row.names)
    });
    missing.chain(unknown).collect()
}

/// The newest CPython that answers, and its version.
fn newest() -> Option<([u32; 3], PathBuf)> {
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv"));
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from).or(home).unwrap_or_default();
    let path = env::var_os("PATH").unwrap_or_default();
    // pyenv's own scripts on PATH start one of its versions, or none.
    let folders = env::split_paths(&path).filter(|folder| *folder != pyenv.join("shims"));
    let on_path = folders.flat_map(|folder| list(&folder)).filter(|path| is_python(path));
    let of_pyenv = list(&pyenv.join("versions")).into_iter().map(|version| version.join("bin/python3"));
    let answers = on_path.chain(of_pyenv).filter(|path| path.is_file());
    let answers = answers.filter_map(|path| Some((version(&path)?, path)));
    answers.filter(|(version, _)| (version[0], version[1]) >= OLDEST).max()
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// `python3` or `python3.13`, not `python3-config`.
fn is_python(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let rest = name.strip_prefix("python3").map(|rest| rest.strip_prefix('.').unwrap_or(rest));
    rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

fn version(python: &Path) -> Option<[u32; 3]> {
    let output = Command::new(python).args(["-I", "-c", QUESTION]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let numbers = text.trim().strip_prefix("CPython ")?;
    let numbers: Vec<u32> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

#[test]
fn names_are_found_in_tables_only() {
    let page = "## `m`\n\n`.not` a row\n\n| Python | here |\n|---|---|\n| `.a(x=1)`, `.b` (3.14) | `.c` |\n| `d[i]` | |\n\n\
                ```sh\n# `x`\n```\n### `P`, `Q`\n\n| `.e` | \\| `.f` |\n";
    let found: Vec<(Vec<String>, usize)> = rows(page).into_iter().map(|row| (row.names, row.line)).collect();
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    assert_eq!(found, [(names(&["m .a"]), 7), (names(&["m .b"]), 7), (names(&["P .e", "Q .e"]), 15)]);
}

#[test]
fn a_missing_row_and_a_wrong_one_are_found() {
    let rows = rows("## `m`\n| `.a` | |\n| `.old` | |\n| `.new` (3.14) | |\n");
    let complaints = |names: &[&str], version| compare(&names.iter().copied().collect(), &rows, version).len();
    assert_eq!(complaints(&["m .a", "m .old"], (3, 13)), 0);
    assert_eq!(complaints(&["m .a", "m .old", "m .b"], (3, 13)), 1); // no row
    assert_eq!(complaints(&["m .a"], (3, 13)), 1); // a row for nothing
    assert_eq!(complaints(&["m .a"], (3, 9)), 0); // it may have come later
    assert_eq!(complaints(&["m .a", "m .old"], (3, 14)), 1); // it should be there by now
}
