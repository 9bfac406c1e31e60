//! std's `Command` with this very program, which returns from `main` at once: what any process costs that is started from a file.

use std::hint::black_box;
use std::process::Command;

use super::{Goal, Row};
use crate::failure::{Failure, Outcome};
use crate::groups::{SPAWN, SPAWN_BIG};
use crate::plan::Plan;
use crate::window::Window;

pub(crate) const ROWS: &[Row] = &[
    Row { group: &SPAWN, name: "Command of this program, wait", goal: Goal::Reference, measure: small_parent },
    Row { group: &SPAWN_BIG, name: "Command of this program, wait", goal: Goal::Reference, measure: big_parent },
];

/// The argument with which it does.
pub(crate) const RETURN_AT_ONCE: &str = "return-at-once";

fn small_parent(plan: &Plan) -> Outcome<f64> {
    plan.alone(start_many)
}

fn big_parent(plan: &Plan) -> Outcome<f64> {
    plan.alone(|window: Window| {
        let _memory = big_memory();
        start_many(window)
    })
}

fn start_many(window: Window) -> Outcome<f64> {
    let timed = window.time(1, || {
        let status = Command::new("/proc/self/exe").arg(RETURN_AT_ONCE).status()?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("the process ended with {status}"))) }
    })?;
    Ok(timed.microseconds_each())
}

/// What a process holds that has loaded a data set.
pub(super) fn big_memory() -> Vec<u8> {
    black_box(vec![1; 512 << 20])
}
