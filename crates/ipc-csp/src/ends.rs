//! The ends of channels: who has them, and how they travel.
//!
//! ```text
//! owner word of an end
//!   0                          free
//!   n, below 2⁶²               participant n has it: a process, or the open file by which it is under way to one
//!   1 << 63 | serial | offer   it is in the value of that offer
//!   1 << 62 | slot             the chooser in that slot is about to read it
//! ```
//! An end is an entry in a table, so that it counts from the moment it is made until nobody can have it any more: when it is dropped, when
//! its process has died, when the message is lost that had it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipc_core::{Decode, Encode, Handle, Postcard, Segment, crash_point, without_handles};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::Error;
use crate::error::Quick;
use crate::layout::{EndState, NO_READERS, NO_WRITERS, POISONED};
use crate::net::Net;
use crate::taken::Taken;

const IN_OFFER: u64 = 1 << 63;
const IN_HAND: u64 = 1 << 62;

/// What an end is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub(crate) enum Kind {
    Reader = 1,
    Writer = 2,
    /// The channel as a whole, which keeps it in being, and counts as neither.
    Channel = 3,
}

/// Which channel of a network, and which kind of end: as it stands in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tag {
    pub(crate) channel: u16,
    pub(crate) generation: u32,
    pub(crate) kind: Kind,
}

impl Tag {
    fn word(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.channel) << 8 | self.kind as u64
    }

    pub(crate) fn of(word: u64) -> Option<Tag> {
        let kind = [Kind::Reader, Kind::Writer, Kind::Channel].into_iter().find(|kind| *kind as u64 == word & 0xff)?;
        Some(Tag { channel: (word >> 8) as u16, generation: (word >> 32) as u32, kind })
    }
}

/// An end that this process has; gone when the last clone is dropped.
pub(crate) struct End {
    pub(crate) net: Arc<Net>,
    pub(crate) tag: Tag,
    entry: usize,
    /// It has arrived with a value that is not read yet.
    is_arriving: AtomicBool,
}

impl End {
    /// One more end of a channel.
    pub(crate) fn new(net: &Arc<Net>, tag: Tag) -> Quick<Arc<End>> {
        net.segment().check_fork()?;
        let entry = net.add_end(tag, net.me())?;
        Ok(Arc::new(End { net: Arc::clone(net), tag, entry, is_arriving: AtomicBool::new(false) }))
    }

