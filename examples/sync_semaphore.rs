//! A writer and a reader share a piece of memory and take turns: two signals say whose turn it is, so no text is read
//! twice and none is overwritten before it was read. The counterpart of two semaphores around an `mmap`.
#![forbid(unsafe_code)]

use ipc_core::Process;
use ipc_sync::{Mutex, Semaphore, Signal};
use serde::{Deserialize, Serialize};

/// What both share. The text ends at the first zero byte; an empty one is the last.
#[derive(Clone, Serialize, Deserialize)]
struct Board {
    text: Mutex<[u8; 64]>,
    written: Signal,
    wiped: Signal,
}

fn writer(board: Board) {
    for data in ["Hello", "Alpha_Panda", ""] {
        board.wiped.acquire().expect("the reader runs");
        if !data.is_empty() {
            println!("Write data:== {data} == to share memory!"); // now, as the reader prints once it may read
        }
        board.text.lock().expect("the reader runs")[..data.len()].copy_from_slice(data.as_bytes());
        board.written.release().expect("there is one text at a time");
    }
}

fn reader(board: Board) {
    loop {
        board.written.acquire().expect("the writer runs");
        // Taken out, so that the memory is empty again.
        let bytes = std::mem::replace(&mut *board.text.lock().expect("the writer runs"), [0; 64]);
        let data = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        if data.is_empty() {
            return;
        }
        println!("Get data:== {} == from share memory!", String::from_utf8_lossy(data));
        board.wiped.release().expect("there is one text at a time");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let board = Board { text: Mutex::new([0; 64])?, written: Semaphore::signal(0)?, wiped: Semaphore::signal(1)? };
    let p_reader = Process::spawn(reader, board.clone())?;
    // Not a clone: when one of the two dies the other one learns that nobody is left, if no handle stays here.
    let p_writer = Process::spawn(writer, board)?;
    p_reader.join()?;
    p_writer.join()?;
    Ok(())
}
