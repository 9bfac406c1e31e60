//! Waiting for a queue together with other things.

use std::time::{Duration, Instant};

use ipc_core::{Process, wait};
use ipc_pipe::duplex;
use ipc_queue::{Consumer, Producer, Queue};
use ipc_tests::{isolated, least};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};

use super::{Holder, LONG, SHORT, SOON};

#[test]
fn a_queue_and_a_connection_are_waited_for_together() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let ready = queue.readiness().unwrap();
        let (mut ours, mut theirs) = duplex::<u8, ()>().unwrap();
        assert!(wait(&[&ready, &theirs], SHORT).unwrap().is_empty());
        ours.send(1).unwrap();
        assert_eq!(wait(&[&ready, &theirs], LONG).unwrap(), [1]);
        queue.put(5).unwrap();
        assert_eq!(wait(&[&ready, &theirs], LONG).unwrap(), [0, 1]);
        theirs.recv().unwrap();
        assert_eq!(wait(&[&ready, &theirs], LONG).unwrap(), [0], "it stays ready as long as something is there");
        assert_eq!(queue.get().unwrap(), 5);
        assert!(wait(&[&ready, &theirs], SHORT).unwrap().is_empty());
    });
}

#[test]
fn a_put_of_another_process_ends_the_wait() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let ready = queue.readiness().unwrap();
        let holder = Holder::of(queue.producer(), |queue: Producer<u32>, hold| {
            for n in 0..100 {
                hold();
                queue.put(n).unwrap();
            }
            hold();
        });
        let Holder { process, mut line } = holder;
        for n in 0..100 {
            assert!(wait(&[&ready], Duration::ZERO).unwrap().is_empty());
            line.send(()).unwrap();
            let started = Instant::now();
            assert_eq!(wait(&[&ready], LONG).unwrap(), [0]);
            assert!(started.elapsed() < SOON);
            assert_eq!(queue.try_get().unwrap(), n);
            line.recv().unwrap();
        }
        drop(line);
        process.join().unwrap();
    });
}

#[test]
fn all_who_wait_are_woken_and_one_of_them_gets_it() {
    isolated(|| {
        let (queue, done) = (Queue::<u32>::new().unwrap(), Queue::<u32>::new().unwrap());
        let work = |(queue, done): (Consumer<u32>, Producer<u32>)| {
            let ready = queue.readiness().unwrap();
            loop {
                assert_eq!(wait(&[&ready], Duration::MAX).unwrap(), [0]);
                match queue.try_get() {
                    Ok(n) => done.put(n).unwrap(),
                    Err(error) if error.is_would_block() => {} // another one was faster
                    Err(error) => return assert!(error.is_closed(), "{error:?}"),
                }
            }
        };
        let workers = [(); 3].map(|()| Process::spawn(work, (queue.consumer(), done.producer())).unwrap());
        for n in 0..500 {
            queue.put(n).unwrap();
            assert_eq!(done.get_timeout(LONG).unwrap(), n);
        }
        queue.close().unwrap();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn the_end_of_a_queue_is_something_to_be_told() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let (consumer, ready) = (queue.consumer(), queue.readiness().unwrap());
        let holder = Holder::of(queue.producer(), |_queue, hold| hold());
        drop(queue);
        assert!(wait(&[&ready], SHORT).unwrap().is_empty());
        holder.kill();
        assert_eq!(wait(&[&ready], LONG).unwrap(), [0]);
        assert!(consumer.get().unwrap_err().is_disconnected());

        let queue = Queue::<u32>::new().unwrap();
        let ready = queue.readiness().unwrap();
        let close = |queue: Queue<u32>| queue.close().unwrap();
        let process = Process::spawn(close, queue.clone()).unwrap();
        assert_eq!(wait(&[&ready], LONG).unwrap(), [0]);
        assert!(queue.get().unwrap_err().is_closed());
        process.join().unwrap();
        assert_eq!(wait(&[&queue.readiness().unwrap()], LONG).unwrap(), [0]);
    });
}

