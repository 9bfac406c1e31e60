//! Two hosts, as far as the kernel can play them: network namespaces with a cable between them, which is cut.

use std::process::{Command, Stdio};
use std::sync::mpsc;

use ipc_tests::isolated;
use nix::sched::{CloneFlags, unshare};

use super::*;

// Addresses for documentation, which nobody has.
const FIRST: &str = "192.0.2.1";
const SECOND: &str = "192.0.2.2";
const SERVER: &str = "tcp:192.0.2.1:5000";
const USER_TIMEOUT: Duration = Duration::from_secs(2);
/// With room for the time between two probes, and a loaded machine.
const NOTICED: Duration = Duration::from_secs(2 + 8);

/// How the hosts lose each other.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Cut {
    /// The cable: one host has no way to the other any more, and its kernel knows.
    Cable,
    /// Somewhere on the way: what is sent does not come, and nobody says so.
    OnTheWay,
}

/// Runs `ip`; words are separated by spaces.
fn ip(words: &str) -> Result<(), String> {
    match Command::new("ip").args(words.split(' ')).stdin(Stdio::null()).output() {
        Err(error) => Err(format!("there is no `ip`: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("`ip {words}`: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Puts this thread, and so whatever it starts, on a host of its own.
fn enter_host() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("no right to a network namespace: {errno}"))
}

fn lay_cable() -> Result<(), String> {
    ip("link add name here type veth peer name there")
}

/// Whether two hosts can be made; if not, says that the test is not run.
fn can_be_played() -> bool {
    let tried = Process::spawn(|()| enter_host().and_then(|()| lay_cable()), ()).unwrap().join().unwrap();
    if let Err(reason) = &tried {
        println!("not run: {reason}");
    }
    tried.is_ok()
}

fn plug_in(device: &str, address: &str) {
    ip(&format!("address add {address}/24 dev {device}")).unwrap();
    ip(&format!("link set {device} up")).unwrap();
}

/// The host that has the server: lays a cable to the other one.
fn first_host(other: u32, line: &mut Line) -> Server {
    enter_host().unwrap();
    lay_cable().unwrap();
    ip(&format!("link set there netns {other}")).unwrap();
    plug_in("here", FIRST);
    let listener = with_key().user_timeout(USER_TIMEOUT).bind(SERVER).unwrap();
    line.tell_and_wait();
    listener
}

/// The host that has the client; its end of the cable is there when the line says so.
fn second_host(line: &mut Line) -> ClientBuilder {
    enter_host().unwrap();
    line.tell_and_wait();
    plug_in("there", SECOND);
    line.tell_and_wait();
    keyed().user_timeout(USER_TIMEOUT)
}

/// Both hosts, each doing its part, as soon as they can reach each other.
fn hosts<T, F, G>(given: T, first: F, second: G) -> (Other, Other)
where
    T: Serialize + DeserializeOwned + Copy + 'static,
    F: Fn(T, &Server, &mut Line) + Copy + Send + 'static,
    G: Fn(T, &ClientBuilder, &mut Line) + Copy + Send + 'static,
{
    let mut two = Other::until(given, move |given, line| {
        let builder = second_host(line);
        second(given, &builder, line);
    });
    let mut one = Other::until((given, two.pid()), move |(given, other): (T, u32), line| {
        let listener = first_host(other, line);
        first(given, &listener, line);
    });
    two.go_on();
    two.reached();
    one.go_on();
    two.go_on();
    (one, two)
}

/// Lets both go on when both have come as far as that.
fn in_step(one: &mut Other, two: &mut Other) {
    one.reached();
    two.reached();
    one.go_on();
    two.go_on();
}

/// Has each connection send, or only wait, until it ends, and checks how and when.
fn suffer(conns: Vec<Plain>, sends: fn(usize) -> bool) {
    let (sender, ends) = mpsc::channel();
    let since = Instant::now();
    for (n, mut conn) in conns.into_iter().enumerate() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let error = match sends(n) {
                true => loop {
                    if let Err(error) = conn.send_timeout(vec![1; 1000], LONG) {
                        break error;
                    }
                },
                false => conn.recv_timeout(LONG).unwrap_err(),
            };
            sender.send((n, error, since.elapsed())).unwrap();
        });
    }
    drop(sender);
    for (n, error, took) in ends {
        let what = if sends(n) { "sends" } else { "waits" };
        assert!(error.is_disconnected(), "who {what} has {error:?} after {took:?}");
        assert!(took < NOTICED, "who {what} has it after {took:?}");
    }
}

