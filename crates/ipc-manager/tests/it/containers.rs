use std::collections::{HashMap, HashSet};

use ipc_manager::{Error, Manager};

use crate::both;

#[test]
fn a_list_does_what_a_vec_does() {
    let (_server, manager) = both();
    let list = manager.list::<String>().unwrap();
    let text = |n: &str| n.to_string();
    assert!(list.is_empty().unwrap());
    assert_eq!((list.pop().unwrap(), list.get(0).unwrap()), (None, None));
    assert_eq!(list.push(&text("a")).unwrap(), 0);
    list.extend(&[text("b"), text("c"), text("b")]).unwrap();
    assert_eq!(list.len().unwrap(), 4);
    assert_eq!(list.get(3).unwrap(), Some(text("b")));
    assert_eq!(list.position(&text("b")).unwrap(), Some(1));
    assert_eq!(list.position(&text("x")).unwrap(), None);
    assert_eq!((list.count(&text("b")).unwrap(), list.contains(&text("x")).unwrap()), (2, false));
    list.insert(4, &text("d")).unwrap();
    list.insert(0, &text("0")).unwrap();
    assert!(matches!(list.insert(7, &text("e")), Err(Error::OutOfRange { index: 7, len: 6 })));
    assert_eq!(list.set(0, &text("first")).unwrap(), "0");
    assert!(matches!(list.set(6, &text("e")), Err(Error::OutOfRange { index: 6, len: 6 })));
    assert_eq!(list.remove(1).unwrap(), "a");
    assert!(matches!(list.remove(5), Err(Error::OutOfRange { index: 5, len: 5 })));
    list.reverse().unwrap();
    assert_eq!(list.to_vec().unwrap(), ["d", "b", "c", "b", "first"]);
    list.truncate(3).unwrap();
    list.truncate(99).unwrap();
    list.update_all(|all| all.sort()).unwrap();
    assert_eq!(list.iter().unwrap().map(Result::unwrap).collect::<Vec<_>>(), ["b", "c", "d"]);
    assert_eq!(list.compare_and_swap(1, &text("x"), &text("y")).unwrap(), Err(text("c")));
    assert_eq!(list.compare_and_swap(1, &text("c"), &text("y")).unwrap(), Ok(()));
    assert!(list.compare_and_swap(3, &text("c"), &text("y")).is_err());
    assert_eq!(list.update(1, |old| old + "!").unwrap(), "y!");
    assert!(matches!(list.update(3, |old| old), Err(Error::OutOfRange { index: 3, len: 3 })));
    assert_eq!(list.drain().unwrap().map(Result::unwrap).collect::<Vec<_>>(), ["b", "y!", "d"]);
    assert!(list.is_empty().unwrap());
    list.push(&text("a")).unwrap();
    list.clear().unwrap();
    assert_eq!(list.len().unwrap(), 0);
}

#[test]
fn an_array_keeps_its_length() {
    let (_server, manager) = both();
    let array = manager.array([1, 2, 3]).unwrap();
    assert_eq!((array.len().unwrap(), array.is_empty().unwrap()), (3, false));
    assert_eq!((array.get(2).unwrap(), array.get(3).unwrap()), (Some(3), None));
    assert_eq!(array.set(0, &7).unwrap(), 1);
    assert!(matches!(array.set(3, &7), Err(Error::OutOfRange { index: 3, len: 3 })));
    assert_eq!(array.compare_and_swap(1, &9, &8).unwrap(), Err(2));
    assert_eq!(array.update(1, |n| n * 10).unwrap(), 20);
    array.update_all(|all| all.reverse()).unwrap();
    assert_eq!(array.to_vec().unwrap(), [3, 20, 7]);
    assert!(manager.array::<u8>([]).unwrap().is_empty().unwrap());
}

#[test]
fn a_value_is_read_replaced_and_changed() {
    let (_server, manager) = both();
    let value = manager.value((1, "one".to_string())).unwrap();
    value.set(&(2, "two".to_string())).unwrap();
    assert_eq!(value.replace(&(3, "three".to_string())).unwrap(), (2, "two".to_string()));
    assert_eq!(
        value.compare_and_swap(&(0, String::new()), &(4, String::new())).unwrap(),
        Err((3, "three".to_string()))
    );
    assert_eq!(value.update(|(n, text)| (n + 1, text)).unwrap().0, 4);
    assert_eq!(value.get().unwrap(), (4, "three".to_string()));
}

