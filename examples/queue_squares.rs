//! One process puts the squares of some numbers, and when it has ended, another one takes them all. The queue outlives its
//! producer, and what is in it can be seen at once: a `put` that has returned is never "not there yet".
#![forbid(unsafe_code)]

use ipc_queue::{Error, Process, Queue};

fn square_list((numbers, queue): (Vec<u64>, Queue<u64>)) {
    for number in numbers {
        queue.put(number * number).expect("the queue is open");
    }
}

fn print_queue(queue: Queue<u64>) {
    println!("Queue elements:");
    // Not `while !queue.is_empty()`: with a second consumer the last element could go between the question and `get`.
    loop {
        match queue.try_get() {
            Ok(element) => println!("{element}"),
            Err(Error::WouldBlock) => break,
            Err(error) => panic!("{error}"),
        }
    }
    println!("Queue is now empty!");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Queue::new()?;
    Process::spawn(square_list, (vec![1, 2, 3, 4], queue.clone()))?.join()?;
    println!("in the queue: {}", queue.len());
    Process::spawn(print_queue, queue.clone())?.join()?;
    println!("in the queue: {}", queue.len());
    Ok(())
}
