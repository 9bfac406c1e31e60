//! Who may depend on whom.

use super::{assert_tidy, packages};

/// The arrows between our crates, as drawn in ARCHITECTURE.md. A crate in this table may also name `ipc-core` itself:
/// all of them stand on it.
const ARROWS: [(&str, &str); 9] = [
    ("ipc-pipe", "ipc-core"),
    ("ipc-fifo", "ipc-core"),
    ("ipc-pickle", "ipc-core"),
    ("ipc-socket", "ipc-core"),
    ("ipc-manager", "ipc-socket"),
    ("ipc-sync", "ipc-core"),
    ("ipc-shm", "ipc-sync"),
    ("ipc-queue", "ipc-sync"),
    ("ipc-csp", "ipc-sync"),
];

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
    assert_tidy(&undrawn(&crates, &ours));
}

#[test]
fn chosen_libraries_are_used_where_they_belong() {
    let packages = packages();
    let all: Vec<Needs> = packages.iter().map(|package| (package.name.as_str(), &package.dependencies[..])).collect();
    assert_tidy(&unused(&all));
}

fn undrawn(crates: &[Needs], ours: &[&str]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (from, needs) in crates {
        let known = ARROWS.iter().any(|(drawn, _)| drawn == from);
        for to in needs.iter().filter(|to| ours.contains(&to.as_str())) {
            let drawn = ARROWS.contains(&(from, to)) || known && to == "ipc-core";
            if !drawn {
                complaints.push(format!(
                    "{from} depends on {to}, which is no drawn arrow: do without it, make it a dev-dependency, or draw \
                     it in ARCHITECTURE.md with its reason and in ARROWS of xtask/src/tidy/arrows.rs"
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
    use super::{undrawn, unused};

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn an_undrawn_arrow_is_found() {
        let ours = ["ipc-core", "ipc-sync", "ipc-queue", "ipc-shm", "ipc-new", "ipc-tests"];
        let complaints = |from, needs: &str| undrawn(&[(from, &names(needs))], &ours).len();
        assert_eq!(complaints("ipc-queue", "ipc-sync ipc-core nix"), 0);
        assert_eq!(complaints("ipc-queue", "ipc-sync ipc-shm"), 1);
        assert_eq!(complaints("ipc-core", "ipc-sync"), 1);
        assert_eq!(complaints("ipc-core", "ipc-tests"), 1);
        // A crate that nobody has drawn has no arrows at all.
        assert_eq!(complaints("ipc-new", "ipc-core"), 1);
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
