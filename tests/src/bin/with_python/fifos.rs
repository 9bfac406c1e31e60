//! Python at the other end of our FIFOs: as frames, as `multiprocessing.connection.Connection` writes them, and as bytes.

use std::error::Error;
use std::io::{Read, Write};

use ipc_fifo::{Fifo, connect_timeout};

use crate::interpreters::Interpreter;
use crate::peer::{PATIENCE, Peer};
use crate::{Case, Pipe, check, pattern, start};

pub(crate) const CASES: &[Case] = &[
    ("two FIFOs as a connection", two_fifos),
    ("bytes that Python writes into a FIFO", written),
    ("bytes that Python reads from a FIFO", read),
];

const SIZES: [usize; 8] = [0, 1, 255, 16384, 16385, 65536, 65537, 8 << 20];
/// More than a pipe has room for.
const LEN: usize = 3 << 20;

type Result = std::result::Result<(), Box<dyn Error>>;

/// A FIFO, and the folder that it is in.
fn fifo() -> std::result::Result<(tempfile::TempDir, Fifo), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let fifo = Fifo::create(folder.path().join("fifo"), 0o600)?;
    Ok((folder, fifo))
}

fn run(
    python: &Interpreter,
    function: &str,
    arguments: &[String],
) -> std::result::Result<(Pipe, Peer), Box<dyn Error>> {
    let arguments = arguments.iter().map(String::as_str);
    start(python, &std::iter::once(function).chain(arguments).collect::<Vec<_>>())
}

fn path(fifo: &Fifo) -> String {
    fifo.path().display().to_string()
}

fn two_fifos(python: &Interpreter) -> Result {
    let ((_one, to), (_other, from)) = (fifo()?, fifo()?);
    let arguments: Vec<String> = [path(&to), path(&from)].into_iter().chain(SIZES.map(|n| n.to_string())).collect();
    let (_line, peer) = run(python, "fifos_echo", &arguments)?;
    let mut conn: Pipe = connect_timeout(&from, &to, PATIENCE)?;
    for len in SIZES {
        conn.send_timeout(pattern(len, 1), PATIENCE)?;
        check(&conn.recv_timeout(PATIENCE)?, len, 2)?;
    }
    drop(conn);
    peer.finish()
}

fn written(python: &Interpreter) -> Result {
    let (_folder, fifo) = fifo()?;
    let (_line, peer) = run(python, "fifo_is_written", &[path(&fifo), LEN.to_string()])?;
    let mut bytes = Vec::new();
    fifo.read_end_timeout(PATIENCE)?.read_to_end(&mut bytes)?;
    check(&bytes, LEN, 1)?;
    peer.finish()
}

fn read(python: &Interpreter) -> Result {
    let (_folder, fifo) = fifo()?;
    let (_line, peer) = run(python, "fifo_is_read", &[path(&fifo), LEN.to_string()])?;
    fifo.write_end_timeout(PATIENCE)?.write_all(&pattern(LEN, 1))?;
    peer.finish()
}
