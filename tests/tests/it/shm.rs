//! Shared memory, with names and without: what is refused, who removes names, and that nothing stays.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ipc_core::Error as Core;
use ipc_core::{Connection, Process};
use ipc_pipe::duplex;
use ipc_shm::{Error, Ownership, Scope, SharedMemory};
use ipc_tests::{eventually, isolated, raw, unique_name};
use nix::fcntl::{Flock, FlockArg};

/// Held by tests that scavenge, as that removes what other tests have left for it.
fn alone_with_what_is_left() -> Flock<fs::File> {
    let folder = fs::File::open("/dev/shm").unwrap();
    Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap()
}

fn exists(name: &str) -> bool {
    Path::new("/dev/shm").join(name).exists()
}

/// A process that has made something of this name, and then waits until it is ended.
fn holder<R: 'static>(
    name: &str,
    make: impl Fn(&str) -> R + Copy + Send + 'static,
) -> (Process<()>, Connection<(), ()>) {
    let (mut line, theirs) = duplex::<(), ()>().unwrap();
    let process = Process::spawn(
        move |(name, mut line): (String, Connection<(), ()>)| {
            let made = make(&name);
            line.send(()).unwrap();
            let _ = line.recv();
            drop(made);
        },
        (name.to_string(), theirs),
    )
    .unwrap();
    line.recv().unwrap();
    (process, line)
}

#[test]
fn impossible_names_and_sizes_are_refused() {
    isolated(|| {
        let long = "n".repeat(256);
        for name in ["", ".", "..", "a/b", "/a", "a\0b", &long] {
            assert!(matches!(SharedMemory::create(name, 1), Err(Error::Memory(Core::BadName { .. }))), "{name:?}");
            assert!(matches!(SharedMemory::open(name), Err(Error::Memory(Core::BadName { .. }))));
            assert!(matches!(SharedMemory::unlink(name), Err(Error::Memory(Core::BadName { .. }))));
        }
        let name = unique_name();
        for size in [0, usize::MAX, 1 << 46] {
            assert!(matches!(SharedMemory::create(&name, size), Err(Error::Memory(Core::BadSize { .. }))));
        }
        assert!(matches!(SharedMemory::create(&name, 1 << 45), Err(Error::Memory(Core::Io { .. }))));
        assert!(matches!(SharedMemory::open(&name), Err(Error::Memory(Core::NoSuchName { .. }))));
        assert!(matches!(SharedMemory::unlink(&name), Err(Error::Memory(Core::NoSuchName { .. }))));
        assert!(!exists(&name));
        let longest = format!("{name}{}", "n".repeat(255 - name.len()));
        SharedMemory::create(&longest, 1).unwrap();
        assert!(!exists(&longest));
    });
}

#[test]
fn bytes_go_in_and_out_and_never_beyond() {
    isolated(|| {
        let memory = SharedMemory::anonymous(100).unwrap();
        assert_eq!((memory.size(), memory.name()), (100, None));
        memory.write_at(90, &[7; 10]).unwrap();
        memory.write_at(100, &[]).unwrap();
        assert_eq!(memory.to_vec(88, 12).unwrap(), [&[0; 2][..], &[7; 10]].concat());
        for (offset, len) in [(91, 10), (101, 0), (usize::MAX, 1), (0, 101), (1, usize::MAX)] {
            assert!(matches!(memory.to_vec(offset, len), Err(Error::OutOfBounds { .. })), "{offset} {len}");
        }
        assert!(matches!(memory.write_at(99, &[0; 2]), Err(Error::OutOfBounds { .. })));
        assert!(matches!(memory.write_at(usize::MAX, &[0; 2]), Err(Error::OutOfBounds { .. })));
        for offset in [1, 2, 97, 98, 100, usize::MAX, usize::MAX - 3] {
            assert!(memory.atomic_u32(offset).is_err());
        }
        assert!(memory.atomic_u32(96).is_ok() && memory.atomic_u64(96).is_err() && memory.atomic_u64(4).is_err());
        memory.atomic_u64(88).unwrap().store(u64::from_ne_bytes(*b"12345678"), std::sync::atomic::Ordering::Relaxed);
        assert_eq!(memory.to_vec(88, 8).unwrap(), b"12345678");
        // Every alignment and every small length.
        let bytes: Vec<u8> = (0..100).collect();
        for from in 0..20 {
            for len in 0..60 {
                memory.write_at(0, &[255; 100]).unwrap();
                memory.write_at(from, &bytes[from..from + len]).unwrap();
                assert_eq!(memory.to_vec(from, len).unwrap(), bytes[from..from + len]);
                assert_eq!(memory.to_vec(from + len, 1).unwrap(), [255]);
            }
        }
    });
}

