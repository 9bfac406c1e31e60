//! Every CPython of this machine at the other end of our pipes, in the cases of `cases.py`, of our shared memory, in those of
//! `memory.py`, of our listeners and clients, in those of `sockets.py`, and of our FIFOs, in those of `fifos.py`.
//!
//! Prints a line for each interpreter, then which ran and which did not, and at last `N passed, N failed`. A program and not a
//! test target: which interpreters there are is known only when it runs, and a test runner could not show it.
#![forbid(unsafe_code)]

mod fifos;
mod interpreters;
mod memory;
mod peer;
mod sockets;

use std::error::Error;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ipc_pipe::{Bytes, Connection, Error as PipeError, duplex_with_codec, simplex_with_codec};
use ipc_tests::{eventually, state};
use nix::poll::PollFlags;
use nix::sys::signal::Signal;

use self::interpreters::{Interpreter, Search};
use self::peer::{PATIENCE, Peer, wait_for};

type Case = (&'static str, fn(&Interpreter) -> Result<(), Box<dyn Error>>);
type Pipe = Connection<Vec<u8>, Vec<u8>, Bytes>;

const CASES: &[Case] = &[
    ("0 bytes both ways", |python| both_ways(python, 0)),
    ("1 byte both ways", |python| both_ways(python, 1)),
    // Up to here Python writes header and payload at once, from the next on one after the other.
    ("16 KiB both ways", |python| both_ways(python, 16 << 10)),
    ("16 KiB + 1 both ways", |python| both_ways(python, (16 << 10) + 1)),
    ("64 MiB both ways", |python| both_ways(python, LONG)),
    ("recv_bytes_into", into),
    ("we close", we_close),
    ("Python closes", python_closes),
    ("Python is killed within a message", python_is_killed),
    ("Python is stopped within a message", python_is_stopped),
    ("simplex to Python", simplex_to_python),
    ("simplex from Python", simplex_from_python),
    ("many messages to Python", many_to_python),
    ("many messages from Python", many_from_python),
    ("poll", polls),
];

const LONG: usize = 64 << 20;
const MANY: usize = 1000;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| {})); // the message stands in the interpreter's line
    if let Some(path) = std::env::args_os().nth(1) {
        let Some(python) = interpreters::at(path.as_ref()) else { return ExitCode::FAILURE };
        let (passed, failures) = try_all(&python);
        let failed = failures.len();
        match failures.as_slice() {
            [] => println!("{}: {passed} cases ok", python.version),
            _ => println!("{} ({}): FAILED {}", python.version, python.path.display(), failures.join("\n  FAILED ")),
        }
        println!("{passed} passed, {failed} failed");
        return ExitCode::SUCCESS;
    }
    let Search { found, silent } = interpreters::search();
    let counts: Vec<(usize, usize)> = side_by_side(&found, |python| {
        // In a process of its own, so that none of them starts a Python with copies of another one's files.
        let program = std::env::current_exe().expect("Linux knows it");
        let output = std::process::Command::new(program).arg(&python.path).output().expect("it can be started again");
        let text = String::from_utf8_lossy(&output.stdout);
        match text.trim_end().rsplit_once('\n').and_then(|(rows, counts)| Some((rows, counted(counts)?))) {
            Some((rows, counts)) => {
                println!("{rows}");
                counts
            }
            None => {
                println!("{}: {}\n{text}{}", python.version, output.status, String::from_utf8_lossy(&output.stderr));
                (0, 1)
            }
        }
    });
    let (passed, failed) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let list = |words: Vec<String>| if words.is_empty() { "none".to_owned() } else { words.join(" ") };
    let ran = list(found.iter().map(|python| python.version.clone()).collect());
    println!("ran: {ran}; did not answer: {}", list(silent.iter().map(|path| path.display().to_string()).collect()));
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many cases go as they should, and what is wrong with the others.
fn try_all(python: &Interpreter) -> (usize, Vec<String>) {
    let in_memory = if python.minor() < memory::SINCE { &[] } else { memory::CASES };
    let all: Vec<&Case> = CASES.iter().chain(in_memory).chain(sockets::CASES).chain(fifos::CASES).collect();
    let cases = all.len();
    let mut failures = Vec::new();
    for (name, case) in all {
        let result = catch_unwind(AssertUnwindSafe(|| case(python).map_err(|error| error.to_string())));
        if let Err(text) = result.unwrap_or_else(|panic| Err(text_of(&*panic))) {
            failures.push(format!("{name}: {text}"));
        }
    }
    (cases - failures.len(), failures)
}

