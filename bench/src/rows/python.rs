//! Python's `multiprocessing`, which times itself: what a call costs there, its interpreter included.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use super::{Goal, Row};
use crate::failure::{Failure, Outcome};
use crate::groups::{
    LOCK, LOCK_CONTENDED, MANAGER_GET, QUEUE_1_1, SEGMENTS, SEMAPHORE, SOCKET_CONNECT, SOCKET_PING_PONG,
    SOCKET_PING_PONG_TCP, VALUE,
};
use crate::plan::{Plan, on_cpu};

pub(super) const QUEUE: &str = "Python: Queue of bytes";
pub(super) const MANAGER: &str = "Python: Manager().dict().get";
const ECHO: &str = "Python: send_bytes, recv_bytes";

pub(crate) const ROWS: &[Row] = &[
    Row { group: &LOCK, name: "Python: Lock", goal: Goal::Look, measure: |plan| ask("lock", plan) },
    Row { group: &SEMAPHORE, name: "Python: Semaphore", goal: Goal::Look, measure: |plan| ask("semaphore", plan) },
    Row { group: &LOCK_CONTENDED, name: "Python: Lock", goal: Goal::Look, measure: |plan| ask("contended", plan) },
    Row {
        group: &VALUE,
        name: "Python: Value('Q').value += 1 with its lock",
        goal: Goal::Look,
        measure: |plan| ask("value", plan),
    },
    Row {
        group: &SEGMENTS,
        name: "Python: SharedMemory, close, unlink",
        goal: Goal::Look,
        measure: |plan| ask("segment", plan),
    },
    Row { group: &QUEUE_1_1, name: QUEUE, goal: Goal::Look, measure: |plan| ask("queue", plan) },
    Row { group: &SOCKET_PING_PONG, name: ECHO, goal: Goal::Look, measure: |plan| ask("unix", plan) },
    Row { group: &SOCKET_PING_PONG_TCP, name: ECHO, goal: Goal::Look, measure: |plan| ask("tcp", plan) },
    Row {
        group: &SOCKET_CONNECT,
        name: "Python: Listener, Client, with a key",
        goal: Goal::Look,
        measure: |plan| ask("visitors", plan),
    },
    Row { group: &MANAGER_GET, name: MANAGER, goal: Goal::Look, measure: |plan| ask("manager", plan) },
    Row {
        group: &MANAGER_GET,
        name: "Python: Manager().dict().get, both on one CPU",
        goal: Goal::Look,
        measure: |plan| ask("manager", &plan.on_one_cpu()),
    },
];

const SCRIPT: &str = include_str!("python.py");

fn ask(what: &str, plan: &Plan) -> Outcome<f64> {
    ask_script(SCRIPT, what, plan)
}

/// Runs a script, which gets what to measure, how long, and the peer's processor, if it is to have a certain one.
pub(super) fn ask_script(script: &str, what: &str, plan: &Plan) -> Outcome<f64> {
    let mut command = Command::new("python3");
    command.args(["-I", "-c", script, what]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.args([plan.window.warm_up, plan.window.length].map(|time| time.as_nanos().to_string()));
    command.args(plan.cpus.map(|(_, peer)| peer.to_string()));
    let child = match on_cpu(plan.cpus.map(|cpus| cpus.0), || Ok::<_, Failure>(command.spawn()))? {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Failure::missing("there is no python3")),
        child => child?,
    };
    let output = child.wait_with_output()?;
    match output.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?),
        // What a shell says, and so pyenv's script of this name.
        Some(127) => Err(Failure::missing("there is no python3")),
        // What a script of ours says if there is nothing to measure.
        Some(69) => Err(Failure::missing(String::from_utf8_lossy(&output.stderr).trim())),
        _ => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            Err(Failure::new(format!("python3: {}: {}", output.status, complaint.lines().last().unwrap_or_default())))
        }
    }
}
