//! Queues in a manager's server, whose givers and takers are killed.

use std::time::{Duration, Instant};

use ipc_manager::{Error, JoinableQueue, Manager, Queue, Result};
use ipc_tests::campaign::{Flaw, Lane, Round, Sizes};
use serde::{Deserialize, Serialize};

use crate::manager::{Host, Place, SHORT, waited};
use crate::queue::{BOTH, Cast, End, GIVER, Giver, Line, Part, Role, TAKER, Taker, pause, play_then};
use crate::queue_ledger::{Step, count};

/// How many messages there is room for where that is limited.
const ROOM: usize = 4;

/// A queue with bytes, as one of its users has it. The last message is empty, and whoever gets it puts it back.
#[derive(Serialize, Deserialize)]
struct Ways {
    place: Place,
    is_joinable: bool,
    mistake: Mistake,
    #[serde(skip)]
    open: Option<Open>,
}

/// Something that a worker does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mistake {
    None,
    /// A giver says that it has put what it is about to.
    AcknowledgesFirst,
    /// A giver puts once more what it was told is in.
    PutsTwice,
}

/// A queue of either kind.
#[derive(Clone)]
enum Open {
    Plain(Queue<Vec<u8>>),
    Tasks(JoinableQueue<Vec<u8>>),
}

macro_rules! queue {
    ($open:expr, $queue:ident => $call:expr) => {
        match $open {
            Open::Plain($queue) => $call,
            Open::Tasks($queue) => $call,
        }
    };
}

/// How long a call waits for the server when its time has passed.
const SILENCE: Duration = Duration::from_millis(100);

const NAME: &str = "queue";

impl Open {
    fn find(manager: &Manager, is_joinable: bool) -> Result<Open> {
        match is_joinable {
            true => manager.open(NAME).map(Open::Tasks),
            false => manager.open(NAME).map(Open::Plain),
        }
    }
}

impl Ways {
    fn open(&mut self) -> &Open {
        let Ways { place, is_joinable, open, .. } = self;
        open.get_or_insert_with(|| Open::find(&place.enter(), *is_joinable).expect("the queue is there"))
    }

    fn take_one(&mut self, taker: &mut Taker) -> Result<bool> {
        let choice = taker.rng.below(5);
        let message = queue!(self.open(), queue => match choice {
            0 => queue.try_get(),
            1 => queue.get_timeout(SHORT),
            _ => queue.get(),
        })?;
        let is_last = message.is_empty();
        if is_last {
            queue!(self.open(), queue => queue.put(&message))?;
        }
        match self.open() {
            Open::Plain(_) if is_last => {}
            Open::Plain(_) => taker.taken(&[message]),
            Open::Tasks(queue) if is_last => queue.task_done()?,
            Open::Tasks(queue) => {
                let number = taker.leased(&message, 0);
                pause(&mut taker.rng);
                taker.note(Step::Finishing, number);
                queue.task_done()?;
                taker.note(Step::Finished, number);
            }
        }
        Ok(!is_last)
    }
}

impl Line for Ways {
    fn share(&self, _: Role, is_victim: bool) -> Ways {
        let mistake = if is_victim { self.mistake } else { Mistake::None };
        Ways { place: self.place.clone(), mistake, open: self.open.clone(), ..*self }
    }

    fn put(&mut self, giver: &mut Giver, messages: &[Vec<u8>]) -> (usize, std::result::Result<(), End>) {
        let (message, choice, mistake) = (&messages[0], giver.rng.below(5), self.mistake);
        if mistake == Mistake::AcknowledgesFirst {
            giver.lane.acknowledge(giver.lane.attempted());
            giver.rng.spin(100_000);
        }
        let begin = Instant::now();
        let result = queue!(self.open(), queue => match choice {
            0 => queue.try_put(message),
            1 => queue.put_timeout(message, SHORT),
            _ => queue.put(message),
        });
        if mistake == Mistake::PutsTwice && result.is_ok() {
            let _ = queue!(self.open(), queue => queue.put(message));
        }
        match result {
            Ok(()) => (1, Ok(())),
            Err(error) if waited(&error) => {
                // The server did not answer, also when asked to take it back.
                if begin.elapsed() >= SHORT + SILENCE {
                    giver.may_be_in(message);
                }
                (0, Ok(()))
            }
            Err(error) => (0, Err(giver.complain(&format!("{error:?}")))),
        }
    }

