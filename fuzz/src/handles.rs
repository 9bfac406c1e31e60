//! Messages with descriptors, honest and not: they arrive with their message or are closed, whatever is announced, attached
//! and named, also at the limit of open files.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use ipc_core::{Connection, Error, Handle, Receiver, Sender, wait};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::fstat;
use serde::Deserialize;

use crate::input::{migrate, stream, write_with};
use crate::script::Script;
use crate::{Trace, open_descriptors};

/// The most descriptors that the kernel takes at once.
const PACKET: usize = 253;

/// What a peer may claim to send.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "some are only made and dropped")]
enum Value {
    Plain(u8),
    One(Handle),
    Many(Vec<Handle>),
    Maybe(Option<Handle>),
    Connection(Box<Connection<u8, u8>>),
    Receiver(Box<Receiver<u8>>),
    Sender(Box<Sender<u8>>),
    Pair(Box<Value>, Box<Value>),
    Named(BTreeMap<u8, Handle>),
}

/// What an honest peer has sent: a number, or descriptors of these files.
#[derive(Debug, PartialEq)]
enum Sent {
    Plain(u8),
    Many(Vec<(u64, u64)>),
}

struct Fixture<'a> {
    receiver: Option<Receiver<Value>>,
    writer: Option<File>,
    /// What is attached: both ends of a socket and of a pipe, and a file.
    palette: Vec<OwnedFd>,
    attached: usize,
    /// What is still to come, as long as the peer has kept to the protocol.
    honest: Option<VecDeque<Sent>>,
    /// Descriptors may have been lost at the limit of open files.
    starved: bool,
    kept: Vec<Value>,
    trace: &'a mut Trace,
}

pub(crate) fn run(input: &[u8], trace: &mut Trace) {
    let mut script = Script::new(input);
    let (read, write) = stream(false);
    let (a, b) = stream(false);
    let (c, d) = stream(true);
    let file = File::open("/dev/null").expect("the file that is always there").into();
    let mut fixture = Fixture {
        receiver: Some(read.try_into().expect("a stream")),
        writer: Some(write.into()),
        palette: vec![a, b, c, d, file],
        attached: 0,
        honest: Some(VecDeque::new()),
        starved: false,
        kept: Vec::new(),
        trace,
    };
    for _ in 0..60 {
        let Some(step) = script.step() else { break };
        fixture.trace.note(step % 16);
        match step % 16 {
            0 => {
                let number = script.byte() as u8;
                if fixture.write(&frame(&[0, number]), 0) {
                    fixture.expect(Sent::Plain(number));
                }
            }
            1 | 2 => fixture.send_many(script.byte()),
            3 => {
                let bytes = script.byte() % 32 + 1;
                let bytes = script.take(bytes).to_vec();
                fixture.hostile(&bytes, number_of_descriptors(&mut script));
            }
            4 => {
                let announced = match script.byte() {
                    255 => script.short() << 16 | script.short(),
                    small => small,
                };
                fixture.hostile(&header(announced), number_of_descriptors(&mut script));
            }
            5 => {
                let len = script.byte();
                let payload = script.take(len).to_vec();
                fixture.with_handles(0, &payload);
            }
            6 => {
                let (n, len) = (script.byte() % 6, script.byte());
                let payload = script.take(len).to_vec();
                fixture.with_handles(n, &payload);
            }
            7 | 8 => {
                let n = number_of_descriptors(&mut script).min(PACKET);
                let payload = ends(&mut script, step % 16 == 8);
                fixture.with_handles(n, &payload);
            }
            9..=12 => {
                if !fixture.receive(&mut script, step % 16 == 12) {
                    break;
                }
            }
            13 => {
                let receiver = fixture.receiver.take().expect("a receiver");
                match migrate(receiver) {
                    Ok(receiver) => fixture.receiver = Some(receiver),
                    Err(error) => {
                        assert!(fixture.honest.is_none() || fixture.starved, "{error:?}");
                        return fixture.trace.note(kind(&error));
                    }
                }
            }
            14 => fixture.writer = None,
            _ => fixture.kept.clear(),
        }
    }
    fixture.writer = None;
    let end = loop {
        match fixture.receiver.as_mut().expect("a receiver").try_recv() {
            Ok(value) => fixture.examine(value),
            Err(Error::Decode(_) | Error::HandlesLost { .. }) if fixture.honest.is_none() || fixture.starved => {
                if let Some(sent) = &mut fixture.honest {
                    sent.pop_front();
                }
            }
            Err(error) => break error,
        }
    };
    fixture.trace.note(kind(&end));
    if let Some(left) = &fixture.honest {
        assert!(
            matches!(end, Error::Disconnected) && left.is_empty(),
            "{end:?}, and {} messages did not come",
            left.len()
        );
    }
}

