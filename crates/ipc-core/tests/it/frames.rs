//! The bytes on the wire, whatever they are.

use std::io::{Read, Write};
use std::time::Duration;

use ipc_core::{Bytes, Connection, Error};
use proptest::prelude::*;

use crate::raw;

const SHORT: Duration = Duration::from_millis(20);

/// The frames as CPython writes and reads them.
#[test]
fn frames_on_the_wire_are_cpythons() {
    let (mut a, mut wire) = raw::<Vec<u8>, Vec<u8>>();
    a.send_bytes(b"").unwrap();
    a.send_bytes(b"abc").unwrap();
    let mut bytes = [0; 11];
    wire.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, *b"\0\0\0\0\0\0\0\x03abc");
    // The short form, and the long form though it is not needed.
    wire.write_all(b"\0\0\0\x02hi\xff\xff\xff\xff\0\0\0\0\0\0\0\x02ho").unwrap();
    assert_eq!((a.recv_bytes().unwrap(), a.recv_bytes().unwrap()), (b"hi".to_vec(), b"ho".to_vec()));
}

#[test]
fn malformed_headers_are_errors_and_stay_errors() {
    for header in [[0xff, 0xff, 0xff, 0xfd], [0x80, 0, 0, 0]] {
        let (mut a, mut wire) = raw::<(), Vec<u8>>();
        wire.write_all(&header).unwrap();
        wire.write_all(&[0; 64]).unwrap();
        for _ in 0..2 {
            assert!(matches!(a.recv_bytes(), Err(Error::Malformed(_))));
        }
    }
    let (mut a, mut wire) = raw::<(), Vec<u8>>();
    wire.write_all(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").unwrap();
    assert!(matches!(a.recv(), Err(Error::Malformed(_))));
}

#[test]
fn a_claimed_length_is_checked_before_memory_is_taken() {
    let (mut a, mut wire) = raw::<(), Vec<u8>>();
    wire.write_all(b"\xff\xff\xff\xff\0\0\0\x01\0\0\0\0").unwrap(); // 4 GiB
    for _ in 0..2 {
        assert!(matches!(a.recv(), Err(Error::TooLarge { len: 0x1_0000_0000, max: ipc_core::MAX_MESSAGE })));
    }
    // Within the limit, memory grows with what arrives: a gigabyte is claimed, and not taken.
    let before = resident();
    let (mut a, mut wire) = raw::<(), Vec<u8>>();
    wire.write_all(&(1i32 << 30).to_be_bytes()).unwrap();
    wire.write_all(&[1; 100_000]).unwrap();
    assert!(matches!(a.recv_bytes_timeout(SHORT), Err(Error::Timeout)));
    assert!(resident() - before < 16 << 20, "{} bytes more", resident() - before);
    drop(wire);
    assert!(matches!(a.recv_bytes(), Err(Error::Truncated { missing }) if missing == (1 << 30) - 100_000));
}

fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<i64>().unwrap() * 1024
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However a stream is cut into writes, and however it is received, the messages are the same.
    #[test]
    fn any_cut_of_the_stream_gives_the_same_messages(
        messages in proptest::collection::vec((any::<u8>(), 0usize..150_000).prop_map(|(seed, len)| (0..len).map(|n| (n as u8) ^ seed).collect::<Vec<u8>>()), 1..6),
        cuts in (50_000usize..100_000, proptest::collection::vec(1usize..5_000, 0..40)).prop_map(|(long, mut cuts)| { cuts.push(long); cuts }),
        how in proptest::collection::vec(0u8..4, 6),
    ) {
        let (mut a, mut wire) = raw::<(), Vec<u8>>();
        let stream: Vec<u8> = messages.iter().flat_map(|m| [&(m.len() as i32).to_be_bytes()[..], m].concat()).collect();
        let writer = std::thread::spawn(move || {
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                wire.write_all(now).unwrap();
                rest = later;
            }
        });
        let mut buffer = vec![0; 200_000];
        for (message, how) in messages.iter().zip(how) {
            let received = match how {
                0 => a.recv_bytes().unwrap(),
                1 => { let n = a.recv_bytes_into(&mut buffer).unwrap(); buffer[..n].to_vec() }
                2 => loop {
                    match a.recv_bytes_timeout(Duration::from_micros(100)) {
                        Ok(bytes) => break bytes,
                        Err(error) => prop_assert!(error.is_timeout()),
                    }
                },
                _ => loop {
                    match a.try_recv_bytes_into(&mut buffer) {
                        Ok(n) => break buffer[..n].to_vec(),
                        Err(error) => prop_assert!(error.is_would_block()),
                    }
                },
            };
            prop_assert_eq!(&received, message);
        }
        prop_assert!(matches!(a.recv_bytes(), Err(Error::Disconnected)));
        writer.join().unwrap();
    }

    /// Whatever a peer writes, the receiver gets messages or errors, never a panic, and does not hang once the stream has ended.
    #[test]
    fn any_bytes_are_messages_or_errors(bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff), Just(0xfe), any::<u8>()], 0..300)) {
        let (mut a, mut wire) = raw::<(), Vec<Option<String>>>();
        wire.write_all(&bytes).unwrap();
        drop(wire);
        for _ in 0..400 {
            match a.recv() {
                Ok(_) | Err(Error::Decode(_)) => {}
                Err(_) => break,
            }
        }
        let mut a: Connection<(), Vec<u8>, Bytes> = a.retype();
        let fatal = a.recv();
        prop_assert!(fatal.is_err());
    }
}