#[test]
fn a_dict_does_what_a_map_does() {
    let (_server, manager) = both();
    let dict = manager.dict_of([(1, 'a'), (2, 'b')]).unwrap();
    assert_eq!((dict.len().unwrap(), dict.is_empty().unwrap()), (2, false));
    assert_eq!((dict.get(&1).unwrap(), dict.get(&3).unwrap()), (Some('a'), None));
    assert_eq!((dict.insert(&1, &'x').unwrap(), dict.insert(&3, &'c').unwrap()), (Some('a'), None));
    assert_eq!((dict.contains_key(&3).unwrap(), dict.contains_key(&4).unwrap()), (true, false));
    assert_eq!((dict.remove(&3).unwrap(), dict.remove(&3).unwrap()), (Some('c'), None));
    assert_eq!((dict.get_or_insert(&4, &'d').unwrap(), dict.get_or_insert(&4, &'e').unwrap()), ('d', 'd'));
    dict.extend([(&5, &'e'), (&1, &'a')]).unwrap();
    assert_eq!(dict.compare_and_swap(&6, Some(&'x'), Some(&'f')).unwrap(), Err(None));
    assert_eq!(dict.compare_and_swap(&6, None, Some(&'f')).unwrap(), Ok(()));
    assert_eq!(dict.compare_and_swap(&6, None, Some(&'g')).unwrap(), Err(Some('f')));
    assert_eq!(dict.compare_and_swap(&5, Some(&'e'), None).unwrap(), Ok(()));
    assert_eq!(dict.update(&7, |old| old.map_or('g', |_| 'x')).unwrap(), 'g');
    assert_eq!(dict.update(&7, |old| old.map_or('x', |_| 'h')).unwrap(), 'h');
    let expected = HashMap::from([(1, 'a'), (2, 'b'), (4, 'd'), (6, 'f'), (7, 'h')]);
    assert_eq!(dict.to_map().unwrap(), expected);
    let sorted = |mut keys: Vec<i32>| {
        keys.sort();
        keys
    };
    assert_eq!(sorted(dict.keys().unwrap()), [1, 2, 4, 6, 7]);
    assert_eq!(dict.values().unwrap().into_iter().collect::<HashSet<_>>(), "abdfh".chars().collect());
    let (key, value) = dict.pop_any().unwrap().unwrap();
    assert_eq!(expected[&key], value);
    assert_eq!(dict.drain().unwrap().count(), 4);
    assert_eq!(dict.pop_any().unwrap(), None);
    dict.insert(&1, &'a').unwrap();
    dict.clear().unwrap();
    assert!(dict.is_empty().unwrap());
}

#[test]
fn a_set_does_what_a_set_does() {
    let (_server, manager) = both();
    let set = manager.set_of(["a".to_string()]).unwrap();
    let (a, b) = ("a".to_string(), "b".to_string());
    assert_eq!((set.insert(&a).unwrap(), set.insert(&b).unwrap()), (false, true));
    assert_eq!((set.remove(&a).unwrap(), set.remove(&a).unwrap()), (true, false));
    assert_eq!((set.contains(&a).unwrap(), set.contains(&b).unwrap()), (false, true));
    set.extend([&a, &b]).unwrap();
    assert_eq!(set.len().unwrap(), 2);
    assert_eq!(set.to_set().unwrap(), HashSet::from([a, b]));
    assert_eq!(set.iter().unwrap().count(), 2);
    assert_eq!(set.drain().unwrap().count(), 2);
    assert!(set.is_empty().unwrap());
    set.insert(&"c".to_string()).unwrap();
    set.clear().unwrap();
    assert_eq!(set.len().unwrap(), 0);
}

