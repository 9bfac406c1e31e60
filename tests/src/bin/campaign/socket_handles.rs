//! Messages with handles over connections that were accepted: whoever dies, every descriptor is closed in the end.

use std::time::Duration;

use ipc_core::{Handle, Process};
use ipc_socket::{Address, Connection, Listener, wait};
use ipc_tests::campaign::{Flaw, Lane, Round};
use ipc_tests::unique_name;
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::handles::{Work, check_closed, receive_all, receive_parcels, send_parcels, witness};
use crate::socket::Service;

#[derive(Serialize, Deserialize)]
struct Visitor {
    service: Service,
    source: Handle,
    lane: Lane,
    seed: u64,
    sends: bool,
}

/// Connects, and sends or receives until the other end is gone.
fn visit(visitor: Visitor) {
    let Visitor { service, source, lane, seed, sends } = visitor;
    let client = service.client();
    if sends {
        let conn = client.connect(&service.address).expect("somebody listens");
        send_parcels(Work { conn, source, lane, seed });
    } else {
        let conn = client.connect(&service.address).expect("somebody listens");
        receive_all(Work { conn, source, lane, seed });
    }
}

fn service(round: &mut Round, folder: &Folder) -> Service {
    let address = match round.rng.one_in(2) {
        true => Address::unix(folder.file("socket")),
        false => Address::abstract_name(unique_name()),
    };
    Service::at(round, address).with_key()
}

pub(crate) fn sender(round: &mut Round) {
    let (folder, (witness, source)) = (Folder::new(), witness());
    let (service, seed) = (service(round, &folder), round.rng.next());
    let listener = service.listen().expect("a new name");
    let visitor = Visitor { service, source, lane: round.lane(0), seed, sends: true };
    start(round, visitor, &listener, |round, conn, source| {
        let mut work = Work { conn, source, lane: round.lane(1), seed };
        match receive_parcels(&mut work) {
            Ok(error) => round.judge_end(&error),
            Err((flaw, text)) => round.flaw(flaw, text),
        }
    });
    let received = round.lane(1).received();
    round.judge(&round.lane(0), received, !round.has_flaws());
    check_closed(round, &witness);
    drop(listener);
    folder.judge_empty(round);
}

pub(crate) fn receiver(round: &mut Round) {
    let (folder, (witness, source)) = (Folder::new(), witness());
    let (service, seed) = (service(round, &folder), round.rng.next());
    let listener = service.listen().expect("a new name");
    let visitor = Visitor { service, source, lane: round.lane(0), seed, sends: false };
    start(round, visitor, &listener, |round, conn, source| {
        send_parcels(Work { conn, source, lane: round.lane(1), seed });
    });
    let received = round.lane(0).received();
    round.judge(&round.lane(1), received, false);
    if let Some(flaw) = round.lane(0).flaw() {
        round.flaw(flaw, format!("parcel {received}, in the receiver"));
    }
    check_closed(round, &witness);
    drop(listener);
    folder.judge_empty(round);
}

/// Starts the visitor, who is the victim, and talks to it if it comes as far as that.
fn start<Tx, Rx>(
    round: &mut Round,
    visitor: Visitor,
    listener: &Listener<Tx, Rx>,
    talk: impl FnOnce(&mut Round, Connection<Tx, Rx>, Handle),
) {
    round.strike(|round| {
        let ours = visitor.source.try_clone().expect("a descriptor");
        let victim: Process<()> = round.victim().spawn(visit, visitor).expect("the visitor starts");
        // It may be in, and dead, at the same time.
        while !wait(&[&victim], Duration::ZERO).is_ok_and(|ready| !ready.is_empty()) {
            let _ = wait(&[listener, &victim], Duration::MAX);
            match listener.try_accept() {
                Ok(conn) => {
                    talk(round, conn, ours);
                    break;
                }
                Err(error) if error.is_would_block() => {}
                Err(error) => {
                    round.flaw(Flaw::Wrong, format!("cannot accept: {error:?}"));
                    break;
                }
            }
        }
        let _ = round.join(victim);
    });
}
