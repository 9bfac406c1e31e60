//! The C library's mutex and semaphore in shared memory, used directly: what ours are compared with.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Goal, Row};
use crate::exclusion::{Count, Hold, Inherit, Make, Portable, Take, alone, contended, handover, idle, incremented};
use crate::failure::{Failure, Outcome};
use crate::groups::{IDLE, LOCK, LOCK_CONTENDED, LOCK_HANDOVER, SEMAPHORE, VALUE};
use crate::raw;

pub(crate) const ROWS: &[Row] = &[
    Row { group: &LOCK, name: "pthread mutex", goal: Goal::Reference, measure: alone::<Plain> },
    Row { group: &LOCK, name: "pthread mutex, robust", goal: Goal::Look, measure: alone::<Robust> },
    Row { group: &SEMAPHORE, name: "sem_t", goal: Goal::Reference, measure: alone::<raw::Semaphore> },
    Row { group: &LOCK_CONTENDED, name: "pthread mutex", goal: Goal::Reference, measure: contended::<Plain> },
    Row { group: &LOCK_CONTENDED, name: "pthread mutex, robust", goal: Goal::Look, measure: contended::<Robust> },
    Row { group: &LOCK_HANDOVER, name: "pthread mutex, robust", goal: Goal::Reference, measure: handover::<Robust> },
    Row { group: &IDLE, name: "pthread mutex", goal: Goal::Look, measure: idle::<Plain> },
    Row { group: &IDLE, name: "sem_t", goal: Goal::Look, measure: idle::<raw::Semaphore> },
    Row { group: &VALUE, name: "pthread mutex and += 1", goal: Goal::Reference, measure: incremented::<Plain> },
];

/// Both are for several processes.
#[derive(Serialize, Deserialize)]
struct Mutex<const ROBUST: bool>(raw::Mutex);

type Plain = Mutex<false>;
type Robust = Mutex<true>;

impl<const ROBUST: bool> Make for Mutex<ROBUST> {
    fn new() -> Outcome<Self> {
        Ok(Mutex(raw::Mutex::new(ROBUST)?))
    }
}

impl<const ROBUST: bool> Take for Mutex<ROBUST> {
    #[inline(always)]
    fn take_and_give_back(&self) -> Outcome<()> {
        drop(self.0.lock()?);
        Ok(())
    }
}

impl<const ROBUST: bool> Portable for Mutex<ROBUST> {
    fn try_clone(&self) -> Outcome<Self> {
        Ok(Mutex(self.0.try_clone()?))
    }
}

impl<const ROBUST: bool> Count for Mutex<ROBUST> {
    #[inline(always)]
    fn increment(&self) -> Outcome<()> {
        *self.0.lock()? += 1;
        Ok(())
    }

    fn count(&self) -> Outcome<u64> {
        Ok(*self.0.lock()?)
    }
}

impl<const ROBUST: bool> Hold for Mutex<ROBUST> {
    fn hold(&self, meanwhile: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        let _locked = self.0.lock()?;
        meanwhile()
    }

    fn wait(&self) -> Outcome<()> {
        self.take_and_give_back()
    }
}

impl Inherit for Robust {
    fn inherit(&self) -> Outcome<Instant> {
        let mut locked = self.0.lock()?;
        let now = Instant::now();
        if !locked.owner_died() {
            return Err(Failure::new("the owner's death was not noticed"));
        }
        locked.repair()?;
        Ok(now)
    }
}

impl Make for raw::Semaphore {
    fn new() -> Outcome<Self> {
        Ok(raw::Semaphore::new(1)?)
    }
}

impl Take for raw::Semaphore {
    #[inline(always)]
    fn take_and_give_back(&self) -> Outcome<()> {
        self.wait()?;
        Ok(self.post()?)
    }
}

impl Portable for raw::Semaphore {
    fn try_clone(&self) -> Outcome<Self> {
        Ok(raw::Semaphore::try_clone(self)?)
    }
}

impl Hold for raw::Semaphore {
    fn hold(&self, meanwhile: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        self.wait()?;
        meanwhile()?;
        Ok(self.post()?)
    }

    fn wait(&self) -> Outcome<()> {
        self.take_and_give_back()
    }
}
