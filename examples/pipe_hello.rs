//! Two children talk to each other: the parent makes the pipe, gives one end to each, and only waits.
#![forbid(unsafe_code)]

use ipc_pipe::{Connection, Process, duplex};

fn sender(mut conn: Connection<String, String>) {
    conn.send("Hello from sender".to_string()).expect("the receiver runs");
}

fn receiver(mut conn: Connection<String, String>) {
    println!("Received: {}", conn.recv().expect("the sender has sent something"));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (a, b) = duplex()?;
    let p1 = Process::spawn(sender, a)?;
    let p2 = Process::spawn(receiver, b)?;
    p1.join()?;
    p2.join()?;
    Ok(())
}
