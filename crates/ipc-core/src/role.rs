//! Which ends of an object a process has, as others see it: whether anybody is left who could send, or receive.
//!
//! Each role is one more byte of the segment's file, locked for reading by every open file that has it (see `participant.rs`): by that of a
//! process with at least one handle, and by that of a handle under way.

use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::handle::{claim_end, collect_end};
use crate::segment::full;
use crate::{Error, Handle, Result, Segment, complaint, participant};

/// A handle for one end of an object, or for both, which counts as such. For the crates of the mechanisms.
///
/// ```
/// use ipc_core::{Process, Role, Roles, Segment};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let segment = Segment::anonymous(4096)?;
/// let both = Role::new(&segment, Roles::BOTH)?;
/// let consumer = both.part(Roles::CONSUMER);
/// assert_eq!((segment.own_handles(), segment.own_roles(Roles::CONSUMER)), (2, 2));
/// drop(both);
/// assert!(!segment.has_role(Roles::PRODUCER)?); // a consumer would wait in vain
/// assert_eq!((consumer.roles(), consumer.segment().participants()?), (Roles::CONSUMER, 1));
///
/// // Of another process, and on the way to it, it counts until that has ended, however it does.
/// let idle = |_end: Role| -> () { loop { std::thread::park() } };
/// let child = Process::spawn(idle, Role::new(&segment, Roles::PRODUCER)?)?;
/// assert!(segment.has_role(Roles::PRODUCER)?);
/// child.kill()?;
/// child.join().unwrap_err();
/// assert!(!segment.has_role(Roles::PRODUCER)?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Role {
    segment: Segment,
    roles: Roles,
}

/// Which roles: bits.
///
/// ```
/// use ipc_core::Roles;
///
/// assert_ne!(Roles::PRODUCER, Roles::CONSUMER); // who sends, who receives; `BOTH` counts as each of them
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(u8);

impl Roles {
    /// One who sends.
    pub const PRODUCER: Roles = Roles(1);
    /// One who receives.
    pub const CONSUMER: Roles = Roles(2);
    /// Both.
    pub const BOTH: Roles = Roles(3);

    /// How many handles there are, in the table of a process.
    const HANDLES: usize = Role::COUNT - 1;

    fn each(self) -> impl Iterator<Item = usize> {
        (0..Roles::HANDLES).filter(move |role| self.0 & 1 << role != 0)
    }
}

impl Role {
    /// How many numbers a process keeps: handles of each role, and of any.
    pub(crate) const COUNT: usize = 3;

    /// Makes a handle.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Io`] if the system refuses.
    pub fn new(segment: &Segment, roles: Roles) -> Result<Role> {
        segment.check_fork()?;
        let mut counts = segment.roles().lock().unwrap_or_else(PoisonError::into_inner);
        for role in roles.each() {
            if counts[role] == 0 {
                participant::announce_role(segment.file().as_fd(), role).map_err(Error::io("lock shared memory"))?;
            }
        }
        roles.each().chain([Roles::HANDLES]).for_each(|role| counts[role] += 1);
        drop(counts);
        Ok(Role { segment: segment.clone(), roles })
    }

    /// A handle for one of the ends that this is, or for the same.
    ///
    /// # Panics
    /// It is not that end.
    #[must_use]
    pub fn part(&self, roles: Roles) -> Role {
        assert!(roles.0 & !self.roles.0 == 0, "a handle becomes one for less only");
        // As a handle exists, its roles are locked already.
        let mut counts = self.segment.roles().lock().unwrap_or_else(PoisonError::into_inner);
        roles.each().chain([Roles::HANDLES]).for_each(|role| counts[role] += 1);
        drop(counts);
        Role { segment: self.segment.clone(), roles }
    }

    /// The segment.
    #[inline]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Which ends it is.
    pub fn roles(&self) -> Roles {
        self.roles
    }

