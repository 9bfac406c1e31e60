use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::*;

fn inode(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn the_file_of_a_living_listener_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = Server::bind(path.as_path()).unwrap();
    let before = inode(&path);
    for _ in 0..3 {
        assert!(matches!(Server::bind(path.as_path()), Err(Error::InUse { .. })));
    }
    assert_eq!(inode(&path), before);
    // Nor has the look at it brought it a client.
    assert!(listener.try_accept().is_err_and(|error| error.is_would_block()));
    // Also one that is bound and does not listen yet, or has its queue full.
    let foreign = folder.path().join("foreign");
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Unix,
        nix::sys::socket::SockType::Stream,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    let raw = std::os::fd::AsRawFd::as_raw_fd(&socket);
    nix::sys::socket::bind(raw, &nix::sys::socket::UnixAddr::new(&foreign).unwrap()).unwrap();
    assert!(matches!(Server::bind(foreign.as_path()), Err(Error::InUse { .. })));
    nix::sys::socket::listen(&socket, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _full = UnixStream::connect(&foreign).unwrap();
    assert!(matches!(Server::bind(foreign.as_path()), Err(Error::InUse { .. })));
}

#[test]
fn what_a_dead_listener_has_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    drop(UnixListener::bind(&path).unwrap()); // std leaves the file
    assert!(path.exists());
    let listener = Server::bind(path.as_path()).unwrap();
    let theirs = client(Client::builder(), listener.address());
    serve(&listener);
    theirs.join().unwrap().unwrap();
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_listener_removes_no_name_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let first = Server::bind(path.as_path()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let second = Server::bind(path.as_path()).unwrap();
    drop(first);
    let theirs = client(Client::builder(), second.address());
    serve(&second);
    theirs.join().unwrap().unwrap();
}

#[test]
fn names_that_are_no_files_are_taken_and_free_again() {
    let listener = Server::bind("unix-abstract:").unwrap();
    let address = listener.address().clone();
    assert!(matches!(Server::bind(&address), Err(Error::InUse { .. })));
    drop(listener);
    drop(Server::bind(&address).unwrap());
    let listener = Server::bind("tcp:127.0.0.1:0").unwrap();
    let address = listener.address().clone();
    assert!(matches!(Server::bind(&address), Err(Error::InUse { .. })));
    drop(listener);
    drop(Server::bind(&address).unwrap());
}

/// Eight threads bind and drop; at no time do two listen.
#[test]
fn of_many_who_bind_at_once_one_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let holders = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    match Server::bind(path.as_path()) {
                        Ok(listener) => {
                            assert_eq!(holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                            holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            drop(listener);
                            drop(UnixListener::bind(&path)); // what a crash would leave
                        }
                        Err(Error::InUse { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
    });
    drop(Server::bind(path.as_path()).unwrap());
}

#[test]
fn who_waits_for_a_server_gets_it_when_it_comes() {
    for open in ["unix:", "unix-abstract:", "tcp:127.0.0.1:0"] {
        let address = Server::bind(open).unwrap().address().clone();
        let waiting = client(Client::builder().retry(true), &address);
        let listener = Server::bind(&address).unwrap();
        serve(&listener);
        assert_eq!(waiting.join().unwrap().unwrap(), b"pong");
    }
}
