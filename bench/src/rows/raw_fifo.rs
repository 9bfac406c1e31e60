//! A FIFO and nothing else: one write, one read.

use std::fs::File;
use std::ops::Range;

use ipc_fifo::Fifo;
use nix::errno::Errno;
use nix::unistd::{read, write};

use super::{Goal, Row};
use crate::failure::{Failure, Outcome};
use crate::groups::{FIFO_1_1, FIFO_4_1, FIFO_PING_PONG};
use crate::message::Words;
use crate::records::{Records, from_four, from_one, ping_pong};

const AS_LONG: &str = "FIFO: write, read of 112 B, as long as our records";
const EMPTIED: &str = "FIFO: write of 112 B, read of all that is there";

pub(crate) const ROWS: &[Row] = &[
    Row { group: &FIFO_1_1, name: AS_LONG, goal: Goal::Reference, measure: from_one::<Raw<14>> },
    Row { group: &FIFO_1_1, name: EMPTIED, goal: Goal::Look, measure: from_one::<Emptied> },
    Row { group: &FIFO_4_1, name: AS_LONG, goal: Goal::Reference, measure: from_four::<Raw<14>> },
    Row { group: &FIFO_4_1, name: EMPTIED, goal: Goal::Look, measure: from_four::<Emptied> },
    Row { group: &FIFO_PING_PONG, name: "FIFO: write, read", goal: Goal::Reference, measure: ping_pong::<Raw<8>> },
];

/// Messages of eight words, in records of so many.
struct Raw<const WORDS: usize>;

impl<const WORDS: usize> Records for Raw<WORDS> {
    type Writer = File;
    type Reader = File;

    fn writer(fifo: &Fifo) -> Outcome<File> {
        Ok(File::options().write(true).open(fifo.path())?)
    }

    fn reader(fifo: &Fifo) -> Outcome<File> {
        Ok(File::open(fifo.path())?)
    }

    /// The kernel keeps so few bytes together, ...
    #[inline(always)]
    fn write(writer: &mut File, message: &Words) -> Outcome<bool> {
        let mut record = [0_u64; WORDS];
        record[..8].copy_from_slice(message);
        match write(&*writer, bytemuck::bytes_of(&record)) {
            Ok(_) => Ok(true),
            Err(Errno::EPIPE) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// ... also when they are read.
    #[inline(always)]
    fn read(reader: &mut File) -> Outcome<Option<Words>> {
        let mut record = [0_u64; WORDS];
        match read(&*reader, bytemuck::bytes_of_mut(&mut record))? {
            0 => Ok(None),
            len if len == 8 * WORDS => Ok(record.first_chunk().copied()),
            len => Err(Failure::new(format!("a record has {len} bytes"))),
        }
    }
}

/// The same, but a read takes whatever is there, as ours does: who comes after a reader that was killed then finds whole records.
struct Emptied;

/// A record of 14 words.
const RECORD: usize = 112;
/// As much as a FIFO holds.
const ROOM: usize = 64 * 1024;

/// The file, what was read, and what of it is still to be given out.
struct Drained {
    file: File,
    bytes: Vec<u8>,
    left: Range<usize>,
}

impl Records for Emptied {
    type Writer = File;
    type Reader = Drained;

    fn writer(fifo: &Fifo) -> Outcome<File> {
        Raw::<14>::writer(fifo)
    }

    fn reader(fifo: &Fifo) -> Outcome<Drained> {
        Ok(Drained { file: File::open(fifo.path())?, bytes: vec![0; ROOM], left: 0..0 })
    }

    #[inline(always)]
    fn write(writer: &mut File, message: &Words) -> Outcome<bool> {
        Raw::<14>::write(writer, message)
    }

    #[inline(always)]
    fn read(reader: &mut Drained) -> Outcome<Option<Words>> {
        if reader.left.is_empty() {
            match read(&reader.file, &mut reader.bytes)? {
                0 => return Ok(None),
                len if len % RECORD == 0 => reader.left = 0..len,
                len => return Err(Failure::new(format!("{len} bytes are no whole records"))),
            }
        }
        let message = bytemuck::pod_read_unaligned(&reader.bytes[reader.left.start..][..size_of::<Words>()]);
        reader.left.start += RECORD;
        Ok(Some(message))
    }
}