/// Mostly a few.
fn number_of_descriptors(script: &mut Script<'_>) -> usize {
    match script.byte() {
        many @ 200.. => many.min(PACKET),
        few => few % 8,
    }
}

fn header(handles: usize) -> Vec<u8> {
    [[0xff, 0xff, 0xff, 0xfe], (handles as u32).to_be_bytes()].concat()
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[..], payload].concat()
}

fn varint(mut n: usize, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A receiver or connection as it is encoded, with contents of the script's choice: random bytes would seldom be one.
fn ends(script: &mut Script<'_>, both: bool) -> Vec<u8> {
    fn blob(script: &mut Script<'_>, out: &mut Vec<u8>) {
        let len = script.byte();
        let bytes = script.take(len);
        varint(bytes.len(), out);
        out.extend(bytes);
    }
    fn half(script: &mut Script<'_>, out: &mut Vec<u8>) {
        varint(script.byte() % 8, out); // which handle
        varint(script.byte() % 2, out); // split
        varint(script.short() << 2, out); // the longest message
    }
    let mut out = Vec::new();
    if both {
        out.extend([4, (script.byte() % 2) as u8]);
        half(script, &mut out);
        blob(script, &mut out); // unwritten
    } else {
        out.push(5);
    }
    half(script, &mut out);
    out.extend([(script.byte() % 128) as u8, 0]); // seconds to spin
    blob(script, &mut out); // unread
    let packets = script.byte() % 7;
    varint(packets, &mut out);
    for _ in 0..packets {
        let handles = script.byte() % 4;
        varint(handles, &mut out);
        (0..handles).for_each(|_| varint(script.byte() % 16, &mut out));
    }
    out
}

fn kind(error: &Error) -> String {
    match error {
        Error::Decode(cause) => format!("decode {cause}"),
        Error::Malformed(why) => format!("malformed {why}"),
        Error::Io { doing, source } => format!("{doing}: {:?}", source.kind()),
        other => format!("{:?}", std::mem::discriminant(other)),
    }
}

impl Fixture<'_> {
    fn write(&mut self, bytes: &[u8], n: usize) -> bool {
        let Some(writer) = &self.writer else { return false };
        let descriptors: Vec<BorrowedFd<'_>> =
            (0..n).map(|i| self.palette[(self.attached + i) % self.palette.len()].as_fd()).collect();
        self.attached += n;
        bytes.is_empty() || write_with(writer, bytes, &descriptors)
    }

    fn hostile(&mut self, bytes: &[u8], n: usize) {
        self.honest = None;
        self.write(bytes, n);
    }

    fn expect(&mut self, sent: Sent) {
        if let Some(honest) = &mut self.honest {
            honest.push_back(sent);
        }
    }

    fn send_many(&mut self, n: usize) {
        let files: Vec<_> = (0..n).map(|i| file(&self.palette[(self.attached + i) % self.palette.len()])).collect();
        let mut payload = vec![2];
        varint(n, &mut payload);
        (0..n).for_each(|i| varint(i, &mut payload));
        if self.announced(n) && self.write(&frame(&payload), 0) {
            self.expect(Sent::Many(files));
        } else {
            self.honest = None; // the socket is full, and a part may be out
        }
    }

    fn announced(&mut self, n: usize) -> bool {
        [PACKET, n.saturating_sub(PACKET)].iter().all(|most| match n.min(*most) {
            0 => true,
            some => self.write(&header(some), some),
        })
    }

    fn with_handles(&mut self, n: usize, payload: &[u8]) {
        self.honest = None;
        let _ = self.announced(n) && self.write(&frame(payload), 0);
    }

    /// One call; false if the connection is of no more use.
    fn receive(&mut self, script: &mut Script<'_>, starve: bool) -> bool {
        let before = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of open files");
        if starve {
            self.starved = true;
            let few = (open_descriptors() + script.byte() % 8) as u64;
            setrlimit(Resource::RLIMIT_NOFILE, few.min(before.0), before.1).expect("a lower limit");
        }
        let receiver = self.receiver.as_mut().expect("a receiver");
        let way = script.byte() % 8;
        let (mut value, mut bytes) = (None, false);
        let result = match way {
            0..=2 => receiver.try_recv().map(|received| value = Some(received)),
            3 => receiver.recv_timeout(Duration::ZERO).map(|received| value = Some(received)),
            4 => receiver.try_recv_bytes().map(|_| bytes = true),
            5 => receiver.try_recv_bytes_into(&mut vec![0; script.byte()]).map(|_| bytes = true),
            6 => receiver.poll(Duration::ZERO).map(drop),
            _ => wait(&[&*receiver], Duration::ZERO).map(drop),
        };
        setrlimit(Resource::RLIMIT_NOFILE, before.0, before.1).expect("the limit as it was");
        self.trace.note((way, result.as_ref().err().map(kind)));
        if bytes || matches!(result, Err(Error::HandlesLost { .. })) {
            if let Some(sent) = &mut self.honest {
                sent.pop_front().expect("a message that was sent");
            }
        }
        if let Some(value) = value {
            self.examine(value);
        }
        match result {
            Ok(()) | Err(Error::WouldBlock | Error::Timeout | Error::BufferTooShort { .. }) => true,
            Err(Error::Disconnected | Error::Truncated { .. }) => self.writer.is_some() || self.honest.is_some(),
            Err(Error::HandlesLost { expected, arrived }) => {
                assert!(arrived < expected && (self.starved || self.honest.is_none()), "{arrived} of {expected}");
                true
            }
            Err(error) => {
                assert!(self.honest.is_none() || self.starved, "{error:?}");
                matches!(error, Error::Decode(_))
            }
        }
    }

    /// Compares what came with what was sent, and uses what can be used.
    fn examine(&mut self, value: Value) {
        if let Some(sent) = &mut self.honest {
            let got = match &value {
                Value::Plain(number) => Sent::Plain(*number),
                Value::Many(handles) => Sent::Many(handles.iter().map(file).collect()),
                other => panic!("{other:?} came, and nobody sent it"),
            };
            assert_eq!(Some(got), sent.pop_front());
        }
        self.trace.note(std::mem::discriminant(&value));
        match value {
            Value::Receiver(receiver) => self.use_receiver(*receiver),
            Value::Connection(connection) => {
                let (mut sender, receiver) = connection.split();
                let sent = sender.try_send(1u8).and_then(|()| sender.flush(Duration::ZERO));
                self.trace.note(sent.as_ref().err().map(kind));
                self.use_receiver(receiver);
            }
            Value::Sender(mut sender) => self.trace.note(sender.try_send(1u8).as_ref().err().map(kind)),
            other if self.kept.len() < 8 => self.kept.push(other),
            _ => {}
        }
    }

    fn use_receiver(&mut self, mut receiver: Receiver<u8>) {
        for _ in 0..3 {
            let ready = wait(&[&receiver], Duration::ZERO).map(|ready| ready.len());
            let received = receiver.try_recv();
            self.trace.note((ready.ok(), received.as_ref().err().map(kind)));
        }
        match migrate(receiver) {
            Ok(mut receiver) => self.trace.note(receiver.try_recv().as_ref().err().map(kind)),
            Err(error) => self.trace.note(kind(&error)),
        }
    }
}

/// The file behind a descriptor.
fn file(fd: impl AsFd) -> (u64, u64) {
    let stat = fstat(fd).expect("an open descriptor");
    (stat.st_dev, stat.st_ino)
}
