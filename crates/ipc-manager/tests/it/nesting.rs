use ipc_manager::{Dict, Error, List, Queue, Server};

use crate::{both, object, server, wait_for_objects, wait_until};

/// Of the oldest object.
#[track_caller]
fn wait_for_references(server: &Server, count: u64) {
    wait_until(|| object(server, 0).unwrap().references == count, || format!("{:?}", object(server, 0)));
}

#[test]
fn what_is_in_a_list_of_lists_is_shared() {
    let (server, manager) = both();
    let outer = manager.list::<List<u32>>().unwrap();
    let inner = manager.list_of([1]).unwrap();
    outer.push(&inner).unwrap();
    let same = outer.get(0).unwrap().unwrap();
    same.push(&2).unwrap();
    assert_eq!(inner.to_vec().unwrap(), [1, 2]);
    assert_eq!(inner, same);
    drop((inner, same));
    assert_eq!(outer.get(0).unwrap().unwrap().to_vec().unwrap(), [1, 2]);
    drop(outer);
    wait_for_objects(&server, 0);
}

#[test]
fn whatever_way_a_proxy_leaves_a_value_the_object_goes_in_the_end() {
    let (server, manager) = both();
    let inner = || manager.list_of([7]).unwrap();
    let list = manager.list::<List<u32>>().unwrap();
    let dict = manager.dict::<u8, List<u32>>().unwrap();
    let queue = manager.queue::<(List<u32>, List<u32>)>().unwrap();
    let tasks = manager.joinable_queue::<List<u32>>().unwrap();
    let value = manager.value(inner()).unwrap();
    let space = manager.namespace().unwrap();
    wait_for_objects(&server, 7);
    list.extend(&[inner(), inner(), inner(), inner()]).unwrap();
    drop(list.set(0, &inner()).unwrap());
    drop(list.pop().unwrap());
    drop(list.remove(0).unwrap());
    drop(list.iter().unwrap()); // not looked at
    list.iter().unwrap().for_each(|list| assert_eq!(list.unwrap().to_vec().unwrap(), [7]));
    drop(list.update(0, |_| inner()).unwrap());
    list.update_all(|all| all.reverse()).unwrap();
    list.truncate(1).unwrap();
    drop(list.drain().unwrap());
    wait_for_objects(&server, 7);
    for key in 0..4 {
        dict.insert(&key, &inner()).unwrap();
    }
    dict.insert(&0, &inner()).unwrap();
    drop(dict.remove(&1).unwrap());
    drop(dict.pop_any().unwrap());
    assert_eq!(dict.keys().unwrap().len(), 2);
    drop(dict.values().unwrap());
    drop(dict.update(&9, |_| inner()).unwrap());
    drop(dict.get_or_insert(&10, &inner()).unwrap());
    drop(dict.get_or_insert(&10, &inner()).unwrap());
    dict.extend([(&11, &inner()), (&11, &inner())]).unwrap();
    assert!(dict.compare_and_swap(&11, Some(&inner()), None).unwrap().is_err());
    dict.clear().unwrap();
    wait_for_objects(&server, 7);
    let both = inner();
    queue.put(&(both.clone(), both)).unwrap();
    let (one, two) = queue.get().unwrap();
    assert_eq!(one, two);
    drop((one, two));
    tasks.put(&inner()).unwrap();
    drop(tasks.get().unwrap());
    tasks.task_done().unwrap();
    value.set(&inner()).unwrap();
    space.set("list", &inner()).unwrap();
    assert!(matches!(space.get::<u8>("list"), Err(Error::WrongAttribute { .. })));
    assert!(space.get::<List<u32>>("list").unwrap().is_some());
    assert_eq!(space.to_string().matches("List").count(), 1);
    assert_eq!(space.names().unwrap(), ["list"]);
    assert!(space.remove("list").unwrap());
    wait_for_objects(&server, 7);
    drop((list, dict, queue, tasks, value, space));
    wait_for_objects(&server, 0);
}

#[test]
fn what_a_batch_brings_and_nobody_takes_is_let_go() {
    let (server, manager) = both();
    let list = manager.list::<List<u32>>().unwrap();
    list.push(&manager.list().unwrap()).unwrap();
    let mut batch = manager.batch();
    let _ = batch.add(list.later().get(0));
    let taken = batch.add(list.later().get(0));
    let _ = batch.add(list.later().pop());
    let mut results = batch.send().unwrap();
    let inner = results.take(taken).unwrap().unwrap();
    drop(results);
    assert_eq!(inner.push(&1).unwrap(), 0);
    drop(inner);
    wait_for_objects(&server, 1);
}

