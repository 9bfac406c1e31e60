//! A list of different things in one message. What may be in it is an enum, so the receiver knows all the cases; any type
//! with serde's `Serialize` and `Deserialize` can be sent.
#![forbid(unsafe_code)]

use std::fmt;

use ipc_pipe::{Connection, Process, duplex};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Item {
    Number(i64),
    Text(String),
    None,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Number(number) => write!(f, "{number}"),
            Item::Text(text) => write!(f, "'{text}'"),
            Item::None => write!(f, "None"),
        }
    }
}

fn child(mut conn: Connection<Vec<Item>, ()>) {
    conn.send(vec![Item::Number(42), Item::None, Item::Text("hello".to_string())]).expect("the parent waits for it");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut ours, theirs) = duplex()?;
    let process = Process::spawn(child, theirs)?;

    let items: Vec<String> = ours.recv()?.iter().map(Item::to_string).collect();
    println!("[{}]", items.join(", "));
    process.join()?;
    Ok(())
}
