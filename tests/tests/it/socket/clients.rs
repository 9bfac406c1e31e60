//! Clients that are killed or stopped, at every step on their way in.

use std::sync::mpsc;

use ipc_tests::isolated;

use super::*;

/// How far a client comes.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Step {
    Connected,
    Challenged,
    HalfAnswered,
    AlmostAnswered,
    In,
}

const STEPS: [Step; 5] = [Step::Connected, Step::Challenged, Step::HalfAnswered, Step::AlmostAnswered, Step::In];

/// A client in a process of its own, that stays where it has come to.
fn client(address: &Address, step: Step) -> Other {
    Other::start((address.clone(), step), |(address, step): (Address, Step), line| {
        if step == Step::In {
            let mut conn: Plain = keyed().connect_timeout(address, LONG).unwrap();
            talk(&mut conn);
            return line.tell_and_wait();
        }
        let mut raw = Raw::connect(&address);
        if step != Step::Connected {
            assert!(raw.frame().unwrap().starts_with(b"#CHALLENGE#"));
        }
        match step {
            Step::HalfAnswered => raw.write_all(&[0, 0, 0, 40, b'{', b's']).unwrap(),
            // As long as an answer may be, and wrong only once the last byte has come.
            Step::AlmostAnswered => raw.write_all(&[&[0, 0, 0, 40][..], b"{sha256}", &[7; 31]].concat()).unwrap(),
            _ => {}
        }
        line.tell_and_wait();
    })
}

/// A listener that tells of every client it does not let in.
fn guarded(builder: ListenerBuilder, address: &Address) -> (Server, mpsc::Receiver<Error>) {
    let (sender, refusals) = mpsc::channel();
    let tell = sender;
    // Errors cannot be copied, but made again.
    let listener = builder.on_refused(move |refusal| {
        let kind = match &refusal.error {
            Error::Disconnected => Error::Disconnected,
            Error::Timeout => Error::Timeout,
            other => panic!("{other:?}"),
        };
        let _ = tell.send(kind);
    });
    (listener.bind(address).unwrap(), refusals)
}

/// Accepts, with nobody there who could come in, until as many have been refused.
fn refused(listener: &Server, refusals: &mpsc::Receiver<Error>, n: usize) -> Vec<Error> {
    let mut all = Vec::new();
    eventually("they are refused", || {
        assert!(listener.accept_timeout(SHORT / 10).is_err_and(|error| error.is_timeout()));
        all.extend(refusals.try_iter());
        all.len() >= n
    });
    all
}

#[test]
fn a_client_killed_at_any_step_holds_up_nobody_and_leaves_nothing() {
    isolated(|| {
        for address in everywhere() {
            let (listener, refusals) = guarded(with_key(), &address);
            serve_one(&listener, &address);
            let before = descriptors();
            for step in STEPS {
                let mut victims: Vec<Other> = (0..3).map(|_| client(&address, step)).collect();
                // They come as far as that while the listener accepts; it is another one that is let in.
                let mut inside = Vec::new();
                match step {
                    Step::In => {
                        for _ in 0..3 {
                            let mut conn = listener.accept_timeout(LONG).unwrap();
                            let message = conn.recv_timeout(LONG).unwrap();
                            conn.send(message).unwrap();
                            inside.push(conn);
                        }
                    }
                    _ => assert!(serve_one(&listener, &address) < SOON, "{address}: {step:?}"),
                }
                for victim in &mut victims {
                    while victim.line.try_recv().is_err() {
                        assert!(listener.accept_timeout(SHORT / 10).is_err_and(|error| error.is_timeout()));
                    }
                }
                victims.into_iter().for_each(Other::kill);
                for mut conn in inside {
                    assert!(conn.recv_timeout(LONG).is_err_and(|error| error.is_disconnected()));
                }
                assert!(serve_one(&listener, &address) < SOON, "{address}: {step:?}");
                let gone = if step == Step::In { 0 } else { 3 };
                let errors = refused(&listener, &refusals, gone);
                assert!(
                    errors.iter().all(Error::is_disconnected) && errors.len() == gone,
                    "{address}, {step:?}: {errors:?}"
                );
                eventually("nothing stays open", || descriptors() == before);
            }
        }
    });
}

