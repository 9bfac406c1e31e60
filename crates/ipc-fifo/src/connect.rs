//! Two FIFOs as one two-way connection.

use std::os::fd::OwnedFd;
use std::time::Duration;

use ipc_core::{Connection, Deadline, Receiver, Sender};

use crate::end::set_wait;
use crate::error::Result;
use crate::fifo::Fifo;
use crate::open;

/// Makes a two-way connection of two FIFOs, to the one process that makes one with both exchanged: what it has as `input` is our `output`.
/// Waits for it; either may come first. If the other side gives up (its time is over) just when this one has seen it, this one gets a connection
/// that is disconnected.
///
/// On the wire are CPython's frames, without records, so there may be one process on each side only, which may be a Python program that
/// opens both ends. A process that dies is noticed as with a pipe: [`Disconnected`](ipc_core::Error::Disconnected), or
/// [`Truncated`](ipc_core::Error::Truncated) in the middle of a message.
///
/// ```
/// use ipc_fifo::{Connection, Fifo, Process, connect};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = |name| std::env::temp_dir().join(format!("ipc-fifo-doc-connect-{name}-{}", std::process::id()));
/// let (to, from) = (Fifo::create(path("to"), 0o600)?, Fifo::create(path("from"), 0o600)?);
/// let child = Process::spawn(
///     |(input, output): (Fifo, Fifo)| {
///         let mut conn: Connection<String, u32> = connect(&input, &output).unwrap();
///         let n = conn.recv().unwrap();
///         conn.send("x".repeat(n as usize)).unwrap();
///     },
///     (to.share(), from.share()),
/// )?;
/// let mut conn: Connection<u32, String> = connect(&from, &to)?;
/// conn.send(3)?;
/// assert_eq!(conn.recv()?, "xxx");
/// child.join()?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`Fifo::read_end`] and [`Fifo::write_end`].
///
/// # References
/// CPython `multiprocessing.connection.Connection`, for its frames; fifo(7).
pub fn connect<Tx: ?Sized, Rx, C>(input: &Fifo, output: &Fifo) -> Result<Connection<Tx, Rx, C>> {
    connect_by(input, output, Deadline::NEVER)
}

/// As [`connect`], but does not wait.
///
/// # Errors
/// [`WouldBlock`](crate::Error::WouldBlock): the other side has not come. Else as [`connect`].
pub fn try_connect<Tx: ?Sized, Rx, C>(input: &Fifo, output: &Fifo) -> Result<Connection<Tx, Rx, C>> {
    connect_by(input, output, Deadline::NOW)
}

/// As [`connect`], but waits no longer than `timeout`.
///
/// # Errors
/// [`Timeout`](crate::Error::Timeout): the other side did not come. Else as [`connect`].
pub fn connect_timeout<Tx: ?Sized, Rx, C>(
    input: &Fifo,
    output: &Fifo,
    timeout: Duration,
) -> Result<Connection<Tx, Rx, C>> {
    connect_by(input, output, Deadline::after(timeout))
}

fn connect_by<Tx: ?Sized, Rx, C>(input: &Fifo, output: &Fifo, deadline: Deadline) -> Result<Connection<Tx, Rx, C>> {
    let (input, output) = open::both(input.path(), output.path(), deadline)?;
    set_wait(&input, true)?;
    set_wait(&output, true)?;
    let receiver: Receiver<Rx, C> = OwnedFd::from(input).try_into()?;
    let sender: Sender<Tx, C> = OwnedFd::from(output).try_into()?;
    Ok(Connection::from_halves(sender, receiver))
}
