//! Who ends with whom: daemons with their parent, others not, and nobody hangs when a parent dies in between.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_core::{Builder, Error, Handle, Process, wait};
use ipc_pipe::Connection;
use ipc_tests::{children, eventually, isolated, raw, state};

/// Sends the pid of a grandchild, which holds its end of the connection as long as it lives.
fn parent_of(daemon: bool, detached: bool, mut tell: Connection<u32, ()>) -> ! {
    let (_keep, held) = UnixStream::pair().unwrap();
    let (mut started, starts) = ipc_pipe::duplex::<(), Connection<u32, ()>>().unwrap();
    let child = Builder::new()
        .daemon(daemon)
        .spawn(
            |(mut starts, _held): (Connection<Connection<u32, ()>, ()>, Handle)| {
                let () = starts.recv().unwrap();
                drop(starts);
                loop {
                    std::thread::park();
                }
            },
            (starts, Handle::from(held)),
        )
        .map(|child: Process<()>| child)
        .unwrap();
    started.send(()).unwrap();
    tell.send(child.pid()).unwrap();
    if detached {
        drop(child);
    }
    tell.recv().unwrap();
    // Without destructors: it ends as it would when killed, but by itself.
    std::process::exit(0)
}

/// Starts a parent with a child, ends the parent, and returns whether the child then lives on.
fn child_survives(daemon: bool, detached: bool, killed: bool) -> bool {
    let (mut tell, told) = ipc_pipe::duplex::<(), u32>().unwrap();
    let parent = Process::spawn(
        |(daemon, detached, told): (bool, bool, Connection<u32, ()>)| -> () { parent_of(daemon, detached, told) },
        (daemon, detached, told),
    )
    .unwrap();
    let child = tell.recv().unwrap();
    assert!(matches!(state(child), Some('S' | 'R')));
    if killed {
        parent.kill().unwrap();
    } else {
        tell.send(()).unwrap();
    }
    wait(&[&parent], Duration::MAX).unwrap();
    assert!(parent.join().is_err());
    if daemon {
        eventually("the daemon has ended", || matches!(state(child), None | Some('Z')));
    }
    // It is nobody's child in this process, so it is not waited for, but ended if it must be.
    let survives = matches!(state(child), Some('S' | 'R'));
    if survives {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child as i32), nix::sys::signal::SIGKILL).unwrap();
        eventually("the child has ended", || matches!(state(child), None | Some('Z')));
    }
    survives
}

#[test]
fn daemons_end_with_their_parent_however_it_ends() {
    isolated(|| {
        for (detached, killed) in [(false, false), (false, true), (true, false), (true, true)] {
            assert!(!child_survives(true, detached, killed), "detached: {detached}, killed: {killed}");
        }
    });
}

#[test]
fn others_go_on_when_their_parent_ends() {
    isolated(|| {
        for (detached, killed) in [(false, false), (false, true), (true, false), (true, true)] {
            assert!(child_survives(false, detached, killed), "detached: {detached}, killed: {killed}");
        }
    });
}

#[test]
fn a_child_whose_parent_died_before_the_arguments_came_ends() {
    isolated(|| {
        // More than fits into the socket, to a child that is stopped at its very beginning: the parent is killed in the middle.
        let parent = Process::spawn(
            |()| -> () {
                let child = Builder::new().env(raw::STALL, "1").spawn(|_: Vec<u8>| (), vec![1u8; 8 << 20]);
                drop(child);
            },
            (),
        )
        .unwrap();
        let mut child = 0;
        eventually("the grandchild stops", || match children(parent.pid())[..] {
            [(pid, 'T')] => {
                child = pid;
                true
            }
            _ => false,
        });
        parent.kill().unwrap();
        assert!(parent.join().is_err());
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child as i32), nix::sys::signal::SIGCONT).unwrap();
        eventually("the grandchild has ended", || matches!(state(child), None | Some('Z')));
    });
}

#[test]
fn arguments_that_a_stopped_child_does_not_take_time_out() {
    isolated(|| {
        let builder = Builder::new().env(raw::STALL, "1").handover_timeout(Duration::from_millis(50));
        let error = builder.spawn(|_: Vec<u8>| (), vec![1u8; 8 << 20]).unwrap_err();
        assert!(matches!(error, Error::Timeout | Error::Unfinished { .. }), "{error}");
        assert_eq!(children(std::process::id()), [], "the child is killed and reaped");
    });
}

#[test]
fn a_child_killed_before_or_while_it_takes_its_arguments_is_told_by_join() {
    isolated(|| {
        let victims = std::thread::spawn(|| {
            // Kills what stops, as soon as it does.
            for _ in 0..6 {
                let mut victim = 0;
                eventually("a child stops", || {
                    let stopped = children(std::process::id()).into_iter().find(|(_, state)| *state == 'T');
                    victim = stopped.map_or(0, |(pid, _)| pid);
                    victim != 0
                });
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim as i32), nix::sys::signal::SIGKILL).unwrap();
                eventually("it is gone", || state(victim) != Some('T'));
            }
        });
        for len in [0, 8 << 20, 0, 8 << 20, 100, 1 << 20] {
            let child =
                Builder::new().env(raw::STALL, "1").spawn(|bytes: Vec<u8>| bytes.len(), vec![1u8; len]).unwrap();
            let killed = ipc_core::JoinError::Killed { signal: libc::SIGKILL, core_dumped: false };
            assert_eq!(child.join(), Err(killed), "{len} bytes");
        }
        victims.join().unwrap();
    });
}
