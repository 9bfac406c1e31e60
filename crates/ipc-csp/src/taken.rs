//! A value between its writer and its reader: taken, and not read yet.

use std::sync::atomic::Ordering;

use ipc_core::crash_point;

use crate::error::Quick;
use crate::net::{Net, Slot};
use crate::word::Generation;

/// Whose a value is: a slot, and which of its choices. `None`: it was in a buffer.
pub(crate) type Source = Option<(usize, Generation)>;

/// A value in the hands of its reader, which dies with it or reads it. Dropped, it is read: what cannot be decoded is not to be found by
/// the next one, too.
pub(crate) struct Taken<'a> {
    slot: Slot<'a>,
    offer: usize,
    /// How often the offer was used.
    serial: u32,
    source: Source,
    is_over: bool,
}

impl<'a> Taken<'a> {
    pub(crate) fn new(slot: Option<Slot<'a>>, offer: usize, source: Source) -> Taken<'a> {
        let slot = slot.expect("who takes has a slot");
        let serial = slot.net.view.offers[offer].serial.load(Ordering::Relaxed);
        Taken { slot, offer, serial, source, is_over: false }
    }

    pub(crate) fn slot(&self) -> &Slot<'a> {
        &self.slot
    }

    pub(crate) fn net(&self) -> &'a Net {
        self.slot.net
    }

    /// Copies its bytes. `false` if it was withdrawn meanwhile: then they are none.
    pub(crate) fn copy(&mut self, to: &mut Vec<u8>) -> Quick<bool> {
        let copied = self.slot.net.copy(self.offer, to);
        let is_ours = match self.source {
            Some((slot, generation)) => {
                self.slot.net.chooser(slot)?.chooser.is_taken(generation, self.slot.index, self.offer)
            }
            None => true,
        };
        if !is_ours {
            self.is_over = true;
            return Ok(false);
        }
        crash_point!("csp.copied");
        copied.map(|()| true)
    }

    /// The offer, and how often it was used, by which the ends in the value are known.
    pub(crate) fn place(&self) -> (usize, u32) {
        (self.offer, self.serial)
    }

    /// It is read. `false` if it was withdrawn: then it was never written.
    pub(crate) fn finish(&mut self) -> bool {
        if std::mem::replace(&mut self.is_over, true) {
            return false;
        }
        let net = self.slot.net;
        match self.source {
            None => {
                let channel = net.view.offers[self.offer].channel.load(Ordering::Relaxed) as usize;
                crash_point!("csp.emptying");
                net.free_offer(self.offer);
                // Of a channel that has ended this may have been what others waited for.
                if net.channel(channel).is_ok_and(|channel| channel.over() != 0) {
                    let _ = net.lock_soon(channel).and_then(|lock| lock.poke_all()); // else they look by themselves
                }
                true
            }
            Some((slot, generation)) => {
                let Ok(writer) = net.chooser(slot) else { return false };
                crash_point!("csp.committing");
                let is_read = writer.chooser.commit(generation, self.slot.index, self.offer);
                if is_read {
                    crash_point!("csp.committed");
                    writer.wait.wake();
                }
                is_read
            }
        }
    }
}

impl Taken<'_> {
    /// Somebody else may take it.
    pub(crate) fn put_back(mut self) {
        let net = self.slot.net;
        let channel = net.view.offers[self.offer].channel.load(Ordering::Relaxed) as usize;
        let lock = net.lock_soon(channel);
        // If somebody is stopped with the lock, it is read, and lost.
        self.is_over = lock.is_ok_and(|lock| lock.put_back(self.offer, self.source, self.slot.index).is_ok());
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.slot.net.segment().is_original() {
            self.finish();
        }
    }
}
