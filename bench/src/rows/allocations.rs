//! How often our connections allocate. Not timed, so both ends are in one process here; the counts are of threads.

use ipc_pipe::{Bytes, Connection, Receiver, Sender, duplex, duplex_with_codec, simplex_with_codec};

use super::{Goal, Row};
use crate::alloc;
use crate::failure::{Failure, Outcome};
use crate::groups::ALLOCATIONS;
use crate::message::{self, Checker, Record, Small, small, stamp};
use crate::window::Window;

pub(crate) const ROWS: &[Row] = &[
    Row {
        group: &ALLOCATIONS,
        name: "Connection: send_bytes, recv_bytes_into, 64 B",
        goal: Goal::Zero,
        measure: |plan| plan.alone(bytes),
    },
    Row {
        group: &ALLOCATIONS,
        name: "simplex: send_bytes, recv_bytes_into, 64 B",
        goal: Goal::Zero,
        measure: |plan| plan.alone(simplex_bytes),
    },
    Row {
        group: &ALLOCATIONS,
        name: "Connection: send_many, recv_bytes_into, 64 B",
        goal: Goal::Zero,
        measure: |plan| plan.alone(many),
    },
    Row {
        group: &ALLOCATIONS,
        name: "Connection: send, recv of a struct with a String and a Vec",
        goal: Goal::Look,
        measure: |plan| plan.alone(typed),
    },
    Row {
        group: &ALLOCATIONS,
        name: "Connection: send_bytes, recv_bytes_into, 16 MiB",
        goal: Goal::Look,
        measure: |plan| plan.alone(large),
    },
];

const WARM_UP: u64 = 1000;
const MESSAGES: u64 = 10_000;

/// Calls `one` with the numbers of messages, and returns how often each call has allocated after the first ones.
fn per_message(warm_up: u64, messages: u64, mut one: impl FnMut(u64) -> Outcome<()>) -> Outcome<f64> {
    (0..warm_up).try_for_each(&mut one)?;
    let before = alloc::count();
    (warm_up..warm_up + messages).try_for_each(&mut one)?;
    Ok((alloc::count() - before) as f64 / messages as f64)
}

fn bytes(_: Window) -> Outcome<f64> {
    let (mut a, mut b): (Connection<Small, Small, Bytes>, _) = duplex_with_codec()?;
    let (mut buffer, mut messages) = ([0; 64], Checker::default());
    per_message(WARM_UP, MESSAGES, |n| {
        a.send_bytes(&small(n))?;
        let len = b.recv_bytes_into(&mut buffer)?;
        messages.check(&buffer[..len], 64)
    })
}

fn simplex_bytes(_: Window) -> Outcome<f64> {
    let (mut sender, mut receiver): (Sender<Small, Bytes>, Receiver<Small, Bytes>) = simplex_with_codec()?;
    let (mut buffer, mut messages) = ([0; 64], Checker::default());
    per_message(WARM_UP, MESSAGES, |n| {
        sender.send_bytes(&small(n))?;
        let len = receiver.recv_bytes_into(&mut buffer)?;
        messages.check(&buffer[..len], 64)
    })
}

/// In one call as many as surely fit into the socket.
const BATCH: u64 = 500;

fn many(_: Window) -> Outcome<f64> {
    let (mut a, mut b): (Connection<Small, Small, Bytes>, _) = duplex_with_codec()?;
    let (mut buffer, mut messages) = ([0; 64], Checker::default());
    let per_batch = per_message(WARM_UP / BATCH, MESSAGES / BATCH, |n| {
        a.send_many((n * BATCH..(n + 1) * BATCH).map(small))?;
        for _ in 0..BATCH {
            let len = b.recv_bytes_into(&mut buffer)?;
            messages.check(&buffer[..len], 64)?;
        }
        Ok(())
    })?;
    Ok(per_batch / BATCH as f64)
}

fn typed(_: Window) -> Outcome<f64> {
    let (mut a, mut b) = duplex::<Record, Record>()?;
    let (mut record, mut messages) = (Record::new(0), Checker::default());
    per_message(WARM_UP, MESSAGES, |n| {
        record.renumber(n);
        a.send(&record)?;
        messages.check_record(&b.recv()?)
    })
}

/// More than fits into the socket, so sender and receiver need a thread each.
fn large(_: Window) -> Outcome<f64> {
    const WARM_UP: u64 = 2;
    const MESSAGES: u64 = 20;
    let (mut a, mut b): (Connection<Small, Small, Bytes>, _) = duplex_with_codec()?;
    let (mut message, mut buffer, mut messages) = (message::large(), message::large(), Checker::default());
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            per_message(WARM_UP, MESSAGES, |n| {
                stamp(&mut message, n);
                Ok(a.send_bytes(&message)?)
            })
        });
        let received = per_message(WARM_UP, MESSAGES, |_| {
            let len = b.recv_bytes_into(&mut buffer)?;
            messages.check(&buffer[..len], message::LARGE)
        });
        drop(b); // a sender that still sends must not wait for ever
        let sent = sending.join().map_err(|_| Failure::new("the sending thread panicked"))?;
        Ok(received? + sent?)
    })
}
