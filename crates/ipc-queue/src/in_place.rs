//! Messages that are written and read where they lie.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use ipc_core::Deadline;

use crate::core::Core;
use crate::layout::{Header, LeaseField};
use crate::put::Room;
use crate::take::{Source, Taken};
use crate::{Error, Result};

/// The mark of a reservation in what a process knows about the queue: as long as one is open, the memory stays mapped.
const PLACE: usize = 0;

/// Room for a message, to be filled in place and committed. It holds the producers' lock, so it stays in its thread, and nobody else can
/// put anything meanwhile: fill it, and commit. What is not filled is what the memory contained. If it is dropped, or its process dies, the
/// message never was.
///
/// It gives out no slice, as another process that has the memory could write there at any time.
///
/// ```
/// # fn main() -> ipc_queue::Result<()> {
/// let queue = ipc_queue::Queue::<Vec<u8>, ipc_queue::Bytes>::new()?;
/// let mut room = queue.reserve(100_000)?;
/// room.fill(0, 100_000, b'-')?;
/// room.write_at(0, b"first")?;
/// room.commit()?;
/// let message = queue.peek()?;
/// let mut start = [0; 6];
/// message.read_at(0, &mut start)?;
/// assert_eq!((message.len(), &start), (100_000, b"first-"));
/// message.release();
/// # Ok(()) }
/// ```
#[must_use = "the message is not there until it is committed"]
pub struct Reservation<'a> {
    core: &'a Core,
    room: Option<Room>,
    len: usize,
    /// Where the next byte goes that is written one after the other.
    written: usize,
    not_send: PhantomData<*const ()>,
}

impl<'a> Reservation<'a> {
    pub(crate) fn new(core: &'a Core, len: usize, deadline: Deadline) -> Result<Reservation<'a>> {
        let max = core.settings.max_message.min(core.settings.ring - Header::SIZE).min(Header::MAX_LEN);
        if len as u64 > max {
            return Err(Error::TooLarge { len: len as u64, max });
        }
        let mut room = Room::none();
        core.room(&mut room, Header::size_of(len as u64), deadline)?;
        core.view.local().mark(PLACE);
        Ok(Reservation { core, room: Some(room), len, written: 0, not_send: PhantomData })
    }

    /// How many bytes the message has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes bytes of the message.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if they do not all lie in it: nothing was written.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        let at = self.place(offset, bytes.len())?;
        if self.core.ring.write_bytes(at, bytes) { Ok(()) } else { Err(Error::Damaged("the ring is too short")) }
    }

    /// Sets `len` bytes of the message to a value.
    ///
    /// # Errors
    /// As [`write_at`](Reservation::write_at).
    pub fn fill(&mut self, offset: usize, len: usize, value: u8) -> Result<()> {
        let at = self.place(offset, len)?;
        if self.core.ring.fill(at, len, value) { Ok(()) } else { Err(Error::Damaged("the ring is too short")) }
    }

    fn place(&self, offset: usize, len: usize) -> Result<u64> {
        self.core.segment().check_fork()?;
        let end = offset.saturating_add(len);
        if end > self.len {
            return Err(Error::TooLarge { len: end as u64, max: self.len as u64 });
        }
        let tail = self.room.as_ref().map_or(0, |room| room.tail.bytes());
        Ok(tail + Header::SIZE + offset as u64)
    }

    /// Puts the message into the queue.
    ///
    /// ```
    /// use ipc_queue::{Bytes, Queue};
    /// use std::io::Write;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lines = Queue::<Vec<u8>, Bytes>::new()?;
    /// drop(lines.reserve(100)?); // never was
    /// let mut room = lines.reserve(6)?;
    /// assert_eq!((room.len(), room.is_empty()), (6, false));
    /// write!(room, "line {}", 1)?; // one after the other, as to a file
    /// room.commit()?;
    /// assert_eq!(lines.get()?, b"line 1");
    /// assert!(lines.is_empty());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`] if the queue was closed meanwhile; [`Error::Forked`].
    pub fn commit(mut self) -> Result<()> {
        self.core.segment().check_fork()?;
        let Some(room) = self.room.take() else { return Err(Error::Damaged("nothing was reserved")) };
        let header = Header::of(self.len as u64);
        self.core.ring.word(room.tail.bytes()).store(header.0, Ordering::Relaxed);
        ipc_core::crash_point!("put.filled");
        self.core.view.local().unmark(PLACE);
        let end = room.tail.after(header.size(), 1);
        Ok(self.core.publish(&room, end)?)
    }
}

impl io::Write for Reservation<'_> {
    /// One after the other, until the message is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.len - self.written);
        self.write_at(self.written, &bytes[..len]).map_err(io::Error::other)?;
        self.written += len;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            self.core.view.local().unmark(PLACE);
            self.core.unlock(&self.core.view.producers.lock, room.locked);
        }
    }
}

