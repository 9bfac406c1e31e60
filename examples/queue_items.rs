//! A consumer takes items until it is told that there are no more: by an item that says so, or, which nobody can forget, by
//! the end of the last producer.
#![forbid(unsafe_code)]

use ipc_queue::{Consumer, Process, Producer, Queue};

fn producer(items: Producer<Option<String>>) {
    for i in 0..5 {
        items.put(Some(format!("item {i}"))).expect("the consumer is there");
    }
}

/// Ends with the first `None`.
fn consumer(items: Consumer<Option<String>>) {
    while let Some(item) = items.get().expect("None comes before the last producer ends") {
        println!("Consumed: {item}");
    }
}

/// Has no need of it.
fn consumer_of_all(items: Consumer<Option<String>>) {
    for item in items.iter() {
        println!("Consumed: {}", item.expect("items come as they were put").expect("nobody puts None"));
    }
    println!("no producer is left");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let items = Queue::new()?;
    let p1 = Process::spawn(producer, items.producer())?;
    let p2 = Process::spawn(consumer, items.consumer())?;
    p1.join()?;
    items.put(None)?; // tells one consumer to end; of several each needs one
    p2.join()?;

    // The two ends in place of the queue: as long as we had that, which can put as well, there would be a producer left.
    let (producing, consuming) = Queue::new()?.split();
    let p1 = Process::spawn(producer, producing)?;
    let p2 = Process::spawn(consumer_of_all, consuming)?;
    p1.join()?;
    p2.join()?;
    Ok(())
}
