//! Many small messages at once: a batch costs one lock and one wake-up, whatever is in it. Whoever takes a batch gets what is there,
//! and does not wait until it is full.
#![forbid(unsafe_code)]

use ipc_queue::{Consumer, Error, Process, Queue};

const COUNT: u64 = 500_000;
const BATCH: usize = 250;

/// Returns the sum, and how many numbers there were.
fn add(numbers: Consumer<u64>) -> (u64, usize) {
    let (mut sum, mut count) = (0, 0);
    loop {
        match numbers.get_many(BATCH) {
            Ok(batch) => {
                sum += batch.iter().sum::<u64>();
                count += batch.len();
            }
            Err(Error::Disconnected) => return (sum, count),
            Err(error) => panic!("{error}"),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let all: Vec<u64> = (1..=COUNT).collect();

    let (numbers, theirs) = Queue::new()?.split();
    let adders = [theirs.clone(), theirs].map(|end| Process::spawn(add, end));
    for batch in all.chunks(BATCH) {
        numbers.put_many(batch)?;
    }
    drop(numbers); // the adders take what is left, and learn that nothing more will come
    let (mut sum, mut count) = (0, 0);
    for adder in adders {
        let part = adder?.join()?;
        (sum, count) = (sum + part.0, count + part.1);
    }
    println!("{count} numbers, their sum is {sum}");

    // If not all of a batch fits, as much of it as does goes in.
    let few: Queue<u64> = Queue::bounded(3)?;
    let error = few.try_put_many(&all[..5]).expect_err("there is room for three");
    println!("{} are in; for the next one {}", error.put, error.error);
    println!("out again: {:?}", few.get_many(BATCH)?);
    Ok(())
}
