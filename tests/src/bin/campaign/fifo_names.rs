//! Names of FIFOs that several processes make, take over and drop, of which one is killed; and scopes, which remove them in any case.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipc_core::{Builder, Process};
use ipc_fifo::{Error, Fifo, Reader, Scope, Writer};
use ipc_tests::campaign::{Flaw, Lane, Rng, Round, STALL_LIMIT};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::memory::within;
use crate::permits::join_survivor;
use crate::raw::Memory;
use crate::scopes::{own_watcher, wake_watchers, watchers};

/// How often a survivor has the name after the victim's end.
const AFTERWARDS: u32 = 5;
/// What a FIFO has that belongs to a process.
const MARK: u32 = 0o1000;
/// In the memory: how many have the name of those who are not killed.
const OWNERS: usize = 0;
/// The points at which one who dies leaves a name.
const INSIDE: [&str; 3] = ["fifo.made", "fifo.owned", "fifo.removing"];

#[derive(Serialize, Deserialize)]
struct Worker {
    path: PathBuf,
    lane: Lane,
    memory: Memory,
    seed: u64,
    may_die: bool,
}

impl Worker {
    fn new(round: &mut Round, path: &Path, memory: &Memory, lane: u64) -> Worker {
        let seed = round.rng.next();
        Worker { path: path.into(), lane: round.lane(lane), memory: memory.share(), seed, may_die: lane == 0 }
    }

    /// Makes the name and drops it, again and again: a victim for ever, a survivor until some time after the victim's end.
    fn work(&self) {
        let mut rng = Rng::new(self.seed);
        let (mut tries, mut done, mut more) = (0, 0, AFTERWARDS);
        while more > 0 {
            let over = self.lane.is_over();
            tries += 1;
            self.lane.attempt(tries);
            if rng.one_in(6) {
                // What one leaves who is killed.
                let _ = nix::unistd::mkfifo(&self.path, Mode::from_bits_truncate(0o600 | MARK));
            }
            match self.create(&mut rng) {
                Ok(true) => {
                    done += 1;
                    self.lane.acknowledge(done);
                    more -= u32::from(over);
                }
                Ok(false) => {
                    if let Err(flaw) = self.look() {
                        return self.lane.complain(flaw);
                    }
                }
                Err(flaw) => return self.lane.complain(flaw),
            }
        }
    }

    /// Returns whether it could.
    fn create(&self, rng: &mut Rng) -> Result<bool, Flaw> {
        let mode = 0o600 | rng.below(0o100) as u32;
        let fifo = match Fifo::create(&self.path, mode) {
            Ok(fifo) => fifo,
            Err(Error::Exists { .. }) => return Ok(false),
            Err(error) => return Err(complain("create", &error)),
        };
        let map = self.memory.map();
        if map.word(OWNERS).fetch_add(u32::from(!self.may_die), Ordering::SeqCst) > 0 && !self.may_die {
            return Err(Flaw::Duplicate);
        }
        let inode = self.inode(mode)?;
        let most = if rng.one_in(4) { 20_000 } else { 500 };
        rng.spin(most);
        if rng.one_in(4) {
            self.pass_one(&fifo)?;
        }
        if rng.one_in(4) {
            match Fifo::create(&self.path, mode) {
                Err(Error::Exists { .. }) => {}
                Ok(_) => return Err(Flaw::Duplicate),
                Err(error) => return Err(complain("create again", &error)),
            }
        }
        if self.inode(mode)? != inode {
            return Err(Flaw::Lost);
        }
        map.word(OWNERS).fetch_sub(u32::from(!self.may_die), Ordering::SeqCst);
        Ok(true)
    }

    /// Whose name it is, which nobody else may change now.
    fn inode(&self, mode: u32) -> Result<u64, Flaw> {
        let about = fs::symlink_metadata(&self.path).map_err(|_| Flaw::Lost)?;
        if about.permissions().mode() & 0o7777 == mode | MARK { Ok(about.ino()) } else { Err(Flaw::Corrupt) }
    }

