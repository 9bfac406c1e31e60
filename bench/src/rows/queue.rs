//! Ours: `ipc_queue`, queues that survive the death of those who use them.

use std::vec;

use ipc_core::{Bytes, Decode, Encode, Plain, Postcard};
use ipc_queue::{Consumer, Error, Producer, Queue, Settings};

use super::{Goal, Row, buffered_socket, iceoryx2, ipc_channel, posix_mq, python, raw_pipe};
use crate::crowd::{self, Exchange};
use crate::exclusion::{Hold, Make, Portable, idle};
use crate::failure::{Failure, Outcome};
use crate::groups::{
    IDLE, QUEUE_1_1, QUEUE_1_MIB, QUEUE_2_2, QUEUE_BATCH, QUEUE_LATENCY, QUEUE_LATENCY_ASLEEP, QUEUE_LATENCY_P99,
    QUEUE_LEASE, QUEUE_LEASE_1K, QUEUE_LOCAL, QUEUE_STRUCT,
};
use crate::latency::{ping_pong, to_a_sleeper};
use crate::message::{Filled, Message, Record, Words};
use crate::transfer::{Line, bandwidth, rate};
use crate::window::Window;

const SINGLE: &str = "Queue: put, get";
const BATCHES: &str = "Queue: put_many, get_many of 32";
const COPIED: &str = "Queue: put_bytes, get_bytes_into";

pub(crate) const ROWS: &[Row] = &[
    Row {
        group: &QUEUE_1_1,
        name: SINGLE,
        goal: Goal::Times(&[(iceoryx2::POLLING, 3.5), (ipc_channel::BYTES, 15.0), (python::QUEUE, 60.0)]),
        measure: |plan| rate::<Single, Words>(plan, 64),
    },
    Row { group: &QUEUE_BATCH, name: SINGLE, goal: Goal::Reference, measure: |plan| rate::<Single, Words>(plan, 64) },
    Row {
        group: &QUEUE_BATCH,
        name: BATCHES,
        goal: Goal::Times(&[(SINGLE, 5.0), (buffered_socket::NAME, 1.0)]),
        measure: |plan| rate::<Batches, Words>(plan, 64),
    },
    Row {
        group: &QUEUE_2_2,
        name: SINGLE,
        goal: Goal::Times(&[(posix_mq::NAME, 8.0), (raw_pipe::NAME, 3.5)]),
        measure: |plan| crowd::rate::<Single>(plan, 2),
    },
    Row {
        group: &QUEUE_STRUCT,
        name: SINGLE,
        goal: Goal::Times(&[(iceoryx2::POSTCARD, 3.0), (ipc_channel::TYPED, 10.0)]),
        measure: |plan| rate::<Single, Record>(plan, Record::LEN),
    },
    Row {
        group: &QUEUE_STRUCT,
        name: BATCHES,
        goal: Goal::Times(&[(buffered_socket::NAME, 1.0)]),
        measure: |plan| rate::<Batches, Record>(plan, Record::LEN),
    },
    Row { group: &QUEUE_LATENCY, name: SINGLE, goal: Goal::AtMost(0.55), measure: ping_pong::<Single, 50> },
    Row { group: &QUEUE_LATENCY_P99, name: SINGLE, goal: Goal::AtMost(1.0), measure: ping_pong::<Single, 99> },
    Row { group: &QUEUE_LATENCY_ASLEEP, name: SINGLE, goal: Goal::AtMost(1.1), measure: to_a_sleeper::<Single> },
    Row {
        group: &QUEUE_1_MIB,
        name: COPIED,
        goal: Goal::Times(&[(iceoryx2::COPIED, 1.0)]),
        measure: |plan| bandwidth::<Copied, [u8]>(plan, 1 << 20),
    },
    Row {
        group: &QUEUE_1_MIB,
        name: "Queue: reserve, fill, commit; peek, release",
        goal: Goal::Times(&[(iceoryx2::IN_PLACE, 1.0), (COPIED, 2.0)]),
        measure: |plan| bandwidth::<InPlace, Filled>(plan, 1 << 20),
    },
    Row { group: &QUEUE_LOCAL, name: SINGLE, goal: Goal::MedianAtMost(60.0), measure: |plan| plan.alone(local) },
    Row { group: &QUEUE_LEASE, name: "Queue: get", goal: Goal::Reference, measure: |plan| plan.alone(got::<8>) },
    Row {
        group: &QUEUE_LEASE,
        name: "Queue: lease, ack",
        goal: Goal::AtMost(1.15),
        measure: |plan| plan.alone(leased::<8>),
    },
    Row { group: &QUEUE_LEASE_1K, name: "Queue: get", goal: Goal::Reference, measure: |plan| plan.alone(got::<128>) },
    Row {
        group: &QUEUE_LEASE_1K,
        name: "Queue: lease, ack",
        goal: Goal::AtMost(1.15),
        measure: |plan| plan.alone(leased::<128>),
    },
    Row { group: &IDLE, name: "Queue::get", goal: Goal::Below(0.1), measure: idle::<Queue<u64, Plain>> },
];

