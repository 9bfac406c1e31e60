use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_object_goes_with_its_last_holder_and_what_it_held_with_it() {
    let mut s = Simulation::new();
    let a = s.process();
    let (dict, list, value) = (
        s.make(a, Kind::Dict, Init::Nothing),
        s.make(a, Kind::List, Init::Nothing),
        s.make(a, Kind::Value, Init::Items(vec![item(b"1")])),
    );
    s.on(a, list, Op::Push(holding(&[value])));
    s.on(a, dict, Op::Put(Blob(b"k"), holding(&[list, list])));
    s.tell(a, Call::Release { objects: vec![value, list] });
    assert_eq!(s.objects(), [dict, list, value]);
    assert_eq!((s.holds(dict), s.holds(list), s.holds(value)), (1, 2, 1));
    s.tell(a, Call::Release { objects: vec![dict] });
    assert_eq!(s.objects(), []);
    s.finish();
}

#[test]
fn a_value_that_is_shown_gives_a_hold_on_what_it_contains() {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    let (outer, inner) = (s.make(a, Kind::List, Init::Nothing), s.make(a, Kind::List, Init::Nothing));
    s.on(a, outer, Op::Push(holding(&[inner])));
    s.tell(a, Call::Release { objects: vec![inner] });
    assert_eq!(s.on(b, outer, Op::Get(0)), shown(b"a proxy", &[inner]));
    assert_eq!(s.holds(inner), 2);
    assert_eq!(s.on(b, outer, Op::Pop), shown(b"a proxy", &[inner]));
    assert_eq!(s.holds(inner), 2, "both are the process's now");
    s.tell(b, Call::Release { objects: vec![inner, inner, inner] });
    assert!(!s.exists(inner));
    s.finish();
}

#[test]
fn a_process_that_dies_holds_nothing() {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    let (ours, theirs) = (s.make(a, Kind::List, Init::Nothing), s.make(b, Kind::List, Init::Nothing));
    s.on(a, ours, Op::Push(holding(&[theirs])));
    let more = s.another(b);
    s.leave(b);
    assert_eq!(s.holds(theirs), 2);
    s.leave(more);
    assert_eq!(s.holds(theirs), 1);
    s.leave(a);
    assert_eq!(s.objects(), []);
    s.finish();
}

#[test]
fn a_value_cannot_hold_what_there_is_not() {
    let mut s = Simulation::new();
    let a = s.process();
    let list = s.make(a, Kind::List, Init::Nothing);
    let future = list + 3;
    for op in [
        Op::Push(holding(&[future])),
        Op::Extend(vec![item(b"1"), holding(&[future])]),
        Op::Insert(0, holding(&[future])),
        Op::Replace { version: 0, items: vec![holding(&[future])] },
    ] {
        assert_eq!(s.on(a, list, op), Told::Fault(Fault::NoObject));
    }
    let make = Call::Make { kind: Kind::List, types: "", init: Init::Items(vec![holding(&[future])]) };
    assert_eq!(s.call(a, make), Told::Fault(Fault::NoObject));
    assert_eq!(s.on(a, list, Op::Len), Told::Number(0));
    s.finish();
}

#[test]
fn a_ticket_holds_an_object_until_it_is_claimed_or_its_time_has_passed() {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    let ticket = |s: &mut Simulation, object| match s.call(a, Call::Ticket { object }) {
        Told::Number(ticket) => ticket,
        other => panic!("{other:?}"),
    };
    let list = s.make(a, Kind::List, Init::Nothing);
    let first = ticket(&mut s, list);
    s.tell(a, Call::Release { objects: vec![list] });
    let claim = Call::Claim { object: list, ticket: first, kind: Kind::List, types: "T" };
    assert_eq!(s.call(b, claim.clone()), Told::Object(list));
    assert_eq!(s.holds(list), 1);
    assert_eq!(s.call(b, claim), Told::Object(list), "it is there, so a second copy can be had as well");
    assert_eq!(s.holds(list), 2);
    s.leave(b);
    assert!(!s.exists(list));

    let lost = s.make(a, Kind::List, Init::Nothing);
    ticket(&mut s, lost);
    s.tell(a, Call::Release { objects: vec![lost] });
    s.pass(TICKET - SECOND);
    assert!(s.exists(lost));
    s.pass(TICKET + SECOND);
    assert!(!s.exists(lost));
    s.finish();
}

