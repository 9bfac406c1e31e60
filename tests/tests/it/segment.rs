//! Segments: what is refused, who has one, and that nothing stays.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use ipc_core::{Connection, Error, Handle, Participant, Process, Segment};
use ipc_pipe::duplex;
use ipc_sync::{Event, Mutex, RLock, Semaphore};
use ipc_tests::{eventually, isolated, raw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// What arrives if `fd` is sent where a segment is expected.
fn sent_as_segment(fd: OwnedFd) -> Result<Segment, Error> {
    let (mut ours, theirs) = duplex::<Handle, ()>().unwrap();
    let mut theirs: Connection<(), Segment> = theirs.into_fd().unwrap().try_into().unwrap();
    ours.send(Handle::from(fd)).unwrap();
    theirs.recv()
}

fn memory(len: u64) -> File {
    let file: File = memfd_create(c"test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap().into();
    file.set_len(len).unwrap();
    file
}

fn seal(file: &File) {
    fcntl(file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)).unwrap();
}

/// Its file, to write into it as nobody should: what travels in a message.
pub(crate) fn file_of(segment: &Segment) -> File {
    let (mut ours, theirs) = duplex::<Segment, ()>().unwrap();
    let mut theirs: Connection<(), Handle> = theirs.into_fd().unwrap().try_into().unwrap();
    ours.send(segment).unwrap();
    theirs.recv().unwrap().into_fd().unwrap().into()
}

#[test]
fn sizes_that_cannot_be_are_refused_and_leave_nothing() {
    isolated(|| {
        for size in [0, usize::MAX, 1 << 46] {
            assert!(matches!(Segment::anonymous(size), Err(Error::BadSize { size: s }) if s == size));
        }
        // More than there is memory: an error now, not a machine without memory, and not a SIGBUS later.
        assert!(matches!(Segment::anonymous(1 << 45), Err(Error::Io { .. })));
        assert_eq!(Segment::anonymous(1).unwrap().size(), 1);
    });
}

#[test]
fn nobody_can_change_the_size_of_a_segment() {
    isolated(|| {
        let segment = Segment::anonymous(4096).unwrap();
        let file = file_of(&segment);
        assert!(file.set_len(0).is_err());
        assert!(file.set_len(8192).is_err());
        assert!(fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).is_err(), "and nobody can seal it further");
    });
}

#[test]
fn foreign_memory_is_refused() {
    isolated(|| {
        let sealed = memory(4096);
        seal(&sealed);
        assert_eq!(sent_as_segment(sealed.into()).unwrap().size(), 4096);
        let empty = memory(0);
        seal(&empty);
        let mut wrong = vec![memory(4096).into(), empty.into(), File::open("/dev/null").unwrap().into()];
        if nix::unistd::geteuid().is_root() {
            let stranger = memory(4096);
            seal(&stranger);
            nix::unistd::fchown(&stranger, Some(12345.into()), None).unwrap();
            wrong.push(stranger.into());
        }
        for fd in wrong {
            assert!(matches!(sent_as_segment(fd), Err(Error::Decode(_))));
        }
    });
}

#[test]
fn a_segment_can_be_sent_over_what_carries_handles_only() {
    isolated(|| {
        let segment = Segment::anonymous(64).unwrap();
        let (mut sender, _receiver) = ipc_pipe::simplex::<Segment>().unwrap();
        assert!(matches!(sender.send(&segment), Err(Error::NoHandles(_))));
    });
}

#[test]
fn an_object_is_opened_as_what_it_is_or_not_at_all() {
    isolated(|| {
        let segment = Segment::anonymous(1 << 16).unwrap();
        let at = |n: usize| n * 4096;
        let mutex = Mutex::create_in(&segment, at(1), 7u32).unwrap();
        let is_memory = |result: Result<(), ipc_sync::Error>, test: fn(&Error) -> bool| {
            assert!(matches!(&result, Err(ipc_sync::Error::Memory(error)) if test(error)), "{result:?}");
        };
        is_memory(Mutex::create_in(&segment, at(1), 8u32).map(drop), |e| matches!(e, Error::Exists { offset: 4096 }));
        is_memory(Mutex::<u32>::open_in(&segment, at(2)).map(drop), |e| matches!(e, Error::Missing { .. }));
        is_memory(Event::open_in(&segment, at(1)).map(drop), |e| matches!(e, Error::Incompatible(_)));
        is_memory(RLock::<u32>::open_in(&segment, at(1)).map(drop), |e| matches!(e, Error::Incompatible(_)));
        is_memory(Mutex::<u64>::open_in(&segment, at(1)).map(drop), |e| matches!(e, Error::Incompatible(_)));
        is_memory(Mutex::<i32>::open_in(&segment, at(1)).map(drop), |e| matches!(e, Error::Incompatible(_)));
        is_memory(Mutex::<[u8; 4]>::open_in(&segment, at(1)).map(drop), |e| matches!(e, Error::Incompatible(_)));
        for offset in [1, 63, 65, 1 << 16, (1 << 16) - 64, usize::MAX, usize::MAX - 63] {
            is_memory(Mutex::create_in(&segment, offset, 0u32).map(drop), |e| matches!(e, Error::OutOfBounds { .. }));
            is_memory(Mutex::<u32>::open_in(&segment, offset).map(drop), |e| !matches!(e, Error::Exists { .. }));
        }
        is_memory(Semaphore::create_in(&segment, at(3), 60_000).map(drop), |e| matches!(e, Error::OutOfBounds { .. }));
        assert_eq!(*Mutex::<u32>::open_in(&segment, at(1)).unwrap().lock().unwrap(), 7);
        drop(mutex);
        assert_eq!(*Mutex::<u32>::open_in(&segment, at(1)).unwrap().lock().unwrap(), 7, "it stays in its segment");
    });
}

