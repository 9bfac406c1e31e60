//! Connections between processes of which one is killed, stopped, or hands its end on.

use std::time::{Duration, Instant};

use ipc_core::{Builder, Connection, Error, Handle, Process, Receiver, Sender, wait};
use ipc_pipe::{duplex, simplex};
use ipc_tests::{eventually, isolated, raw, state};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SHORT: Duration = Duration::from_millis(30);

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

/// Sends a first message, then a large one that does not fit into the kernel's buffer.
fn writer(mut conn: Connection<Vec<u8>, ()>) {
    conn.send(vec![1, 2, 3]).unwrap();
    let _ = conn.send(vec![9; 4 << 20]);
}

#[test]
fn a_writer_stopped_within_a_message_does_not_stop_a_timed_reader() {
    isolated(|| {
        // The message is larger than the kernel's buffer and the reader does not read, so the writer cannot have finished.
        let (mut ours, theirs) = duplex::<(), Vec<u8>>().unwrap();
        let child = Process::spawn(writer, theirs).unwrap();
        assert_eq!(ours.recv().unwrap(), [1, 2, 3]);
        assert_eq!(wait(&[&ours], Duration::MAX).unwrap(), [0], "the next one has begun");
        signal(child.pid(), Signal::SIGSTOP);
        eventually("it stops", || state(child.pid()) == Some('T'));
        let started = Instant::now();
        assert!(matches!(ours.recv_timeout(SHORT), Err(Error::Timeout)));
        assert!(started.elapsed() >= SHORT);
        assert!(matches!(ours.try_recv(), Err(Error::WouldBlock)));
        signal(child.pid(), Signal::SIGCONT);
        assert_eq!(ours.recv().unwrap(), vec![9; 4 << 20]);
        child.join().unwrap();
    });
}

#[test]
fn a_writer_killed_while_stopped_within_a_message_is_truncated() {
    isolated(|| {
        let (mut ours, theirs) = duplex::<(), Vec<u8>>().unwrap();
        let child = Process::spawn(writer, theirs).unwrap();
        assert_eq!(ours.recv().unwrap(), [1, 2, 3]);
        assert_eq!(wait(&[&ours], Duration::MAX).unwrap(), [0]);
        signal(child.pid(), Signal::SIGSTOP);
        eventually("it stops", || state(child.pid()) == Some('T'));
        child.kill().unwrap();
        assert!(matches!(ours.recv(), Err(Error::Truncated { missing }) if missing > 2 << 20));
        assert!(child.join().is_err());
    });
}

#[test]
fn a_reader_killed_or_stopped_frees_or_times_out_the_writer() {
    isolated(|| {
        fn reader(mut conn: Connection<(), Vec<u8>>) {
            conn.send(()).unwrap();
            loop {
                std::thread::park();
            }
        }
        let (mut ours, theirs) = duplex::<Vec<u8>, ()>().unwrap();
        let child = Process::spawn(reader, theirs).unwrap();
        ours.recv().unwrap();
        signal(child.pid(), Signal::SIGSTOP);
        let started = Instant::now();
        assert!(matches!(ours.send_timeout(vec![1; 8 << 20], SHORT), Err(Error::Unfinished { .. })));
        assert!(matches!(ours.send_timeout(vec![1], SHORT), Err(Error::Timeout)));
        assert!(started.elapsed() >= 2 * SHORT);
        let blocked = std::thread::spawn(move || ours.send(vec![2]));
        child.kill().unwrap();
        assert!(matches!(blocked.join().unwrap(), Err(Error::Disconnected)));
        assert!(child.join().is_err());

        // On a pipe as well: an error, not SIGPIPE.
        let (mut sender, receiver) = simplex::<Vec<u8>>().unwrap();
        let child = Process::spawn(
            |mut receiver: Receiver<Vec<u8>>| {
                assert_eq!(receiver.recv().unwrap(), [7]);
                std::process::abort()
            },
            receiver,
        )
        .map(|child: Process<()>| child)
        .unwrap();
        sender.send(vec![7]).unwrap();
        let error = loop {
            match sender.send(vec![0; 1000]) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Disconnected));
        assert!(child.join().is_err());
    });
}

#[test]
fn a_socket_whose_reader_is_gone_is_an_error_whatever_sigpipe_does() {
    isolated(|| {
        raw::default_sigpipe();
        let (mut ours, theirs) = duplex::<Vec<u8>, ()>().unwrap();
        drop(theirs);
        assert!(matches!(ours.send(vec![1]), Err(Error::Disconnected)));
        assert!(matches!(ours.send_bytes(&[1; 1 << 20]), Err(Error::Disconnected)));
    });
}

#[test]
fn an_end_passes_through_three_processes_with_its_messages() {
    isolated(|| {
        fn pass_on((left, conn): (u32, Connection<String, String>)) -> u32 {
            match left {
                0 => {
                    let mut conn = conn;
                    for _ in 0..3 {
                        let text = conn.recv().unwrap();
                        conn.send(format!("{text}!")).unwrap();
                    }
                    0
                }
                // Each one reads one, and with it the others into its buffer, before it hands the end on.
                n => {
                    let mut conn = conn;
                    let text = conn.recv().unwrap();
                    conn.send(text).unwrap();
                    1 + Process::spawn(pass_on, (n - 1, conn)).unwrap().join().unwrap()
                }
            }
        }
        let (mut ours, theirs) = duplex::<String, String>().unwrap();
        ours.send_many(["a", "b", "c", "d", "e", "f"].map(String::from)).unwrap();
        let child = Process::spawn(pass_on, (3, theirs)).unwrap();
        let replies: Vec<_> = ours.iter().map(Result::unwrap).collect();
        assert_eq!(replies, ["a", "b", "c", "d!", "e!", "f!"]);
        assert_eq!(child.join().unwrap(), 3);
    });
}

