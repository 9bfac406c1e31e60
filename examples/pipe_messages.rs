//! One process sends messages up to an agreed last one, another receives them. Each prints what it does, and as they run at
//! the same time, the lines of the two come in a different order each time.
#![forbid(unsafe_code)]

use ipc_pipe::{Process, Receiver, Sender, simplex};

fn sender((mut pipe, messages): (Sender<String>, Vec<String>)) {
    for message in messages {
        pipe.send(&message).expect("the receiver reads up to the last message");
        println!("Sent the message: {message}");
    }
}

fn receiver(mut pipe: Receiver<String>) {
    loop {
        let message = pipe.recv().expect("END comes before the end of the stream");
        if message == "END" {
            break;
        }
        println!("Received the message: {message}");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let messages = ["hello", "hey", "hru?", "END"].map(String::from).to_vec();
    let (sending, receiving) = simplex()?;
    let p1 = Process::spawn(sender, (sending, messages))?;
    let p2 = Process::spawn(receiver, receiving)?;
    p1.join()?;
    p2.join()?;
    Ok(())
}
