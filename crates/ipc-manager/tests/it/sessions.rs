//! A process is one client of a server, however many managers it has; one that is to be separate is another.

use std::thread;

use ipc_manager::{Error, JoinableQueue, List, Lock, Manager, RLock};

use crate::{LONG, SHORT, both, server, stranger, takes, wait_for_objects, wait_until};

#[test]
fn two_managers_of_one_server_are_one_client() {
    let (server, one) = both();
    let two = server.manager().unwrap();
    assert_eq!(server.stats().clients, 1);
    let list = one.list_of([1]).unwrap();
    one.publish("list", &list).unwrap();
    let same = two.open::<List<i32>>("list").unwrap();
    assert_eq!(list, same);
    drop(one);
    same.push(&2).unwrap();
    assert_eq!(list.to_vec().unwrap(), [1, 2]);
    // Threads that connect at the same time, too.
    drop((two, list, same));
    wait_until(|| server.stats().clients == 0, || format!("{:?}", server.stats()));
    let managers: Vec<Manager> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| server.manager().unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    wait_until(|| server.stats().clients == 1, || format!("{:?}", server.stats()));
    drop(managers);
}

#[test]
fn another_address_of_the_same_server_leads_to_the_same_session() {
    let folder = std::env::temp_dir().join(format!("ipc-manager-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (path, link) = (folder.join("socket"), folder.join("other"));
    let server = Manager::serve(format!("unix:{}", path.display()).as_str(), "key").unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let one = server.manager().unwrap();
    let two = Manager::connect(format!("unix:{}", link.display()).as_str(), "key").unwrap();
    assert_ne!(one.address(), &format!("unix:{}", link.display()).as_str().try_into().unwrap());
    assert_eq!(server.stats().clients, 1);
    one.list::<List<u8>>().unwrap().push(&two.list().unwrap()).unwrap();
    drop((server, one, two));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn objects_of_two_managers_of_a_server_go_into_each_other() {
    let server = server();
    for other in [server.manager().unwrap(), stranger(&server)] {
        let manager = server.manager().unwrap();
        let (outer, inner) = (manager.list::<List<u32>>().unwrap(), other.list_of([1, 2]).unwrap());
        outer.push(&inner).unwrap();
        let back = other.list_of([outer]).unwrap();
        drop(inner);
        assert_eq!(back.get(0).unwrap().unwrap().get(0).unwrap().unwrap().to_vec().unwrap(), [1, 2]);
        manager.publish("back", &back).unwrap();
        drop(back);
        manager.unlink("back").unwrap();
        wait_for_objects(&server, 0);
    }
}

#[test]
fn a_batch_takes_operations_on_objects_of_any_manager_of_its_server() {
    let server = server();
    for other in [server.manager().unwrap(), stranger(&server)] {
        let manager = server.manager().unwrap();
        let (ours, theirs) = (manager.list::<List<u32>>().unwrap(), other.list::<List<u32>>().unwrap());
        let mut batch = manager.batch();
        let _ = batch.add(ours.later().push(&other.list_of([1]).unwrap()));
        let _ = batch.add(theirs.later().push(&manager.list_of([2]).unwrap()));
        let (one, two) = (batch.add(ours.later().get(0)), batch.add(theirs.later().get(0)));
        let mut results = batch.send().unwrap();
        let both = [one, two].map(|pending| results.take(pending).unwrap().unwrap().to_vec().unwrap());
        assert_eq!(both, [[1], [2]]);
        drop((ours, theirs, results));
        wait_for_objects(&server, 0);
    }
}

#[test]
fn what_a_thread_holds_it_holds_by_every_manager_of_its_process() {
    let (server, manager) = both();
    let other = server.manager().unwrap();
    let (lock, rlock) = (manager.lock().unwrap(), manager.rlock().unwrap());
    let tasks = manager.joinable_queue::<u8>().unwrap();
    manager.publish("lock", &lock).unwrap();
    manager.publish("rlock", &rlock).unwrap();
    manager.publish("tasks", &tasks).unwrap();
    let guards = (lock.lock().unwrap(), rlock.lock().unwrap());
    // Not one who waits for himself.
    assert!(matches!(other.open::<Lock>("lock").unwrap().lock_timeout(LONG), Err(Error::AlreadyLocked)));
    drop(other.open::<RLock>("rlock").unwrap().lock_timeout(LONG).unwrap());
    drop(guards);
    tasks.put(&1).unwrap();
    tasks.get().unwrap();
    other.open::<JoinableQueue<u8>>("tasks").unwrap().task_done().unwrap();
    tasks.join_timeout(LONG).unwrap();
}

#[test]
fn who_is_separate_holds_for_itself() {
    let (server, manager) = both();
    let lock = manager.lock().unwrap();
    manager.publish("lock", &lock).unwrap();
    let other = stranger(&server);
    assert_eq!(server.stats().clients, 2);
    let theirs = other.open::<Lock>("lock").unwrap();
    assert_eq!(lock, theirs);
    let guard = theirs.lock().unwrap();
    assert!(takes(SHORT, || lock.lock_timeout(SHORT)).unwrap_err().is_timeout());
    drop(guard);
    drop(lock.lock().unwrap());
    // Nobody who comes later shares its session.
    let bytes = postcard::to_stdvec(&manager.list::<u8>().unwrap()).unwrap();
    drop((manager, lock));
    let list: List<u8> = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(server.stats().clients, 2);
    drop((theirs, other));
    list.push(&1).unwrap();
}

#[test]
fn a_new_server_at_the_same_address_is_another_one() {
    let address = "unix-abstract:ipc-manager-again";
    let server = Manager::serve(address, "key").unwrap();
    let old = server.manager().unwrap();
    let left = old.list::<u8>().unwrap();
    drop(server);
    let server = Manager::serve(address, "key").unwrap();
    let new = server.manager().unwrap();
    let list = new.list::<List<u8>>().unwrap();
    assert!(matches!(list.push(&left), Err(Error::Encode(_))));
    assert!(matches!(new.publish("left", &left), Err(Error::NoSuchObject)));
    assert!(old.stats().is_err() && left.len().is_err());
    assert_eq!(new.stats().unwrap().objects.len(), 1);
}

#[test]
fn a_proxy_and_a_manager_tell_how_to_make_more() {
    let (server, manager) = both();
    let list = manager.list::<List<u32>>().unwrap();
    drop(manager);
    list.push(&list.manager().list_of([1]).unwrap()).unwrap();
    let sent: Manager = postcard::from_bytes(&postcard::to_stdvec(&list.manager()).unwrap()).unwrap();
    list.push(&sent.list_of([2]).unwrap()).unwrap();
    assert_eq!(server.stats().clients, 1);
    assert_eq!(list.len().unwrap(), 2);
    let bytes = postcard::to_stdvec(&sent).unwrap();
    drop((list, sent, server));
    assert!(postcard::from_bytes::<Manager>(&bytes).is_err());
}

#[test]
fn who_asks_a_proxy_for_its_manager_does_not_own_the_server() {
    let manager = Manager::start().unwrap();
    let list = manager.list::<u8>().unwrap();
    let other = list.manager();
    drop(other);
    list.push(&1).unwrap();
    let other = list.manager();
    drop(manager);
    assert!(other.stats().unwrap_err().is_disconnected());
}
