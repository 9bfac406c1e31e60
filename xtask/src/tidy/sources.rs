//! What the Rust files contain.

use std::fs;
use std::path::{Path, PathBuf};

use super::{assert_tidy, packages, root};

/// Unsafe code is in files of these names: system calls, and words that other processes write.
const UNSAFE_NAMES: [&str; 2] = ["sys.rs", "raw.rs"];

/// Files of other names that need unsafe code, and why.
const UNSAFE_FILES: [(&str, &str); 4] = [
    ("bench/src/alloc.rs", "counts allocations; an allocator is unsafe by definition"),
    ("crates/ipc-core/src/spawn/constructor.rs", "runs before `main`, and runs the constructors that come later"),
    ("crates/ipc-core/src/spawn/entry.rs", "calls a function that it finds by its place in the program"),
    ("crates/ipc-core/src/spawn/image.rs", "reads this program's own image, to check an address before it is used"),
];

const MAX_LINES: usize = 600;

#[test]
fn unsafe_code_stays_in_its_files() {
    let files = files();
    let mut complaints: Vec<String> = files.iter().flat_map(|(path, text)| stray_unsafe(path, text)).collect();
    complaints.extend(UNSAFE_FILES.iter().filter_map(|(allowed, _)| stale(allowed, &files)));
    assert_tidy(&complaints);
}

#[test]
fn every_root_file_settles_unsafe_code() {
    let roots = packages().into_iter().flat_map(|package| package.roots);
    let texts =
        roots.map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("a readable root file")));
    assert_tidy(&texts.flat_map(|(path, text)| unsettled(&path, &text)).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_undone() {
    assert_tidy(&files().iter().flat_map(|(path, text)| undone(path, text)).collect::<Vec<_>>());
}

#[test]
fn files_of_the_crates_hold_one_idea() {
    let files = files();
    let crates = files.iter().filter(|(path, _)| path.starts_with("crates/"));
    assert_tidy(&crates.flat_map(|(path, text)| too_long(path, text)).collect::<Vec<_>>());
}

fn stray_unsafe(path: &str, text: &str) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if UNSAFE_NAMES.contains(&name) || UNSAFE_FILES.iter().any(|(allowed, _)| *allowed == path) {
        return None;
    }
    let line = unsafe_lines(text).next()?;
    Some(format!(
        "{path}:{line}: unsafe code belongs into a small sys.rs or raw.rs with safe code on top; if it cannot, enter \
         this file with the reason in UNSAFE_FILES of xtask/src/tidy/sources.rs"
    ))
}

fn stale(allowed: &str, files: &[(String, String)]) -> Option<String> {
    let needed = files.iter().any(|(path, text)| path == allowed && unsafe_lines(text).next().is_some());
    let complaint =
        || format!("{allowed} has no unsafe code: remove it from UNSAFE_FILES of xtask/src/tidy/sources.rs");
    (!needed).then(complaint)
}

/// The numbers of the lines with unsafe code.
fn unsafe_lines(text: &str) -> impl Iterator<Item = usize> {
    let word = concat!("un", "safe");
    let is_part_of_name = |character: char| character.is_alphanumeric() || character == '_';
    let lines = text.lines().enumerate().filter(move |(_, line)| {
        code(line).split(|character| !is_part_of_name(character)).any(|candidate| candidate == word)
    });
    lines.map(|(index, _)| index + 1)
}

/// A line without its comment and without what is inside string literals. A literal of several lines is taken for code:
/// rather a complaint too many.
fn code(line: &str) -> String {
    let line = line.replace("'\"'", "").replace("\\\\", "").replace("\\\"", "");
    let mut code = String::new();
    for (index, part) in line.split('"').enumerate() {
        // Every second part is inside quotation marks.
        if index % 2 == 1 {
            continue;
        }
        if let Some((before, _)) = part.split_once("//") {
            return code + before;
        }
        code += part;
    }
    code
}

fn unsettled(path: &str, text: &str) -> Option<String> {
    let settles = |line: &str| line.starts_with("#![forbid(unsafe_code)]") || line.starts_with("#![deny(unsafe_code)]");
    (!text.lines().any(settles)).then(|| {
        format!(
            "{path}: write `#![forbid(unsafe_code)]` below its `//!` text, or `deny` if one of its modules needs some"
        )
    })
}

fn undone(path: &str, text: &str) -> Vec<String> {
    // In pieces, so that this file does not contain what it looks for.
    let needles = [
        (concat!("to", "do!"), "write it now, or leave it out"),
        (concat!("unimpl", "emented!"), "write it now, or leave it out"),
        (concat!("db", "g!"), "it was for debugging: remove it"),
        (concat!("#[ign", "ore"), "let a slow test ask an environment variable, and remove a test that cannot pass"),
    ];
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (needle, cure) in needles.iter().filter(|(needle, _)| line.contains(needle)) {
            complaints.push(format!("{path}:{}: `{needle}`: {cure}", index + 1));
        }
    }
    complaints
}

