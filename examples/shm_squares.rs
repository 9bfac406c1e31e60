//! A child squares a list into a shared array, and puts the sum of the squares into a shared value: its parent has both at once.
//! In a list that is not shared the parent would find nothing, see `process_globals`.
#![forbid(unsafe_code)]

use ipc_core::Process;
use ipc_shm::{Array, Value};

fn square_list((mylist, result, square_sum): (Vec<i32>, Array<i32>, Value<i32>)) {
    // Held until the sum is there, too: whoever has the array finds the sum that belongs to it.
    let mut result = result.lock().expect("nobody dies with the lock");
    for (square, num) in result.iter_mut().zip(mylist) {
        *square = num * num;
    }
    square_sum.set(result.iter().sum()).expect("nobody dies with the lock");

    println!("Result(in process p1): {result:?}");
    println!("Sum of squares(in process p1): {}", square_sum.get().expect("nobody dies with the lock"));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mylist = vec![1, 2, 3, 4];
    let result = Array::zeroed(mylist.len())?;
    let square_sum = Value::new(0)?;

    let p1 = Process::spawn(square_list, (mylist, result.clone(), square_sum.clone()))?;
    p1.join()?;

    println!("Result(in main program): {:?}", result.to_vec()?);
    println!("Sum of squares(in main program): {}", square_sum.get()?);
    Ok(())
}
