//! Two processes and two FIFOs, one for each direction: the producer puts messages into `pipe.in`, the consumer sends each back through
//! `pipe.out`. After a program in Python, which opens the ends it writes for reading as well, so that no `open` waits, and then cannot see
//! that nobody is left on the other side. Here an end is opened for what it is, and waits for the other process.
#![forbid(unsafe_code)]

use ipc_fifo::{Fifo, Process, Reader, Writer};

/// Both open the FIFOs in the same order. Otherwise each would wait for the other, see `fifo_connection`.
fn consumer((pipe_in, pipe_out): (Fifo, Fifo)) -> Result<(), String> {
    let consume = || -> ipc_fifo::Result<()> {
        let mut input: Reader<String> = pipe_in.reader()?;
        let mut output: Writer<String> = pipe_out.writer()?;
        loop {
            let data = input.recv()?;
            println!("received data from pipe.in: {data} @consumer");
            if data == "exit" {
                return Ok(());
            }
            output.send(data)?;
        }
    };
    consume().map_err(|error| error.to_string())
}

fn producer((pipe_in, pipe_out): (Fifo, Fifo)) -> Result<(), String> {
    let produce = || -> ipc_fifo::Result<()> {
        let mut output: Writer<String> = pipe_in.writer()?;
        let mut input: Reader<String> = pipe_out.reader()?;
        for i in 1..=3 {
            let message = format!("msg {i}");
            println!("------product msg: {message} by producer------");
            output.send(message)?;
            println!("received data from pipe.out: {} @producer", input.recv()?);
        }
        output.send("exit".to_string())
    };
    produce().map_err(|error| error.to_string())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("fifo_pair-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let pipe_in = Fifo::create(folder.join("pipe.in"), 0o600)?;
    let pipe_out = Fifo::create(folder.join("pipe.out"), 0o600)?;

    let consumer = Process::spawn(consumer, (pipe_in.share(), pipe_out.share()))?;
    let producer = Process::spawn(producer, (pipe_in.share(), pipe_out.share()))?;
    producer.join()??;
    consumer.join()??;

    drop((pipe_in, pipe_out)); // their names are removed here
    std::fs::remove_dir(&folder)?; // or this would fail
    Ok(())
}