#[test]
fn an_object_in_a_request_that_is_sent_later_is_kept_until_then() {
    let (server, manager) = both();
    let list = manager.list::<List<u32>>().unwrap();
    let mut batch = manager.batch();
    let command = list.later().push(&manager.list_of([1]).unwrap());
    let _ = batch.add(list.later().push(&manager.list_of([2]).unwrap()));
    assert_eq!(server.stats().objects.len(), 3);
    drop(batch.send().unwrap());
    command.run().unwrap();
    let all = list.to_vec().unwrap().iter().map(|inner| inner.to_vec().unwrap()).collect::<Vec<_>>();
    assert_eq!(all, [[2], [1]]);
    drop(list);
    wait_for_objects(&server, 0);
}

#[test]
fn an_object_that_is_deep_inside_lives_as_long_as_the_outermost_one() {
    let (server, manager) = both();
    type Deep = Dict<String, List<Queue<u8>>>;
    let outer = manager.dict::<String, List<Queue<u8>>>().unwrap();
    {
        let (list, queue) = (manager.list().unwrap(), manager.queue::<u8>().unwrap());
        queue.put(&7).unwrap();
        list.push(&queue).unwrap();
        outer.insert(&"k".to_string(), &list).unwrap();
    }
    manager.publish("outer", &outer).unwrap();
    drop(outer);
    wait_for_references(&server, 1);
    let again = manager.open::<Deep>("outer").unwrap();
    assert_eq!(again.get(&"k".to_string()).unwrap().unwrap().get(0).unwrap().unwrap().get().unwrap(), 7);
    manager.unlink("outer").unwrap();
    drop(again);
    wait_for_objects(&server, 0);
}

#[test]
fn a_proxy_of_another_server_is_an_error() {
    let (server, manager) = both();
    let (_second, stranger) = both();
    let list = manager.list::<List<u8>>().unwrap();
    let foreign = stranger.list::<u8>().unwrap();
    let error = list.push(&foreign).unwrap_err();
    assert!(matches!(error, Error::Encode(_)), "{error:?}");
    assert!(
        ipc_core::explain(&error).contains("one server cannot be stored in another"),
        "{}",
        ipc_core::explain(&error)
    );
    assert!(matches!(manager.publish("foreign", &foreign), Err(Error::NoSuchObject)));
    assert!(list.is_empty().unwrap());
    drop(list);
    wait_for_objects(&server, 0);
}

#[test]
fn a_proxy_is_no_key() {
    let (_server, manager) = both();
    #[derive(Clone, serde::Serialize, serde::Deserialize, PartialEq)]
    struct Key(List<u8>);
    impl Eq for Key {}
    impl std::hash::Hash for Key {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
    }
    let dict = manager.dict::<Key, u8>().unwrap();
    let key = Key(manager.list().unwrap());
    assert!(matches!(dict.insert(&key, &1), Err(Error::Encode(_))));
    assert!(matches!(dict.get(&key), Err(Error::Encode(_))));
    assert!(dict.is_empty().unwrap());
}

#[test]
fn a_proxy_goes_anywhere_as_bytes_and_holds_its_object_on_the_way() {
    let (server, manager) = both();
    let list = manager.list_of([1, 2]).unwrap();
    let bytes = postcard::to_stdvec(&list).unwrap();
    drop(list);
    wait_for_references(&server, 1); // the ticket
    let wrong = postcard::from_bytes::<List<i64>>(&bytes);
    assert!(wrong.is_err(), "it is a list of something else");
    let bytes = postcard::to_stdvec(&manager.list_of([1, 2]).unwrap()).unwrap();
    let there: List<i32> = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(there.to_vec().unwrap(), [1, 2]);
    drop(there);
    wait_for_objects(&server, 0);
}

/// Threads that get proxies of one server at the same time share a session, so that what they got can be put into each other.
#[test]
fn proxies_of_one_server_belong_together_however_they_came() {
    let server = server();
    let bytes = {
        let manager = server.manager().unwrap();
        manager.publish("outer", &manager.list::<List<u8>>().unwrap()).unwrap();
        (0..8).map(|_| postcard::to_stdvec(&manager.list::<u8>().unwrap()).unwrap()).collect::<Vec<_>>()
    };
    let lists: Vec<List<u8>> = std::thread::scope(|scope| {
        let threads: Vec<_> = bytes.iter().map(|bytes| scope.spawn(|| postcard::from_bytes(bytes).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(server.stats().clients, 1, "all threads of a process are one");
    let outer: List<List<u8>> = {
        let manager = server.manager().unwrap();
        postcard::from_bytes(&postcard::to_stdvec(&manager.open::<List<List<u8>>>("outer").unwrap()).unwrap()).unwrap()
    };
    outer.extend(&lists).unwrap();
    assert_eq!(outer.len().unwrap(), 8);
}
