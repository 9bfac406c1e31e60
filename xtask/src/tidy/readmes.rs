//! What is packed with each crate: a README that begins as its documentation does, and the licence.

use std::fs;

use super::{assert_tidy, packages, root};

#[test]
fn crates_come_with_their_first_page_and_the_licence() {
    let license = fs::read_to_string(root().join("LICENSE")).unwrap_or_default();
    let packages = packages();
    let crates = packages.iter().filter(|package| package.is_crate());
    let complaints = crates.flat_map(|package| {
        let text = |file: &str| fs::read_to_string(root().join(&package.folder).join(file)).unwrap_or_default();
        let mut complaints = Vec::from_iter(another_opening(&package.name, &text("README.md"), &text("src/lib.rs")));
        complaints.extend(another_license(&package.name, &text("LICENSE"), &license));
        complaints
    });
    assert_tidy(&complaints.collect::<Vec<_>>());
}

fn another_opening(name: &str, readme: &str, lib: &str) -> Option<String> {
    let opening = opening(name, lib);
    let complaint = || format!("{name}: let its README.md begin as its src/lib.rs does:\n\n{opening}");
    (!readme.starts_with(&opening)).then(complaint)
}

fn another_license(name: &str, text: &str, license: &str) -> Option<String> {
    let complaint =
        || format!("{name}: put the licence into its package by `ln -s ../../LICENSE crates/{name}/LICENSE`");
    (text != license).then(complaint)
}

/// The first paragraph of a crate's documentation and its first program, as Markdown that shows what rustdoc does.
fn opening(name: &str, lib: &str) -> String {
    let mut lines =
        lib.lines().map_while(|line| line.strip_prefix("//!")).map(|line| line.strip_prefix(' ').unwrap_or(line));
    let paragraph: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let program = lines.skip_while(|line| *line != "```").skip(1).take_while(|line| *line != "```");
    let program: Vec<&str> = program.filter(|line| *line != "#" && !line.starts_with("# ")).collect();
    format!("# {name}\n\n{}\n\n```rust\n{}\n```\n", paragraph.join("\n"), program.join("\n").trim())
}

#[cfg(test)]
mod tests {
    use super::{another_license, another_opening, opening};

    const LIB: &str = "\
//! What it is:
//! short.
//!
//! ```
//! use x::f;
//!
//! # fn main() {
//! f();
//! # }
//! ```
//!
//! More of it.
mod f;
";
    const OPENING: &str = "# x\n\nWhat it is:\nshort.\n\n```rust\nuse x::f;\n\nf();\n```\n";

    #[test]
    fn a_readme_begins_as_the_documentation_does() {
        assert_eq!(opening("x", LIB), OPENING);
        assert!(another_opening("x", &format!("{OPENING}\nMore.\n"), LIB).is_none());
        let complaint = another_opening("x", &OPENING.replace("f()", "g()"), LIB).unwrap();
        assert!(complaint.starts_with("x: ") && complaint.contains(OPENING), "{complaint}");
        assert!(another_opening("x", "", LIB).is_some());
    }

    #[test]
    fn a_missing_licence_is_found() {
        assert!(another_license("x", "MIT", "MIT").is_none());
        assert!(another_license("x", "", "MIT").is_some());
    }
}
