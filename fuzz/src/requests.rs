//! Connections of several processes to a manager's server, which ask for anything, in any order, and go. What must be true of the server is checked after
//! each step, by [`Simulation`].

use std::time::Duration;

use ipc_manager::simulation::Simulation;

use crate::Trace;
use crate::script::Script;

/// More make a run slow and find nothing new.
const CONNECTIONS: usize = 8;
const STEPS: usize = 200;

pub(crate) fn run(input: &[u8], trace: &mut Trace) {
    let mut script = Script::new(input);
    let mut simulation = Simulation::new();
    for _ in 0..STEPS {
        let Some(step) = script.step() else { break };
        let connections = simulation.connections();
        let Some(connection) = connections.get(usize::from(step / 16) % connections.len().max(1)).copied() else {
            simulation.enter(None);
            continue;
        };
        match step % 16 {
            0 | 1 if connections.len() < CONNECTIONS => {
                simulation.enter((step % 16 == 1).then_some(connection));
            }
            2 => simulation.leave(connection),
            3 => {
                let len = script.byte() % 64;
                let frame = script.take(len).to_vec();
                trace.note(simulation.frame(connection, &frame));
            }
            4 if script.byte() % 4 == 0 => {
                let stranger = simulation.connect();
                let len = script.byte() % 16;
                let frame = script.take(len).to_vec();
                trace.note(simulation.frame(stranger, &frame));
                simulation.leave(stranger);
            }
            5 => simulation.pass(Duration::from_secs(script.byte() as u64)),
            _ => trace.note(simulation.act(connection, &mut || script.byte() as u8)),
        }
    }
    simulation.finish();
}
