//! How many clients a server can receive one after the other, whoever carries the connections.

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::network::{Network, Search, Sign, meeting};
use crate::plan::Plan;
use crate::raw::Stop;
use crate::window::Window;

/// So many processes connect again and again.
const CLIENTS: usize = 8;

/// Connections per second, each of which a client makes, sends a byte through, gets it back from, and closes. The server, one thread,
/// has one at a time.
pub(crate) fn rate<N: Network<u8>>(plan: &Plan) -> Outcome<f64> {
    let (stop, (sign, searches)) = (Stop::new()?, meeting(CLIENTS)?);
    let mut workers = vec![Work { window: plan.window, stop: stop.try_clone()?, what: What::Serve(sign) }];
    for search in searches {
        workers.push(Work { window: plan.window, stop: stop.try_clone()?, what: What::Visit(search) });
    }
    let tallies = plan.all(
        |work: Work| match work.what {
            What::Serve(sign) => {
                let served = serve::<N>(work.window, sign, &work.stop);
                // In any case, so that the others end.
                work.stop.set();
                served
            }
            What::Visit(search) => visit::<N>(search, &work.stop),
        },
        workers,
    )?;
    let [server, clients @ ..] = &tallies[..] else { return Err(Failure::new("there is no server")) };
    let visits: u64 = clients.iter().map(|client| client.visits).sum();
    // The last byte of each client may have been on its way.
    if !(visits..=visits + CLIENTS as u64).contains(&server.visits) {
        return Err(Failure::new(format!("{} connections were served, {visits} were made", server.visits)));
    }
    Ok(server.per_second)
}

#[derive(Serialize, Deserialize)]
struct Work {
    window: Window,
    /// Enough clients came.
    stop: Stop,
    what: What,
}

#[derive(Serialize, Deserialize)]
enum What {
    Serve(Sign),
    Visit(Search),
}

#[derive(Default, Serialize, Deserialize)]
struct Tally {
    visits: u64,
    per_second: f64,
}

fn serve<N: Network<u8>>(window: Window, sign: Sign, stop: &Stop) -> Outcome<Tally> {
    let (listener, address) = N::listen()?;
    sign.put_up(&address)?;
    let mut visits = 0;
    let timed = window.time(16, || {
        let mut conn = N::accept(&listener)?;
        let Some(byte) = N::receive(&mut conn)? else { return Err(Failure::new("a client went away at once")) };
        N::send(&mut conn, &byte)?;
        visits += 1;
        Ok(())
    })?;
    // Before the listener is closed, which fails those who are about to connect.
    stop.set();
    Ok(Tally { visits, per_second: timed.per_second() })
}

fn visit<N: Network<u8>>(search: Search, stop: &Stop) -> Outcome<Tally> {
    let (address, mut visits) = (search.address()?, 0);
    let visit = |byte| {
        let mut conn = N::connect(&address)?;
        N::send(&mut conn, &byte)?;
        match N::receive(&mut conn)? {
            Some(back) if back == byte => Ok(()),
            other => Err(Failure::new(format!("the server answered {byte} with {other:?}"))),
        }
    };
    loop {
        match visit(visits as u8) {
            Ok(()) => visits += 1,
            Err(_) if stop.is_set() => return Ok(Tally { visits, per_second: 0.0 }),
            Err(failure) => return Err(failure),
        }
    }
}
