//! Two FIFOs as a connection, of which the one side ends and comes again.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::thread::scope;

use ipc_fifo::{Bytes, Connection, Error, Fifo, connect, connect_timeout, try_connect};

use crate::{Folder, LONG, SHORT, long, timed_out, would_block};

type Conn = Connection<Vec<u8>, Vec<u8>, Bytes>;

/// The two ends of a connection: of the one that has `a` as its input, and of the other one.
fn both(a: &Fifo, b: &Fifo) -> (Conn, Conn) {
    scope(|scope| {
        let far = scope.spawn(|| connect_timeout(b, a, LONG).unwrap());
        (connect_timeout(a, b, LONG).unwrap(), far.join().unwrap())
    })
}

/// As long as the near side has its end of an old connection, or a part of it, nobody comes in on the far side. Then somebody does, and
/// hears and says nothing but what is his.
fn nobody_comes_in_before_it_is_dropped<T>(a: &Fifo, b: &Fifo, old: T) {
    assert!(timed_out(|timeout| connect_timeout::<Vec<u8>, Vec<u8>, Bytes>(b, a, timeout)));
    assert!(would_block(try_connect::<Vec<u8>, Vec<u8>, Bytes>(b, a)));
    scope(|scope| {
        let far = scope.spawn(|| connect_timeout::<Vec<u8>, Vec<u8>, Bytes>(b, a, LONG).unwrap());
        drop(old);
        let mut near: Conn = connect_timeout(a, b, LONG).unwrap();
        let mut far = far.join().unwrap();
        near.send_bytes(b"to the far side").unwrap();
        far.send_bytes(b"to the near side").unwrap();
        assert_eq!(near.recv_bytes_timeout(LONG).unwrap(), b"to the near side");
        assert_eq!(far.recv_bytes_timeout(LONG).unwrap(), b"to the far side");
        drop(far);
        assert!(near.recv_bytes_timeout(LONG).unwrap_err().is_disconnected());
    });
}

/// What is out when a long send is killed: the header of a message of 20 bytes, and 5 of them. As if it had ended there.
fn end_in_a_message(conn: Conn) {
    let (sender, _receiver) = conn.split();
    let part = [&20i32.to_be_bytes()[..], b"AAAAA"].concat();
    assert_eq!(nix::unistd::write(sender.as_fd(), &part).unwrap(), part.len());
}

#[test]
fn one_who_comes_again_does_not_go_on_in_the_message_of_his_predecessor() {
    let folder = Folder::new();
    let (a, b) = (folder.fifo(), folder.fifo());
    let (mut near, mut far) = both(&a, &b);
    far.send_bytes(b"whole").unwrap();
    end_in_a_message(far);
    // The near side is busy, and has not yet seen that.
    assert!(timed_out(|timeout| connect_timeout::<Vec<u8>, Vec<u8>, Bytes>(&b, &a, timeout)));
    scope(|scope| {
        let next = scope.spawn(|| {
            let mut next: Conn = connect_timeout(&b, &a, LONG).unwrap();
            next.send_bytes(b"hello, I am another one").unwrap();
        });
        assert_eq!(near.recv_bytes_timeout(LONG).unwrap(), b"whole");
        let end = near.recv_bytes_timeout(LONG).unwrap_err();
        assert!(matches!(end, ipc_core::Error::Truncated { missing: 15 }), "{end:?}");
        drop(near);
        let mut near: Conn = connect_timeout(&a, &b, LONG).unwrap();
        assert_eq!(near.recv_bytes_timeout(LONG).unwrap(), b"hello, I am another one");
        next.join().unwrap();
    });
}

