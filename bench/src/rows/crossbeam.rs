//! `crossbeam-channel`: what one has between threads.

use crossbeam_channel::{Receiver, Select, Sender, bounded};

use super::{Goal, Row};
use crate::csp::{Channels, Choose, choosing_threads, commstime_threads, threads};
use crate::failure::Outcome;
use crate::groups::{CSP_COMMSTIME, CSP_RENDEZVOUS, CSP_SELECT};

pub(crate) const ROWS: &[Row] = &[
    Row {
        group: &CSP_COMMSTIME,
        name: "crossbeam, zero capacity: four threads",
        goal: Goal::Reference,
        measure: commstime_threads::<Crossbeam<0>>,
    },
    Row {
        group: &CSP_RENDEZVOUS,
        name: "crossbeam, zero capacity: two threads",
        goal: Goal::Reference,
        measure: threads::<Crossbeam<0>>,
    },
    // Where it costs least to wake the other one.
    Row {
        group: &CSP_RENDEZVOUS,
        name: "crossbeam, zero capacity: two threads on one CPU",
        goal: Goal::Look,
        measure: |plan| threads::<Crossbeam<0>>(&plan.on_one_cpu()),
    },
    Row {
        group: &CSP_RENDEZVOUS,
        name: "crossbeam, 64: two threads",
        goal: Goal::Look,
        measure: threads::<Crossbeam<64>>,
    },
];

/// Not the reference of their group, and so shown after ours.
pub(crate) const CHOICES: &[Row] = &[
    Row {
        group: &CSP_SELECT,
        name: "crossbeam: recv of one, two threads",
        goal: Goal::Look,
        measure: threads::<Crossbeam<0>>,
    },
    Row {
        group: &CSP_SELECT,
        name: "crossbeam: Select of eight, two threads",
        goal: Goal::Look,
        measure: choosing_threads::<Crossbeam<0>>,
    },
];

struct Crossbeam<const CAPACITY: usize>;

impl<const CAPACITY: usize> Channels for Crossbeam<CAPACITY> {
    type Writer = Sender<u64>;
    type Reader = Receiver<u64>;

    fn new(count: usize) -> Outcome<Vec<(Sender<u64>, Receiver<u64>)>> {
        Ok((0..count).map(|_| bounded(CAPACITY)).collect())
    }

    #[inline(always)]
    fn write(writer: &Sender<u64>, number: u64) -> Outcome<bool> {
        Ok(writer.send(number).is_ok())
    }

    #[inline(always)]
    fn read(reader: &Receiver<u64>) -> Outcome<Option<u64>> {
        Ok(reader.recv().ok())
    }
}

impl<const CAPACITY: usize> Choose for Crossbeam<CAPACITY> {
    fn choosing(
        readers: &[Receiver<u64>; 8],
        run: impl FnOnce(&mut dyn FnMut() -> Outcome<u64>) -> Outcome<f64>,
    ) -> Outcome<f64> {
        let mut select = Select::new();
        for reader in readers {
            select.recv(reader);
        }
        run(&mut || {
            let chosen = select.select();
            let reader = &readers[chosen.index()];
            Ok(chosen.recv(reader)?)
        })
    }
}
