//! What each Cargo.toml says.

use super::{assert_tidy, packages};

const INHERITED: [&str; 4] = ["version", "edition", "rust-version", "license"];

/// The categories of crates.io that ours are in. It refuses others than its own, but only when a crate is uploaded.
const CATEGORIES: [&str; 6] =
    ["concurrency", "data-structures", "filesystem", "memory-management", "network-programming", "os::linux-apis"];

/// What crates.io takes: so many keywords and categories, and keywords so long.
const MAX_WORDS: usize = 5;
const MAX_KEYWORD: usize = 20;

#[test]
fn crates_inherit_and_describe() {
    let packages = packages();
    let crates = packages.iter().filter(|package| package.is_crate());
    assert_tidy(&crates.flat_map(|package| poor_crate(&package.name, &package.manifest)).collect::<Vec<_>>());
}

#[test]
fn other_packages_are_not_published() {
    let packages = packages();
    let others = packages.iter().filter(|package| !package.is_crate());
    assert_tidy(&others.flat_map(|package| publishable(&package.name, &package.manifest)).collect::<Vec<_>>());
}

fn poor_crate(name: &str, manifest: &str) -> Vec<String> {
    let package = section(manifest, "package");
    let mut complaints = Vec::new();
    for key in INHERITED {
        let (short, long) = (format!("{key}.workspace=true"), format!("{key}={{workspace=true}}"));
        if !package.contains(&short) && !package.contains(&long) {
            complaints.push(format!("{name}: put `{key}.workspace = true` into [package] of its Cargo.toml"));
        }
    }
    if !section(manifest, "lints").iter().any(|line| line == "workspace=true") {
        complaints.push(format!("{name}: put `workspace = true` into [lints] of its Cargo.toml"));
    }
    if !package.iter().any(|line| line.starts_with("description=\"") && line != "description=\"\"") {
        complaints.push(format!("{name}: say in `description` of its Cargo.toml what it is for"));
    }
    if !package.iter().any(|line| line == "readme=\"README.md\"") {
        complaints.push(format!("{name}: put `readme = \"README.md\"` into [package] of its Cargo.toml"));
    }
    let (keywords, categories) = (strings(&package, "keywords"), strings(&package, "categories"));
    if keywords.is_empty() || keywords.len() > MAX_WORDS || !keywords.iter().all(|word| is_keyword(word)) {
        complaints.push(format!(
            "{name}: give it 1 to {MAX_WORDS} `keywords` in one line of its Cargo.toml, of at most {MAX_KEYWORD} letters, digits and hyphens"
        ));
    }
    if categories.is_empty() || categories.len() > MAX_WORDS || !categories.iter().all(|slug| CATEGORIES.contains(slug))
    {
        complaints.push(format!(
            "{name}: give it 1 to {MAX_WORDS} `categories` in one line of its Cargo.toml; if crates.io has one that is not in \
             CATEGORIES of xtask/src/tidy/manifests.rs, enter it there"
        ));
    }
    complaints
}

/// The strings of an array in one line; none if it is not there.
fn strings<'a>(section: &'a [String], key: &str) -> Vec<&'a str> {
    let array = section.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix("=[")?.strip_suffix(']'));
    array.into_iter().flat_map(|array| array.split(',')).map(|string| string.trim_matches('"')).collect()
}

fn is_keyword(word: &str) -> bool {
    let fits = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    word.starts_with(|first: char| first.is_ascii_lowercase()) && word.len() <= MAX_KEYWORD && word.chars().all(fits)
}

fn publishable(name: &str, manifest: &str) -> Option<String> {
    let complaint = || format!("{name} is not under crates/: put `publish = false` into [package] of its Cargo.toml");
    (!section(manifest, "package").iter().any(|line| line == "publish=false")).then(complaint)
}

/// The lines of a section, without spaces and comments. No manifest of ours writes a section in another way.
fn section(manifest: &str, name: &str) -> Vec<String> {
    let header = format!("[{name}]");
    let lines = manifest.lines().map(|line| line.split('#').next().unwrap_or_default().replace(' ', ""));
    lines.skip_while(|line| *line != header).skip(1).take_while(|line| !line.starts_with('[')).collect()
}

#[cfg(test)]
mod tests {
    use super::{poor_crate, publishable};

    const GOOD: &str = r#"[package] # first
name = "x"
description = "What it is for"
version.workspace = true
edition.workspace = true
rust-version = { workspace = true }
license.workspace = true # MIT
readme = "README.md"
keywords = ["ipc", "named-pipe"]
categories = ["concurrency", "os::linux-apis"]

[dependencies]

[lints]
workspace = true
"#;

    #[test]
    fn a_good_manifest_has_no_complaints() {
        assert!(poor_crate("x", GOOD).is_empty());
    }

    #[test]
    fn each_missing_line_is_found() {
        let keys = ["workspace", "description", "readme", "keywords", "categories"];
        for line in GOOD.lines().filter(|line| keys.iter().any(|key| line.contains(key))) {
            let complaints = poor_crate("x", &GOOD.replacen(line, "", 1));
            assert_eq!(complaints.len(), 1, "without `{line}`");
        }
        assert_eq!(poor_crate("x", &GOOD.replace("license.workspace = true", "license = \"GPL\"")).len(), 1);
        assert_eq!(poor_crate("x", &GOOD.replace("[lints]", "[dependencies.y]")).len(), 1);
        assert_eq!(poor_crate("x", &GOOD.replace("What it is for", "")).len(), 1);
    }

    #[test]
    fn words_that_would_be_refused_are_found() {
        for (good, bad) in [
            (r#"["ipc", "named-pipe"]"#, "[]"),
            (r#"["ipc", "named-pipe"]"#, r#"["a", "b", "c", "d", "e", "f"]"#),
            ("named-pipe", "a-keyword-of-21-chars"),
            ("named-pipe", "named pipe!"),
            ("named-pipe", "8-pipes"),
            (r#"["concurrency", "os::linux-apis"]"#, "[]"),
            ("os::linux-apis", "linux"),
        ] {
            assert_eq!(poor_crate("x", &GOOD.replace(good, bad)).len(), 1, "with `{bad}`");
        }
    }

    #[test]
    fn a_package_that_could_be_published_is_found() {
        assert!(publishable("x", "[package]\npublish = false\n").is_none());
        assert!(publishable("x", "[package]\n").is_some());
        assert!(publishable("x", "[package]\npublish = true\n").is_some());
        assert!(publishable("x", "[package]\n[other]\npublish = false\n").is_some());
    }
}
