//! Many who write to one FIFO, and one who reads, of whom one is killed.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipc_core::{Builder, Bytes, Process, wait};
use ipc_fifo::{Error, Fifo, Reader, Writer};
use ipc_tests::campaign::{Flaw, Items, Lane, Rng, Round, STALL_LIMIT, Sizes};
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::permits::join_survivor;

type Input = Reader<Vec<u8>, Bytes>;
type Output = Writer<Vec<u8>, Bytes>;

const SHORT: Duration = Duration::from_micros(300);
/// In this time a reader that is there for good has asked for a writer that is gone.
const ASKED: Duration = Duration::from_millis(40);
/// What a survivor still writes after the victim's end.
const AFTERWARDS: u32 = 5;
/// What a reader takes at once, at most: all that is in a pipe.
const PIPE: usize = 65_536;

/// A mistake that a writer makes on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mistake {
    None,
    AcknowledgesFirst,
    SendsTwice,
    /// Writes what is no record.
    WritesBytes,
}

#[derive(Serialize, Deserialize)]
struct Sender {
    fifo: Fifo,
    index: u64,
    lane: Lane,
    items: Items,
    seed: u64,
    /// Then there may be no reader for a while.
    reader_dies: bool,
    /// Opens the FIFO anew now and then.
    reopens: bool,
    mistake: Mistake,
}

/// The number of a writer's message.
fn number(index: u64, n: u64) -> u64 {
    index << 32 | n
}

impl Sender {
    fn new(round: &mut Round, fifo: &Fifo, items: Items, index: u64) -> Sender {
        Sender {
            fifo: fifo.share(),
            index,
            lane: round.lane(index),
            items,
            seed: round.rng.next(),
            reader_dies: false,
            reopens: true,
            mistake: Mistake::None,
        }
    }

    fn complain(&self, what: &str, error: &Error) -> Flaw {
        eprintln!("writer {} {what}: {error:?}", self.index);
        Flaw::Wrong
    }

    fn open(&self, rng: &mut Rng) -> Result<Output, Flaw> {
        loop {
            let writer = match rng.below(3) {
                0 => self.fifo.try_writer(),
                1 => self.fifo.writer_timeout(SHORT),
                _ => self.fifo.writer(),
            };
            match writer {
                Ok(writer) => return Ok(writer),
                Err(Error::Timeout | Error::WouldBlock) => std::thread::yield_now(),
                Err(error) => return Err(self.complain("cannot open", &error)),
            }
        }
    }

    /// Sends message after message, in all the ways there are: a victim for ever, a survivor until some time after its end.
    fn write(&self) -> Result<(), Flaw> {
        let mut rng = Rng::new(self.seed);
        let mut log = self.lane.log();
        let mut writer = self.open(&mut rng)?;
        log.note(&[writer.id()]);
        let (mut n, mut more) = (0, AFTERWARDS);
        while more > 0 && self.lane.flaw().is_none() {
            let over = self.lane.is_over();
            let message = self.items.message(number(self.index, n));
            self.lane.attempt(n + 1);
            if self.mistake == Mistake::AcknowledgesFirst {
                self.lane.acknowledge(n + 1);
                (0..20_000).for_each(|_| std::hint::spin_loop());
            }
            let mut sent = send(&mut writer, &message, &mut rng);
            match self.mistake {
                Mistake::SendsTwice => sent = sent.and_then(|()| writer.send(&message)),
                Mistake::WritesBytes => {
                    let _ = self.fifo.write_end().expect("there is a reader").write(b"no record");
                }
                _ => {}
            }
            let reopens = match sent {
                Ok(()) => {
                    n += 1;
                    self.lane.acknowledge(n);
                    more -= u32::from(over);
                    self.reopens && rng.one_in(20)
                }
                // It is sent again.
                Err(Error::Disconnected) if self.reader_dies => {
                    std::thread::yield_now();
                    self.reopens && rng.one_in(2)
                }
                Err(error) => return Err(self.complain("cannot send", &error)),
            };
            if reopens {
                drop(writer);
                writer = self.open(&mut rng)?;
                log.note(&[writer.id()]);
            }
        }
        Ok(())
    }
}

