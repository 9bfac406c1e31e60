//! Servers that are killed, or whose starter is, while their clients call and wait: all of them hear of it, and a new one can come.

use std::time::Duration;

use ipc_core::{Builder, Process};
use ipc_manager::{
    Address, Barrier, Condition, Dict, Error, Event, JoinableQueue, Lock, Manager, Queue, Result, Semaphore,
};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round};
use ipc_tests::unique_name;
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::manager::{AFTERWARDS, Place, SHORT, complain, judge_lanes};
use crate::permits::join_survivor;

/// There is no server, or was none in the end.
fn is_absent(error: &Error) -> bool {
    match error {
        Error::Disconnected => true,
        Error::Connect(error) => error.is_not_listening() || error.is_disconnected(),
        _ => false,
    }
}

#[derive(Serialize, Deserialize)]
struct Client {
    place: Place,
    lane: Lane,
    seed: u64,
}

/// What every client of a server uses; whoever comes first makes it.
struct Things {
    calls: Dict<u64, Vec<u8>>,
    lock: Lock,
    condition: Condition,
    seats: Semaphore,
    queue: Queue<u64>,
    tasks: JoinableQueue<u64>,
    event: Event,
    meeting: Barrier,
    manager: Manager,
}

impl Things {
    fn open(manager: Manager) -> Result<Things> {
        Ok(Things {
            calls: manager.open_or_create("calls", Manager::dict)?,
            lock: manager.open_or_create("lock", Manager::lock)?,
            condition: manager.open_or_create("condition", Manager::condition)?,
            seats: manager.open_or_create("seats", |manager| manager.semaphore(1))?,
            queue: manager.open_or_create("queue", |manager| manager.bounded_queue(1))?,
            tasks: manager.open_or_create("tasks", Manager::joinable_queue)?,
            event: manager.open_or_create("event", Manager::event)?,
            meeting: manager.open_or_create("meeting", |manager| manager.barrier(2))?,
            manager,
        })
    }

    /// Asks for something, or waits for it: for a while, or until the server is gone, if `for_ever`.
    fn ask(&self, rng: &mut Rng, for_ever: bool) -> Result<()> {
        let Things { calls, lock, condition, seats, queue, tasks, event, meeting, manager } = self;
        let waited = if for_ever {
            match rng.below(7) {
                0 => lock.lock().map(std::mem::forget).and_then(|()| lock.is_locked().map(drop)),
                1 => condition.lock().and_then(|mut guard| guard.wait()),
                2 => seats.acquire().map(|permit| permit.keep()),
                3 => queue.get().map(drop),
                4 => tasks.put(&1).and_then(|()| tasks.join()),
                5 => event.wait(),
                _ => meeting.wait().map(drop),
            }
        } else {
            match rng.below(9) {
                0 => lock.lock_or_repair_timeout(SHORT).map(drop),
                1 => condition
                    .lock_or_repair_timeout(SHORT)
                    .and_then(|(mut guard, _)| guard.wait_timeout(SHORT).map(drop)),
                2 => seats.acquire_timeout(SHORT).map(drop),
                3 => queue.put_timeout(&1, SHORT),
                4 => tasks.get_timeout(SHORT).and_then(|_| tasks.task_done()),
                5 => event.wait_timeout(SHORT),
                6 => calls.iter()?.try_for_each(|entry| entry.map(drop)),
                7 => {
                    let mut batch = manager.batch();
                    (0..rng.below(200)).for_each(|n| drop(batch.add(calls.later().insert(&n, &vec![1; 100]))));
                    batch.send().map(drop)
                }
                _ => calls.insert(&rng.below(50), &vec![0; rng.below(20_000) as usize]).map(drop),
            }
        };
        match waited {
            // Each is what one of the others may do to it.
            Err(error) if is_usual(&error) => Ok(()),
            other => other,
        }
    }

