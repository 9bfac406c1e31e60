//! A network as a process sees it: its memory, and channels, slots, offers and locks claimed in it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use ipc_core::{Deadline, Layout, Segment, View, crash_point};
use ipc_sync::mechanism::{Lock, Locked};

use crate::Error;
use crate::ends::{End, Kind, Tag};
use crate::error::Quick;
use crate::layout::{
    BUFFERED, CHANNELS, CHOOSERS, ChannelState, ChooserState, ENDS, EndState, FLAGS, INLINE, LONGEST, NAME,
    NetworkState, OFFERS, OfferState, STRIDE, ZOMBIE,
};
use crate::list::ChannelLock;

/// How long a call that is not to wait does wait for a lock: its owner needs it for less than a microsecond, unless it is stopped.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_millis(1);

/// How long to wait for the registry, which somebody may be stopped with.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Net {
    pub(crate) view: View<NetworkState>,
    offer_hint: AtomicUsize,
    end_hint: AtomicUsize,
}

thread_local! {
    /// The slot that this thread had last: nobody else is likely to want it.
    static SLOT: std::cell::Cell<usize> = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        std::cell::Cell::new(std::process::id() as usize * 7 + NEXT.fetch_add(1, Ordering::Relaxed))
    };
}

impl Net {
    pub(crate) fn create() -> Quick<Arc<Net>> {
        let mapped = Segment::space_for::<NetworkState>(0).next_multiple_of(PAGE);
        let segment = Segment::sparse(Layout { mapped, len: mapped as u64 + OFFERS as u64 * STRIDE })?;
        let view = segment.create(0, 0, |view: &View<NetworkState>| {
            view.registry.init();
            view.channels.iter().for_each(|channel| channel.lock.init());
        })?;
        Ok(Net::shared(view))
    }

    pub(crate) fn open(segment: &Segment) -> Quick<Arc<Net>> {
        Ok(Net::shared(segment.open(0)?))
    }

    /// What this process has of a network is there once.
    fn shared(view: View<NetworkState>) -> Arc<Net> {
        let mut nets = nets();
        nets.retain(|_, net| net.strong_count() > 0);
        let number = view.segment().participant().number();
        if let Some(known) = nets.get(&number).and_then(Weak::upgrade) {
            return known;
        }
        let net = Arc::new(Net { view, offer_hint: AtomicUsize::new(0), end_hint: AtomicUsize::new(0) });
        nets.insert(number, Arc::downgrade(&net));
        net
    }

    /// Those of this process.
    pub(crate) fn all() -> Vec<Arc<Net>> {
        nets().values().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn segment(&self) -> &Segment {
        self.view.segment()
    }

    /// The number of this process.
    #[inline]
    pub(crate) fn me(&self) -> u64 {
        self.segment().participant().number()
    }

    #[inline]
    pub(crate) fn channel(&self, index: usize) -> Quick<&ChannelState> {
        self.view.channels.get(index).ok_or_else(|| Error::Damaged("a channel that there is not").into())
    }

    #[inline]
    pub(crate) fn chooser(&self, slot: usize) -> Quick<&ChooserState> {
        self.view.choosers.get(slot).ok_or_else(|| Error::Damaged("a thread that there is not").into())
    }

    #[inline]
    pub(crate) fn offer(&self, index: usize) -> Quick<&OfferState> {
        self.view.offers.get(index).ok_or_else(|| Error::Damaged("an offer that there is not").into())
    }

    /// Those that have ever been in use.
    pub(crate) fn channels(&self) -> &[ChannelState] {
        used(&self.view.channels, &self.view.channels_used)
    }

    pub(crate) fn choosers(&self) -> &[ChooserState] {
        used(&self.view.choosers, &self.view.choosers_used)
    }

    pub(crate) fn offers(&self) -> &[OfferState] {
        used(&self.view.offers, &self.view.offers_used)
    }

    pub(crate) fn ends(&self) -> &[EndState] {
        used(&self.view.ends, &self.view.ends_used)
    }

    /// A slot for the time of a call.
    pub(crate) fn claim_slot(&self) -> Quick<Slot<'_>> {
        self.segment().check_fork()?;
        let start = SLOT.get() % CHOOSERS;
        let me = self.me();
        let claim = || claim(CHOOSERS, start, |slot| &self.view.choosers[slot].owner, me, &self.view.choosers_used);
        let index = claim().or_else(|| {
            let _ = self.look_for_the_dead(true); // they may have some
            claim()
        });
        let index = index.ok_or_else(|| full("threads that communicate", CHOOSERS))?;
        if index != start {
            SLOT.set(index);
        }
        crash_point!("csp.slot");
        Ok(Slot { net: self, index })
    }

