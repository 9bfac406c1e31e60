//! Communicating sequential processes, over real processes: channels, choice, and parallel composition. What Hoare's CSP, occam, Go and
//! PyCSP have, between processes of the operating system, any of which may be killed at any moment.
//!
//! ```
//! use ipc_csp::{Network, Reader, Writer, parallel, process};
//!
//! fn squares(numbers: Reader<u64>, squares: Writer<u64>) {
//!     numbers.iter().for_each(|n| squares.write(n * n).expect("somebody adds them up"));
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let network = Network::new()?;
//! let (raw, squared) = (network.channel::<u64>()?, network.channel::<u64>()?);
//! let (_, _, sum) = parallel((
//!     process(|to: Writer<u64>| (1..=10).for_each(|n| to.write(n).unwrap()), raw.writer()?),
//!     process(|(from, to)| squares(from, to), (raw.reader()?, squared.writer()?)),
//!     process(|from: Reader<u64>| from.iter().sum::<u64>(), squared.reader()?),
//! ))?;
//! assert_eq!(sum, 385);
//! # Ok(()) }
//! ```
//!
//! | | |
//! |---|---|
//! | [`Network`] | makes channels, in memory of its own |
//! | [`Channel`], [`Reader`], [`Writer`] | a channel and its ends: typed, any to any, synchronous or [buffered](Network::buffered); ends travel |
//! | [`Choice`], [`select!`], [`pri_select!`], [`fair_select!`] | the first possible of several reads, writes, a time-out |
//! | [`parallel`], [`sequence`], [`spawn`], [`process`](process()), [`thread`], [`replicate`] | how processes are put together |
//! | [`Report`] | who waits for whom, also of another program |
//!
//! A write on a synchronous channel returns when a reader has the value; nobody sees a part of it, and of several who might read it one
//! does. Blocking calls come in threes: `try_…` does not wait, `…_timeout` waits on the monotonic clock and returns in time also while
//! the process at the other end is stopped.
//!
//! # How it ends
//!
//! | | readers | writers |
//! |---|---|---|
//! | [`close`](Writer::close) | get what was written, then [`Error::Closed`] | [`Error::Closed`] |
//! | [`poison`](Writer::poison) | [`Error::Poisoned`] at once | the same |
//! | the last writer is dropped, [retires](Writer::retire), or dies | get what was written, then [`Error::Retired`] | |
//! | the last reader is dropped, [retires](Reader::retire), or dies | | [`Error::Retired`] |
//!
//! Who waits is told at once when an end is dropped or the network is told of a death ([`parallel`] does), and within some 100 ms else.
//!
//! # When a process is killed
//!
//! Its ends are retired, its offers withdrawn. A value that it was about to read, and had not yet, goes to another reader: nothing that a writer was
//! told is read gets lost, and nothing is read twice. What it was about to write was read once or never. Nobody hangs: what it had locked is handed
//! on by the kernel and put in order by the next one.
//!
//! A process that is *stopped* is waited for where it is the only one at the other end. One that is stopped just while it reads a value has lost that after a second:
//! another reader gets it, or its writer's choice goes on (only a value with ends of channels in it waits for it). Who needs longer than that to
//! decode a value is given twice as long the next time.
//!
//! # From Python
//!
//! | PyCSP | here |
//! |---|---|
//! | `@process`, `@multiprocess` | [`process`](process()), [`thread`] |
//! | `Parallel(...)`, `Sequence(...)`, `Spawn(...)` | [`parallel`], [`sequence`], [`spawn`] |
//! | `Channel(buffer=n)` | [`Network::channel`], [`Network::buffered`] |
//! | `+c`, `-c` | [`Channel::reader`], [`Channel::writer`] |
//! | `cin()`, `cout(v)` | [`Reader::read`], [`Writer::write`] |
//! | `AltSelect`, `PriSelect`, `FairSelect` | [`select!`], [`pri_select!`], [`fair_select!`], or [`Choice`] |
//! | `InputGuard`, `OutputGuard`, `SkipGuard`, `TimeoutGuard` | [`Choice::read`], [`write`](Choice::write), [`skip`](Choice::skip), [`timeout`](Choice::timeout) |
//! | `poison(c)`, `retire(c)` | [`Channel::poison`], [`Reader::retire`], or dropping it |
//! | `shutdown()` | nothing: there is no server |
//!
//! # Limits
//!
//! One machine, and one pid namespace, as for all locks of `ipc-sync`; whoever may write the memory is trusted not to attack it. Values are
//! encoded with postcard. A network has the sizes that [`Network`] tells.
//! A process that is stopped within the microsecond in which it has a channel locked holds that up until it goes on or dies; time-outs hold.
#![deny(unsafe_code)] // allowed again in raw.rs

mod channel;
mod choice;
mod choose;
mod ends;
mod error;
mod layout;
mod list;
#[cfg(all(test, loom))]
mod model;
mod net;
mod parallel;
mod pause;
mod raw;
mod recover;
mod report;
mod select;
mod shim;
mod taken;
mod word;

pub use ipc_core::{Builder, Child, CodecError, JoinError, Process};

pub use crate::{
    channel::{Channel, ChannelBuilder, Iter, Network, Reader, Writer},
    choice::{Branch, Choice, Chosen, Fairness},
    error::{Error, Result, WriteError},
    parallel::{
        Failure, Failures, Member, MemberError, Members, Spawned, parallel, process, process_with, replicate, sequence,
        spawn, thread,
    },
    report::{ChannelReport, Report, Waiting},
};