fn too_long(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_LINES)
        .then(|| format!("{path} has {lines} lines: look for the second idea in it and move that into its own file"))
}

/// Every Rust file of the workspace: its path below the root, and its text.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for package in packages() {
        visit(&root().join(package.folder), &mut |path| {
            let text = fs::read_to_string(&path).expect("a readable Rust file");
            let path = path.strip_prefix(root()).expect("inside the workspace").to_string_lossy().into_owned();
            files.push((path, text));
        });
    }
    files
}

fn visit(folder: &Path, file: &mut dyn FnMut(PathBuf)) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            if !path.ends_with("target") {
                visit(&path, file);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_LINES, files, stale, stray_unsafe, too_long, undone, unsettled};

    /// Samples are written with `DANGER`, so that this file passes its own rule.
    fn sample(text: &str) -> String {
        text.replace("DANGER", concat!("un", "safe"))
    }

    #[test]
    fn stray_unsafe_code_is_found() {
        for code in [
            "let a = DANGER { b() };",
            "DANGER fn a() {}",
            "#[DANGER(no_mangle)]",
            "let a = \"//\"; DANGER { b(a) }",
            "let a = ('\"', DANGER { b() });",
            "let a = \"\\\"\"; DANGER { b(a) }",
        ] {
            assert!(stray_unsafe("crates/x/src/lib.rs", &sample(code)).is_some(), "{code}");
        }
        let complaint = stray_unsafe("crates/x/src/lib.rs", &sample("fn a() {}\n\nDANGER impl Send for X {}\n"));
        assert!(complaint.unwrap().starts_with("crates/x/src/lib.rs:3: "));
    }

    #[test]
    fn talk_about_unsafe_code_is_allowed() {
        for text in ["// DANGER { }", "//! DANGER", "a(); // no DANGER", "#![forbid(DANGER_code)]", "a(\"DANGER\")"] {
            assert_eq!(stray_unsafe("crates/x/src/lib.rs", &sample(text)), None);
        }
    }

    #[test]
    fn unsafe_code_is_allowed_by_the_name_of_its_file() {
        let text = sample("DANGER { a() }");
        assert!(stray_unsafe("crates/x/src/sys.rs", &text).is_none());
        assert!(stray_unsafe("crates/x/src/deep/raw.rs", &text).is_none());
        assert!(stray_unsafe("crates/ipc-core/src/spawn/entry.rs", &text).is_none());
        assert!(stray_unsafe("crates/x/src/mysys.rs", &text).is_some());
        assert!(stray_unsafe("crates/x/src/spawn/entry.rs", &text).is_some());
    }

    #[test]
    fn a_permission_that_nobody_needs_is_found() {
        let files = |text: &str| [("a.rs".to_owned(), sample(text))];
        assert!(stale("a.rs", &files("DANGER { a() }")).is_none());
        assert!(stale("a.rs", &files("// DANGER")).is_some());
        assert!(stale("b.rs", &files("DANGER { a() }")).is_some());
    }

    #[test]
    fn a_root_file_without_the_attribute_is_found() {
        assert!(unsettled("a", "//! A\n#![forbid(unsafe_code)]\n").is_none());
        assert!(unsettled("a", "//! A\n#![deny(unsafe_code)] // allowed again in sys.rs\n").is_none());
        assert!(unsettled("a", "//! A\n").is_some());
        assert!(unsettled("a", "// #![forbid(unsafe_code)]\n").is_some());
        assert!(unsettled("a", "#![allow(unsafe_code)]\n").is_some());
    }

    #[test]
    fn leftovers_are_found() {
        let text =
            concat!("fn a() {\n    to", "do!()\n}\n#[ign", "ore = \"slow\"]\ndb", "g!(x);\nunimpl", "emented!()\n");
        let complaints = undone("a.rs", text);
        assert_eq!(complaints.len(), 4);
        assert!(complaints[0].starts_with("a.rs:2: "));
        assert!(undone("a.rs", "// it ignores what is to do, and debugs").is_empty());
    }

    #[test]
    fn long_files_are_found() {
        assert!(too_long("a.rs", &"\n".repeat(MAX_LINES)).is_none());
        assert!(too_long("a.rs", &"\n".repeat(MAX_LINES + 1)).is_some());
    }

    #[test]
    fn files_of_all_packages_are_looked_at() {
        let files = files();
        for path in ["crates/ipc-core/src/lib.rs", "xtask/src/tidy/sources.rs", "examples/lib.rs"] {
            assert_eq!(files.iter().filter(|(candidate, _)| candidate == path).count(), 1, "{path}");
        }
        assert!(!files.iter().any(|(path, _)| path.contains("target/")));
    }
}
