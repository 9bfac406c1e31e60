//! Plain files, and CPython's frames on them.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use ipc_fifo::{Postcard, Reader, Receiver, Sender};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use crate::Folder;

#[test]
fn plain_files_wait_and_do_not_go_to_other_programs() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    let _lasting: Reader<u32> = fifo.lasting_reader().unwrap();
    for file in [fifo.write_end().unwrap(), fifo.try_write_end().unwrap(), fifo.read_end().unwrap()] {
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL).unwrap());
        assert!(!flags.contains(OFlag::O_NONBLOCK));
        let flags = FdFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC), "{}", file.as_raw_fd());
    }
}

#[test]
fn bytes_go_through() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut text = String::new();
            fifo.read_end().unwrap().read_to_string(&mut text).map(|_| text)
        });
        fifo.write_end().unwrap().write_all(b"hello").unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), "hello");
    });
}

#[test]
fn frames_go_through() {
    let folder = Folder::new();
    let fifo = folder.fifo();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sender: Sender<(u32, String)> = OwnedFd::from(fifo.write_end().unwrap()).try_into()?;
            sender.send_many((0..1000).map(|n| (n, "x".repeat(n as usize))))
        });
        let mut receiver: Receiver<(u32, String), Postcard> =
            OwnedFd::from(fifo.read_end().unwrap()).try_into().unwrap();
        for (i, message) in receiver.iter().enumerate() {
            assert_eq!(message.unwrap(), (i as u32, "x".repeat(i)));
        }
        assert_eq!(sending.join().unwrap().unwrap(), 1000);
    });
}
