//! How processes and threads are put together, and how they fail.

use ipc_csp::{
    Builder, JoinError, MemberError, Reader, Writer, parallel, process, process_with, replicate, sequence, spawn,
    thread,
};

use super::*;

fn quiet() -> Builder {
    Builder::new().core_dumps(false).stderr(std::fs::File::options().write(true).open("/dev/null").unwrap())
}

#[test]
fn results_are_typed_and_in_the_order_of_the_members() {
    let (a, b, c, d, e, f, g, h) = parallel((
        thread(|| 1u8),
        process(|n: u16| n, 2u16),
        thread(|| "three"),
        process(|text: String| text + "r", "fou".to_string()),
        thread(|| 5.0),
        thread(|| ()),
        thread(|| Some(7)),
        thread(|| vec![8]),
    ))
    .unwrap();
    assert_eq!((a, b, c, d.as_str(), e, f, g, h), (1, 2, "three", "four", 5.0, (), Some(7), vec![8]));
    assert_eq!(parallel((thread(|| 1),)).unwrap(), (1,));
    assert_eq!(parallel(replicate(5, |n| thread(move || n * n))).unwrap(), [0, 1, 4, 9, 16]);
    assert_eq!(sequence(replicate(3, |n| thread(move || n))).unwrap(), [0, 1, 2]);
    assert_eq!(sequence((thread(|| 'a'), process(|n: i32| -n, 4))).unwrap(), ('a', -4));
    assert_eq!(parallel(Vec::<ipc_csp::Member<()>>::new()).unwrap(), []);
    assert_eq!(parallel(replicate(0, |n| thread(move || n))).unwrap(), [0; 0]);
    assert_eq!(spawn(process(|n: u64| n + 1, 1)).unwrap().join().unwrap(), 2);
}

#[test]
fn members_of_parallel_run_at_the_same_time_and_those_of_sequence_do_not() {
    let (writer, reader) = pair::<u32>(0);
    parallel((thread(move || reader.read().unwrap()), thread(move || writer.write(1).unwrap()))).unwrap();
    let (writer, reader) = pair::<u32>(0);
    let results = sequence((
        thread({
            let writer = writer.clone();
            move || writer.write_timeout(1, SHORT).is_err()
        }),
        thread(move || reader.read_timeout(SHORT).is_err()),
    ));
    assert_eq!(results.unwrap(), (true, true));
}

