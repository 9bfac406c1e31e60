//! Random networks of threads with random scripts: what must hold whatever happens, and that nobody sleeps while it could communicate.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ipc_csp::{Choice, Error, Fairness, Report};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Form {
    Try,
    Wait,
    Limit(u64),
}

#[derive(Clone, Copy, Debug)]
enum Selection {
    Any,
    First,
    Fair,
}

#[derive(Clone, Debug)]
enum Op {
    Write(usize, Form),
    Read(usize, Form),
    /// Guards: a channel, and whether to write to it.
    Choose(Vec<(usize, bool)>, Form, Selection),
    Close(usize),
    Poison(usize),
    DropWriter(usize),
    DropReader(usize),
}

#[derive(Clone, Debug)]
struct Plan {
    /// How much is kept, and whether there is a reader to the end.
    channels: Vec<(usize, bool)>,
    scripts: Vec<Vec<Op>>,
    padding: usize,
}

fn plan() -> impl Strategy<Value = Plan> {
    let channels = vec((select(vec![0, 0, 1, 2, 5]), any::<bool>()), 1..4);
    channels.prop_flat_map(|channels| {
        let at = 0..channels.len();
        let form = || prop_oneof![1 => Just(Form::Try), 4 => Just(Form::Wait), 2 => (0..400u64).prop_map(Form::Limit)];
        let selection = select(vec![Selection::Any, Selection::First, Selection::Fair]);
        let op = prop_oneof![
            12 => (at.clone(), form()).prop_map(|(at, form)| Op::Write(at, form)),
            12 => (at.clone(), form()).prop_map(|(at, form)| Op::Read(at, form)),
            16 => (vec((at.clone(), any::<bool>()), 1..5), form(), selection).prop_map(|(guards, form, how)| Op::Choose(guards, form, how)),
            1 => at.clone().prop_map(Op::Close),
            1 => at.clone().prop_map(Op::Poison),
            1 => at.clone().prop_map(Op::DropWriter),
            1 => at.prop_map(Op::DropReader),
        ];
        let scripts = vec(vec(op, 1..40), 2..6);
        let padding = select(vec![0, 0, 100, 400, 6000]);
        (Just(channels), scripts, padding).prop_map(|(channels, scripts, padding)| Plan { channels, scripts, padding })
    })
}

/// Who wrote it, its number among all of that writer, and ballast.
type Value = (usize, u32, Vec<u8>);
type Id = (usize, u32);

/// What one thread has done: by channel, in its order.
#[derive(Debug, Default)]
struct Log {
    written: Vec<(usize, Id)>,
    read: Vec<(usize, Id)>,
}

struct Actor<'a> {
    who: usize,
    writers: Vec<Option<Writer<Value>>>,
    readers: Vec<Option<Reader<Value>>>,
    channels: &'a [Channel<Value>],
    padding: usize,
    next: u32,
    log: Log,
    fairness: Fairness,
}

/// An end of a channel, time, or that it would have to wait, is what may come of a call.
fn note<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(error.is_end() || error.is_timeout() || error.is_would_block(), "{error:?}");
            None
        }
    }
}

