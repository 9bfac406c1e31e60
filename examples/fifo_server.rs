//! A server with a FIFO for the requests of all clients, who come and go; each has a FIFO of its own for the answer, and says where. The
//! server hands out numbers, none twice. It reads by an end that never comes to an end when the last client has gone, and it waits for
//! nobody: a client that is gone before the answer is just left out.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use ipc_fifo::{Fifo, Postcard, Process, Reader, Writer};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Request {
    /// So many numbers, for the client who reads there.
    Numbers {
        who: String,
        count: u64,
        answer: Fifo,
    },
    Stop,
}

fn serve(requests: Fifo) {
    let mut requests: Reader<Request> = requests.lasting_reader().expect("it is there");
    let mut next = 1;
    for request in requests.iter() {
        match request {
            Ok(Request::Numbers { who, count, answer }) => {
                let sent = answer.try_writer().and_then(|mut writer: Writer<u64>| writer.try_send(next));
                if sent.is_err() {
                    println!("server: {who} does not wait for the answer");
                }
                next += count;
            }
            Ok(Request::Stop) => return,
            Err(error) => println!("server: {error}"), // of one message; the next one may be better
        }
    }
}

/// Returns the first number, unless it is one who does not wait for it.
fn client((requests, answer, who, count): (Fifo, PathBuf, String, u64)) -> Option<u64> {
    let answer = Fifo::create(answer, 0o600).expect("nobody else has this name");
    // Opened before it asks, so that the server finds a reader.
    let reader = (who != "Hasty").then(|| answer.lasting_reader::<u64, Postcard>().expect("it has just been made"));
    let mut writer: Writer<Request> = requests.writer().expect("the server reads");
    writer.send(Request::Numbers { who, count, answer: answer.share() }).expect("the server reads");
    Some(reader?.recv().expect("the server answers"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("fifo_server-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let requests = Fifo::create(folder.join("requests"), 0o600)?;
    let server = Process::spawn(serve, requests.share())?;

    for (who, count) in [("Ada", 3), ("Grace", 10), ("Hasty", 5), ("Barbara", 1)] {
        let answer = folder.join(who);
        let client = Process::spawn(client, (requests.share(), answer, who.to_string(), count))?;
        // From here on there is no client at all for a while.
        if let Some(first) = client.join()? {
            println!("{who} has {first} to {}", first + count - 1);
        }
    }
    let mut writer: Writer<Request> = requests.writer()?;
    writer.send(Request::Stop)?;
    server.join()?;
    drop(requests);
    std::fs::remove_dir(&folder)?; // every name is removed by who made it
    Ok(())
}
