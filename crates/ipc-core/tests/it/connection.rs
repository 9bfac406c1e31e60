use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ipc_core::{Connection, Error, Receiver, Sender, wait};
use serde::{Deserialize, Serialize};

use crate::{pair, pipe, raw};

const SHORT: Duration = Duration::from_millis(20);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle { radius: f64 },
    Polygon(Vec<(i32, i32)>),
    Named(String, Box<Shape>),
}

#[test]
fn any_serde_type_passes_both_ways() {
    let (mut a, mut b) = pair::<Shape, Option<u8>>();
    let shapes = [
        Shape::Dot,
        Shape::Circle { radius: 0.5 },
        Shape::Named("n".into(), Box::new(Shape::Polygon(vec![(1, -2); 1000]))),
    ];
    for shape in &shapes {
        a.send(shape).unwrap();
    }
    for shape in &shapes {
        assert_eq!(b.recv().unwrap(), *shape);
    }
    b.send(Some(3)).unwrap();
    b.send(None).unwrap();
    assert_eq!((a.recv().unwrap(), a.recv().unwrap()), (Some(3), None));
}

#[test]
fn limits_hold_on_both_sides_and_can_be_raised() {
    let (mut a, mut b) = pair::<Vec<u8>, ()>();
    a.set_max_message(1000);
    assert!(matches!(a.send_bytes(&[0; 1001]), Err(Error::TooLarge { len: 1001, max: 1000 })));
    assert!(matches!(a.send(vec![0; 999]), Err(Error::TooLarge { len: 1001, max: 1000 })), "with its length, 1001");
    a.send_bytes(&[7; 1000]).unwrap();
    b.set_max_message(999);
    assert!(matches!(b.recv_bytes(), Err(Error::TooLarge { len: 1000, max: 999 })));
    b.set_max_message(1000);
    assert_eq!(b.recv_bytes().unwrap(), [7; 1000]);
}

#[test]
fn a_short_buffer_keeps_the_message() {
    for len in [10, 100_000] {
        let (mut a, mut b) = pair::<(), ()>();
        let message: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let sender = std::thread::spawn(move || {
            a.send_bytes(&message).unwrap();
            a.send_bytes(b"next").unwrap();
            message
        });
        let mut buffer = vec![0; len + 5];
        for _ in 0..2 {
            let error = b.recv_bytes_into(&mut buffer[..len - 1]).unwrap_err();
            assert!(matches!(error, Error::BufferTooShort { needed, len: given } if needed == len && given == len - 1));
        }
        assert_eq!(b.recv_bytes_into(&mut buffer).unwrap(), len);
        assert_eq!(b.recv_bytes().unwrap(), b"next");
        assert_eq!(buffer[..len], sender.join().unwrap());
    }
}

#[test]
fn the_end_at_a_border_is_disconnected_and_within_a_message_truncated() {
    let (mut a, mut wire) = raw::<(), Vec<u8>>();
    wire.write_all(b"\0\0\0\x01x").unwrap();
    drop(wire);
    assert_eq!(a.recv_bytes().unwrap(), b"x");
    for _ in 0..2 {
        assert!(matches!(a.recv_bytes(), Err(Error::Disconnected)));
    }
    for (bytes, missing) in [(&b"\0\0"[..], 1), (b"\0\0\0\x05abc", 2), (b"\0\x01\0\0x", 65_535)] {
        let (mut a, mut wire) = raw::<(), Vec<u8>>();
        wire.write_all(bytes).unwrap();
        drop(wire);
        for _ in 0..2 {
            let error = a.recv_bytes().unwrap_err();
            assert!(matches!(error, Error::Truncated { missing: m } if m == missing), "{bytes:?}: {error}");
        }
    }
}

