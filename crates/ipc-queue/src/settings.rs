//! How large a queue is.

use ipc_core::{Layout, MAX_MESSAGE, Segment};

use crate::layout::{EXTENTS, Header, LEASE_WORDS, QueueState};
use crate::place::Place;
use crate::{Error, Result};

/// How much a queue takes, and how it treats what comes back.
///
/// ```
/// use ipc_queue::{Queue, Settings};
///
/// # fn main() -> ipc_queue::Result<()> {
/// let settings = Settings::new().items(100).max_message(64 << 10).max_deliveries(5);
/// let queue: Queue<String> = Queue::with(&settings)?;
/// assert_eq!(queue.capacity(), Some(100));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub(crate) items: u64,
    pub(crate) ring: u64,
    pub(crate) max_message: u64,
    pub(crate) leases: u64,
    pub(crate) max_deliveries: u64,
}

impl Settings {
    /// The most items that can be a limit.
    pub const MAX_ITEMS: usize = Place::MAX_ITEMS as usize;
    /// The most leases that can be open at a time.
    pub const MAX_LEASES: usize = 1 << 20;

    /// A ring of 1 MiB, any number of items, messages of up to 1 GiB, 1,024 open leases, any number of deliveries.
    pub fn new() -> Settings {
        Settings { items: Place::MAX_ITEMS, ring: 1 << 20, max_message: MAX_MESSAGE, leases: 1024, max_deliveries: 0 }
    }

    /// So many items at most; Python's `maxsize`. 0, as there, is no limit but that of the memory.
    #[doc(alias = "maxsize")]
    #[must_use]
    pub fn items(self, items: usize) -> Settings {
        Settings { items: if items == 0 { Place::MAX_ITEMS } else { items as u64 }, ..self }
    }

    /// So many bytes of messages at most, with 8 more for each; rounded up to a power of two and to whole pages. Messages longer than a
    /// quarter of it go another way, which takes system calls and a copy more: make it longer if there are many of them.
    ///
    /// ```
    /// use ipc_queue::{Error, Queue, Settings};
    ///
    /// # fn main() -> ipc_queue::Result<()> {
    /// let queue: Queue<Vec<u8>> = Queue::with(&Settings::new().ring(16 << 20))?; // for many messages of up to 4 MiB
    /// queue.put(vec![0; 4_000_000])?;
    /// assert!(queue.stats()?.memory >= 16 << 20);
    /// assert!(matches!(Queue::<u8>::with(&Settings::new().ring(0)), Err(Error::Setting { min: 1, .. })));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn ring(self, bytes: usize) -> Settings {
        Settings { ring: bytes as u64, ..self }
    }

    /// No message is longer than so many bytes, encoded. Those that do not fit into the ring's quarter take four times this at most
    /// together.
    ///
    /// ```
    /// use ipc_queue::{Error, Queue, Settings};
    ///
    /// # fn main() -> ipc_queue::Result<()> {
    /// let queue: Queue<String> = Queue::with(&Settings::new().max_message(100))?;
    /// let failed = queue.put("x".repeat(100)).unwrap_err();
    /// assert!(matches!(failed.error, Error::TooLarge { len: 101, max: 100 })); // its length is encoded, too
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn max_message(self, bytes: usize) -> Settings {
        Settings { max_message: bytes as u64, ..self }
    }

    /// So many leases can be open at a time. Each takes a little more than 1 KiB.
    ///
    /// ```
    /// use ipc_queue::{Error, Queue, Settings};
    ///
    /// # fn main() -> ipc_queue::Result<()> {
    /// let queue: Queue<u32> = Queue::with(&Settings::new().leases(1))?;
    /// queue.put_many(&[1, 2])?;
    /// let first = queue.lease()?;
    /// assert!(matches!(queue.lease(), Err(Error::LeaseLimit { max: 1 }))); // the message stays in the queue
    /// first.ack()?;
    /// assert_eq!(*queue.lease()?, 2);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn leases(self, leases: usize) -> Settings {
        Settings { leases: leases as u64, ..self }
    }

    /// A message that was delivered so often without success becomes a [dead letter](crate::DeadLetter): see its example. 0 is no limit.
    #[must_use]
    pub fn max_deliveries(self, deliveries: u32) -> Settings {
        Settings { max_deliveries: u64::from(deliveries), ..self }
    }

    /// Rounded, and refused if that is impossible.
    pub(crate) fn checked(self) -> Result<Settings> {
        let within = |what, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(Error::Setting { what, min, max }) }
        };
        within("items", self.items, 1, Place::MAX_ITEMS)?;
        within("bytes of the ring", self.ring, 1, MAX_RING)?;
        within("bytes of the longest message", self.max_message, 1, MAX_EXTENT)?;
        within("leases", self.leases, 0, Settings::MAX_LEASES as u64)?;
        within("deliveries", self.max_deliveries, 0, u64::from(u16::MAX))?;
        let ring = self.ring.next_power_of_two().max(PAGE);
        Ok(Settings { ring, ..self })
    }

    /// What is longer does not go through the ring.
    #[inline]
    pub(crate) fn max_record(&self) -> u64 {
        (self.ring / 4).min(Header::MAX_LEN)
    }

    /// How far apart they lie.
    pub(crate) fn stride(&self) -> u64 {
        self.max_message.next_multiple_of(PAGE)
    }

    /// Words behind the state: owners of leases, leases, owners of extents, their lengths.
    pub(crate) fn words(&self) -> usize {
        (self.leases + self.leases * LEASE_WORDS + 2 * EXTENTS) as usize
    }

    pub(crate) fn ring_offset(&self) -> usize {
        Segment::space_for::<QueueState>(self.words()).next_multiple_of(PAGE as usize)
    }

    pub(crate) fn layout(&self) -> Layout {
        let mapped = self.ring_offset() + self.ring as usize;
        Layout { mapped, len: mapped as u64 + EXTENTS * self.stride() }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::new()
    }
}

/// The largest page there is on the machines that are supported: rings and extents are multiples of it.
pub(crate) const PAGE: u64 = 64 << 10;
/// As much as is reasonable, and far from what a place can count.
const MAX_RING: u64 = 1 << 36;
const _: () = assert!(MAX_RING < Place::MAX_RING);
/// So that all extents together stay below what a file may be long.
const MAX_EXTENT: u64 = 1 << 40;
