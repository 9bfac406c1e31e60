//! Who uses a segment, with a proof of life that needs no trust in pids.
//!
//! Every process that attaches a segment opens its file anew and locks, by that open file (`F_OFD_SETLK`, fcntl(2)), two bytes
//! far behind the contents: one that all share, and one at an offset that is its own *number*. The kernel drops both
//! when the process has ended, however it ended, or replaced its program. Nobody can take a lock for a dead process or a
//! dead one for a living one: no pid is looked up, so it may be reused, and it need not be known in this pid namespace.
//!
//! A handle on its way to another process is an open file of its own that has the shared lock: as long as it can arrive, it counts.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::segment::Access;

/// The byte that everybody locks who has the segment or is about to get it.
const PRESENCE: u64 = 1 << 62;
/// How many numbers to try. That one is taken is as good as impossible, unless somebody has taken all of them on purpose.
const ATTEMPTS: u32 = 8;
/// How much of a number is random; the rest is the pid, for messages.
const RANDOM_BITS: u32 = 40;

/// A process that uses a [`Segment`](crate::Segment), as it is noted in shared memory: a number that is never used again.
///
/// It is what an owner of something is recorded as. [`Segment::is_alive`](crate::Segment::is_alive) tells whether it still is there.
///
/// ```
/// use ipc_core::{Participant, Process, Segment};
/// use std::sync::atomic::Ordering::Relaxed;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let segment = Segment::anonymous(4096)?;
/// let me = segment.participant();
/// segment.atomic_u64(0)?.store(me.number(), Relaxed); // a word that says whose something is
/// let child = Process::spawn(
///     |segment: Segment| {
///         let before = segment.atomic_u64(0).unwrap().swap(segment.participant().number(), Relaxed);
///         Participant::from_number(before).map(Participant::pid)
///     },
///     segment.clone(),
/// )?;
/// assert_eq!(child.join()?, Some(std::process::id()));
/// // Now it is the child's, which has ended.
/// let owner = Participant::from_number(segment.atomic_u64(0)?.load(Relaxed)).ok_or("nobody's")?;
/// assert!(!segment.is_alive(owner)? && segment.is_alive(me)?);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Participant(u64);

impl Participant {
    /// The number to store, below 2⁶² and not 0.
    #[inline]
    pub fn number(self) -> u64 {
        self.0
    }

    /// What was stored. `None` for 0, which is nobody, and for what cannot be a number.
    pub fn from_number(number: u64) -> Option<Participant> {
        (number != 0 && number < PRESENCE).then_some(Participant(number))
    }

    /// Its pid, in its own pid namespace; to be shown, not to be trusted.
    pub fn pid(self) -> u32 {
        (self.0 >> RANDOM_BITS) as u32
    }

