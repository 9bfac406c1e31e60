//! Ours: `ipc_pipe::simplex`, a typed one-way pipe over a pipe of the kernel.

use ipc_pipe::{Bytes, Receiver, Sender, simplex_with_codec};

use super::connection::BATCH;
use super::{Goal, Row, until_gone};
use crate::failure::Outcome;
use crate::groups::ONE_WAY;
use crate::message::{Checker, Small, small, stamp};
use crate::plan::Plan;
use crate::window::Window;

pub(crate) const ROWS: &[Row] = &[
    Row { group: &ONE_WAY, name: "simplex: send_bytes, recv_bytes_into", goal: Goal::Look, measure: one_by_one },
    Row { group: &ONE_WAY, name: "simplex: send_many, recv_bytes_into", goal: Goal::Look, measure: many },
];

fn one_by_one(plan: &Plan) -> Outcome<f64> {
    let (sender, receiver) = simplex_with_codec::<Small, Bytes>()?;
    plan.pair(
        receive,
        receiver,
        |mut sender: Sender<Small, Bytes>| {
            let mut message = small(0);
            until_gone(|n| {
                stamp(&mut message, n);
                sender.send_bytes(&message)
            })
        },
        sender,
    )
}

fn many(plan: &Plan) -> Outcome<f64> {
    let (sender, receiver) = simplex_with_codec::<Small, Bytes>()?;
    plan.pair(
        receive,
        receiver,
        |mut sender: Sender<Small, Bytes>| {
            until_gone(|n| sender.send_many((n * BATCH..(n + 1) * BATCH).map(small)).map(drop))
        },
        sender,
    )
}

fn receive((window, mut receiver): (Window, Receiver<Small, Bytes>)) -> Outcome<f64> {
    let (mut message, mut messages) = ([0; 64], Checker::default());
    let timed = window.time(1024, || {
        let len = receiver.recv_bytes_into(&mut message)?;
        messages.check(&message[..len], 64)
    })?;
    Ok(timed.per_second())
}