impl Actor<'_> {
    fn value(&mut self) -> Value {
        self.next += 1;
        (self.who, self.next, vec![self.next as u8; self.padding])
    }

    fn note_read(&mut self, at: usize, value: Option<Value>) {
        let Some((who, n, bytes)) = value else { return };
        assert!(bytes.len() == self.padding && bytes.iter().all(|byte| *byte == n as u8), "damaged");
        self.log.read.push((at, (who, n)));
    }

    fn act(&mut self, op: &Op) {
        match op {
            Op::Write(at, form) => {
                let value = self.value();
                let id = (value.0, value.1);
                let Some(writer) = &self.writers[*at] else { return };
                let result = match form {
                    Form::Try => writer.try_write(value),
                    Form::Wait => writer.write(value),
                    Form::Limit(micros) => writer.write_timeout(value, Duration::from_micros(*micros)),
                };
                if note(result.map_err(|error| error.error)).is_some() {
                    self.log.written.push((*at, id));
                }
            }
            Op::Read(at, form) => {
                let Some(reader) = &self.readers[*at] else { return };
                let result = match form {
                    Form::Try => reader.try_read(),
                    Form::Wait => reader.read(),
                    Form::Limit(micros) => reader.read_timeout(Duration::from_micros(*micros)),
                };
                let value = note(result);
                self.note_read(*at, value);
            }
            Op::Choose(guards, form, how) => self.choose(guards, *form, *how),
            Op::Close(at) => self.channels[*at].close().unwrap(),
            Op::Poison(at) => self.channels[*at].poison().unwrap(),
            Op::DropWriter(at) => self.writers[*at] = None,
            Op::DropReader(at) => self.readers[*at] = None,
        }
    }

    fn choose(&mut self, guards: &[(usize, bool)], form: Form, how: Selection) {
        let values: Vec<Value> = guards.iter().map(|_| self.value()).collect();
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        let mut choice = Choice::new();
        for ((at, is_write), value) in guards.iter().zip(&values) {
            match (is_write, &self.writers[*at], &self.readers[*at]) {
                (true, Some(writer), _) => writes.push((*at, value, choice.write(writer, value))),
                (false, _, Some(reader)) => reads.push((*at, choice.read(reader))),
                _ => {}
            }
        }
        match form {
            _ if writes.is_empty() && reads.is_empty() => return,
            Form::Try => _ = choice.skip(),
            Form::Limit(micros) => _ = choice.timeout(Duration::from_micros(micros)),
            Form::Wait => {}
        }
        let mut chosen = match how {
            Selection::Any => choice.select(),
            Selection::First => choice.pri_select(),
            Selection::Fair => choice.fair_select(&mut self.fairness),
        }
        .unwrap();
        let written = writes
            .iter()
            .find(|(_, _, branch)| chosen.is(*branch))
            .map(|(at, value, branch)| (*at, (value.0, value.1), note(chosen.take(*branch).unwrap()).is_some()));
        let read = reads.iter().find(|(_, branch)| chosen.is(*branch));
        let read = read.map(|(at, branch)| (*at, note(chosen.take(*branch).unwrap())));
        drop(choice);
        if let Some((at, id, true)) = written {
            self.log.written.push((at, id));
        }
        if let Some((at, value)) = read {
            self.note_read(at, value);
        }
    }
}

/// Whether any two of those who wait, or one and a buffer, could communicate, or somebody is to be told an end.
fn could_go_on(report: &Report) -> Option<String> {
    let waiting = report.waiting();
    for channel in report.channels() {
        let mine = |numbers: &[usize]| numbers.contains(&channel.number);
        let readers: Vec<usize> = (0..waiting.len()).filter(|at| mine(&waiting[*at].reads)).collect();
        let writers: Vec<usize> = (0..waiting.len()).filter(|at| mine(&waiting[*at].writes)).collect();
        let meet = readers.iter().any(|reader| writers.iter().any(|writer| reader != writer));
        let is_possible = meet
            || (channel.over.is_some() && readers.len() + writers.len() > 0)
            || (channel.buffered > 0 && !readers.is_empty())
            || (channel.buffered < channel.capacity && !writers.is_empty());
        if is_possible {
            return Some(format!("{channel:?}"));
        }
    }
    None
}

