//! Open files and ends of connections that travel between processes which have met by an address only.

use std::fs::File;

use ipc_socket::{ConnectionError, Handle, Peer};
use ipc_tests::isolated;

use super::*;

fn pipe() -> (File, File) {
    let (read, write) = nix::unistd::pipe().unwrap();
    (read.into(), write.into())
}

type Order = (Handle, Handle, Connection<String, u32>);

/// Takes a file, the end of a pipe to write its content to, and an end of a connection to report by.
fn copyist(address: Address, line: &mut Line) {
    let listener: Listener<Handle, Order> = with_key().bind(address).unwrap();
    line.tell();
    let mut conn = listener.accept().unwrap();
    let before = descriptors();
    for round in 0..20u32 {
        let (file, to, mut report) = conn.recv().unwrap();
        let mut to = File::from(to.into_fd().unwrap());
        let copied = std::io::copy(&mut File::from(file.into_fd().unwrap()), &mut to).unwrap();
        drop(to);
        assert_eq!(report.recv().unwrap(), round);
        report.send(format!("{copied} bytes")).unwrap();
        drop(report);
        assert_eq!(descriptors(), before, "those of the last order are closed");
        let (read, mut write) = pipe();
        write!(write, "receipt {round}").unwrap();
        drop(write);
        conn.send(Handle::from(OwnedFd::from(read))).unwrap();
    }
    line.tell_and_wait();
}

fn customer((address, path): (Address, std::path::PathBuf), line: &mut Line) {
    let mut conn: Connection<Order, Handle> = keyed().retry(true).connect_timeout(address, LONG).unwrap();
    for round in 0..20u32 {
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        write!(file, "text of round {round}").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let (mut read, write) = pipe();
        let (mut ours, theirs) = ipc_pipe::duplex::<u32, String>().unwrap();
        conn.send((Handle::from(OwnedFd::from(file)), Handle::from(OwnedFd::from(write)), theirs)).unwrap();
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap(); // ends, as the other process has the only end that can be written
        assert_eq!(text, format!("text of round {round}"));
        ours.send(round).unwrap();
        assert_eq!(ours.recv_timeout(LONG).unwrap(), format!("{} bytes", text.len()));
        let receipt = conn.recv_timeout(LONG).unwrap().into_fd().unwrap();
        assert_eq!(std::io::read_to_string(File::from(receipt)).unwrap(), format!("receipt {round}"));
    }
    line.tell_and_wait();
}

#[test]
fn files_and_connections_travel_between_unrelated_processes() {
    isolated(|| {
        let file = std::env::temp_dir().join(unique_name());
        for address in [free_path(), Address::abstract_name(unique_name())] {
            // Either may come first.
            let mut customer = Other::start((address.clone(), file.clone()), customer);
            let mut server = Other::start(address, copyist);
            server.reached();
            customer.reached();
            server.reached();
            customer.finish();
            server.finish();
        }
        fs::remove_file(file).unwrap();
    });
}

#[test]
fn a_handle_in_flight_arrives_though_its_sender_was_killed_before_it_was_accepted() {
    isolated(|| {
        let listener: Listener<(), (String, Handle)> = Listener::bind(free_path()).unwrap();
        let sender = Other::until(listener.address().clone(), |address: Address, line| {
            let mut conn: Connection<(String, Handle), ()> = Client::connect(address).unwrap();
            let (read, mut write) = pipe();
            write.write_all(b"what it left").unwrap();
            conn.send(("from the dead".to_string(), Handle::from(OwnedFd::from(read)))).unwrap();
            line.tell_and_wait();
        });
        let pid = sender.pid();
        sender.kill();
        let mut conn = listener.accept_timeout(LONG).unwrap();
        assert!(matches!(Peer::of(&conn).unwrap(), Peer::Local { pid: who, .. } if who == pid));
        let (text, handle) = conn.recv_timeout(LONG).unwrap();
        let left = std::io::read_to_string(File::from(handle.into_fd().unwrap())).unwrap();
        assert_eq!((text.as_str(), left.as_str()), ("from the dead", "what it left"));
        assert!(conn.recv_timeout(LONG).is_err_and(|error| error.is_disconnected()));
    });
}

#[test]
fn a_network_carries_no_handles_and_says_so_before_anything_is_sent() {
    isolated(|| {
        let address = free_port();
        let mut server = Other::until(address.clone(), |address: Address, line| {
            let listener: Listener<(), Option<Handle>> = Listener::bind(&address).unwrap();
            line.tell();
            let mut conn = listener.accept().unwrap();
            assert!(conn.recv().unwrap().is_none());
            assert!(conn.recv().is_err_and(|error| error.is_disconnected()));
            line.tell_and_wait();
        });
        let mut conn: Connection<Option<Handle>, ()> = Client::connect(&address).unwrap();
        let null = Handle::from(File::open("/dev/null").unwrap());
        assert!(matches!(conn.send(Some(null)), Err(ConnectionError::NoHandles(_))));
        conn.send(None).unwrap();
        drop(conn);
        server.reached();
        server.finish();
    });
}
