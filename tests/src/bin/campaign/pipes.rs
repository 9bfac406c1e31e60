//! Streams of messages of which one end is killed.

use std::time::{Duration, Instant};

use ipc_core::{Builder, Bytes, Error, Process, Receiver, Sender, wait};
use ipc_pipe::{duplex_with_codec, simplex_with_codec};
use ipc_tests::campaign::{Checker, Contents, Flaw, Lane, Rng, Round, STALL_LIMIT};
use serde::{Deserialize, Serialize};

pub(crate) type Output = Sender<Vec<u8>, Bytes>;
pub(crate) type Input = Receiver<Vec<u8>, Bytes>;

const SHORT: Duration = Duration::from_micros(300);

/// A mistake that a writer makes on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mistake {
    None,
    AcknowledgesFirst,
    SendsTwice,
    ChangesByte,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Writer {
    pub(crate) output: Output,
    pub(crate) lane: Lane,
    pub(crate) contents: Contents,
    pub(crate) mistake: Mistake,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reader {
    pub(crate) input: Input,
    pub(crate) lane: Lane,
    pub(crate) contents: Contents,
}

/// Sends message after message in all the ways there are, until the reader is gone.
///
/// # Panics
/// When anything else goes wrong.
pub(crate) fn write(mut writer: Writer) {
    let (contents, lane) = (writer.contents, &writer.lane);
    let mut rng = Rng::of(contents.seed, u64::MAX);
    let mut n = 0;
    loop {
        let many = rng.one_in(4);
        let count = if many { 1 + rng.below(if contents.large { 4 } else { 40 }) } else { 1 };
        lane.attempt(n + count);
        if writer.mistake == Mistake::AcknowledgesFirst {
            lane.acknowledge(n + count);
        }
        let mut messages: Vec<_> = (n..n + count).map(|n| contents.message(n)).collect();
        match writer.mistake {
            Mistake::SendsTwice => messages.push(contents.message(n + count - 1)),
            Mistake::ChangesByte => messages.iter_mut().filter_map(|message| message.last_mut()).for_each(|b| *b ^= 1),
            _ => {}
        }
        match send(&mut writer.output, &messages, &mut rng) {
            Ok(()) => lane.acknowledge(n + count),
            Err(Error::Disconnected) => return,
            Err(error) => panic!("cannot send: {error:?}"),
        }
        n += count;
    }
}

fn send(output: &mut Output, messages: &[Vec<u8>], rng: &mut Rng) -> Result<(), Error> {
    if messages.len() > 1 {
        let result = match rng.below(3) {
            // What was taken from the iterator goes out with the next call.
            0 => {
                let mut rest = messages.iter();
                loop {
                    match output.send_many_timeout(&mut rest, SHORT) {
                        Err(Error::Timeout) => {}
                        Err(Error::Unfinished { .. }) if rest.len() > 0 => {}
                        other => break other,
                    }
                }
            }
            _ => output.send_many(messages),
        };
        return finish(output, result.map(drop));
    }
    let message = &messages[0];
    let result = loop {
        let begin = Instant::now();
        let result = match rng.below(5) {
            0 => output.send_bytes(message),
            1 => output.send_bytes_timeout(message, SHORT),
            2 => output.send_timeout(message, SHORT),
            3 => output.try_send(message),
            _ => output.send(message),
        };
        match result {
            Err(Error::Timeout | Error::WouldBlock) => {
                assert!(begin.elapsed() < STALL_LIMIT, "a time-out came too late")
            }
            other => break other,
        }
    };
    finish(output, result)
}

/// Writes the rest of an unfinished message.
fn finish(output: &mut Output, result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Unfinished { .. }) => output.flush(Duration::MAX),
        other => other,
    }
}

/// Receives message after message in all the ways there are, and returns why that ended.
pub(crate) fn read(
    input: &mut Input,
    checker: &mut Checker,
    rng: &mut Rng,
    lane: Option<&Lane>,
) -> Result<Error, Flaw> {
    let mut buffer = Vec::new();
    loop {
        let begin = Instant::now();
        let result = match rng.below(6) {
            0 => input.recv_bytes(),
            1 => input.recv_timeout(SHORT),
            2 => input.try_recv(),
            3 => match input.recv_bytes_into(&mut buffer) {
                Ok(len) => Ok(buffer[..len].to_vec()),
                Err(Error::BufferTooShort { needed, .. }) => {
                    buffer.resize(needed, 0);
                    continue;
                }
                Err(error) => Err(error),
            },
            _ => input.recv(),
        };
        match result {
            Ok(message) => checker.accept(&message)?,
            // Also while the other one is stopped in the middle of a message.
            Err(Error::Timeout | Error::WouldBlock) if begin.elapsed() < STALL_LIMIT => {}
            Err(Error::Timeout | Error::WouldBlock) => return Err(Flaw::Wrong),
            Err(error) => return Ok(error),
        }
        if let Some(lane) = lane {
            lane.receive(checker.received());
        }
    }
}

