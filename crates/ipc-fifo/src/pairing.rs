//! How the two sides of a connection find each other, and never one that is still in a connection with somebody who has died.
//!
//! A pipe knows how many have it open, and not who. If the one side dies and is started again, the other side may not have noticed: it
//! would go on with what the new one writes where the dead one was cut off. And what the two write is all theirs, so nothing can be agreed
//! there. So each side draws a number, and says by locks (`F_OFD_SETLK`, which end with the process) who it is and for whom it is there:
//!
//! | byte of the FIFO | locked by | says |
//! |---|---|---|
//! | [`SELF`] + number | who has it as input | this is who reads here |
//! | [`FOR`] + other's number | who has it as input | ... and takes only what this one writes |
//! | [`TO`] + other's number | who has it as output | who writes here means this one |
//!
//! Who is for nobody yet waits for a reader of its output, looks who that is, and is for that one. When both are for each other, it is a
//! connection, and not before: until then nobody sends. Who finds the other side to be for somebody else lets go of both FIFOs, so that the
//! other side sees the end of its connection, and begins anew with another number.
//!
//! A program that knows nothing of this, such as one in Python, locks nothing. It is number 0, [`NOBODY`], and there as soon as it has both open.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ipc_core::Deadline;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::PollFlags;

use crate::end::{self, Slices};
use crate::error::{Error, Result};
use crate::open::Place;
use crate::sys::{self, Probe};

/// Where the bytes of each kind begin. The ranges do not touch, as the kernel would make one lock of two.
const SELF: u64 = 1 << 60;
const FOR: u64 = 2 << 60;
const TO: u64 = 3 << 60;
/// Numbers are below this.
const NUMBERS: u64 = 1 << 59;
/// The number of one who has none.
const NOBODY: u64 = 0;

/// Opens one FIFO for reading and one for writing, when somebody has done so the other way round.
pub(crate) fn pair(input: &Path, output: &Path, deadline: Deadline) -> Result<(File, File)> {
    let (from, to) = (Place::find(input)?, Place::find(output)?);
    let identity = |place: &Place| place.about().map(|about| (about.dev(), about.ino()));
    if identity(&from)? == identity(&to)? {
        return Err(Error::BadPath { path: output.into(), why: "it is the input as well" });
    }
    let mut slices = Slices::until(deadline);
    loop {
        if let Some(ends) = attempt(&from, &to, deadline)? {
            return Ok(ends);
        }
        // Nothing is open now.
        from.check_named()?;
        to.check_named()?;
        std::thread::sleep(slices.next()?);
    }
}

