//! iceoryx2, publish and subscribe, polling: a library for shared memory that is made for speed, at the price of a processor that
//! does nothing but look for messages.

use std::fmt::Debug;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, Ordering};

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{Alignment, BackpressureStrategy, Config, IceoryxSend, NodeBuilder, ipc};
use iceoryx2::sample::Sample;
use iceoryx2::service::builder::publish_subscribe::Builder;
use ipc_pipe::{Connection, duplex};
use serde::{Deserialize, Serialize};

use super::{Goal, Row};
use crate::failure::{Failure, Outcome};
use crate::groups::{QUEUE_1_1, QUEUE_1_MIB, QUEUE_LATENCY, QUEUE_LATENCY_P99, QUEUE_STRUCT};
use crate::latency::ping_pong;
use crate::message::{Filled, Record, Words};
use crate::transfer::{Line, bandwidth, rate};

pub(super) const POLLING: &str = "iceoryx2: send_copy, receive until there is one";
pub(super) const POSTCARD: &str = "iceoryx2: the same with postcard";
pub(super) const COPIED: &str = "iceoryx2: loan, copy in, receive";
pub(super) const IN_PLACE: &str = "iceoryx2: loan, fill in place, receive";

pub(crate) const ROWS: &[Row] = &[
    Row { group: &QUEUE_1_1, name: POLLING, goal: Goal::Reference, measure: |plan| rate::<Typed, Words>(plan, 64) },
    Row {
        group: &QUEUE_STRUCT,
        name: POSTCARD,
        goal: Goal::Reference,
        measure: |plan| rate::<Slices, Record>(plan, Record::LEN),
    },
    Row { group: &QUEUE_LATENCY, name: POLLING, goal: Goal::Reference, measure: ping_pong::<Typed, 50> },
    Row { group: &QUEUE_LATENCY_P99, name: POLLING, goal: Goal::Reference, measure: ping_pong::<Typed, 99> },
    Row {
        group: &QUEUE_1_MIB,
        name: COPIED,
        goal: Goal::Reference,
        measure: |plan| bandwidth::<Slices, [u8]>(plan, 1 << 20),
    },
    Row {
        group: &QUEUE_1_MIB,
        name: IN_PLACE,
        goal: Goal::Look,
        measure: |plan| bandwidth::<Slices, Filled>(plan, 1 << 20),
    },
];

/// Messages of one type: the shortest way.
struct Typed;

/// Messages that are bytes.
pub(crate) struct Slices;

/// One of the ends.
#[derive(Serialize, Deserialize)]
pub(crate) struct End {
    service: String,
    len: usize,
    other: Connection<(), ()>,
}

fn ends(len: usize) -> Outcome<(End, End)> {
    static SERVICES: AtomicU32 = AtomicU32::new(0);
    let number = SERVICES.fetch_add(1, Ordering::Relaxed);
    let service = format!("{}{number}", prefix());
    let (a, b) = duplex()?;
    Ok((End { service: service.clone(), len, other: a }, End { service, len, other: b }))
}

/// How all names of this run begin.
fn prefix() -> String {
    format!("ipc-bench-{}-", std::process::id())
}

/// Removes what iceoryx2 has left of this run.
pub(crate) fn remove_left() {
    let names = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let ours = names.filter(|name| name.file_name().to_string_lossy().starts_with(&prefix()));
    ours.for_each(|name| drop(std::fs::remove_file(name.path())));
}

impl End {
    /// A stream as the others are: nothing is dropped when there is no room.
    fn service<M: IceoryxSend + Debug + ?Sized + 'static>(&self) -> Outcome<Builder<M, (), ipc::Service>> {
        // Its own files are in everybody's folder, and one of them outlives who made it.
        let mut config = Config::default();
        config.global.prefix = self.service.as_str().try_into()?;
        let node = NodeBuilder::new().config(&config).create::<ipc::Service>()?;
        Ok(node
            .service_builder(&self.service.as_str().try_into()?)
            .publish_subscribe::<M>()
            // Large messages are copied faster to where cache lines begin.
            .payload_alignment(Alignment::new(64).ok_or_else(|| Failure::new("it is no power of two"))?)
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(((8 << 20) / self.len).clamp(4, 1024))
            .max_publishers(1)
            .max_subscribers(1))
    }

    /// Waits until the other side is where this one is.
    fn meet(&mut self) -> Outcome<()> {
        self.other.send(())?;
        Ok(self.other.recv()?)
    }
}

type Publishing<M> = Publisher<ipc::Service, M, ()>;
type Subscribed<M> = Subscriber<ipc::Service, M, ()>;

impl Line<Words> for Typed {
    type Entrance = End;
    type Exit = End;
    type Sender = Publishing<Words>;
    type Receiver = Subscribed<Words>;

    fn new(len: usize) -> Outcome<(End, End)> {
        ends(len)
    }

    fn sender(mut entrance: End) -> Outcome<Publishing<Words>> {
        let service = entrance.service::<Words>()?.create()?;
        let publisher =
            service.publisher_builder().backpressure_strategy(BackpressureStrategy::RetryUntilDelivered).create()?;
        entrance.meet()?; // The service is there; ...
        entrance.meet()?; // ... and the subscriber.
        Ok(publisher)
    }

