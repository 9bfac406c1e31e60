//! How channels are measured on which processes or threads meet, whoever makes them.

use std::thread;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::plan::{Plan, pin};
use crate::window::Window;

/// Channels for numbers, at least between threads.
pub(crate) trait Channels: 'static {
    type Writer: Send + 'static;
    type Reader: Send + 'static;

    /// So many new ones, between which one can choose.
    fn new(count: usize) -> Outcome<Vec<(Self::Writer, Self::Reader)>>;

    /// False if nobody is left who could read. Always inlined, as `read`.
    fn write(writer: &Self::Writer, number: u64) -> Outcome<bool>;

    /// `None` if nobody is left who could write.
    fn read(reader: &Self::Reader) -> Outcome<Option<u64>>;
}

/// Those with a choice.
pub(crate) trait Choose: Channels {
    /// Calls `run` with what reads the next number from any of eight.
    fn choosing(
        readers: &[Self::Reader; 8],
        run: impl FnOnce(&mut dyn FnMut() -> Outcome<u64>) -> Outcome<f64>,
    ) -> Outcome<f64>;
}

/// Nanoseconds for a number from one process to another.
pub(crate) fn processes<C: Channels>(plan: &Plan) -> Outcome<f64>
where
    C::Writer: Serialize + DeserializeOwned,
    C::Reader: Serialize + DeserializeOwned,
{
    let (writer, reader) = one::<C>()?;
    plan.pair(|(window, reader)| read_all::<C>(window, reader), reader, |writer| write_all::<C>(&writer), writer)
}

/// The same from one thread to another.
pub(crate) fn threads<C: Channels>(plan: &Plan) -> Outcome<f64> {
    plan.one(
        |(window, cpu): (Window, Option<usize>)| {
            let (writer, reader) = one::<C>()?;
            with_peer(cpu, move || write_all::<C>(&writer), || read_all::<C>(window, reader))
        },
        (plan.window, plan.cpus.map(|cpus| cpus.1)),
    )
}

/// Nanoseconds for a number from one process to another, which chooses between eight channels.
pub(crate) fn choosing_processes<C: Choose>(plan: &Plan) -> Outcome<f64>
where
    C::Writer: Serialize + DeserializeOwned,
    C::Reader: Serialize + DeserializeOwned,
{
    let (writers, readers) = C::new(8)?.into_iter().unzip();
    plan.pair(
        |(window, readers): (Window, Vec<C::Reader>)| choose_all::<C>(window, readers),
        readers,
        |writers: Vec<C::Writer>| write_at_random::<C>(&writers),
        writers,
    )
}

/// The same from one thread to another.
pub(crate) fn choosing_threads<C: Choose>(plan: &Plan) -> Outcome<f64> {
    plan.one(
        |(window, cpu): (Window, Option<usize>)| {
            let (writers, readers): (Vec<_>, Vec<_>) = C::new(8)?.into_iter().unzip();
            with_peer(cpu, move || write_at_random::<C>(&writers), || choose_all::<C>(window, readers))
        },
        (plan.window, plan.cpus.map(|cpus| cpus.1)),
    )
}

/// Nanoseconds for a communication of commstime, by four processes.
pub(crate) fn commstime_processes<C: Channels>(plan: &Plan) -> Outcome<f64>
where
    C::Writer: Serialize + DeserializeOwned,
    C::Reader: Serialize + DeserializeOwned,
{
    let members = members::<C>()?.into_iter().map(|member| (plan.window, member)).collect();
    let figures =
        plan.all(|(window, member): (Window, Member<C::Writer, C::Reader>)| member.run::<C>(window), members)?;
    Ok(figures.into_iter().sum())
}

/// The same by four threads.
pub(crate) fn commstime_threads<C: Channels>(plan: &Plan) -> Outcome<f64> {
    plan.alone(|window| {
        let members = members::<C>()?.into_iter();
        let threads: Vec<_> = members.map(|member| thread::spawn(move || member.run::<C>(window))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| Failure::new("a thread panicked"))?).sum()
    })
}

fn one<C: Channels>() -> Outcome<(C::Writer, C::Reader)> {
    C::new(1)?.pop().ok_or_else(|| Failure::new("there is no channel"))
}

