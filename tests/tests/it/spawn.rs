//! Typed functions as processes: arguments, results, and every way to end.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use ipc_core::{Builder, Error, JoinError, Process, active_children, current_process, parent_process, scope, wait};
use ipc_tests::{children, eventually, isolated, raw, state};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

fn forever<T>() -> T {
    loop {
        std::thread::park();
    }
}

fn add((a, b): (u64, u64)) -> u64 {
    a + b
}

#[test]
fn functions_closures_generics_and_methods_run() {
    isolated(|| {
        fn twice<T: Clone>(value: T) -> (T, T) {
            (value.clone(), value)
        }
        trait Shout {
            fn shout(self) -> String;
        }
        impl Shout for String {
            fn shout(self) -> String {
                self.to_uppercase()
            }
        }
        assert_eq!(Process::spawn(add, (40, 2)).unwrap().join(), Ok(42));
        assert_eq!(Process::spawn(|n: i8| -n, 7).unwrap().join(), Ok(-7));
        assert_eq!(Process::spawn(twice::<String>, "x".into()).unwrap().join(), Ok(("x".into(), "x".into())));
        assert_eq!(Process::spawn(twice::<u8>, 3).unwrap().join(), Ok((3, 3)));
        assert_eq!(Process::spawn(String::shout, "hey".to_string()).unwrap().join(), Ok("HEY".into()));
        // Functions of identical code, which linkers merge: the descriptor counts, not the code.
        assert_eq!(Process::spawn(|n: u32| n + 1, 1).unwrap().join(), Ok(2));
        assert_eq!(Process::spawn(|n: i32| n + 1, 1).unwrap().join(), Ok(2));
    });
}

#[test]
fn a_panic_arrives_with_message_and_place() {
    isolated(|| {
        let line = line!() + 1;
        let child = Process::spawn(|n: u32| -> u32 { panic!("number {n} is bad") }, 13).unwrap();
        let Err(JoinError::Panicked { message, location }) = child.join() else { panic!() };
        assert_eq!(message, "number 13 is bad");
        let location = location.unwrap();
        assert!(location.contains("spawn.rs") && location.contains(&format!(":{line}:")), "{location}");

        let child = Process::spawn(|()| -> () { std::panic::panic_any(42u8) }, ()).unwrap();
        let Err(JoinError::Panicked { message, location }) = child.join() else { panic!() };
        assert!(message.contains("no text") && location.is_some());

        // A panic that was caught is not how the process ends, and its place is not that of another.
        let child = Process::spawn(
            |()| {
                let _ = std::panic::catch_unwind(|| panic!("caught"));
                std::panic::resume_unwind(Box::new("passed on"))
            },
            (),
        )
        .unwrap();
        assert_eq!(child.join(), Err::<(), _>(JoinError::Panicked { message: "passed on".into(), location: None }));

        // Nor is one in another thread.
        let child = Process::spawn(|()| std::thread::spawn(|| panic!("in a thread")).join().is_err(), ()).unwrap();
        assert_eq!(child.join(), Ok(true));
    });
}

#[test]
fn every_way_to_end_is_told_apart() {
    isolated(|| {
        fn ends<R: DeserializeOwned + Serialize + Debug + PartialEq>(
            f: impl FnOnce(()) -> R + Copy + Send + 'static,
            how: Result<R, JoinError>,
        ) {
            assert_eq!(Builder::new().core_dumps(false).spawn(f, ()).unwrap().join(), how);
        }
        fn killed<R>(signal: i32) -> Result<R, JoinError> {
            Err(JoinError::Killed { signal, core_dumped: false })
        }
        ends(|()| std::process::exit(3), Err::<(), _>(JoinError::Exited { code: 3 }));
        ends(|()| std::process::exit(0), Err::<(), _>(JoinError::Exited { code: 0 }));
        ends(|()| std::process::abort(), killed::<()>(libc::SIGABRT));
        ends(|()| raw::overflow_the_stack(), killed(libc::SIGSEGV));
        for signal in ["kill", "terminate", "interrupt"] {
            let child = Process::spawn(|()| forever::<()>(), ()).unwrap();
            let number = match signal {
                "kill" => child.kill().map(|()| libc::SIGKILL),
                "terminate" => child.terminate().map(|()| libc::SIGTERM),
                _ => child.interrupt().map(|()| libc::SIGINT),
            };
            assert_eq!(
                child.join(),
                Err(JoinError::Killed { signal: number.unwrap(), core_dumped: false }),
                "{signal}"
            );
        }
    });
}

