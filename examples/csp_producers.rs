//! Several producers and consumers at one channel. Consumers go on until the last producer has retired, whoever that is: nobody counts, and no
//! value stands for the end. PyCSP's `retire` is an exception in the process at the other end; here it is the end of an iterator, and a
//! producer that is killed has retired, too. Poison is the opposite: the end at once, for all.
#![forbid(unsafe_code)]

use ipc_csp::{Network, Reader, Writer, parallel, process, thread};

const PRODUCERS: u64 = 3;
const CONSUMERS: u64 = 2;
const EACH: u64 = 100;

fn producer((n, jobs): (u64, Writer<u64>)) -> u64 {
    for job in 0..EACH {
        jobs.write(n * EACH + job).expect("there are consumers");
    }
    jobs.retire(); // or let it go out of scope
    EACH
}

/// How many it got, and their sum.
fn consumer(jobs: Reader<u64>) -> (u64, u64) {
    jobs.iter().fold((0, 0), |(count, sum), job| (count + 1, sum + job))
}

/// Writes until somebody poisons the channel.
fn tireless(jobs: Writer<u64>) -> String {
    loop {
        if let Err(failed) = jobs.write(1) {
            return failed.error.to_string();
        }
    }
}

/// Has enough after ten.
fn fastidious(jobs: Reader<u64>) -> u64 {
    let sum = jobs.iter().take(10).sum();
    jobs.poison().expect("this is no forked copy");
    sum
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new()?;
    let jobs = network.channel()?;
    let (mut producers, mut consumers) = (Vec::new(), Vec::new());
    for n in 0..PRODUCERS {
        producers.push(process(producer, (n, jobs.writer()?)));
    }
    for _ in 0..CONSUMERS {
        consumers.push(process(consumer, jobs.reader()?));
    }
    // Members that return the same are a vector, others a tuple; groups can be members of a group.
    let (written, read) = parallel((
        thread(|| parallel(producers)),
        thread(|| parallel(consumers)), //
    ))?;
    let (written, read) = (written?, read?);
    let all = PRODUCERS * EACH;
    println!("{} producers have written {}", written.len(), written.iter().sum::<u64>());
    println!("{} consumers have read {}", read.len(), read.iter().map(|(count, _)| count).sum::<u64>());
    println!("each once: {}", read.iter().map(|(_, sum)| sum).sum::<u64>() == (0..all).sum());

    // Who has had enough poisons the channel: all who write learn it, also those that are waiting.
    let more = network.channel()?;
    let (first, second, sum) = parallel((
        process(tireless, more.writer()?),
        process(tireless, more.writer()?),
        process(fastidious, more.reader()?), //
    ))?;
    println!("poisoned after {sum}: \"{first}\", \"{second}\"");
    Ok(())
}