/// Runs a plan, and says what all have done.
fn run(network: &Network, plan: &Plan) -> Result<(), TestCaseError> {
    let channels: Vec<Channel<Value>> =
        plan.channels.iter().map(|(capacity, _)| network.buffered(*capacity).unwrap()).collect();
    let kept: Vec<Option<Reader<Value>>> = channels
        .iter()
        .zip(&plan.channels)
        .map(|(channel, (_, is_kept))| is_kept.then(|| channel.reader().unwrap()))
        .collect();
    let actors: Vec<Actor<'_>> = (0..plan.scripts.len())
        .map(|who| Actor {
            who,
            writers: channels.iter().map(|channel| Some(channel.writer().unwrap())).collect(),
            readers: channels.iter().map(|channel| Some(channel.reader().unwrap())).collect(),
            channels: &channels,
            padding: plan.padding,
            next: 0,
            log: Log::default(),
            fairness: Fairness::new(),
        })
        .collect();
    // How much has been done, and how many are not at their end.
    let (steps, left) = (AtomicU64::new(0), AtomicU64::new(actors.len() as u64));
    let logs = Mutex::new(Vec::new());
    let mut stuck = None;
    thread::scope(|scope| {
        for (mut actor, script) in actors.into_iter().zip(&plan.scripts) {
            let (steps, left, logs) = (&steps, &left, &logs);
            scope.spawn(move || {
                struct Leave<'a>(&'a AtomicU64);
                impl Drop for Leave<'_> {
                    fn drop(&mut self) {
                        self.0.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                let leave = Leave(left);
                for op in script {
                    actor.act(op);
                    steps.fetch_add(1, Ordering::SeqCst);
                }
                let log = std::mem::take(&mut actor.log);
                drop(actor);
                drop(leave);
                logs.lock().unwrap().push(log);
            });
        }
        // Those that wait for each other by rights are let go; those who could go on must.
        let mut since = (Instant::now(), u64::MAX);
        while left.load(Ordering::SeqCst) > 0 {
            let before = steps.load(Ordering::SeqCst);
            let report = network.report().unwrap();
            let is_quiet = report.waiting().len() as u64 == left.load(Ordering::SeqCst)
                && report.waiting().iter().all(|one| one.forever && one.reads.len() + one.writes.len() > 0);
            if since.1 != before || !is_quiet {
                since = (Instant::now(), before);
                thread::yield_now();
                continue;
            }
            match could_go_on(&report) {
                None if since.0.elapsed() > Duration::from_millis(2) => {
                    channels.iter().for_each(|channel| channel.close().unwrap());
                }
                Some(why) if since.0.elapsed() > LONG / 3 => {
                    stuck = Some(format!("{why}\n{report}"));
                    channels.iter().for_each(|channel| channel.poison().unwrap());
                    break;
                }
                _ => thread::yield_now(),
            }
        }
    });
    prop_assert!(stuck.is_none(), "they sleep and could communicate: {}", stuck.unwrap());
    let logs = logs.into_inner().unwrap();
    prop_assert_eq!(logs.len(), plan.scripts.len(), "one has panicked");
    check(plan, &logs, &kept)?;
    prop_assert!(network.report().unwrap().waiting().is_empty());
    Ok(())
}

fn check(plan: &Plan, logs: &[Log], kept: &[Option<Reader<Value>>]) -> Result<(), TestCaseError> {
    for (at, (capacity, _)) in plan.channels.iter().enumerate() {
        let of = |(channel, id): &(usize, Id)| (*channel == at).then_some(*id);
        let mut counts: BTreeMap<Id, (u32, u32)> = BTreeMap::new();
        logs.iter()
            .flat_map(|log| log.written.iter().filter_map(of))
            .for_each(|id| counts.entry(id).or_default().0 += 1);
        logs.iter().flat_map(|log| log.read.iter().filter_map(of)).for_each(|id| counts.entry(id).or_default().1 += 1);
        let rest: Vec<Id> = kept[at].iter().flat_map(|reader| reader.iter()).map(|value| (value.0, value.1)).collect();
        rest.iter().for_each(|id| counts.entry(*id).or_default().1 += 1);
        let is_poisoned = plan.scripts.iter().flatten().any(|op| matches!(op, Op::Poison(poisoned) if *poisoned == at));
        let may_be_lost = *capacity > 0 && (is_poisoned || kept[at].is_none());
        for (id, (written, read)) in &counts {
            prop_assert_eq!(*written, 1, "channel {}: {:?} was read, and its writer was not told", at, id);
            prop_assert!(*read <= 1, "channel {at}: {id:?} was read {read} times");
            prop_assert!(*read == 1 || may_be_lost, "channel {at}: {id:?} is lost");
        }
        for read in logs.iter().map(|log| log.read.iter().filter_map(of).collect()).chain([rest]) {
            let mut last: BTreeMap<usize, u32> = BTreeMap::new();
            let read: Vec<Id> = read;
            for (who, n) in read {
                let before = last.insert(who, n);
                prop_assert!(before.is_none_or(|before| before < n), "channel {at}: {who} wrote {before:?} before {n}");
            }
        }
    }
    Ok(())
}

/// Runs random plans in one network, which has everything back in the end.
#[test]
fn random_networks_lose_double_and_reorder_nothing_and_nobody_sleeps_in_vain() {
    let network = Network::new().unwrap();
    let config =
        ProptestConfig { cases: 120, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let started = Instant::now();
    let result = runner.run(&plan(), |plan| match started.elapsed() < Duration::from_secs(6) {
        true => run(&network, &plan),
        false => Ok(()),
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let all = fill(&network);
    assert_eq!(all.len(), 1024);
    drop(all);
    let (writer, reader) = ends::<u32>(&network, 4096);
    (0..4096).for_each(|n| writer.try_write(n).unwrap());
    let channel = network.channel::<u32>().unwrap();
    let readers: Vec<_> = std::iter::from_fn(|| channel.reader().ok()).collect();
    assert_eq!(readers.len(), 8192 - 3);
    drop((writer, reader));
}