#[test]
fn an_end_with_unread_messages_of_the_peer_ends_as_any_other() {
    // The kernel says ECONNRESET here.
    let (mut a, mut b) = pair::<u8, u8>();
    b.send(1).unwrap();
    a.send(2).unwrap();
    drop(b);
    assert_eq!(a.recv().unwrap(), 1);
    assert!(matches!(a.recv(), Err(Error::Disconnected)));
    assert!(matches!(a.send(3), Err(Error::Disconnected)));
}

#[test]
fn a_decode_error_consumes_its_message_only() {
    let (mut a, mut b) = pair::<(), String>();
    let mut typed: Connection<Vec<u8>, ()> = b.retype();
    typed.send(vec![0xff, 0xfe]).unwrap(); // no UTF-8
    b = typed.retype();
    b.send("fine".to_string()).unwrap();
    assert!(matches!(a.recv(), Err(Error::Decode(_))));
    assert_eq!(a.recv().unwrap(), "fine");
}

#[test]
fn a_panic_of_a_value_leaves_the_connection_in_order() {
    #[derive(Debug, PartialEq)]
    struct Touchy(u8);
    impl Serialize for Touchy {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            assert!(self.0 != 13, "in serialize");
            (self.0, "some more").serialize(serializer)
        }
    }
    impl<'de> Deserialize<'de> for Touchy {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Touchy, D::Error> {
            let (n, _) = <(u8, String)>::deserialize(deserializer)?;
            assert!(n != 14, "in deserialize");
            Ok(Touchy(n))
        }
    }
    fn panics<T>(f: impl FnOnce() -> T) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err()
    }
    let (mut a, mut b) = pair::<(u8, Touchy), ()>();
    a.send((1, Touchy(1))).unwrap();
    assert!(panics(|| a.send((2, Touchy(13)))));
    a.send((3, Touchy(14))).unwrap();
    assert!(panics(|| a.send_many([(4, Touchy(4)), (5, Touchy(13))])));
    a.send((6, Touchy(6))).unwrap();
    assert_eq!(b.recv().unwrap(), (1, Touchy(1)));
    assert!(panics(|| b.recv()));
    assert_eq!(b.recv().unwrap(), (4, Touchy(4)));
    assert_eq!(b.recv().unwrap(), (6, Touchy(6)));
}

#[test]
fn iteration_goes_on_after_a_bad_message_and_ends_with_the_stream() {
    let (mut a, mut b) = pair::<(), String>();
    b.send_bytes(b"\x02ok").unwrap();
    b.send_bytes(b"\x09short").unwrap();
    b.send_bytes(b"\x04fine").unwrap();
    drop(b);
    let items: Vec<_> = a.iter().collect();
    assert_eq!(items.len(), 3);
    assert_eq!(items[0].as_ref().unwrap(), "ok");
    assert!(matches!(items[1], Err(Error::Decode(_))));
    assert_eq!(items[2].as_ref().unwrap(), "fine");

    let (mut a, mut wire) = raw::<(), String>();
    wire.write_all(b"\0\0\0\x09\x08cut").unwrap();
    drop(wire);
    let items: Vec<_> = (&mut a).into_iter().collect();
    assert!(matches!(items[..], [Err(Error::Truncated { .. })]), "a truncated stream is told, once");
}

#[test]
fn try_and_timeout_forms_wait_as_they_say_and_lose_nothing() {
    let (mut a, mut wire) = raw::<(), Vec<u8>>();
    assert!(matches!(a.try_recv(), Err(Error::WouldBlock)));
    let started = Instant::now();
    assert!(matches!(a.recv_timeout(SHORT), Err(Error::Timeout)));
    assert!(started.elapsed() >= SHORT);
    // Byte by byte, each with an interrupted wait, short and long.
    for payload in [&b"abc"[..], &[9; 70_000]] {
        let frame = [&(payload.len() as i32).to_be_bytes(), payload].concat();
        for (i, byte) in frame.iter().enumerate() {
            assert!(!a.poll(Duration::ZERO).unwrap());
            match i % 3 {
                _ if i > 10 && i < frame.len() - 10 => {}
                0 => assert!(matches!(a.recv_bytes_timeout(Duration::from_millis(1)), Err(Error::Timeout))),
                1 => assert!(matches!(a.try_recv_bytes_into(&mut [0; 80_000]), Err(Error::WouldBlock))),
                _ => assert!(matches!(a.try_recv(), Err(Error::WouldBlock))),
            }
            wire.write_all(&[*byte]).unwrap();
        }
        assert!(a.poll(Duration::MAX).unwrap());
        assert_eq!(a.recv_bytes().unwrap(), payload);
    }
}

