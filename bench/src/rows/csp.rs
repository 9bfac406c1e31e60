//! Ours: `ipc_csp`, channels on which processes meet.

use ipc_csp::{Channel, Choice, Error, Network, Reader, WriteError, Writer, select};

use super::{Goal, Row};
use crate::csp::{Channels, Choose, choosing_processes, commstime_processes, commstime_threads, processes, threads};
use crate::exclusion::{Hold, Make, Portable, idle};
use crate::failure::Outcome;
use crate::groups::{CSP_COMMSTIME, CSP_RENDEZVOUS, CSP_SELECT, IDLE};

pub(crate) const ROWS: &[Row] = &[
    Row {
        group: &CSP_COMMSTIME,
        name: "Channel: four threads",
        goal: Goal::Look,
        measure: commstime_threads::<Synchronous>,
    },
    Row {
        group: &CSP_COMMSTIME,
        name: "Channel: four processes",
        goal: Goal::Look,
        measure: commstime_processes::<Synchronous>,
    },
    Row {
        group: &CSP_RENDEZVOUS,
        name: "Channel: two processes",
        goal: Goal::MedianAtMost(1000.0),
        measure: processes::<Synchronous>,
    },
    Row { group: &CSP_RENDEZVOUS, name: "Channel: two threads", goal: Goal::Look, measure: threads::<Synchronous> },
    Row {
        group: &CSP_RENDEZVOUS,
        name: "Channel, buffered, 64: two processes",
        goal: Goal::Look,
        measure: processes::<Buffered>,
    },
    Row { group: &CSP_SELECT, name: "Reader::read of one", goal: Goal::Reference, measure: processes::<Synchronous> },
    Row {
        group: &CSP_SELECT,
        name: "Choice::select of eight",
        goal: Goal::AtMost(3.0),
        measure: choosing_processes::<Synchronous>,
    },
    Row {
        group: &CSP_SELECT,
        name: "select! of eight",
        goal: Goal::AtMost(3.0),
        measure: choosing_processes::<ByMacro>,
    },
    Row { group: &IDLE, name: "Reader::read", goal: Goal::Below(0.1), measure: idle::<Channel<u64>> },
];

#[inline(always)]
fn write(writer: &Writer<u64>, number: u64) -> Outcome<bool> {
    match writer.write(number) {
        Ok(()) => Ok(true),
        Err(WriteError { error, .. }) if error.is_end() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[inline(always)]
fn read(reader: &Reader<u64>) -> Outcome<Option<u64>> {
    match reader.read() {
        Ok(number) => Ok(Some(number)),
        Err(error) if error.is_end() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn channels(count: usize, capacity: usize) -> Outcome<Vec<(Writer<u64>, Reader<u64>)>> {
    let network = Network::new()?;
    (0..count)
        .map(|_| {
            let channel = network.buffered(capacity)?;
            Ok((channel.writer()?, channel.reader()?))
        })
        .collect()
}

struct Synchronous;

impl Channels for Synchronous {
    type Writer = Writer<u64>;
    type Reader = Reader<u64>;

    fn new(count: usize) -> Outcome<Vec<(Writer<u64>, Reader<u64>)>> {
        channels(count, 0)
    }

    #[inline(always)]
    fn write(writer: &Writer<u64>, number: u64) -> Outcome<bool> {
        write(writer, number)
    }

    #[inline(always)]
    fn read(reader: &Reader<u64>) -> Outcome<Option<u64>> {
        read(reader)
    }
}

impl Choose for Synchronous {
    /// One choice, which is made again and again.
    fn choosing(
        readers: &[Reader<u64>; 8],
        run: impl FnOnce(&mut dyn FnMut() -> Outcome<u64>) -> Outcome<f64>,
    ) -> Outcome<f64> {
        let mut choice = Choice::new();
        let branches = readers.each_ref().map(|reader| choice.read(reader));
        run(&mut || {
            let mut chosen = choice.select()?;
            Ok(chosen.take(branches[chosen.index()]).ok_or(Error::NoGuard)??)
        })
    }
}

/// A choice that is made anew each time, as the macro does.
struct ByMacro;

impl Channels for ByMacro {
    type Writer = Writer<u64>;
    type Reader = Reader<u64>;

    fn new(count: usize) -> Outcome<Vec<(Writer<u64>, Reader<u64>)>> {
        channels(count, 0)
    }

    #[inline(always)]
    fn write(writer: &Writer<u64>, number: u64) -> Outcome<bool> {
        write(writer, number)
    }

    #[inline(always)]
    fn read(reader: &Reader<u64>) -> Outcome<Option<u64>> {
        read(reader)
    }
}

impl Choose for ByMacro {
    fn choosing(
        [a, b, c, d, e, f, g, h]: &[Reader<u64>; 8],
        run: impl FnOnce(&mut dyn FnMut() -> Outcome<u64>) -> Outcome<f64>,
    ) -> Outcome<f64> {
        run(&mut || {
            Ok(select! {
                read(a) -> number => number,
                read(b) -> number => number,
                read(c) -> number => number,
                read(d) -> number => number,
                read(e) -> number => number,
                read(f) -> number => number,
                read(g) -> number => number,
                read(h) -> number => number,
            }??)
        })
    }
}

struct Buffered;

impl Channels for Buffered {
    type Writer = Writer<u64>;
    type Reader = Reader<u64>;

    fn new(count: usize) -> Outcome<Vec<(Writer<u64>, Reader<u64>)>> {
        channels(count, 64)
    }

    #[inline(always)]
    fn write(writer: &Writer<u64>, number: u64) -> Outcome<bool> {
        write(writer, number)
    }

    #[inline(always)]
    fn read(reader: &Reader<u64>) -> Outcome<Option<u64>> {
        read(reader)
    }
}

impl Make for Channel<u64> {
    fn new() -> Outcome<Self> {
        Ok(Network::new()?.channel()?)
    }
}

impl Portable for Channel<u64> {
    fn try_clone(&self) -> Outcome<Self> {
        Ok(self.clone())
    }
}

impl Hold for Channel<u64> {
    fn hold(&self, meanwhile: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        meanwhile()?;
        Ok(self.writer()?.write(1)?)
    }

    fn wait(&self) -> Outcome<()> {
        self.reader()?.read()?;
        Ok(())
    }
}