fn send(writer: &mut Output, message: &Vec<u8>, rng: &mut Rng) -> Result<(), Error> {
    let result = loop {
        let begin = Instant::now();
        let result = match rng.below(6) {
            0 => writer.send_bytes(message),
            1 => writer.send_bytes_timeout(message, SHORT),
            2 => writer.send_timeout(message, SHORT),
            3 => writer.try_send(message),
            _ => writer.send(message),
        };
        match result {
            Err(Error::Timeout | Error::WouldBlock) => {
                assert!(begin.elapsed() < STALL_LIMIT, "a time-out came too late")
            }
            other => break other,
        }
    };
    match result {
        Err(Error::Unfinished { .. }) => writer.flush(Duration::MAX),
        other => other,
    }
}

fn write(sender: Sender) {
    if let Err(flaw) = sender.write() {
        sender.lane.complain(flaw);
    }
}

/// What has come from each writer.
struct Arrived {
    items: Items,
    /// What comes next of each; nothing is known of one whose messages another reader may have taken, but how many at least.
    next: Vec<u64>,
    uncertain: Vec<bool>,
    /// The first and the last that did not come.
    missing: Vec<(u64, u64)>,
    /// The writers of torn messages.
    torn: Vec<u64>,
    scratch: Vec<u8>,
}

impl Arrived {
    fn new(items: Items, next: Vec<u64>, uncertain: bool) -> Arrived {
        let uncertain = vec![uncertain; next.len()];
        Arrived { items, next, uncertain, missing: Vec::new(), torn: Vec::new(), scratch: Vec::new() }
    }

    fn take(&mut self, message: &[u8]) -> Result<u64, Flaw> {
        let number = self.items.number(message, &mut self.scratch).ok_or(Flaw::Corrupt)?;
        let (index, n) = ((number >> 32) as usize, number & u64::from(u32::MAX));
        let next = self.next.get_mut(index).ok_or(Flaw::Corrupt)?;
        if n < *next {
            return Err(Flaw::Duplicate);
        }
        if n > *next {
            if !self.uncertain[index] {
                return Err(Flaw::Lost);
            }
            self.missing.push((*next | (index as u64) << 32, number));
        }
        self.uncertain[index] = false;
        *next = n + 1;
        Ok(number)
    }
}

/// Receives in all the ways there are, until `is_over` and the end has come; for a reader that is its own writer, this is the message
/// with the number `last`.
fn read(
    input: &mut Input,
    arrived: &mut Arrived,
    rng: &mut Rng,
    last: Option<u64>,
    is_over: impl Fn() -> bool,
    mut note: impl FnMut(u64),
) -> Result<(), (Flaw, String)> {
    let mut ends = false;
    loop {
        let was_over = is_over();
        let begin = Instant::now();
        let result = match rng.below(8) {
            _ if ends => input.recv_timeout(ASKED),
            0 => input.recv_bytes(),
            1 => input.recv_timeout(SHORT),
            2 => input.try_recv(),
            3 => input.recv_bytes_timeout(SHORT),
            4 => input.poll(SHORT).and_then(|_| input.try_recv_bytes()),
            5 => {
                wait(&[&*input], Duration::MAX).expect("it is open");
                input.try_recv()
            }
            _ => input.recv(),
        };
        match result {
            Ok(message) => {
                let number = arrived.take(&message).map_err(|flaw| (flaw, format!("after {:?}", arrived.next)))?;
                note(number);
                ends |= last == Some(number);
            }
            Err(Error::Timeout) if ends => return Ok(()),
            Err(Error::Timeout | Error::WouldBlock) if begin.elapsed() < STALL_LIMIT => {}
            Err(Error::Torn { writer, .. }) => arrived.torn.push(writer),
            Err(Error::Disconnected) if was_over => return Ok(()),
            Err(Error::Disconnected) if last.is_none() => std::thread::yield_now(), // another writer comes
            Err(error @ (Error::Garbage { .. } | Error::Decode(_) | Error::TooLarge { .. })) => {
                return Err((Flaw::Corrupt, format!("{error:?} after {:?}", arrived.next)));
            }
            Err(error) => return Err((Flaw::Wrong, format!("{error:?} after {:?}", arrived.next))),
        }
    }
}

