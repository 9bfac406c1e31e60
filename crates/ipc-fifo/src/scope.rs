//! FIFOs whose names are removed in any case.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use ipc_core::{Deadline, NameScope};

use crate::error::Result;
use crate::fifo::Fifo;
use crate::name::{Claim, PATIENCE, check_path, is_marked, release};

/// From how many names on a scope forgets those that are settled.
const ENOUGH: usize = 64;

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
    /// How many names there may be before it is looked which of them are settled.
    enough: usize,
}

/// Where they are. Ends with them.
#[derive(Debug, Default)]
struct Claims(Vec<(PathBuf, Claim)>);

impl Drop for Claims {
    fn drop(&mut self) {
        // One time for all: their folder may be locked by a process that is stopped.
        let deadline = Deadline::after(PATIENCE);
        self.0.iter().filter_map(|(_, claim)| release(claim)).for_each(|owned| owned.remove(deadline));
    }
}

/// Whether there is nothing left to be done for a name: its FIFO was dropped, to the end of the drop, and has not left it behind. One that
/// somebody else has by now is still looked at in the end.
fn is_settled((path, claim): &mut (PathBuf, Claim)) -> bool {
    let is_dropped =
        Arc::get_mut(claim).is_some_and(|owned| owned.get_mut().unwrap_or_else(PoisonError::into_inner).is_none());
    is_dropped && !is_marked(path)
}

impl Scope {
    /// Starts the watcher: about as long as it takes to start a process.
    ///
    /// # Errors
    /// As [`Process::spawn`](ipc_core::Process::spawn).
    pub fn new() -> Result<Scope> {
        Ok(Scope { claims: Claims::default(), names: NameScope::new()?, enough: ENOUGH })
    }

    /// As [`Fifo::create`]; the name is removed with the scope.
    ///
    /// After a kill the name is gone, though nobody was there to remove it:
    ///
    /// ```
    /// use ipc_fifo::{Builder, Scope};
    /// use std::{path::PathBuf, time::{Duration, Instant}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-killed-{}", std::process::id()));
    /// let dies = |path: PathBuf| -> () {
    ///     let mut scope = Scope::new().unwrap();
    ///     let _fifo = scope.create(path, 0o600).unwrap();
    ///     std::process::abort()
    /// };
    /// Builder::new().core_dumps(false).spawn(dies, path.clone())?.join().unwrap_err();
    /// let begin = Instant::now();
    /// while path.exists() && begin.elapsed() < Duration::from_secs(10) {
    ///     std::thread::yield_now(); // until the watcher has come to it
    /// }
    /// assert!(!path.exists());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Fifo::create`]; [`Error::Forked`](crate::Error::Forked), and if the watcher was killed, or is stopped.
    pub fn create(&mut self, path: impl AsRef<Path>, mode: u32) -> Result<Fifo> {
        let path = check_path(path.as_ref())?;
        self.settle()?;
        self.names.announce(&path)?; // before it is there: whoever is killed next leaves it to the watcher
        let fifo = Fifo::create(&path, mode)?;
        self.claims.0.extend(fifo.claim().map(|claim| (path, claim)));
        Ok(fifo)
    }

    /// Forgets what is settled, when there may be much of it.
    fn settle(&mut self) -> Result<()> {
        if self.claims.0.len() < self.enough {
            return Ok(());
        }
        let (mut settled, mut rest) = (Vec::new(), Vec::new());
        for mut claim in self.claims.0.drain(..) {
            if is_settled(&mut claim) { settled.push(claim.0) } else { rest.push(claim) }
        }
        self.claims.0 = rest;
        self.enough = ENOUGH.max(2 * self.claims.0.len());
        // The same path may have been announced again, for a FIFO that is there.
        let there: HashSet<&PathBuf> = self.claims.0.iter().map(|(path, _)| path).collect();
        let gone: HashSet<PathBuf> = settled.into_iter().filter(|path| !there.contains(path)).collect();
        gone.iter().try_for_each(|path| self.names.forget(path))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifos_that_were_dropped_are_forgotten_and_the_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut scope = Scope::new().unwrap();
        let kept = folder.path().join("kept");
        let _kept = scope.create(&kept, 0o600).unwrap();
        let again = folder.path().join("again");
        for n in 0..10 * ENOUGH {
            drop(scope.create(folder.path().join(n.to_string()), 0o600).unwrap());
            drop(scope.create(&again, 0o600).unwrap());
        }
        assert!(scope.claims.0.len() <= ENOUGH, "{}", scope.claims.0.len());
        let known = format!("{:?}", scope.names).matches("/again").count();
        assert!(known <= 1, "{known}");
        let fifos = format!("{:?}", scope.names).matches(&*folder.path().to_string_lossy()).count();
        assert!(fifos <= ENOUGH, "{fifos}");
        // One of a path that was used before, and one that has never been dropped.
        let _again = scope.create(&again, 0o600).unwrap();
        (0..2 * ENOUGH).for_each(|n| drop(scope.create(folder.path().join(n.to_string()), 0o600).unwrap()));
        drop(scope);
        assert!(!again.exists() && !kept.exists());
    }
}
