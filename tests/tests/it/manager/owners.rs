//! Processes that have started a server, or serve themselves, and end before others do.

use ipc_tests::isolated;

use super::*;

type Tell = Connection<(Place, u32), ()>;

/// Starts a process that starts a server, which is at the place that is returned.
fn owner(stays: bool) -> (Other, Place, Server) {
    let (mut line, theirs) = ipc_pipe::duplex::<(), (Place, u32)>().unwrap();
    let owner = Other::start((theirs, stays), |(mut tell, stays): (Tell, bool), line| {
        let before = children(std::process::id());
        let builder = if stays { Manager::builder().stay() } else { Manager::builder() };
        let manager = builder.start("unix-abstract:").unwrap();
        let new = children(std::process::id()).into_iter().find(|child| !before.iter().any(|old| old.0 == child.0));
        manager.publish("list", &manager.list_of([1u32]).unwrap()).unwrap();
        tell.send((place(&manager), new.unwrap().0)).unwrap();
        line.wait();
        drop(manager);
        line.tell_and_wait();
    });
    let (place, pid) = line.recv_timeout(LONG).unwrap();
    (owner, place, Server(pid))
}

#[test]
fn a_server_ends_with_the_killed_process_that_has_started_it() {
    isolated(|| {
        let (owner, place, server) = owner(false);
        let visitor = visit(&place).unwrap();
        let list: List<u32> = visitor.open("list").unwrap();
        let queue = visitor.queue::<u32>().unwrap();
        let (result, took) = while_waiting(&visitor, || queue.get(), || owner.kill());
        assert!(disconnected(result) && took < SOON, "{took:?}");
        eventually("the server has ended", || server.is_gone());
        assert!(disconnected(list.len()));
        let error = visit(&place).unwrap_err();
        assert!(matches!(error, Error::Connect(_) | Error::Disconnected), "{error:?}");
    });
}

#[test]
fn a_server_ends_when_its_manager_is_dropped_though_strangers_are_connected() {
    isolated(|| {
        let (mut owner, place, server) = owner(false);
        let visitor = visit(&place).unwrap();
        let queue = visitor.queue::<u32>().unwrap();
        let (result, took) = while_waiting(&visitor, || queue.get(), || owner.go_on());
        assert!(disconnected(result) && took < SOON, "{took:?}");
        owner.reached();
        assert_eq!(state(server.0), None, "it is gone, and reaped");
        owner.finish();
    });
}

#[test]
fn a_server_that_stays_outlives_its_killed_owner_until_somebody_shuts_it_down() {
    isolated(|| {
        let (owner, place, server) = owner(true);
        owner.kill();
        let visitor = visit(&place).unwrap();
        let list: List<u32> = visitor.open("list").unwrap();
        list.push(&2).unwrap();
        let other = Other::until(list.clone(), |list: List<u32>, line| {
            assert_eq!(list.to_vec().unwrap(), [1, 2]);
            line.tell_and_wait();
        });
        other.kill();
        drop(list);
        assert_eq!(visitor.open::<List<u32>>("list").unwrap().to_vec().unwrap(), [1, 2]);
        drop(visitor);
        let visitor = visit(&place).unwrap();
        visitor.shutdown().unwrap();
        eventually("the server has ended", || server.is_gone());
        assert!(visitor.stats().is_err() && visit(&place).is_err());
    });
}

#[test]
fn a_server_that_stays_and_is_shut_down_leaves_nothing_of_its_process() {
    isolated(|| {
        let before = children(std::process::id());
        let manager = Manager::builder().stay().start("unix-abstract:").unwrap();
        let place = place(&manager);
        drop(manager);
        let visitor = visit(&place).unwrap();
        assert_eq!(visitor.list_of([1]).unwrap().len().unwrap(), 1);
        visitor.shutdown().unwrap();
        eventually("no child is left", || children(std::process::id()) == before);
    });
}

