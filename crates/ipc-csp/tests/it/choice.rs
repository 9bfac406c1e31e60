//! Choice: what it chooses, and when.

use ipc_csp::{Choice, Error, Fairness, Network, Reader, Writer, fair_select, pri_select, select};

use super::*;

#[test]
fn crossing_offers_meet_and_agree() {
    let network = Network::new().unwrap();
    let (a, b) = (network.channel::<u32>().unwrap(), network.channel::<u32>().unwrap());
    const ROUNDS: u32 = 3000;
    let ends = [(a.writer().unwrap(), b.reader().unwrap()), (b.writer().unwrap(), a.reader().unwrap())];
    let threads = ends.map(|(to, from)| {
        thread::spawn(move || {
            let (mut sent, mut received) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                select! {
                    write(to, &round) -> result => { result.unwrap(); sent.push(round) },
                    read(from) -> value => received.push(value.unwrap()),
                }
                .unwrap();
            }
            (sent, received)
        })
    });
    let [(sent_a, received_a), (sent_b, received_b)] = threads.map(|thread| thread.join().unwrap());
    assert_eq!(sent_a, received_b);
    assert_eq!(sent_b, received_a);
    assert_eq!(sent_a.len() + sent_b.len(), ROUNDS as usize);
}

#[test]
fn skip_and_timeout_are_taken_when_nothing_else_is_ready() {
    let network = Network::new().unwrap();
    let channel = network.channel::<u32>().unwrap();
    let (writer, reader) = (channel.writer().unwrap(), channel.reader().unwrap());
    let text = pri_select! { read(reader) -> _ => "read", skip => "skipped" }.unwrap();
    assert_eq!(text, "skipped");
    let text = pri_select! {
        write(writer, &1) -> _ => "written",
        timeout(Duration::from_millis(20)) => "too late",
    };
    assert_eq!(text.unwrap(), "too late");
    let none = Choice::new().select().unwrap_err();
    assert!(matches!(none, ipc_csp::Error::NoGuard));
}

#[test]
fn of_what_is_ready_the_first_the_rarest_or_any_is_chosen() {
    let network = Network::new().unwrap();
    let ends: Vec<_> = (0..3).map(|_| ends::<u32>(&network, 100)).collect();
    ends.iter().for_each(|(writer, _)| (0..100).for_each(|n| writer.write(n).unwrap()));
    let mut choice = Choice::new();
    ends.iter().for_each(|(_, reader)| _ = choice.read(reader));
    for _ in 0..10 {
        assert_eq!(choice.pri_select().unwrap().index(), 0);
    }
    let mut any = [0; 3];
    (0..30).for_each(|_| any[choice.select().unwrap().index()] += 1);
    assert!(any.iter().all(|count| *count >= 5), "{any:?}");
    let mut fairness = Fairness::new();
    let mut fair = [0; 3];
    (0..30).for_each(|_| fair[choice.fair_select(&mut fairness).unwrap().index()] += 1);
    assert_eq!(fair, [10; 3]);
    // One that was not ready for long is preferred until it has caught up.
    while ends[2].1.try_read().is_ok() {}
    (0..12).for_each(|_| fair[choice.fair_select(&mut fairness).unwrap().index()] += 1);
    assert_eq!(fair, [16, 16, 10]);
    (0..3).for_each(|n| ends[2].0.write(n).unwrap());
    (0..3).for_each(|_| fair[choice.fair_select(&mut fairness.clone()).unwrap().index()] += 1);
    assert_eq!(fair, [16, 16, 13]);
}

