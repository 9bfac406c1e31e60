//! What is shown as pictures: the same measurements, of many sizes.

use super::iceoryx2::Slices;
use super::posix_mq::Mq;
use super::queue::{Copied, InPlace, Single};
use super::raw_pipe::Pipe;
use super::raw_socket::SocketPair;
use crate::crowd;
use crate::groups::Placement;
use crate::message::Filled;
use crate::pictures::{Curve, Picture};
use crate::transfer::bandwidth;
use crate::unit::Unit;

pub(crate) const ALL: &[Picture] = &[
    Picture {
        file: "queue-processes.svg",
        title: "64 B messages from several processes to several others",
        x: "processes that put, and as many that get",
        unit: Unit::MessagesPerSecond,
        placement: Placement::Free,
        at: &[1, 2, 4, 8],
        show: |processes| processes.to_string(),
        curves: &[
            Curve { name: "Queue", measure: crowd::rate::<Single> },
            Curve { name: "pipe", measure: crowd::rate::<Pipe> },
            Curve { name: "POSIX mq", measure: crowd::rate::<Mq> },
        ],
    },
    Picture {
        file: "queue-sizes.svg",
        title: "from one process to another, two CPUs",
        x: "length of a message",
        unit: Unit::GigabytesPerSecond,
        placement: Placement::TwoCpus,
        at: &[8, 64, 512, 4 << 10, 32 << 10, 256 << 10, 2 << 20, 16 << 20],
        show: size,
        curves: &[
            Curve { name: "Queue, copied", measure: bandwidth::<Copied, [u8]> },
            Curve { name: "Queue, in place", measure: bandwidth::<InPlace, Filled> },
            Curve { name: "iceoryx2, copied in", measure: bandwidth::<Slices, [u8]> },
            Curve { name: "pipe", measure: bandwidth::<Pipe, [u8]> },
            Curve { name: "socketpair", measure: bandwidth::<SocketPair, [u8]> },
        ],
    },
];

fn size(bytes: usize) -> String {
    match bytes {
        ..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