#[test]
fn one_who_comes_again_does_not_hear_the_end_of_what_his_predecessor_was_told() {
    let folder = Folder::new();
    let (a, b) = (folder.fifo(), folder.fifo());
    let (mut near, mut far) = both(&a, &b);
    scope(|scope| {
        let telling = scope.spawn(move || {
            let result = loop {
                if let Err(error) = near.send_bytes(&long(200_000)) {
                    break error;
                }
            };
            (near, result)
        });
        assert_eq!(far.recv_bytes_timeout(LONG).unwrap(), long(200_000)); // so it is in the next one
        drop(far);
        assert!(timed_out(|timeout| connect_timeout::<Vec<u8>, Vec<u8>, Bytes>(&b, &a, timeout)));
        let (near, result) = telling.join().unwrap();
        assert!(result.is_disconnected(), "{result:?}");
        nobody_comes_in_before_it_is_dropped(&a, &b, near);
    });
}

#[test]
fn a_half_of_an_old_connection_keeps_others_out() {
    let folder = Folder::new();
    let (a, b) = (folder.fifo(), folder.fifo());
    for is_sender in [true, false] {
        let (near, far) = both(&a, &b);
        end_in_a_message(far);
        let (sender, receiver) = near.split();
        match is_sender {
            true => {
                drop(receiver);
                nobody_comes_in_before_it_is_dropped(&a, &b, sender);
            }
            false => {
                drop(sender);
                nobody_comes_in_before_it_is_dropped(&a, &b, receiver);
            }
        }
    }
}

#[test]
fn what_nobody_has_read_is_not_left_for_the_next_connection() {
    let folder = Folder::new();
    let (a, b) = (folder.fifo(), folder.fifo());
    let (near, mut far) = both(&a, &b);
    far.send_bytes(b"too late").unwrap();
    // With this the kernel keeps the pipe, and what is in it.
    let keeping = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(a.path()).unwrap();
    drop((near, far));
    let (mut near, mut far) = both(&a, &b);
    assert!(near.recv_bytes_timeout(SHORT).unwrap_err().is_timeout());
    far.send_bytes(b"in time").unwrap();
    assert_eq!(near.recv_bytes_timeout(LONG).unwrap(), b"in time");
    drop(keeping);
}

#[test]
fn nobody_comes_in_where_a_program_of_another_kind_is() {
    let folder = Folder::new();
    let (a, b) = (folder.fifo(), folder.fifo());
    // It has both open, and knows nothing of numbers and locks. Both, as it would wait for the other side with one of them.
    let open = |fifo: &Fifo| File::options().read(true).write(true).open(fifo.path()).unwrap();
    let stranger = (open(&a), open(&b));
    let mut near: Conn = connect_timeout(&a, &b, LONG).unwrap();
    // Neither in its place nor as a second one on this side, who would take what is for the first one.
    for (input, output) in [(&b, &a), (&a, &b)] {
        assert!(timed_out(|timeout| connect_timeout::<Vec<u8>, Vec<u8>, Bytes>(input, output, timeout)));
        assert!(would_block(try_connect::<Vec<u8>, Vec<u8>, Bytes>(input, output)));
    }
    near.send_bytes(b"still for the stranger").unwrap();
    drop((near, stranger));
}

#[test]
fn what_is_sent_by_one_who_leaves_at_once_arrives() {
    let folder = Folder::new();
    let (a, b) = (folder.fifo(), folder.fifo());
    scope(|scope| {
        scope.spawn(|| {
            for n in 0..30u8 {
                let mut far: Conn = connect(&b, &a).unwrap();
                far.send_bytes(&[n]).unwrap();
            }
        });
        for n in 0..30u8 {
            let mut near: Conn = connect_timeout(&a, &b, LONG).unwrap();
            assert_eq!(near.recv_bytes_timeout(LONG).unwrap(), [n]);
            assert!(near.recv_bytes_timeout(LONG).unwrap_err().is_disconnected());
        }
    });
}

#[test]
fn a_fifo_is_not_connected_with_itself() {
    let folder = Folder::new();
    let (fifo, link) = (folder.fifo(), folder.path());
    std::os::unix::fs::symlink(fifo.path(), &link).unwrap();
    for output in [fifo.share(), Fifo::open(&link).unwrap()] {
        let result = try_connect::<u32, u32, Bytes>(&fifo, &output);
        assert!(matches!(result, Err(Error::BadPath { why: "it is the input as well", .. })), "{result:?}");
    }
}
