//! Kills workers thousands of times; `cargo xtask test-all --only kills` builds and runs it, `--list` names the scenarios.
#![forbid(unsafe_code)]

mod controls;
mod handles;
mod pipes;
mod processes;

use std::process::ExitCode;

use ipc_tests::campaign::{self, Flaw, Scenario};

const WRITING: &[(&str, u64)] = &[("send.encoded", 300), ("send.part", 8), ("send.written", 100)];
const READING: &[(&str, u64)] = &[("recv.bytes", 25), ("recv.taken", 300)];
const HANDING: &[(&str, u64)] = &[
    ("send.packet", 3),
    ("end.encoded", 6),
    ("send.encoded", 30),
    ("end.sent", 6),
    ("send.part", 4),
    ("send.written", 30),
];
const TAKING: &[(&str, u64)] = &[("recv.descriptors", 20), ("end.received", 6), ("recv.bytes", 15), ("recv.taken", 20)];
const CHILD: &[(&str, u64)] = &[
    ("child.begun", 1),
    ("child.before-setup", 1),
    ("child.after-setup", 1),
    ("child.before-arguments", 1),
    ("child.after-arguments", 1),
    ("child.before-report", 1),
    ("child.after-report", 1),
    ("recv.descriptors", 2),
    ("recv.taken", 2),
    ("recv.bytes", 4),
    ("send.part", 3),
    ("send.packet", 1),
    ("send.written", 1),
];
const PARENT: &[(&str, u64)] = &[
    ("spawn.encoded", 5),
    ("spawn.started", 5),
    ("spawn.watched", 5),
    ("spawn.handed-over", 5),
    ("join.waiting", 5),
    ("join.ended", 5),
    ("join.reported", 4),
    ("reap.reaped", 5),
    ("reap.detached", 3),
    ("send.packet", 3),
    ("send.part", 2),
];

const fn real(
    name: &'static str,
    about: &'static str,
    points: &'static [(&'static str, u64)],
    round: fn(&mut campaign::Round),
) -> Scenario {
    Scenario { name, about, points, round, control: None }
}

const fn control(name: &'static str, about: &'static str, flaw: Flaw, round: fn(&mut campaign::Round)) -> Scenario {
    Scenario { name, about, points: &[("send.encoded", 40)], round, control: Some(flaw) }
}

const SCENARIOS: &[Scenario] = &[
    real("writer", "killed while it sends small messages", WRITING, |round| pipes::writer(round, false)),
    real("writer-large", "killed while it sends messages of up to 1 MiB", WRITING, |round| pipes::writer(round, true)),
    real("reader", "killed while it receives small messages", READING, |round| pipes::reader(round, false)),
    real("reader-large", "killed while it receives messages of up to 1 MiB", READING, |round| {
        pipes::reader(round, true)
    }),
    real("halves-sender", "killed with the sending half, another process has the other", WRITING, |round| {
        pipes::halves(round, true);
    }),
    real("halves-receiver", "killed with the receiving half, another process has the other", READING, |round| {
        pipes::halves(round, false);
    }),
    real("handles-sender", "killed while it sends 1 to 300 handles", HANDING, handles::sender),
    real("handles-receiver", "killed while it receives 1 to 300 handles", TAKING, handles::receiver),
    real("child", "killed between its start and its report", CHILD, processes::child),
    real("parent", "killed while it spawns and joins; its daemons end with it", PARENT, processes::parent),
    control("control-lost", "a writer acknowledges before it sends", Flaw::Lost, controls::lost),
    control("control-duplicate", "a writer sends twice", Flaw::Duplicate, controls::duplicate),
    control("control-corrupt", "a message has a wrong byte", Flaw::Corrupt, controls::corrupt),
    control("control-hang", "a worker never ends", Flaw::Hang, controls::hang),
    control("control-child", "a worker leaves a child", Flaw::Left, controls::child),
    control("control-descriptor", "a survivor leaves a descriptor", Flaw::Left, controls::descriptor),
];

fn main() -> ExitCode {
    campaign::main(|| SCENARIOS)
}
