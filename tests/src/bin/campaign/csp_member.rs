//! One who writes to channels and reads from them, in all the ways there are, and notes it.

use std::thread;
use std::time::{Duration, Instant};

use ipc_csp::{Branch, Choice, Error, Fairness, Reader, Result, WriteError, Writer, fair_select, pri_select, select};
use ipc_tests::campaign::{Flaw, Items, Lane, Log, Rng, STALL_LIMIT};
use serde::{Deserialize, Serialize};

use crate::csp_ledger::{Step, entry, number};
use crate::queue::pause;

/// A value: a message that tells its number, and of which every byte is known.
pub(crate) type Value = Vec<u8>;

/// How many communications a survivor still begins after the victim's end, before it leaves off writing.
const AFTERWARDS: u32 = 5;

/// How one communicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    /// By calls that wait.
    Plain,
    /// Also by calls that do not wait, or not for long.
    Mixed,
    /// Only by calls that do not wait.
    Polling,
    /// By choices between all that it can read and write.
    Choosing,
}

/// How the victim ends its channels, unless it is killed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Over {
    Closed,
    Poisoned,
}

/// One who writes and reads: a thread.
#[derive(Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) reads: Vec<Reader<Value>>,
    pub(crate) writes: Vec<Writer<Value>>,
    pub(crate) way: Way,
    pub(crate) lane: Lane,
    pub(crate) number: u64,
    pub(crate) seed: u64,
    pub(crate) items: Items,
    /// After so many communications.
    pub(crate) ends: Option<(u64, Over)>,
    /// It writes until nobody reads any more.
    pub(crate) is_endless: bool,
}

/// All members of a process, each in a thread of its own.
pub(crate) fn work(mut members: Vec<Member>) {
    let first = members.pop();
    thread::scope(|scope| {
        members.into_iter().for_each(|member| drop(scope.spawn(|| member.work())));
        first.into_iter().for_each(Member::work);
    });
}

/// What a member notes.
pub(crate) struct Desk {
    pub(crate) rng: Rng,
    lane: Lane,
    log: Log,
    items: Items,
    number: u64,
    /// How many values it has begun to write.
    next: u64,
    scratch: Vec<u8>,
}

impl Desk {
    pub(crate) fn new(lane: Lane, number: u64, seed: u64, items: Items) -> Desk {
        let (rng, log) = (Rng::new(seed), lane.log());
        Desk { rng, lane, log, items, number, next: 0, scratch: Vec::new() }
    }

    /// A value that is about to be written, and its number.
    pub(crate) fn draft(&mut self) -> (u64, Value) {
        let number = number(self.number, self.next);
        self.next += 1;
        self.lane.attempt(self.next);
        (number, self.items.message(number))
    }

    /// What became of it. `false` if the channel has ended.
    pub(crate) fn written(&mut self, number: u64, result: &Result<()>) -> bool {
        self.note(if result.is_ok() { Step::Written } else { Step::Refused }, number);
        match result {
            Ok(()) | Err(Error::WouldBlock | Error::Timeout) => true,
            Err(error) => self.judge(error),
        }
    }

    /// What was read. `false` if the channel has ended.
    pub(crate) fn read(&mut self, result: Result<Value>) -> bool {
        match result {
            Ok(value) => {
                if let Some(number) = self.number(&value) {
                    self.note(Step::Read, number);
                }
                true
            }
            Err(Error::WouldBlock | Error::Timeout) => true,
            Err(error) => self.judge(&error),
        }
    }

    /// The number of a value that has all of its bytes.
    pub(crate) fn number(&mut self, value: &Value) -> Option<u64> {
        let number = self.items.number(value, &mut self.scratch);
        if number.is_none() {
            eprintln!("{} bytes that nobody has written: {:?}", value.len(), &value[..value.len().min(32)]);
            self.lane.complain(Flaw::Corrupt);
        }
        number
    }

    pub(crate) fn note(&mut self, step: Step, number: u64) {
        self.log.note(&[entry(step, number)]);
    }

