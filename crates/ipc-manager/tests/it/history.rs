//! What several clients see of an object at the same time is what they could see if one operation were done after the other.
//!
//! Each operation is noted with the time before it was asked for and the time after the answer; then an order is looked for in which each gives what it gave, and
//! none comes before one that had ended when it began. That is the search of Wing and Gong, *Testing and Verifying Concurrent Objects* (1993).

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use ipc_manager::{Manager, Server};

use crate::{server, stranger};

const CLIENTS: usize = 4;
/// Of each client in a round.
const OPERATIONS: usize = 6;
const ROUNDS: u64 = 60;

/// An operation with what it gave, and when it began and ended.
#[derive(Clone, Debug)]
struct Done<O> {
    what: O,
    began: u64,
    ended: u64,
}

/// Whether the operations could have been done one after the other; `step` does one to the state if it gives what it gave.
fn is_linear<O, S: Clone + Eq + Hash>(history: &[Done<O>], start: S, step: impl Fn(&mut S, &O) -> bool) -> bool {
    assert!(history.len() <= 64);
    let all = u64::MAX >> (64 - history.len());
    let (mut seen, mut open) = (HashSet::new(), vec![(0u64, start)]);
    while let Some((done, state)) = open.pop() {
        if done == all {
            return true;
        }
        let left = || (0..history.len()).filter(|i| done >> i & 1 == 0);
        let first_end = left().map(|i| history[i].ended).min().unwrap_or(u64::MAX);
        for next in left().filter(|i| history[*i].began < first_end) {
            let mut state = state.clone();
            if step(&mut state, &history[next].what) {
                let done = done | 1 << next;
                if seen.insert((done, state.clone())) {
                    open.push((done, state));
                }
            }
        }
    }
    false
}

/// Runs clients that each have a connection of their own, as processes have, and notes what they do.
fn record<O: Send, C: Send>(
    server: &Server,
    open: impl Fn(&Manager) -> C + Sync,
    act: impl Fn(&C, usize, u64) -> O + Sync,
    seed: u64,
) -> Vec<Done<O>> {
    let (clock, history, begin) = (AtomicU64::new(0), Mutex::new(Vec::new()), Barrier::new(CLIENTS));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (clock, history, begin, open, act) = (&clock, &history, &begin, &open, &act);
            scope.spawn(move || {
                let manager = stranger(server);
                let object = open(&manager);
                begin.wait();
                let mut random = seed * 1000 + client as u64 + 1;
                for n in 0..OPERATIONS {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let began = clock.fetch_add(1, Ordering::SeqCst);
                    let what = act(&object, client * OPERATIONS + n, random >> 33);
                    let ended = clock.fetch_add(1, Ordering::SeqCst);
                    history.lock().unwrap().push(Done { what, began, ended });
                }
            });
        }
    });
    history.into_inner().unwrap()
}

#[derive(Clone, Debug)]
enum OnDict {
    Insert(u8, usize, Option<usize>),
    Remove(u8, Option<usize>),
    Get(u8, Option<usize>),
    Swap(u8, Option<usize>, usize, Result<(), Option<usize>>),
    Len(usize),
    All(Vec<(u8, usize)>),
}

#[test]
fn a_dict_is_linear() {
    let server = server();
    let manager = server.manager().unwrap();
    for seed in 0..ROUNDS {
        let dict = manager.dict::<u8, usize>().unwrap();
        manager.publish("dict", &dict).unwrap();
        let open = |manager: &Manager| manager.open::<ipc_manager::Dict<u8, usize>>("dict").unwrap();
        let history = record(
            &server,
            open,
            |dict, n, random| {
                let key = (random / 8 % 2) as u8;
                match random % 8 {
                    0 | 1 => OnDict::Insert(key, n, dict.insert(&key, &n).unwrap()),
                    2 => OnDict::Remove(key, dict.remove(&key).unwrap()),
                    3 | 4 => OnDict::Get(key, dict.get(&key).unwrap()),
                    5 => {
                        let there = dict.get(&key).unwrap();
                        OnDict::Swap(key, there, n, dict.compare_and_swap(&key, there.as_ref(), Some(&n)).unwrap())
                    }
                    6 => OnDict::Len(dict.len().unwrap()),
                    _ => {
                        let mut all: Vec<_> = dict.iter().unwrap().map(Result::unwrap).collect();
                        all.sort_unstable();
                        OnDict::All(all)
                    }
                }
            },
            seed,
        );
        manager.unlink("dict").unwrap();
        let step = |state: &mut [Option<usize>; 2], what: &OnDict| match what {
            OnDict::Insert(key, new, old) => state[usize::from(*key)].replace(*new) == *old,
            OnDict::Remove(key, old) => state[usize::from(*key)].take() == *old,
            OnDict::Get(key, there) => state[usize::from(*key)] == *there,
            OnDict::Swap(key, expected, new, result) => {
                let there = &mut state[usize::from(*key)];
                let fits = *there == *expected;
                let gave = if fits { Ok(()) } else { Err(*there) };
                if fits {
                    *there = Some(*new);
                }
                gave == *result
            }
            OnDict::Len(len) => state.iter().flatten().count() == *len,
            OnDict::All(all) => {
                let there = [0u8, 1].iter().filter_map(|key| Some((*key, state[usize::from(*key)]?)));
                there.eq(all.iter().copied())
            }
        };
        assert!(is_linear(&history, [None; 2], step), "seed {seed}: {history:#?}");
    }
}

