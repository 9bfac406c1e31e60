//! What a network costs, after a long time as at the beginning.

use std::os::unix::fs::MetadataExt;

use ipc_csp::Process;
use ipc_tests::isolated;

use super::*;
use crate::other::Other;

/// How many KiB this process has in memory, and how many files open.
fn held() -> (u64, usize) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    (pages * 4, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

/// How many KiB the memory of networks has.
fn shared() -> u64 {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| entry.path());
    let is_memory = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:ipc"))
    };
    let blocks = files.filter(is_memory).map(|path| std::fs::metadata(path).map_or(0, |data| data.blocks()));
    blocks.max().expect("there is a network") / 2
}

#[test]
fn memory_and_descriptors_do_not_grow_with_long_values() {
    isolated(|| {
        for capacity in [0, 3] {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<String>(&network, capacity);
            let echo = Process::spawn(
                |reader: Reader<String>| reader.iter().map(|text| text.len() as u64).sum::<u64>(),
                reader,
            );
            let (mut first, mut total) = (None, 0);
            for n in 0..5_000usize {
                let value = "x".repeat(10_000 + n % 30_000);
                total += value.len() as u64;
                // Given up now and then; not until it succeeds, as a reader that sleeps never comes within a microsecond.
                let is_given_up = n % 10 == 0 && writer.write_timeout(value.clone(), Duration::from_micros(1)).is_err();
                if n % 10 != 0 || is_given_up {
                    writer.write(value).unwrap();
                }
                if n == 500 {
                    first = Some((held(), shared()));
                }
            }
            let ((memory, files), pages) = first.unwrap();
            let ((memory_now, files_now), pages_now) = (held(), shared());
            assert!(memory_now < memory + 2048, "{memory} KiB before, {memory_now} KiB now");
            assert!(pages_now < pages + 1024, "{pages} KiB of shared memory before, {pages_now} KiB now");
            assert_eq!(files_now, files);
            drop(writer);
            assert_eq!(echo.unwrap().join().unwrap(), total);
        }
    });
}

#[test]
fn what_was_in_buffers_and_is_thrown_away_gives_its_memory_back() {
    isolated(|| {
        let network = Network::new().unwrap();
        let (_kept, _other) = ends::<u8>(&network, 0);
        let before = shared();
        for round in 0..20 {
            let (writer, reader) = ends::<String>(&network, 10);
            (0..10).for_each(|_| writer.write("x".repeat(1 << 20)).unwrap());
            assert!(shared() >= before + 10 * 1024);
            match round % 3 {
                0 => reader.poison().unwrap(),
                1 => drop(reader),
                _ => assert_eq!(reader.iter().take(10).count(), 10),
            }
            assert!(shared() < before + 1024, "round {round}: {} KiB of {before}", shared());
        }
    });
}

#[test]
fn networks_ends_and_messages_leave_no_descriptors() {
    isolated(|| {
        let (_, files) = held();
        for _ in 0..30 {
            let network = Network::new().unwrap();
            let (carrier_out, carrier) = ends::<Reader<u32>>(&network, 1);
            let before = held().1;
            let (mut ours, mut theirs) = ipc_pipe::duplex::<Reader<u32>, Reader<u32>>().unwrap();
            let with_line = held().1;
            for _ in 0..30 {
                let (writer, reader) = ends::<u32>(&network, 1);
                carrier_out.write(reader).unwrap();
                ours.send(carrier.read().unwrap()).unwrap();
                let reader = theirs.recv().unwrap();
                writer.write(1).unwrap();
                assert_eq!(reader.read().unwrap(), 1);
            }
            assert_eq!(held().1, with_line);
            drop((ours, theirs));
            assert_eq!(held().1, before);
        }
        assert_eq!(held().1, files);
    });
}

/// What the dead have left does not add up.
#[test]
fn killed_processes_leave_no_slots_offers_or_ends() {
    isolated(|| {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<Trap>(&network, 2);
        let keeper = network.channel::<u32>().unwrap();
        for round in 0..15u32 {
            let given = (writer.clone(), reader.clone(), keeper.clone());
            let victim =
                Other::until(given, |(writer, reader, keeper): (Writer<Trap>, Reader<Trap>, Channel<u32>), line| {
                    let _ends: Vec<_> =
                        (0..200).map(|_| (keeper.reader().unwrap(), keeper.writer().unwrap())).collect();
                    let _channels: Vec<_> = (0..30).map(|_| keeper.network().buffered::<u32>(100).unwrap()).collect();
                    for channel in &_channels {
                        let (writer, _) = (channel.writer().unwrap(), std::mem::forget(channel.reader().unwrap()));
                        (0..100).for_each(|n| writer.write(n).unwrap());
                        std::mem::forget(writer);
                    }
                    line.tell();
                    for n in 0.. {
                        let _ = writer.try_write(Trap(n, vec![1; 1000]));
                        let _ = reader.try_read();
                    }
                });
            (0..round * 3000).for_each(|_| std::hint::spin_loop());
            victim.kill();
        }
        // All of it is there for one.
        let (big_out, big) = ends::<u32>(&network, 4096);
        let in_vain = ends::<u32>(&network, 0);
        assert!(in_vain.1.read_timeout(SHORT * 10).unwrap_err().is_timeout());
        // After that wait: what the last one had in hand has come back.
        while reader.try_read().is_ok() {}
        (0..4096).for_each(|n| big_out.try_write(n).unwrap());
        big.poison().unwrap();
        let all: Vec<_> = std::iter::from_fn(|| network.channel::<u32>().ok()).collect();
        assert_eq!(all.len(), 1024 - 4);
        drop(all);
        let all: Vec<_> = std::iter::from_fn(|| keeper.reader().ok()).collect();
        assert!(all.len() > 8192 - 20 - 1024, "{}", all.len());
    });
}