/// Does `work` with each, as many at a time as there are processors.
fn side_by_side<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let turn = || all.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(turn).map(&work).collect::<Vec<R>>()
    };
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no worker panics")).collect()
    })
}

/// Reads `60 passed, 1 failed`.
fn counted(line: &str) -> Option<(usize, usize)> {
    let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some((passed.parse().ok()?, failed.parse().ok()?))
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a text").to_owned()
}

/// What both sides can make fast; its period of 251 bytes fits to no buffer, so that a part in the wrong place is found.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    let base: Vec<u8> = (0..251).map(|i| (7 * i + seed) as u8).collect();
    let mut bytes = base.repeat(len / 251 + 1);
    bytes.truncate(len);
    bytes
}

fn check(bytes: &[u8], len: usize, seed: usize) -> Result<(), Box<dyn Error>> {
    match bytes == pattern(len, seed) {
        true => Ok(()),
        false => Err(format!("{} bytes came, {len} were expected, or others", bytes.len()).into()),
    }
}

fn start(python: &Interpreter, arguments: &[&str]) -> Result<(Pipe, Peer), Box<dyn Error>> {
    let (ours, theirs) = duplex_with_codec::<Vec<u8>, Vec<u8>, Bytes>()?;
    Ok((ours, Peer::start(python, arguments, theirs.into_fd()?)?))
}

fn both_ways(python: &Interpreter, len: usize) -> Result<(), Box<dyn Error>> {
    let (mut ours, peer) = start(python, &["both_ways", &len.to_string()])?;
    ours.send_timeout(pattern(len, 1), PATIENCE)?;
    check(&ours.recv_timeout(PATIENCE)?, len, 2)?;
    peer.finish()
}

fn into(python: &Interpreter) -> Result<(), Box<dyn Error>> {
    let (mut ours, peer) = start(python, &["into"])?;
    for (len, seed) in [(50, 1), (LONG - 1, 2), (11, 3)] {
        ours.send_bytes_timeout(&pattern(len, seed), PATIENCE)?;
    }
    let mut buffer = vec![0; LONG];
    let len = ours.recv_bytes_into_timeout(&mut buffer, PATIENCE)?;
    check(&buffer[..len], LONG, 4)?;
    match ours.recv_bytes_into_timeout(&mut buffer[..10], PATIENCE) {
        Err(PipeError::BufferTooShort { needed: 11, len: 10 }) => {}
        other => return Err(format!("11 bytes for a buffer of 10 gave {other:?}").into()),
    }
    let len = ours.recv_bytes_into_timeout(&mut buffer, PATIENCE)?;
    check(&buffer[..len], 11, 5)?;
    peer.finish()
}

fn we_close(python: &Interpreter) -> Result<(), Box<dyn Error>> {
    let (mut ours, peer) = start(python, &["we_close"])?;
    ours.send_timeout(pattern(5, 1), PATIENCE)?;
    drop(ours);
    peer.finish()
}

fn python_closes(python: &Interpreter) -> Result<(), Box<dyn Error>> {
    let (mut ours, peer) = start(python, &["python_closes"])?;
    check(&ours.recv_timeout(PATIENCE)?, 5, 1)?;
    match ours.recv_timeout(PATIENCE) {
        Err(PipeError::Disconnected) => peer.finish(),
        other => Err(format!("after the last message came {}", brief(other)).into()),
    }
}

fn python_is_killed(python: &Interpreter) -> Result<(), Box<dyn Error>> {
    let (mut ours, peer) = within_a_message(python)?;
    peer.signal(Signal::SIGKILL)?;
    match ours.recv_timeout(PATIENCE) {
        // All of the payload is missing if Python had written no more than the header, which it does by itself.
        Err(PipeError::Truncated { missing }) if (1..=LONG as u64).contains(&missing) => Ok(()),
        other => Err(format!("in place of the cut message came {}", brief(other)).into()),
    }
}

