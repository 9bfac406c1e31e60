//! A memory barrier for others: the one system call for which neither std nor nix has a safe function.
#![allow(unsafe_code)]

// linux/membarrier.h
const GLOBAL_EXPEDITED: libc::c_int = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: libc::c_int = 1 << 2;

/// From now on [`barrier`], called by whatever process, makes the threads of this one pass a memory barrier. Returns whether it does.
pub(crate) fn accept_barriers() -> bool {
    membarrier(REGISTER_GLOBAL_EXPEDITED)
}

/// When it returns, every thread of every process that accepts barriers has passed one since it was called. Returns whether it could.
pub(crate) fn barrier() -> bool {
    membarrier(GLOBAL_EXPEDITED)
}

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: the call takes numbers only and changes nothing in this process's memory.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
