//! Names that several processes make, open, pass on and drop, of which one is killed.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use ipc_core::{Builder, Connection, Process};
use ipc_pipe::duplex;
use ipc_shm::{Error, Ownership, SharedMemory};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round};
use ipc_tests::unique_name;
use serde::{Deserialize, Serialize};

use crate::memory::{check, complaint, create, judge_gone, judge_left, keeps_name, open, word};
use crate::permits::join_survivor;

/// How often a survivor has the memory after the victim's end.
const AFTERWARDS: u32 = 5;

/// One who uses memory of a name.
#[derive(Serialize, Deserialize)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) lane: Lane,
    seed: u64,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Manner {
    /// Makes it, or opens what somebody else has made.
    Creates,
    /// Opens what somebody else makes.
    Opens,
    /// Opens or makes it; it goes with the last one.
    Shares,
    /// Puts there what the dead leave.
    Litters,
}

impl Worker {
    fn new(round: &mut Round, lane: u64, name: &str, manner: Manner) -> Worker {
        Worker { name: name.into(), lane: round.lane(lane), seed: round.rng.next(), manner }
    }

    /// Does it again and again: a victim for ever, a survivor until some time after the victim's end.
    fn work(&self) {
        let mut rng = Rng::new(self.seed);
        let (mut tries, mut done, mut more) = (0, 0, AFTERWARDS);
        while more > 0 {
            let over = self.lane.is_over();
            tries += 1;
            self.lane.attempt(tries);
            let had = match self.manner {
                Manner::Creates => self.create(&mut rng),
                Manner::Opens => self.open(&mut rng),
                Manner::Shares => self.share(&mut rng),
                Manner::Litters => Ok(self.litter()),
            };
            match had {
                Ok(true) => {
                    done += 1;
                    self.lane.acknowledge(done);
                    more -= u32::from(over);
                }
                Ok(false) => std::thread::yield_now(),
                Err(flaw) => return self.lane.complain(flaw),
            }
        }
    }

    /// Returns whether it has made it.
    fn create(&self, rng: &mut Rng) -> Result<bool, Flaw> {
        let ownership = if rng.one_in(2) { Ownership::Creator } else { Ownership::LastUser };
        if rng.one_in(8) {
            let _ = SharedMemory::scavenge();
        }
        let Some(memory) = create(&self.name, rng.next(), ownership)? else {
            return self.open(rng).map(|_| false);
        };
        spin(rng);
        keeps_name(&memory)?;
        check(&memory)?;
        Ok(true)
    }

    /// Returns true even if there was nothing: who makes it may have come to an end before.
    fn open(&self, rng: &mut Rng) -> Result<bool, Flaw> {
        let memory = open(&self.name, rng)?;
        spin(rng);
        memory.map_or(Ok(()), |memory| check(&memory)).map(|()| true)
    }

    fn share(&self, rng: &mut Rng) -> Result<bool, Flaw> {
        if rng.one_in(4) {
            let _reader = read_only(&self.name)?;
            spin(rng);
            return Ok(false);
        }
        let memory = share(&self.name)?;
        spin(rng);
        keeps_name(&memory)?;
        add_one(&memory, ADDED);
        Ok(true)
    }

    /// Makes what a creator leaves that is killed: a file of the kind that nobody has. Others may remove it at any time.
    fn litter(&self) -> bool {
        let path = Path::new("/dev/shm").join(&self.name);
        let other = path.with_extension("litter");
        let litter = File::create(&other).and_then(|mut file| {
            file.write_all(&[7; 100])?;
            file.set_permissions(Permissions::from_mode(0o1600))
        });
        litter.expect("a file with a few bytes");
        if fs::hard_link(&other, path).is_err() {
            std::thread::yield_now();
        }
        let _ = fs::remove_file(other);
        true
    }
}

/// How much memory those who share it have, and what is in it.
const SHARED: usize = 64;
const ADDED: usize = 0;
const ARRIVED: usize = 8;

fn share(name: &str) -> Result<SharedMemory, Flaw> {
    SharedMemory::open_or_create(name, SHARED).map_err(|error| complaint("share", &error))
}

