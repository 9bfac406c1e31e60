//! Servers and clients of which one is killed, from connecting to the last answer.

use ipc_core::{Builder, Process};
use ipc_tests::campaign::{Flaw, Round, VARIABLE};
use ipc_tests::{eventually, state};

use crate::folder::Folder;
use crate::permits::join_survivor;
use crate::socket::{Caller, Mistake, Server, Service, call, judge_calls, serve};

/// Where one is in the middle of becoming connected.
const INSIDE: [&str; 7] = [
    "accept.accepted",
    "handshake.challenged",
    "handshake.answered",
    "handshake.welcomed",
    "handshake.done",
    "connect.connected",
    "bind.bound",
];

fn note_inside(round: &mut Round) {
    if round.died_at().is_some_and(|point| INSIDE.contains(&point)) {
        round.inside();
    }
}

/// A server is killed, another one comes to its address, and the clients go on.
pub(crate) fn server(round: &mut Round) {
    server_with(round, Mistake::None);
}

pub(crate) fn server_with(round: &mut Round, mistake: Mistake) {
    let folder = Folder::new();
    let service = Service::draw(round, &folder);
    service.litter();
    round.strike(|round| {
        let victim = Server { mistake, ..Server::new(round, &service, 0) };
        let victim: Process<()> = round.victim().spawn(serve, victim).expect("the server starts");
        let other = Caller::new(round, &service, 1);
        let other: Process<()> = Builder::new().spawn(call, other).expect("the client starts");
        let near = Caller::new(round, &service, 2);
        let next = Server { clients: 2, mistake, ..Server::new(round, &service, 4) };
        std::thread::scope(|scope| {
            scope.spawn(|| call(near));
            let _ = round.join(victim);
            round.end();
            serve(next);
        });
        join_survivor(round, other);
    });
    note_inside(round);
    judge_calls(round, &[1, 2]);
    folder.judge_empty(round);
}

/// One of several clients is killed, and the server has nothing of it in the end.
pub(crate) fn client(round: &mut Round) {
    let folder = Folder::new();
    let service = Service::draw(round, &folder);
    client_of(round, &service, Mistake::None, &[]);
    folder.judge_empty(round);
}

/// The same, while others are stopped before they are in.
pub(crate) fn among_stopped(round: &mut Round) {
    let folder = Folder::new();
    let service = Service::draw(round, &folder);
    let points: &[&str] = if service.has_key() {
        &["connect.connected", "handshake.answered", "handshake.challenged", "handshake.welcomed", "handshake.done"]
    } else {
        &["connect.connected"]
    };
    let stopped: Vec<_> =
        (0..1 + round.rng.below(2)).map(|_| points[round.rng.below(points.len() as u64) as usize]).collect();
    client_of(round, &service, Mistake::None, &stopped);
    folder.judge_empty(round);
}

pub(crate) fn client_of(round: &mut Round, service: &Service, mistake: Mistake, stopped: &[&str]) {
    let server = Server { clients: 2, alone: true, mistake, ..Server::new(round, service, 4) };
    let server: Process<()> = Builder::new().spawn(serve, server).expect("the server starts");
    let stopped: Vec<Process<()>> = stopped
        .iter()
        .map(|point| {
            let builder = Builder::new().env(VARIABLE, format!("{point}:1:STOP"));
            builder.spawn(call, Caller::new(round, service, 3)).expect("the client starts")
        })
        .collect();
    for process in &stopped {
        eventually("a client stops itself", || state(process.pid()) == Some('T'));
    }
    let stopped = round.strike(|round| {
        let victim = Caller::new(round, service, 0);
        let victim: Process<()> = round.victim().spawn(call, victim).expect("the client starts");
        let other = Caller::new(round, service, 1);
        let other: Process<()> = Builder::new().spawn(call, other).expect("the client starts");
        let near = Caller::new(round, service, 2);
        std::thread::scope(|scope| {
            scope.spawn(|| call(near));
            let _ = round.join(victim);
            round.end();
        });
        join_survivor(round, other);
        for process in &stopped {
            process.kill().expect("it is ours");
        }
        join_survivor(round, server);
        stopped
    });
    for process in stopped {
        if process.join().is_ok() {
            round.flaw(Flaw::Wrong, "a client was to be stopped, and has come to its end");
        }
    }
    note_inside(round);
    judge_calls(round, &[0, 1, 2]);
}
