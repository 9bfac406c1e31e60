//! A ring in shared memory and nothing else: no waiting but by looking again, no processes that die, one type of message.

use super::{Goal, Row};
use crate::failure::{Failure, Outcome};
use crate::groups::{QUEUE_LOCAL, QUEUE_SPSC, QUEUE_SPSC_LATENCY};
use crate::latency::ping_pong;
use crate::message::Words;
use crate::raw::{RingEntrance, RingExit, ring};
use crate::transfer::{Line, rate};
use crate::window::Window;

pub(crate) const ROWS: &[Row] = &[
    Row { group: &QUEUE_LOCAL, name: "ring: put, get", goal: Goal::Reference, measure: |plan| plan.alone(local) },
    Row { group: &QUEUE_SPSC, name: "ring", goal: Goal::Reference, measure: |plan| rate::<BareRing, Words>(plan, 64) },
    Row { group: &QUEUE_SPSC_LATENCY, name: "ring", goal: Goal::Reference, measure: ping_pong::<BareRing, 50> },
];

struct BareRing;

impl Line<Words> for BareRing {
    type Entrance = RingEntrance<Words>;
    type Exit = RingExit<Words>;
    type Sender = RingEntrance<Words>;
    type Receiver = Receiver;

    fn new(_: usize) -> Outcome<(RingEntrance<Words>, RingExit<Words>)> {
        Ok(ring()?)
    }

    fn sender(entrance: RingEntrance<Words>) -> Outcome<RingEntrance<Words>> {
        Ok(entrance)
    }

    fn receiver(exit: RingExit<Words>) -> Outcome<Receiver> {
        Ok(Receiver(exit))
    }

    #[inline(always)]
    fn send(sender: &mut RingEntrance<Words>, message: &Words) -> Outcome<bool> {
        Ok(sender.put(*message))
    }

    #[inline(always)]
    fn receive(receiver: &mut Receiver, look: impl FnOnce(&Words) -> Outcome<()>) -> Outcome<()> {
        look(&receiver.0.get())
    }
}

/// Says so when it is gone. An exit does not, as it is also dropped when it was sent to another process.
struct Receiver(RingExit<Words>);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Both in one process.
fn local(window: Window) -> Outcome<f64> {
    let ((mut entrance, mut exit), mut n) = (ring()?, 0);
    let timed = window.time(1024, || {
        n += 1;
        entrance.put(n);
        let message = exit.get();
        if message == n { Ok(()) } else { Err(Failure::new(format!("message {n} is {message}"))) }
    })?;
    Ok(timed.nanoseconds_each())
}
