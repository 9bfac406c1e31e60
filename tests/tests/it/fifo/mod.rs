//! FIFOs between processes that know a path, and of which some are killed or stopped.

mod names;
mod peers;
mod readers;
mod writers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipc_fifo::{Bytes, Error, Fifo, Reader, Writer};
use ipc_tests::unique_name;

use crate::other::{Other, until_asleep};

const SHORT: Duration = Duration::from_millis(50);
/// Nothing takes this long, also on a loaded machine, unless it hangs.
const LONG: Duration = Duration::from_secs(20);
/// How long it may take until a death is noticed, with room for a loaded machine.
const SOON: Duration = Duration::from_secs(5);
/// More than a pipe has room for.
const HUGE: usize = 4 << 20;

type Log = Reader<Vec<u8>, Bytes>;
type Pen = Writer<Vec<u8>, Bytes>;

fn free_path() -> PathBuf {
    std::env::temp_dir().join(unique_name())
}

/// From a byte to many records, with the lengths around those of one and two records among them.
const LENGTHS: [usize; 12] = [1, 100 << 10, 2, 4047, 4048, 4049, 500, 8096, 8097, 30_000, 3, 65_536];

/// What a writer sends as its message number `n`: begins with who it is, and no part of it is like another.
fn message(who: u8, n: usize) -> Vec<u8> {
    let len = LENGTHS[(n + usize::from(who)) % LENGTHS.len()];
    let seed = n * 31 + usize::from(who) * 7;
    let mut bytes: Vec<u8> = (0..251).map(|i| (i * 3 + seed) as u8).cycle().take(len).collect();
    bytes[0] = who;
    bytes
}

/// Which message of each writer comes next.
#[derive(Debug, Default)]
struct Tally(Vec<usize>);

impl Tally {
    fn of(writers: u8) -> Tally {
        Tally(vec![0; usize::from(writers)])
    }

    /// Checks that this is the next one of whoever wrote it.
    fn next(&mut self, bytes: &[u8]) {
        let who = bytes[0];
        let n = &mut self.0[usize::from(who)];
        assert!(bytes == message(who, *n), "not message {n} of writer {who}: {} bytes", bytes.len());
        *n += 1;
    }
}

/// A process that sends so many messages as writer `who`.
fn writer(fifo: &Fifo, who: u8, n: usize) -> Other {
    Other::start((fifo.share(), who, n), |(fifo, who, n): (Fifo, u8, usize), _| {
        let mut pen: Pen = fifo.writer_timeout(LONG).unwrap();
        (0..n).for_each(|n| pen.send_timeout(message(who, n), LONG).unwrap());
    })
}

/// A process that is in the midst of a message that no pipe has room for, and its number as a writer.
fn within_a_message(fifo: &Fifo, log: &mut Log) -> (Other, u64) {
    let mut other = Other::until(fifo.share(), |fifo: Fifo, line| {
        let mut pen: Pen = fifo.writer_timeout(LONG).unwrap();
        pen.send(pen.id().to_le_bytes().to_vec()).unwrap();
        line.tell_and_wait();
        pen.send(vec![7; HUGE]).unwrap();
        line.tell_and_wait();
    });
    let id = u64::from_le_bytes(log.recv_timeout(LONG).unwrap().try_into().unwrap());
    other.go_on();
    ipc_tests::eventually("a part of it is there", || ipc_fifo::wait(&[&*log], LONG).is_ok_and(|ready| ready == [0]));
    until_asleep(other.pid());
    (other, id)
}
