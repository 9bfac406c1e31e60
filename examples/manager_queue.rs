//! A queue of tasks in the server. A worker is killed in the middle of one: the next worker gets it, before all others, and `join` waits for
//! it. In Python the task would be lost, and `join` wait for ever.
#![forbid(unsafe_code)]

use std::thread;

use ipc_manager::{Event, JoinableQueue, List, Manager, Process};

/// `None` says that there will be no more.
type Tasks = JoinableQueue<Option<String>>;

fn victim((tasks, begun): (Tasks, Event)) {
    let task = tasks.get().expect("the server runs").expect("there are tasks");
    println!("the first worker begins: {task}");
    begun.set().expect("the server runs");
    loop {
        thread::park(); // in the middle of the task, until the parent kills it
    }
}

fn worker((tasks, done): (Tasks, List<String>)) {
    while let Some(task) = tasks.get().expect("the server runs") {
        done.push(&task).expect("the server runs");
        tasks.task_done().expect("this thread has a task"); // only now the queue forgets it
    }
    tasks.task_done().expect("the end is a task, too");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let (tasks, done, begun): (Tasks, _, _) = (manager.joinable_queue()?, manager.list()?, manager.event()?);
    for task in ["sweep", "cook", "iron"] {
        tasks.put(&Some(task.to_string()))?;
    }
    let first = Process::spawn(victim, (tasks.clone(), begun.clone()))?;
    begun.wait()?;
    println!("in the queue: {}, done: {}", tasks.len()?, tasks.try_join().is_ok());
    first.kill()?;
    println!("join: {}", first.join().expect_err("it was killed"));

    let second = Process::spawn(worker, (tasks.clone(), done.clone()))?;
    tasks.join()?;
    println!("all are done: {}", done.to_vec()?.join(", "));

    // Several workers, each of which gets its end.
    let third = Process::spawn(worker, (tasks.clone(), done.clone()))?;
    done.clear()?;
    for n in 1..=20 {
        tasks.put(&Some(format!("task {n}")))?;
    }
    tasks.put(&None)?;
    tasks.put(&None)?;
    tasks.join()?;
    second.join()?;
    third.join()?;
    println!("done by two: {}", done.len()?);

    // With room for two: who puts more has to wait, or does without.
    let small = manager.bounded_queue(2)?;
    println!("{:?}", [1, 2, 3].map(|n| small.try_put(&n).map_or_else(|error| error.to_string(), |()| n.to_string())));
    Ok(())
}
