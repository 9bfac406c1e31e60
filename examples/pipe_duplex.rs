//! A two-way pipe: parent and child each hold one end, and both send and receive on it.
#![forbid(unsafe_code)]

use ipc_pipe::{Connection, Process, duplex};

fn child((name, mut conn): (String, Connection<String, String>)) {
    println!("{}", conn.recv().expect("the parent has sent something"));
    conn.send(format!("Data@{name}")).expect("the parent waits for an answer");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut ours, theirs) = duplex::<String, String>()?;
    // The other end moves to the child together with the child's name; here it is closed.
    let process = Process::spawn(child, ("subprocess".to_string(), theirs))?;

    ours.send("Data@parentprocess".to_string())?;
    println!("{}", ours.recv()?);
    process.join()?;
    Ok(())
}
