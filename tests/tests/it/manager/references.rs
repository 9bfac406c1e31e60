//! Objects, and who holds them: processes that are killed hold nothing any more, and proxies go from process to process.

use ipc_tests::isolated;

use super::*;

#[test]
fn what_only_a_killed_process_held_goes() {
    isolated(|| {
        let (manager, _) = start();
        let shared = manager.dict::<String, List<u32>>().unwrap();
        manager.publish("shared", &shared).unwrap();
        let maker = Other::until(place(&manager), |place: Place, line| {
            let manager = visit(&place).unwrap();
            let _all = Everything::new(&manager).unwrap();
            let _more = (
                manager.array([1, 2]).unwrap(),
                manager.value(1).unwrap(),
                manager.set_of([1]).unwrap(),
                manager.namespace().unwrap(),
            );
            // Objects in objects, of which nothing else is left.
            let deep = manager.list_of([manager.list_of([manager.list_of([1]).unwrap()]).unwrap()]).unwrap();
            let shared: Dict<String, List<u32>> = manager.open("shared").unwrap();
            shared.insert(&"stays".to_string(), &manager.list_of([1, 2]).unwrap()).unwrap();
            manager.publish("named", &manager.value(7u32).unwrap()).unwrap();
            line.tell_and_wait();
            drop(deep);
        });
        assert_eq!(objects(&manager), 1 + 12 + 4 + 3 + 2);
        maker.kill();
        eventually("all goes that nobody else holds", || objects(&manager) == 3);
        assert_eq!(shared.get(&"stays".to_string()).unwrap().unwrap().to_vec().unwrap(), [1, 2]);
        assert_eq!(manager.open::<Value<u32>>("named").unwrap().get().unwrap(), 7);
        manager.unlink("named").unwrap();
        shared.clear().unwrap();
        assert_eq!(objects(&manager), 1);
    });
}

#[test]
fn no_number_is_given_twice_though_its_object_is_gone() {
    isolated(|| {
        let (manager, _) = start();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10 {
            let maker = Other::until(place(&manager), |place: Place, line| {
                let manager = visit(&place).unwrap();
                let _all = Everything::new(&manager).unwrap();
                line.tell_and_wait();
            });
            let here = manager.stats().unwrap().objects;
            assert_eq!(here.len(), 12);
            here.iter().for_each(|object| assert!(seen.insert(object.number), "{}", object.number));
            maker.kill();
            eventually("all goes", || objects(&manager) == 0);
        }
    });
}

#[test]
fn a_snapshot_keeps_what_it_shows_until_its_owner_is_killed() {
    const N: usize = 2000;
    isolated(|| {
        let (manager, _) = start();
        let dict = manager.dict::<u32, (Value<u32>, String)>().unwrap();
        for n in 0..N as u32 {
            dict.insert(&n, &(manager.value(n).unwrap(), "x".repeat(1000))).unwrap();
        }
        assert_eq!(objects(&manager), 1 + N);
        let mut reader = Other::until(dict.clone(), |dict: Dict<u32, (Value<u32>, String)>, line| {
            let mut entries = dict.iter().unwrap();
            let mut read = |n: usize| {
                for entry in entries.by_ref().take(n) {
                    let (key, (value, _)) = entry.unwrap();
                    assert_eq!(value.get().unwrap(), key);
                }
            };
            read(3);
            line.tell_and_wait();
            read(1000);
            line.tell_and_wait();
        });
        dict.clear().unwrap();
        let left = objects(&manager);
        assert!(left > 1 + N / 2, "the snapshot shows it, so it is there: {left}");
        reader.go_on();
        reader.reached();
        let left = objects(&manager);
        assert!((2..=1 + N - 1000).contains(&left), "what is not read yet: {left}");
        reader.kill();
        eventually("the rest goes", || objects(&manager) == 1);
    });
}

#[test]
fn a_proxy_that_was_sent_to_a_process_that_is_killed_before_it_arrives_is_kept_meanwhile() {
    isolated(|| {
        let (manager, _) = start();
        let (mut line, theirs) = ipc_pipe::duplex::<List<u32>, ()>().unwrap();
        let mut receiver = Other::start(theirs, |mut conn: Connection<(), List<u32>>, line| {
            assert_eq!(conn.recv().unwrap().to_vec().unwrap(), [0]);
            line.tell_and_wait();
        });
        for n in 0..10 {
            let list = manager.list_of([n]).unwrap();
            line.send(&list).unwrap();
        }
        receiver.reached();
        receiver.kill();
        only_clients(&manager, 1);
        // The first one had arrived, and was held by nobody else; the others are on their way.
        let stats = manager.stats().unwrap();
        assert_eq!(stats.objects.len(), 9);
        assert!(stats.objects.iter().all(|object| object.references == 1), "{stats:?}");
        drop(line);
        assert_eq!(manager.list_of([1]).unwrap().len().unwrap(), 1, "the server goes on");
    });
}

type Chain = Dict<String, List<Value<u32>>>;