#[test]
fn a_cursor_reads_writes_and_ends_with_the_memory() {
    isolated(|| {
        let memory = SharedMemory::anonymous(10).unwrap();
        let mut cursor = memory.cursor();
        assert_eq!(cursor.write(b"0123456").unwrap(), 7);
        assert_eq!(cursor.write(b"789x").unwrap(), 3);
        assert_eq!(cursor.write(b"x").unwrap(), 0);
        assert_eq!(cursor.seek(SeekFrom::End(-4)).unwrap(), 6);
        let mut text = String::new();
        cursor.read_to_string(&mut text).unwrap();
        assert_eq!(text, "6789");
        assert_eq!(cursor.seek(SeekFrom::Current(100)).unwrap(), 110);
        assert_eq!((cursor.read(&mut [0; 4]).unwrap(), cursor.write(b"x").unwrap()), (0, 0));
        assert!(cursor.seek(SeekFrom::Current(-111)).is_err() && cursor.seek(SeekFrom::End(i64::MIN)).is_err());
        assert_eq!(cursor.seek(SeekFrom::Start(u64::MAX)).unwrap(), u64::MAX);
        assert_eq!(cursor.read(&mut [0; 4]).unwrap(), 0);
        assert!(cursor.seek(SeekFrom::Current(1)).is_err());
    });
}

#[test]
fn an_unrelated_process_opens_by_name_and_may_only_read_if_it_says_so() {
    isolated(|| {
        let name = unique_name();
        let memory = SharedMemory::create(&name, 100).unwrap();
        memory.write_at(0, b"hello").unwrap();
        let child = Process::spawn(
            |name: String| {
                let memory = SharedMemory::open_read_only(&name).unwrap();
                assert!(memory.is_read_only() && memory.size() == 100);
                assert!(matches!(memory.write_at(0, b"x"), Err(Error::ReadOnly)));
                assert!(matches!(memory.atomic_u32(0), Err(Error::ReadOnly)));
                assert!(ipc_sync::Mutex::create_in(memory.segment(), 0, 1u32).is_err());
                assert_eq!(memory.to_vec(0, 5).unwrap(), b"hello");
                SharedMemory::open(&name).unwrap().write_at(0, b"HELLO").unwrap();
                assert_eq!(memory.to_vec(0, 5).unwrap(), b"HELLO");
            },
            name.clone(),
        )
        .unwrap();
        child.join().unwrap();
        assert_eq!(memory.to_vec(0, 5).unwrap(), b"HELLO");
        drop(memory);
        assert!(!exists(&name), "the name goes with its creator's handle");
    });
}

#[test]
fn a_handle_of_named_memory_travels_also_when_its_name_is_gone() {
    isolated(|| {
        let name = unique_name();
        let memory = SharedMemory::create(&name, 10).unwrap();
        SharedMemory::unlink(&name).unwrap();
        let child = Process::spawn(
            |memory: SharedMemory| {
                memory.write_at(0, b"0123456789").unwrap();
                memory.name().map(String::from)
            },
            memory.clone(),
        )
        .unwrap();
        assert_eq!(child.join().unwrap(), Some(name.clone()));
        assert_eq!(memory.to_vec(0, 10).unwrap(), b"0123456789");
        // A later memory of the same name is another one, which the first one's end does not touch.
        let later = SharedMemory::create(&name, 20).unwrap();
        drop(memory);
        assert!(exists(&name));
        drop(later);
        assert!(!exists(&name));
    });
}