    /// Nothing is in it but what the owner sends.
    fn pass_one(&self, fifo: &Fifo) -> Result<(), Flaw> {
        let mut reader: Reader<u64> = fifo.lasting_reader().map_err(|error| complain("open to read", &error))?;
        let mut writer: Writer<u64> = fifo.share().writer().map_err(|error| complain("open to write", &error))?;
        writer.send(self.seed).map_err(|error| complain("send", &error))?;
        match reader.recv() {
            Ok(seed) if seed == self.seed => Ok(()),
            Ok(_) => Err(Flaw::Corrupt),
            Err(error) => Err(complain("receive", &error)),
        }
    }

    fn look(&self) -> Result<(), Flaw> {
        match Fifo::open(&self.path) {
            Ok(_) | Err(Error::Missing { .. }) => Ok(()),
            Err(error) => Err(complain("look", &error)),
        }
    }
}

fn complain(what: &str, error: &Error) -> Flaw {
    eprintln!("cannot {what}: {error:?}");
    Flaw::Wrong
}

fn note_inside(round: &mut Round) {
    if round.died_at().is_some_and(|point| INSIDE.contains(&point)) {
        round.inside();
    }
}

/// Three make one name in turn, and what one of them leaves that is killed is taken over.
pub(crate) fn owner(round: &mut Round) {
    let folder = Folder::new();
    let (path, memory) = (folder.file("fifo"), Memory::create());
    round.strike(|round| {
        let work = |worker: Worker| worker.work();
        let victim = Worker::new(round, &path, &memory, 0);
        let victim: Process<()> = round.victim().spawn(work, victim).expect("the victim starts");
        let other = Worker::new(round, &path, &memory, 1);
        let other: Process<()> = Builder::new().spawn(work, other).expect("the other one starts");
        let near = Worker::new(round, &path, &memory, 2);
        std::thread::scope(|scope| {
            scope.spawn(|| near.work());
            let _ = round.join(victim);
            round.end();
        });
        join_survivor(round, other);
    });
    note_inside(round);
    round.messages((0..3).map(|lane| round.lane(lane).acknowledged()).sum());
    for lane in [0, 1, 2].map(|lane| round.lane(lane)) {
        if let Some(flaw) = lane.flaw() {
            round.flaw(flaw, format!("noted by one who made it: {lane:?}"));
        }
    }
    // Whatever is there in the end, the next one takes it over, and removes it.
    if let Err(error) = Fifo::create(&path, 0o600) {
        round.flaw(Flaw::Wrong, format!("nobody has the name, but it cannot be made: {error:?}"));
    }
    folder.judge_empty(round);
}

/// How many names a scope gets at most; there is one more to try.
const NAMES: usize = 5;

#[derive(Serialize, Deserialize)]
struct Holder {
    paths: Vec<PathBuf>,
    lane: Lane,
    seed: u64,
    loses_watchers: bool,
}

/// Makes names in scopes, until it is killed.
fn use_scopes(holder: &Holder) -> Result<(), Flaw> {
    let mut rng = Rng::new(holder.seed);
    for n in 1.. {
        holder.lane.attempt(n);
        let mut scope = Scope::new().map_err(|error| complain("make a scope", &error))?;
        let mut fifos = Vec::new();
        for path in &holder.paths[..1 + rng.below(NAMES as u64) as usize] {
            fifos.push(scope.create(path, 0o600).map_err(|error| complain("create in a scope", &error))?);
            if rng.one_in(8) {
                fifos.pop();
            }
        }
        match rng.below(3) {
            _ if !holder.loses_watchers => rng.spin(100_000),
            0 => {
                own_watcher().kill().expect("it is ours");
                // Without a watcher it takes no more names, or has not noticed yet, but forgets none.
                let _ = scope.create(&holder.paths[NAMES], 0o600);
            }
            1 => loop {
                std::thread::park();
            },
            _ => {}
        }
        if rng.one_in(2) {
            fifos.clear();
        }
        drop(scope);
        if holder.paths.iter().any(|path| path.exists()) {
            return Err(Flaw::Left);
        }
        holder.lane.acknowledge(n);
    }
    Ok(())
}

