//! A worker waits for tasks in a queue that it shares with others, and at the same time for what its own connection says.
#![forbid(unsafe_code)]

use std::time::Duration;

use ipc_pipe::{Connection, duplex};
use ipc_queue::{Consumer, Error, Process, Queue, wait};

fn worker((tasks, mut orders): (Consumer<u32>, Connection<u32, String>)) {
    let is_task = tasks.readiness().expect("the limit of open files is far away");
    let mut sum = 0;
    loop {
        for ready in wait(&[&is_task, &orders], Duration::MAX).expect("both can be waited for") {
            if ready == 0 {
                match tasks.try_get() {
                    Ok(task) => sum += task,
                    Err(Error::WouldBlock) => {} // another worker was faster
                    Err(error) => panic!("{error}"),
                }
            } else {
                match orders.recv().expect("the parent is there until the end").as_str() {
                    "report" => orders.send(sum).expect("the parent waits for it"),
                    _ => return,
                }
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tasks = Queue::new()?;
    let mut workers = Vec::new();
    for _ in 0..2 {
        let (ours, theirs) = duplex::<String, u32>()?;
        workers.push((Process::spawn(worker, (tasks.consumer(), theirs))?, ours));
    }

    for round in 1..=3 {
        for task in 1..=100 {
            tasks.put(task)?;
        }
        // Both do their tasks whenever there are some, and answer whenever they are asked.
        let mut sum = 0;
        while sum < round * 5050 {
            sum = 0;
            for (_, orders) in &mut workers {
                orders.send("report".to_string())?;
                sum += orders.recv()?;
            }
        }
        println!("together they have {sum}");
    }
    for (process, mut orders) in workers {
        orders.send("end".to_string())?;
        process.join()?;
    }
    Ok(())
}
