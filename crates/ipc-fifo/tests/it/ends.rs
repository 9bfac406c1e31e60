//! What readers and writers say when they have nothing to do, and when nobody is at the other end.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::AsFd;

use ipc_fifo::{Error, Fifo, Plain, Postcard, Process, Reader, Writer, wait};

use crate::{Folder, LONG, SHORT, disconnected, long, pair, reader, timed_out, would_block, writer};

#[test]
fn a_reader_without_writers_is_disconnected_until_one_comes() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let (mut reader, mut first) = pair(&fifo);
    first.send(b"one".as_slice()).unwrap();
    drop(first);
    assert_eq!(reader.recv().unwrap(), b"one"); // what was sent arrives
    assert!(disconnected(reader.recv()));
    assert!(disconnected(reader.try_recv()));
    assert!(disconnected(reader.recv_timeout(LONG)));
    assert!(reader.poll(LONG).unwrap());
    let mut second = writer(&fifo);
    assert!(would_block(reader.try_recv()));
    second.send(b"two".as_slice()).unwrap();
    assert_eq!(reader.recv().unwrap(), b"two");
}

#[test]
fn a_writer_without_reader_is_disconnected_until_one_comes() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let first = reader(&fifo);
    let mut writer = writer(&fifo);
    drop(first);
    assert!(disconnected(writer.send(b"lost".as_slice())));
    assert!(disconnected(writer.try_send(b"lost".as_slice())));
    assert!(disconnected(writer.send_timeout(long(10_000), LONG)));
    let mut second = reader(&fifo);
    writer.send(b"kept".as_slice()).unwrap();
    assert_eq!(second.recv().unwrap(), b"kept");
    assert!(would_block(second.try_recv())); // nothing of what was lost
}

#[test]
fn a_writer_that_waits_is_told_when_the_reader_goes() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader = reader(&fifo);
    let mut writer = writer(&fifo);
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            loop {
                if let Err(error) = writer.send(long(200_000)) {
                    return error;
                }
            }
        });
        // So it is in the middle of sending; with nobody who reads, it has to wait.
        assert_eq!(reader.recv().unwrap(), long(200_000));
        drop(reader);
        assert!(sending.join().unwrap().is_disconnected());
    });
}

#[test]
fn a_lasting_reader_waits_for_the_next_writer() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader = reader(&fifo);
    assert!(would_block(reader.try_recv()));
    assert!(timed_out(|timeout| reader.recv_timeout(timeout)));
    for text in [b"one", b"two"] {
        writer(&fifo).send(text.as_slice()).unwrap();
        assert_eq!(reader.recv().unwrap(), text);
        assert!(timed_out(|timeout| reader.recv_bytes_timeout(timeout)));
    }
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || reader.recv());
        writer(&fifo).send(b"three".as_slice()).unwrap();
        assert_eq!(receiving.join().unwrap().unwrap(), b"three");
    });
}

#[test]
fn a_new_reader_goes_on_where_the_old_one_ended() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut first = reader(&fifo);
    let mut writer = writer(&fifo);
    for n in 0..10u8 {
        writer.send([n].as_slice()).unwrap();
        assert_eq!(first.recv().unwrap(), [n]);
    }
    (10..20u8).for_each(|n| writer.send([n].as_slice()).unwrap());
    drop(first);
    let mut second = reader(&fifo); // the writer has kept what is in the pipe
    assert_eq!((10..20u8).map(|_| second.recv().unwrap()[0]).collect::<Vec<_>>(), (10..20).collect::<Vec<_>>());
}

/// A writer that can be made to wait: nobody reads, and the pipe is full.
fn fill(writer: &mut Writer<[u8], ipc_fifo::Bytes>) -> usize {
    (0..).find(|_| would_block(writer.try_send([7; 1000].as_slice()))).unwrap()
}

#[test]
fn a_full_pipe_makes_writers_wait() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader = reader(&fifo);
    let mut writer = writer(&fifo);
    let sent = fill(&mut writer);
    assert!(sent > 10);
    assert!(timed_out(|timeout| writer.send_timeout([8; 1000].as_slice(), timeout)));
    assert!(timed_out(|timeout| writer.send_bytes_timeout(&[8; 1000], timeout)));
    for _ in 0..sent {
        assert_eq!(reader.recv().unwrap(), [7; 1000]);
    }
    assert!(would_block(reader.try_recv())); // of what timed out nothing was sent
    writer.try_send_bytes(b"room").unwrap();
    assert_eq!(reader.recv_bytes().unwrap(), b"room");
}

