//! The values and arrays of ipc-shm, as `locks.rs` wants locks.

use std::cell::Cell;
use std::time::Instant;

use ipc_shm::{Array, Error, Value};
use ipc_tests::campaign::Rng;

use crate::locks::{Lock, Then, Told};
use crate::sync_locks::{SHORT, Words, cells, proceed};

/// What is wrong with the lock; everything else is a defect.
fn of_lock<R>(result: Result<R, Error>) -> ipc_sync::Result<R> {
    result.map_err(|error| match error {
        Error::Lock(error) => error,
        error => panic!("{error:?}"),
    })
}

impl Lock for Array<u64> {
    fn share(&self) -> Array<u64> {
        self.clone()
    }

    fn with(&self, rng: &mut Rng, work: &mut dyn FnMut(&[Cell<u64>], Told) -> Then) -> Then {
        loop {
            let (begin, mut repaired) = (Instant::now(), None);
            let repair = |words: &mut [u64], pid| {
                repaired = Some(work(cells(words), Told::Died(pid)));
                repaired == Some(Then::Unlock)
            };
            let lock = of_lock(match rng.below(8) {
                0 => self.try_lock(),
                1 => self.lock_timeout(SHORT),
                2 => self.lock(),
                3 => self.try_lock_or_repair(repair),
                4 => self.lock_or_repair_timeout(SHORT, repair),
                _ => self.lock_or_repair(repair),
            });
            if let Some(then) = proceed(lock, repaired, begin, |words| work(cells(words), Told::Nothing)) {
                return then;
            }
        }
    }

    fn look(&self, _: &mut Rng, look: &mut dyn FnMut(&[u64])) {
        match of_lock(self.to_vec()) {
            Ok(words) => look(&words),
            Err(ipc_sync::Error::OwnerDied { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

impl Lock for Value<Words> {
    fn share(&self) -> Value<Words> {
        self.clone()
    }

    fn with(&self, rng: &mut Rng, work: &mut dyn FnMut(&[Cell<u64>], Told) -> Then) -> Then {
        loop {
            let (begin, mut repaired) = (Instant::now(), None);
            let repair = |words: &mut Words, pid| {
                repaired = Some(work(cells(words), Told::Died(pid)));
                repaired == Some(Then::Unlock)
            };
            let lock = of_lock(match rng.below(8) {
                0 => self.try_lock(),
                1 => self.lock_timeout(SHORT),
                2 => self.lock(),
                3 => self.try_lock_or_repair(repair),
                4 => self.lock_or_repair_timeout(SHORT, repair),
                _ => self.lock_or_repair(repair),
            });
            if let Some(then) = proceed(lock, repaired, begin, |words| work(cells(&mut words[..]), Told::Nothing)) {
                return then;
            }
        }
    }

    fn look(&self, _: &mut Rng, look: &mut dyn FnMut(&[u64])) {
        match of_lock(self.get()) {
            Ok(words) => look(&words),
            Err(ipc_sync::Error::OwnerDied { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}