#[test]
fn join_can_be_tried_and_timed_and_gives_the_result_once() {
    isolated(|| {
        let (mut go, wait_for_it) = ipc_pipe::duplex::<(), ()>().unwrap();
        let mut child = Process::spawn(
            |mut wait_for_it: ipc_pipe::Connection<(), ()>| {
                wait_for_it.recv().unwrap();
                "done".to_string()
            },
            wait_for_it,
        )
        .unwrap();
        assert_eq!(child.try_join(), Err(JoinError::Timeout));
        let started = Instant::now();
        assert_eq!(child.join_timeout(Duration::from_millis(50)), Err(JoinError::Timeout));
        assert!(started.elapsed() >= Duration::from_millis(50));
        assert!(child.is_alive() && child.exit_status().is_none());
        go.send(()).unwrap();
        assert_eq!(child.join_timeout(Duration::MAX), Ok("done".into()));
        assert_eq!(child.join_timeout(Duration::MAX), Err(JoinError::Joined));
        assert!(child.exit_status().unwrap().success() && !child.is_alive());
        // Signals to a process that has ended do nothing.
        child.kill().unwrap();
    });
}

#[test]
fn join_of_a_stopped_process_times_out_and_its_kill_ends_it() {
    isolated(|| {
        let mut child = Builder::new().env(raw::STALL, "1").spawn(|()| (), ()).unwrap();
        eventually("the child stops", || state(child.pid()) == Some('T'));
        assert_eq!(child.join_timeout(Duration::from_millis(20)), Err(JoinError::Timeout));
        child.kill().unwrap();
        assert_eq!(child.join(), Err(JoinError::Killed { signal: libc::SIGKILL, core_dumped: false }));
    });
}

#[test]
fn long_arguments_and_results_pass() {
    isolated(|| {
        let child = Process::spawn(
            |mut bytes: Vec<u64>| {
                bytes.reverse();
                bytes
            },
            (0..2_000_000u64).collect(),
        )
        .unwrap();
        let result = child.join().unwrap();
        assert!(result.iter().rev().copied().eq(0..2_000_000));
    });
}

#[test]
fn a_long_result_that_nobody_wants_does_not_keep_the_process() {
    isolated(|| {
        for daemon in [false, true] {
            let child = Builder::new().daemon(daemon).spawn(|()| vec![7u8; 4 << 20], ()).unwrap();
            let known = (*child).clone();
            drop(child);
            assert_eq!(wait(&[&known], Duration::from_secs(20)).unwrap(), [0], "daemon: {daemon}");
        }
        // In a scope it is received, so that the scope can end.
        scope(|scope| drop(scope.spawn(|()| vec![7u8; 4 << 20], ()).unwrap())).unwrap();
    });
}

#[test]
fn spawns_nest_and_names_follow() {
    isolated(|| {
        fn down(n: u32) -> Vec<String> {
            let mut names = if n == 0 { vec![] } else { Process::spawn(down, n - 1).unwrap().join().unwrap() };
            names.push(current_process().name().to_string());
            names
        }
        // The test itself is a process of the name "test", the first child of the main process.
        let outer = Process::spawn(down, 2).unwrap();
        let name = outer.name().to_string();
        let path = name.strip_prefix("Process-").unwrap();
        assert!(path.ends_with(":1"), "{name}");
        assert_eq!(outer.join().unwrap(), [format!("{name}:1:1"), format!("{name}:1"), name.clone()]);
        let child = Builder::new().name("a name").spawn(|()| current_process().name().to_string(), ()).unwrap();
        assert_eq!(child.name(), "a name");
        assert_eq!(child.join().unwrap(), "a name");
        let second = Process::spawn(|()| (), ()).unwrap();
        assert!(second.name().ends_with(":3"), "{}", second.name());
        second.join().unwrap();
    });
}

