//! A pair of Unix stream sockets and nothing else: one write, one read. What the connections are compared with.

use std::hint::spin_loop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ipc_core::Handle;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::{read, write};

use super::{Goal, Row, until_broken};
use crate::failure::{Failure, Outcome};
use crate::groups::{LARGE, MANAGER_GET, MANAGER_GET_ASLEEP, MANAGER_PIPELINED, ONE_WAY, PING_PONG, TYPED};
use crate::message::{self, Checker, Record, small, stamp};
use crate::plan::Plan;
use crate::store::{self, after_pauses};
use crate::stream::Stream;
use crate::window::Window;

pub(crate) const ROWS: &[Row] = &[
    Row { group: &PING_PONG, name: "socketpair: write, read", goal: Goal::Reference, measure: ping_pong },
    Row { group: &ONE_WAY, name: "socketpair: write, read", goal: Goal::Reference, measure: one_way },
    Row { group: &TYPED, name: "socketpair: write, read of encoded bytes", goal: Goal::Reference, measure: typed },
    Row { group: &LARGE, name: "socketpair: write, read until complete", goal: Goal::Reference, measure: large },
    Row {
        group: &MANAGER_GET,
        name: "socketpair: send, recv without sleeping",
        goal: Goal::Reference,
        measure: exchanges::<1, false>,
    },
    Row {
        group: &MANAGER_GET_ASLEEP,
        name: "socketpair: send, recv",
        goal: Goal::Reference,
        measure: exchanges::<1, true>,
    },
    Row {
        group: &MANAGER_PIPELINED,
        name: "socketpair: send, recv of 100 without sleeping",
        goal: Goal::Reference,
        measure: exchanges::<{ store::KEYS as usize }, false>,
    },
];

pub(super) fn pair() -> Outcome<(Handle, Handle)> {
    let (a, b) = UnixStream::pair()?;
    Ok((OwnedFd::from(a).into(), OwnedFd::from(b).into()))
}

pub(crate) struct SocketPair;

impl Stream for SocketPair {
    fn ends() -> Outcome<(Handle, Handle)> {
        pair()
    }
}

fn ping_pong(plan: &Plan) -> Outcome<f64> {
    let (a, b) = pair()?;
    plan.pair(
        |(window, socket): (Window, Handle)| {
            let (mut question, mut answer) = (small(0), [0; 64]);
            let (mut n, mut answers) = (0, Checker::default());
            let timed = window.time(64, || {
                stamp(&mut question, n);
                n += 1;
                write(&socket, &question)?;
                let len = read(&socket, &mut answer)?;
                answers.check(&answer[..len], 64)
            })?;
            Ok(timed.nanoseconds_each())
        },
        a,
        |socket: Handle| {
            let mut message = [0; 64];
            loop {
                match read(&socket, &mut message)? {
                    0 => return Ok(()),
                    len => write(&socket, &message[..len])?,
                };
            }
        },
        b,
    )
}

fn one_way(plan: &Plan) -> Outcome<f64> {
    let (a, b) = pair()?;
    plan.pair(
        |(window, socket): (Window, Handle)| {
            let (mut message, mut messages) = ([0; 64], Checker::default());
            let timed = window.time(64, || {
                let len = read(&socket, &mut message)?;
                messages.check(&message[..len], 64)
            })?;
            Ok(timed.per_second())
        },
        a,
        |socket: Handle| {
            let mut message = small(0);
            until_broken(|n| {
                stamp(&mut message, n);
                write(&socket, &message).map(drop)
            })
        },
        b,
    )
}

/// So many records are encoded beforehand, each with its own id, and sent over and over.
const RECORDS: usize = 1024;

fn encoded() -> Outcome<Vec<Vec<u8>>> {
    (0..RECORDS as u64).map(|n| Ok(postcard::to_stdvec(&Record::new(n))?)).collect()
}

