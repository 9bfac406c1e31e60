//! Shared memory and lists in it, with every CPython that has them, in the cases of `memory.py`.

use std::error::Error;

use ipc_shm::{Error as ShmError, Item, ShareableList, SharedMemory};
use ipc_tests::unique_name;
use nix::sys::signal::Signal;

use crate::interpreters::Interpreter;
use crate::peer::{PATIENCE, Peer};
use crate::{Case, Pipe, check, pattern, start};

type Outcome = Result<(), Box<dyn Error>>;

/// The first Python with shared memory: 3.8.
pub(crate) const SINCE: u32 = 8;

pub(crate) const CASES: &[Case] = &[
    ("memory that we make", memory_of_ours),
    ("memory that Python makes", memory_of_python),
    ("memory as an array of integers", integers),
    ("a list that we make", list_of_ours),
    ("a list that Python makes", list_of_python),
    ("the bytes of a list", list_bytes),
    ("empty lists", empty_lists),
    ("texts in a list that Python makes", texts_of_python),
    ("texts in a list that we make", texts_of_ours),
    // What CPython does to names, which is not as one would expect: CPython issue 82300.
    ("Python removes the name of what it has opened", python_removes_names),
    ("Python removes the name of what it has made", python_removes_what_it_left),
    ("Python can be kept from it", python_can_be_kept_from_it),
];

/// Elements of several types.
macro_rules! items {
    ($($value:expr),*) => { [$(Item::from($value)),*] };
}

/// A name that is removed in any case.
struct Name(String);

impl Name {
    fn new() -> Name {
        Name(unique_name())
    }

    /// The name of what Python has made, which is the next message.
    fn from_python(pipe: &mut Pipe) -> Result<Name, Box<dyn Error>> {
        let name = Name(hear(pipe)?);
        if !name.0.starts_with("psm_") {
            return Err(format!("Python calls it {}", name.0).into());
        }
        Ok(name)
    }

    fn is_there(&self) -> bool {
        std::path::Path::new("/dev/shm").join(&self.0).exists()
    }

    /// The end of a case in which nobody but us removes the name.
    fn removed(self) -> Outcome {
        SharedMemory::unlink(&self.0)?;
        self.gone()
    }

    /// The end of a case in which Python has removed the name.
    fn gone(self) -> Outcome {
        match SharedMemory::open(&self.0) {
            Err(_) if !self.is_there() => Ok(()),
            _ => Err("the name is still there".into()),
        }
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = SharedMemory::unlink(&self.0); // after a failure, which is told already
        }
    }
}

fn tell(pipe: &mut Pipe, text: &str) -> Outcome {
    Ok(pipe.send_timeout(text.as_bytes().to_vec(), PATIENCE)?)
}

fn hear(pipe: &mut Pipe) -> Result<String, Box<dyn Error>> {
    Ok(String::from_utf8(pipe.recv_timeout(PATIENCE)?)?)
}

/// Starts a Python, talks with it and waits until it ends. If that fails, the error also has what Python said.
fn with<T>(
    python: &Interpreter,
    arguments: &[&str],
    talk: impl FnOnce(&mut Pipe) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let (mut pipe, peer) = start(python, arguments)?;
    let result = talk(&mut pipe);
    drop(pipe); // it waits for no more
    match (result, peer.finish()) {
        (Err(ours), Err(theirs)) => Err(format!("{ours}; {theirs}").into()),
        (result, finished) => finished.and(result),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("{found:?} in place of {expected:?}").into()) }
}

