//! What is measured: one file per mechanism or peer. To add one, write its file with a list `ROWS`, and name it below, twice.

mod allocations;
mod bare_ring;
mod buffered_socket;
mod command;
mod connection;
mod crossbeam;
mod csp;
mod fifo;
pub(crate) mod iceoryx2;
mod interprocess;
mod ipc_channel;
mod manager;
mod manager_memory;
mod pictures;
mod posix_mq;
mod process;
mod pthread;
mod pycsp;
mod python;
mod queue;
mod queue_spsc;
mod raw_fifo;
mod raw_memory;
mod raw_pipe;
mod raw_socket;
mod redis;
mod shm;
mod simplex;
mod socket;
mod std_net;
mod sync;

use nix::errno::Errno;

use crate::failure::Outcome;
use crate::groups::Group;
use crate::plan::Plan;

pub(crate) use command::RETURN_AT_ONCE;
pub(crate) use pictures::ALL as PICTURES;

/// All rows. Within a group they are measured and shown in this order.
pub(crate) const ALL: &[&[Row]] = &[
    // These have references of groups that others are in as well.
    raw_socket::ROWS,
    iceoryx2::ROWS,
    bare_ring::ROWS,
    raw_pipe::ROWS,
    queue::ROWS,
    queue_spsc::ROWS,
    buffered_socket::ROWS,
    connection::ROWS,
    simplex::ROWS,
    command::ROWS,
    process::ROWS,
    allocations::ROWS,
    pthread::ROWS,
    sync::ROWS,
    raw_memory::ROWS,
    shm::ROWS,
    raw_fifo::ROWS,
    fifo::ROWS,
    std_net::ROWS,
    socket::ROWS,
    manager::ROWS,
    manager_memory::ROWS,
    redis::ROWS,
    crossbeam::ROWS,
    csp::ROWS,
    crossbeam::CHOICES,
    pycsp::ROWS,
    interprocess::ROWS,
    ipc_channel::ROWS,
    posix_mq::ROWS,
    python::ROWS,
];

/// A thing that is measured.
pub(crate) struct Row {
    pub(crate) group: &'static Group,
    pub(crate) name: &'static str,
    pub(crate) goal: Goal,
    /// Measures it once, in new processes, and returns the figure in the group's unit.
    pub(crate) measure: fn(&Plan) -> Outcome<f64>,
}

/// What the figure of a row is to be. Most speak of ratios, as the machines differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// It is what the others are compared with.
    Reference,
    /// None; it is there to be looked at.
    Look,
    /// The median ratio is at most this.
    AtMost(f64),
    /// The median ratio is at least this.
    AtLeast(f64),
    /// The best figure is at least so many times the best one of the reference. For what the scheduler makes vary several times.
    BestAtLeast(f64),
    /// The median ratio to each of these rows of the group, which need not be the reference, is at least so much.
    Times(&'static [(&'static str, f64)]),
    /// As `Times`, but at most.
    Parts(&'static [(&'static str, f64)]),
    /// The median is at most this, in the group's unit.
    MedianAtMost(f64),
    /// The median is at least this, in the group's unit.
    MedianAtLeast(f64),
    /// Every figure is below this, in the group's unit.
    Below(f64),
    /// Nothing at all; else the benchmark fails.
    Zero,
}

impl Goal {
    pub(crate) fn suffix(self) -> String {
        match self {
            Goal::Reference => " (reference)".into(),
            Goal::Look => String::new(),
            goal => format!(" (goal: {})", goal.text()),
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Goal::Reference | Goal::Look => String::new(),
            Goal::AtMost(ratio) => format!("at most {ratio}"),
            Goal::AtLeast(ratio) => format!("at least {ratio}"),
            Goal::BestAtLeast(ratio) => format!("best at least {ratio}"),
            Goal::Times(others) => of_others("at least", others),
            Goal::Parts(others) => of_others("at most", others),
            Goal::MedianAtMost(figure) => format!("median at most {figure}"),
            Goal::MedianAtLeast(figure) => format!("median at least {figure}"),
            Goal::Below(figure) => format!("below {figure}"),
            Goal::Zero => "none".into(),
        }
    }
}

fn of_others(how: &str, others: &[(&str, f64)]) -> String {
    others.iter().map(|(name, ratio)| format!("{how} {ratio} of `{name}`")).collect::<Vec<_>>().join(", ")
}

/// Sends until the receiver is gone, which is how every measurement in one direction ends.
fn until_gone(mut send: impl FnMut(u64) -> ipc_core::Result<()>) -> Outcome<()> {
    let mut n = 0;
    loop {
        match send(n) {
            Ok(()) => n += 1,
            Err(error) if error.is_disconnected() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same for the system's calls.
fn until_broken(mut send: impl FnMut(u64) -> nix::Result<()>) -> Outcome<()> {
    let mut n = 0;
    loop {
        match send(n) {
            Ok(()) => n += 1,
            Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}