    fn receiver(mut exit: End) -> Outcome<Subscribed<Words>> {
        exit.meet()?;
        let subscriber = exit.service::<Words>()?.open()?.subscriber_builder().create()?;
        let early = subscriber.receive()?; // Until this call, whatever finds no room is dropped.
        exit.meet()?;
        if early.is_none() { Ok(subscriber) } else { Err(Failure::new("a message came before it was sent")) }
    }

    #[inline(always)]
    fn send(sender: &mut Publishing<Words>, message: &Words) -> Outcome<bool> {
        Ok(sender.send_copy(*message)? > 0)
    }

    #[inline(always)]
    fn receive(receiver: &mut Subscribed<Words>, look: impl FnOnce(&Words) -> Outcome<()>) -> Outcome<()> {
        loop {
            if let Some(sample) = receiver.receive()? {
                return look(sample.payload());
            }
            spin_loop();
        }
    }
}

impl Slices {
    fn sender(mut entrance: End) -> Outcome<Publishing<[u8]>> {
        let service = entrance.service::<[u8]>()?.create()?;
        let builder = service.publisher_builder().initial_max_slice_len(entrance.len);
        let publisher = builder.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered).create()?;
        entrance.meet()?;
        entrance.meet()?;
        Ok(publisher)
    }

    fn receiver(mut exit: End) -> Outcome<Subscribed<[u8]>> {
        exit.meet()?;
        let subscriber = exit.service::<[u8]>()?.open()?.subscriber_builder().create()?;
        let early = subscriber.receive()?; // as above
        exit.meet()?;
        if early.is_none() { Ok(subscriber) } else { Err(Failure::new("a message came before it was sent")) }
    }

    #[inline(always)]
    fn send(publisher: &Publishing<[u8]>, message: &[u8]) -> Outcome<bool> {
        Ok(publisher.loan_slice_uninit(message.len())?.write_from_slice(message).send()? > 0)
    }

    #[inline(always)]
    fn receive(subscriber: &Subscribed<[u8]>) -> Outcome<Sample<ipc::Service, [u8], ()>> {
        loop {
            if let Some(sample) = subscriber.receive()? {
                return Ok(sample);
            }
            spin_loop();
        }
    }
}

/// Copied in; looked at where they are.
impl Line<[u8]> for Slices {
    type Entrance = End;
    type Exit = End;
    type Sender = Publishing<[u8]>;
    type Receiver = Subscribed<[u8]>;

    fn new(len: usize) -> Outcome<(End, End)> {
        ends(len)
    }

    fn sender(entrance: End) -> Outcome<Publishing<[u8]>> {
        Slices::sender(entrance)
    }

    fn receiver(exit: End) -> Outcome<Subscribed<[u8]>> {
        Slices::receiver(exit)
    }

    #[inline(always)]
    fn send(sender: &mut Publishing<[u8]>, message: &[u8]) -> Outcome<bool> {
        Slices::send(sender, message)
    }

    #[inline(always)]
    fn receive(receiver: &mut Subscribed<[u8]>, look: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let sample = Slices::receive(receiver)?;
        let payload = sample.payload();
        touch(payload);
        look(payload)
    }
}

/// Brings every cache line here, as any use of the message would.
#[inline(always)]
fn touch(payload: &[u8]) {
    std::hint::black_box(payload.iter().step_by(64).fold(0, |sum, byte| sum ^ byte));
}

/// Made in place.
impl Line<Filled> for Slices {
    type Entrance = End;
    type Exit = End;
    type Sender = Publishing<[u8]>;
    type Receiver = Subscribed<[u8]>;

    fn new(len: usize) -> Outcome<(End, End)> {
        ends(len)
    }

    fn sender(entrance: End) -> Outcome<Publishing<[u8]>> {
        Slices::sender(entrance)
    }

    fn receiver(exit: End) -> Outcome<Subscribed<[u8]>> {
        Slices::receiver(exit)
    }

    #[inline(always)]
    fn send(sender: &mut Publishing<[u8]>, message: &Filled) -> Outcome<bool> {
        Ok(sender.loan_slice_uninit(message.len)?.write_from_fn(|_| message.byte).send()? > 0)
    }

    #[inline(always)]
    fn receive(receiver: &mut Subscribed<[u8]>, look: impl FnOnce(&Filled) -> Outcome<()>) -> Outcome<()> {
        let sample = Slices::receive(receiver)?;
        let payload = sample.payload();
        look(&Filled::seen(payload.len(), |i| Ok(payload[i]))?)
    }
}

/// In postcard.
impl Line<Record> for Slices {
    type Entrance = End;
    type Exit = End;
    type Sender = Publishing<[u8]>;
    type Receiver = Subscribed<[u8]>;

    fn new(len: usize) -> Outcome<(End, End)> {
        ends(len)
    }

    fn sender(entrance: End) -> Outcome<Publishing<[u8]>> {
        Slices::sender(entrance)
    }

    fn receiver(exit: End) -> Outcome<Subscribed<[u8]>> {
        Slices::receiver(exit)
    }

    #[inline(always)]
    fn send(sender: &mut Publishing<[u8]>, message: &Record) -> Outcome<bool> {
        let mut buffer = [0; Record::LEN];
        Slices::send(sender, postcard::to_slice(message, &mut buffer)?)
    }

    #[inline(always)]
    fn receive(receiver: &mut Subscribed<[u8]>, look: impl FnOnce(&Record) -> Outcome<()>) -> Outcome<()> {
        look(&postcard::from_bytes(Slices::receive(receiver)?.payload())?)
    }
}
