//! Putting messages together of the records of several writers. No input or output: bytes in, events out.

use std::collections::VecDeque;
use std::ops::Range;

use crate::record::{self, Beginning, HEADER, Header, MOST};

/// How many messages may be unfinished at once, and of how many it is known that their rest is of no use.
const LIMIT: usize = 256;
/// Buffers of long messages that are kept for later ones: how many, and how large.
const SPARES: usize = 4;
const KEEP: usize = 1024 * 1024;
/// What the buffer for reading has more than the pipe: a read that fills it all has found a pipe that was made larger.
const EXTRA: usize = MOST;

/// What comes out of an [`Assembly`].
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message that came in one record.
    Message(&'a [u8]),
    /// A message of several records. Its buffer may be given [back](Assembly::recycle).
    Long(Vec<u8>),
    /// A message of which not all will come.
    Torn {
        /// Who wrote it.
        writer: u64,
        /// How many bytes of it came.
        arrived: u64,
        /// How many it would have had.
        total: u64,
    },
    /// A message that is longer than allowed. What comes of it is left out.
    TooLarge {
        /// How many bytes it has.
        len: u64,
    },
    /// Bytes that are no record.
    Garbage {
        /// How many.
        bytes: u64,
    },
}

/// As an [`Event`], before it is taken.
#[derive(Debug)]
enum Ready {
    Message(Range<usize>),
    Long(Vec<u8>),
    Torn(Torn),
    TooLarge(u64),
    Garbage(u64),
}

#[derive(Debug)]
struct Torn {
    writer: u64,
    arrived: u64,
    total: u64,
}

/// A message of which a part has come.
#[derive(Debug)]
struct Unfinished {
    writer: u64,
    number: u64,
    total: u64,
    bytes: Vec<u8>,
    /// Its writer was gone before the last read.
    gone: bool,
}

/// Messages in the making.
///
/// Its owner reads into [`room`](Assembly::room), says how many bytes have [`arrived`](Assembly::arrived), and
/// [takes](Assembly::take) events until there are none.
#[derive(Debug)]
pub struct Assembly {
    buffer: Vec<u8>,
    /// Where in the buffer the bytes are that have not been looked at.
    start: usize,
    end: usize,
    /// The last read emptied the pipe. As nothing but whole records is written, what lies at the end is whole, or garbage.
    emptied: bool,
    ready: Option<Ready>,
    /// How much garbage has been left out and not yet told.
    garbage: u64,
    /// In the order in which they began.
    unfinished: Vec<Unfinished>,
    /// Messages whose records are left out, by writer and number: what there is to tell has been told.
    skipped: VecDeque<(u64, u64)>,
    spares: Vec<Vec<u8>>,
    max_message: u64,
}

impl Assembly {
    /// Nothing has arrived yet.
    pub fn new(max_message: u64) -> Assembly {
        Assembly {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            emptied: false,
            ready: None,
            garbage: 0,
            unfinished: Vec::new(),
            skipped: VecDeque::new(),
            spares: Vec::new(),
            max_message,
        }
    }

    /// Sets the longest message, for those that begin from here on.
    pub fn set_max_message(&mut self, bytes: u64) {
        self.max_message = bytes;
    }

    /// Where to read to, with room for more than is in a pipe of this size. Events come first: until there are none, there may be less.
    pub fn room(&mut self, pipe: usize) -> &mut [u8] {
        debug_assert!(self.ready.is_none(), "a message may lie where the next bytes would go");
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let size = self.end + pipe + EXTRA;
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes were read, and whether that emptied the pipe.
    pub fn arrived(&mut self, bytes: usize, emptied: bool) {
        self.end = (self.end + bytes).min(self.buffer.len());
        self.emptied = emptied;
    }

    /// There is no writer any more, and the pipe is empty: nothing that is unfinished will be finished.
    pub fn end(&mut self) {
        self.emptied = true;
        self.unfinished.iter_mut().for_each(|message| message.gone = true);
    }

    /// The writers of unfinished messages of whom it is not known that they are gone.
    pub fn writers(&self) -> impl Iterator<Item = u64> {
        self.unfinished.iter().filter(|message| !message.gone).map(|message| message.writer)
    }

    /// Whether there are unfinished messages.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Whether the writer of an unfinished message is known to be gone.
    pub fn is_without_writer(&self) -> bool {
        self.unfinished.iter().any(|message| message.gone)
    }

    /// This writer is gone: if its message is still unfinished when all has been taken that a *later* read found, it is torn.
    pub fn mark_gone(&mut self, writer: u64) {
        self.unfinished.iter_mut().filter(|message| message.writer == writer).for_each(|message| message.gone = true);
    }

    /// Whether there may be an event: one that is [prepared](Assembly::prepare), or bytes that have not been looked at.
    pub fn may_be_ready(&self) -> bool {
        self.ready.is_some() || self.start < self.end
    }

    /// Makes the next event ready, if there is one.
    #[inline]
    pub fn prepare(&mut self) -> bool {
        while self.ready.is_none() {
            let rest = &self.buffer[self.start..self.end];
            let foreign = match record::parse(rest) {
                Beginning::Header(header) if rest.len() >= HEADER + header.len => {
                    self.ready = self.flush_garbage();
                    if self.ready.is_none() {
                        self.accept(header);
                    }
                    continue;
                }
                _ if rest.is_empty() => false,
                Beginning::Foreign => true,
                Beginning::Header(_) | Beginning::Unclear => self.emptied,
            };
            if foreign {
                let bytes = record::resync(rest);
                self.start += bytes;
                self.garbage += bytes as u64;
                continue;
            }
            self.ready = self.flush_garbage();
            if self.ready.is_none() && self.emptied {
                self.ready = self.take_gone();
            }
            return self.ready.is_some();
        }
        true
    }

    /// The next event, if there is one.
    #[inline]
    pub fn take(&mut self) -> Option<Event<'_>> {
        self.prepare();
        Some(match self.ready.take()? {
            Ready::Message(range) => Event::Message(&self.buffer[range]),
            Ready::Long(bytes) => Event::Long(bytes),
            Ready::Torn(Torn { writer, arrived, total }) => Event::Torn { writer, arrived, total },
            Ready::TooLarge(len) => Event::TooLarge { len },
            Ready::Garbage(bytes) => Event::Garbage { bytes },
        })
    }

