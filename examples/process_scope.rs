//! Several workers share a task, and the results are collected. At the end of the scope all of them have ended, also if
//! one has failed.
#![forbid(unsafe_code)]

use std::ops::Range;

use ipc_core::{Process, scope};

/// How many prime numbers there are in `range`.
fn primes(range: Range<u32>) -> usize {
    range.filter(|&n| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)).count()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let total = scope(|scope| -> Result<usize, Box<dyn std::error::Error>> {
        let ranges = [0..25_000, 25_000..50_000, 50_000..75_000, 75_000..100_000];
        let workers: Vec<(Range<u32>, Process<usize>)> = ranges
            .into_iter()
            .map(|range| Ok((range.clone(), scope.spawn(primes, range)?)))
            .collect::<Result<_, ipc_core::Error>>()?;

        let mut total = 0;
        for (range, worker) in workers {
            let count = worker.join()?;
            println!("{:>5} to {:>6}: {count} prime numbers", range.start, range.end);
            total += count;
        }
        Ok(total)
    })??;
    println!("    0 to 100000: {total} prime numbers");
    Ok(())
}