#[test]
fn a_ticket_of_one_object_is_none_for_another() {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    let (one, two) = (s.make(a, Kind::List, Init::Nothing), s.make(a, Kind::List, Init::Nothing));
    let Told::Number(ticket) = s.call(a, Call::Ticket { object: one }) else { panic!() };
    let claim = Call::Claim { object: two, ticket, kind: Kind::List, types: "T" };
    assert_eq!(s.call(b, claim), Told::Object(two));
    assert_eq!(s.holds(one), 2);
    let wrong = Call::Claim { object: one, ticket, kind: Kind::Dict, types: "T" };
    assert_eq!(s.call(b, wrong), Told::Fault(Fault::WrongType { kind: Kind::List, types: "T".into() }));
    assert_eq!(s.holds(one), 1, "who cannot take it has used the ticket all the same");
    s.finish();
}

#[test]
fn a_name_holds_and_is_one_objects_only() {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    let (one, two) = (s.make(a, Kind::List, Init::Nothing), s.make(a, Kind::Dict, Init::Nothing));
    let find = |kind| Call::Find { name: "n", kind, types: "T" };
    assert_eq!(s.call(a, find(Kind::List)), Told::Fault(Fault::NoName));
    assert_eq!(s.call(a, Call::Publish { object: one, name: "n" }), DONE);
    assert_eq!(s.call(a, Call::Publish { object: two, name: "n" }), Told::Fault(Fault::NameTaken));
    assert_eq!(s.call(a, Call::Publish { object: one, name: "m" }), Told::Fault(Fault::HasName("n".into())));
    assert_eq!(s.call(a, Call::Publish { object: 999, name: "m" }), Told::Fault(Fault::NoObject));
    s.leave(a);
    assert_eq!(s.objects(), [one]);
    assert_eq!(s.call(b, find(Kind::Dict)), Told::Fault(Fault::WrongType { kind: Kind::List, types: "T".into() }));
    assert_eq!(s.call(b, find(Kind::List)), Told::Object(one));
    assert_eq!(s.call(b, Call::Unlink { name: "n" }), DONE);
    assert_eq!(s.call(b, Call::Unlink { name: "n" }), Told::Fault(Fault::NoName));
    assert!(s.exists(one));
    s.leave(b);
    assert_eq!(s.objects(), []);
    s.finish();
}

/// Three values of which each fills a page, the second with a proxy.
fn long(s: &mut Simulation, a: u64) -> (u64, u64) {
    let (list, inner) = (s.make(a, Kind::List, Init::Nothing), s.make(a, Kind::List, Init::Nothing));
    let bytes = vec![0; 300_000];
    for refs in [vec![], vec![inner], vec![]] {
        s.on(a, list, Op::Push(Item { bytes: Blob(&bytes), refs }));
    }
    s.tell(a, Call::Release { objects: vec![inner] });
    (list, inner)
}

#[test]
fn a_snapshot_is_of_one_moment_and_holds_what_is_in_it() {
    let mut s = Simulation::new();
    let a = s.process();
    let (list, inner) = long(&mut s, a);
    let Told::Page { entries: 1, refs: 0, more: Some(cursor) } = s.on(a, list, Op::Snapshot) else { panic!() };
    assert_eq!(s.on(a, list, Op::Clear), DONE);
    assert!(s.exists(inner));
    assert_eq!(s.call(a, Call::Page { cursor }), Told::Page { entries: 1, refs: 1, more: Some(cursor) });
    assert_eq!(s.holds(inner), 1);
    assert_eq!(s.call(a, Call::Page { cursor }), Told::Page { entries: 1, refs: 0, more: None });
    assert_eq!(s.call(a, Call::Page { cursor }), Told::Fault(Fault::NoObject));
    s.finish();
}

#[test]
fn a_snapshot_that_is_not_wanted_lets_go() {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    let (list, inner) = long(&mut s, a);
    let Told::Page { more: Some(cursor), .. } = s.on(a, list, Op::Drain) else { panic!() };
    assert_eq!(s.on(a, list, Op::Len), Told::Number(0));
    s.tell(b, Call::EndPages { cursor }); // it is not theirs
    assert!(s.exists(inner));
    s.tell(a, Call::EndPages { cursor });
    assert!(!s.exists(inner));
    s.finish();
}

#[test]
fn there_are_only_so_many_snapshots_and_one_too_many_holds_nothing() {
    let mut s = Simulation::new();
    let a = s.process();
    let (list, inner) = long(&mut s, a);
    let mut cursors = Vec::new();
    while let Told::Page { more: Some(cursor), .. } = s.on(a, list, Op::Snapshot) {
        cursors.push(cursor);
    }
    assert_eq!(cursors.len(), 64);
    assert_eq!(s.on(a, list, Op::Drain), Told::Fault(Fault::TooMany));
    assert_eq!(s.holds(inner), 65);
    cursors.into_iter().for_each(|cursor| s.tell(a, Call::EndPages { cursor }));
    assert_eq!(s.holds(inner), 1);
    s.finish();
}

