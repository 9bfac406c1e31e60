//! Ours: `ipc_queue::spsc`, for one sender and one receiver.

use ipc_core::Plain;
use ipc_queue::{Settings, SpscConsumer, SpscProducer, spsc};

use super::queue::put;
use super::{Goal, Row};
use crate::failure::Outcome;
use crate::groups::{QUEUE_SPSC, QUEUE_SPSC_LATENCY};
use crate::latency::ping_pong;
use crate::message::Words;
use crate::transfer::{Line, rate};

pub(crate) const ROWS: &[Row] = &[
    Row {
        group: &QUEUE_SPSC,
        name: "spsc: put, get",
        goal: Goal::AtLeast(0.45),
        measure: |plan| rate::<Spsc, Words>(plan, 64),
    },
    Row { group: &QUEUE_SPSC_LATENCY, name: "spsc: put, get", goal: Goal::AtMost(1.4), measure: ping_pong::<Spsc, 50> },
];

struct Spsc;

impl Line<Words> for Spsc {
    type Entrance = SpscProducer<Words, Plain>;
    type Exit = SpscConsumer<Words, Plain>;
    type Sender = SpscProducer<Words, Plain>;
    type Receiver = SpscConsumer<Words, Plain>;

    fn new(_: usize) -> Outcome<(Self::Entrance, Self::Exit)> {
        Ok(spsc(&Settings::new())?)
    }

    fn sender(entrance: Self::Entrance) -> Outcome<Self::Entrance> {
        Ok(entrance)
    }

    fn receiver(exit: Self::Exit) -> Outcome<Self::Exit> {
        Ok(exit)
    }

    #[inline(always)]
    fn send(sender: &mut Self::Sender, message: &Words) -> Outcome<bool> {
        put(sender.put(message))
    }

    #[inline(always)]
    fn receive(receiver: &mut Self::Receiver, look: impl FnOnce(&Words) -> Outcome<()>) -> Outcome<()> {
        look(&receiver.get()?)
    }
}
