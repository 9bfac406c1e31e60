//! Processes share no memory: what a child puts into a `static` is not there in its parent. What the parent is to have must be
//! returned, or sent.
#![forbid(unsafe_code)]

use std::sync::Mutex;

use ipc_core::Process;

static RESULT: Mutex<Vec<i32>> = Mutex::new(Vec::new());

fn square_list(list: Vec<i32>) {
    let mut result = RESULT.lock().expect("no other thread is here");
    result.extend(list.iter().map(|number| number * number));
    println!("Result(in process p1): {result:?}");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let p1 = Process::spawn(square_list, vec![1, 2, 3, 4])?;
    p1.join()?;

    println!("Result(in main program): {:?}", RESULT.lock()?);
    Ok(())
}
