//! The way in: a message is written at the tail, and is there once the tail has moved.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ipc_core::{Deadline, Roles, crash_point, prefetch};
use ipc_sync::mechanism::Locked;

use crate::Error;
use crate::core::{Core, now};
use crate::error::Quick;
use crate::extent::Extent;
use crate::layout::Header;
use crate::place::Place;

/// How long others wait for one who waits for much room and does not stir: it may be dead, or stopped.
const WANTED_FOR: Duration = Duration::from_millis(200);

/// How far from what is written or read just now the processor is to fetch, in bytes: as far as one gets in the time that takes.
pub(crate) const AHEAD: u64 = 320;

/// The same where one message is written right after the other.
const FAR_AHEAD: u64 = 1024;

/// What goes in: bytes, in the ring or already in an extent.
pub(crate) enum Message<'a> {
    Bytes(&'a [u8]),
    Extent(&'a Extent<'a>),
}

impl Message<'_> {
    /// How many bytes of the ring it takes.
    #[inline]
    fn size(&self) -> u64 {
        match self {
            Message::Bytes(bytes) => Header::size_of(bytes.len() as u64),
            Message::Extent(_) => Header::of_extent().size(),
        }
    }
}

/// The producers' lock is taken, and there is room from the tail on.
///
/// Filled in where it is used, and never moved: what is stored word by word and moved in larger pieces right afterwards has the processor
/// wait, which took longer than the lock.
pub(crate) struct Room {
    pub(crate) locked: Locked,
    pub(crate) tail: Place,
    /// How many bytes there are.
    bytes: u64,
    /// How many more messages there may be.
    items: u64,
}

impl Room {
    /// To be filled in.
    #[inline(always)]
    pub(crate) fn none() -> Room {
        Room { locked: Locked::NONE, tail: Place::START, bytes: 0, items: 0 }
    }
}

impl Core {
    /// Puts one message.
    #[inline]
    pub(crate) fn put(&self, bytes: &[u8], deadline: Deadline) -> Quick<()> {
        if bytes.len() as u64 > self.settings.max_record() || bytes.len() as u64 > self.settings.max_message {
            return self.put_long(bytes, deadline);
        }
        self.put_message(&Message::Bytes(bytes), deadline)
    }

    #[inline]
    pub(crate) fn put_message(&self, message: &Message<'_>, deadline: Deadline) -> Quick<()> {
        let mut room = Room::none();
        self.room(&mut room, message.size(), deadline)?;
        let end = self.write(room.tail, message);
        if room.bytes > 2 * AHEAD {
            self.ring.prefetch(end.bytes() + AHEAD, true);
        }
        crash_point!("put.filled");
        self.publish(&room, end)
    }

