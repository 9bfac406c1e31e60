//! Scopes that remove names: whoever is killed, their process or their watcher, a living name stays and no other does.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use ipc_core::{Child, Process, active_children};
use ipc_shm::{Ownership, Scope, SharedMemory};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round, STALL_LIMIT, VARIABLE};
use ipc_tests::{children, unique_name};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::memory::{check, create, exists, fill, judge_left, keeps_name, open, size, take_over, within};
use crate::names::judge_workers;

/// How many names a scope gets at most; there is one more to try.
const NAMES: usize = 6;

#[derive(Serialize, Deserialize)]
struct Worker {
    names: Vec<String>,
    lane: Lane,
    seed: u64,
}

/// Makes names in scopes, and drops them in one order or the other, until it is killed.
fn use_scopes(worker: &Worker, mut between: impl FnMut(&mut Scope, &mut Rng)) -> Result<(), Flaw> {
    let mut rng = Rng::new(worker.seed);
    for n in 1.. {
        worker.lane.attempt(n);
        let mut scope = Scope::new().expect("the watcher starts");
        let watcher = own_watcher();
        let mut memories = Vec::new();
        for name in &worker.names[..1 + rng.below(NAMES as u64) as usize] {
            let seed = rng.next();
            let memory = scope.create(name, size(seed)).expect("nobody else makes it");
            fill(&memory, seed)?;
            keeps_name(&memory)?;
            memories.push(memory);
            if rng.one_in(8) {
                memories.pop();
            }
        }
        between(&mut scope, &mut rng);
        if rng.one_in(2) {
            memories.clear();
        }
        drop(scope);
        if worker.names.iter().any(|name| exists(name)) {
            return Err(Flaw::Left);
        }
        // Killed at a point of its own: so does this process die there, as the campaign knows only this one.
        if watcher.exit_status().and_then(|status| status.signal()) == Some(libc::SIGKILL) && obeys_watcher() {
            let _ = raise(Signal::SIGKILL);
        }
        worker.lane.acknowledge(n);
    }
    Ok(())
}

/// The watcher of the only scope that this process has.
pub(crate) fn own_watcher() -> Child {
    active_children().into_iter().find(|child| child.name() == "ipc-names").expect("it runs")
}

fn obeys_watcher() -> bool {
    env::var(VARIABLE).is_ok_and(|plan| plan.starts_with("names.watcher"))
}

fn make_scopes(worker: Worker) {
    let spin = |_: &mut Scope, rng: &mut Rng| rng.spin(100_000);
    if let Err(flaw) = use_scopes(&worker, spin) {
        worker.lane.complain(flaw);
    }
}

/// The same, with watchers that are killed, and without an end of the scope.
fn lose_watchers(worker: Worker) {
    let lose = |scope: &mut Scope, rng: &mut Rng| match rng.below(3) {
        _ if obeys_watcher() => {}
        0 => {
            own_watcher().kill().expect("it is ours");
            // Without a watcher it takes no more names, or has not noticed yet, but forgets none.
            let _ = scope.create(&worker.names[NAMES], size(0));
        }
        1 => loop {
            std::thread::park();
        },
        _ => {}
    };
    if let Err(flaw) = use_scopes(&worker, lose) {
        worker.lane.complain(flaw);
    }
}

/// Opens what there is, until the victim has ended; returns what it has then.
fn open_meanwhile(round: &mut Round, victim: Process<()>, names: &[String]) -> Vec<SharedMemory> {
    let mut rng = round.rng.fork();
    let mut held = Vec::new();
    while victim.is_alive() {
        match open(&names[rng.below(names.len() as u64) as usize], &mut rng) {
            Ok(memory) => held.extend(memory),
            Err(flaw) => round.flaw(flaw, "as it was opened"),
        }
        if held.len() > 2 {
            held.remove(0);
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    let _ = round.join(victim);
    held
}

/// The processes that others have left to this one: watchers.
pub(crate) fn watchers() -> Vec<(u32, char)> {
    children(std::process::id()).into_iter().filter(|(_, state)| *state != 'Z').collect()
}

/// Lets those go on that were stopped: one may just be at the name that is wanted.
pub(crate) fn wake_watchers() {
    for (pid, _) in watchers().into_iter().filter(|(_, state)| *state == 'T') {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGCONT);
    }
}

/// Who sees to the names when their process was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The watcher.
    Watched,
    /// Nobody, if the watcher was killed, too; or later, if it was stopped.
    Unwatched,
    /// Nobody, as there is none.
    Forgotten,
}

/// Kills the process with a scope, while it does `work`, and looks what becomes of the names.
fn end_of<F>(round: &mut Round, work: F, ending: Ending)
where
    F: FnOnce(Worker) + Copy + Send + 'static,
{
    let names: Vec<_> = (0..=NAMES).map(|_| unique_name()).collect();
    let (held, taken) = round.strike(|round| {
        let worker = Worker { names: names.clone(), lane: round.lane(0), seed: round.rng.next() };
        let victim = round.victim().spawn(work, worker).expect("the victim starts");
        let mut held = open_meanwhile(round, victim, &names);
        if ending != Ending::Watched {
            held.clear(); // else they would be in use
        }
        let count = round.rng.below(NAMES as u64 + 1) as usize;
        let taken = names[..count].iter().filter_map(|name| take_over(round, name, wake_watchers)).collect::<Vec<_>>();
        let limit = if ending == Ending::Watched { STALL_LIMIT } else { STALL_LIMIT / 8 };
        if ending != Ending::Unwatched && !within(limit, || names[count..].iter().all(|name| !exists(name))) {
            round.flaw(Flaw::Left, "names of a process that is dead");
        }
        (held, taken)
    });
    round.messages(round.lane(0).acknowledged());
    judge_workers(round);
    let ended = within(STALL_LIMIT, || {
        wake_watchers();
        watchers().is_empty()
    });
    if !ended {
        round.flaw(Flaw::Left, "a watcher does not end");
    }
    for memory in &taken {
        if let Err(flaw) = keeps_name(memory) {
            round.flaw(flaw, "a living name was removed with those of the dead");
        }
    }
    if let Some(flaw) = held.iter().find_map(|memory| check(memory).err()) {
        round.flaw(flaw, "memory whose name was removed");
    }
    drop((held, taken));
    names.iter().for_each(|name| judge_left(round, name));
}

/// The process with the scope is killed: the names go, also those of memory that somebody has.
pub(crate) fn process(round: &mut Round) {
    end_of(round, make_scopes, Ending::Watched);
}

/// The watcher is killed: the names go with the scope, or, if that is killed as well, are recognised.
pub(crate) fn watcher(round: &mut Round) {
    end_of(round, lose_watchers, Ending::Unwatched);
}

/// A process without a scope leaves its names.
pub(crate) fn none(round: &mut Round) {
    let work = |worker: Worker| {
        let mut rng = Rng::new(worker.seed);
        let made = worker.names.iter().map(|name| create(name, rng.next(), Ownership::Creator));
        let _memories: Vec<_> = made.collect();
        worker.lane.attempt(1);
        loop {
            std::thread::park();
        }
    };
    end_of(round, work, Ending::Forgotten);
}