    /// Takes a buffer back, for a later message.
    pub fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spares.len() < SPARES && bytes.capacity() <= KEEP {
            bytes.clear();
            self.spares.push(bytes);
        }
    }

    /// Takes the record at the start, of which all is there. If there is something to tell of an earlier one first, it stays.
    #[inline]
    fn accept(&mut self, header: Header) {
        let bytes = self.start + HEADER..self.start + HEADER + header.len;
        // The common case first: a message in one record, and nothing else going on.
        if self.unfinished.is_empty() && header.offset == 0 && header.is_last() && header.total <= self.max_message {
            self.start = bytes.end;
            self.ready = Some(Ready::Message(bytes));
            return;
        }
        self.accept_part(header, bytes);
    }

    fn accept_part(&mut self, header: Header, bytes: Range<usize>) {
        let Header { writer, number, total, .. } = header;
        if let Some(at) = self.unfinished.iter().position(|message| message.writer == writer) {
            if self.unfinished[at].number == number {
                self.start = bytes.end;
                self.continue_message(at, header, bytes);
            } else {
                // Its writer has begun another one, so the rest of this one will not come. The record stays for the next step.
                self.ready = Some(self.tear(at));
            }
            return;
        }
        if self.skipped.contains(&(writer, number)) {
            self.start = bytes.end;
            self.skip_unless(header.is_last(), writer, number);
            return;
        }
        if header.offset > 0 {
            self.start = bytes.end;
            self.skip_unless(header.is_last(), writer, number);
            self.ready = Some(Ready::Torn(Torn { writer, arrived: header.len as u64, total }));
        } else if total > self.max_message {
            self.start = bytes.end;
            self.skip_unless(header.is_last(), writer, number);
            self.ready = Some(Ready::TooLarge(total));
        } else if header.is_last() {
            self.start = bytes.end;
            self.ready = Some(Ready::Message(bytes));
        } else if self.unfinished.len() == LIMIT {
            let (writer, number) = (self.unfinished[0].writer, self.unfinished[0].number);
            self.ready = Some(self.tear(0));
            self.skip_unless(false, writer, number);
        } else {
            self.start = bytes.end;
            let mut buffer = self.spares.pop().unwrap_or_default();
            buffer.extend_from_slice(&self.buffer[bytes]);
            self.unfinished.push(Unfinished { writer, number, total, bytes: buffer, gone: false });
        }
    }

    /// A further record of a message that has begun.
    fn continue_message(&mut self, at: usize, header: Header, bytes: Range<usize>) {
        let message = &mut self.unfinished[at];
        if (header.offset, header.total) != (message.bytes.len() as u64, message.total) {
            // Not as our writers do it: or a second reader has taken what was between.
            self.ready = Some(self.tear(at));
            self.skip_unless(header.is_last(), header.writer, header.number);
            return;
        }
        // No more is set aside than has come, within a factor of two, whatever the header says.
        message.bytes.extend_from_slice(&self.buffer[bytes]);
        if header.is_last() {
            self.ready = Some(Ready::Long(self.unfinished.remove(at).bytes));
        }
    }

    /// Gives a message up.
    fn tear(&mut self, at: usize) -> Ready {
        let message = self.unfinished.remove(at);
        let torn = Torn { writer: message.writer, arrived: message.bytes.len() as u64, total: message.total };
        self.recycle(message.bytes);
        Ready::Torn(torn)
    }

    /// One whose writer was gone before the pipe was emptied.
    fn take_gone(&mut self) -> Option<Ready> {
        let at = self.unfinished.iter().position(|message| message.gone)?;
        // One that is not ours may never have been there to be seen, and go on all the same.
        self.skip_unless(false, self.unfinished[at].writer, self.unfinished[at].number);
        Some(self.tear(at))
    }

    /// What more comes of this message is left out, unless this was its last record.
    fn skip_unless(&mut self, last: bool, writer: u64, number: u64) {
        self.skipped.retain(|skipped| skipped.0 != writer); // a writer has one message at a time
        if !last {
            if self.skipped.len() == LIMIT {
                self.skipped.pop_front();
            }
            self.skipped.push_back((writer, number));
        }
    }

    fn flush_garbage(&mut self) -> Option<Ready> {
        match std::mem::take(&mut self.garbage) {
            0 => None,
            bytes => Some(Ready::Garbage(bytes)),
        }
    }
}

#[cfg(test)]
mod tests;
