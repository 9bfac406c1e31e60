//! Clients and servers that are stopped for a while: nobody waits longer than they want to.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ipc_core::{Builder, Process};
use ipc_manager::{Barrier, Dict, Error, Lock, Manager, Queue, Result};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round, STALL_LIMIT, VARIABLE};
use ipc_tests::{eventually, state};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::manager::{Host, Place};
use crate::memory::within;

const TIMEOUT: Duration = Duration::from_millis(5);
/// How much later a call may end, if the server is stopped: so long it is given to take the request back.
const LATE: Duration = Duration::from_millis(100);
/// And as much more on a machine that has other things to do.
const AFTER_THAT: Duration = Duration::from_millis(50);
/// One of some calls is as quick as promised, whatever else the machine does.
const AT_ONCE: Duration = Duration::from_millis(5);
const TRIES: u32 = 20;

#[derive(Serialize, Deserialize)]
struct Worker {
    place: Place,
    lane: Lane,
    seed: u64,
}

struct Things {
    lock: Lock,
    queue: Queue<u64>,
    dict: Dict<u64, u64>,
}

impl Things {
    fn open(manager: &Manager) -> Result<Things> {
        Ok(Things { lock: manager.open("lock")?, queue: manager.open("queue")?, dict: manager.open("dict")? })
    }
}

/// Locks, puts, takes and changes something, for ever. Notes on its lane whether it may have the lock.
fn work(worker: Worker) {
    let things = Things::open(&worker.place.enter()).expect("the objects are there");
    let mut rng = Rng::new(worker.seed);
    for n in 1.. {
        worker.lane.attempt(n);
        worker.lane.receive(1);
        let guard = things.lock.lock().expect("nobody else dies");
        things.dict.insert(&0, &n).expect("the server is there");
        guard.unlock().expect("the server is there");
        worker.lane.receive(0);
        things.queue.put(&n).expect("the server is there");
        if rng.one_in(2) {
            things.queue.get().expect("there is one");
        }
    }
}

/// Calls of which each must end in the expected way, and one at least in time.
fn in_time(
    round: &mut Round,
    what: &str,
    (least, most): (Duration, Duration),
    expected: fn(&Result<()>) -> bool,
    call: impl Fn() -> Result<()>,
) {
    let mut quickest = Duration::MAX;
    for _ in 0..TRIES {
        let begin = Instant::now();
        let result = call();
        quickest = quickest.min(begin.elapsed());
        if !expected(&result) {
            return round.flaw(Flaw::Wrong, format!("{what} while another one is stopped: {result:?}"));
        }
        if quickest <= most + AT_ONCE {
            break;
        }
    }
    if quickest < least || quickest > most + AT_ONCE {
        round.flaw(Flaw::Wrong, format!("{what} took {quickest:?} at least"));
    }
}

fn fits(result: &Result<()>) -> bool {
    result.is_ok()
}

fn times_out(result: &Result<()>) -> bool {
    matches!(result, Err(Error::Timeout))
}

fn would_block(result: &Result<()>) -> bool {
    matches!(result, Err(Error::WouldBlock))
}

const NOW: (Duration, Duration) = (Duration::ZERO, Duration::ZERO);

/// Whoever is stopped holds up those who wait for what it has, no longer than they want to, and nobody else.
pub(crate) fn client(round: &mut Round) {
    let host = Host::new(round);
    host.publish("lock", host.manager.lock());
    host.publish("queue", host.manager.queue::<u64>());
    host.publish("dict", host.manager.dict::<u64, u64>());
    let things = Things::open(&host.manager).expect("they are there");
    let point = ["manager.asked", "manager.granted", "send.written", "recv.taken"][round.rng.below(4) as usize];
    let plan = format!("{point}:{}:STOP", 4 + round.rng.below(40));
    let worker = Worker { place: host.place.clone(), lane: round.lane(0), seed: round.rng.next() };
    let victim: Process<()> = Builder::new().env(VARIABLE, plan).spawn(work, worker).expect("the victim starts");
    eventually("the victim stops itself", || state(victim.pid()) == Some('T'));
    // What it has sent has been read when others have been answered some times.
    let is_locked = |_| things.lock.is_locked().expect("the server is there");
    let has_lock = (0..20).map(is_locked).fold(false, |_, now| now);
    if has_lock {
        let Things { lock, .. } = &things;
        in_time(round, "try_lock", NOW, would_block, || lock.try_lock().map(drop));
        in_time(round, "lock_timeout", (TIMEOUT, TIMEOUT), times_out, || lock.lock_timeout(TIMEOUT).map(drop));
        round.inside();
    } else {
        in_time(round, "try_lock", NOW, fits, || things.lock.try_lock().map(drop));
    }
    let Things { queue, dict, .. } = &things;
    in_time(round, "insert", NOW, fits, || dict.insert(&1, &1).map(drop));
    in_time(round, "put and get", NOW, fits, || queue.put(&0).and_then(|()| queue.get()).map(drop));
    let goes_on = round.rng.one_in(3);
    if goes_on {
        // As if nothing had been.
        kill(Pid::from_raw(victim.pid() as i32), Signal::SIGCONT).expect("it is ours");
        let n = round.lane(0).attempted();
        if !within(STALL_LIMIT, || round.lane(0).attempted() > n) {
            round.flaw(Flaw::Wrong, "who was stopped does not go on");
        }
    }
    victim.kill().expect("it is ours");
    let begin = Instant::now();
    let _ = round.join(victim);
    // It may have had the lock without knowing of it.
    let must_be_told = has_lock && !goes_on && point == "manager.asked";
    let cannot_be_told = round.lane(0).received() == 0 || !goes_on && (!has_lock || point == "manager.granted");
    match things.lock.lock_or_repair().map(|(_, died)| died) {
        Ok(true) if cannot_be_told => {
            round.flaw(Flaw::Wrong, "told of a death with the lock, which the victim did not have")
        }
        Ok(false) if must_be_told => round.flaw(Flaw::Untold, "the victim died with the lock"),
        Ok(_) => {}
        Err(error) => round.flaw(Flaw::Wrong, format!("cannot lock: {error:?}")),
    }
    if begin.elapsed() > STALL_LIMIT {
        round.flaw(Flaw::Wrong, format!("the survivor was held up for {:?}", begin.elapsed()));
    }
    round.messages(1);
    drop(things);
    host.judge_empty(round);
}

