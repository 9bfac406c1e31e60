//! A worker in Python: it connects with `multiprocessing.connection.Client`, shows that it has the key, and does what Rust has no type
//! for, as long as it is connected. Where there is no `python3`, a process of this program does the work, as far as its numbers go.
#![forbid(unsafe_code)]

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::Command;
use std::time::Duration;

use ipc_socket::{Bytes, Client, Connection, Listener, Process};

const PYTHON: &str = "
import math, os, sys
from multiprocessing.connection import Client
with Client(sys.argv[1], authkey=os.environ['WORKER_KEY'].encode()) as conn:
    try:
        while True:
            conn.send_bytes(str(math.factorial(int(conn.recv_bytes()))).encode())
    except EOFError:
        pass
";

fn factorials((path, key): (String, String)) -> Result<(), String> {
    let conn = Client::builder().authkey(key).connect(format!("unix:{path}"));
    let mut conn: Connection<Vec<u8>, Vec<u8>, Bytes> = conn.map_err(|error| error.to_string())?;
    while let Ok(text) = conn.recv() {
        let n: u128 = String::from_utf8_lossy(&text).parse().map_err(|_| "that is no number")?;
        let result = (1..=n).product::<u128>().to_string();
        conn.send(result.into_bytes()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The master's work, whoever connects.
fn lead(listener: &Listener<Vec<u8>, Vec<u8>, Bytes>) -> Result<(), Box<dyn Error>> {
    let mut conn = listener.accept_timeout(Duration::from_secs(30))?; // a worker that cannot start will not come
    for n in [5, 20, 34] {
        conn.send(n.to_string().into_bytes())?;
        println!("{n}! = {}", String::from_utf8(conn.recv()?)?);
    }
    Ok(())
}

/// Nobody can guess it: the standard library has it from the system.
fn random_key() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

fn main() -> Result<(), Box<dyn Error>> {
    // Python gets it in its environment, as everybody can see the arguments.
    let key = random_key();
    let listener = Listener::builder().authkey(key.clone()).bind("unix:")?;
    let address = listener.address().to_string();
    let path = address.trim_start_matches("unix:"); // Python tells kinds of addresses by their types
    if Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("the worker is python3");
        let mut worker = Command::new("python3").args(["-c", PYTHON, path]).env("WORKER_KEY", key).spawn()?;
        lead(&listener)?;
        println!("it ends with {}", worker.wait()?);
    } else {
        println!("the worker is this program, as there is no python3");
        let worker = Process::spawn(factorials, (path.to_string(), key))?;
        lead(&listener)?;
        worker.join()??;
        println!("it ends with exit status: 0");
    }
    Ok(())
}
