//! Ours: `ipc_shm`, bytes and values that processes share.

use ipc_shm::{Array, AtomicValue, SharedMemory, Value};

use super::{Goal, Row};
use crate::exclusion::{Count, Make, Portable, incremented};
use crate::failure::Outcome;
use crate::groups::{ATOMIC, BULK_COPY_IN, BULK_COPY_IN_64K, BULK_COPY_OUT, BULK_COPY_OUT_64K, SEGMENTS, VALUE};
use crate::memory::{Copies, Counter, copied_in, copied_out, counted};
use crate::window::Window;

pub(crate) const ROWS: &[Row] = &[
    Row {
        group: &ATOMIC,
        name: "AtomicValue<u64>::fetch_add",
        goal: Goal::AtMost(1.2),
        measure: counted::<AtomicValue<u64>>,
    },
    Row { group: &VALUE, name: "Value<u64>::update", goal: Goal::AtMost(1.6), measure: incremented::<Value<u64>> },
    Row { group: &VALUE, name: "Array<u64>::update", goal: Goal::Look, measure: incremented::<Array<u64>> },
    Row {
        group: &BULK_COPY_IN,
        name: "SharedMemory::write_at",
        goal: Goal::AtLeast(0.95),
        measure: copied_in::<SharedMemory, { 1 << 20 }>,
    },
    Row {
        group: &BULK_COPY_OUT,
        name: "SharedMemory::read_at",
        goal: Goal::AtLeast(0.95),
        measure: copied_out::<SharedMemory, { 1 << 20 }>,
    },
    Row {
        group: &BULK_COPY_IN_64K,
        name: "SharedMemory::write_at",
        goal: Goal::AtLeast(0.95),
        measure: copied_in::<SharedMemory, { 64 << 10 }>,
    },
    Row {
        group: &BULK_COPY_OUT_64K,
        name: "SharedMemory::read_at",
        goal: Goal::AtLeast(0.95),
        measure: copied_out::<SharedMemory, { 64 << 10 }>,
    },
    Row { group: &SEGMENTS, name: "SharedMemory::anonymous", goal: Goal::Look, measure: |plan| plan.alone(anonymous) },
    Row { group: &SEGMENTS, name: "SharedMemory::create", goal: Goal::Look, measure: |plan| plan.alone(named) },
];

impl Counter for AtomicValue<u64> {
    fn new() -> Outcome<Self> {
        Ok(AtomicValue::new(0)?)
    }

    #[inline(always)]
    fn next(&self) -> u64 {
        self.fetch_add(1)
    }
}

impl Make for Value<u64> {
    fn new() -> Outcome<Self> {
        Ok(Value::new(0)?)
    }
}

impl Portable for Value<u64> {
    fn try_clone(&self) -> Outcome<Self> {
        Ok(self.clone())
    }
}

impl Count for Value<u64> {
    #[inline(always)]
    fn increment(&self) -> Outcome<()> {
        Ok(self.update(|n| *n += 1)?)
    }

    fn count(&self) -> Outcome<u64> {
        Ok(self.get()?)
    }
}

impl Make for Array<u64> {
    fn new() -> Outcome<Self> {
        Ok(Array::zeroed(16)?)
    }
}

impl Portable for Array<u64> {
    fn try_clone(&self) -> Outcome<Self> {
        Ok(self.clone())
    }
}

/// Of one of its elements.
impl Count for Array<u64> {
    #[inline(always)]
    fn increment(&self) -> Outcome<()> {
        Ok(self.update(9, |n| *n += 1)?)
    }

    fn count(&self) -> Outcome<u64> {
        Ok(self.get(9)?)
    }
}

impl<const SIZE: usize> Copies<SIZE> for SharedMemory {
    fn new() -> Outcome<Self> {
        Ok(SharedMemory::anonymous(SIZE)?)
    }

    #[inline(always)]
    fn copy_in(&self, from: &[u8]) -> Outcome<()> {
        Ok(self.write_at(0, from)?)
    }

    #[inline(always)]
    fn copy_out(&self, to: &mut [u8]) -> Outcome<()> {
        Ok(self.read_at(0, to)?)
    }
}

fn anonymous(window: Window) -> Outcome<f64> {
    let timed = window.time(16, || Ok(SharedMemory::anonymous(4096)?.write_at(0, &[1])?))?;
    Ok(timed.microseconds_each())
}

fn named(window: Window) -> Outcome<f64> {
    let name = format!("ipc-bench-{}", std::process::id());
    let timed = window.time(16, || Ok(SharedMemory::create(&name, 4096)?.write_at(0, &[1])?))?;
    Ok(timed.microseconds_each())
}
