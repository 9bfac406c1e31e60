use super::*;

fn release(thread: u64) -> Op<'static> {
    Op::Release { thread }
}

fn repair(thread: u64) -> Op<'static> {
    Op::Acquire { wait: true, thread, repair: true }
}

fn lock() -> (Simulation, u64, u64, u64) {
    locks(Kind::Lock)
}

/// Two processes and a lock.
fn locks(kind: Kind) -> (Simulation, u64, u64, u64) {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    let lock = s.make(a, kind, Init::Nothing);
    let claim = Call::Claim { object: lock, ticket: 0, kind, types: "T" };
    assert_eq!(s.call(b, claim), Told::Object(lock));
    (s, a, b, lock)
}

#[test]
fn a_lock_is_given_in_the_order_of_the_requests() {
    let (mut s, a, b, lock) = lock();
    let c = s.process();
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.wait(c, lock, acquire(1));
    s.wait(b, lock, acquire(1));
    assert_eq!(s.on(a, lock, release(1)), DONE);
    assert_eq!((s.heard(b), s.heard(c)), (None, Some(GRANTED)));
    assert_eq!(s.on(c, lock, release(1)), DONE);
    assert_eq!(s.heard(b), Some(GRANTED));
    s.finish();
}

#[test]
fn a_lock_that_has_not_arrived_is_free_again_and_nobody_died_with_it() {
    let (mut s, a, b, lock) = lock();
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.wait(b, lock, acquire(1));
    s.leave(a); // without having confirmed
    assert_eq!(s.heard(b), Some(GRANTED));
    s.finish();
}

#[test]
fn a_lock_that_has_arrived_died_with_its_owner_until_one_knows() {
    let (mut s, a, b, lock) = lock();
    let c = s.another(b);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.confirm(a);
    s.wait(b, lock, acquire(1));
    s.wait(c, lock, repair(2));
    s.leave(a);
    assert_eq!(s.heard(b), Some(Told::Fault(Fault::OwnerDied)));
    assert_eq!(s.heard(c), Some(Told::Granted { died: true, timed_out: false }));
    assert_eq!(s.on(c, lock, release(2)), DONE);
    assert_eq!(s.on(b, lock, acquire(1)), GRANTED);
    s.finish();
}

#[test]
fn a_cancelled_request_is_not_answered_with_the_lock() {
    let (mut s, a, b, lock) = lock();
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    let request = s.wait(b, lock, acquire(1));
    s.tell(b, Call::Cancel { request });
    assert_eq!(s.heard(b), Some(Told::Fault(Fault::Cancelled)));
    assert_eq!(s.on(a, lock, release(1)), DONE);
    assert_eq!(s.heard(b), None);
    // One that comes after the lock was given changes nothing.
    let request = s.ask(b, Call::On { object: lock, op: acquire(1) });
    s.tell(b, Call::Cancel { request });
    assert_eq!(s.heard(b), Some(GRANTED));
    assert_eq!(s.on(a, lock, Op::IsLocked), Told::Flag(true));
    s.finish();
}

#[test]
fn what_is_given_up_is_taken_back_also_when_it_was_given() {
    let (mut s, a, b, lock) = lock();
    let request = s.ask(a, Call::On { object: lock, op: acquire(1) });
    s.wait(b, lock, acquire(1));
    s.tell(a, Call::GiveUp { request });
    assert_eq!(s.heard(b), Some(GRANTED));
    // And one that waits does not any more, without an answer.
    s.take_answers(a);
    let request = s.wait(a, lock, acquire(1));
    s.tell(a, Call::GiveUp { request });
    assert_eq!(s.on(b, lock, release(1)), DONE);
    assert_eq!(s.on(a, lock, Op::IsLocked), Told::Flag(false));
    s.finish();
}

#[test]
fn the_question_whether_the_server_is_there_confirms_nothing() {
    let (mut s, a, b, lock) = lock();
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    assert_eq!(s.call(a, Call::Ping), DONE); // sent before the answer came
    s.leave(a);
    assert_eq!(s.on(b, lock, acquire(1)), GRANTED);
    s.finish();
}

#[test]
fn a_reentrant_lock_counts_and_a_plain_one_does_not() {
    let (mut s, a, b, lock) = locks(Kind::RLock);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.wait(b, lock, acquire(1));
    assert_eq!(s.on(a, lock, release(1)), DONE);
    assert_eq!(s.heard(b), None);
    assert_eq!(s.on(a, lock, release(2)), Told::Fault(Fault::NotHeld));
    assert_eq!(s.on(a, lock, release(1)), DONE);
    assert_eq!(s.heard(b), Some(GRANTED));
    s.finish();

    let (mut s, a, _, lock) = self::lock();
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    assert_eq!(s.on(a, lock, acquire(1)), Told::Fault(Fault::AlreadyLocked));
    s.finish();
}

/// As when a request was given up on one connection and is made again on another.
#[test]
fn a_plain_lock_is_given_once_to_a_thread_that_asks_twice() {
    let (mut s, a, b, lock) = lock();
    let c = s.another(b);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.wait(b, lock, acquire(7));
    s.wait(c, lock, acquire(7));
    assert_eq!(s.on(a, lock, release(1)), DONE);
    assert_eq!((s.heard(b), s.heard(c)), (Some(GRANTED), None));
    s.leave(b);
    assert_eq!(s.heard(c), Some(GRANTED));
    s.finish();
}

