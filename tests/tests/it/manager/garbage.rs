//! Clients that have the key and do not go by the rules, and others beside them that do.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use ipc_socket::{Bytes, Client, Listener};
use ipc_tests::isolated;

use super::*;

const GOOD: usize = 20;
const TIMES: u32 = 60;
/// So much memory more than before the server may have.
const ROOM: u64 = 64 << 20;

// Requests as the protocol has them, where numbers below 128 are bytes: a number, what is asked for, and what belongs to that.
const PING: u8 = 4;
const MAKE: u8 = 5;
const ON: u8 = 12;
const STATS: u8 = 15;
/// Of a value: what it is.
const GET: [u8; 2] = [4, 0];
/// What comes first on a connection.
const HELLO: &[u8] = &[1, 0, 1, 0, 7];
/// The same, of one that speaks another version.
const OTHER_HELLO: &[u8] = &[1, 0, 99, 0, 7];

/// A connection that was let in.
fn let_in((address, key): &Place) -> UnixStream {
    let client = Client::builder().authkey(key.clone());
    let conn = client.connect_timeout::<Vec<u8>, Vec<u8>, Bytes, _>(address, LONG).unwrap();
    UnixStream::from(conn.into_fd().unwrap())
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// The next answer.
fn frame(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let mut message = vec![0; u32::from_be_bytes(header) as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// As one that was let in and says who it is.
fn greeted(place: &Place) -> UnixStream {
    let mut stream = let_in(place);
    stream.write_all(&framed(HELLO)).unwrap();
    frame(&mut stream).unwrap();
    stream
}

/// Whether the other end closes it.
fn is_closed(mut stream: UnixStream) -> bool {
    stream.set_read_timeout(Some(LONG)).unwrap();
    let end = std::io::copy(&mut stream, &mut std::io::sink());
    end.is_ok() || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
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
fn bad_client(place: &Place, n: usize) -> Option<UnixStream> {
    let mut stream = if n % 2 == 0 { let_in(place) } else { greeted(place) };
    // It may be thrown out while it still talks.
    let mut say = |bytes: &[u8]| drop(stream.write_all(bytes));
    match n / 2 % 8 {
        0 => say(&framed(&random(n).take(1 + n % 100).collect::<Vec<u8>>())),
        1 => say(&[0xff; 4096]), // a length that nobody has
        2 => say(&[&(200u32 << 20).to_be_bytes()[..], &[0x5a; 100_000]].concat()), // one that could be, and then nothing
        3 => say(&[0, 0, 0, 200, 1, 2, 3]),                                        // and half of it
        4 => {
            let error = Manager::connect(&place.0, b"another key").unwrap_err();
            assert!(matches!(error, Error::Connect(_)), "{error:?}");
            return None;
        }
        5 => say(&framed(OTHER_HELLO)), // another version
        6 => {
            // Requests that look like some, to objects that may be there.
            let requests = (0..200usize).flat_map(|i| {
                let kind = [1, 2, 3, PING, 9, 10, 11, ON, ON, ON, 13, 14][i % 12];
                framed(
                    &[&[1, kind], &random(n * 1000 + i).map(|byte| byte % 40).take(i % 30).collect::<Vec<u8>>()[..]]
                        .concat(),
                )
            });
            say(&requests.collect::<Vec<u8>>());
        }
        _ => {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
    Some(stream)
}

/// What good clients do, each with a number of its own; they tell when nothing was lost.
fn good_clients((place, numbers): (Place, Range<usize>), line: &mut crate::other::Line) {
    std::thread::scope(|scope| {
        for number in numbers {
            let place = &place;
            scope.spawn(move || {
                let manager = visit(place).unwrap();
                let counts: Dict<u32, u32> = manager.open("counts").unwrap();
                let (queue, lock) = (manager.queue::<u32>().unwrap(), manager.lock().unwrap());
                for i in 0..TIMES {
                    counts.update(&0, |n| n.unwrap_or(0) + 1).unwrap();
                    counts.insert(&(1 + number as u32), &i).unwrap();
                    let _guard = lock.lock().unwrap();
                    queue.put(&i).unwrap();
                    assert_eq!(queue.get_timeout(LONG).unwrap(), i);
                    assert_eq!(counts.get(&(1 + number as u32)).unwrap(), Some(i));
                }
            });
        }
    });
    line.tell_and_wait();
}

/// Bad and good ones at the same time.
fn rush(address: &str) {
    let (manager, server) = start_at(address);
    let counts = manager.dict_of([(0u32, 0u32)]).unwrap();
    manager.publish("counts", &counts).unwrap();
    let (before, threads) = (server.memory(), server.threads());
    let mut good: Vec<Other> =
        [0..GOOD / 2, GOOD / 2..GOOD].map(|numbers| Other::start((place(&manager), numbers), good_clients)).into();
    let bad: Vec<Other> = (0..2)
        .map(|gang| {
            Other::until((place(&manager), gang), |(place, gang): (Place, usize), line| {
                let open: Vec<UnixStream> = (0..100).filter_map(|n| bad_client(&place, gang * 1000 + n)).collect();
                line.tell_and_wait();
                drop(open);
            })
        })
        .collect();
    good.iter_mut().for_each(Other::reached);
    assert_eq!(counts.get(&0).unwrap(), Some(GOOD as u32 * TIMES));
    assert_eq!(counts.len().unwrap(), 1 + GOOD);
    let more = server.memory().saturating_sub(before);
    assert!(more < ROOM, "{more} bytes");
    assert_eq!(server.threads(), threads);
    bad.into_iter().chain(good).for_each(Other::finish);
    only_clients(&manager, 1);
    assert_eq!(objects(&manager), 1);
}

#[test]
fn garbage_of_those_who_have_the_key_costs_the_others_and_the_server_nothing() {
    isolated(|| {
        for address in ["unix-abstract:", "tcp:127.0.0.1:0"] {
            rush(address);
        }
    });
}

#[test]
fn a_client_of_another_version_is_told_so_and_one_that_says_nonsense_is_cut_off() {
    isolated(|| {
        let (manager, _) = start();
        let place = place(&manager);
        let mut stream = let_in(&place);
        stream.write_all(&framed(OTHER_HELLO)).unwrap();
        assert!(!frame(&mut stream).unwrap().is_empty(), "it is told");
        assert!(is_closed(stream));
        for nonsense in [&[][..], &[0xff; 10], &[1], &[1, STATS, 0], &[1, STATS], &[1, PING]] {
            let mut stream = let_in(&place); // which has not said who it is
            stream.write_all(&framed(nonsense)).unwrap();
            assert!(is_closed(stream), "{nonsense:?}");
        }
        for nonsense in [&[][..], &[0xff; 10], &[1], &[1, STATS, 0], HELLO, &[1, 99]] {
            let mut stream = greeted(&place);
            stream.write_all(&framed(nonsense)).unwrap();
            assert!(is_closed(stream), "{nonsense:?}");
        }
        let mut stream = greeted(&place);
        stream.write_all(&(257u32 << 20).to_be_bytes()).unwrap();
        assert!(is_closed(stream), "longer than anything may be");
        only_clients(&manager, 1);
        assert_eq!(objects(&manager), 0);
    });
}

#[test]
fn what_comes_byte_by_byte_is_understood_and_holds_nobody_up() {
    isolated(|| {
        let (manager, _) = start();
        let place = place(&manager);
        let list = manager.list_of([1]).unwrap();
        let mut stream = let_in(&place);
        // It says who it is, and asks for the statistics.
        for byte in [framed(HELLO), framed(&[2, STATS])].concat() {
            stream.write_all(&[byte]).unwrap();
            assert_eq!(list.len().unwrap(), 1);
        }
        assert_eq!(frame(&mut stream).unwrap()[0], 1);
        assert_eq!(frame(&mut stream).unwrap()[0], 2);
        drop(stream);
        only_clients(&manager, 1);
    });
}

/// Sends this until the server takes no more of it for a while; returns how often it was taken.
fn flood(stream: &mut UnixStream, requests: &[u8], most: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    (0..most).take_while(|_| stream.write_all(requests).is_ok()).count()
}

#[test]
fn one_that_asks_for_much_and_reads_no_answer_does_not_fill_the_servers_memory() {
    isolated(|| {
        let (manager, server) = start();
        let value = manager.value("x".repeat(100_000)).unwrap();
        let number = manager.stats().unwrap().objects[0].number;
        assert!(number < 128);
        let place = place(&manager);
        value.get().unwrap();
        let before = server.memory();
        // Each request is for all of the value, and there is room for many of them in what is read at once.
        let requests = framed(&[1, ON, number as u8, GET[0], GET[1]]).repeat(100);
        let mut greedy: Vec<UnixStream> = (0..3).map(|_| greeted(&place)).collect();
        for stream in &mut greedy {
            let taken = flood(stream, &requests, 1000);
            assert!(taken < 1000, "the server goes on reading");
        }
        let more = server.memory().saturating_sub(before);
        assert!(more < ROOM, "{more} bytes for {} clients", greedy.len());
        // Others are served meanwhile.
        assert_eq!(value.get().unwrap().len(), 100_000);
        // One that reads after all gets all that it has asked for before.
        let mut late = greeted(&place);
        late.write_all(&framed(&[1, ON, number as u8, GET[0], GET[1]]).repeat(300)).unwrap();
        seen_by_all(&manager);
        for _ in 0..300 {
            assert!(frame(&mut late).unwrap().len() > 100_000);
        }
        drop(greedy);
        drop(late);
        only_clients(&manager, 1);
    });
}

#[test]
fn one_that_leaves_many_requests_unread_is_cut_off_without_a_trace() {
    isolated(|| {
        let (manager, _) = start();
        let place = place(&manager);
        for _ in 0..20 {
            let mut stream = greeted(&place);
            // Objects are made, and the answers are not read.
            let make = framed(&[1, MAKE, 0, 0, 0]); // an empty list of nothing
            stream.write_all(&make.repeat(500)).unwrap();
            eventually("they are made", || objects(&manager) > 400);
            drop(stream);
            eventually("they go with who made them", || objects(&manager) == 0);
        }
        only_clients(&manager, 1);
    });
}

/// Lets one client in and then does this with it, in a thread; returns what came of connecting to it.
fn connected_to(server: fn(UnixStream)) -> Result<Manager> {
    let door: Listener<Vec<u8>, Vec<u8>, Bytes> = Listener::builder().authkey(KEY).bind("unix-abstract:").unwrap();
    let address = door.address().to_string();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| server(UnixStream::from(door.accept_timeout(LONG).unwrap().into_fd().unwrap())));
        let result = Manager::builder().authkey(KEY).call_timeout(SHORT).connect(&address);
        thread.join().unwrap();
        result
    })
}

#[test]
fn a_server_that_is_none_of_managers_is_an_error_in_time() {
    isolated(|| {
        let error = connected_to(|stream| assert!(is_closed(stream))).unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        let error = connected_to(drop).unwrap_err();
        assert!(error.is_disconnected(), "{error:?}");
        fn say(mut stream: UnixStream, garbage: &[u8]) {
            stream.write_all(&framed(garbage)).unwrap();
            assert!(is_closed(stream));
        }
        let servers: [fn(UnixStream); 4] = [
            |stream| say(stream, &[]),
            |stream| say(stream, &[1, 99, 99]),
            |stream| say(stream, &[1, 0]),
            |stream| say(stream, &[0xff; 100]),
        ];
        for server in servers {
            let error = connected_to(server).unwrap_err();
            assert!(matches!(error, Error::Protocol), "{error:?}");
        }
    });
}
