//! What the workers note, in memory that survives them.

use std::fmt;
use std::os::fd::AsFd;

use ipc_core::Handle;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::{pread, pwrite};
use serde::{Deserialize, Serialize};

use super::message::Flaw;

/// Numbers in memory of the campaign's that workers write with `pwrite`: a worker that is killed has written a number or has
/// not, and what it has written is there.
#[derive(Debug, Serialize, Deserialize)]
pub struct Journal(Handle);

/// One worker's page of the journal: how many messages it has begun, finished and got, by the order in which it does so.
#[derive(Serialize, Deserialize)]
pub struct Lane {
    journal: Journal,
    number: u64,
}

/// How many lanes there are.
const LANES: u64 = 4;
const FIELDS: u64 = 5;
const ATTEMPTED: u64 = 0;
const ACKNOWLEDGED: u64 = 1;
const RECEIVED: u64 = 2;
const FLAW: u64 = 3;
const TOLD: u64 = 4;
/// Behind the lanes: whether the survivors are to come to an end.
const OVER: u64 = LANES * FIELDS;

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
    /// There are four.
    pub fn lane(&self, number: u64) -> Lane {
        assert!(number < LANES);
        Lane { journal: self.share(), number }
    }

    /// All numbers to 0.
    pub(super) fn clear(&self) {
        (0..=OVER).for_each(|place| self.set(place, 0));
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

/// What it says.
impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [self.attempted(), self.acknowledged(), self.received(), self.told()];
        let names = ["attempted", "acknowledged", "received", "told"].into_iter();
        f.debug_map().entries(names.zip(numbers).filter(|(_, number)| *number > 0)).finish()
    }
}