#[test]
fn a_child_outlives_the_thread_that_spawned_it() {
    isolated(|| {
        let (mut ours, theirs) = ipc_pipe::duplex::<u32, u32>().unwrap();
        let child = std::thread::spawn(|| {
            Builder::new()
                .daemon(true)
                .spawn(
                    |mut conn: ipc_pipe::Connection<u32, u32>| {
                        while let Ok(n) = conn.recv() {
                            conn.send(n + 1).unwrap();
                        }
                    },
                    theirs,
                )
                .unwrap()
        })
        .join()
        .unwrap();
        for n in 0..10 {
            ours.send(n).unwrap();
            assert_eq!(ours.recv().unwrap(), n + 1);
        }
        drop(ours);
        child.join().unwrap();
    });
}

#[test]
fn many_threads_spawn_at_once() {
    isolated(|| {
        std::thread::scope(|threads| {
            for t in 0..8u64 {
                threads.spawn(move || {
                    for n in 0..5 {
                        // With threads in the child, too.
                        let child = Process::spawn(
                            |(t, n): (u64, u64)| std::thread::spawn(move || t * 100 + n).join().unwrap(),
                            (t, n),
                        );
                        assert_eq!(child.unwrap().join(), Ok(t * 100 + n));
                    }
                });
            }
        });
    });
}

#[test]
fn arguments_that_cannot_be_encoded_start_no_process() {
    isolated(|| {
        #[derive(Debug)]
        struct Stubborn;
        impl Serialize for Stubborn {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }
        impl<'de> Deserialize<'de> for Stubborn {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Stubborn, D::Error> {
                match bool::deserialize(deserializer)? {
                    true => panic!("in deserialize"),
                    false => Err(serde::de::Error::custom("no")),
                }
            }
        }
        assert!(matches!(Process::spawn(|_: Stubborn| (), Stubborn), Err(Error::Encode(_))));
        assert_eq!(children(std::process::id()), []);

        // What cannot be decoded in the child, and what it cannot send back, is told.
        #[derive(Debug)]
        struct Lopsided(bool);
        impl Serialize for Lopsided {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }
        impl<'de> Deserialize<'de> for Lopsided {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Lopsided, D::Error> {
                Stubborn::deserialize(deserializer).map(|_| Lopsided(false))
            }
        }
        let Err(JoinError::Transfer(why)) = Process::spawn(|_: Lopsided| (), Lopsided(false)).unwrap().join() else {
            panic!()
        };
        assert!(why.contains("arguments"), "{why}");
        let Err(JoinError::Panicked { message, .. }) = Process::spawn(|_: Lopsided| (), Lopsided(true)).unwrap().join()
        else {
            panic!()
        };
        assert_eq!(message, "in deserialize");
        let Err(JoinError::Transfer(why)) = Process::spawn(|()| Stubborn, ()).unwrap().join() else { panic!() };
        assert!(why.contains("send the result"), "{why}");
    });
}

#[test]
fn a_dropped_process_goes_on_and_leaves_no_zombie() {
    isolated(|| {
        let (mut ours, theirs) = ipc_pipe::duplex::<(), u32>().unwrap();
        let long = Process::spawn(
            |mut conn: ipc_pipe::Connection<u32, ()>| {
                conn.send(1).unwrap();
                conn.recv().unwrap();
                conn.send(2).unwrap();
            },
            theirs,
        )
        .unwrap();
        let long_pid = long.pid();
        drop(long);
        // Others that end while the first one is being waited for are reaped at once.
        for _ in 0..5 {
            drop(Process::spawn(|()| (), ()).unwrap());
        }
        eventually("the short ones are reaped", || {
            let left = children(std::process::id());
            left.len() == 1 && left[0].0 == long_pid
        });
        assert_eq!(ours.recv().unwrap(), 1);
        ours.send(()).unwrap();
        assert_eq!(ours.recv().unwrap(), 2);
        eventually("the long one is reaped", || children(std::process::id()).is_empty());
    });
}

#[test]
fn active_children_are_those_that_run() {
    isolated(|| {
        let names = || {
            let mut names: Vec<_> = active_children().iter().map(|child| child.name().to_string()).collect();
            names.sort();
            names
        };
        let one = Builder::new().name("one").spawn(|()| forever::<()>(), ()).unwrap();
        let two = Builder::new().name("two").spawn(|()| forever::<()>(), ()).unwrap();
        assert_eq!(names(), ["one", "two"]);
        one.kill().unwrap();
        assert!(one.join().is_err());
        assert_eq!(names(), ["two"]);
        active_children()[0].kill().unwrap();
        assert_eq!(wait(&[&two], Duration::MAX).unwrap(), [0]);
        assert_eq!(names(), [""; 0]);
        assert!(two.join().is_err());
    });
}

