//! Who waits for what, and who seems to wait for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipc_core::{Handle, Participant, Segment};

use crate::ends::{Kind, Tag};
use crate::error::Quick;
use crate::net::Net;
use crate::pause::now;
use crate::{Error, Result};

/// A picture of a network at one moment, from [`Network::report`](crate::Network::report), or of those of another process. Printed, it is a
/// line for each channel, each thread that waits, and each possible deadlock.
///
/// It is taken without stopping anybody, so two parts of it may be from different moments; a deadlock that two reports show is one.
///
/// ```
/// # fn main() -> ipc_csp::Result<()> {
/// let network = ipc_csp::Network::new()?;
/// let numbers = network.builder().name("numbers").channel::<u32>()?;
/// let reader = numbers.reader()?;
/// let report = network.report()?;
/// assert_eq!(report.channels()[0].name, "numbers");
/// assert_eq!(report.channels()[0].readers, 1);
/// assert!(report.waiting().is_empty() && report.deadlocks().is_empty());
/// # drop(reader);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    channels: Vec<ChannelReport>,
    waiting: Vec<Waiting>,
    deadlocks: Vec<Vec<u32>>,
}

/// A channel in a [`Report`].
///
/// ```
/// # fn main() -> ipc_csp::Result<()> {
/// let network = ipc_csp::Network::new()?;
/// let jobs = network.builder().name("jobs").buffered(4).channel::<u32>()?;
/// let (writer, reader) = (jobs.writer()?, jobs.reader()?);
/// writer.write(7)?;
/// writer.close()?;
/// let report = network.report()?;
/// let channel = &report.channels()[0];
/// assert_eq!((channel.name.as_str(), channel.buffered, channel.capacity), ("jobs", 1, 4));
/// assert_eq!((channel.writers, channel.readers, channel.over), (1, 1, Some("closed")));
/// # drop(reader);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChannelReport {
    /// Its number in the network.
    pub number: usize,
    /// Its name; empty if it was given none.
    pub name: String,
    /// How many values are in its buffer.
    pub buffered: usize,
    /// How many there can be.
    pub capacity: usize,
    /// How many ends there are to read from, in all processes and under way; the clones in a process are one.
    pub readers: usize,
    /// How many to write to.
    pub writers: usize,
    /// Why it has ended, if it has: "closed", "poisoned", "retired".
    pub over: Option<&'static str>,
}

/// A thread that waits for a communication, in a [`Report`].
///
/// ```
/// use ipc_csp::{Network, Process, Reader};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = Network::new()?;
/// let numbers = network.channel::<u32>()?;
/// let child = Process::spawn(|from: Reader<u32>| from.read().is_err(), numbers.reader()?)?;
/// let waiting = loop {
///     if let [waiting] = network.report()?.waiting() {
///         break waiting.clone(); // the child has got so far
///     }
/// };
/// assert_eq!((waiting.pid, waiting.forever), (child.pid(), true));
/// assert!(waiting.reads.len() == 1 && waiting.writes.is_empty());
/// numbers.close()?;
/// assert!(child.join()?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiting {
    /// Its process.
    pub pid: u32,
    /// The thread, as the system knows it.
    pub thread: u32,
    /// For how long.
    pub since: Duration,
    /// Whether it waits without a time-out.
    pub forever: bool,
    /// The channels from which it would read, by number.
    pub reads: Vec<usize>,
    /// The channels to which it would write.
    pub writes: Vec<usize>,
}

