//! Operations chosen at random do to an object what they do to its twin in the standard library.

use std::collections::{HashMap, HashSet, VecDeque};

use ipc_manager::{Error, Manager};
use proptest::prelude::*;

use crate::both;

/// What to do, to which key or position, with which value.
type Script = Vec<(u8, u8, u16)>;

fn script() -> impl Strategy<Value = Script> {
    proptest::collection::vec((any::<u8>(), 0..6u8, 0..4u16), 0..60)
}

/// One server for all runs.
fn manager() -> &'static Manager {
    static SERVER: std::sync::OnceLock<(ipc_manager::Server, Manager)> = std::sync::OnceLock::new();
    &SERVER.get_or_init(both).1
}

fn list(script: Script) -> Result<(), Error> {
    let (list, mut twin) = (manager().list::<u16>()?, Vec::new());
    for (what, at, value) in script {
        let at = usize::from(at);
        let is_there = at < twin.len();
        match what % 18 {
            0..3 => {
                twin.push(value);
                assert_eq!(list.push(&value)?, twin.len() - 1);
            }
            3 => assert_eq!(list.pop()?, twin.pop()),
            4 => assert_eq!(list.get(at)?, twin.get(at).copied()),
            5 if is_there => assert_eq!(list.set(at, &value)?, std::mem::replace(&mut twin[at], value)),
            6 if is_there => assert_eq!(list.remove(at)?, twin.remove(at)),
            7 if at <= twin.len() => {
                list.insert(at, &value)?;
                twin.insert(at, value);
            }
            5..8 => assert!(matches!(list.set(at, &value), Err(Error::OutOfRange { .. })) != is_there),
            8 => {
                list.extend(&[value, value + 1])?;
                twin.extend([value, value + 1]);
            }
            9 => {
                list.truncate(at)?;
                twin.truncate(at);
            }
            10 => {
                list.reverse()?;
                twin.reverse();
            }
            11 => assert_eq!(list.position(&value)?, twin.iter().position(|n| *n == value)),
            12 => assert_eq!(list.count(&value)?, twin.iter().filter(|n| **n == value).count()),
            13 => assert_eq!(list.contains(&value)?, twin.contains(&value)),
            14 if is_there => {
                let expected = if twin[at] == value { Ok(()) } else { Err(twin[at]) };
                assert_eq!(list.compare_and_swap(at, &value, &99)?, expected);
                if expected.is_ok() {
                    twin[at] = 99;
                }
            }
            15 => {
                list.update_all(|all| all.sort())?;
                twin.sort();
            }
            16 if value == 0 => assert_eq!(list.drain()?.collect::<Result<Vec<_>, _>>()?, std::mem::take(&mut twin)),
            _ => assert_eq!(list.len()?, twin.len()),
        }
        assert_eq!(list.to_vec()?, twin);
    }
    Ok(())
}

fn dict(script: Script) -> Result<(), Error> {
    let (dict, mut twin) = (manager().dict::<u8, u16>()?, HashMap::new());
    for (what, key, value) in script {
        match what % 10 {
            0..3 => assert_eq!(dict.insert(&key, &value)?, twin.insert(key, value)),
            3 => assert_eq!(dict.remove(&key)?, twin.remove(&key)),
            4 => assert_eq!(dict.get(&key)?, twin.get(&key).copied()),
            5 => assert_eq!(dict.get_or_insert(&key, &value)?, *twin.entry(key).or_insert(value)),
            6 => {
                let new = dict.update(&key, |old| old.map_or(value, |old| old + 1))?;
                let entry = twin.entry(key).and_modify(|old| *old += 1).or_insert(value);
                assert_eq!(new, *entry);
            }
            7 => {
                let there = twin.get(&key).copied();
                let result = dict.compare_and_swap(&key, Some(&value), None)?;
                assert_eq!(result, if there == Some(value) { Ok(()) } else { Err(there) });
                if result.is_ok() {
                    twin.remove(&key);
                }
            }
            8 => match dict.pop_any()? {
                Some((key, value)) => assert_eq!(twin.remove(&key), Some(value)),
                None => assert!(twin.is_empty()),
            },
            _ => {
                dict.extend([(&key, &value), (&(key + 1), &value)])?;
                twin.extend([(key, value), (key + 1, value)]);
            }
        }
        assert_eq!((dict.to_map()?, dict.len()?), (twin.clone(), twin.len()));
    }
    Ok(())
}

fn set(script: Script) -> Result<(), Error> {
    let (set, mut twin) = (manager().set::<u8>()?, HashSet::new());
    for (what, element, _) in script {
        match what % 4 {
            0 | 1 => assert_eq!(set.insert(&element)?, twin.insert(element)),
            2 => assert_eq!(set.remove(&element)?, twin.remove(&element)),
            _ => assert_eq!(set.contains(&element)?, twin.contains(&element)),
        }
        assert_eq!((set.to_set()?, set.len()?), (twin.clone(), twin.len()));
    }
    Ok(())
}

fn queue(script: Script) -> Result<(), Error> {
    let (queue, mut twin) = (manager().bounded_queue::<u16>(3)?, VecDeque::new());
    for (what, _, value) in script {
        if what % 2 == 0 {
            match queue.try_put(&value) {
                Ok(()) => twin.push_back(value),
                Err(error) => assert!(error.is_would_block() && twin.len() == 3, "{error:?}"),
            }
        } else {
            match queue.try_get() {
                Ok(value) => assert_eq!(Some(value), twin.pop_front()),
                Err(error) => assert!(error.is_would_block() && twin.is_empty(), "{error:?}"),
            }
        }
        assert_eq!((queue.len()?, queue.is_full()?), (twin.len(), twin.len() == 3));
    }
    Ok(())
}

/// In a batch, the same comes of it.
fn batch(script: Script) -> Result<(), Error> {
    let (dict, mut twin) = (manager().dict::<u8, u16>()?, HashMap::new());
    let mut batch = manager().batch();
    let pending: Vec<_> = script
        .iter()
        .map(|(what, key, value)| match what % 3 {
            0 => (batch.add(dict.later().insert(key, value)), twin.insert(*key, *value)),
            1 => (batch.add(dict.later().remove(key)), twin.remove(key)),
            _ => (batch.add(dict.later().get(key)), twin.get(key).copied()),
        })
        .collect();
    let mut results = batch.send()?;
    for (pending, expected) in pending {
        assert_eq!(results.take(pending)?, expected);
    }
    assert_eq!(dict.to_map()?, twin);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_list_is_a_vec(script in script()) {
        list(script).unwrap();
    }

    #[test]
    fn a_dict_is_a_map(script in script()) {
        dict(script).unwrap();
    }

    #[test]
    fn a_set_is_a_set(script in script()) {
        set(script).unwrap();
    }

    #[test]
    fn a_queue_is_a_queue(script in script()) {
        queue(script).unwrap();
    }

    #[test]
    fn a_batch_is_what_is_in_it(script in script()) {
        batch(script).unwrap();
    }
}
