//! The system calls for which neither std nor nix has a safe function. Nothing else in the crate but `spawn/entry.rs` is unsafe.
#![allow(unsafe_code)]

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// How many descriptors the kernel takes in one message (`SCM_MAX_FD`, unix(7)).
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// Room for the control message that carries [`MAX_DESCRIPTORS`], aligned as `cmsghdr` wants it.
#[repr(C, align(8))]
struct ControlBuffer([u8; CONTROL_LEN]);

// SAFETY: `CMSG_SPACE` only computes.
const CONTROL_LEN: usize = unsafe { libc::CMSG_SPACE((MAX_DESCRIPTORS * size_of::<RawFd>()) as u32) } as usize;

/// The control message of SO_PASSPIDFD (Linux 6.5), which libc does not name.
const SCM_PIDFD: libc::c_int = 4;

/// The descriptors that came with one `recvmsg`.
#[derive(Debug)]
pub(crate) struct Descriptors {
    pub(crate) fds: Vec<OwnedFd>,
    /// The kernel could not install all of them: this process is at its limit of open files.
    pub(crate) truncated: bool,
}

/// `recvmsg` into `buf`; every descriptor that arrives is close-on-exec and owned from the start.
///
/// nix is not used here: its iterator refuses a truncated control message as a whole, and the descriptors that did arrive
/// would stay open without an owner.
pub(crate) fn recv_with_descriptors(
    socket: BorrowedFd<'_>,
    buf: &mut [u8],
    dont_wait: bool,
) -> io::Result<(usize, Option<Descriptors>)> {
    let mut control = std::mem::MaybeUninit::<ControlBuffer>::uninit();
    let mut iov = [IoSliceMut::new(buf)];
    // SAFETY: all-zero is a valid `msghdr` (null pointers, zero lengths).
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = iov.as_mut_ptr().cast(); // IoSliceMut is guaranteed to have the layout of iovec.
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_LEN as _;
    let flags = libc::MSG_CMSG_CLOEXEC | if dont_wait { libc::MSG_DONTWAIT } else { 0 };
    // SAFETY: `header` points at one live iovec over `buf` and at `control` with its true length; the kernel writes no more.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, flags) };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    let truncated = header.msg_flags & libc::MSG_CTRUNC != 0;
    if header.msg_controllen == 0 && !truncated {
        return Ok((received as usize, None)); // the common case
    }
    let mut fds = Vec::new();
    let mut unwanted = Vec::new();
    // SAFETY: the kernel has filled in `msg_control` up to the `msg_controllen` that it stored, so the CMSG macros walk
    // initialised headers only; the data of an SCM_RIGHTS message is an array of descriptors that this process has just been
    // given and that nobody else in it knows.
    unsafe {
        let mut cursor = libc::CMSG_FIRSTHDR(&header);
        while !cursor.is_null() {
            let kind = (*cursor).cmsg_type;
            // A pidfd comes where somebody has set SO_PASSPIDFD; it is nobody's but ours, so it has to be closed.
            if (*cursor).cmsg_level == libc::SOL_SOCKET && (kind == libc::SCM_RIGHTS || kind == SCM_PIDFD) {
                let bytes = (*cursor).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(cursor).cast::<RawFd>();
                for i in 0..bytes / size_of::<RawFd>() {
                    let fd = OwnedFd::from_raw_fd(data.add(i).read_unaligned());
                    if kind == SCM_PIDFD { unwanted.push(fd) } else { fds.push(fd) }
                }
            }
            cursor = libc::CMSG_NXTHDR(&header, cursor);
        }
    }
    let nothing = fds.is_empty() && !truncated;
    Ok((received as usize, (!nothing).then_some(Descriptors { fds, truncated })))
}

/// A descriptor of process `pid` that becomes readable when it ends (pidfd_open(2), Linux 5.3).
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers. A successful call returns a new close-on-exec descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as RawFd)) }
    }
}

/// Sends a signal to exactly the process that `pidfd` stands for, never to a later one with the same pid.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: the information pointer may be null (then it is as for kill(2)); the descriptor is open.
    let rc = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reaps a process that has ended: its exit code, or the signal that killed it and whether it dumped core. `None` while it runs.
///
/// nix is not used here: it refuses real-time signals, after it has reaped the process.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<Exit>> {
    // SAFETY: all-zero is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG;
    // SAFETY: the descriptor is open, and `info` is written only during the call.
    if unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &mut info, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `waitid` has filled in the fields of SIGCHLD, or left them zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match (pid, info.si_code) {
        (0, _) => None,
        (_, libc::CLD_EXITED) => Some(Exit::Code(status)),
        (_, code) => Some(Exit::Signal(status, code == libc::CLD_DUMPED)),
    })
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32, bool),
}

/// Whether the program runs with more rights than its caller (set-user-ID and the like): then the environment is not trusted.
pub(crate) fn is_secure_execution() -> bool {
    // SAFETY: `getauxval` only reads the process's own auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// A second, close-on-exec descriptor for the same open file that is none of the standard three.
pub(crate) fn duplicate_above_standard(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: no pointers. A successful call returns a new descriptor that nobody else owns.
    unsafe {
        let fd = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Writing to a pipe without a reader is an error and not the end of the process, as Rust's runtime arranges before `main`.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: to ignore a signal installs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Ends the process at once: no destructors, no `atexit` handlers, as they could wait for threads that are in the way.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}