#[test]
fn an_endless_timeout_waits() {
    let (mut a, mut b) = pair::<u8, u8>();
    let waiter = std::thread::spawn(move || (b.recv_timeout(Duration::MAX).unwrap(), b.poll(Duration::MAX).unwrap()));
    a.send(1).unwrap();
    drop(a);
    assert_eq!(waiter.join().unwrap(), (1, true));
}

#[test]
fn a_send_that_times_out_before_its_first_byte_was_never_there() {
    fn fill(mut try_send: impl FnMut(&[u8]) -> Result<(), Error>) -> usize {
        let mut sent = 0;
        loop {
            match try_send(&[sent as u8; 4]) {
                Ok(()) => sent += 1,
                Err(Error::WouldBlock) => return sent,
                Err(error) => panic!("{error}"),
            }
        }
    }
    // A pipe holds whole pages of whole messages of 8 bytes; on a socket no message of this size is split.
    let (mut sender, mut receiver) = pipe::<Vec<u8>>();
    let sent = fill(|bytes| sender.try_send_bytes(bytes));
    let started = Instant::now();
    assert!(matches!(sender.send_bytes_timeout(b"late", SHORT), Err(Error::Timeout)));
    assert!(started.elapsed() >= SHORT);
    for n in 0..sent {
        assert_eq!(receiver.recv_bytes().unwrap(), [n as u8; 4]);
    }
    assert!(matches!(receiver.try_recv_bytes(), Err(Error::WouldBlock)));

    let (mut a, mut b) = pair::<Vec<u8>, Vec<u8>>();
    let sent = fill(|bytes| a.try_send_bytes(bytes));
    assert!(matches!(a.send_timeout(vec![1], SHORT), Err(Error::Timeout)));
    for n in 0..sent {
        assert_eq!(b.recv_bytes().unwrap(), [n as u8; 4]);
    }
    assert!(matches!(b.try_recv_bytes(), Err(Error::WouldBlock)));
}

#[test]
fn a_send_that_times_out_in_the_middle_is_finished_later() {
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7) as u8).collect();
    let (mut a, mut b) = pair::<Vec<u8>, Vec<u8>>();
    assert!(matches!(a.try_send_bytes(&big), Err(Error::Unfinished { left }) if left > 1_000_000));
    assert!(matches!(a.flush(SHORT), Err(Error::Timeout)));
    // Nothing else goes out before the rest does.
    assert!(matches!(a.try_send_bytes(b"early"), Err(Error::WouldBlock)));
    assert!(matches!(a.send_timeout(vec![1], SHORT), Err(Error::Timeout)));
    let reader = std::thread::spawn(move || (b.recv_bytes().unwrap(), b.recv().unwrap(), b.recv_bytes()));
    a.send(vec![2]).unwrap();
    drop(a);
    let (first, second, end) = reader.join().unwrap();
    assert_eq!((first, second), (big.clone(), vec![2]));
    assert!(matches!(end, Err(Error::Disconnected)));

    // The same on a pipe, with an encoded message, and finished by `flush`.
    let (mut sender, mut receiver) = pipe::<Vec<u8>>();
    assert!(matches!(sender.send_timeout(&big, SHORT), Err(Error::Unfinished { .. })));
    let reader = std::thread::spawn(move || receiver.recv().unwrap());
    sender.flush(Duration::MAX).unwrap();
    assert_eq!(reader.join().unwrap(), big);
}

