//! Programs at the other end that know nothing of records, and two FIFOs as a connection.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use ipc_fifo::{Connection, connect_timeout};
use ipc_tests::isolated;

use super::*;

/// A shell that does something with the FIFO, which is its `$1`.
fn shell(script: &str, fifo: &Fifo) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(fifo.path()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// What it has printed, when it has ended well.
fn printed(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_foreign_program_reads_what_is_written_whoever_comes_first() {
    isolated(|| {
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        for foreign_first in [true, false] {
            let cat = || shell("exec cat \"$1\"", &fifo);
            let early = foreign_first.then(cat);
            if let Some(cat) = &early {
                until_asleep(cat.id());
            }
            let (mut end, cat) = std::thread::scope(|scope| {
                let opening = scope.spawn(|| fifo.write_end_timeout(LONG).unwrap());
                let cat = early.unwrap_or_else(cat);
                (opening.join().unwrap(), cat)
            });
            write!(end, "hello").unwrap();
            drop(end);
            assert_eq!(printed(cat), "hello");
        }
    });
}

#[test]
fn what_a_foreign_program_writes_is_read_to_its_end_whoever_comes_first() {
    isolated(|| {
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        for foreign_first in [true, false] {
            let echo = || shell("echo hello > \"$1\"; echo done", &fifo);
            let early = foreign_first.then(echo);
            if let Some(echo) = &early {
                until_asleep(echo.id());
            }
            let (mut end, echo) = std::thread::scope(|scope| {
                let opening = scope.spawn(|| fifo.read_end_timeout(LONG).unwrap());
                let echo = early.unwrap_or_else(echo);
                (opening.join().unwrap(), echo)
            });
            let mut text = String::new();
            end.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello\n");
            assert_eq!(printed(echo), "done\n");
        }
    });
}

#[test]
fn what_is_no_record_is_said_so_once_and_the_records_around_it_arrive() {
    isolated(|| {
        let fifo = Fifo::create(free_path(), 0o600).unwrap();
        let mut log: Log = fifo.lasting_reader().unwrap();
        let mut pen: Pen = fifo.writer_timeout(LONG).unwrap();
        pen.send(message(0, 0)).unwrap();
        printed(shell("echo what is this > \"$1\"", &fifo));
        pen.send(message(0, 2)).unwrap();
        assert_eq!(log.recv_timeout(LONG).unwrap(), message(0, 0));
        let result = log.recv_timeout(LONG);
        assert!(matches!(result, Err(Error::Garbage { bytes: 13 })), "{result:?}");
        assert_eq!(log.recv_timeout(LONG).unwrap(), message(0, 2));
        assert!(matches!(log.try_recv(), Err(Error::WouldBlock)));
    });
}

#[test]
fn two_fifos_are_a_connection_that_ends_with_the_process_at_the_other_end() {
    isolated(|| {
        type Plain = Connection<Vec<u8>, Vec<u8>, Bytes>;
        let (to, from) = (Fifo::create(free_path(), 0o600).unwrap(), Fifo::create(free_path(), 0o600).unwrap());
        for killed in [false, true] {
            let mut other = Other::start((to.share(), from.share()), |(input, output): (Fifo, Fifo), line| {
                let mut conn: Plain = connect_timeout(&input, &output, LONG).unwrap();
                for _ in 0..20 {
                    let message = conn.recv_timeout(LONG).unwrap();
                    conn.send_timeout(message, LONG).unwrap();
                }
                line.tell_and_wait();
            });
            let mut conn: Plain = connect_timeout(&from, &to, LONG).unwrap();
            for n in 0..20 {
                let sent = message(0, n);
                conn.send_timeout(&sent, LONG).unwrap();
                assert!(conn.recv_timeout(LONG).unwrap() == sent);
            }
            other.reached();
            let started = Instant::now();
            if killed {
                other.kill()
            } else {
                other.finish()
            }
            assert!(conn.recv_timeout(LONG).is_err_and(|error| error.is_disconnected()));
            assert!(conn.send_timeout(vec![1], LONG).is_err_and(|error| error.is_disconnected()));
            assert!(started.elapsed() < 2 * SOON);
        }
    });
}

#[test]
fn one_who_is_started_again_is_not_taken_for_the_one_who_was_killed() {
    isolated(|| {
        type Plain = Connection<Vec<u8>, Vec<u8>, Bytes>;
        let (to, from) = (Fifo::create(free_path(), 0o600).unwrap(), Fifo::create(free_path(), 0o600).unwrap());
        let start = |who: u8| {
            Other::start((to.share(), from.share(), who), |(input, output, who): (Fifo, Fifo, u8), line| {
                let mut conn: Plain = connect_timeout(&input, &output, LONG).unwrap();
                conn.send_timeout(vec![who], LONG).unwrap();
                line.tell();
                conn.send(vec![who; HUGE]).unwrap();
                line.tell_and_wait();
            })
        };
        let mut other = start(0);
        let mut conn: Plain = connect_timeout(&from, &to, LONG).unwrap();
        for who in 1..4 {
            other.reached();
            until_asleep(other.pid()); // within its message, as nobody reads
            other.kill();
            let mut next = start(who);
            // It does not come in, as long as this side has not seen the end of the other one.
            let result = next.line.recv_timeout(4 * SHORT);
            assert!(result.as_ref().is_err_and(|error| error.is_timeout()), "{result:?}");
            assert_eq!(conn.recv_timeout(LONG).unwrap(), [who - 1]);
            let result = conn.recv_timeout(LONG);
            assert!(matches!(result, Err(ipc_core::Error::Truncated { .. })), "{result:?}");
            assert!(conn.send_timeout(vec![1], LONG).unwrap_err().is_disconnected());
            drop(conn);
            conn = connect_timeout(&from, &to, LONG).unwrap();
            other = next;
        }
        other.reached();
        assert_eq!(conn.recv_timeout(LONG).unwrap(), [3]);
        assert!(conn.recv_timeout(LONG).unwrap() == vec![3; HUGE]);
        other.reached();
        other.finish();
    });
}

#[test]
fn one_who_is_stopped_in_an_old_connection_is_waited_for_no_longer_than_wanted() {
    isolated(|| {
        type Plain = Connection<Vec<u8>, Vec<u8>, Bytes>;
        let (to, from) = (Fifo::create(free_path(), 0o600).unwrap(), Fifo::create(free_path(), 0o600).unwrap());
        let other = Other::start((to.share(), from.share()), |(input, output): (Fifo, Fifo), _| {
            for _ in 0..2 {
                let mut conn: Plain = connect_timeout(&input, &output, LONG).unwrap();
                while let Ok(message) = conn.recv_timeout(LONG) {
                    conn.send_timeout(message, LONG).unwrap();
                }
            }
        });
        let mut conn: Plain = connect_timeout(&from, &to, LONG).unwrap();
        conn.send(vec![1]).unwrap();
        assert_eq!(conn.recv_timeout(LONG).unwrap(), [1]);
        other.stop();
        drop(conn);
        let started = Instant::now();
        let result = connect_timeout::<Vec<u8>, Vec<u8>, Bytes>(&from, &to, 2 * SHORT);
        assert!(matches!(result, Err(Error::Timeout)), "{result:?}");
        assert!(started.elapsed() < 2 * SHORT + SOON);
        other.wake();
        let mut conn: Plain = connect_timeout(&from, &to, LONG).unwrap();
        conn.send(vec![2]).unwrap();
        assert_eq!(conn.recv_timeout(LONG).unwrap(), [2]);
        drop(conn);
        other.finish();
    });
}