#[test]
fn a_child_knows_its_parent_and_sees_its_end() {
    isolated(|| {
        let me = std::process::id();
        let child = Process::spawn(
            |()| {
                let parent = parent_process().unwrap().unwrap();
                (parent.pid(), parent.is_alive())
            },
            (),
        );
        assert_eq!(child.unwrap().join(), Ok((me, true)));

        // A parent that is killed: its child tells the test, over a connection that was passed on.
        let (mut ours, theirs) = ipc_pipe::duplex::<(), bool>().unwrap();
        let parent = Process::spawn(
            |theirs: ipc_pipe::Connection<bool, ()>| {
                let _child = Process::spawn(
                    |mut theirs: ipc_pipe::Connection<bool, ()>| {
                        let parent = parent_process().unwrap().unwrap();
                        let sentinel = parent.sentinel().unwrap();
                        theirs.send(parent.is_alive()).unwrap();
                        wait(&[&sentinel], Duration::MAX).unwrap();
                        theirs.send(parent.is_alive()).unwrap();
                    },
                    theirs,
                );
                forever::<()>()
            },
            theirs,
        )
        .unwrap();
        assert!(ours.recv().unwrap());
        parent.kill().unwrap();
        assert!(!ours.recv().unwrap());
        assert!(parent.join().is_err());
        assert!(ours.recv().unwrap_err().is_disconnected());
    });
}

#[test]
fn join_returns_though_another_process_holds_the_dead_ones_descriptors() {
    isolated(|| {
        let (until, held) = std::os::unix::net::UnixStream::pair().unwrap();
        let child = Process::spawn(
            |held: ipc_core::Handle| -> () {
                raw::fork_idle(held.into_fd().unwrap());
                std::process::abort()
            },
            ipc_core::Handle::from(held),
        )
        .unwrap();
        assert!(matches!(child.join(), Err(JoinError::Killed { signal: libc::SIGABRT, .. })));
        drop(until); // ends the forked one, which is nobody's child any more
    });
}

#[test]
fn a_program_that_ignores_sigchld_gets_results_and_a_clear_error() {
    isolated(|| {
        raw::ignore_sigchld();
        for _ in 0..20 {
            assert_eq!(Process::spawn(add, (1, 2)).unwrap().join(), Ok(3));
        }
        let child = Process::spawn(|()| std::process::exit(1), ()).unwrap();
        assert_eq!(child.join(), Err::<(), _>(JoinError::StatusTaken));
    });
}

#[test]
fn a_scope_waits_for_all_and_reports_who_failed() {
    isolated(|| {
        let sum = scope(|scope| {
            let workers: Vec<_> = (0..4u64).map(|n| scope.spawn(|n: u64| n * n, n).unwrap()).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>()
        });
        assert_eq!(sum, Ok(14));

        let failed = scope(|scope| {
            drop(scope.spawn(|()| 1, ()).unwrap());
            drop(scope.spawn(|()| -> u8 { panic!("scoped") }, ()).unwrap());
        });
        assert!(matches!(failed, Err(JoinError::Panicked { message, .. }) if message == "scoped"));
        let failed = scope(|scope| drop(scope.spawn(|()| std::process::exit(9), ()).map(|p: Process<()>| p)));
        assert_eq!(failed, Err(JoinError::Exited { code: 9 }));
        // What was joined has been told.
        assert_eq!(scope(|scope| scope.spawn(|()| -> u8 { panic!("seen") }, ()).unwrap().join().is_err()), Ok(true));
        // A panic of the block does not leave processes either.
        let panicked = std::panic::catch_unwind(|| {
            scope(|scope| {
                let (_, theirs) = ipc_pipe::duplex::<(), ()>().unwrap();
                drop(scope.spawn(|mut conn: ipc_pipe::Connection<(), ()>| conn.recv().is_err(), theirs).unwrap());
                panic!("the block")
            })
        });
        assert!(panicked.is_err());
        assert_eq!(children(std::process::id()), []);
        // A process may be joined after its scope.
        let mut kept = None;
        scope(|scope| kept = Some(scope.spawn(|()| vec![1u8; 1 << 20], ()).unwrap())).unwrap();
        assert_eq!(kept.unwrap().join().unwrap().len(), 1 << 20);
    });
}