/// Makes a name that a dead process has left, as soon as it can be had.
fn take_over(round: &mut Round, path: &Path) -> Option<Fifo> {
    let done = AtomicBool::new(false);
    let made = std::thread::scope(|scope| {
        // One that is stopped may have the folder locked.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                wake_watchers();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let mut made = Fifo::create(path, 0o600);
        // A child that the dead one was just starting may have copies of its files.
        within(STALL_LIMIT, || {
            if matches!(made, Err(Error::Exists { .. })) {
                made = Fifo::create(path, 0o600);
            }
            !matches!(made, Err(Error::Exists { .. }))
        });
        done.store(true, Ordering::Relaxed);
        made
    });
    made.map_err(|error| round.flaw(Flaw::Wrong, format!("a name is not taken over: {error:?}"))).ok()
}

/// A process with a scope is killed: its names go, and no other's.
pub(crate) fn scope(round: &mut Round) {
    end_of(round, true, STALL_LIMIT, |holder| {
        if let Err(flaw) = use_scopes(&holder) {
            holder.lane.complain(flaw);
        }
    });
}

/// The watcher is killed, or with it the process: the next one who makes a name takes it over.
pub(crate) fn watcher(round: &mut Round) {
    end_of(round, false, STALL_LIMIT, |holder| {
        if let Err(flaw) = use_scopes(&Holder { loses_watchers: true, ..holder }) {
            eprintln!("one with a scope noted {flaw:?}");
        }
    });
}

/// Without a scope the names stay.
pub(crate) fn none(round: &mut Round) {
    // In vain, and within the time of a control.
    end_of(round, true, STALL_LIMIT / 8, |holder| {
        let _fifos: Vec<_> = holder.paths.iter().map(|path| Fifo::create(path, 0o600)).collect();
        holder.lane.attempt(1);
        loop {
            std::thread::park();
        }
    });
}

/// `limit`: how long the names may be there after that.
fn end_of(round: &mut Round, watched: bool, limit: Duration, work: impl FnOnce(Holder) + Copy + Send + 'static) {
    let folder = Folder::new();
    let paths: Vec<_> = (0..=NAMES).map(|n| folder.file(&n.to_string())).collect();
    let taken = round.strike(|round| {
        let holder =
            Holder { paths: paths.clone(), lane: round.lane(0), seed: round.rng.next(), loses_watchers: false };
        let victim: Process<()> = round.victim().spawn(work, holder).expect("the victim starts");
        while victim.is_alive() {
            match Fifo::open(&paths[round.rng.below(NAMES as u64) as usize]) {
                Ok(_) | Err(Error::Missing { .. }) => {}
                Err(error) => round.flaw(Flaw::Wrong, format!("cannot look at it: {error:?}")),
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        let _ = round.join(victim);
        // A watcher waits for a while whether a name that somebody has is given up, so this takes time.
        let keeps = round.rng.one_in(60);
        let count = match watched {
            true if keeps => round.rng.below(NAMES as u64) as usize,
            true => 0,
            false => NAMES + 1,
        };
        let mut taken: Vec<_> = paths[..count].iter().filter_map(|path| take_over(round, path)).collect();
        if !keeps {
            taken.clear();
        }
        if !within(limit, || paths[count..].iter().all(|path| !path.exists())) {
            round.flaw(Flaw::Left, "names of a process that is dead");
        }
        taken
    });
    note_inside(round);
    round.messages(round.lane(0).acknowledged());
    if let Some(flaw) = round.lane(0).flaw() {
        round.flaw(flaw, "noted by the one with the scope");
    }
    let ended = within(STALL_LIMIT, || {
        wake_watchers();
        watchers().is_empty()
    });
    if !ended {
        round.flaw(Flaw::Left, "a watcher does not end");
    }
    if taken.iter().any(|fifo| !fifo.path().exists()) {
        round.flaw(Flaw::Lost, "a living name was removed with those of the dead");
    }
    drop(taken);
    folder.judge_empty(round);
}