#[test]
fn every_failure_is_told_with_its_place_name_and_reason() {
    let failures = parallel((
        thread(|| std::panic::resume_unwind(Box::new("a text"))),
        thread(|| 2),
        process_with(quiet(), |()| -> u8 { panic!("in {} process", "a") }, ()).name("panicking"),
        process_with(quiet(), |()| -> u8 { std::process::abort() }, ()).name("aborting"),
        process_with(quiet(), |()| -> u8 { std::process::exit(7) }, ()).name("leaving"),
        thread(|| -> u8 { std::panic::resume_unwind(Box::new(String::from("owned"))) }).name("owned"),
        thread(|| -> u8 { std::panic::resume_unwind(Box::new(5)) }).name("number"),
        process_with(quiet().current_dir("/nonexistent/folder"), |n: u8| n, 1).name("unborn"),
    ))
    .map(|_: ((), _, _, _, _, _, _, _)| ())
    .unwrap_err();
    let places: Vec<_> = failures.each().iter().map(|failure| failure.index).collect();
    assert_eq!(places, [0, 2, 3, 4, 5, 6, 7]);
    let errors: Vec<_> = failures.each().iter().map(|failure| &failure.error).collect();
    assert!(matches!(errors[0], MemberError::Panicked(text) if text == "a text"));
    assert!(
        matches!(errors[1], MemberError::Process(JoinError::Panicked { message, .. }) if message == "in a process")
    );
    assert!(matches!(errors[2], MemberError::Process(JoinError::Killed { signal: 6, .. })));
    assert!(matches!(errors[3], MemberError::Process(JoinError::Exited { code: 7 })));
    assert!(matches!(errors[6], MemberError::Start(_)));
    assert!(failures.each()[0].name.contains("every_failure"), "{}", failures.each()[0].name);
    let text = failures.to_string();
    for part in [
        "member 2 (panicking): the process panicked",
        "member 3 (aborting): the process was killed by signal 6; ",
        "member 4 (leaving): the process exited with code 7 before its function returned; ",
        "member 5 (owned): it panicked: owned; ",
        "member 6 (number): it panicked: a value that is no text; ",
        "member 7 (unborn): it could not be started",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let first = std::error::Error::source(&failures).unwrap();
    assert_eq!(first.to_string(), "it panicked: a text");
}

#[test]
fn after_a_failure_a_sequence_does_not_go_on() {
    let (writer, reader) = pair::<u32>(8);
    let members = replicate(5, |n| {
        let writer = writer.clone();
        thread(move || {
            writer.write(n as u32).unwrap();
            if n == 2 {
                std::panic::resume_unwind(Box::new("no more"));
            }
        })
    });
    drop(writer);
    let failures = sequence(members).unwrap_err();
    assert_eq!((failures.each().len(), failures.each()[0].index), (1, 2));
    assert_eq!(reader.iter().collect::<Vec<_>>(), [0, 1, 2]);
    let (writer, reader) = pair::<u32>(8);
    let tuple =
        (process_with(quiet(), |()| -> u32 { std::process::exit(1) }, ()), thread(move || writer.write(1).unwrap()));
    assert_eq!(sequence(tuple).unwrap_err().each()[0].index, 0);
    assert!(reader.read().unwrap_err().is_retired());
}

#[test]
fn the_others_see_the_end_of_the_channels_of_one_that_fails() {
    // In whatever order they are joined, and also if it was not even started.
    type Failing = fn(Writer<u32>, Reader<u32>) -> ipc_csp::Member<()>;
    let ways: [Failing; 4] = [
        |writer, reader| process_with(quiet(), |_: (Writer<u32>, Reader<u32>)| std::process::abort(), (writer, reader)),
        |writer, reader| process_with(quiet(), |_: (Writer<u32>, Reader<u32>)| panic!("on purpose"), (writer, reader)),
        |writer, reader| {
            thread(move || {
                let _ends = (writer, reader);
                std::panic::resume_unwind(Box::new("on purpose"))
            })
        },
        |writer, reader| process_with(quiet().current_dir("/nonexistent/folder"), drop, (writer, reader)),
    ];
    for failing in ways {
        let network = Network::new().unwrap();
        let ((to, from), (back_to, back_from)) = (ends::<u32>(&network, 0), ends::<u32>(&network, 0));
        let started = Instant::now();
        let failures = parallel((
            thread(move || assert!(from.read().unwrap_err().is_retired())),
            failing(to, back_from),
            process(|to: Writer<u32>| assert!(to.write(1).unwrap_err().error.is_retired()), back_to),
        ));
        let failures = failures.unwrap_err();
        assert_eq!(failures.each().iter().map(|failure| failure.index).collect::<Vec<_>>(), [1], "{failures}");
        assert!(started.elapsed() < LONG);
    }
}

#[test]
fn compositions_nest() {
    fn tree(depth: u32) -> u32 {
        if depth == 0 {
            return 1;
        }
        let ((left, right), third) = parallel((
            thread(move || parallel((process(tree, depth - 1), thread(move || tree(depth - 1)))).unwrap()),
            process(|depth| sequence(replicate(2, |_| thread(move || depth))).unwrap().len() as u32, depth),
        ))
        .unwrap();
        left + right + third
    }
    assert_eq!(tree(2), 10);
}

#[test]
fn a_chain_of_processes_computes_primes() {
    fn sieve(numbers: Reader<u32>, primes: Writer<u32>) {
        let Ok(prime) = numbers.read() else { return };
        primes.write(prime).unwrap();
        if prime > 11 {
            return numbers.iter().for_each(|n| primes.write(n).unwrap());
        }
        let (to, from) = ends::<u32>(&numbers.network(), 0);
        parallel((
            thread(move || numbers.iter().filter(|n| n % prime != 0).for_each(|n| to.write(n).unwrap())),
            process(|(from, primes)| sieve(from, primes), (from, primes)),
        ))
        .unwrap();
    }
    let network = Network::new().unwrap();
    let ((to, from), (primes_to, primes)) = (ends::<u32>(&network, 0), ends::<u32>(&network, 4));
    let ((), (), found) = parallel((
        thread(move || (2..100).for_each(|n| to.write(n).unwrap())),
        process(|(from, primes)| sieve(from, primes), (from, primes_to)),
        thread(move || primes.iter().collect::<Vec<_>>()),
    ))
    .unwrap();
    assert_eq!(found.len(), 25);
    assert_eq!(&found[..8], [2, 3, 5, 7, 11, 13, 17, 19]);
}

#[test]
fn what_is_spawned_and_dropped_goes_on() {
    let (writer, reader) = pair::<u32>(0);
    let spawned = spawn(process(|writer: Writer<u32>| writer.write(1).unwrap(), writer.clone()).name("one")).unwrap();
    assert!(format!("{spawned:?}").contains("one"));
    drop(spawned);
    drop(spawn(thread(move || writer.write(1).unwrap())));
    assert_eq!(reader.iter().sum::<u32>(), 2);
    let failed = spawn(process_with(quiet(), |()| -> u8 { std::process::exit(3) }, ())).unwrap().join().unwrap_err();
    assert!(matches!(failed, MemberError::Process(JoinError::Exited { code: 3 })), "{failed}");
    let unborn = spawn(process_with(quiet().current_dir("/nonexistent/folder"), |()| (), ())).unwrap_err();
    assert!(matches!(unborn, MemberError::Start(_)));
}
