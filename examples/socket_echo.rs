//! An echo server with many clients and one thread: it waits for all of them and for new ones at the same time. None keeps the others
//! waiting: neither one that sends slowly or without end, nor one that does not read its echoes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use ipc_socket::{Client, Connection, ConnectionError as Error, Listener, Process, wait};

const CLIENTS: u32 = 8;
const MESSAGES: u32 = 200;

/// Who says what.
type Message = (u32, String);

fn client((address, who): (String, u32)) {
    let mut conn: Connection<Message, Message> = Client::connect(address).expect("the server listens");
    for i in 0..MESSAGES {
        let message = (who, format!("message {i} of client {who}"));
        conn.send(&message).expect("the server listens");
        assert_eq!(conn.recv().expect("the server answers"), message);
    }
}

/// Echoes one message, so that no client comes to more than the others. An error says why there will be nothing more.
fn echo(conn: &mut Connection<Message, Message>, counts: &mut BTreeMap<u32, u32>) -> Result<(), Error> {
    match conn.try_recv() {
        Ok(message) => {
            conn.try_send(&message)?; // who does not read lets it get full, and is sent away
            *counts.entry(message.0).or_default() += 1;
            Ok(())
        }
        Err(Error::WouldBlock) => Ok(()), // not all of it is here yet
        Err(error) => Err(error),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener: Listener<Message, Message> = Listener::bind("unix:")?;
    let address = listener.address().to_string();
    let clients: Vec<_> =
        (1..=CLIENTS).map(|who| Process::spawn(client, (address.clone(), who))).collect::<Result<_, _>>()?;

    let mut conns: Vec<Connection<Message, Message>> = Vec::new();
    let (mut counts, mut gone) = (BTreeMap::new(), 0);
    while gone < CLIENTS {
        let ready =
            wait(&conns.iter().map(|conn| conn as _).chain([&listener as _]).collect::<Vec<_>>(), Duration::MAX)?;
        // From the last to the first, so that removing one leaves the positions of the others alone.
        for i in ready.into_iter().rev() {
            if i == conns.len() {
                conns.extend(listener.try_accept()); // unless the client has gone again
            } else if let Err(error) = echo(&mut conns[i], &mut counts) {
                conns.remove(i);
                gone += 1;
                if !error.is_disconnected() {
                    println!("a client is sent away: {error}");
                }
            }
        }
    }
    for (who, count) in counts {
        println!("client {who}: {count} echoes");
    }
    clients.into_iter().try_for_each(Process::join)?;
    Ok(())
}
