//! Very many clients, and very many objects.

use ipc_tests::isolated;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;

const CLIENTS: u64 = 1000;
const PROCESSES: u64 = 4;
const OBJECTS: u32 = 24_000;
const THREADS: u32 = 8;

fn many_files() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most.min(8192), most).unwrap();
}

#[test]
fn a_thousand_idle_clients_cost_little_and_slow_nobody_down() {
    isolated(|| {
        many_files();
        let (manager, server) = start();
        let dict = manager.dict_of([(1, 1)]).unwrap();
        seen_by_all(&manager);
        let (before, threads) = (server.memory(), server.threads());
        assert!(threads <= 4, "{threads}");
        let idle: Vec<Other> = (0..PROCESSES)
            .map(|_| {
                Other::until(place(&manager), |place: Place, line| {
                    many_files();
                    let enter = |_| Manager::builder().authkey(place.1.clone()).separate().connect(&place.0).unwrap();
                    let managers: Vec<Manager> = (0..CLIENTS / PROCESSES).map(enter).collect();
                    line.tell_and_wait();
                    drop(managers);
                })
            })
            .collect();
        let stats = manager.stats().unwrap();
        assert_eq!((stats.clients, stats.connections), (CLIENTS + 1, CLIENTS + 1));
        let each = server.memory().saturating_sub(before) / CLIENTS;
        assert!(each < 64 << 10, "{each} bytes for each client");
        assert_eq!(server.threads(), threads);
        let mut took: Vec<Duration> = (0..200)
            .map(|_| {
                let started = Instant::now();
                assert_eq!(dict.get(&1).unwrap(), Some(1));
                started.elapsed()
            })
            .collect();
        took.sort_unstable();
        assert!(took[100] < Duration::from_millis(20), "{:?}", took[100]);
        let mut idle = idle.into_iter();
        idle.next().unwrap().kill();
        only_clients(&manager, CLIENTS - CLIENTS / PROCESSES + 1);
        idle.for_each(Other::finish);
        only_clients(&manager, 1);
    });
}

/// Makes so many objects, by several threads at once.
fn make(manager: &Manager, count: u32) -> Vec<Value<u32>> {
    thread::scope(|scope| {
        let make = |n: u32| (n..count).step_by(THREADS as usize).map(|i| manager.value(i).unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || make(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn tens_of_thousands_of_objects_are_counted_and_gone_when_they_are_dropped() {
    isolated(|| {
        let (manager, server) = start();
        drop(make(&manager, 1000));
        eventually("all are gone", || objects(&manager) == 0);
        let before = server.memory();
        let all = make(&manager, OBJECTS);
        let there = manager.stats().unwrap().objects;
        assert_eq!(there.len(), OBJECTS as usize);
        assert!(there.windows(2).all(|two| two[0].number < two[1].number), "each has a number of its own");
        // Those of the first thread come first.
        for (n, value) in all.iter().enumerate().step_by(100) {
            let each = (OBJECTS / THREADS) as usize;
            assert_eq!(value.get().unwrap() as usize, n / each + n % each * THREADS as usize);
        }
        let full = server.memory() - before;
        assert!(full / u64::from(OBJECTS) < 4096, "{full} bytes");
        drop(there);
        drop(all);
        eventually("all are gone", || objects(&manager) == 0);
        let left = server.memory().saturating_sub(before);
        assert!(left < full / 4 * 3, "{left} of {full} bytes are left");
    });
}

/// What the C library keeps of what is free is its own matter; without giving room back, all would be left.
#[test]
fn what_is_taken_out_of_a_collection_takes_less_memory() {
    const ENTRIES: u64 = 200_000;
    isolated(|| {
        let (manager, server) = start();
        let (list, dict) = (manager.list::<u64>().unwrap(), manager.dict::<u64, u64>().unwrap());
        let numbers: Vec<u64> = (0..ENTRIES).collect();
        let measure = |what, fill: &dyn Fn(&[u64]), empty: &dyn Fn()| {
            let before = server.memory();
            numbers.chunks(1000).for_each(fill);
            let full = server.memory().saturating_sub(before);
            empty();
            let left = server.memory().saturating_sub(before);
            assert!(full > ENTRIES * 40 && left < full / 4 * 3, "{what}: {left} of {full} bytes are left");
        };
        measure("list", &|some| list.extend(some).unwrap(), &|| list.truncate(10).unwrap());
        measure("dict", &|some| dict.extend(some.iter().map(|n| (n, n))).unwrap(), &|| {
            for some in numbers.chunks(1000) {
                let mut batch = manager.batch();
                some.iter().for_each(|n| drop(batch.add(dict.later().remove(n))));
                drop(batch.send().unwrap());
            }
        });
        assert!(dict.is_empty().unwrap());
    });
}

#[test]
fn the_objects_of_a_killed_process_go_all_at_once() {
    isolated(|| {
        let (manager, _) = start();
        let maker = Other::until(place(&manager), |place: Place, line| {
            let manager = visit(&place).unwrap();
            let list = manager.list::<Value<u32>>().unwrap();
            make(&manager, 5000).chunks(1000).for_each(|values| list.extend(values).unwrap());
            line.tell_and_wait();
        });
        assert_eq!(objects(&manager), 5001);
        maker.kill();
        eventually("all are gone", || objects(&manager) == 0);
        only_clients(&manager, 1);
    });
}
