//! One message kills every worker that takes it. After some attempts the queue gives it to nobody any more: the work goes on, and the
//! message can be looked at.
#![forbid(unsafe_code)]

use ipc_queue::{Consumer, Error, Process, Producer, Queue, Settings};

fn worker((numbers, squares): (Consumer<u32>, Producer<u32>)) {
    loop {
        let number = match numbers.lease() {
            Ok(number) => number,
            Err(Error::Closed) => return,
            Err(error) => panic!("{error}"),
        };
        if *number == 13 {
            std::process::exit(1); // a bug
        }
        squares.put(*number * *number).expect("the main program collects them");
        number.ack().expect("this is no forked copy");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (numbers, squares) = (Queue::with(&Settings::new().max_deliveries(3))?, Queue::new()?);
    numbers.put_many(&[1, 13, 2, 3])?;
    numbers.close()?; // who has drained it ends

    while let Err(error) = Process::spawn(worker, (numbers.consumer(), squares.producer()))?.join() {
        println!("a worker is gone: {error}");
    }
    let squares = [squares.get()?, squares.get()?, squares.get()?];
    println!("all work is done that can be: {squares:?}");
    for letter in numbers.take_dead_letters()? {
        println!("a dead letter: {} after {} deliveries", letter.value?, letter.deliveries);
    }
    Ok(())
}
