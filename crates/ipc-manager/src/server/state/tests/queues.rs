use super::*;

fn put(bytes: &'static [u8]) -> Op<'static> {
    Op::Enqueue { item: item(bytes), wait: true }
}

fn get(thread: u64) -> Op<'static> {
    Op::Dequeue { wait: true, thread }
}

fn done(thread: u64) -> Op<'static> {
    Op::TaskDone { thread }
}

/// Two processes and a queue.
fn queue(kind: Kind, capacity: u64) -> (Simulation, u64, u64, u64) {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    let queue = s.make(a, kind, Init::Number(capacity));
    (s, a, b, queue)
}

#[test]
fn elements_come_in_their_order_to_those_who_wait_in_theirs() {
    let (mut s, a, b, q) = queue(Kind::Queue, 0);
    let c = s.process();
    s.wait(b, q, get(1));
    s.wait(c, q, get(1));
    assert_eq!(s.on(a, q, put(b"1")), DONE);
    assert_eq!((s.heard(b), s.heard(c)), (Some(shown(b"1", &[])), None));
    assert_eq!(s.on(a, q, put(b"2")), DONE);
    assert_eq!(s.heard(c), Some(shown(b"2", &[])));
    s.finish();
}

#[test]
fn an_element_that_has_not_arrived_is_the_first_one_again() {
    let (mut s, a, b, q) = queue(Kind::Queue, 0);
    for bytes in [b"1", b"2"] {
        s.on(a, q, put(bytes));
    }
    assert_eq!(s.on(b, q, get(1)), shown(b"1", &[]));
    s.leave(b);
    assert_eq!(s.on(a, q, get(1)), shown(b"1", &[]));
    // Asking for the next one says that this one has arrived.
    assert_eq!(s.on(a, q, get(1)), shown(b"2", &[]));
    s.confirm(a);
    assert_eq!(s.on(a, q, Op::Len), Told::Number(0));
    s.finish();
}

#[test]
fn an_element_that_is_taken_back_goes_to_one_who_waits() {
    let (mut s, a, b, q) = queue(Kind::Queue, 0);
    let c = s.process();
    s.on(a, q, put(b"1"));
    assert_eq!(s.on(b, q, get(1)), shown(b"1", &[]));
    s.wait(c, q, get(1));
    s.leave(b);
    assert_eq!(s.heard(c), Some(shown(b"1", &[])));
    s.finish();
}

#[test]
fn a_full_queue_keeps_those_waiting_who_bring_more() {
    let (mut s, a, b, q) = queue(Kind::Queue, 1);
    assert_eq!(s.on(a, q, put(b"1")), DONE);
    assert_eq!(s.on(a, q, Op::Enqueue { item: item(b"x"), wait: false }), Told::Fault(Fault::WouldWait));
    let request = s.wait(a, q, put(b"given up"));
    s.tell(a, Call::Cancel { request });
    assert_eq!(s.heard(a), Some(Told::Fault(Fault::Cancelled)));
    s.wait(a, q, put(b"2"));
    assert_eq!(s.on(b, q, get(1)), shown(b"1", &[]));
    assert_eq!(s.heard(a), Some(DONE));
    assert_eq!(s.on(b, q, get(1)), shown(b"2", &[]));
    assert_eq!(s.on(b, q, Op::Dequeue { wait: false, thread: 1 }), Told::Fault(Fault::WouldWait));
    s.finish();
}

#[test]
fn a_task_of_the_dead_comes_first_again_the_oldest_before_all() {
    let (mut s, a, b, q) = queue(Kind::JoinableQueue, 0);
    for bytes in [b"1", b"2", b"3"] {
        s.on(a, q, put(bytes));
    }
    assert_eq!(s.on(b, q, get(1)), shown(b"1", &[]));
    assert_eq!(s.on(b, q, get(1)), shown(b"2", &[]));
    s.confirm(b);
    s.leave(b);
    for bytes in [b"1", b"2", b"3"] {
        assert_eq!(s.on(a, q, get(1)), shown(bytes, &[]));
    }
    s.finish();
}

#[test]
fn a_task_that_is_done_does_not_come_back_and_join_returns_after_the_last_one() {
    let (mut s, a, b, q) = queue(Kind::JoinableQueue, 0);
    for bytes in [b"1", b"2"] {
        s.on(a, q, put(bytes));
    }
    s.on(b, q, get(1));
    s.on(b, q, get(1));
    assert_eq!(s.on(b, q, done(1)), DONE);
    assert_eq!(s.on(b, q, done(2)), Told::Fault(Fault::NoTask));
    let c = s.process();
    s.wait(c, q, Op::Join { wait: true });
    assert_eq!(s.on(a, q, Op::Join { wait: false }), Told::Fault(Fault::WouldWait));
    s.leave(b);
    assert_eq!(s.on(a, q, get(1)), shown(b"2", &[]));
    assert_eq!(s.heard(c), None);
    assert_eq!(s.on(a, q, done(1)), DONE);
    assert_eq!(s.heard(c), Some(DONE));
    assert_eq!(s.on(a, q, Op::Join { wait: true }), DONE);
    s.finish();
}

