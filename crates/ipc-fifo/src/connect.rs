//! Two FIFOs as one two-way connection.

use std::os::fd::OwnedFd;
use std::time::Duration;

use ipc_core::{Connection, Deadline, Receiver, Sender};

use crate::error::Result;
use crate::fifo::Fifo;
use crate::pairing::pair;

/// Makes a two-way connection of two FIFOs, to the one process that makes one with both exchanged: what it has as `input` is our `output`.
/// Waits for it; either may come first. If the other side gives up (its time is over) just when this one has seen it, this one gets a connection
/// that is disconnected.
///
/// On the wire are CPython's frames, without records, so there may be one process on each side only.
///
/// # When a process dies
///
/// It is noticed as with a pipe: [`Disconnected`](ipc_core::Error::Disconnected), or [`Truncated`](ipc_core::Error::Truncated) in the middle of a
/// message. One that is started again and connects waits until the other side has dropped its end of the old connection, both halves of
/// it, and connected again. So every connection is with one process, and begins with the first byte that this one sends. A side that
/// is stopped is waited for until the time is over.
///
/// # With a Python program
///
/// It opens both ends itself, the one for reading and the one for writing, in either order, and sends only when it has both: what comes
/// before is dropped. Of such a program it is not known whether it is still in an old connection; it should have noticed the end
/// of that before this side comes again, and this side before the program does.
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
/// [`Error::BadPath`](crate::Error::BadPath) if both are the same FIFO; else as [`Fifo::read_end`] and [`Fifo::write_end`].
///
/// # References
/// `F_OFD_SETLK` in fcntl(2), by which the two know each other; CPython `multiprocessing.connection.Connection`, for its frames; fifo(7).
pub fn connect<Tx: ?Sized, Rx, C>(input: &Fifo, output: &Fifo) -> Result<Connection<Tx, Rx, C>> {
    connect_by(input, output, Deadline::NEVER)
}

/// As [`connect`], but does not wait.
///
/// It finds one who has both ends open already, as a program of another kind may have. One that calls `connect` looks a hundred times a
/// second who has come, and would have to do so during this call: to try now and then is no way to meet it. Take
/// [`connect_timeout`], with 50 ms or more.
///
/// ```
/// use ipc_fifo::{Connection, Fifo, try_connect};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = |name| std::env::temp_dir().join(format!("ipc-fifo-doc-try-{name}-{}", std::process::id()));
/// let (to, from) = (Fifo::create(path("to"), 0o600)?, Fifo::create(path("from"), 0o600)?);
/// let nobody = try_connect::<(), (), ipc_fifo::Postcard>(&from, &to);
/// assert!(nobody.is_err_and(|e| e.is_would_block()));
///
/// // A program that knows nothing of us, such as one in Python, has both open.
/// let both = |fifo: &Fifo| std::fs::File::options().read(true).write(true).open(fifo.path());
/// let _it = (both(&to)?, both(&from)?);
/// let mut conn: Connection<(), ()> = try_connect(&from, &to)?;
/// conn.send_bytes(b"hello")?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`WouldBlock`](crate::Error::WouldBlock): the other side has not come. Else as [`connect`].
pub fn try_connect<Tx: ?Sized, Rx, C>(input: &Fifo, output: &Fifo) -> Result<Connection<Tx, Rx, C>> {
    connect_by(input, output, Deadline::NOW)
}

/// As [`connect`], but waits no longer than `timeout`.
///
/// The two sides look every 10 ms, each in its time, whether the other one is there. With less than about 50 ms they are likely to miss each
/// other, again and again if both try in a loop.
///
/// ```
/// use ipc_fifo::{Fifo, Postcard, connect_timeout};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = |name| std::env::temp_dir().join(format!("ipc-fifo-doc-soon-{name}-{}", std::process::id()));
/// let (to, from) = (Fifo::create(path("to"), 0o600)?, Fifo::create(path("from"), 0o600)?);
/// let alone = connect_timeout::<u32, u32, Postcard>(&from, &to, Duration::from_millis(50));
/// assert!(alone.is_err_and(|e| e.is_timeout())); // and nothing of it is left open
/// # Ok(()) }
/// ```
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
    let (input, output) = pair(input.path(), output.path(), deadline)?;
    // They stay as they were opened, with O_NONBLOCK: what could be read or written a moment ago may be gone, if somebody else has the FIFO open
    // the same way, and a call with a time-out must not wait for it without end.
    let receiver: Receiver<Rx, C> = OwnedFd::from(input).try_into()?;
    let sender: Sender<Tx, C> = OwnedFd::from(output).try_into()?;
    Ok(Connection::from_halves(sender, receiver))
}
