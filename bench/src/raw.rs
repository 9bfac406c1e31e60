//! Memory that processes share, with bytes, a number, a ring, or the C library's mutex and semaphore in it; and its message queue: what
//! one writes by hand without this workspace.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fs::File;
use std::hint::spin_loop;
use std::io;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ipc_core::Handle;
use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, mq_close, mq_open, mq_unlink};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::Mode;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What may lie in shared memory.
///
/// # Safety
/// All zero is a value of it, and it has no destructor.
pub(crate) unsafe trait Plain {}

/// A `T` in memory that is shared with whoever gets a clone of this, also as an argument of a process. All zero at first.
struct Shared<T: Plain> {
    file: Handle,
    place: NonNull<T>,
}

impl<T: Plain> Shared<T> {
    fn new() -> io::Result<Shared<T>> {
        let file = File::from(memfd_create(c"bench", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(size_of::<T>() as u64)?;
        Shared::map(file.into())
    }

    fn map(file: Handle) -> io::Result<Shared<T>> {
        let len = const { NonZeroUsize::new(size_of::<T>()).expect("there is something to share") };
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let place = unsafe { mmap(None, len, access, MapFlags::MAP_SHARED, &file, 0)? };
        Ok(Shared { file, place: place.cast() })
    }

    fn try_clone(&self) -> io::Result<Shared<T>> {
        Shared::map(self.file.try_clone()?)
    }
}

impl<T: Plain> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: a page of this very size is mapped there as long as `self` lives. It was zero, which is a `T`, and since then all
        // processes, which are of one program, change it as a `T` only.
        unsafe { self.place.as_ref() }
    }
}

impl<T: Plain> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: it is our mapping, and nothing borrows from it any more.
        let unmapped = unsafe { munmap(self.place.cast(), size_of::<T>()) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

impl<T: Plain> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.file.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shared<T>, D::Error> {
        Shared::map(Handle::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Tells another process to stop.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stop(Shared<Flag>);

#[repr(C)]
struct Flag(AtomicU32);

// SAFETY: an integer.
unsafe impl Plain for Flag {}

impl Stop {
    pub(crate) fn new() -> io::Result<Stop> {
        Shared::new().map(Stop)
    }

    pub(crate) fn try_clone(&self) -> io::Result<Stop> {
        self.0.try_clone().map(Stop)
    }

    pub(crate) fn set(&self) {
        self.0.0.store(1, Ordering::Relaxed); // Relaxed: nothing is passed on with it.
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.0.load(Ordering::Relaxed) == 1
    }
}

/// A `pthread_mutex_t` for several processes, and the number that it protects.
#[derive(Serialize, Deserialize)]
pub(crate) struct Mutex(Shared<Guarded>);

#[repr(C)]
struct Guarded {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    value: UnsafeCell<u64>,
}

// SAFETY: for Linux, zero is a mutex as PTHREAD_MUTEX_INITIALIZER makes it.
unsafe impl Plain for Guarded {}

impl Mutex {
    /// A robust one is given to the next process if its owner dies.
    pub(crate) fn new(robust: bool) -> io::Result<Mutex> {
        let shared = Shared::<Guarded>::new()?;
        let mut attributes = std::mem::MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes are initialised before anything else is done with them, and the mutex is known to nobody yet.
        unsafe {
            check(libc::pthread_mutexattr_init(attributes))?;
            check(libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED))?;
            if robust {
                check(libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST))?;
            }
            check(libc::pthread_mutex_init(shared.mutex.get(), attributes))?;
            check(libc::pthread_mutexattr_destroy(attributes))?;
        }
        Ok(Mutex(shared))
    }

    pub(crate) fn try_clone(&self) -> io::Result<Mutex> {
        self.0.try_clone().map(Mutex)
    }

    pub(crate) fn lock(&self) -> io::Result<Locked<'_>> {
        // SAFETY: it was initialised in `new`, before another process could know it.
        match unsafe { libc::pthread_mutex_lock(self.0.mutex.get()) } {
            0 => Ok(Locked { mutex: self, owner_died: false }),
            libc::EOWNERDEAD => Ok(Locked { mutex: self, owner_died: true }),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// While it lives, the mutex is locked.
pub(crate) struct Locked<'a> {
    mutex: &'a Mutex,
    owner_died: bool,
}

impl Locked<'_> {
    pub(crate) fn owner_died(&self) -> bool {
        self.owner_died
    }

    /// Makes it an ordinary mutex again, after the death of an owner.
    pub(crate) fn repair(&mut self) -> io::Result<()> {
        // SAFETY: initialised, and locked by this thread.
        check(unsafe { libc::pthread_mutex_consistent(self.mutex.0.mutex.get()) })?;
        self.owner_died = false;
        Ok(())
    }
}

impl Deref for Locked<'_> {
    type Target = u64;

    fn deref(&self) -> &u64 {
        // SAFETY: the value is touched by who has locked the mutex only.
        unsafe { &*self.mutex.0.value.get() }
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut u64 {
        // SAFETY: as in `deref`; this guard is borrowed mutably.
        unsafe { &mut *self.mutex.0.value.get() }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: initialised, and locked by this thread: a `Locked` cannot be sent, as `Mutex` is not `Sync`.
        let code = unsafe { libc::pthread_mutex_unlock(self.mutex.0.mutex.get()) };
        assert_eq!(code, 0, "an owner can unlock");
    }
}

/// A `sem_t` for several processes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Semaphore(Shared<Counted>);

#[repr(C)]
struct Counted(UnsafeCell<libc::sem_t>);

// SAFETY: numbers; and before it is used, it is initialised.
unsafe impl Plain for Counted {}

impl Semaphore {
    pub(crate) fn new(value: u32) -> io::Result<Semaphore> {
        let shared = Shared::<Counted>::new()?;
        // SAFETY: memory for one, known to nobody yet.
        Errno::result(unsafe { libc::sem_init(shared.0.get(), 1, value) })?;
        Ok(Semaphore(shared))
    }

    pub(crate) fn try_clone(&self) -> io::Result<Semaphore> {
        self.0.try_clone().map(Semaphore)
    }

    pub(crate) fn wait(&self) -> io::Result<()> {
        // SAFETY: it was initialised in `new`, before another process could know it.
        Errno::result(unsafe { libc::sem_wait(self.0.0.get()) })?;
        Ok(())
    }

    pub(crate) fn post(&self) -> io::Result<()> {
        // SAFETY: as in `wait`.
        Errno::result(unsafe { libc::sem_post(self.0.0.get()) })?;
        Ok(())
    }
}

/// A number without a lock.
#[derive(Serialize, Deserialize)]
pub(crate) struct Counter(Shared<AtomicU64>);

// SAFETY: an integer.
unsafe impl Plain for AtomicU64 {}

impl Counter {
    pub(crate) fn new() -> io::Result<Counter> {
        Shared::new().map(Counter)
    }

    pub(crate) fn try_clone(&self) -> io::Result<Counter> {
        self.0.try_clone().map(Counter)
    }

    /// Returns what it was.
    #[inline(always)]
    pub(crate) fn fetch_add(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::SeqCst)
    }
}

