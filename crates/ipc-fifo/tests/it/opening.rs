//! Opening: who waits for whom.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ipc_fifo::{Connection, Error, Fifo, Postcard, Reader, Writer, connect, connect_timeout, try_connect};

use crate::{Folder, LONG, SHORT, disconnected, timed_out, would_block};

#[test]
fn without_another_side_nothing_opens() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    assert!(would_block(fifo.try_reader::<u32, Postcard>()));
    assert!(would_block(fifo.try_writer::<u32, Postcard>()));
    assert!(would_block(fifo.try_read_end()));
    assert!(would_block(fifo.try_write_end()));
    assert!(timed_out(|timeout| fifo.reader_timeout::<u32, Postcard>(timeout)));
    assert!(timed_out(|timeout| fifo.writer_timeout::<u32, Postcard>(timeout)));
    assert!(timed_out(|timeout| fifo.read_end_timeout(timeout)));
    assert!(timed_out(|timeout| fifo.write_end_timeout(timeout)));
}

#[test]
fn each_side_waits_for_the_other() {
    let folder = Folder::new();
    for reader_first in [true, false] {
        let fifo = folder.fifo();
        let (begun, begins) = mpsc::channel();
        std::thread::scope(|scope| {
            // Which one really comes first is up to the scheduler; both orders are right.
            let (fifo, begun) = (&fifo, &begun);
            let reading = move || fifo.reader::<String, Postcard>().and_then(|mut reader| reader.recv());
            let writing = move || fifo.writer::<str, Postcard>().and_then(|mut writer| writer.send("hello"));
            if reader_first {
                let read = scope.spawn(move || begun.send(()).map(|()| reading()).unwrap());
                begins.recv().unwrap();
                writing().unwrap();
                assert_eq!(read.join().unwrap().unwrap(), "hello");
            } else {
                let written = scope.spawn(move || begun.send(()).map(|()| writing()).unwrap());
                begins.recv().unwrap();
                assert_eq!(reading().unwrap(), "hello");
                written.join().unwrap().unwrap();
            }
        });
    }
}

/// At whatever moment of the other side's look it happens: so it is done many times, as far as there is time for it.
#[test]
fn one_who_comes_and_removes_the_name_at_once_is_found() {
    let folder = Folder::new();
    let started = Instant::now();
    for _ in 0..3000 {
        if started.elapsed() > Duration::from_secs(5) {
            break; // threads that spin get few turns on a loaded machine
        }
        let fifo = Fifo::open_or_create(folder.path(), 0o600).unwrap();
        std::thread::scope(|scope| {
            let reading =
                scope.spawn(|| fifo.reader_timeout::<u32, Postcard>(LONG).and_then(|mut reader| reader.recv()));
            let mut writer = loop {
                match fifo.try_writer::<u32, Postcard>() {
                    Err(Error::WouldBlock) => std::hint::spin_loop(),
                    writer => break writer.unwrap(),
                }
            };
            Fifo::unlink(fifo.path()).unwrap();
            writer.send(7).unwrap();
            assert_eq!(reading.join().unwrap().unwrap(), 7);
        });
    }
}

#[test]
fn the_timed_forms_find_each_other() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut reader: Reader<u32> = fifo.reader_timeout(LONG)?;
            reader.recv_timeout(LONG)
        });
        let mut writer: Writer<u32> = fifo.writer_timeout(LONG).unwrap();
        writer.send(5).unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), 5);
    });
}

#[test]
fn a_writer_that_is_there_is_seen_also_if_it_has_written_nothing() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let lasting: Reader<u32> = fifo.lasting_reader().unwrap();
    let writer: Writer<u32> = fifo.try_writer().unwrap();
    drop(lasting);
    let mut reader: Reader<u32> = fifo.try_reader().unwrap();
    assert!(would_block(reader.try_recv()));
    drop(writer);
    assert!(disconnected(reader.try_recv()));
}

