//! What clients who ask for nothing, and objects, cost an `ipc_manager` server.

use std::fs::read_to_string;

use ipc_core::Connection;
use ipc_manager::{Address, Manager, Value};
use ipc_pipe::duplex;
use serde::{Deserialize, Serialize};

use super::{Goal, Row};
use crate::failure::{Failure, Outcome};
use crate::fairness::allow_many_files;
use crate::groups::{MANAGER_IDLE, MANAGER_IDLE_THREADS, MANAGER_OBJECTS};
use crate::plan::Plan;

pub(crate) const ROWS: &[Row] = &[
    Row {
        group: &MANAGER_IDLE,
        name: "ipc-manager: Manager::connect",
        goal: Goal::Below(64.0),
        measure: |plan| Ok(census(plan)?.kibibytes_per_client),
    },
    Row {
        group: &MANAGER_IDLE_THREADS,
        name: "ipc-manager: Manager::serve",
        goal: Goal::Below(10.0),
        measure: |plan| Ok(census(plan)?.threads),
    },
    Row {
        group: &MANAGER_OBJECTS,
        name: "ipc-manager: Value<u64>",
        goal: Goal::Look,
        measure: |plan| Ok(census(plan)?.bytes_per_object),
    },
];

/// So many processes with so many clients each, every one a session of its own.
const PROCESSES: usize = 4;
const EACH: usize = 250;
const CLIENTS: usize = PROCESSES * EACH;
const OBJECTS: u64 = 100_000;
/// So many objects are asked for at once.
const TOGETHER: usize = 1_000;

const KEY: &[u8] = b"the key of the benchmark";
const NAME: &str = "benchmark";
const VALUE: u64 = 0xa5a5;

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Census {
    kibibytes_per_client: f64,
    bytes_per_object: f64,
    threads: f64,
}

/// What the server says of itself when it is asked, and where it is.
#[derive(Serialize, Deserialize)]
struct Told {
    address: Address,
    kibibytes: f64,
    threads: f64,
}

#[derive(Serialize, Deserialize)]
enum Work {
    Serve(Connection<Told, ()>),
    /// Clients that come, say that they have, and go.
    Visit(Connection<(), Address>),
    /// With the other ends of both.
    Count(Connection<(), Told>, Vec<Connection<Address, ()>>),
}

fn census(plan: &Plan) -> Outcome<Census> {
    let (server, serving) = duplex()?;
    let (mut work, mut visitors) = (vec![Work::Serve(serving)], Vec::new());
    for _ in 0..PROCESSES {
        let (ours, theirs) = duplex()?;
        visitors.push(ours);
        work.push(Work::Visit(theirs));
    }
    // First, as the others only see that it is gone when it finds a mistake.
    work.insert(0, Work::Count(server, visitors));
    let results = plan.all(
        |work: Work| match work {
            Work::Serve(asked) => serve(asked).map(|()| Census::default()),
            Work::Visit(told) => visit(told).map(|()| Census::default()),
            Work::Count(server, visitors) => count(server, visitors),
        },
        work,
    )?;
    results.first().copied().ok_or_else(|| Failure::new("nobody has counted"))
}

fn serve(mut asked: Connection<Told, ()>) -> Outcome<()> {
    allow_many_files()?;
    let server = Manager::serve("unix-abstract:", KEY)?;
    while asked.recv().is_ok() {
        let status = read_to_string("/proc/self/status")?;
        let (kibibytes, threads) = (number(&status, "VmRSS:")?, number(&status, "Threads:")?);
        asked.send(Told { address: server.address().clone(), kibibytes, threads })?;
    }
    Ok(())
}

/// The number after this name, proc(5).
fn number(status: &str, name: &str) -> Outcome<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|rest| rest.split_whitespace().next());
    Ok(word.ok_or_else(|| Failure::new(format!("the status of a process has no {name}")))?.parse()?)
}

fn visit(mut told: Connection<(), Address>) -> Outcome<()> {
    allow_many_files()?;
    let address = told.recv()?;
    let enter = || {
        let manager = Manager::builder().authkey(KEY).separate().connect(address.clone())?;
        let value: Value<u64> = manager.open(NAME)?;
        check(value.get()?, VALUE)?;
        Ok((manager, value))
    };
    let clients = (0..EACH).map(|_| enter()).collect::<Outcome<Vec<_>>>()?;
    told.send(())?;
    told.recv()?; // They may go.
    // None was thrown out meanwhile.
    clients.iter().try_for_each(|(_, value)| check(value.get()?, VALUE))?;
    Ok(told.send(())?)
}

fn count(mut server: Connection<(), Told>, mut visitors: Vec<Connection<Address, ()>>) -> Outcome<Census> {
    let mut ask = || {
        server.send(())?;
        Ok::<_, Failure>(server.recv()?)
    };
    let address = ask()?.address;
    let manager = Manager::connect(address.clone(), KEY)?;
    manager.publish(NAME, &manager.value(VALUE)?)?;

    let empty = ask()?;
    visitors.iter_mut().try_for_each(|visitor| visitor.send(address.clone()))?;
    visitors.iter_mut().try_for_each(|visitor| visitor.recv())?;
    let full = ask()?;
    let objects = (0..OBJECTS).map(|n| manager.value(n)).collect::<ipc_manager::Result<Vec<_>>>()?;
    let fuller = ask()?;

    let stats = manager.stats()?;
    let (clients, kept) = (stats.clients as usize, stats.objects.len() as u64);
    if (clients, kept) != (CLIENTS + 1, OBJECTS + 1) {
        return Err(Failure::new(format!("the server has {clients} clients and {kept} objects")));
    }
    for (objects, first) in objects.chunks(TOGETHER).zip((0..).step_by(TOGETHER)) {
        let mut batch = manager.batch();
        let pending: Vec<_> = objects.iter().map(|object| batch.add(object.later().get())).collect();
        let mut values = batch.send()?;
        pending.into_iter().zip(first..).try_for_each(|(it, n)| check(values.take(it)?, n))?;
    }
    visitors.iter_mut().try_for_each(|visitor| visitor.send(address.clone()))?;
    visitors.iter_mut().try_for_each(|visitor| visitor.recv())?;
    Ok(Census {
        kibibytes_per_client: (full.kibibytes - empty.kibibytes) / CLIENTS as f64,
        bytes_per_object: 1024.0 * (fuller.kibibytes - full.kibibytes) / OBJECTS as f64,
        threads: fuller.threads,
    })
}

fn check(is: u64, expected: u64) -> Outcome<()> {
    if is == expected { Ok(()) } else { Err(Failure::new(format!("the value is {is} instead of {expected}"))) }
}
