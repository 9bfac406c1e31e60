//! The workers are clients: they know an address and a key, and connect. From then on it is as with pipes, with which this shares the work.

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use ipc_socket::{Builder, Client, Connection, Listener, Peer, Process, wait};

use crate::input::Input;
use crate::pipe::{self, Worker};
use crate::{Count, Mechanism};

pub(crate) const SOCKET: Mechanism =
    Mechanism { name: "socket", shows: "the same as with pipes, by clients that connect and have a key", count };

/// Connects, and counts what comes.
fn work((address, key): (String, String)) -> Result<(), String> {
    let conn = Client::builder().authkey(key).max_message(u64::MAX).connect(address);
    pipe::work(conn.map_err(|error| error.to_string())?)
}

fn count(input: &Input) -> Result<Count, Box<dyn Error>> {
    let key = format!("{:016x}", RandomState::new().build_hasher().finish());
    let listener: Listener<(), u64> = Listener::builder().authkey(key.clone()).bind("unix:")?;
    let mut expected = Vec::new();
    for i in 1..=input.workers {
        let builder = Builder::new().name(format!("counter {i}"));
        expected.push(builder.spawn(work, (listener.address().to_string(), key.clone()))?);
    }

    pipe::share_out(input, gather(&listener, expected)?)
}

/// Waits until all that are expected have connected, but not for one that is dead.
fn gather(
    listener: &Listener<(), u64>,
    mut expected: Vec<Process<Result<(), String>>>,
) -> Result<Vec<Worker>, Box<dyn Error>> {
    let mut workers = Vec::new();
    while !expected.is_empty() {
        let items: Vec<_> = [listener as _].into_iter().chain(expected.iter().map(|process| process as _)).collect();
        match wait(&items, Duration::MAX)?[0] {
            0 => {
                // Unless it was nobody who has the key.
                let Ok(conn) = listener.try_accept() else { continue };
                let its = pid(&conn)?;
                if let Some(i) = expected.iter().position(|process| process.pid() == its) {
                    workers.push(Worker::new(expected.swap_remove(i), conn));
                }
            }
            i => {
                let mut process = expected.swap_remove(i - 1);
                let end = process.join_timeout(Duration::MAX);
                pipe::verdict(&process, end)?;
                return Err("a worker has ended without having connected".into());
            }
        }
    }
    Ok(workers)
}

/// The kernel says which process is at the other end.
fn pid(conn: &Connection<(), u64>) -> Result<u32, ipc_socket::Error> {
    Ok(match Peer::of(conn)? {
        Peer::Local { pid, .. } => pid,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_dies_before_it_has_connected_is_named() {
        let listener = Listener::bind("unix:").unwrap();
        let process = Builder::new().name("counter 7").spawn(|()| Err("no time".to_string()), ()).unwrap();
        let error = gather(&listener, vec![process]).err().unwrap().to_string();
        assert!(error.starts_with("counter 7 (process ") && error.ends_with(") failed: no time"), "{error}");
    }
}
