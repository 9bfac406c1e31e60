use std::fs::File;
use std::io::{IoSlice, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_core::{Connection, Error, Handle, Receiver, Sender};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::{Deserialize, Serialize};

use crate::{pair, pipe, raw};

fn handle() -> Handle {
    Handle::from(File::open("/dev/null").unwrap())
}

/// A handle, and the other end of its socket, which sees when the last descriptor of it is closed.
fn watched() -> (Handle, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    (Handle::from(a), b)
}

fn is_closed(mut other_end: &UnixStream) -> bool {
    other_end.set_nonblocking(true).unwrap();
    matches!(other_end.read(&mut [0]), Ok(0))
}

#[derive(Debug, Serialize, Deserialize)]
enum Message {
    Nothing,
    File { name: String, file: Handle },
    Many(Vec<Option<Handle>>),
    Nested(Box<Message>, Handle),
}

#[test]
fn handles_anywhere_in_a_value_cross_in_order() {
    let (mut a, mut b) = pair::<Message, ()>();
    let file = |text: &str| {
        let (read, mut write) = UnixStream::pair().unwrap();
        write.write_all(text.as_bytes()).unwrap();
        Handle::from(read)
    };
    a.send(Message::File { name: "one".into(), file: file("1") }).unwrap();
    a.send(Message::Nothing).unwrap();
    a.send(Message::Many(vec![Some(file("2")), None, Some(file("3"))])).unwrap();
    a.send(Message::Nested(Box::new(Message::Nested(Box::new(Message::Nothing), file("4"))), file("5"))).unwrap();
    let read = |handle: Handle| std::io::read_to_string(File::from(handle.into_fd().unwrap())).unwrap();
    let Message::File { name, file } = b.recv().unwrap() else { panic!() };
    assert_eq!((name.as_str(), read(file).as_str()), ("one", "1"));
    assert!(matches!(b.recv().unwrap(), Message::Nothing));
    let Message::Many(mut many) = b.recv().unwrap() else { panic!() };
    assert!(many[1].is_none());
    assert_eq!(read(many.remove(0).unwrap()), "2");
    assert_eq!(read(many.remove(1).unwrap()), "3");
    let Message::Nested(inner, five) = b.recv().unwrap() else { panic!() };
    let Message::Nested(_, four) = *inner else { panic!() };
    assert_eq!((read(four), read(five)), ("4".into(), "5".into()));
}

#[test]
fn what_arrives_is_close_on_exec() {
    let (mut a, mut b) = pair::<Handle, ()>();
    a.send(handle()).unwrap();
    let flags = nix::fcntl::fcntl(b.recv().unwrap().as_fd(), nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags, nix::libc::FD_CLOEXEC);
}

#[test]
fn sending_by_value_moves_and_a_clone_or_reference_keeps() {
    let (mut a, mut b) = pair::<Handle, ()>();
    let (moved, other_end) = watched();
    a.send(moved).unwrap();
    drop(b.recv().unwrap());
    assert!(is_closed(&other_end));

    let (kept, other_end) = watched();
    a.send(kept.try_clone().unwrap()).unwrap();
    a.send(&kept).unwrap();
    drop((b.recv().unwrap(), b.recv().unwrap()));
    assert!(!is_closed(&other_end));
    drop(kept);
    assert!(is_closed(&other_end));
}

#[test]
fn a_thousand_handles_cross_in_one_message() {
    let (mut a, mut b) = pair::<Vec<Handle>, u8>();
    let (read, write) = UnixStream::pair().unwrap();
    // RLIMIT_NOFILE may be 1024, and sender and receiver are one process here: so a thousand of them, but few files at once.
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, limit.1, limit.1).unwrap();
    for n in [1, 252, 253, 254, 506, 507, 1000] {
        let shared = Handle::from(read.try_clone().map(OwnedFd::from).unwrap());
        let handles: Vec<Handle> = (0..n).map(|_| shared.try_clone().unwrap()).collect();
        a.send(handles).unwrap();
        a.send(vec![]).unwrap();
        assert_eq!(b.recv().unwrap().len(), n);
        assert_eq!(b.recv().unwrap().len(), 0);
    }
    drop(read);
    assert!(is_closed(&write), "none is left");
}

