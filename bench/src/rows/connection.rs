//! Ours: `ipc_pipe::duplex`, a typed connection over a pair of sockets.

use ipc_pipe::{Bytes, Connection, duplex, duplex_with_codec};

use super::{Goal, Row, until_gone};
use crate::failure::Outcome;
use crate::groups::{LARGE, ONE_WAY, PING_PONG, TYPED};
use crate::message::{self, Checker, Record, Small, Words, small, stamp, words};
use crate::plan::Plan;
use crate::window::Window;

pub(crate) const ROWS: &[Row] = &[
    Row {
        group: &PING_PONG,
        name: "Connection: send_bytes, recv_bytes_into",
        goal: Goal::AtMost(1.1),
        measure: ping_pong_bytes,
    },
    Row { group: &PING_PONG, name: "Connection: send, recv of [u64; 8]", goal: Goal::AtMost(1.1), measure: ping_pong },
    Row { group: &ONE_WAY, name: "Connection: send_bytes, recv_bytes_into", goal: Goal::Look, measure: one_by_one },
    Row { group: &ONE_WAY, name: "Connection: send_many, recv_bytes_into", goal: Goal::AtLeast(25.0), measure: many },
    Row { group: &TYPED, name: "Connection: send, recv", goal: Goal::AtLeast(0.8), measure: typed },
    Row { group: &TYPED, name: "Connection: send_many, recv", goal: Goal::Look, measure: typed_many },
    Row {
        group: &LARGE,
        name: "Connection: send_bytes, recv_bytes_into",
        goal: Goal::BestAtLeast(0.9),
        measure: large,
    },
];

/// How many messages one `send_many` gets.
pub(super) const BATCH: u64 = 1024;

type Plain = Connection<Small, Small, Bytes>;

fn ping_pong_bytes(plan: &Plan) -> Outcome<f64> {
    let (ours, theirs) = duplex_with_codec::<Small, Small, Bytes>()?;
    plan.pair(
        |(window, mut conn): (Window, Plain)| {
            let (mut question, mut answer) = (small(0), [0; 64]);
            let (mut n, mut answers) = (0, Checker::default());
            let timed = window.time(64, || {
                stamp(&mut question, n);
                n += 1;
                conn.send_bytes(&question)?;
                let len = conn.recv_bytes_into(&mut answer)?;
                answers.check(&answer[..len], 64)
            })?;
            Ok(timed.nanoseconds_each())
        },
        ours,
        |mut conn: Plain| {
            let mut message = [0; 64];
            loop {
                match conn.recv_bytes_into(&mut message) {
                    Ok(len) => conn.send_bytes(&message[..len])?,
                    Err(error) if error.is_disconnected() => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        },
        theirs,
    )
}

fn ping_pong(plan: &Plan) -> Outcome<f64> {
    let (ours, theirs) = duplex::<Words, Words>()?;
    plan.pair(
        |(window, mut conn): (Window, Connection<Words, Words>)| {
            let (mut n, mut answers) = (0, Checker::default());
            let timed = window.time(64, || {
                conn.send(words(n))?;
                n += 1;
                answers.check_words(&conn.recv()?)
            })?;
            Ok(timed.nanoseconds_each())
        },
        ours,
        |mut conn: Connection<Words, Words>| {
            loop {
                match conn.recv() {
                    Ok(message) => conn.send(message)?,
                    Err(error) if error.is_disconnected() => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        },
        theirs,
    )
}

fn one_by_one(plan: &Plan) -> Outcome<f64> {
    let (ours, theirs) = duplex_with_codec::<Small, Small, Bytes>()?;
    plan.pair(
        receive_bytes,
        ours,
        |mut conn: Plain| {
            let mut message = small(0);
            until_gone(|n| {
                stamp(&mut message, n);
                conn.send_bytes(&message)
            })
        },
        theirs,
    )
}

fn many(plan: &Plan) -> Outcome<f64> {
    let (ours, theirs) = duplex_with_codec::<Small, Small, Bytes>()?;
    plan.pair(
        receive_bytes,
        ours,
        |mut conn: Plain| until_gone(|n| conn.send_many((n * BATCH..(n + 1) * BATCH).map(small)).map(drop)),
        theirs,
    )
}

fn receive_bytes((window, mut conn): (Window, Plain)) -> Outcome<f64> {
    let (mut message, mut messages) = ([0; 64], Checker::default());
    let timed = window.time(1024, || {
        let len = conn.recv_bytes_into(&mut message)?;
        messages.check(&message[..len], 64)
    })?;
    Ok(timed.per_second())
}

type Typed = Connection<Record, Record>;

fn typed(plan: &Plan) -> Outcome<f64> {
    let (ours, theirs) = duplex::<Record, Record>()?;
    plan.pair(
        receive_records,
        ours,
        |mut conn: Typed| {
            let mut record = Record::new(0);
            until_gone(|n| {
                record.renumber(n);
                conn.send(&record)
            })
        },
        theirs,
    )
}

fn typed_many(plan: &Plan) -> Outcome<f64> {
    let (ours, theirs) = duplex::<Record, Record>()?;
    plan.pair(
        receive_records,
        ours,
        |mut conn: Typed| {
            let mut records: Vec<Record> = (0..BATCH).map(Record::new).collect();
            until_gone(|n| {
                for (i, record) in (n * BATCH..).zip(&mut records) {
                    record.renumber(i);
                }
                conn.send_many(&records).map(drop)
            })
        },
        theirs,
    )
}

fn receive_records((window, mut conn): (Window, Typed)) -> Outcome<f64> {
    let mut messages = Checker::default();
    let timed = window.time(256, || messages.check_record(&conn.recv()?))?;
    Ok(timed.per_second())
}

fn large(plan: &Plan) -> Outcome<f64> {
    let (ours, theirs) = duplex_with_codec::<Small, Small, Bytes>()?;
    plan.pair(
        |(window, mut conn): (Window, Plain)| {
            let (mut message, mut messages) = (message::large(), Checker::default());
            let timed = window.time(1, || {
                let len = conn.recv_bytes_into(&mut message)?;
                messages.check(&message[..len], message::LARGE)
            })?;
            Ok(timed.per_second() * message::LARGE as f64 / 1e9)
        },
        ours,
        |mut conn: Plain| {
            let mut message = message::large();
            until_gone(|n| {
                stamp(&mut message, n);
                conn.send_bytes(&message)
            })
        },
        theirs,
    )
}
