//! The pages that a newcomer reads first.

use std::fs;

use super::{assert_tidy, packages, root};

/// What has to be at the root, and what for.
const DOCUMENTS: [(&str, &str); 4] = [
    ("README.md", "says what this is, with one example and the table of crates"),
    ("ARCHITECTURE.md", "says how it is built, what must hold, and what is deliberately absent"),
    ("CHANGELOG.md", "says what has changed for users"),
    ("LICENSE", "says what others may do with it"),
];

#[test]
fn documents_are_there() {
    let text = |name| fs::read_to_string(root().join(name)).unwrap_or_default();
    assert_tidy(&DOCUMENTS.iter().filter_map(|(name, about)| missing(name, about, &text(name))).collect::<Vec<_>>());
}

#[test]
fn every_crate_is_introduced() {
    let text = |name| fs::read_to_string(root().join(name)).unwrap_or_default();
    let (readme, architecture) = (text("README.md"), text("ARCHITECTURE.md"));
    let packages = packages();
    let crates = packages.iter().filter(|package| package.is_crate());
    assert_tidy(&crates.flat_map(|package| unknown(&package.name, &readme, &architecture)).collect::<Vec<_>>());
}

fn missing(name: &str, about: &str, text: &str) -> Option<String> {
    text.trim().is_empty().then(|| format!("{name} is missing or empty: write it, it {about}"))
}

fn unknown(name: &str, readme: &str, architecture: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let code = format!("`{name}`");
    if !readme.lines().any(|line| line.starts_with('|') && line.contains(&code)) {
        complaints.push(format!("{name} is not in README.md: give it a row in the table of crates"));
    }
    let is_part_of_name = |character: char| character.is_alphanumeric() || character == '-';
    if !architecture.split(|character| !is_part_of_name(character)).any(|word| word == name) {
        complaints.push(format!("{name} is not in ARCHITECTURE.md: give it a place in the code map"));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{missing, unknown};

    #[test]
    fn a_missing_document_is_found() {
        assert!(missing("A.md", "says", "# A\n").is_none());
        assert_eq!(missing("A.md", "says it", "\n").unwrap(), "A.md is missing or empty: write it, it says it");
    }

    #[test]
    fn a_crate_that_is_not_introduced_is_found() {
        let readme = "`ipc-late` comes later\n| crate | what |\n|---|---|\n| [`ipc-one`](crates/ipc-one) | one |\n";
        let map = "ipc-one   the first\n └─ ipc-late-too   not the other\n";
        assert!(unknown("ipc-one", readme, map).is_empty());
        assert_eq!(unknown("ipc-late", readme, map).len(), 2);
        assert_eq!(unknown("ipc-one", "", map).len(), 1);
        assert_eq!(unknown("ipc-one", readme, "").len(), 1);
    }
}