#[test]
fn a_host_that_is_lost_is_noticed_in_time_by_who_sends_and_by_who_only_waits() {
    isolated(|| {
        if !can_be_played() {
            return;
        }
        for cut in [Cut::Cable, Cut::OnTheWay] {
            let (mut one, mut two) = hosts(
                cut,
                |cut, listener, line| {
                    let mut conns: Vec<Plain> = (0..4).map(|_| listener.accept_timeout(LONG).unwrap()).collect();
                    for conn in &mut conns {
                        let message = conn.recv_timeout(LONG).unwrap();
                        conn.send(message).unwrap();
                    }
                    line.tell_and_wait();
                    match cut {
                        Cut::Cable => ip("link set here down").unwrap(),
                        Cut::OnTheWay => mislead("here", SECOND),
                    }
                    line.tell_and_wait();
                    suffer(conns, |n| n & 1 == 1);
                    assert!(listener.try_accept().is_err_and(|error| error.is_would_block()));
                },
                |cut, builder, line| {
                    let mut conns: Vec<Plain> =
                        (0..4).map(|_| builder.connect_timeout(SERVER, LONG).unwrap()).collect();
                    conns.iter_mut().for_each(talk);
                    line.tell_and_wait();
                    if cut == Cut::OnTheWay {
                        mislead("there", FIRST);
                    }
                    line.tell_and_wait();
                    let started = Instant::now();
                    let result = builder.connect_timeout::<(), (), Bytes, _>(SERVER, SHORT);
                    assert!(result.as_ref().is_err_and(Error::is_timeout), "{:?}", result.err());
                    assert!(started.elapsed() >= SHORT && started.elapsed() < SOON);
                    suffer(conns, |n| n & 2 == 2);
                },
            );
            for _ in 0..2 {
                in_step(&mut one, &mut two);
            }
            one.finish();
            two.finish();
        }
    });
}

/// Has everything for the other host go to somebody who is not there.
fn mislead(device: &str, other: &str) {
    ip(&format!("neighbour replace {other} lladdr 02:00:00:00:00:99 dev {device} nud permanent")).unwrap();
}

#[test]
fn a_cable_that_is_plugged_in_again_in_time_loses_nothing() {
    isolated(|| {
        if !can_be_played() {
            return;
        }
        let (mut one, mut two) = hosts(
            (),
            |(), listener, line| {
                let mut conn = listener.accept_timeout(LONG).unwrap();
                let message = conn.recv_timeout(LONG).unwrap();
                conn.send(message).unwrap();
                ip("link set here down").unwrap();
                line.tell_and_wait();
                conn.send(b"from the first".to_vec()).unwrap();
                assert!(conn.recv_timeout(SHORT).is_err_and(|error| error.is_timeout()));
                line.tell_and_wait(); // both have sent
                ip("link set here up").unwrap();
                assert_eq!(conn.recv_timeout(LONG).unwrap(), b"from the second");
                line.tell_and_wait();
            },
            |(), builder, line| {
                let mut conn: Plain = builder.connect_timeout(SERVER, LONG).unwrap();
                talk(&mut conn);
                line.tell_and_wait(); // it is cut
                conn.send(b"from the second".to_vec()).unwrap();
                line.tell_and_wait();
                assert_eq!(conn.recv_timeout(LONG).unwrap(), b"from the first");
                line.tell_and_wait();
            },
        );
        for _ in 0..3 {
            in_step(&mut one, &mut two);
        }
        one.finish();
        two.finish();
    });
}
