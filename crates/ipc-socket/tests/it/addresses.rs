use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;

use ipc_socket::{Handle, Peer};

use super::*;

#[test]
fn every_kind_of_address_connects_and_is_told() {
    for open in EVERYWHERE {
        let listener = Server::bind(open).unwrap();
        let address = listener.address().clone();
        assert_ne!(address.to_string(), open, "the real address is told");
        assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        let theirs = client(Client::builder(), &address);
        serve(&listener);
        assert_eq!(theirs.join().unwrap().unwrap(), b"pong", "{open}");
    }
}

#[test]
fn a_host_is_found_by_its_name() {
    let listener = Server::bind("tcp:localhost:0").unwrap();
    let theirs = client(Client::builder(), listener.address());
    serve(&listener);
    theirs.join().unwrap().unwrap();
    let unknown: Result<Plain, _> = Client::connect("tcp:no-such-host.invalid:5");
    assert!(matches!(unknown, Err(Error::Io { doing: "find the address of the host", .. })), "{unknown:?}");
}

#[test]
fn where_nobody_listens_is_an_error_at_once() {
    let gone: Vec<_> = EVERYWHERE.iter().map(|open| Server::bind(*open).unwrap().address().clone()).collect();
    for address in gone {
        let result: Result<Plain, _> = Client::connect(&address);
        assert!(result.as_ref().is_err_and(Error::is_not_listening), "{address}: {result:?}");
        let result: Result<Plain, _> = Client::builder().retry(true).connect_timeout(&address, SHORT);
        assert!(result.as_ref().is_err_and(Error::is_not_listening), "{address}: {result:?}");
    }
}

#[test]
fn an_open_address_is_for_listeners() {
    for open in EVERYWHERE {
        let result: Result<Plain, _> = Client::connect(open);
        assert!(matches!(result, Err(Error::BadAddress { .. })), "{open}: {result:?}");
    }
}

#[test]
fn addresses_that_cannot_be_bound_say_why() {
    let long = format!("unix:/tmp/{}", "x".repeat(103));
    for (address, part) in [
        (long.as_str(), "longer than 107"),
        ("unix:/no/such/folder/s", "listen at the address"),
        ("unix:/dev/null", "in use"),
        ("unix:/tmp", "in use"),
        ("tcp:203.0.113.1:0", "not an address of this machine"),
    ] {
        let error = Server::bind(address).unwrap_err().to_string();
        assert!(error.contains(part), "{address}: {error}");
    }
}

#[test]
fn what_is_no_stream_socket_is_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("datagrams");
    let _other = UnixDatagram::bind(&path).unwrap();
    let result: Result<Plain, _> = Client::connect(path.as_path());
    assert!(matches!(result, Err(Error::BadAddress { .. })), "{result:?}");
    assert!(matches!(Server::bind(path.as_path()), Err(Error::InUse { .. })));
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(Server::bind(file.as_path()), Err(Error::InUse { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    let result: Result<Plain, _> = Client::connect(file.as_path());
    assert!(result.is_err_and(|error| error.is_not_listening()));
}

#[test]
fn the_file_has_the_mode_that_was_asked_for_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o600, 0o666, 0o660] {
        let path = folder.path().join("socket");
        let _listener: Server = Listener::builder().mode(mode).bind(path.as_path()).unwrap();
        let about = std::fs::metadata(&path).unwrap();
        assert!(about.file_type().is_socket());
        assert_eq!(about.permissions().mode() & 0o7777, mode);
    }
}

#[test]
fn a_peer_is_told() {
    for (open, local) in [("unix-abstract:", true), ("tcp:127.0.0.1:0", false)] {
        let listener: Listener<(), ()> = Listener::bind(open).unwrap();
        let ours: Connection<(), ()> = Client::connect(listener.address()).unwrap();
        let theirs = listener.accept().unwrap();
        match Peer::of(&theirs).unwrap() {
            Peer::Local { pid, uid, .. } => {
                assert!(local);
                assert_eq!((pid, uid), (std::process::id(), nix::unistd::geteuid().as_raw()));
            }
            Peer::Tcp(address) => {
                assert!(!local);
                assert!(address.ip().is_loopback());
                let server = Peer::of(&ours).unwrap();
                assert!(matches!(server, Peer::Tcp(at) if Address::from(at) == *listener.address()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(Peer::of(&std::fs::File::open("/dev/null").unwrap()).is_err());
}

#[test]
fn local_connections_carry_handles_and_others_say_that_they_do_not() {
    let file = || Handle::from(std::os::fd::OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
    for (open, local) in [("unix:", true), ("tcp:127.0.0.1:0", false)] {
        let listener: Listener<(), Handle> = Listener::bind(open).unwrap();
        let mut ours: Connection<Handle, ()> = Client::connect(listener.address()).unwrap();
        let mut theirs = listener.accept().unwrap();
        match ours.send(file()) {
            Ok(()) => {
                assert!(local);
                theirs.recv().unwrap();
            }
            Err(error) => assert!(!local && matches!(error, ipc_socket::ConnectionError::NoHandles(_)), "{error}"),
        }
    }
}

#[test]
fn no_time_is_too_long() {
    for open in ["unix:", "tcp:127.0.0.1:0"] {
        for time in [Duration::MAX, Duration::from_secs(u64::MAX / 2), Duration::from_secs(10_000_000_000_000)] {
            let listener: Server =
                Listener::builder().authkey(b"key").user_timeout(time).handshake_timeout(time).bind(open).unwrap();
            let address = listener.address().clone();
            let theirs = thread::spawn(move || {
                let builder = keyed(b"key").user_timeout(time).handshake_timeout(time);
                let mut conn: Plain = builder.connect_timeout(address, time).unwrap();
                conn.send(b"ping".to_vec()).unwrap();
                conn.recv_timeout(time).unwrap()
            });
            let mut conn = listener.accept_timeout(time).unwrap();
            assert_eq!(conn.recv().unwrap(), b"ping");
            conn.send(b"pong".to_vec()).unwrap();
            assert_eq!(theirs.join().unwrap(), b"pong");
        }
    }
}

#[test]
fn the_address_of_a_listener_leads_to_it_from_everywhere() {
    let name = format!("ipc-socket-test-{}", std::process::id());
    let listener = Server::bind(format!("unix:{name}")).unwrap();
    let Address::Unix(path) = listener.address() else { panic!() };
    assert!(path.is_absolute() && path.exists());
    let path = path.clone();
    drop(listener);
    assert!(!path.exists());
}
