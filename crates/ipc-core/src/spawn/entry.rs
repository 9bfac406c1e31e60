//! How a function gets from one process to another of the same program.
//!
//! Both run the same image, so the place of a static in it, counted from another static, is the same in both. Each function
//! that is spawned has a descriptor, a static; the parent passes its distance from the anchor, the child finds it again, checks
//! it and calls through it. The descriptor, not the function, is addressed, because linkers merge functions of identical code.
//!
//! The child gets here before its `main` does anything, by a constructor (feature `auto-init`) or by [`init`].
#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::child::{self, Bootstrap};
use super::image::Image;
use crate::Error;

/// Marks a process as a child that has a function to run. It names one copy of this crate (two versions may be linked into a
/// program) by the place of its anchor.
pub(crate) const VARIABLE: &str = "IPC_CORE_CHILD";

const MAGIC: u64 = 0x6970_632d_656e_7472; // "ipc-entr"

/// Whether a child of this program would get to its function.
static READY: AtomicBool = AtomicBool::new(false);

/// What is known about a function that can be spawned.
#[repr(C)]
pub(crate) struct Entry {
    magic: u64,
    type_name: fn() -> &'static str,
    run: fn(Bootstrap) -> !,
}

/// Where distances are counted from. Not zero, so that no linker moves it out of the image's data.
#[used]
static ANCHOR: u64 = !MAGIC;

/// The descriptor of a function, made by the compiler for every type that is spawned.
pub(crate) struct EntryOf<F, A, R>(PhantomData<fn(F, A) -> R>);

impl<F, A, R> EntryOf<F, A, R>
where
    F: FnOnce(A) -> R + Copy + Send + 'static,
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    const ENTRY: &'static Entry = {
        assert!(
            size_of::<F>() == 0,
            "a spawned closure must not capture variables, and a function must be named, not pointed to: \
             the child has other memory. Pass what it needs as arguments"
        );
        &Entry { magic: MAGIC, type_name: std::any::type_name::<(F, A, R)>, run: Self::run }
    };

    /// What goes into [`VARIABLE`] to run `f` in a child. The value itself carries nothing, its type is all.
    pub(crate) fn ticket(_f: F) -> Ticket {
        Ticket {
            copy: copy_id(&Image::of_program()),
            distance: (Self::ENTRY as *const Entry as usize).wrapping_sub(&raw const ANCHOR as usize),
            name: hash((Self::ENTRY.type_name)()),
        }
    }

    fn run(bootstrap: Bootstrap) -> ! {
        // SAFETY: `F` has size 0, so there is nothing to read; it is `Copy`, so that it cannot be a token that stands for
        // something that exists once; and the parent process, which runs the same program, did have a value of it.
        let f = unsafe { NonNull::<F>::dangling().read() };
        bootstrap.run(f)
    }
}

/// Which function a child is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    copy: usize,
    distance: usize,
    name: u64,
}

impl Ticket {
    pub(crate) fn to_variable(self) -> OsString {
        format!("{:x}.{:x}.{:x}", self.copy, self.distance, self.name).into()
    }

    fn from_variable(text: &OsStr) -> Option<Ticket> {
        let mut parts = text.to_str()?.split('.');
        let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
        let ticket = Ticket { copy: next()? as usize, distance: next()? as usize, name: next()? };
        parts.next().is_none().then_some(ticket)
    }

    /// The function, if this is its program: the environment may come from anywhere.
    fn find(self, image: &Image) -> Option<fn(Bootstrap) -> !> {
        let address = (&raw const ANCHOR as usize).wrapping_add(self.distance);
        if !image.contains(address, size_of::<Entry>()) || address % align_of::<Entry>() != 0 {
            return None;
        }
        // SAFETY: the range is inside a readable segment of this program and aligned, and these are plain numbers.
        let [magic, name_at, run_at] = unsafe { std::ptr::read(address as *const [u64; 3]) };
        if magic != MAGIC || !image.is_code(name_at as usize) || !image.is_code(run_at as usize) {
            return None;
        }
        // SAFETY: the magic number and two pointers to code, as only the compiler lays them out: it is an `Entry`.
        let entry = unsafe { &*(address as *const Entry) };
        (hash((entry.type_name)()) == self.name).then_some(entry.run)
    }
}

