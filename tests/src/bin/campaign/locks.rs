//! Locks around data that is only sound as a whole, of which an owner is killed.

use std::cell::Cell;
use std::hint::{black_box, spin_loop};

use ipc_core::{Builder, Process};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round, VARIABLE};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How many words the data has: all are equal when it is sound.
pub(crate) const WORDS: usize = 8;

/// How often a survivor takes the lock after the victim's end.
const AFTERWARDS: u32 = 5;

/// A lock around the words.
pub(crate) trait Lock: Serialize + DeserializeOwned + Send + Sync {
    /// Another handle of the same lock.
    fn share(&self) -> Self;

    /// Calls `work` once, under the lock, and then does what it says. Where a death was told it may not call it and leave
    /// everything as it is.
    fn with(&self, rng: &mut Rng, work: &mut dyn FnMut(&[Cell<u64>], Told) -> Then) -> Then;

    /// Calls `look`, with others who look at the same time, unless it is told of a death. Locks without such a thing do nothing.
    fn look(&self, rng: &mut Rng, look: &mut dyn FnMut(&[u64])) {
        let _ = (rng, look);
    }
}

/// What one is told of those who had the lock before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    /// This process died with the lock, if it is known.
    Died(Option<u32>),
}

/// What is done when the work under the lock is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The data is sound.
    Unlock,
    /// What the dead one left is not put in order, or not even looked at: the next one must be told, too.
    LeaveBroken,
    /// The lock is kept by a thread that ends, which for other processes is a death. Only if nothing was told.
    Forget,
}

/// One who uses the lock.
#[derive(Debug, Serialize, Deserialize)]
struct Worker<L> {
    lock: L,
    lane: Lane,
    seed: u64,
    /// The only process that may die, if there is only one.
    victim: Option<u32>,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Manner {
    /// Looks and writes.
    Usual,
    /// Never writes.
    Looks,
    /// Starts processes that end with the lock.
    Careless,
}

impl<L: Lock> Worker<L> {
    /// Adds one to all words again and again: a victim for ever, a survivor until some time after the victim's end.
    fn work(&self) {
        let mut rng = Rng::new(self.seed);
        let (mut tries, mut done, mut more) = (0, 0, AFTERWARDS);
        while more > 0 && self.lane.flaw().is_none() {
            let over = self.lane.is_over();
            tries += 1;
            self.lane.attempt(tries);
            self.look(&mut rng);
            if self.manner == Manner::Looks {
                continue;
            }
            if self.manner == Manner::Careless && !over && rng.one_in(4) {
                self.end_with_it(rng.next());
            } else if self.add_one(&mut rng, false) == Then::Unlock {
                done += 1;
                self.lane.acknowledge(done);
                more -= u32::from(over);
            }
        }
    }

    /// A process whose thread ends with the lock; in the same process nobody could take it any more.
    fn end_with_it(&self, seed: u64) {
        let Worker { victim, manner, .. } = *self;
        let heir = Worker { lock: self.lock.share(), lane: self.lane.share(), seed, victim, manner };
        let end = |heir: Worker<L>| {
            heir.add_one(&mut Rng::new(heir.seed), true);
        };
        let heir: Process<()> = Builder::new().env_remove(VARIABLE).spawn(end, heir).expect("the heir starts");
        if let Err(error) = heir.join() {
            eprintln!("an heir: {error}");
            self.lane.complain(Flaw::Wrong);
        }
    }

    fn look(&self, rng: &mut Rng) {
        self.lock.look(rng, &mut |words| {
            if self.manner == Manner::Looks {
                self.lane.receive(1);
            }
            let whole = words.iter().all(|word| *word == words[0]);
            black_box(words);
            // Nobody may have written meanwhile.
            self.check(whole && words.iter().all(|word| *word == words[0]), Told::Nothing);
            if self.manner == Manner::Looks {
                self.lane.receive(0);
            }
        });
    }

    fn add_one(&self, rng: &mut Rng, careless: bool) -> Then {
        let mut choice = rng.fork();
        self.lock.with(rng, &mut |words, told| {
            self.check(words.iter().all(|word| word.get() == words[0].get()), told);
            if told != Told::Nothing && (careless || choice.one_in(2)) {
                return Then::LeaveBroken;
            }
            // Also after a death the first word is what somebody has attempted to write.
            let value = words[0].get() + 1;
            if careless {
                write(&words[..WORDS / 2], value, &mut choice);
                return Then::Forget;
            }
            write(words, value, &mut choice);
            if told != Told::Nothing {
                self.lane.tell(self.lane.told() + 1);
            }
            Then::Unlock
        })
    }