/// The reader as a process.
pub(crate) fn read_all(mut reader: Reader) {
    let mut rng = Rng::of(reader.contents.seed, u64::MAX - 1);
    let mut checker = Checker::new(reader.contents);
    match read(&mut reader.input, &mut checker, &mut rng, Some(&reader.lane)) {
        Ok(error) => assert!(error.is_disconnected(), "{error:?}"),
        Err(flaw) => reader.lane.complain(flaw),
    }
}

/// A pipe of one of the two kinds.
pub(crate) fn pipe(rng: &mut Rng) -> (Output, Input) {
    if rng.one_in(2) {
        return simplex_with_codec().expect("a pipe");
    }
    let (far, near) = duplex_with_codec::<Vec<u8>, Vec<u8>, Bytes>().expect("a pair of sockets");
    // The other direction is closed with the halves that are dropped.
    (far.split().0, near.split().1)
}

pub(crate) fn writer(round: &mut Round, large: bool) {
    write_and_die(round, large, Mistake::None);
}

/// The writer is the victim, the supervisor reads.
pub(crate) fn write_and_die(round: &mut Round, large: bool, mistake: Mistake) {
    let contents = Contents { seed: round.rng.next(), large };
    let (output, mut input) = pipe(&mut round.rng);
    let mut checker = Checker::new(contents);
    round.strike(|round| {
        let victim = Writer { output, lane: round.lane(0), contents, mistake };
        let victim: Process<()> = round.victim().spawn(write, victim).expect("the writer starts");
        match read(&mut input, &mut checker, &mut round.rng, None) {
            Ok(error) => round.judge_end(&error),
            Err(flaw) => {
                round.flaw(flaw, format!("message {}", checker.received()));
                drop(input); // so that the writer ends if it is not killed
            }
        }
        let _ = round.join(victim);
    });
    round.judge(&round.lane(0), checker.received(), round_is_whole(round));
}

/// After a flaw of the stream itself it is not read to its end.
fn round_is_whole(round: &Round) -> bool {
    !round.has_flaws()
}

/// The reader is the victim, the supervisor writes.
pub(crate) fn reader(round: &mut Round, large: bool) {
    let contents = Contents { seed: round.rng.next(), large };
    let (output, input) = pipe(&mut round.rng);
    round.strike(|round| {
        let victim = Reader { input, lane: round.lane(0), contents };
        let victim: Process<()> = round.victim().spawn(read_all, victim).expect("the reader starts");
        // It panics if it ends otherwise than by the reader's death.
        write(Writer { output, lane: round.lane(1), contents, mistake: Mistake::None });
        let _ = round.join(victim);
    });
    let received = round.lane(0).received();
    round.judge(&round.lane(1), received, false);
    if let Some(flaw) = round.lane(0).flaw() {
        round.flaw(flaw, format!("message {received}, in the reader"));
    }
}

/// One end in two processes, of which one is the victim; the supervisor has the other end, and reads and writes at once.
pub(crate) fn halves(round: &mut Round, sender_dies: bool) {
    let out = Contents { seed: round.rng.next(), large: round.rng.one_in(2) };
    let back = Contents { seed: round.rng.next(), large: round.rng.one_in(2) };
    let (near, far) = duplex_with_codec::<Vec<u8>, Vec<u8>, Bytes>().expect("a pair of sockets");
    let (output, mut input) = near.split();
    let (far_output, far_input) = far.split();
    let mut checker = Checker::new(back);
    round.strike(|round| {
        let writer = Writer { output: far_output, lane: round.lane(1), contents: back, mistake: Mistake::None };
        let reader = Reader { input: far_input, lane: round.lane(2), contents: out };
        let (victim, other): (Process<()>, Process<()>) = if sender_dies {
            let victim = round.victim().spawn(write, writer).expect("the writer starts");
            (victim, Builder::new().spawn(read_all, reader).expect("the reader starts"))
        } else {
            let victim = round.victim().spawn(read_all, reader).expect("the reader starts");
            (victim, Builder::new().spawn(write, writer).expect("the writer starts"))
        };
        let ours = Writer { output, lane: round.lane(3), contents: out, mistake: Mistake::None };
        let end = std::thread::scope(|scope| {
            scope.spawn(|| write(ours));
            // As long as one of the two lives, the stream is open.
            scope.spawn(|| {
                let _ = wait(&[&victim], Duration::MAX);
                let _ = other.kill();
            });
            read(&mut input, &mut checker, &mut round.rng, None)
        });
        match end {
            Ok(error) => round.judge_end(&error),
            Err(flaw) => round.flaw(flaw, format!("message {}", checker.received())),
        }
        let _ = round.join(victim);
        let _ = other.join();
    });
    let received = round.lane(2).received();
    round.judge(&round.lane(3), received, false);
    round.judge(&round.lane(1), checker.received(), round_is_whole(round));
    if let Some(flaw) = round.lane(2).flaw() {
        round.flaw(flaw, format!("message {received}, in the reader"));
    }
}
