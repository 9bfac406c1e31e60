//! The public interface of FIFOs, within one process. What dies and is killed is tested across processes, elsewhere.
#![forbid(unsafe_code)]

mod bytes;
mod ends;
mod names;
mod opening;
mod pairing;
mod records;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use ipc_fifo::{Bytes, Fifo, Reader, Result, Writer};

const SHORT: Duration = Duration::from_millis(20);
/// Nothing takes this long unless it hangs.
const LONG: Duration = Duration::from_secs(20);

/// Tests that start processes run alone: until it runs its own program, a child has copies of all open files, so that ends look
/// open that are not.
static STARTING: RwLock<()> = RwLock::new(());

#[expect(dead_code, reason = "held for their drop")]
enum Turn {
    WithOthers(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// A folder of its own, removed in the end.
struct Folder(tempfile::TempDir, #[expect(dead_code, reason = "held for its drop")] Turn);

impl Folder {
    fn new() -> Folder {
        let turn = Turn::WithOthers(STARTING.read().unwrap_or_else(PoisonError::into_inner));
        Folder(tempfile::tempdir().unwrap(), turn)
    }

    /// For a test that starts processes, or changes what all threads share.
    fn alone() -> Folder {
        let turn = Turn::Alone(STARTING.write().unwrap_or_else(PoisonError::into_inner));
        Folder(tempfile::tempdir().unwrap(), turn)
    }

    fn path(&self) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.0.path().join(format!("fifo-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    fn fifo(&self) -> Fifo {
        Fifo::create(self.path(), 0o600).unwrap()
    }
}

/// Readers and writers of plain bytes, opened without waiting.
fn reader(fifo: &Fifo) -> Reader<Vec<u8>, Bytes> {
    fifo.lasting_reader().unwrap()
}

fn writer(fifo: &Fifo) -> Writer<[u8], Bytes> {
    fifo.try_writer().unwrap()
}

/// A reader that is told when there is no writer, with its first writer.
fn pair(fifo: &Fifo) -> (Reader<Vec<u8>, Bytes>, Writer<[u8], Bytes>) {
    let lasting = reader(fifo);
    let writer = writer(fifo);
    let reader = fifo.try_reader().unwrap();
    drop(lasting);
    (reader, writer)
}

/// Whether the call says that the time has passed, when it has.
fn timed_out<T>(call: impl FnOnce(Duration) -> Result<T>) -> bool {
    let started = Instant::now();
    let result = call(SHORT);
    assert!(started.elapsed() >= SHORT);
    result.is_err_and(|error| error.is_timeout())
}

fn would_block<T>(result: Result<T>) -> bool {
    result.is_err_and(|error| error.is_would_block())
}

fn disconnected<T>(result: Result<T>) -> bool {
    result.is_err_and(|error| error.is_disconnected())
}

/// A message of this length, whose bytes tell where they belong.
fn long(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}
