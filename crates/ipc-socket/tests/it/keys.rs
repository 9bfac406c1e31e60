use std::sync::mpsc;
use std::time::Instant;

use ipc_socket::{ConnectionError, ListenerBuilder};

use super::*;

/// A listener that tells whom it refuses.
fn guarded(builder: ListenerBuilder, address: &str) -> (Server, mpsc::Receiver<String>) {
    let (sender, refusals) = mpsc::channel();
    let listener = builder.on_refused(move |refusal| drop(sender.send(format!("{:?}", refusal.error)))).bind(address);
    (listener.unwrap(), refusals)
}

/// Accepts, though nobody can come in, until somebody is refused, and returns why.
fn refusal(listener: &Server, refusals: &mpsc::Receiver<String>) -> String {
    let started = Instant::now();
    loop {
        assert!(listener.accept_timeout(SHORT).is_err_and(|error| error.is_timeout()));
        match refusals.try_recv() {
            Ok(why) => return why,
            Err(_) => assert!(started.elapsed() < LONG, "nobody is refused"),
        }
    }
}

#[test]
fn the_same_key_lets_in_everywhere() {
    for open in EVERYWHERE {
        let listener: Server = Listener::builder().authkey(b"key").refuse_md5().bind(open).unwrap();
        let theirs = client(keyed(b"key").refuse_md5(), listener.address());
        serve(&listener);
        assert_eq!(theirs.join().unwrap().unwrap(), b"pong");
    }
}

#[test]
fn another_key_is_an_error_at_both_ends_and_does_not_end_accepting() {
    for open in EVERYWHERE {
        let (listener, refusals) = guarded(Listener::builder().authkey(b"key"), open);
        let wrong = client(keyed(b"kez"), listener.address());
        let right = client(keyed(b"key"), listener.address());
        serve(&listener);
        assert_eq!(right.join().unwrap().unwrap(), b"pong");
        // It may have been refused while the other one was let in.
        let why = refusals.try_recv().unwrap_or_else(|_| refusal(&listener, &refusals));
        assert_eq!(why, "WrongKey");
        let error = wrong.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::KeyRefused) && error.is_authentication(), "{error:?}");
    }
}

#[test]
fn a_client_without_the_key_that_is_asked_for_is_told_so() {
    for open in ["unix-abstract:", "tcp:127.0.0.1:0"] {
        let (listener, refusals) = guarded(Listener::builder().authkey(b"key"), open);
        let mut ours: Plain = Client::connect(listener.address()).unwrap();
        ours.send(b"hello, I just talk".to_vec()).unwrap();
        assert!(refusal(&listener, &refusals).starts_with("Protocol"));
        for _ in 0..2 {
            assert!(matches!(ours.recv(), Err(ConnectionError::KeyRequired)));
            assert!(matches!(ours.try_recv_bytes(), Err(ConnectionError::KeyRequired)));
        }
        assert!(matches!(ours.recv_bytes_into(&mut [0; 100]), Err(ConnectionError::KeyRequired)));
        assert!(matches!(ours.recv_bytes_into(&mut [0; 1]), Err(ConnectionError::KeyRequired)));
    }
}

/// What looks like a challenge later on is a message like any other.
#[test]
fn only_the_first_message_can_ask_for_a_key() {
    let listener = Server::bind("unix-abstract:").unwrap();
    let mut ours: Plain = Client::connect(listener.address()).unwrap();
    let mut theirs = listener.accept().unwrap();
    theirs.send_many([b"#CHALLENGE".to_vec(), b"#CHALLENGE#".to_vec()]).unwrap();
    assert_eq!(ours.recv().unwrap(), b"#CHALLENGE");
    assert_eq!(ours.recv().unwrap(), b"#CHALLENGE#");
    // Also if the first one is long.
    let mut ours: Plain = Client::connect(listener.address()).unwrap();
    let mut theirs = listener.accept().unwrap();
    let sending = thread::spawn(move || {
        theirs.send(vec![7; 200_000]).unwrap();
        theirs.send(b"#CHALLENGE#".to_vec()).unwrap();
    });
    assert_eq!(ours.recv().unwrap(), vec![7; 200_000]);
    assert_eq!(ours.recv().unwrap(), b"#CHALLENGE#");
    sending.join().unwrap();
}

#[test]
fn a_server_that_asks_for_no_key_is_an_error_for_a_client_with_one() {
    let listener = Server::bind("unix:").unwrap();
    let patient = keyed(b"key").handshake_timeout(SHORT);
    let started = Instant::now();
    let silent = client(patient, listener.address());
    let _theirs = listener.accept().unwrap();
    assert!(silent.join().unwrap().is_err_and(|error| matches!(error, Error::Silent) && error.is_timeout()));
    assert!(started.elapsed() >= SHORT);
    // If it talks, that is known at once.
    let talked_to = client(keyed(b"key"), listener.address());
    let mut theirs = listener.accept().unwrap();
    theirs.send(b"welcome".to_vec()).unwrap();
    assert!(matches!(talked_to.join().unwrap(), Err(Error::NoChallenge)));
    // And so if it goes.
    let left = client(keyed(b"key"), listener.address());
    drop(listener.accept().unwrap());
    assert!(matches!(left.join().unwrap(), Err(Error::Disconnected)));
}

#[test]
fn an_empty_key_is_none() {
    let listener: Result<Server, _> = Listener::builder().authkey(b"").bind("unix-abstract:");
    assert!(matches!(listener, Err(Error::BadKey(_))));
    let listener = Server::bind("unix-abstract:").unwrap();
    let result: Result<Plain, _> = keyed(b"").connect(listener.address());
    assert!(matches!(result, Err(Error::BadKey(_))));
}

#[test]
fn a_silent_client_is_dropped_in_its_time_and_sees_the_end() {
    let (listener, refusals) = guarded(Listener::builder().authkey(b"key").handshake_timeout(SHORT), "unix-abstract:");
    let mut silent: Plain = Client::connect(listener.address()).unwrap();
    let started = Instant::now();
    assert_eq!(refusal(&listener, &refusals), "Timeout");
    assert!(started.elapsed() >= SHORT);
    assert!(matches!(silent.recv(), Err(ConnectionError::KeyRequired)));
}

/// The server is there and does not accept: as if it were stopped.
#[test]
fn the_time_of_a_call_also_holds_for_the_exchange_of_keys() {
    let listener: Server = Listener::builder().authkey(b"key").bind("unix:").unwrap();
    let started = Instant::now();
    let result: Result<Plain, _> = keyed(b"key").connect_timeout(listener.address(), SHORT);
    assert!(result.is_err_and(|error| error.is_timeout()));
    assert!(started.elapsed() >= SHORT && started.elapsed() < LONG);
}
