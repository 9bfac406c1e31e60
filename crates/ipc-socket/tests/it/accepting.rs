use std::io::Write;
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ipc_socket::{Allow, wait};

use super::*;

#[test]
fn accepting_waits_as_long_as_it_is_told() {
    for open in EVERYWHERE {
        let listener = Server::bind(open).unwrap();
        assert!(listener.try_accept().is_err_and(|error| error.is_would_block()));
        let started = Instant::now();
        assert!(listener.accept_timeout(SHORT).is_err_and(|error| error.is_timeout()));
        assert!(started.elapsed() >= SHORT);
    }
}

#[test]
fn clients_come_in_one_after_the_other_and_none_is_forgotten() {
    for key in [None, Some(b"key")] {
        let mut builder = Listener::builder();
        let mut clients = Client::builder();
        if let Some(key) = key {
            builder = builder.authkey(key);
            clients = clients.authkey(key);
        }
        let listener: Listener<u32, u32> = builder.bind("unix-abstract:").unwrap();
        let address = listener.address().clone();
        let threads: Vec<_> = (0..100)
            .map(|n| {
                let (clients, address) = (clients.clone(), address.clone());
                thread::spawn(move || {
                    let mut conn: Connection<u32, u32> = clients.connect(address).unwrap();
                    conn.send(n).unwrap();
                    assert_eq!(conn.recv().unwrap(), n + 1);
                })
            })
            .collect();
        for conn in listener.iter().take(100) {
            let mut conn = conn.unwrap();
            let n = conn.recv().unwrap();
            conn.send(n + 1).unwrap();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(listener.try_accept().is_err_and(|error| error.is_would_block()));
    }
}

/// The handshakes of all go on in whichever thread waits; every client comes out of exactly one.
#[test]
fn several_threads_accept_from_one_listener() {
    let listener: Listener<u32, u32> = Listener::builder().authkey(b"key").bind("unix:").unwrap();
    let accepted = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while accepted.fetch_add(1, Ordering::Relaxed) < 100 {
                    let mut conn = listener.accept_timeout(LONG).unwrap();
                    let n = conn.recv().unwrap();
                    conn.send(n * 2).unwrap();
                }
            });
        }
        for n in 0..100 {
            let address = listener.address();
            scope.spawn(move || {
                let mut conn: Connection<u32, u32> = Client::builder().authkey(b"key").connect(address).unwrap();
                conn.send(n).unwrap();
                assert_eq!(conn.recv().unwrap(), 2 * n);
            });
        }
    });
}

#[test]
fn a_listener_can_be_waited_for_with_other_things() {
    let listener: Server = Listener::builder().authkey(b"key").bind("unix-abstract:").unwrap();
    let idle = Server::bind("unix-abstract:").unwrap();
    assert_eq!(wait(&[&idle, &listener], SHORT).unwrap(), [0usize; 0]);
    // A client that says nothing is no reason to wake anybody.
    let Address::Abstract(name) = listener.address() else { panic!() };
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let _silent = UnixStream::connect_addr(&address).unwrap();
    assert_eq!(wait(&[&idle, &listener], SHORT).unwrap(), [0usize; 0]);
    let theirs = client(keyed(b"key"), listener.address());
    assert_eq!(wait(&[&idle, &listener], LONG).unwrap(), [1]);
    let mut conn = listener.try_accept().unwrap();
    assert_eq!(conn.recv().unwrap(), b"ping");
    conn.send(b"pong".to_vec()).unwrap();
    theirs.join().unwrap().unwrap();
}

/// Whoever is in, is in; those who are still to show their keys are let go.
#[test]
fn dropping_a_listener_ends_the_wait_of_clients() {
    let listener: Server = Listener::builder().authkey(b"key").bind("unix:").unwrap();
    let address = listener.address().clone();
    let waiting = client(keyed(b"key"), &address);
    let path = match &address {
        Address::Unix(path) => path.clone(),
        other => panic!("{other}"),
    };
    assert!(path.exists());
    // It is in the queue of the socket once the listener can be accepted from.
    while wait(&[&std::os::fd::AsFd::as_fd(&listener)], LONG).unwrap().is_empty() {}
    drop(listener);
    assert!(waiting.join().unwrap().is_err_and(|error| error.is_disconnected()));
    assert!(!path.exists());
}

#[test]
fn a_full_queue_of_clients_is_waited_for_and_the_wait_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full");
    // The library's own queue takes thousands, so here is a server with a short one.
    let server = std::os::unix::net::UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&server, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _first: Plain = Client::connect(path.as_path()).unwrap();
    let started = Instant::now();
    let result: Result<Plain, _> = Client::connect_timeout(path.as_path(), SHORT);
    assert!(result.is_err_and(|error| error.is_timeout()));
    assert!(started.elapsed() >= SHORT);
    let second = path.clone();
    let waiting = thread::spawn(move || Client::connect::<Vec<u8>, Vec<u8>, Bytes, _>(second.as_path()).map(drop));
    server.accept().unwrap();
    waiting.join().unwrap().unwrap();
}