    /// An offer with nothing in it, of this process.
    pub(crate) fn claim_offer(&self) -> Quick<usize> {
        let start = self.offer_hint.load(Ordering::Relaxed);
        let claim = || claim(OFFERS, start, |offer| &self.view.offers[offer].owner, self.me(), &self.view.offers_used);
        let index = claim().or_else(|| {
            let _ = self.look_for_the_dead(true); // they may have some
            claim()
        });
        let index = index.ok_or_else(|| full("offers", OFFERS))?;
        let offer = &self.view.offers[index];
        offer.serial.fetch_add(1, Ordering::Relaxed);
        offer.taker.store(0, Ordering::Relaxed);
        offer.ends.store(0, Ordering::Relaxed);
        offer.len.store(0, Ordering::Relaxed);
        Ok(index)
    }

    /// Frees an offer that is in no list.
    pub(crate) fn free_offer(&self, index: usize) {
        let Ok(offer) = self.offer(index) else { return };
        // From here on it is no value any more: who dies here leaves it as an offer of a dead process, and not as half a value.
        offer.owner.store(self.me(), Ordering::SeqCst);
        if offer.ends.load(Ordering::Relaxed) != 0 {
            self.free_ends_of(index, offer.serial.load(Ordering::Relaxed));
        }
        let len = u64::from(offer.len.load(Ordering::Relaxed));
        if len > INLINE as u64 {
            let _ = self.segment().free_end(self.place_of(index), len.next_multiple_of(PAGE as u64));
        }
        crash_point!("csp.freeing");
        offer.owner.store(0, Ordering::Release);
        self.offer_hint.store(index, Ordering::Relaxed);
    }

    fn place_of(&self, index: usize) -> u64 {
        self.segment().end().start + index as u64 * STRIDE
    }

    /// Puts a value into an offer of this process that nobody knows yet.
    pub(crate) fn fill(&self, index: usize, bytes: &[u8]) -> Quick<()> {
        let offer = self.offer(index)?;
        let len = bytes.len() as u64;
        if len > LONGEST {
            return Err(Error::TooLarge { len, max: LONGEST }.into());
        }
        offer.len.store(len as u32, Ordering::Relaxed);
        if bytes.len() <= INLINE {
            for (to, chunk) in offer.inline.iter().zip(bytes.chunks(8)) {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                to.store(u64::from_ne_bytes(word), Ordering::Relaxed);
            }
            return Ok(());
        }
        match self.segment().write_end(self.place_of(index), bytes) {
            Ok(()) => Ok(()),
            Err(ipc_core::Error::Io { source, .. }) => Err(Error::NoMemory { len, source }.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Copies the value of an offer. If that was withdrawn meanwhile, they are any bytes.
    pub(crate) fn copy(&self, index: usize, to: &mut Vec<u8>) -> Quick<()> {
        let offer = self.offer(index)?;
        let len = u64::from(offer.len.load(Ordering::Relaxed));
        if len <= INLINE as u64 {
            let words = offer.inline.iter().take(len.div_ceil(8) as usize);
            words.for_each(|word| to.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()));
            to.truncate(len as usize);
            return Ok(());
        }
        let place = self.place_of(index);
        // A length that is a lie must not take memory: so many bytes have been written there, for which somebody has paid.
        if !self.segment().is_written(place, len)? {
            return Err(Error::Damaged("a value is not there").into());
        }
        to.try_reserve_exact(len as usize)
            .map_err(|error| Error::NoMemory { len, source: std::io::Error::other(error) })?;
        to.resize(len as usize, 0);
        Ok(self.segment().read_end(place, to)?)
    }

    pub(crate) fn claim_end_slot(&self, owner: u64) -> Quick<usize> {
        let start = self.end_hint.load(Ordering::Relaxed);
        let claim = || claim(ENDS, start, |end| &self.view.ends[end].owner, owner, &self.view.ends_used);
        let index = claim().or_else(|| {
            let _ = self.look_for_the_dead(true);
            claim()
        });
        index.ok_or_else(|| full("ends of channels", ENDS))
    }

    pub(crate) fn free_end_slot(&self, index: usize) {
        let Some(end) = self.view.ends.get(index) else { return };
        end.tag.store(0, Ordering::SeqCst);
        end.owner.store(0, Ordering::SeqCst);
        self.end_hint.store(index, Ordering::Relaxed);
    }

    /// Locks a channel, and sees to what a dead owner has left.
    #[inline]
    pub(crate) fn lock(&self, index: usize, deadline: Deadline) -> Quick<ChannelLock<'_>> {
        let channel = self.channel(index)?;
        let locked = self.take(&channel.lock, deadline)?;
        let lock = ChannelLock::new(self, index, channel, locked);
        if locked.died().is_some() {
            lock.rebuild()?;
            channel.lock.mark_repaired();
        }
        Ok(lock)
    }

    /// For a moment at most, whatever else is to be waited for.
    pub(crate) fn lock_soon(&self, index: usize) -> Quick<ChannelLock<'_>> {
        self.lock(index, Deadline::NOW)
    }