fn read_only(name: &str) -> Result<Option<SharedMemory>, Flaw> {
    match SharedMemory::open_read_only(name) {
        Ok(memory) => Ok(Some(memory)),
        Err(Error::Memory(ipc_core::Error::NoSuchName { .. })) => Ok(None),
        Err(error) => Err(complaint("read", &error)),
    }
}

fn add_one(memory: &SharedMemory, offset: usize) {
    memory.atomic_u64(offset).expect("it is large enough").fetch_add(1, Ordering::SeqCst);
}

fn spin(rng: &mut Rng) {
    let most = if rng.one_in(4) { 20_000 } else { 500 };
    rng.spin(most);
}

/// The points at which one who dies has something that others must recognise.
const INSIDE: [&str; 6] =
    ["named.linked", "named.attached", "named.claimed", "named.leaving", "names.matched", "segment.announced"];

pub(crate) fn judge_workers(round: &mut Round) {
    if round.died_at().is_some_and(|point| INSIDE.contains(&point)) {
        round.inside();
    }
    for lane in [0, 1, 2, 3].map(|lane| round.lane(lane)) {
        if let Some(flaw) = lane.flaw() {
            round.flaw(flaw, format!("noted by a worker: {lane:?}"));
        }
    }
}

/// The victim does this to a name, another process and a thread of this one that.
fn use_name<F>(round: &mut Round, name: &str, work: F, [victim, other, near]: [Manner; 3])
where
    F: FnOnce(Worker) + Copy + Send + 'static,
{
    round.strike(|round| {
        let victim = Worker::new(round, 0, name, victim);
        let other = Worker::new(round, 1, name, other);
        let near = Worker::new(round, 2, name, near);
        let victim: Process<()> = round.victim().spawn(work, victim).expect("the victim starts");
        let survive = |worker: Worker| worker.work();
        let other: Process<()> = Builder::new().spawn(survive, other).expect("the other one starts");
        std::thread::scope(|scope| {
            scope.spawn(|| near.work());
            let _ = round.join(victim);
            round.end();
        });
        join_survivor(round, other);
    });
    round.messages((0..3).map(|lane| round.lane(lane).acknowledged()).sum());
    judge_workers(round);
}

/// Three make memory of the same name, or open it, and drop it.
pub(crate) fn creator(round: &mut Round) {
    let name = unique_name();
    creator_with(round, &name, |worker| worker.work());
    // The others have taken over what the victim has left, and removed what they have made.
    judge_gone(round, &name);
}

/// The same, with another victim.
pub(crate) fn creator_with(round: &mut Round, name: &str, work: impl FnOnce(Worker) + Copy + Send + 'static) {
    use_name(round, name, work, [Manner::Creates; 3]);
}

/// The same, among the names that others leave who are killed.
pub(crate) fn heir(round: &mut Round) {
    let name = unique_name();
    use_name(round, &name, |worker| worker.work(), [Manner::Creates, Manner::Creates, Manner::Litters]);
    judge_left(round, &name);
}

/// One makes memory of a name, others open it.
pub(crate) fn opener(round: &mut Round) {
    let name = unique_name();
    use_name(round, &name, |worker| worker.work(), [Manner::Opens, Manner::Opens, Manner::Creates]);
    judge_gone(round, &name);
}

/// Others open what the victim makes.
pub(crate) fn opener_with(round: &mut Round, name: &str, work: impl FnOnce(Worker) + Copy + Send + 'static) {
    use_name(round, name, work, [Manner::Opens; 3]);
}