impl fmt::Debug for Reservation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The next message, read where it lies. [`release`](Peek::release) takes it; if it is dropped, or its process dies, it goes to the next
/// one who asks.
///
/// ```
/// use ipc_queue::{Bytes, Queue};
///
/// # fn main() -> ipc_queue::Result<()> {
/// let frames = Queue::<Vec<u8>, Bytes>::new()?;
/// frames.put_many(&[b"Akeep me".to_vec(), b"Bdrop me".to_vec()])?;
/// loop {
///     let frame = frames.peek()?;
///     if frame.byte(0)? == b'A' {
///         frame.release(); // taken, and never copied
///         continue;
///     }
///     let mut text = vec![0; frame.len() - 1];
///     frame.read_at(1, &mut text)?;
///     assert_eq!((&text[..], frame.deliveries(), frame.is_empty()), (&b"drop me"[..], 1, false));
///     break; // dropped: it goes to the next one who asks
/// }
/// assert_eq!(frames.peek()?.deliveries(), 2);
/// # Ok(()) }
/// ```
#[must_use = "a message that is not released goes back to the queue"]
pub struct Peek<'a> {
    core: &'a Core,
    taken: Taken<'a>,
    /// Looked at once: what somebody writes there later leads nobody astray.
    place: Place,
    len: u64,
}

impl<'a> Peek<'a> {
    pub(crate) fn new(core: &'a Core, taken: Taken<'a>) -> Result<Peek<'a>> {
        let mut peek = Peek { core, taken, place: Place::Ring(0), len: 0 };
        (peek.place, peek.len) = peek.find()?;
        Ok(peek)
    }

    /// Where it lies, and how long it is.
    fn find(&self) -> Result<(Place, u64)> {
        match self.taken.source {
            Source::Ring { start, end, .. } => {
                let record = self.core.record(start, end.bytes_since(start))?;
                if record.header.is_extent() {
                    let (index, len) = self.core.extent_of(record);
                    return Ok((Place::Extent(index), len));
                }
                Ok((Place::Ring(start.bytes() + Header::SIZE), record.header.len()))
            }
            Source::Lease(lease) => {
                let len = self.core.lease_field(lease, LeaseField::Len).load(Ordering::Relaxed);
                let extent = self.core.lease_field(lease, LeaseField::Extent).load(Ordering::Relaxed);
                Ok((if extent == 0 { Place::Lease(lease) } else { Place::Extent(extent - 1) }, len))
            }
            Source::Nowhere => Err(Error::Damaged("nothing was taken")),
        }
    }

    /// How many bytes the message has.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes of the message out.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if they do not all lie in it.
    pub fn read_at(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        self.core.segment().check_fork()?;
        let len = self.len;
        let end = offset.saturating_add(to.len()) as u64;
        if end > len {
            return Err(Error::TooLarge { len: end, max: len });
        }
        match self.place {
            Place::Ring(at) if self.core.ring.read(at + offset as u64, to) => Ok(()),
            Place::Ring(_) => Err(Error::Damaged("a message is longer than the ring")),
            Place::Extent(index) => Ok(self.core.read_extent_at(index, offset as u64, to)?),
            Place::Lease(lease) => {
                let mut bytes = Vec::new();
                self.core.append_lease(lease, &mut bytes)?;
                let part = bytes.get(offset..offset + to.len());
                to.copy_from_slice(part.ok_or(Error::Damaged("a lease has an impossible length"))?);
                Ok(())
            }
        }
    }

    /// One byte.
    ///
    /// # Errors
    /// As [`read_at`](Peek::read_at).
    #[inline]
    pub fn byte(&self, offset: usize) -> Result<u8> {
        if let (Place::Ring(at), true) = (self.place, (offset as u64) < self.len) {
            return Ok(self.core.ring.byte(at + offset as u64));
        }
        let mut byte = [0];
        self.read_at(offset, &mut byte)?;
        Ok(byte[0])
    }

    /// How often the message has been delivered, with this time.
    pub fn deliveries(&self) -> u32 {
        self.taken.deliveries().try_into().unwrap_or(u32::MAX)
    }

    /// The message is done with.
    pub fn release(mut self) {
        // A forked copy has nothing to release.
        if self.core.segment().is_original() {
            self.taken.finish();
        }
    }
}

/// Where a message lies.
#[derive(Clone, Copy)]
enum Place {
    /// In the ring, from this byte on.
    Ring(u64),
    /// In that extent.
    Extent(u64),
    /// In that lease.
    Lease(usize),
}

impl Drop for Peek<'_> {
    fn drop(&mut self) {
        if self.core.segment().is_original() {
            self.taken.give_back();
        }
    }
}

impl fmt::Debug for Peek<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peek").field("len", &self.len()).finish_non_exhaustive()
    }
}
