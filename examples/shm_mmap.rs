//! A writer and a reader open the same memory by its name, and use it like a file: each has a cursor of its own, which moves on
//! with what it writes or reads. The counterpart of two `mmap`s with one tag name.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};

use ipc_core::Process;
use ipc_shm::SharedMemory;
use ipc_sync::Event;

/// Puts a zero byte behind each text.
fn writer((name, written): (String, Event)) {
    let memory = SharedMemory::open(&name).expect("the main program has made it");
    let mut cursor = memory.cursor();
    for data in ["Hello", "Alpha_Panda"] {
        println!("Write data:== {data} == to share memory!");
        write!(cursor, "{data}\0").expect("there is enough room");
    }
    written.set().expect("this is no forked copy");
}

/// Memory does not tell when somebody has written to it, and nobody may read half a text: that takes the event.
fn reader((name, written): (String, Event)) {
    written.wait().expect("the writer does not die");
    let memory = SharedMemory::open_read_only(&name).expect("the main program still has it");
    for data in BufReader::new(memory.cursor()).split(0) {
        let data = data.expect("what is in memory can be read");
        if data.is_empty() {
            return; // no text: all that follows is as zero as it was made
        }
        println!("Get data:== {} == from share memory!", String::from_utf8_lossy(&data));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("shm_mmap-{}", std::process::id());
    let memory = SharedMemory::create(&name, 1024)?;
    let written = Event::new()?;
    let p_reader = Process::spawn(reader, (name.clone(), written.clone()))?;
    // Not a clone: if the writer dies, the reader learns that nobody is left, as no handle stays here.
    let p_writer = Process::spawn(writer, (name.clone(), written))?;
    p_writer.join()?;
    p_reader.join()?;

    drop(memory); // the name belongs to who made it
    println!("afterwards: {}", SharedMemory::open(&name).expect_err("it is gone"));
    Ok(())
}
