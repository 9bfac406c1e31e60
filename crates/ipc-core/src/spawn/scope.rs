//! Processes that end before a block does.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::Builder;
use super::process::{JoinError, Process, Shared};
use super::running::lock;
use crate::Result;

/// Starts the processes of a [`scope`].
///
/// What fails in a scope is not lost, also if nobody joins it:
///
/// ```
/// use ipc_core::{Builder, JoinError, Scope};
///
/// let ended = ipc_core::scope(|scope: &Scope| {
///     let builder = Builder::new().name("helper");
///     scope.spawn_with(builder, |()| -> () { panic!("out of luck") }, ()).map(drop)
/// });
/// assert!(matches!(ended, Err(JoinError::Panicked { message, .. }) if message == "out of luck"));
/// ```
#[derive(Debug, Default)]
pub struct Scope {
    started: Mutex<Vec<Arc<Shared>>>,
}

/// Runs `f`, then waits for all processes that it started in the scope, also if it panics.
///
/// Processes that were [joined](Process::join) have told how they ended; if one of the others did not return from its function,
/// its error is returned in place of what `f` returned.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sum = ipc_core::scope(|scope| -> Result<u64, Box<dyn std::error::Error>> {
///     let low = scope.spawn(|n: u64| (1..=n).sum::<u64>(), 10)?;
///     let high = scope.spawn(|n: u64| (11..=n).sum::<u64>(), 20)?;
///     scope.spawn(|()| println!("nobody joins me"), ())?;
///     Ok(low.join()? + high.join()?)
/// })??;
/// assert_eq!(sum, 210);
/// # Ok(()) }
/// ```
///
/// # Errors
/// How the first process failed that was not joined.
///
/// # References
/// [`std::thread::scope`], for processes.
pub fn scope<T>(f: impl FnOnce(&Scope) -> T) -> Result<T, JoinError> {
    let scope = Scope::default();
    let result = panic::catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let mut failed = Ok(());
    loop {
        // One by one, as a thread that `f` started may still start another.
        let Some(process) = lock(&scope.started).pop() else { break };
        failed = process.outcome().and(failed);
    }
    match result {
        Ok(value) => failed.map(|()| value),
        Err(payload) => panic::resume_unwind(payload),
    }
}

impl Scope {
    /// Starts a process that calls `f(args)`; see [`Process::spawn`]. Dropping what this returns changes nothing: the scope waits.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn<F, A, R>(&self, f: F, args: A) -> Result<Process<R>>
    where
        F: FnOnce(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.spawn_with(Builder::new(), f, args)
    }

    /// As [`spawn`](Scope::spawn), as `builder` says.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn_with<F, A, R>(&self, builder: Builder, f: F, args: A) -> Result<Process<R>>
    where
        F: FnOnce(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let shared = builder.start(f, args, true)?;
        lock(&self.started).push(Arc::clone(&shared));
        Ok(Process::new(shared))
    }
}