/// `None`: the other side is for somebody else, or was there and has gone.
fn attempt(from: &Place, to: &Place, deadline: Deadline) -> Result<Option<(File, File)>> {
    // Is it still in a connection? To ask for locks one has to have the FIFO open; a second reader does not keep the other side from
    // seeing the end of its connection, as a writer would.
    match to.open_for_reading() {
        Ok(asking) if locked(&asking, FOR..FOR + NUMBERS)?.is_some() => return Ok(None),
        Ok(_) | Err(Error::Forbidden { .. }) => {} // it is asked again when the FIFO is open for writing
        Err(error) => return Err(error),
    }
    let mut input = from.open_for_reading()?;
    if locked(&input, TO..TO + NUMBERS)?.is_some() {
        return Ok(None); // it has closed its input only
    }
    // What is in it now was meant for somebody who is gone: nobody can be for this side yet. And it may still be there: who was just asking,
    // as above, when the last ends were closed, has kept the pipe.
    empty(&mut input)?;
    let number = enter(&input)?;
    let output = to.open_for_writing(deadline)?;
    let other = locked(&output, SELF..SELF + NUMBERS)?.map_or(NOBODY, |byte| byte.saturating_sub(SELF));
    let be_for_it =
        || Ok::<_, Error>(lock(&input, libc::F_RDLCK, FOR + other)? && lock(&output, libc::F_WRLCK, TO + other)?);
    // Who reads our output and has no number may be a stranger that has nothing to do with this. To be for nobody before there is a
    // writer, too, would keep away the one who is waited for.
    if other != NOBODY && !be_for_it()? {
        return Ok(None);
    }
    let mut slices = Slices::until(deadline);
    loop {
        let is_for_another = locked(&output, FOR..FOR + number)?.is_some()
            || locked(&output, FOR + number + 1..FOR + NUMBERS)?.is_some();
        if is_for_another {
            return Ok(None);
        }
        // First whether it is gone: who has sent something and gone has been there.
        let (is_gone, is_for_us) = match other {
            NOBODY => {
                let is_closed = end::poll(&output, PollFlags::empty(), Deadline::NOW);
                (is_closed.map_err(Error::io("ask the FIFO for a reader"))?, false)
            }
            other => (!is_locked(&output, SELF + other)?, is_locked(&output, FOR + number)?),
        };
        let found = sys::probe(input.as_fd()).map_err(Error::io("ask the FIFO for a writer"))?;
        if other == NOBODY && matches!(found, Probe::Writer | Probe::Bytes) && !be_for_it()? {
            return Ok(None);
        }
        // Later than the writer: one of ours says who it is before it comes to write.
        let is_known = other == NOBODY && locked(&output, SELF..SELF + NUMBERS)?.is_some();
        match found {
            _ if is_known => return Ok(None), // it had not yet locked its number
            Probe::Writer if other == NOBODY || is_for_us => return Ok(Some((input, output))),
            Probe::Bytes => return Ok(Some((input, output))), // nobody else would have sent any
            _ if is_gone => return Ok(None),
            Probe::Writer | Probe::NoWriter => {}
        }
        from.check_named()?;
        to.check_named()?;
        std::thread::sleep(slices.next()?);
    }
}

/// Drops what is in the pipe at this moment.
fn empty(input: &mut File) -> Result<()> {
    if sys::probe(input.as_fd()).map_err(Error::io("ask the FIFO for a writer"))? != Probe::Bytes {
        return Ok(());
    }
    // One read of all that can be in it, as a program that writes and writes would keep us for ever.
    let mut all = vec![0; end::pipe_size(input)];
    match input.read(&mut all) {
        Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Err(Error::io("empty the FIFO")(error)),
        _ => Ok(()),
    }
}

/// Draws a number and locks its byte.
fn enter(input: &File) -> Result<u64> {
    let random = getrandom::u64().map_err(|error| Error::io("draw a random number")(std::io::Error::other(error)))?;
    let number = (random % NUMBERS).max(NOBODY + 1);
    match lock(input, libc::F_RDLCK, SELF + number)? {
        true => Ok(number),
        false => {
            let source = std::io::Error::other("somebody has locked all numbers");
            Err(Error::Io { doing: "lock the number of a connection", source })
        }
    }
}

/// Locks a byte of the FIFO, if nobody keeps it from that.
fn lock(file: &File, kind: i32, byte: u64) -> Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&bytes(kind, byte..byte + 1))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(Error::io("lock the number of a connection")(errno)),
    }
}

/// A byte among these that somebody else has locked, if there is one.
fn locked(file: &File, range: std::ops::Range<u64>) -> Result<Option<u64>> {
    if range.is_empty() {
        return Ok(None); // to the kernel it would be all that follow
    }
    let mut lock = bytes(libc::F_WRLCK, range);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).map_err(Error::io("ask for the other side of a connection"))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_start as u64))
}

fn is_locked(file: &File, byte: u64) -> Result<bool> {
    locked(file, byte..byte + 1).map(|found| found.is_some())
}

fn bytes(kind: i32, range: std::ops::Range<u64>) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: range.start as libc::off_t,
        l_len: (range.end - range.start) as libc::off_t,
        l_pid: 0, // as the kernel wants it for these locks
    }
}