/// The server is stopped: calls end when their time has passed, and all is as before when it goes on.
pub(crate) fn server(round: &mut Round) {
    let place = Place {
        address: ipc_manager::Address::abstract_name(ipc_tests::unique_name()),
        key: round.rng.next().to_le_bytes().to_vec(),
    };
    let serve = |place: Place| Manager::serve(&place.address, place.key).expect("nobody else is there").join();
    let victim: Process<()> = Builder::new().spawn(serve, place.clone()).expect("the server starts");
    let mut manager = None;
    eventually("the server is there", || {
        manager = Manager::connect(&place.address, place.key.clone()).ok();
        manager.is_some()
    });
    let manager = manager.expect("it was connected");
    let (lock, queue, dict) = (manager.lock(), manager.queue::<u64>(), manager.dict::<u64, u64>());
    let (lock, queue, dict) = (lock.expect("a lock"), queue.expect("a queue"), dict.expect("a dict"));
    queue.put(&1).expect("there is room");
    // At times the only connection is one that waits, so that a call needs another one.
    let meeting = manager.barrier(2).expect("a barrier");
    manager.publish("meeting", &meeting).expect("a new name");
    let waits = round.rng.one_in(2).then(|| {
        let observer = place.enter();
        let seen: Barrier = observer.open("meeting").expect("it is there");
        let waiter = std::thread::spawn(move || meeting.wait());
        eventually("somebody waits", || seen.waiting().expect("the server is there") == 1);
        (waiter, seen)
    });
    let signal = |signal| kill(Pid::from_raw(victim.pid() as i32), signal).expect("it is ours");
    signal(Signal::SIGSTOP);
    eventually("the server stops", || state(victim.pid()) == Some('T'));
    manager.set_call_timeout(TIMEOUT);
    let late = (TIMEOUT, TIMEOUT + LATE + AFTER_THAT);
    let (now, puts) = ((TIMEOUT, TIMEOUT), Cell::new(0));
    for _ in 0..1 + round.rng.below(2) {
        match round.rng.below(16) {
            0 => in_time(round, "lock_timeout", late, times_out, || lock.lock_timeout(TIMEOUT).map(drop)),
            1 => in_time(round, "get_timeout", late, times_out, || queue.get_timeout(TIMEOUT).map(drop)),
            2 => in_time(round, "put_timeout", late, times_out, || {
                puts.set(puts.get() + 1);
                queue.put_timeout(&2, TIMEOUT)
            }),
            3..6 => in_time(round, "try_get", now, times_out, || queue.try_get().map(drop)),
            6..9 => in_time(round, "try_lock", now, times_out, || lock.try_lock().map(drop)),
            _ => in_time(round, "insert", now, times_out, || dict.insert(&1, &1).map(drop)),
        }
    }
    round.inside();
    if round.rng.one_in(2) {
        signal(Signal::SIGCONT);
        manager.set_call_timeout(STALL_LIMIT);
        // What was asked for in vain was not given, or was given back.
        let first = queue.get_timeout(STALL_LIMIT);
        if !matches!(first, Ok(1)) {
            round.flaw(Flaw::Lost, format!("the first in the queue is {first:?}"));
        }
        // What was not put in time may have been put later, and nothing else.
        let rest: Vec<_> = std::iter::from_fn(|| queue.try_get().ok()).collect();
        if rest.len() > puts.get() || rest.iter().any(|n| *n != 2) {
            round.flaw(Flaw::Duplicate, format!("{} were put, and there are {rest:?}", puts.get()));
        }
        match lock.lock_timeout(STALL_LIMIT) {
            Ok(guard) => drop(guard),
            Err(error) => round.flaw(Flaw::Wrong, format!("nobody has the lock, but it cannot be taken: {error:?}")),
        }
        if let Err(error) = dict.insert(&1, &2) {
            round.flaw(Flaw::Wrong, format!("the server does not go on: {error:?}"));
        }
    }
    victim.kill().expect("it is ours");
    let _ = round.join(victim);
    round.messages(1);
    if let Some((waiter, seen)) = waits {
        let waited = waiter.join().expect("it does not panic");
        if !matches!(waited, Err(Error::Disconnected)) {
            round.flaw(Flaw::Wrong, format!("the server is gone, and who waits is told {waited:?}"));
        }
        drop(seen);
    }
    for call in [dict.len().map(drop), lock.lock().map(drop), queue.get().map(drop)] {
        if !call.as_ref().is_err_and(Error::is_disconnected) {
            round.flaw(Flaw::Wrong, format!("the server is gone, and a call says {call:?}"));
        }
    }
}
