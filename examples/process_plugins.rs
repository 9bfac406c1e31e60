//! A host for plug-ins that nobody trusts: each runs in a process of its own, and is called over a pipe, within a time limit. One works, one
//! panics, one aborts, one hangs, and one swallows answers. A plug-in that has failed is started again, up to a limit. `JoinError` tells the host
//! what happened: after a panic it does not try again, as the same input gives the same panic. It comes to the end of all requests.
//!
//! In Python a `Pool` waits for ever for the result of a worker that aborts, `Connection.recv` has no time limit, and when a
//! `Process` has raised an exception, its parent learns that its exit code is 1.
#![forbid(unsafe_code)]

use std::time::Duration;
use std::{panic, process, thread};

use ipc_pipe::{Builder, Connection, Error, JoinError, Process, duplex};
use serde::{Deserialize, Serialize};

/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(2);
/// A plug-in that has failed so often is not started again.
const FAILURES: usize = 4;

/// What can be asked of a plug-in.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Request {
    Word(String),
    Number(u32),
}

/// What it answers; it may also refuse.
type Answer = Result<String, String>;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Plugin {
    Shout,
    Initial,
    Half,
    Dream,
    Forget,
}

/// Runs in the plug-in's process until the host hangs up.
fn serve((plugin, mut host): (Plugin, Connection<Answer, Request>)) {
    panic::set_hook(Box::new(|_| ())); // so that a panic is told by the host only
    let mut calls = 0;
    while let Ok(request) = host.recv() {
        calls += 1;
        let answer = match (plugin, request) {
            (Plugin::Half, Request::Number(n)) if n % 2 == 1 => process::abort(),
            (Plugin::Half, Request::Number(n)) => Ok((n / 2).to_string()),
            (Plugin::Half, Request::Word(_)) => Err("not a number".to_string()),
            (Plugin::Initial, Request::Number(_)) => panic!("numbers have no letters"),
            (Plugin::Initial, Request::Word(word)) => Ok(word.chars().take(1).collect()),
            (Plugin::Dream, Request::Word(word)) if word == "fig" => loop {
                thread::park();
            },
            (Plugin::Forget, _) if calls == 4 => continue,
            (Plugin::Shout | Plugin::Dream | Plugin::Forget, Request::Word(word)) => Ok(word.to_uppercase()),
            (Plugin::Shout | Plugin::Dream | Plugin::Forget, Request::Number(n)) => Ok(format!("{n}!")),
        };
        if host.send(answer).is_err() {
            return;
        }
    }
}

/// Why there is no answer.
enum Failure {
    /// The process has ended.
    Ended(JoinError),
    /// It still ran, and was killed.
    Killed(Error),
    /// It has failed too often.
    Retired,
}

struct Host {
    plugin: Plugin,
    running: Option<(Process<()>, Connection<Request, Answer>)>,
    failures: usize,
}

impl Host {
    fn call(&mut self, request: &Request) -> Result<Answer, Failure> {
        if self.failures == FAILURES {
            return Err(Failure::Retired);
        }
        let (process, pipe) = match &mut self.running {
            Some(running) => running,
            none => {
                let (ours, theirs) = duplex().expect("there is room for a pipe");
                let builder = Builder::new().daemon(true).core_dumps(false);
                let process = builder.spawn(serve, (self.plugin, theirs)).expect("there is room for a process");
                none.insert((process, ours))
            }
        };
        let error = match pipe.send_timeout(request, LIMIT).and_then(|()| pipe.recv_timeout(LIMIT)) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let ended = if error.is_disconnected() { process.join_timeout(LIMIT) } else { process.try_join() };
        process.kill().expect("it is ours"); // nothing happens to one that has ended
        // The pipe goes, too: an answer that comes too late is never taken for one to another request.
        self.running = None;
        self.failures += 1;
        Err(match ended {
            Ok(()) | Err(JoinError::Timeout) => Failure::Killed(error),
            Err(death) => Failure::Ended(death),
        })
    }
}

/// Calls a plug-in with all requests, and writes down what happens.
fn run(plugin: Plugin) -> String {
    let mut host = Host { plugin, running: None, failures: 0 };
    let mut text = format!("{plugin:?}");
    for request in ["pear", "42", "plum", "7", "fig", "9", "date"] {
        let request = request.parse().map_or(Request::Word(request.to_string()), Request::Number);
        for attempt in 1..=2 {
            let (outcome, is_final) = match host.call(&request) {
                Ok(Ok(answer)) => (answer, true),
                Ok(Err(refusal)) => (format!("refused: {refusal}"), true),
                Err(Failure::Ended(death @ JoinError::Panicked { .. })) => (death.to_string(), true),
                Err(Failure::Ended(death)) => (death.to_string(), false),
                Err(Failure::Killed(error)) => (format!("killed: {error}"), false),
                Err(Failure::Retired) => ("not started again".to_string(), true),
            };
            text += &format!("\n  {request:?}, attempt {attempt}: {outcome}");
            if is_final {
                break;
            }
        }
    }
    text
}

fn main() {
    let plugins = [Plugin::Shout, Plugin::Initial, Plugin::Half, Plugin::Dream, Plugin::Forget];
    let hosts = plugins.map(|plugin| thread::spawn(move || run(plugin)));
    for host in hosts {
        println!("{}", host.join().expect("the host survives"));
    }
}