#[test]
fn many_messages_in_one_call() {
    let (mut a, mut b) = pair::<u64, u64>();
    let reader = std::thread::spawn(move || b.iter().map(Result::unwrap).collect::<Vec<_>>());
    assert_eq!(a.send_many(0..100_000u64).unwrap(), 100_000);
    assert_eq!(a.send_many([1, 2]).unwrap(), 2);
    assert_eq!(a.send_many(std::iter::empty::<u64>()).unwrap(), 0);
    drop(a);
    assert!(reader.join().unwrap().into_iter().eq((0..100_000).chain([1, 2])));

    // In time or not, what was taken from the iterator is sent, and the rest is still in it.
    let (mut a, mut b) = pair::<u64, u64>();
    let mut numbers = 0..10_000_000u64;
    assert!(matches!(a.send_many_timeout(&mut numbers, SHORT), Err(Error::Unfinished { .. })));
    let reader = std::thread::spawn(move || b.iter().map(Result::unwrap).collect::<Vec<_>>());
    a.flush(Duration::MAX).unwrap();
    drop(a);
    let next = numbers.next().unwrap();
    assert!(reader.join().unwrap().into_iter().eq(0..next));
}

#[test]
fn a_bad_message_among_many_stops_after_those_before_it() {
    let (mut a, mut b) = pair::<Vec<u8>, Vec<u8>>();
    a.set_max_message(10);
    let error = a.send_many([vec![1], vec![2], vec![0; 100], vec![3]]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }));
    a.send(vec![4]).unwrap();
    drop(a);
    let received: Vec<_> = b.iter().map(Result::unwrap).collect();
    assert_eq!(received, [[1], [2], [4]]);
}

#[test]
fn halves_end_their_direction_each() {
    let (a, mut b) = pair::<u8, u8>();
    let (mut sender, mut receiver) = a.split();
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(b.recv().unwrap(), 1);
    assert!(matches!(b.recv(), Err(Error::Disconnected)));
    b.send(2).unwrap();
    assert_eq!(receiver.recv().unwrap(), 2);

    let (a, mut b) = pair::<u8, u8>();
    let (mut sender, receiver) = a.split();
    drop(receiver);
    assert!(matches!(b.send(3), Err(Error::Disconnected)));
    sender.send(4).unwrap();
    assert_eq!(b.recv().unwrap(), 4);

    // Joined again they end together.
    let (a, mut b) = pair::<u8, u8>();
    let (sender, receiver) = a.split();
    let mut a = Connection::from_halves(sender, receiver);
    b.send(1).unwrap();
    assert_eq!(a.recv().unwrap(), 1);
    a.send(2).unwrap();
    drop(a);
    assert_eq!(b.recv().unwrap(), 2);
    assert!(matches!(b.recv(), Err(Error::Disconnected)));

    // Two pipes make a connection, too, whose descriptor cannot be given out as one.
    let ((s1, r1), (s2, r2)) = (pipe::<u8>(), pipe::<u8>());
    let (mut a, mut b) = (Connection::from_halves(s1, r2), Connection::from_halves(s2, r1));
    a.send(1).unwrap();
    let n = b.recv().unwrap();
    b.send(n + 1).unwrap();
    assert_eq!(a.recv().unwrap(), 2);
    assert!(matches!(a.into_fd(), Err(Error::Unsuitable(_))));
}

