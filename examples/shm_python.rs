//! The process at the other end is Python's: it opens our memory and our list by their names, with its `shared_memory`. Where
//! there is no `python3` that has it, a process of this program does the same work.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;

use ipc_shm::{Process, ShareableList, SharedMemory};

/// What Python has opened it takes for its own, and would remove the names when it ends: hence `unregister`.
const PYTHON: &str = "
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import ShareableList, SharedMemory
numbers, words = SharedMemory(name=sys.argv[1]), ShareableList(name=sys.argv[2])
for memory in numbers, words.shm:
    resource_tracker.unregister(memory._name, 'shared_memory')
with numbers.buf.cast('Q') as all:
    for i, number in enumerate(all):
        all[i] = number * number
for i, word in enumerate(words):
    words[i] = word[::-1]
numbers.close()
words.shm.close()
";
/// Python 3.8 has another kind of list.
const IS_THERE: &str = "import sys, multiprocessing.shared_memory; sys.exit(sys.version_info < (3, 9))";

fn square_and_reverse((numbers, words): (String, String)) -> Result<(), String> {
    let work = || -> Result<(), ipc_shm::Error> {
        let (numbers, words) = (SharedMemory::open(&numbers)?, ShareableList::open(&words)?);
        for at in (0..numbers.size()).step_by(8) {
            let number = numbers.atomic_u64(at)?;
            number.store(number.load(Relaxed).pow(2), Relaxed);
        }
        for i in 0..words.len() {
            let word = String::try_from(words.get(i)?)?;
            words.set(i, word.chars().rev().collect::<String>())?;
        }
        Ok(())
    };
    work().map_err(|error| error.to_string())
}

fn main() -> Result<(), Box<dyn Error>> {
    let names = ["numbers", "words"].map(|what| format!("shm_python-{what}-{}", std::process::id()));
    let numbers = SharedMemory::create(&names[0], 5 * 8)?;
    for (i, number) in [1, 2, 3, 4, 50_000].into_iter().enumerate() {
        numbers.atomic_u64(8 * i)?.store(number, Relaxed);
    }
    let words = ShareableList::create(&names[1], ["stressed", "drawer", "grün"])?;

    if Command::new("python3").args(["-c", IS_THERE]).output().is_ok_and(|output| output.status.success()) {
        println!("the peer is python3");
        let status = Command::new("python3").args(["-c", PYTHON]).args(&names).status()?;
        println!("{status}");
    } else {
        println!("the peer is this program, as there is no python3 with shared memory");
        let [numbers, words] = names.clone();
        Process::spawn(square_and_reverse, (numbers, words))?.join()??;
        println!("exit status: 0");
    }

    let squares = (0..5).map(|i| Ok(numbers.atomic_u64(8 * i)?.load(Relaxed)));
    println!("squared: {:?}", squares.collect::<Result<Vec<u64>, ipc_shm::Error>>()?);
    println!("reversed: {:?}", words.iter().map(|word| word?.try_into()).collect::<Result<Vec<String>, _>>()?);
    println!("both names are still there: {}", names.iter().all(|name| SharedMemory::open(name).is_ok()));
    Ok(())
}