#[test]
fn proxies_go_round_as_arguments_over_connections_and_inside_of_objects() {
    isolated(|| {
        let (manager, _) = start();
        let dict: Chain = manager.dict().unwrap();
        let (mut line, theirs) = ipc_pipe::duplex::<List<Value<u32>>, Value<u32>>().unwrap();
        type Theirs = Connection<Value<u32>, List<Value<u32>>>;
        let mut taker = Other::start((dict.clone(), theirs), |(dict, mut conn): (Chain, Theirs), line| {
            // One comes over the connection, and goes into an object.
            let sent = conn.recv().unwrap();
            sent.push(&sent.get(0).unwrap().unwrap()).unwrap();
            dict.insert(&"sent".to_string(), &sent).unwrap();
            drop(sent);
            line.tell_and_wait();
            // Another one is taken out of the object, by one who is the only one to have it then.
            let stored = dict.remove(&"stored".to_string()).unwrap().unwrap();
            let value = stored.pop().unwrap().unwrap();
            drop(stored);
            value.update(|n| n + 1).unwrap();
            conn.send(&value).unwrap();
            drop(value);
            line.tell_and_wait();
        });
        line.send(manager.list_of([manager.value(1).unwrap()]).unwrap()).unwrap();
        taker.reached();
        let sent = dict.get(&"sent".to_string()).unwrap().unwrap();
        let values: Vec<u32> = sent.to_vec().unwrap().iter().map(|value| value.get().unwrap()).collect();
        assert_eq!(values, [1, 1]);
        assert_eq!(objects(&manager), 3, "the dict, the list, the value that is in it twice");

        dict.insert(&"stored".to_string(), &manager.list_of([manager.value(5).unwrap()]).unwrap()).unwrap();
        taker.go_on();
        taker.reached();
        // It was sent, and is here only when it is received.
        assert_eq!(objects(&manager), 4);
        let back = line.recv().unwrap();
        assert_eq!(back.get().unwrap(), 6);
        taker.finish();
        assert_eq!(objects(&manager), 4);
        drop(back);
        drop(sent);
        dict.clear().unwrap();
        assert_eq!(objects(&manager), 1);
    });
}

#[test]
fn strangers_share_an_object_that_another_stranger_has_stored() {
    isolated(|| {
        let (manager, _) = start();
        let dict: Chain = manager.dict().unwrap();
        manager.publish("dict", &dict).unwrap();
        let storer = Other::until(place(&manager), |place: Place, line| {
            let manager = visit(&place).unwrap();
            let list = manager.list_of([manager.value(3).unwrap()]).unwrap();
            manager.open::<Chain>("dict").unwrap().insert(&"list".to_string(), &list).unwrap();
            line.tell_and_wait();
        });
        storer.kill();
        let finder = Other::until(place(&manager), |place: Place, line| {
            let manager = visit(&place).unwrap();
            let list = manager.open::<Chain>("dict").unwrap().get(&"list".to_string()).unwrap().unwrap();
            list.get(0).unwrap().unwrap().set(&4).unwrap();
            line.tell_and_wait();
        });
        finder.finish();
        let list = dict.remove(&"list".to_string()).unwrap().unwrap();
        assert_eq!(list.get(0).unwrap().unwrap().get().unwrap(), 4);
        drop(list);
        assert_eq!(objects(&manager), 1);
    });
}

#[test]
fn a_child_that_got_only_a_proxy_makes_more_objects_and_nests_them() {
    isolated(|| {
        let (manager, server) = start();
        let dict: Chain = manager.dict().unwrap();
        let child = ipc_manager::Process::spawn(
            |(dict, place): (Chain, Place)| {
                let list = dict.manager().list_of([dict.manager().value(5).unwrap()]).unwrap();
                // Also what it makes by connecting itself goes with that.
                list.push(&visit(&place).unwrap().value(6).unwrap()).unwrap();
                dict.insert(&"made".to_string(), &list).unwrap();
                dict.manager().stats().unwrap().clients
            },
            (dict.clone(), place(&manager)),
        );
        assert_eq!(child.unwrap().join().unwrap(), 2, "a process is one client, whatever it has");
        let made = dict.get(&"made".to_string()).unwrap().unwrap().to_vec().unwrap();
        assert_eq!(made.iter().map(|value| value.get().unwrap()).collect::<Vec<_>>(), [5, 6]);
        only_clients(&manager, 1);
        assert!(!server.is_gone());
    });
}

#[test]
fn a_child_gets_a_manager_which_does_not_own_the_server() {
    isolated(|| {
        let (manager, server) = start();
        let (mut line, theirs) = ipc_pipe::duplex::<(), List<i32>>().unwrap();
        let child = ipc_manager::Process::spawn(
            |(manager, mut line): (Manager, Connection<List<i32>, ()>)| {
                let list = manager.list_of([1, 2]).unwrap();
                line.send(list.clone()).unwrap();
                line.recv().unwrap();
                list.push(&3).unwrap();
            },
            (manager.clone(), theirs),
        );
        let list: List<i32> = line.recv().unwrap();
        line.send(()).unwrap();
        child.unwrap().join().unwrap();
        assert_eq!(list.to_vec().unwrap(), [1, 2, 3]);
        only_clients(&manager, 1);
        assert!(!server.is_gone());
        drop(manager);
        eventually("the server ends with the manager that has started it", || server.is_gone());
        assert!(disconnected(list.len()));
    });
}
