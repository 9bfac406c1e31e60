//! Queues whose tasks are done when somebody says so.

use ipc_core::Process;
use ipc_queue::{Error, JoinableQueue};
use ipc_tests::isolated;

use super::{Holder, LONG, SHORT, SOON, timed_out, while_waiting};

/// Does all tasks until the queue is closed.
fn work(queue: JoinableQueue<u32>) -> Vec<u32> {
    let mut done = Vec::new();
    loop {
        match queue.get() {
            Ok(task) => done.push(task),
            Err(Error::Closed) => return done,
            Err(error) => panic!("{error:?}"),
        }
        queue.task_done().unwrap();
    }
}

#[test]
fn join_waits_until_all_tasks_are_done_by_whomever() {
    isolated(|| {
        let queue = JoinableQueue::new().unwrap();
        queue.join().unwrap(); // nothing is to be done
        for task in 0..1000 {
            queue.put(task).unwrap();
        }
        assert!(matches!(queue.join_timeout(SHORT), Err(Error::Timeout)));
        let workers = [(); 3].map(|()| Process::spawn(work, queue.clone()).unwrap());
        queue.join().unwrap();
        assert!(queue.is_empty());
        for task in 1000..1010 {
            queue.put(task).unwrap();
        }
        queue.join_timeout(LONG).unwrap();
        queue.close().unwrap();
        let mut done: Vec<u32> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        done.sort_unstable();
        assert!(done.into_iter().eq(0..1010));
    });
}

#[test]
fn a_task_that_was_taken_is_not_done_yet() {
    isolated(|| {
        let queue = JoinableQueue::new().unwrap();
        queue.put(7).unwrap();
        let holder = Holder::of(queue.clone(), |queue: JoinableQueue<u32>, hold| {
            assert_eq!(queue.get().unwrap(), 7);
            hold();
            queue.task_done().unwrap();
        });
        assert!(timed_out(|limit| queue.join_timeout(limit)));
        let (result, took) = while_waiting(|| queue.join(), || holder.release());
        assert!(result.is_ok() && took < SOON, "{took:?}");
    });
}

#[test]
fn the_task_of_a_killed_worker_goes_to_another_one_and_join_waits_for_that() {
    isolated(|| {
        let queue = JoinableQueue::new().unwrap();
        for task in 1..=5 {
            queue.put(task).unwrap();
        }
        Holder::of(queue.clone(), |queue: JoinableQueue<u32>, hold| {
            assert_eq!([(); 3].map(|()| queue.get().unwrap()), [1, 2, 3]);
            queue.task_done().unwrap(); // the oldest: 1
            hold();
        })
        .kill();
        let other = queue.clone(); // as if somebody else were there who could do them
        assert!(timed_out(|limit| queue.join_timeout(limit)));
        drop(other);
        assert!(queue.join().unwrap_err().is_disconnected(), "nobody is left who could do them");
        let worker = Process::spawn(work, queue.clone()).unwrap();
        queue.join_timeout(LONG).unwrap();
        queue.close().unwrap();
        assert_eq!(worker.join().unwrap(), [2, 3, 4, 5]);
    });
}

#[test]
fn each_thread_finishes_its_own_tasks_and_no_more() {
    isolated(|| {
        let queue = JoinableQueue::<u32>::new().unwrap();
        assert!(matches!(queue.task_done(), Err(Error::NoTask)));
        queue.put(1).unwrap();
        assert!(matches!(queue.task_done(), Err(Error::NoTask)), "nobody has taken it yet");
        assert_eq!(queue.get().unwrap(), 1);
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(matches!(queue.task_done(), Err(Error::NoTask))));
        });
        let other = |queue: JoinableQueue<u32>| matches!(queue.task_done(), Err(Error::NoTask));
        assert!(Process::spawn(other, queue.clone()).unwrap().join().unwrap());
        assert!(timed_out(|limit| queue.join_timeout(limit)));
        queue.clone().task_done().unwrap(); // by whichever handle
        assert!(matches!(queue.task_done(), Err(Error::NoTask)));
        queue.join().unwrap();
    });
}

#[test]
fn the_tasks_of_two_queues_are_not_mixed_up() {
    isolated(|| {
        let queues = [JoinableQueue::<u32>::new().unwrap(), JoinableQueue::new().unwrap()];
        queues.iter().for_each(|queue| queue.put(1).unwrap());
        queues[0].get().unwrap();
        assert!(matches!(queues[1].task_done(), Err(Error::NoTask)));
        queues[1].get().unwrap();
        queues[0].task_done().unwrap();
        queues[0].join().unwrap();
        assert!(matches!(queues[0].task_done(), Err(Error::NoTask)));
        assert!(timed_out(|limit| queues[1].join_timeout(limit)));
        queues[1].task_done().unwrap();
        queues[1].join().unwrap();
    });
}

#[test]
fn the_task_of_a_thread_that_has_ended_comes_back() {
    isolated(|| {
        let queue = JoinableQueue::<u32>::new().unwrap();
        queue.put(1).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| queue.get().unwrap());
        });
        assert_eq!(queue.get_timeout(LONG).unwrap(), 1);
        queue.task_done().unwrap();
        queue.join().unwrap();
    });
}