#[test]
fn what_is_not_taken_is_closed() {
    let (mut a, mut b) = pair::<(Handle, String), ()>();
    // The message is dropped with its connection, is received as bytes, or cannot be decoded.
    for way in 0..4 {
        let (handle, other_end) = watched();
        a.send((handle, "x".into())).unwrap();
        match way {
            0 => drop(b.recv_bytes().unwrap()),
            1 => assert_eq!(b.recv_bytes_into(&mut [0; 10]).unwrap(), 3),
            2 => {
                let mut other: Connection<(), (Handle, bool)> = b.retype();
                assert!(matches!(other.recv(), Err(Error::Decode(_))));
                b = other.retype();
            }
            _ => {
                drop(b);
                assert!(is_closed(&other_end), "unread");
                return;
            }
        }
        assert!(is_closed(&other_end), "way {way}");
    }
}

#[test]
fn pipes_and_foreign_formats_refuse_handles_clearly() {
    let (mut sender, mut receiver) = pipe::<Option<Handle>>();
    let (sent, other_end) = watched();
    assert!(matches!(sender.send(Some(sent)), Err(Error::NoHandles("a one-way pipe"))));
    assert!(is_closed(&other_end));
    sender.send(None).unwrap();
    assert!(receiver.recv().unwrap().is_none());

    let error = postcard::to_stdvec(&handle()).unwrap_err();
    assert!(!error.to_string().is_empty());
    // A number is no handle.
    let (mut a, b) = pair::<u32, ()>();
    a.send(0).unwrap();
    let mut b: Connection<(), Handle> = b.retype();
    let Err(Error::Decode(cause)) = b.recv() else { panic!() };
    assert!(cause.to_string().contains("handle"), "{cause}");
}

#[test]
fn untagged_and_flattened_types_are_a_clear_error() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Handle(Handle),
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Inner {
        file: Handle,
    }
    let (mut a, mut b) = pair::<Untagged, ()>();
    a.send(Untagged::Handle(handle())).unwrap();
    let Err(Error::Decode(cause)) = b.recv() else { panic!() };
    assert!(cause.to_string().contains("self-describing"), "{cause}");
    let (mut a, _b) = pair::<Flat, ()>();
    let Err(Error::Encode(cause)) = a.send(Flat { inner: Inner { file: handle() } }) else { panic!() };
    assert!(cause.to_string().contains("self-describing"), "{cause}");
}

#[test]
fn connections_cross_with_what_lies_in_their_buffers() {
    let (mut far, near) = pair::<String, String>();
    let mut near = near;
    far.send_many(["first", "second", "third"].map(String::from)).unwrap();
    far.send("long ".repeat(25_000)).unwrap();
    assert_eq!(near.recv().unwrap(), "first"); // the others come along in the same read

    let (mut a, mut b) = pair::<Connection<String, String>, ()>();
    a.send(near).unwrap();
    let mut near = b.recv().unwrap();
    assert_eq!(near.recv().unwrap(), "second");
    assert_eq!(near.recv().unwrap(), "third");
    assert_eq!(near.recv().unwrap().len(), 125_000);
    near.send("back".to_string()).unwrap();
    assert_eq!(far.recv().unwrap(), "back");
    drop(near);
    assert!(matches!(far.recv(), Err(Error::Disconnected)));
}