    /// The value that it came with is read.
    fn arrive(&self, slot: usize) {
        let owner = &self.net.view.ends[self.entry].owner;
        if owner.compare_exchange(in_hand(slot), self.net.me(), Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            self.is_arriving.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn channel(&self) -> usize {
        usize::from(self.tag.channel)
    }

    /// Whether the channel is the one that this was an end of: it is, unless the network is damaged.
    pub(crate) fn check(&self) -> Quick<()> {
        self.net.channel(self.channel())?.check(self.tag.generation)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.net.segment().is_original() {
            return;
        }
        // One that has not quite arrived is somebody else's to free.
        if !*self.is_arriving.get_mut() {
            crash_point!("csp.retiring");
            self.net.free_end_slot(self.entry);
            crash_point!("csp.retired");
            self.net.note_departure(self.tag);
        }
    }
}

impl Net {
    pub(crate) fn add_end(&self, tag: Tag, owner: u64) -> Quick<usize> {
        let entry = self.claim_end_slot(owner)?;
        self.view.ends[entry].tag.store(tag.word(), Ordering::SeqCst);
        let channel = self.channel(usize::from(tag.channel))?;
        channel.ends_made.fetch_add(1, Ordering::SeqCst);
        // Afterwards: of a kind that there was and is not, the channel has ended.
        channel.had.fetch_or(1 << tag.kind as u32, Ordering::SeqCst);
        Ok(entry)
    }

    pub(crate) fn has_end(&self, tag: Tag) -> bool {
        let Ok(channel) = self.channel(usize::from(tag.channel)) else { return false };
        let word = tag.word();
        let is_it = |end: &EndState| end.tag.load(Ordering::SeqCst) == word && end.owner.load(Ordering::SeqCst) != 0;
        loop {
            let made = channel.ends_made.load(Ordering::SeqCst);
            if self.ends().iter().any(is_it) {
                return true;
            }
            if channel.ends_made.load(Ordering::SeqCst) == made {
                return false;
            }
        }
    }

    /// An end is gone: if it was the last one of its kind, the channel has ended.
    pub(crate) fn note_departure(&self, tag: Tag) {
        let flag = match tag.kind {
            Kind::Reader => NO_READERS,
            Kind::Writer => NO_WRITERS,
            Kind::Channel => return,
        };
        if !self.has_end(tag) {
            let _ = self.end_channel(usize::from(tag.channel), tag.generation, flag);
        }
    }

    /// Marks a channel as ended, and tells all who wait.
    pub(crate) fn end_channel(&self, index: usize, generation: u32, flag: u32) -> Quick<()> {
        let channel = self.channel(index)?;
        if !channel.mark(generation, flag)? {
            return Ok(());
        }
        channel.news.0.fetch_add(1, Ordering::SeqCst);
        crash_point!("csp.over");
        // If somebody is stopped with the lock, those who wait find it out by themselves.
        let Some(lock) = self.lock_now(index)? else { return Ok(()) };
        channel.check(generation)?;
        if flag & (POISONED | NO_READERS) != 0 {
            lock.clear()?;
        }
        lock.poke_all()
    }

    /// Frees an end if it still has that owner: else it has just arrived somewhere.
    pub(crate) fn free_end_of(&self, entry: usize, owner: u64) -> bool {
        let Some(end) = self.view.ends.get(entry) else { return false };
        let is_it = end.owner.compare_exchange(owner, self.me(), Ordering::SeqCst, Ordering::Relaxed).is_ok();
        if is_it {
            self.free_end_slot(entry);
        }
        is_it
    }

    /// The ends in a value that nobody will read.
    pub(crate) fn free_ends_of(&self, offer: usize, serial: u32) {
        let owner = in_offer(offer, serial);
        let ends = self.ends().iter().enumerate();
        for (entry, end) in ends {
            let tag = Tag::of(end.tag.load(Ordering::SeqCst));
            if self.free_end_of(entry, owner) {
                tag.into_iter().for_each(|tag| self.forget_departure(tag));
            }
        }
    }

    /// As [`note_departure`](Net::note_departure), where a channel may be locked: without waiting for another one.
    fn forget_departure(&self, tag: Tag) {
        let flag = match tag.kind {
            Kind::Reader => NO_READERS,
            Kind::Writer => NO_WRITERS,
            Kind::Channel => return,
        };
        let Ok(channel) = self.channel(usize::from(tag.channel)) else { return };
        if !self.has_end(tag) {
            let _ = channel.mark(tag.generation, flag); // those who wait look at it soon
        }
    }

    /// What the dead taker of an offer was about to read is in the offer again.
    pub(crate) fn return_ends(&self, taker: usize, offer: usize) {
        let Some(state) = self.view.offers.get(offer) else { return };
        let owner = in_offer(offer, state.serial.load(Ordering::Relaxed));
        for end in self.ends() {
            let _ = end.owner.compare_exchange(in_hand(taker), owner, Ordering::SeqCst, Ordering::Relaxed);
        }
    }

    /// What a dead chooser had in hand of values that it had read, or that were withdrawn.
    pub(crate) fn free_ends_in_hand(&self, slot: usize) {
        for (entry, end) in self.ends().iter().enumerate() {
            if end.owner.load(Ordering::SeqCst) == in_hand(slot) {
                self.free_end_of(entry, in_hand(slot));
            }
        }
    }

    /// Whether an owner word stands for somebody, or something, that is there.
    pub(crate) fn is_owner_there(&self, owner: u64, is_alive: impl FnOnce(u64) -> Quick<bool>) -> Quick<bool> {
        if owner & IN_OFFER != 0 {
            let Some(offer) = self.view.offers.get(owner as usize & 0xffff) else { return Ok(false) };
            let is_there = offer.owner.load(Ordering::SeqCst) != 0;
            return Ok(is_there && in_offer(owner as usize & 0xffff, offer.serial.load(Ordering::SeqCst)) == owner);
        }
        if owner & IN_HAND != 0 {
            // Before a dead one's slot is free, what it had in hand has been seen to.
            let chooser = self.view.choosers.get(owner as usize & 0xffff);
            return Ok(chooser.is_some_and(|chooser| chooser.owner.load(Ordering::SeqCst) != 0));
        }
        is_alive(owner)
    }
}

fn in_offer(offer: usize, serial: u32) -> u64 {
    IN_OFFER | u64::from(serial & 0x3fff_ffff) << 16 | offer as u64
}

fn in_hand(slot: usize) -> u64 {
    IN_HAND | slot as u64
}

/// The bytes of a value, with the ends in it: one more of each end, which goes with the value.
pub(crate) struct Encoded<'a> {
    net: &'a Net,
    pub(crate) bytes: Vec<u8>,
    /// Those that belong to this process.
    entries: RefCell<Vec<usize>>,
    /// It was written: the ends are the reader's, who may be in this process.
    is_written: Cell<bool>,
}

impl<'a> Encoded<'a> {
    pub(crate) fn of<T: Serialize>(net: &'a Net, value: &T) -> Quick<Encoded<'a>> {
        let bytes = buffer();
        let mut encoded = Encoded { net, bytes, entries: RefCell::default(), is_written: Cell::new(false) };
        let scope = Scope::enter(Some(Context::Encoding { net: net.me(), entries: Vec::new() }));
        let result = without_handles(|| Postcard::encode(value, &mut encoded.bytes));
        if let Some(Context::Encoding { entries, .. }) = scope.leave() {
            encoded.entries = entries.into();
        }
        result.map_err(Error::Encode)?;
        Ok(encoded)
    }

    pub(crate) fn has_ends(&self) -> bool {
        !self.entries.borrow().is_empty()
    }

    /// It went its way.
    pub(crate) fn note_written(&self) {
        self.is_written.set(true);
    }

    /// The ends in the value belong to that offer.
    pub(crate) fn put_into(&self, offer: usize) {
        let entries = self.entries.borrow();
        if entries.is_empty() {
            return;
        }
        let state = &self.net.view.offers[offer];
        state.ends.store(entries.len() as u32, Ordering::Relaxed);
        let owner = in_offer(offer, state.serial.load(Ordering::Relaxed));
        entries.iter().for_each(|entry| self.net.view.ends[*entry].owner.store(owner, Ordering::SeqCst));
        crash_point!("csp.ends-in-offer");
    }

    /// And again to this process, as the offer was not taken up; but not those that somebody has in hand who was too late: they are that one's.
    pub(crate) fn take_out_of(&self, offer: usize) {
        let mut entries = self.entries.borrow_mut();
        if entries.is_empty() {
            return;
        }
        let state = &self.net.view.offers[offer];
        let owner = in_offer(offer, state.serial.load(Ordering::Relaxed));
        state.ends.store(0, Ordering::Relaxed);
        entries.retain(|entry| {
            let end = &self.net.view.ends[*entry].owner;
            end.compare_exchange(owner, self.net.me(), Ordering::SeqCst, Ordering::Relaxed).is_ok()
        });
    }
}

impl Drop for Encoded<'_> {
    fn drop(&mut self) {
        keep(std::mem::take(&mut self.bytes));
        if !self.net.segment().is_original() {
            return;
        }
        if self.is_written.get() {
            return;
        }
        for entry in self.entries.take() {
            let tag = Tag::of(self.net.view.ends[entry].tag.load(Ordering::SeqCst));
            self.net.free_end_slot(entry);
            tag.into_iter().for_each(|tag| self.net.note_departure(tag));
        }
    }
}

/// How large a buffer is kept for the next value.
const KEPT: usize = 1 << 16;

/// An empty one: also for a thread that is just ending.
fn buffer() -> Vec<u8> {
    let mut bytes = BYTES.try_with(Cell::take).unwrap_or_default();
    bytes.clear();
    bytes
}

fn keep(bytes: Vec<u8>) {
    if bytes.capacity() <= KEPT {
        let _ = BYTES.try_with(|kept| kept.set(bytes));
    }
}

thread_local! {
    static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Decodes what was taken, and reads it. `None` if it was withdrawn.
pub(crate) fn decode<T: DeserializeOwned>(mut taken: Taken<'_>) -> Quick<Option<T>> {
    let mut bytes = buffer();
    match taken.copy(&mut bytes) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => {
            if matches!(*error, Error::NoMemory { .. } | Error::Memory(_)) {
                taken.put_back(); // it can be read another time
            }
            return Err(error);
        }
    }
    let net = taken.net();
    let (slot, (offer, serial)) = (taken.slot().index, taken.place());
    let scope = Scope::enter(Some(Context::Decoding { net: net.me(), slot, offer, serial, ends: Vec::new() }));
    let value = without_handles(|| Postcard::decode(&bytes));
    let ends = match scope.leave() {
        Some(Context::Decoding { ends, .. }) => ends,
        _ => Vec::new(),
    };
    keep(bytes);
    let is_read = taken.finish();
    if !ends.is_empty() {
        // Before the slot is given back, by which they are held. Also those of a value that was withdrawn: its writer has left them to us.
        ends.iter().for_each(|end| end.arrive(slot));
        crash_point!("csp.ends-read");
    }
    drop(taken);
    match value {
        _ if !is_read => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(Error::Decode(error).into()),
    }
}

/// What is being encoded or decoded in this thread.
enum Context {
    Encoding { net: u64, entries: Vec<usize> },
    Decoding { net: u64, slot: usize, offer: usize, serial: u32, ends: Vec<Arc<End>> },
}

thread_local! {
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// Puts the outer context back, also on a panic.
struct Scope {
    outer: Option<Context>,
    is_left: bool,
}

impl Scope {
    fn enter(context: Option<Context>) -> Scope {
        Scope { outer: CONTEXT.replace(context), is_left: false }
    }

    fn leave(mut self) -> Option<Context> {
        self.is_left = true;
        CONTEXT.replace(self.outer.take())
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        match CONTEXT.replace(self.outer.take()) {
            Some(Context::Encoding { net, entries }) => {
                let known = Net::all().into_iter().find(|known| known.me() == net);
                known.into_iter().for_each(|net| entries.iter().for_each(|entry| net.free_end_slot(*entry)));
            }
            Some(Context::Decoding { slot, ends, .. }) => ends.iter().for_each(|end| end.arrive(slot)),
            None => {}
        }
    }
}

/// An end in a message.
#[derive(Serialize, Deserialize)]
enum Wire {
    /// In a value that goes over a channel of the same network.
    Inside { entry: u32, tag: Tag },
    /// Over a connection, or as an argument: its owner is the open file that goes with it.
    Envoy { file: Handle, owner: u64, entry: u32, tag: Tag },
}

/// For what has come to the wrong place.
const FOREIGN: &str = "only ends of channels of the same network can be in a value";

impl End {
    pub(crate) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let failed = |error: Box<Error>| ser::Error::custom(ipc_core::explain(&*error));
        // A value's own code may send something over a connection while it is encoded.
        let is_sent = ipc_core::takes_handles();
        let inside = CONTEXT.with_borrow(|context| match context {
            Some(Context::Encoding { net, .. }) if !is_sent => Some(*net),
            _ => None,
        });
        if let Some(net) = inside {
            if net != self.net.me() {
                return Err(ser::Error::custom(FOREIGN));
            }
            let entry = self.net.add_end(self.tag, net).map_err(failed)?;
            CONTEXT.with_borrow_mut(|context| match context {
                Some(Context::Encoding { entries, .. }) => entries.push(entry),
                _ => self.net.free_end_slot(entry),
            });
            return Wire::Inside { entry: entry as u32, tag: self.tag }.serialize(serializer);
        }
        let (file, owner) = self.net.segment().envoy().map_err(|error| failed(error.into()))?;
        let owner = owner.number();
        let entry = self.net.add_end(self.tag, owner).map_err(failed)?;
        crash_point!("csp.end-sent");
        let sent = Wire::Envoy { file, owner, entry: entry as u32, tag: self.tag }.serialize(serializer);
        if sent.is_err() {
            self.net.free_end_slot(entry);
        }
        sent
    }

    /// What arrives must be an end of that kind.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        kind: Kind,
        contents: u64,
        deserializer: D,
    ) -> Result<Arc<End>, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        End::arrived(kind, contents, wire).map_err(|error| de::Error::custom(ipc_core::explain(&*error)))
    }

    fn arrived(kind: Kind, contents: u64, wire: Wire) -> Quick<Arc<End>> {
        let (net, entry, tag, from, to, _file) = match wire {
            Wire::Inside { entry, tag } => CONTEXT.with_borrow(|context| match context {
                Some(Context::Decoding { net, slot, offer, serial, .. }) => {
                    let known = Net::all().into_iter().find(|known| known.me() == *net);
                    let known = known.ok_or(Error::OtherEnd(FOREIGN))?;
                    Ok((known, entry, tag, in_offer(*offer, *serial), in_hand(*slot), None))
                }
                _ => Err(Box::new(Error::OtherEnd(FOREIGN))),
            })?,
            Wire::Envoy { file, owner, entry, tag } => {
                let net = Net::open(&Segment::of_envoy(&file)?)?;
                let me = net.me();
                (net, entry, tag, owner, me, Some(file))
            }
        };
        let entry = entry as usize;
        let end = net.view.ends.get(entry).ok_or(Error::OtherEnd("an end that there is not"))?;
        if end.tag.load(Ordering::SeqCst) != tag.word() {
            return Err(Error::OtherEnd("the end is gone").into());
        }
        let channel = net.channel(usize::from(tag.channel))?;
        channel.check(tag.generation)?;
        if tag.kind != kind {
            return Err(Error::OtherEnd("it is another end of a channel than expected").into());
        }
        if channel.contents.load(Ordering::Relaxed) != contents {
            return Err(Error::OtherEnd("it is the end of a channel for values of another type").into());
        }
        if end.owner.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            return Err(Error::OtherEnd("the end is gone").into());
        }
        crash_point!("csp.end-arrived");
        let is_arriving = to & IN_HAND != 0;
        let arrived = Arc::new(End { net, tag, entry, is_arriving: AtomicBool::new(is_arriving) });
        if is_arriving {
            CONTEXT.with_borrow_mut(|context| {
                if let Some(Context::Decoding { ends, .. }) = context {
                    ends.push(Arc::clone(&arrived));
                }
            });
        }
        Ok(arrived)
    }
}
