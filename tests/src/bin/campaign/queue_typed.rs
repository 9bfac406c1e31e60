//! Queues of values that are encoded and decoded.

use ipc_queue::{Error, Queue};
use ipc_tests::campaign::Round;
use serde::{Deserialize, Serialize};

use crate::queue::{BOTH, Cast, End, Giver, Line, Role, TAKER, Taker, play};
use crate::queue_ledger::Step;
use crate::queue_ways::small;

/// A message in pieces.
#[derive(Serialize, Deserialize)]
struct Letter {
    pieces: Vec<Vec<u8>>,
    len: usize,
}

impl Letter {
    fn of(message: &[u8]) -> Letter {
        Letter { pieces: message.chunks(17).map(<[u8]>::to_vec).collect(), len: message.len() }
    }

    fn message(&self) -> Vec<u8> {
        let message = self.pieces.concat();
        if message.len() == self.len { message } else { Vec::new() }
    }
}

#[derive(Serialize, Deserialize)]
struct Letters(Queue<Letter>);

fn end<T>(result: Result<T, Error>) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        Err(Error::Closed) => Err(String::new()),
        Err(error) => Err(format!("{error:?}")),
    }
}

impl Letters {
    fn lease(&self, taker: &mut Taker) -> Result<(), Error> {
        let lease = self.0.lease()?;
        let number = taker.leased(&lease.message(), lease.deliveries());
        if taker.rng.one_in(3) {
            taker.note(Step::GivingBack, number);
            return Ok(());
        }
        taker.note(Step::Finishing, number);
        lease.ack()?;
        taker.note(Step::Finished, number);
        Ok(())
    }
}

impl Line for Letters {
    fn share(&self, _: Role, _: bool) -> Letters {
        Letters(self.0.clone())
    }

    fn put(&mut self, giver: &mut Giver, messages: &[Vec<u8>]) -> (usize, Result<(), End>) {
        let letters: Vec<_> = messages.iter().map(|message| Letter::of(message)).collect();
        let (put, result) = match self.0.put_many(&letters) {
            Ok(()) => (letters.len(), Ok(())),
            Err(error) => (error.put, Err(error.error)),
        };
        (put, end(result).map_err(|text| if text.is_empty() { End::Over } else { giver.complain(&text) }))
    }

    fn take(&mut self, taker: &mut Taker) -> Result<(), End> {
        let most = taker.batch as usize;
        let result = match taker.rng.below(3) {
            0 => self.lease(taker),
            1 => self.0.get_many(most).map(|letters| {
                taker.taken(&letters.iter().map(Letter::message).collect::<Vec<_>>());
            }),
            _ => self.0.get().map(|letter| taker.taken(&[letter.message()])),
        };
        end(result).map_err(|text| if text.is_empty() { End::Over } else { taker.complain(&text) })
    }

    fn close(&self) {
        self.0.close().expect("not forked");
    }
}

pub(crate) fn both(round: &mut Round) {
    let cast = Cast { other: TAKER, batch: 5, at_once: 5, ..Cast::of(BOTH) };
    play(round, &cast, Letters(Queue::with(&small()).expect("a queue")));
}