#[test]
fn descriptors_that_do_not_fit_are_refused() {
    fn unsuitable<T>(result: Result<T, Error>) -> bool {
        matches!(result, Err(Error::Unsuitable(_)))
    }
    let (read, write) = nix::unistd::pipe().unwrap();
    assert!(unsuitable(Sender::<u8>::try_from(read)));
    assert!(unsuitable(Receiver::<u8>::try_from(write)));
    let (read, _write) = nix::unistd::pipe().unwrap();
    assert!(unsuitable(Connection::<u8, u8>::try_from(read)));
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    assert!(unsuitable(Receiver::<u8>::try_from(file)));
    let (datagrams, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
    assert!(unsuitable(Connection::<u8, u8>::try_from(OwnedFd::from(datagrams))));
}

#[test]
fn a_descriptor_is_given_out_only_when_nothing_would_be_lost() {
    let (a, mut b) = pair::<u8, u8>();
    b.send_many([1, 2]).unwrap();
    let mut a = a;
    assert_eq!(a.recv().unwrap(), 1);
    let (_, error) = (b, a.into_fd().unwrap_err());
    assert!(matches!(error, Error::Unsuitable(_)), "{error}");

    let (mut a, b) = pair::<Vec<u8>, u8>();
    a.try_send(vec![0; 4 << 20]).unwrap_err();
    assert!(matches!(a.into_fd(), Err(Error::Unsuitable(_))));
    drop(b);

    let (a, mut wire) = raw::<u8, u8>();
    let mut stream = UnixStream::from(a.into_fd().unwrap());
    stream.write_all(b"plain").unwrap();
    drop(stream);
    let mut text = String::new();
    wire.read_to_string(&mut text).unwrap();
    assert_eq!(text, "plain");
}

#[test]
fn non_blocking_descriptors_work_as_blocking_ones() {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    let mut a: Connection<Vec<u8>, Vec<u8>> = OwnedFd::from(a).try_into().unwrap();
    let mut b: Connection<Vec<u8>, Vec<u8>> = OwnedFd::from(b).try_into().unwrap();
    let message = vec![5; 2_000_000];
    let reader = std::thread::spawn(move || b.recv().unwrap());
    a.send(&message).unwrap();
    assert_eq!(reader.join().unwrap(), message);
}

#[test]
fn a_spinning_receiver_receives_the_same() {
    let (mut a, mut b) = pair::<u32, u32>();
    b.set_spin(Duration::from_micros(50));
    assert!(matches!(b.recv_timeout(SHORT), Err(Error::Timeout)));
    let echo = std::thread::spawn(move || {
        while let Ok(n) = b.recv() {
            b.send(n).unwrap();
        }
    });
    for n in 0..1000 {
        a.send(n).unwrap();
        assert_eq!(a.recv().unwrap(), n);
    }
    drop(a);
    echo.join().unwrap();
}

#[test]
fn network_connections_speak_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let mut a: Connection<String, u64> = OwnedFd::from(client).try_into().unwrap();
    let mut b: Connection<u64, String> = OwnedFd::from(server).try_into().unwrap();
    a.send("x".repeat(100_000)).unwrap();
    let len = b.recv().unwrap().len() as u64;
    b.send(len).unwrap();
    assert_eq!(a.recv().unwrap(), 100_000);
    // No handles over a network; the connection stays usable.
    let mut a: Connection<ipc_core::Handle, u64> = a.retype();
    let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    assert!(matches!(a.send(ipc_core::Handle::from(null)), Err(Error::NoHandles(_))));
    b.send(1).unwrap();
    assert_eq!(a.recv().unwrap(), 1);
}

