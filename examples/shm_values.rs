//! A number and an array of numbers that a child changes and its parent reads, without anything being sent: Python's `Value('d')`
//! and `Array('i')`.
#![forbid(unsafe_code)]

use ipc_core::Process;
use ipc_shm::{Array, Value};

#[expect(clippy::approx_constant, reason = "so many digits are enough here")]
fn f((n, a): (Value<f64>, Array<i32>)) {
    n.set(3.1415927).expect("nobody dies with the lock");
    for i in 0..a.len() {
        a.update(i, |number| *number = -*number).expect("nobody dies with the lock");
    }
}

/// As `f`, but takes the lock once: nobody sees some numbers changed and others not.
fn at_once(a: Array<i32>) {
    for number in a.lock().expect("nobody dies with the lock").iter_mut() {
        *number *= 10;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let num = Value::new(0.0)?;
    let arr = Array::new(&Vec::from_iter(0..10))?;

    Process::spawn(f, (num.clone(), arr.clone()))?.join()?;
    println!("{}", num.get()?);
    println!("{:?}", arr.to_vec()?);

    Process::spawn(at_once, arr.clone())?.join()?;
    println!("{:?}", arr.lock()?);
    Ok(())
}
