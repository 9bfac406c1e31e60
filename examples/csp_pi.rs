//! Pi by throwing darts: workers take jobs from one channel, whoever is free, and write hits to another one. If a worker of PyCSP dies, who
//! adds up waits for it for ever; here it costs the job that it has. The network ends in order, because whoever has nothing to write
//! any more retires.
#![forbid(unsafe_code)]

use ipc_csp::{Network, Reader, Writer, parallel, process, spawn};

const WORKERS: usize = 4;
const JOBS: u64 = 100;
const DARTS: u64 = 10_000;

/// Numbers from 0 to 1 that look random: splitmix64. The job is the seed, so the result is the same whoever does it.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// How many jobs it did.
fn worker((jobs, hits): (Reader<u64>, Writer<u64>)) -> u64 {
    let mut done = 0;
    for job in &jobs {
        let mut state = job << 32;
        let inside = (0..DARTS).filter(|_| random(&mut state).powi(2) + random(&mut state).powi(2) < 1.0);
        hits.write(inside.count() as u64).expect("somebody adds them up");
        done += 1;
    }
    done
}

fn produce(jobs: Writer<u64>) -> usize {
    (0..JOBS).take_while(|job| jobs.write(*job).is_ok()).count()
}

/// How many results there were, and their sum.
fn add_up(hits: Reader<u64>) -> (u64, u64) {
    hits.iter().fold((0, 0), |(count, sum), hits| (count + 1, sum + hits))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new()?;
    let (jobs, hits) = (network.channel()?, network.buffered(WORKERS)?);
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(process(worker, (jobs.reader()?, hits.writer()?)));
    }
    let producer = spawn(process(produce, jobs.writer()?))?;
    let sum = spawn(process(add_up, hits.reader()?))?;

    let done = parallel(workers)?; // when all have ended, nobody is left to write hits
    let (results, inside) = sum.join()?;
    println!("{} jobs written, {} done, {results} results", producer.join()?, done.iter().sum::<u64>());
    println!("pi is about {:.3}", 4.0 * inside as f64 / (results * DARTS) as f64);
    Ok(())
}