impl Report {
    /// The networks that another process has, seen from outside: it need not answer, and may be stopped. One of the same user.
    ///
    /// ```
    /// use ipc_csp::{Network, Process, Report, Writer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let numbers = Network::new()?.builder().name("numbers").channel::<u32>()?;
    /// let child = Process::spawn(|to: Writer<u32>| to.write(1).is_ok(), numbers.writer()?)?;
    /// // It has the network when it waits there. The pid may come from elsewhere, as a command line.
    /// let report = loop {
    ///     let reports = Report::of_process(child.pid())?.into_iter();
    ///     if let Some(report) = reports.into_iter().find(|report| !report.waiting().is_empty()) {
    ///         break report;
    ///     }
    /// };
    /// assert_eq!(report.channels()[0].name, "numbers");
    /// assert_eq!(numbers.reader()?.read()?, 1);
    /// assert!(child.join()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Memory`] with `Io` if there is no such process, or it is another user's.
    pub fn of_process(pid: u32) -> Result<Vec<Report>> {
        let folder = format!("/proc/{pid}/fd");
        let failed = |source| Error::Memory(ipc_core::Error::Io { doing: "look at the files of a process", source });
        let mut seen = BTreeSet::new();
        let mut reports = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if !is_memory(&path) {
                continue;
            }
            // What is something else, or is gone by now, is none of ours.
            let Ok(file) = fs::File::options().read(true).write(true).open(&path) else { continue };
            let Ok(segment) = Segment::of_envoy(&Handle::from(file)) else { continue };
            let Ok(net) = Net::open(&segment) else { continue };
            if seen.insert(net.me()) {
                reports.push(Report::of(&net)?);
            }
        }
        Ok(reports)
    }

    pub(crate) fn of(net: &Arc<Net>) -> Quick<Report> {
        net.segment().check_fork()?;
        // In this order: what somebody waits for is there when the channels are looked at.
        let waiting: Vec<(u64, Waiting)> = waiting(net)?;
        let ends = owners(net);
        let channels = net.channels().iter().enumerate();
        let channels = channels.filter(|(_, channel)| channel.generation() != 0);
        let channels = channels.map(|(number, channel)| {
            let count = |kind| ends.get(&(number, kind)).map_or(0, Vec::len);
            ChannelReport {
                number,
                name: net.name_of(number),
                buffered: channel.buffered.load(Ordering::Relaxed) as usize,
                capacity: channel.capacity.load(Ordering::Relaxed) as usize,
                readers: count(Kind::Reader as u8),
                writers: count(Kind::Writer as u8),
                over: match channel.end() {
                    Some(Error::Poisoned) => Some("poisoned"),
                    Some(Error::Closed) => Some("closed"),
                    Some(_) => Some("retired"),
                    None => None,
                },
            }
        });
        let channels = channels.collect();
        let deadlocks = deadlocks(&waiting, &ends);
        Ok(Report { channels, waiting: waiting.into_iter().map(|(_, waiting)| waiting).collect(), deadlocks })
    }

    /// The channels.
    pub fn channels(&self) -> &[ChannelReport] {
        &self.channels
    }

    /// The threads that wait.
    pub fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    /// Possible deadlocks: the pids of processes each of which waits, without a time-out, for the next one, and the last one for the first. A process is in
    /// one only if all who could end its wait wait themselves. It is *possible*: another thread of one of them may be about to communicate.
    ///
    /// ```
    /// use ipc_csp::{Network, Process, Reader, Writer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let network = Network::new()?;
    /// let (there, back) = (network.channel::<u32>()?, network.channel::<u32>()?);
    /// let answer = |(from, to): (Reader<u32>, Writer<u32>)| from.read().is_ok_and(|n| to.write(n).is_ok());
    /// let one = Process::spawn(answer, (there.reader()?, back.writer()?))?;
    /// let two = Process::spawn(answer, (back.reader()?, there.writer()?))?; // both want to read first
    /// let deadlock = loop {
    ///     if let Some(deadlock) = network.report()?.deadlocks().first() {
    ///         break deadlock.clone();
    ///     }
    /// };
    /// assert!(deadlock.len() == 2 && deadlock.contains(&one.pid()) && deadlock.contains(&two.pid()));
    /// there.poison()?; // what to do about it is the program's decision
    /// assert!(!one.join()? && !two.join()?);
    /// # Ok(()) }
    /// ```
    pub fn deadlocks(&self) -> &[Vec<u32>] {
        &self.deadlocks
    }

    fn channel_name(&self, number: usize) -> String {
        let name = self.channels.iter().find(|channel| channel.number == number).map_or("", |channel| &channel.name);
        if name.is_empty() { format!("channel {number}") } else { name.to_owned() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for channel in &self.channels {
            let name = self.channel_name(channel.number);
            write!(f, "{name}: {} writers, {} readers", channel.writers, channel.readers)?;
            if channel.capacity > 0 {
                write!(f, ", {} of {} values", channel.buffered, channel.capacity)?;
            }
            writeln!(f, "{}", channel.over.map_or(String::new(), |over| format!(", {over}")))?;
        }
        for waiting in &self.waiting {
            let each = |verb: &str, numbers: &[usize]| -> Vec<String> {
                numbers.iter().map(|number| format!("{verb} {}", self.channel_name(*number))).collect()
            };
            let what = [each("read", &waiting.reads), each("write", &waiting.writes)].concat().join(" or ");
            let until = if waiting.forever { "" } else { ", with a time-out" };
            let Waiting { pid, thread, since, .. } = waiting;
            writeln!(f, "process {pid}, thread {thread}: waits to {what} for {} ms{until}", since.as_millis())?;
        }
        for deadlock in &self.deadlocks {
            let pids: Vec<String> = deadlock.iter().chain(deadlock.first()).map(u32::to_string).collect();
            writeln!(f, "possible deadlock: {}", pids.join(" waits for "))?;
        }
        Ok(())
    }
}