    /// What was there has gone with its server, and nothing that is there is taken for it.
    fn is_gone(&self, rng: &mut Rng) -> std::result::Result<(), String> {
        let stale = match rng.below(5) {
            0 => self.calls.len().map(|_| "the length"),
            1 => self.lock.try_lock().map(|_| "the lock"),
            2 => self.queue.try_get().map(|_| "an element"),
            3 => self.event.wait_timeout(SHORT).map(|()| "the event"),
            _ => self.manager.stats().map(|_| "figures"),
        };
        match stale {
            Err(error) if error.is_disconnected() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }
}

fn is_usual(error: &Error) -> bool {
    error.is_timeout()
        || error.is_would_block()
        || error.is_owner_died()
        || matches!(error, Error::Broken { .. } | Error::NoTask | Error::AlreadyLocked)
}

/// Calls one server after the other: until some time after the victim's end.
fn call(client: Client) {
    let Client { place, lane, seed } = client;
    let mut rng = Rng::new(seed);
    let (mut done, mut more, mut stale) = (0, AFTERWARDS, None::<Things>);
    while more > 0 && lane.flaw().is_none() {
        let manager = match Manager::connect(&place.address, place.key.clone()) {
            Ok(manager) => manager,
            Err(error) if is_absent(&error) => {
                std::thread::yield_now();
                continue;
            }
            Err(error) => return lane.complain(complain(&lane, "connect", &error)),
        };
        // There may be another server at the address, with other objects.
        if let Some(Err(text)) = stale.take().map(|things| things.is_gone(&mut rng)) {
            eprintln!("a client ({lane:?}) has got {text} of a server that is gone");
            return lane.complain(Flaw::Wrong);
        }
        let things = match Things::open(manager) {
            Ok(things) => things,
            Err(error) if error.is_disconnected() => continue,
            Err(error) => return lane.complain(complain(&lane, "find the objects", &error)),
        };
        loop {
            let over = lane.is_over();
            done += 1;
            lane.attempt(done);
            match things.ask(&mut rng, !over && done % 16 == 0) {
                Ok(()) => {
                    lane.acknowledge(done);
                    more -= u32::from(over && more > 0);
                    if more == 0 {
                        return;
                    }
                }
                Err(error) if error.is_disconnected() => break,
                Err(error) => return lane.complain(complain(&lane, "call", &error)),
            }
        }
        stale = Some(things);
    }
}

/// Two clients in another process and one here, in the middle of something, when the server goes; then another one comes to its place.
fn survive(round: &mut Round, place: &Place, victim: impl FnOnce(&mut Round) -> Process<()>) {
    let next = round.strike(|round| {
        let client = |round: &mut Round, lane: u64| Client {
            place: place.clone(),
            lane: round.lane(lane),
            seed: round.rng.next(),
        };
        let work = |clients: Vec<Client>| {
            std::thread::scope(|scope| clients.into_iter().for_each(|client| drop(scope.spawn(|| call(client)))));
        };
        let victim = victim(round);
        let others = vec![client(round, 1), client(round, 2)];
        let others: Process<()> = Builder::new().spawn(work, others).expect("the others start");
        let near = client(round, 3);
        let next = std::thread::scope(|scope| {
            scope.spawn(|| call(near));
            let _ = round.join(victim);
            round.end();
            start_next(round, place)
        });
        join_survivor(round, others);
        next
    });
    drop(next);
    let lanes = [1, 2, 3].map(|lane| round.lane(lane));
    judge_lanes(round, &lanes);
    round.messages(lanes.iter().map(Lane::acknowledged).sum());
}

/// A server, in either of the two ways.
#[expect(dead_code, reason = "each is there until it is dropped")]
enum Next {
    Started(Manager),
    Served(ipc_manager::Server),
}

/// As soon as the address is free.
fn start_next(round: &mut Round, place: &Place) -> Option<Next> {
    let builder = || Manager::builder().authkey(place.key.clone());
    let starts = round.rng.one_in(3);
    let mut problem = String::new();
    let mut next = None;
    crate::memory::within(Duration::from_secs(2), || {
        let made = match starts {
            true => builder().start(&place.address).map(Next::Started),
            false => builder().serve(&place.address).map(Next::Served),
        };
        match made {
            Ok(made) => next = Some(made),
            Err(error) => problem = format!("{error:?}"),
        }
        next.is_some()
    });
    if next.is_none() {
        round.flaw(Flaw::Wrong, format!("no other server can be started: {problem}"));
        // Nobody is to wait for it.
        [1, 2, 3].into_iter().for_each(|lane| round.lane(lane).complain(Flaw::Wrong));
    }
    next
}

fn draw(round: &mut Round, folder: &Folder) -> Place {
    let address = match round.rng.below(3) {
        0 => Address::unix(folder.file("socket")),
        _ => Address::abstract_name(unique_name()),
    };
    Place { address, key: round.rng.next().to_le_bytes().to_vec() }
}

/// The server is killed.
pub(crate) fn server(round: &mut Round) {
    let folder = Folder::new();
    let place = draw(round, &folder);
    let serve = |(place, lane): (Place, Lane)| {
        let server = Manager::serve(&place.address, place.key).expect("nobody else is there");
        lane.attempt(1);
        server.join();
    };
    let start = |round: &mut Round| -> Process<()> {
        round.victim().spawn(serve, (place.clone(), round.lane(0))).expect("the victim starts")
    };
    survive(round, &place, start);
    folder.judge_empty(round);
}

/// The process that has started the server is killed, and the server ends with it.
pub(crate) fn starter(round: &mut Round) {
    let folder = Folder::new();
    let place = draw(round, &folder);
    let start_and_call = |(place, client): (Place, Client)| {
        let manager = Manager::builder().authkey(place.key).start(&place.address).expect("nobody else is there");
        let mut rng = Rng::new(client.seed);
        let things = Things::open(manager).expect("the server is there");
        for n in 1.. {
            client.lane.attempt(n);
            things.ask(&mut rng, false).expect("the server is there");
        }
    };
    let start = |round: &mut Round| -> Process<()> {
        let client = Client { place: place.clone(), lane: round.lane(0), seed: round.rng.next() };
        round.victim().spawn(start_and_call, (place.clone(), client)).expect("the victim starts")
    };
    survive(round, &place, start);
    folder.judge_empty(round);
}
