//! The three locks of ipc-sync, as `locks.rs` wants them.

use std::cell::Cell;
use std::mem;
use std::time::{Duration, Instant};

use ipc_sync::{Error, Mutex, RLock, Result, RwLock};
use ipc_tests::campaign::{Rng, STALL_LIMIT};

use crate::locks::{Lock, Then, Told, WORDS};

pub(crate) type Words = [u64; WORDS];

pub(crate) const SHORT: Duration = Duration::from_micros(300);

/// Goes on after an attempt to take a lock: in `repaired` is what was done if a death was told. `None` if it was not had in time.
pub(crate) fn proceed<G>(
    lock: Result<G>,
    repaired: Option<Then>,
    begin: Instant,
    work: impl FnOnce(&mut G) -> Then,
) -> Option<Then> {
    match (lock, repaired) {
        (Ok(_guard), Some(Then::Unlock)) => repaired,
        (Ok(mut guard), None) => {
            let then = work(&mut guard);
            if then == Then::Forget {
                mem::forget(guard);
            }
            Some(then)
        }
        (Err(Error::OwnerDied { .. }), None | Some(Then::LeaveBroken)) => Some(Then::LeaveBroken),
        (Err(Error::Timeout | Error::WouldBlock), None) => {
            assert!(begin.elapsed() < STALL_LIMIT, "a time-out came too late");
            None
        }
        (other, repaired) => panic!("{:?} after {repaired:?}", other.map(drop)),
    }
}

pub(crate) fn cells(words: &mut [u64]) -> &[Cell<u64>] {
    Cell::from_mut(words).as_slice_of_cells()
}

impl Lock for Mutex<Words> {
    fn share(&self) -> Mutex<Words> {
        self.clone()
    }

    fn with(&self, rng: &mut Rng, work: &mut dyn FnMut(&[Cell<u64>], Told) -> Then) -> Then {
        loop {
            let (begin, mut repaired) = (Instant::now(), None);
            let repair = |words: &mut Words, pid| {
                repaired = Some(work(cells(words), Told::Died(pid)));
                repaired == Some(Then::Unlock)
            };
            let lock = match rng.below(8) {
                0 => self.try_lock(),
                1 => self.lock_timeout(SHORT),
                2 => self.lock(),
                3 => self.try_lock_or_repair(repair),
                4 => self.lock_or_repair_timeout(SHORT, repair),
                _ => self.lock_or_repair(repair),
            };
            if let Some(then) = proceed(lock, repaired, begin, |words| work(cells(&mut words[..]), Told::Nothing)) {
                return then;
            }
        }
    }
}

fn slice(words: &Cell<Words>) -> &[Cell<u64>] {
    let words: &Cell<[u64]> = words;
    words.as_slice_of_cells()
}

impl Lock for RLock<Words> {
    fn share(&self) -> RLock<Words> {
        self.clone()
    }

    fn with(&self, rng: &mut Rng, work: &mut dyn FnMut(&[Cell<u64>], Told) -> Then) -> Then {
        // Once more in the middle, when it cannot wait any more, and is told the same.
        let again = rng.one_in(3);
        let mut twice = |words: &Cell<Words>, told: Told| {
            match (again.then(|| self.lock()), told) {
                (None, _) | (Some(Ok(_)), Told::Nothing) => {}
                (Some(Err(Error::OwnerDied { pid })), Told::Died(dead)) if pid == dead => {}
                (other, told) => panic!("{:?} inside of {told:?}", other.map(|lock| lock.map(drop))),
            }
            work(slice(words), told)
        };
        loop {
            let (begin, mut repaired) = (Instant::now(), None);
            let repair = |words: &Cell<Words>, pid| {
                repaired = Some(twice(words, Told::Died(pid)));
                repaired == Some(Then::Unlock)
            };
            let lock = match rng.below(8) {
                0 => self.try_lock(),
                1 => self.lock_timeout(SHORT),
                2 => self.lock(),
                3 => self.try_lock_or_repair(repair),
                4 => self.lock_or_repair_timeout(SHORT, repair),
                _ => self.lock_or_repair(repair),
            };
            if let Some(then) = proceed(lock, repaired, begin, |words| twice(words, Told::Nothing)) {
                return then;
            }
        }
    }
}

impl Lock for RwLock<Words> {
    fn share(&self) -> RwLock<Words> {
        self.clone()
    }

    fn with(&self, rng: &mut Rng, work: &mut dyn FnMut(&[Cell<u64>], Told) -> Then) -> Then {
        loop {
            let (begin, mut repaired) = (Instant::now(), None);
            let repair = |words: &mut Words, pid| {
                repaired = Some(work(cells(words), Told::Died(pid)));
                repaired == Some(Then::Unlock)
            };
            let lock = match rng.below(8) {
                0 => self.try_write(),
                1 => self.write_timeout(SHORT),
                2 => self.write(),
                3 => self.try_write_or_repair(repair),
                4 => self.write_or_repair_timeout(SHORT, repair),
                _ => self.write_or_repair(repair),
            };
            if let Some(then) = proceed(lock, repaired, begin, |words| work(cells(&mut words[..]), Told::Nothing)) {
                return then;
            }
        }
    }

    fn look(&self, rng: &mut Rng, look: &mut dyn FnMut(&[u64])) {
        loop {
            let begin = Instant::now();
            let read = match rng.below(6) {
                0 => self.try_read(),
                1 => self.read_timeout(SHORT),
                _ => self.read(),
            };
            match read {
                Ok(words) => return look(&words[..]),
                Err(Error::OwnerDied { .. }) => return,
                Err(Error::Timeout | Error::WouldBlock) => {
                    assert!(begin.elapsed() < STALL_LIMIT, "a time-out came too late");
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}
