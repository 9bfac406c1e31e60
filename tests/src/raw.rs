//! What the tests need to do to processes that no safe function does.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A process that has this set in its environment stops itself (SIGSTOP) before anything of it runs.
pub const STALL: &str = "IPC_TESTS_STALL";

#[used]
// SAFETY: the C library calls it before `main`; it calls async-signal-safe functions only.
#[unsafe(link_section = ".init_array")]
static STALLER: extern "C" fn() = stall;

extern "C" fn stall() {
    // SAFETY: a constant C string; the environment is not changed by anybody yet.
    unsafe {
        if !libc::getenv(c"IPC_TESTS_STALL".as_ptr()).is_null() {
            libc::raise(libc::SIGSTOP);
        }
    }
}

/// Makes sure that the constructor is linked.
pub fn link_staller() {
    std::hint::black_box(&STALLER);
}

/// Forks without exec. The new process holds copies of all descriptors, does nothing, and ends when `until` does.
pub fn fork_idle(until: OwnedFd) -> u32 {
    // SAFETY: the new process calls async-signal-safe functions only.
    unsafe {
        match libc::fork() {
            -1 => panic!("cannot fork"),
            0 => {
                let mut byte = 0u8;
                libc::read(until.as_raw_fd(), (&raw mut byte).cast(), 1);
                libc::_exit(0)
            }
            pid => pid as u32,
        }
    }
}

/// Forks without exec, drops the value in the new process, which then ends, and gives it back in this one.
pub fn drop_in_forked_copy<T>(value: T) -> T {
    // SAFETY: the test's process has no other thread; what is dropped makes system calls only.
    unsafe {
        match libc::fork() {
            -1 => panic!("cannot fork"),
            0 => {
                drop(value);
                libc::_exit(0)
            }
            pid => assert_eq!(libc::waitpid(pid, std::ptr::null_mut(), 0), pid),
        }
    }
    value
}

/// Forks without exec, and returns what `look` says in the new process, which then ends.
pub fn in_forked_copy(look: impl FnOnce() -> bool) -> bool {
    // SAFETY: the test's process has no other thread, so the new one can do whatever this one could.
    unsafe {
        match libc::fork() {
            -1 => panic!("cannot fork"),
            0 => {
                let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
                libc::_exit(i32::from(!said.unwrap_or(false)))
            }
            pid => {
                let mut status = 0;
                assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
                status == 0
            }
        }
    }
}

/// Forks without exec. `None` in the new process, else its pid.
pub fn fork() -> Option<i32> {
    // SAFETY: the test's process has no other thread, so the new one can do whatever this one could.
    match unsafe { libc::fork() } {
        -1 => panic!("cannot fork"),
        0 => None,
        pid => Some(pid),
    }
}

/// Waits for a process from [`fork`]. Returns whether all was well.
pub fn wait(pid: i32) -> bool {
    let mut status = 0;
    // SAFETY: `status` is written only during the call.
    unsafe { libc::waitpid(pid, &mut status, 0) == pid && status == 0 }
}

/// A word of a file in memory, to be changed as nobody should. It stays mapped.
pub fn word64(file: &std::fs::File, offset: usize) -> &'static std::sync::atomic::AtomicU64 {
    // SAFETY: the mapping is as long as that and never unmapped; an atomic has no invalid values.
    unsafe { &*mapped(file, offset, 8).cast() }
}

/// As [`word64`], of four bytes.
pub fn word32(file: &std::fs::File, offset: usize) -> &'static std::sync::atomic::AtomicU32 {
    // SAFETY: as above.
    unsafe { &*mapped(file, offset, 4).cast() }
}

fn mapped(file: &std::fs::File, offset: usize, len: usize) -> *mut u8 {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    assert_eq!(offset % len, 0);
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists; the offset lies in it.
    unsafe {
        let start = libc::mmap(std::ptr::null_mut(), offset + len, rights, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(start, libc::MAP_FAILED);
        start.cast::<u8>().add(offset)
    }
}

/// Ends the process at once.
pub fn exit(code: i32) -> ! {
    // SAFETY: no pointers.
    unsafe { libc::_exit(code) }
}

/// Sends a signal of any number to this process.
pub fn raise(signal: i32) {
    // SAFETY: no pointers.
    unsafe { libc::raise(signal) };
}

/// Ignores SIGCHLD, so that the kernel reaps children and tells nobody how they ended.
pub fn ignore_sigchld() {
    // SAFETY: no code is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Restores the default action of SIGPIPE, as many command-line tools do, so that a write to a closed pipe ends the process.
pub fn default_sigpipe() {
    // SAFETY: no code is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Closes a descriptor behind everybody's back, as a program does that is started with a standard stream closed.
pub fn close(fd: RawFd) {
    // SAFETY: the tests that use this do so with the standard descriptors only, which Rust opens again or fails on cleanly.
    unsafe { libc::close(fd) };
}

/// Recurses until the stack is used up.
pub fn overflow_the_stack() -> u64 {
    #[expect(unconditional_recursion, reason = "it is meant to overflow")]
    fn down(n: u64) -> u64 {
        std::hint::black_box(n) + down(std::hint::black_box(n + 1)) + n
    }
    down(0)
}

/// Loads this very crate as a plug-in and lets the copy of ipc-core in it spawn. Returns whether that worked, and why not.
pub fn spawn_in_plugin(plugin: &Path) -> Result<(), String> {
    let path = CString::new(plugin.as_os_str().as_bytes()).expect("a path");
    // SAFETY: the library is this crate, in which the symbol is the function below; it is never unloaded.
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        assert!(!library.is_null(), "{} cannot be loaded", plugin.display());
        let symbol = libc::dlsym(library, c"ipc_tests_spawn".as_ptr());
        assert!(!symbol.is_null(), "the plug-in lacks its function");
        let spawn = std::mem::transmute::<*mut libc::c_void, extern "C" fn(*mut u8, usize) -> usize>(symbol);
        let mut text = vec![0; 1000];
        let len = spawn(text.as_mut_ptr(), text.len());
        text.truncate(len);
        if len == 0 { Ok(()) } else { Err(String::from_utf8_lossy(&text).into_owned()) }
    }
}

/// Spawns, and writes the error into `text`, if there is one. Returns the length of it.
///
/// # Safety
/// `text` has room for `room` bytes.
// SAFETY: no other symbol of this name exists in a program that loads the plug-in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_tests_spawn(text: *mut u8, room: usize) -> usize {
    let error = match ipc_core::Process::spawn(|n: u32| n + 1, 1) {
        Ok(child) => child.join().err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    let error = error.unwrap_or_default();
    let len = error.len().min(room);
    // SAFETY: by the contract there is room, and the two do not overlap as `error` is our own.
    unsafe { text.copy_from_nonoverlapping(error.as_ptr(), len) };
    len
}
