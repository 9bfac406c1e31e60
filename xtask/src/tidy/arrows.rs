//! Who may depend on whom.

use std::fs;

use super::{assert_tidy, packages, root};

/// The picture of the architecture, as text and drawn: who depends on whom. A crate in it may also name `ipc-core` itself, as all of them
/// stand on it.
const SOURCE: &str = "book/src/architecture.dot";
const PICTURE: &str = "book/src/architecture.svg";

/// From one crate to another one.
type Arrow<'a> = (&'a str, &'a str);

/// Libraries that were chosen for this project: the crate that uses each, and the crate whose existence asks for it.
const LIBRARIES: [(&str, &str, &str); 7] = [
    ("nix", "ipc-core", "ipc-core"),
    ("libc", "ipc-core", "ipc-core"),
    ("serde", "ipc-core", "ipc-core"),
    ("postcard", "ipc-core", "ipc-core"),
    // Named segments are made in ipc-core, but nothing needs them before ipc-shm.
    ("shared_memory", "ipc-core", "ipc-shm"),
    ("interprocess", "ipc-socket", "ipc-socket"),
    ("parking_lot", "ipc-manager", "ipc-manager"),
];

/// A package and what it needs to build.
type Needs<'a> = (&'a str, &'a [String]);

#[test]
fn crates_depend_only_along_the_drawn_arrows() {
    let packages = packages();
    let ours: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
    let crates = packages.iter().filter(|package| package.is_crate());
    let crates: Vec<Needs> = crates.map(|package| (package.name.as_str(), &package.dependencies[..])).collect();
    let source = fs::read_to_string(root().join(SOURCE)).expect("the picture's source can be read");
    assert_tidy(&undrawn(&arrows(&source), &crates, &ours));
}

#[test]
fn the_picture_is_that_of_its_source() {
    let text = |name| fs::read_to_string(root().join(name)).unwrap_or_default();
    assert_tidy(&outdated(&text(SOURCE), &text(PICTURE)));
}

#[test]
fn chosen_libraries_are_used_where_they_belong() {
    let packages = packages();
    let all: Vec<Needs> = packages.iter().map(|package| (package.name.as_str(), &package.dependencies[..])).collect();
    assert_tidy(&unused(&all));
}

/// All arrows of the picture.
fn arrows(source: &str) -> Vec<Arrow<'_>> {
    let statements = source.lines().filter_map(|line| line.split_once(" -> "));
    statements.filter_map(|(from, to)| Some((from.split('"').nth(1)?, to.split('"').nth(1)?))).collect()
}

/// What the source says and the picture does not show: each arrow, and each line of text.
fn outdated(source: &str, picture: &str) -> Vec<String> {
    let plain = picture.replace("&#45;", "-").replace("&gt;", ">").replace("&#39;", "'");
    let arrows = arrows(source).into_iter().map(|(from, to)| format!("<title>{from}->{to}</title>"));
    let labels = source.lines().filter(|line| line.contains("label=<"));
    let texts = labels.flat_map(|label| label.split('<').filter_map(|piece| piece.split('>').nth(1)));
    let texts = texts.filter(|text| !text.is_empty()).map(|text| format!(">{text}</text>"));
    let missing = arrows.chain(texts).filter(|shown| !plain.contains(shown.as_str()));
    missing
        .map(|shown| format!("{PICTURE} does not show {shown}: draw it anew, as the first lines of {SOURCE} tell"))
        .collect()
}

fn undrawn(arrows: &[Arrow], crates: &[Needs], ours: &[&str]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (from, needs) in crates {
        let known = arrows.iter().any(|(drawn, _)| drawn == from);
        for to in needs.iter().filter(|to| ours.contains(&to.as_str())) {
            let drawn = arrows.contains(&(*from, to.as_str())) || known && to == "ipc-core";
            if !drawn {
                complaints.push(format!(
                    "{from} depends on {to}, which is no drawn arrow: do without it, make it a dev-dependency, or draw \
                     it in {SOURCE}, and give its reason in ARCHITECTURE.md"
                ));
            }
        }
    }
    complaints
}

fn unused(packages: &[Needs]) -> Vec<String> {
    let needs = |name: &str| packages.iter().find(|(package, _)| *package == name).map(|(_, needs)| needs);
    let missing = LIBRARIES.iter().filter(|(library, user, once)| {
        needs(once).is_some() && !needs(user).is_some_and(|needs| needs.iter().any(|need| need == library))
    });
    missing
        .map(|(library, user, once)| {
            format!("{user} does without {library}: as {once} exists, use it there and add it to that Cargo.toml")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{arrows, outdated, undrawn, unused};

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn an_undrawn_arrow_is_found() {
        let ours = ["ipc-core", "ipc-sync", "ipc-queue", "ipc-shm", "ipc-new", "ipc-tests"];
        let drawn = [("ipc-core", "Linux"), ("ipc-queue", "ipc-sync"), ("ipc-shm", "ipc-sync")];
        let complaints = |from, needs: &str| undrawn(&drawn, &[(from, &names(needs))], &ours).len();
        assert_eq!(complaints("ipc-queue", "ipc-sync ipc-core nix"), 0);
        assert_eq!(complaints("ipc-queue", "ipc-sync ipc-shm"), 1);
        assert_eq!(complaints("ipc-core", "ipc-sync"), 1);
        assert_eq!(complaints("ipc-core", "ipc-tests"), 1);
        // A crate that nobody has drawn has no arrows at all.
        assert_eq!(complaints("ipc-new", "ipc-core"), 1);
    }

    #[test]
    fn an_outdated_picture_is_found() {
        let source = "\"a-b\" [label=<<b>a-b</b><br/>two words>, color=\"x\"]\n    \"a-b\" -> \"c\" [dir=none]\n";
        assert_eq!(arrows(source), [("a-b", "c")]);
        let picture = "<title>a&#45;b&#45;&gt;c</title><text x=\"1\">a&#45;b</text><text>two words</text>";
        assert!(outdated(source, picture).is_empty());
        assert_eq!(outdated(source, &picture.replace("two", "three")).len(), 1);
        assert_eq!(outdated(source, &picture.replace("&gt;c", "&gt;d")).len(), 1);
        assert_eq!(outdated(source, "").len(), 3);
    }

    #[test]
    fn a_missing_library_is_found() {
        let core = names("nix libc serde postcard");
        assert!(unused(&[("ipc-core", &core)]).is_empty());
        assert_eq!(unused(&[("ipc-core", &names("nix libc serde"))]).len(), 1);
        // shared_memory is missing in one crate as soon as another one exists.
        assert_eq!(unused(&[("ipc-core", &core), ("ipc-shm", &[])]).len(), 1);
        assert_eq!(unused(&[("ipc-core", &core), ("ipc-manager", &names("parking_lot"))]).len(), 0);
        assert_eq!(unused(&[("ipc-core", &core), ("ipc-manager", &names("ipc-core"))]).len(), 1);
    }
}
