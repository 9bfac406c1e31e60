use ipc_manager::{Error, ManagerBuilder};

use crate::{both, server};

#[test]
fn operations_are_done_in_their_order_and_each_has_its_result() {
    let (_server, manager) = both();
    let (list, dict) = (manager.list::<u32>().unwrap(), manager.dict::<u32, String>().unwrap());
    let (set, array, value) = (manager.set::<u8>().unwrap(), manager.array([1]).unwrap(), manager.value('a').unwrap());
    let mut batch = manager.batch();
    assert!(batch.is_empty());
    let pushed: Vec<_> = (0..1000).map(|n| batch.add(list.later().push(&n))).collect();
    let last = batch.add(list.later().pop());
    let none = batch.add(dict.later().get(&1));
    let _ = batch.add(dict.later().insert(&1, &"one".to_string()));
    let one = batch.add(dict.later().get(&1));
    let (new, old) = (batch.add(set.later().insert(&1)), batch.add(set.later().insert(&1)));
    let (first, letter) = (batch.add(array.later().get(0)), batch.add(value.later().replace(&'b')));
    assert_eq!(batch.len(), 1008);
    let mut results = batch.send().unwrap();
    for (n, pushed) in pushed.into_iter().enumerate() {
        assert_eq!(results.take(pushed).unwrap(), n);
    }
    assert_eq!(results.take(last).unwrap(), Some(999));
    assert_eq!((results.take(none).unwrap(), results.take(one).unwrap().as_deref()), (None, Some("one")));
    assert_eq!((results.take(new).unwrap(), results.take(old).unwrap()), (true, false));
    assert_eq!((results.take(first).unwrap(), results.take(letter).unwrap()), (Some(1), 'a'));
    assert_eq!(value.later().get().run().unwrap(), 'b');
}

#[test]
fn a_batch_may_be_long_and_its_answers_longer() {
    let (_server, manager) = both();
    let list = manager.list_of(["7".repeat(100_000)]).unwrap();
    let mut batch = manager.batch();
    let pending: Vec<_> = (0..500).map(|_| batch.add(list.later().get(0))).collect();
    let mut results = batch.send().unwrap();
    for pending in pending {
        assert_eq!(results.take(pending).unwrap().unwrap().len(), 100_000);
    }
    let mut batch = manager.batch();
    let _ = batch.add(list.later().push(&"1".repeat(5_000_000)));
    let count = batch.add(list.later().len());
    assert_eq!(batch.send().unwrap().take(count).unwrap(), 2);
}

#[test]
fn what_fails_in_one_operation_is_its_own_matter() {
    struct Unspeakable;
    impl serde::Serialize for Unspeakable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no words"))
        }
    }
    impl<'de> serde::Deserialize<'de> for Unspeakable {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Unspeakable)
        }
    }
    let (_server, manager) = both();
    let (bad, good) = (manager.list::<Unspeakable>().unwrap(), manager.list::<u8>().unwrap());
    let mut batch = manager.batch();
    let before = batch.add(good.later().push(&1));
    let failed = batch.add(bad.later().push(&Unspeakable));
    let after = batch.add(good.later().push(&2));
    let mut results = batch.send().unwrap();
    assert_eq!((results.take(before).unwrap(), results.take(after).unwrap()), (0, 1));
    assert!(matches!(results.take(failed), Err(Error::Encode(_))));
    assert!(bad.is_empty().unwrap());
}

#[test]
fn an_operation_that_is_too_long_keeps_all_from_being_sent() {
    let server =
        ManagerBuilder::serve(ipc_manager::Manager::builder().authkey("key").max_message(1000), "unix-abstract:");
    let server = server.unwrap();
    let manager = server.manager().unwrap();
    let list = manager.list::<Vec<u8>>().unwrap();
    let mut batch = manager.batch();
    let _ = batch.add(list.later().push(&vec![]));
    let _ = batch.add(list.later().push(&vec![0; 1000]));
    assert!(matches!(batch.send(), Err(Error::TooLarge { max: 1000, .. })));
    assert!(list.is_empty().unwrap());
}

#[test]
fn results_belong_to_their_batch() {
    let (_server, manager) = both();
    let list = manager.list::<u8>().unwrap();
    let (mut one, mut two) = (manager.batch(), manager.batch());
    let (first, _second) = (one.add(list.later().len()), two.add(list.later().len()));
    let mut results = two.send().unwrap();
    assert!(matches!(results.take(first), Err(Error::Protocol)));
    drop(one.send().unwrap());
}

#[test]
#[should_panic(expected = "the object belongs to another server")]
fn an_object_of_another_server_is_a_mistake() {
    let (one, two) = (server(), server());
    let (one, two) = (one.manager().unwrap(), two.manager().unwrap());
    let list = two.list::<u8>().unwrap();
    let _ = one.batch().add(list.later().len());
}