/// So many bytes, to be copied. Not for other processes: nobody knows who would write them just now.
pub(crate) struct Bytes<const SIZE: usize>(Shared<Cells<SIZE>>);

#[repr(C)]
struct Cells<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

// SAFETY: integers.
unsafe impl<const SIZE: usize> Plain for Cells<SIZE> {}

impl<const SIZE: usize> Bytes<SIZE> {
    pub(crate) fn new() -> io::Result<Bytes<SIZE>> {
        Shared::new().map(Bytes)
    }

    /// Copies bytes to the beginning.
    #[inline(always)]
    pub(crate) fn copy_in(&self, from: &[u8]) {
        assert!(from.len() <= SIZE);
        // SAFETY: there are so many bytes; no slice is made of them, so they are not those of `from`. No other process and no other
        // thread has them, as nothing here can be sent.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), self.0.0.get().cast(), from.len()) }
    }

    /// Copies bytes from the beginning.
    #[inline(always)]
    pub(crate) fn copy_out(&self, to: &mut [u8]) {
        assert!(to.len() <= SIZE);
        // SAFETY: as in `copy_in`.
        unsafe { ptr::copy_nonoverlapping(self.0.0.get().cast(), to.as_mut_ptr(), to.len()) }
    }
}

/// A ring of 1024 messages for one sender and one receiver, who never sleep: the least there can be between two processes.
#[repr(C)]
struct Ring<T> {
    /// How many messages were ever put, ...
    put: Line<AtomicU64>,
    /// ... and got.
    got: Line<AtomicU64>,
    /// Whether the receiver is.
    gone: Line<AtomicU32>,
    slots: [UnsafeCell<T>; SLOTS as usize],
}

const SLOTS: u64 = 1024;

/// Alone on its cache line, and on the one that the processor fetches together with it.
#[repr(C, align(128))]
struct Line<T>(T);

// SAFETY: integers, and messages that are.
unsafe impl<T: Plain> Plain for Ring<T> {}

// SAFETY: an integer.
unsafe impl Plain for u64 {}

// SAFETY: integers.
unsafe impl Plain for [u64; 8] {}

/// Both ends of a new ring; in one process they share a mapping.
pub(crate) fn ring<T: Plain + Copy>() -> io::Result<(RingEntrance<T>, RingExit<T>)> {
    let ring = Rc::new(Shared::<Ring<T>>::new()?);
    Ok((RingEntrance { ring: ring.clone(), put: 0, got: 0 }, RingExit { ring, put: 0, got: 0 }))
}

