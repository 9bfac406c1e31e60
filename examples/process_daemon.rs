//! A daemon ends with the process that started it, however that ends; other children go on.
#![forbid(unsafe_code)]

use ipc_pipe::{Builder, Connection, Process, Sender, duplex, simplex};

/// Would work for ever; its end can be seen by that of its pipe.
fn serve(mut pipe: Sender<String>) {
    pipe.send("the daemon runs".to_string()).expect("the main program listens");
    loop {
        std::thread::park();
    }
}

fn start_daemon((pipe, mut leave): (Sender<String>, Connection<(), ()>)) {
    Builder::new().name("server").daemon(true).spawn(serve, pipe).expect("a process can be started");
    leave.recv().expect("the main program says when");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (sender, mut receiver) = simplex()?;
    let (mut leave, theirs) = duplex()?;
    let starter = Process::spawn(start_daemon, (sender, theirs))?;
    println!("{}", receiver.recv()?);

    leave.send(())?;
    starter.join()?;
    println!("the process that started it has ended");

    match receiver.recv() {
        Err(error) if error.is_disconnected() => println!("and so has the daemon"),
        other => println!("it goes on: {other:?}"),
    }
    Ok(())
}
