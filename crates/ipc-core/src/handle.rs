//! Handles inside messages: a descriptor that crosses with the value it is part of.
//!
//! While a value is encoded, a table of this thread collects the descriptors in it and the value carries their index; the
//! connection sends the collected ones along (`SCM_RIGHTS`, unix(7)). While it is decoded, the table holds what arrived, and
//! each index takes one out. What is not taken is closed.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::{complaint, crash_point};

/// How many handles a message may bring unless another limit is set: as many files as a process may have open by default.
pub(crate) const MAX_HANDLES: usize = 1024;

/// A descriptor that can be part of any serde value: as an argument or result of a process, or in a message over a local
/// [`Connection`](crate::Connection).
///
/// The receiver gets a descriptor of its own for the same open file. Sending a value that owns a handle closes it here, as the
/// value is dropped; [`try_clone`](Handle::try_clone) first to keep one.
///
/// Descriptors made here are close-on-exec. Encoding a handle for anything but a local connection is an error.
///
/// ```
/// use ipc_core::{Handle, Process};
/// use std::io::{Read, Write};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut ours, theirs) = std::os::unix::net::UnixStream::pair()?;
/// let child = Process::spawn(
///     |(who, line): (String, Handle)| {
///         let mut line = std::fs::File::from(line.into_fd().unwrap());
///         write!(line, "hello from {who}").unwrap();
///     },
///     ("the child".to_string(), Handle::from(theirs)),
/// )?;
/// let mut text = String::new();
/// ours.read_to_string(&mut text)?; // ends, as the child holds the only other end
/// assert_eq!(text, "hello from the child");
/// child.join()?;
/// # Ok(()) }
/// ```
///
/// # References
/// `SCM_RIGHTS` in unix(7); CPython `multiprocessing.reduction.send_handle`, `DupFd`.
#[derive(Debug)]
pub struct Handle(Arc<OwnedFd>);

impl Handle {
    /// A second descriptor for the same open file.
    ///
    /// ```
    /// use ipc_core::{Handle, Process};
    /// use std::{io::Write, os::unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let theirs = Handle::from(theirs);
    /// let kept = theirs.try_clone()?;
    /// Process::spawn(|end: Handle| drop(end), theirs)?.join()?; // it is the child's, and closed with it
    /// UnixStream::from(kept.into_fd()?).write_all(b"still open")?;
    /// assert_eq!(std::io::read_to_string(ours)?, "still open");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The limit of open files is reached.
    pub fn try_clone(&self) -> io::Result<Handle> {
        self.0.try_clone().map(Handle::from)
    }

    /// Gives the descriptor out.
    ///
    /// # Errors
    /// The descriptor is still to be sent by an unfinished send, so a second one had to be made, and the limit of open files
    /// is reached.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        Arc::try_unwrap(self.0).or_else(|shared| shared.try_clone())
    }

    /// Whether both are the same descriptor of this process.
    pub(crate) fn is_shared_with(&self, other: &Handle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The same descriptor, not a second one: for what shares it inside this process.
    pub(crate) fn share(&self) -> Handle {
        Handle(Arc::clone(&self.0))
    }
}

impl<T: Into<OwnedFd>> From<T> for Handle {
    /// Takes a file, a socket, a pipe: whatever owns a descriptor.
    fn from(owner: T) -> Handle {
        Handle(Arc::new(owner.into()))
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = collect(|outgoing| outgoing.add(self.share()))
            .ok_or_else(|| ser::Error::custom(complaint::note(OUTSIDE)))?;
        serializer.serialize_u32(index)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Handle, D::Error> {
        let index = u32::deserialize(deserializer)?;
        claim(index).map(Handle::from).map_err(|text| de::Error::custom(complaint::note(text)))
    }
}

const OUTSIDE: &str = "a handle can only be sent over a connection, or as an argument or result of a process";

thread_local! {
    /// What has been collected, if `TABLE` says `Used`. Apart from it, as most messages carry nothing and need not come here.
    static OUTGOING: RefCell<Collected> = const { RefCell::new(Collected { handles: Vec::new(), ends: Vec::new() }) };
    static TABLE: Cell<Table> = const { Cell::new(Table::Closed) };
    /// What came with the message that is being decoded, if `ARRIVED` says `Used`.
    static INCOMING: RefCell<Option<Incoming>> = const { RefCell::new(None) };
    static ARRIVED: Cell<Table> = const { Cell::new(Table::Closed) };
}

/// Whether handles can be collected, or claimed, just now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    /// Nothing is being encoded, or decoded.
    Closed,
    /// Nothing has been collected yet, or has come.
    Open,
    Used,
}

