//! A receiver and a simple parser are fed the same bytes, whole, cut and broken, and must agree on what they are.

use std::fs::File;
use std::time::Duration;

use ipc_core::{Bytes, Error, Receiver, wait};

use crate::Trace;
use crate::input::{migrate, stream, write};
use crate::script::{Script, pattern};

/// What the next call must give.
#[derive(Clone, Debug, PartialEq, Hash)]
enum Expected {
    Message(Vec<u8>),
    Nothing,
    Disconnected,
    Truncated(u64),
    Malformed,
    TooLarge(u64),
}

/// The bytes that were written, and how far they have been received.
struct Model {
    bytes: Vec<u8>,
    at: usize,
    closed: bool,
    max: u64,
}

impl Model {
    /// The length of the next message and where its payload begins, or what there is instead.
    fn header(&self) -> Result<(u64, usize), Expected> {
        let rest = &self.bytes[self.at..];
        let long =
            |n: usize| rest.get(4..4 + n).map(|part| part.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)));
        let (len, used) = match rest.get(..4) {
            None => return Err(self.end(1)),
            Some([0xff, 0xff, 0xff, 0xff]) => match long(8) {
                None => return Err(self.end(1)),
                Some(len) if len >> 63 == 1 => return Err(Expected::Malformed),
                Some(len) => (len, 12),
            },
            // Handles, of which there are none here.
            Some([0xff, 0xff, 0xff, 0xfe]) if rest.len() < 8 => return Err(self.end(1)),
            Some([0x80..=0xff, ..]) => return Err(Expected::Malformed),
            Some(short) => (short.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 4),
        };
        if len > self.max { Err(Expected::TooLarge(len)) } else { Ok((len, self.at + used)) }
    }

    fn next(&self) -> Expected {
        match self.header() {
            Err(other) => other,
            Ok((len, start)) => match self.bytes.get(start..start + len as usize) {
                Some(payload) => Expected::Message(payload.to_vec()),
                None => self.end(len - (self.bytes.len() - start) as u64),
            },
        }
    }

    fn end(&self, missing: u64) -> Expected {
        match self.closed {
            false => Expected::Nothing,
            true if self.at == self.bytes.len() => Expected::Disconnected,
            true => Expected::Truncated(missing),
        }
    }

    /// The next message is received.
    fn advance(&mut self) {
        let (len, start) = self.header().expect("a message");
        self.at = start + len as usize;
    }
}

struct Fixture<'a> {
    receiver: Option<Receiver<Vec<u8>, Bytes>>,
    writer: Option<File>,
    /// Not yet written.
    queue: Vec<u8>,
    model: Model,
    trace: &'a mut Trace,
}

pub(crate) fn run(input: &[u8], trace: &mut Trace) {
    let mut script = Script::new(input);
    let (read, write) = stream(script.byte() % 2 == 1);
    let mut fixture = Fixture {
        receiver: Some(read.try_into().expect("a stream")),
        writer: Some(write.into()),
        queue: Vec::new(),
        model: Model { bytes: Vec::new(), at: 0, closed: false, max: ipc_core::MAX_MESSAGE },
        trace,
    };
    let mut count = 0;
    while let Some(step) = script.step() {
        count += 1;
        fixture.trace.note(step % 16);
        match step % 16 {
            0 | 1 => fixture.message(script.byte(), count),
            2 => fixture.message(script.short(), count),
            3 => fixture.message((64 << 10) - 16 + script.byte() % 32, count), // about as long as the buffer
            4 => fixture.message((64 << 10) + 2 * script.short(), count),
            5 => {
                let len = script.byte();
                fixture.queue.extend([0xff; 4]);
                fixture.queue.extend((len as u64).to_be_bytes());
                fixture.queue.extend(pattern(len, count));
            }
            6 => {
                let len = script.byte();
                fixture.queue.extend(script.take(len));
            }
            7 => {
                let claimed = script.take(4).to_vec();
                fixture.queue.extend(claimed);
                fixture.queue.extend(pattern(script.byte(), count));
            }
            8..=11 => {
                fixture.write(script.byte());
                fixture.receive(&mut script);
            }
            12 => {
                fixture.model.max = script.short() as u64;
                let max = fixture.model.max;
                fixture.receiver().set_max_message(max);
            }
            13 => {
                let receiver = fixture.receiver.take().expect("a receiver");
                match migrate(receiver) {
                    Ok(receiver) => fixture.receiver = Some(receiver),
                    // Nobody else can do anything with a broken stream.
                    Err(Error::Encode(_)) if fixture.model.next() == Expected::Malformed => return,
                    Err(error) => panic!("it can be sent: {error}"),
                }
            }
            14 => fixture.close(),
            _ => {
                fixture.write(255);
                fixture.drain();
            }
        }
        // What the input repeats thousands of times says nothing new and takes long.
        if count == 200 || fixture.model.bytes.len() + fixture.queue.len() > 1 << 20 {
            break;
        }
    }
    fixture.model.max = ipc_core::MAX_MESSAGE;
    fixture.receiver().set_max_message(ipc_core::MAX_MESSAGE);
    fixture.write(255);
    fixture.drain();
    fixture.close();
    fixture.drain();
}

