//! A worker is killed in the middle of a job. The job is not lost, as it was only leased: it goes to another worker, which learns how
//! often it was tried before.
#![forbid(unsafe_code)]

use std::thread;

use ipc_queue::{Consumer, Error, Process, Producer, Queue};
use ipc_sync::Event;

fn victim((jobs, begun): (Consumer<String>, Event)) {
    let job = jobs.lease().expect("there are jobs");
    println!("the first worker begins: {}", *job);
    begun.set().expect("this is no forked copy");
    loop {
        thread::park(); // in the middle of the job, until the parent kills it
    }
}

fn worker((jobs, done): (Consumer<String>, Producer<String>)) {
    loop {
        let job = match jobs.lease() {
            Ok(job) => job,
            Err(Error::Closed) => return,
            Err(error) => panic!("{error}"),
        };
        done.put(format!("{} at attempt {}", *job, job.deliveries())).expect("the parent waits for it");
        job.ack().expect("this is no forked copy"); // only now the queue forgets it
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (jobs, done) = (Queue::new()?, Queue::new()?);
    jobs.put("sweep".to_string())?;
    let begun = Event::new()?;
    let first = Process::spawn(victim, (jobs.consumer(), begun.clone()))?;
    begun.wait()?;
    first.kill()?;
    println!("join: {}", first.join().expect_err("it was killed"));

    let second = Process::spawn(worker, (jobs.consumer(), done.producer()))?;
    println!("done: {}", done.get()?);
    jobs.put("cook".to_string())?;
    println!("done: {}", done.get()?);
    jobs.close()?;
    second.join()?;

    // Who drops a lease gives its message back.
    let jobs: Queue<String> = Queue::new()?;
    jobs.put_many(&["iron", "dust"].map(String::from))?;
    drop(jobs.lease()?);
    let job = jobs.lease()?;
    println!("given back, and before all others: {} at attempt {}", *job, job.deliveries());
    Ok(())
}
