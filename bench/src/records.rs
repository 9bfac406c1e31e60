//! Messages through FIFOs, whoever reads and writes them.

use std::env::temp_dir;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use ipc_fifo::Fifo;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::message::{Checker, Words, words};
use crate::plan::Plan;
use crate::window::Window;

/// A way to read and write messages.
pub(crate) trait Records: 'static {
    type Writer;
    type Reader;

    /// Both wait for the other.
    fn writer(fifo: &Fifo) -> Outcome<Self::Writer>;

    fn reader(fifo: &Fifo) -> Outcome<Self::Reader>;

    /// False if nobody is left who could read. Always inlined, as `read`.
    fn write(writer: &mut Self::Writer, message: &Words) -> Outcome<bool>;

    /// `None` if nobody is left who could write.
    fn read(reader: &mut Self::Reader) -> Outcome<Option<Words>>;
}

/// A new one, whose name goes with it.
pub(crate) fn fifo() -> Outcome<Fifo> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Relaxed: nothing but the number matters.
    let name = format!("ipc-bench-{}-{}.fifo", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Ok(Fifo::create(temp_dir().join(name), 0o600)?)
}

/// Messages per second from one process to another.
pub(crate) fn from_one<R: Records>(plan: &Plan) -> Outcome<f64> {
    let fifo = fifo()?;
    let read = |(window, fifo): (Window, Fifo)| receive::<R>(window, &fifo, 1);
    plan.pair(read, fifo.share(), |fifo: Fifo| send::<R>(&fifo, 0), fifo.share())
}

/// Messages per second from four processes to another.
pub(crate) fn from_four<R: Records>(plan: &Plan) -> Outcome<f64> {
    let fifo = fifo()?;
    let mut workers = vec![Work::Receive(plan.window, fifo.share())];
    workers.extend((0..4).map(|number| Work::Send(fifo.share(), number)));
    let rates = plan.all(
        |work: Work| match work {
            Work::Receive(window, fifo) => receive::<R>(window, &fifo, 4),
            Work::Send(fifo, number) => send::<R>(&fifo, number).map(|()| 0.0),
        },
        workers,
    )?;
    Ok(rates[0])
}

#[derive(Serialize, Deserialize)]
enum Work {
    Receive(Window, Fifo),
    /// With the number of who sends.
    Send(Fifo, u64),
}

/// Message `n` of a process that sends.
fn message(from: u64, n: u64) -> Words {
    let mut message = words(n);
    message[1] ^= from;
    message
}

fn send<R: Records>(fifo: &Fifo, from: u64) -> Outcome<()> {
    let mut writer = R::writer(fifo)?;
    for n in 0.. {
        if !R::write(&mut writer, &message(from, n))? {
            break;
        }
    }
    Ok(())
}

fn receive<R: Records>(window: Window, fifo: &Fifo, from: usize) -> Outcome<f64> {
    let (mut reader, mut next) = (R::reader(fifo)?, vec![0; from]);
    let mut receive = |next: &mut [u64]| {
        let Some(found) = R::read(&mut reader)? else { return Err(Failure::new("nobody sends any more")) };
        let from = found[1] ^ words(0)[1];
        match next.get_mut(from as usize) {
            Some(next) if found == message(from, *next) => *next += 1,
            _ => return Err(Failure::new(format!("it is {found:x?}, after {next:x?} messages"))),
        }
        Ok(())
    };
    // All of them send before the clock does anything, and before this end is closed again.
    while next.contains(&0) {
        receive(&mut next)?;
    }
    let timed = window.time(64, || receive(&mut next))?;
    Ok(timed.per_second())
}

/// Nanoseconds for a round trip through two FIFOs.
pub(crate) fn ping_pong<R: Records>(plan: &Plan) -> Outcome<f64> {
    let fifos = (fifo()?, fifo()?);
    let share = || (fifos.0.share(), fifos.1.share());
    plan.pair(
        |(window, (there, back)): (Window, (Fifo, Fifo))| {
            let (mut question, mut answer) = (R::writer(&there)?, R::reader(&back)?);
            let (mut n, mut answers) = (0, Checker::default());
            let timed = window.time(64, || {
                R::write(&mut question, &words(n))?;
                n += 1;
                match R::read(&mut answer)? {
                    Some(answer) => answers.check_words(&answer),
                    None => Err(Failure::new("nobody answers any more")),
                }
            })?;
            Ok(timed.nanoseconds_each())
        },
        share(),
        |(there, back): (Fifo, Fifo)| {
            let (mut question, mut answer) = (R::reader(&there)?, R::writer(&back)?);
            while let Some(message) = R::read(&mut question)? {
                if !R::write(&mut answer, &message)? {
                    break;
                }
            }
            Ok(())
        },
        share(),
    )
}
