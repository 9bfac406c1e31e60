//! Names: made, found, taken over, removed; and what is wrong with paths.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipc_fifo::{Error, Fifo, Reader, Scope, Writer};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::Folder;

const MARK: u32 = 0o1000;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// As a process leaves it that is killed when it has made it.
fn leave(path: &Path) {
    mkfifo(path, Mode::from_bits_truncate(0o600 | MARK)).unwrap();
}

#[test]
fn a_fifo_is_there_as_long_as_its_owner() {
    let folder = Folder::new();
    let path = folder.path();
    let fifo = Fifo::create(&path, 0o600).unwrap();
    assert_eq!(fifo.path(), path);
    assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
    let other = Fifo::open(&path).unwrap();
    drop(fifo.share());
    drop(other);
    assert!(path.exists());
    drop(fifo);
    assert!(!path.exists());
}

/// The only test that changes the umask, which is the whole process's; so all modes are looked at here.
#[test]
fn the_mode_is_exact_whatever_the_umask() {
    let folder = Folder::alone();
    for umask in [0o022, 0o777, 0] {
        for permissions in [0o600, 0o666, 0o777, 0o640, 0] {
            let (owned, stays) = (folder.path(), folder.path());
            let before = nix::sys::stat::umask(Mode::from_bits_truncate(umask));
            let fifo = Fifo::create(&owned, permissions);
            let staying = Fifo::open_or_create(&stays, permissions);
            nix::sys::stat::umask(before);
            drop(staying.unwrap());
            assert_eq!(mode(&owned), permissions | MARK);
            assert_eq!(mode(&stays), permissions);
            drop(fifo.unwrap());
        }
    }
    for mode in [0o1600, 0o4755, 0o10_0644, u32::MAX] {
        assert!(matches!(Fifo::create(folder.path(), mode), Err(Error::BadMode { mode: refused }) if refused == mode));
        assert!(matches!(Fifo::open_or_create(folder.path(), mode), Err(Error::BadMode { .. })));
    }
}

#[test]
fn what_somebody_has_is_not_taken_over() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let before = inode(fifo.path());
    assert!(matches!(Fifo::create(fifo.path(), 0o600), Err(Error::Exists { path }) if path == fifo.path()));
    assert_eq!(inode(fifo.path()), before);

    let foreign = folder.path();
    mkfifo(&foreign, Mode::from_bits_truncate(0o600)).unwrap(); // without the mark, as mkfifo(1)
    assert!(matches!(Fifo::create(&foreign, 0o600), Err(Error::Exists { .. })));
    assert!(foreign.exists());

    let file = folder.path();
    fs::write(&file, "contents").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600 | MARK)).unwrap();
    assert!(matches!(Fifo::create(&file, 0o600), Err(Error::Exists { .. })));
    assert_eq!(fs::read(&file).unwrap(), b"contents");
}

#[test]
fn what_the_dead_have_left_is_taken_over_with_those_who_have_it_open() {
    let folder = Folder::new();
    let path = folder.path();
    leave(&path);
    let before = inode(&path);
    let left = Fifo::open(&path).unwrap();
    let mut reader: Reader<u32> = left.lasting_reader().unwrap();
    let fifo = Fifo::create(&path, 0o640).unwrap();
    assert_eq!((inode(&path), mode(&path)), (before, 0o640 | MARK));
    let mut writer: Writer<u32> = fifo.writer().unwrap();
    writer.send(7).unwrap();
    assert_eq!(reader.recv().unwrap(), 7);
    assert!(matches!(Fifo::create(&path, 0o600), Err(Error::Exists { .. }))); // it has an owner again
    drop(fifo);
    assert!(!path.exists());
}

#[test]
fn a_name_that_has_become_another_files_is_left_alone() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let path = fifo.path().to_path_buf();
    Fifo::unlink(&path).unwrap();
    let other = Fifo::create(&path, 0o600).unwrap();
    drop(fifo);
    assert!(path.exists());
    drop(other);
    assert!(!path.exists());
}