    fn check(&self, whole: bool, told: Told) {
        match (told, self.victim) {
            (Told::Nothing, _) if !whole => self.lane.complain(Flaw::Untold),
            // Who has left no name has changed nothing.
            (Told::Died(None), _) if !whole => {
                eprintln!("the data is not whole, and nobody is named");
                self.lane.complain(Flaw::Wrong);
            }
            (Told::Died(Some(pid)), Some(victim)) if pid != victim => {
                eprintln!("told that {pid} died, but the victim is {victim}");
                self.lane.complain(Flaw::Wrong);
            }
            _ => {}
        }
    }
}

/// Writes the words one after the other, sometimes slowly.
fn write(words: &[Cell<u64>], value: u64, rng: &mut Rng) {
    let pause = if rng.one_in(4) { rng.below(200) } else { 0 };
    for word in words {
        word.set(value);
        black_box(words); // no two at once
        (0..pause).for_each(|_| spin_loop());
    }
}

/// The victim, a process and a thread of this one use a lock. A victim that dies at one of the points `held` has it.
pub(crate) fn owner<L: Lock>(round: &mut Round, lock: &L, held: &[&str]) {
    use_lock(round, lock, held, Manner::Usual, Manner::Usual);
}

/// The same, and the other process starts such as end with the lock.
pub(crate) fn heir<L: Lock>(round: &mut Round, lock: &L, held: &[&str]) {
    use_lock(round, lock, held, Manner::Usual, Manner::Careless);
}

/// The victim never writes.
pub(crate) fn reader<L: Lock>(round: &mut Round, lock: &L) {
    use_lock(round, lock, &[], Manner::Looks, Manner::Usual);
}

fn use_lock<L: Lock>(round: &mut Round, lock: &L, held: &[&str], victims: Manner, others: Manner) {
    let careless = others == Manner::Careless;
    round.strike(|round| {
        let worker = |round: &mut Round, lane, victim: Option<u32>, manner| Worker {
            lock: lock.share(),
            lane: round.lane(lane),
            seed: round.rng.next(),
            victim: victim.filter(|_| !careless),
            manner,
        };
        let work = |worker: Worker<L>| worker.work();
        let victim: Process<()> =
            round.victim().spawn(work, worker(round, 0, None, victims)).expect("the victim starts");
        let pid = Some(victim.pid());
        let other: Process<()> =
            Builder::new().spawn(work, worker(round, 1, pid, others)).expect("the other one starts");
        let near = worker(round, 2, pid, Manner::Usual);
        std::thread::scope(|scope| {
            scope.spawn(|| near.work());
            let _ = round.join(victim);
            round.end();
        });
        if let Err(error) = other.join() {
            round.flaw(Flaw::Wrong, format!("a survivor: {error}"));
        }
    });
    let lanes = [0, 1, 2].map(|lane| round.lane(lane));
    let told = lanes.iter().map(Lane::told).sum::<u64>();
    let held = round.died_at().is_some_and(|point| held.contains(&point));
    let flawed = lanes.iter().filter_map(Lane::flaw).next();
    if let Some(flaw) = flawed {
        return round.flaw(flaw, "noted by a worker");
    }
    if held && told == 0 {
        round.flaw(Flaw::Untold, "the victim died with the lock");
    }
    if told > 1 && !careless {
        round.flaw(Flaw::Wrong, format!("one death, and {told} were told after it had been put in order"));
    }
    // In the other case not only the victim's end can be told.
    if held || (told > 0 && !careless) || lanes[0].received() > 0 {
        round.inside();
    }
    let mut value = 0;
    lock.with(&mut Rng::new(0), &mut |words, _| {
        value = words[0].get();
        Then::Unlock
    });
    let sum = |number: fn(&Lane) -> u64| lanes.iter().map(number).sum::<u64>();
    let (attempted, acknowledged) = (sum(Lane::attempted), sum(Lane::acknowledged));
    round.messages(acknowledged);
    if value < acknowledged {
        round.flaw(Flaw::Lost, format!("{acknowledged} additions acknowledged, {value} in the data"));
    }
    if value > attempted {
        round.flaw(Flaw::Duplicate, format!("{attempted} additions attempted, {value} in the data"));
    }
}