#[test]
fn half_of_a_reentrant_lock_is_taken_back() {
    let (mut s, a, b, lock) = locks(Kind::RLock);
    let again = s.another(a);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.confirm(a);
    assert_eq!(s.on(again, lock, acquire(1)), GRANTED);
    s.leave(again);
    assert_eq!(s.on(a, lock, release(1)), DONE);
    assert_eq!(s.on(b, lock, acquire(1)), GRANTED);
    s.finish();
}

#[test]
fn who_is_notified_gets_the_lock_before_it_is_answered() {
    let (mut s, a, b, lock) = locks(Kind::Condition);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.wait(a, lock, Op::CondWait { thread: 1 });
    assert_eq!(s.on(b, lock, acquire(1)), GRANTED);
    assert_eq!(s.on(b, lock, Op::Notify { all: false, thread: 1 }), Told::Number(1));
    assert_eq!(s.on(b, lock, Op::Notify { all: true, thread: 1 }), Told::Number(0));
    assert_eq!(s.heard(a), None);
    assert_eq!(s.on(b, lock, release(1)), DONE);
    assert_eq!(s.heard(a), Some(GRANTED));
    s.finish();
}

#[test]
fn a_wait_that_is_cancelled_ends_with_the_lock() {
    let (mut s, a, b, lock) = locks(Kind::Condition);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    let request = s.wait(a, lock, Op::CondWait { thread: 1 });
    assert_eq!(s.on(b, lock, acquire(1)), GRANTED);
    s.tell(a, Call::Cancel { request });
    assert_eq!(s.heard(a), None, "somebody else has the lock");
    s.tell(a, Call::Cancel { request });
    assert_eq!(s.on(b, lock, Op::Notify { all: true, thread: 1 }), Told::Number(0));
    assert_eq!(s.on(b, lock, release(1)), DONE);
    assert_eq!(s.heard(a), Some(Told::Granted { died: false, timed_out: true }));
    s.finish();
}

#[test]
fn a_cancel_that_comes_after_the_notification_changes_nothing() {
    let (mut s, a, b, lock) = locks(Kind::Condition);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    let request = s.wait(a, lock, Op::CondWait { thread: 1 });
    assert_eq!(s.on(b, lock, acquire(1)), GRANTED);
    assert_eq!(s.on(b, lock, Op::Notify { all: false, thread: 1 }), Told::Number(1));
    s.tell(a, Call::Cancel { request });
    assert_eq!(s.on(b, lock, release(1)), DONE);
    assert_eq!(s.heard(a), Some(GRANTED));
    s.finish();
}

#[test]
fn a_wait_that_is_given_up_does_not_take_the_lock_again() {
    let (mut s, a, b, lock) = locks(Kind::Condition);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    let request = s.wait(a, lock, Op::CondWait { thread: 1 });
    s.tell(a, Call::GiveUp { request });
    assert_eq!(s.on(b, lock, acquire(1)), GRANTED);
    assert_eq!(s.on(b, lock, Op::Notify { all: true, thread: 1 }), Told::Number(0));
    s.finish();
}

#[test]
fn who_waits_for_a_notification_of_a_dead_owner_is_told() {
    let (mut s, a, b, lock) = locks(Kind::Condition);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.wait(a, lock, Op::CondWait { thread: 1 });
    assert_eq!(s.on(b, lock, acquire(1)), GRANTED);
    s.confirm(b);
    s.leave(b);
    assert_eq!(s.heard(a), Some(Told::Fault(Fault::OwnerDied)));
    assert_eq!(s.on(a, lock, repair(1)), Told::Granted { died: true, timed_out: false });
    s.finish();
}

#[test]
fn the_death_of_one_who_sleeps_matters_to_nobody() {
    let (mut s, a, b, lock) = locks(Kind::Condition);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.wait(a, lock, Op::CondWait { thread: 1 });
    s.leave(a);
    assert_eq!(s.on(b, lock, acquire(1)), GRANTED);
    assert_eq!(s.on(b, lock, Op::Notify { all: true, thread: 1 }), Told::Number(0));
    s.finish();
}

#[test]
fn waiting_and_notifying_need_the_lock_and_a_condition() {
    let (mut s, a, _, lock) = locks(Kind::Condition);
    assert_eq!(s.on(a, lock, Op::CondWait { thread: 1 }), Told::Fault(Fault::NotHeld));
    assert_eq!(s.on(a, lock, Op::Notify { all: true, thread: 1 }), Told::Fault(Fault::NotHeld));
    s.finish();
    let (mut s, a, _, lock) = self::lock();
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    assert_eq!(s.on(a, lock, Op::CondWait { thread: 1 }), Told::Fault(Fault::Unfit));
    assert_eq!(s.on(a, lock, Op::Notify { all: true, thread: 1 }), Told::Fault(Fault::Unfit));
    s.finish();
}

#[test]
fn a_process_has_its_locks_until_its_last_connection_ends() {
    let (mut s, a, b, lock) = lock();
    let second = s.another(a);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.confirm(a);
    s.leave(a);
    s.wait(b, lock, repair(1));
    s.leave(second);
    assert_eq!(s.heard(b), Some(Told::Granted { died: true, timed_out: false }));
    s.finish();
}

#[test]
fn who_waits_for_a_lock_that_is_gone_is_told() {
    let (mut s, a, b, lock) = lock();
    let second = s.another(b);
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.wait(b, lock, acquire(1));
    s.tell(second, Call::Release { objects: vec![lock] });
    s.tell(a, Call::Release { objects: vec![lock] });
    assert_eq!(s.heard(b), Some(Told::Fault(Fault::NoObject)));
    s.finish();
}
