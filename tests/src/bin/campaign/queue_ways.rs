//! All the ways to put into a queue and to take from it.

use std::io::Write;
use std::time::{Duration, Instant};

use ipc_core::{Bytes, wait};
use ipc_queue::{Consumer, Error, Producer, PutManyError, Queue, Readiness, Settings};
use ipc_tests::campaign::{Flaw, Rng, Round, STALL_LIMIT};
use serde::{Deserialize, Serialize};

use crate::queue::{End, Giver, Line, Role, Taker};
use crate::queue_ledger::Step;

/// A time-out that mostly passes.
const SHORT: Duration = Duration::from_micros(300);

/// How often a message is delivered where some are put aside.
pub(crate) const MOST_DELIVERIES: u32 = 2;
/// What can be written in place: not much less than the ring.
const LONGEST_IN_RING: usize = 60_000;

pub(crate) type Plain = Queue<Vec<u8>, Bytes>;

/// One or both ends of a queue, and how they are used.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ways {
    end: Ends,
    put: Put,
    take: Take,
    survivors_take: Take,
    apart: bool,
    /// That it is closed is no end.
    never_closes: bool,
    /// Takes out what was delivered too often.
    buries: bool,
    #[serde(skip)]
    readiness: Option<Readiness>,
    /// What the queue takes while it is empty.
    memory: u64,
}

