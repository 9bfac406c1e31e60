//! Ours: `Process::spawn` with an argument and a result.

use ipc_core::Process;

use super::command::big_memory;
use super::{Goal, Row};
use crate::failure::{Failure, Outcome};
use crate::groups::{SPAWN, SPAWN_BIG};
use crate::plan::Plan;
use crate::window::Window;

pub(crate) const ROWS: &[Row] = &[
    Row { group: &SPAWN, name: "Process::spawn, join", goal: Goal::AtMost(1.3), measure: small_parent },
    Row { group: &SPAWN_BIG, name: "Process::spawn, join", goal: Goal::AtMost(1.3), measure: big_parent },
];

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
    let mut n = 0;
    let timed = window.time(1, || {
        n += 1;
        let child = Process::spawn(|(n, text): (u64, String)| (n + 1, text), (n, "an argument".to_string()))?;
        match child.join()? {
            (m, text) if m == n + 1 && text == "an argument" => Ok(()),
            other => Err(Failure::new(format!("process {n} returned {other:?}"))),
        }
    })?;
    Ok(timed.microseconds_each())
}
