//! Workers share tasks, and the main program waits until all are done: not only taken, but finished. A task that a worker had taken
//! when it ended is not lost: another one gets it.
#![forbid(unsafe_code)]

use ipc_queue::{Error, JoinableQueue, Process, Producer, Queue};

fn worker((tasks, squares): (JoinableQueue<u32>, Producer<u32>)) {
    loop {
        let number = match tasks.get() {
            Ok(number) => number,
            Err(Error::Closed) => return,
            Err(error) => panic!("{error}"),
        };
        squares.put(number * number).expect("the main program collects them");
        tasks.task_done().expect("it was given to this thread");
    }
}

fn quitter(tasks: JoinableQueue<u32>) {
    let number = tasks.get().expect("there are tasks");
    println!("a worker takes {number}, and leaves");
    std::process::exit(3);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tasks, squares) = (JoinableQueue::new()?, Queue::new()?);
    for number in 1..=6 {
        tasks.put(number)?;
    }
    println!("join: {}", Process::spawn(quitter, tasks.clone())?.join().expect_err("it has not returned"));

    let workers = [(); 2].map(|()| Process::spawn(worker, (tasks.clone(), squares.producer())));
    tasks.join()?;
    println!("all tasks are done");
    tasks.close()?;
    for worker in workers {
        worker?.join()?;
    }

    let mut squares = squares.get_many(100)?;
    squares.sort();
    println!("{squares:?}");
    println!("task_done: {}", tasks.task_done().expect_err("this process has no task"));
    Ok(())
}
