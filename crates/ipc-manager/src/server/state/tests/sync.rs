use super::*;

fn take() -> Op<'static> {
    Op::TakePermit { wait: true }
}

#[test]
fn permits_come_back_from_the_dead_and_those_that_never_arrived() {
    let mut s = Simulation::new();
    let (a, b, c) = (s.process(), s.process(), s.process());
    let object = s.make(a, Kind::Semaphore, Init::Number(2));
    assert_eq!(s.on(b, object, take()), GRANTED);
    s.confirm(b);
    assert_eq!(s.on(b, object, take()), GRANTED); // not confirmed
    let again = s.another(c);
    s.wait(c, object, take());
    s.wait(again, object, take());
    s.leave(b);
    assert_eq!((s.heard(c), s.heard(again)), (Some(GRANTED), Some(GRANTED)));
    assert_eq!(s.on(a, object, Op::GivePermit), Told::Fault(Fault::NotHeld));
    s.finish();
}

#[test]
fn a_permit_that_is_not_wanted_is_taken_back() {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    let object = s.make(a, Kind::Semaphore, Init::Number(1));
    let request = s.ask(a, Call::On { object, op: take() });
    let cancelled = s.wait(b, object, take());
    s.tell(b, Call::Cancel { request: cancelled });
    assert_eq!(s.heard(b), Some(Told::Fault(Fault::Cancelled)));
    s.tell(a, Call::GiveUp { request });
    assert_eq!(s.on(b, object, Op::Len), Told::Number(1));
    assert_eq!(s.on(b, object, take()), GRANTED);
    s.finish();
}

#[test]
fn an_event_lets_all_go_on_and_those_who_come_later() {
    let mut s = Simulation::new();
    let (a, b, c) = (s.process(), s.process(), s.process());
    let event = s.make(a, Kind::Event, Init::Nothing);
    s.wait(b, event, Op::Await);
    let request = s.wait(c, event, Op::Await);
    s.tell(c, Call::Cancel { request });
    assert_eq!(s.heard(c), Some(Told::Fault(Fault::Cancelled)));
    assert_eq!(s.on(a, event, Op::Raise), DONE);
    assert_eq!((s.heard(b), s.heard(c)), (Some(DONE), None));
    assert_eq!(s.on(c, event, Op::Await), DONE);
    assert_eq!(s.on(a, event, Op::Lower), DONE);
    s.wait(c, event, Op::Await);
    s.finish();
}

#[test]
fn a_barrier_counts_and_begins_anew() {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    let barrier = s.make(a, Kind::Barrier, Init::Number(2));
    for _ in 0..2 {
        s.wait(a, barrier, Op::Meet);
        assert_eq!(s.on(b, barrier, Op::Meet), Told::Number(1));
        assert_eq!(s.heard(a), Some(Told::Number(0)));
    }
    s.finish();
}

#[test]
fn a_barrier_breaks_for_all_when_one_gives_up_or_dies() {
    for dies in [true, false] {
        let mut s = Simulation::new();
        let (a, b) = (s.process(), s.process());
        let barrier = s.make(a, Kind::Barrier, Init::Number(3));
        s.wait(a, barrier, Op::Meet);
        let request = s.wait(b, barrier, Op::Meet);
        match dies {
            true => s.leave(b),
            false => s.tell(b, Call::Cancel { request }),
        }
        assert_eq!(s.heard(a), Some(Told::Fault(Fault::Broken { by_death: dies })));
        assert_eq!(s.on(a, barrier, Op::Meet), Told::Fault(Fault::Broken { by_death: dies }));
        assert_eq!(s.on(a, barrier, Op::Reset), DONE);
        s.wait(a, barrier, Op::Meet);
        s.finish();
    }
}

#[test]
fn a_barrier_breaks_when_one_dies_that_was_there_before() {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    let barrier = s.make(a, Kind::Barrier, Init::Number(2));
    s.wait(a, barrier, Op::Meet);
    assert_eq!(s.on(b, barrier, Op::Meet), Told::Number(1));
    s.take_answers(a);
    s.wait(a, barrier, Op::Meet);
    s.leave(b);
    assert_eq!(s.heard(a), Some(Told::Fault(Fault::Broken { by_death: true })));
    s.finish();
}

#[test]
fn a_barrier_for_nobody_is_none() {
    let mut s = Simulation::new();
    let a = s.process();
    let none = Call::Make { kind: Kind::Barrier, types: "", init: Init::Number(0) };
    assert_eq!(s.call(a, none), Told::Fault(Fault::Unfit));
    s.finish();
}
