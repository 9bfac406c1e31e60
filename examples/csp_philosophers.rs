//! Five philosophers and five forks, all of them processes. A fork is with whoever picks it up first, which is a choice between its two
//! neighbours. Hoare's footman, who never lets all five sit down, is a channel with room for four. In PyCSP a fork would be over when its
//! first neighbour retires, by an exception; here a choice goes on with those guards that are switched on.
#![forbid(unsafe_code)]

use ipc_csp::{Error, Fairness, Member, Network, Reader, Writer, fair_select, parallel, process};
use serde::{Deserialize, Serialize};

const PHILOSOPHERS: usize = 5;
const MEALS: u32 = 20;

/// What a philosopher has.
#[derive(Serialize, Deserialize)]
struct Place {
    /// Written to once to pick the fork up, and once to put it down.
    forks: [Writer<()>; 2],
    seats: (Writer<()>, Reader<()>),
}

fn philosopher(place: Place) -> u32 {
    let meals = (0..MEALS).map_while(|_| eat(&place).ok());
    meals.count() as u32
}

fn eat(Place { forks: [left, right], seats: (sit_down, stand_up) }: &Place) -> Result<(), Error> {
    sit_down.write(())?; // waits while four are sitting
    left.write(())?;
    right.write(())?;
    // Here both forks are this philosopher's.
    left.write(())?;
    right.write(())?;
    stand_up.read()
}

/// How often it was picked up.
fn fork((left, right): (Reader<()>, Reader<()>)) -> u32 {
    let (mut times, mut fairness) = (0, Fairness::new());
    let (mut has_left, mut has_right) = (true, true);
    // Whoever picks it up is the one who puts it down: it listens to nobody else until then.
    let meal = |first: Result<(), Error>, side: &Reader<()>| first.and_then(|()| side.read()).is_ok();
    while has_left || has_right {
        let result = fair_select! { fairness;
            if has_left, read(left) -> first => { has_left = meal(first, &left); has_left },
            if has_right, read(right) -> first => { has_right = meal(first, &right); has_right },
        };
        times += u32::from(result.expect("one of them is there"));
    }
    times
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new()?;
    let seats = network.builder().name("seats").buffered(PHILOSOPHERS - 1).channel()?;
    let mut to_forks: Vec<[Option<Writer<()>>; 2]> = (0..PHILOSOPHERS).map(|_| [None, None]).collect();
    let mut members: Vec<Member<u32>> = Vec::new();
    for n in 0..PHILOSOPHERS {
        let (left, right) = (network.channel()?, network.channel()?);
        members.push(process(fork, (left.reader()?, right.reader()?)).name(format!("fork {n}")));
        to_forks[n][0] = Some(left.writer()?);
        to_forks[(n + 1) % PHILOSOPHERS][1] = Some(right.writer()?);
    }
    for (n, forks) in to_forks.into_iter().enumerate() {
        let place =
            Place { forks: forks.map(|fork| fork.expect("all are laid")), seats: (seats.writer()?, seats.reader()?) };
        members.push(process(philosopher, place).name(format!("philosopher {n}")));
    }
    let results = parallel(members)?;
    let (forks, philosophers) = results.split_at(PHILOSOPHERS);
    for (n, meals) in philosophers.iter().enumerate() {
        println!("philosopher {n} has eaten {meals} times");
    }
    println!("each fork was picked up {} times: {}", 2 * MEALS, forks.iter().all(|times| *times == 2 * MEALS));
    Ok(())
}
