//! A pipe of the kernel and nothing else: one write, one read.

use ipc_core::Handle;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};

use super::{Goal, Row, until_broken};
use crate::crowd::{self, Exchange};
use crate::failure::{Failure, Outcome};
use crate::groups::{ONE_WAY, QUEUE_2_2, QUEUE_LATENCY, QUEUE_LATENCY_ASLEEP};
use crate::latency::{ping_pong, to_a_sleeper};
use crate::message::{Checker, Words, small, stamp};
use crate::plan::Plan;
use crate::stream::Stream;
use crate::window::Window;

pub(super) const NAME: &str = "pipe: write, read";

pub(crate) const ROWS: &[Row] = &[
    Row { group: &ONE_WAY, name: NAME, goal: Goal::Look, measure: one_way },
    Row { group: &QUEUE_2_2, name: NAME, goal: Goal::Reference, measure: |plan| crowd::rate::<Pipe>(plan, 2) },
    Row { group: &QUEUE_LATENCY, name: NAME, goal: Goal::Look, measure: ping_pong::<Pipe, 50> },
    Row { group: &QUEUE_LATENCY_ASLEEP, name: NAME, goal: Goal::Reference, measure: to_a_sleeper::<Pipe> },
];

pub(crate) struct Pipe;

impl Stream for Pipe {
    fn ends() -> Outcome<(Handle, Handle)> {
        let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
        Ok((writing.into(), reading.into()))
    }
}

impl Exchange for Pipe {
    type Entrance = Handle;
    type Exit = Handle;

    fn new() -> Outcome<(Handle, Handle)> {
        Pipe::ends()
    }

    fn another_entrance(entrance: &Handle) -> Outcome<Handle> {
        Ok(entrance.try_clone()?)
    }

    fn another_exit(exit: &Handle) -> Outcome<Handle> {
        Ok(exit.try_clone()?)
    }

    /// The kernel keeps so few bytes together, ...
    #[inline(always)]
    fn put(entrance: &Handle, message: &Words) -> Outcome<()> {
        write(entrance, bytemuck::bytes_of(message))?;
        Ok(())
    }

    /// ... also when they are read.
    #[inline(always)]
    fn get(exit: &Handle) -> Outcome<Words> {
        let mut message = [0; 8];
        match read(exit, bytemuck::bytes_of_mut(&mut message))? {
            64 => Ok(message),
            len => Err(Failure::new(format!("a message has {len} bytes"))),
        }
    }
}

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
