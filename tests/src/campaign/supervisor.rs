//! The process that runs the rounds of a scenario, and the one that watches whether they end.

use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::time::{Duration, Instant};

use ipc_core::{Builder, JoinError};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Scenario;
use super::board::Board;
use super::journal::Journal;
use super::message::Flaw;
use super::round::Round;
use crate::{Holdings, SETTLE, children, stacks};

/// A round that takes longer hangs: usually it takes 10 ms.
const ROUND_LIMIT: Duration = Duration::from_secs(20);
/// The same for controls, which hang on purpose, or wait for a second in vain.
const CONTROL_LIMIT: Duration = Duration::from_secs(3);
/// How long a control may take to tidy up, which it does not.
const CONTROL_SETTLE: Duration = Duration::from_millis(300);
/// A scenario with so many flaws is given up: the first ones tell what there is to tell.
const ENOUGH: u64 = 5;
/// Rounds in which nobody is killed, as the victim was quicker, do not count; but not for ever.
const ROUNDS_PER_KILL: u64 = 3;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) seed: u64,
    pub(super) kills: u64,
    /// The first round.
    pub(super) from: u64,
}

/// Runs a scenario in a process of its own, and starts another one behind a round that hangs.
pub(super) fn watch<F>(scenarios: F, index: usize, order: Order) -> Board
where
    F: FnOnce() -> &'static [Scenario] + Copy + Send + 'static,
{
    fn body<F: FnOnce() -> &'static [Scenario] + Copy + Send + 'static>(
        scenarios: F,
    ) -> impl FnOnce((Journal, usize, Order)) + Copy + Send + 'static {
        move |(board, index, order)| supervise(&scenarios()[index], &Board(board), order)
    }
    let scenario = &scenarios()[index];
    let board = Board(Journal::create());
    let limit = if scenario.control.is_some() { CONTROL_LIMIT } else { ROUND_LIMIT };
    let mut from = order.from;
    while let Some(left) = order.kills.checked_sub(board.kills()).filter(|left| *left > 0) {
        let arguments = (board.0.share(), index, Order { from, kills: left, ..order });
        board.begin(from);
        // No daemon: the thread that such a process has would be counted as left behind.
        let builder = Builder::new().name("supervisor");
        let mut supervisor = builder.spawn(body(scenarios), arguments).expect("a process");
        let mut since = (from, Instant::now());
        let problem = loop {
            match supervisor.join_timeout(limit / 10) {
                Ok(()) => return board,
                Err(JoinError::Timeout) if board.round() != since.0 => since = (board.round(), Instant::now()),
                Err(JoinError::Timeout) if since.1.elapsed() < limit => {}
                Err(JoinError::Timeout) => {
                    if scenario.control.is_none() {
                        let (name, round, stacks) = (scenario.name, board.round(), stacks(supervisor.pid()));
                        println!("{name}: no end of round {round}\n{stacks}  {}", again(scenario, order, round));
                    }
                    end_all(supervisor.pid());
                    let _ = supervisor.join();
                    break Flaw::Hang;
                }
                Err(error) => {
                    println!("{}: the supervisor of round {}: {error}", scenario.name, board.round());
                    break Flaw::Wrong;
                }
            }
        };
        board.flaw(problem);
        from = board.round() + 1;
        if board.all_flaws() >= ENOUGH || scenario.control.is_some() {
            break;
        }
    }
    board
}

/// The command that repeats a round.
fn again(scenario: &Scenario, order: Order, round: u64) -> String {
    format!("again: campaign --scenario {} --kills 1 --seed {} --from {round}", scenario.name, order.seed)
}

/// Ends a process and its descendants, stopped ones too.
fn end_all(pid: u32) {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        all.extend(children(pid).into_iter().map(|(child, _)| child));
        next += 1;
    }
    for pid in all {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
    }
}

/// The body of the supervisor: round after round.
fn supervise(scenario: &Scenario, board: &Board, order: Order) {
    // The children of a worker that is killed become this process's, so that none can escape the count.
    nix::sys::prctl::set_child_subreaper(true).expect("Linux has subreapers");
    // What goes wrong is told once, by the flaw; the workers' panics are printed by themselves.
    let journal = Journal::create();
    let target = board.kills() + order.kills;
    let mut before = Holdings::of(process::id());
    let last = order.from + order.kills * ROUNDS_PER_KILL + 20;
    for number in order.from..last {
        board.begin(number);
        let mut round = Round::new(scenario, order.seed, number, journal.share());
        if panic::catch_unwind(AssertUnwindSafe(|| (scenario.round)(&mut round))).is_err() {
            round.flaw(Flaw::Wrong, "the scenario panicked, see above");
        }
        let left = tidy(scenario, &mut round, &before);
        board.enter(&round);
        if scenario.control.is_none() {
            for (flaw, text) in &round.flaws {
                let (name, seed, plan) = (scenario.name, order.seed, round.plan());
                println!("{name}: {}: {text}\n  round {number} of seed {seed}, {plan}", flaw.name());
                println!("  {}", again(scenario, order, number));
            }
        }
        drop(round);
        // What else a control's mistake leads to is no reason to give it up.
        let is_enough = match scenario.control {
            Some(flaw) => board.flaws(flaw) > 0,
            None => board.all_flaws() >= ENOUGH,
        };
        if board.kills() >= target || is_enough {
            return;
        }
        if left {
            before = Holdings::of(process::id());
        }
    }
}

/// Waits until nothing of the round is left, and makes it a flaw if that does not come.
fn tidy(scenario: &Scenario, round: &mut Round, before: &Holdings) -> bool {
    let settle = if scenario.control.is_some() { CONTROL_SETTLE } else { SETTLE };
    let end = Instant::now() + settle;
    loop {
        let has_children = reap();
        let mut left = Holdings::of(process::id()).beyond(before);
        // The round itself still holds its share of the journal.
        left.retain(|thing| !thing.contains("memfd:campaign"));
        if !has_children && left.is_empty() {
            return false;
        }
        if Instant::now() > end {
            round.flaw(Flaw::Left, format!("left behind: {left:?}"));
            children(process::id()).into_iter().for_each(|(child, _)| end_all(child));
            while reap() {
                std::thread::yield_now();
            }
            return true;
        }
        std::thread::yield_now();
    }
}

/// Takes the exit status of those that have ended; whether there is still a child.
fn reap() -> bool {
    loop {
        match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT) {
            Err(Errno::ECHILD) => return false,
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => drop(waitpid(pid, None)),
            _ => return true,
        }
    }
}