#[test]
fn an_array_keeps_its_length() {
    let mut s = Simulation::new();
    let a = s.process();
    let array = s.make(a, Kind::Array, Init::Items(vec![item(b"1"), item(b"2")]));
    for op in [Op::Push(item(b"3")), Op::Pop, Op::Clear, Op::Drain, Op::Truncate(0), Op::Remove(0)] {
        assert_eq!(s.on(a, array, op), Told::Fault(Fault::Unfit));
    }
    let replace = |items| Op::Replace { version: 0, items };
    assert_eq!(s.on(a, array, replace(vec![item(b"3")])), Told::Fault(Fault::Unfit));
    assert_eq!(s.on(a, array, replace(vec![item(b"3"), item(b"4")])), Told::Flag(true));
    assert_eq!(s.on(a, array, replace(vec![item(b"5"), item(b"6")])), Told::Flag(false), "it has changed since");
    assert_eq!(s.on(a, array, Op::Set(1, item(b"7"))), shown(b"4", &[]));
    assert_eq!(s.on(a, array, Op::Get(1)), shown(b"7", &[]));
    s.finish();
}

#[test]
fn each_kind_does_what_belongs_to_it_and_nothing_else() {
    let mut s = Simulation::new();
    let a = s.process();
    for (kind, init) in [
        (Kind::Dict, Init::Nothing),
        (Kind::Queue, Init::Number(0)),
        (Kind::Semaphore, Init::Number(1)),
        (Kind::Event, Init::Nothing),
        (Kind::Barrier, Init::Number(1)),
        (Kind::Lock, Init::Nothing),
    ] {
        let object = s.make(a, kind, init);
        assert_eq!(s.on(a, object, Op::Reverse), Told::Fault(Fault::Unfit), "{kind:?}");
    }
    let queue = s.make(a, Kind::Queue, Init::Number(0));
    assert_eq!(s.on(a, queue, Op::Join { wait: true }), Told::Fault(Fault::Unfit));
    assert_eq!(s.on(a, 999, Op::Len), Told::Fault(Fault::NoObject));
    s.finish();
}

#[test]
fn a_connection_has_one_session_the_first_that_there_is_or_a_new_one() {
    let mut s = Simulation::new();
    let silent = s.connect();
    s.tell(silent, Call::Ping);
    assert!(!s.is_open(silent), "nothing before hello");
    let hello = |sessions| Call::Hello { version: crate::protocol::VERSION, sessions, pid: 1 };
    let a = s.process();
    s.tell(a, hello(vec![]));
    assert!(!s.is_open(a), "hello twice");
    let b = s.connect();
    s.ask(b, hello(vec![12345]));
    let there = s.session(b).unwrap();
    assert_ne!(there, 12345, "that one is gone");
    let d = s.connect();
    s.ask(d, hello(vec![12345, there]));
    assert_eq!(s.session(d), Some(there));
    let c = s.connect();
    s.tell(c, Call::Hello { version: 99, sessions: vec![], pid: 1 });
    assert!(!s.is_open(c));
    s.finish();
}

#[test]
fn nothing_is_done_after_the_shutdown() {
    let mut s = Simulation::new();
    let (a, b) = (s.process(), s.process());
    assert_eq!(s.call(a, Call::Shutdown), DONE);
    for connection in [a, b] {
        s.tell(connection, Call::Make { kind: Kind::List, types: "", init: Init::Nothing });
        assert!(!s.is_open(connection));
    }
    assert_eq!(s.objects(), []);
    s.finish();
}

#[test]
fn a_thousand_processes_come_and_go() {
    let mut s = Simulation::new();
    let a = s.process();
    let (list, lock) = (s.make(a, Kind::List, Init::Nothing), s.make(a, Kind::Lock, Init::Nothing));
    let processes: Vec<u64> = (0..1000).map(|_| s.enter(None)).collect();
    assert_eq!(s.state.stats().clients, 1001);
    for process in &processes[..20] {
        s.take_answers(*process);
        s.on(*process, list, Op::Push(item(b"1")));
        s.tell(*process, Call::On { object: lock, op: acquire(1) });
    }
    for process in processes {
        s.leave(process);
    }
    assert_eq!(s.state.stats().clients, 1);
    assert_eq!(s.on(a, list, Op::Len), Told::Number(20));
    assert_eq!(s.on(a, lock, acquire(1)), GRANTED);
    s.finish();
}