/// What a value that is being encoded takes along.
#[derive(Debug, Default)]
struct Collected {
    handles: Vec<Handle>,
    /// The ends of connections in the value, which cease to be ours when it is sent; with their place in `handles`.
    ends: Vec<(Arc<AtomicBool>, u32)>,
}

impl Collected {
    fn add(&mut self, handle: Handle) -> u32 {
        self.handles.push(handle);
        (self.handles.len() - 1) as u32
    }
}

/// What an encoded value takes along: most often nothing, so it is one pointer, which costs nothing to hand on.
#[derive(Debug, Default)]
pub(crate) struct Outgoing(Option<Box<Collected>>);

impl Outgoing {
    #[inline]
    pub(crate) fn handles(&self) -> &[Handle] {
        self.0.as_ref().map_or(&[], |collected| &collected.handles)
    }

    /// The message is on its way: from now on the ends that went with it are the receiver's.
    #[inline]
    pub(crate) fn sent(self) {
        if let Some(collected) = self.0 {
            crash_point!("end.sent");
            collected.ends.iter().for_each(|(moved, _)| moved.store(true, Ordering::Relaxed));
        }
    }
}

/// Notes one end of a connection for sending: `moved` becomes true once the message is sent. `None` outside a connection.
///
/// An end that is met twice, because a codec walks over the value twice, is sent once.
pub(crate) fn collect_end(handle: &Handle, moved: &Arc<AtomicBool>) -> Result<u32, String> {
    if moved.load(Ordering::Relaxed) {
        return Err(complaint::note("the connection in the value was sent away before"));
    }
    collect(|outgoing| match outgoing.ends.iter().find(|(known, _)| Arc::ptr_eq(known, moved)) {
        Some((_, index)) => *index,
        None => {
            let index = outgoing.add(handle.share());
            outgoing.ends.push((Arc::clone(moved), index));
            crash_point!("end.encoded");
            index
        }
    })
    .ok_or_else(|| complaint::note(OUTSIDE))
}

fn collect<R>(f: impl FnOnce(&mut Collected) -> R) -> Option<R> {
    if TABLE.get() == Table::Closed {
        return None;
    }
    TABLE.set(Table::Used);
    Some(OUTGOING.with_borrow_mut(f))
}

/// Runs `encode` with an empty table and returns what it collected.
#[inline]
pub(crate) fn collecting<R>(encode: impl FnOnce() -> R) -> (R, Outgoing) {
    let outer = TABLE.replace(Table::Open);
    let scope = OutgoingScope { outer, kept: if outer == Table::Used { taken() } else { Outgoing(None) } };
    let result = encode();
    let outgoing = if TABLE.get() == Table::Used { taken() } else { Outgoing(None) };
    drop(scope);
    (result, outgoing)
}

#[cold]
fn taken() -> Outgoing {
    Outgoing(Some(Box::new(OUTGOING.take())))
}

/// Puts the outer table back, also on a panic: a value's own code may use another connection while it is encoded.
struct OutgoingScope {
    outer: Table,
    kept: Outgoing,
}

impl Drop for OutgoingScope {
    #[inline]
    fn drop(&mut self) {
        if TABLE.replace(self.outer) == Table::Used || self.kept.0.is_some() {
            OUTGOING.set(self.kept.0.take().map_or(Collected::default(), |kept| *kept));
        }
    }
}