#[derive(Serialize, Deserialize)]
enum Ends {
    Both(Plain),
    Giver(Producer<Vec<u8>, Bytes>),
    Taker(Consumer<Vec<u8>, Bytes>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Put {
    One,
    Many,
    Reserve,
    /// Each call in another way.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Take {
    One,
    Many,
    Lease,
    Peek,
    /// Asks first whether there is something.
    Ready,
    /// Each call in another way.
    Any,
}

/// The smallest ring there is: it is often full, and messages of more than 16 KiB go another way.
pub(crate) fn small() -> Settings {
    Settings::new().ring(1).max_message(1 << 20).leases(64)
}

/// Calls a method that both ends have which can put, or take.
macro_rules! giving {
    ($ways:expr, $queue:ident => $call:expr) => {
        match &$ways.end {
            Ends::Both($queue) => $call,
            Ends::Giver($queue) => $call,
            Ends::Taker(_) => unreachable!("it takes"),
        }
    };
}
macro_rules! taking {
    ($ways:expr, $queue:ident => $call:expr) => {
        match &$ways.end {
            Ends::Both($queue) => $call,
            Ends::Taker($queue) => $call,
            Ends::Giver(_) => unreachable!("it gives"),
        }
    };
}
macro_rules! any {
    ($ways:expr, $queue:ident => $call:expr) => {
        match &$ways.end {
            Ends::Both($queue) => $call,
            Ends::Giver($queue) => $call,
            Ends::Taker($queue) => $call,
        }
    };
}

impl Ways {
    /// Everybody has both ends.
    pub(crate) fn new(settings: &Settings, put: Put, take: Take) -> Ways {
        let queue = Queue::with(settings).expect("a queue");
        Ways::of(queue, put, take)
    }

    pub(crate) fn of(queue: Plain, put: Put, take: Take) -> Ways {
        let memory = queue.stats().expect("a look").memory;
        let (end, survivors_take) = (Ends::Both(queue), take);
        Ways {
            end,
            put,
            take,
            survivors_take,
            apart: false,
            never_closes: false,
            buries: false,
            readiness: None,
            memory,
        }
    }

    /// Those who are not killed just take.
    pub(crate) fn others_take(self, survivors_take: Take) -> Ways {
        Ways { survivors_take, ..self }
    }

    /// Its end is that nobody is left.
    pub(crate) fn never_closes(self) -> Ways {
        Ways { never_closes: true, apart: true, ..self }
    }

    /// Some messages are delivered too often.
    pub(crate) fn buries(self) -> Ways {
        Ways { buries: true, ..self }
    }

    pub(crate) fn queue(&self) -> &Plain {
        match &self.end {
            Ends::Both(queue) => queue,
            _ => unreachable!("the supervisor has both ends"),
        }
    }

    /// What an error means to one who puts or takes.
    fn judge(&self, error: Error) -> Result<(), String> {
        match error {
            Error::WouldBlock => {
                std::thread::yield_now();
                Ok(())
            }
            Error::Timeout => Ok(()),
            Error::Closed if !self.never_closes => Err(String::new()),
            Error::Disconnected if self.apart => Err(String::new()),
            error => Err(format!("{error:?}")),
        }
    }

    fn put_one(&self, rng: &mut Rng, message: &Vec<u8>) -> Result<(), Error> {
        let owned = |result: Result<(), ipc_queue::PutError<Vec<u8>>>| {
            result.map_err(|error| {
                assert_eq!(error.value, *message, "the value comes back");
                error.error
            })
        };
        giving!(self, queue => match rng.below(9) {
            0 => Ok(queue.try_put(message)?),
            1 => owned(queue.put_timeout(message.clone(), SHORT)),
            2 => queue.put_bytes(message),
            3 => queue.put_bytes_timeout(message, SHORT),
            4 => queue.try_put_bytes(message),
            5 => owned(queue.put(message.clone())),
            _ => Ok(queue.put(message)?),
        })
    }

    fn put_many(&self, rng: &mut Rng, messages: &[Vec<u8>]) -> Result<(), PutManyError> {
        giving!(self, queue => match rng.below(5) {
            0 => queue.try_put_many(messages),
            1 => queue.put_many_timeout(messages, SHORT),
            _ => queue.put_many(messages),
        })
    }

    /// Writes a message into the queue itself. Returns whether it is in.
    fn put_reserved(&self, rng: &mut Rng, message: &[u8]) -> Result<bool, Error> {
        giving!(self, queue => {
            let len = message.len();
            let mut reserved = match rng.below(6) {
                0 => queue.try_reserve(len)?,
                1 => queue.reserve_timeout(len, SHORT)?,
                _ => queue.reserve(len)?,
            };
            let (first, second) = message.split_at(rng.below(len as u64 + 1) as usize);
            reserved.fill(0, len, 0xa5)?;
            reserved.write_at(first.len(), second)?;
            crate::queue::pause(rng);
            reserved.write_all(first).expect("it fits");
            if rng.one_in(8) {
                return Ok(false); // it never was
            }
            reserved.commit()?;
            Ok(true)
        })
    }

    fn take_one(&self, taker: &mut Taker) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let message = taking!(self, queue => match taker.rng.below(8) {
            0 => queue.try_get(),
            1 => queue.get_timeout(SHORT),
            2 => queue.get_bytes_into(&mut bytes).map(|()| bytes),
            3 => queue.try_get_bytes_into(&mut bytes).map(|()| bytes),
            4 => queue.get_bytes_into_timeout(&mut bytes, SHORT).map(|()| bytes),
            _ => queue.get(),
        })?;
        taker.taken(&[message]);
        Ok(())
    }

    fn take_many(&self, taker: &mut Taker) -> Result<(), Error> {
        let most = 1 + taker.rng.below(taker.batch) as usize;
        let messages = taking!(self, queue => match taker.rng.below(5) {
            0 => queue.try_get_many(most),
            1 => queue.get_many_timeout(most, SHORT),
            _ => queue.get_many(most),
        })?;
        assert!(!messages.is_empty() && messages.len() <= most, "{} of {most} messages", messages.len());
        taker.taken(&messages);
        Ok(())
    }

    /// Some leases at a time, of which some are given back.
    fn lease(&self, taker: &mut Taker) -> Result<(), Error> {
        let most = 1 + taker.rng.below(taker.batch);
        let mut leases = Vec::new();
        while (leases.len() as u64) < most {
            let lease = taking!(self, queue => match taker.rng.below(5) {
                _ if !leases.is_empty() => queue.try_lease(),
                0 => queue.try_lease(),
                1 => queue.lease_timeout(SHORT),
                _ => queue.lease(),
            });
            let lease = match lease {
                Err(_) if !leases.is_empty() => break,
                other => other?,
            };
            let number = taker.leased(&lease, lease.deliveries());
            if self.buries && lease.deliveries() > MOST_DELIVERIES {
                taker.complain("a message is delivered that should be put aside");
            }
            leases.push((lease, number));
        }
        crate::queue::pause(&mut taker.rng);
        for (lease, number) in leases {
            if taker.rng.one_in(5) {
                taker.note(Step::GivingBack, number);
                drop(lease);
            } else {
                taker.note(Step::Finishing, number);
                lease.ack()?;
                taker.note(Step::Finished, number);
            }
        }
        Ok(())
    }

    /// Reads a message where it lies.
    fn peek(&self, taker: &mut Taker) -> Result<(), Error> {
        let peek = taking!(self, queue => match taker.rng.below(5) {
            0 => queue.try_peek()?,
            1 => queue.peek_timeout(SHORT)?,
            _ => queue.peek()?,
        });
        let mut bytes = vec![0; peek.len()];
        let cut = taker.rng.below(peek.len() as u64 + 1) as usize;
        let (first, second) = bytes.split_at_mut(cut);
        peek.read_at(first.len(), second)?;
        crate::queue::pause(&mut taker.rng);
        peek.read_at(0, first)?;
        let number = taker.leased(&bytes, peek.deliveries());
        if taker.rng.one_in(5) {
            taker.note(Step::GivingBack, number);
            drop(peek);
        } else {
            taker.note(Step::Finishing, number);
            peek.release();
            taker.note(Step::Finished, number);
        }
        Ok(())
    }

    /// Waits by a descriptor, and takes all there is.
    fn take_when_ready(&mut self, taker: &mut Taker) -> Result<(), Error> {
        let readiness = match &mut self.readiness {
            Some(readiness) => readiness,
            none => none.insert(match &self.end {
                Ends::Both(queue) => queue.readiness()?,
                Ends::Taker(queue) => queue.readiness()?,
                Ends::Giver(_) => unreachable!("it gives"),
            }),
        };
        wait(&[readiness], Duration::MAX)?;
        loop {
            match taking!(self, queue => queue.try_get()) {
                Ok(message) => taker.taken(&[message]),
                Err(Error::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// What was delivered too often is done with.
    fn bury(&self, taker: &mut Taker) -> Result<(), Error> {
        let letters = taking!(self, queue => queue.take_dead_letters())?;
        let messages: Vec<_> = letters.into_iter().map(|letter| letter.bytes).collect();
        taker.taken(&messages);
        Ok(())
    }
}

impl Line for Ways {
    fn share(&self, role: Role, is_victim: bool) -> Ways {
        let queue = self.queue();
        let end = match role {
            _ if !self.apart => Ends::Both(queue.clone()),
            Role::Gives => Ends::Giver(queue.producer()),
            Role::Takes => Ends::Taker(queue.consumer()),
        };
        let Ways { put, take, survivors_take, apart, never_closes, buries, memory, .. } = *self;
        let take = if is_victim { take } else { survivors_take };
        Ways { end, put, take, survivors_take, apart, never_closes, buries, readiness: None, memory }
    }

    fn put(&mut self, giver: &mut Giver, messages: &[Vec<u8>]) -> (usize, Result<(), End>) {
        let begin = Instant::now();
        let way = match self.put {
            Put::Any => [Put::One, Put::One, Put::Many, Put::Reserve][giver.rng.below(4) as usize],
            way => way,
        };
        let (put, result) = match way {
            Put::Many => match self.put_many(&mut giver.rng, messages) {
                Ok(()) => (messages.len(), Ok(())),
                Err(error) => (error.put, Err(error.error)),
            },
            // The others have not begun.
            Put::Reserve if messages[0].len() <= LONGEST_IN_RING => {
                match self.put_reserved(&mut giver.rng, &messages[0]) {
                    Ok(put) => (usize::from(put), Ok(())),
                    Err(error) => (0, Err(error)),
                }
            }
            _ => match self.put_one(&mut giver.rng, &messages[0]) {
                Ok(()) => (1, Ok(())),
                Err(error) => (0, Err(error)),
            },
        };
        let is_short = matches!(result, Err(Error::WouldBlock | Error::Timeout));
        if is_short && begin.elapsed() > STALL_LIMIT {
            return (put, Err(giver.complain("a time-out came too late")));
        }
        let end = result.or_else(|error| self.judge(error));
        (put, end.map_err(|text| if text.is_empty() { End::Over } else { giver.complain(&text) }))
    }

    fn take(&mut self, taker: &mut Taker) -> Result<(), End> {
        let begin = Instant::now();
        let way = match self.take {
            Take::Any => [Take::One, Take::One, Take::Many, Take::Lease, Take::Peek][taker.rng.below(5) as usize],
            way => way,
        };
        let result = match way {
            Take::Many => self.take_many(taker),
            Take::Lease => self.lease(taker),
            Take::Peek => self.peek(taker),
            Take::Ready => self.take_when_ready(taker),
            Take::One | Take::Any => self.take_one(taker),
        };
        let is_short = matches!(result, Err(Error::WouldBlock | Error::Timeout));
        if is_short && begin.elapsed() > STALL_LIMIT {
            return Err(taker.complain("a time-out came too late"));
        }
        let is_end = result.as_ref().is_err_and(Error::is_end);
        let result = if self.buries && !taker.dies && (is_end || taker.rng.one_in(4)) {
            self.bury(taker).and(result)
        } else {
            result
        };
        let end = result.or_else(|error| self.judge(error));
        end.map_err(|text| if text.is_empty() { End::Over } else { taker.complain(&text) })
    }

    fn close(&self) {
        any!(self, queue => queue.close()).expect("not forked");
    }

    /// Nothing is in it any more, and it takes no more memory than at first.
    fn judge_end(&self, round: &mut Round) {
        let queue = self.queue();
        let mut memory = 0;
        let is_empty = crate::memory::within(STALL_LIMIT, || {
            // Who looks for something finds also what the dead have left.
            let _ = queue.try_get();
            memory = queue.stats().expect("a look").memory;
            queue.is_empty() && memory <= self.memory
        });
        if !is_empty {
            let text = format!("{} messages, and {memory} bytes instead of {}", queue.len(), self.memory);
            round.flaw(Flaw::Left, text);
        }
    }
}