/// A value that is put, and how it is encoded.
pub(super) trait Value: Message<Owned = Self> + Clone + 'static {
    type Codec: Encode<Self> + Decode<Self> + 'static;

    /// Takes the number of another one, which is all they differ in: cheaper than a clone, as it is not the sender's allocations that
    /// are measured.
    fn become_like(&mut self, other: &Self);
}

impl Value for Words {
    type Codec = Plain;

    #[inline(always)]
    fn become_like(&mut self, other: &Words) {
        *self = *other;
    }
}

impl Value for Record {
    type Codec = Postcard;

    #[inline(always)]
    fn become_like(&mut self, other: &Record) {
        self.renumber_as(other);
    }
}

/// False if nobody is left to whom it could be put.
#[inline(always)]
pub(super) fn put(result: Result<(), impl Into<Error>>) -> Outcome<bool> {
    match result.map_err(Into::into) {
        Ok(()) => Ok(true),
        Err(error) if error.is_disconnected() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// One at a time.
pub(super) struct Single;

impl<V: Value> Line<V> for Single {
    type Entrance = Producer<V, V::Codec>;
    type Exit = Consumer<V, V::Codec>;
    type Sender = Producer<V, V::Codec>;
    type Receiver = Consumer<V, V::Codec>;

    fn new(_: usize) -> Outcome<(Self::Entrance, Self::Exit)> {
        Ok(Queue::new()?.split())
    }

    fn sender(entrance: Self::Entrance) -> Outcome<Self::Entrance> {
        Ok(entrance)
    }

    fn receiver(exit: Self::Exit) -> Outcome<Self::Exit> {
        Ok(exit)
    }

    #[inline(always)]
    fn send(sender: &mut Self::Sender, message: &V) -> Outcome<bool> {
        put(sender.put(message))
    }

    #[inline(always)]
    fn receive(receiver: &mut Self::Receiver, look: impl FnOnce(&V) -> Outcome<()>) -> Outcome<()> {
        look(&receiver.get()?)
    }
}

/// Many at a time.
struct Batches;

const BATCH: usize = 32;

struct Batch<V: Value> {
    end: Producer<V, V::Codec>,
    values: Vec<V>,
    used: usize,
}

impl<V: Value> Line<V> for Batches {
    type Entrance = Producer<V, V::Codec>;
    type Exit = Consumer<V, V::Codec>;
    type Sender = Batch<V>;
    type Receiver = (Consumer<V, V::Codec>, vec::IntoIter<V>);

    fn new(len: usize) -> Outcome<(Self::Entrance, Self::Exit)> {
        <Single as Line<V>>::new(len)
    }

    fn sender(end: Self::Entrance) -> Outcome<Batch<V>> {
        Ok(Batch { end, values: vec![V::new(0); BATCH], used: 0 })
    }

    fn receiver(exit: Self::Exit) -> Outcome<Self::Receiver> {
        Ok((exit, Vec::new().into_iter()))
    }

    #[inline(always)]
    fn send(sender: &mut Batch<V>, message: &V) -> Outcome<bool> {
        sender.values[sender.used].become_like(message);
        sender.used += 1;
        if sender.used < BATCH {
            return Ok(true);
        }
        sender.used = 0;
        put(sender.end.put_many(&sender.values))
    }

    #[inline(always)]
    fn receive((end, values): &mut Self::Receiver, look: impl FnOnce(&V) -> Outcome<()>) -> Outcome<()> {
        loop {
            if let Some(value) = values.next() {
                return look(&value);
            }
            *values = end.get_many(BATCH)?.into_iter();
        }
    }
}

/// 8 MiB, of which large messages do not take more than the caches keep.
fn of_bytes(len: usize) -> Outcome<Queue<Vec<u8>, Bytes>> {
    let items = if len < 1 << 20 { 0 } else { 4 };
    Ok(Queue::with(&Settings::new().ring(8 << 20).items(items))?)
}

/// From the sender's memory to the receiver's.
pub(super) struct Copied;

impl Line<[u8]> for Copied {
    type Entrance = Producer<Vec<u8>, Bytes>;
    type Exit = Consumer<Vec<u8>, Bytes>;
    type Sender = Producer<Vec<u8>, Bytes>;
    type Receiver = (Consumer<Vec<u8>, Bytes>, Vec<u8>);

    fn new(len: usize) -> Outcome<(Self::Entrance, Self::Exit)> {
        Ok(of_bytes(len)?.split())
    }

    fn sender(entrance: Self::Entrance) -> Outcome<Self::Sender> {
        Ok(entrance)
    }

    fn receiver(exit: Self::Exit) -> Outcome<Self::Receiver> {
        Ok((exit, Vec::new()))
    }

    #[inline(always)]
    fn send(sender: &mut Self::Sender, message: &[u8]) -> Outcome<bool> {
        put(sender.put_bytes(message))
    }

    #[inline(always)]
    fn receive((end, message): &mut Self::Receiver, look: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        end.get_bytes_into(message)?;
        look(message)
    }
}

/// Filled and looked at where it lies.
pub(super) struct InPlace;

impl Line<Filled> for InPlace {
    type Entrance = Producer<Vec<u8>, Bytes>;
    type Exit = Consumer<Vec<u8>, Bytes>;
    type Sender = Producer<Vec<u8>, Bytes>;
    type Receiver = Consumer<Vec<u8>, Bytes>;

    fn new(len: usize) -> Outcome<(Self::Entrance, Self::Exit)> {
        Ok(of_bytes(len)?.split())
    }

    fn sender(entrance: Self::Entrance) -> Outcome<Self::Sender> {
        Ok(entrance)
    }

    fn receiver(exit: Self::Exit) -> Outcome<Self::Receiver> {
        Ok(exit)
    }

    #[inline(always)]
    fn send(sender: &mut Self::Sender, message: &Filled) -> Outcome<bool> {
        let filled = sender.reserve(message.len).and_then(|mut place| {
            place.fill(0, message.len, message.byte)?;
            place.commit()
        });
        put(filled)
    }

    #[inline(always)]
    fn receive(receiver: &mut Self::Receiver, look: impl FnOnce(&Filled) -> Outcome<()>) -> Outcome<()> {
        let message = receiver.peek()?;
        look(&Filled::seen(message.len(), |i| Ok(message.byte(i)?))?)?;
        message.release();
        Ok(())
    }
}

impl Exchange for Single {
    type Entrance = Producer<Words, Plain>;
    type Exit = Consumer<Words, Plain>;

    fn new() -> Outcome<(Self::Entrance, Self::Exit)> {
        <Single as Line<Words>>::new(64)
    }

    fn another_entrance(entrance: &Self::Entrance) -> Outcome<Self::Entrance> {
        Ok(entrance.clone())
    }

    fn another_exit(exit: &Self::Exit) -> Outcome<Self::Exit> {
        Ok(exit.clone())
    }

    #[inline(always)]
    fn put(entrance: &Self::Entrance, message: &Words) -> Outcome<()> {
        Ok(entrance.put(message).map_err(Error::from)?)
    }

    #[inline(always)]
    fn get(exit: &Self::Exit) -> Outcome<Words> {
        Ok(exit.get()?)
    }
}

fn local(window: Window) -> Outcome<f64> {
    let (queue, mut n) = (Queue::<u64, Plain>::new()?, 0);
    let timed = window.time(1024, || {
        n += 1;
        queue.put(n).map_err(Error::from)?;
        let message = queue.get()?;
        if message == n { Ok(()) } else { Err(Failure::new(format!("message {n} is {message}"))) }
    })?;
    Ok(timed.nanoseconds_each())
}

fn got<const WORDS: usize>(window: Window) -> Outcome<f64> {
    taken::<WORDS>(window, |queue| Ok(queue.get()?[0]))
}

fn leased<const WORDS: usize>(window: Window) -> Outcome<f64> {
    taken::<WORDS>(window, |queue| {
        let lease = queue.lease()?;
        let number = lease[0];
        lease.ack()?;
        Ok(number)
    })
}

/// Nanoseconds to take a message that is there.
fn taken<const WORDS: usize>(
    window: Window,
    take: impl Fn(&Queue<[u64; WORDS], Plain>) -> Outcome<u64>,
) -> Outcome<f64> {
    let (queue, mut next) = (Queue::new()?, 0);
    let mut message = [0; WORDS];
    let fill = || {
        (0..64).try_for_each(|_| {
            queue.put(message).map_err(Error::from)?;
            message[0] += 1;
            Ok(())
        })
    };
    let timed = window.time_prepared(64, fill, || {
        let number = take(&queue)?;
        next += 1;
        if number + 1 == next { Ok(()) } else { Err(Failure::new(format!("message {} is {number}", next - 1))) }
    })?;
    Ok(timed.nanoseconds_each())
}

impl Make for Queue<u64, Plain> {
    fn new() -> Outcome<Self> {
        Ok(Queue::new()?)
    }
}

impl Portable for Queue<u64, Plain> {
    fn try_clone(&self) -> Outcome<Self> {
        Ok(self.clone())
    }
}

impl Hold for Queue<u64, Plain> {
    fn hold(&self, meanwhile: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        meanwhile()?;
        Ok(self.put(1).map_err(Error::from)?)
    }

    fn wait(&self) -> Outcome<()> {
        self.get()?;
        Ok(())
    }
}
