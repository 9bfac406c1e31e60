//! The process at the other end is Python's: pipes speak the frames of its `multiprocessing.connection`. Where there is no
//! `python3`, a process of this program does the same work.
#![forbid(unsafe_code)]

use std::process::Command;

use ipc_pipe::{Bytes, Connection, Process, duplex_with_codec};

type Pipe = Connection<Vec<u8>, Vec<u8>, Bytes>;

const PYTHON: &str = "
from multiprocessing.connection import Connection
conn = Connection(0)
try:
    while True:
        conn.send_bytes(conn.recv_bytes()[::-1])
except EOFError:
    pass
";

fn reverse(mut conn: Pipe) {
    while let Ok(mut word) = conn.recv() {
        word.reverse();
        conn.send(word).expect("the parent waits for it");
    }
}

fn ask(mut conn: Pipe) -> Result<(), ipc_pipe::Error> {
    for word in ["stressed", "drawer", "parts"] {
        conn.send(word.as_bytes().to_vec())?;
        println!("{word} reversed is {}", String::from_utf8_lossy(&conn.recv()?));
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (ours, theirs) = duplex_with_codec::<Vec<u8>, Vec<u8>, Bytes>()?;
    if Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("the peer is python3");
        // It finds its end of the pipe as its standard input.
        let mut python = Command::new("python3").args(["-c", PYTHON]).stdin(theirs.into_fd()?).spawn()?;
        ask(ours)?;
        python.wait()?;
    } else {
        println!("the peer is this program, as there is no python3");
        let process = Process::spawn(reverse, theirs)?;
        ask(ours)?;
        process.join()?;
    }
    Ok(())
}
