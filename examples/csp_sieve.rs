//! The sieve of Eratosthenes as a pipeline that grows: each prime gets a process, which passes on what it does not divide, and starts the next
//! one with a channel that it makes itself. In PyCSP a channel made by a process lives in a server of that process; here it is a place in the
//! network's memory, and outlives its maker.
#![forbid(unsafe_code)]

use ipc_csp::{Error, Network, Reader, Writer, process, spawn};

const BELOW: u64 = 40;

/// The first number that comes is a prime, as no process before this one has kept it.
fn sieve((numbers, primes): (Reader<u64>, Writer<u64>)) -> Result<(), String> {
    filter(&numbers, &primes).map_err(|error| error.to_string())
}

fn filter(numbers: &Reader<u64>, primes: &Writer<u64>) -> Result<(), Box<dyn std::error::Error>> {
    let prime = match numbers.read() {
        Ok(prime) => prime,
        Err(Error::Retired) => return Ok(()), // the pipeline is long enough
        Err(error) => return Err(error.into()),
    };
    primes.write(prime)?;
    let channel = numbers.network().channel()?;
    let next = spawn(process(sieve, (channel.reader()?, primes.clone())))?;
    let others = channel.writer()?;
    for number in numbers.iter().filter(|number| number % prime != 0) {
        others.write(number)?;
    }
    others.retire(); // the next one learns that there are no more
    Ok(next.join()??)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new()?;
    let (numbers, primes) = (network.channel()?, network.channel()?);
    let first = spawn(process(sieve, (numbers.reader()?, primes.writer()?)))?;
    let from = primes.reader()?;
    let generator =
        spawn(process(|to: Writer<u64>| (2..BELOW).take_while(|n| to.write(*n).is_ok()).count(), numbers.writer()?))?;
    // Each prime comes before its process lets a larger number through, so they are in order.
    let found: Vec<String> = from.iter().map(|prime| prime.to_string()).collect();
    println!("{}", found.join(" "));
    first.join()??;
    println!("{} numbers, {} processes for primes", generator.join()?, found.len());
    Ok(())
}