    /// Something is as it should not be.
    pub(crate) fn complain(&self, text: &str) {
        eprintln!("a member of a network: {text}");
        self.lane.complain(Flaw::Wrong);
    }

    fn judge(&self, error: &Error) -> bool {
        if !error.is_end() {
            self.complain(&format!("{error:?}"));
        }
        false
    }
}

/// What a call that was to wait has led to must not be that it did not.
fn waited<T>(desk: &Desk, result: Result<T>) -> Result<T> {
    if let Err(Error::WouldBlock | Error::Timeout) = &result {
        desk.complain("a call without a limit has given up");
    }
    result
}

pub(crate) fn without_value<T>(result: std::result::Result<(), WriteError<T>>) -> Result<()> {
    result.map_err(|error| error.error)
}

impl Member {
    /// Communicates: a victim for ever, a survivor until nothing can be read or written.
    fn work(mut self) {
        let mut desk = Desk::new(self.lane.share(), self.number, self.seed, self.items);
        if self.writes.is_empty() {
            self.lane.attempt(1);
        }
        let (mut count, mut more, mut fairness) = (0, AFTERWARDS, Fairness::new());
        while !self.reads.is_empty() || !self.writes.is_empty() {
            if !self.is_endless && !self.writes.is_empty() && self.lane.is_over() {
                more -= 1;
                if more == 0 {
                    self.writes.clear();
                    continue;
                }
            }
            match self.way {
                Way::Plain => self.plainly(&mut desk),
                Way::Mixed | Way::Polling => self.one_way_or_the_other(&mut desk),
                Way::Choosing if self.is_simple() && desk.rng.one_in(3) => self.by_macro(&mut desk, &mut fairness),
                Way::Choosing => self.by_choice(&mut desk, &mut fairness),
            }
            count += 1;
            match self.ends {
                Some((after, over)) if count >= after => self.end(&desk, over),
                _ => pause(&mut desk.rng),
            }
        }
    }

    /// Ends its channels, and does nothing more.
    fn end(&self, desk: &Desk, over: Over) {
        let ended = self.writes.iter().map(|writer| match over {
            Over::Closed => writer.close(),
            Over::Poisoned => writer.poison(),
        });
        let read = self.reads.iter().map(|reader| match over {
            Over::Closed => reader.close(),
            Over::Poisoned => reader.poison(),
        });
        for result in ended.chain(read) {
            judge_over(&result).unwrap_or_else(|error| desk.complain(&error));
        }
        loop {
            thread::park();
        }
    }

    fn plainly(&mut self, desk: &mut Desk) {
        if let Some(reader) = self.reads.first() {
            let result = waited(desk, reader.read());
            if !desk.read(result) {
                self.reads.clear();
            }
        }
        if let Some(writer) = self.writes.first() {
            let (number, value) = desk.draft();
            let result = waited(desk, without_value(writer.write(value)));
            if !desk.written(number, &result) {
                self.writes.clear();
            }
        }
    }

    fn one_way_or_the_other(&mut self, desk: &mut Desk) {
        let (form, time) = (desk.rng.below(4), Duration::from_micros(desk.rng.below(3000)));
        let form = if self.way == Way::Polling { 0 } else { form };
        let begin = Instant::now();
        let at = desk.rng.below((self.reads.len() + self.writes.len()) as u64) as usize;
        // Whoever waits for one channel keeps others waiting for another one.
        let is_only = self.reads.len() + self.writes.len() == 1;
        if let Some(reader) = self.reads.get(at) {
            let result = match form {
                0 => reader.try_read(),
                1.. if is_only => waited(desk, reader.read()),
                _ => reader.read_timeout(time),
            };
            let is_late = !is_only && begin.elapsed() > time + STALL_LIMIT;
            if !desk.read(result) {
                self.reads.remove(at);
            }
            if is_late {
                desk.complain("a call with a time-out came back late");
            }
            return;
        }
        let at = at - self.reads.len();
        let writer = &self.writes[at];
        let (number, value) = desk.draft();
        let result = match form {
            0 => writer.try_write(value),
            1.. if is_only => writer.write(value),
            _ => writer.write_timeout(value, time),
        };
        if !desk.written(number, &without_value(result)) {
            self.writes.remove(at);
        }
    }