/// Short and long ones.
fn items(round: &mut Round) -> Items {
    let sizes = if round.rng.one_in(3) { Sizes::Small } else { Sizes::Mixed };
    Items { seed: round.rng.next(), sizes }
}

/// One of three writers is killed: nothing of the others is touched, and of its own at most the last message.
pub(crate) fn writer(round: &mut Round) {
    writer_with(round, Mistake::None);
}

pub(crate) fn writer_with(round: &mut Round, mistake: Mistake) {
    let folder = Folder::new();
    let fifo = Fifo::create(folder.file("fifo"), 0o600).expect("a new name");
    let items = items(round);
    let last = round.rng.one_in(4).then(|| number(3, 0));
    let mut arrived = Arrived::new(items, vec![0; 4], false);
    let over = AtomicBool::new(false);
    let result = round.strike(|round| {
        let victim = Sender { mistake, ..Sender::new(round, &fifo, items, 0) };
        let victim: Process<()> = round.victim().spawn(write, victim).expect("the writer starts");
        let other = Sender::new(round, &fifo, items, 1);
        let other: Process<()> = Builder::new().spawn(write, other).expect("the other one starts");
        let near = Sender::new(round, &fifo, items, 2);
        let (mut rng, lanes) = (round.rng.fork(), [0, 1, 2].map(|lane| round.lane(lane)));
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let input = if last.is_some() { fifo.lasting_reader() } else { fifo.reader() };
                let mut input = input.expect("it is there");
                let over = || over.load(Ordering::Relaxed);
                let result = read(&mut input, &mut arrived, &mut rng, last, over, |_| ());
                if let Err((flaw, _)) = &result {
                    lanes.iter().for_each(|lane| lane.complain(*flaw)); // so that they come to an end
                    // Nobody must wait for room.
                    while !over() {
                        let _ = input.recv_timeout(SHORT);
                    }
                }
                result
            });
            let near = scope.spawn(|| write(near));
            let _ = round.join(victim);
            round.end();
            join_survivor(round, other);
            near.join().expect("a writer does not panic");
            if let Some(last) = last {
                let sent = fifo.writer().and_then(|mut output: Output| output.send(items.message(last)));
                sent.expect("the reader is there");
            }
            over.store(true, Ordering::Relaxed);
            reading.join().expect("a reader does not panic")
        })
    });
    judge_writers(round, &arrived, result);
    drop(fifo);
    folder.judge_empty(round);
}

fn judge_writers(round: &mut Round, arrived: &Arrived, result: Result<(), (Flaw, String)>) {
    judge_lanes(round, result);
    let whole = !round.has_flaws();
    for index in 0..3 {
        // Nobody else numbers them, so a prefix it is.
        round.judge(&round.lane(index), arrived.next[index as usize], whole);
    }
    let victim = round.lane(0).entries().last().copied();
    let torn = &arrived.torn;
    if torn.iter().any(|writer| Some(*writer) != victim) || torn.len() > 1 {
        round.flaw(Flaw::Corrupt, format!("torn are messages of {torn:?}, the victim is {victim:?}"));
    }
    if round.died_at() == Some("record.part") {
        round.inside();
        // A part of it was there.
        if torn.is_empty() && whole {
            round.flaw(Flaw::Untold, "a part of a message came, and nobody was told that there is no more");
        }
    }
}

fn judge_lanes(round: &mut Round, result: Result<(), (Flaw, String)>) {
    for lane in [0, 1, 2].map(|lane| round.lane(lane)) {
        if let Some(flaw) = lane.flaw() {
            round.flaw(flaw, format!("noted by one of them: {lane:?}"));
        }
    }
    if let Err((flaw, text)) = result {
        round.flaw(flaw, text);
    }
}

#[derive(Serialize, Deserialize)]
struct Taker {
    fifo: Fifo,
    lane: Lane,
    items: Items,
    seed: u64,
}

