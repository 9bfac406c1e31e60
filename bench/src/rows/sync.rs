//! Ours: `ipc_sync`, locks and semaphores that survive their owners.

use std::time::Instant;

use ipc_sync::{Event, Mutex, RLock, RwLock, Semaphore, Signal};

use super::{Goal, Row};
use crate::exclusion::{Count, Hold, Inherit, Make, Portable, Take, alone, contended, handover, idle};
use crate::failure::{Failure, Outcome};
use crate::groups::{IDLE, LOCK, LOCK_CONTENDED, LOCK_HANDOVER, SEMAPHORE};

pub(crate) const ROWS: &[Row] = &[
    Row { group: &LOCK, name: "Mutex<u64>", goal: Goal::AtMost(1.6), measure: alone::<Mutex<u64>> },
    Row { group: &LOCK, name: "RLock<u64>", goal: Goal::Look, measure: alone::<RLock<u64>> },
    Row { group: &LOCK, name: "RwLock<u64>: read", goal: Goal::Look, measure: alone::<Reader> },
    Row { group: &LOCK, name: "RwLock<u64>: write", goal: Goal::Look, measure: alone::<Writer> },
    Row { group: &SEMAPHORE, name: "Semaphore", goal: Goal::AtMost(1.5), measure: alone::<Semaphore> },
    Row { group: &SEMAPHORE, name: "Signal", goal: Goal::Look, measure: alone::<Signal> },
    Row { group: &LOCK_CONTENDED, name: "Mutex<u64>", goal: Goal::AtMost(1.15), measure: contended::<Mutex<u64>> },
    Row { group: &LOCK_HANDOVER, name: "Mutex<u64>", goal: Goal::Look, measure: handover::<Mutex<u64>> },
    Row { group: &IDLE, name: "Mutex::lock", goal: Goal::Below(0.1), measure: idle::<Mutex<u64>> },
    Row { group: &IDLE, name: "Semaphore::acquire", goal: Goal::Below(0.1), measure: idle::<Semaphore> },
    Row { group: &IDLE, name: "Event::wait", goal: Goal::Below(0.1), measure: idle::<Event> },
];

impl Make for Mutex<u64> {
    fn new() -> Outcome<Self> {
        Ok(Mutex::new(0)?)
    }
}

impl Take for Mutex<u64> {
    #[inline(always)]
    fn take_and_give_back(&self) -> Outcome<()> {
        drop(self.lock()?);
        Ok(())
    }
}

impl Portable for Mutex<u64> {
    fn try_clone(&self) -> Outcome<Self> {
        Ok(self.clone())
    }
}

impl Count for Mutex<u64> {
    #[inline(always)]
    fn increment(&self) -> Outcome<()> {
        *self.lock()? += 1;
        Ok(())
    }

    fn count(&self) -> Outcome<u64> {
        Ok(*self.lock()?)
    }
}

impl Hold for Mutex<u64> {
    fn hold(&self, meanwhile: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        let _guard = self.lock()?;
        meanwhile()
    }

    fn wait(&self) -> Outcome<()> {
        self.take_and_give_back()
    }
}

impl Inherit for Mutex<u64> {
    fn inherit(&self) -> Outcome<Instant> {
        let mut now = None;
        drop(self.lock_or_repair(|_, _| {
            now = Some(Instant::now());
            true
        })?);
        now.ok_or_else(|| Failure::new("the owner's death was not noticed"))
    }
}

impl Make for RLock<u64> {
    fn new() -> Outcome<Self> {
        Ok(RLock::new(0)?)
    }
}

impl Take for RLock<u64> {
    #[inline(always)]
    fn take_and_give_back(&self) -> Outcome<()> {
        drop(self.lock()?);
        Ok(())
    }
}

/// A lock for reading.
struct Reader(RwLock<u64>);

impl Make for Reader {
    fn new() -> Outcome<Self> {
        Ok(Reader(RwLock::new(0)?))
    }
}

impl Take for Reader {
    #[inline(always)]
    fn take_and_give_back(&self) -> Outcome<()> {
        drop(self.0.read()?);
        Ok(())
    }
}

/// The same for writing.
struct Writer(RwLock<u64>);

impl Make for Writer {
    fn new() -> Outcome<Self> {
        Ok(Writer(RwLock::new(0)?))
    }
}

impl Take for Writer {
    #[inline(always)]
    fn take_and_give_back(&self) -> Outcome<()> {
        drop(self.0.write()?);
        Ok(())
    }
}

impl Make for Semaphore {
    fn new() -> Outcome<Self> {
        Ok(Semaphore::new(1)?)
    }
}

impl Take for Semaphore {
    #[inline(always)]
    fn take_and_give_back(&self) -> Outcome<()> {
        drop(self.acquire()?);
        Ok(())
    }
}

impl Portable for Semaphore {
    fn try_clone(&self) -> Outcome<Self> {
        Ok(self.clone())
    }
}

impl Hold for Semaphore {
    fn hold(&self, meanwhile: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        let _permit = self.acquire()?;
        meanwhile()
    }

    fn wait(&self) -> Outcome<()> {
        self.take_and_give_back()
    }
}

impl Make for Signal {
    fn new() -> Outcome<Self> {
        Ok(Semaphore::signal(1)?)
    }
}

impl Take for Signal {
    #[inline(always)]
    fn take_and_give_back(&self) -> Outcome<()> {
        self.acquire()?;
        Ok(self.release()?)
    }
}

impl Make for Event {
    fn new() -> Outcome<Self> {
        Ok(Event::new()?)
    }
}

impl Portable for Event {
    fn try_clone(&self) -> Outcome<Self> {
        Ok(self.clone())
    }
}

impl Hold for Event {
    fn hold(&self, meanwhile: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        meanwhile()?;
        Ok(self.set()?)
    }

    fn wait(&self) -> Outcome<()> {
        Ok(Event::wait(self)?)
    }
}