#[test]
fn an_unfinished_message_is_finished_by_the_next_call() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader = reader(&fifo);
    let mut writer = writer(&fifo);
    let mut expected = VecDeque::new();
    for next_is_flush in [true, false] {
        let bytes = long(150_000);
        let Err(Error::Unfinished { left }) = writer.try_send(&bytes[..]) else { panic!("it does not fit") };
        assert!(left > 0 && left < 150_000 && left % 4048 == 150_000 % 4048, "whole records are out: {left}");
        assert!(timed_out(|timeout| writer.flush(timeout)));
        assert!(would_block(writer.try_send(b"next".as_slice())));
        expected.push_back(bytes);
        assert!(would_block(reader.try_recv())); // makes room, and keeps what came
        while reader.try_recv().is_err() {
            match next_is_flush {
                true => match writer.flush(SHORT) {
                    Ok(()) => assert_eq!(reader.recv().unwrap(), expected.pop_front().unwrap()),
                    Err(error) => assert!(error.is_timeout()),
                },
                false => match writer.try_send(b"next".as_slice()) {
                    Ok(()) => {
                        expected.push_back(b"next".to_vec());
                        assert_eq!(reader.recv().unwrap(), expected.pop_front().unwrap());
                    }
                    Err(error) => assert!(error.is_would_block()),
                },
            }
            if expected.is_empty() {
                break;
            }
        }
    }
    writer.flush(LONG).unwrap(); // nothing to do
}

#[test]
fn limits_hold_on_both_ends() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader = reader(&fifo);
    let mut writer = writer(&fifo);
    writer.set_max_message(9_999);
    assert!(matches!(writer.send(long(10_000)), Err(Error::TooLarge { len: 10_000, max: 9_999 })));
    assert!(matches!(writer.try_send_bytes(&long(10_000)), Err(Error::TooLarge { .. })));
    writer.set_max_message(u64::MAX);
    reader.set_max_message(9_999);
    writer.send(long(10_000)).unwrap();
    writer.send(long(9_999)).unwrap();
    assert!(matches!(reader.recv(), Err(Error::TooLarge { len: 10_000, max: 9_999 })));
    assert_eq!(reader.recv().unwrap(), long(9_999));
}

#[test]
fn foreign_bytes_are_told_once_and_left_out() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader = reader(&fifo);
    let mut writer = writer(&fifo);
    let mut foreign = fifo.write_end().unwrap();
    writer.send(b"before".as_slice()).unwrap();
    foreign.write_all(b"what is this\n").unwrap();
    foreign.write_all(&[0xB5; 100]).unwrap();
    writer.send(b"after".as_slice()).unwrap();
    assert_eq!(reader.recv().unwrap(), b"before");
    assert!(matches!(reader.recv(), Err(Error::Garbage { bytes: 113 })));
    assert_eq!(reader.recv().unwrap(), b"after");
    // The beginning of a record, as nothing of ours leaves it.
    foreign.write_all(&[0xB5, b'f', b'f', 1]).unwrap();
    assert!(matches!(reader.recv(), Err(Error::Garbage { bytes: 4 })));
    writer.send(b"more".as_slice()).unwrap();
    assert_eq!(reader.recv().unwrap(), b"more");
}

#[test]
fn values_that_cannot_be_are_refused_one_by_one() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader: Reader<bool> = fifo.lasting_reader().unwrap();
    let mut writer: Writer<u8> = fifo.writer().unwrap();
    [1, 2, 0].into_iter().for_each(|n| writer.send(n).unwrap());
    assert!(reader.recv().unwrap());
    assert!(matches!(reader.recv(), Err(Error::Decode(_))));
    assert!(!reader.recv().unwrap());
    let mut handles: Writer<ipc_core::Handle> = fifo.writer().unwrap();
    let handle = ipc_core::Handle::from(std::os::fd::OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
    assert!(matches!(handles.send(handle), Err(Error::Encode(_))));
    writer.send(1).unwrap();
    assert!(reader.recv().unwrap());
}