/// The only one that puts.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct RingEntrance<T: Plain> {
    ring: Rc<Shared<Ring<T>>>,
    put: u64,
    /// At least so many were got.
    got: u64,
}

impl<T: Plain + Copy> RingEntrance<T> {
    /// Waits while the ring is full; false if the receiver is gone by then.
    #[inline(always)]
    pub(crate) fn put(&mut self, message: T) -> bool {
        while self.put - self.got == SLOTS {
            // Acquire: what was got is not overwritten earlier; pairs with the Release in `get`.
            self.got = self.ring.got.0.load(Ordering::Acquire);
            if self.put - self.got < SLOTS {
                break;
            }
            if self.ring.gone.0.load(Ordering::Relaxed) == 1 {
                return false;
            }
            spin_loop();
        }
        // SAFETY: nobody else puts, as this is not cloned but moved, and the receiver has left this slot.
        unsafe { *self.ring.slots[(self.put % SLOTS) as usize].get() = message };
        self.put += 1;
        // Release: publishes the message; pairs with the Acquire in `get`.
        self.ring.put.0.store(self.put, Ordering::Release);
        true
    }
}

/// The only one that gets.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct RingExit<T: Plain> {
    ring: Rc<Shared<Ring<T>>>,
    /// At least so many were put.
    put: u64,
    got: u64,
}

impl<T: Plain + Copy> RingExit<T> {
    /// Waits while the ring is empty.
    #[inline(always)]
    pub(crate) fn get(&mut self) -> T {
        while self.put == self.got {
            // Acquire: pairs with the Release in `RingEntrance::put`.
            self.put = self.ring.put.0.load(Ordering::Acquire);
            if self.put == self.got {
                spin_loop();
            }
        }
        // SAFETY: nobody else gets, as this is not cloned but moved, and the sender does not touch the slot until it is left.
        let message = unsafe { *self.ring.slots[(self.got % SLOTS) as usize].get() };
        self.got += 1;
        // Release: the message was read before; pairs with the Acquire in `RingEntrance::put`.
        self.ring.got.0.store(self.got, Ordering::Release);
        message
    }

    /// Nobody gets any more.
    pub(crate) fn close(&self) {
        self.ring.gone.0.store(1, Ordering::Relaxed); // Relaxed: nothing is passed on with it.
    }
}

/// A POSIX message queue, of as many messages as everybody may have.
#[derive(Serialize, Deserialize)]
pub(crate) struct MessageQueue(Handle);

impl MessageQueue {
    const MESSAGES: i64 = 10;

    /// For messages of `len` bytes. Its name is only there for a moment.
    pub(crate) fn new(len: usize) -> io::Result<MessageQueue> {
        let name = format!("/ipc-bench-{}", std::process::id());
        let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR | MQ_OFlag::O_CLOEXEC;
        let attributes = MqAttr::new(0, MessageQueue::MESSAGES, len as i64, 0);
        let queue = mq_open(&*name, flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&attributes))?;
        mq_unlink(&*name)?;
        let descriptor = queue.as_fd().try_clone_to_owned();
        mq_close(queue)?;
        Ok(MessageQueue(descriptor?.into()))
    }

    pub(crate) fn try_clone(&self) -> io::Result<MessageQueue> {
        self.0.try_clone().map(MessageQueue)
    }

    /// Waits for room.
    #[inline(always)]
    pub(crate) fn send(&self, message: &[u8]) -> io::Result<()> {
        // SAFETY: a descriptor, and so many bytes.
        Errno::result(unsafe { libc::mq_send(self.0.as_fd().as_raw_fd(), message.as_ptr().cast(), message.len(), 0) })?;
        Ok(())
    }

    /// Waits for a message, and returns its length.
    #[inline(always)]
    pub(crate) fn receive(&self, message: &mut [u8]) -> io::Result<usize> {
        let (to, priority) = (message.as_mut_ptr().cast(), ptr::null_mut());
        // SAFETY: as in `send`; and nobody asks for the priority.
        let len = Errno::result(unsafe { libc::mq_receive(self.0.as_fd().as_raw_fd(), to, message.len(), priority) })?;
        Ok(len as usize)
    }

    /// Does not wait. Whether there was one.
    pub(crate) fn discard(&self, message: &mut [u8]) -> bool {
        let (to, priority) = (message.as_mut_ptr().cast(), ptr::null_mut());
        let long_ago = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: as in `receive`.
        unsafe { libc::mq_timedreceive(self.0.as_fd().as_raw_fd(), to, message.len(), priority, &long_ago) >= 0 }
    }
}

/// The functions for threads return their errors.
fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_the_same_mutex() {
        let mutex = Mutex::new(true).unwrap();
        let clone = mutex.try_clone().unwrap();
        *mutex.lock().unwrap() += 1;
        assert_eq!(*clone.lock().unwrap(), 1);
    }
}