fn is_memory(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:ipc"))
}

/// Who has the ends, by channel and kind.
type Owners = BTreeMap<(usize, u8), Vec<u64>>;

fn owners(net: &Net) -> Owners {
    let mut owners = Owners::new();
    for end in net.ends() {
        let owner = end.owner.load(Ordering::SeqCst);
        let Some(tag) = Tag::of(end.tag.load(Ordering::SeqCst)).filter(|_| owner != 0) else { continue };
        let number = usize::from(tag.channel);
        let is_its = net.channel(number).is_ok_and(|channel| channel.generation() == tag.generation);
        if is_its {
            owners.entry((number, tag.kind as u8)).or_default().push(owner);
        }
    }
    owners
}

fn waiting(net: &Net) -> Quick<Vec<(u64, Waiting)>> {
    let mut all: BTreeMap<usize, (u64, Waiting)> = BTreeMap::new();
    for offer in net.offers() {
        let owner = offer.owner.load(Ordering::SeqCst);
        let slot = offer.chooser.load(Ordering::SeqCst) as usize;
        let Some(state) = net.choosers().get(slot).filter(|_| Net::is_participant(owner)) else { continue };
        let is_open = state.chooser.is_waiting(offer.generation.load(Ordering::SeqCst));
        let Some(who) = Participant::from_number(owner).filter(|_| is_open) else { continue };
        let (_, entry) = all.entry(slot).or_insert_with(|| {
            let since = state.since.load(Ordering::Relaxed);
            let since = if since == 0 { 0 } else { now().saturating_sub(since) };
            let (reads, writes) = (Vec::new(), Vec::new());
            let forever = state.forever.load(Ordering::Relaxed) != 0;
            let thread = state.thread.load(Ordering::Relaxed);
            (owner, Waiting { pid: who.pid(), thread, since: Duration::from_nanos(since), forever, reads, writes })
        });
        let channel = offer.channel.load(Ordering::Relaxed) as usize;
        match offer.list.load(Ordering::Relaxed) {
            list if list == crate::layout::Which::Readers as u32 => entry.reads.push(channel),
            list if list == crate::layout::Which::Writers as u32 => entry.writes.push(channel),
            _ => {}
        }
    }
    // Some may be about to make their offers.
    Ok(all.into_values().filter(|(_, waiting)| !waiting.reads.is_empty() || !waiting.writes.is_empty()).collect())
}

/// Those who wait for each other.
fn deadlocks(waiting: &[(u64, Waiting)], ends: &Owners) -> Vec<Vec<u32>> {
    let none = Vec::new();
    // Who could end the wait of a thread.
    let others = |waiting: &Waiting| -> Vec<u64> {
        let writers = waiting.reads.iter().map(|number| (*number, Kind::Writer as u8));
        let readers = waiting.writes.iter().map(|number| (*number, Kind::Reader as u8));
        writers.chain(readers).flat_map(|key| ends.get(&key).unwrap_or(&none).iter().copied()).collect()
    };
    let stuck = waiting.iter().filter(|(_, waiting)| waiting.forever);
    let mut stuck: Vec<(u64, Vec<u64>, u32)> = stuck.map(|(who, at)| (*who, others(at), at.pid)).collect();
    // Whoever could be helped by one who does not wait is not stuck, nor are those who wait for it.
    loop {
        let names: BTreeSet<u64> = stuck.iter().map(|(who, _, _)| *who).collect();
        let before = stuck.len();
        stuck.retain(|(_, others, _)| !others.is_empty() && others.iter().all(|other| names.contains(other)));
        if stuck.len() == before {
            break;
        }
    }
    // Each of them waits for another one of them: to follow that leads into a circle.
    let next: BTreeMap<u64, u64> = stuck
        .iter()
        .filter_map(|(who, others, _)| Some((*who, *others.iter().find(|other| *other != who).or(others.first())?)))
        .collect();
    let pids: BTreeMap<u64, u32> = stuck.iter().map(|(who, _, pid)| (*who, *pid)).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for start in next.keys() {
        let mut path = Vec::new();
        let mut at = *start;
        while seen.insert(at) {
            path.push(at);
            at = next[&at];
        }
        let from = path.iter().position(|who| *who == at);
        // One who waits for itself alone has other threads, which may do something else just now.
        if let Some(from) =
            from.filter(|from| path.len() - from > 1 || stuck.iter().filter(|(who, _, _)| *who == at).count() > 1)
        {
            circles.push(path[from..].iter().map(|who| pids[who]).collect());
        }
    }
    circles
}