fn typed(plan: &Plan) -> Outcome<f64> {
    let (a, b) = pair()?;
    plan.pair(
        |(window, socket): (Window, Handle)| {
            let (expected, mut n, mut message) = (encoded()?, 0, [0; Record::LEN]);
            let timed = window.time(64, || {
                let len = read(&socket, &mut message)?;
                if message[..len] != expected[n % RECORDS] {
                    return Err(Failure::new(format!("record {n} is wrong")));
                }
                n += 1;
                Ok(())
            })?;
            Ok(timed.per_second())
        },
        a,
        |socket: Handle| {
            let messages = encoded()?;
            until_broken(|n| write(&socket, &messages[n as usize % RECORDS]).map(drop))
        },
        b,
    )
}

fn large(plan: &Plan) -> Outcome<f64> {
    let (a, b) = pair()?;
    plan.pair(
        |(window, socket): (Window, Handle)| {
            let (mut message, mut messages) = (message::large(), Checker::default());
            let timed = window.time(1, || {
                let mut filled = 0;
                while filled < message.len() {
                    match read(&socket, &mut message[filled..])? {
                        0 => return Err(Failure::new("the stream ended")),
                        len => filled += len,
                    }
                }
                messages.check(&message, message::LARGE)
            })?;
            Ok(timed.per_second() * message::LARGE as f64 / 1e9)
        },
        a,
        |socket: Handle| {
            let mut message = message::large();
            until_broken(|n| {
                stamp(&mut message, n);
                write_all(&socket, &message)
            })
        },
        b,
    )
}

fn write_all(socket: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        bytes = &bytes[write(&socket, bytes)?..];
    }
    Ok(())
}

/// What `Dict::get` of `ipc_manager` sends in `store`'s measurements, ...
const QUESTION: usize = 19;
/// ... and what comes back.
const ANSWER: usize = 15;

/// So many questions and answers together: nanoseconds, or microseconds of those who sleep, or questions per second if it is several.
fn exchanges<const COUNT: usize, const ASLEEP: bool>(plan: &Plan) -> Outcome<f64> {
    let (a, b) = pair()?;
    plan.pair(
        |(window, socket): (Window, Handle)| {
            let (mut question, mut answer) = (vec![0xa5; COUNT * QUESTION], vec![0; COUNT * ANSWER]);
            let mut n = 0_u64;
            let ask = || {
                n += 1;
                question[..8].copy_from_slice(&n.to_le_bytes());
                send(socket.as_fd().as_raw_fd(), &question, MsgFlags::MSG_NOSIGNAL)?;
                if !receive_all(&socket, &mut answer, ASLEEP)? || answer[..8] != n.to_le_bytes() {
                    return Err(Failure::new(format!("question {n} has another answer")));
                }
                Ok(())
            };
            if ASLEEP {
                return after_pauses(window, ask);
            }
            let timed = window.time(64, ask)?;
            Ok(if COUNT == 1 { timed.nanoseconds_each() } else { COUNT as f64 * timed.per_second() })
        },
        a,
        |socket: Handle| {
            let (mut question, mut answer) = (vec![0; COUNT * QUESTION], vec![0xa5; COUNT * ANSWER]);
            while receive_all(&socket, &mut question, ASLEEP)? {
                answer[..8].copy_from_slice(&question[..8]);
                send(socket.as_fd().as_raw_fd(), &answer, MsgFlags::MSG_NOSIGNAL)?;
            }
            Ok(())
        },
        b,
    )
}

/// False at the end of the stream.
#[inline(always)]
fn receive_all(socket: &Handle, bytes: &mut [u8], may_sleep: bool) -> Outcome<bool> {
    let (socket, mut filled) = (socket.as_fd().as_raw_fd(), 0);
    let flags = if may_sleep { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
    while filled < bytes.len() {
        match recv(socket, &mut bytes[filled..], flags) {
            Ok(0) => return Ok(false),
            Ok(len) => filled += len,
            Err(Errno::EAGAIN) => spin_loop(),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(true)
}
