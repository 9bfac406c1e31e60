//! A pipe of the kernel and nothing else: one write, one read.

use ipc_core::Handle;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};

use super::{Goal, Row, until_broken};
use crate::failure::Outcome;
use crate::groups::ONE_WAY;
use crate::message::{Checker, small, stamp};
use crate::plan::Plan;
use crate::window::Window;

pub(crate) const ROWS: &[Row] =
    &[Row { group: &ONE_WAY, name: "pipe: write, read", goal: Goal::Look, measure: one_way }];

fn one_way(plan: &Plan) -> Outcome<f64> {
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
    plan.pair(
        |(window, pipe): (Window, Handle)| {
            let (mut message, mut messages) = ([0; 64], Checker::default());
            let timed = window.time(64, || {
                let len = read(&pipe, &mut message)?;
                messages.check(&message[..len], 64)
            })?;
            Ok(timed.per_second())
        },
        reading.into(),
        |pipe: Handle| {
            let mut message = small(0);
            until_broken(|n| {
                stamp(&mut message, n);
                write(&pipe, &message).map(drop)
            })
        },
        writing.into(),
    )
}
