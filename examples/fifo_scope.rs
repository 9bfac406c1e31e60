//! A process that is killed cannot remove the name of its FIFO. What it has made in a `Scope` goes all the same: a watcher removes it.
//! Without a scope the name stays behind, but is nobody's: whoever creates it next takes it over, with those who have it open.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::thread;

use ipc_fifo::{Fifo, Process, Reader, Scope, Writer};
use ipc_sync::Event;

/// Makes the FIFO, and does not get any further.
fn victim((path, in_scope, made): (PathBuf, bool, Event)) {
    let mut scope = in_scope.then(|| Scope::new().expect("a watcher can be started"));
    let fifo = match &mut scope {
        Some(scope) => scope.create(&path, 0o600),
        None => Fifo::create(&path, 0o600),
    };
    let _fifo = fifo.expect("the name is free");
    made.set().expect("this is no forked copy");
    loop {
        thread::park(); // with the FIFO, until the parent kills it
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("fifo_scope-{}", std::process::id()));
    let made = Event::new()?;

    let process = Process::spawn(victim, (path.clone(), true, made.clone()))?;
    made.wait()?;
    let fifo = Fifo::open(&path)?;
    let (mut reader, mut writer): (Reader<String>, Writer<String>) = (fifo.lasting_reader()?, fifo.writer()?);
    process.kill()?;
    println!("in a scope: {}", process.join().expect_err("it was killed"));
    while path.exists() {
        thread::yield_now(); // the watcher tells nobody when it has done its work
    }
    writer.send("as before".to_string())?;
    println!("the name is gone; for who has it open it is {}", reader.recv()?);
    println!("for others: {}", Fifo::open(&path).expect_err("it has no name any more"));

    made.clear()?;
    let process = Process::spawn(victim, (path.clone(), false, made.clone()))?;
    made.wait()?;
    println!("while it is alive: {}", Fifo::create(&path, 0o600).expect_err("it has the name"));
    let mut reader: Reader<String> = Fifo::open(&path)?.lasting_reader()?;
    process.kill()?;
    println!("without a scope: {}", process.join().expect_err("it was killed"));
    println!("the name is still there: {}", path.exists());
    let fifo = Fifo::create(&path, 0o600)?;
    let mut writer: Writer<String> = fifo.writer()?;
    writer.send("from the new owner".to_string())?;
    println!("the next one has it, and who had opened it reads what comes {}", reader.recv()?);
    drop(fifo);
    println!("and in the end it is there: {}", path.exists());
    Ok(())
}
