//! Processes that wait for each other, of which one is killed.

use std::hint::spin_loop;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipc_core::{Builder, Process, Segment};
use ipc_sync::{Barrier, BrokenBy, Condvar, Error, Event, Mutex, MutexGuard, Once, Party};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round};
use ipc_tests::eventually;
use serde::{Deserialize, Serialize};

use crate::permits::join_survivor;
use crate::raw::{Map, Memory, ONCES};

const SHORT: Duration = Duration::from_micros(300);
/// What a survivor still does after the victim's end.
const AFTERWARDS: u32 = 5;

/// A shelf with room for one thing at a time.
#[derive(Clone, Serialize, Deserialize)]
struct Shelf {
    state: Mutex<[u64; 3]>,
    filled: Condvar,
    emptied: Condvar,
}

/// How many things were put on the shelf.
const PUT: usize = 0;
const TAKEN: usize = 1;
/// Nothing will be put on it any more.
const CLOSED: usize = 2;

type State<'a> = MutexGuard<'a, [u64; 3]>;

#[derive(Serialize, Deserialize)]
struct Clerk {
    shelf: Shelf,
    lane: Lane,
    seed: u64,
    /// Never waits for a limited time only, which would end whatever it waits for.
    patient: bool,
}

impl Shelf {
    /// Each word is written at once, so what a dead one has left is sound.
    fn lock(&self) -> State<'_> {
        self.state.lock_or_repair(|_, _| true).expect("not locked twice")
    }

    /// Waits until the state is other than `unwanted`, in all the ways there are.
    fn wait_while<'a>(
        &'a self,
        condvar: &Condvar,
        mut guard: State<'a>,
        (rng, patient): (&mut Rng, bool),
        unwanted: fn(&mut [u64; 3]) -> bool,
    ) -> State<'a> {
        while unwanted(&mut guard) {
            let waited = match rng.below(6) {
                _ if patient => condvar.wait(guard),
                0 => condvar.wait_timeout(guard, SHORT).map(|(guard, _)| guard),
                1 => condvar.wait_timeout_while(guard, SHORT, unwanted).map(|(guard, _)| guard),
                2 => condvar.wait_while(guard, unwanted),
                _ => condvar.wait(guard),
            };
            guard = match waited {
                Ok(guard) => guard,
                // A time-out came while a stopped one had the mutex.
                Err(Error::OwnerDied { .. } | Error::Timeout) => self.lock(),
                Err(error) => panic!("cannot wait: {error:?}"),
            };
        }
        guard
    }
}

fn notify(condvar: &Condvar, rng: &mut Rng) {
    if rng.one_in(2) { condvar.notify_one() } else { condvar.notify_all() }.expect("not forked");
}

/// Puts things on the shelf: a victim for ever, a survivor until some time after the victim's end.
fn put(clerk: Clerk) {
    let Clerk { shelf, lane, seed, patient } = clerk;
    let mut rng = Rng::new(seed);
    let (mut n, mut more) = (0, AFTERWARDS);
    while more > 0 {
        more -= u32::from(lane.is_over());
        lane.attempt(n + 1);
        let guard = shelf.lock();
        let mut guard = shelf.wait_while(&shelf.emptied, guard, (&mut rng, patient), |state| state[PUT] > state[TAKEN]);
        guard[PUT] += 1;
        leave(guard, &shelf.filled, &mut rng);
        n += 1;
        lane.acknowledge(n);
    }
    let mut guard = shelf.lock();
    guard[CLOSED] = 1;
    shelf.filled.notify_all().expect("not forked");
}

/// Takes things from it until it is closed.
fn take(clerk: Clerk) {
    let Clerk { shelf, lane, seed, patient } = clerk;
    let mut rng = Rng::new(seed);
    for n in 0.. {
        lane.attempt(n + 1);
        let guard = shelf.lock();
        let empty = |state: &mut [u64; 3]| state[PUT] == state[TAKEN] && state[CLOSED] == 0;
        let mut guard = shelf.wait_while(&shelf.filled, guard, (&mut rng, patient), empty);
        if guard[PUT] == guard[TAKEN] {
            return;
        }
        guard[TAKEN] += 1;
        leave(guard, &shelf.emptied, &mut rng);
        lane.acknowledge(n + 1);
    }
}

/// Notifies, with the mutex or without it.
fn leave(guard: State<'_>, condvar: &Condvar, rng: &mut Rng) {
    if rng.one_in(2) {
        notify(condvar, rng);
        drop(guard);
    } else {
        drop(guard);
        notify(condvar, rng);
    }
}