#[test]
fn wait_sees_buffered_messages_descriptors_and_the_end() {
    let (mut a, mut b) = pair::<u8, u8>();
    let (c, d) = pair::<u8, u8>();
    let (read, mut write) = UnixStream::pair().unwrap();
    let read = OwnedFd::from(read);
    assert_eq!(wait(&[&b, &d, &read], SHORT).unwrap(), [0; 0]);
    a.send_many([1, 2]).unwrap();
    assert_eq!(wait(&[&b, &d, &read], Duration::MAX).unwrap(), [0]);
    assert_eq!(b.recv().unwrap(), 1);
    // The second message lies in the buffer; the descriptor has nothing more.
    assert_eq!(wait(&[&b.as_fd(), &d], SHORT).unwrap(), [0; 0]);
    assert_eq!(wait(&[&b, &d, &b], Duration::MAX).unwrap(), [0, 2]);
    write.write_all(b"x").unwrap();
    drop(c);
    assert_eq!(wait(&[&b, &d, &read], Duration::MAX).unwrap(), [0, 1, 2]);
    assert_eq!(b.recv().unwrap(), 2);
    assert_eq!(wait(&[&b, &d, &read], Duration::MAX).unwrap(), [1, 2]);
    // A part of a message in the buffer is not a message.
    let (mut a, mut wire) = raw::<u8, Vec<u8>>();
    wire.write_all(b"\0\0\0\x02x").unwrap();
    assert!(matches!(a.try_recv(), Err(Error::WouldBlock)));
    assert_eq!(wait(&[&a], SHORT).unwrap(), [0; 0]);
    wire.write_all(b"y").unwrap();
    assert_eq!(wait(&[&a], Duration::MAX).unwrap(), [0]);
}

#[test]
fn threads_on_both_halves_do_not_disturb_each_other() {
    let (a, b) = pair::<(u32, Vec<u8>), (u32, Vec<u8>)>();
    let message = |n: u32| (n, vec![n as u8; (n * 37 % 5000) as usize]);
    std::thread::scope(|threads| {
        for end in [a, b] {
            let (mut sender, mut receiver) = end.split();
            threads.spawn(move || (0..3000).for_each(|n| sender.send(message(n)).unwrap()));
            threads.spawn(move || (0..3000).for_each(|n| assert_eq!(receiver.recv().unwrap(), message(n))));
        }
    });
}

#[test]
fn a_sender_that_goes_on_and_on_does_not_stretch_the_time_out() {
    let (mut a, mut wire) = raw::<Vec<u8>, Vec<u8>>();
    wire.write_all(&(1i32 << 30).to_be_bytes()).unwrap();
    let go_on = std::thread::spawn(move || while wire.write_all(&[0; 100]).is_ok() {});
    let started = Instant::now();
    assert!(matches!(a.recv_timeout(SHORT), Err(Error::Timeout)));
    assert!(matches!(a.recv_bytes_into_timeout(&mut vec![0; 1 << 30], SHORT), Err(Error::Timeout)));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    drop(a);
    go_on.join().unwrap();
}

#[test]
fn wait_does_not_sleep_when_an_error_is_certain() {
    let (mut a, mut wire) = raw::<(), Vec<u8>>();
    a.set_max_message(10);
    wire.write_all(b"\0\0\0\x63x").unwrap();
    assert!(matches!(a.try_recv(), Err(Error::TooLarge { .. })));
    assert_eq!(wait(&[&a], SHORT).unwrap(), [0]);
}

#[test]
fn a_thread_that_is_ending_can_still_send() {
    struct Goodbye(Sender<u32>);
    impl Drop for Goodbye {
        fn drop(&mut self) {
            self.0.send(2).unwrap();
        }
    }
    thread_local! {
        static GOODBYE: std::cell::RefCell<Option<Goodbye>> = const { std::cell::RefCell::new(None) };
    }
    let (mut sender, mut receiver) = pipe::<u32>();
    std::thread::spawn(move || {
        // First the destructor of this one is registered, then that of what sending uses.
        GOODBYE.with_borrow_mut(|goodbye| {
            let mut other = pipe::<u32>();
            sender.send(1).unwrap();
            other.0.send_bytes(&[0x80]).unwrap();
            assert!(other.1.recv().is_err());
            *goodbye = Some(Goodbye(sender));
        });
    })
    .join()
    .unwrap();
    assert_eq!((receiver.recv().unwrap(), receiver.recv().unwrap()), (1, 2));
}
