//! A POSIX message queue: the only one for several senders and receivers that the system has.

use serde::{Deserialize, Serialize};

use super::{Goal, Row};
use crate::crowd::{self, Exchange};
use crate::failure::{Failure, Outcome};
use crate::groups::{QUEUE_2_2, QUEUE_LATENCY_ASLEEP};
use crate::latency::to_a_sleeper;
use crate::message::Words;
use crate::raw::{MessageQueue, Stop};
use crate::transfer::Line;

pub(super) const NAME: &str = "POSIX mq: mq_send, mq_receive";

pub(crate) const ROWS: &[Row] = &[
    Row { group: &QUEUE_2_2, name: NAME, goal: Goal::Look, measure: |plan| crowd::rate::<Mq>(plan, 2) },
    Row { group: &QUEUE_LATENCY_ASLEEP, name: NAME, goal: Goal::Look, measure: to_a_sleeper::<Mq> },
];

pub(crate) struct Mq;

/// One of its ends.
#[derive(Serialize, Deserialize)]
pub(crate) struct End {
    queue: MessageQueue,
    /// The receiver is gone, which the system does not tell.
    gone: Stop,
}

impl Line<Words> for Mq {
    type Entrance = End;
    type Exit = End;
    type Sender = End;
    type Receiver = Receiver;

    fn new(_: usize) -> Outcome<(End, End)> {
        let (queue, gone) = (MessageQueue::new(64)?, Stop::new()?);
        Ok((End { queue: queue.try_clone()?, gone: gone.try_clone()? }, End { queue, gone }))
    }

    fn sender(entrance: End) -> Outcome<End> {
        Ok(entrance)
    }

    fn receiver(exit: End) -> Outcome<Receiver> {
        Ok(Receiver(exit))
    }

    #[inline(always)]
    fn send(sender: &mut End, message: &Words) -> Outcome<bool> {
        sender.queue.send(bytemuck::bytes_of(message))?;
        Ok(!sender.gone.is_set())
    }

    #[inline(always)]
    fn receive(receiver: &mut Receiver, look: impl FnOnce(&Words) -> Outcome<()>) -> Outcome<()> {
        look(&get(&receiver.0.queue)?)
    }
}

pub(crate) struct Receiver(End);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.gone.set();
        // Makes room, so that a sender that waits for some comes to see it.
        while self.0.queue.discard(&mut [0; 64]) {}
    }
}

impl Exchange for Mq {
    type Entrance = MessageQueue;
    type Exit = MessageQueue;

    fn new() -> Outcome<(MessageQueue, MessageQueue)> {
        let queue = MessageQueue::new(64)?;
        Ok((queue.try_clone()?, queue))
    }

    fn another_entrance(entrance: &MessageQueue) -> Outcome<MessageQueue> {
        Ok(entrance.try_clone()?)
    }

    fn another_exit(exit: &MessageQueue) -> Outcome<MessageQueue> {
        Ok(exit.try_clone()?)
    }

    #[inline(always)]
    fn put(entrance: &MessageQueue, message: &Words) -> Outcome<()> {
        Ok(entrance.send(bytemuck::bytes_of(message))?)
    }

    #[inline(always)]
    fn get(exit: &MessageQueue) -> Outcome<Words> {
        get(exit)
    }
}

#[inline(always)]
fn get(queue: &MessageQueue) -> Outcome<Words> {
    let mut message = [0; 8];
    match queue.receive(bytemuck::bytes_of_mut(&mut message))? {
        64 => Ok(message),
        len => Err(Failure::new(format!("a message has {len} bytes"))),
    }
}