#[test]
fn a_connection_crosses_in_the_middle_of_a_message_with_handles() {
    let (mut far, mut near) = pair::<(Vec<u8>, Handle), ()>();
    let (handle, other_end) = watched();
    far.try_send((vec![3; 1_000_000], handle)).unwrap_err();
    assert!(!near.poll(Duration::ZERO).unwrap(), "a part of it is here by now");
    let (mut a, mut b) = pair::<Connection<(), (Vec<u8>, Handle)>, ()>();
    let carrier = std::thread::spawn(move || a.send(near).unwrap());
    let mut near = b.recv().unwrap();
    carrier.join().unwrap();
    let writer = std::thread::spawn(move || {
        far.flush(Duration::MAX).unwrap();
        far
    });
    let (bytes, handle) = near.recv().unwrap();
    assert_eq!(bytes, [3; 1_000_000]);
    assert!(!is_closed(&other_end));
    drop(handle);
    assert!(is_closed(&other_end));
    drop(writer.join().unwrap());
}

#[test]
fn a_sender_crosses_with_the_rest_of_its_message() {
    let (mut far, mut near) = pair::<Vec<u8>, Vec<u8>>();
    far.try_send(vec![4; 1_000_000]).unwrap_err();
    let (mut a, mut b) = pair::<Connection<Vec<u8>, Vec<u8>>, ()>();
    let carrier = std::thread::spawn(move || a.send(far).unwrap());
    let mut far = b.recv().unwrap();
    carrier.join().unwrap();
    let reader = std::thread::spawn(move || (near.recv().unwrap(), near.recv().unwrap()));
    far.send(vec![5]).unwrap();
    assert_eq!(reader.join().unwrap(), (vec![4; 1_000_000], vec![5]));
}

#[test]
fn an_end_that_was_sent_by_reference_is_of_no_more_use_here() {
    let (mut far, mut near) = pair::<u8, u8>();
    let (mut a, mut b) = pair::<Connection<u8, u8>, ()>();
    a.send(&near).unwrap();
    assert!(matches!(near.send(1), Err(Error::Moved)));
    assert!(matches!(near.recv(), Err(Error::Moved)));
    assert!(matches!(near.poll(Duration::MAX), Err(Error::Moved)));
    let Err(Error::Encode(cause)) = a.send(&near) else { panic!() };
    assert!(cause.to_string().contains("sent away"), "{cause}");
    let mut there = b.recv().unwrap();
    there.send(1).unwrap();
    assert_eq!(far.recv().unwrap(), 1);
    // The husk does not keep the stream open for ever, nor does its end close it.
    drop(near);
    there.send(2).unwrap();
    assert_eq!(far.recv().unwrap(), 2);
}

#[test]
fn an_end_that_could_not_be_sent_is_still_ours() {
    let (mut far, near) = pair::<u8, u8>();
    let (mut sender, _receiver) = pipe::<Connection<u8, u8>>();
    let mut near = near;
    assert!(matches!(sender.send(&near), Err(Error::NoHandles(_))));
    near.send(1).unwrap();
    assert_eq!(far.recv().unwrap(), 1);
    let (mut a, b) = pair::<Connection<u8, u8>, ()>();
    drop(b);
    assert!(matches!(a.send(&near), Err(Error::Disconnected)));
    near.send(2).unwrap();
    assert_eq!(far.recv().unwrap(), 2);
}

#[test]
fn halves_cross_separately_and_end_separately() {
    let (mut far, near) = pair::<u8, u8>();
    let (sender, receiver) = near.split();
    let (mut a, mut b) = pair::<(Option<Sender<u8>>, Option<Receiver<u8>>), ()>();
    a.send((Some(sender), None)).unwrap();
    a.send((None, Some(receiver))).unwrap();
    let (sender, _) = b.recv().unwrap();
    let (_, receiver) = b.recv().unwrap();
    let mut sender = sender.unwrap();
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(far.recv().unwrap(), 1);
    assert!(matches!(far.recv(), Err(Error::Disconnected)));
    far.send(2).unwrap();
    assert_eq!(receiver.unwrap().recv().unwrap(), 2);
    assert!(matches!(far.send(3), Err(Error::Disconnected)));
}

