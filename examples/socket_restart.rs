//! A server is killed in the middle of its work, and started again at the same address. Its clients see that the connection has ended,
//! connect again as soon as somebody listens, and ask again what was not answered. The dead one leaves the file of its socket, which the
//! next one replaces; in Python that would fail with "address already in use".
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use ipc_socket::{Client, Connection, ConnectionError, Listener, Process, wait};
use ipc_sync::Event;

const CLIENTS: usize = 3;
const NUMBERS: u64 = 10;

/// Which server says so, and the square.
type Answer = (u32, u64);

/// Answers all clients until they are gone. The first server comes to a standstill when all clients wait for the square of 6.
fn serve((address, server, stands_still): (String, u32, Event)) {
    let listener: Listener<Answer, u64> = Listener::bind(address).expect("nobody listens there any more");
    let mut conns: Vec<Connection<Answer, u64>> = Vec::new();
    let (mut gone, mut open) = (0, 0);
    while gone < CLIENTS {
        let ready =
            wait(&conns.iter().map(|conn| conn as _).chain([&listener as _]).collect::<Vec<_>>(), Duration::MAX);
        for i in ready.expect("all can be waited for").into_iter().rev() {
            if i == conns.len() {
                conns.extend(listener.try_accept());
                continue;
            }
            match conns[i].recv() {
                Ok(6) if server == 1 => open += 1,
                Ok(n) => conns[i].send((server, n * n)).expect("the client waits"),
                Err(_) => {
                    conns.remove(i);
                    gone += 1;
                }
            }
        }
        if open == CLIENTS {
            stands_still.set().expect("this is no forked copy");
            loop {
                thread::park(); // until the parent kills it
            }
        }
    }
}

/// Returns how many answers it has of each server.
fn client(address: String) -> BTreeMap<u32, u64> {
    let connect = || -> Connection<u64, Answer> {
        let conn = Client::builder().retry(true).connect_timeout(&address, Duration::from_secs(30));
        conn.expect("there will be a server")
    };
    let mut conn = connect();
    let mut answers = BTreeMap::new();
    for n in 1..=NUMBERS {
        let (server, square) = loop {
            // Also the question may find nobody any more.
            match conn.send(n).and_then(|()| conn.recv()) {
                Ok(answer) => break answer,
                Err(ConnectionError::Disconnected) => conn = connect(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(square, n * n);
        *answers.entry(server).or_default() += 1;
    }
    answers
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("socket_restart-{}.sock", std::process::id()));
    let address = format!("unix:{}", path.display());
    let stands_still = Event::new()?;
    let clients: Vec<_> = (0..CLIENTS).map(|_| Process::spawn(client, address.clone())).collect::<Result<_, _>>()?;

    let first = Process::spawn(serve, (address.clone(), 1, stands_still.clone()))?;
    stands_still.wait()?;
    first.kill()?;
    println!("the first server: {}", first.join().expect_err("it was killed"));
    println!("has left a file: {}", path.exists());

    let second = Process::spawn(serve, (address, 2, stands_still))?;
    for client in clients {
        println!("answers that a client has of each server: {:?}", client.join()?);
    }
    second.join()?;
    println!("the second server has left a file: {}", path.exists());
    Ok(())
}
