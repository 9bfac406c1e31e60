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
//! Start at [`Network`], which makes channels, and [`parallel`], which runs what communicates over them; [`select!`] waits for several.
//! Not here: other machines (`ipc-socket`, `ipc-manager`), names by which strangers meet (an end can be sent over a connection of `ipc-socket`),
//! many or long messages in a buffer and leases (`ipc-queue`), ends that both read and write (`ipc-pipe`), shared data (`ipc-shm`).
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
//! | `@process`, `@multiprocess` | [`thread`], [`process`](process()): said where it is started |
//! | `Parallel(...)`, `Sequence(...)`, `Spawn(...)`, `N * P(...)` | [`parallel`], [`sequence`], [`spawn`], [`replicate`] |
//! | `Channel()`, `Channel(buffer=n)` | [`Network::channel`], [`Network::buffered`] |
//! | `Channel('name')` | [`Network::builder`]; a name is for reports, and nobody connects by it |
//! | `+c`, `-c`, `c.reader()`, `c.writer()` | [`Channel::reader`], [`Channel::writer`] |
//! | `cin()`, `cout(v)` | [`Reader::read`], [`Writer::write`]; PyCSP has no time-outs there |
//! | `AltSelect`, `PriSelect`, `FairSelect`, `Alternation` | [`select!`], [`pri_select!`], [`fair_select!`], or [`Choice`] |
//! | `InputGuard`, `OutputGuard`, `SkipGuard`, `TimeoutGuard` | [`Choice::read`], [`write`](Choice::write), [`skip`](Choice::skip), [`timeout`](Choice::timeout) |
//! | `@choice`, actions | the branch's expression |
//! | `poison(c)` | [`Channel::poison`], which throws away what is in a buffer, or [`close`](Channel::close), which lets it be read |
//! | `retire(c)` | [`Reader::retire`], [`Writer::retire`], or dropping it |
//! | `ChannelPoisonException`, `ChannelRetireException` | [`Error::Poisoned`], [`Error::Retired`]; a process that ends retires from its channels, and poisons none |
//! | `Channel(connect=...)`, `@sshprocess`, `@clusterprocess` | not here |
//! | `shutdown()` | nothing: there is no server |
//!
//! # Examples
//!
//! | program | what it shows | in PyCSP |
//! |---|---|---|
//! | [`csp_parallel`](../../../examples/csp_parallel.rs) | two processes at the same time, then one after the other | a decorator makes the process; `shutdown()` at the end |
//! | [`csp_two_channels`](../../../examples/csp_two_channels.rs) | words go one way, their lengths come back | channels are looked after by a thread of their maker, over TCP |
//! | [`csp_choice`](../../../examples/csp_choice.rs) | a buffer that reads or writes, as it can; who is preferred | actions are functions or strings; for a pre-condition the list of guards is made anew |
//! | [`csp_producers`](../../../examples/csp_producers.rs) | several producers and consumers; retiring and poison | the end is an exception in the other process |
//! | [`csp_mobile`](../../../examples/csp_mobile.rs) | ends of channels travel over channels | an end arrives as an address, to be connected to |
//! | [`csp_sieve`](../../../examples/csp_sieve.rs) | prime numbers by a pipeline that grows | a channel lives in a server of the process that made it |
//! | [`csp_pi`](../../../examples/csp_pi.rs) | workers take jobs from one channel | who adds up waits for a dead worker for ever |
//! | [`csp_philosophers`](../../../examples/csp_philosophers.rs) | five philosophers, five forks and a footman | a fork is over when its first neighbour retires |
//! | [`csp_commstime`](../../../examples/csp_commstime.rs) | the circle by which libraries are compared, as processes and as threads | ended by poison, an exception in each process |
//! | [`csp_killed`](../../../examples/csp_killed.rs) | members are killed, and nobody hangs | who waits for one that is killed waits for ever |
//! | [`csp_deadlock`](../../../examples/csp_deadlock.rs) | two that wait for each other are named | noticed among greenlets only |
//! | [`csp_report`](../../../examples/csp_report.rs) | looking at another program's networks, by its PID | a trace, if one was asked for before |
//!
//! Next: `ipc-queue` for work that must survive its worker also while it is done, `ipc-core` for starting processes and what can be sent to them.
//!
//! # Limits
//!
//! One machine, and one pid namespace, as for all locks of `ipc-sync`; whoever may write the memory is trusted not to attack it. Values are
//! encoded with postcard. A network has the sizes that [`Network`] tells.
//! A process that is stopped within the microsecond in which it has a channel locked holds that up until it goes on or dies; time-outs hold.
//!
//! # References
//!
//! C. A. R. Hoare, *Communicating Sequential Processes*, CACM 21 (1978), 666–677. B. Vinter, J. M. Bjørndalen, R. M. Friborg, *PyCSP Revisited*,
//! Communicating Process Architectures 2009.
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
