//! What the workers note, in memory that survives them.

use std::fmt;
use std::os::fd::AsFd;

use ipc_core::Handle;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::ftruncate;
use serde::{Deserialize, Serialize};

use super::message::Flaw;

/// Numbers in memory of the campaign's that workers write with `pwrite`: a worker that is killed has written a number or has
/// not, and what it has written is there.
#[derive(Debug, Serialize, Deserialize)]
pub struct Journal(Handle);

/// One worker's page of the journal: how many messages it has begun, finished and got, by the order in which it does so; and a log.
#[derive(Serialize, Deserialize)]
pub struct Lane {
    journal: Journal,
    number: u64,
}

/// What one worker notes one after the other, where counts do not tell enough.
#[derive(Debug)]
pub struct Log {
    lane: Lane,
    next: u64,
}

/// How many lanes there are.
const LANES: u64 = 64;
const FIELDS: u64 = 5;
const ATTEMPTED: u64 = 0;
const ACKNOWLEDGED: u64 = 1;
const RECEIVED: u64 = 2;
const FLAW: u64 = 3;
const TOLD: u64 = 4;
/// Behind the lanes: whether the survivors are to come to an end.
const OVER: u64 = LANES * FIELDS;
/// Behind that, far apart, the logs of the lanes. What nobody has written takes no memory.
const LOGS: u64 = 1 << 12;
const LOG_ROOM: u64 = 1 << 24;

impl Journal {
    /// Memory for numbers that are all 0.
    ///
    /// # Panics
    /// The system refuses memory.
    pub fn create() -> Journal {
        let fd = memfd_create("campaign", MFdFlags::MFD_CLOEXEC).expect("memory for the journal");
        Journal(Handle::from(fd))
    }

    /// Another handle of the same memory, for another process.
    ///
    /// # Panics
    /// The limit of open files is reached.
    pub fn share(&self) -> Journal {
        Journal(self.0.try_clone().expect("a descriptor"))
    }

    /// The number at a place.
    pub fn get(&self, place: u64) -> u64 {
        let mut bytes = [0; 8];
        let _ = pread(self.0.as_fd(), &mut bytes, place as i64 * 8); // what was never written is 0
        u64::from_le_bytes(bytes)
    }

    /// Notes a number.
    ///
    /// # Panics
    /// The system refuses memory.
    pub fn set(&self, place: u64, value: u64) {
        let written = pwrite(self.0.as_fd(), &value.to_le_bytes(), place as i64 * 8);
        assert_eq!(written, Ok(8), "the journal can be written");
    }

    /// A worker's page, to be passed to it.
    ///
    /// # Panics
    /// There are 64.
    pub fn lane(&self, number: u64) -> Lane {
        assert!(number < LANES);
        Lane { journal: self.share(), number }
    }

    /// All numbers to 0.
    pub(super) fn clear(&self) {
        ftruncate(self.0.as_fd(), 0).expect("the journal can be emptied");
    }

    pub(super) fn end(&self) {
        self.set(OVER, 1);
    }
}

impl Lane {
    /// A second handle for the same page.
    ///
    /// # Panics
    /// At the limit of open files.
    pub fn share(&self) -> Lane {
        self.journal.lane(self.number)
    }

    /// The worker is about to send the messages up to number `n` (not including it).
    pub fn attempt(&self, n: u64) {
        self.put(ATTEMPTED, n);
    }

    /// The calls that sent the messages up to `n` have returned without an error.
    pub fn acknowledge(&self, n: u64) {
        self.put(ACKNOWLEDGED, n);
    }

    /// The worker has got the messages up to `n`.
    pub fn receive(&self, n: u64) {
        self.put(RECEIVED, n);
    }

    /// The worker has been told `n` times that somebody died, and has put in order what that one left behind.
    pub fn tell(&self, n: u64) {
        self.put(TOLD, n);
    }

    /// Whether the survivors are to come to an end, as the victim has.
    pub fn is_over(&self) -> bool {
        self.journal.get(OVER) != 0
    }

    /// The worker has got something that is wrong.
    pub fn complain(&self, flaw: Flaw) {
        self.put(FLAW, 1 + flaw as u64);
    }

    /// Where the worker notes what it does, in its order. Once per worker.
    ///
    /// # Panics
    /// At the limit of open files.
    pub fn log(&self) -> Log {
        Log { lane: self.share(), next: 0 }
    }

    /// What the worker has noted in its log.
    pub fn entries(&self) -> Vec<u64> {
        let (mut entries, mut bytes) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let place = LOGS + self.number * LOG_ROOM + entries.len() as u64;
            let len = pread(self.journal.0.as_fd(), &mut bytes, place as i64 * 8).unwrap_or(0);
            let words =
                bytes[..len].chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
            let before = entries.len();
            entries.extend(words.take_while(|entry| *entry != 0)); // behind them are zeros, or another log
            if entries.len() - before < bytes.len() / 8 {
                return entries;
            }
        }
    }

    /// See [`attempt`](Lane::attempt).
    pub fn attempted(&self) -> u64 {
        self.journal.get(self.number * FIELDS + ATTEMPTED)
    }

    /// See [`acknowledge`](Lane::acknowledge).
    pub fn acknowledged(&self) -> u64 {
        self.journal.get(self.number * FIELDS + ACKNOWLEDGED)
    }

    /// See [`receive`](Lane::receive).
    pub fn received(&self) -> u64 {
        self.journal.get(self.number * FIELDS + RECEIVED)
    }

    /// See [`tell`](Lane::tell).
    pub fn told(&self) -> u64 {
        self.journal.get(self.number * FIELDS + TOLD)
    }

    /// See [`complain`](Lane::complain).
    pub fn flaw(&self) -> Option<Flaw> {
        let number = self.journal.get(self.number * FIELDS + FLAW).checked_sub(1)?;
        Flaw::ALL.into_iter().find(|flaw| *flaw as u64 == number)
    }

    fn put(&self, field: u64, value: u64) {
        self.journal.set(self.number * FIELDS + field, value);
    }
}

impl Log {
    /// Notes all of these, none of which is 0, or none.
    ///
    /// # Panics
    /// The system refuses memory.
    pub fn note(&mut self, entries: &[u64]) {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let place = LOGS + self.lane.number * LOG_ROOM + self.next;
        let written = pwrite(self.lane.journal.0.as_fd(), &bytes, place as i64 * 8);
        assert_eq!(written, Ok(bytes.len()), "the journal can be written");
        self.next += entries.len() as u64;
    }
}

/// What it says.
impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [self.attempted(), self.acknowledged(), self.received(), self.told()];
        let names = ["attempted", "acknowledged", "received", "told"].into_iter();
        f.debug_map().entries(names.zip(numbers).filter(|(_, number)| *number > 0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_as_it_was_written() {
        let journal = Journal::create();
        let lanes = [0, 1, LANES - 1].map(|number| journal.lane(number));
        let mut logs = [0, 1, 2].map(|index| lanes[index].log());
        assert_eq!(lanes[0].entries(), []);
        // More than is read at once, and exactly as much.
        let lens = [20_000, 8192, 3];
        for (log, len) in logs.iter_mut().zip(lens) {
            log.note(&(1..len).collect::<Vec<_>>());
            log.note(&[]);
            log.note(&[len]);
        }
        for (lane, len) in lanes.iter().zip(lens) {
            assert_eq!(lane.entries(), (1..=len).collect::<Vec<_>>());
        }
        lanes[1].attempt(7);
        journal.clear();
        assert_eq!((lanes[1].attempted(), lanes[1].entries()), (0, vec![]));
    }
}
