//! A folder for the names of one round.

use std::fs;
use std::path::{Path, PathBuf};

use ipc_tests::campaign::{Flaw, Round};
use ipc_tests::unique_name;

/// Nobody else makes names in it; removed in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let path = std::env::temp_dir().join(unique_name());
        fs::create_dir(&path).expect("a new folder");
        Folder(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// All names must be gone.
    pub(crate) fn judge_empty(&self, round: &mut Round) {
        let left: Vec<_> = names(&self.0);
        if !left.is_empty() {
            round.flaw(Flaw::Left, format!("{left:?} are left"));
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
