//! What `cargo metadata` says about this workspace.

use std::env;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process;

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

pub(crate) struct Package {
    pub(crate) name: String,
    /// Where its Cargo.toml is.
    pub(crate) folder: PathBuf,
    pub(crate) rust_version: Option<String>,
    pub(crate) targets: Vec<Target>,
}

pub(crate) struct Target {
    pub(crate) name: String,
    /// `lib`, `bin`, `example`, `test` …
    pub(crate) kind: String,
    /// Its root file lies outside its package, so that it is another package's, too.
    borrowed: bool,
}

impl Workspace {
    pub(crate) fn load() -> Result<Workspace, String> {
        parse(&metadata()?).ok_or_else(|| "`cargo metadata` has changed its format".to_owned())
    }

    /// The packages under `crates/`, the ones that are published.
    pub(crate) fn crates(&self) -> impl Iterator<Item = &Package> {
        let folder = self.root.join("crates");
        self.packages.iter().filter(move |package| package.folder.starts_with(&folder))
    }

    /// The example targets of a package, sorted.
    pub(crate) fn examples(&self, package: &str) -> Vec<&str> {
        let package = self.packages.iter().filter(|candidate| candidate.name == package);
        let examples = package.flat_map(|package| &package.targets).filter(|target| target.kind == "example");
        let mut names: Vec<_> = examples.map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Flags that leave out the packages whose sources are another package's, which is where these are checked. Such a
    /// package says `test = false` and `doctest = false`, but `--all-targets` and `--doc` include it all the same.
    pub(crate) fn exclude_borrowers(&self) -> Vec<&str> {
        let borrows = |package: &&Package| package.targets.iter().all(|target| target.borrowed);
        self.packages.iter().filter(borrows).flat_map(|package| ["--exclude", &package.name]).collect()
    }

    /// The cargo that runs us, at the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        // The output is read by us, and printed later where colours may not be wanted.
        command.current_dir(&self.root).env("CARGO_TERM_COLOR", "never");
        command
    }
}

/// All that cargo says about the packages of this workspace.
pub(crate) fn metadata() -> Result<Value, String> {
    let mut command = cargo();
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["metadata", "--format-version", "1", "--no-deps"]);
    let text = process::answer(&mut command).ok_or("`cargo metadata` fails: is every Cargo.toml correct?")?;
    serde_json::from_str(&text).map_err(|error| format!("`cargo metadata` prints no JSON: {error}"))
}

/// Removes what `cargo run` tells a program about itself: it would be wrong for the programs started by this one.
pub(crate) fn forget_cargo_run(command: &mut Command) {
    const PREFIXES: [&str; 5] =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];
    for (name, _) in env::vars_os() {
        if PREFIXES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}

/// The cargo that runs us, as a user would call it.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_cargo_run(&mut command);
    command
}

fn parse(metadata: &Value) -> Option<Workspace> {
    Some(Workspace {
        root: metadata["workspace_root"].as_str()?.into(),
        target: metadata["target_directory"].as_str()?.into(),
        packages: metadata["packages"].as_array()?.iter().map(parse_package).collect::<Option<_>>()?,
    })
}

fn parse_package(package: &Value) -> Option<Package> {
    Some(Package {
        name: package["name"].as_str()?.to_owned(),
        folder: Path::new(package["manifest_path"].as_str()?).parent()?.to_owned(),
        rust_version: package["rust_version"].as_str().map(str::to_owned),
        targets: package["targets"].as_array()?.iter().map(parse_target).collect::<Option<_>>()?,
    })
}

fn parse_target(target: &Value) -> Option<Target> {
    // Cargo leaves the `..` in a path that a Cargo.toml gives.
    let borrowed = Path::new(target["src_path"].as_str()?).components().any(|part| part == Component::ParentDir);
    Some(Target { name: target["name"].as_str()?.to_owned(), kind: target["kind"][0].as_str()?.to_owned(), borrowed })
}

#[cfg(test)]
mod tests {
    use super::{Workspace, forget_cargo_run, parse};
    use std::process::Command;

    const METADATA: &str = r#"{
        "workspace_root": "/w", "target_directory": "/t",
        "packages": [
            { "name": "one", "manifest_path": "/w/crates/one/Cargo.toml", "rust_version": "1.85",
              "targets": [{ "name": "one", "kind": ["lib"], "src_path": "/w/crates/one/src/lib.rs" }] },
            { "name": "copy", "manifest_path": "/w/tests/copy/Cargo.toml", "rust_version": "1.85",
              "targets": [{ "name": "copy", "kind": ["lib"], "src_path": "/w/tests/copy/../../crates/one/src/lib.rs" }] },
            { "name": "shows", "manifest_path": "/w/examples/Cargo.toml", "rust_version": null,
              "targets": [{ "name": "shows", "kind": ["lib"], "src_path": "/w/examples/lib.rs" },
                          { "name": "b", "kind": ["example"], "src_path": "/w/examples/../b.rs" },
                          { "name": "a", "kind": ["example"], "src_path": "/w/examples/a.rs" }] }
        ] }"#;

    fn json(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn crates_and_examples_are_found() {
        let workspace = parse(&json(METADATA)).unwrap();
        let crates: Vec<_> = workspace.crates().map(|package| package.name.as_str()).collect();
        assert_eq!(crates, ["one"]);
        assert_eq!(workspace.examples("shows"), ["a", "b"]);
        assert!(workspace.examples("nobody").is_empty());
    }

    #[test]
    fn only_packages_without_sources_of_their_own_are_left_out() {
        assert_eq!(parse(&json(METADATA)).unwrap().exclude_borrowers(), ["--exclude", "copy"]);
    }

    #[test]
    fn missing_parts_are_an_error() {
        assert!(parse(&json(&METADATA.replace("target_directory", "x"))).is_none());
        assert!(parse(&json(&METADATA.replace("kind", "x"))).is_none());
    }

    #[test]
    fn the_real_workspace_is_understood() {
        let workspace = Workspace::load().unwrap();
        assert!(workspace.crates().any(|package| package.name == "ipc-core"));
        assert!(workspace.crates().all(|package| package.rust_version.is_some()));
    }

    #[test]
    fn children_do_not_learn_our_package() {
        let mut command = Command::new("true");
        forget_cargo_run(&mut command);
        let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        // Set by cargo when it runs these tests.
        assert!(removed.iter().any(|name| *name == "CARGO_MANIFEST_DIR"), "{removed:?}");
        assert!(!removed.iter().any(|name| *name == "CARGO_HOME"));
    }
}