    /// Takes a number of one's own for an open file that nobody else uses.
    pub(crate) fn enter(file: BorrowedFd<'_>, access: Access) -> io::Result<Participant> {
        announce(file)?;
        // Who cannot write owns nothing, so nobody asks for its number; and its file could not be locked for writing.
        let kind = if access == Access::Read { libc::F_RDLCK } else { libc::F_WRLCK };
        for _ in 0..ATTEMPTS {
            let random = random() & ((1 << RANDOM_BITS) - 1);
            let number = (u64::from(std::process::id()) << RANDOM_BITS) | random.max(1);
            match set_lock(file, kind, number) {
                Ok(()) => return Ok(Participant(number)),
                Err(Errno::EAGAIN | Errno::EACCES) => {} // somebody has this number
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::Error::other("somebody has locked all numbers"))
    }
}

/// Counts an open file as somebody who has the segment.
pub(crate) fn announce(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(set_lock(file, libc::F_RDLCK, PRESENCE)?)
}

/// The byte of a role: of those who have that end of an object.
fn byte_of(role: usize) -> u64 {
    PRESENCE + 1 + role as u64
}

/// Counts an open file as one that has a role.
pub(crate) fn announce_role(file: BorrowedFd<'_>, role: usize) -> io::Result<()> {
    Ok(set_lock(file, libc::F_RDLCK, byte_of(role))?)
}

/// It does not have it any more.
pub(crate) fn resign_role(file: BorrowedFd<'_>, role: usize) -> io::Result<()> {
    Ok(set_lock(file, libc::F_UNLCK, byte_of(role))?)
}

/// Whether any other open file has a role.
pub(crate) fn has_role(file: BorrowedFd<'_>, role: usize) -> io::Result<bool> {
    Ok(lock_of_others(file, byte_of(role))? != libc::F_UNLCK)
}

/// How many processes have taken a number, with the one whose file this is.
pub(crate) fn count(file: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count = 1;
    // The kernel names any lock in the range, not the lowest: so there may be others on both sides of it.
    let mut ranges = Vec::from_iter(Some(1..PRESENCE));
    while let Some(range) = ranges.pop().filter(|_| count < MOST) {
        let mut lock = one_byte(libc::F_WRLCK, range.start);
        lock.l_len = (range.end - range.start) as libc::off_t;
        fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut lock))?;
        if i32::from(lock.l_type) != libc::F_UNLCK {
            count += 1;
            let found = lock.l_start as u64..lock.l_start as u64 + 1;
            let sides = [range.start..found.start, found.end..range.end];
            ranges.extend(sides.into_iter().filter(|side| side.start < side.end));
        }
    }
    Ok(count)
}

/// Where to give up counting: there are not so many processes, but a hostile one might lock every other byte.
const MOST: usize = 100_000;

/// Makes sure that nobody else has the segment, or can come to have it until this file is closed. Returns whether nobody has.
#[cfg(feature = "named")]
pub(crate) fn claim(file: BorrowedFd<'_>) -> io::Result<bool> {
    match set_lock(file, libc::F_WRLCK, PRESENCE) {
        Ok(()) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// An open file does not count any more. Before a claim: of two that leave at the same time and still counted, none would be the last.
#[cfg(feature = "named")]
pub(crate) fn resign(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(set_lock(file, libc::F_UNLCK, PRESENCE)?)
}

/// Makes sure that nobody claims the segment until this file is closed; whoever has claimed it is waited for.
#[cfg(feature = "named")]
pub(crate) fn forbid_claims(file: BorrowedFd<'_>) -> io::Result<()> {
    if claim(file)? {
        return Ok(()); // better than to be counted, by which it would look as if somebody had it
    }
    loop {
        match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLKW(&one_byte(libc::F_RDLCK, PRESENCE))) {
            Err(Errno::EINTR) => {}
            done => return Ok(done.map(drop)?),
        }
    }
}

/// Whether anybody has a segment that this process has not. Who has [claimed](claim) it only removes it.
#[cfg(feature = "named")]
pub(crate) fn is_used(file: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(lock_of_others(file, PRESENCE)? == libc::F_RDLCK)
}

/// Whether the process with this number has the segment, seen from another open file than its own.
pub(crate) fn is_locked(file: BorrowedFd<'_>, who: Participant) -> io::Result<bool> {
    Ok(lock_of_others(file, who.0)? != libc::F_UNLCK)
}

/// Whether there is any other open file that has the segment.
pub(crate) fn has_others(file: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(lock_of_others(file, PRESENCE)? != libc::F_UNLCK)
}

/// Of which kind a lock is that another open file has on this byte: `F_RDLCK`, `F_WRLCK`, or `F_UNLCK` for none.
fn lock_of_others(file: BorrowedFd<'_>, byte: u64) -> io::Result<i32> {
    let mut lock = one_byte(libc::F_WRLCK, byte);
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type.into())
}

fn set_lock(file: BorrowedFd<'_>, kind: i32, byte: u64) -> nix::Result<()> {
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&one_byte(kind, byte))).map(drop)
}

fn one_byte(kind: i32, byte: u64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte as libc::off_t,
        l_len: 1,
        l_pid: 0, // as the kernel wants it for these locks
    }
}

/// The standard library seeds its hashers at random.
pub(crate) fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