/// As when a connection breaks, and the thread goes on with another one before the server knows.
#[test]
fn of_two_tasks_of_a_thread_the_one_that_did_not_arrive_is_taken_back() {
    let (mut s, a, b, q) = queue(Kind::JoinableQueue, 0);
    for bytes in [b"1", b"2"] {
        s.on(a, q, put(bytes));
    }
    let second = s.another(b);
    assert_eq!(s.on(b, q, get(7)), shown(b"1", &[]));
    assert_eq!(s.on(second, q, get(7)), shown(b"2", &[]));
    s.confirm(second);
    s.leave(b);
    assert_eq!(s.on(a, q, get(1)), shown(b"1", &[]));
    s.leave(second);
    assert_eq!(s.on(a, q, get(1)), shown(b"2", &[]));
    s.finish();
}

#[test]
fn what_an_element_holds_is_held_on_its_whole_way() {
    for kind in [Kind::Queue, Kind::JoinableQueue] {
        let (mut s, a, b, q) = queue(kind, 0);
        let inner = s.make(a, Kind::List, Init::Nothing);
        s.on(a, q, Op::Enqueue { item: holding(&[inner]), wait: true });
        s.tell(a, Call::Release { objects: vec![inner] });
        assert_eq!(s.holds(inner), 1);
        assert_eq!(s.on(b, q, get(1)), shown(b"a proxy", &[inner]));
        assert_eq!(s.holds(inner), 2, "the one who gets it, and the queue until that is confirmed");
        s.confirm(b);
        if kind == Kind::JoinableQueue {
            assert_eq!(s.holds(inner), 2, "the task could come back");
            s.on(b, q, done(1));
        }
        assert_eq!(s.holds(inner), 1);
        s.tell(b, Call::Release { objects: vec![inner] });
        assert!(!s.exists(inner));
        s.finish();
    }
}

#[test]
fn what_an_element_holds_is_not_its_takers_when_it_is_taken_back() {
    let (mut s, a, b, q) = queue(Kind::Queue, 0);
    let second = s.another(b);
    let inner = s.make(a, Kind::List, Init::Nothing);
    s.on(a, q, Op::Enqueue { item: holding(&[inner]), wait: true });
    s.tell(a, Call::Release { objects: vec![inner] });
    s.on(b, q, get(1));
    s.leave(b); // the process lives
    assert_eq!(s.holds(inner), 1);
    let request = s.ask(second, Call::On { object: q, op: get(1) });
    s.tell(second, Call::GiveUp { request });
    assert_eq!(s.holds(inner), 1);
    assert_eq!(s.on(a, q, Op::Len), Told::Number(1));
    s.finish();
}

#[test]
fn an_element_on_its_way_when_the_queue_goes_lets_go_of_what_it_holds() {
    for kind in [Kind::Queue, Kind::JoinableQueue] {
        for arrives in [true, false] {
            let (mut s, a, b, q) = queue(kind, 0);
            let second = s.another(b);
            let inner = s.make(a, Kind::List, Init::Nothing);
            s.on(a, q, Op::Enqueue { item: holding(&[inner]), wait: true });
            s.on(b, q, get(1));
            s.tell(a, Call::Release { objects: vec![inner, q] });
            assert!(!s.exists(q));
            match arrives {
                true => s.confirm(b),
                false => s.leave(b),
            }
            assert_eq!(s.exists(inner), arrives);
            s.leave(second);
            s.finish();
        }
    }
}

#[test]
fn all_who_wait_for_a_queue_that_goes_are_told() {
    let (mut s, a, b, q) = queue(Kind::JoinableQueue, 1);
    let joiner = s.process();
    assert_eq!(s.on(a, q, put(b"1")), DONE);
    s.wait(b, q, put(b"2"));
    s.wait(joiner, q, Op::Join { wait: true });
    s.tell(a, Call::Release { objects: vec![q] });
    assert_eq!(s.heard(b), Some(Told::Fault(Fault::NoObject)));
    assert_eq!(s.heard(joiner), Some(Told::Fault(Fault::NoObject)));
    s.finish();
}

#[test]
fn who_waits_can_say_nothing_else_and_no_number_twice() {
    let (mut s, _, b, q) = queue(Kind::Queue, 0);
    s.wait(b, q, get(1));
    assert_eq!(s.call(b, Call::Ping), DONE);
    s.tell(b, Call::Stats);
    assert!(!s.is_open(b), "that ends the connection");
    let c = s.process();
    let request = s.wait(c, q, get(1));
    s.frame(c, &postcard::to_stdvec(&crate::protocol::Request { id: request, call: Call::Ping }).unwrap());
    assert!(!s.is_open(c));
    s.finish();
}