#[test]
fn a_namespace_knows_the_types_of_its_attributes() {
    let (_server, manager) = both();
    let space = manager.namespace().unwrap();
    space.set("n", &1u8).unwrap();
    space.set("text", "a text").unwrap();
    space.set("all", &vec![1.5]).unwrap();
    assert_eq!(space.get::<u8>("n").unwrap(), Some(1));
    assert_eq!(space.get::<String>("text").unwrap().as_deref(), Some("a text"));
    assert_eq!(space.get::<u8>("x").unwrap(), None);
    let error = space.get::<u16>("n").unwrap_err();
    assert!(matches!(&error, Error::WrongAttribute { name, types } if name == "n" && types == "u8"), "{error:?}");
    assert_eq!(error.to_string(), "the type of the attribute `n` is u8");
    assert_eq!(space.names().unwrap(), ["all", "n", "text"]);
    assert_eq!(space.to_string(), r#"Namespace(all = [1.5], n = 1, text = "a text")"#);
    assert_eq!((space.remove("n").unwrap(), space.remove("n").unwrap()), (true, false));
}

/// Three pages at least.
#[test]
fn what_is_too_much_for_one_answer_comes_in_pages() {
    let (_server, manager) = both();
    let list = manager.list_of((0..100_000u32).map(|n| n % 100)).unwrap();
    let snapshot = list.iter().unwrap();
    list.clear().unwrap();
    assert!(snapshot.map(Result::unwrap).eq((0..100_000).map(|n| n % 100)), "the whole as it was");
    let long: Vec<String> = ["a", "b", "c", "d"].iter().map(|text| text.repeat(300_000)).collect();
    let list = manager.list_of(long.clone()).unwrap();
    list.update_all(|all| all.reverse()).unwrap();
    assert!(list.drain().unwrap().map(Result::unwrap).eq(long.into_iter().rev()));
    let dict = manager.dict_of((0..30_000u32).map(|n| (n, [n; 2]))).unwrap();
    assert_eq!(dict.to_map().unwrap(), (0..30_000).map(|n| (n, [n; 2])).collect());
}

#[test]
fn no_more_snapshots_than_allowed_are_kept_and_those_that_are_dropped_go() {
    let (_server, manager) = both();
    let list = manager.list_of(["a", "b"].map(|text| text.repeat(300_000))).unwrap();
    for _ in 0..200 {
        assert_eq!(list.iter().unwrap().next().unwrap().unwrap().len(), 300_000);
    }
    let all: Vec<_> = (0..64).map(|_| list.iter().unwrap()).collect();
    assert!(matches!(list.iter(), Err(Error::TooMany)));
    drop(all);
    assert_eq!(list.to_vec().unwrap().len(), 2);
}

#[test]
fn changes_by_functions_are_not_lost() {
    let (server, manager) = both();
    let (value, list, dict) =
        (manager.value(0).unwrap(), manager.list_of([0, 0]).unwrap(), manager.dict::<u8, i32>().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    value.update(|n| n + 1).unwrap();
                    list.update(1, |n| n + 1).unwrap();
                    list.update_all(|all| all[0] += 1).unwrap();
                    dict.update(&1, |n| n.unwrap_or(0) + 1).unwrap();
                }
            });
        }
    });
    assert_eq!((value.get().unwrap(), dict.get(&1).unwrap()), (200, Some(200)));
    assert_eq!(list.to_vec().unwrap(), [200, 200]);
    assert!(server.stats().calls >= 4 * 50 * 4);
}

/// A map comes out in another order each time, and is still the one that was there.
#[test]
fn a_value_that_is_encoded_in_different_ways_can_be_changed() {
    let (_server, manager) = both();
    let value = manager.value((0..50).map(|n| (n, n)).collect::<HashMap<u32, u32>>()).unwrap();
    let changed = value.update(|mut map| map.remove(&7).map(|_| map).unwrap()).unwrap();
    assert_eq!(changed.len(), 49);
    assert_eq!(value.get().unwrap(), changed);
}

#[test]
fn proxies_are_equal_if_they_stand_for_the_same() {
    let (server, manager) = both();
    let (one, two) = (manager.list::<u8>().unwrap(), manager.list::<u8>().unwrap());
    assert!(one == one.clone() && one != two);
    assert_eq!(format!("{one:?}"), format!("List {}", server.stats().objects[0].number));
    let copy: Manager = manager.clone();
    assert_eq!(copy.address(), server.address());
}
