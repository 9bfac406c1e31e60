//! Two producers and two consumers with a small buffer between them: producers wait while it is full, consumers while it
//! is empty.
#![forbid(unsafe_code)]

use bytemuck::{Pod, Zeroable};
use ipc_core::Process;
use ipc_sync::{Condvar, Mutex, Result};
use serde::{Deserialize, Serialize};

const PLACES: usize = 4;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Ring {
    items: [u32; PLACES],
    /// How many were put in and taken out, ever.
    put: u32,
    taken: u32,
}

impl Ring {
    fn len(&self) -> usize {
        (self.put - self.taken) as usize
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Buffer {
    ring: Mutex<Ring>,
    not_full: Condvar,
    not_empty: Condvar,
}

impl Buffer {
    fn put(&self, item: u32) -> Result<()> {
        let mut ring = self.not_full.wait_while(self.ring.lock()?, |ring| ring.len() == PLACES)?;
        let place = ring.put as usize % PLACES;
        ring.items[place] = item;
        ring.put += 1;
        drop(ring); // so that whoever wakes up can have it
        self.not_empty.notify_one()
    }

    fn take(&self) -> Result<u32> {
        let mut ring = self.not_empty.wait_while(self.ring.lock()?, |ring| ring.len() == 0)?;
        let item = ring.items[ring.taken as usize % PLACES];
        ring.taken += 1;
        drop(ring);
        self.not_full.notify_one()?;
        Ok(item)
    }
}

fn produce((buffer, items): (Buffer, std::ops::Range<u32>)) {
    items.for_each(|item| buffer.put(item).expect("nobody dies here"));
}

fn consume((buffer, count): (Buffer, usize)) -> Vec<u32> {
    (0..count).map(|_| buffer.take().expect("nobody dies here")).collect()
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let ring = Mutex::new(Ring::zeroed())?;
    let buffer = Buffer { ring, not_full: Condvar::new()?, not_empty: Condvar::new()? };
    let producers = [0..500, 500..1000].map(|items| Process::spawn(produce, (buffer.clone(), items)));
    let consumers = [300, 700].map(|count| Process::spawn(consume, (buffer.clone(), count)));

    let mut items = Vec::new();
    for consumer in consumers {
        let taken = consumer?.join()?;
        println!("a consumer has taken {} items", taken.len());
        items.extend(taken);
    }
    for producer in producers {
        producer?.join()?;
    }
    items.sort_unstable();
    println!("each item was taken once: {}", items.into_iter().eq(0..1000));
    println!("left in the buffer: {}", buffer.ring.lock()?.len());
    Ok(())
}
