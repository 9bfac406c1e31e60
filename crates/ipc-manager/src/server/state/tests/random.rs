use proptest::prelude::*;

use super::super::simulation::Simulation;

/// Connections come and go, and ask for this and that.
fn run(script: &[u8]) {
    let mut simulation = Simulation::new();
    let mut bytes = script.iter().copied();
    let mut connections = vec![simulation.enter(None)];
    while let Some(step) = bytes.next() {
        let connection = connections[usize::from(step / 16) % connections.len()];
        match step % 16 {
            0 => connections.push(simulation.enter(None)),
            1 => connections.push(simulation.enter(Some(connection))),
            2 => {
                simulation.leave(connection);
                if connections.iter().all(|connection| !simulation.is_open(*connection)) {
                    connections = vec![simulation.enter(None)];
                }
            }
            _ => drop(simulation.act(connection, &mut || bytes.next().unwrap_or(0))),
        }
    }
    simulation.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// What must be true is checked after every step.
    #[test]
    fn nothing_leaks_and_nobody_is_forgotten_whatever_is_asked_for(script in proptest::collection::vec(any::<u8>(), 0..600)) {
        run(&script);
    }

    #[test]
    fn no_bytes_do_harm(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let mut simulation = Simulation::new();
        for frame in frames {
            let connection = simulation.enter(None);
            simulation.frame(connection, &frame);
        }
        simulation.finish();
    }
}
