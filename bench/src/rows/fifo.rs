//! Ours: `ipc_fifo`, typed records of many writers, and a connection over two FIFOs.

use std::marker::PhantomData;

use ipc_fifo::{Connection, Decode, Encode, Fifo, Plain, Postcard, Reader, Writer, connect};

use super::{Goal, Row};
use crate::failure::Outcome;
use crate::groups::{FIFO_1_1, FIFO_4_1, FIFO_PING_PONG};
use crate::message::{Checker, Words, words};
use crate::plan::Plan;
use crate::records::{Records, fifo, from_four, from_one, ping_pong};
use crate::window::Window;

const NAME: &str = "ipc-fifo: Writer, Reader of [u64; 8]";
const PLAIN: &str = "ipc-fifo: Writer, Reader of [u64; 8], codec Plain";

pub(crate) const ROWS: &[Row] = &[
    // 1.1 times the time is 0.91 times the rate.
    Row { group: &FIFO_1_1, name: NAME, goal: Goal::AtLeast(0.91), measure: from_one::<Typed> },
    Row { group: &FIFO_1_1, name: PLAIN, goal: Goal::AtLeast(0.91), measure: from_one::<Typed<Plain>> },
    Row { group: &FIFO_4_1, name: NAME, goal: Goal::AtLeast(0.91), measure: from_four::<Typed> },
    Row { group: &FIFO_4_1, name: PLAIN, goal: Goal::AtLeast(0.91), measure: from_four::<Typed<Plain>> },
    Row { group: &FIFO_PING_PONG, name: NAME, goal: Goal::AtMost(1.1), measure: ping_pong::<Typed> },
    Row { group: &FIFO_PING_PONG, name: PLAIN, goal: Goal::AtMost(1.1), measure: ping_pong::<Typed<Plain>> },
    Row {
        group: &FIFO_PING_PONG,
        name: "ipc-fifo: connect, send, recv of [u64; 8]",
        goal: Goal::AtMost(1.1),
        measure: connected,
    },
];

/// Records, in a codec.
struct Typed<C = Postcard>(PhantomData<C>);

impl<C: Encode<Words> + Decode<Words> + 'static> Records for Typed<C> {
    type Writer = Writer<Words, C>;
    type Reader = Reader<Words, C>;

    fn writer(fifo: &Fifo) -> Outcome<Writer<Words, C>> {
        Ok(fifo.writer()?)
    }

    fn reader(fifo: &Fifo) -> Outcome<Reader<Words, C>> {
        Ok(fifo.reader()?)
    }

    #[inline(always)]
    fn write(writer: &mut Writer<Words, C>, message: &Words) -> Outcome<bool> {
        match writer.send(message) {
            Ok(()) => Ok(true),
            Err(error) if error.is_disconnected() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[inline(always)]
    fn read(reader: &mut Reader<Words, C>) -> Outcome<Option<Words>> {
        match reader.recv() {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.is_disconnected() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn connected(plan: &Plan) -> Outcome<f64> {
    let fifos = (fifo()?, fifo()?);
    let share = || (fifos.0.share(), fifos.1.share());
    plan.pair(
        |(window, (there, back)): (Window, (Fifo, Fifo))| {
            let mut conn: Connection<Words, Words> = connect(&back, &there)?;
            let (mut n, mut answers) = (0, Checker::default());
            let timed = window.time(64, || {
                conn.send(words(n))?;
                n += 1;
                answers.check_words(&conn.recv()?)
            })?;
            Ok(timed.nanoseconds_each())
        },
        share(),
        |(there, back): (Fifo, Fifo)| {
            let mut conn: Connection<Words, Words> = connect(&there, &back)?;
            loop {
                match conn.recv() {
                    Ok(message) => conn.send(message)?,
                    Err(error) if error.is_disconnected() => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        },
        share(),
    )
}