    fn by_choice(&mut self, desk: &mut Desk, fairness: &mut Fairness) {
        let drafts: Vec<(u64, Value)> = self.writes.iter().map(|_| desk.draft()).collect();
        let (mut gone, mut ended) = (None, None);
        let mut choice = Choice::new();
        let reads: Vec<Branch<Result<Value>>> = self.reads.iter().map(|reader| choice.read(reader)).collect();
        let writes: Vec<Branch<Result<()>>> =
            self.writes.iter().zip(&drafts).map(|(writer, (_, value))| choice.write(writer, value)).collect();
        // At times without one of the guards: not for ever, as all others may do without theirs, too.
        let off = reads.get(desk.rng.below(20) as usize).filter(|_| reads.len() + writes.len() > 1);
        if off.is_some() || desk.rng.one_in(4) {
            choice.timeout(Duration::from_micros(desk.rng.below(3000)));
        }
        if desk.rng.one_in(6) {
            choice.skip();
        }
        off.into_iter().for_each(|branch| choice.enable(*branch, false));
        let chosen = match desk.rng.below(3) {
            0 => choice.select(),
            1 => choice.pri_select(),
            _ => choice.fair_select(fairness),
        };
        let mut chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => {
                desk.complain(&format!("a choice: {error:?}"));
                drafts.iter().for_each(|(number, _)| desk.note(Step::Refused, *number));
                return;
            }
        };
        for (at, branch) in reads.iter().enumerate() {
            if let Some(result) = chosen.take(*branch) {
                if !desk.read(waited(desk, result)) {
                    gone = Some(at);
                }
            }
        }
        for (at, (branch, (number, _))) in writes.iter().zip(&drafts).enumerate() {
            let Some(result) = chosen.take(*branch) else {
                desk.note(Step::Refused, *number);
                continue;
            };
            if !desk.written(*number, &waited(desk, result)) {
                ended = Some(at);
            }
        }
        drop(choice);
        gone.into_iter().for_each(|at| drop(self.reads.remove(at)));
        ended.into_iter().for_each(|at| drop(self.writes.remove(at)));
    }

    /// It has one to read from and one to write to.
    fn is_simple(&self) -> bool {
        self.reads.len() == 1 && self.writes.len() == 1
    }

    fn by_macro(&mut self, desk: &mut Desk, fairness: &mut Fairness) {
        enum Done {
            Read(Result<Value>),
            Written(Result<()>),
            Neither,
        }
        let (number, value) = desk.draft();
        let (reader, writer, time) = (&self.reads[0], &self.writes[0], Duration::from_micros(desk.rng.below(2000)));
        let done = match desk.rng.below(3) {
            0 => select! {
                read(reader) -> value => Done::Read(value),
                write(writer, &value) -> result => Done::Written(result),
            },
            1 => pri_select! {
                if time.as_micros() > 5, write(writer, &value) -> result => Done::Written(result),
                read(reader) -> value => Done::Read(value),
                skip => Done::Neither,
            },
            _ => fair_select! { *fairness;
                read(reader) -> value => Done::Read(value),
                write(writer, &value) -> result => Done::Written(result),
                timeout(time) => Done::Neither,
            },
        };
        match done {
            Ok(Done::Written(result)) => {
                if !desk.written(number, &waited(desk, result)) {
                    self.writes.clear();
                }
            }
            Ok(other) => {
                desk.note(Step::Refused, number);
                if let Done::Read(result) = other {
                    if !desk.read(waited(desk, result)) {
                        self.reads.clear();
                    }
                }
            }
            Err(error) => {
                desk.note(Step::Refused, number);
                desk.complain(&format!("a macro: {error:?}"));
            }
        }
    }
}

/// To end a channel succeeds, or others learn it with a delay.
pub(crate) fn judge_over(result: &Result<()>) -> std::result::Result<(), String> {
    match result {
        Ok(()) | Err(Error::WouldBlock) => Ok(()),
        Err(error) => Err(format!("cannot end a channel: {error:?}")),
    }
}
