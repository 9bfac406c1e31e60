//! Queues of tasks: who takes one says when it is done, and somebody waits until all are.

use std::time::Duration;

use ipc_core::Bytes;
use ipc_queue::{Error, JoinableQueue};
use ipc_tests::campaign::{Flaw, Lane, Round};
use serde::{Deserialize, Serialize};

use crate::queue::{Cast, End, GIVER, Giver, Line, Part, Role, TAKER, Taker, play_then};
use crate::queue_ledger::{Step, count};
use crate::queue_ways::small;

const SHORT: Duration = Duration::from_micros(300);

#[derive(Serialize, Deserialize)]
struct Tasks(JoinableQueue<Vec<u8>, Bytes>);

fn judge(error: &Error) -> Result<(), String> {
    match error {
        Error::WouldBlock => {
            std::thread::yield_now();
            Ok(())
        }
        Error::Timeout => Ok(()),
        Error::Closed => Err(String::new()),
        error => Err(format!("{error:?}")),
    }
}

impl Line for Tasks {
    fn share(&self, _: Role, _: bool) -> Tasks {
        Tasks(self.0.clone())
    }

    fn put(&mut self, giver: &mut Giver, messages: &[Vec<u8>]) -> (usize, Result<(), End>) {
        let message = &messages[0];
        let result = match giver.rng.below(5) {
            0 => self.0.try_put(message),
            1 => self.0.put_timeout(message, SHORT),
            _ => self.0.put(message),
        };
        let end = result.as_ref().map_or_else(|error| judge(&error.error), |()| Ok(()));
        let end = end.map_err(|text| if text.is_empty() { End::Over } else { giver.complain(&text) });
        (usize::from(result.is_ok()), end)
    }

    fn take(&mut self, taker: &mut Taker) -> Result<(), End> {
        let task = match taker.rng.below(5) {
            0 => self.0.try_get(),
            1 => self.0.get_timeout(SHORT),
            _ => self.0.get(),
        };
        let result = task.and_then(|task| {
            let number = taker.leased(&task, 0);
            crate::queue::pause(&mut taker.rng);
            taker.note(Step::Finishing, number);
            self.0.task_done()?;
            taker.note(Step::Finished, number);
            Ok(())
        });
        let result = result.or_else(|error| judge(&error));
        result.map_err(|text| if text.is_empty() { End::Over } else { taker.complain(&text) })
    }

    fn close(&self) {
        self.0.close().expect("not forked");
    }
}

/// Whoever waits until all is done goes on when it is, and not before.
fn join(round: &mut Round, cast: &Cast) {
    let tasks = Tasks(JoinableQueue::with(&small()).expect("a queue"));
    let members = [cast.victim, cast.other, cast.near].iter().map(|part| part.gives + part.takes).sum::<u64>();
    play_then(round, cast, tasks, |round, tasks| {
        if let Err(error) = tasks.0.join() {
            round.flaw(Flaw::Wrong, format!("cannot wait for the end: {error:?}"));
        }
        let lanes: Vec<_> = (0..members).map(|lane| round.lane(lane)).collect();
        let put: u64 = lanes.iter().map(Lane::acknowledged).sum();
        let done = count(&lanes, Step::Finishing);
        if done < put {
            round.flaw(Flaw::Wrong, format!("all is said to be done, and {done} of {put} tasks are"));
        }
    });
}

const TASKS: Cast = Cast { at_once: 0, ..Cast::of(TAKER) };

pub(crate) fn worker(round: &mut Round) {
    join(round, &TASKS);
}

pub(crate) fn workers(round: &mut Round) {
    join(round, &Cast { victim: Part { gives: 0, takes: 2 }, ..TASKS });
}

pub(crate) fn giver(round: &mut Round) {
    join(round, &Cast { victim: GIVER, ..TASKS });
}
