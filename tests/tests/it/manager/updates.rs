//! Changes by many processes at the same time, of which none is lost.

use ipc_tests::isolated;

use super::*;

const PROCESSES: u32 = 4;
const TIMES: u32 = 200;

/// Runs this in some processes at the same time.
fn together<T>(given: &T, what: impl Fn(&T, u32) + Copy + Send + 'static)
where
    T: Clone + Serialize + for<'de> Deserialize<'de> + 'static,
{
    let mut others: Vec<Other> = (0..PROCESSES)
        .map(|n| {
            Other::until((given.clone(), n), move |(given, n): (T, u32), line| {
                line.tell_and_wait();
                what(&given, n);
                line.tell_and_wait();
            })
        })
        .collect();
    others.iter_mut().for_each(Other::go_on);
    others.iter_mut().for_each(Other::reached);
    others.into_iter().for_each(Other::finish);
}

#[test]
fn no_update_of_several_processes_is_lost() {
    isolated(|| {
        let (manager, _) = start();
        let key = || "n".to_string();
        let dict = manager.dict::<String, u32>().unwrap();
        together(&dict, move |dict, _| {
            for _ in 0..TIMES {
                dict.update(&key(), |n| n.unwrap_or(0) + 1).unwrap();
            }
        });
        assert_eq!(dict.get(&key()).unwrap(), Some(PROCESSES * TIMES));
        let value = manager.value(0u32).unwrap();
        together(&value, |value, _| {
            for _ in 0..TIMES {
                value.update(|n| n + 1).unwrap();
            }
        });
        assert_eq!(value.get().unwrap(), PROCESSES * TIMES);
    });
}

#[test]
fn no_update_of_a_nested_value_is_lost_and_each_process_sees_its_own_in_order() {
    isolated(|| {
        let (manager, _) = start();
        let dict = manager.dict::<u32, Vec<(u32, u32)>>().unwrap();
        together(&dict, |dict, process| {
            for i in 0..TIMES / 4 {
                let append = |there: Option<Vec<_>>| {
                    let mut all = there.unwrap_or_default();
                    all.push((process, i));
                    all
                };
                dict.update(&7, append).unwrap();
            }
        });
        let all = dict.get(&7).unwrap().unwrap();
        assert_eq!(all.len() as u32, PROCESSES * (TIMES / 4));
        for process in 0..PROCESSES {
            let theirs = all.iter().filter(|(p, _)| *p == process).map(|(_, i)| *i);
            assert!(theirs.eq(0..TIMES / 4), "{process}: {all:?}");
        }
    });
}

#[test]
fn a_lock_makes_two_operations_one() {
    isolated(|| {
        let (manager, _) = start();
        let given = (manager.lock().unwrap(), manager.value(0u32).unwrap());
        together(&given, |(lock, value), _| {
            for _ in 0..TIMES / 4 {
                let _guard = lock.lock().unwrap();
                let n = value.get().unwrap();
                value.set(&(n + 1)).unwrap();
            }
        });
        assert_eq!(given.1.get().unwrap(), PROCESSES * (TIMES / 4));
    });
}

#[test]
fn what_goes_through_a_queue_arrives_once_and_of_each_process_in_order() {
    isolated(|| {
        let (manager, _) = start();
        let queues = (manager.bounded_queue::<(u32, u32)>(5).unwrap(), manager.queue::<(u32, u32)>().unwrap());
        together(&queues, |(through, out), process| {
            for i in 0..TIMES {
                match process % 2 {
                    0 => through.put(&(process, i)).unwrap(),
                    _ => out.put(&through.get().unwrap()).unwrap(),
                }
            }
        });
        assert!(queues.0.is_empty().unwrap());
        let mut all: Vec<(u32, u32)> = (0..PROCESSES / 2 * TIMES).map(|_| queues.1.try_get().unwrap()).collect();
        assert!(queues.1.is_empty().unwrap());
        all.sort_unstable();
        assert!(all.into_iter().eq((0..PROCESSES).step_by(2).flat_map(|p| (0..TIMES).map(move |i| (p, i)))));
    });
}