#[test]
fn the_halves_of_a_connection_work_in_two_processes() {
    isolated(|| {
        let (ours, mut far) = duplex::<u32, u32>().unwrap();
        let (sender, receiver) = ours.split();
        let writer = Process::spawn(|mut sender: Sender<u32>| sender.send_many(0..1000).unwrap(), sender).unwrap();
        let reader =
            Process::spawn(|mut receiver: Receiver<u32>| receiver.iter().map(Result::unwrap).sum::<u32>(), receiver);
        for n in 0..1000 {
            let received = far.recv().unwrap();
            assert_eq!(received, n);
            far.send(received).unwrap();
        }
        assert!(matches!(far.recv(), Err(Error::Disconnected)), "the sending half is dropped, the other one is not");
        drop(far);
        assert_eq!(writer.join(), Ok(1000));
        assert_eq!(reader.unwrap().join(), Ok(499_500));
    });
}

#[test]
fn handles_in_arguments_messages_and_results() {
    isolated(|| {
        fn mirror((first, mut conn): (Handle, Connection<Handle, Handle>)) -> Vec<Handle> {
            let mut all = vec![first];
            while let Ok(handle) = conn.recv() {
                conn.send(&handle).unwrap();
                all.push(handle);
            }
            all
        }
        let file = |text: &str| {
            let (read, mut write) = std::os::unix::net::UnixStream::pair().unwrap();
            std::io::Write::write_all(&mut write, text.as_bytes()).unwrap();
            Handle::from(read)
        };
        let (mut ours, theirs) = duplex::<Handle, Handle>().unwrap();
        let child = Process::spawn(mirror, (file("0"), theirs)).unwrap();
        for n in 1..50 {
            ours.send(file(&n.to_string())).unwrap();
            drop(ours.recv().unwrap());
        }
        drop(ours);
        for (n, handle) in child.join().unwrap().into_iter().enumerate() {
            let text = std::io::read_to_string(std::fs::File::from(handle.into_fd().unwrap())).unwrap();
            assert_eq!(text, n.to_string());
        }
    });
}

#[test]
fn handles_in_flight_are_closed_when_their_sender_or_receiver_is_killed() {
    isolated(|| {
        for receiver_dies in [false, true] {
            let (mut witness, held) = duplex::<(), ()>().unwrap();
            let (mut ours, theirs) = duplex::<Connection<(), ()>, ()>().unwrap();
            ours.send(held).unwrap();
            let idle = |_: Connection<(), Connection<(), ()>>| -> () {
                loop {
                    std::thread::park();
                }
            };
            let child = Process::spawn(idle, theirs).unwrap();
            assert!(matches!(witness.try_recv(), Err(Error::WouldBlock)), "it is under way");
            if !receiver_dies {
                drop(ours); // what is under way stays so
                assert!(matches!(witness.try_recv(), Err(Error::WouldBlock)));
            }
            child.kill().unwrap();
            assert!(matches!(witness.recv(), Err(Error::Disconnected)));
            assert!(child.join().is_err());
        }
    });
}

#[test]
fn without_room_for_files_a_message_with_handles_is_lost_and_said_so() {
    isolated(|| {
        let (mut ours, theirs) = duplex::<Option<Vec<Handle>>, (bool, bool)>().unwrap();
        let child = Process::spawn(
            |mut conn: Connection<(bool, bool), Option<Vec<Handle>>>| {
                use nix::sys::resource::{Resource, setrlimit};
                let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
                setrlimit(Resource::RLIMIT_NOFILE, open + 3, open + 3).unwrap();
                conn.send((true, true)).unwrap();
                let lost = matches!(conn.recv(), Err(Error::HandlesLost { expected: 20, arrived }) if arrived < 20);
                let next = matches!(conn.recv(), Ok(None));
                // And nothing of the lost message stays open.
                let still = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 == open;
                conn.send((lost && still, next)).unwrap();
            },
            theirs,
        )
        .unwrap();
        ours.recv().unwrap();
        let null = Handle::from(std::fs::File::open("/dev/null").unwrap());
        ours.send(Some((0..20).map(|_| null.try_clone().unwrap()).collect::<Vec<_>>())).unwrap();
        ours.send(None).unwrap();
        assert_eq!(ours.recv().unwrap(), (true, true));
        child.join().unwrap();
    });
}

#[test]
fn a_static_is_not_shared() {
    isolated(|| {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(1);
        COUNT.store(5, Ordering::Relaxed);
        let child = Builder::new().spawn(|()| COUNT.fetch_add(1, Ordering::Relaxed), ()).unwrap();
        assert_eq!(child.join(), Ok(1));
        assert_eq!(COUNT.load(Ordering::Relaxed), 5);
    });
}
