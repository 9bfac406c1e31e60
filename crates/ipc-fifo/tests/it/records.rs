//! Long messages: cut, mixed with others, and torn.

use std::sync::Barrier;

use ipc_fifo::{Bytes, Error, Fifo, Process, Reader, Writer};

use crate::{Folder, LONG, long, pair, reader, would_block, writer};

#[test]
fn messages_of_all_lengths_go_through() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let (mut reader, mut writer) = pair(&fifo);
    let lens = [0, 1, 4047, 4048, 4049, 8096, 8097, 65_536, 1_000_000, 3];
    std::thread::scope(|scope| {
        scope.spawn(move || lens.iter().for_each(|len| writer.send(long(*len)).unwrap()));
        for len in lens {
            assert_eq!(reader.recv().unwrap(), long(len));
        }
        assert!(reader.recv().unwrap_err().is_disconnected());
    });
}

/// A value that tells who sent it, and which it is.
type Told = (u8, u32, Vec<u8>);

#[test]
fn long_messages_of_several_writers_do_not_mix() {
    const WRITERS: u8 = 4;
    const EACH: u32 = 60;
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader: Reader<Told> = fifo.lasting_reader().unwrap();
    let start = Barrier::new(WRITERS.into());
    let len = |who: u8, n: u32| (n as usize * 7919 + usize::from(who) * 1009) % 60_000 * (n % 3) as usize / 2;
    std::thread::scope(|scope| {
        for who in 0..WRITERS {
            let (fifo, start) = (&fifo, &start);
            scope.spawn(move || {
                let mut writer: Writer<Told> = fifo.writer().unwrap();
                start.wait();
                (0..EACH).for_each(|n| writer.send((who, n, vec![who; len(who, n)])).unwrap());
            });
        }
        let mut next = [0; WRITERS as usize];
        for _ in 0..u32::from(WRITERS) * EACH {
            let (who, n, bytes) = reader.recv().unwrap();
            assert_eq!(n, next[usize::from(who)], "those of a writer come in their order");
            assert_eq!(bytes, vec![who; len(who, n)]);
            next[usize::from(who)] += 1;
        }
    });
    assert!(would_block(reader.try_recv()));
}

/// Leaves a message unfinished, and returns its length and how much of it is out.
fn begin(writer: &mut Writer<[u8], Bytes>) -> (u64, u64) {
    let total = 300_000;
    match writer.try_send(long(300_000)) {
        Err(Error::Unfinished { left }) => (total, total - left),
        other => panic!("it does not fit: {other:?}"),
    }
}

fn is_torn<T>(result: ipc_fifo::Result<T>, by: u64, of: (u64, u64)) -> bool {
    match result {
        Err(Error::Torn { writer, arrived, total }) => (writer, (total, arrived)) == (by, of),
        _ => false,
    }
}

#[test]
fn a_message_is_torn_when_its_writer_goes_while_another_stays() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    for blocking in [false, true] {
        let (mut reader, mut goes) = pair(&fifo);
        let mut stays = writer(&fifo);
        let of = begin(&mut goes);
        assert!(would_block(reader.try_recv())); // makes room
        stays.send(b"between".as_slice()).unwrap();
        assert_eq!(reader.recv().unwrap(), b"between"); // nobody waits for the long one
        let id = goes.id();
        drop(goes);
        let torn = if blocking { reader.recv() } else { reader.recv_timeout(LONG) };
        assert!(is_torn(torn, id, of));
        stays.send(b"after".as_slice()).unwrap();
        assert_eq!(reader.recv().unwrap(), b"after");
        assert!(would_block(reader.try_recv())); // told once
    }
}

#[test]
fn a_message_is_torn_when_the_last_writer_goes() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let (mut reader, mut writer) = pair(&fifo);
    let of = begin(&mut writer);
    let id = writer.id();
    drop(writer);
    assert!(is_torn(reader.recv(), id, of));
    assert!(reader.recv().unwrap_err().is_disconnected());
}

#[test]
fn a_killed_writer_tears_only_its_own_message() {
    let folder = Folder::alone();
    let fifo = folder.fifo();
    let mut reader = reader(&fifo);
    let mut stays = writer(&fifo);
    let child: Process<()> = Process::spawn(
        |fifo: Fifo| {
            let mut writer: Writer<[u8], Bytes> = fifo.writer().unwrap();
            writer.send(writer.id().to_le_bytes().as_slice()).unwrap();
            writer.send(vec![1; 300_000]).unwrap(); // ends it, if the reader's test fails
        },
        fifo.share(),
    )
    .unwrap();
    let id = u64::from_le_bytes(reader.recv().unwrap().try_into().unwrap());
    // It cannot finish the long message, of which more comes as soon as there is room.
    assert_eq!(ipc_fifo::wait(&[&reader], LONG).unwrap(), [0]);
    child.kill().unwrap();
    let torn = reader.recv();
    assert!(matches!(torn, Err(Error::Torn { writer, total: 300_000, .. }) if writer == id), "{torn:?}");
    stays.send(b"after".as_slice()).unwrap();
    assert_eq!(reader.recv().unwrap(), b"after");
}

#[test]
fn a_writer_that_takes_its_time_is_not_torn() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader = reader(&fifo);
    let mut writer = writer(&fifo);
    begin(&mut writer);
    for _ in 0..3 {
        // Longer than it takes to find out that somebody is gone.
        let patience = std::time::Duration::from_millis(60);
        assert!(reader.recv_timeout(patience).unwrap_err().is_timeout());
    }
    std::thread::scope(|scope| {
        scope.spawn(|| writer.flush(LONG).unwrap());
        assert_eq!(reader.recv().unwrap(), long(300_000));
    });
}

#[test]
fn what_a_gone_reader_has_begun_is_torn_for_the_next_one() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut first = reader(&fifo);
    let mut writer = writer(&fifo);
    let (total, out) = begin(&mut writer);
    assert!(would_block(first.try_recv()));
    let mut second = reader(&fifo);
    drop(first);
    std::thread::scope(|scope| {
        let id = writer.id();
        scope.spawn(move || {
            writer.flush(LONG).unwrap();
            writer.send(b"whole".as_slice()).unwrap();
        });
        // A record of the middle is the first that it sees.
        assert!(out < total);
        assert!(is_torn(second.recv(), id, (total, 4048)));
        assert_eq!(second.recv().unwrap(), b"whole");
    });
}

#[test]
fn a_larger_pipe_is_read_as_well() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let mut reader = reader(&fifo);
    let mut writer = writer(&fifo);
    // After the reader has asked for the size.
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(512 * 1024)).unwrap();
    writer.try_send(b"odd".as_slice()).unwrap(); // so that the reader's buffer ends inside of a record
    writer.try_send(long(400_000)).unwrap();
    (0..20u8).for_each(|n| writer.try_send([n; 3000].as_slice()).unwrap());
    assert_eq!(reader.try_recv().unwrap(), b"odd");
    assert_eq!(reader.try_recv().unwrap(), long(400_000));
    (0..20u8).for_each(|n| assert_eq!(reader.try_recv().unwrap(), [n; 3000]));
}

#[test]
fn writers_have_different_numbers() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let _reader = reader(&fifo);
    let mut ids: Vec<u64> = (0..50).map(|_| writer(&fifo).id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 50);
    assert!(ids.iter().all(|id| (1..1 << 63).contains(id)));
}
