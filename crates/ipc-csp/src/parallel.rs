//! Processes that run at the same time, or one after the other.

use std::fmt;

use ipc_core::{Builder, JoinError, Process};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::net::Net;

/// A process that is not started yet, from [`process`] or [`thread`]; give it to [`parallel`], [`sequence`] or [`spawn`].
///
/// ```
/// use ipc_csp::{Member, parallel, process, thread};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let jobs: Vec<Member<u32>> = vec![process(|n: u32| n + 1, 1), thread(|| 5).name("here")];
/// assert_eq!(parallel(jobs)?, [2, 5]);
/// # Ok(()) }
/// ```
#[must_use = "it does nothing until it is started"]
pub struct Member<R> {
    name: String,
    start: Box<dyn FnOnce() -> Result<Join<R>, MemberError> + Send>,
}

/// Waits for the end of one that was started.
type Join<R> = Box<dyn FnOnce() -> Result<R, MemberError> + Send>;

/// A function that is to run as a process of the operating system; see [`Process::spawn`] as to what `f` and its arguments can be.
///
/// Several arguments are a tuple. Ends of channels among them go to the process: they are dropped here. A process that is killed retires from
/// its channels; whoever [joins](parallel) it gets a [`MemberError`].
///
/// ```
/// use ipc_csp::{process, spawn};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let there = spawn(process(|(text, n): (String, usize)| (std::process::id(), text.repeat(n)), ("ab".into(), 2)))?;
/// let (pid, text) = there.join()?;
/// assert_eq!(text, "abab");
/// assert_ne!(pid, std::process::id());
/// # Ok(()) }
/// ```
pub fn process<F, A, R>(f: F, args: A) -> Member<R>
where
    F: FnOnce(A) -> R + Copy + Send + 'static,
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    process_with(Builder::new(), f, args)
}

/// As [`process`], started as `builder` says.
///
/// ```
/// use ipc_csp::{Builder, process_with, spawn};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = Builder::new().env("LEVEL", "3").core_dumps(false);
/// let level = spawn(process_with(builder, |()| std::env::var("LEVEL").ok(), ()))?.join()?;
/// assert_eq!(level.as_deref(), Some("3"));
/// # Ok(()) }
/// ```
pub fn process_with<F, A, R>(builder: Builder, f: F, args: A) -> Member<R>
where
    F: FnOnce(A) -> R + Copy + Send + 'static,
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    let name = std::any::type_name::<F>().to_owned();
    let start = move || -> Result<Join<R>, MemberError> {
        let process: Process<R> = builder.spawn(f, args).map_err(MemberError::Start)?;
        Ok(Box::new(move || {
            let result = process.join();
            if result.is_err() {
                look_for_the_dead();
            }
            Ok(result?)
        }))
    };
    Member { name, start: Box::new(start) }
}

/// A closure that is to run as a thread of this process: cheaper than a process, and nothing keeps the others safe if it corrupts memory
/// or aborts. It may capture, and its result needs no serde. What it panics with becomes a [`MemberError::Panicked`].
///
/// ```
/// use ipc_csp::{Network, Reader, parallel, process, thread};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let numbers = Network::new()?.channel::<u64>()?;
/// let (writer, values) = (numbers.writer()?, vec![3, 4, 5]);
/// let (written, sum) = parallel((
///     thread(move || values.into_iter().take_while(|n| writer.write(*n).is_ok()).count()),
///     process(|from: Reader<u64>| from.iter().sum::<u64>(), numbers.reader()?),
/// ))?;
/// assert_eq!((written, sum), (3, 12));
/// # Ok(()) }
/// ```
pub fn thread<F, R>(f: F) -> Member<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let name = std::any::type_name::<F>().to_owned();
    let start = move || -> Result<Join<R>, MemberError> {
        let handle = std::thread::Builder::new().spawn(f).map_err(MemberError::Thread)?;
        Ok(Box::new(move || handle.join().map_err(|payload| MemberError::Panicked(message_of(&*payload)))))
    };
    Member { name, start: Box::new(start) }
}

fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a value that is no text".into())
}

impl<R> Member<R> {
    /// Its name in errors; unless set, that of the function.
    pub fn name(mut self, name: impl Into<String>) -> Member<R> {
        self.name = name.into();
        self
    }
}

impl<R> fmt::Debug for Member<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A process that was started by [`spawn`]. Dropped, it goes on by itself.
///
/// ```
/// use ipc_csp::{Network, Reader, process, spawn};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let numbers = Network::new()?.channel::<u64>()?;
/// let summing = spawn(process(|from: Reader<u64>| from.iter().sum::<u64>(), numbers.reader()?))?;
/// let writer = numbers.writer()?;
/// writer.write(2)?; // this process goes on
/// writer.write(3)?;
/// writer.retire();
/// assert_eq!(summing.join()?, 5);
/// # Ok(()) }
/// ```
#[must_use = "dropped, it goes on by itself: its result is lost"]
pub struct Spawned<R> {
    name: String,
    join: Join<R>,
}

impl<R> fmt::Debug for Spawned<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawned").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a member has no result.
///
/// ```
/// use ipc_csp::{JoinError, MemberError, process, spawn, thread};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let leaving = spawn(process(|()| -> u32 { std::process::exit(3) }, ()))?;
/// assert!(matches!(leaving.join(), Err(MemberError::Process(JoinError::Exited { code: 3 }))));
/// let failing = spawn(thread(|| -> u32 { std::panic::resume_unwind(Box::new("no data")) }))?;
/// assert!(matches!(failing.join(), Err(MemberError::Panicked(text)) if text == "no data"));
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The process could not be started.
    #[error("it could not be started")]
    Start(#[source] ipc_core::Error),
    /// The thread could not be started.
    #[error("its thread could not be started")]
    Thread(#[source] std::io::Error),
    /// It panicked, as a process: or was killed, or has exited.
    #[error(transparent)]
    Process(#[from] JoinError),
    /// It panicked, as a thread.
    #[error("it panicked: {0}")]
    Panicked(String),
}

/// Those members that failed; the others have ended, too.
///
/// ```
/// use ipc_csp::{parallel, process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let exit = |()| -> u32 { std::process::exit(3) };
/// let failures = parallel((process(|()| 7, ()), process(exit, ()).name("worker"))).expect_err("one of them exits");
/// assert_eq!(failures.each().len(), 1);
/// assert!(failures.to_string().starts_with("member 1 (worker): the process exited with code 3"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Failures(Vec<Failure>);

/// How one member failed.
///
/// ```
/// use ipc_csp::{MemberError, parallel, replicate, thread};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let halves = |n: usize| if n % 2 == 0 { n / 2 } else { std::panic::resume_unwind(Box::new("odd")) };
/// let failures = parallel(replicate(4, |n| thread(move || halves(n)))).expect_err("some are odd");
/// let odd: Vec<usize> = failures.each().iter().map(|failure| failure.index).collect();
/// assert_eq!(odd, [1, 3]);
/// assert!(matches!(&failures.each()[0].error, MemberError::Panicked(text) if text == "odd"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Failure {
    /// Its place among the members, from 0.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// What happened.
    pub error: MemberError,
}

impl Failures {
    /// All of them, in the order of the members.
    pub fn each(&self) -> &[Failure] {
        &self.0
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, failure) in self.0.iter().enumerate() {
            let Failure { index, name, error } = failure;
            write!(f, "{}member {index} ({name}): {error}", if nth > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Failures {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.first().map(|failure| &failure.error as _)
    }
}

impl<R> Member<R> {
    fn spawn(self) -> Result<Spawned<R>, MemberError> {
        Ok(Spawned { name: self.name, join: (self.start)()? })
    }
}

/// One has died: its ends are gone now, and not only when those who wait look.
fn look_for_the_dead() {
    for net in Net::all() {
        let _ = net.look_for_the_dead(true);
    }
}

impl<R> Spawned<R> {
    /// Waits for its end, and takes its result.
    ///
    /// ```
    /// use ipc_csp::{Network, Writer, process, spawn};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let numbers = Network::new()?.channel::<u32>()?;
    /// let reader = numbers.reader()?;
    /// let exit = |to: Writer<u32>| to.write(1).map_or((), |()| std::process::exit(1));
    /// let worker = spawn(process(exit, numbers.writer()?))?;
    /// assert_eq!(reader.read()?, 1);
    /// assert!(worker.join().is_err());
    /// assert!(reader.try_read().is_err_and(|error| error.is_retired())); // that is known now
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// That it panicked, was killed, or has exited. Its ends of channels are retired then.
    pub fn join(self) -> Result<R, MemberError> {
        (self.join)()
    }
}

/// Members of a [`parallel`] or [`sequence`]: a tuple of up to eight with results of different types, or a vector of any number with
/// results of the same.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use ipc_csp::{Failures, Members, parallel, process, thread};
///
/// fn timed<M: Members>(members: M) -> Result<(M::Results, Duration), Failures> {
///     let begin = Instant::now();
///     Ok((parallel(members)?, begin.elapsed()))
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ((count, text), time) = timed((thread(|| 1), process(|s: String| s + "!", "two".to_string())))?;
/// assert!((count, text.as_str()) == (1, "two!") && !time.is_zero());
/// # Ok(()) }
/// ```
pub trait Members: sealed::Members {}

mod sealed {
    use super::{Failure, MemberError};

    pub trait Members {
        type Results;
        type Spawned;

        /// Starts all; those that cannot be are noted.
        fn start(self, failures: &mut Vec<Failure>) -> Self::Spawned;
        fn join(spawned: Self::Spawned, failures: &mut Vec<Failure>) -> Option<Self::Results>;
        fn one_by_one(self, failures: &mut Vec<Failure>) -> Option<Self::Results>;
    }

    pub(super) fn note<R>(
        result: Result<R, MemberError>,
        index: usize,
        name: String,
        failures: &mut Vec<Failure>,
    ) -> Option<R> {
        result.map_err(|error| failures.push(Failure { index, name, error })).ok()
    }
}

use sealed::note;

fn start<R>(member: Member<R>, index: usize, failures: &mut Vec<Failure>) -> Option<Spawned<R>> {
    let name = member.name.clone();
    note(member.spawn(), index, name, failures)
}

fn join<R>(spawned: Option<Spawned<R>>, index: usize, failures: &mut Vec<Failure>) -> Option<R> {
    let spawned = spawned?;
    note((spawned.join)(), index, spawned.name, failures)
}

impl<R> Members for Vec<Member<R>> {}

impl<R> sealed::Members for Vec<Member<R>> {
    type Results = Vec<R>;
    type Spawned = Vec<Option<Spawned<R>>>;

    fn start(self, failures: &mut Vec<Failure>) -> Self::Spawned {
        self.into_iter().enumerate().map(|(index, member)| start(member, index, failures)).collect()
    }

    fn join(spawned: Self::Spawned, failures: &mut Vec<Failure>) -> Option<Vec<R>> {
        let results: Vec<_> =
            spawned.into_iter().enumerate().map(|(index, spawned)| join(spawned, index, failures)).collect();
        results.into_iter().collect()
    }

    fn one_by_one(self, failures: &mut Vec<Failure>) -> Option<Vec<R>> {
        let each = self.into_iter().enumerate();
        each.map(|(index, member)| {
            let spawned = start(member, index, failures);
            join(spawned, index, failures)
        })
        .collect()
    }
}

macro_rules! members {
    ($($r:ident $index:tt),+) => {
        impl<$($r),+> Members for ($(Member<$r>,)+) {}

        impl<$($r),+> sealed::Members for ($(Member<$r>,)+) {
            type Results = ($($r,)+);
            type Spawned = ($(Option<Spawned<$r>>,)+);

            fn start(self, failures: &mut Vec<Failure>) -> Self::Spawned {
                ($(start(self.$index, $index, failures),)+)
            }

            fn join(spawned: Self::Spawned, failures: &mut Vec<Failure>) -> Option<Self::Results> {
                let results = ($(join(spawned.$index, $index, failures),)+);
                Some(($(results.$index?,)+))
            }

            fn one_by_one(self, failures: &mut Vec<Failure>) -> Option<Self::Results> {
                Some(($({
                    let spawned = start(self.$index, $index, failures);
                    join(spawned, $index, failures)?
                },)+))
            }
        }
    };
}

members!(A 0);
members!(A 0, B 1);
members!(A 0, B 1, C 2);
members!(A 0, B 1, C 2, D 3);
members!(A 0, B 1, C 2, D 3, E 4);
members!(A 0, B 1, C 2, D 3, E 4, F 5);
members!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
members!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

/// Runs members at the same time, and waits for all. PyCSP's `Parallel`, occam's `PAR`.
///
/// If one fails, the others see the end of the channels that it alone had ends of; they are waited for. Ends that this process still
/// has itself count: drop them, or move them into the members.
///
/// ```
/// use ipc_csp::{Network, Reader, Writer, parallel, process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let words = Network::new()?.channel::<String>()?;
/// let (sent, received) = parallel((
///     process(|to: Writer<String>| ["to", "be"].map(|word| to.write(word.into()).unwrap()).len(), words.writer()?),
///     process(|from: Reader<String>| from.iter().collect::<Vec<_>>().join(" "), words.reader()?),
/// ))?;
/// assert_eq!((sent, received.as_str()), (2, "to be"));
/// # Ok(()) }
/// ```
///
/// # Errors
/// Those that failed, and how, when all have ended; the results of the others are lost. To keep them, [`spawn`] each.
#[doc(alias = "Parallel")]
pub fn parallel<M: Members>(members: M) -> Result<M::Results, Failures> {
    let mut failures = Vec::new();
    let spawned = members.start(&mut failures);
    let results = M::join(spawned, &mut failures);
    failures.sort_by_key(|failure| failure.index);
    match results {
        Some(results) if failures.is_empty() => Ok(results),
        _ => Err(Failures(failures)),
    }
}

/// Runs members one after the other; after one that fails, the others are not started. PyCSP's `Sequence`, occam's `SEQ`.
///
/// ```
/// use ipc_csp::{process, sequence};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let squares = sequence((1..=3).map(|n| process(|n: u32| n * n, n)).collect::<Vec<_>>())?;
/// assert_eq!(squares, [1, 4, 9]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The one that failed.
#[doc(alias = "Sequence")]
pub fn sequence<M: Members>(members: M) -> Result<M::Results, Failures> {
    let mut failures = Vec::new();
    members.one_by_one(&mut failures).ok_or(Failures(failures))
}

/// Starts a member, and goes on. PyCSP's `Spawn`.
///
/// ```
/// use ipc_csp::{process, spawn, thread};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (slow, here) = (spawn(process(|n: u64| (1..=n).product::<u64>(), 20))?, spawn(thread(|| 7))?);
/// assert_eq!(here.join()?, 7); // in whatever order
/// assert_eq!(slow.join()?, 2_432_902_008_176_640_000);
/// # Ok(()) }
/// ```
///
/// # Errors
/// It could not be started.
#[doc(alias = "Spawn")]
pub fn spawn<R>(member: Member<R>) -> Result<Spawned<R>, MemberError> {
    member.spawn()
}

/// So many members alike, for [`parallel`]: PyCSP's `N * P(…)`.
///
/// ```
/// use ipc_csp::{parallel, process, replicate};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(parallel(replicate(3, |n| process(|n: usize| n * 10, n)))?, [0, 10, 20]);
/// # Ok(()) }
/// ```
pub fn replicate<R>(count: usize, member: impl FnMut(usize) -> Member<R>) -> Vec<Member<R>> {
    (0..count).map(member).collect()
}