/// Whether what is being encoded just now goes where handles can go along: over a connection, or to a process. For the crates of the
/// mechanisms.
pub fn takes_handles() -> bool {
    TABLE.get() != Table::Closed
}

/// Runs `f`, which encodes or decodes what goes through memory: nothing in it can take handles along, also if a message of a connection
/// is just being encoded. For the crates of the mechanisms.
#[inline]
pub fn without_handles<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(Table, Table);
    impl Drop for Restore {
        #[inline]
        fn drop(&mut self) {
            TABLE.set(self.0);
            ARRIVED.set(self.1);
        }
    }
    let _restore = Restore(TABLE.replace(Table::Closed), ARRIVED.replace(Table::Closed));
    f()
}

/// Descriptors, until they are taken.
type Incoming = Vec<Option<OwnedFd>>;

fn claim(index: u32) -> Result<OwnedFd, &'static str> {
    const MISSING: &str = "the message names a handle that did not come with it";
    match ARRIVED.get() {
        Table::Closed => {
            Err("a handle can only be received over a connection, or as an argument or result of a process")
        }
        Table::Open => Err(MISSING),
        Table::Used => INCOMING.with_borrow_mut(|table| {
            let slot = table.as_mut().and_then(|fds| fds.get_mut(index as usize)).ok_or(MISSING)?;
            slot.take()
                .ok_or("the message names a handle twice (handles do not work inside untagged or flattened types)")
        }),
    }
}

/// Takes an end of a connection that was noted with [`collect_end`].
pub(crate) fn claim_end(index: u32) -> Result<Handle, String> {
    let end = claim(index).map(Handle::from).map_err(complaint::note)?;
    crash_point!("end.received");
    Ok(end)
}

/// Runs `decode` with `fds` in the table; those that it does not take are closed.
pub(crate) fn offering<R>(fds: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> R {
    let arrived = fds.into_iter().map(Some).collect();
    let _scope = IncomingScope { state: ARRIVED.replace(Table::Used), outer: Some(INCOMING.replace(Some(arrived))) };
    decode()
}

/// Runs `decode` for a message without handles: those of an outer message are out of its reach.
#[inline]
pub(crate) fn offering_none<R>(decode: impl FnOnce() -> R) -> R {
    let _scope = IncomingScope { state: ARRIVED.replace(Table::Open), outer: None };
    decode()
}

/// As [`OutgoingScope`], for what arrives.
struct IncomingScope {
    state: Table,
    outer: Option<Option<Incoming>>,
}

impl Drop for IncomingScope {
    #[inline]
    fn drop(&mut self) {
        ARRIVED.set(self.state);
        if let Some(outer) = self.outer.take() {
            INCOMING.set(outer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn handle() -> Handle {
        Handle::from(File::open("/dev/null").unwrap())
    }

    #[test]
    fn a_panic_restores_the_outer_table() {
        let ((), outer) = collecting(|| {
            postcard::to_stdvec(&handle()).unwrap();
            let panicked = std::panic::catch_unwind(|| collecting(|| panic!("in a value's serialize")));
            assert!(panicked.is_err());
            postcard::to_stdvec(&handle()).unwrap();
        });
        assert_eq!(outer.handles().len(), 2);
        assert!(TABLE.get() == Table::Closed);
    }

    #[test]
    fn outside_a_connection_is_an_error() {
        assert!(postcard::to_stdvec(&handle()).is_err());
        assert_eq!(complaint::take().as_deref(), Some(OUTSIDE));
        assert!(postcard::from_bytes::<Handle>(&[0]).is_err());
    }

    #[test]
    fn an_index_is_taken_once_and_only_if_it_exists() {
        let fds = vec![handle().into_fd().unwrap()];
        offering(fds, || {
            assert!(claim(1).is_err());
            assert!(claim(0).is_ok());
            assert!(claim(0).is_err());
        });
        assert!(claim(0).is_err());
    }
}
