//! Work for another machine, over TCP; here the other machine is this one, under its address 127.0.0.1. Everybody who reaches the port
//! can connect, so a key decides. Numbers arrive as they were sent, whatever processors are at the two ends. A machine that is lost counts
//! as disconnected after ten seconds without a sign of it, unless told otherwise; of a process that dies, its machine tells at once.
#![forbid(unsafe_code)]

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::Command;
use std::time::Duration;

use ipc_socket::{Client, Connection, ConnectionError, Listener, Peer};

/// From where to where primes are counted.
type Range = (u32, u32);

/// What runs on the other machine, and knows nothing but the address and the key.
fn work(address: &str) -> Result<(), Box<dyn Error>> {
    let key = std::env::var("WORKER_KEY")?;
    let mut conn: Connection<usize, Range> = Client::builder()
        .authkey(key)
        .user_timeout(Duration::from_secs(5))
        .retry(true)
        .connect_timeout(address, Duration::from_secs(30))?;
    loop {
        match conn.recv() {
            Ok((start, end)) => {
                let is_prime = |n: &u32| *n > 1 && (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0);
                conn.send((start..end).filter(is_prime).count())?;
            }
            Err(ConnectionError::Disconnected) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Nobody can guess it: the standard library has it from the system.
fn random_key() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(address) = std::env::args().nth(1) {
        return work(&address);
    }
    let key = random_key();
    // Port 0: the system chooses one that is free, and the listener tells which. For other machines it would be `tcp:0.0.0.0:0`.
    let listener: Listener<Range, usize> =
        Listener::builder().authkey(key.clone()).user_timeout(Duration::from_secs(5)).bind("tcp:127.0.0.1:0")?;
    println!("listening at {}", listener.address());

    let mut machines = Vec::new();
    for _ in 0..2 {
        let mut command = Command::new(std::env::current_exe()?);
        let worker = command.arg(listener.address().to_string()).env("WORKER_KEY", &key).spawn()?;
        let conn = listener.accept_timeout(Duration::from_secs(30))?;
        println!("a worker has come from {}", Peer::of(&conn)?);
        machines.push((worker, conn));
    }
    let ranges = [(0, 50_000), (50_000, 100_000)];
    for ((_, conn), range) in machines.iter_mut().zip(ranges) {
        conn.send(range)?;
    }
    for ((_, conn), (start, end)) in machines.iter_mut().zip(ranges) {
        println!("{start:>5} to {end:>6}: {} prime numbers", conn.recv()?);
    }

    let (mut worker, mut conn) = machines.remove(0);
    worker.kill()?;
    println!("of the one that is killed: {}", conn.recv().expect_err("nobody is there to answer"));
    println!("its machine says: {}", worker.wait()?);
    let (mut worker, conn) = machines.remove(0);
    drop(conn);
    println!("the other one: {}", worker.wait()?);
    Ok(())
}