    #[inline]
    pub(crate) fn take(&self, lock: &Lock, deadline: Deadline) -> Quick<Locked> {
        match lock.acquire(self.segment(), deadline) {
            Ok(locked) => Ok(locked),
            Err(ipc_sync::Error::WouldBlock) => {
                let locked = lock.acquire(self.segment(), Deadline::after(LOCK_PATIENCE));
                locked.map_err(|error| match error {
                    ipc_sync::Error::Timeout => Error::WouldBlock.into(),
                    error => error.into(),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an offer belongs to a process, dead or alive, and not to a channel.
    pub(crate) fn is_participant(owner: u64) -> bool {
        owner != 0 && owner != BUFFERED && owner != ZOMBIE
    }

    /// A new channel, and what keeps it in being.
    pub(crate) fn add_channel(self: &Arc<Net>, capacity: usize, name: &str, contents: u64) -> Quick<Arc<End>> {
        let make = || {
            self.registered(Deadline::after(REGISTRY_PATIENCE), || {
                let free = self.view.channels.iter().position(|channel| channel.generation() == 0);
                let Some(index) = free else { return Ok(None) };
                let channel = &self.view.channels[index];
                let generation = (channel.last_generation.load(Ordering::Relaxed) + 1) % (1 << (32 - FLAGS));
                let generation = generation.max(1);
                channel.last_generation.store(generation, Ordering::Relaxed);
                for flags in [&channel.told, &channel.had] {
                    flags.store(0, Ordering::Relaxed);
                }
                channel.capacity.store(capacity as u32, Ordering::Relaxed);
                channel.contents.store(contents, Ordering::Relaxed);
                let mut bytes = [0; NAME];
                bytes[..name.len()].copy_from_slice(name.as_bytes());
                for (word, bytes) in channel.name.iter().zip(bytes.chunks_exact(8)) {
                    let bytes = bytes.try_into().expect("chunks of 8");
                    word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
                }
                self.view.channels_used.fetch_max(index as u32 + 1, Ordering::SeqCst);
                // The end before the channel: one without any is freed.
                let tag = Tag { channel: index as u16, generation, kind: Kind::Channel };
                let end = End::new(self, tag)?;
                crash_point!("csp.channel-made");
                channel.state.store(generation << FLAGS, Ordering::SeqCst);
                Ok(Some(end))
            })
        };
        match make() {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => {}
            Err(error) if matches!(*error, Error::Full { .. }) => {}
            Err(error) => return Err(error),
        }
        self.look_for_the_dead(true)?; // and for channels without ends
        Ok(make()?.ok_or(Error::Full { what: "channels", max: CHANNELS })?)
    }

    pub(crate) fn name_of(&self, index: usize) -> String {
        let Ok(channel) = self.channel(index) else { return String::new() };
        let bytes: Vec<u8> = channel.name.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }
}

/// A slot of this thread.
pub(crate) struct Slot<'a> {
    pub(crate) net: &'a Net,
    pub(crate) index: usize,
}

impl<'a> Slot<'a> {
    #[inline]
    pub(crate) fn state(&self) -> &'a ChooserState {
        &self.net.view.choosers[self.index]
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.net.segment().is_original() {
            self.state().owner.store(0, Ordering::Release);
        }
    }
}

pub(crate) const PAGE: usize = 4096;

fn full(what: &'static str, max: usize) -> Box<Error> {
    Box::new(Error::Full { what, max })
}

fn used<'a, T>(all: &'a [T], used: &AtomicU32) -> &'a [T] {
    &all[..(used.load(Ordering::SeqCst) as usize).min(all.len())]
}

/// Makes a free one of many somebody's.
#[inline]
fn claim<'a>(
    many: usize,
    start: usize,
    owner: impl Fn(usize) -> &'a AtomicU64,
    me: u64,
    used: &AtomicU32,
) -> Option<usize> {
    // Near the beginning first, so that few are ever in use.
    let start = if start < used.load(Ordering::Relaxed) as usize { start } else { 0 };
    (start..many).chain(0..start).find(|index| {
        let word = owner(*index);
        if word.load(Ordering::Relaxed) != 0 {
            return false;
        }
        // Before it is claimed: who looks for those of the dead looks up to there.
        if used.load(Ordering::Relaxed) <= *index as u32 {
            used.fetch_max(*index as u32 + 1, Ordering::SeqCst);
        }
        word.compare_exchange(0, me, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    })
}

fn nets() -> std::sync::MutexGuard<'static, BTreeMap<u64, Weak<Net>>> {
    static NETS: OnceLock<Mutex<BTreeMap<u64, Weak<Net>>>> = OnceLock::new();
    NETS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many channels there can be is no more than fits into a tag.
const _: () = assert!(CHANNELS <= 1 << 16 && OFFERS <= 1 << 16);

/// This thread, as the system knows it.
pub(crate) fn thread_id() -> u32 {
    thread_local! {
        static ID: u32 = nix::unistd::gettid().as_raw() as u32;
    }
    ID.with(|id| *id)
}
