//! How messages from one process to another are measured, whoever carries them.

use std::borrow::Borrow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Outcome;
use crate::message::{Checker, Message};
use crate::plan::Plan;
use crate::window::Window;

/// A way for messages from one process to another.
pub(crate) trait Line<M: ?Sized>: 'static {
    /// What the process is given that is to send ...
    type Entrance: Serialize + DeserializeOwned;
    /// ... and the one that is to receive.
    type Exit: Serialize + DeserializeOwned;
    /// What they make of it.
    type Sender;
    type Receiver;

    /// A new one, for messages of `len` bytes.
    fn new(len: usize) -> Outcome<(Self::Entrance, Self::Exit)>;

    fn sender(entrance: Self::Entrance) -> Outcome<Self::Sender>;

    fn receiver(exit: Self::Exit) -> Outcome<Self::Receiver>;

    /// Waits until there is room. False if nobody is left who could receive. Implementations of this and of `receive` are always
    /// inlined, as if each were written out in the loop that is timed.
    fn send(sender: &mut Self::Sender, message: &M) -> Outcome<bool>;

    /// Waits for a message, which `look` gets to see.
    fn receive(receiver: &mut Self::Receiver, look: impl FnOnce(&M) -> Outcome<()>) -> Outcome<()>;
}

/// Messages of `len` bytes per second, from one process to another.
pub(crate) fn rate<L: Line<M>, M: Message + ?Sized + 'static>(plan: &Plan, len: usize) -> Outcome<f64> {
    let (entrance, exit) = L::new(len)?;
    plan.pair(
        |(window, (exit, len)): (Window, (L::Exit, usize))| {
            let (mut receiver, mut messages) = (L::receiver(exit)?, Checker::default());
            let receive = || L::receive(&mut receiver, |message| message.check(len, &mut messages));
            let timed = window.time(batch(len), receive)?;
            Ok(timed.per_second())
        },
        (exit, len),
        |(entrance, len): (L::Entrance, usize)| {
            let (mut sender, mut message) = (L::sender(entrance)?, M::new(len));
            for n in 0.. {
                M::number(&mut message, n);
                if !L::send(&mut sender, message.borrow())? {
                    break;
                }
            }
            Ok(())
        },
        (entrance, len),
    )
}

/// GB per second, in messages of `len` bytes.
pub(crate) fn bandwidth<L: Line<M>, M: Message + ?Sized + 'static>(plan: &Plan, len: usize) -> Outcome<f64> {
    Ok(rate::<L, M>(plan, len)? * len as f64 / 1e9)
}

/// So many messages between two looks at the clock.
fn batch(len: usize) -> u32 {
    ((1 << 16) / len).clamp(1, 64) as u32
}