#[test]
fn what_comes_back_from_the_dead_ends_the_wait() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        queue.put(1).unwrap();
        let holder = Holder::of(queue.consumer(), |queue: Consumer<u32>, hold| {
            let _lease = queue.lease().unwrap();
            hold();
        });
        let ready = queue.readiness().unwrap();
        assert!(wait(&[&ready], SHORT).unwrap().is_empty());
        holder.kill();
        let started = Instant::now();
        assert_eq!(wait(&[&ready], LONG).unwrap(), [0]);
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        assert_eq!(queue.try_get().unwrap(), 1);
    });
}

#[test]
fn a_closed_queue_is_ready_only_when_nothing_can_come_back_any_more() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        queue.put(1).unwrap();
        let holder = Holder::of(queue.consumer(), |queue: Consumer<u32>, hold| {
            let _lease = queue.lease().unwrap();
            hold();
        });
        queue.close().unwrap();
        let ready = queue.readiness().unwrap();
        // Else a loop around `wait` and `try_get` would run at full speed.
        assert!(queue.try_get().unwrap_err().is_would_block());
        assert!(wait(&[&ready], SHORT).unwrap().is_empty());
        holder.kill();
        assert_eq!(wait(&[&ready], LONG).unwrap(), [0]);
        assert_eq!(queue.try_get().unwrap(), 1);
        assert_eq!(wait(&[&ready], LONG).unwrap(), [0]);
        assert!(queue.try_get().unwrap_err().is_closed());
    });
}

#[test]
fn what_lay_in_the_queue_before_is_seen_by_wait_and_by_epoll() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        queue.put(1).unwrap();
        let ready = queue.readiness().unwrap();
        assert_eq!(wait(&[&ready], Duration::ZERO).unwrap(), [0]);
        let epoll = epoll_of(&ready);
        assert!(polled(&epoll, LONG));
    });
}

fn epoll_of(ready: &ipc_queue::Readiness) -> Epoll {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    epoll.add(ready, EpollEvent::new(EpollFlags::EPOLLIN, 7)).unwrap();
    epoll
}

fn polled(epoll: &Epoll, limit: Duration) -> bool {
    let mut events = [EpollEvent::empty(); 4];
    let limit = EpollTimeout::try_from(limit).unwrap();
    let count = epoll.wait(&mut events, limit).unwrap();
    assert!(count <= 1 && events[..count].iter().all(|event| event.data() == 7));
    count == 1
}

#[test]
fn epoll_says_when_something_has_come() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let ready = queue.readiness().unwrap();
        let epoll = epoll_of(&ready);
        let holder = Holder::of(queue.producer(), |queue: Producer<u32>, hold| {
            for n in 0..50 {
                hold();
                queue.put(n).unwrap();
            }
            hold();
        });
        let Holder { process, mut line } = holder;
        for n in 0..50 {
            assert!(!ready.rearm() && !polled(&epoll, Duration::ZERO));
            line.send(()).unwrap();
            assert!(polled(&epoll, LONG) && polled(&epoll, Duration::ZERO), "it stays so until it is armed again");
            assert_eq!(queue.try_get().unwrap(), n);
            assert!(queue.try_get().unwrap_err().is_would_block());
            line.recv().unwrap();
        }
        queue.put(1).unwrap();
        assert!(ready.rearm() && polled(&epoll, Duration::ZERO), "something has come meanwhile");
        queue.close().unwrap();
        assert_eq!(queue.get().unwrap(), 1);
        assert!(ready.rearm() && polled(&epoll, Duration::ZERO), "and now nothing will come any more");
        drop(line);
        process.join().unwrap();
    });
}

#[test]
fn to_wait_costs_next_to_nothing() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let _other = Holder::of(queue.consumer(), |_queue: Consumer<u32>, hold| hold());
        let ready = queue.readiness().unwrap();
        // One that was ready, and is not any more, is where it could go wrong.
        queue.put(1).unwrap();
        assert_eq!(wait(&[&ready], LONG).unwrap(), [0]);
        queue.get().unwrap();
        let limit = Duration::from_millis(100);
        let used = least(limit, || {
            let before = processor_time();
            assert!(wait(&[&ready], Duration::from_millis(500)).unwrap().is_empty());
            processor_time() - before
        });
        assert!(used < limit, "{used:?}");
    });
}

fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let of = |time: nix::sys::time::TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
    of(usage.user_time()) + of(usage.system_time())
}
