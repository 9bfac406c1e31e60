//! Two FIFOs as one connection, of which one side is killed, also before there is a connection.

use std::sync::mpsc;
use std::time::Duration;

use ipc_core::{Connection, Process};
use ipc_fifo::{Error, Fifo, connect, connect_timeout, try_connect};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round};
use serde::{Deserialize, Serialize};

use crate::folder::Folder;

const SHORT: Duration = Duration::from_millis(2);
/// How many messages come back after the victim's end.
const AFTERWARDS: u64 = 5;

#[derive(Serialize, Deserialize)]
struct Side {
    input: Fifo,
    output: Fifo,
    lane: Lane,
    seed: u64,
}

type Conn = Connection<u64, u64>;

impl Side {
    fn connect(&self, rng: &mut Rng) -> Result<Option<Conn>, Flaw> {
        let conn = match rng.below(4) {
            0 => try_connect(&self.input, &self.output),
            1 => connect_timeout(&self.input, &self.output, SHORT),
            2 => connect_timeout(&self.input, &self.output, SHORT / 8),
            _ => connect_timeout(&self.input, &self.output, 4 * SHORT),
        };
        match conn {
            Ok(conn) => Ok(Some(conn)),
            Err(Error::Timeout | Error::WouldBlock) => {
                std::thread::yield_now();
                Ok(None)
            }
            Err(error) => {
                eprintln!("cannot connect: {error:?}");
                Err(Flaw::Wrong)
            }
        }
    }

    /// Sends back what comes, to whoever comes: a victim, for ever.
    fn answer(self) {
        let mut rng = Rng::new(self.seed);
        let mut n = 0;
        loop {
            n += 1;
            self.lane.attempt(n);
            match self.connect(&mut rng) {
                Ok(None) => {}
                Ok(Some(conn)) => drop(echo(conn)),
                Err(flaw) => return self.lane.complain(flaw),
            }
        }
    }
}

fn echo(mut conn: Conn) -> u64 {
    let mut echoed = 0;
    while let Ok(message) = conn.recv() {
        if conn.send(message).is_err() {
            break;
        }
        echoed += 1;
    }
    echoed
}

/// Sends numbers and has them sent back until the connection ends. Returns how many were.
///
/// Answers to earlier numbers may come while there is somebody whose time to connect is over now and then: he may be taken for
/// connected when he is just leaving, and when he comes again, finds what he was sent.
fn ask(conn: &mut Conn, number: &mut u64, most: u64, strict: bool) -> Result<u64, Flaw> {
    for asked in 0..most {
        *number += 1;
        let mut answer = conn.send(*number).and_then(|()| conn.recv());
        while answer.as_ref().is_ok_and(|answer| answer < number && !strict) {
            answer = conn.recv();
        }
        match answer {
            Ok(answer) if answer == *number => {}
            Ok(answer) if answer < *number => return Err(Flaw::Duplicate),
            Ok(_) => return Err(Flaw::Corrupt),
            Err(error) if error.is_disconnected() => return Ok(asked),
            Err(error) => {
                eprintln!("is not answered: {error:?}");
                return Err(Flaw::Wrong);
            }
        }
    }
    Ok(most)
}

/// The one side is killed, and another one comes in its place; each connection is as new.
pub(crate) fn pair(round: &mut Round) {
    let folder = Folder::new();
    let there = Fifo::create(folder.file("there"), 0o600).expect("a new name");
    let back = Fifo::create(folder.file("back"), 0o600).expect("a new name");
    let result = round.strike(|round| {
        let side = |round: &mut Round, lane: u64| Side {
            input: there.share(),
            output: back.share(),
            lane: round.lane(lane),
            seed: round.rng.next(),
        };
        let victim = side(round, 0);
        let victim: Process<()> = round.victim().spawn(|side: Side| side.answer(), victim).expect("the victim starts");
        let near = Side { input: back.share(), output: there.share(), lane: round.lane(1), seed: round.rng.next() };
        let (ready, is_ready) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let asking = scope.spawn(move || {
                let (mut rng, mut number) = (Rng::new(near.seed), 0);
                while !near.lane.is_over() {
                    if let Some(mut conn) = near.connect(&mut rng)? {
                        ask(&mut conn, &mut number, u64::MAX, false)?;
                    }
                }
                // Now nothing is open, and whoever comes is not the dead one.
                ready.send(()).expect("it is waited for");
                let mut conn = connect(&near.input, &near.output).map_err(|_| Flaw::Wrong)?;
                near.lane.acknowledge(number);
                ask(&mut conn, &mut number, AFTERWARDS, true)
            });
            let _ = round.join(victim);
            round.end();
            // Unless the other one has given up.
            let echoed = is_ready.recv().ok().map(|()| connect(&there, &back).map(echo));
            (asking.join().expect("it does not panic"), echoed)
        })
    });
    if round.died_at() == Some("fifo.opened") {
        round.inside();
    }
    match result {
        (Ok(AFTERWARDS), Some(Ok(AFTERWARDS))) => {}
        (Err(flaw), _) => round.flaw(flaw, "noted by the one who asked"),
        (Ok(n), other) => round.flaw(Flaw::Wrong, format!("{n} answers, by one who came and was asked: {other:?}")),
    }
    round.messages(round.lane(1).acknowledged());
    drop((there, back));
    folder.judge_empty(round);
}
