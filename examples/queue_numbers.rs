//! One process produces numbers, another one prints them and ends when it meets the last message. With several consumers each
//! would need one of these: there the producer closes the queue instead, which ends all of them once they have drained it.
#![forbid(unsafe_code)]

use ipc_queue::{Consumer, Process, Producer, Queue};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Message {
    Number(u32),
    /// Nothing comes after it.
    End,
}

fn produce(messages: Producer<Message>) {
    for number in 1..=10 {
        println!("produced {number}");
        messages.put(Message::Number(number)).expect("the consumer is there");
    }
    messages.put(Message::End).expect("the consumer is there");
}

fn consume(messages: Consumer<Message>) {
    while let Message::Number(number) = messages.get().expect("the last message comes before the producer ends") {
        println!("consumed {number}");
    }
    println!("the consumer has met the end");
}

fn produce_and_close(numbers: Producer<u64>) {
    for number in 1..=10_000 {
        numbers.put(number).expect("nobody else closes the queue");
    }
    numbers.close().expect("this is no forked copy");
}

/// Adds up what it gets, of which the others get the rest.
fn sum(numbers: Consumer<u64>) -> u64 {
    numbers.iter().map(|number| number.expect("numbers come as they were put")).sum()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let messages = Queue::new()?;
    let producer = Process::spawn(produce, messages.producer())?;
    let consumer = Process::spawn(consume, messages.consumer())?;
    producer.join()?;
    consumer.join()?;

    let numbers = Queue::bounded(100)?;
    let mut adders = Vec::new();
    for _ in 0..3 {
        adders.push(Process::spawn(sum, numbers.consumer())?);
    }
    Process::spawn(produce_and_close, numbers.producer())?.join()?;
    let mut total = 0;
    for adder in adders {
        total += adder.join()?;
    }
    println!("the sum of 3 consumers: {total}");
    println!("and then: {}", numbers.put(0).expect_err("it is closed for everybody").error);
    Ok(())
}
