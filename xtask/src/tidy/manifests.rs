//! What each Cargo.toml says.

use super::{assert_tidy, packages};

const INHERITED: [&str; 4] = ["version", "edition", "rust-version", "license"];

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
    complaints
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

    const GOOD: &str = "\
[package] # first
name = \"x\"
description = \"What it is for\"
version.workspace = true
edition.workspace = true
rust-version = { workspace = true }
license.workspace = true # MIT

[dependencies]

[lints]
workspace = true
";

    #[test]
    fn a_good_manifest_has_no_complaints() {
        assert!(poor_crate("x", GOOD).is_empty());
    }

    #[test]
    fn each_missing_line_is_found() {
        for line in GOOD.lines().filter(|line| line.contains("workspace") || line.contains("description")) {
            let complaints = poor_crate("x", &GOOD.replacen(line, "", 1));
            assert_eq!(complaints.len(), 1, "without `{line}`");
        }
        assert_eq!(poor_crate("x", &GOOD.replace("license.workspace = true", "license = \"GPL\"")).len(), 1);
        assert_eq!(poor_crate("x", &GOOD.replace("[lints]", "[dependencies.y]")).len(), 1);
        assert_eq!(poor_crate("x", &GOOD.replace("What it is for", "")).len(), 1);
    }

    #[test]
    fn a_package_that_could_be_published_is_found() {
        assert!(publishable("x", "[package]\npublish = false\n").is_none());
        assert!(publishable("x", "[package]\n").is_some());
        assert!(publishable("x", "[package]\npublish = true\n").is_some());
        assert!(publishable("x", "[package]\n[other]\npublish = false\n").is_some());
    }
}
