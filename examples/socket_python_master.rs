//! A worker of a master in Python: that listens with `multiprocessing.connection.Listener`, starts this program, sends it numbers as
//! lines of text and gets JSON. Bytes are what both sides understand; `send` and `recv` of Python are pickled objects. Where there is no
//! `python3`, a process of this program is the master.
#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::Command;
use std::time::Duration;

use ipc_socket::{Bytes, Client, Connection, Listener};

type Line = Connection<Vec<u8>, Vec<u8>, Bytes>;

/// The alarm ends the master if no worker comes.
const PYTHON: &str = "
import json, os, secrets, signal, subprocess, sys
from multiprocessing.connection import Listener
signal.alarm(30)
key = secrets.token_hex()
with Listener(family='AF_UNIX', authkey=key.encode()) as listener:
    worker = subprocess.Popen([sys.argv[1], 'unix:' + listener.address], env={**os.environ, 'WORKER_KEY': key})
    with listener.accept() as conn:
        for number in 360, 9973, 999983 * 1000003:
            conn.send_bytes(str(number).encode())
            factors = json.loads(conn.recv_bytes())
            print(number, '=', ' * '.join(map(str, factors)), flush=True)
print('the worker ends with', worker.wait())
";

fn factors(mut n: u64) -> Vec<u64> {
    let mut factors = Vec::new();
    let mut divisor = 2;
    while divisor * divisor <= n {
        while n % divisor == 0 {
            factors.push(divisor);
            n /= divisor;
        }
        divisor += if divisor == 2 { 1 } else { 2 };
    }
    if n > 1 {
        factors.push(n);
    }
    factors
}

/// The key is in the environment, as everybody can see the arguments.
fn work(address: &str) -> Result<(), Box<dyn Error>> {
    let mut conn: Line = Client::builder().authkey(env::var("WORKER_KEY")?).connect(address)?;
    while let Ok(line) = conn.recv() {
        let number = String::from_utf8(line)?.trim().parse()?;
        conn.send(format!("{:?}", factors(number)).into_bytes())?; // a list of numbers looks the same in JSON
    }
    Ok(())
}

/// What the script above does.
fn lead() -> Result<(), Box<dyn Error>> {
    let key = random_key();
    let listener: Listener<Vec<u8>, Vec<u8>, Bytes> = Listener::builder().authkey(key.clone()).bind("unix:")?;
    let mut worker =
        Command::new(env::current_exe()?).arg(listener.address().to_string()).env("WORKER_KEY", key).spawn()?;
    let mut conn = listener.accept_timeout(Duration::from_secs(30))?;
    for number in [360, 9973, 999_983 * 1_000_003_u64] {
        conn.send(number.to_string().into_bytes())?;
        let factors = String::from_utf8(conn.recv()?)?;
        println!("{number} = {}", factors.trim_matches(['[', ']']).replace(", ", " * "));
    }
    drop(conn);
    println!("the worker ends with {}", worker.wait()?.code().unwrap_or(-1));
    Ok(())
}

/// Nobody can guess it: the standard library has it from the system.
fn random_key() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(address) = env::args().nth(1) {
        return work(&address);
    }
    if Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("the master is python3");
        let status = Command::new("python3").args(["-c", PYTHON]).arg(env::current_exe()?).status()?;
        if status.success() { Ok(()) } else { Err(format!("the master failed: {status}").into()) }
    } else {
        println!("the master is this program, as there is no python3");
        lead()
    }
}