#[test]
fn open_or_create_makes_what_stays_and_uses_what_is_there() {
    let folder = Folder::new();
    let path = folder.path();
    drop(Fifo::open_or_create(&path, 0o640).unwrap());
    let before = inode(&path);
    drop(Fifo::open_or_create(&path, 0o600).unwrap());
    assert_eq!((inode(&path), mode(&path)), (before, 0o640)); // the mode is for one that is made
    assert!(matches!(Fifo::create(&path, 0o600), Err(Error::Exists { .. })));
    Fifo::unlink(&path).unwrap();

    let owned = folder.fifo();
    drop(Fifo::open_or_create(owned.path(), 0o666).unwrap());
    assert_eq!(mode(owned.path()), 0o600 | MARK); // its owner's

    let left = folder.path();
    leave(&left);
    drop(Fifo::open_or_create(&left, 0o640).unwrap());
    assert_eq!(mode(&left), 0o640);

    let file = folder.path();
    fs::write(&file, "").unwrap();
    assert!(matches!(Fifo::open_or_create(&file, 0o600), Err(Error::NotAFifo { .. })));
}

#[test]
fn a_persistent_one_stays() {
    let folder = Folder::new();
    let fifo = folder.fifo().persist().unwrap();
    let path = fifo.path().to_path_buf();
    drop(fifo);
    assert_eq!(mode(&path), 0o600);
    assert!(matches!(Fifo::create(&path, 0o600), Err(Error::Exists { .. }))); // not one that the dead have left
    drop(Fifo::open(&path).unwrap().persist().unwrap());
    Fifo::unlink(&path).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_scope_removes_its_names() {
    let folder = Folder::alone();
    let mut scope = Scope::new().unwrap();
    let [kept, dropped, persistent, other] = [folder.path(), folder.path(), folder.path(), folder.path()];
    let fifo = scope.create(&kept, 0o600).unwrap();
    drop(scope.create(&dropped, 0o600).unwrap());
    assert!(kept.exists() && !dropped.exists());
    let again = Fifo::create(&dropped, 0o600).unwrap(); // not the scope's any more
    scope.create(&persistent, 0o600).unwrap().persist().unwrap();
    assert!(matches!(scope.create(again.path(), 0o600), Err(Error::Exists { .. })));
    assert!(matches!(scope.create(folder.path().join("in-no-folder"), 0o600), Err(Error::Missing { .. })));
    leave(&other);
    let over = scope.create(&other, 0o600).unwrap();
    drop(scope);
    assert!(!kept.exists() && again.path().exists() && persistent.exists() && !other.exists());
    drop((fifo, over)); // whose names are gone
}

#[test]
fn what_is_no_fifo_is_refused() {
    let folder = Folder::new();
    let file = folder.path();
    fs::write(&file, "contents").unwrap();
    for path in [&file, &folder.0.path().to_path_buf(), &PathBuf::from("/dev/null")] {
        assert!(matches!(Fifo::open(path), Err(Error::NotAFifo { path: refused }) if refused == *path));
        assert!(matches!(Fifo::unlink(path), Err(Error::NotAFifo { .. })));
    }
    assert_eq!(fs::read(&file).unwrap(), b"contents");
    // It was one when it was opened.
    let fifo = folder.fifo();
    fs::remove_file(fifo.path()).unwrap();
    fs::write(fifo.path(), "").unwrap();
    assert!(matches!(fifo.try_read_end(), Err(Error::NotAFifo { .. })));
    assert!(matches!(fifo.write_end(), Err(Error::NotAFifo { .. })));
    assert!(matches!(fifo.lasting_reader::<u8, ipc_fifo::Postcard>(), Err(Error::NotAFifo { .. })));
}

#[test]
fn a_link_leads_to_a_fifo_and_is_not_removed_for_one() {
    let folder = Folder::new();
    let (fifo, link) = (folder.fifo(), folder.path());
    symlink(fifo.path(), &link).unwrap();
    let mut reader: Reader<u32> = Fifo::open(&link).unwrap().lasting_reader().unwrap();
    let mut writer: Writer<u32> = fifo.try_writer().unwrap();
    writer.send(1).unwrap();
    assert_eq!(reader.recv().unwrap(), 1);
    assert!(matches!(Fifo::create(&link, 0o600), Err(Error::Exists { .. })));
    assert!(Fifo::open_or_create(&link, 0o600).is_ok());
    assert!(matches!(Fifo::unlink(&link), Err(Error::NotAFifo { .. })));
    drop(fifo);
    assert!(matches!(Fifo::open(&link), Err(Error::Missing { .. })));
    assert!(matches!(Fifo::open_or_create(&link, 0o600), Err(Error::Missing { .. })));
}

#[test]
fn what_is_missing_is_said() {
    let folder = Folder::new();
    let path = folder.path();
    assert!(matches!(Fifo::open(&path), Err(Error::Missing { path: missing }) if missing == path));
    assert!(matches!(Fifo::unlink(&path), Err(Error::Missing { .. })));
    let in_no_folder = path.join("fifo");
    assert!(matches!(Fifo::create(&in_no_folder, 0o600), Err(Error::Missing { path: missing }) if missing == path));
    assert!(
        matches!(Fifo::open_or_create(&in_no_folder, 0o600), Err(Error::Missing { path: missing }) if missing == path)
    );
    let fifo = folder.fifo();
    fs::remove_file(fifo.path()).unwrap();
    assert!(matches!(fifo.try_writer::<u8, ipc_fifo::Postcard>(), Err(Error::Missing { .. })));
}

#[test]
fn paths_that_can_be_no_fifos_are_refused() {
    let folder = Folder::new();
    let file = folder.path();
    fs::write(&file, "").unwrap();
    let looping = folder.path();
    symlink(&looping, &looping).unwrap();
    let bad = [
        (PathBuf::new(), "it is empty"),
        (Path::new(OsStr::from_bytes(b"/tmp/a\0b")).into(), "it contains a NUL"),
        (folder.0.path().join("x".repeat(256)), "it, or a part of it, is too long"),
        (PathBuf::from(format!("/tmp/{}", "x/".repeat(2048) + "x")), "it, or a part of it, is too long"),
        (PathBuf::from("/tmp/"), "it is that of a folder"),
        (PathBuf::from(".."), "it is that of a folder"),
        (file.join("fifo"), "a part of it that should be a folder is none"),
        (looping.join("fifo"), "it leads through too many symbolic links"),
    ];
    for (path, expected) in bad {
        type Call = fn(&Path) -> ipc_fifo::Result<()>;
        let calls: [Call; 4] = [
            |path| Fifo::create(path, 0o600).map(drop),
            |path| Fifo::open_or_create(path, 0o600).map(drop),
            |path| Fifo::open(path).map(drop),
            |path| Fifo::unlink(path),
        ];
        for call in calls {
            let error = call(&path).unwrap_err();
            assert!(matches!(error, Error::BadPath { why, .. } if why == expected), "{path:?}: {error:?}");
        }
    }
}

/// Where this is tried as root, who may do everything, only that it works is seen.
#[test]
fn what_is_forbidden_is_said() {
    let folder = Folder::new();
    let inner = folder.path();
    fs::create_dir(&inner).unwrap();
    let fifo = Fifo::open_or_create(inner.join("fifo"), 0).unwrap();
    fs::set_permissions(&inner, PermissionsExt::from_mode(0o500)).unwrap();
    let made = Fifo::create(inner.join("new"), 0o600);
    let opened = fifo.try_read_end();
    fs::set_permissions(&inner, PermissionsExt::from_mode(0o700)).unwrap();
    if nix::unistd::geteuid().is_root() {
        assert!(made.is_ok() && opened.is_err_and(|error| error.is_would_block()));
    } else {
        assert!(matches!(made, Err(Error::Forbidden { .. })));
        assert!(matches!(opened, Err(Error::Forbidden { .. })));
    }
}

#[test]
fn a_path_that_is_no_text_goes_to_another_process() {
    let folder = Folder::alone();
    let path = folder.0.path().join(OsStr::from_bytes(b"\xff\xfe"));
    let fifo = Fifo::create(&path, 0o600).unwrap();
    let answer = ipc_fifo::Process::spawn(
        |fifo: Fifo| fifo.writer().and_then(|mut writer: Writer<str>| writer.send("here")).map_err(|e| e.to_string()),
        fifo.share(),
    )
    .unwrap();
    let mut reader: Reader<String> = fifo.reader().unwrap();
    assert_eq!(reader.recv().unwrap(), "here");
    answer.join().unwrap().unwrap();
    assert!(path.exists()); // what the other process dropped was not the owner
}

#[test]
fn a_scope_waits_once_for_a_folder_that_somebody_has_locked() {
    let folder = Folder::alone();
    let mut scope = Scope::new().unwrap();
    let fifos: Vec<Fifo> = (0..9).map(|_| scope.create(folder.path(), 0o600).unwrap()).collect();
    let place = fs::File::open(folder.0.path()).unwrap();
    let locked = Flock::lock(place, FlockArg::LockExclusive).unwrap();
    let started = Instant::now();
    drop(scope);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed()); // a second, and not ten
    assert!(fifos.iter().all(|fifo| !fifo.path().exists()));
    drop(locked);
}