const _: () = assert!(size_of::<Entry>() == 24 && align_of::<Entry>() == 8, "the two 64-bit platforms");

/// Tells the copies of this crate in a program apart, in a way that is the same in parent and child.
fn copy_id(image: &Image) -> usize {
    (&raw const ANCHOR as usize).wrapping_sub(image.base())
}

/// FNV-1a: short, and the same in every process.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Whether spawned functions start in this program, and this copy of the crate is part of it.
pub(crate) fn check() -> crate::Result<()> {
    #[cfg(feature = "auto-init")]
    super::constructor::link();
    if crate::sys::is_secure_execution() {
        return Err(Error::CannotSpawn(
            "the program runs with set-user-ID or the like, where a child must not trust its environment",
        ));
    }
    if !READY.load(Ordering::Relaxed) {
        return Err(Error::CannotSpawn(
            "`ipc_core::init()` has to be called first in `main`, as the feature `auto-init` is off",
        ));
    }
    super::image::check(&raw const ANCHOR as usize)
}

/// Runs the function this process was spawned for, if it was, and then ends it. Otherwise does nothing.
///
/// With the feature `auto-init` (the default) this has happened before `main`, and the call is of no use. Without it, call it
/// first in `main`, before threads are started and before the arguments are looked at:
///
/// ```
/// # #[expect(clippy::needless_doctest_main, reason = "it is about main")]
/// fn main() {
///     ipc_core::init();
///     // the program
/// }
/// ```
///
/// # References
/// CPython `multiprocessing.freeze_support`, which stands in the same place.
pub fn init() {
    if let Some(run) = begin() {
        child::start(run)
    }
}

/// Makes this program ready, and takes the ticket out of the environment, if there is one for this copy of the crate.
pub(super) fn begin() -> Option<Option<fn(Bootstrap) -> !>> {
    READY.store(true, Ordering::Relaxed);
    if crate::sys::is_secure_execution() {
        return None;
    }
    let ticket = Ticket::from_variable(&std::env::var_os(VARIABLE)?)?;
    let image = Image::of_program();
    if ticket.copy != copy_id(&image) {
        return None;
    }
    // SAFETY: this runs before `main` or first in it, when no other thread reads the environment. It has to go before user
    // code runs, lest the programs that it starts take it for theirs.
    unsafe { std::env::remove_var(VARIABLE) };
    Some(ticket.find(&image))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    fn ticket() -> Ticket {
        fn double(n: u32) -> u32 {
            2 * n
        }
        fn of<F: FnOnce(u32) -> u32 + Copy + Send + 'static>(f: F) -> Ticket {
            EntryOf::<F, u32, u32>::ticket(f)
        }
        of(double)
    }

    #[test]
    fn a_ticket_survives_the_environment() {
        let ticket = ticket();
        assert_eq!(Ticket::from_variable(&ticket.to_variable()), Some(ticket));
        for text in ["", "1", "1.2", "1.2.3.4", "x.2.3", "1.2.-3"] {
            assert_eq!(Ticket::from_variable(OsStr::from_bytes(text.as_bytes())), None, "{text}");
        }
    }

    #[test]
    fn a_ticket_finds_its_function_and_a_forged_one_nothing() {
        let (ticket, image) = (ticket(), Image::of_program());
        assert!(ticket.find(&image).is_some());
        assert!(Ticket { name: ticket.name ^ 1, ..ticket }.find(&image).is_none(), "another type");
        for distance in [1, 8, 64, 1 << 20, 1 << 40, usize::MAX / 2] {
            for distance in [ticket.distance.wrapping_add(distance), ticket.distance.wrapping_sub(distance)] {
                assert!(Ticket { distance, ..ticket }.find(&image).is_none(), "{distance:x}");
            }
        }
    }
}
