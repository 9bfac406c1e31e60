//! What the networks of another program are doing: `cargo run --example csp_report PID...`. That program does nothing for it, and may as well be
//! stopped or stuck. PyCSP writes a trace if it was told to do so before. Without a PID, this starts a process to look at.
#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use ipc_csp::{Error, Network, Process, Report};

const LONG: Duration = Duration::from_secs(60);

/// Makes a network of its own, of which its parent has no end, and waits in it.
fn subject((): ()) -> String {
    let work = || {
        let network = Network::new()?;
        let results = network.builder().name("results").buffered(4).channel()?;
        let (results_in, results_out) = (results.reader()?, results.writer()?);
        results_out.write(1.5)?;
        results_out.write(2.5)?;
        let orders = network.builder().name("orders").channel::<String>()?;
        let (orders_in, _orders_out) = (orders.reader()?, orders.writer()?);
        orders_in.read_timeout(LONG)?;
        results_in.read()
    };
    work().map_or_else(|error: Error| error.to_string(), |result: f64| result.to_string())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pids = std::env::args().skip(1).map(|pid| pid.parse()).collect::<Result<Vec<u32>, _>>()?;
    for pid in &pids {
        println!("process {pid}:");
        Report::of_process(*pid)?.iter().for_each(|report| print!("{report}"));
    }
    if pids.is_empty() {
        let process = Process::spawn(subject, ())?;
        let reports = loop {
            let reports = Report::of_process(process.pid())?;
            if reports.iter().any(|report| !report.waiting().is_empty()) {
                break reports;
            }
            thread::yield_now();
        };
        reports.iter().for_each(|report| print!("{report}"));
        process.kill()?;
    }
    Ok(())
}
