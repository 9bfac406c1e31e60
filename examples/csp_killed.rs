//! Members of a network are killed. Nobody hangs: a value that nobody has got goes to another reader, and at the other end of a channel a
//! death is as if the dead one had retired. With PyCSP, who waits for a killed process waits for ever, and whoever joins it does so, too.
#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use ipc_csp::{Network, Process, Reader, Writer, parallel, process};

fn reader(jobs: Reader<String>) -> String {
    jobs.read().expect("there is a writer")
}

/// Dies in the middle of its work: no destructor runs, and nothing is said to anybody.
fn victim(numbers: Writer<u32>) {
    (1..=3).for_each(|n| numbers.write(n).expect("somebody reads"));
    std::process::abort();
}

fn counter(numbers: Reader<u32>) {
    loop {
        match numbers.read() {
            Ok(n) => println!("got {n}"),
            Err(error) => return println!("and then: {error}"),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new()?;
    let jobs = network.channel()?;
    let to = jobs.writer()?;
    let first = Process::spawn(reader, jobs.reader()?)?;
    while !network.report()?.waiting().iter().any(|waiting| waiting.pid == first.pid()) {
        thread::yield_now(); // until it waits for a job
    }
    first.kill()?;
    println!("first: {}", first.join().expect_err("it was killed"));
    // It may still stand in the line of those who wait. The job is not given to it.
    let failed = to.write_timeout("sweep".to_string(), Duration::from_secs(60)).expect_err("nobody is there");
    println!("\"{}\" comes back: {}", failed.value, failed.error);

    // Its end went with it, and it was the only one. A new channel, and two to read.
    let jobs = network.channel()?;
    let (to, readers) = (jobs.writer()?, (jobs.reader()?, jobs.reader()?));
    let first = Process::spawn(reader, readers.0)?;
    while !network.report()?.waiting().iter().any(|waiting| waiting.pid == first.pid()) {
        thread::yield_now();
    }
    first.kill()?;
    let second = Process::spawn(reader, readers.1)?;
    to.write("cook".to_string())?; // returns when one has it who lives
    println!("second: {}", second.join()?);

    // `parallel` waits for all, and says who has failed, and how.
    let numbers = network.channel()?;
    let failures = parallel((
        process(victim, numbers.writer()?).name("victim"),
        process(counter, numbers.reader()?).name("counter"), //
    ))
    .expect_err("one of them is killed");
    println!("{failures}");
    Ok(())
}
