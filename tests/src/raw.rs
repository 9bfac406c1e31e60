//! What the tests need to do to processes that no safe function does.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

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

/// Ignores SIGCHLD, so that the kernel reaps children and tells nobody how they ended.
pub fn ignore_sigchld() {
    // SAFETY: no code is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
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