#[derive(Clone, Debug)]
enum OnList {
    Push(usize, usize),
    Pop(Option<usize>),
    Get(usize, Option<usize>),
    Reverse,
    All(Vec<usize>),
}

#[test]
fn a_list_is_linear() {
    let server = server();
    let manager = server.manager().unwrap();
    for seed in 0..ROUNDS {
        let list = manager.list::<usize>().unwrap();
        manager.publish("list", &list).unwrap();
        let history = record(
            &server,
            |manager| manager.open::<ipc_manager::List<usize>>("list").unwrap(),
            |list, n, random| match random % 8 {
                0..3 => OnList::Push(n, list.push(&n).unwrap()),
                3 | 4 => OnList::Pop(list.pop().unwrap()),
                5 => OnList::Get(1, list.get(1).unwrap()),
                6 => {
                    list.reverse().unwrap();
                    OnList::Reverse
                }
                _ => OnList::All(list.to_vec().unwrap()),
            },
            seed,
        );
        manager.unlink("list").unwrap();
        let step = |state: &mut Vec<usize>, what: &OnList| match what {
            OnList::Push(n, place) => {
                state.push(*n);
                state.len() - 1 == *place
            }
            OnList::Pop(n) => state.pop() == *n,
            OnList::Get(at, n) => state.get(*at) == n.as_ref(),
            OnList::Reverse => {
                state.reverse();
                true
            }
            OnList::All(all) => state == all,
        };
        assert!(is_linear(&history, Vec::new(), step), "seed {seed}: {history:#?}");
    }
}

#[derive(Clone, Debug)]
enum OnValue {
    Replace(usize, usize),
    Get(usize),
    Update(usize),
}

#[test]
fn a_value_is_linear() {
    let server = server();
    let manager = server.manager().unwrap();
    for seed in 0..ROUNDS {
        let value = manager.value(0usize).unwrap();
        manager.publish("value", &value).unwrap();
        let history = record(
            &server,
            |manager| manager.open::<ipc_manager::Value<usize>>("value").unwrap(),
            |value, n, random| match random % 3 {
                0 => OnValue::Replace(n * 1000, value.replace(&(n * 1000)).unwrap()),
                1 => OnValue::Get(value.get().unwrap()),
                _ => OnValue::Update(value.update(|n| n + 1).unwrap()),
            },
            seed,
        );
        manager.unlink("value").unwrap();
        let step = |state: &mut usize, what: &OnValue| match what {
            OnValue::Replace(new, old) => std::mem::replace(state, *new) == *old,
            OnValue::Get(n) => *state == *n,
            OnValue::Update(n) => {
                *state += 1;
                *state == *n
            }
        };
        assert!(is_linear(&history, 0, step), "seed {seed}: {history:#?}");
    }
}

#[derive(Clone, Debug)]
enum OnQueue {
    Put(usize, bool),
    Get(Option<usize>),
    Len(usize),
}

#[test]
fn a_queue_is_linear() {
    let server = server();
    let manager = server.manager().unwrap();
    for seed in 0..ROUNDS {
        let queue = manager.bounded_queue::<usize>(3).unwrap();
        manager.publish("queue", &queue).unwrap();
        let history = record(
            &server,
            |manager| manager.open::<ipc_manager::Queue<usize>>("queue").unwrap(),
            |queue, n, random| match random % 8 {
                0..4 => OnQueue::Put(n, queue.try_put(&n).is_ok()),
                4..7 => OnQueue::Get(queue.try_get().ok()),
                _ => OnQueue::Len(queue.len().unwrap()),
            },
            seed,
        );
        manager.unlink("queue").unwrap();
        let step = |state: &mut Vec<usize>, what: &OnQueue| match what {
            OnQueue::Put(n, true) => {
                state.push(*n);
                state.len() <= 3
            }
            OnQueue::Put(_, false) => state.len() == 3,
            OnQueue::Get(None) => state.is_empty(),
            OnQueue::Get(Some(n)) => !state.is_empty() && state.remove(0) == *n,
            OnQueue::Len(len) => state.len() == *len,
        };
        assert!(is_linear(&history, Vec::new(), step), "seed {seed}: {history:#?}");
    }
}

/// The search itself: of two that overlap either may be the first, of two that do not the earlier one is.
#[test]
fn an_order_that_cannot_be_is_found_out() {
    let step = |state: &mut usize, what: &OnValue| match what {
        OnValue::Replace(new, old) => std::mem::replace(state, *new) == *old,
        OnValue::Get(n) => *state == *n,
        OnValue::Update(_) => false,
    };
    let done = |what, began, ended| Done { what, began, ended };
    let write = done(OnValue::Replace(1, 0), 0, 3);
    assert!(is_linear(&[write.clone(), done(OnValue::Get(0), 1, 2)], 0, step));
    assert!(is_linear(&[write.clone(), done(OnValue::Get(1), 1, 2)], 0, step));
    assert!(is_linear(&[write.clone(), done(OnValue::Get(1), 4, 5)], 0, step));
    assert!(!is_linear(&[write.clone(), done(OnValue::Get(0), 4, 5)], 0, step));
    assert!(!is_linear(&[write, done(OnValue::Get(1), 1, 2), done(OnValue::Get(0), 4, 5)], 0, step));
}
