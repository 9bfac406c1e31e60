//! A process that runs Python, within a deadline.

use std::error::Error;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interpreters::Interpreter;

/// How long a call or a process may take, also on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What each Python runs: the function that is named by its first argument.
const PROGRAM: &str = concat!(
    include_str!("cases.py"),
    include_str!("memory.py"),
    include_str!("sockets.py"),
    include_str!("fifos.py"),
    "globals()[sys.argv[1]](*sys.argv[2:])\n"
);

/// A Python that runs a function of `cases.py`, `memory.py`, `sockets.py` or `fifos.py`. It is killed and reaped when this is dropped.
pub(crate) struct Peer(Child);

impl Peer {
    pub(crate) fn start(python: &Interpreter, arguments: &[&str], stdin: OwnedFd) -> io::Result<Peer> {
        let mut command = Command::new(&python.path);
        // Isolated: neither the environment nor the current folder may put other modules in the place of Python's.
        command.args(["-I", "-c", PROGRAM]).args(arguments);
        command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map(Peer)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> nix::Result<()> {
        kill(Pid::from_raw(self.0.id() as i32), signal) // it is not reaped yet, so the number is its own
    }

    /// Waits until it ends; an error has what it printed.
    pub(crate) fn finish(mut self) -> Result<(), Box<dyn Error>> {
        let printed = read_to_end(self.0.stderr.take().ok_or("no standard error")?, PATIENCE)?;
        match self.0.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("{status}: {}", String::from_utf8_lossy(&printed).trim_end()).into()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Either fails only where nothing is left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `command` prints, if it succeeds in time.
pub(crate) fn answer(command: &mut Command, patience: Duration) -> Option<String> {
    let mut child = Peer(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?);
    let printed = read_to_end(child.0.stdout.take()?, patience).ok()?;
    child.0.wait().ok()?.success().then(|| String::from_utf8_lossy(&printed).into_owned())
}

/// Reads until all writers have closed the pipe.
fn read_to_end(mut pipe: impl Read + AsFd, patience: Duration) -> io::Result<Vec<u8>> {
    let (deadline, mut all, mut buffer) = (Instant::now() + patience, Vec::new(), [0; 4096]);
    loop {
        wait_until(pipe.as_fd(), PollFlags::POLLIN, deadline)?;
        match pipe.read(&mut buffer)? {
            0 => return Ok(all),
            n => all.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Waits until `fd` is ready for `what`.
pub(crate) fn wait_for(fd: BorrowedFd<'_>, what: PollFlags) -> io::Result<()> {
    wait_until(fd, what, Instant::now() + PATIENCE)
}

fn wait_until(fd: BorrowedFd<'_>, what: PollFlags, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(fd, what)], PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "Python did not end, or not answer, in time")),
            Ok(_) => return Ok(()),
        }
    }
}