    /// Puts as many of these as there is room for, at least one; all of them must go through the ring. Returns how many.
    pub(crate) fn put_batch<'a>(
        &self,
        messages: impl Iterator<Item = &'a [u8]> + Clone,
        deadline: Deadline,
    ) -> Quick<usize> {
        let Some(first) = messages.clone().next() else { return Ok(0) };
        let mut room = Room::none();
        self.room(&mut room, Header::size_of(first.len() as u64), deadline)?;
        let (mut end, mut put) = (room.tail, 0);
        let (mut left, mut items) = (room.bytes, room.items);
        let mut seen_again = false;
        for bytes in messages {
            let size = Header::size_of(bytes.len() as u64);
            if (left < size || items == 0) && !seen_again {
                seen_again = true;
                self.measure(&mut room, end)?;
                (left, items) = (room.bytes, room.items);
            }
            if left < size || items == 0 {
                break;
            }
            if left > size + 2 * FAR_AHEAD {
                self.ring.prefetch(end.bytes() + FAR_AHEAD, true);
            }
            end = self.write(end, &Message::Bytes(bytes));
            (left, items, put) = (left - size, items - 1, put + 1);
        }
        crash_point!("put.filled");
        self.publish(&room, end)?;
        Ok(put)
    }

    /// Writes a message where nobody reads yet. Returns the place behind it.
    #[inline]
    pub(crate) fn write(&self, at: Place, message: &Message<'_>) -> Place {
        let bytes = at.bytes();
        let header = match message {
            Message::Bytes(contents) => {
                let fits = self.ring.write(bytes + Header::SIZE, contents);
                debug_assert!(fits);
                Header::of(contents.len() as u64)
            }
            Message::Extent(extent) => {
                self.ring.word(bytes + 8).store(extent.index() as u64, Ordering::Relaxed);
                self.ring.word(bytes + 16).store(extent.len(), Ordering::Relaxed);
                extent.queue(at);
                crash_point!("extent.queued");
                Header::of_extent()
            }
        };
        self.ring.word(bytes).store(header.0, Ordering::Relaxed);
        at.after(header.size(), 1)
    }

    /// Moves the tail, which makes everything before it part of the queue; unless the queue was closed meanwhile.
    #[inline(always)]
    pub(crate) fn publish(&self, room: &Room, end: Place) -> Quick<()> {
        let producers = &self.view.producers;
        let moved = self.view.move_tail(room.tail, end);
        crash_point!("put.published");
        self.unlock(&producers.lock, room.locked);
        if !moved {
            return Err(self.why_not_moved().into());
        }
        crash_point!("put.unlocked");
        self.view.end.filled.wake();
        Ok(())
    }

    /// Only closing moves the tail without the lock.
    #[cold]
    fn why_not_moved(&self) -> Error {
        if self.tail().is_closed() { Error::Closed } else { Error::Damaged("its tail moved by itself") }
    }

    /// Takes the producers' lock, once there are so many bytes of room, and room for a message.
    #[inline(always)]
    pub(crate) fn room(&self, room: &mut Room, size: u64, deadline: Deadline) -> Quick<()> {
        if !self.is_anybody_left_since(Roles::CONSUMER)? {
            return Err(Error::Disconnected.into());
        }
        // It is written when the lock is taken and the message copied: by then it can be here.
        prefetch(&self.view.end.tail, true);
        if self.try_room(room, size, 0, deadline)? { Ok(()) } else { self.wait_for_room(room, size, deadline) }
    }

    /// Takes the lock if there is room now. `token` is that of one who waits for much room.
    #[inline(always)]
    fn try_room(&self, room: &mut Room, size: u64, token: u64, deadline: Deadline) -> Quick<bool> {
        let producers = &self.view.producers;
        room.locked = self.lock(&producers.lock, deadline)?;
        if room.locked.died().is_some() {
            self.repair_producers();
        }
        let found = self.look_for_room(room, size, token);
        if !matches!(found, Ok(true)) {
            self.unlock(&producers.lock, room.locked);
        }
        found
    }

    /// Under the lock: the tail, and how much room there is behind it.
    #[inline(always)]
    fn look_for_room(&self, room: &mut Room, size: u64, token: u64) -> Quick<bool> {
        let producers = &self.view.producers;
        let tail = Place(self.view.end.tail.load(Ordering::Relaxed));
        if tail.is_closed() {
            return Err(Error::Closed.into());
        }
        if producers.wanted_until.load(Ordering::Relaxed) != 0 && self.is_wanted_by_another(token) {
            return Ok(false);
        }
        room.tail = tail;
        let head = Place(producers.seen_head.load(Ordering::Relaxed));
        let (used, dead) = (tail.bytes_since(head), self.view.settings.dead.load(Ordering::Relaxed));
        room.items = self.settings.items.saturating_sub(tail.items_since(head).saturating_add(dead));
        room.bytes = self.settings.ring.saturating_sub(used);
        if room.bytes >= size && room.items > 0 {
            return Ok(true);
        }
        self.measure(room, tail)?;
        if room.bytes >= size && room.items > 0 {
            return Ok(true);
        }
        if token != 0 {
            producers.wanted_by.store(token, Ordering::Relaxed);
            producers.wanted_until.store(now() + WANTED_FOR.as_nanos() as u64, Ordering::Relaxed);
        }
        Ok(false)
    }

    /// Under the lock: how much room there is behind a place, after a look at the head.
    fn measure(&self, room: &mut Room, tail: Place) -> Quick<()> {
        // Acquire: who has freed the room has read what was there.
        let head = self.head();
        self.view.producers.seen_head.store(head.0, Ordering::Relaxed);
        let used = self.distance(head, tail)?;
        let dead = self.view.settings.dead.load(Ordering::Relaxed);
        room.bytes = self.settings.ring - used;
        room.items = self.settings.items.saturating_sub(tail.items_since(head).saturating_add(dead));
        Ok(())
    }

    /// Whether somebody else waits for much room, so that small messages would keep it from ever coming about.
    #[cold]
    fn is_wanted_by_another(&self, token: u64) -> bool {
        let producers = &self.view.producers;
        let until = producers.wanted_until.load(Ordering::Relaxed);
        let is_mine = producers.wanted_by.load(Ordering::Relaxed) == token;
        let now = now();
        if is_mine || now >= until || until - now > WANTED_FOR.as_nanos() as u64 {
            producers.wanted_until.store(0, Ordering::Relaxed);
            return false;
        }
        true
    }

    #[cold]
    fn wait_for_room(&self, room: &mut Room, size: u64, deadline: Deadline) -> Quick<()> {
        if deadline.is_now() {
            return Err(self.why_no_room());
        }
        // Only who needs much is passed by others for ever.
        let token = if size > self.settings.max_record() / 16 { token() } else { 0 };
        let counts = &self.view.counts;
        let waited = self.wait(
            &self.view.head.freed,
            &counts.put_waits,
            &self.room_pace,
            deadline,
            || {
                if token == 0 && !self.may_have_room(size) {
                    return Ok(false);
                }
                self.try_room(room, size, token, deadline)
            },
            || {
                self.check_consumers()?;
                if self.could_be_ended()? { Ok(()) } else { Err(Error::Disconnected.into()) }
            },
        );
        if waited.is_err() && token != 0 {
            self.want_no_more(token);
        } else if token != 0 {
            self.view.head.freed.wake(); // those who stood back
        }
        waited
    }

    /// A look without the lock, whether it is worth taking.
    fn may_have_room(&self, size: u64) -> bool {
        self.tail().is_closed() || self.has_room(size)
    }

    /// Whether there is so much room, just now.
    pub(crate) fn has_room(&self, size: u64) -> bool {
        let (head, tail) = (Place(self.view.head.head.load(Ordering::SeqCst)), self.tail());
        let dead = self.view.settings.dead.load(Ordering::Relaxed);
        let items = tail.items_since(head).saturating_add(dead);
        tail.bytes_since(head).saturating_add(size) <= self.settings.ring && items < self.settings.items
    }

    /// For one who waits for room: the dead give it back; and is anybody left who could make some?
    fn check_consumers(&self) -> Quick<()> {
        self.look_for_the_dead()?;
        if self.is_anybody_left(Roles::CONSUMER)? { Ok(()) } else { Err(Error::Disconnected.into()) }
    }

    fn why_no_room(&self) -> Box<Error> {
        let looked = if self.is_look_due() { self.check_consumers() } else { Ok(()) };
        looked.err().map_or(Error::WouldBlock.into(), |error| {
            self.look_again_soon();
            error
        })
    }

    /// The time of one who waited for much room has passed: others need not wait any more.
    fn want_no_more(&self, token: u64) {
        let producers = &self.view.producers;
        if producers.wanted_by.load(Ordering::Relaxed) == token {
            producers.wanted_until.store(0, Ordering::Relaxed);
            self.view.head.freed.wake();
        }
    }

    /// Under the lock of a producer that died: what it had not published is not there.
    #[cold]
    fn repair_producers(&self) {
        let producers = &self.view.producers;
        producers.seen_head.store(self.head().0, Ordering::Relaxed);
        producers.wanted_until.store(0, Ordering::Relaxed);
        self.free_unpublished(self.tail());
        self.view.counts.recoveries.fetch_add(1, Ordering::Relaxed);
        producers.lock.mark_repaired();
    }
}

/// Nobody else's, as good as certainly, and not 0.
fn token() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() | 1
}
