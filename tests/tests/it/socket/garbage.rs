//! A thousand clients that send garbage, and fifty that do not.

use ipc_tests::isolated;
use serde::{Deserialize, Serialize};

use super::*;

const BAD: usize = 1000;
const GOOD: usize = 50;
/// How many processes the bad ones are in.
const GANGS: usize = 4;
const MESSAGES: u32 = 200;

/// What a server has, as it sees it itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Account {
    descriptors: usize,
    /// In pages of 4 KiB, or whatever the system has.
    pages: usize,
    accepted: usize,
    refused: usize,
}

impl Account {
    fn now(accepted: usize, refused: usize) -> Account {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let pages = statm.split(' ').nth(1).unwrap().parse().unwrap();
        Account { descriptors: descriptors(), pages, accepted, refused }
    }
}

/// A server whose account can be asked for.
struct Watched {
    process: Process<()>,
    line: Connection<(), Account>,
}

impl Watched {
    fn start(address: &Address) -> Watched {
        let (mut line, theirs) = ipc_pipe::duplex::<(), Account>().unwrap();
        let process = Process::spawn(serve, (address.clone(), theirs)).unwrap();
        line.recv_timeout(LONG).unwrap();
        Watched { process, line }
    }

    fn account(&mut self) -> Account {
        self.line.send(()).unwrap();
        self.line.recv_timeout(LONG).unwrap()
    }

    /// Waits until it has done with all clients.
    fn settled(&mut self, accepted: usize, refused: usize) -> Account {
        let mut last = self.account();
        let before = Instant::now();
        while (last.accepted, last.refused) != (accepted, refused) {
            assert!(before.elapsed() < LONG, "{last:?} and not {accepted} accepted, {refused} refused");
            last = self.account();
        }
        last
    }
}

/// One thread that accepts, one for each client that came in, and this one, which tells.
fn serve((address, mut line): (Address, Connection<Account, ()>)) {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    let count = |_: &ipc_socket::Refusal| {
        REFUSED.fetch_add(1, SeqCst);
    };
    let listener: Server = with_key().handshake_timeout(LONG).on_refused(count).bind(address).unwrap();
    line.send(Account::now(0, 0)).unwrap();
    std::thread::spawn(move || {
        for conn in &listener {
            let conn = conn.unwrap();
            std::thread::spawn(move || {
                echo(conn);
                ENDED.fetch_add(1, SeqCst);
            });
        }
    });
    while line.recv().is_ok() {
        line.send(Account::now(ENDED.load(SeqCst), REFUSED.load(SeqCst))).unwrap();
    }
}

/// Numbers that look like anything but are the same again.
fn random(seed: usize) -> impl Iterator<Item = u8> {
    let mut state = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state as u8)
    })
}

/// Comes, and says what no client should; returns what is still open.
fn bad_client(address: &Address, n: usize) -> Option<Raw> {
    let mut raw = Raw::connect(address);
    // It may be thrown out while it still talks.
    let mut say = |bytes: &[u8]| drop(raw.write_all(bytes));
    match n % 8 {
        0 => say(&random(n).take(n).collect::<Vec<u8>>()),
        1 => say(&[[0x7f, 0xff, 0xff, 0xff], [0xff; 4], [0, 0, 1, 1], [0x80, 0, 0, 0]][n / 8 % 4]),
        2 => say(&vec![0xa5; 100_000]),
        3 => {} // silent
        // A length that could be right, and less than that.
        4 => say(&[&[0, 0, 0, 40][..], &random(n).take(n % 40).collect::<Vec<u8>>()].concat()),
        5 => return None, // it is gone already
        6 => {
            say(&[0, 0, 0, 16]);
            say(&random(n).take(16).collect::<Vec<u8>>()); // an answer, though not the right one
        }
        _ => {
            let shut = match &raw {
                Raw::Local(stream) => stream.shutdown(std::net::Shutdown::Write),
                Raw::Network(stream) => stream.shutdown(std::net::Shutdown::Write),
            };
            let _ = shut; // fails where it was thrown out
        }
    }
    Some(raw)
}

/// A part of the bad clients; they stay until all good ones have been served, and those who dawdle send a byte now and then.
fn gang((address, numbers): (Address, std::ops::Range<usize>), line: &mut Line) {
    let mut open: Vec<(usize, Raw)> = numbers.filter_map(|n| bad_client(&address, n).map(|raw| (n, raw))).collect();
    line.tell();
    open.retain(|(n, _)| matches!(n % 8, 3 | 4));
    let mut sent = 0;
    while line.0.recv_timeout(Duration::from_millis(4)).is_err_and(|error| error.is_timeout()) {
        // A header that could be one, byte by byte.
        for (_, raw) in open.iter_mut().filter(|(n, _)| n % 16 == 3 && sent < 4) {
            let _ = raw.write_all(&[[0, 0, 0, 48][sent]]);
        }
        sent += 1;
    }
}

fn good_clients((address, n): (Address, usize), line: &mut Line) {
    std::thread::scope(|scope| {
        for client in 0..n {
            let address = &address;
            scope.spawn(move || {
                let mut conn: Plain = keyed().connect_timeout(address, LONG).unwrap();
                for i in 0..MESSAGES {
                    let message = format!("message {i} of client {client}").repeat(1 + i as usize % 50).into_bytes();
                    conn.send_timeout(&message, LONG).unwrap();
                    assert!(conn.recv_timeout(LONG).unwrap() == message, "another message than was sent");
                }
            });
        }
    });
    line.tell_and_wait();
}

/// Bad and good ones at the same time; returns when the good ones have been served and all are gone.
fn rush(address: &Address, bad: usize, good: usize) {
    let each = bad / GANGS;
    let mut gangs: Vec<Other> =
        (0..GANGS).map(|i| Other::start((address.clone(), i * each..(i + 1) * each), gang)).collect();
    let mut good: Vec<Other> = (0..2).map(|_| Other::start((address.clone(), good / 2), good_clients)).collect();
    good.iter_mut().for_each(Other::reached);
    gangs.iter_mut().for_each(Other::reached);
    // And once more, now that all the bad ones that stay are there.
    let mut late = Other::until((address.clone(), 2), good_clients);
    late.go_on();
    late.finish();
    good.into_iter().chain(gangs).for_each(Other::finish);
}

#[test]
fn a_thousand_garbage_clients_cost_the_good_ones_and_the_server_nothing() {
    isolated(|| {
        for address in everywhere() {
            let mut server = Watched::start(&address);
            // So that what it needs once is there before the first account.
            rush(&address, BAD / 5, GOOD);
            let before = server.settled(GOOD + 2, BAD / 5);
            rush(&address, BAD, GOOD);
            let after = server.settled(before.accepted + GOOD + 2, before.refused + BAD);
            assert_eq!(after.descriptors, before.descriptors, "{address}");
            let more = after.pages.saturating_sub(before.pages);
            assert!(more < 1024, "{address}: {before:?}, {after:?}");
            server.process.kill().unwrap();
            assert!(server.process.join().is_err());
            drop(Server::bind(&address).unwrap());
        }
    });
}
