use std::thread;
use std::time::Duration;

use ipc_manager::Error;

use crate::{LONG, SHORT, both, takes, wait_for_waiting};

#[test]
fn a_queue_is_first_in_first_out_and_has_limits() {
    let (_server, manager) = both();
    let queue = manager.bounded_queue::<u32>(2).unwrap();
    assert_eq!(
        (queue.capacity().unwrap(), queue.is_empty().unwrap(), queue.is_full().unwrap()),
        (Some(2), true, false)
    );
    queue.put(&1).unwrap();
    queue.try_put(&2).unwrap();
    assert!(queue.is_full().unwrap());
    assert!(matches!(queue.try_put(&3), Err(Error::WouldBlock)));
    assert!(takes(SHORT, || queue.put_timeout(&3, SHORT)).unwrap_err().is_timeout());
    assert_eq!((queue.len().unwrap(), queue.get().unwrap(), queue.try_get().unwrap()), (2, 1, 2));
    assert!(queue.try_get().unwrap_err().is_would_block());
    assert!(takes(SHORT, || queue.get_timeout(SHORT)).unwrap_err().is_timeout());
    assert!(takes(Duration::ZERO, || queue.get_timeout(Duration::ZERO)).unwrap_err().is_timeout());
    queue.put_timeout(&4, LONG).unwrap();
    assert_eq!(queue.get_timeout(Duration::MAX).unwrap(), 4);
    assert_eq!(manager.queue::<u8>().unwrap().capacity().unwrap(), None);
    assert_eq!(manager.bounded_joinable_queue::<u8>(1).unwrap().capacity().unwrap(), Some(1));
}

#[test]
fn each_element_comes_out_once_whatever_times_out_meanwhile() {
    let (_server, manager) = both();
    let queue = manager.bounded_queue::<u32>(3).unwrap();
    let got: Vec<u32> = thread::scope(|scope| {
        let getters: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut got = Vec::new();
                    loop {
                        match queue.get_timeout(Duration::from_micros(200)) {
                            Ok(u32::MAX) => return got,
                            Ok(n) => got.push(n),
                            Err(error) => assert!(error.is_timeout(), "{error:?}"),
                        }
                    }
                })
            })
            .collect();
        let putters: Vec<_> = (0..3)
            .map(|from| {
                let queue = &queue;
                scope.spawn(move || {
                    for n in from * 100..from * 100 + 100 {
                        queue.put(&n).unwrap();
                    }
                })
            })
            .collect();
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        (0..3).for_each(|_| queue.put(&u32::MAX).unwrap());
        getters.into_iter().flat_map(|getter| getter.join().unwrap()).collect()
    });
    let mut sorted = got;
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq(0..300), "{sorted:?}");
    assert!(queue.is_empty().unwrap());
}

#[test]
fn join_returns_when_the_tasks_are_done_by_those_who_took_them() {
    let (_server, manager) = both();
    let tasks = manager.joinable_queue::<u32>().unwrap();
    tasks.try_join().unwrap();
    assert!(matches!(tasks.task_done(), Err(Error::NoTask)));
    tasks.put(&1).unwrap();
    assert!(tasks.try_join().unwrap_err().is_would_block());
    assert!(takes(SHORT, || tasks.join_timeout(SHORT)).unwrap_err().is_timeout());
    assert_eq!(tasks.get().unwrap(), 1);
    thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(tasks.task_done(), Err(Error::NoTask)), "another thread's task"));
    });
    thread::scope(|scope| {
        scope.spawn(|| tasks.join_timeout(LONG).unwrap());
        wait_for_waiting(&manager, 1);
        tasks.task_done().unwrap();
    });
    tasks.join().unwrap();
}

#[test]
fn a_value_that_cannot_be_decoded_is_taken_all_the_same() {
    let (_server, manager) = both();
    #[derive(Debug)]
    struct Picky;
    impl serde::Serialize for Picky {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u8(1)
        }
    }
    impl<'de> serde::Deserialize<'de> for Picky {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("not this one"))
        }
    }
    let queue = manager.queue::<Picky>().unwrap();
    queue.put(&Picky).unwrap();
    assert!(matches!(queue.get(), Err(Error::Decode(_))));
    assert!(queue.try_get().unwrap_err().is_would_block());
}