#[test]
fn a_choice_is_used_again_and_its_guards_are_switched_on_and_off() {
    let network = Network::new().unwrap();
    let (writer, reader) = ends::<String>(&network, 1);
    let text = "text".to_string();
    let mut choice = Choice::new();
    let write = choice.write(&writer, &text);
    let read = choice.read(&reader);
    let skip = choice.skip();
    let late = choice.timeout(SHORT);
    for _ in 0..100 {
        let mut chosen = choice.pri_select().unwrap();
        assert!(chosen.is(write) && !chosen.is(read));
        assert!(chosen.take(read).is_none());
        assert!(chosen.take(write).unwrap().is_ok() && chosen.take(write).is_none(), "once");
        let mut chosen = choice.pri_select().unwrap();
        assert_eq!(chosen.index(), 1);
        assert_eq!(chosen.take(read).unwrap().unwrap(), "text");
    }
    choice.enable(write, false);
    assert!(choice.select().unwrap().is(skip));
    choice.enable(skip, false);
    assert!(choice.select().unwrap().is(late));
    choice.enable(late, false);
    choice.enable(read, false);
    assert!(matches!(choice.select(), Err(Error::NoGuard)));
    assert!(matches!(choice.pri_select(), Err(Error::NoGuard)));
    assert!(matches!(choice.fair_select(&mut Fairness::new()), Err(Error::NoGuard)));
    choice.enable(late, true);
    let started = Instant::now();
    assert_eq!(choice.select().unwrap().take(late), Some(()));
    assert!(started.elapsed() >= SHORT);
    choice.enable(skip, true);
    assert_eq!(choice.select().unwrap().take(skip), Some(()), "rather than to wait");
    assert!(format!("{choice:?} {skip:?} {:?}", choice.select().unwrap()).contains("Branch(2)"));
    // A branch of a longer choice.
    let mut longer = Choice::new();
    (0..9).for_each(|_| _ = longer.skip());
    let foreign = longer.skip();
    choice.enable(foreign, false);
    choice.select().unwrap();
}

#[test]
fn the_shortest_time_out_counts() {
    let network = Network::new().unwrap();
    let (_writer, reader) = ends::<u32>(&network, 0);
    for with_reader in [false, true] {
        let mut choice = Choice::new();
        let long = choice.timeout(Duration::MAX);
        let short = choice.timeout(SHORT);
        let skip = choice.skip();
        choice.enable(skip, false);
        if with_reader {
            choice.read(&reader);
        }
        let started = Instant::now();
        let chosen = choice.select().unwrap();
        assert!(chosen.is(short) && !chosen.is(long) && started.elapsed() >= SHORT);
        choice.timeout(Duration::ZERO);
        assert!(choice.select().unwrap().index() >= 3);
    }
}

#[test]
fn channels_of_different_networks_cannot_be_chosen_between() {
    let ((_a, first), (second, _b)) = (pair::<u32>(0), pair::<u32>(0));
    let mut choice = Choice::new();
    let read = choice.read(&first);
    choice.write(&second, &1);
    let late = choice.timeout(SHORT);
    assert!(matches!(choice.select(), Err(Error::OtherEnd(_))));
    choice.enable(read, false);
    assert!(choice.select().unwrap().is(late), "what is switched off does not matter");
}

#[test]
fn nobody_communicates_with_itself_but_through_a_buffer() {
    for capacity in [0, 1] {
        let network = Network::new().unwrap();
        let (writer, reader) = ends::<u32>(&network, capacity);
        if capacity == 0 {
            for _ in 0..10 {
                let what = select! {
                    write(writer, &1) -> _ => "written",
                    read(reader) -> _ => "read",
                    timeout(SHORT / 4) => "nothing",
                };
                assert_eq!(what.unwrap(), "nothing");
            }
        } else {
            // Buffer and reading again.
            let mut choice = Choice::new();
            let (write, read) = (choice.write(&writer, &1), choice.read(&reader));
            assert!(choice.select().unwrap().is(write));
            assert!(choice.select().unwrap().is(read));
        }
        // Two that could each meet itself meet each other.
        let each = (0..2u32).map(|nth| {
            let (writer, reader) = (writer.clone(), reader.clone());
            thread::spawn(move || {
                let value = nth + 10;
                (0..200)
                    .map(|_| {
                        select! { write(writer, &value) -> result => { result.unwrap(); 1 }, read(reader) -> got => {
                            assert!(capacity > 0 || got.unwrap() != value);
                            -1
                        } }
                        .unwrap()
                    })
                    .sum::<i32>()
            })
        });
        let sums: Vec<i32> = each.collect::<Vec<_>>().into_iter().map(|each| each.join().unwrap()).collect();
        assert_eq!(sums.iter().sum::<i32>(), i32::from(reader.try_read().is_ok()));
        assert!(network.report().unwrap().waiting().is_empty());
    }
}

#[test]
fn several_guards_may_be_on_one_channel() {
    let network = Network::new().unwrap();
    let (writer, reader) = ends::<u32>(&network, 0);
    for round in 0..300 {
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut choice = Choice::new();
                let branches = [choice.read(&reader), choice.read(&reader), choice.read(&reader)];
                let mut chosen = choice.select().unwrap();
                chosen.take(branches[chosen.index()]).unwrap().unwrap()
            });
            let values = [round, round + 1000];
            let mut choice = Choice::new();
            values.iter().for_each(|value| _ = choice.write(&writer, value));
            let chosen = choice.select().unwrap();
            assert_eq!(reading.join().unwrap(), values[chosen.index()]);
        });
        assert!(reader.try_read().unwrap_err().is_would_block(), "the other value was not written");
    }
}

