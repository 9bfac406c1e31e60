//! Queues with names, for processes that are not related.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ipc_core::{Error as Core, Process};
use ipc_pipe::duplex;
use ipc_queue::{Bytes, Consumer, Error, Ownership, Plain, Producer, Queue, Settings};
use ipc_shm::SharedMemory;
use ipc_tests::{isolated, unique_name};
use nix::fcntl::{Flock, FlockArg};

use super::{Holder, LONG, SOON, blocks, file_of, while_waiting};

/// Held by tests that scavenge or count on what is left, as that removes what other tests have left for it.
fn alone_with_what_is_left() -> Flock<fs::File> {
    let folder = fs::File::open("/dev/shm").unwrap();
    Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap()
}

fn exists(name: &str) -> bool {
    Path::new("/dev/shm").join(name).exists()
}

fn create(name: &str) -> Queue<String> {
    Queue::create_named(name, &Settings::new(), Ownership::Creator).unwrap()
}

fn open(name: &str) -> Queue<String> {
    Queue::open_named(name).unwrap()
}

#[test]
fn processes_that_know_the_name_put_and_get() {
    isolated(|| {
        let name = unique_name();
        let settings = Settings::new().items(3).leases(5);
        let queue = Queue::<String>::create_named(&name, &settings, Ownership::Creator).unwrap();
        let put = |name: String| {
            let queue = open(&name);
            assert_eq!(queue.capacity(), Some(3), "the settings are those of its creator");
            (0..1000).for_each(|n| queue.put(format!("message {n}")).unwrap());
        };
        let process = Process::spawn(put, name.clone()).unwrap();
        let same = Queue::<String>::open_named(&name).unwrap();
        for n in 0..1000 {
            let from = if n % 2 == 0 { &queue } else { &same };
            assert_eq!(from.get().unwrap(), format!("message {n}"));
        }
        process.join().unwrap();
        drop((queue, same));
        assert!(!exists(&name));
    });
}

#[test]
fn who_takes_learns_that_all_who_knew_the_name_have_gone() {
    isolated(|| {
        for is_killed in [false, true] {
            let name = unique_name();
            let consumer = create(&name).consumer();
            let holder = Holder::of(name.clone(), |name: String, hold| {
                let producer = open(&name).producer();
                producer.put("last".to_string()).unwrap();
                hold();
            });
            assert_eq!(consumer.get().unwrap(), "last");
            let end = || if is_killed { holder.kill() } else { holder.release() };
            let (result, took) = while_waiting(|| consumer.get(), end);
            assert!(result.unwrap_err().is_disconnected() && took < SOON, "{took:?}");
            // Somebody may come later.
            let put = |name: String| open(&name).put("first".to_string()).unwrap();
            Process::spawn(put, name).unwrap().join().unwrap();
            assert_eq!(consumer.get_timeout(LONG).unwrap(), "first");
        }
    });
}

#[test]
fn a_name_that_is_taken_or_that_there_is_not_is_an_error() {
    isolated(|| {
        let name = unique_name();
        assert!(matches!(Queue::<u32>::open_named(&name), Err(Error::Memory(Core::NoSuchName { .. }))));
        let queue = create(&name);
        let taken = Queue::<String>::create_named(&name, &Settings::new(), Ownership::Creator);
        assert!(matches!(taken, Err(Error::Memory(Core::NameTaken { .. }))));
        queue.put("still there".to_string()).unwrap();
        assert_eq!(open(&name).get().unwrap(), "still there");
        for name in ["", "..", "a/b", "a\0b"] {
            let bad = Queue::<String>::create_named(name, &Settings::new(), Ownership::Creator);
            assert!(matches!(bad, Err(Error::Memory(Core::BadName { .. }))));
            assert!(matches!(Queue::<String>::open_named(name), Err(Error::Memory(Core::BadName { .. }))));
        }
        let impossible = Settings::new().ring(usize::MAX);
        let other = unique_name();
        let refused = Queue::<String>::create_named(&other, &impossible, Ownership::Creator);
        assert!(matches!(refused, Err(Error::Setting { .. })) && !exists(&other));
    });
}