#[test]
fn a_hostile_peer_gets_errors_and_its_descriptors_are_closed() {
    let send = |wire: &UnixStream, bytes: &[u8], fds: &[i32]| {
        let rights = [ControlMessage::ScmRights(fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights[..] };
        sendmsg::<()>(wire.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_DONTWAIT, None).map(drop)
    };
    // Descriptors that no message claims.
    let (mut a, wire) = raw::<(), String>();
    let (handle, other_end) = watched();
    let fd = handle.as_fd().as_raw_fd();
    send(&wire, b"\0\0\0\x03\x02", &[fd]).unwrap();
    send(&wire, b"hi", &[]).unwrap();
    assert_eq!(a.recv().unwrap(), "hi");
    while send(&wire, b"\0\0\0\x01\0", &[fd; 100]).is_ok() {}
    drop(handle);
    let mut received = 0;
    let error = loop {
        match a.recv() {
            Ok(_) => received += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Malformed(_)) && received < 10, "{error} after {received}");
    assert!(matches!(a.recv(), Err(Error::Malformed(_))), "it stays so: the rest would be read at the wrong place");
    drop((a, wire));
    assert!(is_closed(&other_end));

    // What follows such an error would be read at the wrong place, so it is not read at all.
    let (mut a, wire) = raw::<(), Vec<u8>>();
    let null = self::handle();
    for byte in [0, 0, 0, 5, 1] {
        send(&wire, &[byte], &[null.as_fd().as_raw_fd()]).unwrap();
    }
    assert!(matches!(a.recv_bytes(), Err(Error::Malformed(_))));
    send(&wire, b"hello", &[]).unwrap();
    assert!(matches!(a.recv_bytes(), Err(Error::Malformed(_))));

    // Announced and not sent; another number than announced; a message that names one it did not bring.
    let announce = |n: u8| [&[0xff, 0xff, 0xff, 0xfe, 0, 0, 0, n][..], b"\0\0\0\x01\0"].concat();
    for (announced, sent) in [(1, 0), (2, 1), (1, 2)] {
        let (mut a, wire) = raw::<(), Handle>();
        let handles: Vec<Handle> = (0..sent).map(|_| self::handle()).collect();
        let fds: Vec<i32> = handles.iter().map(|handle| handle.as_fd().as_raw_fd()).collect();
        send(&wire, &announce(announced), &fds).unwrap();
        assert!(matches!(a.recv(), Err(Error::Malformed(_))), "{announced} {sent}");
    }
    let (mut a, wire) = raw::<(), Handle>();
    send(&wire, b"\0\0\0\x01\0\0\0\0\x01\x07", &[]).unwrap();
    assert!(matches!(a.recv(), Err(Error::Decode(_))));
    assert!(matches!(a.recv(), Err(Error::Decode(_))));
    // One handle named twice.
    let (mut a, wire) = raw::<(), (Handle, Handle)>();
    let null = self::handle();
    let bytes = [&[0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 1][..], b"\0\0\0\x02\0\0"].concat();
    send(&wire, &bytes, &[null.as_fd().as_raw_fd()]).unwrap();
    let Err(Error::Decode(cause)) = a.recv() else { panic!() };
    assert!(cause.to_string().contains("twice"), "{cause}");
}

#[test]
fn a_handle_can_be_sought_and_read_as_the_file_it_is() {
    let (mut a, mut b) = pair::<Handle, ()>();
    let path = std::env::current_exe().unwrap();
    a.send(Handle::from(File::open(path).unwrap())).unwrap();
    let mut file = File::from(b.recv().unwrap().into_fd().unwrap());
    file.seek(std::io::SeekFrom::Start(1)).unwrap();
    let mut magic = [0; 3];
    file.read_exact(&mut magic).unwrap();
    assert_eq!(&magic, b"ELF");
}

#[test]
fn ends_in_an_unfinished_message_are_the_receivers_already() {
    // By value: the half that is dropped here must not end its direction.
    let (mut a, mut b) = pair::<(Sender<u32>, Vec<u8>), ()>();
    let (near, mut far) = pair::<u32, u32>();
    let (sender, _receiver) = near.split();
    assert!(matches!(a.try_send((sender, vec![0; 1 << 20])), Err(Error::Unfinished { .. })));
    let flush = std::thread::spawn(move || a.flush(Duration::MAX).unwrap());
    let (mut sender, _) = b.recv().unwrap();
    flush.join().unwrap();
    sender.send(7).unwrap();
    assert_eq!(far.recv().unwrap(), 7);

    // By reference: what is left here must not be able to send as well.
    let (mut a, _b) = pair::<(Connection<u32, u32>, Vec<u8>), ()>();
    let (near, _far) = pair::<u32, u32>();
    let mut message = (near, vec![0; 1 << 20]);
    assert!(matches!(a.try_send(&message), Err(Error::Unfinished { .. })));
    assert!(matches!(message.0.send(1), Err(Error::Moved)));
}

#[test]
fn stray_descriptors_break_the_stream_and_are_never_taken_for_those_of_a_message() {
    let (mut a, wire) = raw::<(), Option<Handle>>();
    let null = self::handle();
    let fds = [null.as_fd().as_raw_fd()];
    sendmsg::<()>(
        wire.as_raw_fd(),
        &[IoSlice::new(b"\0\0\0\x01\0")],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::empty(),
        None,
    )
    .unwrap();
    assert!(a.recv().unwrap().is_none(), "the message itself is in order");
    let mut honest: Sender<Option<Handle>> = OwnedFd::from(wire).try_into().unwrap();
    honest.send(Some(Handle::from(File::open("/dev/zero").unwrap()))).unwrap();
    assert!(matches!(a.recv(), Err(Error::Malformed(_))));
}

#[test]
fn more_handles_than_allowed_break_the_stream() {
    let (mut a, mut b) = pair::<Vec<Handle>, ()>();
    b.set_max_handles(2);
    a.send(vec![self::handle(), self::handle()]).unwrap();
    a.send(vec![self::handle(), self::handle(), self::handle()]).unwrap();
    assert_eq!(b.recv().unwrap().len(), 2);
    assert!(matches!(b.recv(), Err(Error::Malformed(_))));
}

#[test]
fn credentials_that_a_socket_passes_are_no_handles() {
    let (a, b) = UnixStream::pair().unwrap();
    nix::sys::socket::setsockopt(&b, nix::sys::socket::sockopt::PassCred, &true).unwrap();
    let mut a: Sender<u8> = OwnedFd::from(a).try_into().unwrap();
    let mut b: Receiver<u8> = OwnedFd::from(b).try_into().unwrap();
    for n in 0..20 {
        a.send(n).unwrap();
        assert_eq!(b.recv().unwrap(), n);
    }
}

#[test]
fn a_message_received_while_another_is_decoded_cannot_take_its_handles() {
    thread_local! {
        static OTHER: std::cell::RefCell<Option<Receiver<Handle>>> = const { std::cell::RefCell::new(None) };
    }
    #[derive(Debug)]
    struct Asks(Handle);
    impl Serialize for Asks {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.serialize(serializer)
        }
    }
    impl<'de> Deserialize<'de> for Asks {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Asks, D::Error> {
            let stolen = OTHER.take().map(|mut other| other.recv());
            assert!(matches!(stolen, Some(Err(Error::Decode(_)))), "{stolen:?}");
            Handle::deserialize(deserializer).map(Asks)
        }
    }
    let (other, mut wire) = raw::<(), Handle>();
    wire.write_all(b"\0\0\0\x01\0").unwrap(); // "the first handle", and none came
    OTHER.set(Some(other.split().1));
    let (mut a, mut b) = pair::<Asks, ()>();
    a.send(Asks(self::handle())).unwrap();
    b.recv().unwrap();
}
