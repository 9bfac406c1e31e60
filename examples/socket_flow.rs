//! The flow chart that every text about sockets shows, as a program: what server and client do, one after the other, and which of our
//! calls does which steps of the chart. Other than there, a message arrives as one, however the bytes travel; and the end of the other
//! side is an error with a name, not a message of no bytes.
#![forbid(unsafe_code)]

use ipc_socket::{Client, Connection, ConnectionError, Listener, Process};

fn client(address: String) {
    let mut conn: Connection<String, usize> = Client::connect(address).expect("the server listens");
    println!("client  Client::connect   socket(), connect()");

    println!("client  send              send(): how long is this?");
    conn.send("how long is this?".to_string()).expect("the server listens");
    println!("client  recv              recv(): {}", conn.recv().expect("the server answers"));

    println!("client  drop              close()");
    drop(conn);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // An address that is left open: a free one is chosen. The client, which could as well be another program, needs its text.
    let listener: Listener<usize, String> = Listener::bind("unix:")?;
    println!("server  Listener::bind    socket(), bind(), listen()");

    let process = Process::spawn(client, listener.address().to_string())?;
    println!("server  accept            accept(): waits for a client");
    let mut conn = listener.accept()?;

    let text = conn.recv()?;
    println!("server  recv              recv(): {text}");
    println!("server  send              send(): {}", text.len());
    conn.send(text.len())?;
    match conn.recv() {
        Err(ConnectionError::Disconnected) => {
            println!("server  recv              recv(): the client has closed its end")
        }
        other => println!("server  recv              {other:?}"),
    }

    let address = listener.address().clone();
    drop((conn, listener));
    println!("server  drop              close(), twice; and the name of the socket is removed");
    process.join()?;
    let late: Result<Connection<(), ()>, _> = Client::connect(address);
    println!("client  Client::connect   {}", late.expect_err("the server is gone"));
    Ok(())
}
