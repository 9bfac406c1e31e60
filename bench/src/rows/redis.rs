//! Redis over a Unix socket, with a hash for a dictionary; its protocol is written by hand, and as cheaply as can be.

use std::env::temp_dir;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Goal, Row};
use crate::failure::{Failure, Outcome};
use crate::groups::{MANAGER_CLIENTS, MANAGER_GET, MANAGER_GET_ASLEEP, MANAGER_PIPELINED};
use crate::store::{KEYS, Store, get, get_asleep, key, pipelined_gets, pipelined_sets, together, value};

pub(super) const GET: &str = "Redis: HGET";

pub(crate) const ROWS: &[Row] = &[
    Row { group: &MANAGER_GET, name: GET, goal: Goal::Look, measure: get::<Redis> },
    Row {
        group: &MANAGER_GET,
        name: "Redis: HGET, both on one CPU",
        goal: Goal::Look,
        measure: |plan| get::<Redis>(&plan.on_one_cpu()),
    },
    Row { group: &MANAGER_GET_ASLEEP, name: GET, goal: Goal::Look, measure: get_asleep::<Redis> },
    Row {
        group: &MANAGER_PIPELINED,
        name: "Redis: HGET, pipelined",
        goal: Goal::Look,
        measure: pipelined_gets::<Redis>,
    },
    Row {
        group: &MANAGER_PIPELINED,
        name: "Redis: HSET, pipelined",
        goal: Goal::Look,
        measure: pipelined_sets::<Redis>,
    },
    Row { group: &MANAGER_CLIENTS, name: "Redis: one process", goal: Goal::Look, measure: together::<Redis, 1> },
    Row { group: &MANAGER_CLIENTS, name: "Redis: four processes", goal: Goal::Look, measure: together::<Redis, 4> },
];

struct Redis;

/// A server of our own, in a folder that goes with it.
struct Server {
    child: Child,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

struct Client {
    socket: UnixStream,
    /// For each key the question for its value, and the answer.
    gets: Vec<(Vec<u8>, Vec<u8>)>,
    /// All questions together, and the answers when each key was set so many times.
    get_all: Vec<u8>,
    got_all: (u64, Vec<u8>),
    /// For each key what sets it, without the value.
    sets: Vec<Vec<u8>>,
    /// What is sent, and what came.
    question: Vec<u8>,
    came: Vec<u8>,
}

impl Store for Redis {
    type Server = Server;
    type Door = PathBuf;
    type Client = Client;

    fn start() -> Outcome<(Server, PathBuf)> {
        // A process has one at a time.
        let folder = temp_dir().join(format!("ipc-bench-redis-{}", process::id()));
        fs::create_dir(&folder)?;
        let path = folder.join("socket");
        let mut command = Command::new("redis-server");
        // It listens at the socket only, and writes nothing to disk.
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&path);
        command.arg("--dir").arg(&folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| {
            let _ = fs::remove_dir(&folder);
            match error.kind() {
                ErrorKind::NotFound => Failure::missing("not run: no redis-server"),
                _ => error.into(),
            }
        })?;
        let mut server = Server { child, folder };
        let mut client = server.wait_for(&path)?;
        client.set_all(0, b":1\r\n")?; // each is new
        Ok((server, path))
    }

    fn enter(path: PathBuf) -> Outcome<Client> {
        Client::new(UnixStream::connect(path)?)
    }

    #[inline(always)]
    fn get(client: &mut Client, n: u64) -> Outcome<()> {
        let (question, answer) = &client.gets[n as usize];
        client.socket.write_all(question)?;
        receive(&client.socket, &mut client.came, answer)
    }

    fn get_all(client: &mut Client, times: u64) -> Outcome<()> {
        client.socket.write_all(&client.get_all)?;
        if client.got_all.0 != times {
            client.got_all = (times, values(times));
        }
        receive(&client.socket, &mut client.came, &client.got_all.1)
    }

    fn set_all(client: &mut Client, times: u64) -> Outcome<()> {
        client.set_all(times, b":0\r\n") // none is new
    }
}

impl Server {
    /// Until it listens.
    fn wait_for(&mut self, path: &PathBuf) -> Outcome<Client> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(path) {
                Ok(socket) => return Client::new(socket),
                Err(error) if start.elapsed() > PATIENCE => return Err(error.into()),
                Err(_) => {}
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(Failure::new(format!("redis-server ended with {status}")));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// For the server to start, and for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Client {
    fn new(socket: UnixStream) -> Outcome<Client> {
        // A wrong answer may be shorter than the right one.
        socket.set_read_timeout(Some(PATIENCE))?;
        let get = |n| (command(3, &["HGET", HASH, &key(n)]), bulk(&value(n, 0).to_string()));
        let gets: Vec<_> = (0..KEYS).map(get).collect();
        let get_all = gets.iter().flat_map(|(question, _)| question.iter().copied()).collect();
        let sets = (0..KEYS).map(|n| command(4, &["HSET", HASH, &key(n)])).collect();
        Ok(Client { socket, gets, get_all, got_all: (0, values(0)), sets, question: Vec::new(), came: Vec::new() })
    }

    fn set_all(&mut self, times: u64, answer: &[u8]) -> Outcome<()> {
        self.question.clear();
        for (set, n) in self.sets.iter().zip(0..) {
            let value = value(n, times).to_string();
            self.question.extend_from_slice(set);
            write!(self.question, "${}\r\n{value}\r\n", value.len())?;
        }
        self.socket.write_all(&self.question)?;
        receive(&self.socket, &mut self.came, &answer.repeat(KEYS as usize))
    }
}

const HASH: &str = "benchmark";

/// The answers to all questions.
fn values(times: u64) -> Vec<u8> {
    (0..KEYS).flat_map(|n| bulk(&value(n, times).to_string())).collect()
}

/// A command as Redis' protocol has it, an array of `len` strings, of which these are the first.
fn command(len: usize, words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{len}\r\n").into_bytes();
    words.iter().for_each(|word| bytes.extend(bulk(word)));
    bytes
}

/// A string.
fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

/// Receives as many bytes as are expected, which have to be those.
#[inline(always)]
fn receive(mut socket: &UnixStream, came: &mut Vec<u8>, expected: &[u8]) -> Outcome<()> {
    came.resize(expected.len(), 0);
    let mut filled = 0;
    while filled < expected.len() {
        let read = socket.read(&mut came[filled..])?;
        if read == 0 {
            return Err(Failure::new("redis-server is gone"));
        }
        if came[filled..filled + read] != expected[filled..filled + read] {
            let same = came.iter().zip(expected).take_while(|(is, expected)| is == expected).count();
            let wrong = String::from_utf8_lossy(&came[same..(same + 40).min(filled + read)]);
            return Err(Failure::new(format!("Redis goes on with {wrong:?} after {same} right bytes")));
        }
        filled += read;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_the_expected_one_is_noticed() {
        let answered = |answer: &[u8]| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(answer).unwrap();
            drop(theirs);
            receive(&ours, &mut Vec::new(), &bulk("12"))
        };
        assert!(answered(b"$2\r\n12\r\n").is_ok());
        assert!(answered(b"$2\r\n13\r\n").is_err());
        assert!(answered(b"$-1\r\n").is_err());
        assert!(answered(b"$2\r\n12").is_err(), "cut");
    }
}
