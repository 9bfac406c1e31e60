//! The text whose words are counted.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// So much makes a time that can be compared.
const ENOUGH: usize = 64_000_000;

/// Some files, one after the other, with a line break behind each so that no words join; and all that over and over.
pub(crate) struct Input {
    pub(crate) text: Vec<u8>,
    pub(crate) files: usize,
    /// How often each file is in the text.
    pub(crate) times: usize,
    /// How many processes are to count.
    pub(crate) workers: usize,
}

impl Input {
    /// Repeats `texts` until they are enough.
    pub(crate) fn new(texts: &[Vec<u8>]) -> Input {
        let once: usize = texts.iter().map(|text| text.len() + 1).sum();
        let times = ENOUGH.div_ceil(once.max(1));
        let mut text = Vec::with_capacity(once * times);
        for file in std::iter::repeat_n(texts, times).flatten() {
            text.extend_from_slice(file);
            text.push(b'\n');
        }
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Input { text, files: texts.len(), times, workers: cores.max(2) }
    }
}

/// Reads the files that somebody has named.
pub(crate) fn named_files(files: &[PathBuf]) -> io::Result<Vec<Vec<u8>>> {
    let read = |file: &PathBuf| {
        let explain = |error| {
            io::Error::other(format!("{} is neither a mechanism nor a file that can be read: {error}", file.display()))
        };
        fs::read(file).map_err(explain)
    };
    files.iter().map(read).collect()
}

/// Reads all text files of the repository that this program belongs to.
pub(crate) fn own_files() -> io::Result<Vec<Vec<u8>>> {
    // Cargo tells a program that it runs where the package is. One that is started otherwise looks around where it is.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let repository = package.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
    let mut texts = Vec::new();
    read_all(repository, &mut texts)?;
    if texts.is_empty() {
        return Err(io::Error::other(format!("there is no text in the directory {}", repository.display())));
    }
    Ok(texts)
}

/// Reads all text files below `directory`, but not what Git and Cargo keep there.
fn read_all(directory: &Path, texts: &mut Vec<Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (name, path, kind) = (entry.file_name(), entry.path(), entry.file_type()?);
        if kind.is_dir() && name != ".git" && name != "target" && !path.join("CACHEDIR.TAG").exists() {
            read_all(&path, texts)?;
        } else if kind.is_file() {
            match read_text(&path) {
                Ok(text) => texts.extend(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // it was there for a moment only
                Err(error) => return Err(io::Error::other(format!("cannot read {}: {error}", path.display()))),
            }
        }
    }
    Ok(())
}

/// Reads a file if it is text: if, as Git sees it, no zero byte is near its start.
fn read_text(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = File::open(path)?;
    let mut text = Vec::new();
    file.by_ref().take(8000).read_to_end(&mut text)?;
    if text.contains(&0) {
        return Ok(None);
    }
    file.read_to_end(&mut text)?;
    Ok(Some(text))
}