#[test]
fn objects_do_not_overlap() {
    isolated(|| {
        let segment = Segment::anonymous(1 << 16).unwrap();
        let big = Mutex::create_in(&segment, 1024, [0u8; 8192]).unwrap();
        let exists = |made: Result<Mutex<u64>, ipc_sync::Error>, at: usize| {
            assert!(matches!(made, Err(ipc_sync::Error::Memory(Error::Exists { offset })) if offset == at));
        };
        // The bytes there are zero, as if nothing had ever been made of them.
        exists(Mutex::create_in(&segment, 2048, 0), 1024);
        exists(Mutex::create_in(&segment, 1024 - 64, 0), 1024);
        let end = 1024 + Mutex::<[u8; 8192]>::size().next_multiple_of(64);
        let behind = Mutex::create_in(&segment, end, 5u64).unwrap();
        let before = Mutex::create_in(&segment, 0, 6u64).unwrap();
        big.lock().unwrap().fill(255);
        assert_eq!((*behind.lock().unwrap(), *before.lock().unwrap()), (5, 6));
    });
}

#[test]
fn a_file_in_which_all_numbers_are_locked_is_refused() {
    isolated(|| {
        // Somebody has locked all numbers: an error, and not an endless search.
        let file = memory(4096);
        seal(&file);
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let other = File::options().read(true).write(true).open(path).unwrap();
        let all = nix::libc::flock { l_type: 1, l_whence: 0, l_start: 1, l_len: (1 << 62) - 2, l_pid: 0 };
        fcntl(&other, FcntlArg::F_OFD_SETLK(&all)).unwrap();
        assert!(matches!(sent_as_segment(file.into()), Err(Error::Decode(_))));
    });
}

#[test]
fn a_header_that_lies_is_an_error() {
    isolated(|| {
        let segment = Segment::anonymous(8192).unwrap();
        let semaphore = Semaphore::create_in(&segment, 0, 4).unwrap();
        assert_eq!(semaphore.permits(), 4);
        let file = file_of(&segment);
        let open = || Semaphore::open_in(&segment, 0);
        let mut header = [0; 64];
        file.read_exact_at(&mut header, 0).unwrap();
        for words in [0, 1 << 20, u64::MAX, u64::MAX / 8, 1 << 61] {
            file.write_all_at(&words.to_ne_bytes(), 32).unwrap();
            assert!(open().is_err(), "{words} permits");
        }
        file.write_all_at(&header, 0).unwrap();
        assert!(open().is_ok());
        for byte in 0..40 {
            file.write_all_at(&[!header[byte]], byte as u64).unwrap();
            assert!(open().is_err(), "byte {byte}");
            file.write_all_at(&header[byte..=byte], byte as u64).unwrap();
        }
        file.write_all_at(&[0xff; 64], 0).unwrap();
        assert!(open().is_err() && Semaphore::create_in(&segment, 0, 4).is_err());
    });
}

#[test]
fn what_a_dead_process_began_to_make_is_begun_again() {
    isolated(|| {
        let segment = Segment::anonymous(8192).unwrap();
        let dead = {
            let child = Process::spawn(|segment: Segment| segment.participant().number(), segment.clone()).unwrap();
            child.join().unwrap()
        };
        let file = file_of(&segment);
        file.write_all_at(&dead.to_ne_bytes(), 0).unwrap();
        let missing = Mutex::<u32>::open_in(&segment, 0);
        assert!(matches!(missing, Err(ipc_sync::Error::Memory(Error::Missing { .. }))));
        // Not while its maker lives.
        file.write_all_at(&segment.participant().number().to_ne_bytes(), 0).unwrap();
        assert!(matches!(Mutex::create_in(&segment, 0, 1u32), Err(ipc_sync::Error::Memory(Error::Exists { .. }))));
        file.write_all_at(&dead.to_ne_bytes(), 0).unwrap();
        assert_eq!(*Mutex::create_in(&segment, 0, 1u32).unwrap().lock().unwrap(), 1);
    });
}