#[test]
fn of_many_that_come_at_once_one_makes_it() {
    isolated(|| {
        let _alone = alone_with_what_is_left();
        for _ in 0..10 {
            let name = unique_name();
            let work = |name: String| {
                let made = Queue::<u32>::create_named(&name, &Settings::new(), Ownership::LastUser);
                let (queue, is_mine) = match made {
                    Ok(queue) => (queue, true),
                    Err(Error::Memory(Core::NameTaken { .. })) => (Queue::open_named(&name).unwrap(), false),
                    Err(error) => panic!("{error:?}"),
                };
                queue.put(1).unwrap();
                is_mine
            };
            let first = Queue::<u32>::create_named(&name, &Settings::new(), Ownership::LastUser).unwrap();
            let children = [(); 4].map(|()| Process::spawn(work, name.clone()).unwrap());
            assert!(!children.map(|child| child.join().unwrap()).contains(&true));
            assert_eq!(first.get_many(10).unwrap(), [1; 4]);
            drop(first);
            assert!(!exists(&name));
        }
    });
}

#[test]
fn a_name_left_by_a_kill_is_taken_over() {
    isolated(|| {
        let _alone = alone_with_what_is_left();
        let name = unique_name();
        let make = |name: String, hold: &mut dyn FnMut()| {
            let queue = create(&name);
            queue.put("old".to_string()).unwrap();
            hold();
        };
        Holder::of(name.clone(), make).kill();
        assert!(exists(&name));
        assert!(matches!(Queue::<String>::open_named(&name), Err(Error::Memory(Core::NoSuchName { .. }))));
        let queue = create(&name);
        assert!(queue.is_empty(), "it is another one");
        drop(queue);
        assert!(!exists(&name));

        // Who had it goes on with it, and is the last to leave.
        let holder = Holder::of(name.clone(), make);
        let user = open(&name);
        holder.kill();
        assert_eq!(user.get().unwrap(), "old");
        user.put("new".to_string()).map_err(Error::from).unwrap();
        assert_eq!(open(&name).get().unwrap(), "new");
        drop(user);
        assert!(!exists(&name));
    });
}

#[test]
fn who_removes_a_name_is_said_by_its_ownership() {
    isolated(|| {
        let _alone = alone_with_what_is_left();
        let name = unique_name();
        let make = |ownership| Queue::<String>::create_named(&name, &Settings::new(), ownership).unwrap();

        let user = |name: String, hold: &mut dyn FnMut()| {
            let queue = open(&name);
            hold();
            queue.put("goes on".to_string()).unwrap();
            assert_eq!(queue.get().unwrap(), "goes on");
        };
        let queue = make(Ownership::Creator);
        let holder = Holder::of(name.clone(), user);
        drop(queue);
        assert!(!exists(&name));
        holder.release();

        let queue = make(Ownership::LastUser);
        let holder = Holder::of(name.clone(), user);
        drop(queue);
        assert!(exists(&name));
        holder.release();
        assert!(!exists(&name));

        let queue = make(Ownership::Persistent);
        queue.put("kept".to_string()).unwrap();
        drop(queue);
        let get = |name: String| open(&name).get().unwrap();
        assert_eq!(Process::spawn(get, name.clone()).unwrap().join().unwrap(), "kept");
        assert!(exists(&name));
        SharedMemory::unlink(&name).unwrap();
    });
}

#[test]
fn what_a_persistent_queue_contains_outlives_its_processes_with_leases_and_large_messages() {
    isolated(|| {
        let name = unique_name();
        let make = |name: String, hold: &mut dyn FnMut()| {
            let settings = Settings::new().max_message(2_000_000);
            let queue = Queue::<Vec<u8>, Bytes>::create_named(&name, &settings, Ownership::Persistent).unwrap();
            queue.put(vec![1; 10]).unwrap();
            queue.put(vec![2; 1_000_000]).unwrap();
            queue.put(vec![3; 10]).unwrap();
            let _leases = [queue.lease().unwrap(), queue.lease().unwrap()];
            hold();
        };
        Holder::of(name.clone(), make).kill();
        let (queue, file) = file_of(|| Queue::<Vec<u8>, Bytes>::open_named(&name).unwrap());
        let full = blocks(&file);
        // Those that were leased come once they have been missed.
        let mut lens = [(); 3].map(|()| queue.get_timeout(LONG).unwrap()).map(|message| (message[0], message.len()));
        lens.sort_unstable();
        assert_eq!(lens, [(1, 10), (2, 1_000_000), (3, 10)]);
        assert!(blocks(&file) + 1_000_000 / 512 <= full, "its memory was given back");
        drop(queue);
        SharedMemory::unlink(&name).unwrap();
    });
}