#[test]
fn a_channel_that_ends_is_chosen_and_others_go_on_without_it() {
    type Ending = (fn(Writer<u32>), fn(&Error) -> bool);
    let endings: [Ending; 3] = [
        (|writer| writer.close().unwrap(), |error| matches!(error, Error::Closed)),
        (|writer| writer.poison().unwrap(), Error::is_poisoned),
        (drop, Error::is_retired),
    ];
    for (end, is_right) in endings {
        for is_waiting in [false, true] {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<u32>(&network, 2);
            let (other, other_reader) = ends::<u32>(&network, 0);
            let mut writer = Some(writer);
            thread::scope(|scope| {
                if !is_waiting {
                    end(writer.take().unwrap());
                }
                let choosing = scope.spawn(|| {
                    let mut choice = Choice::new();
                    let (first, second) = (choice.read(&reader), choice.read(&other_reader));
                    let error = choice.pri_select().unwrap().take(first).unwrap().unwrap_err();
                    assert!(is_right(&error), "{error}");
                    assert!(choice.pri_select().unwrap().is(first), "as often as it is asked");
                    choice.enable(first, false);
                    choice.select().unwrap().take(second).unwrap().unwrap()
                });
                if is_waiting {
                    until_waiting(&network, 1);
                    end(writer.take().unwrap());
                }
                other.write(3).unwrap();
                assert_eq!(choosing.join().unwrap(), 3);
            });
        }
    }
}

#[test]
fn an_output_guard_learns_the_end_of_its_channel() {
    for capacity in [0, 1] {
        for how in ["close", "poison", "retire"] {
            let network = Network::new().unwrap();
            let (writer, reader) = ends::<u32>(&network, capacity);
            let (_other, other_reader) = ends::<u32>(&network, 0);
            if capacity == 1 {
                writer.write(0).unwrap();
            }
            let choosing = thread::spawn(move || {
                select! {
                    write(writer, &1) -> result => result.unwrap_err(),
                    read(other_reader) -> _ => panic!("nobody writes"),
                }
            });
            until_waiting(&network, 1);
            match how {
                "close" => reader.close().unwrap(),
                "poison" => reader.poison().unwrap(),
                _ => reader.clone().retire(),
            }
            drop(reader);
            let error = choosing.join().unwrap().unwrap();
            let is_right = match how {
                "close" => matches!(error, Error::Closed),
                "poison" => error.is_poisoned(),
                _ => error.is_retired(),
            };
            // To close and to drop at once may be seen as either.
            assert!(is_right || how == "close" && error.is_retired(), "{how}: {error}");
        }
    }
}

/// Each of the threads chooses between writing to and reading from all the others.
fn cross(threads: usize, capacities: &[usize], rounds: usize) {
    let network = Network::new().unwrap();
    let channels: Vec<_> = capacities.iter().map(|capacity| ends::<(usize, usize)>(&network, *capacity)).collect();
    let (written, read): (Vec<_>, Vec<_>) = thread::scope(|scope| {
        let run = |nth: usize| {
            let channels = &channels;
            move || {
                let (mut written, mut read, mut fairness) = (Vec::new(), Vec::new(), Fairness::new());
                for round in 0..rounds {
                    let value = (nth, round);
                    let mut choice = Choice::new();
                    let mut guards = Vec::new();
                    for at in 0..channels.len() {
                        let at = (at + nth + round) % channels.len();
                        let (writer, reader) = &channels[at];
                        // In different orders, so that they cross.
                        if (nth + at) % 2 == 0 {
                            guards.push((at, Some(choice.write(writer, &value)), None));
                            guards.push((at, None, Some(choice.read(reader))));
                        } else {
                            guards.push((at, None, Some(choice.read(reader))));
                            guards.push((at, Some(choice.write(writer, &value)), None));
                        }
                    }
                    let late = choice.timeout(if nth == 0 { SHORT } else { LONG });
                    let mut chosen = match round % 3 {
                        0 => choice.select().unwrap(),
                        1 => choice.pri_select().unwrap(),
                        _ => choice.fair_select(&mut fairness).unwrap(),
                    };
                    if chosen.is(late) {
                        continue;
                    }
                    match guards[chosen.index()] {
                        (at, Some(write), _) => {
                            chosen.take(write).unwrap().unwrap();
                            written.push((at, value));
                        }
                        (at, _, Some(read_guard)) => read.push((at, chosen.take(read_guard).unwrap().unwrap())),
                        _ => unreachable!(),
                    }
                }
                // Whoever is left alone with the others' last offers.
                (written, read)
            }
        };
        let threads: Vec<_> = (1..threads).map(|nth| scope.spawn(run(nth))).collect();
        // The first one goes on until all others have ended, so that nobody is left alone.
        let mut first = (Vec::new(), Vec::new());
        while threads.iter().any(|thread| !thread.is_finished()) {
            let (written, read) = run(0)();
            first.0.extend(written);
            first.1.extend(read);
        }
        let others = threads.into_iter().map(|thread| thread.join().unwrap());
        others.chain([first]).unzip()
    });
    let mut written: Vec<_> = written.into_iter().flatten().collect();
    let mut read: Vec<_> = read.into_iter().flatten().collect();
    for (at, (_, reader)) in channels.iter().enumerate() {
        read.extend(std::iter::from_fn(|| reader.try_read().ok()).map(|value| (at, value)));
    }
    written.sort_unstable();
    read.sort_unstable();
    assert_eq!(written, read);
    assert!(network.report().unwrap().waiting().is_empty());
}