#[test]
fn a_long_result_does_not_keep_its_process_from_ending() {
    isolated(|| {
        // So one can wait for the end of any of several, and join that one.
        let child = Process::spawn(|()| vec![7u8; 1 << 20], ()).unwrap();
        assert_eq!(wait(&[&child], Duration::from_secs(20)).unwrap(), [0]);
        assert_eq!(child.join().unwrap(), vec![7u8; 1 << 20]);

        // With handles in it.
        let child = Process::spawn(
            |()| {
                let file = |text: &str| {
                    let mut file = tempfile::tempfile().unwrap();
                    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
                    std::io::Seek::rewind(&mut file).unwrap();
                    ipc_core::Handle::from(file)
                };
                (file("one"), "x".repeat(1 << 20), file("two"))
            },
            (),
        )
        .unwrap();
        assert_eq!(wait(&[&child], Duration::from_secs(20)).unwrap(), [0]);
        let (one, text, two) = child.join().unwrap();
        let read =
            |handle: ipc_core::Handle| std::io::read_to_string(std::fs::File::from(handle.into_fd().unwrap())).unwrap();
        assert_eq!((read(one).as_str(), text.len(), read(two).as_str()), ("one", 1 << 20, "two"));
    });
}

#[test]
fn a_real_time_signal_is_told_as_any_other() {
    isolated(|| {
        let child = Process::spawn(
            |()| -> () {
                raw::raise(libc::SIGRTMIN());
            },
            (),
        );
        assert!(matches!(child.unwrap().join(), Err(JoinError::Killed { signal, .. }) if signal == libc::SIGRTMIN()));
    });
}

#[test]
fn a_thread_that_keeps_standard_output_locked_does_not_keep_the_process() {
    isolated(|| {
        let child = Process::spawn(
            |()| {
                let (locked, is_locked) = std::sync::mpsc::channel();
                std::thread::spawn(move || {
                    let _lock = std::io::stdout().lock();
                    locked.send(()).unwrap();
                    forever::<()>()
                });
                is_locked.recv().unwrap();
                1
            },
            (),
        );
        assert_eq!(child.unwrap().join_timeout(Duration::from_secs(20)), Ok(1));
    });
}

#[test]
fn a_panic_where_standard_error_cannot_be_written_is_a_panic() {
    isolated(|| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = Builder::new().core_dumps(false).stderr(full).spawn(|()| -> () { panic!("why") }, ());
        assert!(matches!(child.unwrap().join(), Err(JoinError::Panicked { message, .. }) if message == "why"));
    });
}

#[test]
fn while_a_scope_waits_a_process_can_be_tried() {
    isolated(|| {
        let (mut go, wait_for_it) = ipc_pipe::duplex::<(), ()>().unwrap();
        let tried = scope(|scope| {
            let mut child =
                scope.spawn(|mut conn: ipc_pipe::Connection<(), ()>| conn.recv().is_ok(), wait_for_it).unwrap();
            std::thread::spawn(move || {
                let started = Instant::now();
                while started.elapsed() < Duration::from_millis(100) {
                    assert_eq!(child.try_join(), Err(JoinError::Timeout));
                }
                go.send(()).unwrap();
                child.join()
            })
        });
        assert_eq!(tried.unwrap().join().unwrap(), Ok(true));
    });
}

#[test]
fn a_forked_copy_takes_nothing_away() {
    isolated(|| {
        let (mut ours, theirs) = ipc_pipe::duplex::<(), ()>().unwrap();
        let child = Process::spawn(|mut conn: ipc_pipe::Connection<(), ()>| conn.recv().map(|()| 42).unwrap(), theirs);
        let child = child.unwrap();
        let (near, mut far) = ipc_pipe::duplex::<u32, u32>().unwrap();
        let (sender, _receiver) = near.split();
        let (child, mut sender) = raw::drop_in_forked_copy((child, sender));
        ours.send(()).unwrap();
        assert_eq!(child.join(), Ok(42));
        sender.send(1).unwrap();
        assert_eq!(far.recv().unwrap(), 1);
    });
}