fn python_is_stopped(python: &Interpreter) -> Result<(), Box<dyn Error>> {
    let (mut ours, peer) = within_a_message(python)?;
    peer.signal(Signal::SIGSTOP)?;
    eventually("Python is stopped", || state(peer.pid()) == Some('T'));
    match ours.recv_timeout(Duration::from_millis(50)) {
        Err(PipeError::Timeout) => {}
        other => return Err(format!("while it was stopped came {}", brief(other)).into()),
    }
    peer.signal(Signal::SIGCONT)?;
    check(&ours.recv_timeout(PATIENCE)?, LONG, 1)?;
    peer.finish()
}

/// A Python that has written a part of a message, and cannot write the rest as we do not read.
fn within_a_message(python: &Interpreter) -> Result<(Pipe, Peer), Box<dyn Error>> {
    let (mut ours, peer) = start(python, &["sends_long"])?;
    if ours.recv_timeout(PATIENCE)? != b"now" {
        return Err("it began with another message".into());
    }
    wait_for(ours.as_fd(), PollFlags::POLLIN)?;
    Ok((ours, peer))
}

fn simplex_to_python(python: &Interpreter) -> Result<(), Box<dyn Error>> {
    let (mut sender, receiver) = simplex_with_codec::<Vec<u8>, Bytes>()?;
    let peer = Peer::start(python, &["simplex_to_python"], receiver.into_fd()?)?;
    for len in [0, 1, 16385, LONG] {
        sender.send_timeout(pattern(len, 1), PATIENCE)?;
    }
    drop(sender);
    peer.finish()
}

fn simplex_from_python(python: &Interpreter) -> Result<(), Box<dyn Error>> {
    let (sender, mut receiver) = simplex_with_codec::<Vec<u8>, Bytes>()?;
    let peer = Peer::start(python, &["simplex_from_python"], sender.into_fd()?)?;
    for len in [0, 1, 16385, LONG] {
        check(&receiver.recv_timeout(PATIENCE)?, len, 1)?;
    }
    match receiver.recv_timeout(PATIENCE) {
        Err(PipeError::Disconnected) => peer.finish(),
        other => Err(format!("after the last message came {}", brief(other)).into()),
    }
}

fn many_to_python(python: &Interpreter) -> Result<(), Box<dyn Error>> {
    let (mut ours, peer) = start(python, &["many_to_python"])?;
    let sent = ours.send_many_timeout((0..MANY).map(|i| format!("message {i}").into_bytes()), PATIENCE)?;
    if sent != MANY || ours.recv_timeout(PATIENCE)? != b"all" {
        return Err(format!("{sent} messages were sent, or not all received").into());
    }
    peer.finish()
}

fn many_from_python(python: &Interpreter) -> Result<(), Box<dyn Error>> {
    let (mut ours, peer) = start(python, &["many_from_python"])?;
    for i in 0..MANY {
        if ours.recv_timeout(PATIENCE)? != format!("message {i}").into_bytes() {
            return Err(format!("message {i} is another one").into());
        }
    }
    ours.send_timeout(b"all".to_vec(), PATIENCE)?;
    peer.finish()
}

fn polls(python: &Interpreter) -> Result<(), Box<dyn Error>> {
    let (mut ours, peer) = start(python, &["polls"])?;
    if !ours.poll(PATIENCE)? || ours.recv_timeout(PATIENCE)? != b"nothing there" {
        return Err("Python did not begin".into());
    }
    ours.send_timeout(b"something".to_vec(), PATIENCE)?;
    // Nothing comes before Python has the next message, so this waits its whole time.
    if ours.poll(Duration::from_millis(50))? {
        return Err("a message that nobody sent".into());
    }
    ours.send_timeout(b"answer".to_vec(), PATIENCE)?;
    if !ours.poll(PATIENCE)? || !ours.poll(Duration::ZERO)? || ours.recv_timeout(PATIENCE)? != b"answered" {
        return Err("the answer did not come".into());
    }
    drop(ours);
    peer.finish()
}

/// A result without the megabytes it may hold.
fn brief(result: Result<Vec<u8>, PipeError>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |bytes| format!("{} bytes", bytes.len()))
}
