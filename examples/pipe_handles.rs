//! What else can be in a message: an open file, and the end of another pipe. They move to the receiver with it.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{Read, Seek, Write};

use ipc_pipe::{Connection, Handle, Process, Sender, duplex, simplex};
use serde::{Deserialize, Serialize};

/// A file to read, and where to send what is found.
#[derive(Serialize, Deserialize)]
struct Order {
    title: String,
    file: Handle,
    lines: Sender<String>,
}

fn read_files(mut orders: Connection<(), Order>) {
    for order in &mut orders {
        let Order { title, file, mut lines } = order.expect("orders come as they were sent");
        let mut text = String::new();
        let mut file = File::from(file.into_fd().expect("it is the only one for this file"));
        file.read_to_string(&mut text).expect("the file can be read");
        let numbered = text.lines().enumerate().map(|(i, line)| format!("{title}, line {}: {line}", i + 1));
        lines.send_many(numbered).expect("somebody waits for the lines");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut orders, theirs) = duplex()?;
    let process = Process::spawn(read_files, theirs)?;

    for (title, text) in [("poem", "Roses are red,\nviolets are blue.\n"), ("list", "eggs\nflour\nsugar\n")] {
        // A file without a name: no other process could open it, so it can only be handed over.
        let path = std::env::temp_dir().join(format!("pipe_handles.{}", std::process::id()));
        let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        file.write_all(text.as_bytes())?;
        file.rewind()?;

        let (lines, mut results) = simplex()?;
        orders.send(Order { title: title.to_string(), file: Handle::from(file), lines })?;
        for line in &mut results {
            println!("{}", line?);
        }
    }
    drop(orders);
    process.join()?;
    Ok(())
}