    fn take(&mut self, taker: &mut Taker) -> std::result::Result<(), End> {
        match self.take_one(taker) {
            Ok(true) => Ok(()),
            Ok(false) => Err(End::Over),
            Err(error) if waited(&error) => Ok(()),
            Err(error) => Err(taker.complain(&format!("{error:?}"))),
        }
    }

    fn close(&self) {
        queue!(self.open.as_ref().expect("the supervisor has it open"), queue => queue.put(&Vec::new()))
            .expect("the server is there");
    }
}

fn use_queue(round: &mut Round, cast: &Cast, is_joinable: bool, mistake: Mistake) {
    let host = Host::new(round);
    let manager = &host.manager;
    let room = if round.rng.one_in(3) { 0 } else { ROOM };
    let open = match is_joinable {
        true => Open::Tasks(host.publish(NAME, manager.bounded_joinable_queue(room))),
        false => Open::Plain(host.publish(NAME, manager.bounded_queue(room))),
    };
    let ways = Ways { place: host.place.clone(), is_joinable, mistake, open: Some(open) };
    let members = [cast.victim, cast.other, cast.near].iter().map(|part| part.gives + part.takes).sum::<u64>();
    play_then(round, cast, ways, |round, ways| {
        // What comes back from the victim comes before the end.
        host.wait_for_clients(1 + cast.other.takes);
        if let Some(Open::Tasks(tasks)) = &ways.open {
            judge_done(round, members, tasks.join());
        }
    });
    host.judge_empty(round);
}

/// Whoever waits until all is done goes on when it is, and not before.
fn judge_done(round: &mut Round, members: u64, joined: std::result::Result<(), Error>) {
    if let Err(error) = joined {
        round.flaw(Flaw::Wrong, format!("cannot wait for the end: {error:?}"));
    }
    let lanes: Vec<_> = (0..members).map(|lane| round.lane(lane)).collect();
    let (put, done) = (lanes.iter().map(Lane::acknowledged).sum::<u64>(), count(&lanes, Step::Finishing));
    if done < put {
        round.flaw(Flaw::Wrong, format!("all is said to be done, and {done} of {put} tasks are"));
    }
}

fn cast(round: &mut Round, victim: Part) -> Cast {
    let sizes = if round.rng.one_in(4) { Sizes::Mixed } else { Sizes::Small };
    Cast { sizes, ..Cast::of(victim) }
}

pub(crate) fn giver(round: &mut Round) {
    let cast = cast(round, GIVER);
    use_queue(round, &cast, false, Mistake::None);
}

pub(crate) fn taker(round: &mut Round) {
    let cast = cast(round, TAKER);
    use_queue(round, &cast, false, Mistake::None);
}

pub(crate) fn threads(round: &mut Round) {
    let cast = cast(round, Part { gives: 2, takes: 2 });
    use_queue(round, &cast, false, Mistake::None);
}

pub(crate) fn task_giver(round: &mut Round) {
    let cast = cast(round, GIVER);
    use_queue(round, &Cast { at_once: 0, ..cast }, true, Mistake::None);
}

pub(crate) fn worker(round: &mut Round) {
    let cast = cast(round, TAKER);
    use_queue(round, &Cast { at_once: 0, ..cast }, true, Mistake::None);
}

pub(crate) fn workers(round: &mut Round) {
    let cast = cast(round, Part { gives: 1, takes: 2 });
    use_queue(round, &Cast { at_once: 0, ..cast }, true, Mistake::None);
}

pub(crate) fn with_mistake(round: &mut Round, mistake: Mistake) {
    use_queue(round, &Cast { near: BOTH, ..Cast::of(GIVER) }, false, mistake);
}
