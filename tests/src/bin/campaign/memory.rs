//! Memory with a name, of which every byte is known from a seed; and what must be there, and what must not, after a death.

use std::path::Path;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use ipc_shm::{Error, Ownership, SharedMemory};
use ipc_tests::campaign::{Flaw, Rng, Round, STALL_LIMIT};

/// Which contents are complete, and which are being written: the seeds that tell all bytes and the size.
const PUBLISHED: usize = 0;
const DRAFT: usize = 8;
const BYTES: usize = 16;

/// How much memory there is for the contents of a seed.
pub(crate) fn size(seed: u64) -> usize {
    BYTES + Rng::of(seed, 1).below(3 * 4096) as usize
}

fn bytes(seed: u64) -> Vec<u8> {
    let mut rng = Rng::of(seed, 2);
    (BYTES..size(seed)).map(|_| 1 + rng.below(255) as u8).collect()
}

pub(crate) fn word(memory: &SharedMemory, offset: usize) -> u64 {
    if !memory.is_read_only() {
        return memory.atomic_u64(offset).expect("it is large enough").load(Ordering::SeqCst);
    }
    // Byte for byte: what is being written is read again.
    let read = || memory.to_vec(offset, 8).expect("it is large enough");
    loop {
        let word = read();
        if word == read() {
            return u64::from_ne_bytes(word.try_into().expect("eight bytes"));
        }
    }
}

fn set(memory: &SharedMemory, offset: usize, value: u64) {
    memory.atomic_u64(offset).expect("it is large enough").store(value, Ordering::SeqCst);
}

/// Fills memory that has just been made.
///
/// # Errors
/// It was not zero.
pub(crate) fn fill(memory: &SharedMemory, seed: u64) -> Result<(), Flaw> {
    if memory.size() != size(seed) || memory.to_vec(0, memory.size()).expect("its size").iter().any(|byte| *byte != 0) {
        return Err(Flaw::Corrupt);
    }
    set(memory, DRAFT, seed);
    let bytes = bytes(seed);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    memory.write_at(BYTES, first).expect("it fits");
    memory.write_at(BYTES + first.len(), second).expect("it fits");
    set(memory, PUBLISHED, seed);
    Ok(())
}

/// Whether the memory is as somebody has made and filled it, or is just filling it.
///
/// # Errors
/// It is not.
pub(crate) fn check(memory: &SharedMemory) -> Result<(), Flaw> {
    if memory.size() < BYTES {
        return Err(Flaw::Corrupt);
    }
    let published = word(memory, PUBLISHED);
    let found = memory.to_vec(BYTES, memory.size() - BYTES).expect("its size");
    fence(Ordering::SeqCst);
    let is_sound = match (published, word(memory, DRAFT)) {
        (0, 0) => found.iter().all(|byte| *byte == 0),
        (0, draft) => {
            size(draft) == memory.size()
                && found.iter().zip(bytes(draft)).all(|(found, byte)| [0, byte].contains(found))
        }
        (seed, _) => size(seed) == memory.size() && found == bytes(seed),
    };
    if is_sound { Ok(()) } else { Err(Flaw::Corrupt) }
}

/// Opens what has the name, if something has, and looks whether it is complete.
///
/// # Errors
/// It is not, or cannot be opened.
pub(crate) fn open(name: &str, rng: &mut Rng) -> Result<Option<SharedMemory>, Flaw> {
    match if rng.one_in(4) { SharedMemory::open_read_only(name) } else { SharedMemory::open(name) } {
        Ok(memory) => check(&memory).map(|()| Some(memory)),
        Err(Error::Memory(ipc_core::Error::NoSuchName { .. })) => Ok(None),
        Err(error) => Err(complaint("open", &error)),
    }
}

/// Makes memory of this name with the contents of a seed, unless somebody has it.
///
/// # Errors
/// It cannot be made, or is not zero.
pub(crate) fn create(name: &str, seed: u64, ownership: Ownership) -> Result<Option<SharedMemory>, Flaw> {
    match SharedMemory::create_owned(name, size(seed), ownership) {
        Ok(memory) => fill(&memory, seed).map(|()| Some(memory)),
        Err(Error::Memory(ipc_core::Error::NameTaken { .. })) => Ok(None),
        Err(error) => Err(complaint("create", &error)),
    }
}

pub(crate) fn complaint(what: &str, error: &Error) -> Flaw {
    eprintln!("cannot {what}: {error:?}");
    let is_half_made = matches!(error, Error::Memory(ipc_core::Error::Incompatible(_)));
    if is_half_made { Flaw::Corrupt } else { Flaw::Wrong }
}

/// Whether the name still is that of this memory, which nobody but this process may change.
///
/// # Errors
/// It is another one's, or nobody's.
pub(crate) fn keeps_name(memory: &SharedMemory) -> Result<(), Flaw> {
    let name = memory.name().expect("it has one");
    match SharedMemory::open(name) {
        Ok(again) if again.segment().participant() == memory.segment().participant() => Ok(()),
        Ok(_) => Err(Flaw::Duplicate),
        Err(Error::Memory(ipc_core::Error::NoSuchName { .. })) => Err(Flaw::Lost),
        Err(error) => Err(complaint("open again", &error)),
    }
}

pub(crate) fn exists(name: &str) -> bool {
    Path::new("/dev/shm").join(name).exists()
}

/// The name must be gone.
pub(crate) fn judge_gone(round: &mut Round, name: &str) {
    if exists(name) {
        round.flaw(Flaw::Left, format!("`{name}` is left"));
        let _ = SharedMemory::unlink(name);
    }
}

/// Does `done` become true in this time?
pub(crate) fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while !done() {
        if begin.elapsed() > limit {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// Makes memory of a dead process's name, as soon as it can be had. In between `wait` does what may be necessary for that.
pub(crate) fn take_over(round: &mut Round, name: &str, wait: impl Fn()) -> Option<SharedMemory> {
    let seed = round.rng.next();
    let mut made = Ok(None);
    within(STALL_LIMIT, || {
        made = create(name, seed, Ownership::Creator);
        let is_taken = matches!(made, Ok(None));
        if is_taken {
            wait();
        }
        !is_taken
    });
    match made {
        Ok(Some(memory)) => return Some(memory),
        Ok(None) => round.flaw(Flaw::Wrong, format!("`{name}` is not taken over")),
        Err(flaw) => round.flaw(flaw, format!("`{name}`, taken over")),
    }
    None
}

/// What the dead have left of a name is taken over, or removed.
pub(crate) fn judge_left(round: &mut Round, name: &str) {
    if round.rng.one_in(2) {
        drop(take_over(round, name, || {}));
    } else {
        // Another program of this user may be removing it at the same time.
        within(STALL_LIMIT, || {
            let removed = SharedMemory::scavenge().expect("the names can be listed");
            removed.iter().any(|removed| removed == name) || !exists(name)
        });
    }
    judge_gone(round, name);
}
