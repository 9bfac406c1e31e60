//! Campaigns: workers that are killed and stopped thousands of times, at random moments and at crash points, and a verdict on
//! what the survivors saw. ARCHITECTURE.md, "How to use the proving ground", tells how to write one.
//!
//! A [`Scenario`] is a function that runs one round: it starts workers with `Process::spawn`, one of them from
//! [`Round::victim`], and in [`Round::strike`] does what the survivors do. The campaign chooses when the victim dies, from a
//! seed; the [`Journal`] remembers what each worker has attempted and finished; after the round nothing may be left. Scenarios
//! with [`Scenario::control`] have a mistake on purpose, and the run fails if it is not caught.

mod board;
mod journal;
mod message;
mod plan;
mod report;
mod rng;
mod round;
mod supervisor;

pub use self::{
    journal::{Journal, Lane, Log},
    message::{Checker, Contents, Flaw, Items, Sizes},
    report::main,
    rng::Rng,
    round::{Round, STALL_LIMIT},
};

/// The variable that makes a process obey a crash point.
pub const VARIABLE: &str = "IPC_CRASH";

/// Something that is done again and again, while somebody is killed.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Which crate it is for; `--kills` is per crate.
    pub of: &'static str,
    /// For the command line and the table.
    pub name: &'static str,
    /// For `--list`.
    pub about: &'static str,
    /// Where the victim can be told to kill itself, and at the how many-th pass at most.
    pub points: &'static [(&'static str, u64)],
    /// One round.
    pub round: fn(&mut Round),
    /// What must be found in it, as it has a mistake on purpose.
    pub control: Option<Flaw>,
}

/// The names of all crash points; none if the program is built without them.
pub fn points() -> &'static [&'static str] {
    #[cfg(ipc_crash_points)]
    return ipc_core::crash::POINTS;
    #[cfg(not(ipc_crash_points))]
    &[]
}
