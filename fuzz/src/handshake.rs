//! Both ends of an exchange of keys, with each other and with somebody who has no key: bytes are carried, cut, changed, sent back and made up.

use ipc_socket::fuzzing::Exchange;

use crate::Trace;
use crate::script::{Script, letters};

/// What an honest end sends behind its part of the exchange.
const BEHIND: &[u8] = b"the first message";
const PREFIXES: [&[u8]; 8] =
    [b"#CHALLENGE#", b"#WELCOME#", b"#FAILURE#", b"{sha256}", b"{md5}", b"{sha384}", b"#CHALLENGE#{sha256}", b""];

struct End {
    exchange: Exchange,
    /// What the other end has sent, and is not read yet.
    arriving: Vec<u8>,
    failed: bool,
    /// All that it has said so far.
    said: Vec<u8>,
}

impl End {
    fn new(is_server: bool, key: &[u8], refuse_md5: bool) -> End {
        let exchange = Exchange::new(is_server, key, refuse_md5).expect("a key");
        End { exchange, arriving: Vec::new(), failed: false, said: Vec::new() }
    }

    /// Reads as it may, up to `cut` bytes at once.
    fn read(&mut self, cut: usize, trace: &mut Trace) -> usize {
        let wants = self.exchange.wants();
        assert!(!self.exchange.is_over() || wants == 0, "more is read when all is said");
        let n = wants.min(self.arriving.len()).min(cut);
        if n == 0 || self.failed {
            return 0;
        }
        let bytes: Vec<u8> = self.arriving.drain(..n).collect();
        let result = self.exchange.receive(&bytes);
        if let Err(error) = &result {
            trace.note(letters(&error.to_string()));
            self.failed = true;
        }
        n
    }

    fn say(&mut self) -> Vec<u8> {
        let output = self.exchange.take_output();
        self.said.extend_from_slice(&output);
        output
    }

    fn is_over(&self) -> bool {
        self.exchange.is_over() && !self.failed
    }
}

pub(crate) fn run(input: &[u8], trace: &mut Trace) {
    let mut script = Script::new(input);
    let how = script.byte();
    match how % 4 {
        0 => together(&mut script, how & 4 != 0, false, trace),
        1 => together(&mut script, how & 4 != 0, true, trace),
        _ => alone(&mut script, how & 4 != 0, how & 8 != 0, trace),
    }
}

/// A server and a client, whose bytes arrive in the cuts of the script, and as they were sent unless it changes some.
fn together(script: &mut Script<'_>, refuse_md5: bool, same_key: bool, trace: &mut Trace) {
    let other: &[u8] = if same_key { b"the key" } else { b"another key" };
    let mut ends = [End::new(true, b"the key", refuse_md5), End::new(false, other, refuse_md5)];
    let (mut changed, mut behind) = (false, [false; 2]);
    for _ in 0..100 {
        let Some(step) = script.step() else { break };
        let from = usize::from(step & 1);
        let mut bytes = ends[from].say();
        if step & 6 == 6 && !bytes.is_empty() {
            let (at, bit) = (script.short() % bytes.len(), script.byte());
            bytes[at] ^= 1 << (bit % 8);
            changed = true;
        }
        ends[1 - from].arriving.extend(bytes);
        ends[1 - from].read(usize::from(step >> 3) * 2 + 1, trace);
    }
    // What is left goes in one piece each, and something comes after it.
    let mut moves = true;
    while moves {
        moves = false;
        for from in [0, 1] {
            let mut bytes = ends[from].say();
            if ends[from].is_over() && !std::mem::replace(&mut behind[from], true) {
                bytes.extend_from_slice(BEHIND);
            }
            ends[1 - from].arriving.extend(&bytes);
            moves |= !bytes.is_empty() | (ends[1 - from].read(usize::MAX, trace) > 0);
        }
    }
    let over = [ends[0].is_over(), ends[1].is_over()];
    trace.note((over, changed));
    if !same_key {
        assert_eq!(over, [false; 2], "ends with different keys agree");
    } else if !changed {
        assert_eq!(over, [true; 2], "ends with the same key do not agree");
    }
    for (end, sent) in ends.iter().zip([behind[1], behind[0]]) {
        if end.is_over() && sent && !changed {
            assert_eq!(end.arriving, BEHIND, "a byte behind the exchange was read, or lost");
        }
    }
}

/// One end and somebody without the key, who can say anything, also what the end has said itself.
fn alone(script: &mut Script<'_>, is_server: bool, refuse_md5: bool, trace: &mut Trace) {
    let mut end = End::new(is_server, b"the key", refuse_md5);
    for _ in 0..40 {
        let Some(step) = script.step() else { break };
        trace.note((step % 8, end.exchange.wants() < 200));
        end.say();
        match step % 8 {
            0 | 1 => {
                let len = script.byte();
                end.arriving.extend(script.take(len));
            }
            2..=4 => {
                let len = script.byte() % 80;
                let message = [PREFIXES[usize::from(step / 8) % 8], script.take(len)].concat();
                end.arriving.extend((message.len() as u32).to_be_bytes());
                end.arriving.extend(message);
            }
            5 => {
                // A piece of what the end itself has said, as a message.
                let (from, len) = (script.byte(), script.byte() % 80);
                let from = from.min(end.said.len());
                let piece = end.said[from..(from + len).min(end.said.len())].to_vec();
                let message = [PREFIXES[usize::from(step / 8) % 8], &piece].concat();
                end.arriving.extend((message.len() as u32).to_be_bytes());
                end.arriving.extend(message);
            }
            6 => {
                let all = end.said.clone();
                end.arriving.extend(all);
            }
            _ => end.arriving.extend([[0, 0, 0, 9].as_slice(), b"#WELCOME#"].concat()),
        }
        let cut = script.byte().max(1);
        while end.read(cut, trace) > 0 {}
        assert!(!end.is_over(), "somebody without the key is let in");
    }
}
