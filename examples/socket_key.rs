//! A server that lets in only who has its key, and a client that wants to see that the server has it. Those who do not have it see an
//! error, and so does the server, which goes on. In Python the first of them would end `accept`, and the silent one would hold it up
//! for ever.
#![forbid(unsafe_code)]

use std::sync::mpsc;
use std::time::Duration;

use ipc_socket::{Client, Connection, Listener, Peer, Process};

/// Serves one client. Returns who was not let in before, and why.
fn serve(address: String) -> Vec<(u32, String)> {
    let (sender, refused) = mpsc::channel();
    let listener: Listener<String, String> = Listener::builder()
        .authkey("open sesame")
        .on_refused(move |refusal| {
            if let Some(Peer::Local { pid, .. }) = refusal.peer {
                let _ = sender.send((pid, refusal.error.to_string())); // as long as somebody wants to know
            }
        })
        .bind(address)
        .expect("nobody else listens there");
    let mut conn = listener.accept().expect("one has the key");
    let name = conn.recv().expect("it says its name");
    conn.send(format!("welcome, {name}")).expect("it waits for the answer");
    refused.try_iter().collect()
}

/// What a client gets to see.
fn visit((address, name, key): (String, String, Option<String>)) -> String {
    let mut builder = Client::builder().retry(true);
    if let Some(key) = key {
        builder = builder.authkey(key);
    }
    let mut conn: Connection<String, String> = match builder.connect_timeout(&address, Duration::from_secs(30)) {
        Ok(conn) => conn,
        Err(error) => return format!("no connection: {error}"),
    };
    // Without a key it is only now that there is something to see.
    let _ = conn.send(name);
    conn.recv().unwrap_or_else(|error| format!("no answer: {error}"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("socket_key-{}.sock", std::process::id());
    let address = format!("unix:{}", std::env::temp_dir().join(name).display());
    let server = Process::spawn(serve, address.clone())?;
    // It is connected, and never answers.
    let silent: Connection<(), ()> =
        Client::builder().retry(true).connect_timeout(&address, Duration::from_secs(30))?;

    let mut pids = Vec::new();
    for (name, key) in [("Cassim", Some("open barley")), ("Marjaneh", None), ("Ali Baba", Some("open sesame"))] {
        let client = Process::spawn(visit, (address.clone(), name.to_string(), key.map(String::from)))?;
        pids.push((client.pid(), name));
        println!("{name} sees: {}", client.join()?);
    }
    for (pid, why) in server.join()? {
        let name = pids.iter().find(|(its, _)| *its == pid).map_or("somebody", |(_, name)| name);
        println!("the server has seen of {name}: {why}");
    }
    drop(silent);
    Ok(())
}
