//! Owners of names that are killed or stopped.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use ipc_fifo::Scope;
use ipc_tests::{eventually, isolated};

use super::*;

/// A process that has made the FIFO, and reads.
fn owner(path: &Path) -> Other {
    Other::until(path.to_path_buf(), |path: PathBuf, line| {
        let fifo = Fifo::create(path, 0o600).unwrap();
        let mut log: Log = fifo.lasting_reader().unwrap();
        line.tell();
        assert_eq!(log.recv_timeout(LONG).unwrap(), message(0, 0));
        line.tell_and_wait();
    })
}

#[test]
fn who_creates_after_a_killed_owner_takes_over_with_the_writers_that_live() {
    isolated(|| {
        let path = free_path();
        let mut first = owner(&path);
        let before = std::fs::symlink_metadata(&path).unwrap();
        // Between the two owners it has nobody to send to, and waits for one.
        let mut writer = Other::start(path.clone(), |path: PathBuf, line| {
            let mut pen: Pen = Fifo::open(path).unwrap().writer_timeout(LONG).unwrap();
            pen.send(message(0, 0)).unwrap();
            line.tell_and_wait();
            pen.send(message(0, 1)).unwrap();
        });
        writer.reached();
        first.reached();
        assert!(matches!(Fifo::create(&path, 0o600), Err(Error::Exists { .. })), "the owner lives");
        first.kill();
        assert!(path.exists(), "nobody has removed it");
        let fifo = Fifo::create(&path, 0o640).unwrap();
        let after = std::fs::symlink_metadata(&path).unwrap();
        assert!(after.file_type().is_fifo() && after.mode() & 0o777 == 0o640);
        assert_eq!((after.dev(), after.ino()), (before.dev(), before.ino()), "it is the same one");
        let mut log: Log = fifo.lasting_reader().unwrap();
        writer.go_on();
        assert_eq!(log.recv_timeout(LONG).unwrap(), message(0, 1));
        writer.finish();
        drop(fifo);
        assert!(!path.exists());
    });
}

#[test]
fn a_stopped_owner_keeps_its_name() {
    isolated(|| {
        let path = free_path();
        let mut first = owner(&path);
        first.stop();
        for _ in 0..3 {
            let started = Instant::now();
            assert!(matches!(Fifo::create(&path, 0o600), Err(Error::Exists { .. })));
            assert!(started.elapsed() < SOON);
        }
        let mut pen: Pen = Fifo::open(&path).unwrap().writer_timeout(LONG).unwrap();
        pen.send_timeout(message(0, 0), LONG).unwrap();
        first.wake();
        first.reached();
        first.finish();
        assert!(!path.exists());
    });
}

#[test]
fn the_names_of_a_killed_scope_go_but_not_what_is_not_its_own() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        let victim = Other::until(folder.path().to_path_buf(), |folder: PathBuf, line| {
            let mut scope = Scope::new().unwrap();
            let _all: Vec<Fifo> = (0..3).map(|n| scope.create(folder.join(n.to_string()), 0o600).unwrap()).collect();
            let _given_up = scope.create(folder.join("given up"), 0o600).unwrap().persist().unwrap();
            let _file = scope.create(folder.join("replaced"), 0o600).unwrap();
            std::fs::remove_file(folder.join("replaced")).unwrap();
            std::fs::write(folder.join("replaced"), "precious").unwrap();
            line.tell_and_wait();
        });
        let names = || {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["0", "1", "2", "given up", "replaced"]);
        let mut log: Log = Fifo::open(folder.path().join("1")).unwrap().lasting_reader().unwrap();
        let mut pen: Pen = Fifo::open(folder.path().join("1")).unwrap().writer_timeout(LONG).unwrap();
        victim.kill();
        eventually("they are gone", || names() == ["given up", "replaced"]);
        assert_eq!(std::fs::read(folder.path().join("replaced")).unwrap(), b"precious");
        // Who has it open keeps it.
        pen.send(vec![1]).unwrap();
        assert_eq!(log.recv_timeout(LONG).unwrap(), [1]);
    });
}

#[test]
fn who_waits_for_the_other_end_is_told_when_the_owner_goes() {
    isolated(|| {
        for reads in [true, false] {
            let path = free_path();
            let owner = Other::until(path.clone(), |path: PathBuf, line| {
                let _fifo = Fifo::create(path, 0o600).unwrap();
                line.tell_and_wait();
            });
            let fifo = Fifo::open(&path).unwrap();
            let waiting = Other::until((fifo, reads), |(fifo, reads): (Fifo, bool), line| {
                line.tell();
                let result = if reads { fifo.read_end_timeout(LONG) } else { fifo.write_end_timeout(LONG) };
                assert!(matches!(result, Err(Error::Removed { .. })), "{result:?}");
            });
            until_asleep(waiting.pid());
            owner.finish();
            waiting.finish();
        }
    });
}
