//! Programs that are started one by one, as from a shell, and have nothing in common but a name: one makes a queue with it, the
//! others open it and put something in. Whoever expects other messages in it is told.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::Command;

use ipc_queue::{Ownership, Queue, Settings};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    who: String,
    pizzas: u32,
}

/// One of the programs.
fn guest(name: &str, who: &str) -> Result<(), Box<dyn Error>> {
    let orders: Queue<Order> = Queue::open_named(name)?;
    Ok(orders.put(Order { who: who.to_string(), pizzas: who.len() as u32 })?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, who] = &arguments[..] {
        return guest(name, who);
    }

    let name = format!("queue_name-{}", std::process::id());
    let orders: Queue<Order> = Queue::create_named(&name, &Settings::new().items(2), Ownership::Creator)?;
    let program = std::env::current_exe()?;
    let guests = ["Ada", "Grace", "Barbara"].map(|who| Command::new(&program).args([&name, who]).spawn());
    for _ in &guests {
        let Order { who, pizzas } = orders.get()?;
        println!("{who} orders {pizzas}");
    }
    for guest in guests {
        println!("a guest has left: {}", guest?.wait()?);
    }

    println!("as a queue of numbers: {}", Queue::<u64>::open_named(&name).expect_err("it is one of orders"));
    println!(
        "made twice: {}",
        Queue::<u64>::create_named(&name, &Settings::new(), Ownership::Creator).expect_err("it is there")
    );
    drop(orders);
    println!("afterwards: {}", Queue::<Order>::open_named(&name).expect_err("its creator has removed the name"));
    Ok(())
}