#[test]
fn iteration_goes_on_after_what_is_about_one_message() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let lasting: Reader<bool> = fifo.lasting_reader().unwrap();
    let mut writer: Writer<u8> = fifo.writer().unwrap();
    let mut reader: Reader<bool> = fifo.reader().unwrap();
    drop(lasting);
    fifo.write_end().unwrap().write_all(b"garbage").unwrap();
    [1, 2, 0].into_iter().for_each(|n| writer.send(n).unwrap());
    drop(writer);
    let seen: Vec<_> = reader.iter().map(|item| item.ok()).collect();
    assert_eq!(seen, [None, Some(true), None, Some(false)]);
}

#[test]
fn readers_can_be_waited_for_among_others() {
    let folder = Folder::new();
    let (a, b) = (folder.fifo(), folder.fifo());
    let [mut first, mut second] = [reader(&a), reader(&b)];
    assert!(wait(&[&first, &second], SHORT).unwrap().is_empty());
    let mut writer = writer(&b);
    writer.send(b"one".as_slice()).unwrap();
    writer.send(b"two".as_slice()).unwrap();
    assert_eq!(wait(&[&first, &second], LONG).unwrap(), [1]);
    assert_eq!(second.recv().unwrap(), b"one");
    assert_eq!(wait(&[&first, &second], LONG).unwrap(), [1]); // in the buffer, no more in the pipe
    assert_eq!(second.recv().unwrap(), b"two");
    assert!(wait(&[&first, &second], SHORT).unwrap().is_empty());
    assert!(!first.poll(SHORT).unwrap());
    assert!(!second.poll(std::time::Duration::ZERO).unwrap());
    let (ended, writer) = pair(&a);
    drop((first, writer));
    assert_eq!(wait(&[&ended, &second], LONG).unwrap(), [0]); // its end is something, too
    assert!(nix::unistd::isatty(ended.as_fd()).is_ok_and(|is| !is));
}

#[test]
fn plain_data_goes_through() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader: Reader<[f64; 3], Plain> = fifo.lasting_reader().unwrap();
    let mut writer: Writer<[f64; 3], Plain> = fifo.writer().unwrap();
    writer.send([1.0, 2.5, -3.0]).unwrap();
    assert_eq!(reader.recv().unwrap(), [1.0, 2.5, -3.0]);
}

#[test]
fn ends_can_go_to_threads() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<Writer<str>>();
    is_send::<Reader<String>>();
    is_send::<Fifo>();
    is_sync::<Fifo>();
}

#[test]
fn a_killed_writer_disconnects_the_reader() {
    let folder = Folder::alone();
    let fifo = folder.fifo();
    let child = Process::spawn(
        |fifo: Fifo| {
            let mut writer: Writer<u32> = fifo.writer().unwrap();
            while writer.send(1).is_ok() {} // until the reader is gone, or this is killed
        },
        fifo.share(),
    )
    .unwrap();
    let _: &Process<()> = &child;
    let mut reader: Reader<u32, Postcard> = fifo.reader().unwrap();
    assert_eq!(reader.recv().unwrap(), 1);
    child.kill().unwrap();
    let end = reader.iter().find(|message| message.as_ref().ok() != Some(&1));
    assert!(end.is_none()); // the ones that were sent, and then the end
    assert!(disconnected(reader.recv()));
}

#[test]
fn a_torn_message_is_something_to_receive_although_others_may_write() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader = reader(&fifo); // which is a writer itself
    for _ in 0..3 {
        let mut writer = writer(&fifo);
        assert!(matches!(writer.try_send(long(200_000)), Err(Error::Unfinished { .. })));
        assert_eq!(wait(&[&reader], LONG).unwrap(), [0]);
        assert!(would_block(reader.try_recv())); // it has just looked, and the writer was there
        assert!(wait(&[&reader], SHORT).unwrap().is_empty());
        drop(writer);
        assert_eq!(wait(&[&reader], LONG).unwrap(), [0]);
        assert!(matches!(reader.try_recv(), Err(Error::Torn { total: 200_000, .. })));
        assert!(wait(&[&reader], SHORT).unwrap().is_empty());
    }
}