#[test]
fn who_has_a_segment_is_known_while_it_lives_and_while_it_is_under_way() {
    isolated(|| {
        let segment = Segment::anonymous(64).unwrap();
        assert!(!segment.has_others().unwrap() && !segment.was_shared());
        assert!(segment.is_alive(segment.participant()).unwrap());
        let (mut ours, theirs) = duplex::<Segment, ()>().unwrap();
        ours.send(segment.clone()).unwrap();
        assert!(segment.has_others().unwrap() && segment.was_shared(), "it lies in the socket");
        drop(theirs);
        assert!(!segment.has_others().unwrap(), "it was lost");

        let (mut report, theirs) = duplex::<(), u64>().unwrap();
        let mut child = Process::spawn(
            |(segment, mut report): (Segment, Connection<u64, ()>)| {
                report.send(segment.participant().number()).unwrap();
                let _ = report.recv();
            },
            (segment.clone(), theirs),
        )
        .unwrap();
        let them = Participant::from_number(report.recv().unwrap()).unwrap();
        assert_eq!(them.pid(), child.pid());
        assert!(segment.has_others().unwrap() && segment.is_alive(them).unwrap());
        child.kill().unwrap();
        assert!(child.join_timeout(std::time::Duration::MAX).is_err());
        assert!(!segment.has_others().unwrap() && !segment.is_alive(them).unwrap());
    });
}

#[test]
fn many_objects_of_one_segment_are_one_attachment() {
    isolated(|| {
        let segment = Segment::anonymous(1 << 16).unwrap();
        let mutexes: Vec<_> = (0..100).map(|n| Mutex::create_in(&segment, n * 512, n as u32).unwrap()).collect();
        let event = Event::create_in(&segment, 60_000 / 64 * 64).unwrap();
        let child = Process::spawn(
            |(mutexes, event): (Vec<Mutex<u32>>, Event)| {
                let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
                assert!(mutexes.iter().enumerate().all(|(n, mutex)| *mutex.lock().unwrap() == n as u32));
                event.set().unwrap();
                files
            },
            (mutexes, event.clone()),
        )
        .unwrap();
        event.wait().unwrap();
        assert!(child.join().unwrap() < 20);
        drop(segment);
        event.clear().unwrap();
        // Nobody else has it: what this process itself attached is not mistaken for somebody.
        assert!(event.wait().unwrap_err().is_abandoned());
    });
}

#[test]
fn a_process_that_replaces_its_program_has_nothing_any_more() {
    isolated(|| {
        let segment = Segment::anonymous(64).unwrap();
        let (stdin, until) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let child = Process::<()>::spawn(
            |(_segment, stdin): (Segment, Handle)| {
                use std::os::unix::process::CommandExt;
                let error = std::process::Command::new("cat").stdin(stdin.into_fd().unwrap()).exec();
                panic!("{error}");
            },
            (segment.clone(), Handle::from(stdin)),
        )
        .unwrap();
        eventually("it replaces its program", || !segment.has_others().unwrap());
        drop(until);
        assert!(child.join().is_err());
    });
}

#[test]
fn a_forked_copy_can_use_nothing_of_the_original_but_make_its_own() {
    isolated(|| {
        let segment = Segment::anonymous(8192).unwrap();
        let semaphore = Semaphore::create_in(&segment, 0, 1).unwrap();
        let permit = semaphore.acquire().unwrap();
        assert!(raw::in_forked_copy(|| {
            let refused = matches!(semaphore.try_acquire(), Err(ipc_sync::Error::Forked))
                && matches!(semaphore.release(), Err(ipc_sync::Error::Forked))
                && matches!(segment.check_fork(), Err(Error::Forked))
                && matches!(Mutex::create_in(&segment, 4096, 1u32), Err(ipc_sync::Error::Forked));
            let own = Mutex::new(1u32).unwrap();
            refused && *own.lock().unwrap() == 1 && !raw::in_forked_copy(|| own.try_lock().is_ok())
        }));
        let _permit = raw::drop_in_forked_copy(permit);
        assert_eq!(semaphore.available().unwrap(), 0, "the copy's permit gave nothing back");
        assert!(segment.check_fork().is_ok());
    });
}