#[test]
fn who_removes_a_name_is_said_by_its_ownership() {
    isolated(|| {
        let _alone = alone_with_what_is_left();
        let name = unique_name();
        let ours = SharedMemory::create_owned(&name, 10, Ownership::LastUser).unwrap();
        let (user, line) = holder(&name, |name| SharedMemory::open(name).unwrap());
        drop(ours);
        assert!(exists(&name), "there is another user");
        drop(line);
        user.join().unwrap();
        assert!(!exists(&name));

        let ours = SharedMemory::create_owned(&name, 10, Ownership::Persistent).unwrap();
        ours.write_at(0, b"kept").unwrap();
        drop(ours);
        assert!(!SharedMemory::scavenge().unwrap().contains(&name));
        assert!(matches!(SharedMemory::create(&name, 10), Err(Error::Memory(Core::NameTaken { .. }))));
        assert_eq!(SharedMemory::open(&name).unwrap().to_vec(0, 4).unwrap(), b"kept");
        assert!(exists(&name));
        SharedMemory::unlink(&name).unwrap();
    });
}

#[test]
fn the_last_user_removes_the_name_also_if_it_only_reads() {
    isolated(|| {
        let name = unique_name();
        let ours = SharedMemory::create_owned(&name, 10, Ownership::LastUser).unwrap();
        let reader = SharedMemory::open_read_only(&name).unwrap();
        drop(ours);
        assert!(exists(&name), "there is another user");
        drop(reader);
        assert!(!exists(&name));
    });
}

#[test]
fn a_name_left_by_a_kill_is_taken_over_or_scavenged_but_never_a_living_one() {
    isolated(|| {
        let _alone = alone_with_what_is_left();
        let name = unique_name();
        let make = |name: &str| SharedMemory::create(name, 10).unwrap();
        let (process, _line) = holder(&name, make);
        assert!(matches!(SharedMemory::create(&name, 10), Err(Error::Memory(Core::NameTaken { .. }))));
        assert!(!SharedMemory::scavenge().unwrap().contains(&name));
        process.kill().unwrap();
        process.join().unwrap_err();
        assert!(exists(&name));
        assert!(matches!(SharedMemory::open(&name), Err(Error::Memory(Core::NoSuchName { .. }))));
        let ours = SharedMemory::create(&name, 30).unwrap();
        assert_eq!(SharedMemory::open(&name).unwrap().size(), 30);
        drop(ours);

        let (process, _line) = holder(&name, make);
        let user = SharedMemory::open(&name).unwrap();
        process.kill().unwrap();
        process.join().unwrap_err();
        assert!(!SharedMemory::scavenge().unwrap().contains(&name), "it is in use");
        drop(user);
        assert!(!exists(&name), "the last user removes it");

        let (process, _line) = holder(&name, make);
        process.kill().unwrap();
        process.join().unwrap_err();
        assert!(SharedMemory::scavenge().unwrap().contains(&name));
        assert!(!exists(&name));
    });
}

#[test]
fn of_many_that_come_at_once_one_makes_it() {
    isolated(|| {
        for _ in 0..20 {
            let name = unique_name();
            let work = |name: String| {
                let memory = SharedMemory::open_or_create(&name, 64).unwrap();
                memory.atomic_u64(0).unwrap().fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                memory
            };
            let children: Vec<_> = (0..4).map(|_| Process::spawn(work, name.clone()).unwrap()).collect();
            let all: Vec<_> = children.into_iter().map(|child| child.join().unwrap()).collect();
            assert_eq!(all[0].atomic_u64(0).unwrap().load(std::sync::atomic::Ordering::Relaxed), 4);
            assert!(matches!(SharedMemory::open_or_create(&name, 65), Err(Error::Size { .. })));
            drop(all);
            assert!(!exists(&name));
        }
    });
}

