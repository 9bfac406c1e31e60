//! Locks of which each has a mistake that is easily made, in memory that processes share.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use ipc_core::Handle;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::ftruncate;
use serde::{Deserialize, Serialize};

use crate::locks::WORDS;

const SIZE: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// What lies in the memory: all of it may be 0 at first, but for the mutex.
#[repr(C)]
struct Layout {
    mutex: Cell<libc::pthread_mutex_t>,
    words: [AtomicU32; 4],
    data: [Cell<u64>; WORDS],
    begun: [AtomicU32; ONCES],
    done: [AtomicU32; ONCES],
    slots: [[Cell<u64>; 2]; SLOTS],
}

/// How many functions are called once.
pub(crate) const ONCES: usize = 128;

/// How many messages a queue has room for.
pub(crate) const SLOTS: usize = 32;

const _: () = assert!(size_of::<Layout>() <= SIZE.get());

/// Memory that can be sent to another process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Memory(Handle);

/// The memory in this process.
#[derive(Debug)]
pub(crate) struct Map(NonNull<Layout>);

// SAFETY: the mutex is made for several threads, the words are atomic, and the data is for those who have a lock; locks that
// let in two are what the campaign is to find, in memory that is a process's own but for the bytes.
unsafe impl Sync for Map {}

impl Memory {
    pub(crate) fn create() -> Memory {
        let fd = memfd_create("raw locks", MFdFlags::MFD_CLOEXEC).expect("memory");
        ftruncate(&fd, SIZE.get() as i64).expect("memory");
        Memory(Handle::from(fd))
    }

    pub(crate) fn share(&self) -> Memory {
        Memory(self.0.try_clone().expect("a descriptor"))
    }

    pub(crate) fn map(&self) -> Map {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at a place of the kernel's choice, of a file that is never made shorter.
        let address = unsafe { mmap(None, SIZE, access, MapFlags::MAP_SHARED, self.0.as_fd(), 0) };
        Map(address.expect("room for a page").cast())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped by `Memory::map`; everything borrowed of it borrows `self`. No robust mutex in it is held: the scenarios
        // unlock before they return.
        let _ = unsafe { munmap(self.0.cast(), SIZE.get()) };
    }
}

impl Map {
    fn layout(&self) -> &Layout {
        // SAFETY: the page is mapped as long as `self` lives, is big enough, and every pattern of bits in it is a value.
        unsafe { self.0.as_ref() }
    }

    /// What a lock guards.
    pub(crate) fn data(&self) -> &[Cell<u64>] {
        &self.layout().data
    }

    /// How often the function of this number was begun.
    pub(crate) fn begun(&self, number: usize) -> &AtomicU32 {
        &self.layout().begun[number]
    }

    /// How often it came to its end.
    pub(crate) fn done(&self, number: usize) -> &AtomicU32 {
        &self.layout().done[number]
    }

    /// Messages of a queue.
    pub(crate) fn slots(&self) -> &[[Cell<u64>; 2]; SLOTS] {
        &self.layout().slots
    }

    pub(crate) fn word(&self, number: usize) -> &AtomicU32 {
        &self.layout().words[number]
    }

    /// A mutex for processes; once, before anybody else has the memory.
    pub(crate) fn create_mutex(&self, robust: bool) {
        let mut attributes = mem::MaybeUninit::uninit();
        // SAFETY: the attributes are initialised before they are used, the mutex is in mapped memory, and nobody uses it yet.
        unsafe {
            let attributes = attributes.as_mut_ptr();
            assert_eq!(libc::pthread_mutexattr_init(attributes), 0);
            assert_eq!(libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED), 0);
            if robust {
                assert_eq!(libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST), 0);
            }
            assert_eq!(libc::pthread_mutex_init(self.mutex(), attributes), 0);
        }
    }

    fn mutex(&self) -> *mut libc::pthread_mutex_t {
        self.layout().mutex.as_ptr()
    }

    /// Waits without slices, and says whether the owner before has died.
    pub(crate) fn lock(&self) -> bool {
        // SAFETY: initialised by `create_mutex`, and mapped.
        took(unsafe { libc::pthread_mutex_lock(self.mutex()) }).expect("it waits")
    }

    /// The same without waiting; `None` if another one has it.
    pub(crate) fn try_lock(&self) -> Option<bool> {
        // SAFETY: as in `lock`.
        took(unsafe { libc::pthread_mutex_trylock(self.mutex()) })
    }

    /// After the owner's death: from now on nobody is told of it.
    pub(crate) fn forget_death(&self) {
        // SAFETY: as in `lock`; the kernel and the C library check that it is ours.
        assert_eq!(unsafe { libc::pthread_mutex_consistent(self.mutex()) }, 0);
    }

    pub(crate) fn unlock(&self) {
        // SAFETY: as in `lock`; the scenarios unlock what they have locked, in the same thread.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.mutex()) }, 0);
    }

    /// Sleeps until somebody wakes the word, if it is what it is expected to be; without slices.
    pub(crate) fn sleep(&self, number: usize, expected: u32) {
        let word = self.word(number).as_ptr();
        // SAFETY: the word is mapped and aligned; no time-out is given. The shared kind: the sleepers are processes.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, expected, ptr::null::<libc::timespec>()) };
    }

    /// Wakes so many of those who sleep at the word.
    pub(crate) fn wake(&self, number: usize, count: i32) {
        // SAFETY: as in `sleep`.
        unsafe { libc::syscall(libc::SYS_futex, self.word(number).as_ptr(), libc::FUTEX_WAKE, count) };
    }

    /// Takes one from a word that counts, if it is not 0.
    pub(crate) fn take_one(&self, number: usize) -> bool {
        let one_less = |n: u32| n.checked_sub(1);
        self.word(number).fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

/// Whether the owner before has died; `None` if it is another one's.
fn took(code: i32) -> Option<bool> {
    match code {
        0 => Some(false),
        libc::EOWNERDEAD => Some(true),
        libc::EBUSY => None,
        other => panic!("the mutex: {}", std::io::Error::from_raw_os_error(other)),
    }
}

/// Keeps this thread on the first processor that it may use.
pub(crate) fn stay_on_one_processor() {
    // SAFETY: a set of processors may be all 0, and its size is what is passed.
    unsafe {
        let (mut set, size) = (mem::zeroed::<libc::cpu_set_t>(), size_of::<libc::cpu_set_t>());
        assert_eq!(libc::sched_getaffinity(0, size, &raw mut set), 0);
        let first = (0..libc::CPU_SETSIZE as usize).find(|cpu| libc::CPU_ISSET(*cpu, &set)).expect("a processor");
        libc::CPU_ZERO(&mut set);
        libc::CPU_SET(first, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size, &raw const set), 0);
    }
}

/// From now on this thread, when it is woken, waits for its turn and does not take the one of who woke it.
pub(crate) fn yield_to_others() {
    // SAFETY: the parameter is valid for this policy.
    let result = unsafe {
        let parameter: libc::sched_param = mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameter)
    };
    assert_eq!(result, 0);
}