/// Runs `timed` in this thread and `peer` in another.
fn with_peer(
    cpu: Option<usize>,
    peer: impl FnOnce() -> Outcome<()> + Send + 'static,
    timed: impl FnOnce() -> Outcome<f64>,
) -> Outcome<f64> {
    let peer = thread::spawn(move || {
        cpu.map_or(Ok(()), pin)?;
        peer()
    });
    let figure = timed();
    peer.join().map_err(|_| Failure::new("the peer panicked"))??;
    figure
}

/// Numbers from here on all take eight bytes, also in postcard.
const FIRST: u64 = 1 << 55;

fn write_all<C: Channels>(writer: &C::Writer) -> Outcome<()> {
    for number in FIRST.. {
        if !C::write(writer, number)? {
            break;
        }
    }
    Ok(())
}

fn write_at_random<C: Channels>(writers: &[C::Writer]) -> Outcome<()> {
    // Marsaglia's xorshift: the next channel cannot be foretold, and costs next to nothing.
    let mut random: u64 = 0x2545_f491_4f6c_dd1d;
    for number in FIRST.. {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if !C::write(&writers[(random >> 32) as usize % writers.len()], number)? {
            break;
        }
    }
    Ok(())
}

fn read_all<C: Channels>(window: Window, reader: C::Reader) -> Outcome<f64> {
    let mut expected = FIRST;
    let timed = window.time(64, || {
        let number = C::read(&reader)?.ok_or_else(early)?;
        check(number, &mut expected)
    })?;
    Ok(timed.nanoseconds_each())
}

fn choose_all<C: Choose>(window: Window, readers: Vec<C::Reader>) -> Outcome<f64> {
    let readers = <[C::Reader; 8]>::try_from(readers).map_err(|_| Failure::new("these are not eight channels"))?;
    let mut expected = FIRST;
    C::choosing(&readers, |read| {
        let timed = window.time(64, || check(read()?, &mut expected))?;
        Ok(timed.nanoseconds_each())
    })
}

/// Each has to come, once, and in order: whoever writes waits for one to be read before the next.
#[inline(always)]
fn check(number: u64, expected: &mut u64) -> Outcome<()> {
    if number != *expected {
        return Err(Failure::new(format!("number {} is {}", *expected - FIRST, number.wrapping_sub(FIRST))));
    }
    *expected += 1;
    Ok(())
}

#[cold]
fn early() -> Failure {
    Failure::new("the writer has stopped too early")
}

/// One of the four of commstime, with its ends of the channels.
#[derive(Serialize, Deserialize)]
enum Member<W, R> {
    Prefix(R, W),
    Delta(R, W, W),
    Successor(R, W),
    Consumer(R),
}

fn members<C: Channels>() -> Outcome<[Member<C::Writer, C::Reader>; 4]> {
    let mut channels = C::new(4)?.into_iter();
    let mut next = || channels.next().ok_or_else(|| Failure::new("there are too few channels"));
    let ((from_prefix, to_delta), (from_delta, to_successor)) = (next()?, next()?);
    let ((from_successor, to_prefix), (from_delta_too, to_consumer)) = (next()?, next()?);
    Ok([
        Member::Prefix(to_prefix, from_prefix),
        Member::Delta(to_delta, from_delta_too, from_delta),
        Member::Successor(to_successor, from_successor),
        Member::Consumer(to_consumer),
    ])
}

impl<W, R> Member<W, R> {
    /// The consumer says what it has measured, the others 0. They end when it does, one after the other.
    fn run<C: Channels<Writer = W, Reader = R>>(self, window: Window) -> Outcome<f64> {
        match self {
            Member::Prefix(from, to) => {
                C::write(&to, FIRST)?;
                while let Some(number) = C::read(&from)? {
                    if !C::write(&to, number)? {
                        break;
                    }
                }
            }
            Member::Delta(from, first, second) => {
                while let Some(number) = C::read(&from)? {
                    if !(C::write(&first, number)? && C::write(&second, number)?) {
                        break;
                    }
                }
            }
            Member::Successor(from, to) => {
                while let Some(number) = C::read(&from)? {
                    if !C::write(&to, number + 1)? {
                        break;
                    }
                }
            }
            Member::Consumer(from) => return Ok(read_all::<C>(window, from)? / 4.0),
        }
        Ok(0.0)
    }
}
