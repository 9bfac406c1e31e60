//! Servers that are killed, or stopped.

use std::sync::mpsc;
use std::thread;

use ipc_tests::isolated;
use nix::fcntl::{Flock, FlockArg};

use super::*;

/// What a client finds out, and when.
type Finding = (&'static str, bool, Instant);

/// Calls `wait` in a thread, and returns when that sleeps.
fn waiting(name: &'static str, findings: &mpsc::Sender<Finding>, wait: impl FnOnce() -> bool + Send + 'static) {
    let (findings, (thread, who)) = (findings.clone(), mpsc::channel());
    thread::spawn(move || {
        thread.send(nix::unistd::gettid()).unwrap();
        let found = wait();
        findings.send((name, found, Instant::now())).unwrap();
    });
    until_asleep(who.recv().unwrap().as_raw() as u32);
}

#[test]
fn clients_of_a_killed_server_are_disconnected_wherever_they_wait() {
    isolated(|| {
        for address in everywhere() {
            // It accepts one, looks at those who have come once more, and then at nobody.
            let mut server = Other::until(address.clone(), |address: Address, line| {
                let listener: Server = with_key().bind(address).unwrap();
                line.tell();
                let mut conn = listener.accept().unwrap();
                let message = conn.recv().unwrap();
                conn.send(message).unwrap();
                line.tell_and_wait();
                let _some = listener.try_accept();
                line.tell_and_wait();
            });
            let before = inode(&address);
            let (findings, found) = mpsc::channel();

            let mut conn: Plain = keyed().connect_timeout(&address, LONG).unwrap();
            talk(&mut conn);
            server.reached();
            waiting("connected", &findings, move || conn.recv().is_err_and(|error| error.is_disconnected()));
            let at = address.clone();
            let in_handshake = move || match keyed().connect::<Vec<u8>, Vec<u8>, Bytes, _>(at) {
                Err(error) => error.is_disconnected(),
                // It was quick enough to come in at the one look.
                Ok(mut conn) => conn.recv().is_err_and(|error| error.is_disconnected()),
            };
            waiting("in the exchange of keys", &findings, in_handshake);
            let mut silent = Raw::connect(&address);
            server.go_on();
            server.reached();
            assert!(silent.frame().unwrap().starts_with(b"#CHALLENGE#"));
            waiting("after the challenge", &findings, move || silent.is_closed());
            let at = address.clone();
            let in_queue = move || keyed().connect::<(), (), Bytes, _>(at).is_err_and(|error| error.is_disconnected());
            waiting("in the queue", &findings, in_queue);
            let mut keyless: Plain = Client::connect(&address).unwrap();
            waiting("in the queue without a key", &findings, move || {
                keyless.recv().is_err_and(|error| error.is_disconnected())
            });
            drop(findings);

            assert!(found.try_recv().is_err(), "nobody has found out anything yet");
            let killed = Instant::now();
            server.kill();
            let all: Vec<Finding> = found.iter().collect();
            assert_eq!(all.len(), 5);
            for (name, disconnected, at) in all {
                assert!(disconnected && at - killed < SOON, "{address}, {name}: {disconnected}, {:?}", at - killed);
            }
            assert_eq!(inode(&address), before, "its file is left");
            let error = Client::connect::<(), (), Bytes, _>(&address).unwrap_err();
            assert!(error.is_not_listening(), "{error:?}");

            // Who waits for a server gets the next one.
            let (findings, found) = mpsc::channel();
            let at = address.clone();
            waiting("a patient client", &findings, move || {
                let mut conn: Plain = keyed().retry(true).connect_timeout(at, LONG).unwrap();
                talk(&mut conn);
                true
            });
            let next: Server = with_key().bind(&address).unwrap();
            echo(next.accept_timeout(LONG).unwrap());
            assert!(found.recv().unwrap().1);
            drop(next);
            assert!(file(&address).is_none_or(|path| !path.exists()));
        }
    });
}

#[test]
fn a_patient_client_outlives_server_after_server() {
    isolated(|| {
        for address in everywhere() {
            for _ in 0..10 {
                let mut client = Other::start(address.clone(), |address: Address, line| {
                    talk(&mut keyed().retry(true).connect_timeout(address, LONG).unwrap());
                    line.tell_and_wait();
                });
                // Each server replaces what the one before it has left.
                let server = echo_server(&address);
                client.reached();
                server.kill();
                client.finish();
            }
            drop(Server::bind(&address).unwrap()); // and so removes the file
        }
    });
}

#[test]
fn a_stopped_server_ends_the_waits_of_others_in_their_time_and_is_not_replaced() {
    isolated(|| {
        for address in everywhere() {
            let server = echo_server(&address);
            let before = inode(&address);
            let mut old: Plain = keyed().connect_timeout(&address, LONG).unwrap();
            talk(&mut old);
            server.stop();

            let in_time = |what: &str, call: &mut dyn FnMut() -> bool| {
                let started = Instant::now();
                let right = call();
                let took = started.elapsed();
                assert!(right && took >= SHORT && took < SOON, "{address}, {what}: {right} after {took:?}");
            };
            in_time("connect_timeout", &mut || {
                let result = keyed().connect_timeout::<(), (), Bytes, _>(&address, SHORT);
                result.is_err_and(|error| error.is_timeout())
            });
            in_time("the exchange of keys", &mut || {
                let result = keyed().handshake_timeout(SHORT).connect::<(), (), Bytes, _>(&address);
                matches!(result, Err(Error::Silent))
            });
            // The kernel takes in who has no key.
            let mut keyless: Plain = Client::connect_timeout(&address, LONG).unwrap();
            in_time("without a key", &mut || keyless.recv_timeout(SHORT).is_err_and(|error| error.is_timeout()));
            in_time("connected", &mut || old.recv_timeout(SHORT).is_err_and(|error| error.is_timeout()));
            // As another process sees it that would like to have the address.
            let rival = Other::until(address.clone(), |address: Address, line| {
                for _ in 0..3 {
                    let started = Instant::now();
                    let error = Server::bind(&address).unwrap_err();
                    assert!(matches!(error, Error::InUse { .. }) && started.elapsed() < SOON, "{error:?}");
                }
                line.tell_and_wait();
            });
            rival.finish();
            assert_eq!(inode(&address), before);

            server.wake();
            talk(&mut old);
            talk(&mut keyed().connect_timeout(&address, LONG).unwrap());
            server.kill();
            drop(Server::bind(&address).unwrap());
        }
    });
}

#[test]
fn a_server_that_is_stopped_in_the_exchange_of_keys_is_a_time_out_and_no_end() {
    isolated(|| {
        for address in everywhere() {
            // It challenges who has come, and then looks at nobody.
            let mut server = Other::until(address.clone(), |address: Address, line| {
                let listener: Server = with_key().bind(address).unwrap();
                line.tell_and_wait();
                assert!(listener.try_accept().is_err_and(|error| error.is_would_block()));
                line.tell_and_wait();
                echo(listener.accept().unwrap());
            });
            let mut silent = Raw::connect(&address);
            server.go_on();
            server.reached();
            server.stop();
            assert!(silent.frame().unwrap().starts_with(b"#CHALLENGE#"));
            let started = Instant::now();
            let result = keyed().connect_timeout::<(), (), Bytes, _>(&address, SHORT);
            assert!(result.is_err_and(|error| error.is_timeout()));
            assert!(started.elapsed() >= SHORT && started.elapsed() < SOON);
            drop(silent);
            // Those who left are no trouble when it goes on.
            server.wake();
            server.go_on();
            talk(&mut keyed().connect_timeout(&address, LONG).unwrap());
            server.finish();
        }
    });
}

/// As one that was stopped in the midst of binding would: names of a folder are made and replaced under its lock.
#[test]
fn a_stopped_process_that_has_the_folder_ends_nobody_elses_binding() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        let holder = Other::until(folder.path().to_path_buf(), |folder: std::path::PathBuf, line| {
            let _lock = Flock::lock(fs::File::open(folder).unwrap(), FlockArg::LockExclusive).unwrap();
            line.tell_and_wait();
        });
        holder.stop();
        let path = folder.path().join("socket");
        let started = Instant::now();
        let listener: Server = with_key().bind(path.as_path()).unwrap();
        assert!(started.elapsed() < 3 * SOON, "{:?}", started.elapsed());
        serve_one(&listener, listener.address());
        drop(listener);
        // What is left is not replaced, as another could do so at the same time; that is said in time, too.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let started = Instant::now();
        assert!(matches!(Server::bind(path.as_path()), Err(Error::InUse { .. })));
        assert!(started.elapsed() < 3 * SOON);
        holder.kill();
        drop(Server::bind(path.as_path()).unwrap());
    });
}
