//! Several computers share objects: one serves, and the others know its address and the key. Here all of them are this one, under its address
//! 127.0.0.1. What Python calls `register` is done by names: who makes an object gives it one, and others open it by that, and are told
//! if it is something else. Nothing is encrypted, and who has the key can do everything.
#![forbid(unsafe_code)]

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use ipc_manager::{Dict, JoinableQueue, List, Manager};

/// From where to where primes are counted; `None` at the end.
type Ranges = JoinableQueue<Option<(u32, u32)>>;

/// The computer that serves. It says where, and ends when it is told to.
fn serve() -> Result<(), Box<dyn Error>> {
    // Port 0: the system chooses one that is free. For other machines it would be `tcp:0.0.0.0:0`.
    let server = Manager::serve("tcp:127.0.0.1:0", std::env::var("MANAGER_KEY")?)?;
    println!("{}", server.address());
    server.join();
    Ok(())
}

/// One that counts.
fn work(address: &str) -> Result<(), Box<dyn Error>> {
    let manager = Manager::connect(address, std::env::var("MANAGER_KEY")?)?;
    let (ranges, counts): (Ranges, Dict<u32, usize>) = (manager.open("ranges")?, manager.open("counts")?);
    while let Some((start, end)) = ranges.get()? {
        let is_prime = |n: &u32| *n > 1 && (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0);
        counts.insert(&start, &(start..end).filter(is_prime).count())?;
        ranges.task_done()?;
    }
    Ok(ranges.task_done()?)
}

/// Nobody can guess it: the standard library has it from the system.
fn random_key() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// The one that has the work.
fn lead(address: &str, key: &str) -> Result<(), Box<dyn Error>> {
    let stranger = Manager::connect(address, "open barley").expect_err("the key is another one");
    println!("with another key: {stranger}: {}", stranger.source().ok_or("it has a reason")?);

    let manager = Manager::connect(address, key)?;
    let (ranges, counts): (Ranges, Dict<u32, usize>) = (manager.joinable_queue()?, manager.dict()?);
    manager.publish("ranges", &ranges)?;
    manager.publish("counts", &counts)?;
    println!("as a list: {}", manager.open::<List<u32>>("counts").expect_err("it is a dict"));
    println!("by a wrong name: {}", manager.open::<Ranges>("rages").expect_err("nothing is named so"));

    let mut workers = Vec::new();
    for _ in 0..2 {
        let mut command = Command::new(std::env::current_exe()?);
        workers.push(command.args(["work", address]).env("MANAGER_KEY", key).spawn()?);
    }
    for start in (0..100_000).step_by(25_000) {
        ranges.put(&Some((start, start + 25_000)))?;
    }
    for _ in &workers {
        ranges.put(&None)?;
    }
    for mut worker in workers {
        println!("a worker has ended: {}", worker.wait()?);
    }
    ranges.try_join()?; // else a worker has failed
    let mut counts = counts.iter()?.collect::<Result<Vec<_>, _>>()?;
    counts.sort();
    for (start, count) in &counts {
        println!("{start:>5} to {:>6}: {count} prime numbers", start + 25_000);
    }
    println!("    0 to 100000: {} prime numbers", counts.iter().map(|(_, count)| count).sum::<usize>());
    Ok(manager.shutdown()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => return serve(),
        ["work", address] => return work(address),
        _ => {}
    }
    let key = random_key();
    let mut command = Command::new(std::env::current_exe()?);
    let mut server = command.arg("serve").env("MANAGER_KEY", &key).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().ok_or("it has a pipe")?).read_line(&mut line)?;
    let address = line.trim();
    println!("listening at {address}");

    let done = lead(address, &key);
    if done.is_err() {
        server.kill()?; // nobody has told it to end
    }
    println!("the server has ended: {}", server.wait()?);
    done
}