/// Three open memory or make it, which is there as long as one of them has it; and then all drop it at the same time.
pub(crate) fn user(round: &mut Round) {
    fn work(worker: Worker) {
        worker.work();
        let Ok(memory) = share(&worker.name) else { return worker.lane.complain(Flaw::Wrong) };
        let arrived = memory.atomic_u64(ARRIVED).expect("it is large enough");
        arrived.fetch_add(1, Ordering::SeqCst);
        // Sometimes the last one is one who only reads.
        let reader = (worker.seed % 2 == 0).then(|| read_only(&worker.name));
        while arrived.load(Ordering::SeqCst) < 3 {
            std::hint::spin_loop();
        }
        drop(memory);
        drop(reader);
    }
    let name = unique_name();
    let held = round.rng.one_in(2).then(|| share(&name).expect("it is new"));
    round.strike(|round| {
        let worker = |round: &mut Round, lane| Worker::new(round, lane, &name, Manner::Shares);
        let victim: Process<()> = round.victim().spawn(work, worker(round, 0)).expect("the victim starts");
        let others = [1, 2].map(|lane| {
            let other = worker(round, lane);
            Builder::new().spawn(work, other).expect("the other one starts")
        });
        let near = worker(round, 3);
        std::thread::scope(|scope| {
            scope.spawn(|| work(near));
            let _ = round.join(victim);
            round.end();
        });
        others.into_iter().for_each(|other| join_survivor(round, other));
    });
    let sum = |number: fn(&Lane) -> u64| (0..4).map(|lane| number(&round.lane(lane))).sum::<u64>();
    let (acknowledged, attempted) = (sum(Lane::acknowledged), sum(Lane::attempted));
    round.messages(acknowledged);
    judge_workers(round);
    if let Some(memory) = held {
        let added = word(&memory, ADDED);
        if let Err(flaw) = keeps_name(&memory) {
            round.flaw(flaw, "this process has had it all the time");
        }
        if added > attempted {
            round.flaw(Flaw::Duplicate, format!("{attempted} additions attempted, {added} in the memory"));
        }
        if added < acknowledged {
            round.flaw(Flaw::Lost, format!("{acknowledged} additions acknowledged, {added} in the memory"));
        }
    }
    judge_gone(round, &name);
}

/// How many names the sender has.
const NAMES: usize = 6;

#[derive(Serialize, Deserialize)]
struct Sender {
    names: Vec<String>,
    conn: Connection<SharedMemory, ()>,
    lane: Lane,
    seed: u64,
}

/// Makes memories and sends them on, until it is killed.
fn send_for_ever(mut sender: Sender) {
    let mut rng = Rng::new(sender.seed);
    let mut sent = 0;
    for name in sender.names.iter().cycle() {
        // The receiver may still have it, or it is under way.
        let memory = match create(name, rng.next(), Ownership::LastUser) {
            Ok(Some(memory)) => memory,
            Ok(None) => {
                std::thread::yield_now();
                continue;
            }
            Err(flaw) => return sender.lane.complain(flaw),
        };
        sender.lane.attempt(sent + 1);
        let own = rng.one_in(2).then(|| memory.clone());
        sender.conn.send(memory).expect("the receiver is there");
        sent += 1;
        sender.lane.acknowledge(sent);
        spin(&mut rng);
        drop(own);
    }
}

/// Memory that is under way belongs to the living.
pub(crate) fn sender(round: &mut Round) {
    let names: Vec<_> = (0..NAMES).map(|_| unique_name()).collect();
    let (far, mut near) = duplex::<SharedMemory, ()>().expect("a pair of sockets");
    let (received, kept) = round.strike(|round| {
        let sender = Sender { names: names.clone(), conn: far, lane: round.lane(0), seed: round.rng.next() };
        let victim: Process<()> = round.victim().spawn(send_for_ever, sender).expect("the victim starts");
        let (mut received, mut kept) = (0, Vec::new());
        let error = loop {
            match near.recv() {
                Ok(memory) => {
                    received += 1;
                    if let Err(flaw) = check(&memory).and_then(|()| keeps_name(&memory)) {
                        round.flaw(flaw, format!("`{:?}` as it was received", memory.name()));
                    }
                    kept.push(memory);
                    if kept.len() > 3 {
                        kept.remove(0);
                    }
                }
                Err(error) => break error,
            }
        };
        round.judge_end(&error);
        let _ = round.join(victim);
        (received, kept)
    });
    round.judge(&round.lane(0), received, !round.has_flaws());
    judge_workers(round);
    for memory in kept {
        let name = memory.name().expect("it has one").to_string();
        if let Err(flaw) = check(&memory).and_then(|()| keeps_name(&memory)) {
            round.flaw(flaw, format!("`{name}`, which this process has"));
        }
        drop(memory);
        judge_gone(round, &name);
    }
    names.iter().for_each(|name| judge_left(round, name));
}
