//! Two processes at the same time, then one after the other. In PyCSP a decorator turns a function into a process; here any function can be
//! one, or a thread, and what says so is the place where it is started. Results are typed, and `parallel` returns those of all. Nothing has
//! to be shut down in the end, as there is no server.
#![forbid(unsafe_code)]

use ipc_csp::{parallel, process, replicate, sequence, thread};

fn p1((): ()) -> u32 {
    println!("P1 exiting");
    std::process::id()
}

fn p2(name: String) -> usize {
    println!("{name} exiting");
    name.len()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // PyCSP's `Parallel(P1(), P2())`. Who is first is not said; this returns when both have ended.
    let (pid, length) = parallel((process(p1, ()), process(p2, "P2".to_string())))?;
    println!("P1 was another process: {}, P2 has returned {length}", pid != std::process::id());

    // PyCSP's ordinary processes are threads: cheaper, but nothing parts them if one of them aborts. A closure may capture here.
    let word = String::from("P3");
    let (pid, ()) = parallel((thread(|| p1(())), thread(move || println!("{word} exiting"))))?;
    println!("P1 was this process: {}", pid == std::process::id());

    // `Sequence` runs one after the other, `N * P(…)` is `replicate`.
    let squares = sequence(replicate(4, |n| process(|n: usize| n * n, n)))?;
    println!("in sequence: {squares:?}");
    Ok(())
}
