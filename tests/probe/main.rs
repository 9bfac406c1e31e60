//! What must also work in programs as they are shipped: optimised across crates, stripped, with panics that abort. Run by
//! `cargo xtask test-all` in such profiles; exits with 0 if all is well.
#![forbid(unsafe_code)]

use ipc_core::{Builder, Handle, JoinError, Process, Stdio};

fn main() {
    // Functions that compile to the same code are told apart.
    assert_eq!(Process::spawn(|n: u32| n + 1, 1).unwrap().join(), Ok(2));
    assert_eq!(Process::spawn(|n: i32| n + 1, 1).unwrap().join(), Ok(2));
    assert_eq!(Process::spawn(nested, 3).unwrap().join(), Ok(3));

    // A panic brings its message and place, whether it unwinds or aborts, and in whichever thread it aborts.
    let panics = |in_thread: bool| -> () {
        if in_thread {
            let thread = std::thread::spawn(|| panic!("in a thread"));
            thread.join().unwrap_or_else(|_| panic!("in a thread, noticed"));
        }
        panic!("on purpose")
    };
    for (in_thread, text) in [(false, "on purpose"), (true, "in a thread")] {
        let child = Builder::new().core_dumps(false).stderr(Stdio::Null).spawn(panics, in_thread).unwrap();
        match child.join() {
            Err(JoinError::Panicked { message, location: Some(location) }) => {
                assert!(message.starts_with(text), "{message}");
                assert!(location.contains("probe/main.rs"), "{location}");
            }
            other => panic!("{other:?}"),
        }
    }

    // Connections and handles cross.
    let (mut ours, theirs) = ipc_pipe::duplex::<Handle, String>().unwrap();
    let child = Process::spawn(
        |mut conn: ipc_pipe::Connection<String, Handle>| {
            let file = std::fs::File::from(conn.recv().unwrap().into_fd().unwrap());
            conn.send(std::io::read_to_string(file).unwrap()).unwrap();
        },
        theirs,
    )
    .unwrap();
    let (read, write) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.send(Handle::from(read)).unwrap();
    std::io::Write::write_all(&mut &write, b"through a handle").unwrap();
    drop(write);
    assert_eq!(ours.recv().unwrap(), "through a handle");
    child.join().unwrap();
    println!("all is well");
}

fn nested(n: u32) -> u32 {
    if n == 0 { 0 } else { 1 + Process::spawn(nested, n - 1).unwrap().join().unwrap() }
}
