//! The rules of this house, as tests.
//!
//! Each rule is a function over names and text that returns its complaints, with one test that applies it to the
//! workspace and one that shows it complain. A complaint says what to do.

mod arrows;
mod book;
mod documents;
mod manifests;
mod readmes;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A package as the rules see it.
struct Package {
    name: String,
    /// Below the workspace's root.
    folder: PathBuf,
    /// Its Cargo.toml.
    manifest: String,
    /// What it needs to build; not what only its tests need.
    dependencies: Vec<String>,
    /// The root files of its libraries and programs.
    roots: Vec<PathBuf>,
}

impl Package {
    /// Whether other people can depend on it.
    fn is_crate(&self) -> bool {
        self.folder.starts_with("crates")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

fn packages() -> Vec<Package> {
    let metadata = crate::workspace::metadata().expect("cargo metadata works");
    metadata["packages"].as_array().expect("a list of packages").iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root()).ok()).expect("inside the workspace");
    let dependencies = value["dependencies"].as_array().expect("a list of dependencies").iter();
    let targets = value["targets"].as_array().expect("a list of targets").iter();
    Package {
        name: text(&value["name"]),
        folder: folder.to_owned(),
        manifest: fs::read_to_string(&manifest).expect("a readable Cargo.toml"),
        dependencies: dependencies.filter(|value| value["kind"] != "dev").map(|value| text(&value["name"])).collect(),
        roots: targets
            .filter(|value| value["kind"][0] == "lib" || value["kind"][0] == "bin")
            .map(|value| text(&value["src_path"]).into())
            .collect(),
    }
}

/// Fails with the complaints, if there are any.
fn assert_tidy(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n\n{}\n", complaints.join("\n"));
}
