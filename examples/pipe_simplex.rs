//! A one-way pipe: one end can only send, the other one only receive. That is a matter of types here: a sender has no `recv`.
#![forbid(unsafe_code)]

use ipc_pipe::{Process, Sender, simplex};

fn measure(mut readings: Sender<(String, f64)>) {
    for (place, degrees) in [("attic", 31.5), ("kitchen", 22.0), ("cellar", 12.5)] {
        readings.send((place.to_string(), degrees)).expect("somebody reads");
    }
    // Here the sender is dropped, and so ends the stream.
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (sender, mut receiver) = simplex()?;
    let process = Process::spawn(measure, sender)?;

    for reading in &mut receiver {
        let (place, degrees) = reading?;
        println!("{place}: {degrees:.1} °C");
    }
    println!("no more readings");
    process.join()?;
    Ok(())
}
