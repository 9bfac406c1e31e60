//! FIFOs whose names are removed in any case.

use std::path::Path;

use ipc_core::NameScope;

use crate::error::Result;
use crate::fifo::Fifo;
use crate::name::{Claim, check_path, release};

/// Removes the names of the FIFOs that were made in it: when it is dropped, and as well when the process is killed.
///
/// ```
/// use ipc_fifo::{Fifo, Scope};
///
/// # fn main() -> ipc_fifo::Result<()> {
/// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-scope-{}", std::process::id()));
/// let mut scope = Scope::new()?;
/// let fifo = scope.create(&path, 0o600)?;
/// assert!(path.exists());
/// drop(scope);
/// assert!(!path.exists());
/// # Ok(()) }
/// ```
///
/// A small watcher process sees to that, of this same program. It is in a session of its own, so that Ctrl-C does not end it together
/// with this process. Whoever has an end of such a FIFO open keeps it; only the name goes. A name that was
/// [given up](Fifo::persist) stays, and so does one that another process has taken over.
#[derive(Debug)]
pub struct Scope {
    /// Of the FIFOs that were made here. First: what this process owns the watcher leaves alone.
    claims: Claims,
    names: NameScope,
}

/// Ends with them.
#[derive(Debug, Default)]
struct Claims(Vec<Claim>);

impl Drop for Claims {
    fn drop(&mut self) {
        self.0.iter().filter_map(release).for_each(|owned| owned.remove());
    }
}

impl Scope {
    /// Starts the watcher: about as long as it takes to start a process.
    ///
    /// # Errors
    /// As [`Process::spawn`](ipc_core::Process::spawn).
    pub fn new() -> Result<Scope> {
        Ok(Scope { claims: Claims::default(), names: NameScope::new()? })
    }

    /// As [`Fifo::create`]; the name is removed with the scope.
    ///
    /// # Errors
    /// As [`Fifo::create`]; [`Error::Forked`](crate::Error::Forked), and if the watcher was killed, or is stopped.
    pub fn create(&mut self, path: impl AsRef<Path>, mode: u32) -> Result<Fifo> {
        let path = check_path(path.as_ref())?;
        self.names.announce(&path)?; // before it is there: whoever is killed next leaves it to the watcher
        let fifo = Fifo::create(&path, mode)?;
        self.claims.0.extend(fifo.claim());
        Ok(fifo)
    }
}