    /// Sends it away: `moved` becomes true when it is sent.
    ///
    /// ```
    /// use ipc_core::{Connection, Role, Roles, Segment};
    /// use serde::{Deserialize, Deserializer, Serialize, Serializer};
    /// use std::os::{fd::OwnedFd, unix::net::UnixStream};
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering::Relaxed}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// /// Has one owner, as the end of a connection has.
    /// struct End(Role, Arc<AtomicBool>);
    ///
    /// impl Serialize for End {
    ///     fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
    ///         self.0.serialize_moving(&self.1, serializer)
    ///     }
    /// }
    ///
    /// impl<'de> Deserialize<'de> for End {
    ///     fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<End, D::Error> {
    ///         Ok(End(Role::deserialize_moved(deserializer)?, Arc::default()))
    ///     }
    /// }
    ///
    /// let (a, b) = UnixStream::pair()?;
    /// let mut a: Connection<End, ()> = OwnedFd::from(a).try_into()?;
    /// let mut b: Connection<(), End> = OwnedFd::from(b).try_into()?;
    /// let end = End(Role::new(&Segment::anonymous(4096)?, Roles::PRODUCER)?, Arc::default());
    /// a.send(&end)?;
    /// assert!(end.1.load(Relaxed)); // it is not ours any more
    /// assert_eq!(b.recv()?.0.roles(), Roles::PRODUCER);
    /// assert!(a.send(&end).is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// That of the serializer; it was sent before.
    pub fn serialize_moving<S: Serializer>(&self, moved: &Arc<AtomicBool>, serializer: S) -> Result<S::Ok, S::Error> {
        let file = self.file_to_send().map_err(ser::Error::custom)?;
        let index = collect_end(&file, moved).map_err(ser::Error::custom)?;
        self.segment.note_shared();
        (self.roles, index).serialize(serializer)
    }

    /// The counterpart of [`serialize_moving`](Role::serialize_moving).
    ///
    /// # Errors
    /// That of the deserializer; it is no such handle.
    pub fn deserialize_moved<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
        let (roles, index) = <(Roles, u32)>::deserialize(deserializer)?;
        Role::arrived(roles, claim_end(index).map_err(de::Error::custom)?).map_err(de::Error::custom)
    }

    /// An open file of its own that counts as this end.
    fn file_to_send(&self) -> Result<Handle, String> {
        if self.segment.is_named() {
            return Err(complaint::note(
                "an object in memory with a name is not sent, as its size is not sealed: send the name, and open it by that",
            ));
        }
        let file = self.segment.open_again().and_then(|file| {
            self.roles.each().try_for_each(|role| participant::announce_role(file.as_fd(), role)).map(|()| file)
        });
        let file =
            file.map_err(|error| complaint::note(format!("the shared memory cannot be opened again: {error}")))?;
        Ok(Handle::from(file))
    }

    fn arrived(roles: Roles, file: Handle) -> Result<Role, String> {
        let refused = |text: String| complaint::note(text);
        if roles.0 == 0 || roles.0 >= 1 << Roles::HANDLES {
            return Err(refused("a handle for no end that there is".into()));
        }
        let file = file.into_fd().map_err(|error| refused(error.to_string()))?;
        let role = Segment::received(&file).and_then(|segment| Role::new(&segment, roles));
        drop(file); // which counted as this end until now
        role.map_err(|error| refused(full(&error)))
    }
}

impl Segment {
    /// Whether anybody has that end, this process included: another process, a handle that is under way.
    ///
    /// # Errors
    /// [`Error::Io`] if the system cannot tell.
    pub fn has_role(&self, role: Roles) -> Result<bool> {
        let counts = self.roles().lock().unwrap_or_else(PoisonError::into_inner);
        if role.each().any(|role| counts[role] > 0) {
            return Ok(true);
        }
        for role in role.each() {
            if participant::has_role(self.file().as_fd(), role).map_err(Error::io("ask who has shared memory"))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many handles with that end this process has.
    pub fn own_roles(&self, role: Roles) -> usize {
        let counts = self.roles().lock().unwrap_or_else(PoisonError::into_inner);
        role.each().map(|role| counts[role]).sum()
    }

    /// How many handles with any end this process has.
    pub fn own_handles(&self) -> usize {
        self.roles().lock().unwrap_or_else(PoisonError::into_inner)[Roles::HANDLES]
    }

    /// How many processes have the segment, this one included.
    ///
    /// # Errors
    /// [`Error::Io`] if the system cannot tell.
    pub fn participants(&self) -> Result<usize> {
        participant::count(self.file().as_fd()).map_err(Error::io("ask who has shared memory"))
    }
}

impl Clone for Role {
    fn clone(&self) -> Role {
        self.part(self.roles)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let mut counts = self.segment.roles().lock().unwrap_or_else(PoisonError::into_inner);
        counts[Roles::HANDLES] -= 1;
        for role in self.roles.each() {
            counts[role] -= 1;
            // A forked copy shares the open file, so it would take the role from the original.
            if counts[role] == 0 && self.segment.is_original() {
                let _ = participant::resign_role(self.segment.file().as_fd(), role); // only fails for a bad descriptor
            }
        }
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let file = self.file_to_send().map_err(ser::Error::custom)?;
        let sent = (self.roles, file).serialize(serializer)?;
        self.segment.note_shared();
        Ok(sent)
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
        let (roles, file) = <(Roles, Handle)>::deserialize(deserializer)?;
        Role::arrived(roles, file).map_err(de::Error::custom)
    }
}