/// Receives until it is killed, and notes what.
fn read_for_ever(taker: Taker) {
    let Taker { fifo, lane, items, seed } = taker;
    let (mut log, mut n) = (lane.log(), 0);
    let mut arrived = Arrived::new(items, vec![0; 3], false);
    let mut input = fifo.reader().expect("it is there");
    let note = |number| {
        n += 1;
        lane.attempt(n);
        log.note(&[number]);
    };
    if let Err((flaw, text)) = read(&mut input, &mut arrived, &mut Rng::new(seed), None, || false, note) {
        eprintln!("the reader: {text}");
        lane.complain(flaw);
    }
}

/// The reader is killed, and another one goes on. What the dead one had taken is gone, and nothing else.
pub(crate) fn reader(round: &mut Round) {
    let folder = Folder::new();
    let fifo = Fifo::create(folder.file("fifo"), 0o600).expect("a new name");
    let items = items(round);
    let (arrived, result) = round.strike(|round| {
        let victim = Taker { fifo: fifo.share(), lane: round.lane(0), items, seed: round.rng.next() };
        let victim: Process<()> = round.victim().spawn(read_for_ever, victim).expect("the reader starts");
        let other = Sender { reader_dies: true, ..Sender::new(round, &fifo, items, 1) };
        let other: Process<()> = Builder::new().spawn(write, other).expect("a writer starts");
        // It keeps what is in the FIFO while there is no reader.
        let near = Sender { reader_dies: true, reopens: false, ..Sender::new(round, &fifo, items, 2) };
        let (mut rng, over) = (round.rng.fork(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let near = scope.spawn(|| write(near));
            let _ = round.join(victim);
            let mut arrived = Arrived::new(items, taken_by_victim(round), true);
            round.end();
            let reading = scope.spawn(|| {
                let mut input = fifo.reader().expect("it is there");
                let is_over = || over.load(Ordering::Relaxed);
                let result = read(&mut input, &mut arrived, &mut rng, None, is_over, |_| ());
                while result.is_err() && !is_over() {
                    let _ = input.recv_timeout(SHORT);
                }
                (arrived, result)
            });
            join_survivor(round, other);
            near.join().expect("a writer does not panic");
            over.store(true, Ordering::Relaxed);
            reading.join().expect("a reader does not panic")
        })
    });
    judge_lanes(round, result);
    judge_gap(round, &arrived);
    drop(fifo);
    folder.judge_empty(round);
}

/// How many messages of each writer the victim has noted.
fn taken_by_victim(round: &Round) -> Vec<u64> {
    let mut taken = vec![0; 3];
    for number in round.lane(0).entries() {
        taken[(number >> 32) as usize] += 1;
    }
    taken
}

fn judge_gap(round: &mut Round, arrived: &Arrived) {
    for index in [1, 2] {
        let (lane, next) = (round.lane(index), arrived.next[index as usize]);
        round.judge(&lane, next, !round.has_flaws());
    }
    let mut bytes = 0;
    for (first, end) in arrived.missing.iter().copied() {
        round.held(end - first);
        // Of the first message a part may have been taken before, and of the last one the rest was not taken.
        bytes += (first + 1..end - 1).map(|number| arrived.items.message(number).len()).sum::<usize>();
    }
    // Nobody may have had the FIFO open for a moment, unless the one who keeps it open had come.
    let kept = taken_by_victim(round)[2] > 0;
    if kept && bytes > PIPE {
        round.flaw(Flaw::Lost, format!("{:?} are missing, more than a reader takes at once", arrived.missing));
    }
    let writers: Vec<_> = [1, 2].into_iter().flat_map(|lane| round.lane(lane).entries()).collect();
    // One whose beginning the dead reader has, and one that was given up as there was no reader.
    let too_many = |writer| arrived.torn.iter().filter(|torn| *torn == writer).count() > 2;
    if arrived.torn.iter().any(|writer| !writers.contains(writer) || too_many(writer)) {
        round.flaw(Flaw::Corrupt, format!("torn are messages of {:?}, the writers are {writers:?}", arrived.torn));
    }
    if ["record.read", "record.assembled"].map(Some).contains(&round.died_at()) {
        round.inside();
    }
}