impl Fixture<'_> {
    fn receiver(&mut self) -> &mut Receiver<Vec<u8>, Bytes> {
        self.receiver.as_mut().expect("a receiver")
    }

    fn message(&mut self, len: usize, seed: usize) {
        self.queue.extend((len as u32).to_be_bytes());
        self.queue.extend(pattern(len, seed));
    }

    /// Writes a part of the queue, as far as it goes at once.
    fn write(&mut self, cut: usize) {
        let Some(writer) = &self.writer else { return self.queue.clear() };
        let len = match cut {
            0..128 => cut,
            128..254 => (cut - 128) * 1024,
            _ => self.queue.len(),
        };
        let written = write(writer, &self.queue[..len.min(self.queue.len())]);
        self.model.bytes.extend(self.queue.drain(..written));
    }

    fn close(&mut self) {
        self.writer = None;
        self.model.closed = true;
        self.queue.clear();
    }

    /// Receives until there is no more.
    fn drain(&mut self) {
        loop {
            let expected = self.model.next();
            let result = self.receiver().try_recv();
            self.compare(&expected, result);
            match expected {
                Expected::Message(_) => self.model.advance(),
                _ => break,
            }
            self.write(255);
        }
    }

    /// One call, of the kind that the script asks for.
    fn receive(&mut self, script: &mut Script<'_>) {
        let expected = self.model.next();
        let way = script.byte() % 10;
        self.trace.note(way);
        let ready = expected != Expected::Nothing;
        let result = match way {
            0 => self.receiver().try_recv(),
            1 => self.receiver().try_recv_bytes(),
            2 => self.receiver().recv_timeout(Duration::ZERO),
            3 => self.receiver().recv_bytes_timeout(Duration::ZERO),
            4 if ready => self.receiver().recv(),
            5 if ready => match self.receiver().iter().next() {
                Some(result) => result,
                None => Err(Error::Disconnected),
            },
            6 => {
                assert_eq!(self.receiver().poll(Duration::ZERO).expect("it is here"), ready, "{expected:?}");
                return;
            }
            7 => {
                // More than that it may report, as a part of a message is something, too.
                let reported = wait(&[&*self.receiver()], Duration::ZERO).expect("it can be polled");
                assert!(
                    !matches!(expected, Expected::Message(_)) || reported == [0],
                    "a message, and nothing to wait for"
                );
                return;
            }
            _ => return self.receive_into(script, &expected),
        };
        self.compare(&expected, result);
        if matches!(expected, Expected::Message(_)) {
            self.model.advance();
        }
    }

    fn receive_into(&mut self, script: &mut Script<'_>, expected: &Expected) {
        let size = match (script.byte(), &self.model.header()) {
            (0..128, Ok((len, _))) => (*len).min(1 << 20) as usize,
            (odd, _) => odd << 8 | script.byte(),
        };
        let mut buffer = vec![0; size];
        let result = self.receiver().try_recv_bytes_into(&mut buffer);
        if let Ok((len, _)) = self.model.header() {
            if len > size as u64 {
                let fits = |error: &Error| matches!(error, Error::BufferTooShort { needed, len: room } if *needed as u64 == len && *room == size);
                assert!(result.as_ref().is_err_and(fits), "{len} bytes for {size}: {result:?}");
                return self.trace.note("too short");
            }
        }
        self.compare(expected, result.map(|len| buffer[..len].to_vec()));
        if matches!(expected, Expected::Message(_)) {
            self.model.advance();
        }
    }

    fn compare(&mut self, expected: &Expected, result: Result<Vec<u8>, Error>) {
        let got = match result {
            Ok(message) => Expected::Message(message),
            Err(Error::WouldBlock | Error::Timeout) => Expected::Nothing,
            Err(Error::Disconnected) => Expected::Disconnected,
            Err(Error::Truncated { missing }) => Expected::Truncated(missing),
            Err(Error::Malformed(why)) => {
                self.trace.note(why);
                Expected::Malformed
            }
            Err(Error::TooLarge { len, max }) => {
                assert_eq!(max, self.model.max);
                Expected::TooLarge(len)
            }
            Err(error) => panic!("where {} was to come: {error:?}", brief(expected)),
        };
        self.trace.note(std::mem::discriminant(&got));
        assert!(got == *expected, "{} came, {} was expected", brief(&got), brief(expected));
    }
}

/// Without the bytes of a message, which may be many.
fn brief(expected: &Expected) -> String {
    match expected {
        Expected::Message(message) => {
            format!("a message of {} bytes, {:?}…", message.len(), &message[..message.len().min(8)])
        }
        other => format!("{other:?}"),
    }
}