#[test]
fn another_type_codec_or_object_is_refused_and_not_changed() {
    isolated(|| {
        let name = unique_name();
        let queue = create(&name);
        queue.put("there".to_string()).unwrap();
        let errors = [
            Queue::<u32>::open_named(&name).map(drop),
            Queue::<Vec<u8>>::open_named(&name).map(drop),
            Queue::<Vec<u8>, Bytes>::open_named(&name).map(drop),
            Queue::<[u8; 4], Plain>::open_named(&name).map(drop),
        ];
        for error in errors {
            assert!(
                matches!(&error, Err(Error::Memory(Core::Incompatible(text))) if text.contains("type")),
                "{error:?}"
            );
        }
        assert_eq!(open(&name).get().unwrap(), "there");
        drop(queue);

        let memory = SharedMemory::create(&name, 100_000).unwrap();
        memory.write_at(0, &[0xa5; 100_000]).unwrap();
        assert!(Queue::<u32>::open_named(&name).is_err());
        assert_eq!(memory.to_vec(0, 100_000).unwrap(), vec![0xa5; 100_000]);
        drop(memory);

        // Files that are none of ours.
        let path = Path::new("/dev/shm").join(&name);
        for contents in [&b""[..], &[0; 100], &[0; 1 << 20], &[0xff; 1 << 20]] {
            fs::write(&path, contents).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(Queue::<u32>::open_named(&name).is_err());
            assert!(Queue::<u32>::create_named(&name, &Settings::new(), Ownership::Creator).is_err());
            assert_eq!(fs::read(&path).unwrap(), contents, "it is not ours to change");
            fs::remove_file(&path).unwrap();
        }
    });
}

#[test]
fn a_queue_with_a_name_travels_by_its_name() {
    isolated(|| {
        let name = unique_name();
        let queue = create(&name);
        let (mut ours, _theirs) = duplex::<Queue<String>, ()>().unwrap();
        let error = ours.send(&queue).unwrap_err();
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(text.contains("name"), "{text}");
        let (mut ours, _theirs) = duplex::<(Producer<String>, Consumer<String>), ()>().unwrap();
        assert!(ours.send((queue.producer(), queue.consumer())).is_err());
        queue.put("works".to_string()).unwrap();
        assert_eq!(queue.get().unwrap(), "works");
    });
}

#[test]
fn a_full_folder_is_an_error_and_no_crash() {
    isolated(|| {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        let child = Process::spawn(
            |name: String| {
                let nothing = None::<&str>;
                if unshare(CloneFlags::CLONE_NEWNS).is_err() {
                    eprintln!("not run: no right to a mount namespace");
                    return;
                }
                mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
                mount(nothing, "/dev/shm", Some("tmpfs"), MsFlags::empty(), Some("size=3m")).unwrap();
                let too_large = Settings::new().ring(16 << 20);
                let made = Queue::<Vec<u8>>::create_named(&name, &too_large, Ownership::Creator);
                assert!(matches!(made, Err(Error::Memory(Core::Io { .. }))), "{made:?}");
                assert!(!exists(&name));

                let settings = Settings::new().ring(65536).leases(16);
                let queue = Queue::<Vec<u8>, Bytes>::create_named(&name, &settings, Ownership::Creator).unwrap();
                for round in 0..3u8 {
                    queue.put(vec![round; 100]).unwrap();
                    let refused = queue.put(vec![1; 5_000_000]).unwrap_err();
                    assert_eq!(refused.value.len(), 5_000_000);
                    assert!(matches!(refused.error, Error::NoMemory { len: 5_000_000, .. }), "{:?}", refused.error);
                    // What is smaller still goes, and what was is not lost.
                    queue.put(vec![round; 1_000_000]).unwrap();
                    assert!(queue.get().unwrap() == vec![round; 100] && queue.get().unwrap() == vec![round; 1_000_000]);
                }
                let full = fs::write(Path::new("/dev/shm").join(format!("{name}-filler")), vec![1; 4_000_000]);
                assert!(full.is_err());
                queue.put(vec![9; 1000]).unwrap(); // the ring's memory is there from the start
                assert!(matches!(queue.put(vec![1; 100_000]).unwrap_err().error, Error::NoMemory { .. }));
                let lease = queue.lease().unwrap();
                assert_eq!(*lease, [9; 1000]);
                lease.ack().unwrap();
            },
            unique_name(),
        );
        child.unwrap().join().unwrap();
    });
}
