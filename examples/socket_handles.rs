//! A program that is started by itself, as from a shell, gets what no path leads to: an open file without a name, and the end of a pipe.
//! They travel over a local connection, within a message. Python has `send_handle` for this, one at a time and beside the messages.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::process::Command;

use ipc_pipe::simplex;
use ipc_socket::{Client, Connection, Handle, Listener, Sender};
use serde::{Deserialize, Serialize};

/// A file to read, and where to send what is found.
#[derive(Serialize, Deserialize)]
struct Order {
    file: Handle,
    lines: Sender<String>,
}

/// The other program.
fn number_lines(address: &str) -> Result<(), Box<dyn Error>> {
    let mut orders: Connection<(), Order> = Client::connect(address)?;
    for order in &mut orders {
        let Order { file, mut lines } = order?;
        let mut text = String::new();
        File::from(file.into_fd()?).read_to_string(&mut text)?;
        lines.send_many(text.lines().enumerate().map(|(i, line)| format!("line {}: {line}", i + 1)))?;
    }
    Ok(())
}

/// A file that has no name, so that it can only be handed over.
fn nameless(text: &str) -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!("socket_handles.{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(address) = std::env::args().nth(1) {
        return number_lines(&address);
    }
    let listener: Listener<Order, ()> = Listener::bind("unix:")?;
    let mut program = Command::new(std::env::current_exe()?).arg(listener.address().to_string()).spawn()?;
    let mut orders = listener.accept()?;
    for text in ["Roses are red,\nviolets are blue.\n", "eggs\nflour\nsugar\n"] {
        let (lines, mut results) = simplex()?;
        orders.send(Order { file: nameless(text)?.into(), lines })?;
        for line in &mut results {
            println!("{}", line?);
        }
    }
    drop(orders);
    println!("the other program has ended: {}", program.wait()?);

    // To another machine nothing of this kind can go.
    let listener: Listener<Order, ()> = Listener::bind("tcp:127.0.0.1:0")?;
    let mut orders: Connection<Order, ()> = Client::connect(listener.address())?;
    let (lines, mut results) = simplex::<String>()?;
    let order = Order { file: nameless("")?.into(), lines };
    println!("over TCP: {}", orders.send(&order).expect_err("it has handles"));
    drop(order);
    println!("and they stay here: {}", results.recv().expect_err("the order is dropped"));
    Ok(())
}
