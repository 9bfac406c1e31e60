//! The text whose words are counted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// So much makes a time that can be compared.
const ENOUGH: usize = 64_000_000;

/// Some files, one after the other, over and over.
pub(crate) struct Input {
    pub(crate) text: Vec<u8>,
    pub(crate) files: usize,
    /// How often each file is in the text.
    pub(crate) times: u64,
    /// How many processes are to count.
    pub(crate) workers: usize,
}

impl Input {
    /// Reads `files`, and repeats what is in them until it is enough.
    pub(crate) fn read(files: &[PathBuf]) -> io::Result<Input> {
        let mut once = Vec::new();
        for file in files {
            let text = fs::read(file).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?;
            once.extend_from_slice(&text);
            once.push(b'\n'); // words of two files do not join
        }
        let times = if once.is_empty() { 1 } else { ENOUGH.div_ceil(once.len()) };
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Input { text: once.repeat(times), files: files.len(), times: times as u64, workers: cores.max(2) })
    }
}

/// The text files of the repository that this program belongs to.
pub(crate) fn own_files() -> io::Result<Vec<PathBuf>> {
    // Cargo tells a program that it runs where the package is. One that is started otherwise looks around where it is.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let repository = package.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
    text_files(repository)
}

/// All text files below `directory`, sorted; not what Git and Cargo keep there.
pub(crate) fn text_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        let skipped =
            entry.file_name() == ".git" || entry.file_name() == "target" || path.join("CACHEDIR.TAG").exists();
        if kind.is_dir() && !skipped {
            found.extend(text_files(&path)?);
        } else if kind.is_file() && is_text(&path)? {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether there is no zero byte, which is also how Git tells.
fn is_text(file: &Path) -> io::Result<bool> {
    Ok(!fs::read(file)?.contains(&0))
}