#[test]
fn looking_for_a_writer_takes_nothing() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let lasting: Reader<u32> = fifo.lasting_reader().unwrap();
    let mut writer: Writer<u32> = fifo.try_writer().unwrap();
    writer.send(1).unwrap();
    writer.send(2).unwrap();
    let mut reader: Reader<u32> = fifo.try_reader().unwrap();
    drop(lasting);
    drop(writer);
    // No writer any more, but what it left.
    let mut second: Reader<u32> = fifo.try_reader().unwrap();
    assert_eq!((second.recv().unwrap(), second.recv().unwrap()), (1, 2));
    assert!(disconnected(reader.recv()));
    assert!(would_block(fifo.try_reader::<u32, Postcard>()));
}

#[test]
fn who_waits_learns_that_the_name_is_removed() {
    let folder = Folder::new();
    for reading in [true, false] {
        let path = folder.path();
        let fifo = Fifo::open_or_create(&path, 0o600).unwrap();
        let waiting = std::thread::spawn(move || match reading {
            true => fifo.reader::<u32, Postcard>().map(drop),
            false => fifo.writer::<u32, Postcard>().map(drop),
        });
        while !is_open(&path) {
            std::thread::yield_now();
        }
        Fifo::unlink(&path).unwrap();
        let error = waiting.join().unwrap().unwrap_err();
        assert!(matches!(&error, Error::Removed { path: gone } if *gone == path), "{error:?}");
    }
}

/// Whether a thread of this process has found the FIFO.
fn is_open(path: &Path) -> bool {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap();
    fds.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == path))
}

#[test]
fn two_fifos_are_a_connection_in_any_order() {
    let folder = Folder::new();
    let (a, b) = (folder.fifo(), folder.fifo());
    assert!(would_block(try_connect::<u32, u32, Postcard>(&a, &b)));
    assert!(timed_out(|timeout| connect_timeout::<u32, u32, Postcard>(&a, &b, timeout)));
    for swapped in [false, true] {
        let (input, output) = if swapped { (&b, &a) } else { (&a, &b) };
        std::thread::scope(|scope| {
            let echo = scope.spawn(|| {
                let mut conn: Connection<String, String> = connect(output, input).unwrap();
                while let Ok(text) = conn.recv() {
                    conn.send(text + "!").unwrap();
                }
            });
            let mut conn: Connection<String, String> = connect_timeout(input, output, LONG).unwrap();
            conn.send("hello".to_string()).unwrap();
            assert_eq!(conn.recv().unwrap(), "hello!");
            assert!(conn.recv_timeout(SHORT).unwrap_err().is_timeout());
            drop(conn);
            echo.join().unwrap();
        });
    }
}

#[test]
fn one_who_gave_up_is_not_taken_for_the_other_side() {
    let folder = Folder::new();
    let (a, b) = (folder.fifo(), folder.fifo());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut conn: Connection<u32, u32> = connect(&a, &b).unwrap();
            conn.recv()
        });
        // It has opened its input, and waits for a reader of its output: somebody comes to write, and goes.
        drop(a.write_end_timeout(LONG).unwrap());
        let half: Reader<u32> = b.lasting_reader().unwrap();
        assert!(ipc_fifo::wait(&[&half], SHORT).unwrap().is_empty());
        assert!(!waiting.is_finished(), "it still waits");
        drop(half);
        let mut conn: Connection<u32, u32> = connect(&b, &a).unwrap();
        conn.send(1).unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), 1);
        assert!(conn.recv().unwrap_err().is_disconnected());
    });
}

#[test]
fn a_timeout_without_end_is_none() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| fifo.reader_timeout::<u32, Postcard>(Duration::MAX).map(drop));
        drop(fifo.writer_timeout::<u32, Postcard>(Duration::MAX).unwrap());
        reading.join().unwrap().unwrap();
    });
}

#[test]
fn a_fifo_made_again_is_another_one() {
    let folder = Folder::new();
    let path = folder.path();
    let old = Fifo::create(&path, 0o600).unwrap();
    let shared = old.share();
    let _old_reader: Reader<u32> = old.lasting_reader().unwrap();
    drop(old);
    let _new = Fifo::create(&path, 0o600).unwrap();
    assert!(would_block(shared.try_writer::<u32, Postcard>())); // the new one has no reader
}