#[test]
fn a_client_stopped_on_its_way_in_holds_up_nobody_and_is_dropped_in_its_time() {
    isolated(|| {
        for address in everywhere() {
            // So long that four of them, one after the other, would be more than SOON.
            const PATIENCE: Duration = Duration::from_secs(2);
            let (listener, refusals) = guarded(with_key().handshake_timeout(PATIENCE), &address);
            serve_one(&listener, &address);
            let steps = [Step::Connected, Step::Challenged, Step::HalfAnswered, Step::AlmostAnswered];
            let mut victims: Vec<Other> = steps.iter().map(|step| client(&address, *step)).collect();
            let before = descriptors(); // none of them has been accepted
            for victim in &mut victims {
                while victim.line.try_recv().is_err() {
                    assert!(listener.accept_timeout(SHORT / 10).is_err_and(|error| error.is_timeout()));
                }
                victim.stop();
            }
            for _ in 0..20 {
                assert!(serve_one(&listener, &address) < SOON);
            }
            let errors = refused(&listener, &refusals, steps.len());
            assert!(errors.iter().all(Error::is_timeout) && errors.len() == steps.len(), "{errors:?}");
            eventually("nothing stays open", || descriptors() == before);
            // A stopped one that was let in stays: it may go on.
            victims.into_iter().for_each(Other::kill);
            let mut quiet = client(&address, Step::In);
            let mut conn = listener.accept_timeout(LONG).unwrap();
            let message = conn.recv_timeout(LONG).unwrap();
            quiet.stop();
            conn.send(message).unwrap();
            assert!(conn.recv_timeout(SHORT).is_err_and(|error| error.is_timeout()));
            assert!(serve_one(&listener, &address) < SOON);
            quiet.wake();
            quiet.reached();
            quiet.kill();
            assert!(conn.recv_timeout(LONG).is_err_and(|error| error.is_disconnected()));
        }
    });
}

/// The listener sends itself, and so finds out.
#[test]
fn clients_killed_in_the_queue_of_a_listener_without_a_key_are_connections_that_end() {
    isolated(|| {
        for address in everywhere() {
            let listener = Server::bind(&address).unwrap();
            let before = descriptors();
            for _ in 0..3 {
                let client = Other::until(address.clone(), |address: Address, line| {
                    let mut conn: Plain = Client::connect(address).unwrap();
                    conn.send(b"the last words".to_vec()).unwrap();
                    line.tell_and_wait();
                });
                client.kill();
            }
            for _ in 0..3 {
                let mut conn = listener.accept_timeout(LONG).unwrap();
                assert_eq!(conn.recv_timeout(LONG).unwrap(), b"the last words");
                assert!(conn.recv_timeout(LONG).is_err_and(|error| error.is_disconnected()));
            }
            eventually("nothing stays open", || descriptors() == before);
        }
    });
}

#[test]
fn refusals_are_told_also_to_a_server_that_waits_for_several_things() {
    isolated(|| {
        for address in everywhere() {
            let (listener, refusals) = guarded(with_key(), &address);
            let (_ours, theirs) = ipc_pipe::duplex::<(), ()>().unwrap();
            for _ in 0..3 {
                let mut client = client(&address, Step::Connected);
                client.reached();
                client.kill();
            }
            let mut told = 0;
            eventually("they are told of", || {
                assert!(ipc_socket::wait(&[&theirs, &listener], SHORT).unwrap().is_empty(), "nobody is in");
                told += refusals.try_iter().count();
                told == 3
            });
        }
    });
}