#[test]
fn who_is_not_allowed_is_refused_and_told_of() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let nobody = nix::unistd::geteuid().as_raw() + 1;
    let listener: Server = Listener::builder()
        .allow(Allow::Users(vec![nobody]))
        .on_refused(move |refusal| {
            assert!(matches!(refusal.error, Error::NotAllowed { peer } if Some(peer) == refusal.peer));
            count.fetch_add(1, Ordering::Relaxed);
        })
        .bind("unix-abstract:")
        .unwrap();
    let mut ours: Plain = Client::connect(listener.address()).unwrap();
    while refused.load(Ordering::Relaxed) == 0 {
        assert!(listener.accept_timeout(SHORT).is_err_and(|error| error.is_timeout()));
    }
    assert_eq!(refused.load(Ordering::Relaxed), 1);
    assert!(ours.recv().is_err_and(|error| error.is_disconnected()));

    let listener = Server::bind("unix-abstract:").unwrap();
    let result: Result<Plain, _> = Client::builder().allow(Allow::Users(vec![nobody])).connect(listener.address());
    assert!(matches!(result, Err(Error::NotAllowed { .. })));
}

/// None of them waits for another, and none of the good ones for the bad ones.
#[test]
fn garbage_of_all_kinds_does_not_keep_anybody_out() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let listener: Server = Listener::builder()
        .authkey(b"key")
        .handshake_timeout(Duration::from_secs(60))
        .on_refused(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .bind("tcp:127.0.0.1:0")
        .unwrap();
    let Address::Tcp { port, .. } = listener.address() else { panic!() };
    let raw = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", *port)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let silent = [raw(b""), raw(b"\0"), raw(&[0, 0, 0, 40]), raw(&[0, 0, 0, 40, b'{'])];
    let wrong = [raw(b"GET / HTTP/1.1\r\n\r\n"), raw(&[0x7f, 0xff, 0xff, 0xff]), raw(&[0xff; 100]), raw(&[0; 4])];
    drop(raw(b"gone"));
    let theirs = client(keyed(b"key"), listener.address());
    serve(&listener);
    assert_eq!(theirs.join().unwrap().unwrap(), b"pong");
    while refused.load(Ordering::Relaxed) < wrong.len() + 1 {
        assert!(listener.accept_timeout(SHORT).is_err_and(|error| error.is_timeout()));
    }
    drop(silent);
    while refused.load(Ordering::Relaxed) < wrong.len() + 1 + 4 {
        assert!(listener.accept_timeout(SHORT).is_err_and(|error| error.is_timeout()));
    }
}

#[test]
fn more_silent_clients_than_there_is_room_for_push_out_the_oldest() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let listener: Server = Listener::builder()
        .authkey(b"key")
        .handshake_timeout(Duration::from_secs(60)) // a slow machine takes long for so many
        .on_refused(move |refusal| {
            assert!(matches!(refusal.error, Error::Crowded), "{refusal:?}");
            count.fetch_add(1, Ordering::Relaxed);
        })
        .bind("unix:")
        .unwrap();
    let Address::Unix(path) = listener.address() else { panic!() };
    let silent: Vec<_> = (0..1100).map(|_| UnixStream::connect(path).unwrap()).collect();
    let theirs = client(keyed(b"key"), listener.address());
    serve(&listener);
    theirs.join().unwrap().unwrap();
    assert!((70..=77).contains(&refused.load(Ordering::Relaxed)), "{}", refused.load(Ordering::Relaxed));
    drop((listener, silent));
}

/// Those who are refused count as others do: a call comes to its end although they come as fast as they are sent away.
#[test]
fn a_flood_of_refused_clients_does_not_keep_a_call_from_ending() {
    let nobody = nix::unistd::geteuid().as_raw() + 1;
    let listener: Server = Listener::builder().allow(Allow::Users(vec![nobody])).bind("unix-abstract:").unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    drop(Client::connect_timeout::<Vec<u8>, Vec<u8>, Bytes, _>(listener.address(), LONG));
                }
            });
        }
        for _ in 0..20 {
            let started = Instant::now();
            assert!(listener.accept_timeout(SHORT).is_err_and(|error| error.is_timeout()));
            let took = started.elapsed();
            done.store(took > LONG, Ordering::Relaxed);
            assert!(took < LONG, "{took:?}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// The time of a client passes only while somebody looks after it.
#[test]
fn a_server_that_is_busy_for_long_does_not_throw_out_those_who_wait() {
    let patience = Duration::from_secs(2);
    let listener: Server = Listener::builder().authkey(b"key").handshake_timeout(patience).bind("unix:").unwrap();
    let clients = [(); 3].map(|()| client(keyed(b"key"), listener.address()));
    let idle = Server::bind("unix-abstract:").unwrap();
    for served in 1..=clients.len() {
        serve(&listener);
        if served < clients.len() {
            assert!(idle.accept_timeout(patience + patience / 4).is_err_and(|error| error.is_timeout()));
        }
    }
    for client in clients {
        assert_eq!(client.join().unwrap().unwrap(), b"pong");
    }
}

#[test]
fn a_silent_client_is_dropped_also_while_several_things_are_waited_for() {
    let (sender, refusals) = std::sync::mpsc::channel();
    let listener: Server = Listener::builder()
        .authkey(b"key")
        .handshake_timeout(SHORT)
        .on_refused(move |refusal| sender.send(refusal.error.is_timeout()).unwrap())
        .bind("unix-abstract:")
        .unwrap();
    let _silent: Plain = Client::connect(listener.address()).unwrap();
    let started = Instant::now();
    while refusals.try_recv().map(|late| assert!(late)).is_err() {
        assert!(started.elapsed() < LONG);
        assert_eq!(wait(&[&listener], 10 * SHORT).unwrap(), [0usize; 0]);
    }
    assert!(started.elapsed() >= SHORT);
}
