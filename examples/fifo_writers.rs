//! Many processes write into one FIFO without a lock, messages of any length. One is killed in the middle of a long one: the reader is told,
//! and the messages of the others are all there, in order and whole. With plain writes, only what is shorter than 4,096 bytes stays in one
//! piece, and who is killed in the middle of more shifts everything behind it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::thread;

use ipc_fifo::{Error, Fifo, Process, Reader, Writer};
use ipc_sync::Event;

const WRITERS: u64 = 4;
const MESSAGES: u64 = 500;

/// Who it is from, its number, and something that belongs to it.
type Message = (u64, u64, String);

/// Up to 12,000 bytes; most of these messages take several writes.
fn filling(who: u64, n: u64) -> String {
    format!("{who}:{n} ").repeat(((who + n * 7919) % 2000) as usize)
}

fn write((fifo, who): (Fifo, u64)) {
    let mut writer: Writer<Message> = fifo.writer().expect("the FIFO is there");
    for n in 0..MESSAGES {
        writer.send((who, n, filling(who, n))).expect("somebody reads");
    }
}

/// Does not get further than the first part of a message.
fn victim((fifo, in_the_middle): (Fifo, Event)) {
    let mut writer: Writer<Message> = fifo.writer().expect("the FIFO is there");
    writer.send((0, writer.id(), String::new())).expect("somebody reads");
    // More than a pipe holds, so that not all of it can be written at once.
    let cut = writer.try_send((0, 0, "x".repeat(10_000_000)));
    assert!(matches!(cut, Err(Error::Unfinished { .. })), "{cut:?}");
    in_the_middle.set().expect("this is no forked copy");
    loop {
        thread::park(); // until the parent kills it
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("fifo_writers-{}", std::process::id()));
    let fifo = Fifo::create(path, 0o600)?;
    let mut reader: Reader<Message> = fifo.lasting_reader()?;
    let in_the_middle = Event::new()?;
    let killed = Process::spawn(victim, (fifo.share(), in_the_middle.clone()))?;
    in_the_middle.wait()?;
    let (_, killed_id, _) = reader.recv()?;

    // What they write comes in between the parts of the long message.
    let writers: Vec<_> =
        (1..=WRITERS).map(|who| Process::spawn(write, (fifo.share(), who))).collect::<Result<_, _>>()?;
    let mut received: BTreeMap<u64, u64> = BTreeMap::new();
    let mut torn = None;
    while torn.is_none() || received.values().sum::<u64>() < WRITERS * MESSAGES {
        match reader.recv() {
            Ok((who, n, text)) => {
                let count = received.entry(who).or_default();
                assert!(n == *count && text == filling(who, n), "message {n} of writer {who}");
                *count += 1;
                if received.values().sum::<u64>() == MESSAGES {
                    killed.kill()?;
                }
            }
            Err(Error::Torn { writer, total, .. }) => torn = Some((writer == killed_id, total)),
            Err(error) => return Err(error.into()),
        }
    }
    println!("a message that will not come, of the killed writer, and its length: {torn:?}");
    for (who, count) in received {
        println!("writer {who}: {count} messages, in order and whole");
    }
    writers.into_iter().try_for_each(Process::join)?;
    println!("join: {}", killed.join().expect_err("it was killed"));
    Ok(())
}
