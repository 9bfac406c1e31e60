//! Channels and their ends: values, time, order, and how channels end.

use ipc_csp::{Error, Network, Reader, Writer, parallel, process};

use super::*;

#[test]
fn values_of_any_size_arrive_in_order() {
    for capacity in [0, 1, 3] {
        let (writer, reader) = pair::<Vec<u8>>(capacity);
        let sizes = [0, 1, 7, 8, 175, 176, 177, 4096, 5_000_000, 3];
        let sent = thread::spawn(move || {
            for size in sizes {
                writer.write(vec![size as u8; size]).unwrap();
            }
        });
        let received: Vec<_> = reader.iter().collect();
        sent.join().unwrap();
        assert_eq!(received.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        assert!(received.iter().all(|bytes| bytes.iter().all(|byte| *byte == bytes.len() as u8)));
        assert!(reader.read().unwrap_err().is_retired());
    }
}

#[test]
fn a_write_returns_when_it_is_read() {
    let (writer, reader) = pair::<u32>(0);
    assert!(writer.try_write(1).unwrap_err().error.is_would_block());
    assert!(reader.try_read().unwrap_err().is_would_block());
    let started = Instant::now();
    assert!(writer.write_timeout(1, SHORT).unwrap_err().error.is_timeout());
    assert!(reader.read_timeout(SHORT).unwrap_err().is_timeout());
    assert!(started.elapsed() >= 2 * SHORT);
    let late = thread::spawn(move || {
        thread::sleep(2 * SHORT);
        reader.read().unwrap()
    });
    let started = Instant::now();
    writer.write(5).unwrap();
    assert!(started.elapsed() >= SHORT);
    assert_eq!(late.join().unwrap(), 5);
}

#[test]
fn a_buffer_takes_so_many_and_no_more() {
    let (writer, reader) = pair::<u32>(2);
    writer.try_write(1).unwrap();
    writer.try_write(2).unwrap();
    assert_eq!(writer.try_write(3).unwrap_err().value, 3);
    assert_eq!(reader.try_read().unwrap(), 1);
    writer.try_write(3).unwrap();
    drop(writer);
    assert_eq!(reader.iter().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn many_writers_and_readers_exchange_everything_once() {
    for capacity in [0, 4] {
        let channel = Network::new().unwrap().buffered::<u64>(capacity).unwrap();
        let writers: Vec<_> = (0..4).map(|_| channel.writer().unwrap()).collect();
        let readers: Vec<_> = (0..4).map(|_| channel.reader().unwrap()).collect();
        let writing = writers.into_iter().enumerate().map(|(nth, writer)| {
            thread::spawn(move || (0..2000).for_each(|n| writer.write(nth as u64 * 10_000 + n).unwrap()))
        });
        let writing: Vec<_> = writing.collect();
        let reading = readers.into_iter().map(|reader| thread::spawn(move || reader.iter().collect::<Vec<_>>()));
        let mut all: Vec<u64> =
            reading.collect::<Vec<_>>().into_iter().flat_map(|reader| reader.join().unwrap()).collect();
        writing.into_iter().for_each(|writer| writer.join().unwrap());
        all.sort_unstable();
        let expected: Vec<u64> = (0..4).flat_map(|nth| (0..2000).map(move |n| nth * 10_000 + n)).collect();
        assert_eq!(all, expected);
    }
}

#[test]
fn ends_travel_over_channels_and_to_processes() {
    let network = Network::new().unwrap();
    let (carrier, numbers) = (network.channel::<Reader<u32>>().unwrap(), network.channel::<u32>().unwrap());
    let (_, sum, ()) = parallel((
        process(
            |(carrier, reader): (Writer<Reader<u32>>, Reader<u32>)| carrier.write(reader).unwrap(),
            (carrier.writer().unwrap(), numbers.reader().unwrap()),
        ),
        process(|carrier: Reader<Reader<u32>>| carrier.read().unwrap().iter().sum::<u32>(), carrier.reader().unwrap()),
        process(|writer: Writer<u32>| (1..=100).for_each(|n| writer.write(n).unwrap()), numbers.writer().unwrap()),
    ))
    .unwrap();
    assert_eq!(sum, 5050);
}

#[test]
fn other_networks_ends_and_other_types_are_refused() {
    let carrier = Network::new().unwrap().buffered::<Reader<u32>>(1).unwrap();
    let foreign = Network::new().unwrap().channel::<u32>().unwrap();
    let error = carrier.writer().unwrap().write(foreign.reader().unwrap()).unwrap_err().error;
    assert!(matches!(error, Error::Encode(_)), "{error}");
}

#[test]
fn poison_is_immediate_and_close_drains() {
    let (writer, reader) = pair::<u32>(4);
    writer.write(1).unwrap();
    writer.close().unwrap();
    assert!(matches!(writer.write(2).unwrap_err().error, Error::Closed));
    assert_eq!(reader.read().unwrap(), 1);
    assert!(matches!(reader.read(), Err(Error::Closed)));

    let (writer, reader) = pair::<u32>(4);
    writer.write(1).unwrap();
    let waiting = {
        let (_writer, reader) = (writer.clone(), reader.clone());
        reader.read().unwrap();
        thread::spawn(move || reader.read())
    };
    thread::sleep(SHORT);
    writer.poison().unwrap();
    assert!(waiting.join().unwrap().unwrap_err().is_poisoned());
    assert!(writer.write(2).unwrap_err().error.is_poisoned());
}

#[test]
fn a_killed_process_retires_its_ends() {
    let channel = Network::new().unwrap().channel::<u32>().unwrap();
    let child = ipc_csp::Process::spawn(
        |writer: Writer<u32>| {
            writer.write(1).unwrap();
            std::process::abort();
        },
        channel.writer().unwrap(),
    )
    .unwrap();
    let child: ipc_csp::Process<()> = child;
    let reader = channel.reader().unwrap();
    assert_eq!(reader.read().unwrap(), 1);
    assert!(reader.read().unwrap_err().is_retired());
    child.join().unwrap_err();
}
