//! Workers of a master in Python, which counts the primes below five million: it starts this program three times, gives each worker one slice
//! after the other, and takes the answers apart with `struct`. To the workers the same bytes are structs, by the codec `Plain`: nothing is
//! pickled, and a message of another size is an error.
//!
//! One worker is killed with a slice in hand. Python learns that by an `EOFError`, or by an `OSError` if the slice was not even read or the
//! answer not complete, and gives it to another one; its own `Pool` would wait for that slice for ever. Where there is no `python3`, this
//! program is the master.
#![forbid(unsafe_code)]

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;
use std::{env, thread};

use bytemuck::{Pod, Zeroable};
use ipc_queue::Queue;
use ipc_socket::{Client, Connection, Listener, Plain};

/// The numbers from `start` to before `end`. Python's `=QQ`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Slice {
    start: u64,
    end: u64,
}

/// How many of them are primes, how many of these have a twin two further on, and which is the last. Python's `=QQQ`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Primes {
    count: u64,
    twins: u64,
    last: u64,
}

/// The alarm ends the master if a worker does not come.
const PYTHON: &str = "
import os, secrets, signal, struct, subprocess, sys
from contextlib import suppress
from multiprocessing.connection import Listener, wait
signal.alarm(60)
key = secrets.token_hex()
todo = [(start, start + 250_000) for start in range(0, 5_000_000, 250_000)]
found, in_hand = [], {}
with Listener(family='AF_UNIX', authkey=key.encode()) as listener:
    def start(*args):
        command = [sys.argv[1], 'unix:' + listener.address, *args]
        worker = subprocess.Popen(command, env={**os.environ, 'WORKER_KEY': key})
        return listener.accept(), worker
    doomed = start('doomed')
    workers = dict([doomed, start(), start()])
while todo or in_hand:
    for conn in [conn for conn in workers if conn not in in_hand][:len(todo)]:
        in_hand[conn] = todo.pop()
        with suppress(BrokenPipeError):
            conn.send_bytes(struct.pack('=QQ', *in_hand[conn]))
    doomed[1].kill()
    for conn in wait(in_hand):
        piece = in_hand.pop(conn)
        try:
            found.append(struct.unpack('=QQQ', conn.recv_bytes()))
        except (EOFError, OSError):
            todo.append(piece)
            print('a worker with a slice in hand was killed by signal', -workers.pop(conn).wait())
count, twins, last = zip(*found)
print(len(found), 'slices:', sum(count), 'primes,', sum(twins), 'with a twin, the last one is', max(last))
";

/// A sieve of Eratosthenes.
fn primes(Slice { start, end }: Slice) -> Primes {
    let mut is_prime: Vec<bool> = (start..end + 2).map(|n| n >= 2).collect();
    for n in (2..).take_while(|n| n * n < end + 2) {
        for multiple in (n * n.max(start.div_ceil(n))..end + 2).step_by(n as usize) {
            is_prime[(multiple - start) as usize] = false;
        }
    }
    let found = || (start..end).filter(|n| is_prime[(n - start) as usize]);
    let twins = found().filter(|n| is_prime[(n + 2 - start) as usize]).count() as u64;
    Primes { count: found().count() as u64, twins, last: found().next_back().unwrap_or(0) }
}

/// The key is in the environment, as everybody can see the arguments.
fn work(address: &str, is_doomed: bool) -> Result<(), Box<dyn Error>> {
    let client = Client::builder().authkey(env::var("WORKER_KEY")?);
    let mut master: Connection<Primes, Slice, Plain> = client.connect(address)?;
    while let Ok(slice) = master.recv() {
        if is_doomed {
            loop {
                thread::park();
            }
        }
        master.send(primes(slice))?;
    }
    Ok(())
}

/// What the script above does, with a thread for each worker.
fn lead() -> Result<(), Box<dyn Error>> {
    let key = format!("{:016x}", RandomState::new().build_hasher().finish()); // random bytes of the system's
    let listener = Listener::builder().authkey(key.clone()).bind("unix:")?;
    let (todo, found) = (Queue::<Slice, Plain>::new()?, Queue::<Primes, Plain>::new()?);
    let slice = |n: u64| Slice { start: 250_000 * n, end: 250_000 * (n + 1) };
    (0..20).try_for_each(|n| todo.put(slice(n)))?;
    for role in ["doomed", "worker", "worker"] {
        let mut command = Command::new(env::current_exe()?);
        let mut worker = command.args([&listener.address().to_string(), role]).env("WORKER_KEY", &key).spawn()?;
        let mut line: Connection<Slice, Primes, Plain> = listener.accept_timeout(Duration::from_secs(30))?;
        let (todo, found) = (todo.consumer(), found.producer());
        thread::spawn(move || {
            while let Ok(slice) = todo.lease() {
                let sent = line.send(*slice);
                if role == "doomed" {
                    worker.kill().expect("it is ours");
                }
                let Ok(primes) = sent.and_then(|()| line.recv()) else {
                    let status = worker.wait().expect("nobody else waits for it");
                    println!("a worker with a slice in hand was killed by signal {}", status.signal().unwrap_or(0));
                    return; // the slice goes back, as its lease ends
                };
                found.put(primes).expect("the main thread takes it");
                slice.ack().expect("this is no forked copy");
            }
        });
    }
    let (mut count, mut twins, mut last) = (0, 0, 0);
    for _ in 0..20 {
        let found = found.get()?;
        (count, twins, last) = (count + found.count, twins + found.twins, last.max(found.last));
    }
    println!("20 slices: {count} primes, {twins} with a twin, the last one is {last}");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    if let [_, address, rest @ ..] = &env::args().collect::<Vec<_>>()[..] {
        return work(address, rest == ["doomed"]);
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
