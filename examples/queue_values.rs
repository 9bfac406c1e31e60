//! A list of different things as one message. What may be in it is an enum, so the consumer knows all the cases; and where the
//! list always has the same things, a tuple says so. Any type with serde's `Serialize` and `Deserialize` can be put.
#![forbid(unsafe_code)]

use std::fmt;

use ipc_queue::{Process, Producer, Queue};
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

type Tuple = (i64, Option<bool>, String);

fn child((lists, tuples): (Producer<Vec<Item>>, Producer<Tuple>)) {
    let list = vec![Item::Number(42), Item::None, Item::Text("hello".to_string())];
    lists.put(list).expect("the parent waits for it");
    tuples.put((42, None, "hello".to_string())).expect("the parent waits for it");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (lists, tuples) = (Queue::new()?, Queue::new()?);
    let process = Process::spawn(child, (lists.producer(), tuples.producer()))?;

    let items: Vec<String> = lists.get()?.iter().map(Item::to_string).collect();
    println!("[{}]", items.join(", "));
    println!("{:?}", tuples.get()?);
    process.join()?;
    Ok(())
}