#[test]
fn the_socket_of_a_server_goes_with_it_or_is_replaced_by_the_next_one() {
    isolated(|| {
        let path = std::env::temp_dir().join(ipc_tests::unique_name());
        let start = || Manager::builder().authkey(KEY).start(path.as_path()).unwrap();
        let manager = start();
        assert!(path.exists());
        drop(manager);
        assert!(!path.exists());
        // One that is killed cannot tidy up; the next one does.
        let before = children(std::process::id());
        let manager = start();
        let server = children(std::process::id()).into_iter().find(|child| !before.contains(child)).unwrap().0;
        Server(server).signal(Signal::SIGKILL);
        drop(manager);
        assert!(path.exists());
        let manager = start();
        assert_eq!(manager.list_of([1]).unwrap().len().unwrap(), 1);
        drop(manager);
        assert!(!path.exists());
    });
}

/// Serves at a port until somebody shuts it down.
fn far_server() -> (Other, String) {
    let (mut line, theirs) = ipc_pipe::duplex::<(), String>().unwrap();
    let server = Other::start(theirs, |mut tell: Connection<String, ()>, line| {
        let server = Manager::serve("tcp:127.0.0.1:0", KEY).unwrap();
        tell.send(server.address().to_string()).unwrap();
        server.join();
        line.tell_and_wait();
    });
    let address = line.recv_timeout(LONG).unwrap();
    (server, address)
}

#[test]
fn two_that_know_the_address_and_the_key_share_objects_by_name() {
    isolated(|| {
        let (mut server, address) = far_server();
        let manager = Manager::connect(&address, KEY).unwrap();
        let (ask, answer) = (manager.queue::<u32>().unwrap(), manager.dict::<u32, String>().unwrap());
        manager.publish("ask", &ask).unwrap();
        manager.publish("answer", &answer).unwrap();
        let workers: Vec<Other> = (0..2)
            .map(|_| {
                Other::start(address.clone(), |address: String, line| {
                    let manager = Manager::connect(&address, KEY).unwrap();
                    let ask: Queue<u32> = manager.open("ask").unwrap();
                    let answer: Dict<u32, String> = manager.open("answer").unwrap();
                    while let Some(n) = ask.get().ok().filter(|n| *n > 0) {
                        answer.insert(&n, &n.to_string()).unwrap();
                    }
                    line.tell_and_wait();
                })
            })
            .collect();
        (1..=100).chain([0, 0]).for_each(|n| ask.put(&n).unwrap());
        workers.into_iter().for_each(|mut worker| {
            worker.reached();
            worker.finish();
        });
        assert_eq!(answer.len().unwrap(), 100);
        assert_eq!(answer.get(&42).unwrap().as_deref(), Some("42"));
        only_clients(&manager, 1);
        let error = manager.open::<Dict<u32, u32>>("answer").unwrap_err();
        assert!(matches!(error, Error::WrongType { .. }), "{error:?}");
        let error = manager.open::<Queue<u32>>("aks").unwrap_err();
        assert!(matches!(error, Error::NoSuchName { .. }), "{error:?}");
        manager.shutdown().unwrap();
        server.reached();
        server.finish();
    });
}

#[test]
fn who_has_another_key_or_none_is_not_let_in_and_disturbs_nobody() {
    isolated(|| {
        let (mut server, address) = far_server();
        let manager = Manager::connect(&address, KEY).unwrap();
        let list = manager.list_of([1]).unwrap();
        for key in [&b"another"[..], b"", &[0; 1000]] {
            ends_within(Duration::ZERO..LONG, "another key", || {
                matches!(Manager::connect(&address, key), Err(Error::Connect(_)))
            });
            assert_eq!(list.len().unwrap(), 1);
        }
        assert_eq!(manager.stats().unwrap().clients, 1);
        manager.shutdown().unwrap();
        server.reached();
        server.finish();
    });
}

#[test]
fn a_killed_far_server_is_disconnected_and_its_port_can_be_served_again() {
    isolated(|| {
        let (server, address) = far_server();
        let manager = Manager::connect(&address, KEY).unwrap();
        let queue = manager.queue::<u32>().unwrap();
        let (result, took) = while_waiting(&manager, || queue.get(), || server.kill());
        assert!(disconnected(result) && took < SOON, "{took:?}");
        assert!(disconnected(queue.len()));
        let server = Manager::serve(&address, KEY).unwrap();
        assert_eq!(server.address().to_string(), address);
        // The new one knows nothing of the objects of the old one.
        assert!(queue.len().is_err());
        let manager = server.manager().unwrap();
        assert!(manager.stats().unwrap().objects.is_empty());
        drop(server);
        assert!(manager.stats().is_err());
    });
}
