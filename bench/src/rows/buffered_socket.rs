//! A pair of sockets under std's `BufWriter` and `BufReader`: what one would write by hand for a stream of many small messages.

use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use ipc_core::Handle;

use super::raw_socket::pair;
use super::{Goal, Row};
use crate::failure::Outcome;
use crate::groups::ONE_WAY;
use crate::message::{Checker, small, stamp};
use crate::plan::Plan;
use crate::window::Window;

pub(crate) const ROWS: &[Row] =
    &[Row { group: &ONE_WAY, name: "socketpair with 64 KiB buffers of std", goal: Goal::Look, measure: one_way }];

const BUFFER: usize = 64 * 1024;

fn one_way(plan: &Plan) -> Outcome<f64> {
    let (a, b) = pair()?;
    plan.pair(
        |(window, socket): (Window, Handle)| {
            let mut stream = BufReader::with_capacity(BUFFER, UnixStream::from(socket.into_fd()?));
            let (mut message, mut messages) = ([0; 64], Checker::default());
            let timed = window.time(1024, || {
                stream.read_exact(&mut message)?;
                messages.check(&message, 64)
            })?;
            Ok(timed.per_second())
        },
        a,
        |socket: Handle| {
            let mut stream = BufWriter::with_capacity(BUFFER, UnixStream::from(socket.into_fd()?));
            let (mut message, mut n) = (small(0), 0);
            loop {
                stamp(&mut message, n);
                n += 1;
                match stream.write_all(&message) {
                    Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => break,
                    other => other?,
                }
            }
            drop(stream.into_parts()); // without flushing what nobody will read
            Ok(())
        },
        b,
    )
}
