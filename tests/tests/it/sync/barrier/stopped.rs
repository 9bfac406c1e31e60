//! Barriers of which a stopped process has the lock.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ipc_core::Segment;
use ipc_sync::{Barrier, BrokenBy, Error};
use ipc_tests::raw;
use ipc_tests::{eventually, isolated};

use super::broken_by;
use crate::sync::{Holder, LONG, timed_out, while_waiting};

/// A barrier whose lock somebody has who is stopped: so it looks to all others.
struct Jammed {
    barrier: Barrier,
    segment: Segment,
    stopped: Holder,
}

impl Jammed {
    fn new(parties: u32) -> Jammed {
        let segment = Segment::anonymous(Barrier::size(parties)).unwrap();
        let barrier = Barrier::create_in(&segment, 0, parties).unwrap();
        let stopped = Holder::of(&barrier, |_| Ok(()));
        stopped.stop();
        Jammed { barrier, segment, stopped }
    }

    /// The C library's mutex is the first field behind the header, and its owner's thread the first one in it.
    fn jam(&self) {
        let owner = raw::word32(&crate::segment::file_of(&self.segment), Segment::ALIGNMENT);
        let jam = || owner.compare_exchange(0, self.stopped.pid(), Ordering::SeqCst, Ordering::SeqCst).is_ok();
        eventually("nobody else has it", jam);
        assert!(self.barrier.enroll().is_err_and(|error| error.is_timeout()), "it keeps out who needs the lock");
    }

    fn free(self) {
        raw::word32(&crate::segment::file_of(&self.segment), Segment::ALIGNMENT).store(0, Ordering::SeqCst);
        self.barrier.reset().unwrap();
        self.stopped.end();
    }
}

fn in_time<R>(call: impl FnOnce() -> R) -> R {
    let (result, took) = ipc_tests::took(call);
    assert!(took < Duration::from_millis(700), "{took:?}"); // a call that waits for the lock takes a second
    result
}

#[test]
fn time_runs_out_in_time_also_while_a_stopped_process_has_the_lock() {
    isolated(|| {
        let jammed = Jammed::new(3);
        let me = std::process::id();
        let (mut first, mut second) = (jammed.barrier.enroll().unwrap(), jammed.barrier.enroll().unwrap());
        // One that waits already, and one that cannot come any more.
        let (result, _) = while_waiting(
            || first.wait(),
            || {
                jammed.jam();
                assert!(in_time(|| timed_out(|limit| second.wait_timeout(limit))));
                assert_eq!(in_time(|| jammed.barrier.broken_by().unwrap()), Some(BrokenBy::Timeout { pid: me }));
                assert_eq!(broken_by(second.wait()), Some(BrokenBy::Timeout { pid: me }));
                assert!(matches!(jammed.barrier.repair(), Err(Error::Timeout)));
                assert!(matches!(jammed.barrier.reset(), Err(Error::Timeout)));
            },
        );
        assert_eq!(broken_by(result), Some(BrokenBy::Timeout { pid: me }));
        assert_eq!(jammed.barrier.waiting().unwrap(), 0);
        jammed.free();
        assert_eq!(while_waiting(|| first.wait_timeout(LONG), || drop(second)).0.map_err(|e| e.is_broken()), Err(true));
    });
}

#[test]
fn who_waits_for_the_lock_of_a_stopped_process_hears_that_the_barrier_is_broken() {
    isolated(|| {
        let jammed = Jammed::new(2);
        let mut party = jammed.barrier.enroll().unwrap();
        jammed.jam();
        let (result, took) = while_waiting(|| party.wait(), || in_time(|| jammed.barrier.abort().unwrap()));
        assert_eq!(broken_by(result), Some(BrokenBy::Aborted { pid: std::process::id() }));
        assert!(took < LONG);
        jammed.free();
    });
}

#[test]
fn a_party_leaves_at_once_also_while_a_stopped_process_has_the_lock() {
    isolated(|| {
        let jammed = Jammed::new(3);
        let (mut first, second) = (jammed.barrier.enroll().unwrap(), jammed.barrier.enroll().unwrap());
        let leave = || {
            jammed.jam();
            in_time(|| drop(second));
        };
        let (result, _) = while_waiting(|| first.wait(), leave);
        assert_eq!(broken_by(result), Some(BrokenBy::Left { pid: std::process::id() }));
        jammed.free();
    });
}

#[test]
fn an_action_ends_and_panics_also_while_a_stopped_process_has_the_lock() {
    isolated(|| {
        for panics in [false, true] {
            let jammed = Jammed::new(2);
            let (mut first, mut second) = (jammed.barrier.enroll().unwrap(), jammed.barrier.enroll().unwrap());
            let act = std::panic::AssertUnwindSafe(|| {
                second.wait_with(|| {
                    jammed.jam();
                    assert!(!panics, "on purpose");
                })
            });
            let (result, _) = while_waiting(|| first.wait(), || drop(std::panic::catch_unwind(act)));
            match result {
                Ok(index) => assert!(!panics && index == 0),
                broken => {
                    assert_eq!((panics, broken_by(broken)), (true, Some(BrokenBy::Action { pid: std::process::id() })))
                }
            }
            jammed.free();
        }
    });
}