#[test]
fn foreign_files_are_neither_taken_over_nor_removed() {
    isolated(|| {
        let _alone = alone_with_what_is_left();
        let name = unique_name();
        let path = Path::new("/dev/shm").join(&name);
        fs::write(&path, b"").unwrap();
        assert!(matches!(SharedMemory::open(&name), Err(Error::Memory(Core::Incompatible(_)))), "half made");
        assert!(matches!(SharedMemory::create(&name, 1), Err(Error::Memory(Core::NameTaken { .. }))));
        fs::write(&path, b"foreign").unwrap();
        assert_eq!(SharedMemory::open(&name).unwrap().to_vec(0, 7).unwrap(), b"foreign");
        assert!(!SharedMemory::scavenge().unwrap().contains(&name));
        assert!(exists(&name));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        if nix::unistd::geteuid().is_root() {
            nix::unistd::chown(&path, Some(12345.into()), None).unwrap();
            assert!(matches!(SharedMemory::open(&name), Err(Error::Memory(Core::Incompatible(_)))));
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(SharedMemory::open(&name).is_err() && SharedMemory::open_read_only(&name).is_err());
        assert!(SharedMemory::create(&name, 1).is_err() && SharedMemory::unlink(&name).is_err());
        fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(SharedMemory::open(&name).is_err() && SharedMemory::open_read_only(&name).is_err());
        assert!(SharedMemory::create(&name, 1).is_err());
        SharedMemory::unlink(&name).unwrap();
    });
}

#[test]
fn a_scope_removes_its_names_when_it_ends_and_when_its_process_is_killed() {
    isolated(|| {
        let names = [unique_name(), unique_name()];
        let mut scope = Scope::new().unwrap();
        let memories = names.each_ref().map(|name| scope.create(name, 10).unwrap());
        assert!(names.iter().all(|name| exists(name)));
        assert!(scope.create(&names[0], 10).is_err());
        assert!(exists(&names[0]));
        drop(scope);
        assert!(!names.iter().any(|name| exists(name)));
        memories[0].write_at(0, b"still there").unwrap_err();
        memories[0].write_at(0, b"usable").unwrap();

        let (process, _line) = holder(&names[0], |name| {
            let mut scope = Scope::new().unwrap();
            let memory = scope.create(name, 10).unwrap();
            (scope, memory)
        });
        let user = SharedMemory::open(&names[0]).unwrap();
        process.kill().unwrap();
        process.join().unwrap_err();
        eventually("the watcher removes it", || !exists(&names[0]));
        user.write_at(0, b"usable").unwrap();
    });
}

#[test]
fn a_forked_copy_removes_no_names() {
    isolated(|| {
        let name = unique_name();
        let memory = SharedMemory::create(&name, 10).unwrap();
        assert!(raw::in_forked_copy(|| matches!(memory.write_at(0, b"x"), Err(Error::Memory(Core::Forked)))));
        let memory = raw::drop_in_forked_copy(memory);
        assert!(exists(&name));
        memory.write_at(0, b"x").unwrap();
    });
}

/// What arrives if a peer sends `parcel` where memory is expected; in the form of a named one: file, name, access.
fn received(file: ipc_core::Handle, access: u32) -> Result<SharedMemory, Core> {
    type Parcel = (Option<(ipc_core::Handle, String, u32)>, Option<()>);
    let (mut ours, theirs) = duplex::<Parcel, ()>().unwrap();
    let mut theirs: Connection<(), SharedMemory> = theirs.into_fd().unwrap().try_into().unwrap();
    ours.send((Some((file, unique_name(), access)), None)).unwrap();
    theirs.recv()
}

#[test]
fn a_received_file_becomes_no_more_than_its_sender_may_do_with_it() {
    const READ_WRITE: u32 = 0;
    const READ: u32 = 1;
    isolated(|| {
        let name = unique_name();
        let memory = SharedMemory::create(&name, 10).unwrap();
        let path = Path::new("/dev/shm").join(&name);
        let open = |write: bool| fs::File::options().read(true).write(write).open(&path).unwrap();
        assert_eq!(received(open(true).into(), READ_WRITE).unwrap().size(), 10);
        assert!(received(open(false).into(), READ).is_ok());
        assert!(matches!(received(open(false).into(), READ_WRITE), Err(Core::Decode(_))), "only for reading");
        // Files elsewhere, memory that nobody named, and a FIFO, for which the receiver would wait.
        let elsewhere = std::env::temp_dir().join(&name);
        fs::write(&elsewhere, b"elsewhere").unwrap();
        let file = fs::File::options().read(true).write(true).open(&elsewhere).unwrap();
        assert!(matches!(received(file.into(), READ_WRITE), Err(Core::Decode(_))));
        fs::remove_file(&elsewhere).unwrap();
        let (read, _write) = nix::unistd::pipe().unwrap();
        assert!(matches!(received(read.into(), READ), Err(Core::Decode(_))));
        drop(memory);
        assert!(!exists(&name));
    });
}

#[test]
fn bytes_of_objects_are_not_bytes_for_everybody() {
    isolated(|| {
        let memory = SharedMemory::anonymous(8192).unwrap();
        let mutex = ipc_sync::Mutex::create_in(memory.segment(), 1024, 1u64).unwrap();
        let end = 1024 + ipc_sync::Mutex::<u64>::size();
        for (offset, len) in [(1024, 1), (1023, 2), (end - 1, 1), (0, 8192)] {
            assert!(memory.write_at(offset, &vec![0; len]).is_err() && memory.to_vec(offset, len).is_err(), "{offset}");
        }
        assert!(memory.atomic_u64(1024 + 64).is_err());
        memory.write_at(0, &[1; 1024]).unwrap();
        memory.write_at(end, &[1; 64]).unwrap();
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}

#[test]
fn a_scope_ends_in_time_though_its_watcher_is_stopped_or_a_copy_was_forked() {
    isolated(|| {
        let name = unique_name();
        let watcher = |before: &[(u32, char)]| {
            let new = ipc_tests::children(std::process::id()).into_iter().find(|child| !before.contains(child));
            new.unwrap().0
        };
        let before = ipc_tests::children(std::process::id());
        let mut scope = Scope::new().unwrap();
        let pid = watcher(&before);
        let memory = scope.create(&name, 10).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGSTOP).unwrap();
        eventually("it stops", || ipc_tests::state(pid) == Some('T'));
        drop(scope);
        assert!(!exists(&name));
        drop(memory);
        // A copy has our end of the pipe to the watcher.
        let scope = Scope::new().unwrap();
        let (until, _end) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let copy = raw::fork_idle(until) as i32;
        drop(scope);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(copy), nix::sys::signal::Signal::SIGKILL).unwrap();
        assert!(!raw::wait(copy), "it was there all the time");
    });
}

#[test]
fn a_full_folder_is_an_error_and_no_crash_later() {
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
                mount(nothing, "/dev/shm", Some("tmpfs"), MsFlags::empty(), Some("size=1m")).unwrap();
                let no_room = |error: Error| {
                    assert!(
                        matches!(&error, Error::Memory(Core::Io { source, .. })
                        if source.raw_os_error() == Some(nix::libc::ENOSPC)),
                        "{error:?}"
                    );
                };
                no_room(SharedMemory::create(&name, 2 << 20).unwrap_err());
                assert!(!exists(&name));
                let memory = SharedMemory::create(&name, 1 << 19).unwrap();
                memory.write_at(0, &vec![1; 1 << 19]).unwrap();
                // As Python makes it: there is a size, but no memory for it.
                let foreign = format!("{name}-foreign");
                fs::File::create(Path::new("/dev/shm").join(&foreign)).unwrap().set_len(1 << 20).unwrap();
                no_room(SharedMemory::open(&foreign).unwrap_err());
            },
            unique_name(),
        );
        child.unwrap().join().unwrap();
    });
}