/// One who puts or takes is killed, and the others go on.
pub(crate) fn condvar(round: &mut Round) {
    let condvar = || Condvar::new().expect("a condition variable");
    let state = Mutex::new([0; 3]).expect("a mutex");
    let shelf = Shelf { state: state.clone(), filled: condvar(), emptied: condvar() };
    let (putter_dies, patient) = (round.rng.one_in(2), round.rng.one_in(2));
    round.strike(|round| {
        let clerk = |round: &mut Round, lane| Clerk {
            shelf: shelf.clone(),
            lane: round.lane(lane),
            seed: round.rng.next(),
            patient,
        };
        let builder = round.victim();
        let dies = clerk(round, 0);
        let victim: Process<()> =
            if putter_dies { builder.spawn(put, dies) } else { builder.spawn(take, dies) }.expect("the victim starts");
        let other: Process<()> = Builder::new().spawn(take, clerk(round, 1)).expect("the other one starts");
        let near = clerk(round, 2);
        drop(shelf);
        std::thread::scope(|scope| {
            scope.spawn(|| put(near));
            let _ = round.join(victim);
            round.end();
        });
        join_survivor(round, other);
    });
    let [put, taken, _] = *state.lock_or_repair(|_, _| true).expect("not locked twice");
    let (dead, other, near) = (round.lane(0), round.lane(1), round.lane(2));
    let (acknowledged, attempted) = (dead.acknowledged(), dead.attempted());
    round.messages(put);
    if ["mutex.locked", "mutex.unlocking", "condvar.registered"].map(Some).contains(&round.died_at()) {
        round.inside();
    }
    let (lost, twice) = if putter_dies {
        (put < near.acknowledged() + acknowledged, put > near.acknowledged() + attempted)
    } else {
        (taken < other.acknowledged() + acknowledged, taken > other.acknowledged() + attempted)
    };
    if lost || put != taken {
        round.flaw(Flaw::Lost, format!("{put} were put and {taken} taken, by {dead:?}, {other:?} and {near:?}"));
    }
    if twice {
        round.flaw(Flaw::Duplicate, format!("{put} were put and {taken} taken, by {dead:?}, {other:?} and {near:?}"));
    }
}

#[derive(Serialize, Deserialize)]
struct Player {
    ball: Event,
    back: Event,
    lane: Lane,
    seed: u64,
}

