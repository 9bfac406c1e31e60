//! Whether a network still has all of its room: what the dead had of it has come back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::thread;

use ipc_csp::{Channel, Error, Network, Reader, Writer};
use ipc_tests::campaign::{Flaw, Round};
use serde::{Deserialize, Deserializer, Serialize};

/// How many of each a network has.
const CHANNELS: usize = 1024;
const CHOOSERS: usize = 1024;
const OFFERS: usize = 4096;
const ENDS: usize = 8192;

/// Once in so many rounds everything is counted: it takes some time.
const EVERY: u64 = 3;

/// Nobody has an end of these channels any more, and nothing else is left of those who had.
pub(crate) fn take_census<T>(round: &mut Round, network: &Network, channels: Vec<Channel<T>>) {
    if round.rng.one_in(EVERY) {
        take_census_now(round, network, &channels);
    }
}

pub(crate) fn take_census_now<T>(round: &mut Round, network: &Network, channels: &[Channel<T>]) {
    let counted = count_deeply(network, channels.len());
    if let Err(text) = counted.and_then(|()| judge_report(network, channels)).and_then(|()| judge_memory()) {
        round.flaw(Flaw::Left, text);
    }
}

fn count_deeply(network: &Network, channels: usize) -> Result<(), String> {
    thread::scope(|scope| {
        // To claim all slots is to go deep.
        let thread = thread::Builder::new().stack_size(1 << 26);
        let counting = thread.spawn_scoped(scope, || count(network, channels)).expect("a thread");
        counting.join().expect("it does not panic")
    })
}

/// How many it had, and how many it was to have.
fn compare(what: &str, counted: usize, expected: usize) -> Result<(), String> {
    if counted == expected {
        return Ok(());
    }
    Err(format!("of {expected} {what} only {counted} can still be had"))
}

fn count(network: &Network, channels: usize) -> Result<(), String> {
    let failed = |error: Error| format!("the network does not work any more: {error:?}");
    let ends = count_ends(network).map_err(failed)?;
    compare("ends", ends + channels, ENDS)?;
    let offers = count_offers(network).map_err(failed)?;
    compare("offers", offers, OFFERS)?;
    let slots = count_slots(network).map_err(failed)?;
    compare("slots", slots, CHOOSERS)?;
    let mut more: Vec<Channel<u8>> = Vec::new();
    loop {
        match network.channel() {
            Ok(channel) => more.push(channel),
            Err(Error::Full { .. }) => break compare("channels", more.len() + channels, CHANNELS),
            Err(error) => break Err(failed(error)),
        }
    }
}

fn count_ends(network: &Network) -> Result<usize, Error> {
    let channel: Channel<u8> = network.channel()?;
    let mut ends: Vec<Writer<u8>> = Vec::new();
    loop {
        match channel.writer() {
            Ok(end) => ends.push(end),
            Err(Error::Full { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    let count = ends.len() + 1;
    // The last one first: the others are found sooner.
    while ends.pop().is_some() {}
    Ok(count)
}

fn count_offers(network: &Network) -> Result<usize, Error> {
    let channel: Channel<u64> = network.buffered(OFFERS)?;
    let (writer, _reader) = (channel.writer()?, channel.reader()?);
    let mut count = 0;
    loop {
        match writer.try_write(count as u64) {
            Ok(()) => count += 1,
            Err(error) if matches!(error.error, Error::Full { .. } | Error::WouldBlock) => return Ok(count),
            Err(error) => return Err(error.error),
        }
    }
}

thread_local! {
    /// From where one value after the other is read while the one before is being read.
    static FROM: RefCell<Option<Reader<Nest>>> = const { RefCell::new(None) };
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// A value that has the next one inside.
#[derive(Serialize)]
struct Nest(u8);

impl<'de> Deserialize<'de> for Nest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Nest, D::Error> {
        let own = u8::deserialize(deserializer)?;
        DEPTH.set(DEPTH.get() + 1);
        let from = FROM.with_borrow(Clone::clone);
        let inner = from.map(|from| from.try_read());
        match inner {
            Some(Err(Error::Full { .. } | Error::WouldBlock)) | Some(Ok(_)) | None => Ok(Nest(own)),
            Some(Err(error)) => Err(serde::de::Error::custom(error)),
        }
    }
}

fn count_slots(network: &Network) -> Result<usize, Error> {
    let channel: Channel<Nest> = network.buffered(CHOOSERS + 1)?;
    let (writer, reader) = (channel.writer()?, channel.reader()?);
    for n in 0..=CHOOSERS {
        writer.write(Nest(n as u8)).map_err(|error| error.error)?;
    }
    DEPTH.set(0);
    FROM.set(Some(reader.clone()));
    let read = reader.try_read();
    FROM.set(None);
    read?;
    Ok(DEPTH.get())
}

/// Nobody is seen that is not there.
fn judge_report<T>(network: &Network, channels: &[Channel<T>]) -> Result<(), String> {
    let report = network.report().map_err(|error| format!("no report: {error:?}"))?;
    let ends: usize = report.channels().iter().map(|channel| channel.readers + channel.writers).sum();
    let buffered: usize = report.channels().iter().take(channels.len()).map(|channel| channel.buffered).sum();
    if ends > 0 || buffered > 0 || !report.waiting().is_empty() || !report.deadlocks().is_empty() {
        return Err(format!("nobody is left, and still there is:\n{report}"));
    }
    Ok(())
}

/// The network, of which everything has been in use once, has no more memory than another one has then: no value is left.
fn judge_memory() -> Result<(), String> {
    static OF_ANOTHER: OnceLock<u64> = OnceLock::new();
    let own = memory();
    let expected = *OF_ANOTHER.get_or_init(|| {
        let another = Network::new().expect("memory for a network");
        count_deeply(&another, 0).expect("it is new");
        memory() - own
    });
    if own == 0 || own > expected {
        return Err(format!("{own} bytes are in use, and {expected} in a network of which nobody has died"));
    }
    Ok(())
}

/// How many bytes the networks of this process take.
fn memory() -> u64 {
    let files = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten().map(|entry| entry.path());
    let ours =
        files.filter(|path| fs::read_link(path).is_ok_and(|link| link.to_string_lossy().starts_with("/memfd:ipc")));
    let blocks = ours.filter_map(|path| fs::metadata(path).ok()).map(|file| (file.ino(), file.blocks() * 512));
    blocks.collect::<BTreeMap<_, _>>().into_values().sum()
}