fn bytes_of(memory: &SharedMemory) -> Result<Vec<u8>, ShmError> {
    let mut bytes = vec![0; memory.size()];
    memory.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// A list that this Python can open.
fn list_for(python: &Interpreter, name: &Name, items: &[Item]) -> Result<ShareableList, ShmError> {
    match python.minor() {
        8 => ShareableList::create_for_python_3_8(items, |size| SharedMemory::create(&name.0, size)),
        _ => ShareableList::create(&name.0, items),
    }
}

fn memory_of_ours(python: &Interpreter) -> Outcome {
    let name = Name::new();
    let memory = SharedMemory::create(&name.0, 1000)?;
    memory.write_at(0, &pattern(1000, 1))?;
    with(python, &["memory_of_ours", &name.0], |_| Ok(()))?;
    check(&bytes_of(&memory)?, 1000, 2)?;
    check(&bytes_of(&SharedMemory::open(&name.0)?)?, 1000, 2)?;
    name.removed()
}

fn memory_of_python(python: &Interpreter) -> Outcome {
    let (name, memory) = with(python, &["memory_of_python"], |pipe| {
        let name = Name::from_python(pipe)?;
        let memory = SharedMemory::open(&name.0)?;
        check(&bytes_of(&memory)?, 1000, 1)?;
        memory.write_at(0, &pattern(1000, 2))?;
        tell(pipe, "changed")?;
        Ok((name, memory))
    })?;
    check(&bytes_of(&memory)?, 1000, 2)?; // the name is gone, not what we have of it
    name.gone()
}

fn integers(python: &Interpreter) -> Outcome {
    let name = Name::new();
    let mut numbers: Vec<i32> = (0..1000).map(|i| 1000 - 7 * i).collect();
    let memory = SharedMemory::create(&name.0, 4 * numbers.len())?;
    memory.write_at(0, &numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<_>>())?;
    with(python, &["integers", &name.0], |_| Ok(()))?;
    numbers[..3].copy_from_slice(&[i32::MIN, i32::MAX, -2]);
    numbers[999] += 1;
    same(bytes_of(&memory)?, numbers.iter().flat_map(|number| number.to_ne_bytes()).collect())?;
    name.removed()
}

fn list_of_ours(python: &Interpreter) -> Outcome {
    let name = Name::new();
    let items = items![7, i64::MIN, true, Item::None, 2.5, "hi", "grün 한국어!", b"\x01\0\x02", "12345678", "", b""];
    let back = items!["again", 1, false, Item::None, -0.25, "", b"\0\x01", "xxxxxxxx", Item::None, "7 bytes", i64::MAX];
    let list = list_for(python, &name, &items)?;
    with(python, &["list_of_ours", &name.0], |pipe| {
        same(hear(pipe)?, "changed".into())?;
        let changed =
            items!["8 bytes!", Item::None, -1, true, "ü", 0.5, "한".repeat(8), b"\0\xff", "12345678", "", "last"];
        same(list.to_vec()?, changed.to_vec())?;
        for (index, item) in back.iter().enumerate() {
            list.set(index, item)?;
        }
        tell(pipe, "changed back")
    })?;
    same(ShareableList::open(&name.0)?.to_vec()?, back.to_vec())?;
    name.removed()
}

fn list_of_python(python: &Interpreter) -> Outcome {
    let name = with(python, &["list_of_python"], |pipe| {
        let name = Name::from_python(pipe)?;
        let list = ShareableList::open(&name.0)?;
        let mut items = items![7, true, Item::None, 2.5, "hi", b"\x01\x02", "xxxxxxxx", -1];
        same(list.to_vec()?, items.to_vec())?;
        let formats: String = (0..list.len()).map(|index| list.format(index)).collect::<Result<_, _>>()?;
        same(formats, "qxxxxxxx?xxxxxx?xd8s8s16sq".into())?;
        same((list.index(&"hi".into())?, list.count(&Item::None)?), (Some(4), 1))?;

        let new = items![-7, Item::None, "ü", false, 1e300, "hi", "16 bytes are max", b"\0b"];
        for (index, item) in new.iter().enumerate() {
            list.set(index, item)?;
        }
        match list.set(6, "17 bytes are more") {
            Err(ShmError::TooLong { needed: 17, room: 16 }) => {}
            other => return Err(format!("17 bytes for 16 gave {other:?}").into()),
        }
        tell(pipe, "changed")?;
        same(hear(pipe)?, "changed back".into())?;
        items.clone_from(&new);
        items[6..].clone_from_slice(&items!["last", 1]);
        same(list.to_vec()?, items.to_vec())?;
        tell(pipe, "seen")?;
        Ok(name)
    })?;
    name.gone()
}

fn list_bytes(python: &Interpreter) -> Outcome {
    let theirs = with(python, &["list_bytes"], |pipe| {
        let theirs = Name::from_python(pipe)?;
        let items =
            items![7, true, Item::None, -2.5, "hi", b"\x01\x02", "x".repeat(8), "", b"", "y".repeat(100), 0.0, false];
        let ours = Name::new();
        let list = list_for(python, &ours, &items)?;
        same(bytes_of(list.memory())?, bytes_of(&SharedMemory::open(&theirs.0)?)?)?;
        ours.removed()?;
        tell(pipe, "seen")?;
        Ok(theirs)
    })?;
    theirs.gone()
}

fn empty_lists(python: &Interpreter) -> Outcome {
    let ours = Name::new();
    let list = list_for(python, &ours, &[])?;
    with(python, &["empty_list_of_ours", &ours.0], |_| Ok(()))?;
    same(list.len(), 0)?;
    ours.removed()?;

    let theirs = with(python, &["empty_list_of_python"], |pipe| {
        let theirs = Name::from_python(pipe)?;
        same(ShareableList::open(&theirs.0)?.to_vec()?, vec![])?;
        tell(pipe, "seen")?;
        Ok(theirs)
    })?;
    theirs.gone()
}

fn texts_of_python(python: &Interpreter) -> Outcome {
    let name = with(python, &["texts_of_python"], |pipe| {
        let name = Name::from_python(pipe)?;
        let list = ShareableList::open(&name.0)?;
        // Python has made room for 15 bytes and a NUL: 5 characters and a third.
        match list.get(0) {
            Err(ShmError::Text { index: 0, source }) if source.utf8_error().valid_up_to() == 15 => {}
            other => return Err(format!("a cut text is {other:?}").into()),
        }
        let rest = list.iter().skip(1).collect::<Result<Vec<_>, _>>()?;
        // Of the second text there were nine characters.
        let expected = items!["ü".repeat(8), "ü".repeat(8), "nul", b"", "\0nul"];
        same(rest, expected.to_vec())?;
        match list.set(3, "nul\0") {
            Err(ShmError::TrailingNul) => {}
            other => return Err(format!("a NUL at the end gave {other:?}").into()),
        }
        list.set(0, "한".repeat(5))?;
        tell(pipe, "repaired")?;
        Ok(name)
    })?;
    name.gone()
}

fn texts_of_ours(python: &Interpreter) -> Outcome {
    let name = Name::new();
    let items = items!["한".repeat(8), "ü".repeat(9), "\u{1f600}".repeat(100), "\0nul"];
    let _list = list_for(python, &name, &items)?;
    with(python, &["texts_of_ours", &name.0], |_| Ok(()))?;
    name.removed()
}

/// Whether the name is still there after a Python that has opened it is gone, by itself or by a signal.
fn stays(python: &Interpreter, kind: &str, is_killed: bool) -> Result<bool, Box<dyn Error>> {
    let name = Name::new();
    let list = list_for(python, &name, &items![1])?;
    let (mut pipe, peer) = start(python, &["only_opens", kind])?;
    tell(&mut pipe, &name.0)?;
    same(hear(&mut pipe)?, "open".into())?;
    ends(peer, pipe, is_killed)?;
    same(list.to_vec()?, items![1].to_vec())?; // whoever has it keeps it
    let stays = name.is_there();
    let tidied = if stays { name.removed() } else { name.gone() };
    tidied.map(|()| stays)
}

/// Ends a Python that waits for the end of the pipe. Its resource tracker, a process with the same standard error, has ended too.
fn ends(peer: Peer, pipe: Pipe, is_killed: bool) -> Outcome {
    if is_killed {
        peer.signal(Signal::SIGKILL)?;
        return match peer.finish() {
            Err(error) if error.to_string().contains("SIGKILL") => Ok(()),
            other => Err(format!("killed, it ended with {other:?}").into()),
        };
    }
    drop(pipe);
    peer.finish()
}

fn python_removes_names(python: &Interpreter) -> Outcome {
    for kind in ["memory", "list"] {
        for is_killed in [false, true] {
            if stays(python, kind, is_killed)? {
                return Err(format!("the name of a {kind} stays: read the documentation of ShareableList again").into());
            }
        }
    }
    Ok(())
}

fn python_removes_what_it_left(python: &Interpreter) -> Outcome {
    for is_killed in [false, true] {
        let (mut pipe, peer) = start(python, &["leaves", "as it is"])?;
        let name = Name::from_python(&mut pipe)?;
        let memory = SharedMemory::open(&name.0)?;
        ends(peer, pipe, is_killed)?;
        same(&bytes_of(&memory)?[..], b"there\0\0\0\0\0")?;
        name.gone()?;
    }
    Ok(())
}

fn python_can_be_kept_from_it(python: &Interpreter) -> Outcome {
    for is_killed in [false, true] {
        for kind in ["cured memory", "cured list"] {
            if !stays(python, kind, is_killed)? {
                return Err(format!("the name of a {kind} is gone").into());
            }
        }
        let (mut pipe, peer) = start(python, &["leaves", "cured"])?;
        let name = Name::from_python(&mut pipe)?;
        ends(peer, pipe, is_killed)?;
        same(&bytes_of(&SharedMemory::open(&name.0)?)?[..], b"there\0\0\0\0\0")?;
        name.removed()?;
    }
    Ok(())
}
