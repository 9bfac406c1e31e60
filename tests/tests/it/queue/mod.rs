//! Queues between processes of which one is killed, stopped, forked, careless or hostile.

mod ends;
mod hostile;
mod joinable;
mod large;
mod leases;
mod named;
mod order;
mod readiness;
mod refused;
mod spsc;
mod stopped;

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

use ipc_core::{Builder, Connection, Process};
use ipc_pipe::duplex;
use ipc_queue::{Error, Queue};
use ipc_tests::{eventually, state};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

const SHORT: Duration = Duration::from_millis(30);
/// Nothing takes this long, also on a loaded machine, unless it hangs.
const LONG: Duration = Duration::from_secs(20);
/// How long it may take until a death is noticed, with room for a loaded machine.
const SOON: Duration = Duration::from_secs(5);

/// A process that does something with an object, stays in the midst of it until it is told to go on, and then ends.
struct Holder {
    process: Process<()>,
    line: Connection<(), ()>,
}

impl Holder {
    /// Starts it, and waits until `what` has called its second argument, which returns when it is to go on.
    fn of<T, F>(object: T, what: F) -> Holder
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Fn(T, &mut dyn FnMut()) + Copy + Send + 'static,
    {
        let (mut line, theirs) = duplex::<(), ()>().unwrap();
        let process = Builder::new()
            .core_dumps(false)
            .spawn(
                move |(object, mut line): (T, Connection<(), ()>)| {
                    what(object, &mut || {
                        line.send(()).unwrap();
                        let _ = line.recv();
                    });
                },
                (object, theirs),
            )
            .unwrap();
        line.recv().unwrap();
        Holder { process, line }
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        eventually("it stops", || state(self.pid()) == Some('T'));
    }

    fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Kills it, and returns when it is gone.
    fn kill(self) {
        self.process.kill().unwrap();
        assert!(self.process.join().is_err());
    }

    /// Lets it go on, and returns when it has ended.
    fn release(self) {
        drop(self.line);
        self.process.join().unwrap();
    }
}

/// Runs `wait` in a thread, `event` once that sleeps, and returns what `wait` returned, and how long it took after the event.
fn while_waiting<R: Send>(wait: impl FnOnce() -> R + Send, event: impl FnOnce()) -> (R, Duration) {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            sender.send(nix::unistd::gettid()).unwrap();
            let result = wait();
            (result, Instant::now())
        });
        let thread = receiver.recv().unwrap();
        let waits = || fs::read_to_string(format!("/proc/self/task/{thread}/wchan")).unwrap_or_default();
        eventually("it sleeps", || waits().contains("futex") || waiter.is_finished());
        assert!(!waiter.is_finished(), "it did not wait");
        event();
        let since = Instant::now();
        let (result, at) = waiter.join().unwrap();
        (result, at.saturating_duration_since(since))
    })
}

/// Whether the call says that the time has passed, when it has.
fn timed_out<T, E: Into<Error>>(call: impl FnOnce(Duration) -> Result<T, E>) -> bool {
    let started = Instant::now();
    let error = call(SHORT).map_err(Into::into).err();
    let took = started.elapsed();
    assert!(took >= SHORT && took < SOON, "{error:?} after {took:?}");
    matches!(error, Some(Error::Timeout))
}

/// The one file in memory that `make` has opened and keeps open, opened once more.
fn file_of<R>(make: impl FnOnce() -> R) -> (R, File) {
    let files = || -> Vec<_> {
        let open = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
        let of_memory = |path: &std::path::PathBuf| {
            let target = fs::read_link(path).unwrap_or_default().to_string_lossy().into_owned();
            target.starts_with("/memfd:ipc") || target.starts_with("/dev/shm/")
        };
        open.filter(of_memory).collect()
    };
    let before = files();
    let made = make();
    let new: Vec<_> = files().into_iter().filter(|path| !before.contains(path)).collect();
    let inodes: std::collections::BTreeSet<u64> = new.iter().map(|path| fs::metadata(path).unwrap().ino()).collect();
    assert_eq!(inodes.len(), 1, "{new:?}");
    (made, File::options().read(true).write(true).open(&new[0]).unwrap())
}

/// Where in the memory of a queue the locks of its producers and consumers are, and how long they are.
fn locks() -> [Range<u64>; 2] {
    const LEN: u64 = 48;
    let (queue, file) = file_of(|| Queue::<u8>::new().unwrap());
    // The C library's mutex comes first in them: its owner's thread is the first thing in it, its kind the fifth.
    let (owner, kind) = (|at| word32(&file, at), |at| word32(&file, at + 16));
    let reservation = queue.reserve(0).unwrap();
    let thread = nix::unistd::gettid().as_raw() as u32;
    let mut places = (64..1024).step_by(8);
    let producers = places.find(|at| owner(*at) == thread && kind(*at) != thread).expect("the reservation has it");
    drop(reservation);
    let consumers: Vec<u64> = places.filter(|at| kind(*at) == kind(producers)).collect();
    assert_eq!((owner(producers), consumers.len()), (0, 1), "{consumers:?} are of the same kind");
    [producers..producers + LEN, consumers[0]..consumers[0] + LEN]
}

fn word32(file: &File, at: u64) -> u32 {
    let mut word = [0; 4];
    file.read_exact_at(&mut word, at).unwrap();
    u32::from_ne_bytes(word)
}

/// How much memory a file takes, in blocks of 512 bytes.
fn blocks(file: &File) -> u64 {
    file.metadata().unwrap().blocks()
}
