//! Commands with captured output, and a deadline that ends their whole process group.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

/// Between two looks at a running child. Nothing in std waits for a child with a time limit, and this costs less than
/// a thread for it.
const POLL: Duration = Duration::from_millis(10);

/// From SIGTERM to SIGKILL. nextest puts each test into a group of its own, so only nextest can end them, and it gives
/// them ten seconds.
const GRACE: Duration = Duration::from_secs(15);

/// The signal that asked this program to end; 0 while there is none.
static INTERRUPTED: AtomicI32 = AtomicI32::new(0);

/// How the standard streams of a command are kept.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Streams {
    /// All in `stdout`, in the order of writing.
    Together,
    Apart,
}

pub(crate) struct Finished {
    pub(crate) end: End,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) enum End {
    Exited(ExitStatus),
    Deadline,
}

impl Finished {
    pub(crate) fn is_success(&self) -> bool {
        matches!(self.end, End::Exited(status) if status.success())
    }

    /// How it ended, in words.
    pub(crate) fn ending(&self) -> String {
        match self.end {
            End::Exited(status) => status.to_string(),
            End::Deadline => "deadline: still running, killed".to_owned(),
        }
    }
}

/// Runs `command` with nothing to read, until it exits or `deadline` comes.
pub(crate) fn run(command: &mut Command, streams: Streams, deadline: Instant) -> io::Result<Finished> {
    // Files, not pipes: a grandchild that outlives the command would hold a pipe open and keep us reading.
    let stdout = tempfile::tempfile()?;
    let stderr = if streams == Streams::Together { stdout.try_clone()? } else { tempfile::tempfile()? };
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).process_group(0);
    let mut child = spawn(command)?;
    let end = wait(&mut child, deadline)?;
    let stderr = if streams == Streams::Together { String::new() } else { text_of(stderr)? };
    Ok(Finished { end, stdout: text_of(stdout)?, stderr })
}

/// The standard output of a quick question such as `rustc --version`; none if it is not answered.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let finished = run(command, Streams::Apart, Instant::now() + Duration::from_secs(30)).ok()?;
    finished.is_success().then_some(finished.stdout)
}

/// From here on Ctrl-C and its relatives end the running command before they end this program. Without this they would
/// reach only the terminal's foreground group, which commands leave in [`run`], and builds would go on unseen.
pub(crate) fn forward_interrupts() -> nix::Result<()> {
    interrupts().thread_block()?;
    thread::spawn(|| {
        let signal = interrupts().wait().unwrap_or(Signal::SIGTERM);
        INTERRUPTED.store(signal as i32, Ordering::Relaxed);
    });
    Ok(())
}

fn interrupts() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
}

fn spawn(command: &mut Command) -> io::Result<Child> {
    // A child inherits the mask of the thread that starts it, and has to hear the SIGTERM of its deadline.
    let before = interrupts().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_UNBLOCK)?;
    let child = command.spawn();
    before.thread_set_mask()?;
    child
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<End> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Exited(status));
        }
        let signal = INTERRUPTED.load(Ordering::Relaxed);
        if signal != 0 {
            stop(child)?;
            std::process::exit(128 + signal);
        }
        if Instant::now() >= deadline {
            stop(child)?;
            return Ok(End::Deadline);
        }
        thread::sleep(POLL);
    }
}

/// Ends the child and what is left in its process group.
fn stop(child: &mut Child) -> io::Result<()> {
    let group = Pid::from_raw(i32::try_from(child.id()).expect("process ids are positive"));
    // Here and below an error says that the group is empty, which is what we want.
    let _ = killpg(group, Signal::SIGTERM);
    let patience = Instant::now() + GRACE;
    while child.try_wait()?.is_none() && Instant::now() < patience {
        thread::sleep(POLL);
    }
    let _ = killpg(group, Signal::SIGKILL);
    child.wait().map(drop)
}

fn text_of(mut file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{End, Streams, answer, run};
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn in_a_minute() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn output_is_kept_apart_or_together() {
        let script = "echo one; echo two >&2; echo three";
        let apart = run(&mut shell(script), Streams::Apart, in_a_minute()).unwrap();
        assert_eq!((apart.stdout.as_str(), apart.stderr.as_str()), ("one\nthree\n", "two\n"));
        let together = run(&mut shell(script), Streams::Together, in_a_minute()).unwrap();
        assert_eq!((together.stdout.as_str(), together.stderr.as_str()), ("one\ntwo\nthree\n", ""));
    }

    #[test]
    fn a_failing_exit_is_told_from_a_good_one() {
        assert!(run(&mut shell("exit 0"), Streams::Apart, in_a_minute()).unwrap().is_success());
        let failed = run(&mut shell("exit 3"), Streams::Apart, in_a_minute()).unwrap();
        assert!(!failed.is_success());
        assert_eq!(failed.ending(), "exit status: 3");
        assert_eq!(answer(&mut shell("echo yes; exit 3")), None);
        assert_eq!(answer(&mut shell("echo yes")).as_deref(), Some("yes\n"));
    }

    #[test]
    fn the_deadline_ends_grandchildren_too() {
        let script = "sleep 1000 & echo $!; wait";
        let patience = in_a_minute();
        let finished = run(&mut shell(script), Streams::Apart, Instant::now() + Duration::from_millis(300)).unwrap();
        assert!(matches!(finished.end, End::Deadline));
        // A killed process needs a moment to end. When nobody reaps it, its directory stays, with the state `Z`.
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", finished.stdout.trim())).unwrap_or_default();
        while !stat().is_empty() && !stat().contains(") Z") {
            assert!(Instant::now() < patience, "still alive: {}", stat());
            std::thread::yield_now();
        }
    }

    #[test]
    fn nothing_is_there_to_read() {
        assert!(run(&mut shell("! read line"), Streams::Apart, in_a_minute()).unwrap().is_success());
    }
}