impl Player {
    /// In all the ways there are; false if nobody is left who could set it.
    fn wait(&self, event: &Event, rng: &mut Rng) -> bool {
        loop {
            let set = if rng.one_in(4) { event.wait_timeout(SHORT) } else { event.wait() };
            match set {
                Ok(()) => return true,
                Err(Error::Timeout) => {}
                Err(Error::Abandoned) => return false,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

/// Sets one and waits for the other: until some time after the victim's end.
fn serve(player: Player) {
    let mut rng = Rng::new(player.seed);
    let (mut n, mut more) = (0, AFTERWARDS);
    while more > 0 {
        more -= u32::from(player.lane.is_over());
        player.lane.attempt(n + 1);
        player.ball.set().expect("not forked");
        assert!(player.wait(&player.back, &mut rng), "the other one is there");
        player.back.clear().expect("not forked");
        n += 1;
        player.lane.acknowledge(n);
    }
}

/// Waits for one and sets the other, until nobody is there to play with.
fn give_back(player: Player) {
    let mut rng = Rng::new(player.seed);
    for n in 1.. {
        player.lane.attempt(n);
        if !player.wait(&player.ball, &mut rng) {
            return;
        }
        player.ball.clear().expect("not forked");
        player.back.set().expect("not forked");
        player.lane.acknowledge(n);
    }
}

/// Sets both, or waits for one, and never clears: whatever it does, the others can go on.
fn meddle(player: Player) {
    let mut rng = Rng::new(player.seed);
    for n in 1.. {
        player.lane.attempt(n);
        let event = if rng.one_in(2) { &player.ball } else { &player.back };
        if rng.one_in(2) {
            event.set().expect("not forked");
        } else {
            assert!(player.wait(event, &mut rng), "the others are there");
        }
        player.lane.acknowledge(n);
        rng.spin(1000);
    }
}

/// Two play with two events, and a third one who sets them and waits for them is killed.
pub(crate) fn event(round: &mut Round) {
    let (ball, back) = (Event::new().expect("an event"), Event::new().expect("an event"));
    round.strike(|round| {
        let player = |round: &mut Round, lane| Player {
            ball: ball.clone(),
            back: back.clone(),
            lane: round.lane(lane),
            seed: round.rng.next(),
        };
        let other: Process<()> = Builder::new().spawn(give_back, player(round, 1)).expect("the other one starts");
        let victim: Process<()> = round.victim().spawn(meddle, player(round, 0)).expect("the victim starts");
        let near = player(round, 2);
        drop((ball, back));
        std::thread::scope(|scope| {
            scope.spawn(|| serve(near));
            let _ = round.join(victim);
            round.end();
        });
        // It is alone now.
        join_survivor(round, other);
    });
    round.messages(round.lane(2).acknowledged());
}

/// How many meet at the barrier.
const PARTIES: u32 = 3;
/// In the memory of the meeting: how often the action was run, and the sum of all places.
const ACTIONS: usize = 0;
const PLACES: usize = 1;

#[derive(Serialize, Deserialize)]
struct Guest {
    barrier: Barrier,
    memory: Memory,
    lane: Lane,
    victim: u32,
    /// After how many meetings it breaks the barrier on purpose.
    patience: u64,
}

/// Meets the others for ever, or breaks the barrier and does nothing more.
fn meet_and_die(guest: Guest) {
    guest.lane.attempt(1);
    let mut party = guest.barrier.enroll().expect("a place");
    guest.lane.acknowledge(1);
    let map = guest.memory.map();
    for _ in 0..guest.patience {
        act(&mut party, &map).expect("the others live");
    }
    guest.barrier.abort().expect("not forked");
    loop {
        std::thread::park();
    }
}

fn act(party: &mut Party, map: &Map) -> ipc_sync::Result<usize> {
    party.wait_with(|| {
        map.word(ACTIONS).fetch_add(1, Ordering::SeqCst);
    })
}

/// Meets the others until the barrier breaks, and then, when it is mended, some more times.
fn meet(guest: Guest) {
    let mut party = guest.barrier.enroll().expect("a place");
    let map = guest.memory.map();
    let broken = loop {
        let before = map.word(ACTIONS).load(Ordering::SeqCst);
        match act(&mut party, &map) {
            Ok(place) => {
                let after = map.word(ACTIONS).load(Ordering::SeqCst);
                assert!(place < PARTIES as usize && after > before, "place {place}, {before} and {after} actions");
                guest.lane.receive(guest.lane.received() + 1);
            }
            Err(Error::Broken(by)) => break by,
            Err(error) => panic!("{error:?}"),
        }
    };
    match broken {
        BrokenBy::Died { pid } | BrokenBy::Aborted { pid } if pid == guest.victim => {}
        // Who had not enrolled is missed by nobody, so the supervisor has broken it.
        BrokenBy::Aborted { .. } if guest.lane.is_over() => {}
        other => panic!("broken: {other}"),
    }
    guest.lane.tell(1);
    meet_again(&mut party, &map, &guest.lane);
}

/// A few times, from the moment when the barrier is mended.
fn meet_again(party: &mut Party, map: &Map, lane: &Lane) {
    for n in 1..=u64::from(AFTERWARDS) {
        let place = loop {
            match party.wait() {
                Ok(place) => break place,
                Err(Error::Broken(_)) if n == 1 => std::thread::yield_now(), // as yet
                Err(error) => panic!("{error:?}"),
            }
        };
        map.word(PLACES).fetch_add(place as u32, Ordering::SeqCst);
        lane.acknowledge(n);
    }
}

/// A party dies: the others hear who it was, and can begin anew with somebody else.
pub(crate) fn barrier(round: &mut Round) {
    let barrier = Barrier::new(PARTIES).expect("a barrier");
    let memory = Memory::create();
    let map = memory.map();
    round.strike(|round| {
        let patience = if round.rng.one_in(2) { round.rng.below(20) } else { u64::MAX };
        let guest = |round: &mut Round, lane, victim| Guest {
            barrier: barrier.clone(),
            memory: memory.share(),
            lane: round.lane(lane),
            victim,
            patience,
        };
        let victim: Process<()> = round.victim().spawn(meet_and_die, guest(round, 0, 0)).expect("the victim starts");
        let pid = victim.pid();
        let other: Process<()> = Builder::new().spawn(meet, guest(round, 1, pid)).expect("the other one starts");
        let near = guest(round, 2, pid);
        std::thread::scope(|scope| {
            let near = scope.spawn(|| meet(near));
            let _ = round.join(victim);
            if round.lane(0).acknowledged() == 0 {
                round.end();
                barrier.abort().expect("not forked");
            } else {
                round.inside();
            }
            let told = |lane| round.lane(lane).told() == 1;
            eventually("all have heard", || (told(1) && told(2)) || near.is_finished());
            barrier.reset().expect("not forked");
            let mut heir = barrier.enroll().expect("the place of the dead one");
            meet_again(&mut heir, &map, &round.lane(3));
        });
        join_survivor(round, other);
    });
    round.messages(round.lane(2).received());
    // Each of them has had each place as often as they met, all together.
    let (places, expected) = (map.word(PLACES).load(Ordering::SeqCst), AFTERWARDS * (0..PARTIES).sum::<u32>());
    if places != expected {
        round.flaw(Flaw::Wrong, format!("the sum of all places is {places} and not {expected}"));
    }
}

#[derive(Serialize, Deserialize)]
struct Caller {
    segment: Segment,
    memory: Memory,
    lane: Lane,
    seed: u64,
}

fn offset(n: usize) -> usize {
    n * Once::size().next_multiple_of(Segment::ALIGNMENT)
}

/// Calls all of them, one after the other.
fn call_all(caller: &Caller) {
    let map = caller.memory.map();
    let mut rng = Rng::new(caller.seed);
    for n in 0..ONCES {
        caller.lane.attempt(n as u64 + 1);
        let once = Once::open_in(&caller.segment, offset(n)).expect("it is there");
        let pause = rng.below(2000);
        let called = once.call_once(|| {
            map.begun(n).fetch_add(1, Ordering::SeqCst);
            (0..pause).for_each(|_| spin_loop());
            map.done(n).fetch_add(1, Ordering::SeqCst);
        });
        called.expect("not from within itself");
        if map.done(n).load(Ordering::SeqCst) == 0 {
            caller.lane.complain(Flaw::Lost);
        }
        caller.lane.acknowledge(n as u64 + 1);
    }
}

/// Each function runs to its end once, in the end; the one that the victim was in may be begun twice.
pub(crate) fn once(round: &mut Round) {
    let segment = Segment::anonymous(offset(ONCES)).expect("a segment");
    let all: Vec<_> = (0..ONCES).map(|n| Once::create_in(&segment, offset(n)).expect("room for it")).collect();
    let memory = Memory::create();
    round.strike(|round| {
        let caller = |round: &mut Round, lane| Caller {
            segment: segment.clone(),
            memory: memory.share(),
            lane: round.lane(lane),
            seed: round.rng.next(),
        };
        let forever = |caller: Caller| {
            call_all(&caller);
            loop {
                std::thread::park();
            }
        };
        let victim: Process<()> = round.victim().spawn(forever, caller(round, 0)).expect("the victim starts");
        let work = |caller: Caller| call_all(&caller);
        let other: Process<()> = Builder::new().spawn(work, caller(round, 1)).expect("the other one starts");
        let near = caller(round, 2);
        call_all(&near);
        join_survivor(round, other);
        let _ = round.join(victim);
    });
    let map = memory.map();
    let in_it = round.lane(0).attempted() - round.lane(0).acknowledged();
    let last = round.lane(0).attempted();
    for (n, once) in all.iter().enumerate() {
        let (begun, done) = (map.begun(n).load(Ordering::SeqCst), map.done(n).load(Ordering::SeqCst));
        // The victim may have been killed between the function's end and the note that it has ended.
        let more = if n as u64 + 1 == last && in_it == 1 { 1 } else { 0 };
        if !matches!(once.is_completed(), Ok(true)) || done == 0 || begun > done + more {
            round.flaw(Flaw::Lost, format!("number {n} was begun {begun} times and completed {done} times"));
        }
        if done > 1 + more || begun > 1 + more {
            round.flaw(Flaw::Duplicate, format!("number {n} was begun {begun} times and completed {done} times"));
        }
        if begun > 1 {
            round.inside();
        }
    }
    round.messages(ONCES as u64);
    for flaw in [0, 1, 2].into_iter().filter_map(|lane| round.lane(lane).flaw()).collect::<Vec<_>>() {
        round.flaw(flaw, "it was called, and nobody had completed it");
    }
}