#[test]
fn many_choosers_with_crossing_guards_agree_on_synchronous_channels() {
    cross(2, &[0], 400);
    cross(3, &[0, 0], 300);
    cross(6, &[0, 0, 0, 0], 150);
}

#[test]
fn many_choosers_with_crossing_guards_agree_on_buffered_and_mixed_channels() {
    cross(3, &[1, 2], 300);
    cross(6, &[0, 1, 0, 3], 150);
}

fn by_macro(reader: &Reader<u32>, writer: &Writer<u32>, is_wanted: bool) -> Result<&'static str, Error> {
    let mut fairness = Fairness::new();
    let one = select! { read(reader) -> value => value? }?;
    assert_eq!(one, 1);
    let next = one + 1;
    loop {
        pri_select! {
            if next == 0, timeout(LONG) => (),
            if !is_wanted, skip => break,
            if is_wanted, write(writer, &next) -> result => {
                result?;
                return Ok("returned");
            },
        }?;
    }
    let mut left = 3;
    let last = 'outer: loop {
        fair_select! { fairness;
            if next == 0, timeout(LONG) => (),
            if left == 0, timeout(Duration::ZERO) => break 'outer left,
            if left > 0, skip => {
                left -= 1;
                continue 'outer;
            }
        }?;
    };
    assert_eq!(last, 0);
    let Ok(3 | 4) = (select! { skip => 3, timeout(SHORT) => 4, }) else { panic!("neither") };
    select! {
        read(reader) -> value => value.map(|_| "read")?,
        if reader.name().is_empty(), timeout(SHORT) => "late",
    }
}

#[test]
fn macros_take_conditions_and_their_branches_may_leave() {
    let network = Network::new().unwrap();
    let (writer, reader) = ends::<u32>(&network, 1);
    writer.write(1).unwrap();
    assert_eq!(by_macro(&reader, &writer, true).unwrap(), "returned");
    assert_eq!(reader.read().unwrap(), 2);
    writer.write(1).unwrap();
    assert_eq!(by_macro(&reader, &writer, false).unwrap(), "late");
    writer.poison().unwrap();
    assert!(by_macro(&reader, &writer, false).unwrap_err().is_poisoned());
    let none = select! { if false, read(reader) -> _ => (), if false, skip => () };
    assert!(matches!(none, Err(Error::NoGuard)));
    // What is moved into one of the branches, and patterns.
    let text = String::from("moved");
    let moved = select! {
        read(reader) -> Err(error) => { drop(error); text },
        timeout(LONG) => text,
    };
    let _ = moved;
}

#[test]
fn macros_take_temporary_ends_and_values() {
    let network = Network::new().unwrap();
    let channel = network.buffered::<String>(2).unwrap();
    let (writer, reader) = (channel.writer().unwrap(), channel.reader().unwrap());
    for n in 0..3 {
        select! {
            write(writer.clone(), &format!("{n}")) -> result => result.unwrap(),
            timeout(LONG) => panic!("there is room"),
        }
        .unwrap();
        let text = pri_select! {
            read(channel.reader().unwrap()) -> text => text.unwrap(),
            timeout(LONG) => panic!("there is a text"),
        };
        assert_eq!(text.unwrap(), n.to_string());
    }
    drop(reader);
}
